/* standalone.c -- see standalone.h. */
#include "search/methods/standalone.h"

#include <math.h>
#include <stdlib.h>

pn_standalone_settings pn_standalone_defaults(void) {
    return (pn_standalone_settings){.model = pn_model_defaults(),
                                    .steps = 600,
                                    .rate = 0.025,
                                    .rate_end = 0.001,
                                    .images = 10000};
}

static pn_status train(pn_model *m, const pn_standalone_settings *s, const pn_arch *arch) {
    const pn_evaluator e = pn_model_evaluator(m);
    for (int64_t step = 0; step < s->steps; step++) {
        pn_evaluation out;
        double norm;
        PN_TRY(e.begin(e.self, step));
        PN_TRY(e.train(e.self, 0, arch));
        PN_TRY(e.update(e.self, pn_cosine_rate(s->rate, s->rate_end, step, s->steps)));
        PN_TRY(e.finish(e.self, 1, &out, &norm));
        if (!isfinite(norm) || !isfinite(out.train_ll))
            return pn_fail(PN_EDIVERGED, "step %lld: the loss or its gradient is not finite",
                           (long long)step);
    }
    return PN_OK;
}

/* Scores on a half of a data set, or all of it, without augmentation. */
static pn_status score(pn_model *m, const pn_arch *arch, const pn_data *data, pn_half half,
                       int images, pn_score *out) {
    const pn_batch_stream stream = {.half = half, .N = m->settings.N};
    pn_batches *batches = NULL;
    double log_likelihood = 0;
    PN_TRY(pn_batches_create(data, &stream, 1, m->settings.seed, &batches));
    int64_t steps = pn_batches_steps_per_epoch(batches, 0);
    const int64_t most = images / m->settings.N > 0 ? images / m->settings.N : 1;
    if (steps > most) steps = most;
    pn_status s = pn_model_score_on(m, arch, batches, 0, steps, &log_likelihood, &out->accuracy);
    out->loss = -log_likelihood;
    pn_batches_free(batches);
    if (s == PN_OK && !isfinite(out->loss))
        s = pn_fail(PN_EDIVERGED, "the loss on %s is not finite", data->name);
    return s;
}

pn_status pn_standalone_train(const pn_kernels *kernels, const pn_standalone_settings *settings,
                              const pn_data *train_data, const pn_data *test, const pn_arch *arch,
                              pn_score *validation, pn_score *held_out) {
    const pn_space space = pn_space_darts();
    pn_model model;
    PN_TRY(pn_model_create(&model, kernels, &space, &settings->model, train_data, 1));
    pn_status s = train(&model, settings, arch);
    if (s == PN_OK)
        s = score(&model, arch, train_data, PN_HALF_SECOND, settings->images, validation);
    if (s == PN_OK) s = score(&model, arch, test, PN_HALF_BOTH, settings->images, held_out);
    pn_model_destroy(&model);
    return s;
}

double pn_search_cost(const pn_search_settings *s) {
    const double each = s->evidence         ? 1
                        : s->freeze_weights ? s->samples / 3.0
                                            : s->samples * 4 / 3.0;
    const int64_t warm = s->steps < s->warmup ? s->steps : s->warmup;
    return (double)warm + (double)(s->steps - warm) * each;
}

/* Of `count` cells, the one with r better ones is the best of n of them in C(count-1-r, n-1) of
 * C(count, n) choices. */
double pn_best_of(const double *choose_by, const double *value, int count, int n) {
    if (n > count) n = count;
    double sum = 0;
    for (int i = 0; i < count; i++) {
        int better = 0;
        for (int j = 0; j < count; j++)
            better += choose_by[j] > choose_by[i] || (choose_by[j] == choose_by[i] && j < i);
        double p = (double)n / count; /* that it is among the n, times that no better one is */
        for (int k = 0; k < n - 1; k++) p *= (double)(count - 1 - better - k) / (count - 1 - k);
        if (better <= count - n) sum += p * value[i];
    }
    return sum;
}
