/* settings.h -- everything that decides what a training from scratch does, in one table (fields.h).
 *
 * The defaults are the protocol by which DARTS and PARSEC train the cell that a search found, on
 * CIFAR-10 (Liu, Simonyan, Yang 2019, appendix A.2.2): 20 cells, 36 channels, 600 epochs of batches
 * of 96, SGD on a cosine that moves once an epoch, cutout, drop-path that grows from epoch to
 * epoch, an auxiliary head. One deviation: of an epoch only whole batches are used, 520 instead of
 * 521. */
#ifndef PN_TRAIN_SETTINGS_H
#define PN_TRAIN_SETTINGS_H

#include "kernels/api.h"
#include "runtime/batches.h"
#include "search/network/genotype.h"
#include "search/network/network.h"
#include "search/rundir/fields.h"

PN_API_BEGIN

typedef struct pn_train_settings {
    char genotype[PN_GENOTYPE_BYTES]; /* DARTS notation */
    char data[PN_TEXT_BYTES];         /* as pn_data_open takes it */
    char stem[16];                    /* cifar, imagenet */
    int64_t layers, channels, epochs, batch, shards, cutout, score_every;
    uint64_t seed;
    double rate, rate_end, momentum, decay, clip, drop_path, auxiliary_weight, smoothing;
    double time; /* seconds by which `epochs` were chosen (pace.h), or PN_UNSET_REAL */
    int64_t auxiliary, pool_norm, augment, hold_out, recompute; /* 0, 1, PN_UNSET */
} pn_train_settings;

extern const pn_fields pn_train_fields;

pn_train_settings pn_train_defaults(void);

/* Fills in what is unset (sizes as pn_network_defaults for the stem) and checks what depends on the
 * images. PN_EARG. */
pn_status pn_train_resolve(pn_train_settings *settings, const pn_data *data);

/* The network of resolved settings, for images and classes of `data`; and its architecture. */
pn_network_spec pn_train_network(const pn_train_settings *settings, const pn_data *data);
pn_status pn_train_arch(const pn_train_settings *settings, pn_arch *arch);

/* In epoch 0, 1, ...: SGD's rate, and the probability that a term is dropped. */
double pn_train_rate(const pn_train_settings *settings, int64_t epoch);
double pn_train_drop_path(const pn_train_settings *settings, int64_t epoch);

PN_API_END

#endif
