/* effects.c -- ridge regression on counts, in the form of sums. */
#include "search/methods/effects.h"

#include <math.h>
#include <string.h>

/* Standard deviation of an effect at one node relative to one of the whole cell. */
#define NODE_SHARE 0.3

/* The level follows the loss of some 50 steps: it falls by a nat in hundreds, while a batch of 64
 * is off by 7 nats of itself. Until there are as many, it is the plain mean: a level of one sample
 * would hand its error to the next fifty. */
#define FORGET 0.02

/* Ratios of the noise's variance to theta's that are tried. Without a sample the most careful. */
static const double penalties[] = {1e5, 3e4, 1e4, 3e3, 1e3, 300, 100, 30, 10};

static int ops_and_inputs(const pn_space *s) { return s->ops + PN_EFFECT_INPUTS; }

/* First effect of a kind's whole cell (node -1), or of a node. */
static int effects_at(const pn_space *s, int kind, int node) {
    return (kind * (1 + s->nodes) + 1 + node) * ops_and_inputs(s);
}

static void count_terms(const pn_space *s, const pn_arch *arch, double *x) {
    memset(x, 0, PN_MOST_EFFECTS * sizeof *x);
    for (int kind = 0; kind < s->kinds; kind++)
        for (int node = 0; node < s->nodes; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const pn_choice term = arch->cell[kind].term[node][slot];
                const int op = pn_op_choice(s, term.op), input = s->ops + term.input;
                double *cell = x + effects_at(s, kind, -1), *own = x + effects_at(s, kind, node);
                cell[op] += 1;
                cell[input] += 1;
                own[op] += NODE_SHARE;
                own[input] += NODE_SHARE;
            }
}

void pn_effects_init(pn_effects *e, const pn_space *space) {
    memset(e, 0, sizeof *e);
    e->space = *space;
    e->count = space->kinds * (1 + space->nodes) * ops_and_inputs(space);
}

void pn_effects_level(pn_effects *e) { e->age = 0; }

void pn_effects_add(pn_effects *e, const pn_arch *arch, double log_likelihood) {
    double x[PN_MOST_EFFECTS];
    count_terms(&e->space, arch, x);
    const bool half = e->samples++ % 2;
    const double gain = fmax(FORGET, 1 / (double)++e->age);
    if (e->age == 1) {
        memcpy(e->mean, x, sizeof x);
        e->level = log_likelihood;
        return;
    }
    const double off = log_likelihood - e->level;
    double *gram = e->gram;
    for (int i = 0; i < e->count; i++) x[i] -= e->mean[i];
    for (int i = 0; i < e->count; i++) {
        e->moment[i] += x[i] * off;
        if (half) e->half[i] += x[i] * off;
        for (int j = 0; j <= i; j++) *gram++ += x[i] * x[j];
    }
    e->square += off * off;
    for (int i = 0; i < e->count; i++) e->mean[i] += gain * x[i];
    e->level += gain * off;
}

/* Cholesky's factor of gram + penalty, in place of it; gives the logarithm of its determinant's
 * root. The matrix is positive definite: a sum of squares and a positive diagonal. */
static double factorise(const pn_effects *e, double penalty, double *factor) {
    double log_root = 0;
    memcpy(factor, e->gram, sizeof e->gram);
    double *row = factor;
    for (int i = 0; i < e->count; row += ++i) {
        const double *above = factor;
        for (int j = 0; j <= i; above += ++j) {
            double sum = row[j] + (i == j ? penalty : 0);
            for (int k = 0; k < j; k++) sum -= row[k] * above[k];
            row[j] = i == j ? sqrt(sum) : sum / above[j];
        }
        log_root += log(row[i]);
    }
    return log_root;
}

/* theta = (gram + penalty)^-1 moment. */
static void solve(const pn_effects *e, const double *factor, const double *moment, double *theta) {
    const double *row = factor;
    for (int i = 0; i < e->count; row += ++i) {
        double sum = moment[i];
        for (int k = 0; k < i; k++) sum -= row[k] * theta[k];
        theta[i] = sum / row[i];
    }
    for (int i = e->count - 1; i >= 0; i--) {
        row -= i + 1;
        theta[i] /= row[i];
        for (int k = 0; k < i; k++) theta[k] -= row[k] * theta[i];
    }
}

/* The posterior mean, and the penalty of the prior that it belongs to: 0 if nothing can be told. */
static double fit(const pn_effects *e, double theta[PN_MOST_EFFECTS]) {
    double factor[sizeof e->gram / sizeof *e->gram], trial[PN_MOST_EFFECTS] = {0};
    double best = -INFINITY, penalty = 0;
    memset(theta, 0, PN_MOST_EFFECTS * sizeof *theta);
    if (e->samples < 2 || !(e->square > 0)) return 0;
    const double n = (double)(e->samples - 1);
    for (size_t i = 0; i < sizeof penalties / sizeof *penalties; i++) {
        const double log_root = factorise(e, penalties[i], factor);
        solve(e, factor, e->moment, trial);
        double left = e->square;
        for (int k = 0; k < e->count; k++) left -= e->moment[k] * trial[k];
        /* log p(l | penalty), with the noise's variance at its best: left / n */
        const double evidence = -n / 2 * log(fmax(left, 1e-12 * e->square)) - log_root +
                                e->count / 2.0 * log(penalties[i]);
        if (evidence <= best) continue;
        best = evidence;
        penalty = penalties[i];
        memcpy(theta, trial, sizeof trial);
    }
    return penalty;
}

void pn_effects_fit(const pn_effects *e, double theta[PN_MOST_EFFECTS]) { (void)fit(e, theta); }

/* u' gram v */
static double product(const pn_effects *e, const double *u, const double *v) {
    const double *gram = e->gram;
    double sum = 0;
    for (int i = 0; i < e->count; i++)
        for (int j = 0; j <= i; j++, gram++)
            sum += *gram * (i == j ? u[i] * v[i] : u[i] * v[j] + u[j] * v[i]);
    return sum;
}

/* Either half has half of the sums of squares, nearly: the architectures are many and drawn alike.
 * So the penalty of a half's (gram / 2 + penalty)^-1 moment is twice the whole's beside the whole
 * gram; the factor 2 that is left cancels in a correlation. */
double pn_effects_agreement(const pn_effects *e) {
    double factor[sizeof e->gram / sizeof *e->gram], theta[PN_MOST_EFFECTS];
    double other[PN_MOST_EFFECTS], first[PN_MOST_EFFECTS] = {0}, second[PN_MOST_EFFECTS] = {0};
    const double penalty = fit(e, theta);
    if (penalty == 0) return 0;
    for (int i = 0; i < e->count; i++) other[i] = e->moment[i] - e->half[i];
    (void)factorise(e, 2 * penalty, factor);
    solve(e, factor, e->half, first);
    solve(e, factor, other, second);
    const double norm = product(e, first, first) * product(e, second, second);
    return norm > 0 ? product(e, first, second) / sqrt(norm) : 0;
}

double pn_effects_score(const pn_effects *e, const double *theta, const pn_arch *arch) {
    double x[PN_MOST_EFFECTS], sum = 0;
    count_terms(&e->space, arch, x);
    for (int i = 0; i < e->count; i++) sum += theta[i] * x[i];
    return sum;
}

/* logits = theta * scale. */
static void set_logits(const pn_effects *e, const double *theta, double scale, pn_prior *prior) {
    pn_factor factor[PN_MAX_FACTORS];
    const int factors = pn_factors(&e->space, factor);
    for (int f = 0; f < factors; f++) {
        const int from = factor[f].ops ? 0 : e->space.ops;
        const double *cell = theta + effects_at(&e->space, factor[f].kind, -1) + from;
        const double *own = theta + effects_at(&e->space, factor[f].kind, factor[f].node) + from;
        for (int c = 0; c < factor[f].choices; c++)
            prior->logit[factor[f].first + c] = scale * (cell[c] + NODE_SHARE * own[c]);
    }
}

/* The entropy falls as the scale grows: its derivative is -scale * variance of the score. */
void pn_effects_prior(const pn_effects *e, const double *theta, double entropy, pn_prior *prior) {
    double low = 0, high = 1, largest = 0;
    for (int i = 0; i < e->count; i++) largest = fmax(largest, fabs(theta[i]));
    set_logits(e, theta, 0, prior);
    if (largest == 0 || pn_prior_entropy(prior, NULL) <= entropy) return;
    const double most = 1e6 / largest; /* some choices are equal: the entropy may stay above */
    for (set_logits(e, theta, high, prior); high < most && pn_prior_entropy(prior, NULL) > entropy;
         set_logits(e, theta, high, prior))
        high *= 2;
    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        set_logits(e, theta, middle, prior);
        if (pn_prior_entropy(prior, NULL) > entropy)
            low = middle;
        else
            high = middle;
    }
}

/* ---- as numbers ------------------------------------------------------------------------------ */

static size_t gram_count(const pn_effects *e) {
    return (size_t)e->count * ((size_t)e->count + 1) / 2;
}

int pn_effects_state_count(const pn_effects *e) { return 4 + 3 * e->count + (int)gram_count(e); }

void pn_effects_save(const pn_effects *e, double *state) {
    const size_t n = (size_t)e->count;
    state[0] = (double)e->samples; /* exact below 2^53 */
    state[1] = e->level;
    state[2] = e->square;
    state[3] = (double)e->age;
    memcpy(state + 4, e->mean, n * sizeof *state);
    memcpy(state + 4 + n, e->moment, n * sizeof *state);
    memcpy(state + 4 + 2 * n, e->half, n * sizeof *state);
    memcpy(state + 4 + 3 * n, e->gram, gram_count(e) * sizeof *state);
}

bool pn_effects_restore(pn_effects *e, const double *state) {
    const size_t n = (size_t)e->count;
    for (int i = 0; i < pn_effects_state_count(e); i++)
        if (!isfinite(state[i])) return false;
    if (state[0] < 0 || state[0] != floor(state[0]) || state[0] > 0x1p53 || state[2] < 0 ||
        state[3] < 0 || state[3] > state[0] || state[3] != floor(state[3]))
        return false;
    const double *gram = state + 4 + 3 * n;
    for (size_t i = 0; i < n; i++) /* the diagonal: sums of squares */
        if (gram[i * (i + 3) / 2] < 0) return false;
    e->samples = (int64_t)state[0];
    e->level = state[1];
    e->square = state[2];
    e->age = (int64_t)state[3];
    memcpy(e->mean, state + 4, n * sizeof *state);
    memcpy(e->moment, state + 4 + n, n * sizeof *state);
    memcpy(e->half, state + 4 + 2 * n, n * sizeof *state);
    memcpy(e->gram, gram, gram_count(e) * sizeof *state);
    return true;
}
