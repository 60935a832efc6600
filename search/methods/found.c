/* found.c -- see found.h. Ops and inputs of a cell are chosen apart: pi makes them independent. */
#include "search/methods/found.h"

#include <math.h>
#include <string.h>

enum {
    INPUTS = 2 + PN_MAX_NODES - 1,
    COUNTED = PN_MAX_OPS + INPUTS, /* ops, then inputs from PN_MAX_OPS on */
    TERMS = PN_MAX_NODES * PN_NODE_TERMS,
    TIMES = TERMS + 1
};

/* In one of how many cells a choice has to stand that often. */
#define RARE 100

/* ---- what was drawn -------------------------------------------------------------------------- */

static void count_choices(const pn_space *space, const pn_cell *cell, int times[COUNTED]) {
    memset(times, 0, COUNTED * sizeof *times);
    for (int node = 0; node < space->nodes; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++) {
            times[pn_op_choice(space, cell->term[node][slot].op)]++;
            times[PN_MAX_OPS + cell->term[node][slot].input]++;
        }
}

void pn_support_of(const pn_search *search, pn_support *support) {
    const pn_search_settings *s = &search->settings;
    const int64_t trained = search->step < s->warmup ? search->step : s->warmup;
    int64_t cells[PN_KINDS][COUNTED][TIMES] = {{{0}}}; /* in which a choice stands so often */
    pn_prior uniform = search->prior;
    pn_tables tables;
    memset(uniform.logit, 0, sizeof uniform.logit);
    pn_tables_make(&uniform, &tables);
    for (int64_t step = 0; step < trained; step++) {
        pn_arch arch;
        pn_tables_sample(&tables, s->seed, (uint64_t)step, 0, &arch);
        for (int kind = 0; kind < uniform.space.kinds; kind++) {
            int times[COUNTED];
            count_choices(&uniform.space, &arch.cell[kind], times);
            for (int c = 0; c < COUNTED; c++) cells[kind][c][times[c]]++;
        }
    }
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int c = 0; c < COUNTED; c++) {
            int64_t as_often = 0;
            int most = TERMS;
            for (; most > 0 && trained; most--) {
                as_often += cells[kind][c][most];
                if (as_often * RARE >= trained && as_often) break;
            }
            support->most[kind][c] = most;
        }
}

/* ---- the best within ------------------------------------------------------------------------- */

/* The factors of one kind's ops, or of its inputs, and the best choices so far. */
typedef struct assignment {
    const double *logit;
    const pn_factor *factor[TERMS];
    int count;
    bool distinct;          /* the second input of a node is not the first */
    int left[COUNTED];      /* how often each choice may still stand */
    double rest[TERMS + 1]; /* the most that factors i.. can add */
    int choice[TERMS], best[TERMS];
    double most;
} assignment;

/* Depth first, bounded by what is left at best. Equals keep the first: the lowest choices. */
static void assign(assignment *a, int i, double sum) {
    if (sum + a->rest[i] <= a->most) return;
    if (i == a->count) {
        a->most = sum;
        memcpy(a->best, a->choice, sizeof a->best);
        return;
    }
    const pn_factor *f = a->factor[i];
    for (int c = 0; c < f->choices; c++) {
        if (!a->left[c] || (a->distinct && f->slot == 1 && i > 0 && a->choice[i - 1] == c))
            continue;
        a->left[c]--;
        a->choice[i] = c;
        assign(a, i + 1, sum + a->logit[f->first + c]);
        a->left[c]++;
    }
}

static void bound(assignment *a) {
    a->rest[a->count] = 0;
    for (int i = a->count - 1; i >= 0; i--) {
        double largest = -INFINITY;
        for (int c = 0; c < a->factor[i]->choices; c++)
            largest = fmax(largest, a->logit[a->factor[i]->first + c]);
        a->rest[i] = a->rest[i + 1] + largest;
    }
}

void pn_supported_mode(const pn_prior *prior, const pn_support *support, pn_arch *arch) {
    pn_factor factor[PN_MAX_FACTORS];
    const int factors = pn_factors(&prior->space, factor);
    pn_arch within = {0};
    pn_prior_mode(prior, arch);
    for (int part = 0; part < 2 * prior->space.kinds; part++) {
        const int kind = part / 2;
        const bool ops = part % 2;
        assignment a = {
            .logit = prior->logit, .distinct = prior->distinct && !ops, .most = -INFINITY};
        memcpy(a.left, support->most[kind] + (ops ? 0 : PN_MAX_OPS),
               (ops ? PN_MAX_OPS : INPUTS) * sizeof *a.left);
        for (int f = 0; f < factors; f++)
            if ((int)factor[f].kind == kind && factor[f].ops == ops)
                a.factor[a.count++] = &factor[f];
        bound(&a);
        assign(&a, 0, 0);
        if (a.most == -INFINITY) return;
        for (int i = 0; i < a.count; i++) {
            pn_choice *term = &within.cell[kind].term[a.factor[i]->node][a.factor[i]->slot];
            if (ops)
                term->op = prior->space.op[a.best[i]];
            else
                term->input = a.best[i];
        }
    }
    *arch = within;
}

void pn_search_found(const pn_search *search, pn_arch *arch) {
    pn_support support;
    if (!search->settings.found_supported) {
        pn_prior_mode(&search->prior, arch);
        return;
    }
    pn_support_of(search, &support);
    pn_supported_mode(&search->prior, &support, arch);
}
