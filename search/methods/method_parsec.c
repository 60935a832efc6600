/* method_parsec.c -- PARSEC (parsec.h) as a method. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/json.h"
#include "search/methods/found.h"
#include "search/methods/method.h"
#include "search/methods/standalone.h"
#include "search/methods/warm_start.h"

/* ---- its settings ---------------------------------------------------------------------------- */

/* By evidence a step has one sample, trained, and the first pi is uniform. */
static bool wants_samples(const pn_settings *s) {
    return (s->samples != PN_UNSET && s->samples > 1) || s->evidence == 0 || s->freeze_weights ||
           s->prior[0] || s->rate_pi != PN_UNSET_REAL || s->temperature != PN_UNSET_REAL ||
           s->samples_per_nat != PN_UNSET_REAL;
}

/* The most there can be, of the uniform pi. A run that goes on has both settings. */
static pn_status resolve_samples_per_nat(pn_settings *s) {
    const pn_space space = pn_space_darts();
    pn_prior uniform;
    if (s->samples_per_nat == PN_UNSET_REAL) return PN_OK;
    if (s->evidence)
        return pn_fail(PN_EARG,
                       "--samples-per-nat %g with --evidence, which draws one architecture a step",
                       s->samples_per_nat);
    PN_TRY(pn_prior_init(&uniform, &space, s->distinct_inputs));
    const int most = pn_samples_at(pn_prior_entropy_uniform(&uniform), s->samples_per_nat);
    if (most > PN_MAX_SAMPLES)
        return pn_fail(PN_EARG,
                       "--samples-per-nat %g makes %d samples of the uniform distribution, want at "
                       "most %d",
                       s->samples_per_nat, most, PN_MAX_SAMPLES);
    if (s->samples != PN_UNSET && s->samples != most)
        return pn_fail(PN_EARG, "want one of --samples and --samples-per-nat");
    s->samples = most;
    return PN_OK;
}

static pn_status resolve(pn_settings *s, const pn_data *data) {
    (void)data;
    if (!strcmp(s->rule, "auto"))
        snprintf(s->rule, sizeof s->rule, "%s", wants_samples(s) ? "practical" : "evidence");
    pn_rule rule;
    PN_TRY(pn_rule_read(s->rule, &rule));
    const pn_search_settings preset = pn_rule_preset(rule, s->steps, (int)s->batch);
    pn_settings_fill(&s->evidence, preset.evidence);
    pn_settings_fill(&s->distinct_inputs, preset.distinct_inputs);
    PN_TRY(resolve_samples_per_nat(s));
    pn_settings_fill(&s->samples, s->evidence ? 1 : preset.samples > 1 ? preset.samples : 4);
    if (s->rate_end == PN_UNSET_REAL) s->rate_end = s->evidence ? s->rate : preset.rate_v_end;
    if (s->entropy_end == PN_UNSET_REAL) s->entropy_end = pn_rule_evidence(1).entropy_end;
    pn_settings_fill(&s->restart, s->evidence ? preset.restart : 0);
    if (!strcmp(s->found, "auto"))
        snprintf(s->found, sizeof s->found, "%s", preset.found_supported ? "supported" : "mode");
    if (s->evidence && s->prior[0])
        return pn_fail(PN_EARG, "--evidence begins from the uniform pi, not with --prior");
    pn_settings_fill(&s->warmup, s->freeze_weights || s->keep_weights ? 0 : preset.warmup);
    pn_settings_fill(&s->warmup_prior, s->prior[0] != 0);
    if (s->keep_weights && !s->prior[0])
        return pn_fail(PN_EARG, "--keep-weights wants --prior RUN, whose weights are kept");
    pn_settings_fill(&s->baseline, preset.baseline);
    if (s->temperature == PN_UNSET_REAL) s->temperature = preset.temperature;
    if (s->warmup > s->steps)
        return pn_fail(PN_EARG, "--warmup %lld, want at most the %lld steps of the search",
                       (long long)s->warmup, (long long)s->steps);
    return PN_OK;
}

pn_search_settings pn_settings_search(const pn_settings *s) {
    pn_search_settings out = pn_rule_paper(s->steps);
    (void)pn_rule_read(s->rule, &out.rule); /* it has been read before */
    out.samples = (int)s->samples;
    out.samples_per_nat = s->samples_per_nat == PN_UNSET_REAL ? 0 : s->samples_per_nat;
    out.warmup = s->warmup;
    out.warmup_prior = s->warmup_prior;
    out.temperature = s->temperature;
    out.temperature_v = s->temperature_v;
    out.baseline = s->baseline;
    out.distinct_inputs = s->distinct_inputs;
    out.evidence = s->evidence;
    out.entropy_end = s->entropy_end;
    out.restart = s->restart;
    out.found_supported = !strcmp(s->found, "supported");
    out.freeze_weights = s->freeze_weights;
    out.rate_pi = s->rate_pi == PN_UNSET_REAL ? 0 : s->rate_pi;
    out.rate_v = s->rate;
    out.rate_v_end = s->rate_end;
    out.seed = s->seed;
    return out;
}

static double cost(const pn_settings *s, int64_t steps) {
    pn_search_settings made = pn_settings_search(s);
    made.steps = steps;
    return pn_search_cost(&made);
}

/* By evidence a warm-up step does what every step does, but draws uniformly. */
static const char *warmup_name(const pn_settings *s) { return s->evidence ? "uniform" : "warm-up"; }

static void describe(const pn_settings *s, char text[PN_METHOD_TEXT]) {
    char anew[64] = "", rule[96], samples[48];
    snprintf(samples, sizeof samples, "K = %lld", (long long)s->samples);
    if (s->samples_per_nat != PN_UNSET_REAL)
        snprintf(samples, sizeof samples, "K = %g a nat, at most %lld", s->samples_per_nat,
                 (long long)s->samples);
    if (s->evidence && s->restart)
        snprintf(anew, sizeof anew, "new weights every %lld, ", (long long)s->restart);
    if (s->evidence)
        snprintf(rule, sizeof rule, "to %g nats", s->entropy_end);
    else
        snprintf(rule, sizeof rule, "%s, T = %g%s", samples, s->temperature,
                 s->baseline ? ", control variate" : "");
    snprintf(text, PN_METHOD_TEXT, "rule %s: %lld steps, %lld of them %s, %s%s%s", s->rule,
             (long long)s->steps, (long long)s->warmup, warmup_name(s), anew, rule,
             s->distinct_inputs ? ", distinct inputs" : "");
}

/* ---- its state ------------------------------------------------------------------------------- */

static pn_status begin(void *self, const pn_space *space, const pn_settings *settings) {
    const pn_search_settings s = pn_settings_search(settings);
    return pn_search_init(self, space, &s);
}

static pn_status step(void *self, const pn_evaluator *evaluator, pn_step_report *report) {
    return pn_search_step(self, evaluator, report);
}

static int64_t position(const void *self) { return ((const pn_search *)self)->step; }

static int count(const void *self) { return pn_search_state_count(self); }

static void save(const void *self, double *state) { pn_search_save(self, state); }

static pn_status restore(void *self, const double *state, int numbers) {
    return pn_search_restore(self, state, numbers);
}

/* ---- what it believes ------------------------------------------------------------------------ */

static int columns(const void *self) { return ((const pn_search *)self)->prior.count; }

static void column(const void *self, int i, char name[PN_NAME_BYTES]) {
    pn_logit_name(&((const pn_search *)self)->prior.space, i, name);
}

static void probabilities(const void *self, double *probability) {
    double all[PN_MAX_LOGITS];
    pn_prior_marginals(&((const pn_search *)self)->prior, all);
    memcpy(probability, all, (size_t)columns(self) * sizeof *all);
}

/* Until pi is moved, the most probable cell is one of many ties. */
static void believe(const void *self, pn_belief *b) {
    const pn_search *s = self;
    pn_prior_belief(&s->prior, b);
    b->learnt = s->updates > 0;
    b->derived = !s->settings.found_supported;
}

static void derive(const void *self, pn_arch *arch) { pn_search_found(self, arch); }

static void conclude(const void *self, const pn_arch *arch, char text[PN_METHOD_TEXT]) {
    const pn_prior *pi = &((const pn_search *)self)->prior;
    snprintf(text, PN_METHOD_TEXT, "entropy %.2f of %.2f nats; log p of this cell pair %.2f",
             pn_prior_entropy(pi, NULL), pn_prior_entropy_uniform(pi), pn_prior_log_p(pi, arch));
}

static pn_prior *prior(void *self) { return &((pn_search *)self)->prior; }

static pn_status read_prior(const pn_safetensors *checkpoint, const json_t *settings_of,
                            pn_prior *pi) {
    pn_search search;
    const bool evidence = json_is_true(json_object_get(settings_of, "evidence"));
    const bool distinct = json_is_true(json_object_get(settings_of, "distinct-inputs"));
    const pn_search_settings settings = evidence ? pn_rule_evidence(1) : pn_rule_paper(1);
    PN_TRY(pn_search_init(&search, &pi->space, &settings));
    const int64_t numbers = pn_search_state_count(&search);
    const void *state;
    PN_TRY(pn_safetensors_get(checkpoint, pn_checkpoint_state, PN_F64, 1, &numbers, &state));
    memcpy(pi->logit, state, (size_t)pi->count * sizeof *pi->logit);
    const int bad = pn_prior_bad_logit(pi->logit, pi->count);
    if (bad >= 0)
        return pn_fail(PN_EINPUT, "logit %d is %g, want one between %g and %g", bad, pi->logit[bad],
                       -PN_LARGEST_LOGIT, PN_LARGEST_LOGIT);
    pi->distinct = distinct;
    return PN_OK;
}

static double agreement(const void *self) {
    const pn_search *s = self;
    return s->settings.evidence ? pn_effects_agreement(&s->effects) : NAN;
}

const pn_method pn_method_parsec = {
    .name = "parsec",
    .options =
        "|rule|samples|samples-per-nat|shards|warmup|temperature|temperature-weights|baseline|"
        "distinct-inputs|evidence|entropy-end|restart|found|freeze-weights|rate-pi|skip-below|"
        "prior|warmup-prior|keep-weights|",
    .resolve = resolve,
    .cost = cost,
    .describe = describe,
    .warmup_name = warmup_name,
    .bytes = sizeof(pn_search),
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
    .agreement = agreement,
};
