/* test_model.c -- the shared weights as an evaluator: equal bits for any number of threads, and in
 * any order of samples and shards; the sum of gradients is that; learning, and no allocation after
 * the first step. The linker sends every allocation of the program through the counters here
 * (CMakeLists.txt). */
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
static size_t allocated; /* bytes */
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
    __atomic_fetch_add(&allocated, n, __ATOMIC_RELAXED);
    return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t m) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&allocated, n * m, __ATOMIC_RELAXED);
    return __real_calloc(n, m);
}
void *__wrap_realloc(void *p, size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t a, size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&allocated, n, __ATOMIC_RELAXED);
    return __real_aligned_alloc(a, n);
}

typedef struct setup {
    pn_data data;
    pn_model model;
    pn_search search;
} setup;

enum { STEPS = 24, K = 3 };

static bool drops, takes_all; /* of the next model */

static pn_status create(setup *s, int64_t steps, pn_model_kind kind, bool look_ahead,
                        size_t memory) {
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
    m.look_ahead = look_ahead;
    m.memory = memory;
    m.drop_path = drops;
    m.all_images = takes_all;
    memset(s, 0, sizeof *s);
    assert_int_equal(pn_data_open("synthetic:400x12x12x3", PN_TRAIN, &s->data), PN_OK);
    assert_int_equal(pn_search_init(&s->search, &space, &settings), PN_OK);
    const int samples = kind == PN_MODEL_CELLS ? K : 1;
    return pn_model_create(&s->model, pn_host_kernels(NULL), &space, &m, &s->data, samples);
}

static void begin_of(setup *s, int64_t steps, pn_model_kind kind) {
    if (create(s, steps, kind, false, 0) != PN_OK) fail_msg("%s", pn_error());
}

static void begin_with(setup *s, int64_t steps, pn_model_kind kind, bool drop_path,
                       bool all_images) {
    drops = drop_path;
    takes_all = all_images;
    begin_of(s, steps, kind);
    drops = takes_all = false;
}

static void begin_looking_ahead(setup *s) {
    if (create(s, 1, PN_MODEL_MIXTURE, true, 0) != PN_OK) fail_msg("%s", pn_error());
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

/* ---- several passes a step ------------------------------------------------------------------- */

enum { SHARDS = 2 };

/* A model of its own: three samples at most, so many shards, batches of 8. */
static void begin_sharded(setup *s, int samples, int shards) {
    const pn_space space = pn_space_darts();
    pn_model_settings m = pn_model_defaults();
    m.network = (pn_network_spec){
        .layers = 3, .channels = 8, .H = 12, .W = 12, .image_channels = 3, .classes = 10};
    m.N = 8;
    m.shards = shards;
    m.seed = 5;
    m.temperature = 8; /* the mean: so that all weights matter */
    memset(s, 0, sizeof *s);
    assert_int_equal(pn_data_open("synthetic:400x12x12x3", PN_TRAIN, &s->data), PN_OK);
    assert_int_equal(
        pn_model_create(&s->model, pn_host_kernels(NULL), &space, &m, &s->data, samples), PN_OK);
}

static void draw_archs(pn_arch arch[K]) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    assert_int_equal(pn_prior_init(&prior, &space, true), PN_OK);
    for (int k = 0; k < K; k++) pn_prior_sample(&prior, 11, 0, (uint64_t)k, &arch[k]);
}

static void train_all(setup *s, const pn_arch *arch, int count, double rate, pn_evaluation *found,
                      double *norm) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    assert_int_equal(e.begin(e.self, 0), PN_OK);
    for (int k = 0; k < count; k++) assert_int_equal(e.train(e.self, k, &arch[k]), PN_OK);
    assert_int_equal(e.update(e.self, rate), PN_OK);
    assert_int_equal(e.finish(e.self, count, found, norm), PN_OK);
}

/* The gradient of a step, without decay or clipping, is what the momenta begin with. Here that of
 * shard d is had as the gradient of a batch of its own, whose images are given, with one sample and
 * so without units; the weighted sum is taken in double. Only the rounding of the sum differs: to
 * quanta, and to a float. */
static void check_sum(int samples, int shards) {
    static setup s, one;
    pn_arch arch[K];
    pn_evaluation found[K], of_one;
    double norm, weight[K], l[K] = {0};
    draw_archs(arch);
    begin_sharded(&s, samples, shards);
    s.model.settings.decay = s.model.settings.clip = 0;
    train_all(&s, arch, samples, 0, found, &norm);
    const pn_parameters *p = &s.model.network.parameters;
    double *sum = calloc(p->floats, sizeof *sum), *size = calloc(p->floats, sizeof *size);
    assert_true(sum && size);
    for (int k = 0; k < samples; k++) l[k] = found[k].train_ll;
    (void)pn_importance_weights(l, samples, 8, weight);
    const int N = s.model.settings.N / shards;
    const pn_space space = pn_space_darts();
    pn_model_settings m = s.model.settings;
    m.N = N;
    m.shards = 1;
    assert_int_equal(pn_model_create(&one.model, pn_host_kernels(NULL), &space, &m, NULL, 1),
                     PN_OK);
    const pn_evaluator e = pn_model_evaluator(&one.model);
    const pn_parameters *q = &one.model.network.parameters;
    pn_batch all;
    assert_int_equal(pn_batches_take(s.model.batches, 0, 0, &all), PN_OK);
    for (int k = 0; k < samples; k++) {
        double ll = 0;
        for (int d = 0; d < shards; d++) {
            const pn_batch shard = {N, all.x + (ptrdiff_t)d * N * 12 * 12 * 3,
                                    all.labels + (ptrdiff_t)d * N};
            assert_int_equal(pn_model_give(&one.model, 0, 0, &shard), PN_OK);
            assert_int_equal(e.begin(e.self, 0), PN_OK);
            assert_int_equal(e.train(e.self, 0, &arch[k]), PN_OK);
            assert_int_equal(e.finish(e.self, 1, &of_one, &norm), PN_OK);
            ll += of_one.train_ll;
            for (size_t i = 0; i < p->floats; i++) {
                sum[i] += weight[k] / shards * q->gradient[i];
                size[i] += fabs(weight[k] / shards * q->gradient[i]);
            }
        }
        assert_true(ll == found[k].train_ll);
    }
    int there = 0;
    for (size_t i = 0; i < p->floats; i++) {
        assert_true(fabs(p->momentum[i] - sum[i]) <=
                    samples * shards * PN_QUANTUM / 2 + 1e-12 * size[i] + 0x1p-24 * fabs(sum[i]));
        there += sum[i] != 0;
    }
    assert_true(there > 1000);
    free(sum);
    free(size);
    pn_model_destroy(&one.model);
    end(&s);
}

static void the_sum_is_that_of_single_passes(void **state) {
    (void)state;
    check_sum(K, 1);
    check_sum(1, SHARDS);
    check_sum(K, SHARDS);
    check_sum(1, 8); /* an image each */
}

/* Whatever number a sample has: weights, momenta, norm. */
static void samples_in_any_order_have_the_same_bits(void **state) {
    (void)state;
    static setup s[2];
    for (int shards = 1; shards <= SHARDS; shards++) {
        pn_arch arch[2][K];
        pn_evaluation found[2][K];
        double norm[2];
        draw_archs(arch[0]);
        for (int k = 0; k < K; k++) arch[1][k] = arch[0][(k + 1) % K];
        for (int i = 0; i < 2; i++) {
            begin_sharded(&s[i], K, shards);
            train_all(&s[i], arch[i], K, 0.1, found[i], &norm[i]);
        }
        for (int k = 0; k < K; k++)
            assert_true(found[1][k].train_ll == found[0][(k + 1) % K].train_ll);
        const pn_parameters *a = &s[0].model.network.parameters,
                            *b = &s[1].model.network.parameters;
        assert_true(norm[0] == norm[1] && norm[0] > 0);
        assert_memory_equal(a->block, b->block, a->block_bytes);
        for (int i = 0; i < 2; i++) end(&s[i]);
    }
}

/* Floats of a place for an architecture. */
static size_t place_floats(setup *s, const pn_arch *arch) {
    pn_program_size size;
    size_t floats;
    assert_int_equal(pn_network_build(&s->model.network, arch, s->model.flights.flight[0].program,
                                      &(pn_build){.N = 8, .training = true}),
                     PN_OK);
    assert_int_equal(pn_program_compile(s->model.flights.flight[0].program, &size), PN_OK);
    assert_int_equal(
        pn_units_floats(&s->model.network.parameters, s->model.flights.flight[0].program, &floats),
        PN_OK);
    return floats;
}

/* As many bytes as the architectures of a step want, to the byte, and none of another step's; less
 * than a gradient for the whole space. The sum lies in the arena. */
static void memory_of_several_passes(void **state) {
    (void)state;
    static setup s;
    pn_arch arch[K];
    pn_evaluation found[K];
    double norm;
    const pn_space space = pn_space_darts();
    const pn_arch largest = pn_network_largest(&space);
    for (int shards = 1; shards <= SHARDS; shards++) {
        size_t floats = 0, most = 0;
        draw_archs(arch);
        begin_sharded(&s, K, shards);
        const pn_update *u = &s.model.update;
        const pn_parameters *p = &s.model.network.parameters;
        assert_null(p->gradient);
        assert_int_equal(u->units.counts.floats, place_floats(&s, &largest));
        assert_int_equal(pn_update_bytes(u), p->block_bytes + pn_units_bytes(u->units.counts));
        for (int step = 0; step < 2; step++) train_all(&s, arch, K, 0.1, found, &norm);
        for (int k = 0; k < K; k++) {
            floats += (size_t)shards * place_floats(&s, &arch[k]);
            most = found[k].bytes > most ? found[k].bytes : most;
        }
        const size_t guard = u->units.places.checked ? PN_GUARD : 0;
        assert_int_equal(u->units.places.high_water, floats * sizeof(float) + guard);
        assert_true(shards > 1 || floats < p->floats);
        const size_t sum = pn_units_arena_bytes(p);
        assert_int_equal(pn_flights_high_water(&s.model.flights), sum > most ? sum : most);
        for (int k = 0; k < K; k++) arch[k] = largest; /* as many as are reserved */
        train_all(&s, arch, K, 0.1, found, &norm);
        assert_int_equal(u->units.places.high_water, pn_units_bytes(u->units.counts) + guard);
        end(&s);
    }
}

static void a_sample_of_no_weight_counts_for_nothing(void **state) {
    (void)state;
    static setup s;
    pn_arch arch[K];
    pn_evaluation found[K], alone;
    double norm, norm_alone, best = -INFINITY;
    int which = 0;
    draw_archs(arch);
    begin_sharded(&s, K, 1);
    s.model.settings.temperature = 1e-6; /* exp(l / T): nothing but the best survives */
    train_all(&s, arch, K, 0, found, &norm);
    for (int k = 0; k < K; k++) {
        which = found[k].train_ll > best ? k : which;
        best = fmax(best, found[k].train_ll);
    }
    for (int k = 0; k < K; k++) assert_int_equal(found[k].skipped, k != which);
    train_all(&s, &arch[which], 1, 0, &alone, &norm_alone);
    assert_true(norm == norm_alone && norm > 0);
    end(&s);
}

/* An image without contrast beyond measure, or a loss that is none: nothing moves. */
static void a_sum_that_is_none_changes_nothing(void **state) {
    (void)state;
    static setup s;
    pn_arch arch[K];
    pn_evaluation found[K];
    double norm;
    draw_archs(arch);
    begin_sharded(&s, K, 1);
    pn_parameters *p = &s.model.network.parameters;
    const int bias = p->count - 1; /* of the classifier */
    float *before = malloc(p->block_bytes);
    assert_non_null(before);
    p->value[p->list[bias].offset] = NAN;
    memcpy(before, p->block, p->block_bytes);
    train_all(&s, arch, K, 0.1, found, &norm);
    assert_true(isnan(norm));
    assert_memory_equal(p->block, before, p->block_bytes);
    p->value[p->list[bias].offset] = 0;
    train_all(&s, arch, K, 0.1, found, &norm);
    assert_true(norm > 0);
    free(before);
    end(&s);
}

/* Without a gradient, or room for a backward pass; likelihoods are the same. */
static void frozen_weights_take_less(void **state) {
    (void)state;
    static setup s;
    const pn_space space = pn_space_darts();
    pn_arch arch[K];
    pn_evaluation found[2][K];
    double norm;
    size_t bytes[2], arena[2];
    draw_archs(arch);
    for (int frozen = 0; frozen < 2; frozen++) {
        begin_sharded(&s, K, SHARDS);
        if (frozen) {
            pn_model_settings m = s.model.settings;
            m.frozen = true;
            pn_model_destroy(&s.model);
            assert_int_equal(
                pn_model_create(&s.model, pn_host_kernels(NULL), &space, &m, &s.data, K), PN_OK);
        }
        const pn_evaluator e = pn_model_evaluator(&s.model);
        bytes[frozen] = pn_update_bytes(&s.model.update);
        arena[frozen] = s.model.size.arena_bytes; /* of the largest program */
        assert_int_equal(e.begin(e.self, 0), PN_OK);
        for (int k = 0; k < K; k++) assert_int_equal(e.validate(e.self, k, &arch[k]), PN_OK);
        assert_int_equal(e.finish(e.self, K, found[frozen], &norm), PN_OK);
        assert_int_equal(e.train(e.self, 0, &arch[0]), frozen ? PN_EARG : PN_OK);
        end(&s);
    }
    for (int k = 0; k < K; k++) assert_true(found[0][k].val_ll == found[1][k].val_ll);
    assert_true(bytes[1] < bytes[0] && arena[1] < arena[0] / 2);
}

static void shards_that_cannot_be_are_refused(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    pn_model_settings m = pn_model_defaults();
    pn_model model;
    m.network = (pn_network_spec){
        .layers = 3, .channels = 8, .H = 12, .W = 12, .image_channels = 3, .classes = 10};
    m.N = 8;
    m.shards = 3;
    assert_int_equal(pn_model_create(&model, pn_host_kernels(NULL), &space, &m, NULL, 1), PN_EARG);
    assert_non_null(strstr(pn_error(), "--shards 3"));
    m.shards = 2;
    m.kind = PN_MODEL_MIXTURE;
    assert_int_equal(pn_model_create(&model, pn_host_kernels(NULL), &space, &m, NULL, 1), PN_EARG);
    m.shards = 1;
    assert_int_equal(pn_model_create(&model, pn_host_kernels(NULL), &space, &m, NULL, 2), PN_EARG);
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
    for (size_t i = 0; i < p->floats; i++) assert_true(p->momentum[i] == 0);
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
    assert_int_equal(pn_flights_high_water(&all.model.flights),
                     all.model.size.arena_bytes); /* as planned */
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

/* A step of the weights; of them and their momenta there is then one to speak of. */
static void take_a_step(setup *s, int64_t at, const double *weight) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    pn_evaluation found;
    double norm;
    assert_int_equal(e.begin(e.self, at), PN_OK);
    assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
    assert_int_equal(e.update(e.self, 0.02), PN_OK);
    assert_int_equal(e.finish(e.self, 1, &found, &norm), PN_OK);
    assert_true(found.train_ll < 0 && norm > 0);
}

/* The passes of second order; of_weight: of the last. */
static void look_ahead(setup *s, int64_t at, const double *weight, double of_weight[PN_MAX_MIX]) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    pn_evaluation found;
    double norm;
    assert_int_equal(e.begin(e.self, at), PN_OK);
    assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
    assert_int_equal(e.ahead(e.self, 0.02, &norm), PN_OK);
    assert_int_equal(e.mix(e.self, PN_STEP_VALIDATE, weight, NULL), PN_OK);
    assert_int_equal(e.mixed(e.self, PN_STEP_VALIDATE, &found, of_weight), PN_OK);
    for (int sign = 1; sign >= -1; sign -= 2) {
        assert_int_equal(e.aside(e.self, sign * 0.01, &norm), PN_OK);
        assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
        assert_int_equal(e.mixed(e.self, PN_STEP_TRAIN, &found, of_weight), PN_OK);
    }
}

static double distance(const float *a, const float *b, size_t n) {
    double square = 0;
    for (size_t i = 0; i < n; i++) square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(square);
}

/* Ahead lies what SGD's formula says, and aside what is as far away as asked for, on either side;
 * the weights themselves and their momenta keep their bits, and so does the next step. */
static void looking_ahead_leaves_the_weights(void **state) {
    (void)state;
    static setup s, same;
    double weight[PN_MAX_MIX], of_weight[PN_MAX_MIX], norm;
    pn_evaluation found;
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = 0.02 * (i % PN_MIX_OPS);
    begin_looking_ahead(&s);
    begin_of(&same, 1, PN_MODEL_MIXTURE);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    const pn_parameters *p = &s.model.network.parameters, *q = &same.model.network.parameters;
    float *at_first = malloc(p->block_bytes), *const gradient = at_first + (p->gradient - p->value);
    assert_non_null(at_first);
    take_a_step(&s, 0, weight);
    take_a_step(&same, 0, weight);

    assert_int_equal(e.begin(e.self, 1), PN_OK);
    assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
    memcpy(at_first, p->block, p->block_bytes);
    assert_int_equal(e.ahead(e.self, 0.02, &norm), PN_OK);
    double square = 0;
    for (size_t i = 0; i < p->floats; i++) {
        const double w = p->value[i], by = 0.9F * (double)p->momentum[i] + gradient[i] + 3e-4F * w;
        assert_true(fabs(s.model.ahead[i] - (w - 0.02F * by)) <= 0x1p-22 * (fabs(w) + fabs(by)));
        square += (double)gradient[i] * gradient[i];
    }
    assert_true(norm > 0 && fabs(norm - sqrt(square)) < 1e-6 * norm);
    assert_int_equal(e.mix(e.self, PN_STEP_VALIDATE, weight, NULL), PN_OK);
    assert_int_equal(e.mixed(e.self, PN_STEP_VALIDATE, &found, of_weight), PN_OK);
    square = 0;
    for (size_t i = 0; i < p->floats; i++) {
        assert_true(p->gradient[i] == 0); /* it is kept elsewhere */
        square += (double)s.model.slope[i] * s.model.slope[i];
    }
    for (int sign = 1; sign >= -1; sign -= 2) {
        double along = 0;
        assert_int_equal(e.aside(e.self, sign * 0.5, &norm), PN_OK);
        assert_true(norm > 0 && fabs(norm - sqrt(square)) < 1e-6 * norm);
        /* The roundings of the weights, 6e-8 of the norm of all, are some 1e-5 of that length. */
        assert_true(fabs(distance(s.model.ahead, p->value, p->floats) - 0.5) < 1e-4);
        for (size_t i = 0; i < p->floats; i++)
            along += ((double)s.model.ahead[i] - p->value[i]) * s.model.slope[i];
        assert_true(fabs(along / norm - sign * 0.5) < 1e-4);
        assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
        assert_int_equal(e.mixed(e.self, PN_STEP_TRAIN, &found, of_weight), PN_OK);
    }
    assert_memory_equal(p->value, at_first, p->floats * sizeof *p->value);
    assert_memory_equal(p->momentum, at_first + (p->momentum - p->value),
                        p->floats * sizeof *p->momentum);

    take_a_step(&s, 1, weight);
    take_a_step(&same, 1, weight);
    assert_memory_equal(p->value, q->value, p->floats * sizeof *p->value);
    assert_memory_equal(p->momentum, q->momentum, p->floats * sizeof *p->momentum);
    free(at_first);
    end(&s);
    end(&same);
}

/* Beside what a supernet needs there are two copies of the weights, up to the rounding of a block,
 * and nothing that comes later; and so says what limits a search. */
static void looking_ahead_takes_two_copies_of_the_weights(void **state) {
    (void)state;
    static setup s[2];
    double weight[PN_MAX_MIX] = {0}, of_weight[PN_MAX_MIX];
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        allocated = 0;
        assert_int_equal(create(&s[i], 1, PN_MODEL_MIXTURE, i == 1, 0), PN_OK);
        bytes[i] = allocated;
    }
    const pn_model *m = &s[1].model;
    const size_t copy = pn_parameters_range_bytes(&m->network.parameters),
                 more = bytes[1] - bytes[0];
    assert_true(more >= 2 * copy && more <= 2 * copy + 512);
    assert_int_equal(m->size.arena_bytes, s[0].model.size.arena_bytes);
    look_ahead(&s[1], 0, weight, of_weight);
    take_a_step(&s[1], 0, weight);
    const int before = allocations;
    look_ahead(&s[1], 1, weight, of_weight);
    take_a_step(&s[1], 1, weight);
    assert_int_equal(allocations, before);
    assert_int_equal(pn_flights_high_water(&m->flights), m->size.arena_bytes);
    const size_t planned = pn_parameters_bytes(&m->network.parameters) +
                           pn_model_ahead_bytes(&m->network.parameters, true) +
                           pn_network_batch_bytes(&m->network, m->settings.N) + m->size.arena_bytes;
    assert_int_equal(pn_model_ahead_bytes(&m->network.parameters, true), 2 * copy);
    assert_int_equal(pn_model_ahead_bytes(&m->network.parameters, false), 0);
    for (int i = 0; i < 2; i++) end(&s[i]);
    assert_int_equal(create(&s[0], 1, PN_MODEL_MIXTURE, true, planned - 1), PN_EMEM);
    end(&s[0]);
    assert_int_equal(create(&s[0], 1, PN_MODEL_MIXTURE, true, planned), PN_OK);
    end(&s[0]);
}

/* The supernet's program is that of before, unless another has taken its place. */
static void a_supernet_is_compiled_once(void **state) {
    (void)state;
    static setup s;
    double weight[PN_MAX_MIX], of_weight[2][PN_MAX_MIX];
    pn_arch arch;
    pn_evaluation found;
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = 0.02 * (i % PN_MIX_OPS);
    begin_of(&s, 1, PN_MODEL_MIXTURE);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    const double loss = mix(&s, weight, NULL, of_weight[0]);
    pn_prior_sample(&s.search.prior, 2, 0, 0, &arch);
    for (int between = 0; between < 2; between++) {
        if (between) assert_int_equal(e.score(e.self, &arch, 1, &found), PN_OK);
        assert_true(s.model.supernet != between);
        assert_true(mix(&s, weight, NULL, of_weight[1]) == loss);
        assert_memory_equal(of_weight[0], of_weight[1], sizeof of_weight[0]);
    }
    end(&s);
}

/* Weights, momenta and gradients of a mixture, as of PARSEC's steps. */
static void a_mixture_has_equal_bits_for_any_number_of_threads(void **state) {
    (void)state;
    static setup s[2];
    double weight[PN_MAX_MIX], of_weight[2][2][PN_MAX_MIX];
    const int threads = omp_get_max_threads();
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = 0.02 * (i % PN_MIX_OPS);
    for (int t = 0; t < 2; t++) {
        omp_set_num_threads(1 + 2 * t);
        begin_looking_ahead(&s[t]);
        for (int i = 0; i < 3; i++) {
            (void)mix(&s[t], weight, NULL, of_weight[t][0]);
            look_ahead(&s[t], i, weight, of_weight[t][1]);
            take_a_step(&s[t], i, weight);
        }
    }
    omp_set_num_threads(threads);
    const pn_parameters *a = &s[0].model.network.parameters, *b = &s[1].model.network.parameters;
    assert_memory_equal(a->value, b->value, a->floats * sizeof *a->value);
    assert_memory_equal(of_weight[0], of_weight[1], sizeof of_weight[0]);
    end(&s[0]);
    end(&s[1]);
}

/* Loss of a supernet on the training batch of a step, some edges dropped; its gradient. */
static double mix_dropped(setup *s, int64_t step, double keep, const double *weight,
                          double of_weight[PN_MAX_MIX]) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    pn_evaluation found;
    assert_int_equal(e.begin(e.self, step), PN_OK);
    if (keep < 1) assert_int_equal(e.drop(e.self, keep), PN_OK);
    assert_int_equal(e.mix(e.self, PN_STEP_TRAIN, weight, NULL), PN_OK);
    assert_int_equal(e.mixed(e.self, PN_STEP_TRAIN, &found, of_weight), PN_OK);
    assert_true(found.bytes > 0 && found.val_ll == 0);
    return -found.train_ll / s->model.settings.N;
}

/* In this step alone, the same edges for the same step; also the gradient feels it: an edge of
 * which nothing is kept has none. */
static void dropped_edges(void **state) {
    (void)state;
    static setup s, without;
    double weight[PN_MAX_MIX], whole[PN_MAX_MIX], some[PN_MAX_MIX], again[PN_MAX_MIX];
    for (int i = 0; i < PN_MAX_MIX; i++) weight[i] = 1.0 / PN_MIX_OPS;
    begin_with(&s, 1, PN_MODEL_MIXTURE, true, false);
    const double loss = mix_dropped(&s, 0, 1, weight, whole);
    const double dropped = mix_dropped(&s, 0, 0.7, weight, some);
    assert_true(loss != dropped && mix_dropped(&s, 0, 0.7, weight, again) == dropped);
    assert_memory_equal(some, again, sizeof some);
    assert_true(mix_dropped(&s, 0, 1, weight, again) == loss);
    assert_memory_equal(whole, again, sizeof whole);
    assert_int_equal(pn_flights_high_water(&s.model.flights), s.model.size.arena_bytes);
    (void)mix_dropped(&s, 0, 1e-9, weight, some); /* of no image is any edge kept */
    for (int i = 0; i < PN_MAX_MIX; i++) assert_true(some[i] == 0);
    begin_of(&without, 1, PN_MODEL_MIXTURE);
    const pn_evaluator e = pn_model_evaluator(&without.model);
    assert_int_equal(e.drop(e.self, 0.7), PN_EARG);
    assert_true(mix_dropped(&without, 0, 1, weight, again) == loss); /* a place changes nothing */
    end(&s);
    end(&without);
}

/* 400 images in batches of 8. */
static void all_images_or_a_half(void **state) {
    (void)state;
    static setup s;
    for (int all = 0; all < 2; all++) {
        begin_with(&s, 1, PN_MODEL_MIXTURE, false, all);
        assert_int_equal(pn_batches_steps_per_epoch(s.model.batches, 0), all ? 50 : 25);
        assert_int_equal(pn_batches_steps_per_epoch(s.model.batches, 1), 25);
        end(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_bits_for_any_number_of_threads),
        cmocka_unit_test(nothing_is_allocated_after_the_first_step),
        cmocka_unit_test(the_sum_is_that_of_single_passes),
        cmocka_unit_test(samples_in_any_order_have_the_same_bits),
        cmocka_unit_test(memory_of_several_passes),
        cmocka_unit_test(a_sample_of_no_weight_counts_for_nothing),
        cmocka_unit_test(a_sum_that_is_none_changes_nothing),
        cmocka_unit_test(frozen_weights_take_less),
        cmocka_unit_test(shards_that_cannot_be_are_refused),
        cmocka_unit_test(renewed_weights_are_others),
        cmocka_unit_test(the_loss_falls),
        cmocka_unit_test(chosen_ops_are_weights_of_one),
        cmocka_unit_test(gradients_of_the_weights),
        cmocka_unit_test(looking_ahead_leaves_the_weights),
        cmocka_unit_test(looking_ahead_takes_two_copies_of_the_weights),
        cmocka_unit_test(a_supernet_is_compiled_once),
        cmocka_unit_test(dropped_edges),
        cmocka_unit_test(all_images_or_a_half),
        cmocka_unit_test(a_mixture_has_equal_bits_for_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
