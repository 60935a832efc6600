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

static void begin(setup *s, int64_t steps) {
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
    memset(s, 0, sizeof *s);
    assert_int_equal(pn_data_open("synthetic:400x12x12x3", PN_TRAIN, &s->data), PN_OK);
    assert_int_equal(pn_model_create(&s->model, pn_host_kernels(NULL), &space, &m, &s->data, K),
                     PN_OK);
    assert_int_equal(pn_search_init(&s->search, &space, &settings), PN_OK);
}

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_bits_for_any_number_of_threads),
        cmocka_unit_test(nothing_is_allocated_after_the_first_step),
        cmocka_unit_test(online_weights_are_the_weights),
        cmocka_unit_test(a_sample_of_no_weight_skips_its_backward),
        cmocka_unit_test(renewed_weights_are_others),
        cmocka_unit_test(the_loss_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
