/* settings.c -- the table of settings and what is derived from it. */
#include "search/methods/settings.h"

#include <stdio.h>
#include <string.h>

#include "search/rundir/rows.h"

#define PN_OF pn_settings

static const pn_field rows[] = {
    PN_ROW_DATA("fashion-mnist",
                "images: fashion-mnist, cifar10, synthetic[:COUNTxHxWxC], a directory, "
                "or what 'data pack' wrote; DIR@96: pictures at 96x96; NAME/2: at half the size"),
    PN_TEXT("rule", rule, "auto|paper|practical|evidence", "RULE", "auto",
            "preset of the options marked *: paper (literal), practical or evidence; auto: "
            "evidence, but practical with --samples, --prior, --freeze-weights, --rate-pi or "
            "--temperature"),
    PN_ROW_LAYERS("8", "cells of the network"),
    PN_ROW_CHANNELS("16", "channels of the first cells, a multiple of 4"),
    PN_ROW_BATCH("64", "images a batch, of either half"),
    PN_INT("samples", samples, 1, PN_MAX_SAMPLES, NULL, "* architectures a step (K)", .also = "k"),
    PN_ROW_EPOCHS("100", "passes over the training half, if --steps is not given"),
    PN_INT("steps", steps, 1, 1e12, NULL, "steps of the whole search",
           .also = "iterations|max-steps"),
    PN_ROW_TIME("about how long, as 30m or 4h: chooses the steps by the first 20"),
    PN_INT("warmup", warmup, 0, 1e12, NULL,
           "* first steps: train the weights alone, or, by evidence, draw uniformly"),
    PN_REAL("temperature", temperature, 1e-6, 1e12, "X", NULL,
            "* T of the weights of pi: 1 = sum over the batch, batch size = mean"),
    PN_REAL("temperature-weights", temperature_v, 1e-6, 1e12, "X", "1",
            "T of the weights of the shared weights' gradient"),
    PN_FLAG("baseline", baseline, NULL,
            "* subtract 1/K from the weights of pi (a control variate)"),
    PN_FLAG("distinct-inputs", distinct_inputs, NULL, "* the two inputs of a node differ"),
    PN_FLAG("evidence", evidence, NULL,
            "* learn pi from the training likelihoods of all steps, one architecture each"),
    PN_REAL("entropy-end", entropy_end, 0, 1e3, "X", NULL,
            "* entropy of pi at the last step of --evidence, in nats [24]"),
    PN_INT("restart", restart, 0, 1e12, NULL,
           "* begin the shared weights anew every so many steps of --evidence; 0: never"),
    PN_TEXT("found", found, "auto|mode|supported", "CELL", "auto",
            "* cell found: pi's mode, or the best that is like those trained in the warm-up"),
    PN_FLAG("freeze-weights", freeze_weights, "0", "learn pi alone, forward only"),
    PN_REAL("rate-pi", rate_pi, 1e-9, 1e3, "X", NULL,
            "Adam's rate for pi [50 / steps of pi, at most 0.1]"),
    PN_ROW_RATE("SGD's rate, first of a cosine"),
    PN_ROW_RATE_END(NULL, "* SGD's rate, last of the cosine [0.001; by evidence as the first]"),
    PN_ROWS_SGD,
    PN_REAL("skip-below", skip_below, 0, 1, "X", "0x1p-24",
            "skip a backward whose relative weight is below [2^-24]"),
    PN_ROW_AUGMENT,
    PN_ROW_SHARE_SLOT("0"),
    PN_ROW_SEED("seed for weights, batches and samples"),
    PN_PATH("prior", prior, NULL, "RUN", NULL,
            "begin from the pi of another run (directory or checkpoint)"),
    PN_FLAG("warmup-prior", warmup_prior, NULL,
            "warm up with architectures drawn from pi, not uniformly [on with --prior]"),
    PN_FLAG("keep-weights", keep_weights, "0",
            "with --prior: also its shared weights, of the same network; then no warm-up [off]"),
};
const pn_fields pn_settings_fields = PN_FIELDS(rows);

pn_settings pn_settings_defaults(void) {
    pn_settings s = {0};
    pn_fields_defaults(&pn_settings_fields, &s);
    return s;
}

/* ---- what is left open ----------------------------------------------------------------------- */

static void fill(int64_t *field, int64_t value) {
    if (*field == PN_UNSET) *field = value;
}

/* By evidence a step has one sample, trained, and the first pi is uniform. */
static bool wants_samples(const pn_settings *s) {
    return (s->samples != PN_UNSET && s->samples > 1) || s->evidence == 0 || s->freeze_weights ||
           s->prior[0] || s->rate_pi != PN_UNSET_REAL || s->temperature != PN_UNSET_REAL;
}

pn_status pn_settings_resolve(pn_settings *s, const pn_data *data) {
    const int64_t half = data->count / 2;
    if (s->batch > half)
        return pn_fail(PN_EARG, "--batch %lld, want at most %lld: half of the %d images",
                       (long long)s->batch, (long long)half, data->count);
    fill(&s->steps, s->epochs * (half / s->batch));
    if (!strcmp(s->rule, "auto"))
        snprintf(s->rule, sizeof s->rule, "%s", wants_samples(s) ? "practical" : "evidence");
    pn_rule rule;
    PN_TRY(pn_rule_read(s->rule, &rule));
    const pn_search_settings preset = pn_rule_preset(rule, s->steps, (int)s->batch);
    fill(&s->evidence, preset.evidence);
    fill(&s->samples, s->evidence ? 1 : preset.samples > 1 ? preset.samples : 4);
    if (s->rate_end == PN_UNSET_REAL) s->rate_end = s->evidence ? s->rate : preset.rate_v_end;
    if (s->entropy_end == PN_UNSET_REAL) s->entropy_end = pn_rule_evidence(1).entropy_end;
    fill(&s->restart, s->evidence ? preset.restart : 0);
    if (!strcmp(s->found, "auto"))
        snprintf(s->found, sizeof s->found, "%s", preset.found_supported ? "supported" : "mode");
    if (s->evidence && s->prior[0])
        return pn_fail(PN_EARG, "--evidence begins from the uniform pi, not with --prior");
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
    out.evidence = s->evidence;
    out.entropy_end = s->entropy_end;
    out.restart = s->restart;
    out.found_supported = !strcmp(s->found, "supported");
    out.freeze_weights = s->freeze_weights;
    out.rate_pi = s->rate_pi == PN_UNSET_REAL ? 0 : s->rate_pi;
    out.rate_v = s->rate;
    out.rate_v_end = s->rate_end;
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
