/* test_flights.c -- several architectures of a step in flight: the same bits for any number of
 * them, whatever streams do (the emulated card's run late, and in random order); as many as there
 * is memory for, to the byte; and the rule. With PN_TEST_BACKEND=cuda on a card. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"
#include "search/methods/model.h"
#include "search/methods/parsec.h"

#ifdef PN_HAVE_EMULATOR
#include "kernels/backend_parts.h"
#include "kernels/emulator/memory.h"
#endif

enum { K = 3, STEPS = 2, N = 4, SEEDS = 3 };

typedef struct setup {
    int in_flight, shards;
    bool recompute, frozen;
    double temperature; /* of the weights of v: 1 leaves many samples out */
    size_t memory;
    const pn_kernels *kernels; /* NULL: the device's own */
    pn_data data;
    pn_model model;
    size_t largest; /* arena of the largest program */
    pn_search search;
    pn_evaluation found[STEPS][K];
    double norm[STEPS], prior[3 * PN_MAX_LOGITS + 2];
} setup;

static const pn_kernels *device(const char *precision) {
    const char *name = getenv("PN_TEST_BACKEND");
    char text[PN_BACKEND_NAME];
    const pn_kernels *k;
    snprintf(text, sizeof text, "%s%s", name ? name : "emulated", precision);
    if (pn_backend_open(text, &k) != PN_OK) fail_msg("%s", pn_error());
    return k;
}

static bool is_emulated(void) { return !getenv("PN_TEST_BACKEND"); }

/* 0: what is queued runs at once. */
static void be_late(uint64_t seed) {
#ifdef PN_HAVE_EMULATOR
    if (is_emulated()) pn_emulator_late(seed);
#else
    (void)seed;
#endif
}

static pn_status create(setup *s) {
    const pn_space space = pn_space_darts();
    pn_model_settings m = pn_model_defaults();
    pn_search_settings settings = pn_rule_practical(STEPS, N);
    settings.samples = K;
    settings.warmup = s->frozen ? 0 : 1;
    settings.freeze_weights = s->frozen;
    settings.seed = 5;
    m.network = (pn_network_spec){
        .layers = 2, .channels = 4, .H = 8, .W = 8, .image_channels = 3, .classes = 10};
    m.N = N;
    m.shards = s->shards ? s->shards : 1;
    m.seed = 5;
    m.temperature = s->temperature;
    m.in_flight = s->in_flight;
    m.recompute = s->recompute;
    m.frozen = s->frozen;
    m.memory = s->memory;
    assert_int_equal(pn_data_open("synthetic:40x8x8x3", PN_TRAIN, &s->data), PN_OK);
    assert_int_equal(pn_search_init(&s->search, &space, &settings), PN_OK);
    const pn_status status =
        pn_model_create(&s->model, s->kernels ? s->kernels : device(""), &space, &m, &s->data, K);
    s->largest = s->model.size.arena_bytes;
    return status;
}

static void begin(setup *s) {
    if (create(s) != PN_OK) fail_msg("%s", pn_error());
}

static void end(setup *s) {
    pn_model_destroy(&s->model);
    pn_data_free(&s->data);
}

static void run(setup *s) {
    static pn_step_report report;
    const pn_evaluator e = pn_model_evaluator(&s->model);
    for (int i = 0; i < STEPS; i++) {
        if (pn_search_step(&s->search, &e, &report) != PN_OK) fail_msg("%s", pn_error());
        memcpy(s->found[i], report.evaluation, sizeof s->found[i]);
        s->norm[i] = report.gradient_norm_v;
    }
    pn_search_save(&s->search, s->prior);
    assert_int_equal(pn_parameters_pull(&s->model.network.parameters), PN_OK);
}

static bool same_evaluation(const pn_evaluation *a, const pn_evaluation *b) {
    return a->train_ll == b->train_ll && a->val_ll == b->val_ll &&
           a->train_correct == b->train_correct && a->val_correct == b->val_correct &&
           a->skipped == b->skipped && a->bytes == b->bytes;
}

static void assert_same(const setup *a, const setup *b, const char *about) {
    const pn_parameters *p = &a->model.network.parameters, *q = &b->model.network.parameters;
    for (int i = 0; i < STEPS; i++) {
        for (int k = 0; k < K; k++)
            if (!same_evaluation(&a->found[i][k], &b->found[i][k]))
                fail_msg("%s: other results of sample %d in step %d", about, k, i);
        if (a->norm[i] != b->norm[i] && !(isnan(a->norm[i]) && isnan(b->norm[i])))
            fail_msg("%s: another norm in step %d", about, i);
    }
    if (memcmp(p->value, q->value, p->floats * sizeof *p->value) ||
        memcmp(p->momentum, q->momentum, p->floats * sizeof *p->momentum))
        fail_msg("%s: other weights", about);
    for (int i = 0; i < pn_search_state_count(&a->search); i++)
        if (a->prior[i] != b->prior[i]) fail_msg("%s: another prior", about);
}

/* ---- bits ------------------------------------------------------------------------------------ */

static void same_bits_for_any_number_in_flight(void **state) {
    (void)state;
    const struct {
        const char *about;
        setup of;
    } rows[] = {
        {"usual", {.temperature = N}},
        {"most samples left out", {.temperature = 0.005}},
        {"in shards, recomputed", {.temperature = N, .shards = 2, .recompute = true}},
        {"frozen weights", {.temperature = N, .frozen = true}},
        {"a scaled loss", {.temperature = N, .kernels = device("-fp16")}},
    };
    static setup one, many;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        one = rows[i].of;
        one.in_flight = 1;
        begin(&one);
        run(&one);
        assert_int_equal(one.model.flights.count, 1);
        for (int seed = 0; seed <= SEEDS; seed++) {
            char about[64];
            snprintf(about, sizeof about, "%s, late by seed %d", rows[i].about, seed);
            be_late((uint64_t)seed);
            many = rows[i].of;
            many.in_flight = 2 + seed % 2;
            begin(&many);
            assert_int_equal(many.model.flights.count, many.in_flight);
            run(&many);
            assert_same(&one, &many, about);
            end(&many);
        }
        be_late(0);
        end(&one);
    }
}

/* A sample that would be skipped because of another flight's: its gradient is made, and counts for
 * nothing. */
static void left_out_in_any_flight(void **state) {
    (void)state;
    static setup s;
    int skipped = 0;
    s = (setup){.temperature = 0.005, .in_flight = K};
    begin(&s);
    run(&s);
    for (int i = 1; i < STEPS; i++) /* behind the warm-up's one */
        for (int k = 0; k < K; k++) skipped += s.found[i][k].skipped;
    assert_int_equal(skipped, (STEPS - 1) * (K - 1));
    end(&s);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void train_and_validate(setup *s, const pn_arch *arch) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    pn_evaluation found[K];
    pn_arch all[K];
    double norm;
    for (int k = 0; k < K; k++) all[k] = *arch;
    assert_int_equal(e.begin(e.self, 0), PN_OK);
    assert_int_equal(e.deal(e.self, K, all), PN_OK);
    for (int k = 0; k < K; k++) assert_int_equal(e.train(e.self, k, arch), PN_OK);
    for (int k = 0; k < K; k++) assert_int_equal(e.validate(e.self, k, arch), PN_OK);
    assert_int_equal(e.update(e.self, 0.01), PN_OK);
    assert_int_equal(e.finish(e.self, K, found, &norm), PN_OK);
}

/* Bytes of so many arenas, if each has the largest program. */
static size_t planned_arenas(setup *s, int flights) {
    return pn_flights_bytes(s->largest, pn_units_arena_bytes(&s->model.network.parameters),
                            flights);
}

/* A limit has room for as many as fit, and refuses only what one flight would exceed. */
static void as_many_as_memory_has_room_for(void **state) {
    (void)state;
    static setup s;
    const pn_space space = pn_space_darts();
    const pn_arch largest = pn_network_largest(&space);
    const size_t context = device("")->memory->context_bytes;
    size_t needed[K + 1];
    s = (setup){.temperature = N, .in_flight = 3};
    begin(&s);
    const size_t fixed =
        context + pn_update_bytes(&s.model.update) + pn_network_batch_bytes(&s.model.network, N);
    for (int flights = 1; flights <= 3; flights++)
        needed[flights] = fixed + planned_arenas(&s, flights);
    end(&s);
    for (int flights = 1; flights <= 3; flights++)
        for (int less = 0; less < 2; less++) {
            s = (setup){.temperature = N, .in_flight = 3, .memory = needed[flights] - (size_t)less};
            const pn_status status = create(&s);
            if (flights - less == 0) {
                assert_int_equal(status, PN_EMEM);
                pn_data_free(&s.data);
                continue;
            }
            assert_int_equal(status, PN_OK);
            assert_int_equal(s.model.flights.count, flights - less);
            train_and_validate(&s, &largest);
            assert_int_equal(s.model.flights.open, flights - less);
            assert_int_equal(planned_arenas(&s, flights - less),
                             pn_flights_high_water(&s.model.flights));
            end(&s);
        }
}

#ifdef PN_HAVE_EMULATOR

static int commits_left;

static pn_status commit_some(void **base, size_t from, size_t to) {
    if (commits_left-- <= 0) return pn_fail(PN_EMEM, "others have taken it");
    return pn_host_memory.commit(base, from, to);
}

/* What others have taken meanwhile costs flights, and no bits. */
static void an_arena_that_is_refused(void **state) {
    (void)state;
    static setup one, many;
    if (!is_emulated()) skip();
    pn_memory memory = *device("")->memory;
    pn_kernels kernels = *device("");
    kernels.memory = &memory;
    memory.commit = commit_some;
    one = (setup){.temperature = N, .in_flight = 1};
    begin(&one);
    run(&one);
    for (int seed = 0; seed <= 2 * SEEDS; seed++) {
        be_late((uint64_t)seed);
        many = (setup){.temperature = N, .in_flight = 3, .kernels = &kernels};
        commits_left = 100;
        begin(&many);
        commits_left = 3; /* of the places, of the first arena, and of one more */
        run(&many);
        assert_int_equal(many.model.flights.count, 3);
        assert_in_range(many.model.flights.open, 1, 2);
        assert_same(&one, &many, "without memory");
        end(&many);
    }
    be_late(0);
    end(&one);
}

/* The host waits when all is queued, whatever is in flight. */
static void nothing_waits_in_a_step(void **state) {
    (void)state;
    static setup s;
    if (!is_emulated()) skip();
    const pn_space space = pn_space_darts();
    const pn_arch arch = pn_network_largest(&space);
    s = (setup){.temperature = N, .in_flight = 3};
    begin(&s);
    train_and_validate(&s, &arch);
    const pn_evaluator e = pn_model_evaluator(&s.model);
    const long waits = pn_emulated_traffic_so_far().waits;
    assert_int_equal(e.begin(e.self, 1), PN_OK);
    for (int k = 0; k < K; k++) assert_int_equal(e.train(e.self, k, &arch), PN_OK);
    for (int k = 0; k < K; k++) assert_int_equal(e.validate(e.self, k, &arch), PN_OK);
    assert_int_equal(e.update(e.self, 0.01), PN_OK);
    assert_int_equal(pn_emulated_traffic_so_far().waits, waits);
    end(&s);
}

/* ---- the streams of the emulated card -------------------------------------------------------- */

/* What stream 2 copies of what stream 1 uploads. */
static int copied(const pn_memory *m, bool follows) {
    int *from, *to, found;
    const int number = 7;
    void *block;
    assert_int_equal(m->allocate(sizeof *from, &block), PN_OK);
    from = block;
    assert_int_equal(m->allocate(sizeof *to, &block), PN_OK);
    to = block;
    assert_int_equal(m->select(1), PN_OK);
    assert_int_equal(m->upload(from, &number, sizeof number), PN_OK);
    assert_int_equal(m->select(2), PN_OK);
    if (follows) assert_int_equal(m->follow(1), PN_OK);
    assert_int_equal(m->copy(to, from, sizeof *to), PN_OK);
    assert_int_equal(m->download(&found, to, sizeof found), PN_OK);
    assert_int_equal(m->select(0), PN_OK);
    m->release(from);
    m->release(to);
    return found;
}

/* So what these tests would miss is seen: who does not wait comes too early for some seed. */
static void late_streams_find_who_does_not_wait(void **state) {
    (void)state;
    int early = 0;
    if (!is_emulated()) skip();
    for (uint64_t seed = 1; seed <= 16; seed++) {
        be_late(seed);
        assert_int_equal(copied(device("")->memory, true), 7);
        early += copied(device("")->memory, false) != 7;
    }
    be_late(0);
    assert_in_range(early, 4, 12);
    assert_int_equal(device("")->memory->select(PN_STREAMS), PN_EARG);
    assert_int_equal(device("")->memory->follow(-1), PN_EARG);
}

#endif

/* ---- how many -------------------------------------------------------------------------------- */

static void the_rule(void **state) {
    (void)state;
    const double image = 32 * 32;
    assert_int_equal(pn_flights_rule(0, 64 * image), 1);   /* no card */
    assert_int_equal(pn_flights_rule(132, 64 * image), 2); /* an H100: 92,400 pixels */
    assert_int_equal(pn_flights_rule(132, 92400), 1);
    assert_int_equal(pn_flights_rule(132, 92399), 2);
    assert_int_equal(pn_flights_rule(132, 96 * image), 1);
    assert_int_equal(pn_flights_rule(132, 16 * image), 6);
    assert_int_equal(pn_flights_rule(28, 64 * image), 1); /* an RTX 3060 */
    assert_int_equal(pn_flights_rule(132, 1), PN_FLIGHTS);
}

static void one_on_the_host_and_for_one_sample(void **state) {
    (void)state;
    static setup s;
    s = (setup){.temperature = N, .in_flight = 3, .kernels = pn_host_kernels(NULL)};
    begin(&s);
    assert_int_equal(s.model.flights.count, 1);
    end(&s);
    s = (setup){.temperature = N, .in_flight = PN_FLIGHTS};
    begin(&s);
    assert_int_equal(s.model.flights.count, K); /* no more than there are */
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_for_any_number_in_flight),
        cmocka_unit_test(left_out_in_any_flight),
        cmocka_unit_test(as_many_as_memory_has_room_for),
#ifdef PN_HAVE_EMULATOR
        cmocka_unit_test(an_arena_that_is_refused),
        cmocka_unit_test(nothing_waits_in_a_step),
        cmocka_unit_test(late_streams_find_who_does_not_wait),
#endif
        cmocka_unit_test(the_rule),
        cmocka_unit_test(one_on_the_host_and_for_one_sample),
    };
    const pn_kernels *k;
    if (pn_backend_open(getenv("PN_TEST_BACKEND") ? getenv("PN_TEST_BACKEND") : "emulated", &k) !=
        PN_OK) {
        puts(pn_error()); /* this build has no emulator */
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
