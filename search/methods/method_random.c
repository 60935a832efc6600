/* method_random.c -- random search with shared weights (Li, Talwalkar 2019), the baseline that any
 * distribution has to beat.
 *
 * First the weights alone are trained, one uniformly drawn architecture a step, which is PARSEC's
 * warm-up; then --select steps judge one uniform cell each by the shared weights, all on the same
 * batches of the validation half, and the best is the one found. Of equal accuracies the higher
 * likelihood counts, of equals in both the first.
 *
 * The published search (CIFAR-10, github.com/liamcli/randomNAS_release): batch 64, 100 epochs of a
 * half, rate .025 to .001, clip .25, then three rounds of 1,000 cells on 10 batches, the best ten
 * of each once more on the whole half. Its space also has the op `none`, which ours has not.
 *
 * The cells are a function of seed and step, so that of the best one its step is all that is
 * kept. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/method.h"

enum { POSITION, BEST, ACCURACY, LIKELIHOOD, NUMBERS }; /* of the state; BEST: -1 before any */

typedef struct random_search {
    pn_prior prior; /* uniform, distinct inputs */
    uint64_t seed;
    int64_t steps, select, batches;
    double rate, rate_end;
    double number[NUMBERS];
} random_search;

/* ---- its settings ---------------------------------------------------------------------------- */

/* By default a tenth of the steps judge cells. */
static pn_status resolve(pn_settings *s, const pn_data *data) {
    enum { PUBLISHED = 1000, BATCHES = 10 };
    const int64_t half = data->count / 2 / s->batch, tenth = s->steps / 10;
    pn_settings_fill(&s->select, tenth > PUBLISHED ? PUBLISHED : tenth > 1 ? tenth : 1);
    pn_settings_fill(&s->select_batches, half < BATCHES ? half : BATCHES);
    pn_settings_fill(&s->warmup, s->steps - s->select);
    pn_settings_fill(&s->samples, 1);
    pn_settings_fill(&s->evidence, 0);
    pn_settings_fill(&s->distinct_inputs, 1);
    pn_settings_fill_real(&s->clip, 0.25);
    if (s->select > s->steps)
        return pn_fail(PN_EARG, "--select %lld, want at most the %lld steps of the search",
                       (long long)s->select, (long long)s->steps);
    if (s->select_batches > half)
        return pn_fail(PN_EARG, "--select-batches %lld, want at most %lld: those of the half",
                       (long long)s->select_batches, (long long)half);
    return PN_OK;
}

/* A forward pass is a third of a training step. */
static double cost(const pn_settings *s, int64_t steps) {
    const int64_t trained = s->steps - s->select < steps ? s->steps - s->select : steps;
    return (double)trained + (double)(steps - trained) * (double)s->select_batches / 3;
}

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    snprintf(text, PN_METHOD_TEXT,
             "random search: %lld steps train uniform cells, %lld judge one each by %lld batches",
             (long long)(s->steps - s->select), (long long)s->select, (long long)s->select_batches);
}

static const char *warmup_name(const pn_settings *s) {
    (void)s;
    return "uniform";
}

/* ---- a step ---------------------------------------------------------------------------------- */

static pn_status begin(void *self, const pn_space *space, const pn_settings *settings) {
    random_search *s = self;
    *s = (random_search){.seed = settings->seed,
                         .steps = settings->steps,
                         .select = settings->select,
                         .batches = settings->select_batches,
                         .rate = settings->rate,
                         .rate_end = settings->rate_end,
                         .number = {[BEST] = -1}};
    return pn_prior_init(&s->prior, space, true);
}

static void draw(const random_search *s, int64_t step, pn_arch *arch) {
    pn_prior_sample(&s->prior, s->seed, (uint64_t)step, 0, arch);
}

static pn_status train(const random_search *s, const pn_evaluator *e, pn_step_report *r) {
    r->trained = true;
    r->images = e->batch;
    r->weight_v[0] = r->ess_v = 1;
    r->rate_v = pn_cosine_rate(s->rate, s->rate_end, r->step, s->steps - s->select);
    PN_TRY(e->begin(e->self, r->step));
    PN_TRY(e->train(e->self, 0, r->arch));
    PN_TRY(e->update(e->self, r->rate_v));
    PN_TRY(e->finish(e->self, 1, r->evaluation, &r->gradient_norm_v));
    PN_TRY(pn_step_check(&s->prior.space, r));
    pn_step_sum(r, e->batch);
    return PN_OK;
}

static pn_status judge(random_search *s, const pn_evaluator *e, pn_step_report *r) {
    const pn_evaluation *found = &r->evaluation[0];
    r->validated = true;
    r->images = s->batches * e->batch;
    PN_TRY(e->score(e->self, r->arch, s->batches, r->evaluation));
    PN_TRY(pn_step_check(&s->prior.space, r));
    pn_step_sum(r, (double)r->images);
    double *best = s->number;
    const bool better = best[BEST] < 0 || r->val_accuracy > best[ACCURACY] ||
                        (r->val_accuracy == best[ACCURACY] && found->val_ll > best[LIKELIHOOD]);
    if (!better) return PN_OK;
    r->weight_pi[0] = r->ess_pi = 1;
    best[BEST] = (double)r->step;
    best[ACCURACY] = r->val_accuracy;
    best[LIKELIHOOD] = found->val_ll;
    return PN_OK;
}

static int64_t position(const void *self) {
    return (int64_t)((const random_search *)self)->number[POSITION];
}

static pn_status step(void *self, const pn_evaluator *evaluator, pn_step_report *r) {
    random_search *s = self;
    memset(r, 0, sizeof *r);
    r->step = position(s);
    if (r->step >= s->steps)
        return pn_fail(PN_EARG, "step %lld of a search of %lld steps", (long long)r->step,
                       (long long)s->steps);
    r->count = 1;
    r->warmup = r->step < s->steps - s->select;
    r->entropy = pn_prior_entropy_uniform(&s->prior);
    r->log_p[0] = -r->entropy;
    draw(s, r->step, r->arch);
    PN_TRY(r->warmup ? train(s, evaluator, r) : judge(s, evaluator, r));
    s->number[POSITION]++;
    return PN_OK;
}

/* ---- its state ------------------------------------------------------------------------------- */

static int count(const void *self) {
    (void)self;
    return NUMBERS;
}

static void save(const void *self, double *state) {
    memcpy(state, ((const random_search *)self)->number, NUMBERS * sizeof *state);
}

static bool is_whole(double x, int64_t from, int64_t to) {
    return x >= (double)from && x <= (double)to && x == floor(x);
}

static pn_status restore(void *self, const double *state, int numbers) {
    random_search *s = self;
    const int64_t first = s->steps - s->select; /* that judges */
    if (numbers != NUMBERS)
        return pn_fail(PN_EINPUT, "state of a search with %d numbers, want %d", numbers, NUMBERS);
    if (!is_whole(state[POSITION], 0, s->steps))
        return pn_fail(PN_EINPUT, "state of a search: step %g, want 0..%lld", state[POSITION],
                       (long long)s->steps);
    const int64_t at = (int64_t)state[POSITION];
    if (at <= first ? state[BEST] != -1 : !is_whole(state[BEST], first, at - 1))
        return pn_fail(PN_EINPUT, "state of a search: best cell of step %g, after step %lld",
                       state[BEST], (long long)at);
    if (!(state[ACCURACY] >= 0 && state[ACCURACY] <= 1) || !isfinite(state[LIKELIHOOD]))
        return pn_fail(PN_EINPUT, "state of a search: accuracy %g, log-likelihood %g",
                       state[ACCURACY], state[LIKELIHOOD]);
    memcpy(s->number, state, NUMBERS * sizeof *state);
    return PN_OK;
}

/* ---- what it believes ------------------------------------------------------------------------ */

/* Its distribution is the uniform one from first to last: no column. */
static int columns(const void *self) {
    (void)self;
    return 0;
}

static void column(const void *self, int i, char name[PN_NAME_BYTES]) {
    (void)self;
    snprintf(name, PN_NAME_BYTES, "none %d", i);
}

static void probabilities(const void *self, double *probability) {
    (void)self;
    (void)probability;
}

/* Before the first cell is judged, any is as good as another. */
static void derive(const void *self, pn_arch *arch) {
    const random_search *s = self;
    draw(s, (int64_t)(s->number[BEST] < 0 ? (double)(s->steps - s->select) : s->number[BEST]),
         arch);
}

static void believe(const void *self, pn_belief *b) {
    const random_search *s = self;
    *b = (pn_belief){.entropy = pn_prior_entropy_uniform(&s->prior)};
    b->entropy_uniform = b->entropy;
    if (s->number[BEST] < 0) return;
    b->known = b->learnt = b->derived = true;
    derive(self, &b->arch);
    pn_arch_inputs(&s->prior.space, &b->arch, b->input);
}

static void conclude(const void *self, const pn_arch *arch, char text[PN_METHOD_TEXT]) {
    const random_search *s = self;
    (void)arch;
    snprintf(text, PN_METHOD_TEXT,
             "the best of %lld uniform cells, by %lld batches of the validation half: accuracy "
             "%.1f %%",
             (long long)s->select, (long long)s->batches, 100 * s->number[ACCURACY]);
}

static pn_prior *prior(void *self) { return &((random_search *)self)->prior; }

static pn_status read_prior(const pn_safetensors *checkpoint, const json_t *settings,
                            pn_prior *pi) {
    (void)checkpoint;
    (void)settings;
    memset(pi->logit, 0, sizeof pi->logit);
    pi->distinct = true;
    return PN_OK;
}

const pn_method pn_method_random = {
    .name = "random",
    .options = "|shards|select|select-batches|",
    .resolve = resolve,
    .cost = cost,
    .describe = describe,
    .warmup_name = warmup_name,
    .bytes = sizeof(random_search),
    .begin = begin,
    .step = step,
    .position = position,
    .count = count,
    .save = save,
    .restore = restore,
    .columns = columns,
    .column = column,
    .probabilities = probabilities,
    .believe = believe,
    .derive = derive,
    .conclude = conclude,
    .prior = prior,
    .read_prior = read_prior,
};
