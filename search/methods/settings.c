/* settings.c -- the table of settings and what is derived from it. */
#include "search/methods/settings.h"

#define TEXT(...) PN_TEXT_FIELD(pn_settings, __VA_ARGS__)
#define INT(...) PN_INT_FIELD(pn_settings, __VA_ARGS__)
#define SEED(...) PN_SEED_FIELD(pn_settings, __VA_ARGS__)
#define REAL(...) PN_REAL_FIELD(pn_settings, __VA_ARGS__)
#define FLAG(...) PN_FLAG_FIELD(pn_settings, __VA_ARGS__)

static const pn_field rows[] = {
    TEXT("data", data, NULL, "D",
         "images: fashion-mnist, cifar10, synthetic[:COUNTxHxWxC], or a directory"),
    TEXT("rule", rule, "paper|practical", "RULE",
         "preset of the options marked *: paper (literal) or practical"),
    INT("layers", layers, 1, PN_MAX_LAYERS, "cells of the network [8]"),
    {"channels", PN_FIELD_INT, 4, offsetof(pn_settings, channels), 0, 4, 4096, NULL, "N",
     "channels of the first cells, a multiple of 4 [16]"},
    INT("batch", batch, 1, 1 << 20, "images a batch, of either half [64]"),
    INT("samples", samples, 2, PN_MAX_SAMPLES, "* architectures a step (K)"),
    INT("epochs", epochs, 1, 1e6, "passes over the training half, if --steps is not given [100]"),
    INT("steps", steps, 1, 1e12, "steps of the whole search"),
    INT("warmup", warmup, 0, 1e12, "* first steps that train the weights alone"),
    REAL("temperature", temperature, 1e-6, 1e12,
         "* T of the weights of pi: 1 = sum over the batch, batch size = mean"),
    REAL("temperature-weights", temperature_v, 1e-6, 1e12,
         "T of the weights of the shared weights' gradient [1]"),
    FLAG("baseline", baseline, "* subtract 1/K from the weights of pi (a control variate)"),
    FLAG("distinct-inputs", distinct_inputs, "* the two inputs of a node differ"),
    FLAG("freeze-weights", freeze_weights, "learn pi alone, forward only"),
    REAL("rate-pi", rate_pi, 1e-9, 1e3, "Adam's rate for pi [50 / steps of pi, at most 0.1]"),
    REAL("rate", rate_v, 0, 1e3, "SGD's rate, first of a cosine [0.025]"),
    REAL("rate-end", rate_v_end, 0, 1e3, "SGD's rate, last of the cosine [0.001]"),
    REAL("momentum", momentum, 0, 1, "SGD's momentum [0.9]"),
    REAL("decay", decay, 0, 1e3, "SGD's weight decay [0.0003]"),
    REAL("clip", clip, 0, 1e12, "largest norm of the gradient, 0 = no limit [5]"),
    REAL("skip-below", skip_below, 0, 1, "skip a backward whose relative weight is below [2^-24]"),
    FLAG("augment", augment, "random crops and flips [on]"),
    FLAG("share-slot", share_slot, "separate weights for the two terms of a node [off]"),
    SEED("seed", seed, "seed for weights, batches and samples [1]"),
    TEXT("prior", prior, NULL, "RUN", "begin from the pi of another run (directory or checkpoint)"),
    FLAG("warmup-prior", warmup_prior,
         "warm up with architectures drawn from pi, not uniformly [on with --prior]"),
    FLAG("keep-weights", keep_weights,
         "with --prior: also its shared weights, of the same network; then no warm-up [off]"),
};
const pn_fields pn_settings_fields = {rows, sizeof rows / sizeof *rows};

pn_settings pn_settings_defaults(void) {
    const pn_network_sizes usual = pn_network_defaults(false, false);
    return (pn_settings){.data = "fashion-mnist",
                         .rule = "practical",
                         .layers = usual.layers,
                         .channels = usual.channels,
                         .batch = usual.batch,
                         .samples = PN_UNSET,
                         .epochs = 100,
                         .steps = PN_UNSET,
                         .warmup = PN_UNSET,
                         .seed = 1,
                         .temperature = PN_UNSET_REAL,
                         .temperature_v = 1,
                         .rate_pi = PN_UNSET_REAL,
                         .rate_v = 0.025,
                         .rate_v_end = 0.001,
                         .momentum = 0.9,
                         .decay = 3e-4,
                         .clip = 5,
                         .skip_below = 0x1p-24,
                         .baseline = PN_UNSET,
                         .distinct_inputs = PN_UNSET,
                         .freeze_weights = 0,
                         .augment = 1,
                         .share_slot = 0,
                         .warmup_prior = PN_UNSET,
                         .keep_weights = 0};
}

/* ---- what is left open ----------------------------------------------------------------------- */

static void fill(int64_t *field, int64_t value) {
    if (*field == PN_UNSET) *field = value;
}

pn_status pn_settings_resolve(pn_settings *s, const pn_data *data) {
    const int64_t half = data->count / 2;
    if (s->batch > half)
        return pn_fail(PN_EARG, "--batch %lld, want at most %lld: half of the %d images",
                       (long long)s->batch, (long long)half, data->count);
    fill(&s->steps, s->epochs * (half / s->batch));
    pn_rule rule;
    PN_TRY(pn_rule_read(s->rule, &rule));
    const pn_search_settings preset = rule == PN_RULE_PAPER
                                          ? pn_rule_paper(s->steps)
                                          : pn_rule_practical(s->steps, (int)s->batch);
    fill(&s->samples, preset.samples);
    fill(&s->warmup, s->freeze_weights || s->keep_weights ? 0 : preset.warmup);
    fill(&s->warmup_prior, s->prior[0] != 0);
    if (s->keep_weights && !s->prior[0])
        return pn_fail(PN_EARG, "--keep-weights wants --prior RUN, whose weights are kept");
    fill(&s->baseline, preset.baseline);
    fill(&s->distinct_inputs, preset.distinct_inputs);
    if (s->temperature == PN_UNSET_REAL) s->temperature = preset.temperature;
    if (s->warmup > s->steps)
        return pn_fail(PN_EARG, "--warmup %lld, want at most the %lld steps of the search",
                       (long long)s->warmup, (long long)s->steps);
    return PN_OK;
}

pn_search_settings pn_settings_search(const pn_settings *s) {
    pn_search_settings out = pn_rule_paper(s->steps);
    (void)pn_rule_read(s->rule, &out.rule); /* it has been read before */
    out.samples = (int)s->samples;
    out.warmup = s->warmup;
    out.warmup_prior = s->warmup_prior;
    out.temperature = s->temperature;
    out.temperature_v = s->temperature_v;
    out.baseline = s->baseline;
    out.distinct_inputs = s->distinct_inputs;
    out.freeze_weights = s->freeze_weights;
    out.rate_pi = s->rate_pi == PN_UNSET_REAL ? 0 : s->rate_pi;
    out.rate_v = s->rate_v;
    out.rate_v_end = s->rate_v_end;
    out.seed = s->seed;
    return out;
}

pn_model_settings pn_settings_model(const pn_settings *s, const pn_data *data, size_t memory) {
    return (pn_model_settings){
        .network = {.layers = (int)s->layers,
                    .channels = (int)s->channels,
                    .H = data->H,
                    .W = data->W,
                    .image_channels = data->C,
                    .classes = data->classes,
                    .share_slot = s->share_slot},
        .N = (int)s->batch,
        .seed = s->seed,
        .augment = s->augment,
        .memory = memory,
        .temperature = s->temperature_v,
        .skip_below = s->skip_below,
        .momentum = (float)s->momentum,
        .decay = (float)s->decay,
        .clip = (float)s->clip,
    };
}
