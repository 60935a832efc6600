/* rows.h -- rows that several tables of settings or options have (fields.h), each for a member of
 * that name in PN_OF: name, kind and limits are the same everywhere, the words about it need not
 * be. */
#ifndef PN_ROWS_H
#define PN_ROWS_H

#include "search/network/network.h"
#include "search/rundir/fields.h"

/* ---- the network ----------------------------------------------------------------------------- */

#define PN_ROW_GENOTYPE(help) \
    PN_PATH("genotype", genotype, "DARTS_V1|DARTS_V2|PDARTS|PC_DARTS_cifar", "G", help)
#define PN_ROW_NETWORK                                \
    PN_TEXT("network", network, "search|eval", "NET", \
            "search, or eval: the one that is trained from scratch [search]")
#define PN_ROW_STEM(help) PN_TEXT("stem", stem, "cifar|imagenet", "STEM", help)
#define PN_ROW_LAYERS(help) PN_INT("layers", layers, 1, PN_MAX_LAYERS, help)
#define PN_ROW_CHANNELS(help) \
    PN_ROW(PN_FIELD_INT, "channels", channels, "N", help, .min = 4, .max = 4096, .multiple = 4)
#define PN_ROW_CLASSES(help) PN_INT("classes", classes, 2, 100000, help)
#define PN_ROW_IMAGE(help) PN_IMAGE("image", image, help)
#define PN_ROW_AUXILIARY(help) PN_FLAG("auxiliary", auxiliary, help)
#define PN_ROW_AUXILIARY_WEIGHT(help) \
    PN_REAL("auxiliary-weight", auxiliary_weight, 0, 1000, "X", help)
#define PN_ROW_SHARE_SLOT         \
    PN_FLAG(                      \
        "share-slot", share_slot, \
        "separate weights for the two terms of a node; without it equal ones share them [off]")

/* ---- how it is trained ----------------------------------------------------------------------- */

#define PN_ROW_DATA(help) PN_PATH("data", data, "cifar10|fashion-mnist|synthetic", "D", help)
#define PN_ROW_BATCH(help) PN_INT("batch", batch, 1, 1 << 20, help)
#define PN_ROW_SEED(help) PN_SEED("seed", seed, help)
#define PN_ROW_EPOCHS(help) PN_INT("epochs", epochs, 1, 1e6, help)
#define PN_ROW_RATE(help) PN_REAL("rate", rate, 0, 1e3, "X", help)
#define PN_ROW_RATE_END(help) PN_REAL("rate-end", rate_end, 0, 1e3, "X", help)
#define PN_ROWS_SGD                                                          \
    PN_REAL("momentum", momentum, 0, 1, "X", "SGD's momentum [0.9]"),        \
        PN_REAL("decay", decay, 0, 1e3, "X", "SGD's weight decay [0.0003]"), \
        PN_REAL("clip", clip, 0, 1e12, "X", "largest norm of the gradient, 0 = no limit [5]")
#define PN_ROW_AUGMENT PN_FLAG("augment", augment, "random crops and flips [on]")

#endif
