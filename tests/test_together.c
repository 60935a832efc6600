/* test_together.c -- two calls of one op under way at once on a card, each with a scratch and a
 * table of its own (kernels.h): both find what one finds alone, bit by bit.
 *
 * The emulated card runs blocks one after another; but with PN_EMULATOR_THREADS=1 each OS thread of
 * the host has a card's stream, and the blocks of two launches alternate as the system lets them.
 * So a counter that both calls share would be found here, though not in every run; what needs
 * threads of two blocks to alternate would not. With PN_TEST_BACKEND=cuda: two streams. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/cases/cases.h"

enum { TIMES = 12 };

/* Of the CUDA runtime, which a build with a card has in it. */
extern int cudaStreamCreateWithFlags(pn_stream *stream, unsigned flags) __attribute__((weak));
extern int cudaStreamSynchronize(pn_stream stream) __attribute__((weak));
extern int cudaStreamDestroy(pn_stream stream) __attribute__((weak));

static const char *name;
static const pn_kernels *kernels;

/* What a call sums over its blocks. */
typedef struct sums {
    const float *at;
    size_t count;
} sums;

static sums sums_of(const pn_op_call *c) {
    const int K = c->of.K;
    switch (c->of.op) {
        case PN_CASE_CONV1X1:
            return (sums){c->job.conv1x1.dw, (size_t)c->of.parts * c->of.C * K};
        case PN_CASE_STAGE:
            return c->of.backward ? (sums){c->job.stage.dpw, (size_t)c->of.C * c->of.C}
                                  : (sums){c->job.stage.out.norm.stats, (size_t)2 * c->of.C};
        case PN_CASE_POOL:
            return (sums){c->job.pool.in.norm.stats, (size_t)4 * c->of.C};
        default:
            fail_msg("no such case here");
            return (sums){NULL, 0};
    }
}

static void begin(pn_op_call *c, const pn_op_case *of) {
    if (pn_op_call_create(c, kernels, of) != PN_OK) fail_msg("%s", pn_error());
}

/* To be freed. */
static float *found(const pn_op_call *c) {
    const sums s = sums_of(c);
    float *here = malloc(s.count * sizeof *here);
    assert_non_null(here);
    assert_int_equal(kernels->memory->download(here, s.at, s.count * sizeof *here), PN_OK);
    return here;
}

static void *run_often(void *call) {
    static const char refused[] = "refused";
    for (int i = 0; i < TIMES; i++)
        if (pn_op_call_run(call) != PN_OK) return (void *)refused;
    return NULL;
}

static void run_on_threads(pn_op_call *a, pn_op_call *b) {
    pthread_t other;
    void *wrong;
    assert_int_equal(pthread_create(&other, NULL, run_often, b), 0);
    assert_null(run_often(a));
    assert_int_equal(pthread_join(other, &wrong), 0);
    assert_null(wrong);
}

static void run_on_streams(pn_op_call *a, pn_op_call *b) {
    enum { NON_BLOCKING = 1 };
    pn_op_call *const calls[2] = {a, b};
    pn_stream streams[2];
    int64_t mark;
    /* What was queued on the backend's own stream is behind us first. */
    assert_int_equal(kernels->memory->mark(&mark), PN_OK);
    assert_int_equal(kernels->memory->wait(mark), PN_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cudaStreamCreateWithFlags(&streams[i], NON_BLOCKING), 0);
        calls[i]->launch.stream = streams[i];
    }
    for (int n = 0; n < 2 * TIMES; n++)
        if (pn_op_call_run(calls[n % 2]) != PN_OK) fail_msg("%s", pn_error());
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cudaStreamSynchronize(streams[i]), 0);
        assert_int_equal(cudaStreamDestroy(streams[i]), 0);
    }
}

static void two_calls_at_once(void **state) {
    const pn_op_case *of = *state;
    pn_op_call alone, a, b;
    begin(&alone, of);
    begin(&a, of);
    begin(&b, of);
    assert_null(run_often(&alone));
    (cudaStreamCreateWithFlags && !strncmp(name, "cuda", 4) ? run_on_streams : run_on_threads)(&a,
                                                                                               &b);
    const size_t bytes = sums_of(&alone).count * sizeof(float);
    float *want = found(&alone), *first = found(&a), *second = found(&b);
    bool some = false;
    for (size_t i = 0; i < bytes / sizeof *want; i++) some |= want[i] != 0;
    assert_true(some);
    assert_memory_equal(first, want, bytes);
    assert_memory_equal(second, want, bytes);
    free(want);
    free(first);
    free(second);
    pn_op_call_destroy(&alone);
    pn_op_call_destroy(&a);
    pn_op_call_destroy(&b);
}

static const pn_op_case cases[] = {
    /* some 70 blocks, whose sums are added in two rounds */
    {.op = PN_CASE_CONV1X1, .backward = 1, .N = 5, .HW = 31, .C = 16, .parts = 4, .K = 16},
    {.op = PN_CASE_STAGE, .N = 33, .HW = 8, .C = 8, .K = 8, .R = 3, .dilation = 1, .stride = 1},
    {.op = PN_CASE_STAGE,
     .backward = 1,
     .N = 33,
     .HW = 8,
     .C = 8,
     .K = 8,
     .R = 3,
     .dilation = 1,
     .stride = 1},
    {.op = PN_CASE_POOL, .backward = 1, .N = 33, .HW = 8, .C = 8, .K = 8, .stride = 1},
};

int main(void) {
    enum { COUNT = sizeof cases / sizeof *cases };
    static char names[COUNT][PN_CASE_NAME];
    struct CMUnitTest tests[COUNT];
    setenv("PN_EMULATOR_THREADS", "1", 1); /* before the first launch */
    name = getenv("PN_TEST_BACKEND");
    if (!name) name = "emulated";
    if (pn_backend_open(name, &kernels) != PN_OK || kernels->memory->plain) {
        puts("no card, and no emulated one");
        return 77;
    }
    for (int i = 0; i < COUNT; i++) {
        pn_case_name(&cases[i], names[i]);
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = two_calls_at_once, .initial_state = (void *)&cases[i]};
    }
    return cmocka_run_group_tests_name("two calls at once", tests, NULL, NULL);
}
