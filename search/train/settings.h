/* recipe.h -- everything that decides what a training from scratch does, in one table (fields.h).
 *
 * The defaults are the protocol by which DARTS and PARSEC train the cell that a search found, on
 * CIFAR-10 (Liu, Simonyan, Yang 2019, appendix A.2.2): 20 cells, 36 channels, 600 epochs of batches
 * of 96, SGD on a cosine that moves once an epoch, cutout, drop-path that grows from epoch to
 * epoch, an auxiliary head. One deviation: of an epoch only whole batches are used, 520 instead of
 * 521. */
#ifndef PN_RECIPE_H
#define PN_RECIPE_H

#include "runtime/batches.h"
#include "search/network/genotype.h"
#include "search/network/network.h"
#include "search/rundir/fields.h"

typedef struct pn_recipe {
    char genotype[PN_GENOTYPE_BYTES]; /* DARTS notation */
    char data[PN_TEXT_BYTES];         /* as pn_data_open takes it */
    char stem[16];                    /* cifar, imagenet */
    int64_t layers, channels, epochs, batch, cutout, score_every;
    uint64_t seed;
    double rate, rate_end, momentum, decay, clip, drop_path, auxiliary_weight, smoothing;
    int64_t auxiliary, augment, hold_out; /* 0, 1, PN_UNSET */
} pn_recipe;

extern const pn_fields pn_recipe_fields;

pn_recipe pn_recipe_defaults(void);

/* Fills in what is unset and checks what depends on the images. PN_EARG. */
pn_status pn_recipe_resolve(pn_recipe *recipe, const pn_data *data);

/* The network of a resolved recipe, for images and classes of `data`; and its architecture. */
pn_network_spec pn_recipe_network(const pn_recipe *recipe, const pn_data *data);
pn_status pn_recipe_arch(const pn_recipe *recipe, pn_arch *arch);

/* In epoch 0, 1, ...: SGD's rate, and the probability that a term is dropped. */
double pn_recipe_rate(const pn_recipe *recipe, int64_t epoch);
double pn_recipe_drop_path(const pn_recipe *recipe, int64_t epoch);

#endif
