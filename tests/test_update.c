/* test_update.c -- importance weights online against the softmax itself; rescaling; SGD. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    *n = (numbers){.w = {.max = -INFINITY}, .norm = -1};
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

/* The gradient as a search gathers it: rescaled when the maximum grows, the sample's own scale. */
static void weigh(void **state) {
    const struct sequence *s = *state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        numbers *n = new_numbers();
        pn_importance w = n->w;
        double gathered = 0, wanted = 0;
        for (int i = 0; i < s->count; i++) {
            n->result = (pn_result){.log_likelihood = s->l[i]};
            assert_int_equal(k->weigh(&n->result, s->temperature, s->skip_below, &n->w, &l), PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            w = n->w;
            const pn_importance want = pn_weigh_ref(s->l, i + 1, s->temperature, s->skip_below);
            assert_true(w.max == want.max);
            assert_true(fabs(w.sum - want.sum) <= 1e-14 * want.sum * s->count);
            /* Rounded to float once, from doubles that agree to some 1e-15. */
            assert_true(fabsf(w.scale - want.scale) <= 0x1p-23f * want.scale);
            assert_true(fabsf(w.rescale - want.rescale) <= 0x1p-23f * want.rescale);
            assert_true(fabsf(w.inverse - want.inverse) <= 0x1p-23f * want.inverse);
            assert_int_equal(w.count, i + 1);
            assert_int_equal(w.skipped, want.skipped);
            gathered = gathered * w.rescale + w.scale * (i + 1.0);
        }
        for (int i = 0; i < s->count; i++)
            wanted += exp(s->l[i] / s->temperature - w.max) / w.sum * (i + 1.0);
        pn_unreach(n);
        /* Each of up to 8 samples: 3 factors rounded to float; and what skipping leaves out. */
        assert_true(fabs(gathered * w.inverse - wanted) <=
                    (3 * 0x1p-24 * s->count + s->skip_below * s->count) * wanted);
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

/* ---- rescale and sgd ------------------------------------------------------------------------- */

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

static void rescale(void **state) {
    (void)state;
    static const float factors[] = {1, 0.5f, 0, 1.7f};
    arrays *a = new_arrays(false);
    numbers *n = new_numbers();
    for (int backend = 0; backend < PN_BACKENDS; backend++)
        for (int i = 0; i < 4 && pn_backend_at(backend); i++) {
            const pn_kernels *k = pn_backend_at(backend);
            const pn_launch l = launch_on(k, NULL, 0);
            pn_set_restore(&a->set);
            n->factor = factors[i];
            assert_int_equal(k->rescale(ranges, RANGES, a->gradient, &n->factor, &l), PN_OK);
            assert_int_equal(pn_finish(k), PN_OK);
            pn_member *g = pn_set_find(&a->set, a->gradient);
            for (int j = 0; j < FLOATS; j++) g->d[j] = g->start[j];
            pn_rescale_ref(ranges, RANGES, g->d, factors[i]);
            for (int j = 0; j < FLOATS; j++) assert_true(a->gradient[j] == (float)g->d[j]);
            assert_null(pn_set_overrun(&a->set));
        }
    pn_unreach(n);
    end_arrays(a);
}

/* A gradient that was never written may hold anything; times 1 it is not even read. */
static void rescale_by_one_does_nothing(void **state) {
    (void)state;
    arrays *a = new_arrays(false);
    numbers *n = new_numbers();
    n->factor = 1;
    a->gradient[5] = NAN;
    pn_set_freeze(&a->set);
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        if (!k) continue;
        const pn_launch l = launch_on(k, NULL, 0);
        assert_int_equal(k->rescale(ranges, RANGES, a->gradient, &n->factor, &l), PN_OK);
        assert_int_equal(pn_finish(k), PN_OK);
        assert_null(pn_set_touched(&a->set));
    }
    pn_unreach(n);
    end_arrays(a);
}

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
        assert_int_equal(k->rescale(ranges, 1, NULL, a->value, &l), PN_EARG);
        assert_int_equal(k->rescale(ranges, 1, a->gradient, NULL, &l), PN_EARG);
        assert_true(norm == -1);
        assert_null(pn_set_touched(&a->set));
    }
    pn_unguard(scratch);
    end_arrays(a);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(weigh_refuses),
        cmocka_unit_test(rescale),
        cmocka_unit_test(rescale_by_one_does_nothing),
        cmocka_unit_test(sgd_exact),
        cmocka_unit_test(sgd_by_hand),
        cmocka_unit_test(norm_that_is_not_finite_changes_nothing),
        cmocka_unit_test(gradient_beyond_the_square_root_of_float),
        cmocka_unit_test(length_is_the_norm_of_sgd),
        cmocka_unit_test(move),
        cmocka_unit_test(move_by_a_length_that_is_no_number),
        cmocka_unit_test(length_and_move_refuse),
        cmocka_unit_test(sgd_refuses),
    };
    return pn_run_rows("weigh", sequences, sizeof *sequences,
                       (int)(sizeof sequences / sizeof *sequences), weigh, NULL, 0) +
           pn_run_rows("sgd", settings, sizeof *settings, (int)(sizeof settings / sizeof *settings),
                       sgd, others, (int)(sizeof others / sizeof *others));
}
