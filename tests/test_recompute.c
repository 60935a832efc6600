/* test_recompute.c -- what is not kept but made again (pn_program_recompute): the same bits from
 * every kind of network on every backend, each run when it may, the plan kept to the byte, and how
 * many bytes that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/poison.h"
#include "kernels/reference/backend.h"
#include "search/methods/model.h"
#include "search/methods/parsec.h"
#include "search/methods/prior.h"
#include "search/network/whole.h"
#include "tests/support/check.h"

/* Its types are plain words, which the others have as names of parameters. */
#include "runtime/program_parts.h"

static pn_arch random_arch(uint64_t i) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_arch arch;
    assert_int_equal(pn_prior_init(&prior, &space, i % 2), PN_OK);
    pn_prior_sample(&prior, 23, 0, i, &arch);
    return arch;
}

/* One op in all terms: on two inputs, and in the later nodes twice on one, which is one term. */
static pn_arch both_terms(int which) {
    pn_arch arch = {0};
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++)
                arch.cell[kind].term[node][slot] =
                    (pn_choice){(uint8_t)which, (uint8_t)(node < 2 ? slot : 2)};
    return arch;
}

/* ---- bits ------------------------------------------------------------------------------------ */

#define SEARCH(L, C, h, w, c) \
    { .layers = (L), .channels = (C), .H = (h), .W = (w), .image_channels = (c), .classes = 10 }
#define EVALUATION(L, C, h, w, c, stem)                                                \
    {                                                                                  \
        .evaluation = true, .layers = (L), .channels = (C), .H = (h), .W = (w),        \
        .image_channels = (c), .classes = 10, .auxiliary = true, .imagenet_stem = stem \
    }

/* Whatever lies in the arena before: what is read has been written. Twice, since gradients add. */
static void run(pn_whole *w) {
    for (int i = 0; i < 2; i++) {
        if (w->kernels->memory->plain && !w->arena.checked)
            memset(w->arena.base, 0xff, w->size.arena_bytes);
        if (pn_whole_run(w) != PN_OK) fail_msg("%s", pn_error());
    }
}

/* arch NULL: the supernet. */
static void same_bits(const pn_whole_case *c, const pn_arch *arch, const pn_kernels *k) {
    pn_whole kept, again;
    if (pn_whole_create(&kept, c, arch, k, 3) != PN_OK) fail_msg("%s: %s", c->why, pn_error());
    if (pn_whole_create_recomputing(&again, c, arch, k, 3) != PN_OK)
        fail_msg("%s: %s", c->why, pn_error());
    run(&kept);
    run(&again);
    if (!pn_whole_same(&kept, &again)) fail_msg("%s, %s: other bits", c->why, k->name);
    assert_int_equal(again.arena.high_water, again.size.arena_bytes);
    assert_true(again.size.activation_bytes <= kept.size.activation_bytes);
    pn_whole_destroy(&kept);
    pn_whole_destroy(&again);
}

static const pn_whole_case cases[] = {
    {.why = "search network", .spec = SEARCH(3, 8, 8, 8, 3), .N = 3, .training = true},
    {.why = "its odd edges", .spec = SEARCH(4, 4, 9, 7, 1), .N = 2, .training = true},
    {.why = "evaluation network, drop-path, auxiliary head",
     .spec = EVALUATION(3, 4, 32, 32, 3, false),
     .N = 3,
     .training = true,
     .auxiliary = true,
     .keep = 0.7},
    {.why = "the stem of ImageNet",
     .spec = EVALUATION(3, 8, 58, 49, 3, true),
     .N = 2,
     .training = true,
     .keep = 0.6},
    {.why = "norms behind pools",
     .spec = {.evaluation = true,
              .layers = 4,
              .channels = 8,
              .H = 8,
              .W = 7,
              .image_channels = 3,
              .classes = 10,
              .pool_norm = true},
     .N = 3,
     .training = true,
     .keep = 0.7},
    {.why = "gradients with running statistics",
     .spec = EVALUATION(3, 8, 8, 8, 3, false),
     .N = 3,
     .training = true,
     .inference = true},
};

static void same_bits_as_kept(void **state) {
    (void)state;
    for (int backend = 0; backend < PN_BACKENDS; backend++) {
        const pn_kernels *k = pn_backend_at(backend);
        for (size_t i = 0; k && i < sizeof cases / sizeof *cases; i++)
            for (uint64_t a = 0; a < 3; a++) {
                const pn_arch arch = random_arch(10 * i + a);
                same_bits(&cases[i], &arch, k);
            }
    }
}

static void same_bits_of_each_op(void **state) {
    (void)state;
    for (int which = 0; which < PN_MAX_OPS; which++) {
        const pn_arch arch = both_terms(which);
        same_bits(&cases[0], &arch, pn_host_kernels(NULL));
        same_bits(&cases[2], &arch, pn_host_kernels(NULL));
    }
}

static void same_bits_of_the_supernet(void **state) {
    (void)state;
    same_bits(&cases[0], NULL, pn_host_kernels(NULL));
}

/* Weights, momenta and distribution after steps of a search, with samples that are skipped. */
static void same_bits_of_a_search(void **state) {
    (void)state;
    enum { STEPS = 6, SAMPLES = 3 };
    static pn_model model[2];
    static pn_search search[2];
    static pn_step_report report;
    pn_data data;
    const pn_space space = pn_space_darts();
    pn_search_settings settings = pn_rule_practical(STEPS, 8);
    settings.samples = SAMPLES;
    settings.warmup = 1;
    settings.seed = 5;
    assert_int_equal(pn_data_open("synthetic:200x12x12x3", PN_TRAIN, &data), PN_OK);
    for (int i = 0; i < 2; i++) {
        pn_model_settings m = pn_model_defaults();
        m.network = (pn_network_spec)SEARCH(3, 8, 12, 12, 3);
        m.N = 8;
        m.seed = 5;
        m.recompute = i;
        assert_int_equal(
            pn_model_create(&model[i], pn_host_kernels(NULL), &space, &m, &data, SAMPLES), PN_OK);
        assert_int_equal(pn_search_init(&search[i], &space, &settings), PN_OK);
        const pn_evaluator e = pn_model_evaluator(&model[i]);
        for (int step = 0; step < STEPS; step++)
            assert_int_equal(pn_search_step(&search[i], &e, &report), PN_OK);
    }
    const pn_parameters *a = &model[0].network.parameters, *b = &model[1].network.parameters;
    assert_memory_equal(a->block, b->block, a->block_bytes);
    assert_memory_equal(&search[0].prior, &search[1].prior, sizeof search[0].prior);
    assert_true(pn_flights_high_water(&model[1].flights) <
                pn_flights_high_water(&model[0].flights));
    for (int i = 0; i < 2; i++) pn_model_destroy(&model[i]);
    pn_data_free(&data);
}

/* ---- when ------------------------------------------------------------------------------------ */

/* The launch of the first backward that reads what op i made, its own at the latest. */
static int first_reader(const pn_graph *g, const pn_schedule *s, int i) {
    int first = s->turns[i].launch[BACKWARD];
    for (int u = 0; u < g->use_count; u++) {
        const op *reader = &g->ops[g->uses[u].op];
        const int l = s->turns[g->uses[u].op].launch[BACKWARD];
        if (reader->alive && pn_value_read(g, u)->op == i && pn_use_rereads(g, u) && l < first)
            first = l;
    }
    return first;
}

/* No backward launch lies between an op's second run and the first that wants it, or wants what is
 * made from it; and what it reads is there. */
static void check_turns(const pn_graph *g, const pn_schedule *s, int *made) {
    int *wanted = malloc((size_t)g->op_count * sizeof *wanted);
    assert_non_null(wanted);
    for (int i = g->op_count - 1; i >= 0; i--) {
        const op *o = &g->ops[i];
        if (!o->alive || !o->again) continue;
        const int l = s->turns[i].launch[AGAIN];
        wanted[i] = first_reader(g, s, i);
        for (int u = 0; u < g->use_count; u++) {
            const int reader = g->uses[u].op;
            if (!g->ops[reader].alive || !g->ops[reader].again || pn_value_read(g, u)->op != i)
                continue;
            assert_true(l < s->turns[reader].launch[AGAIN]);
            if (wanted[reader] < wanted[i]) wanted[i] = wanted[reader];
        }
        ++*made;
        assert_int_equal(s->launches[l].pass, AGAIN);
        assert_int_equal(s->launches[l].family, o->family);
        assert_true(l < wanted[i]);
        for (int k = l; k < wanted[i]; k++) assert_int_equal(s->launches[k].pass, AGAIN);
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const int producer = pn_value_read(g, u)->op;
            if (producer >= 0) assert_true(l < s->turns[producer].launch[BACKWARD]);
        }
    }
    free(wanted);
}

/* Without what is made again the launches are those of a program that keeps all. */
static void same_launches(pn_graph *g, const pn_schedule *s) {
    pn_schedule kept = {0};
    int l = 0;
    assert_int_equal(pn_schedule_reserve(&kept, g->op_count, g->use_count), PN_OK);
    g->recompute = false;
    pn_schedule_make(g, &kept);
    g->recompute = true;
    for (int i = 0; i < s->count; i++) {
        const launch *a = &s->launches[i], *b = &kept.launches[l];
        if (a->pass == AGAIN) continue;
        assert_true(a->family == b->family && a->pass == b->pass && a->count == b->count);
        assert_memory_equal(s->order + a->first, kept.order + b->first,
                            (size_t)a->count * sizeof(int));
        l++;
    }
    assert_int_equal(l, kept.count);
    pn_schedule_free(&kept);
}

static void made_just_before_it_is_read(void **state) {
    (void)state;
    int made = 0, all = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t a = 0; a < 20; a++) {
            const pn_space space = pn_space_darts();
            const pn_arch arch = random_arch(a);
            pn_network n;
            pn_program *p;
            pn_program_size size;
            pn_schedule s = {0};
            assert_int_equal(pn_network_create(&n, &cases[i].spec, &space, &arch), PN_OK);
            assert_int_equal(pn_program_create(&p, pn_reference_kernels(NULL)), PN_OK);
            const pn_build how = {.N = 2,
                                  .training = true,
                                  .recompute = true,
                                  .inference = cases[i].inference,
                                  .auxiliary = cases[i].auxiliary};
            assert_int_equal(pn_network_build(&n, &arch, p, &how), PN_OK);
            assert_int_equal(pn_program_compile(p, &size), PN_OK); /* marks the graph */
            pn_graph *g = pn_graph_of(p);
            assert_int_equal(pn_schedule_reserve(&s, g->op_count, g->use_count), PN_OK);
            pn_schedule_make(g, &s);
            check_turns(g, &s, &made);
            same_launches(g, &s);
            all += g->op_count;
            pn_schedule_free(&s);
            pn_program_destroy(p);
            pn_network_destroy(&n);
        }
    assert_true(made > all / 4); /* of the rest most are nodes */
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* The network of the paper's search: mean bytes of its arena, and the multiply-adds made again. */
static void bytes_of_the_space(const char *device) {
#ifdef PN_ASAN
    enum { COUNT = 10 };
#else
    enum { COUNT = 100 };
#endif
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(8, 16, 32, 32, 3);
    const pn_kernels *k;
    pn_network network;
    pn_program *program;
    double bytes[2] = {0}, launches[2] = {0};
    if (pn_backend_sizes(device, &k) != PN_OK) return; /* not in this build */
    assert_int_equal(pn_network_create(&network, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_program_create(&program, k), PN_OK);
    for (uint64_t i = 0; i < COUNT; i++) {
        const pn_arch arch = random_arch(i);
        for (int again = 0; again < 2; again++) {
            const pn_build how = {.N = 64, .training = true, .recompute = again};
            pn_program_size size;
            assert_int_equal(pn_network_build(&network, &arch, program, &how), PN_OK);
            assert_int_equal(pn_program_compile(program, &size), PN_OK);
            bytes[again] += (double)size.arena_bytes / COUNT;
            launches[again] += (double)(size.launches_fwd + size.launches_bwd) / COUNT;
            if (again) assert_true(size.jobs_fwd < size.jobs_bwd);
        }
    }
    print_message("%s: mean arena %.1f MB, %.1f launches; with recompute %.1f MB, %.1f launches\n",
                  device, bytes[0] / 1e6, launches[0], bytes[1] / 1e6, launches[1]);
    assert_true(bytes[1] <= 140e6);
    assert_true(bytes[1] <= 0.6 * bytes[0]);
    pn_program_destroy(program);
    pn_network_destroy(&network);
}

static void the_mean_architecture_in_half_the_bytes(void **state) {
    (void)state;
    bytes_of_the_space("cpu");
    bytes_of_the_space("cuda");
}

/* Beyond the planned bytes nothing is written. (The other tests see what is read.) */
static void planned_bytes_are_used_bytes(void **state) {
    (void)state;
    enum { BEYOND = 1 << 16, PATTERN = 0x5a };
    for (uint64_t a = 0; a < 100; a++) {
        const pn_arch arch = random_arch(500 + a);
        pn_whole w;
        assert_int_equal(
            pn_whole_create_recomputing(&w, &cases[0], &arch, pn_host_kernels(NULL), 3), PN_OK);
        const size_t bytes = w.size.arena_bytes, room = w.arena.committed - bytes;
        const size_t end = bytes + (room < BEYOND ? room : BEYOND);
        if (!w.arena.checked) memset(w.arena.base + bytes, PATTERN, end - bytes);
        assert_int_equal(pn_whole_run(&w), PN_OK);
        for (size_t i = bytes; !w.arena.checked && i < end; i++)
            if (w.arena.base[i] != PATTERN)
                fail_msg("architecture %d wrote byte %zu of %zu", (int)a, i, bytes);
        assert_int_equal(w.arena.high_water, bytes);
        assert_true(bytes >= pn_program_floor(w.program));
        pn_whole_destroy(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_kept),
        cmocka_unit_test(same_bits_of_each_op),
        cmocka_unit_test(same_bits_of_the_supernet),
        cmocka_unit_test(same_bits_of_a_search),
        cmocka_unit_test(made_just_before_it_is_read),
        cmocka_unit_test(the_mean_architecture_in_half_the_bytes),
        cmocka_unit_test(planned_bytes_are_used_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
