/* test_device.c -- the program on a device with a memory of its own, here the emulated card: the
 * same search as on the host, what crosses between the two in a step, how many launches it takes,
 * and what an architecture needs there. */
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

#ifdef PN_HAVE_EMULATOR
#include "kernels/emulator/memory.h"

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

/* Also for a card, where one is: PN_TEST_DEVICE=cuda. */
static const char *card_name(void) {
    const char *name = getenv("PN_TEST_DEVICE");
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
        const pn_program_size *size = &s.model.size; /* + weigh, and a rescaling from k = 1 on */
        const long most = size->launches_fwd + size->launches_bwd + 1 + k;
        assert_in_range(pn_launches_emulated() - launches, most - k, most);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_search_as_on_the_host),
        cmocka_unit_test(what_crosses_in_a_step),
        cmocka_unit_test(launches_and_memory_of_the_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) {
    puts("this build has no emulator");
    return 77;
}

#endif
