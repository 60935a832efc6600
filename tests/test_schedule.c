/* test_schedule.c -- the launches of random architectures, of the supernet and of evaluation
 * networks, against the rule as it is said: which ops are ready, and which family waits for more,
 * found afresh from the whole graph before every launch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/reference/backend.h"
#include "search/methods/prior.h"
#include "search/network/network.h"

/* Its types are plain words, which the others have as names of parameters. */
#include "runtime/program_parts.h"

/* ---- the rule -------------------------------------------------------------------------------- */

typedef struct plain_op {
    bool done, ready;
    unsigned held; /* by which families, one bit each */
} plain_op;

/* Of two ops that hang together, the producer goes first forward, the reader backward. */
static void look(const pn_graph *g, int pass, plain_op *ops) {
    for (int i = 0; i < g->op_count; i++) {
        ops[i].ready = !ops[i].done;
        ops[i].held = 0;
    }
    for (int n = 0; n < g->op_count; n++) {
        const int i = pass == FORWARD ? n : g->op_count - 1 - n;
        const op *o = &g->ops[i];
        for (int u = o->first_use; o->alive && u < o->first_use + o->uses; u++) {
            const int producer = pn_value_read(g, u)->op;
            const int before = pass == FORWARD ? producer : i;
            const int after = pass == FORWARD ? i : producer;
            if (producer < 0 || ops[before].done) continue;
            ops[after].ready = false;
            ops[after].held |= ops[before].held | 1U << g->ops[before].family;
        }
    }
}

/* The family with something ready for which waiting would gather the fewest more. */
static pn_family family_to_go(const pn_graph *g, const plain_op *ops) {
    int ready[PN_FAMILIES] = {0}, joining[PN_FAMILIES] = {0};
    pn_family best = PN_FAMILIES;
    for (int i = 0; i < g->op_count; i++) {
        const pn_family f = g->ops[i].family;
        ready[f] += ops[i].ready;
        joining[f] += !ops[i].done && !ops[i].ready && !(ops[i].held >> f & 1);
    }
    for (pn_family f = 0; f < PN_FAMILIES; f++)
        if (ready[f] && (best == PN_FAMILIES || joining[f] < joining[best])) best = f;
    return best;
}

/* Is op i the only node of the launch that adds to what it adds to? All else may share. */
static bool fits(const pn_graph *g, int pass, int i, const int *jobs, int count) {
    for (int j = 0; j < count && pass == BACKWARD && g->ops[i].family == PN_NODE; j++)
        if (pn_ops_share_gradient(g, &g->ops[i], &g->ops[jobs[j]])) return false;
    return true;
}

/* The next launch's ops in the order of building, and their family. */
static pn_family next_launch(const pn_graph *g, int pass, plain_op *ops, int *jobs, int *count) {
    look(g, pass, ops);
    const pn_family family = family_to_go(g, ops);
    *count = 0;
    for (int i = 0; i < g->op_count; i++)
        if (ops[i].ready && g->ops[i].family == family && fits(g, pass, i, jobs, *count))
            jobs[(*count)++] = i;
    for (int j = 0; j < *count; j++) ops[jobs[j]].done = true;
    return family;
}

/* ---- what was made of it --------------------------------------------------------------------- */

/* The same ops; backward, those that add to one gradient stand together, else in their order. */
static void same_ops(const pn_graph *g, int pass, const int *got, const int *wanted, int count) {
    for (int j = 0; j < count; j++) {
        int found = 0;
        for (int k = 0; k < count; k++) found += got[k] == wanted[j];
        assert_int_equal(found, 1);
    }
    for (int j = 1; j < count; j++) {
        const op *a = &g->ops[got[j - 1]], *b = &g->ops[got[j]];
        const bool ordered = pass == FORWARD || a->family == PN_NODE;
        const pn_value x = g->uses[a->first_use].term.value, y = g->uses[b->first_use].term.value;
        assert_true(ordered || x == y ? got[j - 1] < got[j] : x < y);
    }
}

static int check_pass(const pn_graph *g, const pn_schedule *s, int pass, int l) {
    plain_op *ops = calloc((size_t)g->op_count, sizeof *ops);
    int *jobs = calloc((size_t)g->op_count, sizeof *jobs), count;
    assert_non_null(ops);
    assert_non_null(jobs);
    for (int i = 0; i < g->op_count; i++) ops[i].done = !g->ops[i].alive;
    for (;; l++) {
        const pn_family family = next_launch(g, pass, ops, jobs, &count);
        if (!count) break;
        assert_true(l < s->count);
        const launch *a = &s->launches[l];
        assert_int_equal(a->pass, pass);
        assert_int_equal(a->family, family);
        assert_int_equal(a->count, count);
        same_ops(g, pass, s->order + a->first, jobs, count);
        for (int j = 0; j < count; j++) assert_int_equal(s->turns[jobs[j]].launch[pass], l);
    }
    free(ops);
    free(jobs);
    return l;
}

/* Launches of a network; how->training or not. arch NULL: the supernet. */
static int check(const pn_network_spec *spec, const pn_arch *arch, pn_build how) {
    const pn_space space = pn_space_darts();
    pn_network n;
    pn_program *p;
    pn_program_size size;
    pn_schedule s = {0};
    how.N = 2;
    assert_int_equal(pn_network_create(&n, spec, &space, arch), PN_OK);
    assert_int_equal(pn_program_create(&p, pn_reference_kernels(NULL)), PN_OK);
    assert_int_equal(pn_network_build(&n, arch, p, &how), PN_OK);
    assert_int_equal(pn_program_compile(p, &size), PN_OK); /* marks the graph */
    const pn_graph *g = pn_graph_of(p);
    assert_int_equal(pn_schedule_reserve(&s, g->op_count, g->use_count), PN_OK);
    pn_schedule_make(g, &s);
    assert_int_equal(check_pass(g, &s, FORWARD, 0), s.forward);
    if (how.training) assert_int_equal(check_pass(g, &s, BACKWARD, s.forward), s.count);
    assert_int_equal(s.count, size.launches_fwd + size.launches_bwd);
    const int launches = s.count;
    pn_schedule_free(&s);
    pn_program_destroy(p);
    pn_network_destroy(&n);
    return launches;
}

/* ---- networks -------------------------------------------------------------------------------- */

static pn_arch random_arch(uint64_t i, bool distinct) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_arch arch;
    assert_int_equal(pn_prior_init(&prior, &space, distinct), PN_OK);
    pn_prior_sample(&prior, 11, 0, i, &arch);
    return arch;
}

static const pn_network_spec search = {
    .layers = 8, .channels = 4, .H = 8, .W = 8, .image_channels = 3, .classes = 10};

static void random_architectures(void **state) {
    (void)state;
    int launches = 0;
    for (uint64_t i = 0; i < 300; i++) {
        const pn_arch arch = random_arch(i, i % 2);
        launches += check(&search, &arch, (pn_build){.training = true});
        check(&search, &arch, (pn_build){.training = false});
    }
    assert_true(launches > 300 * 100); /* something was compared */
}

static void the_supernet(void **state) {
    (void)state;
    check(&search, NULL, (pn_build){.training = true});
    check(&search, NULL, (pn_build){.training = false});
}

static void evaluation_networks(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        const bool imagenet = i % 2;
        const pn_arch arch = random_arch(1000 + i, true);
        const pn_network_spec spec = {.evaluation = true,
                                      .layers = imagenet ? 14 : 20,
                                      .channels = 8,
                                      .H = imagenet ? 224 : 32,
                                      .W = imagenet ? 224 : 32,
                                      .image_channels = 3,
                                      .classes = 10,
                                      .auxiliary = true,
                                      .imagenet_stem = imagenet};
        check(&spec, &arch, (pn_build){.training = true, .auxiliary = true});
        check(&spec, &arch, (pn_build){.inference = true});
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_architectures),
        cmocka_unit_test(the_supernet),
        cmocka_unit_test(evaluation_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
