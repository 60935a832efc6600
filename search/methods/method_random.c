/* method_random.c -- random search with shared weights (Li, Talwalkar 2019), the baseline that any
 * distribution has to beat.
 *
 * First the weights alone are trained, one uniformly drawn architecture a step, which is PARSEC's
 * warm-up; then --select steps judge one uniform cell each by the shared weights, all on the same
 * batches of the validation half. The best of them, --finalists, are judged once more, on more of
 * it, and the best of those is the one found; without finalists the best of the first round. Of
 * equal accuracies the higher likelihood counts, of equals in both the first.
 *
 * The published search (CIFAR-10, github.com/liamcli/randomNAS_release): batch 64, 100 epochs of a
 * half, rate .025 to .001, clip .25, then three rounds of 1,000 cells on 10 batches, the best ten
 * of each once more on the whole half. Ours is one round: --select 3000 --finalists 30 judges as
 * many, and the final choice is the same but where the best thirty of all are not ten of each. Its
 * space also has the op `none`, which ours has not.
 *
 * The cells are a function of seed and step, so that of the best ones their steps are all that is
 * kept. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/method.h"

enum { MOST_FINALISTS = 100 };

/* A cell that was judged, by the step that drew it, -1: none; numbers of the state. */
typedef struct judged {
    double step, accuracy, likelihood;
} judged;

typedef struct random_search {
    pn_prior prior; /* uniform, distinct inputs */
    uint64_t seed;
    int64_t steps, select, batches, final_batches;
    int finalists;
    double rate, rate_end;
    int64_t position;
    judged best;
    judged finalist[MOST_FINALISTS]; /* so far, the best first */
} random_search;

/* ---- its settings ---------------------------------------------------------------------------- */

/* By default a tenth of the steps judge cells, and a tenth of these come again. */
static pn_status resolve(pn_settings *s, const pn_data *data) {
    enum { PUBLISHED = 1000, BATCHES = 10, FINALISTS = 10 };
    const int64_t half = data->count / 2 / s->batch, tenth = s->steps / 10;
    pn_settings_fill(&s->select, tenth > PUBLISHED ? PUBLISHED : tenth > 1 ? tenth : 1);
    pn_settings_fill(&s->select_batches, half < BATCHES ? half : BATCHES);
    const int64_t room = s->steps > s->select ? s->steps - s->select : 0,
                  some = s->select / 10 < FINALISTS ? s->select / 10 : FINALISTS;
    pn_settings_fill(&s->finalists, some < room ? some : room);
    pn_settings_fill(&s->final_batches, half);
    pn_settings_fill(&s->warmup, room - s->finalists);
    pn_settings_fill(&s->samples, 1);
    pn_settings_fill(&s->evidence, 0);
    pn_settings_fill(&s->distinct_inputs, 1);
    pn_settings_fill_real(&s->clip, 0.25);
    if (s->select > s->steps)
        return pn_fail(PN_EARG, "--select %lld, want at most the %lld steps of the search",
                       (long long)s->select, (long long)s->steps);
    if (s->finalists > s->select)
        return pn_fail(PN_EARG, "--finalists %lld, want at most the %lld of --select",
                       (long long)s->finalists, (long long)s->select);
    if (s->select + s->finalists > s->steps)
        return pn_fail(PN_EARG,
                       "--finalists %lld behind --select %lld, want at most the %lld steps of the "
                       "search together",
                       (long long)s->finalists, (long long)s->select, (long long)s->steps);
    if (s->select_batches > half)
        return pn_fail(PN_EARG, "--select-batches %lld, want at most %lld: those of the half",
                       (long long)s->select_batches, (long long)half);
    if (s->final_batches > half)
        return pn_fail(PN_EARG, "--final-batches %lld, want at most %lld: those of the half",
                       (long long)s->final_batches, (long long)half);
    return PN_OK;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* A forward pass is a third of a training step. */
static double cost(const pn_settings *s, int64_t steps) {
    const int64_t trained = least(steps, s->steps - s->select - s->finalists),
                  first = least(steps - trained, s->select), again = steps - trained - first;
    return (double)trained +
           ((double)first * (double)s->select_batches + (double)again * (double)s->final_batches) /
               3;
}

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    char again[96] = "";
    if (s->finalists)
        snprintf(again, sizeof again, ", and the best %lld once more by %lld",
                 (long long)s->finalists, (long long)s->final_batches);
    snprintf(text, PN_METHOD_TEXT,
             "random search: %lld steps train uniform cells, %lld judge one each by %lld batches%s",
             (long long)(s->steps - s->select - s->finalists), (long long)s->select,
             (long long)s->select_batches, again);
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
                         .finalists = (int)settings->finalists,
                         .final_batches = settings->final_batches,
                         .rate = settings->rate,
                         .rate_end = settings->rate_end,
                         .best = {.step = -1}};
    for (int i = 0; i < s->finalists; i++) s->finalist[i].step = -1;
    return pn_prior_init(&s->prior, space, true);
}

/* The first steps that judge: cells, and finalists. */
static int64_t first_judged(const random_search *s) { return s->steps - s->select - s->finalists; }
static int64_t first_final(const random_search *s) { return s->steps - s->finalists; }

static void draw(const random_search *s, int64_t step, pn_arch *arch) {
    pn_prior_sample(&s->prior, s->seed, (uint64_t)step, 0, arch);
}

static pn_status train(const random_search *s, const pn_evaluator *e, pn_step_report *r) {
    r->trained = true;
    r->images = e->batch;
    r->weight_v[0] = r->ess_v = 1;
    r->rate_v = pn_cosine_rate(s->rate, s->rate_end, r->step, first_judged(s));
    PN_TRY(e->begin(e->self, r->step));
    if (e->deal) PN_TRY(e->deal(e->self, 1, r->arch));
    PN_TRY(e->train(e->self, 0, r->arch));
    PN_TRY(e->update(e->self, r->rate_v));
    PN_TRY(e->finish(e->self, 1, r->evaluation, &r->gradient_norm_v));
    PN_TRY(pn_step_check(&s->prior.space, r));
    pn_step_sum(r, e->batch);
    return PN_OK;
}

static bool is_better(const judged *a, const judged *b) {
    return b->step < 0 || a->accuracy > b->accuracy ||
           (a->accuracy == b->accuracy && a->likelihood > b->likelihood);
}

/* Behind all that are as good; the last of a full list falls out. */
static void list(random_search *s, judged one) {
    int at = s->finalists;
    while (at > 0 && is_better(&one, &s->finalist[at - 1])) {
        if (at < s->finalists) s->finalist[at] = s->finalist[at - 1];
        at--;
    }
    if (at < s->finalists) s->finalist[at] = one;
}

/* The cell that `drawn` drew. The best of the finals stands above all that came before. */
static pn_status judge(random_search *s, const pn_evaluator *e, int64_t drawn, pn_step_report *r) {
    const bool final = r->step >= first_final(s);
    const int64_t batches = final ? s->final_batches : s->batches;
    r->validated = true;
    r->images = batches * e->batch;
    PN_TRY(e->score(e->self, r->arch, batches, r->evaluation));
    PN_TRY(pn_step_check(&s->prior.space, r));
    pn_step_sum(r, (double)r->images);
    const judged one = {(double)drawn, r->val_accuracy, r->evaluation[0].val_ll};
    if (!final) list(s, one);
    if (r->step != first_final(s) && !is_better(&one, &s->best)) return PN_OK;
    r->weight_pi[0] = r->ess_pi = 1;
    s->best = one;
    return PN_OK;
}

static int64_t position(const void *self) { return ((const random_search *)self)->position; }

static pn_status step(void *self, const pn_evaluator *evaluator, pn_step_report *r) {
    random_search *s = self;
    memset(r, 0, sizeof *r);
    r->step = position(s);
    if (r->step >= s->steps)
        return pn_fail(PN_EARG, "step %lld of a search of %lld steps", (long long)r->step,
                       (long long)s->steps);
    r->count = 1;
    r->warmup = r->step < first_judged(s);
    r->entropy = pn_prior_entropy_uniform(&s->prior);
    r->log_p[0] = -r->entropy;
    const int64_t final = r->step - first_final(s),
                  drawn = final < 0 ? r->step : (int64_t)s->finalist[final].step;
    draw(s, drawn, r->arch);
    PN_TRY(r->warmup ? train(s, evaluator, r) : judge(s, evaluator, drawn, r));
    s->position++;
    return PN_OK;
}

/* ---- its state ------------------------------------------------------------------------------- */

enum { OF_ONE = sizeof(judged) / sizeof(double) };

static int count(const void *self) {
    return 1 + OF_ONE * (1 + ((const random_search *)self)->finalists);
}

static void save(const void *self, double *state) {
    const random_search *s = self;
    state[0] = (double)s->position; /* exact below 2^53 */
    memcpy(state + 1, &s->best, sizeof s->best);
    memcpy(state + 1 + OF_ONE, s->finalist, (size_t)s->finalists * sizeof *s->finalist);
}

static bool is_whole(double x, int64_t from, int64_t to) {
    return x >= (double)from && x <= (double)to && x == floor(x);
}

/* One that steps before `at` have judged; or none, if there need not be one. */
static pn_status check_judged(const random_search *s, const judged *one, bool there, int64_t at) {
    const int64_t first = first_judged(s), end = at < first_final(s) ? at : first_final(s);
    if (there ? !is_whole(one->step, first, end - 1) : one->step != -1)
        return pn_fail(PN_EINPUT, "state of a search: best cell of step %g, after step %lld",
                       one->step, (long long)at);
    if (!(one->accuracy >= 0 && one->accuracy <= 1) || !isfinite(one->likelihood))
        return pn_fail(PN_EINPUT, "state of a search: accuracy %g, log-likelihood %g",
                       one->accuracy, one->likelihood);
    return PN_OK;
}

static pn_status restore(void *self, const double *state, int numbers) {
    random_search *s = self;
    judged best, finalist[MOST_FINALISTS];
    if (numbers != count(self))
        return pn_fail(PN_EINPUT, "state of a search with %d numbers, want %d", numbers,
                       count(self));
    if (!is_whole(state[0], 0, s->steps))
        return pn_fail(PN_EINPUT, "state of a search: step %g, want 0..%lld", state[0],
                       (long long)s->steps);
    const int64_t at = (int64_t)state[0], judged_so_far = at - first_judged(s);
    memcpy(&best, state + 1, sizeof best);
    memcpy(finalist, state + 1 + OF_ONE, (size_t)s->finalists * sizeof *finalist);
    PN_TRY(check_judged(s, &best, judged_so_far > 0, at));
    for (int i = 0; i < s->finalists; i++)
        PN_TRY(check_judged(s, &finalist[i], i < judged_so_far, at));
    s->position = at;
    s->best = best;
    memcpy(s->finalist, finalist, (size_t)s->finalists * sizeof *finalist);
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
    draw(s, s->best.step < 0 ? first_judged(s) : (int64_t)s->best.step, arch);
}

static void believe(const void *self, pn_belief *b) {
    const random_search *s = self;
    *b = (pn_belief){.entropy = pn_prior_entropy_uniform(&s->prior)};
    b->entropy_uniform = b->entropy;
    if (s->best.step < 0) return;
    b->known = b->learnt = b->derived = true;
    derive(self, &b->arch);
    pn_arch_inputs(&s->prior.space, &b->arch, b->input);
}

static void conclude(const void *self, const pn_arch *arch, char text[PN_METHOD_TEXT]) {
    const random_search *s = self;
    (void)arch;
    char best[64] = "";
    if (s->finalists) snprintf(best, sizeof best, ", of which the best %d,", s->finalists);
    snprintf(text, PN_METHOD_TEXT,
             "the best of %lld uniform cells%s by %lld batches of the validation half: accuracy "
             "%.1f %%",
             (long long)s->select, best, (long long)(s->finalists ? s->final_batches : s->batches),
             100 * s->best.accuracy);
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
    .options = "|shards|select|select-batches|finalists|final-batches|",
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
