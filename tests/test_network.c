/* test_network.c -- DARTS' networks as programs: their tensors, their counts, what they compute,
 * and that the plan of every architecture is kept to the byte. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/rng.h"
#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"
#include "tests/support/check.h"

#define SEARCH(L, C, h, w, c) \
    { .layers = (L), .channels = (C), .H = (h), .W = (w), .image_channels = (c), .classes = 10 }
#define EVALUATION(L, C, h, w, c)                                               \
    {                                                                           \
        .evaluation = true, .layers = (L), .channels = (C), .H = (h), .W = (w), \
        .image_channels = (c), .classes = 10, .auxiliary = true                 \
    }

#define IMAGENET(L, C, h, w, c)                                                         \
    {                                                                                   \
        .evaluation = true, .layers = (L), .channels = (C), .H = (h), .W = (w),         \
        .image_channels = (c), .classes = 10, .auxiliary = true, .imagenet_stem = true, \
        .smoothing = 0.1F                                                               \
    }

#define POOL_NORM(L, C, h, w, c)                                                   \
    {                                                                              \
        .evaluation = true, .layers = (L), .channels = (C), .H = (h), .W = (w),    \
        .image_channels = (c), .classes = 10, .auxiliary = true, .pool_norm = true \
    }

static pn_arch genotype(const char *name) {
    pn_arch arch;
    assert_int_equal(pn_genotype_read(name, strlen(name), &arch), PN_OK);
    return arch;
}

static pn_arch random_arch(uint64_t i) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_arch arch;
    assert_int_equal(pn_prior_init(&prior, &space, false), PN_OK);
    pn_prior_sample(&prior, 7, 0, i, &arch);
    return arch;
}

/* Nodes of 0 to 5 terms: of every edge, also with empty nodes that others read, that nothing but
 * skips make, or all of them; and a term that is none beside another. */
static const char *const of_all_terms[] = {
    "normal s3@1 mp@0 | sk@0 ap@2 d5@1 | s5@3 sk@1 no@0 mp@2 | d3@4 sk@0 s3@1 mp@3 ap@2 "
    "reduce sk@0 mp@1 | no@0 no@1 no@2 | s3@2 d3@3 sk@1 sk@0 | sk@4 sk@3 sk@2 s5@0 mp@1",
    "normal no@0 no@1 | s3@2 no@1 no@0 | sk@0 sk@2 no@1 no@3 | no@4 no@0 sk@3 no@1 no@2 "
    "reduce no@1 sk@0 | no@0 no@1 no@2 | no@0 sk@3 no@2 no@1 | no@1 mp@3 no@2 no@0 no@4",
    "normal s3@0 no@1 | no@0 no@0 | sk@3 sk@2 | no@4 d3@4 reduce mp@0 mp@1 | no@2 sk@2 | sk@0 sk@0 "
    "| no@0 s5@1",
    "normal sk@0 sk@1 | sk@0 sk@1 sk@2 | sk@0 sk@1 sk@2 sk@3 | sk@0 sk@1 sk@2 sk@3 sk@4 "
    "reduce sk@0 sk@1 | sk@0 sk@1 sk@2 | sk@0 sk@1 sk@2 sk@3 | sk@0 sk@1 sk@2 sk@3 sk@4",
    "SNAS_aggressive",
    "SNAS_moderate_edge_all",
    "normal no@0 no@1 | no@0 no@1 | no@0 no@1 | no@0 no@1 "
    "reduce no@0 no@1 | no@0 no@1 no@2 | no@0 no@1 no@2 no@3 | no@0 no@1 no@2 no@3 no@4",
};
enum { ALL_TERMS = sizeof of_all_terms / sizeof *of_all_terms };

/* ---- tensors and counts ---------------------------------------------------------------------- */

static void parameters_of_published_networks(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t weights;
    } published[] = {{"DARTS_V2", 3349342},
                     {"PDARTS", 3433798},
                     {"SNAS_mild", 2661382},
                     {"SNAS_moderate", 2847358},
                     {"SNAS_aggressive", 2313622},
                     {"SNAS_mild_edge_all", 2661382},
                     {"SNAS_moderate_edge_all", 2847358},
                     {"SNAS_aggressive_edge_all", 2313622}};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const pn_space space = pn_space_darts();
        const pn_network_spec spec = EVALUATION(20, 36, 32, 32, 3);
        const pn_arch arch = genotype(published[i].name);
        pn_network n;
        size_t weights, auxiliary;
        assert_int_equal(pn_network_create(&n, &spec, &space, &arch), PN_OK);
        pn_network_count(&n, &arch, &weights, &auxiliary);
        assert_int_equal(weights, published[i].weights);
        assert_int_equal(auxiliary, 476426);
        pn_network_destroy(&n);
    }
}

/* Of five max pools in either reduction a scale and a shift more, where SNAS has them. */
static void tensors_of_pools(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = POOL_NORM(20, 36, 32, 32, 3);
    const pn_arch arch = genotype("DARTS_V2");
    pn_network n;
    size_t weights, auxiliary;
    assert_int_equal(pn_network_create(&n, &spec, &space, &arch), PN_OK);
    pn_network_count(&n, &arch, &weights, &auxiliary);
    assert_int_equal(weights, 3349342 + 2 * 5 * (72 + 144));
    const int scale = pn_parameters_find(&n.parameters, "cells.6._ops.0.op.1.weight");
    assert_true(scale >= 0);
    assert_int_equal(n.parameters.list[scale].rank, 1);
    assert_int_equal(n.parameters.list[scale].shape[0], 72);
    assert_int_equal(pn_parameters_find(&n.parameters, "cells.6._ops.0.op.1.running_var"),
                     scale + 3);
    pn_network_destroy(&n);
}

/* `_ops.P`: the place in the genotype's list, as the public code of SNAS has it. */
static void tensors_of_every_edge(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool there;
    } wanted[] = {
        {"cells.0._ops.0.op.1.weight", true},    /* sep_conv_3x3 on 0 */
        {"cells.0._ops.1.op.7.weight", true},    /* its second half */
        {"cells.0._ops.3.op.2.weight", true},    /* dil_conv_3x3 on 1 */
        {"cells.0._ops.10.op.5.weight", true},   /* sep_conv_3x3 of node 3 on 1 */
        {"cells.1._ops.10.op.1.weight", true},   /* of the reduction, dil_conv_5x5 of node 3 */
        {"cells.1._ops.4.conv_1.weight", false}, /* skip of stride 1 */
        {"cells.0._ops.4.op.1.weight", false},   /* none */
        {"cells.0._ops.7.op.1.weight", false},   {"cells.0._ops.13.op.1.weight", false},
    };
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = EVALUATION(3, 8, 32, 32, 3);
    const pn_arch arch = genotype("SNAS_mild_edge_all");
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, &arch), PN_OK);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if ((pn_parameters_find(&n.parameters, wanted[i].name) >= 0) != wanted[i].there)
            fail_msg("%s", wanted[i].name);
    pn_network_destroy(&n);
}

static void names_and_shapes_of_the_search_network(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int rank, shape[4];
    } wanted[] = {
        {"stem.conv.weight", 4, {48, 3, 3, 3}},
        {"stem.bn.weight", 1, {48}},
        {"stem.bn.bias", 1, {48}},
        {"cells.0.preprocess0.weight", 4, {16, 48, 1, 1}},
        {"cells.2.preprocess1.weight", 4, {32, 64, 1, 1}},   /* a reduction doubles the channels */
        {"cells.3.preprocess0.weight_1", 4, {16, 64, 1, 1}}, /* input twice as large: factorized */
        {"cells.3.preprocess0.weight_2", 4, {16, 64, 1, 1}},
        {"cells.0.nodes.0.input.1.sep_conv_3x3.dw1.weight", 4, {16, 1, 3, 3}},
        {"cells.0.nodes.3.input.4.sep_conv_5x5.pw2.weight", 4, {16, 16, 1, 1}},
        {"cells.0.nodes.1.input.2.dil_conv_5x5.dw1.weight", 4, {16, 1, 5, 5}},
        {"cells.2.nodes.0.input.0.skip_connect.weight_2", 4, {16, 32, 1, 1}}, /* skip at stride 2 */
        {"classifier.weight", 2, {10, 256}},
        {"classifier.bias", 1, {10}},
    };
    static const char *const absent[] = {"cells.0.nodes.0.input.2.sep_conv_3x3.dw1.weight",
                                         "cells.0.nodes.0.input.0.dil_conv_3x3.dw2.weight",
                                         "cells.0.nodes.0.input.0.skip_connect.weight_1",
                                         "cells.2.nodes.1.input.2.skip_connect.weight_1",
                                         "cells.3.preprocess0.weight"};
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(8, 16, 32, 32, 3);
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const int at = pn_parameters_find(&n.parameters, wanted[i].name);
        if (at < 0) fail_msg("no tensor %s", wanted[i].name);
        assert_int_equal(n.parameters.list[at].rank, wanted[i].rank);
        for (int d = 0; d < wanted[i].rank; d++)
            assert_int_equal(n.parameters.list[at].shape[d], wanted[i].shape[d]);
    }
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (pn_parameters_find(&n.parameters, absent[i]) >= 0) fail_msg("a tensor %s", absent[i]);
    pn_network_destroy(&n);
}

/* PyTorch's order outside, the kernels' inside, and back. */
static void layouts_go_out_and_come_back(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(3, 4, 8, 8, 3);
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_parameters_allocate(&n.parameters, &pn_host_memory), PN_OK);
    float in[4096], out[4096];
    for (int t = 0; t < n.parameters.count; t++) {
        const size_t count = n.parameters.list[t].count;
        assert_true(count <= 4096);
        for (size_t i = 0; i < count; i++) in[i] = (float)(t + 1) + (float)i / 4096;
        pn_parameters_set(&n.parameters, n.parameters.value, t, in);
    }
    for (int t = 0; t < n.parameters.count; t++) {
        const size_t count = n.parameters.list[t].count;
        for (size_t i = 0; i < count; i++) in[i] = (float)(t + 1) + (float)i / 4096;
        pn_parameters_get(&n.parameters, n.parameters.value, t, out);
        assert_memory_equal(in, out, count * sizeof *in);
    }
    /* By hand: stem (O,I,kh,kw) = (12,3,3,3); element o=5, i=2, kh=1, kw=0 lies at
     * ((1*3+0)*3+2)*12+5. */
    const int stem = pn_parameters_find(&n.parameters, "stem.conv.weight");
    pn_parameters_get(&n.parameters, n.parameters.value, stem, out);
    assert_true(
        out[((5 * 3 + 2) * 3 + 1) * 3 + 0] ==
        n.parameters.value[n.parameters.list[stem].offset + ((1 * 3 + 0) * 3 + 2) * 12 + 5]);
    pn_network_destroy(&n);
}

/* One cell, C=4, 4x4 image of 1 channel. The cell is a reduction (1/3 = 0): C=8, output 2x2.
 * stem 9*1*12*16; two preprocesses 12*8*16; node 0: sep_conv_3x3 twice (9*8 + 64)*4 and factorized
 * reduce 64*4; node 1: dil_conv_5x5 (25*8 + 64)*4 and a pool; nodes 2, 3: pools; classifier
 * 32*10. */
static void multiply_adds_by_hand(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(1, 4, 4, 4, 1);
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    pn_arch arch = {0};
    arch.cell[PN_REDUCTION].term[0][0] = (pn_choice){PN_SEP_CONV_3X3, 0};
    arch.cell[PN_REDUCTION].term[0][1] = (pn_choice){PN_SKIP_CONNECT, 1};
    arch.cell[PN_REDUCTION].term[1][0] = (pn_choice){PN_DIL_CONV_5X5, 2};
    const double wanted =
        9 * 12 * 16 + 2 * 12 * 8 * 16 + 2 * (72 + 64) * 4 + 64 * 4 + (200 + 64) * 4 + 32 * 10;
    assert_true(pn_network_macs(&n, &arch) == wanted);
    pn_network_destroy(&n);
}

static void settings_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *why;
        pn_network_spec spec;
    } cases[] = {
        {"no cell", SEARCH(0, 16, 32, 32, 3)},
        {"too many cells", SEARCH(65, 16, 32, 32, 3)},
        {"channels not a multiple of 4", SEARCH(8, 6, 32, 32, 3)},
        {"no channels", SEARCH(8, 0, 32, 32, 3)},
        {"no height", SEARCH(8, 16, 0, 32, 3)},
        {"two image channels", SEARCH(8, 16, 32, 32, 2)},
        {"norms behind pools twice",
         {.layers = 8,
          .channels = 16,
          .H = 32,
          .W = 32,
          .image_channels = 3,
          .classes = 10,
          .pool_norm = true}},
    };
    const pn_space space = pn_space_darts();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_network n;
        if (pn_network_create(&n, &cases[i].spec, &space, NULL) != PN_EARG)
            fail_msg("accepted: %s", cases[i].why);
        assert_true(pn_error()[0] != 0);
    }
}

/* ---- what they compute ----------------------------------------------------------------------- */

static const pn_kernels *kernels_at_hand(void) {
    const pn_kernels *only = pn_only_backend();
    return only ? only : pn_host_kernels(NULL);
}

static void against_reference(const pn_whole_case *c, const pn_arch *arch) {
    static int turn;
    pn_whole reference;
    turn++;
    if (pn_whole_reference(&reference, c, arch, 3) != PN_OK) fail_msg("%s: %s", c->why, pn_error());
    for (int backend = 0; backend < PN_ALL_BACKENDS; backend++) {
        pn_whole w;
        if (!pn_backend_at(backend)) continue;
        /* Of two pixels a norm leaves the sign of their difference: after a coarse rounding that is
         * chance. */
        if (pn_whole_floor(pn_backend_at(backend)) > 1e-2 && c->N * c->spec.H * c->spec.W < 8)
            continue;
        /* Kernels of a card that float32 has, too, take one network in three. */
        if (pn_backend_at(backend)->products == PN_PRODUCTS_TF32 && !pn_only_backend() && turn % 3)
            continue;
        if (pn_whole_create(&w, c, arch, pn_backend_at(backend), 3) != PN_OK ||
            pn_whole_run(&w) != PN_OK)
            fail_msg("%s: %s", c->why, pn_error());
        const pn_whole_distance d = pn_whole_compare(&w, &reference);
        if (!pn_whole_within(d, w.kernels))
            fail_msg("%s, %s: logits %.1e, loss %.1e, gradients %.1e", c->why,
                     pn_backend_labels[backend], d.logit, d.loss, d.gradient);
        pn_whole_destroy(&w);
    }
    pn_whole_destroy(&reference);
}

/* The running statistics too, which the reference updates in double. */
static void running_statistics(const pn_whole_case *c, const pn_arch *arch) {
    pn_whole reference, w;
    assert_int_equal(pn_whole_reference(&reference, c, arch, 3), PN_OK);
    assert_int_equal(pn_whole_create(&w, c, arch, kernels_at_hand(), 3), PN_OK);
    assert_int_equal(pn_whole_run(&w), PN_OK);
    const pn_parameters *p = &w.network.parameters;
    const double *wanted = pn_at(&reference.twins, reference.network.parameters.value);
    /* A mean of at most 4096 values of size about 1, float32 sums: below 1e-5. Of coarser numbers
     * as much more as a logit may be off. */
    const double most = pn_whole_bounds(w.kernels).logit / 5;
    int seen = 0;
    for (int t = 0; t < p->count; t++) {
        if (p->list[t].role != PN_ROLE_STATE) continue;
        for (size_t i = p->list[t].offset; i < p->list[t].offset + p->list[t].count; i++)
            if (!(fabs(p->value[i] - wanted[i]) <= most * (1 + fabs(wanted[i]))))
                fail_msg("%s of %s", p->list[t].name, c->why);
        seen++;
    }
    assert_true(seen >= 10);
    pn_whole_destroy(&w);
    pn_whole_destroy(&reference);
}

static void equal_to_the_reference(void **state) {
    (void)state;
    static const pn_whole_case search[] = {
        {"one cell, the smallest image", SEARCH(1, 4, 1, 1, 1), 2, true, false, false, 0},
        {"two cells, both reductions", SEARCH(2, 4, 16, 16, 3), 2, true, false, false, 0},
        {"odd edges", SEARCH(3, 8, 7, 9, 1), 3, true, false, false, 0},
        {"channels that fill no vector", SEARCH(4, 12, 12, 12, 3), 2, true, false, false, 0},
        {"forward only, nodes in place", SEARCH(5, 8, 8, 8, 3), 3, false, false, false, 0},
    };
    for (size_t i = 0; i < sizeof search / sizeof *search; i++)
        for (uint64_t a = 0; a < 4; a++) {
            const pn_arch arch = random_arch(100 * i + a);
            against_reference(&search[i], &arch);
        }
    static const pn_whole_case evaluation[] = {
        {"evaluation network, training", EVALUATION(3, 8, 8, 8, 3), 3, true, false, false, 0},
        {"evaluation network, inference", EVALUATION(3, 8, 8, 8, 3), 3, false, true, false, 0},
        {"auxiliary head and drop-path", EVALUATION(3, 4, 32, 32, 3), 6, true, false, true, 0.7},
        {"the same of odd edges, one channel", EVALUATION(4, 8, 38, 34, 1), 4, true, false, true,
         0.8},
        {"the stem of ImageNet", IMAGENET(3, 8, 58, 49, 3), 3, true, false, false, 0.6},
        {"its inference", IMAGENET(3, 8, 58, 49, 3), 3, false, true, false, 0},
        {"its auxiliary head", IMAGENET(1, 8, 112, 112, 3), 3, true, false, true, 0.8},
        {"auxiliary head, inference", EVALUATION(3, 4, 32, 32, 3), 2, false, true, true, 0},
        {"evaluation network, gradients with running statistics", EVALUATION(3, 8, 8, 8, 3), 3,
         true, true, false, 0},
        {"norms behind pools, drop-path", POOL_NORM(3, 8, 9, 7, 3), 3, true, false, false, 0.7},
        {"norms behind pools, inference", POOL_NORM(4, 4, 8, 8, 1), 3, false, true, false, 0},
    };
    for (size_t i = 0; i < sizeof evaluation / sizeof *evaluation; i++)
        for (uint64_t a = 0; a < 3; a++) {
            const pn_arch arch = a == 0 ? genotype("DARTS_V2") : random_arch(1000 + 10 * i + a);
            against_reference(&evaluation[i], &arch);
            if (!evaluation[i].inference) running_statistics(&evaluation[i], &arch);
        }
}

/* In both networks, of any number of terms a node; with drop-path where there is one. */
static void any_number_of_terms(void **state) {
    (void)state;
    static const pn_whole_case cases[] = {
        {"search", SEARCH(3, 8, 7, 9, 3), 3, true, false, false, 0},
        {"training", EVALUATION(4, 4, 8, 8, 3), 3, true, false, false, 0},
        {"drop-path", EVALUATION(3, 8, 9, 10, 1), 5, true, false, false, 0.7},
        {"inference", EVALUATION(5, 8, 8, 8, 3), 3, false, true, false, 0},
        {"norms behind pools", POOL_NORM(4, 4, 8, 8, 3), 3, true, false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int a = 0; a < ALL_TERMS; a++) {
            pn_whole_case c = cases[i];
            char why[64];
            snprintf(why, sizeof why, "%s of cell %d", cases[i].why, a);
            c.why = why;
            const pn_arch arch = genotype(of_all_terms[a]);
            against_reference(&c, &arch);
        }
}

/* Of a supernet: all ops cost what each of them costs alone. */
static void multiply_adds_of_supernets(void **state) {
    (void)state;
    const pn_network_spec spec = {
        .layers = 5, .channels = 8, .H = 16, .W = 16, .image_channels = 3, .classes = 10};
    const pn_space space = pn_space_darts();
    enum { EDGES = PN_KINDS * PN_MAX_EDGES };
    int8_t chosen[EDGES];
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    memset(chosen, -1, sizeof chosen);
    const double none = pn_network_mixed_macs(&n, chosen);
    double sum = 0;
    for (int e = 0; e < EDGES; e++)
        for (int o = 0; o < space.ops; o++) {
            chosen[e] = (int8_t)o;
            const double one = pn_network_mixed_macs(&n, chosen) - none;
            assert_true(pn_op_has_weights(space.op[o]) ? one > 0 : one >= 0);
            sum += one;
            chosen[e] = -1;
        }
    assert_true(none > 0 && none + sum == pn_network_mixed_macs(&n, NULL));
    assert_true(none + sum == pn_network_macs(&n, NULL));
    pn_network_destroy(&n);
}

static void the_supernet_sums_everything(void **state) {
    (void)state;
    static const pn_whole_case c = {"supernet", SEARCH(3, 4, 8, 8, 3), 2, true, false, false, 0};
    against_reference(&c, NULL);
}

/* ---- mixtures -------------------------------------------------------------------------------- */

/* Ops of the edges of both kinds, -1: none. One node of the normal cell has none at all, and its
 * second input is read by one edge. */
static const int8_t an_op_an_edge[PN_KINDS * PN_MAX_EDGES] = {
    3, 5, -1, -1, -1, 2, 0, 6, 4,  1,  2, 2, -1, 3, /* normal */
    2, 0, 4,  1,  5,  6, 2, 3, -1, -1, 2, 1, 0,  2};

static const struct mixture {
    const char *why;
    pn_whole_mix mix;
    pn_whole_case c;
} mixtures[] = {
    {"weights", {true, NULL}, {"", SEARCH(3, 4, 8, 8, 3), 3, true, false, false, 0}},
    {"weights, odd edges", {true, NULL}, {"", SEARCH(4, 8, 7, 9, 1), 5, true, false, false, 0}},
    {"weights, drop-path", {true, NULL}, {"", SEARCH(3, 4, 8, 8, 3), 5, true, false, false, 0.7}},
    {"no weights", {false, NULL}, {"", SEARCH(2, 4, 6, 6, 3), 3, true, false, false, 0}},
    {"an op an edge",
     {false, an_op_an_edge},
     {"", SEARCH(3, 8, 8, 8, 3), 5, true, false, false, 0}},
    {"an op an edge, weighted",
     {true, an_op_an_edge},
     {"", SEARCH(3, 4, 8, 8, 3), 3, true, false, false, 0.7}},
    {"forward only", {true, NULL}, {"", SEARCH(3, 4, 8, 8, 3), 3, false, false, false, 0}},
};
enum { MIXTURES = sizeof mixtures / sizeof *mixtures };

static void check_mixtures(const pn_kernels *kernels) {
    for (int i = 0; i < MIXTURES; i++) {
        const struct mixture *m = &mixtures[i];
        pn_whole w, reference;
        if (pn_whole_reference_mixed(&reference, &m->c, &m->mix, 9) != PN_OK)
            fail_msg("%s: %s", m->why, pn_error());
        if (pn_whole_create_mixed(&w, &m->c, &m->mix, kernels, 9) != PN_OK)
            fail_msg("%s: %s", m->why, pn_error());
        assert_int_equal(pn_whole_run(&w), PN_OK);
        assert_int_equal(w.arena.high_water, w.size.arena_bytes); /* planned = used */
        const pn_whole_distance d = pn_whole_compare(&w, &reference);
        if (!pn_whole_within(d, kernels))
            fail_msg("%s: logit %.1e, loss %.1e, gradient %.1e, mixture %.1e", m->why, d.logit,
                     d.loss, d.gradient, d.mixture);
        /* Those of ops that are not there are left alone; one op reads zeros. */
        const int edges = PN_MAX_EDGES, ops = w.network.space.ops;
        int silent = 0;
        for (size_t k = 0; k < w.dweight.count && m->c.training; k++) {
            const int layer = (int)k / (edges * ops), edge = (int)k / ops % edges;
            const int kind = (int)pn_kind_at(layer, m->c.spec.layers);
            const bool there = !m->mix.chosen || m->mix.chosen[kind * edges + edge] == (int)k % ops;
            silent += there && w.dweight.host[k] == 0;
            if (!there && w.dweight.host[k] != 0)
                fail_msg("%s: gradient of weight %zu is %g", m->why, k, w.dweight.host[k]);
        }
        assert_true(silent <= (m->mix.chosen ? m->c.spec.layers : 0));
        pn_whole_destroy(&w);
        pn_whole_destroy(&reference);
    }
}
static void mixtures_are_as_the_reference_says(void **state) {
    (void)state;
    check_mixtures(kernels_at_hand());
    if (!pn_only_backend()) check_mixtures(pn_host_kernels("bf16"));
}

/* The twins' gradients of weights against central differences of the loss. With a step of 1e-7 the
 * loss's rounding costs some 1e-9; the seed is one where no ReLU and no maximum changes its mind
 * within the step. */
static void the_gradient_of_a_mixture_is_its_slope(void **state) {
    (void)state;
    const double h = 1e-7;
    const pn_whole_case c = {"", SEARCH(2, 4, 5, 5, 3), 2, true, false, false, 0};
    const pn_whole_mix mix = {.weighted = true};
    pn_whole w;
    assert_int_equal(pn_whole_reference_mixed(&w, &c, &mix, 3), PN_OK);
    double *weight = pn_at(&w.twins, w.weight.placed);
    const double *slopes = pn_at(&w.twins, w.dweight.placed);
    const int shared = (int)w.weight.count, per_layer = shared / PN_KINDS;
    double slope[PN_KINDS * PN_MAX_EDGES * PN_MAX_OPS] = {0}, largest = 0;
    for (int layer = 0; layer < c.spec.layers; layer++)
        for (int i = 0; i < per_layer; i++)
            slope[(int)pn_kind_at(layer, c.spec.layers) * per_layer + i] +=
                slopes[layer * per_layer + i];
    for (int i = 0; i < shared; i++) largest = fmax(largest, fabs(slope[i]));
    assert_true(largest > 0);
    for (int i = 0; i < shared; i += 3) {
        const double at = weight[i];
        weight[i] = at + h;
        assert_int_equal(pn_whole_reference_run(&w, false), PN_OK);
        const double above = w.result[0].loss;
        weight[i] = at - h;
        assert_int_equal(pn_whole_reference_run(&w, false), PN_OK);
        weight[i] = at;
        const double want = (above - w.result[0].loss) / (2 * h);
        if (!(fabs(slope[i] - want) <= 1e-6 * largest))
            fail_msg("weight %d: %.12g, differences say %.12g, largest %.3g", i, slope[i], want,
                     largest);
    }
    pn_whole_destroy(&w);
}

/* Weights that are learnt cost their place in the plan, and nothing else: the supernet that
 * baselines are compared with, 8 cells of 16 channels, 64 images of 32x32. */
static void what_a_supernet_needs(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(8, 16, 32, 32, 3);
    pn_network n;
    pn_program *program;
    pn_program_size learnt, fixed;
    float number = 0; /* an address: nothing runs */
    const pn_mix mix = {.weight = &number, .dweight = &number};
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_program_create(&program, pn_host_kernels(NULL)), PN_OK);
    pn_build how = {.N = 64, .training = true};
    assert_int_equal(pn_network_build(&n, NULL, program, &how), PN_OK);
    assert_int_equal(pn_program_compile(program, &fixed), PN_OK);
    how.mix = &mix;
    assert_int_equal(pn_network_build(&n, NULL, program, &how), PN_OK);
    assert_int_equal(pn_program_compile(program, &learnt), PN_OK);
    print_message(
        "supernet with learnt weights: activations %.1f MiB, arena %.1f MiB, %d + %d "
        "launches, %d + %d jobs; of equal shares: arena %.1f MiB\n",
        (double)learnt.activation_bytes / 0x1p20, (double)learnt.arena_bytes / 0x1p20,
        learnt.launches_fwd, learnt.launches_bwd, learnt.jobs_fwd, learnt.jobs_bwd,
        (double)fixed.arena_bytes / 0x1p20);
    assert_true(learnt.arena_bytes <= (size_t)2090 << 20);
    assert_true(learnt.arena_bytes >= pn_program_floor(program));
    assert_true(learnt.arena_bytes > fixed.arena_bytes); /* nothing can be put back */
    assert_int_equal(learnt.jobs_fwd, fixed.jobs_fwd);
    pn_program_destroy(program);
    pn_network_destroy(&n);
}

/* Both terms of every node equal, and terms that share an input: the coefficients and shared
 * gradients of the contract. */
/* Several processes must agree on what a step touches, and each compiles its own samples alone. */
static void a_mark_finds_what_compiling_finds(void **state) {
    (void)state;
    static const pn_network_spec spec = SEARCH(5, 8, 16, 16, 3);
    const pn_space space = pn_space_darts();
    const pn_kernels *k = kernels_at_hand();
    pn_network n;
    pn_program *marked, *compiled;
    pn_program_size size;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_program_create(&marked, k), PN_OK);
    assert_int_equal(pn_program_create(&compiled, k), PN_OK);
    const size_t flags = (size_t)n.parameters.count;
    for (uint64_t i = 0; i < 60; i++) {
        const pn_arch arch = random_arch(i);
        const pn_build how = {.N = 4, .training = i % 3 != 0, .recompute = i % 2 != 0};
        bool *found = calloc(4 * flags, sizeof *found), *want = found + 2 * flags;
        int ops;
        assert_non_null(found);
        assert_int_equal(pn_network_build(&n, &arch, marked, &how), PN_OK);
        assert_int_equal(pn_program_mark(marked, &ops), PN_OK);
        pn_program_touch(marked, found);
        pn_program_track(marked, found + flags);
        assert_int_equal(pn_network_build(&n, &arch, compiled, &how), PN_OK);
        assert_int_equal(pn_program_compile(compiled, &size), PN_OK);
        pn_program_touch(compiled, want);
        pn_program_track(compiled, want + flags);
        assert_memory_equal(found, want, 2 * flags * sizeof *found);
        assert_in_range(ops, 2 + 5 * 2, 200); /* stem, head, and the ops of cells */
        free(found);
    }
    pn_program_destroy(marked);
    pn_program_destroy(compiled);
    pn_network_destroy(&n);
}

static void coinciding_terms_count_twice(void **state) {
    (void)state;
    static const pn_whole_case c = {
        "coinciding terms", SEARCH(3, 4, 8, 8, 3), 3, true, false, false, 0};
    pn_whole_case by_slot = c;
    by_slot.spec.share_slot = true;
    for (int op = 0; op < PN_MAX_OPS; op++) {
        pn_arch arch = {0};
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int node = 0; node < PN_MAX_NODES; node++)
                for (int slot = 0; slot < PN_NODE_TERMS; slot++)
                    arch.cell[kind].term[node][slot] =
                        (pn_choice){(uint8_t)op, (uint8_t)(node < 2 ? 1 : 0)};
        against_reference(&c, &arch);
        against_reference(&by_slot, &arch);
    }
}

static void forward_only_gives_the_bits_of_training(void **state) {
    (void)state;
    const pn_whole_case training = {"", SEARCH(5, 8, 12, 12, 3), 5, true, false, false, 0};
    pn_whole_case forward = training;
    forward.training = false;
    for (uint64_t a = 0; a < 10; a++) {
        const pn_arch arch = random_arch(200 + a);
        pn_whole t, f;
        assert_int_equal(pn_whole_create(&t, &training, &arch, kernels_at_hand(), 3), PN_OK);
        assert_int_equal(pn_whole_create(&f, &forward, &arch, kernels_at_hand(), 3), PN_OK);
        assert_int_equal(pn_whole_run(&t), PN_OK);
        assert_int_equal(pn_whole_run(&f), PN_OK);
        assert_memory_equal(t.logits, f.logits, 50 * sizeof(float));
        assert_true(f.size.arena_bytes < t.size.arena_bytes);
        pn_whole_destroy(&t);
        pn_whole_destroy(&f);
    }
}

/* ---- drop-path ------------------------------------------------------------------------------- */

enum { IMAGES = 4000, LAYERS = 3 };
typedef float factors[LAYERS][PN_MAX_NODES][PN_NODE_TERMS][IMAGES];

/* Of 4000 fair draws with probability .8 the count has a standard deviation of 25; two terms that
 * draw apart agree in .68 of the images, deviation 30. Both within 6 deviations. */
static void terms_are_dropped_apart(void **state) {
    (void)state;
    static factors f, again;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = EVALUATION(LAYERS, 4, 32, 32, 3);
    pn_network n;
    pn_arch arch = {0}; /* max_pool_3x3 twice on input 0 */
    arch.cell[PN_NORMAL].term[0][0] = (pn_choice){PN_SEP_CONV_3X3, 0};
    arch.cell[PN_NORMAL].term[0][1] = (pn_choice){PN_SEP_CONV_3X3, 0}; /* weights of their own */
    arch.cell[PN_NORMAL].term[1][0] = (pn_choice){PN_SKIP_CONNECT, 1};
    arch.cell[PN_NORMAL].term[1][1] = (pn_choice){PN_SKIP_CONNECT, 1};
    arch.cell[PN_NORMAL].term[2][0] = (pn_choice){PN_DIL_CONV_3X3, 1};
    arch.cell[PN_REDUCTION].term[1][0] = (pn_choice){PN_SKIP_CONNECT, 1}; /* not the identity */
    arch.cell[PN_REDUCTION].term[1][1] = (pn_choice){PN_SKIP_CONNECT, 2}; /* the identity */
    assert_int_equal(pn_network_create(&n, &spec, &space, &arch), PN_OK);
    pn_network_drop_path(&n, &arch, 0.8, 5, 17, &f[0][0][0][0], IMAGES);
    pn_network_drop_path(&n, &arch, 0.8, 5, 17, &again[0][0][0][0], IMAGES);
    assert_memory_equal(f, again, sizeof f);

    int kept[3] = {0}, agree[2] = {0}, sums[3] = {0};
    for (int i = 0; i < IMAGES; i++) {
        const float own = f[0][0][0][i], other = f[0][0][1][i], pools = f[0][3][0][i];
        assert_true(own == 0 || own == (float)(1 / 0.8));
        kept[0] += own > 0;
        kept[1] += other > 0;
        kept[2] += f[1][1][0][i] > 0; /* a factorized reduce */
        agree[0] += own == other;
        agree[1] += own == f[0][2][0][i];
        assert_true(f[0][1][0][i] == 2 &&
                    f[0][1][1][i] == 0); /* the identity twice, never dropped */
        assert_true(f[1][1][1][i] == 1);
        assert_true(f[0][3][1][i] == 0);
        sums[(int)(pools * 0.8F + 0.5F)]++;
    }
    for (int i = 0; i < 3; i++) assert_true(abs(kept[i] - 3200) < 150);
    for (int i = 0; i < 2; i++) assert_true(abs(agree[i] - 2720) < 180);
    /* both dropped .04, one .32, none .64; deviations 12, 30, 30 */
    assert_true(abs(sums[0] - 160) < 75 && abs(sums[1] - 1280) < 180 && abs(sums[2] - 2560) < 180);

    pn_network_drop_path(&n, &arch, 0.8, 5, 18, &again[0][0][0][0], IMAGES);
    assert_memory_not_equal(f[0][0][0], again[0][0][0], sizeof f[0][0][0]);
    pn_network_drop_path(&n, &arch, 0.8, 6, 17, &again[0][0][0][0], IMAGES);
    assert_memory_not_equal(f[0][0][0], again[0][0][0], sizeof f[0][0][0]);
    pn_network_drop_path(&n, &arch, 1, 5, 17, &again[0][0][0][0], IMAGES);
    for (int i = 0; i < LAYERS * PN_MAX_NODES * PN_NODE_TERMS * IMAGES; i++) {
        const float one = (&again[0][0][0][0])[i];
        assert_true(one == 1 || one == 2 || one == 0);
        assert_true(i / IMAGES % 2 || one >= 1);
        assert_true(i / IMAGES % 2 || one + (&again[0][0][0][0])[i + IMAGES] == 2);
    }
    pn_network_destroy(&n);
}

/* 0 where there is no term, 1 of the identity, and every edge drawn apart. */
static void edges_are_dropped_apart(void **state) {
    (void)state;
    typedef float edge_factors[LAYERS][PN_MAX_NODES][PN_MOST_TERMS][IMAGES];
    static edge_factors f;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = EVALUATION(LAYERS, 4, 32, 32, 3);
    const pn_arch arch = genotype(of_all_terms[0]);
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, &arch), PN_OK);
    assert_int_equal(n.slots, PN_MOST_TERMS);
    pn_network_drop_path(&n, &arch, 0.8, 5, 17, &f[0][0][0][0], IMAGES);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < PN_MOST_TERMS; slot++) {
                const pn_kind kind = pn_kind_at(layer, LAYERS);
                const pn_cell *cell = &arch.cell[kind];
                const pn_choice t = cell->term[node][slot];
                const bool there = slot < pn_slots(cell, node) && t.op != PN_NONE,
                           same = t.op == PN_SKIP_CONNECT && (kind == PN_NORMAL || t.input >= 2);
                int kept = 0, ones = 0;
                for (int i = 0; i < IMAGES; i++) {
                    kept += f[layer][node][slot][i] == (float)(1 / 0.8);
                    ones += f[layer][node][slot][i] == 1;
                }
                assert_int_equal(ones, there && same ? IMAGES : 0);
                if (!there || same)
                    assert_int_equal(kept, 0);
                else
                    assert_true(abs(kept - 3200) < 150);
            }
    assert_memory_not_equal(f[0][3][2], f[0][3][3], sizeof f[0][3][2]);
    pn_network_destroy(&n);
}

/* Which images an auxiliary head can stand on. */
static void where_the_auxiliary_head_fits(void **state) {
    (void)state;
    static const struct {
        pn_network_spec spec;
        bool fits;
    } cases[] = {
        {EVALUATION(20, 4, 28, 28, 3), false}, {EVALUATION(20, 4, 29, 32, 3), true},
        {EVALUATION(20, 4, 40, 40, 1), true},  {EVALUATION(20, 4, 32, 41, 3), false},
        {EVALUATION(1, 4, 16, 16, 3), true},   {IMAGENET(14, 8, 224, 224, 3), true},
        {IMAGENET(14, 8, 256, 256, 3), true},  {IMAGENET(14, 8, 192, 224, 3), false},
        {IMAGENET(14, 8, 224, 288, 3), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (pn_network_auxiliary_fits(&cases[i].spec) != cases[i].fits)
            fail_msg("%dx%d", cases[i].spec.H, cases[i].spec.W);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* For 1,000 architectures: what the plan says is what the arena is asked for, the bytes beyond it
 * keep their pattern, and the plan is close to the floor. (In checked builds the arena poisons
 * whatever no buffer owns instead, at every launch.) */
static void use_planned_bytes(const pn_kernels *kernels, int count) {
    enum { BEYOND = 1 << 16, PATTERN = 0x5a };
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(3, 4, 8, 8, 3);
    pn_network n;
    pn_program *program;
    pn_arena arena;
    pn_result result;
    float image[2 * 8 * 8 * 3];
    const int32_t labels[2] = {3, 7};
    for (int i = 0; i < 2 * 8 * 8 * 3; i++) image[i] = (float)(i % 17) / 8 - 1;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_parameters_allocate(&n.parameters, &pn_host_memory), PN_OK);
    pn_parameters_init(&n.parameters, 1);
    assert_int_equal(pn_program_create(&program, kernels), PN_OK);
    assert_int_equal(pn_arena_create(&arena, &pn_host_memory, 64 << 20, 0), PN_OK);
    size_t most = 0;
    double ratio = 0, worst = 0;
    for (uint64_t a = 0; a < (uint64_t)count; a++) {
        const pn_arch arch = random_arch(a);
        const bool training = a % 4 != 3;
        pn_program_size size;
        assert_int_equal(
            pn_network_build(
                &n, &arch, program,
                &(pn_build){
                    .N = 2, .training = training, .guarded = arena.checked, .result = &result}),
            PN_OK);
        assert_int_equal(pn_program_compile(program, &size), PN_OK);
        assert_int_equal(pn_program_bind(program, &arena, &n.parameters, image, labels, NULL),
                         PN_OK);
        if (size.arena_bytes > most) most = size.arena_bytes;
        assert_int_equal(arena.high_water, most);
        const size_t floor = pn_program_floor(program);
        assert_true(size.arena_bytes >= floor);
        const size_t end = arena.committed < size.arena_bytes + BEYOND ? arena.committed
                                                                       : size.arena_bytes + BEYOND;
        if (!arena.checked) memset(arena.base + size.arena_bytes, PATTERN, end - size.arena_bytes);
        assert_int_equal(pn_program_forward(program), PN_OK);
        if (training) assert_int_equal(pn_program_backward(program), PN_OK);
        for (size_t i = size.arena_bytes; !arena.checked && i < end; i++)
            if (arena.base[i] != PATTERN)
                fail_msg("architecture %d wrote byte %zu of %zu", (int)a, i, size.arena_bytes);
        const double r = (double)size.arena_bytes / (double)floor;
        ratio += r / count;
        if (r > worst) worst = r;
    }
    print_message("%s, %d architectures: plan / floor %.4f in the mean, %.4f at worst\n",
                  kernels->name, count, ratio, worst);
    pn_arena_destroy(&arena);
    pn_program_destroy(program);
    pn_network_destroy(&n);
}
static void planned_bytes_are_used_bytes(void **state) {
    (void)state;
    use_planned_bytes(pn_host_kernels(NULL), 1000);
    use_planned_bytes(pn_host_kernels("bf16"), 300);
}

#ifdef PN_HAVE_EMULATOR
/* A card that is not there is asked by its float32 table alone (pn_backend_sizes): each precision's
 * own ops want the same scratch. And what is stored narrowly takes half. */
static void each_precision_of_a_card_is_planned(void **state) {
    (void)state;
    static const char *const names[] = {"emulated", "emulated-tf32", "emulated-bf16",
                                        "emulated-fp16"};
    enum { PRECISIONS = sizeof names / sizeof *names, COUNT = 30 };
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(5, 16, 16, 16, 3);
    pn_network n;
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    size_t bytes[PRECISIONS][2] = {{0}};
    for (int i = 0; i < 2 * PRECISIONS; i++) {
        const pn_kernels *k;
        pn_program *program;
        if ((i % 2 ? pn_backend_open : pn_backend_sizes)(names[i / 2], &k) != PN_OK)
            skip(); /* a build without those */
        assert_int_equal(pn_program_create(&program, k), PN_OK);
        for (uint64_t a = 0; a < COUNT; a++) {
            const pn_arch arch = random_arch(a);
            pn_program_size size;
            const pn_build how = {.N = 8, .training = a % 4 != 3, .recompute = a % 3 == 0};
            assert_int_equal(pn_network_build(&n, &arch, program, &how), PN_OK);
            assert_int_equal(pn_program_compile(program, &size), PN_OK);
            bytes[i / 2][i % 2] += size.arena_bytes;
        }
        pn_program_destroy(program);
    }
    for (int i = 0; i < PRECISIONS; i++) assert_int_equal(bytes[i][0], bytes[i][1]);
    assert_int_equal(bytes[0][0], bytes[1][0]);
    assert_true(bytes[2][0] < .6 * (double)bytes[0][0]);
    assert_int_equal(bytes[2][0], bytes[3][0]);
    pn_network_destroy(&n);
}
#endif

/* The bound that the arena's address space is reserved by. */
static void the_largest_architecture_bounds_all(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = SEARCH(8, 16, 32, 32, 3);
    pn_network n;
    pn_program *program;
    pn_program_size size;
    const pn_arch largest = pn_network_largest(&space);
    const pn_build big = {.N = 64, .training = true};
    assert_int_equal(pn_network_create(&n, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_program_create(&program, pn_host_kernels(NULL)), PN_OK);
    assert_int_equal(pn_network_build(&n, &largest, program, &big), PN_OK);
    assert_int_equal(pn_program_compile(program, &size), PN_OK);
    const size_t bound = 2 * size.unshared_bytes;
    for (uint64_t a = 0; a < 300; a++) {
        const pn_arch arch = random_arch(a);
        assert_int_equal(pn_network_build(&n, &arch, program, &big), PN_OK);
        assert_int_equal(pn_program_compile(program, &size), PN_OK);
        assert_true(size.unshared_bytes <= bound);
    }
    pn_program_destroy(program);
    pn_network_destroy(&n);
}

/* Output sizes of what stands outside the cells, and an image too small for the window. */
static void windows_that_fit_and_one_that_does_not(void **state) {
    (void)state;
    static const pn_norm_spec none = {PN_NORM_NONE, -1, -1, -1, -1};
    pn_program *p;
    pn_program_size size;
    int shape[3];
    assert_int_equal(pn_program_create(&p, pn_host_kernels(NULL)), PN_OK);
    pn_program_begin(p, 1, false, false);
    const pn_value image = pn_program_image(p, 9, 14, 3);
    pn_value v = pn_program_stem(p, image, 2, 0, 8, none);
    pn_program_shape(p, v, &shape[0], &shape[1], &shape[2]);
    assert_memory_equal(shape, ((const int[]){5, 7, 8}), sizeof shape);
    v = pn_program_conv(p, &v, 1, 5, 2, 1, false, 1, 12, none);
    pn_program_shape(p, v, &shape[0], &shape[1], &shape[2]);
    assert_memory_equal(shape, ((const int[]){2, 3, 12}), sizeof shape);
    assert_int_equal(pn_program_conv(p, &v, 1, 3, 1, 0, true, 2, 12, none), -1);
    assert_non_null(strstr(pn_error(), "2x3"));
    assert_non_null(strstr(pn_error(), "R 3"));
    assert_int_equal(pn_program_conv(p, &v, 1, 1, 1, 0, false, 2, 12, none), -1);
    assert_int_equal(pn_program_compile(p, &size), PN_EARG);
    pn_program_destroy(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_of_published_networks),
        cmocka_unit_test(tensors_of_pools),
        cmocka_unit_test(tensors_of_every_edge),
        cmocka_unit_test(names_and_shapes_of_the_search_network),
        cmocka_unit_test(layouts_go_out_and_come_back),
        cmocka_unit_test(multiply_adds_by_hand),
        cmocka_unit_test(multiply_adds_of_supernets),
        cmocka_unit_test(settings_that_cannot_be),
        cmocka_unit_test(equal_to_the_reference),
        cmocka_unit_test(any_number_of_terms),
        cmocka_unit_test(the_supernet_sums_everything),
        cmocka_unit_test(a_mark_finds_what_compiling_finds),
        cmocka_unit_test(mixtures_are_as_the_reference_says),
        cmocka_unit_test(the_gradient_of_a_mixture_is_its_slope),
        cmocka_unit_test(what_a_supernet_needs),
        cmocka_unit_test(coinciding_terms_count_twice),
        cmocka_unit_test(forward_only_gives_the_bits_of_training),
        cmocka_unit_test(terms_are_dropped_apart),
        cmocka_unit_test(edges_are_dropped_apart),
        cmocka_unit_test(where_the_auxiliary_head_fits),
        cmocka_unit_test(planned_bytes_are_used_bytes),
#ifdef PN_HAVE_EMULATOR
        cmocka_unit_test(each_precision_of_a_card_is_planned),
#endif
        cmocka_unit_test(the_largest_architecture_bounds_all),
        cmocka_unit_test(windows_that_fit_and_one_that_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
