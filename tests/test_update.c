/* test_update.c -- importance weights, exact sums in any order, SGD. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/rng.h"
#include "tests/support/check.h"

/* Numbers that kernels read and write beside the arrays. */
typedef struct numbers {
    pn_result result;
    pn_importance w;
    double norm;
    float factor;
} numbers;

static numbers *new_numbers(void) {
    numbers *n = pn_reach(sizeof *n);
    *n = (numbers){.w = {.max = -INFINITY, .full = 1}, .norm = -1};
    return n;
}

static pn_launch launch_on(const pn_kernels *k, void *scratch, size_t bytes) {
    return (pn_launch){.scratch = scratch, .scratch_bytes = bytes, .stream = k->memory->stream()};
}

/* ---- weigh ----------------------------------------------------------------------------------- */

enum { MOST_SAMPLES = 8 };

static const struct sequence {
    const char *why;
    double l[MOST_SAMPLES];
    int count;
    double temperature, skip_below;
} sequences[] = {
    {"one sample", {-150.5}, 1, 1, 0},
    {"growing: every sample is a new maximum", {-12, -11.5, -9, -8.75, -3, -1, -0.5, 0}, 8, 1, 0},
    {"falling: the first stays the maximum", {-1, -1.5, -2, -4, -6, -10}, 6, 1, 0},
    {"all equal", {-147.25, -147.25, -147.25, -147.25}, 4, 1, 0},
    {"up and down", {-150, -147, -149, -140, -155, -141, -139.5, -150}, 8, 1, 0},
    {"softened by a temperature", {-150, -147, -149, -140, -155, -141, -139.5, -150}, 8, 64, 0},
    {"one is hopeless", {-100, -1e6, -101}, 3, 1, 0},
    {"all before the last were hopeless", {-1e6, -1e6, -100}, 3, 1, 0},
    {"hopeless ones are skipped", {-100, -1e6, -101, -118, -99}, 5, 1, 0x1p-24},
    {"likelihoods that no float can tell apart", {-1e9, -1e9 - 0.5, -1e9 + 0.25}, 3, 1, 0},
};

static void weigh(void **state) {
    const struct sequence *s = *state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        numbers *n = new_numbers();
        for (int i = 0; i < s->count; i++) {
            n->result = (pn_result){.log_likelihood = s->l[i]};
            assert_int_equal(k->weigh(&n->result, s->temperature, s->skip_below, &n->w, &l), PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            const pn_importance want = pn_weigh_ref(s->l, i + 1, s->temperature, s->skip_below);
            assert_true(n->w.max == want.max && n->w.scale == want.scale);
        }
        pn_unreach(n);
    }
}

/* One sample that is no number makes all that follow none. */
static void weigh_sees_nan(void **state) {
    (void)state;
    static const double bad[] = {NAN, -INFINITY}; /* and -inf is none of the first sample's */
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 2 && pn_backend_at(backend); i++) {
            const pn_kernels *k = pn_backend_at(backend);
            const pn_launch l = launch_on(k, NULL, 0);
            numbers *n = new_numbers();
            n->result = (pn_result){.log_likelihood = bad[i]};
            assert_int_equal(k->weigh(&n->result, 1, 0, &n->w, &l), PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            assert_true(isnan(n->w.scale));
            pn_unreach(n);
        }
}

/* ---- share ----------------------------------------------------------------------------------- */

enum { MOST_SHARDS = 3 };

/* Log-likelihoods of samples, cut into shards: thirds and the rest, so that sums are not exact. */
static pn_share *run_share(const pn_kernels *k, const struct sequence *s, int shards, double *cut) {
    pn_result *found = pn_reach((size_t)s->count * (size_t)shards * sizeof *found);
    pn_share *share = pn_reach((size_t)s->count * sizeof *share);
    for (int i = 0; i < s->count * shards; i++) {
        const double l = s->l[i / shards];
        cut[i] = shards == 1 ? l : i % shards == 0 ? l / 3 : 2 * l / 3 / (shards - 1);
        found[i] = (pn_result){.log_likelihood = cut[i]};
    }
    const pn_launch l = launch_on(k, NULL, 0);
    assert_int_equal(k->share(found, s->count, shards, s->temperature, s->skip_below, share, &l),
                     PN_OK);
    assert_int_equal(pn_finish(k), PN_OK);
    pn_unreach(found);
    return share;
}

/* An exponential is off by a few 2^-53 of itself, and its argument, of which there are up to 1e9 of
 * a unit, by as much: 1e-6 covers those, 1e-12 the others, whose arguments are below 1,000. */
static void share(void **state) {
    const struct sequence *s = *state;
    double cut[MOST_SAMPLES * MOST_SHARDS];
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int shards = 1; shards <= MOST_SHARDS && pn_backend_at(backend); shards++) {
            pn_share *got = run_share(pn_backend_at(backend), s, shards, cut), want[MOST_SAMPLES];
            const double off = fabs(s->l[0]) > 1e8 ? 1e-6 : 1e-12;
            double all = 0;
            pn_share_ref(cut, s->count, shards, s->temperature, s->skip_below, want);
            for (int k = 0; k < s->count; k++) {
                assert_true(fabs(got[k].weight - want[k].weight) <= off * want[k].weight);
                assert_int_equal(got[k].skipped, want[k].skipped);
                assert_int_equal(got[k].skipped, s->skip_below > 0 && got[k].weight == 0);
                all += got[k].weight * shards;
            }
            assert_true(fabs(all - 1) <= 1e-12 + s->skip_below * s->count);
            pn_unreach(got);
        }
}

static void share_of_nan(void **state) {
    (void)state;
    const struct sequence s = {"NaN", {-10, NAN, -11}, 3, 1, 0x1p-24};
    double cut[MOST_SAMPLES * MOST_SHARDS];
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        pn_share *got = run_share(pn_backend_at(backend), &s, 2, cut);
        for (int k = 0; k < s.count; k++) assert_true(isnan(got[k].weight));
        pn_unreach(got);
    }
}

static void share_refuses(void **state) {
    (void)state;
    pn_result found = {0};
    pn_share to = {.weight = -1};
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        assert_int_equal(k->share(NULL, 1, 1, 1, 0, &to, &l), PN_EARG);
        assert_int_equal(k->share(&found, 1, 1, 1, 0, NULL, &l), PN_EARG);
        assert_int_equal(k->share(&found, 0, 1, 1, 0, &to, &l), PN_EARG);
        assert_int_equal(k->share(&found, 1, 0, 1, 0, &to, &l), PN_EARG);
        assert_int_equal(k->share(&found, 1, 1, 0, 0, &to, &l), PN_EARG);
        assert_int_equal(k->share(&found, 1, 1, 1, NAN, &to, &l), PN_EARG);
        assert_true(to.weight == -1);
    }
}

static void weigh_refuses(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        numbers *n = new_numbers();
        const numbers before = *n;
        assert_int_equal(k->weigh(&n->result, 0, 0, &n->w, &l), PN_EARG);
        assert_int_equal(k->weigh(&n->result, -1, 0, &n->w, &l), PN_EARG);
        assert_int_equal(k->weigh(&n->result, NAN, 0, &n->w, &l), PN_EARG);
        assert_int_equal(k->weigh(&n->result, 1, -1, &n->w, &l), PN_EARG);
        assert_int_equal(k->weigh(NULL, 1, 0, &n->w, &l), PN_EARG);
        assert_int_equal(k->weigh(&n->result, 1, 0, NULL, &l), PN_EARG);
        assert_int_equal(pn_finish(k), PN_OK);
        assert_memory_equal(&n->w, &before.w, sizeof n->w);
        pn_unreach(n);
    }
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Ranges with gaps between, out of order, one empty, one of a single float, one long. */
static const pn_range ranges[] = {{900, 40}, {3, 17}, {64, 0}, {500, 1}, {1000, 70001}};
enum { RANGES = 5, FLOATS = 71100, COVERED = 40 + 17 + 1 + 70001 };

typedef struct arrays {
    pn_set set;
    float *value, *gradient, *velocity;
} arrays;

static arrays *new_arrays(bool whole) {
    arrays *a = calloc(1, sizeof *a);
    if (!a) abort();
    pn_set_begin(&a->set, 11, whole, true);
    a->value = pn_set_data(&a->set, "value", FLOATS, 9, 1);
    a->gradient = pn_set_data(&a->set, "gradient", FLOATS, 9, 1);
    a->velocity = pn_set_data(&a->set, "velocity", FLOATS, 9, 1);
    pn_set_freeze(&a->set);
    return a;
}

static void end_arrays(arrays *a) {
    pn_set_end(&a->set);
    free(a);
}

/* ---- tally and settle ------------------------------------------------------------------------ */

/* Terms of several places, and the sum of them. */
enum { PLACES = 3, MANY_RANGES = 400 };
typedef struct places {
    const pn_range *ranges;
    int count;
    size_t packed; /* floats of a place */
    float *at[PLACES];
    pn_share *share;
    int64_t *sum, *want;
    float *scale;
} places;

static const double weights[PLACES] = {0.3, 1 / 3.0, 0x1p-20};

/* Magnitudes from 2^-60, which is nothing in quanta, to 2^21. */
static float term_of(uint64_t i) {
    const double u = 2 * pn_uniform(3, PN_STREAM_INIT, i, 0) - 1;
    return (float)ldexp(u, (int)pn_random_below(3, PN_STREAM_INIT, i, 1, 82) - 60);
}

static places *new_places(const pn_range *of, int count) {
    places *p = calloc(1, sizeof *p);
    if (!p) abort();
    p->ranges = of;
    p->count = count;
    for (int r = 0; r < count; r++) p->packed += pn_aligned_floats(of[r].count);
    for (int i = 0; i < PLACES; i++) {
        p->at[i] = pn_guarded(p->packed * sizeof(float)); /* between ranges NaN: nobody reads it */
        size_t first = 0;
        for (int r = 0; r < count; first += pn_aligned_floats(of[r++].count))
            for (size_t j = 0; j < of[r].count; j++)
                p->at[i][first + j] = term_of((uint64_t)i * p->packed + first + j);
    }
    p->share = pn_reach(PLACES * sizeof *p->share);
    for (int i = 0; i < PLACES; i++) p->share[i] = (pn_share){.weight = weights[i]};
    p->sum = pn_guarded(FLOATS * sizeof *p->sum);
    p->want = calloc(FLOATS, sizeof *p->want);
    p->scale = pn_reach(sizeof *p->scale);
    if (!p->want) abort();
    return p;
}

static void end_places(places *p) {
    for (int i = 0; i < PLACES; i++) {
        assert_true(pn_guards_hold(p->at[i], p->packed * sizeof(float)));
        pn_unguard(p->at[i]);
    }
    assert_true(pn_guards_hold(p->sum, FLOATS * sizeof *p->sum));
    pn_unguard(p->sum);
    pn_unreach(p->share);
    pn_unreach(p->scale);
    free(p->want);
    free(p);
}

static void clear_sums(places *p) {
    *p->scale = 1;
    for (int i = 0; i < FLOATS; i++) p->sum[i] = p->want[i] = 7; /* what is not covered stays so */
}

static void tally_place(const pn_kernels *k, places *p, int i) {
    const pn_launch l = launch_on(k, NULL, 0);
    assert_int_equal(k->tally(p->ranges, p->count, p->at[i], &p->share[i], p->sum, p->scale, &l),
                     PN_OK);
    assert_int_equal(pn_finish(k), PN_OK);
}

static pn_range many[MANY_RANGES];
static const pn_range *many_ranges(void) { /* of 0 to 6 floats: more than a launch takes */
    for (size_t i = 0; i < MANY_RANGES; i++) many[i] = (pn_range){48 * i + i % 3, i % 7};
    return many;
}

/* Every order of places, every order of work: the bits of the twin. */
static void tally_in_any_order(void **state) {
    (void)state;
    static const int orders[][PLACES] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int shape = 0; shape < 2; shape++) {
        places *p = new_places(shape ? many_ranges() : ranges, shape ? MANY_RANGES : RANGES);
        for (int backend = 0; backend < PN_BACKENDS; backend++)
            for (int o = 0; o < 6 && pn_backend_at(backend); o++) {
                pn_backend_disturb(pn_backend_at(backend), o);
                clear_sums(p);
                for (int i = 0; i < PLACES; i++) {
                    tally_place(pn_backend_at(backend), p, orders[o][i]);
                    assert_true(pn_tally_ref(p->ranges, p->count, p->at[i], weights[i], p->want));
                }
                assert_memory_equal(p->sum, p->want, FLOATS * sizeof *p->sum);
                assert_true(*p->scale == 1);
                pn_backend_disturb(pn_backend_at(backend), 0);
            }
        end_places(p);
    }
}

/* Each term is off by half a quantum, and by 2^-53 of itself as a double. */
static void tally_is_the_sum(void **state) {
    (void)state;
    places *p = new_places(ranges, RANGES);
    clear_sums(p);
    for (int i = 0; i < PLACES; i++)
        assert_true(pn_tally_ref(ranges, RANGES, p->at[i], weights[i], p->want));
    size_t first = 0;
    int largest = 0;
    for (int r = 0; r < RANGES; first += pn_aligned_floats(ranges[r++].count))
        for (size_t j = 0; j < ranges[r].count; j++) {
            double sum = 7 * PN_QUANTUM, size = 0;
            for (int i = 0; i < PLACES; i++) {
                sum += weights[i] * p->at[i][first + j];
                size += fabs(weights[i] * p->at[i][first + j]);
            }
            const double got = (double)p->want[ranges[r].first + j] * PN_QUANTUM;
            assert_true(fabs(got - sum) <= PLACES * (PN_QUANTUM / 2 + 0x1p-52 * size));
            largest += size > 1e5;
        }
    assert_true(largest > 100);
    end_places(p);
}

/* What a sum cannot hold is left out, and said; half of 2^22, and less than all, it can. */
static void tally_leaves_out_what_is_too_large(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p22f, -0x1p22f, 0x1.fffffep21f};
    places *p = new_places(ranges, RANGES);
    const size_t where = pn_aligned_floats(40) + 5; /* of the second range */
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 6 && pn_backend_at(backend); i++) {
            const float before = p->at[0][where];
            p->at[0][where] = bad[i];
            clear_sums(p);
            tally_place(pn_backend_at(backend), p, 0);
            assert_int_equal(pn_tally_ref(ranges, RANGES, p->at[0], weights[0], p->want), i == 5);
            assert_true(i == 5 ? *p->scale == 1 : isnan(*p->scale));
            assert_memory_equal(p->sum, p->want, FLOATS * sizeof *p->sum);
            p->at[0][where] = before;
        }
    end_places(p);
}

/* A skipped sample's place may hold anything; a weight that is no number spoils the sum. */
static void tally_of_no_weight(void **state) {
    (void)state;
    places *p = new_places(ranges, RANGES);
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int nan = 0; nan < 2 && pn_backend_at(backend); nan++) {
            p->share[1].weight = nan ? NAN : 0;
            p->at[1][3] = nan ? 1 : NAN;
            clear_sums(p);
            tally_place(pn_backend_at(backend), p, 1);
            assert_true(nan ? isnan(*p->scale) : *p->scale == 1);
            assert_memory_equal(p->sum, p->want, FLOATS * sizeof *p->sum);
        }
    end_places(p);
}

/* Without what was there: a float of the sum, to the bit. With it: two roundings more. */
static void settle(void **state) {
    (void)state;
    static const float keeps[] = {0, 0.9f, 1};
    const double u = 0x1p-24;
    places *p = new_places(ranges, RANGES);
    clear_sums(p);
    for (int i = 0; i < PLACES; i++)
        (void)pn_tally_ref(ranges, RANGES, p->at[i], weights[i], p->sum);
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 4 && pn_backend_at(backend); i++) {
            const pn_kernels *k = pn_backend_at(backend);
            const pn_launch l = launch_on(k, NULL, 0);
            arrays *a = new_arrays(false);
            const float keep = keeps[i % 3];
            *p->scale = i == 3 ? NAN : 1;  /* then nothing is done */
            if (i == 0) a->value[3] = NAN; /* not read */
            assert_int_equal(k->settle(ranges, RANGES, p->sum, keep, p->scale, a->value, &l),
                             PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            pn_member *value = pn_set_find(&a->set, a->value);
            for (int j = 0; j < FLOATS; j++) value->d[j] = value->start[j];
            if (i != 3) pn_settle_ref(ranges, RANGES, p->sum, keep, value->d);
            for (int j = 0; j < FLOATS; j++) {
                const double kept = i == 3 ? 0 : keep * value->start[j];
                if (keep == 0 || i == 3)
                    assert_true(a->value[j] == (float)value->d[j]);
                else
                    assert_true(fabs(a->value[j] - value->d[j]) <=
                                2 * u * (fabs(kept) + fabs(value->d[j] - kept)));
            }
            assert_null(pn_set_overrun(&a->set));
            end_arrays(a);
        }
    end_places(p);
}

static void tally_and_settle_refuse(void **state) {
    (void)state;
    places *p = new_places(ranges, RANGES);
    clear_sums(p);
    float *const from = p->at[0], to = -1;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        assert_int_equal(k->tally(NULL, 1, from, p->share, p->sum, p->scale, &l), PN_EARG);
        assert_int_equal(k->tally(ranges, -1, from, p->share, p->sum, p->scale, &l), PN_EARG);
        assert_int_equal(k->tally(ranges, 1, NULL, p->share, p->sum, p->scale, &l), PN_EARG);
        assert_int_equal(k->tally(ranges, 1, from, NULL, p->sum, p->scale, &l), PN_EARG);
        assert_int_equal(k->tally(ranges, 1, from, p->share, NULL, p->scale, &l), PN_EARG);
        assert_int_equal(k->tally(ranges, 1, from, p->share, p->sum, NULL, &l), PN_EARG);
        assert_non_null(strstr(pn_error(), "tally"));
        assert_int_equal(k->settle(ranges, -1, p->sum, 0, p->scale, &to, &l), PN_EARG);
        assert_int_equal(k->settle(ranges, 1, NULL, 0, p->scale, &to, &l), PN_EARG);
        assert_int_equal(k->settle(ranges, 1, p->sum, 0, NULL, &to, &l), PN_EARG);
        assert_int_equal(k->settle(ranges, 1, p->sum, 0, p->scale, NULL, &l), PN_EARG);
        assert_non_null(strstr(pn_error(), "settle"));
        assert_true(to == -1 && *p->scale == 1);
        assert_memory_equal(p->sum, p->want, FLOATS * sizeof *p->sum);
    }
    end_places(p);
}

/* ---- sgd ------------------------------------------------------------------------------------- */

static double run_sgd(const pn_kernels *k, arrays *a, const float *scale, pn_sgd s, int order) {
    pn_set_restore(&a->set);
    pn_backend_disturb(k, order);
    const size_t bytes = k->sgd_scratch(ranges, RANGES);
    void *scratch = pn_guarded(bytes);
    const pn_launch l = launch_on(k, scratch, bytes);
    numbers *n = new_numbers();
    if (scale) n->factor = *scale;
    assert_int_equal(k->sgd(ranges, RANGES, a->value, a->gradient, a->velocity,
                            scale ? &n->factor : NULL, s, &n->norm, &l),
                     PN_OK);
    assert_int_equal(pn_finish(k), PN_OK);
    assert_true(pn_guards_hold(scratch, bytes));
    assert_null(pn_set_overrun(&a->set));
    pn_unguard(scratch);
    const double norm = n->norm;
    pn_unreach(n);
    return norm;
}

/* The reference on fresh doubles of the arrays' start. */
static double run_twin(arrays *a, double scale, pn_sgd s) {
    pn_member *value = pn_set_find(&a->set, a->value),
              *gradient = pn_set_find(&a->set, a->gradient);
    pn_member *velocity = pn_set_find(&a->set, a->velocity);
    for (int i = 0; i < FLOATS; i++) {
        value->d[i] = value->start[i];
        gradient->d[i] = gradient->start[i];
        velocity->d[i] = velocity->start[i];
    }
    return pn_sgd_ref(ranges, RANGES, value->d, gradient->d, velocity->d, scale, s);
}

static const struct setting {
    const char *why;
    pn_sgd s;
    double scale; /* 0: NULL */
} settings[] = {
    {"plain", {.rate = 0.1f}, 0},
    {"momentum and decay", {.rate = 0.025f, .momentum = 0.9f, .decay = 3e-4f}, 0},
    {"scaled by the weights' inverse", {.rate = 0.025f, .momentum = 0.9f, .decay = 3e-4f}, 0.3125},
    {"clipped", {.rate = 0.025f, .momentum = 0.9f, .decay = 3e-4f, .clip = 5}, 0},
    {"scaled, then clipped", {.rate = 0.025f, .momentum = 0.9f, .decay = 3e-4f, .clip = 5}, 0.3125},
    {"below the limit: not clipped", {.rate = 0.025f, .momentum = 0.9f, .clip = 1e6f}, 0},
    {"Nesterov's momentum", {.rate = 0.025f, .momentum = 0.9f, .decay = 5e-4f, .nesterov = 1}, 0},
    {"Nesterov's, scaled and clipped",
     {.rate = 0.025f, .momentum = 0.9f, .decay = 5e-4f, .clip = 5, .nesterov = 1},
     0.3125},
    {"a rate of 0 changes the velocity only", {.momentum = 0.9f, .decay = 3e-4f, .clip = 5}, 0},
};

/* The norm sums COVERED squares, in any order and precision: relative error g(COVERED + 4) / 2.
 * What is clipped inherits it; the rest is a handful of roundings of each sum. */
static void sgd(void **state) {
    const struct setting *c = *state;
    const double u = 0x1p-24, norm_off = (COVERED + 4) * u / (1 - (COVERED + 4) * u) / 2;
    arrays *a = new_arrays(false);
    const float scale = (float)c->scale;
    const double norm = run_twin(a, c->scale > 0 ? c->scale : 1, c->s);
    const double g_off = (c->s.clip > 0 && norm > c->s.clip ? norm_off : 0) + 8 * u;
    const pn_member *value = pn_set_find(&a->set, a->value),
                    *velocity = pn_set_find(&a->set, a->velocity);
    const pn_member *gradient = pn_set_find(&a->set, a->gradient);
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        float *first = malloc(FLOATS * sizeof *first);
        assert_non_null(first);
        for (int order = 0; order < 3; order++) {
            const double got =
                run_sgd(pn_backend_at(backend), a, c->scale > 0 ? &scale : NULL, c->s, order);
            assert_true(fabs(got - norm) <= norm_off * norm);
            if (order == 0) memcpy(first, a->value, FLOATS * sizeof *first);
            assert_memory_equal(first, a->value, FLOATS * sizeof *first);
        }
        free(first);
        assert_memory_equal(a->gradient, gradient->start, FLOATS * sizeof *first);
        for (int i = 0; i < FLOATS; i++) {
            const double m = c->s.momentum * fabsf(velocity->start[i]) + fabsf(gradient->start[i]) +
                             c->s.decay * fabsf(value->start[i]);
            assert_true(fabs(a->velocity[i] - velocity->d[i]) <= g_off * m);
            assert_true(fabs(a->value[i] - value->d[i]) <=
                        (c->s.nesterov ? 2 : 1) * c->s.rate * (g_off + 4 * u) * m +
                            4 * u * fabsf(value->start[i]));
        }
        /* What no range covers keeps its bits. */
        for (int i = 0; i < FLOATS; i++) {
            bool covered = false;
            for (int r = 0; r < RANGES; r++)
                covered |=
                    (size_t)i >= ranges[r].first && (size_t)i - ranges[r].first < ranges[r].count;
            assert_true(covered ||
                        (a->value[i] == value->start[i] && a->velocity[i] == velocity->start[i]));
        }
    }
    end_arrays(a);
}

/* Halves and quarters of small whole numbers: nothing is rounded. */
static void sgd_exact(void **state) {
    (void)state;
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        const pn_sgd s = {.rate = 0.25f, .momentum = 0.5f, .decay = 0.5f, .nesterov = nesterov};
        arrays *a = new_arrays(true);
        run_twin(a, 1, s);
        for (int backend = 0; backend < PN_BACKENDS; backend++) {
            if (!pn_backend_at(backend)) continue;
            run_sgd(pn_backend_at(backend), a, NULL, s, 2);
            for (int m = 0; m < a->set.count; m++)
                for (int i = 0; i < FLOATS; i++)
                    assert_true(a->set.member[m].f[i] == a->set.member[m].d[i]);
        }
        end_arrays(a);
    }
}

/* 3, 4 and zeros: norm 5, clipped to 1 the gradient is 0.6, 0.8. */
static void sgd_by_hand(void **state) {
    (void)state;
    double value[3] = {1, 1, 1}, velocity[3] = {0, 0, 10}, gradient[3] = {3, 4, 0};
    const pn_range all = {0, 3};
    const double norm = pn_sgd_ref(&all, 1, value, gradient, velocity, 1,
                                   (pn_sgd){.rate = 0.5f, .momentum = 0.5f, .clip = 1});
    assert_true(norm == 5);
    assert_true(fabs(value[0] - 0.7) < 1e-6 && fabs(value[1] - 0.6) < 1e-6 && value[2] == -1.5);
    assert_true(fabs(velocity[0] - 0.6) < 1e-6 && fabs(velocity[1] - 0.8) < 1e-6 &&
                velocity[2] == 5);
    /* Nesterov's: g = 3, velocity .5 * 2 + 3 = 4, value 1 - .5 (3 + .5 * 4). */
    double one = 1, two = 2;
    pn_sgd_ref(&(pn_range){0, 1}, 1, &one, gradient, &two, 1,
               (pn_sgd){.rate = 0.5f, .momentum = 0.5f, .nesterov = 1});
    assert_true(two == 4 && one == -1.5);
}

static void norm_that_is_not_finite_changes_nothing(void **state) {
    (void)state;
    static const float poison[] = {NAN, INFINITY, -INFINITY};
    const pn_sgd s = {.rate = 0.1f, .momentum = 0.9f, .decay = 1e-4f, .clip = 5};
    for (int i = 0; i < 3; i++) {
        arrays *a = new_arrays(false);
        a->gradient[70000] = poison[i];
        pn_set_freeze(&a->set);
        for (int backend = 0; backend < PN_BACKENDS; backend++) {
            if (!pn_backend_at(backend)) continue;
            const double norm = run_sgd(pn_backend_at(backend), a, NULL, s, 2);
            assert_false(isfinite(norm));
            assert_true(isnan(poison[i]) == isnan(norm));
            assert_null(pn_set_touched(&a->set));
        }
        end_arrays(a);
    }
}

/* Squares of 1e30 are no floats, but their norm is a number, and clipping brings it down. */
static void gradient_beyond_the_square_root_of_float(void **state) {
    (void)state;
    arrays *a = new_arrays(false);
    const pn_sgd s = {.rate = 1, .clip = 5};
    for (int i = 0; i < FLOATS; i++) a->gradient[i] = 1e30f;
    pn_set_freeze(&a->set);
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        if (!pn_backend_at(backend)) continue;
        const double norm = run_sgd(pn_backend_at(backend), a, NULL, s, 2),
                     want = 1e30 * sqrt(COVERED);
        assert_true(fabs(norm / want - 1) < 1e-6);
        assert_true(fabs(a->velocity[3] - 5 / sqrt(COVERED)) < 1e-6);
    }
    end_arrays(a);
}

/* ---- length and move ------------------------------------------------------------------------- */

/* A guarded call of length; its result is where `length` points. */
static void run_length(const pn_kernels *k, const arrays *a, const float *scale, double *length,
                       int order) {
    pn_backend_disturb(k, order);
    const size_t bytes = k->sgd_scratch(ranges, RANGES);
    void *scratch = pn_guarded(bytes);
    const pn_launch l = launch_on(k, scratch, bytes);
    assert_int_equal(k->length(ranges, RANGES, a->gradient, scale, length, &l), PN_OK);
    assert_int_equal(pn_finish(k), PN_OK);
    assert_true(pn_guards_hold(scratch, bytes));
    pn_unguard(scratch);
}

/* The same bits as sgd says, in every order; the bound is that of its norm. */
static void length_is_the_norm_of_sgd(void **state) {
    (void)state;
    const double u = 0x1p-24, off = (COVERED + 4) * u / (1 - (COVERED + 4) * u) / 2;
    arrays *a = new_arrays(false);
    numbers *n = new_numbers();
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int scaled = 0; scaled < 2 && pn_backend_at(backend); scaled++) {
            const pn_kernels *k = pn_backend_at(backend);
            const float factor = 0.3125f, *scale = scaled ? &n->factor : NULL;
            const pn_member *g = pn_set_find(&a->set, a->gradient);
            const double norm = run_sgd(k, a, scaled ? &factor : NULL, (pn_sgd){0}, 0);
            pn_set_restore(&a->set);
            n->factor = factor;
            for (int order = 0; order < 3; order++) {
                n->norm = -1;
                run_length(k, a, scale, &n->norm, order);
                assert_true(n->norm == norm);
            }
            for (int i = 0; i < FLOATS; i++) g->d[i] = g->start[i];
            const double want = pn_length_ref(ranges, RANGES, g->d, scaled ? factor : 1);
            assert_true(fabs(norm - want) <= off * want);
            assert_null(pn_set_touched(&a->set));
        }
    pn_unreach(n);
    end_arrays(a);
}

/* value = from + step / length * along, rounded thrice; what no range covers keeps its bits. In
 * place, too; length NULL is 1, and 0 moves nothing. */
static void move(void **state) {
    (void)state;
    static const double lengths[] = {12.5, 1, 0};
    const float step = 0.01f;
    const double u = 0x1p-24;
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 6 && pn_backend_at(backend); i++) {
            const pn_kernels *k = pn_backend_at(backend);
            const double length = lengths[i / 2];
            const bool in_place = i % 2, none = i == 3; /* NULL */
            arrays *a = new_arrays(false);
            numbers *n = new_numbers();
            n->norm = length;
            const pn_launch l = launch_on(k, NULL, 0);
            const float *from = in_place ? a->value : a->velocity;
            assert_int_equal(k->move(ranges, RANGES, a->value, from, a->gradient,
                                     none ? NULL : &n->norm, step, &l),
                             PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            assert_null(pn_set_overrun(&a->set));
            pn_member *value = pn_set_find(&a->set, a->value);
            const pn_member *along = pn_set_find(&a->set, a->gradient);
            const float *start = pn_set_find(&a->set, from)->start;
            double *at = pn_zeros_ref(FLOATS);
            for (int j = 0; j < FLOATS; j++) at[j] = start[j];
            pn_move_ref(ranges, RANGES, value->d, at, along->d, length, step);
            for (int j = 0; j < FLOATS; j++) {
                const double by = length == 0 ? 0 : step / length;
                assert_true(fabs(a->value[j] - value->d[j]) <=
                            2 * u * (fabs((double)start[j]) + 3 * fabs(by * along->start[j])));
                if (value->d[j] == value->start[j]) assert_true(a->value[j] == value->start[j]);
            }
            free(at);
            memcpy(a->value, value->start, FLOATS * sizeof *a->value);
            assert_null(pn_set_touched(&a->set));
            pn_unreach(n);
            end_arrays(a);
        }
}

/* A step along a gradient that is not finite must not look like one. */
static void move_by_a_length_that_is_no_number(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        arrays *a = new_arrays(false);
        numbers *n = new_numbers();
        n->norm = NAN;
        const pn_launch l = launch_on(k, NULL, 0);
        assert_int_equal(
            k->move(ranges, RANGES, a->value, a->velocity, a->gradient, &n->norm, 1, &l), PN_OK);
        assert_int_equal(pn_finish(k), PN_OK);
        for (size_t i = ranges[0].first; i < ranges[0].first + ranges[0].count; i++)
            assert_true(isnan(a->value[i]));
        pn_unreach(n);
        end_arrays(a);
    }
}

/* By a power of two nothing is rounded; what no range covers keeps its bits. */
static void scale(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        arrays *a = new_arrays(false);
        const pn_launch l = launch_on(k, NULL, 0);
        assert_int_equal(k->scale(ranges, RANGES, a->value, 0x1p-16F, &l), PN_OK);
        assert_int_equal(pn_finish(k), PN_OK);
        assert_null(pn_set_overrun(&a->set));
        const float *start = pn_set_find(&a->set, a->value)->start;
        for (int r = 0; r < RANGES; r++)
            for (size_t i = ranges[r].first; i < ranges[r].first + ranges[r].count; i++) {
                assert_true(a->value[i] == start[i] * 0x1p-16F);
                a->value[i] = start[i];
            }
        assert_null(pn_set_touched(&a->set));
        assert_int_equal(k->scale(ranges, -1, a->value, 2, &l), PN_EARG);
        assert_int_equal(k->scale(ranges, 1, NULL, 2, &l), PN_EARG);
        assert_non_null(strstr(pn_error(), "scale"));
        end_arrays(a);
    }
}

/* A loss that counts is multiplied by `full`. */
static void weigh_scales_the_loss(void **state) {
    (void)state;
    static const double l_of[] = {-100, -101, -118, -99};
    static const float want[] = {0x1p16F, 0x1p16F, 0, 0x1p16F};
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        numbers *n = new_numbers();
        n->w.full = 0x1p16F;
        for (int i = 0; i < 4; i++) {
            n->result = (pn_result){.log_likelihood = l_of[i]};
            assert_int_equal(k->weigh(&n->result, 1, 0x1p-24, &n->w, &l), PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            assert_true(n->w.scale == want[i] && n->w.full == 0x1p16F);
        }
        pn_unreach(n);
    }
}

static void length_and_move_refuse(void **state) {
    (void)state;
    arrays *a = new_arrays(false);
    double length = -1;
    void *scratch = pn_guarded(1 << 20);
    const pn_launch l = {.scratch = scratch, .scratch_bytes = 1 << 20};
    const pn_launch small = {.scratch = scratch, .scratch_bytes = 4}, nothing = {0};
    float *const v = a->value, *const g = a->gradient;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        assert_int_equal(k->length(NULL, 1, g, NULL, &length, &l), PN_EARG);
        assert_int_equal(k->length(ranges, -1, g, NULL, &length, &l), PN_EARG);
        assert_int_equal(k->length(ranges, 1, NULL, NULL, &length, &l), PN_EARG);
        assert_int_equal(k->length(ranges, 1, g, NULL, NULL, &l), PN_EARG);
        assert_int_equal(k->length(ranges, 1, g, NULL, &length, &small), PN_EARG);
        assert_int_equal(k->length(ranges, 1, g, NULL, &length, &nothing), PN_EARG);
        assert_non_null(strstr(pn_error(), "length"));
        assert_int_equal(k->move(ranges, -1, v, v, g, NULL, 1, &l), PN_EARG);
        assert_int_equal(k->move(ranges, 1, NULL, v, g, NULL, 1, &l), PN_EARG);
        assert_int_equal(k->move(ranges, 1, v, NULL, g, NULL, 1, &l), PN_EARG);
        assert_int_equal(k->move(ranges, 1, v, v, NULL, NULL, 1, &l), PN_EARG);
        assert_true(length == -1);
        assert_null(pn_set_touched(&a->set));
    }
    pn_unguard(scratch);
    end_arrays(a);
}

static void sgd_refuses(void **state) {
    (void)state;
    arrays *a = new_arrays(false);
    double norm = -1;
    void *scratch = pn_guarded(1 << 20);
    const pn_launch l = {.scratch = scratch, .scratch_bytes = 1 << 20};
    const pn_launch small = {.scratch = scratch, .scratch_bytes = 4};
    const pn_sgd s = {.rate = 0.1f};
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        assert_int_equal(k->sgd(NULL, 1, a->value, a->gradient, a->velocity, NULL, s, &norm, &l),
                         PN_EARG);
        assert_int_equal(k->sgd(ranges, -1, a->value, a->gradient, a->velocity, NULL, s, &norm, &l),
                         PN_EARG);
        assert_int_equal(k->sgd(ranges, 1, NULL, a->gradient, a->velocity, NULL, s, &norm, &l),
                         PN_EARG);
        assert_int_equal(k->sgd(ranges, 1, a->value, NULL, a->velocity, NULL, s, &norm, &l),
                         PN_EARG);
        assert_int_equal(k->sgd(ranges, 1, a->value, a->gradient, a->velocity, NULL,
                                (pn_sgd){.clip = -1}, &norm, &l),
                         PN_EARG);
        assert_int_equal(k->sgd(ranges, 1, a->value, a->gradient, a->velocity, NULL,
                                (pn_sgd){.nesterov = 2}, &norm, &l),
                         PN_EARG);
        assert_int_equal(
            k->sgd(ranges, 1, a->value, a->gradient, a->velocity, NULL, s, &norm, &(pn_launch){0}),
            PN_EARG);
        assert_int_equal(
            k->sgd(ranges, 1, a->value, a->gradient, a->velocity, NULL, s, &norm, &small), PN_EARG);
        assert_true(norm == -1);
        assert_null(pn_set_touched(&a->set));
    }
    pn_unguard(scratch);
    end_arrays(a);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(weigh_refuses),
        cmocka_unit_test(weigh_sees_nan),
        cmocka_unit_test(share_of_nan),
        cmocka_unit_test(share_refuses),
        cmocka_unit_test(tally_in_any_order),
        cmocka_unit_test(tally_is_the_sum),
        cmocka_unit_test(tally_leaves_out_what_is_too_large),
        cmocka_unit_test(tally_of_no_weight),
        cmocka_unit_test(settle),
        cmocka_unit_test(tally_and_settle_refuse),
        cmocka_unit_test(sgd_exact),
        cmocka_unit_test(sgd_by_hand),
        cmocka_unit_test(norm_that_is_not_finite_changes_nothing),
        cmocka_unit_test(gradient_beyond_the_square_root_of_float),
        cmocka_unit_test(length_is_the_norm_of_sgd),
        cmocka_unit_test(move),
        cmocka_unit_test(move_by_a_length_that_is_no_number),
        cmocka_unit_test(length_and_move_refuse),
        cmocka_unit_test(scale),
        cmocka_unit_test(weigh_scales_the_loss),
        cmocka_unit_test(sgd_refuses),
    };
    return pn_run_rows("weigh", sequences, sizeof *sequences,
                       (int)(sizeof sequences / sizeof *sequences), weigh, NULL, 0) +
           pn_run_rows("share", sequences, sizeof *sequences,
                       (int)(sizeof sequences / sizeof *sequences), share, NULL, 0) +
           pn_run_rows("sgd", settings, sizeof *settings, (int)(sizeof settings / sizeof *settings),
                       sgd, others, (int)(sizeof others / sizeof *others));
}
