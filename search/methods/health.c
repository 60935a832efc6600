/* health.c -- the signs of collapse, from the distribution and its mode. */
#include "search/methods/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void warn(pn_health *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void warn(pn_health *h, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(h->warning[h->warnings++], PN_HEALTH_SENTENCE, format, args);
    va_end(args);
}

/* Which of the cell's two inputs a cell reads. */
static void cell_reads(const pn_space *space, const pn_cell *cell, bool reads[2]) {
    reads[0] = reads[1] = false;
    for (int node = 0; node < space->nodes; node++)
        for (int slot = 0; slot < pn_slots(cell, node); slot++) {
            const pn_choice t = cell->term[node][slot];
            if (t.op != PN_NONE && t.input < 2) reads[t.input] = true;
        }
}

/* From the head down: a cell counts if one of the two above it counts and reads it. */
int pn_cells_reached(const pn_space *space, const pn_arch *arch, int layers) {
    bool reads[PN_KINDS][2] = {{false}};
    for (int kind = 0; kind < space->kinds; kind++)
        cell_reads(space, &arch->cell[kind], reads[kind]);
    bool above = true, above_that = false; /* cells i + 1 and i + 2; the head stands on the last */
    int reached = 1;
    for (int i = layers - 2; i >= 0; i--) {
        const bool *by_next = reads[space->kinds == 1 ? PN_NORMAL : pn_kind_at(i + 1, layers)];
        const bool *by_second = reads[space->kinds == 1 ? PN_NORMAL : pn_kind_at(i + 2, layers)];
        bool here = (above && by_next[1]) || (above_that && by_second[0]);
        reached += here;
        above_that = above;
        above = here;
    }
    return reached;
}

void pn_prior_belief(const pn_prior *prior, pn_belief *b) {
    pn_factor factor[PN_MAX_FACTORS];
    double probability[PN_MAX_LOGITS];
    *b = (pn_belief){.known = true, .derived = true};
    pn_prior_mode(prior, &b->arch);
    int factors = pn_factors(&prior->space, factor);
    pn_prior_marginals(prior, probability);
    for (int f = 0; f < factors; f++)
        for (int i = 0; !factor[f].ops && i < factor[f].choices; i++)
            b->input[i] += probability[factor[f].first + i] / (factors / 2.0);
    b->entropy = pn_prior_entropy(prior, NULL);
    b->entropy_uniform = pn_prior_entropy_uniform(prior);
}

void pn_arch_inputs(const pn_space *s, const pn_arch *arch, double share[2 + PN_MAX_NODES - 1]) {
    const int terms = pn_arch_terms(s, arch);
    memset(share, 0, (2 + PN_MAX_NODES - 1) * sizeof *share);
    for (int kind = 0; kind < s->kinds; kind++)
        for (int node = 0; node < s->nodes; node++)
            for (int slot = 0; slot < pn_slots(&arch->cell[kind], node); slot++) {
                const pn_choice t = arch->cell[kind].term[node][slot];
                if (t.op != PN_NONE) share[t.input] += 1.0 / terms;
            }
}

void pn_health_check(const pn_prior *prior, int layers, pn_health *h) {
    pn_belief belief;
    pn_prior_belief(prior, &belief);
    pn_health_of(&prior->space, &belief, layers, h);
}

void pn_health_of(const pn_space *s, const pn_belief *belief, int layers, pn_health *h) {
    memset(h, 0, sizeof *h);
    h->layers = layers;
    if (!belief->known) return;
    for (int kind = 0; kind < s->kinds; kind++) {
        const pn_cell *cell = &belief->arch.cell[kind];
        int without = 0, terms = 0;
        for (int node = 0; node < s->nodes; node++)
            for (int slot = 0; slot < pn_slots(cell, node); slot++) {
                const pn_op op = (pn_op)cell->term[node][slot].op;
                terms += op != PN_NONE;
                without += op != PN_NONE && !pn_op_has_weights(op);
            }
        h->free_ops[kind] = terms ? (double)without / terms : 0;
        h->free_ops_all += h->free_ops[kind] / s->kinds;
    }
    memcpy(h->input, belief->input, sizeof h->input);
    h->reached = pn_cells_reached(s, &belief->arch, layers);
    h->entropy = belief->entropy;
    h->entropy_uniform = belief->entropy_uniform;

    if (h->free_ops[PN_NORMAL] > PN_HEALTH_FREE)
        warn(h,
             "%.0f %% of the normal cell's terms have no weights (limit %.0f %%): pi may be "
             "collapsing to skips and pools",
             100 * h->free_ops[PN_NORMAL], 100 * PN_HEALTH_FREE);
    if (h->input[0] > PN_HEALTH_INPUT0)
        warn(h,
             "input 0 has a mean probability of %.2f (limit %.2f): pi may be collapsing to "
             "shortcuts around cells",
             h->input[0], PN_HEALTH_INPUT0);
    if (h->reached < layers)
        warn(h, "only %d of the mode's %d cells reach the head (limit %d)", h->reached, layers,
             layers);
    if (h->entropy < PN_HEALTH_ENTROPY * h->entropy_uniform)
        warn(h,
             "entropy of pi is %.2f nats (limit %.2f, %.0f %% of the uniform prior's): pi has all "
             "but decided",
             h->entropy, PN_HEALTH_ENTROPY * h->entropy_uniform, 100 * PN_HEALTH_ENTROPY);
}
