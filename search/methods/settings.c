/* settings.c -- the table of settings and what is derived from it. */
#include "search/methods/settings.h"

#include "search/methods/method.h"
#include "search/rundir/rows.h"

#define PN_OF pn_settings

static const pn_field rows[] = {
    PN_ROW_DATA("fashion-mnist",
                "images: fashion-mnist, cifar10, synthetic[:COUNTxHxWxC], a directory, "
                "or what 'data pack' wrote; DIR@96: pictures at 96x96; NAME/2: at half the size"),
    PN_TEXT("method", method, "parsec|random|darts|gdas|snas", "METHOD", "parsec",
            "how to search: parsec, a distribution over cells; random: uniform cells, of which the "
            "best by the shared weights is found; darts: weights of all ops on all edges; gdas: "
            "one drawn op an edge; snas: drawn weights of all, and what they cost"),
    PN_TEXT("rule", rule, "auto|paper|practical|evidence", "RULE", "auto",
            "preset of the options marked *: paper (literal), practical or evidence; auto: "
            "evidence, but practical with --samples, --prior, --freeze-weights, --rate-pi or "
            "--temperature"),
    PN_ROW_LAYERS("8", "cells of the network"),
    PN_ROW_CHANNELS("16", "channels of the first cells, a multiple of 4"),
    PN_ROW_BATCH("64", "images a batch, of either half"),
    PN_ROW_SHARDS("1"),
    PN_INT("samples", samples, 1, PN_MAX_SAMPLES, NULL, "* architectures a step (K)", .also = "k"),
    PN_REAL("samples-per-nat", samples_per_nat, 1e-3, 100, "X", NULL,
            "in place of --samples: K = X times the entropy of pi in nats, at least 2 (FP-NAS: "
            "0.25)"),
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
    PN_INT("select", select, 1, 1e6, NULL,
           "of --method random: so many of the last steps judge a cell each [a tenth, at most "
           "1000]"),
    PN_INT("select-batches", select_batches, 1, 1e6, NULL,
           "of --method random: validation batches that judge a cell [10]"),
    PN_INT("finalists", finalists, 0, 100, NULL,
           "of --method random: the best of --select, a step each behind theirs judges them once "
           "more [a tenth, at most 10]"),
    PN_INT("final-batches", final_batches, 1, 1e9, NULL,
           "of --method random: validation batches that judge a finalist [the whole half]"),
    PN_INT("order", order, 1, 2, NULL,
           "of darts: of the logits' gradient; 2 looks one step of the weights ahead: five passes "
           "of the supernet in place of two [1]"),
    PN_REAL("epsilon", epsilon, 1e-9, 1e3, "X", NULL,
            "of --order 2: how far from the weights its finite difference is taken [0.01]"),
    PN_REAL("rate-alpha", rate_alpha, 1e-9, 1e3, "X", NULL,
            "of darts, gdas and snas: Adam's rate for the logits [0.0003]"),
    PN_REAL("decay-alpha", decay_alpha, 0, 1e3, "X", NULL,
            "of darts, gdas and snas: L2 term of the logits [0.001]"),
    PN_REAL("tau", tau, 1e-3, 1e3, "X", NULL,
            "of gdas and snas: first temperature of their noise [10; snas 1]"),
    PN_REAL("tau-end", tau_end, 1e-3, 1e3, "X", NULL,
            "of gdas and snas: last one, falling evenly [0.1; snas 0.03]"),
    PN_REAL("drop-path", drop_path, 0, 0.9, "P", NULL,
            "of snas: probability that an image's edge is dropped [0.3]"),
    PN_TEXT(
        "resource", resource, "auto|none|mild|moderate|aggressive", "HOW", "auto",
        "of snas: how much a cell's cost counts beside the loss; which weights made the cells "
        "of these names is published nowhere: here mild is 0.15 of the code's own, moderate 0.4, "
        "aggressive all of it [mild]"),
    PN_REAL("resource-weight", resource_weight, 0, 1e12, "X", NULL,
            "of snas: what the cost is multiplied by [mild, of logarithms: 0.0015]"),
    PN_TEXT("resource-form", resource_form, "auto|log|linear", "FORM", "auto",
            "of snas: logarithms of size, flops and memory access, or a sum of them [log]"),
    PN_TEXT("resource-of", resource_of, "auto|drawn|expected|policy-gradient", "OF", "auto",
            "of snas: whose cost: of the weights as drawn, differentiated through the draw or by "
            "policy gradient, or of the softmax of the logits [drawn]"),
    PN_FLAG("all-images", all_images, NULL,
            "of snas: train on all images and keep no half for validation [on]"),
    PN_FLAG("freeze-weights", freeze_weights, "0", "learn pi alone, forward only"),
    PN_REAL("rate-pi", rate_pi, 1e-9, 1e3, "X", NULL,
            "Adam's rate for pi [50 / steps of pi, at most 0.1]"),
    PN_ROW_RATE("SGD's rate, first of a cosine"),
    PN_ROW_RATE_END(NULL, "* SGD's rate, last of the cosine [0.001; by evidence as the first]"),
    PN_REAL("momentum", momentum, 0, 1, "X", "0.9", "SGD's momentum"),
    PN_REAL("decay", decay, 0, 1e3, "X", NULL, "SGD's weight decay [0.0003; gdas 0.0005]",
            .also = "weight-decay|wd"),
    PN_REAL("clip", clip, 0, 1e12, "X", NULL,
            "largest norm of the gradient, 0 = no limit [5; random 0.25]",
            .also = "grad-clip|gradient-clip|clip-norm"),
    PN_FLAG("nesterov", nesterov, NULL, "SGD with Nesterov's momentum [off; gdas on]"),
    PN_REAL("skip-below", skip_below, 0, 1, "X", "0x1p-24",
            "skip a backward whose relative weight is below [2^-24]"),
    PN_ROW_AUGMENT,
    PN_ROW_SHARE_SLOT("0"),
    PN_ROW_RECOMPUTE("0"),
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

void pn_settings_fill(int64_t *field, int64_t value) {
    if (*field == PN_UNSET) *field = value;
}

void pn_settings_fill_real(double *field, double value) {
    if (*field == PN_UNSET_REAL) *field = value;
}

pn_status pn_settings_resolve(pn_settings *s, const pn_data *data) {
    const int64_t half = data->count / 2;
    if (s->batch > half)
        return pn_fail(PN_EARG, "--batch %lld, want at most %lld: half of the %d images",
                       (long long)s->batch, (long long)half, data->count);
    PN_TRY(pn_shards_check(s->shards, s->batch));
    if (s->recompute && s->freeze_weights)
        return pn_fail(PN_EARG,
                       "--recompute with --freeze-weights, want one of them: a search without "
                       "backward passes keeps nothing for them");
    pn_settings_fill(&s->all_images, pn_method_of(s)->all_images);
    pn_settings_fill(&s->steps, s->epochs * ((s->all_images ? data->count : half) / s->batch));
    PN_TRY(pn_method_of(s)->resolve(s, data));
    pn_settings_fill_real(&s->rate_end, 0.001);
    pn_settings_fill_real(&s->decay, 0.0003);
    pn_settings_fill_real(&s->clip, 5);
    pn_settings_fill(&s->nesterov, 0);
    return PN_OK;
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
        .shards = (int)s->shards,
        .seed = s->seed,
        .augment = s->augment,
        .frozen = s->freeze_weights == 1,
        .all_images = s->all_images == 1,
        .drop_path = pn_method_of(s)->drop_path && s->drop_path > 0,
        .recompute = s->recompute == 1,
        .memory = memory,
        .temperature = s->temperature_v,
        .skip_below = s->skip_below,
        .momentum = (float)s->momentum,
        .decay = (float)s->decay,
        .clip = (float)s->clip,
        .nesterov = s->nesterov,
        .look_ahead = s->order == 2,
        .kind = pn_method_of(s)->model,
    };
}
