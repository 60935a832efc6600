/* test_method.c -- what every method of search keeps: its state continues to the bit, a step that
 * fails changes nothing, damaged states and options of other methods are refused; and PARSEC's
 * numbers are those that were recorded before it became one of several.
 *
 * The evaluator is a function of architecture, step and pass, without a network. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/methods/adam.h"
#include "search/methods/method.h"
#include "search/methods/mixture.h"
#include "search/methods/parsec.h"
#include "search/methods/resource.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { BATCH = 32 };

static const pn_data like = {.count = 2000, .H = 8, .W = 8, .C = 3, .classes = 10};

/* ---- an evaluator without a network ---------------------------------------------------------- */

typedef struct fake {
    int64_t step;
    int calls, fails; /* the call, from 1, that fails; 0: none */
    pn_arch train[PN_MAX_SAMPLES], val[PN_MAX_SAMPLES];
    int trained, validated;
    bool coarse; /* scores are */
    bool bad;    /* log-likelihoods, or one gradient, that are no numbers */
    int mixes[2];
    double place;                                    /* of the weights: see slope_at */
    double norm;                                     /* that looking ahead gives */
    double keep;                                     /* of drop, in this step */
    bool has_mixed;                                  /* on the training half, in this step */
    double mixed[PN_MAX_MIX], of_weight[PN_MAX_MIX]; /* of the last mix */
} fake;

static pn_status called(fake *f) {
    return ++f->calls == f->fails ? pn_fail(PN_EINTR, "interrupted") : PN_OK;
}

/* Sum over a batch: an op is worth its number, and every architecture a bit of its own. */
static double likelihood(const pn_arch *a, uint64_t pass, int64_t step) {
    uint64_t number = 0;
    double worth = 0;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const pn_choice c = a->cell[kind].term[node][slot];
                number = (number * 1000003 + c.op) % ((uint64_t)1 << 40);
                number = (number * 1000003 + c.input) % ((uint64_t)1 << 40);
                worth += 0.02 * c.op;
            }
    return BATCH * (worth - 2.5 + 0.2 * pn_uniform(pass, PN_STREAM_TEST, (uint64_t)step, number));
}

static pn_status begin(void *self, int64_t step) {
    fake *f = self;
    f->step = step;
    f->trained = f->validated = 0;
    f->has_mixed = false;
    f->place = 0;
    f->keep = 1;
    return called(f);
}

static pn_status train(void *self, int k, const pn_arch *a) {
    fake *f = self;
    assert_int_equal(k, f->trained);
    f->train[f->trained++] = *a;
    return called(f);
}

static pn_status validate(void *self, int k, const pn_arch *a) {
    fake *f = self;
    assert_int_equal(k, f->validated);
    f->val[f->validated++] = *a;
    return called(f);
}

static pn_status update(void *self, double rate) {
    assert_true(rate >= 0);
    return called(self);
}

static pn_status finish(void *self, int count, pn_evaluation *out, double *norm) {
    fake *f = self;
    for (int k = 0; k < count; k++) {
        out[k] = (pn_evaluation){.bytes = 1000};
        if (k < f->trained) {
            out[k].train_ll = f->bad ? NAN : likelihood(&f->train[k], 1, f->step);
            out[k].train_correct = k + 1;
        }
        if (k < f->validated) {
            out[k].val_ll = f->bad ? NAN : likelihood(&f->val[k], 2, f->step);
            out[k].val_correct = k + 2;
        }
    }
    if (f->has_mixed) out[0] = (pn_evaluation){f->bad ? NAN : -70, 0, 5, 0, 0, 2000};
    *norm = 0.5;
    return called(f);
}

static pn_status renew(void *self, int64_t time) {
    assert_true(time > 0);
    return called(self);
}

static pn_status score(void *self, const pn_arch *a, int64_t batches, pn_evaluation *out) {
    fake *f = self;
    *out = (pn_evaluation){.bytes = 500};
    for (int64_t i = 0; i < batches; i++) out->val_ll += likelihood(a, 3, i);
    out->val_correct = (int64_t)(out->val_ll + 3 * BATCH * (double)batches) / 4;
    if (f->coarse) *out = (pn_evaluation){.bytes = 500, .val_correct = out->val_correct / 4};
    if (f->bad) out->val_ll = NAN;
    return called(f);
}

/* A linear function of the weights, whose gradient is the same everywhere: 0.1 an op's number,
 * and a bit of its own. What is not chosen has none. */
static double worth_of(int half, int64_t step, int i) {
    return i % 8 ? 0.1 * (i % 8) + 0.05 * pn_uniform((uint64_t)half, PN_STREAM_TEST, (uint64_t)step,
                                                     (uint64_t)i)
                 : 0;
}

/* But at other weights it is larger by so much for each unit of what they differ by. */
static double slope_at(double place, int i) { return 1 + (0.3 + i % 5) * place; }

static pn_status mix(void *self, pn_step_half half, const double *weight, const int8_t *chosen) {
    fake *f = self;
    for (int i = 0; i < PN_MAX_MIX; i++) {
        const bool in = !chosen || (i % 8 && chosen[i / 8] == i % 8 - 1);
        f->of_weight[i] = in ? -worth_of(half, f->step, i) * slope_at(f->place, i) : 0;
        f->mixed[i] = chosen ? in : weight[i];
    }
    if (f->bad) f->of_weight[8 * 7 + 4] = NAN; /* normal, node 2, input 2: sep_conv_3x3 */
    f->mixes[half]++;
    f->has_mixed = half == PN_STEP_TRAIN;
    return called(f);
}

static pn_status mixed(void *self, pn_step_half half, pn_evaluation *out, double *of_weight) {
    fake *f = self;
    double worth = -2.5;
    for (int i = 0; i < PN_MAX_MIX; i++)
        worth += f->mixed[i] * worth_of(half, f->step, i) / PN_MAX_MIX_EDGES;
    *out = (pn_evaluation){.bytes = 2000};
    *(half == PN_STEP_TRAIN ? &out->train_ll : &out->val_ll) = BATCH * worth;
    *(half == PN_STEP_TRAIN ? &out->train_correct : &out->val_correct) = 5;
    memcpy(of_weight, f->of_weight, sizeof f->of_weight);
    return called(f);
}

/* Ahead by the rate, aside by the step over the norm: weights of one dimension. */
static pn_status ahead(void *self, double rate, double *norm) {
    fake *f = self;
    f->place = rate;
    *norm = f->norm;
    return called(f);
}

static pn_status aside(void *self, double distance, double *norm) {
    fake *f = self;
    f->place = f->norm == 0 ? 0 : distance / f->norm;
    *norm = f->norm;
    return called(f);
}

static pn_status drop(void *self, double keep) {
    fake *f = self;
    f->keep = keep;
    return called(f);
}

static const pn_network_spec network = {
    .layers = 8, .channels = 16, .H = 32, .W = 32, .image_channels = 3, .classes = 10};

static pn_evaluator evaluator_of(fake *f) {
    return (pn_evaluator){.self = f,
                          .batch = BATCH,
                          .network = &network,
                          .begin = begin,
                          .train = train,
                          .validate = validate,
                          .update = update,
                          .finish = finish,
                          .renew = renew,
                          .score = score,
                          .mix = mix,
                          .mixed = mixed,
                          .ahead = ahead,
                          .aside = aside,
                          .drop = drop};
}

/* ---- searches -------------------------------------------------------------------------------- */

typedef struct searching {
    const pn_method *method;
    pn_settings settings;
    void *self;
    fake f;
} searching;

/* Options: "name=value name=value". */
static pn_settings settings_of(const char *options) {
    pn_settings s = pn_settings_defaults();
    char words[512], *rest = words, *word;
    snprintf(words, sizeof words, "batch=32 %s", options);
    while ((word = strtok_r(rest, " ", &rest))) {
        char *value = strchr(word, '=');
        int i = 0;
        *value++ = 0;
        while (strcmp(pn_settings_fields.list[i].name, word) != 0)
            assert_true(++i < pn_settings_fields.count);
        if (pn_field_set(&s, &pn_settings_fields.list[i], value) != PN_OK)
            fail_msg("%s", pn_error());
    }
    return s;
}

static searching start(const char *options) {
    const pn_space space = pn_space_darts();
    searching s = {.settings = settings_of(options), .f = {.norm = 2.5}};
    s.method = pn_method_of(&s.settings);
    assert_non_null(s.method);
    if (pn_method_check(&s.settings) != PN_OK || pn_settings_resolve(&s.settings, &like) != PN_OK)
        fail_msg("%s: %s", options, pn_error());
    s.self = calloc(1, s.method->bytes);
    if (s.method->begin(s.self, &space, &s.settings) != PN_OK)
        fail_msg("%s: %s", options, pn_error());
    return s;
}

static pn_step_report report;

static void go_on(searching *s, int64_t steps) {
    const pn_evaluator e = evaluator_of(&s->f);
    for (int64_t i = 0; i < steps; i++)
        if (s->method->step(s->self, &e, &report) != PN_OK) fail_msg("%s", pn_error());
}

static double *state_of(const searching *s) {
    double *state = malloc((size_t)s->method->count(s->self) * sizeof *state);
    assert_non_null(state);
    s->method->save(s->self, state);
    return state;
}

static void assert_same_state(const searching *a, const searching *b) {
    const int count = a->method->count(a->self);
    assert_int_equal(count, b->method->count(b->self));
    double *x = state_of(a), *y = state_of(b);
    assert_memory_equal(x, y, (size_t)count * sizeof *x);
    free(x);
    free(y);
}

/* One row a way to search; 30 steps each. `recorded`: of a search as it is, or 0. */
static const struct {
    const char *why, *options;
    uint64_t recorded;
} searches[] = {
    {"the practical rule", "steps=30 rule=practical samples=3 warmup=8", 0x1fdeb24c4799c8e5},
    {"the literal rule", "steps=30 rule=paper samples=4", 0x205233568d49ac86},
    {"by evidence", "steps=30 rule=evidence restart=7 warmup=12", 0xed2c3b0830e1a40b},
    {"frozen weights", "steps=30 freeze-weights=1", 0xb797b7b6ea9382c4},
    {"as many samples as entropy", "steps=30 samples-per-nat=0.1 warmup=8 rate-pi=0.3", 0},
    {"random", "method=random steps=30 select=12 select-batches=3", 0},
    {"random, of which one cell is judged", "method=random steps=30", 0},
    {"DARTS", "method=darts steps=30 rate-alpha=0.1", 0},
    {"DARTS, second order", "method=darts order=2 steps=30 rate-alpha=0.1", 0},
    {"GDAS", "method=gdas steps=30 rate-alpha=0.1", 0},
    {"random, of which the best are judged again",
     "method=random steps=30 select=12 select-batches=2 finalists=5 final-batches=6", 0},
    {"SNAS", "method=snas steps=30 rate-alpha=0.1 decay-alpha=1", 0},
    {"SNAS, the expected cost, nothing dropped",
     "method=snas steps=30 rate-alpha=0.1 resource=aggressive resource-form=linear "
     "resource-of=expected drop-path=0",
     0},
    {"SNAS, its cost by policy gradient",
     "method=snas steps=30 rate-alpha=0.1 resource=aggressive resource-of=policy-gradient", 0},
    {"random, without training", "method=random steps=30 select=30", 0},
};
enum { SEARCHES = sizeof searches / sizeof *searches, STEPS = 30 };

/* ---- tests ----------------------------------------------------------------------------------- */

static void continued_to_the_bit(void **state) {
    (void)state;
    for (int i = 0; i < SEARCHES; i++)
        for (int64_t at = 0; at <= STEPS; at += 5) {
            searching alone = start(searches[i].options), again = start(searches[i].options);
            go_on(&alone, at);
            double *saved = state_of(&alone);
            if (again.method->restore(again.self, saved, again.method->count(again.self)) != PN_OK)
                fail_msg("%s: %s", searches[i].why, pn_error());
            assert_int_equal(again.method->position(again.self), at);
            go_on(&alone, STEPS - at);
            go_on(&again, STEPS - at);
            assert_same_state(&alone, &again);
            pn_arch a, b;
            alone.method->derive(alone.self, &a);
            again.method->derive(again.self, &b);
            assert_memory_equal(&a, &b, sizeof a);
            free(saved);
            free(alone.self);
            free(again.self);
        }
}

/* Each call of a step in turn; then numbers that are none. */
static void a_step_that_fails_changes_nothing(void **state) {
    (void)state;
    for (int i = 0; i < SEARCHES; i++)
        for (int64_t at = 0; at < STEPS; at += 7) {
            searching s = start(searches[i].options), same = start(searches[i].options);
            const pn_evaluator e = evaluator_of(&s.f);
            go_on(&s, at);
            go_on(&same, at);
            for (int call = 1; call < 2 * PN_MAX_SAMPLES; call++) {
                s.f.calls = 0;
                s.f.fails = call;
                if (s.method->step(s.self, &e, &report) == PN_OK) break;
                assert_same_state(&s, &same);
            }
            assert_int_equal(s.method->position(s.self), at + 1);
            same.f.bad = true;
            const pn_evaluator bad = evaluator_of(&same.f);
            assert_int_equal(same.method->step(same.self, &bad, &report), PN_EDIVERGED);
            same.f.bad = false;
            go_on(&same, 1);
            assert_same_state(&s, &same);
            free(s.self);
            free(same.self);
        }
}

static void damaged_states_are_refused(void **state) {
    (void)state;
    for (int i = 0; i < SEARCHES; i++) {
        searching s = start(searches[i].options), same = start(searches[i].options);
        const int count = s.method->count(s.self);
        go_on(&s, 20);
        go_on(&same, 20);
        double *good = state_of(&s);
        for (int at = 0; at < count; at++) {
            const double kept = good[at];
            good[at] = NAN;
            assert_int_equal(s.method->restore(s.self, good, count), PN_EINPUT);
            good[at] = INFINITY;
            assert_int_equal(s.method->restore(s.self, good, count), PN_EINPUT);
            good[at] = kept;
            assert_same_state(&s, &same);
        }
        assert_int_equal(s.method->restore(s.self, good, count - 1), PN_EINPUT);
        assert_int_equal(s.method->restore(s.self, good, count), PN_OK);
        assert_same_state(&s, &same);
        free(good);
        free(s.self);
        free(same.self);
    }
}

/* What a method says of itself fits together. */
static void beliefs(void **state) {
    (void)state;
    for (int i = 0; i < SEARCHES; i++) {
        searching s = start(searches[i].options);
        for (int at = 0; at <= STEPS; at += 10) {
            if (at) go_on(&s, 10);
            pn_belief b;
            pn_health h;
            char name[PN_NAME_BYTES], text[PN_METHOD_TEXT];
            const pn_space space = pn_space_darts();
            s.method->believe(s.self, &b);
            pn_health_of(&space, &b, 8, &h);
            assert_true(h.layers == 8 && (b.known ? h.reached >= 1 : h.reached == 0));
            double sum = 0;
            for (int k = 0; b.known && k < 5; k++) sum += b.input[k];
            if (b.known) assert_true(fabs(sum - 1) < 1e-9);
            const int columns = s.method->columns(s.self);
            double *p = malloc((size_t)(columns + 1) * sizeof *p);
            s.method->probabilities(s.self, p);
            for (int c = 0; c < columns; c++) {
                s.method->column(s.self, c, name);
                assert_true(p[c] >= 0 && p[c] <= 1 && strlen(name) > 3);
            }
            free(p);
            pn_arch found, top[3];
            double log_p[3];
            int count;
            s.method->derive(s.self, &found);
            s.method->conclude(s.self, &found, text);
            assert_true(strlen(text) > 10);
            assert_true(!s.method->prior == (s.method->log_p && s.method->draw && s.method->top));
            if (s.method->top) { /* log p of the same cell, whatever the order of its terms */
                assert_int_equal(s.method->top(s.self, 3, top, log_p, &count), PN_OK);
                assert_true(count == 3 && log_p[0] >= log_p[1] && log_p[1] >= log_p[2]);
                assert_true(fabs(log_p[0] - s.method->log_p(s.self, &found)) < 1e-9);
            }
            if (b.known && b.derived) assert_memory_equal(&found, &b.arch, sizeof found);
        }
        char text[PN_METHOD_TEXT];
        s.method->describe(&s.settings, text);
        assert_true(strlen(text) > 10);
        const double all = s.method->cost(&s.settings, STEPS);
        assert_true(s.method->cost(&s.settings, 0) == 0 && all > 0);
        for (int64_t step = 1; step <= STEPS; step++)
            assert_true(s.method->cost(&s.settings, step) > s.method->cost(&s.settings, step - 1));
        free(s.self);
    }
}

/* Seven decimals of all numbers of the state and of each step's report (FNV-1a): of equal
 * arithmetic, whatever the processor's libm does with the last bit. */
static void mix_in(uint64_t *hash, double x) {
    char text[512];
    snprintf(text, sizeof text, "%.7f,", fabs(x) < 0.5e-7 ? 0 : x);
    for (const char *c = text; *c; c++) *hash = (*hash ^ (uint8_t)*c) * 0x100000001b3u;
}

static void parsec_is_as_recorded(void **state) {
    (void)state;
    for (int i = 0; i < SEARCHES; i++) {
        if (!searches[i].recorded) continue;
        searching s = start(searches[i].options);
        uint64_t hash = 0xcbf29ce484222325u;
        for (int64_t step = 0; step < STEPS; step++) {
            go_on(&s, 1);
            const double of_step[] = {
                report.entropy,        report.ess_v,        report.ess_pi,
                report.train_loss,     report.val_loss,     report.rate_v,
                report.train_accuracy, report.val_accuracy, report.gradient_norm_pi};
            for (size_t k = 0; k < sizeof of_step / sizeof *of_step; k++) mix_in(&hash, of_step[k]);
            for (int k = 0; k < report.count; k++) {
                mix_in(&hash, report.log_p[k]);
                mix_in(&hash, report.weight_v[k]);
                mix_in(&hash, report.weight_pi[k]);
            }
        }
        double *numbers = state_of(&s);
        for (int k = 0; k < s.method->count(s.self); k++) mix_in(&hash, numbers[k]);
        if (hash != searches[i].recorded)
            fail_msg("%s: 0x%016" PRIx64 ", recorded was 0x%016" PRIx64, searches[i].why, hash,
                     searches[i].recorded);
        free(numbers);
        free(s.self);
    }
}

/* Adam against its formula with the moments written out, with and without decay. */
static void adam_is_its_formula(void **state) {
    (void)state;
    const double gradient[3] = {0.5, -2, 0};
    for (int decays = 0; decays < 2; decays++) {
        const pn_adam a = {
            .rate = 0.1, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-8, .decay = decays ? 0.25 : 0};
        double value[3] = {1, -1, 2}, m[3] = {0}, v[3] = {0}, want[3] = {1, -1, 2};
        double past[2][3];
        for (int t = 1; t <= 2; t++) {
            for (int i = 0; i < 3; i++) {
                past[t - 1][i] = gradient[i] - a.decay * want[i];
                double first = 0, second = 0;
                for (int s = 0; s < t; s++) {
                    first += 0.5 * pow(0.5, t - 1 - s) * past[s][i];
                    second += 0.1 * pow(0.9, t - 1 - s) * past[s][i] * past[s][i];
                }
                want[i] +=
                    0.1 * first / (1 - pow(0.5, t)) / (sqrt(second / (1 - pow(0.9, t))) + 1e-8);
            }
            pn_adam_climb(&a, t, 3, gradient, m, v, value);
            for (int i = 0; i < 3; i++) assert_true(fabs(value[i] - want[i]) < 1e-12);
        }
        assert_true(decays == (value[2] != 2));
    }
}

/* Of each method's options, given to another. */
static void options_of_another_method(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {"method=random rule=paper", "--rule is an option of --method parsec, not of random"},
        {"method=random samples=4", "--samples is an option of --method parsec, not of random"},
        {"method=random prior=run", "--prior is an option of --method parsec, not of random"},
        {"method=random skip-below=0.5",
         "--skip-below is an option of --method parsec, not of random"},
        {"method=darts samples=4", "--samples is an option of --method parsec, not of darts"},
        {"method=darts tau=1", "--tau is an option of --method gdas or snas, not of darts"},
        {"method=darts drop-path=0.1", "--drop-path is an option of --method snas, not of darts"},
        {"method=gdas resource=mild", "--resource is an option of --method snas, not of gdas"},
        {"method=gdas resource-weight=1",
         "--resource-weight is an option of --method snas, not of gdas"},
        {"method=gdas resource-form=log",
         "--resource-form is an option of --method snas, not of gdas"},
        {"resource-of=drawn", "--resource-of is an option of --method snas, not of parsec"},
        {"all-images=1", "--all-images is an option of --method snas, not of parsec"},
        {"method=snas select=3", "--select is an option of --method random, not of snas"},
        {"method=gdas select=3", "--select is an option of --method random, not of gdas"},
        {"method=gdas order=1", "--order is an option of --method darts, not of gdas"},
        {"method=random epsilon=1", "--epsilon is an option of --method darts, not of random"},
        {"method=darts samples-per-nat=1",
         "--samples-per-nat is an option of --method parsec, not of darts"},
        {"rate-alpha=1",
         "--rate-alpha is an option of --method darts, gdas or snas, not of parsec"},
        {"nesterov=1", "--nesterov is an option of --method darts, gdas or snas, not of parsec"},
        {"select=3", "--select is an option of --method random, not of parsec"},
        {"select-batches=3", "--select-batches is an option of --method random, not of parsec"},
        {NULL, NULL},
    };
    for (int i = 0; refused[i][0]; i++) {
        const pn_settings s = settings_of(refused[i][0]);
        assert_int_equal(pn_method_check(&s), PN_EARG);
        assert_string_equal(pn_error(), refused[i][1]);
    }
}

static void random_chooses_the_best(void **state) {
    (void)state;
    searching s = start("method=random steps=30 select=12 select-batches=3 finalists=0");
    const pn_evaluator e = evaluator_of(&s.f);
    pn_arch best = {0}, found;
    double most = -1, likely = 0;
    for (int step = 0; step < STEPS; step++) {
        go_on(&s, 1);
        assert_int_equal(report.warmup, step < 18);
        assert_true(report.trained == report.warmup && report.validated == !report.warmup);
        assert_true(fabs(report.log_p[0] + log(pn_prior_size(s.method->prior(s.self)))) < 1e-12);
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int node = 0; node < PN_MAX_NODES; node++)
                assert_true(report.arch[0].cell[kind].term[node][0].input !=
                            report.arch[0].cell[kind].term[node][1].input);
        if (report.warmup) continue;
        pn_evaluation own;
        assert_int_equal(e.score(e.self, &report.arch[0], 3, &own), PN_OK);
        const double accuracy = (double)own.val_correct / (3 * BATCH);
        if (accuracy > most || (accuracy == most && own.val_ll > likely)) {
            most = accuracy;
            likely = own.val_ll;
            best = report.arch[0];
        }
        s.method->derive(s.self, &found);
        assert_memory_equal(&found, &best, sizeof best);
    }
    assert_true(s.method->cost(&s.settings, 18) == 18 && s.method->cost(&s.settings, 21) == 21);
    free(s.self);
}

/* Cells that a round has judged, and what it made of them. */
typedef struct round {
    int count;
    pn_arch arch[STEPS];
    double accuracy[STEPS], likelihood[STEPS];
} round_of;

static void note(round_of *r) {
    r->arch[r->count] = report.arch[0];
    r->accuracy[r->count] = report.val_accuracy;
    r->likelihood[r->count++] = report.evaluation[0].val_ll;
}

/* The place of the k-th best, of equals the first. */
static int rank_of(const round_of *r, int k) {
    for (int i = 0; i < r->count; i++) {
        int before = 0;
        for (int j = 0; j < r->count; j++) {
            const bool equal =
                r->accuracy[j] == r->accuracy[i] && r->likelihood[j] == r->likelihood[i];
            before += r->accuracy[j] > r->accuracy[i] ||
                      (r->accuracy[j] == r->accuracy[i] && r->likelihood[j] > r->likelihood[i]) ||
                      (equal && j < i);
        }
        if (before == k) return i;
    }
    fail_msg("no cell of rank %d", k);
    return 0;
}

/* The best five of eighteen come again, the best first, on more batches; what those say decides,
 * whatever the first round said. Without likelihoods there are many equals. */
static void the_finalists_are_judged_again(void **state) {
    (void)state;
    for (int coarse = 0; coarse < 2; coarse++) {
        searching s = start(
            "method=random steps=30 seed=4 select=18 select-batches=1 finalists=5 "
            "final-batches=20");
        round_of first = {0}, final = {0};
        int other = 0;
        s.f.coarse = coarse;
        for (int step = 0; step < STEPS; step++) {
            go_on(&s, 1);
            assert_int_equal(report.warmup, step < 7);
            if (report.warmup) continue;
            assert_int_equal(report.images, (step < 25 ? 1 : 20) * (int64_t)BATCH);
            note(step < 25 ? &first : &final);
            if (step < 25) continue;
            const int want = rank_of(&first, step - 25);
            assert_memory_equal(&report.arch[0], &first.arch[want], sizeof report.arch[0]);
            pn_arch found;
            s.method->derive(s.self, &found);
            const int best = rank_of(&final, 0);
            assert_memory_equal(&found, &final.arch[best], sizeof found);
            assert_true((report.weight_pi[0] == 1) == (best == final.count - 1));
            other += best != 0;
        }
        assert_true(coarse || other > 0); /* the second round has changed the order */
        assert_true(s.method->cost(&s.settings, 30) == 7 + (18 * 1 + 5 * 20) / 3.0);
        free(s.self);
    }
}

/* K is that of the entropy before the step, and so is the control variate 1/K. */
static void samples_follow_the_entropy(void **state) {
    (void)state;
    searching s = start("steps=30 samples-per-nat=0.1 warmup=8 rate-pi=0.5");
    const pn_prior *pi = s.method->prior(s.self);
    int most = 0, least = PN_MAX_SAMPLES;
    assert_int_equal(s.settings.samples, ceil(0.1 * pn_prior_entropy_uniform(pi)));
    for (int step = 0; step < STEPS; step++) {
        const pn_prior before = *pi;
        const double samples = ceil(0.1 * pn_prior_entropy(&before, NULL));
        go_on(&s, 1);
        assert_int_equal(report.count, step < 8 ? 1 : fmax(2, fmin(samples, 5)));
        assert_int_equal(report.images, (step < 8 ? 1 : 2 * report.count) * (int64_t)BATCH);
        if (step < 8) continue;
        double gradient[PN_MAX_LOGITS] = {0}, square = 0;
        pn_pi_gradient(&before, report.arch, report.weight_pi, report.count, 1.0 / report.count,
                       gradient);
        for (int i = 0; i < before.count; i++) square += gradient[i] * gradient[i];
        assert_true(report.gradient_norm_pi == sqrt(square));
        most = report.count > most ? report.count : most;
        least = report.count < least ? report.count : least;
    }
    assert_true(most == 5 && least == 2);
    free(s.self);
    assert_true(pn_samples_at(50, 0.25) == 13 && pn_samples_at(48, 0.25) == 12);
    assert_true(pn_samples_at(0, 0.25) == 2 && pn_samples_at(1e9, 100) == INT_MAX);
}

/* What the public code sets. */
static void presets_are_those_published(void **state) {
    (void)state;
    static const struct {
        const char *options;
        double rate, rate_end, momentum, decay, clip, rate_alpha, decay_alpha, tau, tau_end;
        int nesterov;
    } rows[] = {
        {"method=random", 0.025, 0.001, 0.9, 3e-4, 0.25, -1, -1, -1, -1, 0},
        {"method=darts", 0.025, 0.001, 0.9, 3e-4, 5, 3e-4, 1e-3, -1, -1, 0},
        {"method=gdas", 0.025, 0.001, 0.9, 5e-4, 5, 3e-4, 1e-3, 10, 0.1, 1},
        {"method=snas", 0.025, 0.001, 0.9, 3e-4, 5, 3e-4, 1e-3, 1, 0.03, 0},
        {"method=parsec rule=practical", 0.025, 0.001, 0.9, 3e-4, 5, -1, -1, -1, -1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const searching s = start(rows[i].options);
        const pn_settings *r = &s.settings;
        const double got[] = {r->rate,       r->rate_end,    r->momentum, r->decay,  r->clip,
                              r->rate_alpha, r->decay_alpha, r->tau,      r->tau_end};
        const void *have = got, *want = &rows[i].rate;
        if (memcmp(have, want, sizeof got) != 0 || r->nesterov != rows[i].nesterov)
            fail_msg("%s", rows[i].options);
        free(s.self);
    }
}

/* Step by step: which weights the supernet gets, and where Adam takes the logits. The first step of
 * Adam moves each logit by its rate, whatever the size of its gradient, and downhill. */
static void darts_takes_its_steps(void **state) {
    (void)state;
    searching s = start("method=darts steps=30 rate-alpha=0.25 decay-alpha=0");
    double before[PN_MAX_MIX], after[PN_MAX_MIX], back[PN_MAX_MIX], of_weight[PN_MAX_MIX];
    double *logits = state_of(&s), *moved;
    s.method->probabilities(s.self, before);
    for (int i = 0; i < PN_MAX_MIX; i++) of_weight[i] = -worth_of(PN_STEP_VALIDATE, 0, i);
    go_on(&s, 1);
    moved = state_of(&s);
    pn_mixture m = {.space = pn_space_darts(), .count = PN_MAX_MIX};
    pn_mixture_back(&m, before, 1, of_weight, back);
    for (int i = 0; i < PN_MAX_MIX; i++)
        assert_true(fabs(moved[i] - logits[i] + copysign(0.25, back[i])) < 1e-6);
    s.method->probabilities(s.self, after);
    assert_memory_equal(s.f.mixed, after, sizeof after); /* the training batch had the new ones */
    assert_true(s.f.mixes[PN_STEP_TRAIN] == 1 && s.f.mixes[PN_STEP_VALIDATE] == 1);
    assert_true(report.trained && report.validated && report.images == 2 * BATCH);
    assert_true(report.train_loss > 0 && report.val_loss > 0 && report.evaluation[0].bytes > 0);
    free(logits);
    free(moved);
    free(s.self);
}

/* The gradient that Adam got, by its first moment, is the formula: that of the validation batch at
 * the weights ahead, less the rate times what the training batch's changes by along the slope,
 * which here is (.3 + i % 5) of itself for each unit. Where there is no slope there is nowhere to
 * go aside, and the first term is left. */
static void darts_looks_ahead(void **state) {
    (void)state;
    searching s = start("method=darts order=2 steps=30 rate-alpha=0.25 decay-alpha=0");
    double weight[PN_MAX_MIX], back[PN_MAX_MIX], of_weight[PN_MAX_MIX], after[PN_MAX_MIX];
    assert_true(s.settings.order == 2 && s.settings.epsilon == 0.01);
    s.method->probabilities(s.self, weight);
    const pn_mixture m = {.space = pn_space_darts(), .count = PN_MAX_MIX};
    const double rate = 0.025;
    for (int flat = 1; flat >= 0; flat--) {
        searching one = start("method=darts order=2 steps=30 rate-alpha=0.25 decay-alpha=0");
        if (flat) one.f.norm = 0;
        for (int i = 0; i < PN_MAX_MIX; i++) {
            const double train_slope = -worth_of(PN_STEP_TRAIN, 0, i),
                         val_slope = -worth_of(PN_STEP_VALIDATE, 0, i);
            of_weight[i] =
                val_slope * slope_at(rate, i) - (flat ? 0 : rate * train_slope * (0.3 + i % 5));
        }
        pn_mixture_back(&m, weight, 1, of_weight, back);
        go_on(&one, 1);
        double *moved = state_of(&one);
        for (int i = 0; i < PN_MAX_MIX; i++)
            assert_true(fabs(moved[PN_MAX_MIX + i] + 0.5 * back[i]) < 1e-12);
        free(moved);
        free(one.self);
    }
    go_on(&s, 1);
    s.method->probabilities(s.self, after);
    assert_memory_equal(s.f.mixed, after, sizeof after); /* the weights' step has the new ones */
    assert_true(s.f.place == 0);                         /* and is taken where they are */
    assert_true(s.f.mixes[PN_STEP_TRAIN] == 4 && s.f.mixes[PN_STEP_VALIDATE] == 1);
    assert_true(report.images == 5 * (int64_t)BATCH);
    assert_true(s.method->cost(&s.settings, 2) == 5 * 6.7 * 2);
    const pn_evaluator e = evaluator_of(&s.f);
    s.f.norm = NAN;
    assert_int_equal(s.method->step(s.self, &e, &report), PN_EDIVERGED);
    assert_non_null(strstr(pn_error(), "step 1: norm of the weights' gradient, looking ahead"));
    free(s.self);
}

/* One op an edge, with noise of its own for either batch; the same in another search of this
 * seed. */
static void gdas_draws_an_op_an_edge(void **state) {
    (void)state;
    searching s = start("method=gdas steps=30 rate-alpha=0.1");
    int different = 0, none = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        double logits[3 * PN_MAX_MIX + 2], noise[PN_MAX_MIX], weight[PN_MAX_MIX];
        int8_t train_ops[PN_MAX_MIX_EDGES], chosen[PN_MAX_MIX_EDGES];
        pn_mixture m = {.space = pn_space_darts(), .count = PN_MAX_MIX};
        const double tau = 10 + (0.1 - 10) * (double)step / (STEPS - 1);
        s.method->save(s.self, logits);
        memcpy(m.logit, logits, sizeof m.logit);
        for (int pass = 0; pass < 2; pass++) {
            pn_mixture_noise(&m, s.settings.seed, step, pass, noise);
            pn_mixture_weights(&m, noise, tau, weight);
            pn_mixture_choose(&m, weight, pass ? chosen : train_ops);
        }
        go_on(&s, 1);
        assert_true(fabs(report.temperature - tau) < 1e-12);
        for (int e = 0; e < PN_MAX_MIX_EDGES; e++) {
            for (int o = 1; o < 8; o++)
                assert_true((s.f.mixed[8 * e + o] == 1) == (chosen[e] == o - 1));
            different += chosen[e] != train_ops[e];
            none += chosen[e] < 0;
        }
    }
    assert_true(different > 500 && none > 10);
    free(s.self);
}

/* Of SNAS: epochs are of all images, and what the resource term is multiplied by. */
static void presets_of_snas(void **state) {
    (void)state;
    static const struct {
        const char *options;
        double weight, drop_path;
        int64_t steps;
        const char *form, *of;
    } rows[] = {
        {"method=snas epochs=1", 1.5e-3, 0.3, 62, "log", "drawn"},
        {"method=snas epochs=1 all-images=0", 1.5e-3, 0.3, 31, "log", "drawn"},
        {"method=snas steps=5 resource=none drop-path=0", 0, 0, 5, "log", "drawn"},
        {"method=snas steps=5 resource=moderate", 4e-3, 0.3, 5, "log", "drawn"},
        {"method=snas steps=5 resource=aggressive", 1e-2, 0.3, 5, "log", "drawn"},
        {"method=snas steps=5 resource=aggressive resource-of=expected", 1e-2, 0.3, 5, "log",
         "expected"},
        {"method=snas steps=5 resource=aggressive resource-form=linear", 1e-5, 0.3, 5, "linear",
         "drawn"},
        {"method=snas steps=5 resource-form=linear resource-of=expected", 1.5e-5, 0.3, 5, "linear",
         "expected"},
        {"method=snas steps=5 resource=aggressive resource-of=policy-gradient", 1e-4, 0.3, 5, "log",
         "policy-gradient"},
        {"method=snas steps=5 resource-form=linear resource-of=policy-gradient", 1.5e-6, 0.3, 5,
         "linear", "policy-gradient"},
        {"method=snas steps=5 resource=mild resource-weight=7", 7, 0.3, 5, "log", "drawn"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const searching s = start(rows[i].options);
        const pn_settings *r = &s.settings;
        if (fabs(r->resource_weight - rows[i].weight) > 1e-12 ||
            fabs(r->drop_path - rows[i].drop_path) > 1e-12 || r->steps != rows[i].steps ||
            strcmp(r->resource_form, rows[i].form) != 0 || strcmp(r->resource_of, rows[i].of) != 0)
            fail_msg("%s", rows[i].options);
        free(s.self);
    }
    const searching other = start("method=darts epochs=1");
    assert_int_equal(other.settings.all_images, 0);
    assert_int_equal(other.settings.steps, 31);
    free(other.self);
}

/* Step by step: the draw that the supernet gets, and the first step of Adam, downhill along the
 * loss and what the cell costs. */
static void snas_draws_its_weights(void **state) {
    (void)state;
    static const char *const terms[] = {
        "resource=none",
        "resource-weight=0.5",
        "resource-weight=0.5 resource-of=expected",
        "resource-weight=0.001 resource-form=linear",
        "resource-weight=0.001 resource-form=linear resource-of=expected",
        "resource-weight=0.01 resource-form=linear",
        "resource-weight=0.01 resource-of=policy-gradient",
        "resource-weight=0.01 resource-form=linear resource-of=policy-gradient"};
    enum { TERMS = sizeof terms / sizeof *terms };
    const pn_space space = pn_space_darts();
    for (int t = 0; t < TERMS; t++) {
        char options[160];
        snprintf(options, sizeof options,
                 "method=snas steps=30 rate-alpha=0.25 decay-alpha=0 tau=0.8 %s", terms[t]);
        searching s = start(options);
        double noise[PN_MAX_MIX], weight[PN_MAX_MIX], mean[PN_MAX_MIX], of_weight[PN_MAX_MIX],
            gradient[PN_MAX_MIX], cost[PN_MAX_MIX], of_edge[PN_MAX_MIX_EDGES], back[PN_MAX_MIX],
            size = 0;
        double *logits = state_of(&s);
        pn_mixture m = {.space = space, .count = PN_MAX_MIX};
        memcpy(m.logit, logits, sizeof m.logit);
        for (int i = 0; i < PN_MAX_MIX; i++) size += fabs(logits[i] - 1) / PN_MAX_MIX;
        assert_true(size > 0.006 && size < 0.01); /* .01 sqrt(2 / pi) = .008 */
        pn_mixture_noise(&m, s.settings.seed, 0, 0, noise);
        pn_mixture_weights(&m, noise, 0.8, weight);
        pn_mixture_weights(&m, NULL, 1, mean);
        for (int i = 0; i < PN_MAX_MIX; i++) of_weight[i] = -worth_of(PN_STEP_TRAIN, 0, i);
        pn_mixture_back(&m, weight, 0.8, of_weight, gradient);
        const bool linear = strstr(terms[t], "linear"), expected = strstr(terms[t], "expected"),
                   policy = strstr(terms[t], "policy-gradient");
        const double R =
            pn_resource(&network, &space, linear, expected ? mean : weight, cost, of_edge);
        pn_mixture_back(&m, expected ? mean : weight, expected ? 1 : 0.8, cost, back);
        if (policy) pn_mixture_policy(&m, noise, of_edge, back);
        for (int i = 0; i < PN_MAX_MIX; i++) gradient[i] += s.settings.resource_weight * back[i];
        go_on(&s, 1);
        assert_memory_equal(s.f.mixed, weight, sizeof weight);
        assert_true(report.temperature == 0.8 && report.resource == (t ? R : 0));
        assert_true(s.f.keep == 1 - 0.3);
        assert_true(s.f.mixes[PN_STEP_TRAIN] == 1 && s.f.mixes[PN_STEP_VALIDATE] == 0);
        assert_true(report.trained && !report.validated && report.images == BATCH);
        double *moved = state_of(&s), squares = 0;
        for (int i = 0; i < PN_MAX_MIX; i++) squares += gradient[i] * gradient[i];
        const double clip = squares > 100 ? 10 / sqrt(squares) : 1;
        for (int i = 0; i < PN_MAX_MIX; i++) { /* the first moment is half of the gradient */
            assert_true(fabs(moved[PN_MAX_MIX + i] + 0.5 * clip * gradient[i]) < 1e-12);
            if (fabs(clip * gradient[i]) > 1e-4)
                assert_true(fabs(moved[i] - logits[i] + copysign(0.25, gradient[i])) < 1e-4);
        }
        assert_true((clip < 1) == (t == 5 || t == 7));
        free(logits);
        free(moved);
        free(s.self);
    }
    /* tau falls evenly to its last value. */
    searching s = start("method=snas steps=30");
    for (int64_t step = 0; step < STEPS; step++) {
        double noise[PN_MAX_MIX], weight[PN_MAX_MIX];
        double *logits = state_of(&s);
        pn_mixture m = {.space = space, .count = PN_MAX_MIX};
        memcpy(m.logit, logits, sizeof m.logit);
        pn_mixture_noise(&m, s.settings.seed, step, 0, noise);
        pn_mixture_weights(&m, noise, 1 + (double)step / (STEPS - 1) * (0.03 - 1), weight);
        go_on(&s, 1);
        assert_memory_equal(s.f.mixed, weight, sizeof weight);
        free(logits);
    }
    free(s.self);
}

/* A gradient that is none names step, edge and op; so does a logit that runs away. */
static void a_mixture_that_diverges(void **state) {
    (void)state;
    static const char *const names[] = {"darts", "gdas", "snas"};
    for (int i = 0; i < 3; i++) {
        char options[64];
        snprintf(options, sizeof options, "method=%s steps=30", names[i]);
        searching s = start(options);
        const pn_evaluator e = evaluator_of(&s.f);
        go_on(&s, 3);
        s.f.bad = true;
        if (i == 1) { /* the training batch comes first, whose loss tells */
            assert_int_equal(s.method->step(s.self, &e, &report), PN_EDIVERGED);
            assert_non_null(strstr(pn_error(), "step 3: "));
        } else {
            assert_int_equal(s.method->step(s.self, &e, &report), PN_EDIVERGED);
            assert_non_null(
                strstr(pn_error(), "step 3: the gradient of normal.2.2.sep_conv_3x3 is nan"));
        }
        free(s.self);
    }
    searching s = start("method=darts steps=30 rate-alpha=200");
    const pn_evaluator e = evaluator_of(&s.f);
    assert_int_equal(s.method->step(s.self, &e, &report), PN_EDIVERGED);
    assert_non_null(strstr(pn_error(), "step 0: the logit of normal.0.0.none is "));
    free(s.self);
}

/* What resolving refuses. */
static void what_does_not_go_together(void **state) {
    (void)state;
    static const char *const refused[][2] = {
        {"method=random steps=30 select=31",
         "--select 31, want at most the 30 steps of the search"},
        {"method=random steps=30 select-batches=32",
         "--select-batches 32, want at most 31: those of the half"},
        {"method=random steps=30 finalists=4", "--finalists 4, want at most the 3 of --select"},
        {"method=random steps=30 select=28 finalists=3",
         "--finalists 3 behind --select 28, want at most the 30 steps of the search together"},
        {"method=random steps=30 final-batches=32",
         "--final-batches 32, want at most 31: those of the half"},
        {"samples=4 samples-per-nat=0.25", "want one of --samples and --samples-per-nat"},
        {"rule=evidence samples-per-nat=0.25",
         "--samples-per-nat 0.25 with --evidence, which draws one architecture a step"},
        {"samples-per-nat=6",
         "--samples-per-nat 6 makes 283 samples of the uniform distribution, want at most 256"},
        {"method=darts steps=30 epsilon=0.1", "--epsilon 0.1 wants --order 2"},
        {NULL, NULL},
    };
    for (int i = 0; refused[i][0]; i++) {
        pn_settings s = settings_of(refused[i][0]);
        assert_int_equal(pn_settings_resolve(&s, &like), PN_EARG);
        assert_string_equal(pn_error(), refused[i][1]);
    }
    const searching s = start("method=random steps=50000"), few = start("method=random steps=300");
    assert_true(s.settings.select == 1000 && s.settings.select_batches == 10);
    assert_true(s.settings.finalists == 10 && s.settings.final_batches == 31);
    assert_true(s.settings.warmup == 48990);
    assert_true(few.settings.select == 30 && few.settings.finalists == 3);
    free(s.self);
    free(few.self);
}

static void every_name_is_a_method(void **state) {
    (void)state;
    const pn_settings usual = pn_settings_defaults();
    assert_string_equal(pn_method_of(&usual)->name, "parsec");
    assert_null(pn_method_find("annealing"));
    for (int i = 0; pn_method_at(i); i++) {
        char words[64];
        assert_ptr_equal(pn_method_find(pn_method_at(i)->name), pn_method_at(i));
        snprintf(words, sizeof words, "method=%s", pn_method_at(i)->name);
        const pn_settings s = settings_of(words); /* the option's choices have it, too */
        assert_ptr_equal(pn_method_of(&s), pn_method_at(i));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(continued_to_the_bit),
        cmocka_unit_test(a_step_that_fails_changes_nothing),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(beliefs),
        cmocka_unit_test(parsec_is_as_recorded),
        cmocka_unit_test(adam_is_its_formula),
        cmocka_unit_test(options_of_another_method),
        cmocka_unit_test(random_chooses_the_best),
        cmocka_unit_test(the_finalists_are_judged_again),
        cmocka_unit_test(samples_follow_the_entropy),
        cmocka_unit_test(presets_are_those_published),
        cmocka_unit_test(darts_takes_its_steps),
        cmocka_unit_test(darts_looks_ahead),
        cmocka_unit_test(gdas_draws_an_op_an_edge),
        cmocka_unit_test(presets_of_snas),
        cmocka_unit_test(snas_draws_its_weights),
        cmocka_unit_test(a_mixture_that_diverges),
        cmocka_unit_test(what_does_not_go_together),
        cmocka_unit_test(every_name_is_a_method),
    };
    return cmocka_run_group_tests_name("method", tests, NULL, NULL);
}
