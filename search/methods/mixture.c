/* mixture.c -- see mixture.h. */
#include "search/methods/mixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/rng.h"

enum { MOST_TERMS = (PN_MAX_NODES + 1) * PN_MAX_OPS }; /* that one node may choose from */

static const char *const kind_name[PN_KINDS] = {"normal", "reduce"};

static int ops_of(const pn_mixture *m) { return 1 + m->space.ops; }

int pn_mixture_edges(const pn_mixture *m) { return m->space.kinds * pn_edges(m->space.nodes); }

/* The logit of an edge's `none`; those of its ops follow. */
static int edge_at(const pn_mixture *m, int kind, int node, int input) {
    return (kind * pn_edges(m->space.nodes) + pn_edge(node, input)) * ops_of(m);
}

/* Two uniform numbers make a normal one (Box, Muller 1958). */
static double normal(uint64_t seed, int i) {
    const double pi = acos(-1), u = pn_uniform(seed, PN_STREAM_GUMBEL, 0, 2 * (uint64_t)i),
                 v = pn_uniform(seed, PN_STREAM_GUMBEL, 0, 2 * (uint64_t)i + 1);
    return sqrt(-2 * log(1 - u)) * cos(2 * pi * v);
}

pn_status pn_mixture_init(pn_mixture *m, const pn_space *space, double deviation, uint64_t seed) {
    PN_TRY(pn_space_check(space));
    memset(m, 0, sizeof *m);
    m->space = *space;
    m->count = pn_mixture_edges(m) * ops_of(m);
    for (int i = 0; i < m->count; i++) m->logit[i] = deviation * normal(seed, i);
    return PN_OK;
}

int pn_mixture_bad(const double *logit, int count) {
    for (int i = 0; i < count; i++)
        if (!(fabs(logit[i]) <= PN_LARGEST_MIXED)) return i;
    return -1;
}

void pn_mixture_name(const pn_space *space, int logit, char name[PN_NAME_BYTES]) {
    const int ops = 1 + space->ops, op = logit % ops, edges = pn_edges(space->nodes);
    const int edge = logit / ops % edges, kind = logit / ops / edges;
    int node = 0;
    while (pn_edges(node + 1) <= edge) node++;
    snprintf(name, PN_NAME_BYTES, "%s.%d.%d.%s", kind_name[kind], node, edge - pn_edges(node),
             op ? pn_op_name[space->op[op - 1]] : "none");
}

/* Step 0 of the stream's numbers is the initial logits'. u = 0 has no logarithm: the next
 * larger. */
void pn_mixture_noise(const pn_mixture *m, uint64_t seed, int64_t step, int pass, double *noise) {
    for (int i = 0; i < m->count; i++) {
        const double u = pn_uniform(seed, PN_STREAM_GUMBEL, 1 + (uint64_t)step,
                                    (uint64_t)pass * PN_MAX_MIX + (uint64_t)i);
        noise[i] = -log(-log(u > 0 ? u : 0x1p-53));
    }
}

void pn_mixture_weights(const pn_mixture *m, const double *noise, double temperature,
                        double *weight) {
    const int ops = ops_of(m);
    for (int at = 0; at < m->count; at += ops) {
        double max = -INFINITY, sum = 0;
        for (int i = at; i < at + ops; i++) {
            weight[i] = (m->logit[i] + (noise ? noise[i] : 0)) / temperature;
            max = fmax(max, weight[i]);
        }
        for (int i = at; i < at + ops; i++) sum += weight[i] = exp(weight[i] - max);
        for (int i = at; i < at + ops; i++) weight[i] /= sum;
    }
}

void pn_mixture_back(const pn_mixture *m, const double *weight, double temperature,
                     const double *of_weight, double *gradient) {
    const int ops = ops_of(m);
    for (int at = 0; at < m->count; at += ops) {
        double mean = 0;
        for (int i = at; i < at + ops; i++) mean += weight[i] * of_weight[i];
        for (int i = at; i < at + ops; i++)
            gradient[i] = weight[i] * (of_weight[i] - mean) / temperature;
    }
}

/* softmax(-noise): e^-noise is -log u, so there is no overflow. */
void pn_mixture_policy(const pn_mixture *m, const double *noise, const double *of_edge,
                       double *gradient) {
    const int ops = ops_of(m);
    for (int edge = 0; edge < pn_mixture_edges(m); edge++) {
        double sum = 0;
        for (int i = edge * ops; i < (edge + 1) * ops; i++) sum += gradient[i] = exp(-noise[i]);
        for (int i = edge * ops; i < (edge + 1) * ops; i++)
            gradient[i] = of_edge[edge] * (1 - ops * gradient[i] / sum);
    }
}

void pn_mixture_choose(const pn_mixture *m, const double *weight, int8_t *chosen) {
    const int ops = ops_of(m);
    for (int edge = 0; edge < pn_mixture_edges(m); edge++) {
        const double *w = weight + edge * ops;
        int best = 0;
        for (int i = 1; i < ops; i++)
            if (w[i] > w[best]) best = i;
        chosen[edge] = (int8_t)(best - 1);
    }
}

double pn_mixture_entropy(const pn_mixture *m) {
    double weight[PN_MAX_MIX], sum = 0;
    pn_mixture_weights(m, NULL, 1, weight);
    for (int i = 0; i < m->count; i++)
        if (weight[i] > 0) sum -= weight[i] * log(weight[i]);
    return sum;
}

double pn_mixture_entropy_uniform(const pn_mixture *m) {
    return pn_mixture_edges(m) * log(ops_of(m));
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* What a node can have, inputs first, of each the ops in their order. */
typedef struct node_terms {
    int count;
    pn_choice term[MOST_TERMS];
    double weight[MOST_TERMS];
} node_terms;

static void node_terms_of(const pn_mixture *m, const double *weight, int kind, int node,
                          node_terms *t) {
    t->count = 0;
    for (int input = 0; input < pn_inputs(node); input++)
        for (int op = 0; op < m->space.ops; op++) {
            t->term[t->count] = (pn_choice){m->space.op[op], (uint8_t)input};
            t->weight[t->count++] = weight[edge_at(m, kind, node, input) + 1 + op];
        }
}

static bool may_stand_together(const node_terms *t, bool distinct, int a, int b) {
    return distinct ? t->term[a].input != t->term[b].input : a != b;
}

#define FOR_NODES(m)                                    \
    for (int kind = 0; kind < (m)->space.kinds; kind++) \
        for (int node = 0; node < (m)->space.nodes; node++)

void pn_mixture_cell(const pn_mixture *m, bool distinct, pn_arch *arch) {
    double weight[PN_MAX_MIX] = {0};
    node_terms t = {0};
    pn_mixture_weights(m, NULL, 1, weight);
    memset(arch, 0, sizeof *arch);
    FOR_NODES(m) {
        int best = 0, second = -1;
        node_terms_of(m, weight, kind, node, &t);
        for (int i = 1; i < t.count; i++)
            if (t.weight[i] > t.weight[best]) best = i;
        for (int i = 0; i < t.count; i++)
            if (may_stand_together(&t, distinct, best, i) &&
                (second < 0 || t.weight[i] > t.weight[second]))
                second = i;
        arch->cell[kind].term[node][0] = t.term[best];
        arch->cell[kind].term[node][1] = t.term[second];
    }
}

/* Sum over all pairs of the product of their weights; or, if that is reached before, the pair at
 * which the sum exceeds `until`. */
static double sum_pairs(const node_terms *t, bool distinct, double until, int pair[2]) {
    double sum = 0;
    for (int a = 0; a < t->count; a++)
        for (int b = a + 1; b < t->count; b++) {
            const double p = t->weight[a] * t->weight[b];
            if (!may_stand_together(t, distinct, a, b) || p <= 0) continue;
            pair[0] = a;
            pair[1] = b;
            sum += p;
            if (sum > until) return sum;
        }
    return sum;
}

static int term_number(const node_terms *t, pn_choice c) {
    int i = 0;
    while (i < t->count && (t->term[i].op != c.op || t->term[i].input != c.input)) i++;
    return i;
}

double pn_mixture_log_p(const pn_mixture *m, bool distinct, const pn_arch *arch) {
    double weight[PN_MAX_MIX] = {0}, log_p = 0;
    node_terms t = {0};
    int pair[2];
    pn_mixture_weights(m, NULL, 1, weight);
    if (!pn_space_has(&m->space, arch)) return -INFINITY;
    FOR_NODES(m) {
        node_terms_of(m, weight, kind, node, &t);
        const int a = term_number(&t, arch->cell[kind].term[node][0]),
                  b = term_number(&t, arch->cell[kind].term[node][1]);
        if (a == t.count || b == t.count || !may_stand_together(&t, distinct, a, b))
            return -INFINITY;
        log_p += log(t.weight[a]) + log(t.weight[b]) - log(sum_pairs(&t, distinct, INFINITY, pair));
    }
    return log_p;
}

double pn_mixture_draw(const pn_mixture *m, bool distinct, uint64_t seed, uint64_t index,
                       pn_arch *arch) {
    double weight[PN_MAX_MIX] = {0};
    node_terms t = {0};
    int pair[2] = {0, 1};
    pn_mixture_weights(m, NULL, 1, weight);
    memset(arch, 0, sizeof *arch);
    FOR_NODES(m) {
        const uint64_t number =
            index * PN_KINDS * PN_MAX_NODES + (uint64_t)(kind * PN_MAX_NODES + node);
        node_terms_of(m, weight, kind, node, &t);
        const double all = sum_pairs(&t, distinct, INFINITY, pair);
        (void)sum_pairs(&t, distinct, all * pn_uniform(seed, PN_STREAM_SAMPLE, 0, number), pair);
        for (int i = 0; i < 2; i++) arch->cell[kind].term[node][i] = t.term[pair[i]];
    }
    return pn_mixture_log_p(m, distinct, arch);
}

/* ---- the most probable cells ----------------------------------------------------------------- */

enum { MOST_PAIRS = MOST_TERMS * (MOST_TERMS - 1) / 2 };

/* What a node can be. */
typedef struct node_pairs {
    int kind, node, count;
    node_terms terms;
    int pair[MOST_PAIRS][2];
    double log_p[MOST_PAIRS];
} node_pairs;

static void node_pairs_of(const pn_mixture *m, const double *weight, bool distinct, int kind,
                          int node, node_pairs *p) {
    int last[2];
    p->kind = kind;
    p->node = node;
    p->count = 0;
    node_terms_of(m, weight, kind, node, &p->terms);
    const node_terms *t = &p->terms;
    const double all = log(sum_pairs(t, distinct, INFINITY, last));
    for (int a = 0; a < t->count; a++)
        for (int b = a + 1; b < t->count; b++) {
            if (!may_stand_together(t, distinct, a, b)) continue;
            p->pair[p->count][0] = a;
            p->pair[p->count][1] = b;
            p->log_p[p->count++] = log(t->weight[a]) + log(t->weight[b]) - all;
        }
}

static void take_pair(const void *self, int i, pn_arch *arch) {
    const node_pairs *p = self;
    for (int slot = 0; slot < 2; slot++)
        arch->cell[p->kind].term[p->node][slot] = p->terms.term[p->pair[i][slot]];
}

pn_status pn_mixture_top(const pn_mixture *m, bool distinct, int want, pn_arch *arch, double *log_p,
                         int *found) {
    double weight[PN_MAX_MIX] = {0};
    node_pairs p = {0};
    pn_top top;
    *found = 0;
    PN_TRY(pn_top_begin(&top, want));
    pn_status status = PN_OK;
    pn_mixture_weights(m, NULL, 1, weight);
    FOR_NODES(m) {
        node_pairs_of(m, weight, distinct, kind, node, &p);
        if (status == PN_OK) status = pn_top_continue(&top, p.log_p, p.count, take_pair, &p);
    }
    if (status == PN_OK) *found = pn_top_list(&top, arch, log_p);
    pn_top_end(&top);
    return status;
}

/* ---- cells of every edge --------------------------------------------------------------------- */

/* Which choice of an edge: 0 is `none`, the ops follow. */
static uint8_t op_of(const pn_mixture *m, int choice) {
    return choice ? m->space.op[choice - 1] : (uint8_t)PN_NONE;
}

void pn_mixture_edges_cell(const pn_mixture *m, pn_arch *arch) {
    double weight[PN_MAX_MIX] = {0}, best[PN_MOST_TERMS] = {0};
    pn_mixture_weights(m, NULL, 1, weight);
    memset(arch, 0, sizeof *arch);
    FOR_NODES(m) {
        pn_choice *term = arch->cell[kind].term[node];
        arch->cell[kind].every_edge = 1;
        for (int input = 0; input < pn_inputs(node); input++) {
            const double *w = weight + edge_at(m, kind, node, input);
            int most = 0, at = input;
            for (int i = 1; i < ops_of(m); i++)
                if (w[i] > w[most]) most = i;
            for (; at > 0 && best[at - 1] < w[most]; at--) {
                best[at] = best[at - 1];
                term[at] = term[at - 1];
            }
            best[at] = w[most];
            term[at] = (pn_choice){op_of(m, most), (uint8_t)input};
        }
    }
}

double pn_mixture_edges_log_p(const pn_mixture *m, const pn_arch *arch) {
    double weight[PN_MAX_MIX] = {0}, log_p = 0;
    pn_mixture_weights(m, NULL, 1, weight);
    FOR_NODES(m) {
        const pn_cell *cell = &arch->cell[kind];
        if (!cell->every_edge) return -INFINITY;
        for (int slot = 0; slot < pn_slots(cell, node); slot++) {
            const pn_choice t = cell->term[node][slot];
            int choice = 0;
            while (choice < ops_of(m) && op_of(m, choice) != t.op) choice++;
            if (choice == ops_of(m)) return -INFINITY;
            log_p += log(weight[edge_at(m, kind, node, t.input) + choice]);
        }
    }
    return log_p;
}

double pn_mixture_edges_draw(const pn_mixture *m, uint64_t seed, uint64_t index, pn_arch *arch) {
    double weight[PN_MAX_MIX] = {0};
    pn_mixture_weights(m, NULL, 1, weight);
    memset(arch, 0, sizeof *arch);
    FOR_NODES(m) {
        arch->cell[kind].every_edge = 1;
        for (int input = 0; input < pn_inputs(node); input++) {
            const int at = edge_at(m, kind, node, input);
            const uint64_t number = index * PN_MAX_MIX_EDGES + (uint64_t)(at / ops_of(m));
            double left = pn_uniform(seed, PN_STREAM_SAMPLE, 0, number);
            int choice = 0;
            while (choice < ops_of(m) - 1 && left >= weight[at + choice])
                left -= weight[at + choice++];
            arch->cell[kind].term[node][input] = (pn_choice){op_of(m, choice), (uint8_t)input};
        }
    }
    return pn_mixture_edges_log_p(m, arch);
}

typedef struct edge_choices {
    const pn_mixture *mixture;
    int kind, node, input;
} edge_choices;

static void take_choice(const void *self, int i, pn_arch *arch) {
    const edge_choices *e = self;
    pn_cell *cell = &arch->cell[e->kind];
    cell->every_edge = 1;
    cell->term[e->node][e->input] = (pn_choice){op_of(e->mixture, i), (uint8_t)e->input};
}

pn_status pn_mixture_edges_top(const pn_mixture *m, int want, pn_arch *arch, double *log_p,
                               int *found) {
    double weight[PN_MAX_MIX] = {0};
    pn_top top;
    *found = 0;
    PN_TRY(pn_top_begin(&top, want));
    pn_status status = PN_OK;
    pn_mixture_weights(m, NULL, 1, weight);
    FOR_NODES(m)
    for (int input = 0; input < pn_inputs(node); input++) {
        const edge_choices e = {m, kind, node, input};
        double of[PN_MIX_OPS];
        for (int i = 0; i < ops_of(m); i++) of[i] = log(weight[edge_at(m, kind, node, input) + i]);
        if (status == PN_OK) status = pn_top_continue(&top, of, ops_of(m), take_choice, &e);
    }
    if (status == PN_OK) *found = pn_top_list(&top, arch, log_p);
    pn_top_end(&top);
    return status;
}
