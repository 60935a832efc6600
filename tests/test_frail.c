/* test_frail.c -- a device that fails: each of its calls in turn, copies and kernels alike, while a
 * network runs, a search steps and a training trains. What is asked for then ends with the device's
 * own sentence, nothing is lost track of (sanitized builds see leaks and late uses), and the next
 * attempt does all the calls again.
 *
 * The device is the host behind another table, with memory that is not plain, as a card's is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "search/methods/model.h"
#include "search/methods/parsec.h"
#include "search/network/whole.h"
#include "search/train/trainer.h"

static int calls, strike; /* the call that fails; 0: none */

static pn_status call(void) {
    if (++calls != strike) return PN_OK;
    return pn_fail(PN_EDEVICE, "call %d of the device", calls);
}

/* ---- the device ------------------------------------------------------------------------------ */

#define PASS_ON(of, name, parameters, arguments) \
    static pn_status name parameters {           \
        PN_TRY(call());                          \
        return (of).name arguments;              \
    }
#define MEMORY_CALLS(X)                                                                        \
    X(pn_host_memory, allocate, (size_t bytes, void **block), (bytes, block))                  \
    X(pn_host_memory, stage, (size_t bytes, void **block), (bytes, block))                     \
    X(pn_host_memory, reserve, (size_t bytes, void **base), (bytes, base))                     \
    X(pn_host_memory, commit, (void **base, size_t from, size_t to), (base, from, to))         \
    X(pn_host_memory, upload, (void *to, const void *from, size_t bytes), (to, from, bytes))   \
    X(pn_host_memory, download, (void *to, const void *from, size_t bytes), (to, from, bytes)) \
    X(pn_host_memory, copy, (void *to, const void *from, size_t bytes), (to, from, bytes))     \
    X(pn_host_memory, clear, (void *to, size_t bytes), (to, bytes))                            \
    X(pn_host_memory, mark, (int64_t * mark), (mark))                                          \
    X(pn_host_memory, wait, (int64_t mark), (mark))
MEMORY_CALLS(PASS_ON)

static const pn_kernels *host;
#define UPDATE_CALLS(X)                                                                            \
    X(*host, weigh,                                                                                \
      (const pn_result *r, double temperature, double skip, pn_importance *w, const pn_launch *l), \
      (r, temperature, skip, w, l))                                                                \
    X(*host, share,                                                                                \
      (const pn_result *r, int samples, int shards, double temperature, double skip, pn_share *to, \
       const pn_launch *l),                                                                        \
      (r, samples, shards, temperature, skip, to, l))                                              \
    X(*host, tally,                                                                                \
      (const pn_range *r, int n, const float *packed, const pn_share *by, int64_t *sum, float *s,  \
       const pn_launch *l),                                                                        \
      (r, n, packed, by, sum, s, l))                                                               \
    X(*host, settle,                                                                               \
      (const pn_range *r, int n, const int64_t *sum, float keep, const float *scale, float *to,    \
       const pn_launch *l),                                                                        \
      (r, n, sum, keep, scale, to, l))                                                             \
    X(*host, sgd,                                                                                  \
      (const pn_range *r, int n, float *v, const float *g, float *m, const float *scale, pn_sgd s, \
       double *norm, const pn_launch *l),                                                          \
      (r, n, v, g, m, scale, s, norm, l))
UPDATE_CALLS(PASS_ON)
#define OP(FAMILY, op, with)                                                           \
    PASS_ON(*host, op##_fwd, (const pn_##op *j, int n, const pn_launch *l), (j, n, l)) \
    PASS_ON(*host, op##_bwd, (const pn_##op *j, int n, const pn_launch *l), (j, n, l))
PN_OPS(OP, )

static pn_kernels frail;
static int set_up(void **state) {
    (void)state;
    static pn_memory memory;
    host = pn_host_kernels(NULL);
    memory = pn_host_memory;
    memory.plain = 0;
    frail = *host;
    frail.memory = &memory;
#define TAKE_MEMORY(of, name, ...) memory.name = name;
    MEMORY_CALLS(TAKE_MEMORY)
#define TAKE(of, name, ...) frail.name = name;
    UPDATE_CALLS(TAKE)
#define TAKE_OP(FAMILY, op, with) frail.op##_fwd = op##_fwd, frail.op##_bwd = op##_bwd;
    PN_OPS(TAKE_OP, )
    return 0;
}

/* ---- each call in turn ----------------------------------------------------------------------- */

typedef pn_status attempt(void);

static void each_call_fails(attempt *make) {
    strike = calls = 0;
    if (make() != PN_OK) fail_msg("without a fault: %s", pn_error());
    const int count = calls;
    assert_true(count > 30);
    for (int n = 1; n <= count; n++) {
        char sentence[64];
        calls = 0;
        strike = n;
        snprintf(sentence, sizeof sentence, "call %d of the device", n);
        const pn_status s = make();
        if (s != PN_EDEVICE || !strstr(pn_error(), sentence))
            fail_msg("call %d of %d: status %d: %s", n, count, (int)s, s ? pn_error() : "");
        assert_true(calls <= n + 1); /* a wait for what is on its way may follow, work does not */
    }
    strike = calls = 0;
    assert_int_equal(make(), PN_OK);
    assert_int_equal(calls, count);
    print_message("%d calls\n", count);
}

static pn_arch arch_of(const char *name) {
    pn_arch arch;
    assert_int_equal(pn_genotype_open(name, &arch), PN_OK);
    return arch;
}

static pn_status run_whole(void) {
    const pn_whole_case c = {.why = "auxiliary head and drop-path",
                             .spec = {.layers = 3,
                                      .channels = 4,
                                      .H = 32,
                                      .W = 32,
                                      .image_channels = 3,
                                      .classes = 10,
                                      .evaluation = true,
                                      .auxiliary = true},
                             .N = 2,
                             .training = true,
                             .auxiliary = true,
                             .keep = 0.7};
    const pn_arch arch = arch_of("DARTS_V2");
    pn_whole w;
    PN_TRY(pn_whole_create(&w, &c, &arch, &frail, 1)); /* after a failure it is gone */
    const pn_status s = pn_whole_run(&w);
    pn_whole_destroy(&w);
    return s;
}
static void a_network(void **state) {
    (void)state;
    each_call_fails(run_whole);
}

static pn_data data;

static pn_status steps(pn_model *m, const pn_space *space) {
    pn_search_settings s = pn_rule_practical(4, 4);
    static pn_step_report report;
    static pn_search search;
    double log_likelihood, accuracy;
    s.samples = 2;
    s.warmup = 1;
    PN_TRY(pn_search_init(&search, space, &s));
    const pn_evaluator e = pn_model_evaluator(m);
    for (int i = 0; i < 2; i++) PN_TRY(pn_search_step(&search, &e, &report));
    return pn_model_score(m, &report.arch[0], 1, &log_likelihood, &accuracy);
}
static pn_status run_search(void) {
    const pn_space space = pn_space_darts();
    pn_model_settings settings = pn_model_defaults();
    static pn_model m;
    settings.network = (pn_network_spec){
        .layers = 2, .channels = 4, .H = 8, .W = 8, .image_channels = 3, .classes = 10};
    settings.N = 4;
    PN_TRY(pn_model_create(&m, &frail, &space, &settings, &data, 2));
    const pn_status s = steps(&m, &space);
    pn_model_destroy(&m);
    return s;
}
static void a_search(void **state) {
    (void)state;
    assert_int_equal(pn_data_open("synthetic:40x8x8x3", PN_TRAIN, &data), PN_OK);
    each_call_fails(run_search);
    pn_data_free(&data);
}

static pn_status train(pn_trainer *t) {
    pn_train_report report;
    pn_predictions p;
    for (int i = 0; i < 3; i++) PN_TRY(pn_trainer_step(t, &report)); /* a half is written anew */
    PN_TRY(pn_trainer_predict(t, &data, PN_HALF_SECOND, &p));
    pn_predictions_free(&p);
    return PN_OK;
}
static pn_status run_training(void) {
    const pn_arch arch = arch_of("PDARTS");
    pn_train_settings s = pn_train_defaults();
    static pn_trainer t;
    pn_genotype_write(&arch, s.genotype);
    s.layers = 2;
    s.channels = 4;
    s.batch = 4;
    s.hold_out = 1;
    s.drop_path = 0.2;
    assert_int_equal(pn_train_resolve(&s, &data), PN_OK);
    PN_TRY(pn_trainer_create(&t, &frail, &s, &data, 0, NULL));
    const pn_status status = train(&t);
    pn_trainer_destroy(&t);
    return status;
}
static void a_training(void **state) {
    (void)state;
    assert_int_equal(pn_data_open("synthetic:40x8x8x3", PN_TRAIN, &data), PN_OK);
    each_call_fails(run_training);
    pn_data_free(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network),
        cmocka_unit_test(a_search),
        cmocka_unit_test(a_training),
    };
    return cmocka_run_group_tests_name("frail", tests, set_up, NULL);
}
