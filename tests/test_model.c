/* test_model.c -- the shared weights as an evaluator: equal bits for any number of threads, online
 * weights equal to weights applied afterwards, learning, and no allocation after the first step.
 * The linker sends every allocation of the program through the counters here (CMakeLists.txt). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "search/methods/mixture.h"
#include "search/methods/model.h"
#include "search/methods/parsec.h"

static int allocations;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t a, size_t n);
void *__wrap_malloc(size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t m) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __real_calloc(n, m);
}
void *__wrap_realloc(void *p, size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t a, size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __real_aligned_alloc(a, n);
}

typedef struct setup {
    pn_data data;
    pn_model model;
    pn_search search;
} setup;

enum { STEPS = 24, K = 3 };

static void begin_of(setup *s, int64_t steps, pn_model_kind kind) {
    const pn_space space = pn_space_darts();
    pn_model_settings m = pn_model_defaults();
    pn_search_settings settings = pn_rule_practical(steps, 8);
    settings.samples = K;
    settings.warmup = steps / 3;
    settings.seed = 5;
    m.network = (pn_network_spec){
        .layers = 3, .channels = 8, .H = 12, .W = 12, .image_channels = 3, .classes = 10};
    m.N = 8;
    m.seed = 5;
    m.kind = kind;
    memset(s, 0, sizeof *s);
    assert_int_equal(pn_data_open("synthetic:400x12x12x3", PN_TRAIN, &s->data), PN_OK);
    assert_int_equal(pn_model_create(&s->model, pn_host_kernels(NULL), &space, &m, &s->data, K),
                     PN_OK);
    assert_int_equal(pn_search_init(&s->search, &space, &settings), PN_OK);
}

static void begin(setup *s, int64_t steps) { begin_of(s, steps, PN_MODEL_CELLS); }

static void end(setup *s) {
    pn_model_destroy(&s->model);
    pn_data_free(&s->data);
}

static pn_step_report report;

static void step(setup *s) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    if (pn_search_step(&s->search, &e, &report) != PN_OK) fail_msg("%s", pn_error());
}

static void equal_bits_for_any_number_of_threads(void **state) {
    (void)state;
    static setup one, many;
    const int threads = omp_get_max_threads();
    for (int t = 2; t <= 3; t++) {
        begin(&one, STEPS);
        begin(&many, STEPS);
        for (int i = 0; i < STEPS; i++) {
            omp_set_num_threads(1);
            step(&one);
            omp_set_num_threads(t);
            step(&many);
        }
        omp_set_num_threads(threads);
        const pn_parameters *a = &one.model.network.parameters, *b = &many.model.network.parameters;
        assert_memory_equal(a->block, b->block, a->block_bytes);
        assert_memory_equal(&one.search.prior, &many.search.prior, sizeof one.search.prior);
        end(&one);
        end(&many);
    }
}

static void nothing_is_allocated_after_the_first_step(void **state) {
    (void)state;
    static setup s;
    begin(&s, 60);
    step(&s);
    const int before = allocations;
    assert_true(before > 0);               /* the counters do count */
    for (int i = 1; i < 60; i++) step(&s); /* through warm-up into the search, all samples */
    assert_int_equal(allocations, before);
    end(&s);
}

/* The gradient that the step gathers online, with rescaling, is sum_k w_k g_k: here g_k is had one
 * by one, each with weight 1, and summed in double. Only the order of float32 roundings differs. */
static void online_weights_are_the_weights(void **state) {
    (void)state;
    static setup s;
    begin(&s, STEPS);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    const pn_parameters *p = &s.model.network.parameters;
    double *sum = calloc(p->floats, sizeof *sum);
    pn_arch arch[K];
    pn_evaluation found[K];
    double norm, weight[K], l[K];
    assert_non_null(sum);
    s.model.settings.temperature = 8; /* the mean: so that all weights matter */
    for (int k = 0; k < K; k++) pn_prior_sample(&s.search.prior, 11, 0, (uint64_t)k, &arch[k]);
    for (int pass = 0; pass < 2; pass++) /* the log-likelihoods first, the weighted sum with them */
        for (int k = 0; k < K; k++) {
            assert_int_equal(e.begin(e.self, 0), PN_OK);
            assert_int_equal(e.train(e.self, 0, &arch[k]), PN_OK);
            assert_int_equal(e.finish(e.self, 1, found, &norm), PN_OK);
            l[k] = found[0].train_ll;
            if (pass == 1)
                for (size_t i = 0; i < p->floats; i++) sum[i] += weight[k] * p->gradient[i];
            if (pass == 0 && k == K - 1) (void)pn_importance_weights(l, K, 8, weight);
        }
    assert_int_equal(e.begin(e.self, 0), PN_OK);
    for (int k = 0; k < K; k++) assert_int_equal(e.train(e.self, k, &arch[k]), PN_OK);
    double distance = 0, size = 0;
    for (size_t i = 0; i < p->floats; i++) {
        const double d = p->gradient[i] * (double)s.model.update.device->weights.inverse - sum[i];
        distance += d * d;
        size += sum[i] * sum[i];
    }
    assert_true(size > 0);
    assert_true(sqrt(distance / size) < 1e-5); /* a few hundred roundings of 6e-8, not in phase */
    free(sum);
    end(&s);
}

static void a_sample_of_no_weight_skips_its_backward(void **state) {
    (void)state;
    static setup s;
    begin(&s, STEPS);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    pn_arch arch[K];
    pn_evaluation found[K];
    double norm;
    s.model.settings.temperature = 1e-3; /* exp(l / T): nothing but the best survives */
    for (int k = 0; k < K; k++) pn_prior_sample(&s.search.prior, 11, 0, (uint64_t)k, &arch[k]);
    assert_int_equal(e.begin(e.self, 0), PN_OK);
    for (int k = 0; k < K; k++) assert_int_equal(e.train(e.self, k, &arch[k]), PN_OK);
    assert_int_equal(e.update(e.self, 0.01), PN_OK);
    assert_int_equal(e.finish(e.self, K, found, &norm), PN_OK);
    double best = -INFINITY;
    for (int k = 0; k < K; k++) {
        assert_int_equal(found[k].skipped, found[k].train_ll < best);
        best = fmax(best, found[k].train_ll);
    }
    assert_true(norm > 0);
    end(&s);
}

static void renewed_weights_are_others(void **state) {
    (void)state;
    static setup s;
    begin(&s, STEPS);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    const pn_parameters *p = &s.model.network.parameters;
    const size_t bytes = p->floats * sizeof *p->value;
    float *first = malloc(bytes), *second = malloc(bytes);
    assert_true(first && second);
    memcpy(first, p->value, bytes);
    for (int i = 0; i < 8; i++) step(&s);
    assert_int_equal(e.renew(e.self, 1), PN_OK);
    memcpy(second, p->value, bytes);
    for (size_t i = 0; i < p->floats; i++) assert_true(p->momentum[i] == 0 && p->gradient[i] == 0);
    int same = 0, drawn = 0;
    for (size_t i = 0; i < p->floats; i++) { /* but for ones and zeros */
        drawn += first[i] != 0 && first[i] != 1;
        same += first[i] != 0 && first[i] != 1 && first[i] == second[i];
    }
    assert_true(drawn > 1000 && same < drawn / 1000);
    for (int i = 0; i < 3; i++) step(&s);
    assert_int_equal(e.renew(e.self, 1), PN_OK);
    assert_memory_equal(p->value, second, bytes);
    assert_int_equal(e.renew(e.self, 2), PN_OK);
    assert_memory_not_equal(p->value, second, bytes);
    free(first);
    free(second);
    end(&s);
}

/* One architecture alone learns the ten kinds of stripes (a uniform guess has loss 2.303). */
static void the_loss_falls(void **state) {
    (void)state;
    enum { ALONE = 400, ENDS = 40 };
    static setup s;
    begin(&s, ALONE);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    pn_arch arch;
    pn_evaluation found;
    double first = 0, last = 0, norm;
    pn_prior_sample(&s.search.prior, 2, 0, 0, &arch);
    for (int i = 0; i < ALONE; i++) {
        assert_int_equal(e.begin(e.self, i), PN_OK);
        assert_int_equal(e.train(e.self, 0, &arch), PN_OK);
        assert_int_equal(e.update(e.self, 0.02), PN_OK);
        assert_int_equal(e.finish(e.self, 1, &found, &norm), PN_OK);
        const double loss = -found.train_ll / s.model.settings.N;
        if (i < ENDS) first += loss / ENDS;
        if (i >= ALONE - ENDS) last += loss / ENDS;
    }
    print_message("loss %.3f -> %.3f\n", first, last);
    assert_true(last < 0.7 * first);
    end(&s);
}

/* ---- supernets ------------------------------------------------------------------------------- */

/* One op of each edge, every fifth edge none; another choice in each kind of cell. */
static void choose(int8_t chosen[PN_MAX_MIX_EDGES]) {
    for (int e = 0; e < PN_MAX_MIX_EDGES; e++)
        chosen[e] = (int8_t)(e % 5 == 4 ? -1 : (3 * e + e / PN_MAX_EDGES) % PN_MAX_OPS);
}

/* Loss of a supernet on the validation batch of step 0, and its gradient. */
static double mix(setup *s, const double *weight, const int8_t *chosen,
                  double of_weight[PN_MAX_MIX]) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    pn_evaluation found;
    assert_int_equal(e.begin(e.self, 0), PN_OK);
    if (e.mix(e.self, PN_STEP_VALIDATE, weight, chosen) != PN_OK) fail_msg("%s", pn_error());
    assert_int_equal(e.mixed(e.self, PN_STEP_VALIDATE, &found, of_weight), PN_OK);
    assert_true(found.bytes > 0 && found.train_ll == 0);
    return -found.val_ll / s->model.settings.N;
}

/* All ops, of which the chosen have weight 1 and the others 0, are the chosen ops alone: each
 * sum has zeros more, which float32 rounds in another order (some 50 times 2^-24 of a loss of
 * 2.3). So numbers are where they belong on the way there and back. What was not chosen has a
 * gradient only where it was computed, and `none` never. */
static void chosen_ops_are_weights_of_one(void **state) {
    (void)state;
    static setup all, one;
    int8_t chosen[PN_MAX_MIX_EDGES];
    double weight[PN_MAX_MIX] = {0}, of_all[PN_MAX_MIX], of_one[PN_MAX_MIX];
    choose(chosen);
    for (int e = 0; e < PN_MAX_MIX_EDGES; e++)
        if (chosen[e] >= 0) weight[e * PN_MIX_OPS + 1 + chosen[e]] = 1;
    begin_of(&all, 1, PN_MODEL_MIXTURE);
    begin_of(&one, 1, PN_MODEL_EDGES);
    const double loss = mix(&all, weight, NULL, of_all);
    assert_true(fabs(loss - mix(&one, NULL, chosen, of_one)) < 1e-5);
    int others = 0;
    for (int i = 0; i < PN_MAX_MIX; i++) {
        const int op = i % PN_MIX_OPS - 1;
        if (op >= 0 && chosen[i / PN_MIX_OPS] == op) {
            assert_true(of_one[i] != 0);
            assert_true(fabs(of_all[i] - of_one[i]) <= 1e-5 * fabs(of_one[i]) + 1e-7);
        } else {
            assert_true(of_one[i] == 0);
            if (op < 0) assert_true(of_all[i] == 0);
            others += of_all[i] != 0;
        }
    }
    assert_true(others > PN_MAX_MIX / 2);
    assert_int_equal(all.model.arena.high_water, all.model.size.arena_bytes); /* as planned */
    end(&all);
    end(&one);
}

/* They say how the loss falls: of the mean loss, with its sign, summed over the cells. */
static void gradients_of_the_weights(void **state) {
    (void)state;
    static setup s;
    double weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], again[PN_MAX_MIX], square = 0;
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = 1.0 / PN_MIX_OPS;
    begin_of(&s, 1, PN_MODEL_MIXTURE);
    const double loss = mix(&s, weight, NULL, of_weight);
    for (int i = 0; i < PN_MAX_MIX; i++) square += of_weight[i] * of_weight[i];
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] -= 1e-2 * of_weight[i] / sqrt(square);
    const double lower = mix(&s, weight, NULL, again);
    /* The loss falls by the step times the norm, but for the curvature: within a half of it. */
    assert_true(fabs((loss - lower) / (1e-2 * sqrt(square)) - 1) < 0.5);
    end(&s);
}

/* Weights, momenta and gradients of a mixture, as of PARSEC's steps. */
static void a_mixture_has_equal_bits_for_any_number_of_threads(void **state) {
    (void)state;
    static setup s[2];
    double weight[PN_MAX_MIX], of_weight[2][PN_MAX_MIX], norm[2];
    const int threads = omp_get_max_threads();
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = 0.02 * (i % PN_MIX_OPS);
    for (int t = 0; t < 2; t++) {
        pn_evaluation found;
        omp_set_num_threads(1 + 2 * t);
        begin_of(&s[t], 1, PN_MODEL_MIXTURE);
        const pn_evaluator e = pn_model_evaluator(&s[t].model);
        for (int i = 0; i < 3; i++) {
            (void)mix(&s[t], weight, NULL, of_weight[t]);
            assert_int_equal(e.begin(e.self, i), PN_OK);
            assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
            assert_int_equal(e.update(e.self, 0.02), PN_OK);
            assert_int_equal(e.finish(e.self, 1, &found, &norm[t]), PN_OK);
            assert_true(found.train_ll < 0 && norm[t] > 0);
        }
    }
    omp_set_num_threads(threads);
    const pn_parameters *a = &s[0].model.network.parameters, *b = &s[1].model.network.parameters;
    assert_memory_equal(a->value, b->value, a->floats * sizeof *a->value);
    assert_memory_equal(of_weight[0], of_weight[1], sizeof of_weight[0]);
    assert_true(norm[0] == norm[1]);
    end(&s[0]);
    end(&s[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_bits_for_any_number_of_threads),
        cmocka_unit_test(nothing_is_allocated_after_the_first_step),
        cmocka_unit_test(online_weights_are_the_weights),
        cmocka_unit_test(a_sample_of_no_weight_skips_its_backward),
        cmocka_unit_test(renewed_weights_are_others),
        cmocka_unit_test(the_loss_falls),
        cmocka_unit_test(chosen_ops_are_weights_of_one),
        cmocka_unit_test(gradients_of_the_weights),
        cmocka_unit_test(a_mixture_has_equal_bits_for_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
