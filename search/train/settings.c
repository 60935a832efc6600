/* settings.c -- the table of a training's settings, and what follows from it. */
#include "search/train/settings.h"

#include <math.h>
#include <string.h>

#include "search/rundir/rows.h"

#define PN_OF pn_train_settings

static const pn_field rows[] = {
    PN_ROW_GENOTYPE("the cell: a published name, a file, a search's directory, or the text itself"),
    PN_ROW_DATA("fashion-mnist",
                "images: fashion-mnist, cifar10, synthetic[:COUNTxHxWxC], a directory, "
                "or what 'data pack' wrote; DIR@96: pictures at 96x96; NAME/2: at half the size "
                "[those of --genotype RUN, else fashion-mnist]"),
    PN_ROW_STEM("cifar",
                "first convolutions: cifar (one) or imagenet (three, each halves the image)"),
    PN_ROW_LAYERS(NULL, "cells of the network [20; imagenet 14]"),
    PN_ROW_CHANNELS(NULL, "channels of the first cells, a multiple of 4 [36; imagenet 48]"),
    PN_ROW_EPOCHS("600", "passes over the training images"),
    PN_ROW_TIME("about how long for a seed, as 30m or 4h: chooses the epochs by the first steps"),
    PN_ROW_BATCH(NULL, "images a batch [96; imagenet 128]"),
    PN_ROW_SHARDS("1"),
    PN_ROW_RATE("SGD's rate, of the first epoch, on a cosine"),
    PN_ROW_RATE_END("0", "where the cosine ends"),
    PN_ROWS_SGD,
    PN_REAL("drop-path", drop_path, 0, 0.99, "X", "0.2",
            "probability that a term of a node is dropped for an image, in the end; it grows "
            "linearly from 0",
            .also = "drop-path-prob"),
    PN_INT("cutout", cutout, 0, PN_MAX_IMAGE_EDGE, "16", "edge of the square cut out of an image",
           .also = "cutout-length"),
    PN_ROW_AUXILIARY(NULL,
                     "the auxiliary head [on if the network halves 32 or 224 pixels as it wants]"),
    PN_ROW_AUXILIARY_WEIGHT("weight of the auxiliary loss"),
    PN_ROW_POOL_NORM("0"),
    PN_REAL("smoothing", smoothing, 0, 0.99, "X", "0", "label smoothing",
            .also = "label-smoothing"),
    PN_ROW_AUGMENT,
    PN_FLAG("hold-out", hold_out, NULL,
            "train on half of the training images and score on the other, not on the test images "
            "[on, but for cifar10, fashion-mnist and synthetic]"),
    PN_ROW_RECOMPUTE("0"),
    PN_INT("score-every", score_every, 1, 1e6, "1", "epochs from one score to the next"),
    PN_ROW_SEED(NULL), /* of weights, batches and drop-path */
};
const pn_fields pn_train_fields = PN_FIELDS(rows);

pn_train_settings pn_train_defaults(void) {
    pn_train_settings s = {0};
    pn_fields_defaults(&pn_train_fields, &s);
    return s;
}

pn_network_spec pn_train_network(const pn_train_settings *r, const pn_data *data) {
    return (pn_network_spec){.evaluation = true,
                             .imagenet_stem = !strcmp(r->stem, "imagenet"),
                             .pool_norm = r->pool_norm == 1,
                             .layers = (int)r->layers,
                             .channels = (int)r->channels,
                             .H = data->H,
                             .W = data->W,
                             .image_channels = data->C,
                             .classes = data->classes,
                             .auxiliary = r->auxiliary == 1,
                             .smoothing = (float)r->smoothing};
}

pn_status pn_train_arch(const pn_train_settings *r, pn_arch *arch) {
    return pn_genotype_read(r->genotype, strlen(r->genotype), arch);
}

/* Everybody scores on the test images of these. Of one's own, they should stay unseen: every epoch
 * is scored, and the best is kept. */
static bool is_benchmark(const pn_data *data) {
    static const char *const names[] = {"cifar10", "fashion-mnist", "synthetic"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(data->name, names[i])) return data->own_test;
    return false;
}

pn_status pn_train_resolve(pn_train_settings *r, const pn_data *data) {
    const pn_network_sizes usual = pn_network_defaults(true, !strcmp(r->stem, "imagenet"));
    if (r->layers == PN_UNSET) r->layers = usual.layers;
    if (r->channels == PN_UNSET) r->channels = usual.channels;
    if (r->batch == PN_UNSET) r->batch = usual.batch;
    if (r->hold_out == PN_UNSET) r->hold_out = !is_benchmark(data);
    const int images = r->hold_out ? data->count / 2 : data->count;
    if (!r->genotype[0]) return pn_fail(PN_EARG, "want --genotype G, the cell to be trained");
    if (r->batch > images)
        return pn_fail(PN_EARG, "--batch %lld, want at most %d: the images to train on",
                       (long long)r->batch, images);
    PN_TRY(pn_shards_check(r->shards, r->batch));
    const pn_network_spec spec = pn_train_network(r, data);
    const bool fits = pn_network_auxiliary_fits(&spec);
    if (r->auxiliary == 1 && !fits)
        return pn_fail(
            PN_EARG,
            "--auxiliary: its pool does not fit images of %dx%d, want 32x32 (stem cifar) or "
            "224x224 (stem imagenet), and --layers at least 2",
            data->H, data->W);
    if (r->auxiliary == PN_UNSET) r->auxiliary = fits;
    return PN_OK;
}

double pn_train_rate(const pn_train_settings *r, int64_t epoch) {
    const double cosine = cos(acos(-1) * (double)epoch / (double)r->epochs);
    return r->rate_end + (r->rate - r->rate_end) * (1 + cosine) / 2;
}

double pn_train_drop_path(const pn_train_settings *r, int64_t epoch) {
    return r->drop_path * (double)epoch / (double)r->epochs;
}
