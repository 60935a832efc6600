/* rows.h -- rows that several tables of settings or options have (fields.h), each for a member of
 * that name in PN_OF: name, kind and limits are the same everywhere, the words about it need not
 * be. */
#ifndef PN_ROWS_H
#define PN_ROWS_H

#include "search/network/network.h"
#include "search/rundir/fields.h"

/* ---- the network ----------------------------------------------------------------------------- */

#define PN_ROW_GENOTYPE(help)                                                  \
    PN_PATH("genotype", genotype,                                              \
            "DARTS_V1|DARTS_V2|PDARTS|PC_DARTS_cifar|SNAS_mild|SNAS_moderate|" \
            "SNAS_aggressive|SNAS_mild_edge_all|SNAS_moderate_edge_all|"       \
            "SNAS_aggressive_edge_all",                                        \
            "G", NULL, help, .also = "arch|cell")
#define PN_ROW_STEM(usual, help) PN_TEXT("stem", stem, "cifar|imagenet", "STEM", usual, help)
#define PN_ROW_LAYERS(usual, help) \
    PN_INT("layers", layers, 1, PN_MAX_LAYERS, usual, help, .also = "cells|depth")
#define PN_ROW_CHANNELS(usual, help)                                                    \
    PN_ROW(PN_FIELD_INT, "channels", channels, "N", usual, help, .min = 4, .max = 4096, \
           .multiple = 4, .also = "init-channels|width")
#define PN_ROW_CLASSES(usual, help) \
    PN_INT("classes", classes, 2, 100000, usual, help, .also = "num-classes")
#define PN_ROW_IMAGE(usual, help) PN_IMAGE("image", image, usual, help)
#define PN_ROW_AUXILIARY(usual, help) PN_FLAG("auxiliary", auxiliary, usual, help)
#define PN_ROW_AUXILIARY_WEIGHT(help) \
    PN_REAL("auxiliary-weight", auxiliary_weight, 0, 1000, "X", "0.4", help, .also = "aux-weight")
#define PN_ROW_POOL_NORM(usual)                                                                  \
    PN_FLAG("pool-norm", pool_norm, usual,                                                       \
            "in an evaluation network a BatchNorm behind pools, as in the public code of SNAS; " \
            "a search network has one in any case [off]")
#define PN_ROW_SHARE_SLOT(usual)         \
    PN_FLAG(                             \
        "share-slot", share_slot, usual, \
        "separate weights for the two terms of a node; without it equal ones share them [off]")

/* ---- how it is trained ----------------------------------------------------------------------- */

#define PN_ROW_DATA(usual, help)                                               \
    PN_PATH("data", data, "cifar10|fashion-mnist|synthetic", "D", usual, help, \
            .also = "dataset|data-dir")
#define PN_ROW_BATCH(usual, help) \
    PN_INT("batch", batch, 1, 1 << 20, usual, help, .also = "batch-size|bs")
#define PN_ROW_SHARDS(usual)                                                                      \
    PN_INT("shards", shards, 1, 1 << 20, usual,                                                   \
           "parts of a batch, run one after another, each with BatchNorm statistics of its own; " \
           "a divisor of --batch [1]")
#define PN_ROW_SEED(help) PN_SEED("seed", seed, help)
#define PN_ROW_EPOCHS(usual, help) \
    PN_INT("epochs", epochs, 1, 1e6, usual, help, .also = "num-epochs|max-epochs")
#define PN_ROW_TIME(help) PN_TIME("time", time, help)
#define PN_ROW_RATE(help) \
    PN_REAL("rate", rate, 0, 1e3, "X", "0.025", help, .also = "lr|learning-rate")
#define PN_ROW_RATE_END(usual, help) \
    PN_REAL("rate-end", rate_end, 0, 1e3, "X", usual, help, .also = "min-lr|lr-min")
#define PN_ROWS_SGD                                                                            \
    PN_REAL("momentum", momentum, 0, 1, "X", "0.9", "SGD's momentum"),                         \
        PN_REAL("decay", decay, 0, 1e3, "X", "0.0003", "SGD's weight decay",                   \
                .also = "weight-decay|wd"),                                                    \
        PN_REAL("clip", clip, 0, 1e12, "X", "5", "largest norm of the gradient, 0 = no limit", \
                .also = "grad-clip|gradient-clip|clip-norm")
#define PN_ROW_RECOMPUTE(usual)                                                                 \
    PN_FLAG("recompute", recompute, usual,                                                      \
            "keep the sums of nodes alone for the backward pass and make the rest again: same " \
            "results in less memory and more time [off]")
#define PN_ROW_AUGMENT PN_FLAG("augment", augment, "1", "random crops and flips")

#endif
