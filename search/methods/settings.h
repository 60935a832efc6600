/* settings.h -- everything that decides what a search does, in one table (fields.h). */
#ifndef PN_SETTINGS_H
#define PN_SETTINGS_H

#include "kernels/api.h"
#include "search/methods/model.h"
#include "search/rundir/fields.h"

PN_API_BEGIN

typedef struct pn_settings {
    char data[PN_TEXT_BYTES]; /* as pn_data_open takes it */
    char method[16];          /* a name of method.c */
    char rule[16];
    int64_t layers, channels, batch, shards, samples, epochs, steps, warmup;
    uint64_t seed;
    double temperature, temperature_v, rate_pi, rate, rate_end, momentum, decay, clip, skip_below;
    double samples_per_nat, entropy_end, rate_alpha, decay_alpha, epsilon, tau, tau_end, drop_path,
        resource_weight;
    int64_t restart, select, select_batches, finalists, final_batches, order;
    char resource[16], resource_form[16], resource_of[16];
    char found[16]; /* "mode", "supported"; "auto": as the rule has it */
    double time;    /* seconds by which `steps` were chosen (pace.h), or PN_UNSET_REAL */
    int64_t evidence, baseline, distinct_inputs, freeze_weights, augment, share_slot, warmup_prior,
        keep_weights, nesterov, recompute, all_images; /* 0, 1, PN_UNSET */
    char prior[PN_TEXT_BYTES];                         /* where pi came from; "" = uniform */
} pn_settings;

extern const pn_fields pn_settings_fields;

/* All unset but what has one value for everybody. */
pn_settings pn_settings_defaults(void);

/* Fills in what is unset, from the method and the data, so that nothing is left to a default that
 * a later version could change. */
pn_status pn_settings_resolve(pn_settings *settings, const pn_data *data);

/* *field = value, if it is PN_UNSET, or PN_UNSET_REAL. */
void pn_settings_fill(int64_t *field, int64_t value);
void pn_settings_fill_real(double *field, double value);

/* Resolved settings in the form that the model wants them. */
pn_model_settings pn_settings_model(const pn_settings *settings, const pn_data *data,
                                    size_t memory);

PN_API_END

#endif
