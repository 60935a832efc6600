/* test_collectives.c -- how many collective calls a step makes: as few as what follows from what
 * (runtime/group.h). The group is of one, and what carries its calls counts them. */
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "runtime/group_parts.h"
#include "search/methods/run.h"
#include "search/network/genotype.h"
#include "search/train/run.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { STEPS = 8 };

/* ---- a group --------------------------------------------------------------------------------- */

static struct { int shares, sums, meetings; } calls;

static void share(void *self, int from, void *bytes, size_t count) {
    (void)self, (void)from, (void)bytes, (void)count;
    calls.shares++;
}

static void sum(void *self, int64_t *numbers, size_t count) {
    (void)self, (void)numbers, (void)count;
    calls.sums++;
}

static void most(void *self, uint64_t *numbers, size_t count) {
    (void)self, (void)numbers, (void)count;
    calls.meetings++;
}

static bool done(void *self) {
    (void)self;
    return true;
}

static void write_letter(void *self, int to, int64_t letter) {
    (void)self, (void)letter;
    fail_msg("a letter to %d", to);
}

static bool read_letter(void *self, int *from, int64_t *letter) {
    (void)self, (void)from, (void)letter;
    return false;
}

static void end(void *self, int code) {
    (void)self;
    fail_msg("all end with %d", code);
}

static void shut(void *self) { (void)self; }

static const pn_carrier carrier = {share, sum, most, done, write_letter, read_letter, end, shut};

static pn_group *begin(void) {
    pn_group *group;
    assert_int_equal(pn_group_create(&group, &carrier, NULL), PN_OK);
    assert_int_equal(pn_group_introduce(group), PN_OK);
    return group;
}

/* Since the last call of this, or of none. */
static void assert_calls(int meetings, int sums, const char *of, int64_t step) {
    if (calls.meetings != meetings || calls.sums != sums || calls.shares)
        fail_msg("%s, step %lld: %d meetings, %d sums, %d shares; want %d, %d and none", of,
                 (long long)step, calls.meetings, calls.sums, calls.shares, meetings, sums);
    memset(&calls, 0, sizeof calls);
}

static pn_wishes to_stop(void) { return (pn_wishes){.stop = 15}; }

/* ---- searches -------------------------------------------------------------------------------- */

static pn_settings tiny(void) {
    pn_settings s = pn_settings_defaults();
    snprintf(s.data, sizeof s.data, "synthetic:48x8x8x3");
    s.layers = 3;
    s.channels = 4;
    s.batch = 8;
    s.steps = STEPS;
    return s;
}

static pn_run run; /* large */

/* Each step of warm-up, and each later one, makes so many. */
static void count(const char *of, const pn_settings *settings, const pn_kernels *kernels,
                  const int warmup[2], const int later[2]) {
    pn_group *group = begin();
    const pn_opening opening = {.group = group};
    if (pn_run_open(&run, pn_in_folder(of), settings, &opening, kernels, 0) != PN_OK)
        fail_msg("%s: %s", of, pn_error());
    pn_group_listen(group, to_stop);
    while (pn_run_position(&run) < STEPS) {
        const int64_t step = pn_run_position(&run);
        memset(&calls, 0, sizeof calls);
        (void)pn_group_heard(group);
        if (pn_run_step(&run) != PN_OK) fail_msg("%s: %s", of, pn_error());
        const int *const want = run.report.warmup ? warmup : later;
        assert_calls(want[0], want[1], of, step);
        assert_int_equal(pn_group_heard(group).stop, want[0] ? 15 : 0); /* by no call of its own */
    }
    pn_run_close(&run);
    pn_group_close(group);
}

static const int weights[2] = {1, 1}, none[2] = {1, 0};

/* What all find, and the sum of gradients: on the host, and on a card whose sums go by it. */
static void steps_of_units_make_two(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu", "emulated"};
    for (int i = 0; i < 2; i++) {
        const pn_kernels *kernels;
        char name[32];
        pn_settings s = tiny();
        if (pn_backend_open(devices[i], &kernels) != PN_OK) continue;
        s.samples = 3;
        s.shards = 2;
        s.warmup = 3;
        snprintf(name, sizeof name, "units-%s", devices[i]);
        count(name, &s, kernels, weights, weights);
    }
}

static void steps_that_train_nothing_make_one(void **state) {
    (void)state;
    pn_settings s = tiny();
    s.samples = 3;
    s.freeze_weights = 1;
    count("frozen", &s, pn_host_kernels(NULL), none, none);
    s = tiny();
    snprintf(s.method, sizeof s.method, "random");
    s.shards = 2;
    s.select = 3;
    count("random", &s, pn_host_kernels(NULL), weights, none);
    s.shards = 1; /* one unit has no sum */
    count("alone", &s, pn_host_kernels(NULL), none, none);
}

/* A supernet is for a group of one, which has nobody to meet. */
static void steps_of_supernets_make_none(void **state) {
    (void)state;
    static const char *const methods[] = {"darts", "gdas", "snas"};
    static const int nothing[2] = {0, 0};
    for (int i = 0; i < 3; i++) {
        pn_settings s = tiny();
        snprintf(s.method, sizeof s.method, "%s", methods[i]);
        count(methods[i], &s, pn_host_kernels(NULL), nothing, nothing);
    }
}

/* ---- trainings ------------------------------------------------------------------------------- */

static pn_training training;

static void steps_of_shards_make_two(void **state) {
    (void)state;
    pn_group *group = begin();
    const pn_opening opening = {.group = group};
    pn_train_settings s = pn_train_defaults();
    pn_arch arch;
    assert_int_equal(pn_genotype_open("PDARTS", &arch), PN_OK);
    pn_genotype_write(&arch, s.genotype);
    snprintf(s.data, sizeof s.data, "synthetic:48x32x32x3");
    s.layers = 3;
    s.channels = 4;
    s.batch = 4;
    s.shards = 2;
    s.auxiliary = 1; /* two results a shard */
    s.epochs = 1;
    if (pn_training_open(&training, pn_in_folder("training"), &s, &opening, pn_host_kernels(NULL),
                         0) != PN_OK)
        fail_msg("%s", pn_error());
    pn_group_listen(group, to_stop);
    while (training.trainer.step < training.steps - 1) { /* after the last one it is scored */
        const int64_t step = training.trainer.step;
        memset(&calls, 0, sizeof calls);
        if (pn_training_step(&training) != PN_OK) fail_msg("%s", pn_error());
        assert_calls(1, 1, "training", step);
        assert_int_equal(pn_group_heard(group).stop, 15);
    }
    pn_training_close(&training);
    pn_group_close(group);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_units_make_two),
        cmocka_unit_test(steps_that_train_nothing_make_one),
        cmocka_unit_test(steps_of_supernets_make_none),
        cmocka_unit_test(steps_of_shards_make_two),
    };
    return cmocka_run_group_tests_name("collectives", tests, pn_folder_begin, pn_folder_end);
}
