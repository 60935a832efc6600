/* test_loss_scale.c -- the scale of the loss that gradients in fp16 want: when it changes; that a
 * step does not see it; what one that overflows does; and a run that continues with it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "kernels/poison.h"
#include "runtime/rng.h"
#include "search/methods/run.h"
#include "search/network/genotype.h"
#include "search/train/run.h"
#include "tests/support/process.h"

/* ---- the rule -------------------------------------------------------------------------------- */

static void it_is_for_fp16_alone(void **state) {
    (void)state;
    pn_loss_scale none = pn_loss_scale_begin(PN_STORED_BF16);
    assert_true(none.scale == 0 && pn_loss_scale_begin(PN_STORED_FLOAT32).scale == 0);
    assert_true(pn_loss_scale_begin(PN_STORED_FP16).scale == 0x1p16);
    assert_false(pn_loss_scale_judge(&none, NAN)); /* a failure, as ever */
    assert_true(none.scale == 0 && none.good == 0 && none.skipped == 0);
}

static void it_halves_and_doubles(void **state) {
    (void)state;
    static const double bad[] = {INFINITY, NAN};
    pn_loss_scale l = {.scale = 0x1p23};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < PN_LOSS_SCALE_STEPS; i++) {
            assert_true(l.scale == 0x1p23 && l.good == i);
            assert_false(pn_loss_scale_judge(&l, i));
        }
        assert_true(l.scale == 0x1p24 && l.good == 0 && l.skipped == round);
        assert_true(pn_loss_scale_judge(&l, bad[round]));
    }
    for (int i = 0; i < PN_LOSS_SCALE_STEPS; i++) (void)pn_loss_scale_judge(&l, 1);
    for (int i = 0; i < 3 * PN_LOSS_SCALE_STEPS; i++) assert_false(pn_loss_scale_judge(&l, 1));
    assert_true(l.scale == PN_LOSS_SCALE_MOST);
    assert_true(pn_loss_scale_judge(&l, INFINITY));
    assert_false(pn_loss_scale_judge(&l, 1));
    assert_true(l.scale == PN_LOSS_SCALE_MOST / 2 && l.good == 1 && l.skipped == 3);
}

/* A gradient that is not finite without a scale is a failure: the caller says so. */
static void it_ends_at_one(void **state) {
    (void)state;
    pn_loss_scale l = {.scale = 4, .good = 7};
    assert_true(pn_loss_scale_judge(&l, NAN) && pn_loss_scale_judge(&l, NAN));
    assert_true(l.scale == 1 && l.good == 0 && l.skipped == 2);
    assert_false(pn_loss_scale_judge(&l, NAN));
    assert_true(l.scale == 1 && l.skipped == 2);
}

static void its_text_is_read_back(void **state) {
    (void)state;
    static const char *const bad[] = {"",       "65536",   "65536 1", "65535 1 1", "0.5 1 1",
                                      "-2 1 1", "nan 1 1", "inf 1 1", "0 1 1",     "65536 -1 1",
                                      "2 1 -1", "2 1 1 1", "2 1 1x",  "1e300 1 1"};
    char text[PN_LOSS_SCALE_TEXT];
    for (int exponent = 0; exponent <= 100; exponent += 25) {
        const pn_loss_scale l = {ldexp(1, exponent), INT64_MAX - exponent, 3};
        pn_loss_scale read = {0};
        pn_loss_scale_write(&l, text);
        assert_int_equal(pn_loss_scale_read(text, &read), PN_OK);
        assert_true(read.scale == l.scale && read.good == l.good && read.skipped == 3);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pn_loss_scale l = {8, 1, 2};
        if (pn_loss_scale_read(bad[i], &l) != PN_EINPUT) fail_msg("\"%s\" is taken", bad[i]);
        assert_true(l.scale == 8 && l.good == 1 && l.skipped == 2);
    }
}

/* ---- steps of a training --------------------------------------------------------------------- */

enum { N = 4, EDGE = 8, PIXELS = EDGE * EDGE * 3 };

static const pn_kernels *opened(const char *device) {
    const pn_kernels *k = NULL;
    if (pn_backend_open(device, &k) != PN_OK) print_message("[  SKIPPED ] %s\n", pn_error());
    return k;
}

static pn_batch batch_of(uint64_t step) {
    static float image[N * PIXELS];
    static int32_t label[N];
    for (int i = 0; i < N * PIXELS; i++)
        image[i] = (float)(2 * pn_uniform(step, PN_STREAM_TEST, 0, (uint64_t)i) - 1);
    for (int i = 0; i < N; i++) label[i] = (int32_t)((3 * (uint64_t)i + step) % 10);
    return (pn_batch){N, image, label};
}

static void begin_training(pn_trainer *t, const char *device, int64_t shards, double scale) {
    const pn_data like = {.name = "none", .count = 64, .H = EDGE, .W = EDGE, .C = 3, .classes = 10};
    pn_train_settings s = pn_train_defaults();
    pn_arch arch;
    assert_int_equal(pn_genotype_open("PDARTS", &arch), PN_OK);
    pn_genotype_write(&arch, s.genotype);
    s.layers = 3;
    s.channels = 4;
    s.batch = N;
    s.shards = shards;
    s.drop_path = 0;
    assert_int_equal(pn_train_resolve(&s, &like), PN_OK);
    if (pn_trainer_create(t, opened(device), &s, &like, 0, NULL) != PN_OK)
        fail_msg("%s", pn_error());
    if (scale > 0) t->update.loss.scale = scale;
}

static pn_train_report step(pn_trainer *t) {
    pn_train_report report;
    const pn_batch batch = batch_of((uint64_t)t->step);
    if (pn_trainer_step_on(t, &batch, 0.025, 0, &report) != PN_OK) fail_msg("%s", pn_error());
    assert_int_equal(pn_parameters_pull(&t->network.parameters), PN_OK);
    return report;
}

/* Relative distance of momenta, which after one step are the gradient and the decay, and whether
 * running statistics are equal. */
static double distance(const pn_trainer *a, const pn_trainer *b, bool *same_statistics) {
    const pn_parameters *p = &a->network.parameters, *q = &b->network.parameters;
    double difference = 0, all = 0;
    *same_statistics = true;
    for (int t = 0; t < p->count; t++)
        for (size_t i = p->list[t].offset; i < p->list[t].offset + p->list[t].count; i++) {
            const double off = (double)p->momentum[i] - q->momentum[i];
            if (p->list[t].role == PN_ROLE_STATE) *same_statistics &= p->value[i] == q->value[i];
            difference += off * off;
            all += (double)p->momentum[i] * p->momentum[i];
        }
    return sqrt(difference / all);
}

/* Whatever the scale, the step is that of float32, but for what halves round: 2^-11 of each tensor
 * of some twenty on the way, a few ReLUs that are decided otherwise, and below a small scale what
 * is lost under 2^-24. In one pass, and in units whose places are divided before they are summed;
 * running statistics in those places are not. */
static void a_step_does_not_see_the_scale(void **state) {
    (void)state;
    static pn_trainer of_float, small, large;
    if (!opened("emulated-fp16")) skip();
    for (int64_t shards = 1; shards <= 2; shards++) {
        bool same;
        begin_training(&of_float, "emulated", shards, 0);
        begin_training(&small, "emulated-fp16", shards, 0x1p6);
        begin_training(&large, "emulated-fp16", shards, 0x1p9);
        const pn_train_report want = step(&of_float), a = step(&small), b = step(&large);
        assert_false(want.skipped || a.skipped || b.skipped);
        assert_true(a.loss == b.loss && fabs(a.loss - want.loss) < 1e-2);
        assert_true(fabs(a.gradient_norm / want.gradient_norm - 1) < 5e-2);
        assert_true(fabs(b.gradient_norm / want.gradient_norm - 1) < 5e-2);
        assert_true(distance(&of_float, &large, &same) < 0.15 && !same);
        assert_true(distance(&small, &large, &same) < 2e-2 && same);
        assert_true(large.update.loss.scale == 0x1p9 && large.update.loss.good == 1);
        pn_trainer_destroy(&of_float);
        pn_trainer_destroy(&small);
        pn_trainer_destroy(&large);
    }
}

/* Weights and momenta keep their bits, the step is counted, the scale halved; until it fits. */
static void a_step_that_overflows_is_skipped(void **state) {
    (void)state;
    static pn_trainer t;
    if (!opened("emulated-fp16")) skip();
    for (int64_t shards = 1; shards <= 2; shards++) {
        begin_training(&t, "emulated-fp16", shards, 0x1p30);
        const pn_parameters *p = &t.network.parameters;
        float *const before = malloc(2 * p->floats * sizeof *before);
        assert_non_null(before);
        int skipped = 0, taken = 0;
        while (taken < 3) {
            memcpy(before, p->value, p->floats * sizeof *before);
            memcpy(before + p->floats, p->momentum, p->floats * sizeof *before);
            const double scale = t.update.loss.scale;
            const pn_train_report r = step(&t);
            int moved = 0;
            for (int k = 0; k < p->count; k++)
                for (size_t i = p->list[k].offset; i < p->list[k].offset + p->list[k].count; i++)
                    moved += p->list[k].role != PN_ROLE_STATE &&
                             (p->value[i] != before[i] || p->momentum[i] != before[p->floats + i]);
            assert_true(r.skipped ? moved == 0 && r.gradient_norm == 0 : moved > 100);
            assert_true(t.update.loss.scale == (r.skipped ? scale / 2 : scale));
            assert_true(isfinite(r.loss) && (r.skipped || r.gradient_norm > 0));
            skipped += r.skipped;
            taken += !r.skipped;
            assert_true(t.update.loss.skipped == skipped && t.step == skipped + taken);
        }
        assert_true(skipped >= 3 && skipped < 30);
        print_message("%d steps skipped from 2^30 on, in %d shards\n", skipped, (int)shards);
        free(before);
        pn_trainer_destroy(&t);
    }
}

/* ---- searches -------------------------------------------------------------------------------- */

static pn_run run; /* large */

static pn_settings tiny(int64_t steps, uint64_t seed) {
    pn_settings s = pn_settings_defaults();
    snprintf(s.data, sizeof s.data, "synthetic:64x8x8x3");
    s.layers = 3;
    s.channels = 4;
    s.batch = 8;
    s.samples = 2;
    s.steps = steps;
    s.warmup = steps / 2;
    s.seed = seed;
    return s;
}

static void open_run(const char *name, const char *device, const pn_settings *settings) {
    const pn_opening opening = {0};
    if (pn_run_open(&run, pn_in_folder(name), settings, &opening, opened(device), 0) != PN_OK)
        fail_msg("%s: %s", name, pn_error());
}

static void run_to(int64_t step) {
    while (pn_run_position(&run) < step)
        if (pn_run_step(&run) != PN_OK) fail_msg("%s", pn_error());
}

/* The mean training loss of the last half of a warm-up. */
static double last_loss(const char *name, const char *device, uint64_t seed, double scale,
                        int64_t *skipped) {
    enum { STEPS = 48, HALF = STEPS / 2 };
    pn_settings s = tiny(STEPS, seed);
    double loss = 0;
    s.warmup = STEPS;
    open_run(name, device, &s);
    if (scale > 0) run.model.update.loss.scale = scale;
    run_to(HALF);
    for (int i = 0; i < HALF; i++) {
        run_to(HALF + i + 1);
        loss += run.report.train_loss / HALF;
    }
    *skipped = run.model.update.loss.skipped;
    pn_run_close(&run);
    return loss;
}

/* Of six seeds in float32 the losses spread; that of fp16, which loses its first steps, is among
 * them, or as far from the nearest as half of that. */
static void a_search_recovers(void **state) {
    (void)state;
    double lo = INFINITY, hi = -INFINITY;
    int64_t skipped;
    char name[32];
#ifdef PN_ASAN /* which has seen all of it in the others */
    skip();
#endif
    if (!opened("emulated-fp16")) skip();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        snprintf(name, sizeof name, "float32-%d", (int)seed);
        const double loss = last_loss(name, "cpu", seed, 0, &skipped);
        assert_int_equal(skipped, 0);
        lo = fmin(lo, loss);
        hi = fmax(hi, loss);
    }
    const double loss = last_loss("fp16", "emulated-fp16", 1, 0x1p24, &skipped);
    print_message("loss %.3f after %d skipped steps; float32 %.3f to %.3f\n", loss, (int)skipped,
                  lo, hi);
    assert_true(skipped >= 2 && skipped < 20);
    assert_true(loss > lo - (hi - lo) / 2 && loss < hi + (hi - lo) / 2);
}

/* Stopped while it still overflows and again later, it ends with the bytes of one that was not. */
static void a_search_continues_with_its_scale(void **state) {
    (void)state;
    enum { STEPS = 12 };
    const pn_settings s = tiny(STEPS, 5);
    if (!opened("emulated-fp16")) skip();
    open_run("whole", "emulated-fp16", &s);
    run.model.update.loss.scale = 0x1p22;
    run_to(STEPS);
    const pn_loss_scale want = run.model.update.loss;
    assert_true(want.skipped >= 2 && want.good >= 1);
    assert_int_equal(pn_run_finish(&run), PN_OK);
    pn_run_close(&run);
    for (int64_t stop = 2; stop <= STEPS; stop += 5) {
        open_run("parts", "emulated-fp16", &s);
        if (stop == 2) run.model.update.loss.scale = 0x1p22;
        run_to(stop);
        assert_int_equal(stop < STEPS ? pn_run_save(&run) : pn_run_finish(&run), PN_OK);
        pn_run_close(&run);
    }
    char *a = pn_run_text(pn_in_folder("whole")), *b = pn_run_text(pn_in_folder("parts"));
    assert_string_equal(a, b);
    free(a);
    free(b);
    char json[4096], sentence[64];
    snprintf(sentence, sizeof sentence, "\"skipped\": %d", (int)want.skipped);
    FILE *file = fopen(pn_in_folder("whole/run.json"), "r");
    assert_non_null(file);
    json[fread(json, 1, sizeof json - 1, file)] = 0;
    fclose(file);
    assert_non_null(strstr(json, "\"loss_scale\": {"));
    assert_non_null(strstr(json, sentence));
}

/* The gradient of what a supernet's ops weigh is not of the shared weights. */
static void a_supernet_is_refused(void **state) {
    (void)state;
    static const char *const methods[] = {"darts", "gdas", "snas"};
    if (!opened("emulated-fp16")) skip();
    for (int i = 0; i < 3; i++) {
        const pn_opening opening = {0};
        pn_settings s = tiny(4, 1);
        s.samples = pn_settings_defaults().samples;
        s.warmup = pn_settings_defaults().warmup;
        snprintf(s.method, sizeof s.method, "%s", methods[i]);
        assert_int_equal(
            pn_run_open(&run, pn_in_folder(methods[i]), &s, &opening, opened("emulated-fp16"), 0),
            PN_EARG);
        assert_non_null(strstr(pn_error(), "fp16"));
        pn_run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_for_fp16_alone),
        cmocka_unit_test(it_halves_and_doubles),
        cmocka_unit_test(it_ends_at_one),
        cmocka_unit_test(its_text_is_read_back),
        cmocka_unit_test(a_step_does_not_see_the_scale),
        cmocka_unit_test(a_step_that_overflows_is_skipped),
        cmocka_unit_test(a_search_recovers),
        cmocka_unit_test(a_search_continues_with_its_scale),
        cmocka_unit_test(a_supernet_is_refused),
    };
    return cmocka_run_group_tests(tests, pn_folder_begin, pn_folder_end);
}
