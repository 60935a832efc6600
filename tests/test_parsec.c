/* test_parsec.c -- the step of the search, its estimators against exact sums, and its health.
 *
 * The evaluator here is a table: an architecture's log-likelihood is a known function of it. So
 * on small spaces the quantity that the search climbs, log sum_a p(a | pi) exp(l_a / T), and
 * the expectation of what a step computes, are sums that can be written down. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/health.h"
#include "search/methods/parsec.h"
#include "search/methods/settings.h"
#include "search/network/genotype.h"
#include "tests/support/enumerate.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 4096 };
static pn_arch all[LIMIT];

/* ---- an evaluator without a network ---------------------------------------------------------- */

typedef enum half { TRAIN, VAL } half;

typedef struct table {
    pn_space space;
    double score[PN_MAX_LOGITS]; /* of every choice; an architecture's are added */
    double noise;                /* and this much of a fixed number of its own, -1..1 */
    double slope[2];             /* of the log-likelihood on either half */
    int64_t step;
    pn_arch arch[2][PN_MAX_SAMPLES];
    int count[2];
    double rate;
    int64_t time;     /* of the last renewal */
    char calls[1024]; /* a letter a call */
    char fails;       /* the call that fails; 0 = none */
    int bad_sample;   /* -1 = none; PN_MAX_SAMPLES = the gradient norm */
    half bad_half;
    double bad;
} table;

static double score(const table *t, const pn_arch *a) {
    pn_factor factor[PN_MAX_FACTORS];
    int factors = pn_factors(&t->space, factor);
    double sum = 0;
    uint64_t number = 0;
    for (int f = 0; f < factors; f++) {
        pn_choice c = a->cell[factor[f].kind].term[factor[f].node][factor[f].slot];
        int choice = c.input;
        if (factor[f].ops)
            for (choice = 0; t->space.op[choice] != c.op;) choice++;
        sum += t->score[factor[f].first + choice];
        number = (number * 1000003 + (uint64_t)choice) % ((uint64_t)1 << 48);
    }
    return sum + t->noise * (2 * pn_uniform(1, PN_STREAM_TEST, 1, number) - 1);
}

static pn_status called(table *t, char call) {
    size_t n = strlen(t->calls);
    assert_true(n < sizeof t->calls - 1);
    t->calls[n] = call;
    t->calls[n + 1] = 0;
    return call == t->fails ? pn_fail(PN_EINTR, "interrupted") : PN_OK;
}

static pn_status begin(void *self, int64_t step) {
    table *t = self;
    t->step = step;
    t->count[TRAIN] = t->count[VAL] = 0;
    return called(t, 'b');
}

static pn_status train(void *self, int k, const pn_arch *a) {
    table *t = self;
    assert_int_equal(k, t->count[TRAIN]);
    t->arch[TRAIN][t->count[TRAIN]++] = *a;
    return called(t, 't');
}

static pn_status validate(void *self, int k, const pn_arch *a) {
    table *t = self;
    assert_int_equal(k, t->count[VAL]);
    t->arch[VAL][t->count[VAL]++] = *a;
    return called(t, 'v');
}

static pn_status update(void *self, double rate) {
    table *t = self;
    t->rate = rate;
    return called(t, 'u');
}

static pn_status finish(void *self, int count, pn_evaluation *out, double *gradient_norm) {
    table *t = self;
    for (int k = 0; k < count; k++) {
        memset(&out[k], 0, sizeof out[k]);
        out[k].bytes = 1000 + (size_t)k;
        if (k < t->count[TRAIN]) {
            out[k].train_ll = t->slope[TRAIN] * score(t, &t->arch[TRAIN][k]);
            out[k].train_correct = k + 1;
            out[k].skipped = k == 1;
        }
        if (k < t->count[VAL]) {
            out[k].val_ll = t->slope[VAL] * score(t, &t->arch[VAL][k]);
            out[k].val_correct = 2 * k;
        }
        if (k == t->bad_sample && t->bad_half == TRAIN) out[k].train_ll = t->bad;
        if (k == t->bad_sample && t->bad_half == VAL) out[k].val_ll = t->bad;
    }
    *gradient_norm = t->bad_sample == PN_MAX_SAMPLES ? t->bad : 0.5;
    return called(t, 'f');
}

static pn_status renew(void *self, int64_t time) {
    table *t = self;
    t->time = time;
    return called(t, 'n');
}

static table make_table(const pn_space *space, uint64_t seed) {
    table t = {.space = *space, .slope = {1, 1}, .bad_sample = -1};
    for (int i = 0; i < PN_MAX_LOGITS; i++)
        t.score[i] = pn_uniform(seed, PN_STREAM_TEST, 2, (uint64_t)i);
    return t;
}

static pn_evaluator evaluator_of(table *t) {
    return (pn_evaluator){.self = t,
                          .batch = 64,
                          .begin = begin,
                          .train = train,
                          .validate = validate,
                          .update = update,
                          .finish = finish,
                          .renew = renew};
}

static void start(pn_search *search, const pn_space *space, const pn_search_settings *settings) {
    if (pn_search_init(search, space, settings) != PN_OK) fail_msg("%s", pn_error());
}

static void step(pn_search *search, const pn_evaluator *e, pn_step_report *report) {
    if (pn_search_step(search, e, report) != PN_OK) fail_msg("%s", pn_error());
}

/* ---- settings -------------------------------------------------------------------------------- */

static void presets_are_what_they_are_called(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_search search;
    pn_search_settings paper = pn_rule_paper(1000), practical = pn_rule_practical(1000, 64);
    start(&search, &space, &paper);
    assert_int_equal(search.settings.samples, 16);
    assert_int_equal(search.settings.warmup, 0);
    assert_true(search.settings.temperature == 1 && search.settings.temperature_v == 1);
    assert_false(search.settings.baseline || search.settings.distinct_inputs);
    assert_false(search.prior.distinct);
    assert_true(search.settings.rate_pi == 50.0 / 1000);

    start(&search, &space, &practical);
    assert_int_equal(search.settings.samples, 4);
    assert_int_equal(search.settings.warmup, 500);
    assert_true(search.settings.temperature == 16);
    assert_true(search.settings.baseline && search.prior.distinct);
    assert_true(search.settings.rate_pi == 0.1); /* 50 / 500, which is also the most */

    practical.warmup = 0; /* the default rate follows the steps of pi */
    start(&search, &space, &practical);
    assert_true(search.settings.rate_pi == 50.0 / 1000);
    practical.rate_pi = 0.3; /* and gives way to one that was asked for */
    start(&search, &space, &practical);
    assert_true(search.settings.rate_pi == 0.3);

    pn_rule rule;
    assert_int_equal(pn_rule_read("practical", &rule), PN_OK);
    assert_string_equal(pn_rule_name(rule), "practical");
    assert_int_equal(pn_rule_read("paper", &rule), PN_OK);
    assert_string_equal(pn_rule_name(rule), "paper");
    assert_int_equal(pn_rule_read("best", &rule), PN_EARG);
}

/* Without a rule: evidence, unless something is asked for that only samples and their weights have;
 * and a rule that was given stays. */
static void the_rule_follows_what_is_asked_for(void **state) {
    (void)state;
    const pn_data data = {.count = 1000, .H = 8, .W = 8, .C = 3, .classes = 10};
    static const struct {
        const char *rule, *prior;
        int64_t samples, evidence, freeze;
        const char *want;
        double rate_pi, temperature; /* 0: not given */
    } cases[] = {
        {"auto", "", PN_UNSET, PN_UNSET, 0, "evidence", 0, 0},
        {"auto", "", 1, PN_UNSET, 0, "evidence", 0, 0},
        {"auto", "", PN_UNSET, 1, 0, "evidence", 0, 0},
        {"auto", "", 4, PN_UNSET, 0, "practical", 0, 0},
        {"auto", "", PN_UNSET, 0, 0, "practical", 0, 0},
        {"auto", "", PN_UNSET, PN_UNSET, 1, "practical", 0, 0},
        {"auto", "other", PN_UNSET, PN_UNSET, 0, "practical", 0, 0},
        {"auto", "", PN_UNSET, PN_UNSET, 0, "practical", 0.1, 0},
        {"auto", "", PN_UNSET, PN_UNSET, 0, "practical", 0, 8},
        {"paper", "", PN_UNSET, PN_UNSET, 0, "paper", 0, 0},
        {"practical", "", PN_UNSET, PN_UNSET, 0, "practical", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_settings s = pn_settings_defaults();
        snprintf(s.rule, sizeof s.rule, "%s", cases[i].rule);
        snprintf(s.prior, sizeof s.prior, "%s", cases[i].prior);
        s.samples = cases[i].samples;
        s.evidence = cases[i].evidence;
        s.freeze_weights = cases[i].freeze;
        if (cases[i].rate_pi > 0) s.rate_pi = cases[i].rate_pi;
        if (cases[i].temperature > 0) s.temperature = cases[i].temperature;
        assert_int_equal(pn_settings_resolve(&s, &data), PN_OK);
        assert_string_equal(s.rule, cases[i].want);
        assert_int_equal(s.evidence, !strcmp(cases[i].want, "evidence"));
        assert_true(s.evidence ? s.samples == 1 : s.samples > 1);
    }
}

static void impossible_settings_are_refused(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    const pn_search_settings good = pn_rule_practical(100, 64);
    pn_search_settings bad[20];
    int n = 0;
    for (int i = 0; i < 20; i++) bad[i] = good;
    bad[n++].samples = 1;
    bad[n++].samples = PN_MAX_SAMPLES + 1;
    bad[n++].steps = 0;
    bad[n++].warmup = -1;
    bad[n++].warmup = 101;
    bad[n++].temperature = 0;
    bad[n++].temperature = NAN;
    bad[n++].temperature_v = -1;
    bad[n++].rate_pi = -0.1;
    bad[n++].rate_v = INFINITY;
    bad[n++].rate_v_end = -1;
    bad[n++].beta1 = 1;
    bad[n++].beta2 = -0.1;
    bad[n++].epsilon = 0;
    bad[n++].evidence = true; /* with four samples */
    bad[n++].restart = 10;    /* without evidence */
    bad[n] = pn_rule_evidence(100);
    bad[n++].restart = -1;
    bad[n].found_supported = bad[n].warmup_prior = true;
    n++;
    bad[n].evidence = bad[n].freeze_weights = true;
    bad[n++].samples = 1;
    bad[n++].entropy_end = -1;
    pn_search search;
    for (int i = 0; i < n; i++) {
        if (pn_search_init(&search, &space, &bad[i]) != PN_EARG) fail_msg("setting %d taken", i);
        assert_non_null(strstr(pn_error(), "want"));
    }
    space.nodes = 5;
    assert_int_equal(pn_search_init(&search, &space, &good), PN_EARG);
}

/* ---- the step -------------------------------------------------------------------------------- */

static void calls_come_in_the_promised_order(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_practical(4, 64);
    pn_search search;
    pn_step_report r;
    s.samples = 3;
    start(&search, &space, &s);
    for (int i = 0; i < 4; i++) step(&search, &e, &r);
    assert_string_equal(t.calls,
                        "btuf"
                        "btuf"
                        "btttvvvuf"
                        "btttvvvuf");
    assert_int_equal(t.step, 3);
    assert_int_equal(pn_search_step(&search, &e, &r), PN_EARG); /* it is over */

    s.freeze_weights = true;
    t.calls[0] = 0;
    start(&search, &space, &s);
    assert_int_equal(search.settings.warmup, 0);
    step(&search, &e, &r);
    assert_string_equal(t.calls, "bvvvf");
    assert_true(r.rate_v == 0 && r.ess_v == 0 && r.weight_v[0] == 0);
}

static void by_evidence_every_step_trains_one(void **state) {
    (void)state;
    enum { STEPS = 80 };
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_evidence(STEPS);
    static pn_search search;
    pn_step_report r;
    start(&search, &space, &s);
    const double uniform = pn_prior_entropy_uniform(&search.prior);
    assert_int_equal(search.settings.warmup, STEPS);
    for (int warmup = STEPS; warmup >= 0;
         warmup -= STEPS / 2) { /* uniform: all steps, half, none */
        s.warmup = warmup;
        start(&search, &space, &s);
        for (int i = 0; i < STEPS; i++) {
            const double before = pn_prior_entropy(&search.prior, NULL);
            t.calls[0] = 0;
            step(&search, &e, &r);
            assert_string_equal(t.calls, "btuf");
            assert_int_equal(r.count, 1);
            assert_true(r.warmup == (i < warmup) && r.weight_v[0] == 1 && r.weight_pi[0] == 0);
            assert_true((fabs(r.log_p[0] + uniform) < 1e-9) ==
                        (r.warmup || fabs(before - uniform) < 1e-9));
            if (i == 14) assert_true(fabs(r.entropy - uniform) < 1e-9);
            if (i == 63) assert_true(fabs(r.entropy - (uniform + .8 * (24 - uniform))) < 1e-9);
        }
        assert_true(fabs(r.entropy - 24) < 1e-9);
        assert_int_equal(search.updates, 5); /* after 16, 32, 48, 64 and 80 steps */
        assert_int_equal(search.effects.samples, STEPS);
    }
}

static void weights_begin_anew(void **state) {
    (void)state;
    enum { STEPS = 80 };
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_evidence(STEPS);
    static pn_search search;
    pn_step_report r;
    s.restart = 30;
    s.rate_v_end = .001;
    start(&search, &space, &s);
    for (int i = 0; i < STEPS; i++) {
        t.calls[0] = 0;
        step(&search, &e, &r);
        assert_string_equal(t.calls, i == 30 || i == 60 ? "nbtuf" : "btuf");
        assert_int_equal(t.time, i / 30);
        assert_true((r.rate_v == s.rate_v) == (i % 30 == 0)); /* a cosine each, the last of 20 */
        if (i % 30 == 15 && i < 60) assert_true(fabs(r.rate_v - .013) < 1e-12);
        if (i == 70) assert_true(fabs(r.rate_v - .013) < 1e-12);
    }
    assert_int_equal(search.effects.samples, STEPS);
    t.fails = 'n';
    start(&search, &space, &s);
    for (int i = 0; i < 30; i++) {
        t.calls[0] = 0;
        step(&search, &e, &r);
    }
    const pn_search before = search;
    assert_int_equal(pn_search_step(&search, &e, &r), PN_EINTR);
    assert_memory_equal(&search, &before, sizeof search);
}

static void both_halves_see_the_same_architectures(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_paper(2);
    pn_search search;
    pn_step_report r;
    start(&search, &space, &s);
    step(&search, &e, &r);
    assert_memory_equal(t.arch[TRAIN], t.arch[VAL], 16 * sizeof(pn_arch));
    assert_memory_equal(t.arch[TRAIN], r.arch, 16 * sizeof(pn_arch));
    assert_memory_not_equal(&r.arch[0], &r.arch[1], sizeof(pn_arch));
}

static void warm_up_leaves_pi_alone_and_draws_uniformly(void **state) {
    (void)state;
    enum { STEPS = 8000 };
    pn_space space = pn_small_space(1, 1, 2);
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_practical(STEPS + 1, 64);
    pn_search search;
    pn_step_report r;
    s.warmup = STEPS;
    start(&search, &space, &s);
    pn_random_logits(&search.prior, 3, 4); /* a distribution brought along from elsewhere */
    pn_prior before = search.prior;
    int n = pn_enumerate(&space, true, all, LIMIT), seen[8] = {0};
    assert_int_equal(n, 8);
    for (int i = 0; i < STEPS; i++) {
        t.calls[0] = 0;
        step(&search, &e, &r);
        assert_true(r.warmup && r.count == 1 && r.ess_pi == 0 && r.gradient_norm_pi == 0);
        assert_true(fabs(r.log_p[0] + log(8)) < 1e-12);
        for (int a = 0; a < n; a++) seen[a] += !memcmp(&all[a], &r.arch[0], sizeof *all);
    }
    assert_memory_equal(&before, &search.prior, sizeof before);
    assert_int_equal(search.updates, 0);
    double chi_square = 0;
    for (int a = 0; a < n; a++) chi_square += pow(seen[a] - STEPS / 8.0, 2) / (STEPS / 8.0);
    assert_true(chi_square < pn_chi_square_limit(n - 1));

    step(&search, &e, &r); /* the first after it */
    assert_true(!r.warmup && r.count == 4);
    assert_int_equal(search.updates, 1);
    assert_memory_not_equal(&before, &search.prior, sizeof before);
}

static void weights_are_a_softmax_and_survive_large_numbers(void **state) {
    (void)state;
    /* exp(l / T) as 1 : 2 : 1, far below where exp would be 0. */
    const double l[] = {-1e5, -1e5 + 8 * log(2), -1e5};
    double w[3];
    double ess = pn_importance_weights(l, 3, 8, w);
    assert_true(fabs(w[0] - 0.25) < 1e-11 && fabs(w[1] - 0.5) < 1e-11 && w[2] == w[0]);
    assert_true(fabs(ess - 1 / 0.375) < 1e-10);
    const double far[] = {0, -1e6, -1e6};
    assert_true(pn_importance_weights(far, 3, 1, w) == 1 && w[0] == 1 && w[1] == 0);
    const double same[] = {-7, -7, -7};
    assert_true(fabs(pn_importance_weights(same, 3, 1, w) - 3) < 1e-15);
}

/* The report against its definition, from the table itself. */
static void report_says_what_happened(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    t.slope[TRAIN] = -6;
    t.slope[VAL] = -3;
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_practical(10, 64);
    pn_search search;
    pn_step_report r;
    s.warmup = 0;
    s.samples = 4;
    s.temperature = 5;
    s.temperature_v = 2;
    start(&search, &space, &s);
    double log_uniform = -pn_prior_entropy(&search.prior, NULL);
    step(&search, &e, &r);

    double sum[2] = {0}, w[2] = {0}, squares[2] = {0};
    for (int k = 0; k < 4; k++) {
        double x = score(&t, &r.arch[k]);
        sum[TRAIN] += 6 * x;
        sum[VAL] += 3 * x;
        w[TRAIN] += exp(-6 * x / 2);
        w[VAL] += exp(-3 * x / 5);
        assert_true(fabs(r.log_p[k] - log_uniform) < 1e-12);
        assert_int_equal(r.evaluation[k].bytes, 1000 + k);
    }
    for (int k = 0; k < 4; k++) {
        double x = score(&t, &r.arch[k]);
        double v = exp(-6 * x / 2) / w[TRAIN], pi = exp(-3 * x / 5) / w[VAL];
        assert_true(fabs(r.weight_v[k] - v) < 1e-12 && fabs(r.weight_pi[k] - pi) < 1e-12);
        squares[TRAIN] += v * v;
        squares[VAL] += pi * pi;
    }
    assert_true(fabs(r.ess_v - 1 / squares[TRAIN]) < 1e-10);
    assert_true(fabs(r.ess_pi - 1 / squares[VAL]) < 1e-10);
    assert_true(fabs(r.train_loss - sum[TRAIN] / (4 * 64)) < 1e-12);
    assert_true(fabs(r.val_loss - sum[VAL] / (4 * 64)) < 1e-12);
    assert_true(r.train_accuracy == 10.0 / 256 && r.val_accuracy == 12.0 / 256);
    assert_int_equal(r.skipped, 1);
    assert_int_equal(r.step, 0);
    assert_true(r.gradient_norm_v == 0.5);
    assert_true(r.entropy == pn_prior_entropy(&search.prior, NULL));
    assert_true(r.entropy < -log_uniform);
}

static void rate_of_v_is_a_cosine_over_all_steps(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_practical(100, 64);
    pn_search search;
    pn_step_report r;
    start(&search, &space, &s);
    double before = INFINITY;
    for (int i = 0; i < 100; i++) {
        t.calls[0] = 0;
        step(&search, &e, &r);
        assert_true(t.rate == r.rate_v && r.rate_v < before);
        before = r.rate_v;
        if (i == 0) assert_true(r.rate_v == 0.025);
        if (i == 50) assert_true(fabs(r.rate_v - 0.013) < 1e-15);
    }
    /* One step before the end: 1 - cos(pi / 100) = 4.934e-4. */
    assert_true(fabs(r.rate_v - (0.001 + 0.024 * 4.934e-4 / 2)) < 1e-9);
}

/* Adam as its authors write it (Kingma and Ba 2015, algorithm 1), with the sign turned. */
static void pi_moves_by_adam(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_practical(40, 64);
    pn_search search;
    pn_step_report r;
    s.warmup = 10; /* bias correction counts updates of pi, not steps */
    s.temperature = 2;
    start(&search, &space, &s);
    double x[PN_MAX_LOGITS] = {0}, m[PN_MAX_LOGITS] = {0}, v[PN_MAX_LOGITS] = {0};
    for (int i = 0; i < 30; i++) {
        pn_prior before = search.prior;
        t.calls[0] = 0;
        step(&search, &e, &r);
        if (i < 10) continue;
        double g[PN_MAX_LOGITS] = {0}, squares = 0;
        for (int k = 0; k < 4; k++)
            pn_prior_gradient(&before, &r.arch[k], r.weight_pi[k] - 0.25, g);
        for (int j = 0; j < 168; j++) {
            squares += g[j] * g[j];
            m[j] = 0.5 * m[j] + 0.5 * g[j];
            v[j] = 0.999 * v[j] + 0.001 * g[j] * g[j];
            double m_hat = m[j] / (1 - pow(0.5, i - 9)), v_hat = v[j] / (1 - pow(0.999, i - 9));
            x[j] += 0.1 * m_hat / (sqrt(v_hat) + 1e-8);
            assert_true(fabs(search.prior.logit[j] - x[j]) < 1e-11);
        }
        assert_true(fabs(r.gradient_norm_pi - sqrt(squares)) < 1e-12);
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

static void a_number_that_is_none_stops_the_search_as_it_was(void **state) {
    (void)state;
    static const struct {
        const char *named;
        int sample;
        half half;
        double value;
    } bad[] = {
        {"step 3, sample 2: validation log-likelihood is nan", 2, VAL, NAN},
        {"step 3, sample 0: training log-likelihood is nan", 0, TRAIN, NAN},
        {"step 3, sample 3: validation log-likelihood is -inf", 3, VAL, -INFINITY},
        {"step 3, sample 1: training log-likelihood is inf", 1, TRAIN, INFINITY},
        {"step 3: norm of the weights' gradient is inf", PN_MAX_SAMPLES, TRAIN, INFINITY},
    };
    pn_space space = pn_space_darts();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        table t = make_table(&space, 1);
        pn_evaluator e = evaluator_of(&t);
        pn_search_settings s = pn_rule_practical(10, 64);
        pn_search search, before;
        pn_step_report r;
        char text[PN_SHORT_BYTES];
        s.warmup = 2;
        start(&search, &space, &s);
        for (int k = 0; k < 3; k++) step(&search, &e, &r);
        before = search;
        t.bad_sample = bad[i].sample;
        t.bad_half = bad[i].half;
        t.bad = bad[i].value;
        assert_int_equal(pn_search_step(&search, &e, &r), PN_EDIVERGED);
        if (!strstr(pn_error(), bad[i].named)) fail_msg("%s", pn_error());
        pn_genotype_short(&space, &t.arch[TRAIN][bad[i].sample % PN_MAX_SAMPLES], text);
        assert_non_null(strstr(pn_error(), text));
        assert_memory_equal(&search, &before, sizeof search);
    }
}

static void a_failing_call_ends_the_step_at_once(void **state) {
    (void)state;
    static const char *const done[] = {"b", "bt", "bttv", "bttvvu", "bttvvuf"};
    pn_space space = pn_space_darts();
    for (int i = 0; i < 5; i++) {
        table t = make_table(&space, 1);
        pn_evaluator e = evaluator_of(&t);
        pn_search_settings s = pn_rule_paper(10);
        pn_search search, before;
        pn_step_report r;
        s.samples = 2;
        start(&search, &space, &s);
        before = search;
        t.fails = "btvuf"[i];
        assert_int_equal(pn_search_step(&search, &e, &r), PN_EINTR);
        assert_string_equal(pn_error(), "interrupted");
        assert_string_equal(t.calls, done[i]);
        assert_memory_equal(&search, &before, sizeof search);
    }
}

/* ---- going on -------------------------------------------------------------------------------- */

static void a_restored_search_continues_to_the_bit(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_practical(60, 64);
    static const int stops[] = {0, 13, 30, 41, 60}; /* start, warm-up, its end, after it, end */
    for (int i = 0; i < 5; i++) {
        pn_search straight, first, second;
        pn_step_report r, again;
        double saved[3 * PN_MAX_LOGITS + 2];
        start(&straight, &space, &s);
        start(&first, &space, &s);
        start(&second, &space, &s);
        for (int k = 0; k < stops[i]; k++) {
            t.calls[0] = 0;
            step(&straight, &e, &r);
            step(&first, &e, &r);
        }
        assert_int_equal(pn_search_state_count(&first), 3 * 168 + 2);
        pn_search_save(&first, saved);
        assert_int_equal(pn_search_restore(&second, saved, 3 * 168 + 2), PN_OK);
        for (int k = stops[i]; k < 60; k++) {
            t.calls[0] = 0;
            step(&straight, &e, &r);
            step(&second, &e, &again);
            assert_memory_equal(&r, &again, sizeof r);
        }
        assert_memory_equal(&straight, &second, sizeof straight);
    }
}

static void evidence_is_restored_to_the_bit(void **state) {
    (void)state;
    enum { STEPS = 70 };
    pn_space space = pn_space_darts();
    table t = make_table(&space, 1);
    pn_evaluator e = evaluator_of(&t);
    pn_search_settings s = pn_rule_evidence(STEPS);
    s.warmup = 35;
    s.restart = 20;
    static pn_search straight, second;
    static double saved[3 * 168 + 2 + PN_MOST_EFFECTS_STATE];
    static const int stops[] = {0, 1, 34, 35, 50, STEPS};
    for (int i = 0; i < 6; i++) {
        pn_step_report r, again;
        start(&straight, &space, &s);
        start(&second, &space, &s);
        const int count = pn_search_state_count(&straight);
        assert_int_equal(count, 3 * 168 + 2 + PN_MOST_EFFECTS_STATE);
        for (int k = 0; k < stops[i]; k++) {
            t.calls[0] = 0;
            step(&straight, &e, &r);
        }
        pn_search_save(&straight, saved);
        assert_int_equal(pn_search_restore(&second, saved, count), PN_OK);
        for (int k = stops[i]; k < STEPS; k++) {
            t.calls[0] = 0;
            step(&straight, &e, &r);
            step(&second, &e, &again);
            assert_memory_equal(&r, &again, sizeof r);
        }
        assert_memory_equal(&straight, &second, sizeof straight);
        assert_int_equal(pn_search_restore(&second, saved, 3 * 168 + 2), PN_EINPUT);
        saved[3 * 168 + 2] += 1; /* samples that were not steps */
        assert_int_equal(pn_search_restore(&second, saved, count), PN_EINPUT);
        assert_memory_equal(&straight, &second, sizeof straight);
    }
}

static void a_state_that_cannot_be_is_refused(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_search_settings s = pn_rule_practical(60, 64);
    pn_search search, before;
    double good[3 * 168 + 2], bad[3 * 168 + 2];
    start(&search, &space, &s);
    before = search;
    pn_search_save(&search, good);
    static const struct {
        int at;
        double value;
    } wrong[] = {{0, NAN},  {167, INFINITY}, {2 * 168, -1}, {504, -1},
                 {504, 61}, {504, 0.5},      {505, 1},      {505, -1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(bad, good, sizeof bad);
        bad[wrong[i].at] = wrong[i].value;
        assert_int_equal(pn_search_restore(&search, bad, 506), PN_EINPUT);
        assert_memory_equal(&search, &before, sizeof search);
    }
    assert_int_equal(pn_search_restore(&search, good, 505), PN_EINPUT);
}

/* ---- the estimator --------------------------------------------------------------------------- */

/* A small space with a prior and a table, and everything about it that can be summed. g(a) is
 * d log p(a) / d logits in its textbook form: the indicators of a minus their means. */
typedef struct exact {
    pn_prior prior;
    table t;
    int n;                     /* architectures */
    double p[LIMIT], w[LIMIT]; /* p(a), exp(l_a / T) */
    double g[LIMIT][PN_MAX_LOGITS];
    double z;                       /* sum_a p(a) w(a) */
    double gradient[PN_MAX_LOGITS]; /* d log z / d logits */
} exact;

static void sum_up(exact *x, int kinds, int nodes, int ops, bool distinct, double spread,
                   double temperature) {
    pn_space space = pn_small_space(kinds, nodes, ops);
    pn_factor factor[PN_MAX_FACTORS];
    memset(x, 0, sizeof *x);
    assert_int_equal(pn_prior_init(&x->prior, &space, distinct), PN_OK);
    pn_random_logits(&x->prior, 1, 31);
    x->t = make_table(&space, 32);
    x->t.noise = 1;
    x->t.slope[VAL] = spread;
    x->n = pn_enumerate(&space, distinct, all, LIMIT);
    int factors = pn_factors(&space, factor);
    double mean[PN_MAX_LOGITS] = {0};
    for (int a = 0; a < x->n; a++) {
        x->p[a] = exp(pn_prior_log_p(&x->prior, &all[a]));
        x->w[a] = exp(spread * score(&x->t, &all[a]) / temperature);
        x->z += x->p[a] * x->w[a];
        for (int f = 0; f < factors; f++) {
            pn_choice c = all[a].cell[factor[f].kind].term[factor[f].node][factor[f].slot];
            int choice = factor[f].ops ? PN_MAX_OPS - 1 - c.op : c.input;
            x->g[a][factor[f].first + choice] = 1;
            mean[factor[f].first + choice] += x->p[a];
        }
    }
    for (int a = 0; a < x->n; a++)
        for (int j = 0; j < x->prior.count; j++) {
            x->g[a][j] -= mean[j];
            x->gradient[j] += x->p[a] * x->w[a] / x->z * x->g[a][j];
        }
}

/* What a step computes for a tuple of architectures, by the code. */
static void by_code(const exact *x, const int *tuple, int K, double temperature, bool baseline,
                    double *gradient) {
    pn_arch arch[8];
    double l[8], w[8];
    for (int k = 0; k < K; k++) {
        arch[k] = all[tuple[k]];
        l[k] = x->t.slope[VAL] * score(&x->t, &arch[k]);
    }
    memset(gradient, 0, PN_MAX_LOGITS * sizeof *gradient);
    pn_importance_weights(l, K, temperature, w);
    pn_pi_gradient(&x->prior, arch, w, K, baseline ? 1.0 / K : 0, gradient);
}

/* The same by the formula. */
static void by_formula(const exact *x, const int *tuple, int K, bool baseline, double *gradient) {
    double sum = 0;
    for (int k = 0; k < K; k++) sum += x->w[tuple[k]];
    memset(gradient, 0, PN_MAX_LOGITS * sizeof *gradient);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < x->prior.count; j++)
            gradient[j] += (x->w[tuple[k]] / sum - (baseline ? 1.0 / K : 0)) * x->g[tuple[k]][j];
}

/* The expectation over all n^K tuples; and the mean square, where wanted. */
static void expect(const exact *x, int K, double temperature, bool baseline, bool code,
                   double *mean, double *mean_square) {
    int tuple[8] = {0};
    double gradient[PN_MAX_LOGITS];
    memset(mean, 0, PN_MAX_LOGITS * sizeof *mean);
    if (mean_square) memset(mean_square, 0, PN_MAX_LOGITS * sizeof *mean_square);
    for (int k = 0; k < K;) {
        double p = 1;
        for (int i = 0; i < K; i++) p *= x->p[tuple[i]];
        if (code)
            by_code(x, tuple, K, temperature, baseline, gradient);
        else
            by_formula(x, tuple, K, baseline, gradient);
        for (int j = 0; j < x->prior.count; j++) {
            mean[j] += p * gradient[j];
            if (mean_square) mean_square[j] += p * gradient[j] * gradient[j];
        }
        for (k = 0; k < K && ++tuple[k] == x->n; k++) tuple[k] = 0;
    }
}

static exact x; /* some megabytes */

static void the_code_has_the_expectation_of_the_formula(void **state) {
    (void)state;
    static const struct {
        int ops, K;
        bool distinct, baseline;
        double temperature;
    } cases[] = {{2, 2, false, false, 1},
                 {2, 3, false, true, 1},
                 {2, 2, true, true, 4},
                 {2, 3, true, false, 4}};
    for (int i = 0; i < 4; i++) {
        double T = cases[i].temperature, a[PN_MAX_LOGITS], b[PN_MAX_LOGITS];
        sum_up(&x, 1, 1, cases[i].ops, cases[i].distinct, 3, T);
        expect(&x, cases[i].K, T, cases[i].baseline, true, a, NULL);
        expect(&x, cases[i].K, T, cases[i].baseline, false, b, NULL);
        for (int j = 0; j < x.prior.count; j++) assert_true(fabs(a[j] - b[j]) < 1e-13);
    }
}

static void the_baseline_changes_no_expectation(void **state) {
    (void)state;
    for (int distinct = 0; distinct < 2; distinct++)
        for (int K = 2; K <= 3; K++) {
            double with[PN_MAX_LOGITS], without[PN_MAX_LOGITS], norm = 0;
            sum_up(&x, 1, 1, 2, distinct, 3, 1);
            expect(&x, K, 1, true, true, with, NULL);
            expect(&x, K, 1, false, true, without, NULL);
            for (int j = 0; j < x.prior.count; j++) {
                assert_true(fabs(with[j] - without[j]) < 1e-13);
                norm += with[j] * with[j];
            }
            assert_true(norm > 1e-4); /* or nothing would have been compared */
        }
}

/* And it does what it is for: at nearly equal weights the noise is all gone but the signal. */
static void the_baseline_takes_noise_away(void **state) {
    (void)state;
    double mean[PN_MAX_LOGITS], square[2][PN_MAX_LOGITS], total[2] = {0};
    sum_up(&x, 1, 1, 2, true, 1, 8);
    for (int with = 0; with < 2; with++) {
        expect(&x, 3, 8, with, false, mean, square[with]);
        for (int j = 0; j < x.prior.count; j++) total[with] += square[with][j] - mean[j] * mean[j];
    }
    assert_true(total[1] < 0.05 * total[0]);
}

/* A ratio of means has the bias  -(1/K) sum_a p(a) (w(a)/z)^2 (g(a) - G) + O(1/K^2): so K times
 * the bias tends to that sum, and its distance from it halves when K doubles. */
static void the_bias_is_of_order_one_over_k(void **state) {
    (void)state;
    for (int distinct = 0; distinct < 2; distinct++) {
        double limit[PN_MAX_LOGITS] = {0}, off[7] = {0}, bias[7] = {0};
        sum_up(&x, 1, 1, distinct ? 2 : 1, distinct, 1, 1);
        for (int a = 0; a < x.n; a++)
            for (int j = 0; j < x.prior.count; j++)
                limit[j] -= x.p[a] * pow(x.w[a] / x.z, 2) * (x.g[a][j] - x.gradient[j]);
        for (int K = 1; K <= 6; K++) {
            double mean[PN_MAX_LOGITS];
            expect(&x, K, 1, false, false, mean, NULL);
            for (int j = 0; j < x.prior.count; j++) {
                bias[K] += pow(mean[j] - x.gradient[j], 2);
                off[K] += pow(K * (mean[j] - x.gradient[j]) - limit[j], 2);
            }
            if (K > 1) assert_true(bias[K] < bias[K - 1]);
        }
        for (int K = 2; K <= 3; K++) {
            double ratio = sqrt(off[2 * K] / off[K]);
            assert_true(ratio > 0.4 && ratio < 0.6);
        }
    }
}

/* With K draws the estimator scatters around the exact gradient with the variance of its
 * influence function, V/K, V = sum_a p ((w/z)(g - G) - b g)^2, b = 1 with the baseline, and is
 * biased as above. 5.5 standard errors, of some 200 numbers: 1e-5 to fail by chance. */
static void many_samples_give_the_exact_gradient(void **state) {
    (void)state;
    enum { K = 20000 };
    static const struct {
        int kinds, nodes, ops;
        bool distinct, baseline;
    } cases[] = {{1, 2, 3, false, false},
                 {1, 2, 3, true, true},
                 {2, 1, 4, false, true},
                 {1, 1, 7, true, false}};
    static pn_arch arch[K];
    static double l[K], w[K];
    for (int i = 0; i < 4; i++) {
        const double T = 2;
        sum_up(&x, cases[i].kinds, cases[i].nodes, cases[i].ops, cases[i].distinct, 4, T);
        for (int k = 0; k < K; k++) {
            pn_prior_sample(&x.prior, 41, (uint64_t)i, (uint64_t)k, &arch[k]);
            l[k] = 4 * score(&x.t, &arch[k]);
        }
        double gradient[PN_MAX_LOGITS] = {0};
        pn_importance_weights(l, K, T, w);
        pn_pi_gradient(&x.prior, arch, w, K, cases[i].baseline ? 1.0 / K : 0, gradient);
        for (int j = 0; j < x.prior.count; j++) {
            double variance = 0, bias = 0;
            for (int a = 0; a < x.n; a++) {
                double ratio = x.w[a] / x.z, off = x.g[a][j] - x.gradient[j];
                variance += x.p[a] * pow(ratio * off - (cases[i].baseline ? x.g[a][j] : 0), 2);
                bias += x.p[a] * ratio * ratio * off;
            }
            double bound = 5.5 * sqrt(variance / K) + 2 * fabs(bias) / K;
            assert_true(fabs(gradient[j] - x.gradient[j]) < bound);
            assert_true(bound < 0.1); /* the gradients themselves go up to about 0.3 */
        }
    }
}

/* The whole way through the step: drawn, evaluated, weighted and paired with the right
 * architecture. pi is held still by a rate that changes no logit. */
static void steps_have_the_expectation_of_the_formula(void **state) {
    (void)state;
    enum { STEPS = 20000, K = 3 };
    double mean[PN_MAX_LOGITS], square[PN_MAX_LOGITS], got[PN_MAX_LOGITS] = {0};
    sum_up(&x, 1, 1, 2, true, 4, 2);
    expect(&x, K, 2, true, false, mean, square);

    pn_search_settings s = pn_rule_practical(STEPS, 64);
    pn_search search;
    pn_step_report r;
    pn_evaluator e = evaluator_of(&x.t);
    s.freeze_weights = true;
    s.samples = K;
    s.temperature = 2;
    s.rate_pi = 1e-300;
    start(&search, &x.prior.space, &s);
    memcpy(search.prior.logit, x.prior.logit, sizeof x.prior.logit);
    for (int i = 0; i < STEPS; i++) {
        x.t.calls[0] = 0;
        step(&search, &e, &r);
        pn_pi_gradient(&x.prior, r.arch, r.weight_pi, K, 1.0 / K, got);
    }
    for (int j = 0; j < x.prior.count; j++) {
        double error = sqrt((square[j] - mean[j] * mean[j]) / STEPS);
        assert_true(fabs(got[j] / STEPS - mean[j]) < 5.5 * error);
        assert_true(search.prior.logit[j] == x.prior.logit[j]);
    }
}

/* ---- does it search? ------------------------------------------------------------------------- */

/* A best architecture is planted in the whole space: each of its 32 choices is the best of its
 * factor by a margin, and an architecture has a lot of its own that no factor explains. The
 * scores have a spread of about 1 in units of the temperature. */
static void a_planted_optimum_is_found(void **state) {
    (void)state;
    enum { STEPS = 1500, SEEDS = 20 };
    pn_space space = pn_space_darts();
    int reached = 0;
    double optimum = 0, found = 0, drawn = 0; /* scores, means over the seeds */
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        pn_search_settings s = pn_rule_practical(STEPS, 64);
        pn_search search;
        pn_step_report r;
        pn_prior uniform;
        pn_arch planted, mode, a;
        table t = make_table(&space, 100 + seed);
        s.freeze_weights = true;
        s.seed = seed;
        start(&search, &space, &s);
        uniform = search.prior;
        pn_prior_sample(&uniform, 50 + seed, 0, 0, &planted);
        double first[PN_MAX_LOGITS] = {0};
        pn_prior_gradient(&uniform, &planted, 1, first);
        for (int j = 0; j < 168; j++)
            if (first[j] > 0) t.score[j] = 1.5; /* the others are below 1 */
        t.slope[VAL] = s.temperature / 2;
        t.noise = 0.5;
        pn_evaluator e = evaluator_of(&t);

        double best = -INFINITY;
        for (int i = 0; i < STEPS; i++) {
            t.calls[0] = 0;
            step(&search, &e, &r);
            for (int k = 0; k < s.samples; k++) { /* as many, drawn blindly */
                pn_prior_sample(&uniform, seed, STEPS + (uint64_t)i, (uint64_t)k, &a);
                best = fmax(best, score(&t, &a));
            }
        }
        pn_prior_mode(&search.prior, &mode);
        reached += !memcmp(&mode, &planted, sizeof mode);
        optimum += score(&t, &planted) / SEEDS;
        found += score(&t, &mode) / SEEDS;
        drawn += best / SEEDS;
    }
    print_message(
        "planted optimum (score %.2f): mode is it for %d of %d seeds after %d "
        "evaluations, mean score %.2f; best of as many uniform draws, mean %.2f\n",
        optimum, reached, SEEDS, 4 * STEPS, found, drawn);
    assert_true(reached >= 19);
}

/* ---- health ---------------------------------------------------------------------------------- */

/* A prior whose mode is the architecture: `sure` is the logit of each of its choices. */
static void prior_of(const pn_space *space, const pn_arch *arch, double sure, pn_prior *prior) {
    double indicators[PN_MAX_LOGITS] = {0};
    assert_int_equal(pn_prior_init(prior, space, false), PN_OK);
    pn_prior_gradient(prior, arch, 1, indicators);
    for (int j = 0; j < prior->count; j++) prior->logit[j] = indicators[j] > 0 ? sure : 0;
}

static void read_genotype(const char *text, pn_arch *arch) {
    if (pn_genotype_read(text, strlen(text), arch) != PN_OK) fail_msg("%s", pn_error());
}

static bool warned(const pn_health *h, const char *word) {
    for (int i = 0; i < h->warnings; i++)
        if (strstr(h->warning[i], word)) return true;
    return false;
}

static void published_cells_are_healthy(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_prior prior;
    pn_health h;
    pn_arch arch;
    static const struct {
        double normal, reduce, input0;
    } want[] = {{3 / 8.0, 1, 8 / 16.0},
                {2 / 8.0, 1, 6 / 16.0},
                {2 / 8.0, 2 / 8.0, 6 / 16.0},
                {2 / 8.0, 1 / 8.0, 6 / 16.0}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) { /* those of two terms a node */
        assert_non_null(pn_genotype_published((int)i, &arch));
        prior_of(&space, &arch, 60, &prior); /* so sure that probabilities are 0 and 1 */
        pn_health_check(&prior, 20, &h);
        assert_true(h.free_ops[PN_NORMAL] == want[i].normal);
        assert_true(h.free_ops[PN_REDUCTION] == want[i].reduce);
        assert_true(h.free_ops_all == (want[i].normal + want[i].reduce) / 2);
        assert_true(fabs(h.input[0] - want[i].input0) < 1e-9);
        assert_int_equal(h.reached, 20);
        assert_true(warned(&h, "entropy") && h.warnings == 1);

        prior_of(&space, &arch, 3, &prior); /* undecided enough */
        pn_health_check(&prior, 20, &h);
        if (h.warnings) fail_msg("%s", h.warning[0]);
    }
}

static void a_uniform_prior_gives_input_0_a_third(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_prior prior;
    pn_health h;
    assert_int_equal(pn_prior_init(&prior, &space, true), PN_OK);
    pn_health_check(&prior, 8, &h);
    double sum = 0;
    for (int i = 0; i < 5; i++) sum += h.input[i];
    assert_true(fabs(sum - 1) < 1e-12);
    assert_true(fabs(h.input[0] - (1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0) / 4) < 1e-12);
    assert_true(fabs(h.input[4] - 1 / 20.0) < 1e-12); /* offered by the last node alone */
    assert_true(fabs(h.entropy - h.entropy_uniform) < 1e-12);
}

static void collapse_is_named(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_prior prior;
    pn_health h;
    pn_arch arch;
    read_genotype(
        "normal sk@0 sk@0 | sk@0 sk@0 | sk@0 ap@0 | mp@0 s3@0 "
        "reduce s3@0 s3@0 | s3@0 s3@0 | s3@0 s3@0 | s3@0 s3@0",
        &arch);
    prior_of(&space, &arch, 60, &prior);
    pn_health_check(&prior, 8, &h);
    assert_true(h.free_ops[PN_NORMAL] == 7 / 8.0 && h.free_ops[PN_REDUCTION] == 0);
    assert_true(fabs(h.input[0] - 1) < 1e-9);
    assert_int_equal(h.reached, 4);
    assert_int_equal(h.warnings, 4);
    assert_true(warned(&h, "88 % of the normal cell's terms"));
    assert_true(warned(&h, "input 0 has a mean probability of 1.00 (limit 0.55)"));
    assert_true(warned(&h, "only 4 of the mode's 8 cells reach the head"));
    assert_true(warned(&h, "entropy of pi is 0.00 nats (limit 5.03"));
}

static void bypassed_cells_are_counted(void **state) {
    (void)state;
#define FOUR(x) x " " x " | " x " " x " | " x " " x " | " x " " x
    static const struct {
        const char *why, *text;
        int layers, reached;
    } cases[] = {
        {"both inputs read: all",
         "normal s3@0 s3@1 | s3@2 s3@2 | s3@2 s3@2 | s3@2 s3@2 "
         "reduce s3@0 s3@1 | s3@2 s3@2 | s3@2 s3@2 | s3@2 s3@2",
         20, 20},
        {"only the cell before: a chain of all", "normal " FOUR("s3@1") " reduce " FOUR("s3@1"), 8,
         8},
        {"only the one before that: every second", "normal " FOUR("s3@0") " reduce " FOUR("s3@0"),
         8, 4},
        {"the same, odd", "normal " FOUR("s3@0") " reduce " FOUR("s3@0"), 5, 3},
        /* Of 5 cells 1 and 3 are reductions. Normal cells that read only input 0 skip both. */
        {"both reductions bypassed", "normal " FOUR("s3@0") " reduce " FOUR("s3@1"), 5, 3},
        /* The other way round: 4 reads 3, which reads 1, which reads -1. */
        {"reductions skip the normal cell between", "normal " FOUR("s3@1") " reduce " FOUR("s3@0"),
         5, 3},
        /* Of 8 cells 2 and 5 are reductions: 7 6 5, then 3 2, then 0. */
        {"reductions skip one each", "normal " FOUR("s3@1") " reduce " FOUR("s3@0"), 8, 6},
        {"one cell", "normal " FOUR("s3@0") " reduce " FOUR("s3@0"), 1, 1},
        {"two cells, both reductions, the first skipped",
         "normal " FOUR("s3@1") " reduce " FOUR("s3@0"), 2, 1},
    };
    pn_space space = pn_space_darts();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_arch arch;
        read_genotype(cases[i].text, &arch);
        int reached = pn_cells_reached(&space, &arch, cases[i].layers);
        if (reached != cases[i].reached)
            fail_msg("%s: %d, want %d", cases[i].why, reached, cases[i].reached);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_are_what_they_are_called),
        cmocka_unit_test(the_rule_follows_what_is_asked_for),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(calls_come_in_the_promised_order),
        cmocka_unit_test(by_evidence_every_step_trains_one),
        cmocka_unit_test(weights_begin_anew),
        cmocka_unit_test(both_halves_see_the_same_architectures),
        cmocka_unit_test(warm_up_leaves_pi_alone_and_draws_uniformly),
        cmocka_unit_test(weights_are_a_softmax_and_survive_large_numbers),
        cmocka_unit_test(report_says_what_happened),
        cmocka_unit_test(rate_of_v_is_a_cosine_over_all_steps),
        cmocka_unit_test(pi_moves_by_adam),
        cmocka_unit_test(a_number_that_is_none_stops_the_search_as_it_was),
        cmocka_unit_test(a_failing_call_ends_the_step_at_once),
        cmocka_unit_test(a_restored_search_continues_to_the_bit),
        cmocka_unit_test(evidence_is_restored_to_the_bit),
        cmocka_unit_test(a_state_that_cannot_be_is_refused),
        cmocka_unit_test(the_code_has_the_expectation_of_the_formula),
        cmocka_unit_test(the_baseline_changes_no_expectation),
        cmocka_unit_test(the_baseline_takes_noise_away),
        cmocka_unit_test(the_bias_is_of_order_one_over_k),
        cmocka_unit_test(many_samples_give_the_exact_gradient),
        cmocka_unit_test(steps_have_the_expectation_of_the_formula),
        cmocka_unit_test(a_planted_optimum_is_found),
        cmocka_unit_test(published_cells_are_healthy),
        cmocka_unit_test(a_uniform_prior_gives_input_0_a_third),
        cmocka_unit_test(collapse_is_named),
        cmocka_unit_test(bypassed_cells_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
