/* settings.c -- the table of a training's settings, and what follows from it. */
#include "search/train/settings.h"

#include <math.h>
#include <string.h>

#define TEXT(...) PN_TEXT_FIELD(pn_train_settings, __VA_ARGS__)
#define INT(...) PN_INT_FIELD(pn_train_settings, __VA_ARGS__)
#define SEED(...) PN_SEED_FIELD(pn_train_settings, __VA_ARGS__)
#define REAL(...) PN_REAL_FIELD(pn_train_settings, __VA_ARGS__)
#define FLAG(...) PN_FLAG_FIELD(pn_train_settings, __VA_ARGS__)

static const pn_field rows[] = {
    TEXT("genotype", genotype, NULL, "G",
         "the cell: a published name, a file, a search's directory, or the text itself"),
    TEXT("data", data, NULL, "D",
         "images: cifar10, fashion-mnist, synthetic[:COUNTxHxWxC], or a directory [cifar10]"),
    TEXT("stem", stem, "cifar|imagenet", "STEM",
         "first convolutions: cifar (one) or imagenet (three, each halves the image) [cifar]"),
    INT("layers", layers, 1, PN_MAX_LAYERS, "cells of the network [20; imagenet 14]"),
    {"channels", PN_FIELD_INT, 4, offsetof(pn_train_settings, channels), 0, 4, 4096, NULL, "N",
     "channels of the first cells, a multiple of 4 [36; imagenet 48]"},
    INT("epochs", epochs, 1, 1e6, "passes over the training images [600]"),
    INT("batch", batch, 1, 1 << 20, "images a batch [96; imagenet 128]"),
    REAL("rate", rate, 0, 1e3, "SGD's rate, of the first epoch, on a cosine [0.025]"),
    REAL("rate-end", rate_end, 0, 1e3, "where the cosine ends [0]"),
    REAL("momentum", momentum, 0, 1, "SGD's momentum [0.9]"),
    REAL("decay", decay, 0, 1e3, "SGD's weight decay [0.0003]"),
    REAL("clip", clip, 0, 1e12, "largest norm of the gradient, 0 = no limit [5]"),
    REAL("drop-path", drop_path, 0, 0.99,
         "probability that a term of a node is dropped for an image, in the end; it grows "
         "linearly from 0 [0.2]"),
    INT("cutout", cutout, 0, PN_MAX_IMAGE_EDGE, "edge of the square cut out of an image [16]"),
    FLAG("auxiliary", auxiliary,
         "the auxiliary head [on if the network halves 32 or 224 pixels as it wants]"),
    REAL("auxiliary-weight", auxiliary_weight, 0, 1e3, "weight of the auxiliary loss [0.4]"),
    REAL("smoothing", smoothing, 0, 0.99, "label smoothing [0]"),
    FLAG("augment", augment, "random crops and flips [on]"),
    FLAG("hold-out", hold_out,
         "train on half of the training images and score on the other, not on the test images"),
    INT("score-every", score_every, 1, 1e6, "epochs from one score to the next [1]"),
    SEED("seed", seed, NULL), /* of weights, batches and drop-path */
};
const pn_fields pn_train_fields = {rows, sizeof rows / sizeof *rows};

pn_train_settings pn_train_defaults(void) {
    return (pn_train_settings){.data = "cifar10",
                               .stem = "cifar",
                               .layers = PN_UNSET,
                               .channels = PN_UNSET,
                               .epochs = 600,
                               .batch = PN_UNSET,
                               .cutout = 16,
                               .score_every = 1,
                               .seed = 1,
                               .rate = 0.025,
                               .momentum = 0.9,
                               .decay = 3e-4,
                               .clip = 5,
                               .drop_path = 0.2,
                               .auxiliary_weight = 0.4,
                               .auxiliary = PN_UNSET,
                               .augment = 1};
}

pn_network_spec pn_train_network(const pn_train_settings *r, const pn_data *data) {
    return (pn_network_spec){.evaluation = true,
                             .imagenet_stem = !strcmp(r->stem, "imagenet"),
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

pn_status pn_train_resolve(pn_train_settings *r, const pn_data *data) {
    const pn_network_sizes usual = pn_network_defaults(true, !strcmp(r->stem, "imagenet"));
    if (r->layers == PN_UNSET) r->layers = usual.layers;
    if (r->channels == PN_UNSET) r->channels = usual.channels;
    if (r->batch == PN_UNSET) r->batch = usual.batch;
    const int images = r->hold_out ? data->count / 2 : data->count;
    if (!r->genotype[0]) return pn_fail(PN_EARG, "want --genotype G, the cell to be trained");
    if (r->batch > images)
        return pn_fail(PN_EARG, "--batch %lld, want at most %d: the images to train on",
                       (long long)r->batch, images);
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
