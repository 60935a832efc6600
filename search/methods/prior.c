/* prior.c -- the distribution over architectures.
 *
 * A node has three independent blocks: the pair of its two inputs, and the op of either slot.
 * Whatever is asked of the distribution is a loop over blocks of softmax tables, in logarithms
 * throughout: with distinct inputs a node whose two slots both insist on one input has a
 * normaliser near zero, and subtracting from 1 would lose it. */
#include "search/methods/prior.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"

enum {
    INPUTS = 2 + PN_MAX_NODES - 1,
    PAIRS = PN_MAX_ENTRIES,
    DRAWS = 32 /* numbers of the stream that belong to one architecture: one a block */
};

static const char *const kind_name[PN_KINDS] = {"normal", "reduce"};

static int node_logits(const pn_space *s, int node) {
    return PN_NODE_TERMS * (pn_inputs(node) + s->ops);
}

static int cell_logits(const pn_space *s) {
    int count = 0;
    for (int node = 0; node < s->nodes; node++) count += node_logits(s, node);
    return count;
}

/* The first logit of a slot's inputs; its ops follow. */
static int inputs_at(const pn_space *s, int kind, int node, int slot) {
    int at = kind * cell_logits(s);
    for (int n = 0; n < node; n++) at += node_logits(s, n);
    return at + slot * (pn_inputs(node) + s->ops);
}

static int ops_at(const pn_space *s, int kind, int node, int slot) {
    return inputs_at(s, kind, node, slot) + pn_inputs(node);
}

/* Turns logits into log-probabilities, in place. -INFINITY stays. */
static void log_softmax(double *x, int n) {
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) max = fmax(max, x[i]);
    for (int i = 0; i < n; i++) sum += exp(x[i] - max);
    const double log_sum = log(sum);
    for (int i = 0; i < n; i++) x[i] = (x[i] - max) - log_sum;
}

/* One block of a node as a table of log-probabilities: 0 its pair of inputs (entry i * n + j:
 * slot 0 reads i, slot 1 reads j), 1 and 2 the op of slot 0 and 1. Gives the table's length. */
static int block_table(const pn_prior *p, int kind, int node, int block, double table[PAIRS]) {
    const pn_space *s = &p->space;
    int n = s->ops;
    if (block > 0) {
        memcpy(table, p->logit + ops_at(s, kind, node, block - 1), (size_t)n * sizeof *table);
    } else {
        const double *first = p->logit + inputs_at(s, kind, node, 0);
        const double *second = p->logit + inputs_at(s, kind, node, 1);
        int inputs = pn_inputs(node);
        n = inputs * inputs;
        for (int i = 0; i < inputs; i++)
            for (int j = 0; j < inputs; j++)
                table[i * inputs + j] = p->distinct && i == j ? -INFINITY : first[i] + second[j];
    }
    log_softmax(table, n);
    return n;
}

/* Has an architecture take an entry of a block's table. */
static void block_take(const pn_space *s, pn_choice term[PN_NODE_TERMS], int node, int block,
                       int entry) {
    if (block > 0) {
        term[block - 1].op = s->op[entry];
    } else {
        term[0].input = (uint8_t)(entry / pn_inputs(node));
        term[1].input = (uint8_t)(entry % pn_inputs(node));
    }
}

/* Probabilities of the inputs of both slots, from the table of pairs. */
static void pair_marginals(const double *table, int inputs, double of[PN_NODE_TERMS][INPUTS]) {
    memset(of, 0, PN_NODE_TERMS * sizeof *of);
    for (int i = 0; i < inputs; i++)
        for (int j = 0; j < inputs; j++) {
            double probability = exp(table[i * inputs + j]);
            of[0][i] += probability;
            of[1][j] += probability;
        }
}

static double entropy_of(const double *log_p, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        if (log_p[i] > -INFINITY) sum -= exp(log_p[i]) * log_p[i];
    return sum;
}

pn_status pn_prior_init(pn_prior *prior, const pn_space *space, bool distinct) {
    PN_TRY(pn_space_check(space));
    memset(prior, 0, sizeof *prior);
    prior->space = *space;
    prior->distinct = distinct;
    prior->count = space->kinds * cell_logits(space);
    return PN_OK;
}

int pn_factors(const pn_space *space, pn_factor factor[PN_MAX_FACTORS]) {
    int count = 0;
    for (int kind = 0; kind < space->kinds; kind++)
        for (int node = 0; node < space->nodes; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                factor[count++] = (pn_factor){
                    (pn_kind)kind,  node, slot, false, inputs_at(space, kind, node, slot),
                    pn_inputs(node)};
                factor[count++] = (pn_factor){
                    (pn_kind)kind, node, slot, true, ops_at(space, kind, node, slot), space->ops};
            }
    return count;
}

void pn_factor_name(const pn_factor *factor, char name[PN_NAME_BYTES]) {
    snprintf(name, PN_NAME_BYTES, "%s.%d.%d.%s", kind_name[factor->kind], factor->node,
             factor->slot, factor->ops ? "op" : "input");
}

void pn_logit_name(const pn_space *space, int logit, char name[PN_NAME_BYTES]) {
    pn_factor factor[PN_MAX_FACTORS] = {{0}};
    int f = pn_factors(space, factor) - 1;
    while (f > 0 && factor[f].first > logit) f--;
    int choice = logit - factor[f].first;
    pn_factor_name(&factor[f], name);
    size_t used = strlen(name);
    if (factor[f].ops)
        snprintf(name + used, PN_NAME_BYTES - used, ".%s", pn_op_name[space->op[choice]]);
    else
        snprintf(name + used, PN_NAME_BYTES - used, ".%d", choice);
}

int pn_prior_bad_logit(const double *logit, int count) {
    for (int i = 0; i < count; i++)
        if (!(fabs(logit[i]) <= PN_LARGEST_LOGIT)) return i;
    return -1;
}

int pn_logit_find(const pn_space *space, const char *name) {
    char candidate[PN_NAME_BYTES];
    for (int i = space->kinds * cell_logits(space) - 1; i >= 0; i--) {
        pn_logit_name(space, i, candidate);
        if (strcmp(candidate, name) == 0) return i;
    }
    return -1;
}

/* Every block, in a fixed order. */
#define FOR_BLOCKS(prior)                                       \
    for (int kind = 0; kind < (prior)->space.kinds; kind++)     \
        for (int node = 0; node < (prior)->space.nodes; node++) \
            for (int block = 0; block < 3; block++)

/* The place of a block in tables: kind, node, block. */
static int block_at(int kind, int node, int block) {
    return (kind * PN_MAX_NODES + node) * 3 + block;
}

/* Of one block, from its table. */
static void block_marginals(const pn_space *s, int kind, int node, int block, const double *table,
                            double probability[PN_MAX_LOGITS]) {
    double of[PN_NODE_TERMS][INPUTS];
    if (block > 0) {
        double *out = probability + ops_at(s, kind, node, block - 1);
        for (int i = 0; i < s->ops; i++) out[i] = exp(table[i]);
    } else {
        pair_marginals(table, pn_inputs(node), of);
        for (int slot = 0; slot < PN_NODE_TERMS; slot++)
            memcpy(probability + inputs_at(s, kind, node, slot), of[slot],
                   (size_t)pn_inputs(node) * sizeof *probability);
    }
}

void pn_prior_marginals(const pn_prior *prior, double probability[PN_MAX_LOGITS]) {
    double table[PAIRS];
    memset(probability, 0, PN_MAX_LOGITS * sizeof *probability);
    FOR_BLOCKS(prior) {
        block_table(prior, kind, node, block, table);
        block_marginals(&prior->space, kind, node, block, table, probability);
    }
}

/* ---- one architecture ------------------------------------------------------------------------ */

void pn_tables_make(const pn_prior *prior, pn_tables *t) {
    const pn_space *s = &prior->space;
    memset(t, 0, sizeof *t);
    t->space = *s;
    t->logits = prior->count;
    memset(t->choice, PN_MAX_OPS, sizeof t->choice);
    for (int i = 0; i < s->ops; i++) t->choice[s->op[i]] = (uint8_t)i;
    FOR_BLOCKS(prior) {
        const int b = block_at(kind, node, block);
        const int n = block_table(prior, kind, node, block, t->log_p[b]);
        for (int i = 0; i < n; i++) {
            t->probability[b][i] = exp(t->log_p[b][i]);
            if (t->probability[b][i] > 0) t->last[b] = i;
        }
        block_marginals(s, kind, node, block, t->log_p[b], t->marginal);
    }
}

/* The terms of a sum are added in the order of the blocks. */
double pn_tables_log_p(const pn_tables *t, const pn_arch *arch) {
    double sum = 0;
    for (int kind = 0; kind < t->space.kinds; kind++) {
        if (arch->cell[kind].every_edge) return -INFINITY;
        for (int node = 0; node < t->space.nodes; node++) {
            const pn_choice *term = arch->cell[kind].term[node];
            const int b = block_at(kind, node, 0);
            const int first = t->choice[term[0].op], second = t->choice[term[1].op];
            if (first == PN_MAX_OPS || second == PN_MAX_OPS) return -INFINITY;
            sum += t->log_p[b][term[0].input * pn_inputs(node) + term[1].input];
            sum += t->log_p[b + 1][first];
            sum += t->log_p[b + 2][second];
        }
    }
    return sum;
}

/* The distribution is of the exponential family with one indicator a logit, so the gradient of
 * log p(a) is the indicators of a minus their means: the marginals, conditioned or not. */
void pn_tables_gradient(const pn_tables *t, const pn_arch *arch, double weight, double *gradient) {
    const pn_space *s = &t->space;
    for (int i = 0; i < t->logits; i++) gradient[i] -= weight * t->marginal[i];
    for (int kind = 0, at = 0; kind < s->kinds; kind++)
        for (int node = 0; node < s->nodes; node++)
            for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
                const pn_choice c = arch->cell[kind].term[node][slot];
                gradient[at + c.input] += weight;
                at += pn_inputs(node);
                gradient[at + t->choice[c.op]] += weight;
                at += s->ops;
            }
}

/* Which entry of a block a number of [0, 1) falls on. What is left of it stays below zero once it
 * is, so the entries that it passes are counted without a branch, which would often be
 * mispredicted. */
static int entry_at(const pn_tables *t, int b, double left) {
    int passed = 0;
    for (int i = 0; i < t->last[b]; i++) { /* which also takes what rounding may leave */
        left -= t->probability[b][i];
        passed += left >= 0;
    }
    return passed;
}

void pn_tables_sample(const pn_tables *t, uint64_t seed, uint64_t step, uint64_t index,
                      pn_arch *arch) {
    memset(arch, 0, sizeof *arch);
    FOR_BLOCKS(t) {
        const int b = block_at(kind, node, block);
        const double number = pn_uniform(seed, PN_STREAM_SAMPLE, step, index * DRAWS + (uint64_t)b);
        block_take(&t->space, arch->cell[kind].term[node], node, block, entry_at(t, b, number));
    }
}

double pn_prior_log_p(const pn_prior *prior, const pn_arch *arch) {
    pn_tables t;
    pn_tables_make(prior, &t);
    return pn_tables_log_p(&t, arch);
}

void pn_prior_gradient(const pn_prior *prior, const pn_arch *arch, double weight,
                       double *gradient) {
    pn_tables t;
    pn_tables_make(prior, &t);
    pn_tables_gradient(&t, arch, weight, gradient);
}

void pn_prior_sample(const pn_prior *prior, uint64_t seed, uint64_t step, uint64_t index,
                     pn_arch *arch) {
    pn_tables t;
    pn_tables_make(prior, &t);
    pn_tables_sample(&t, seed, step, index, arch);
}

void pn_prior_mode(const pn_prior *prior, pn_arch *arch) {
    double table[PAIRS];
    memset(arch, 0, sizeof *arch);
    FOR_BLOCKS(prior) {
        int n = block_table(prior, kind, node, block, table);
        int best = 0;
        for (int i = 1; i < n; i++)
            if (table[i] > table[best]) best = i;
        block_take(&prior->space, arch->cell[kind].term[node], node, block, best);
    }
}

/* A block of a node, to be taken. */
typedef struct part {
    const pn_space *space;
    int kind, node, block;
} part;

static void take_part(const void *self, int i, pn_arch *arch) {
    const part *p = self;
    block_take(p->space, arch->cell[p->kind].term[p->node], p->node, p->block, i);
}

/* Blocks are independent. */
pn_status pn_prior_top(const pn_prior *prior, int want, pn_arch *arch, double *log_p, int *found) {
    pn_top top;
    double table[PAIRS];
    *found = 0;
    PN_TRY(pn_top_begin(&top, want));
    pn_status status = PN_OK;
    FOR_BLOCKS(prior) {
        const part one = {&prior->space, kind, node, block};
        const int n = block_table(prior, kind, node, block, table);
        if (status == PN_OK) status = pn_top_continue(&top, table, n, take_part, &one);
    }
    if (status == PN_OK) *found = pn_top_list(&top, arch, log_p);
    pn_top_end(&top);
    return status;
}

double pn_prior_entropy(const pn_prior *prior, double *by_factor) {
    double table[PAIRS], of[PN_NODE_TERMS][INPUTS], total = 0;
    FOR_BLOCKS(prior) {
        int n = block_table(prior, kind, node, block, table);
        double entropy = entropy_of(table, n);
        total += entropy;
        if (!by_factor) continue;
        double *factor = by_factor + (kind * prior->space.nodes + node) * 2 * PN_NODE_TERMS;
        if (block > 0) {
            factor[2 * (block - 1) + 1] = entropy;
        } else {
            pair_marginals(table, pn_inputs(node), of);
            for (int i = 0; i < pn_inputs(node); i++) of[0][i] = log(of[0][i]);
            factor[0] = entropy_of(of[0], pn_inputs(node));
            factor[2] = entropy - factor[0];
        }
    }
    return total;
}

double pn_prior_size(const pn_prior *prior) {
    double size = 1;
    for (int node = 0; node < prior->space.nodes; node++) {
        int inputs = pn_inputs(node), ops = prior->space.ops;
        size *= (double)(inputs * (prior->distinct ? inputs - 1 : inputs)) * (ops * ops);
    }
    return prior->space.kinds == 1 ? size : size * size;
}

double pn_prior_entropy_uniform(const pn_prior *prior) { return log(pn_prior_size(prior)); }
