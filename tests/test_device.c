/* test_device.c -- the program on a device with a memory of its own: the same search as on the
 * host, the same bits each time, memory that grows and is given back. The device is the emulated
 * card, or with PN_TEST_BACKEND=cuda a card. Of the emulated one also what crosses between the two
 * in a step, how many launches it takes, and what an architecture needs there. */
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
#include "runtime/arena.h"
#include "search/methods/model.h"
#include "search/methods/parsec.h"
#include "search/network/whole.h"
#include "tests/support/reach.h"

#ifdef PN_HAVE_EMULATOR
#include "kernels/emulator/memory.h"
#endif

enum { STEPS = 4, K = 2 };

typedef struct setup {
    pn_data data;
    pn_model model;
    pn_search search;
    pn_step_report report;
} setup;

static const pn_kernels *device(const char *name) {
    const pn_kernels *k;
    if (pn_backend_open(name, &k) != PN_OK) fail_msg("%s", pn_error());
    return k;
}

static void begin(setup *s, const char *name) {
    const pn_space space = pn_space_darts();
    pn_model_settings m = pn_model_defaults();
    pn_search_settings settings = pn_rule_practical(STEPS, 8);
    settings.samples = K;
    settings.warmup = 1;
    settings.seed = 5;
    m.network = (pn_network_spec){
        .layers = 3, .channels = 8, .H = 12, .W = 12, .image_channels = 3, .classes = 10};
    m.N = 8;
    m.seed = 5;
    m.temperature = 8; /* both samples matter */
    *s = (setup){0};
    assert_int_equal(pn_data_open("synthetic:400x12x12x3", PN_TRAIN, &s->data), PN_OK);
    assert_int_equal(pn_model_create(&s->model, device(name), &space, &m, &s->data, K), PN_OK);
    assert_int_equal(pn_search_init(&s->search, &space, &settings), PN_OK);
}

static const char *card_name(void) {
    const char *name = getenv("PN_TEST_BACKEND");
    return name ? name : "emulated";
}

static void end(setup *s) {
    pn_model_destroy(&s->model);
    pn_data_free(&s->data);
}

static void step(setup *s) {
    const pn_evaluator e = pn_model_evaluator(&s->model);
    if (pn_search_step(&s->search, &e, &s->report) != PN_OK) fail_msg("%s", pn_error());
}

/* Relative distance of two ranges of the weights, as vectors. */
static double distance(const float *a, const float *b, size_t count) {
    double d = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(d / size);
}

/* Two backends round differently, by 6e-8 of each number, and some hundred layers' worth of sums
 * and normalisations lie between an image and a log-likelihood, or a gradient. Over four steps
 * the differences of the weights feed back. Here and there a ReLU falls on the other side. */
static void same_search_as_on_the_host(void **state) {
    (void)state;
    static setup host, card;
    begin(&host, "cpu");
    begin(&card, card_name());
    for (int i = 0; i < STEPS; i++) {
        step(&host);
        step(&card);
        assert_int_equal(host.report.count, card.report.count);
        assert_int_equal(host.report.skipped, card.report.skipped);
        for (int k = 0; k < host.report.count; k++) {
            const pn_evaluation *a = &host.report.evaluation[k], *b = &card.report.evaluation[k];
            assert_memory_equal(&host.report.arch[k], &card.report.arch[k], sizeof(pn_arch));
            assert_true(fabs(a->train_ll - b->train_ll) <= 1e-4 * fabs(a->train_ll));
            assert_true(fabs(a->val_ll - b->val_ll) <= 1e-4 * fabs(a->val_ll));
        }
    }
    const pn_parameters *a = &host.model.network.parameters, *b = &card.model.network.parameters;
    assert_int_equal(pn_parameters_pull(b), PN_OK);
    const double values = distance(b->value, a->value, a->floats),
                 momenta = distance(b->momentum, a->momentum, a->floats);
    print_message("after %d steps: values differ by %.1e, momenta by %.1e\n", STEPS, values,
                  momenta);
    assert_true(values <= 1e-5);
    assert_true(momenta <= 1e-3);
    assert_true(fabs(host.search.prior.logit[0] - card.search.prior.logit[0]) <= 1e-3);
    end(&host);
    end(&card);
}

/* The size of a real search where there is a card; the emulated one would take minutes. */
static void a_step_gives_the_same_bits_each_time(void **state) {
    (void)state;
    const bool emulated = !strcmp(card_name(), "emulated");
    const pn_whole_case c = {
        .why = "the same bits",
        .spec = {.layers = emulated ? 3 : 8,
                 .channels = emulated ? 8 : 16,
                 .H = emulated ? 8 : 32,
                 .W = emulated ? 8 : 32,
                 .image_channels = 3,
                 .classes = 10},
        .N = emulated ? 4 : 64,
        .training = true,
    };
    const pn_space space = pn_space_darts();
    pn_prior prior;
    assert_int_equal(pn_prior_init(&prior, &space, true), PN_OK);
    for (uint64_t i = 0; i < (emulated ? 1 : 4); i++) {
        pn_arch arch;
        pn_whole first, again;
        pn_prior_sample(&prior, 1902, 0, i, &arch);
        for (int run = 0; run < (emulated ? 3 : 20); run++) {
            pn_whole *const w = run ? &again : &first;
            if (pn_whole_create(w, &c, &arch, device(card_name()), 5) != PN_OK ||
                pn_whole_run(w) != PN_OK)
                fail_msg("%s", pn_error());
            if (run && !pn_whole_same(&first, &again))
                fail_msg("architecture %d: other bits in run %d", (int)i, run + 1);
            if (run) pn_whole_destroy(&again);
        }
        pn_whole_destroy(&first);
    }
}

static void fill_and_read_back(const pn_memory *m, char *at, unsigned seed) {
    unsigned in[1024], out[1024];
    for (unsigned i = 0; i < 1024; i++) in[i] = seed * 1024 + i;
    int64_t mark;
    assert_int_equal(m->upload(at, in, sizeof in), PN_OK);
    assert_int_equal(m->mark(&mark), PN_OK);
    assert_int_equal(m->wait(mark), PN_OK);
    assert_int_equal(m->download(out, at, sizeof out), PN_OK);
    assert_memory_equal(in, out, sizeof in);
}

/* Address space that fills in steps, twice at once, and again: both ends of every step are used. */
static void memory_grows_and_is_given_back(void **state) {
    (void)state;
    enum { ROUNDS = 4, STEPS_UP = 4 };
    static const size_t steps[STEPS_UP] = {1, 3 << 20, 90 << 20, 256 << 20};
    const pn_memory *m = device(card_name())->memory;
    const size_t before = m->available(), page = 4096;
    for (int round = 0; round < ROUNDS; round++) {
        pn_arena arenas[2];
        for (int i = 0; i < 2; i++)
            assert_int_equal(pn_arena_create(&arenas[i], m, (size_t)1 << 30, 0), PN_OK);
        for (int step = 0; step < STEPS_UP; step++)
            for (int i = 0; i < 2; i++) {
                if (pn_arena_commit(&arenas[i], steps[step]) != PN_OK) fail_msg("%s", pn_error());
                fill_and_read_back(m, arenas[i].base, (unsigned)(100 * round + 2 * step + i));
                fill_and_read_back(m, arenas[i].base + arenas[i].committed - page, 7U * step);
            }
        assert_int_equal(pn_arena_commit(&arenas[0], ((size_t)1 << 30) + 1), PN_EMEM);
        for (int i = 0; i < 2; i++) pn_arena_destroy(&arenas[i]);
    }
    /* Each round took 512 MiB. What the host has, others take and give as well. */
    const bool emulated = !strcmp(card_name(), "emulated");
    if (!emulated && before > m->available() + ((size_t)512 << 20))
        fail_msg("%zu MiB were available before, %zu are now", before >> 20, m->available() >> 20);
}

/* The last one: after it nothing more works on a card. The emulated one would end this program;
 * how its launches fail on request is in test_resume.c. */
static void address_space_without_memory_is_an_error_of_the_device(void **state) {
    (void)state;
    if (!strcmp(card_name(), "emulated")) skip();
    const pn_kernels *k = device(card_name());
    const pn_range all = {0, 1000};
    double *length = pn_reach(sizeof *length), read;
    void *nowhere;
    assert_int_equal(k->memory->reserve(k->memory->unit, &nowhere), PN_OK);
    *length = 2;
    (void)k->move(&all, 1, nowhere, nowhere, nowhere, length, 1,
                  &(pn_launch){.stream = k->memory->stream()});
    assert_int_equal(pn_finish(k), PN_EDEVICE);
    print_message("%s\n", pn_error());
    assert_int_equal(k->memory->download(&read, length, sizeof read), PN_EDEVICE);
}

#ifdef PN_HAVE_EMULATOR

/* One upload for each program, for each batch, and for what a step begins with; the host waits when
 * all is queued, to read what was found, and allocates nothing. */
static void what_crosses_in_a_step(void **state) {
    (void)state;
    static setup s;
    begin(&s, "emulated");
    step(&s); /* the warm-up's one */
    const pn_evaluator e = pn_model_evaluator(&s.model);
    pn_evaluation found[K];
    double norm;
    const pn_emulated_traffic before = pn_emulated_traffic_so_far();
    assert_int_equal(e.begin(e.self, 1), PN_OK);
    for (int k = 0; k < K; k++) {
        pn_arch arch;
        pn_prior_sample(&s.search.prior, 3, 1, (uint64_t)k, &arch);
        const long launches = pn_launches_emulated();
        assert_int_equal(e.train(e.self, k, &arch), PN_OK);
        const pn_program_size *size = &s.model.size; /* + weigh */
        assert_int_equal(pn_launches_emulated() - launches,
                         size->launches_fwd + size->launches_bwd + 1);
        assert_int_equal(e.validate(e.self, k, &arch), PN_OK);
    }
    assert_int_equal(e.update(e.self, 0.025), PN_OK);
    const pn_emulated_traffic queued = pn_emulated_traffic_so_far();
    assert_int_equal(queued.uploads - before.uploads, 2 * K + 2 + 1);
    assert_int_equal(queued.waits - before.waits, 0);
    assert_int_equal(queued.allocations - before.allocations, 0);
    assert_int_equal(e.finish(e.self, K, found, &norm), PN_OK);
    assert_true(norm > 0);
    end(&s);
}

/* The network of the paper's search, in numbers. */
static void launches_and_memory_of_the_space(void **state) {
    (void)state;
    enum { COUNT = 300 };
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = {
        .layers = 8, .channels = 16, .H = 32, .W = 32, .image_channels = 3, .classes = 10};
    pn_network network;
    pn_program *program;
    pn_prior prior;
    double launches = 0, bytes = 0;
    assert_int_equal(pn_network_create(&network, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_program_create(&program, device("emulated")), PN_OK);
    assert_int_equal(pn_prior_init(&prior, &space, true), PN_OK);
    for (uint64_t i = 0; i < COUNT; i++) {
        pn_arch arch;
        pn_program_size size;
        pn_prior_sample(&prior, 1902, 0, i, &arch);
        assert_int_equal(
            pn_network_build(&network, &arch, program, &(pn_build){.N = 64, .training = true}),
            PN_OK);
        assert_int_equal(pn_program_compile(program, &size), PN_OK);
        launches += (double)(size.launches_fwd + size.launches_bwd) / COUNT;
        bytes += (double)size.arena_bytes / COUNT;
    }
    print_message("mean of %d architectures: %.1f launches, arena %.1f MB\n", COUNT, launches,
                  bytes / 1e6);
    assert_true(launches <= 160);
    assert_true(bytes <= 280e6);
    pn_program_destroy(program);
    pn_network_destroy(&network);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_search_as_on_the_host),
        cmocka_unit_test(a_step_gives_the_same_bits_each_time),
        cmocka_unit_test(memory_grows_and_is_given_back),
#ifdef PN_HAVE_EMULATOR
        cmocka_unit_test(what_crosses_in_a_step),
        cmocka_unit_test(launches_and_memory_of_the_space),
#endif
        cmocka_unit_test(address_space_without_memory_is_an_error_of_the_device),
    };
    const pn_kernels *k;
    if (pn_backend_open(card_name(), &k) != PN_OK && !getenv("PN_TEST_BACKEND")) {
        puts(pn_error()); /* this build has no emulator */
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
