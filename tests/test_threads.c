/* test_threads.c -- the number of threads changes no bit: random architectures forward and backward
 * with 1 to 64 threads, and whole searches and trainings with 1, 16 and 64.
 *
 * Far more threads than cores are asked for, on purpose: what a thread with a high number has of
 * scratch is used by nobody else, and a fault there (a workspace too small, sums shared) shows in
 * no run with a few. PN_TEST_LONG=1: 300 architectures instead of 20. */
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/rng.h"
#include "search/methods/prior.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"
#include "tests/support/check.h"
#include "tests/support/process.h"

/* ---- architectures --------------------------------------------------------------------------- */

/* Of the whole space, evenly; every second one with about half of its reduction cell's terms
 * replaced by skip_connect: several of them read one cell input at stride 2, and are the jobs of
 * one launch that share a gradient. Evenly that is one architecture in ten. */
static pn_arch random_arch(uint64_t i) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    pn_arch arch;
    assert_int_equal(pn_prior_init(&prior, &space, false), PN_OK);
    pn_prior_sample(&prior, 16, 0, i, &arch);
    for (int node = 0; node < space.nodes && i % 2; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++)
            if (pn_random_below(16, PN_STREAM_TEST, i,
                                (uint64_t)node * PN_NODE_TERMS + (uint64_t)slot, 2))
                arch.cell[PN_REDUCTION].term[node][slot] =
                    (pn_choice){PN_SKIP_CONNECT, (uint8_t)(slot % 2)};
    return arch;
}

/* Most skips at stride 2 on one input of a reduction cell. */
static int strided_skips(const pn_arch *arch) {
    const pn_space space = pn_space_darts();
    int of[2] = {0};
    for (int node = 0; node < space.nodes; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
            const pn_choice *t = &arch->cell[PN_REDUCTION].term[node][slot];
            const pn_choice *first = &arch->cell[PN_REDUCTION].term[node][0];
            const bool again = slot > 0 && t->op == first->op && t->input == first->input;
            if (t->op == PN_SKIP_CONNECT && t->input < 2 && !again) of[t->input]++;
        }
    return of[0] > of[1] ? of[0] : of[1];
}

static void run_with(pn_whole *w, const pn_whole_case *c, const pn_arch *arch, const pn_kernels *k,
                     int threads) {
    omp_set_num_threads(threads);
    if (pn_whole_create(w, c, arch, k, 5) != PN_OK || pn_whole_run(w) != PN_OK)
        fail_msg("%s, %d threads: %s", c->why, threads, pn_error());
}

static void same_with_all(const pn_whole_case *c, const pn_arch *arch, uint64_t i,
                          const pn_kernels *k) {
    const char *few = getenv("PN_TEST_ORDERS"); /* a build that is slow, and looks for races */
    pn_whole one, w;
    run_with(&one, c, arch, k, 1);
    for (int order = few ? PN_MANY : 0; order < (few ? PN_MANY + 1 : PN_ORDERS); order++) {
        const int threads = pn_backend_threads(order);
        if (threads == 1) continue;
        run_with(&w, c, arch, k, threads);
        if (!pn_whole_same(&one, &w))
            fail_msg("%s, architecture %d, %s: other bits with %d threads than with one", c->why,
                     (int)i, k->name, threads);
        pn_whole_destroy(&w);
    }
    pn_whole_destroy(&one);
}

/* Batches that give each of 16 workspaces an image, and chunks of several. */
static const pn_whole_case cases[] = {
    {"search network",
     {.layers = 3, .channels = 8, .H = 8, .W = 8, .image_channels = 3, .classes = 10},
     17,
     true,
     false,
     false,
     0},
    {"search network, odd edges and channels",
     {.layers = 3, .channels = 12, .H = 7, .W = 9, .image_channels = 1, .classes = 10},
     33,
     true,
     false,
     false,
     0},
    {"evaluation network",
     {.evaluation = true,
      .layers = 3,
      .channels = 8,
      .H = 8,
      .W = 8,
      .image_channels = 3,
      .classes = 10,
      .smoothing = 0.1F},
     16,
     true,
     false,
     false,
     0.8},
};
enum { CASES = sizeof cases / sizeof *cases };

static void random_architectures(void **state) {
    (void)state;
    const uint64_t count = getenv("PN_TEST_LONG") ? 300 : 20;
    int shares_dx = 0, many = 0;
    for (uint64_t i = 0; i < count; i++) {
        const pn_arch arch = random_arch(i);
        shares_dx += strided_skips(&arch) >= 2;
        many += strided_skips(&arch) >= 3;
        /* Each instruction set in turn, the best one always. */
        const pn_kernels *best = pn_host_kernels(NULL),
                         *other = pn_backend_at((int)(i / CASES % 3));
        same_with_all(&cases[i % CASES], &arch, i, best);
        if (other && other != best) same_with_all(&cases[i % CASES], &arch, i, other);
    }
    print_message(
        "%d of %d architectures with two skips or more at stride 2 on one input, %d with three or "
        "more\n",
        shares_dx, (int)count, many);
    assert_true(shares_dx >= 6 && many >= 2);
}

/* All skips: eight jobs share two gradients. */
#define SKIPS                                                                           \
    "normal sk@0 sk@1 | sk@0 sk@1 | sk@0 sk@1 | sk@0 sk@1 reduce sk@0 sk@1 | sk@0 sk@1" \
    " | sk@0 sk@1 | sk@0 sk@1"

static void nothing_but_skips(void **state) {
    (void)state;
    pn_arch arch;
    assert_int_equal(pn_genotype_read(SKIPS, strlen(SKIPS), &arch), PN_OK);
    assert_int_equal(strided_skips(&arch), 4);
    for (int c = 0; c < CASES; c++)
        for (int backend = 0; backend < 3; backend++)
            if (pn_backend_at(backend))
                same_with_all(&cases[c], &arch, 1000, pn_backend_at(backend));
}

/* ---- whole runs ------------------------------------------------------------------------------ */

static void run_program(const char *folder, const char *directory, const char *threads,
                        const char *const *arguments) {
    const char *argv[40] = {PN_PROGRAM, arguments[0], directory, "--quiet", "--threads", threads};
    int n = 6;
    for (arguments++; *arguments && n < 39;) argv[n++] = *arguments++;
    const pn_conditions where = {.folder = folder};
    pn_process p;
    pn_process_run(&p, argv, &where, 300);
    if (p.code != 0 || p.late) fail_msg("%s threads: code %d: %s", threads, p.code, p.err);
    pn_process_free(&p);
}

static void same_files(const char *const *arguments) {
    static const char *const threads[] = {"1", "16", "64"};
    char *folder = pn_folder_make(), *wanted = NULL, path[600];
    for (int i = 0; i < 3; i++) {
        run_program(folder, threads[i], threads[i], arguments);
        snprintf(path, sizeof path, "%s/%s", folder, threads[i]);
        char *text = pn_run_text(path);
        if (wanted && strcmp(text, wanted) != 0)
            fail_msg("%s with %s threads leaves\n%swant\n%s", arguments[0], threads[i], text,
                     wanted);
        if (wanted)
            free(text);
        else
            wanted = text;
    }
    free(wanted);
    pn_folder_remove(folder);
    free(folder);
}

static void searches(void **state) {
    (void)state;
    static const char *const arguments[] = {
        "search",  "--data", "synthetic:256x8x8x3", "--layers", "3",       "--channels", "8",
        "--batch", "32",     "--samples",           "6",        "--steps", "12",         "--warmup",
        "4",       NULL};
    same_files(arguments);
}

static void trainings(void **state) {
    (void)state;
    static const char *const arguments[] = {
        "train",      "--genotype", SKIPS,     "--data", "synthetic:96x8x8x3", "--layers", "3",
        "--channels", "8",          "--batch", "32",     "--epochs",           "2",        NULL};
    same_files(arguments);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_architectures),
        cmocka_unit_test(nothing_but_skips),
        cmocka_unit_test(searches),
        cmocka_unit_test(trainings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
