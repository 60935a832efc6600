/* facts.c -- see facts.h. */
#include "search/report/facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/json.h"

/* ---- the distribution ------------------------------------------------------------------------ */

enum { CHOICES = 2 + PN_MAX_NODES - 1 };

/* Weights a, b of two distinct choices with p(i, j) = a_i b_j for i != j, by the marginals of
 * either: proportional fitting (Sinkhorn 1967), with a diagonal of zeros. */
static void fit_pair(const double *first, const double *second, int n, double a[CHOICES],
                     double b[CHOICES]) {
    for (int j = 0; j < n; j++) b[j] = 1;
    for (int round = 0; round < 1000; round++) {
        double change = 0, sum = 0;
        for (int j = 0; j < n; j++) sum += b[j];
        for (int i = 0; i < n; i++) a[i] = first[i] / fmax(sum - b[i], 1e-200);
        sum = 0;
        for (int i = 0; i < n; i++) sum += a[i];
        for (int j = 0; j < n; j++) {
            const double now = second[j] / fmax(sum - a[j], 1e-200);
            change = fmax(change, fabs(now - b[j]) / fmax(now, 1e-200));
            b[j] = now;
        }
        if (change < 1e-12) return;
    }
}

/* Far above what a rounded probability of 0 could mean, and no infinity. */
static double logit_of(double weight) { return log(fmax(weight, 1e-30)); }

void pn_prior_of_marginals(const double probability[PN_MAX_LOGITS], pn_prior *prior) {
    pn_factor factor[PN_MAX_FACTORS];
    const int factors = pn_factors(&prior->space, factor);
    for (int i = 0; i < prior->count; i++) prior->logit[i] = logit_of(probability[i]);
    if (!prior->distinct) return;
    for (int f = 0; f + 2 < factors; f++) { /* inputs, ops, inputs, ops of a node */
        const pn_factor *one = &factor[f], *other = &factor[f + 2];
        double a[CHOICES], b[CHOICES];
        if (one->ops || one->slot != 0) continue;
        fit_pair(probability + one->first, probability + other->first, one->choices, a, b);
        for (int i = 0; i < one->choices; i++) {
            prior->logit[one->first + i] = logit_of(a[i]);
            prior->logit[other->first + i] = logit_of(b[i]);
        }
    }
}

double pn_network_log_p(const pn_prior *prior, const pn_arch *arch) {
    const double log_p = pn_prior_log_p(prior, arch);
    double sum = log_p;
    if (!pn_space_has(&prior->space, arch)) return log_p;
    for (int kind = 0; kind < prior->space.kinds; kind++)
        for (int node = 0; node < prior->space.nodes; node++) {
            pn_arch swapped = *arch;
            pn_choice *term = swapped.cell[kind].term[node];
            const pn_choice first = term[0];
            if (!memcmp(&term[0], &term[1], sizeof first)) continue;
            term[0] = term[1];
            term[1] = first;
            sum += log1p(exp(pn_prior_log_p(prior, &swapped) - log_p));
        }
    return sum;
}

/* Whether the two inputs of a node differ: those of node 0 are then each other's opposites. */
static bool seems_distinct(const pn_prior *prior, const double *probability) {
    pn_factor factor[PN_MAX_FACTORS];
    const int factors = pn_factors(&prior->space, factor);
    for (int f = 0; f + 2 < factors; f++)
        if (!factor[f].ops && factor[f].node == 0 && factor[f].slot == 0 &&
            fabs(probability[factor[f].first] - probability[factor[f + 2].first + 1]) > 1e-6)
            return false;
    return true;
}

/* Row `row` of prior.csv; false if it does not hold a distribution over the whole space. */
static bool marginals_at(const pn_columns *table, int64_t row, const pn_prior *prior,
                         double probability[PN_MAX_LOGITS]) {
    for (int i = 0; i < prior->count; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&prior->space, i, name);
        probability[i] = pn_value_at(table, row, pn_column(table, name));
        if (!(probability[i] >= 0 && probability[i] <= 1)) return false;
    }
    return true;
}

static pn_status read_distribution(pn_facts *f) {
    const pn_space space = pn_space_darts();
    double probability[PN_MAX_LOGITS];
    PN_TRY(pn_prior_init(&f->pi, &space, false));
    if (!f->prior.rows || !marginals_at(&f->prior, f->prior.rows - 1, &f->pi, probability))
        return PN_OK;
    const double distinct = pn_view_setting(&f->view, "distinct-inputs", NAN);
    f->pi.distinct = isnan(distinct) ? seems_distinct(&f->pi, probability) : distinct != 0;
    f->uniform = f->pi;
    pn_prior_of_marginals(probability, &f->pi);
    f->distributed = true;
    f->pi_step = pn_value_at(&f->prior, f->prior.rows - 1, pn_column(&f->prior, "step"));
    const double layers = pn_view_setting(&f->view, "layers", 8);
    pn_health_check(&f->pi, layers >= 1 && layers <= 1000 ? (int)layers : 8, &f->health);
    return PN_OK;
}

/* A node's two terms without their order, and how much more probable they make a network than the
 * mode's two terms in their order do. */
enum { TERMS = CHOICES * PN_MAX_OPS, NODES = TERMS * (TERMS + 1) / 2 };
typedef struct option {
    pn_choice term[PN_NODE_TERMS];
    double gain;
} option;

/* All that a node can be. */
static int options_of(const pn_prior *prior, const pn_arch *mode, int kind, int node,
                      option list[NODES]) {
    const int inputs = pn_inputs(node), terms = inputs * PN_MAX_OPS;
    const double base = pn_prior_log_p(prior, mode);
    const pn_choice *best = mode->cell[kind].term[node];
    double probability[PN_MAX_LOGITS], pair[CHOICES][CHOICES], op[PN_NODE_TERMS][PN_MAX_OPS];
    pn_factor factor[PN_MAX_FACTORS];
    int count = 0;
    const int factors = pn_factors(&prior->space, factor);
    pn_prior_marginals(prior, probability);
    for (int f = 0; f < factors; f++)
        for (int i = 0; factor[f].ops && i < PN_MAX_OPS; i++)
            if ((int)factor[f].kind == kind && factor[f].node == node)
                op[factor[f].slot][i] =
                    log(probability[factor[f].first + i] /
                        probability[factor[f].first +
                                    pn_op_choice(&prior->space, best[factor[f].slot].op)]);
    for (int i = 0; i < inputs; i++)
        for (int j = 0; j < inputs; j++) {
            pn_arch a = *mode;
            a.cell[kind].term[node][0].input = (uint8_t)i;
            a.cell[kind].term[node][1].input = (uint8_t)j;
            pair[i][j] = pn_prior_log_p(prior, &a) - base;
        }
    for (int t = 0; t < terms; t++)
        for (int u = t; u < terms; u++) {
            const int i = t / PN_MAX_OPS, a = t % PN_MAX_OPS, j = u / PN_MAX_OPS,
                      b = u % PN_MAX_OPS;
            double p = exp(pair[i][j] + op[0][a] + op[1][b]);
            if (t != u) p += exp(pair[j][i] + op[0][b] + op[1][a]);
            if (!(p > 0)) continue;
            list[count++] = (option){
                {{prior->space.op[a], (uint8_t)i}, {prior->space.op[b], (uint8_t)j}}, log(p)};
        }
    return count;
}

static int less_likely(const void *a, const void *b) {
    const pn_top_cell *x = a, *y = b;
    if (x->log_p != y->log_p) return x->log_p < y->log_p ? 1 : -1;
    return memcmp(&x->arch, &y->arch, sizeof x->arch);
}

/* The most probable networks: nodes are independent, so the best beginnings are continued in every
 * way, node by node, and the best of those are kept. */
static pn_status find_top(pn_facts *f) {
    option *list = malloc(NODES * sizeof *list);
    pn_top_cell *next = malloc((size_t)PN_TOP_CELLS * NODES * sizeof *next);
    pn_arch mode;
    if (!list || !next) {
        free(list);
        free(next);
        return pn_fail(PN_EMEM, "no memory for the most probable cells");
    }
    pn_prior_mode(&f->pi, &mode);
    memset(f->top, 0, sizeof f->top);
    f->top[0].log_p = pn_prior_log_p(&f->pi, &mode);
    f->tops = 1;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++) {
            const int options = options_of(&f->pi, &mode, kind, node, list);
            int count = 0;
            for (int i = 0; i < f->tops; i++)
                for (int k = 0; k < options; k++) {
                    next[count] = f->top[i];
                    memcpy(next[count].arch.cell[kind].term[node], list[k].term,
                           sizeof list[k].term);
                    next[count++].log_p += list[k].gain;
                }
            qsort(next, (size_t)count, sizeof *next, less_likely);
            f->tops = count < PN_TOP_CELLS ? count : PN_TOP_CELLS;
            memcpy(f->top, next, (size_t)f->tops * sizeof *next);
        }
    free(list);
    free(next);
    return PN_OK;
}

static pn_status find_cell(pn_facts *f) {
    f->known = f->view.found;
    f->arch = f->view.arch;
    if (!f->distributed) return PN_OK;
    if (!f->known && f->search) {
        pn_prior_mode(&f->pi, &f->arch);
        f->known = f->probable = true;
    }
    f->log_p = pn_network_log_p(&f->pi, &f->arch);
    f->log_p_uniform = pn_network_log_p(&f->uniform, &f->arch);
    return find_top(f);
}

/* ---- what it took ---------------------------------------------------------------------------- */

static double largest(const pn_columns *table, const char *name) {
    const int column = pn_column(table, name);
    double most = NAN;
    for (int64_t row = 0; row < table->rows; row++)
        most = fmax(most, pn_value_at(table, row, column));
    return most;
}

static double sum_of(const pn_columns *table, const char *name) {
    const int column = pn_column(table, name);
    double sum = NAN;
    for (int64_t row = 0; row < table->rows; row++) {
        const double x = pn_value_at(table, row, column);
        if (isfinite(x)) sum = isnan(sum) ? x : sum + x;
    }
    return sum;
}

/* Seconds since 1970 of "2026-11-30T04:16:25Z"; NaN if it is something else. */
static double instant(const char *text) {
    struct tm t = {0};
    if (!text || sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday,
                        &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
        return NAN;
    t.tm_year -= 1900;
    t.tm_mon--;
    return (double)timegm(&t);
}

/* From each start or resume to the last event before the next. */
static double seconds_of_events(const json_t *events) {
    double sum = NAN, begun = NAN, last = NAN;
    size_t i;
    json_t *one;
    json_array_foreach(events, i, one) {
        const char *what = json_string_value(json_object_get(one, "event"));
        const double now = instant(json_string_value(json_object_get(one, "time")));
        if (!what || isnan(now)) continue;
        if (!strcmp(what, "start") || !strcmp(what, "resume")) {
            if (last > begun) sum = (isnan(sum) ? 0 : sum) + last - begun;
            begun = now;
        }
        last = now;
    }
    return last > begun ? (isnan(sum) ? 0 : sum) + last - begun : sum;
}

/* Bytes of the arena are in times.csv; runs without one have them in samples.csv. */
static pn_status measure(pn_facts *f) {
    f->seconds = sum_of(&f->times, "ms") / 1000;
    if (isnan(f->seconds)) f->seconds = seconds_of_events(f->events);
    f->parameter_bytes = pn_view_number(&f->view, "parameter_bytes", NAN);
    f->arena_bytes = largest(&f->times, "arena_bytes");
    f->memory_bytes = largest(&f->times, "memory_bytes");
    if (!isnan(f->arena_bytes) || !f->search) return PN_OK;
    pn_columns samples;
    PN_TRY(pn_view_table(&f->view, "samples.csv", &samples));
    f->arena_bytes = largest(&samples, "bytes");
    pn_columns_free(&samples);
    return PN_OK;
}

/* ---- what it would take ---------------------------------------------------------------------- */

static int whole_in(double x, int least, int most) { return x >= least && x <= most ? (int)x : -1; }

/* The network of the run; false if run.json does not say it. */
static bool network_of(const pn_facts *f, char device[48], pn_cost_settings *s) {
    const json_t *images = json_object_get(f->view.root, "images"),
                 *image = json_object_get(images, "image");
    const char *name = pn_view_text(&f->view, "device", "");
    snprintf(device, 48, "%s%.30s",
             strncmp(name, "host-", 5) ? "" : "cpu:", strncmp(name, "host-", 5) ? name : name + 5);
    *s = (pn_cost_settings){
        .network = f->search ? "search" : "eval",
        .stem = pn_view_setting_text(&f->view, "stem", "cifar"),
        .device = device,
        .layers = whole_in(pn_view_setting(&f->view, "layers", -1), 1, 1000),
        .channels = whole_in(pn_view_setting(&f->view, "channels", -1), 4, 4096),
        .batch = whole_in(pn_view_setting(&f->view, "batch", -1), 1, 1 << 20),
        .classes = whole_in(json_number_value(json_object_get(images, "classes")), 1, 1 << 20),
        .share_slot = pn_view_setting(&f->view, "share-slot", 0) != 0,
        .auxiliary = pn_view_setting(&f->view, "auxiliary", 0) != 0,
        .pool_norm = pn_view_setting(&f->view, "pool-norm", 0) != 0,
    };
    bool good = s->layers > 0 && s->channels > 0 && s->batch > 0 && s->classes > 0;
    for (int i = 0; i < 3; i++) {
        s->image[i] = whole_in(json_number_value(json_array_get(image, (size_t)i)), 1, 1 << 14);
        good &= s->image[i] > 0;
    }
    return good;
}

/* What cannot be planned on this machine, or at all, is left out. */
static pn_status plan_one(pn_cost_settings s, const pn_arch *arch, bool *planned,
                          double figure[PN_COSTS]) {
    char genotype[PN_GENOTYPE_BYTES];
    pn_cost cost;
    if (arch) pn_genotype_write(arch, genotype);
    s.genotype = arch ? genotype : NULL;
    s.supernet = !arch;
    const pn_status status = pn_cost_find(&s, &cost);
    *planned = status == PN_OK;
    if (*planned) memcpy(figure, cost.row[0], sizeof cost.row[0]);
    return status == PN_EMEM || status == PN_EIO ? status : PN_OK;
}

static pn_status plan(pn_facts *f) {
    char device[48];
    pn_cost_settings s;
    if (!f->known || !network_of(f, device, &s)) return PN_OK;
    PN_TRY(plan_one(s, &f->arch, &f->planned, f->plan));
    if (!f->planned) { /* kernels that this machine has not: the usual ones' sizes */
        s.device = "cpu";
        PN_TRY(plan_one(s, &f->arch, &f->planned, f->plan));
    }
    if (!f->planned || !f->search) return PN_OK;
    PN_TRY(plan_one(s, NULL, &f->planned_supernet, f->supernet));
    for (int i = 0; i < f->tops; i++)
        PN_TRY(plan_one(s, &f->top[i].arch, &f->top[i].costed, f->top[i].cost));
    return PN_OK;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* The last part of its path, also of "." */
static void take_name(pn_facts *f, const char *path) {
    char *real = realpath(path, NULL);
    const char *whole = real ? real : path, *slash = strrchr(whole, '/');
    snprintf(f->path, sizeof f->path, "%s", path);
    size_t length = strlen(f->path);
    while (length > 1 && f->path[length - 1] == '/') f->path[--length] = 0;
    snprintf(f->name, sizeof f->name, "%s", slash && slash[1] ? slash + 1 : whole);
    free(real);
}

static double last_of(const pn_columns *table, const char *name) {
    return table->rows ? pn_value_at(table, table->rows - 1, pn_column(table, name)) : NAN;
}

static void count_steps(pn_facts *f) {
    const double last = last_of(&f->metrics, f->search ? "step" : "epoch"),
                 all = pn_view_setting(&f->view, f->search ? "steps" : "epochs", 0),
                 warmup = pn_view_setting(&f->view, "warmup", 0);
    f->done = last >= 0 && last < 1e15 ? (int64_t)last + f->search : 0;
    f->all = all > 0 && all < 1e15 ? (int64_t)all : 0;
    f->warmup = warmup > 0 && warmup < 1e15 ? (int64_t)warmup : 0;
    f->evidence = pn_view_setting(&f->view, "evidence", 0) != 0;
}

static pn_status read_all(pn_facts *f, bool planning) {
    PN_TRY(pn_view_table(&f->view, "metrics.csv", &f->metrics));
    PN_TRY(pn_view_table(&f->view, "times.csv", &f->times));
    PN_TRY(pn_view_lines(&f->view, "events.jsonl", &f->events));
    PN_TRY(pn_report_profile_read(&f->view, &f->profile));
    f->search = f->view.kind != PN_VIEW_TRAINING;
    if (f->search) {
        PN_TRY(pn_view_table(&f->view, "prior.csv", &f->prior));
        PN_TRY(pn_view_table(&f->view, "truth.csv", &f->truth));
        PN_TRY(pn_view_json(&f->view, "compare.json", &f->compare));
    }
    count_steps(f);
    PN_TRY(read_distribution(f));
    PN_TRY(find_cell(f));
    PN_TRY(measure(f));
    return planning ? plan(f) : PN_OK;
}

pn_status pn_facts_read(pn_facts *f, const char *path, bool planning) {
    *f = (pn_facts){.view = PN_NO_VIEW};
    take_name(f, path);
    pn_status s = pn_view_open(&f->view, path);
    if (s == PN_OK) s = read_all(f, planning);
    if (s != PN_OK) pn_facts_free(f);
    return s;
}

void pn_facts_free(pn_facts *f) {
    pn_columns_free(&f->metrics);
    pn_columns_free(&f->prior);
    pn_columns_free(&f->truth);
    pn_columns_free(&f->times);
    json_decref(f->events);
    pn_report_profile_free(&f->profile);
    json_decref(f->compare);
    pn_view_close(&f->view);
    *f = (pn_facts){.view = PN_NO_VIEW};
}
