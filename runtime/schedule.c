/* schedule.c -- the living ops of a graph, sorted into launches of one family each. */
#include <stdlib.h>

#include "runtime/program_parts.h"

pn_status pn_schedule_reserve(pn_schedule *s, int ops) {
    PN_TRY(PN_RESIZE(s->launches, PASSES * ops));
    PN_TRY(PN_RESIZE(s->order, PASSES * ops));
    return PN_RESIZE(s->turns, ops);
}

void pn_schedule_free(pn_schedule *s) {
    free(s->launches);
    free(s->order);
    free(s->turns);
}

/* ready: an op that waits for none that is not done. held: by which families it is held, one bit
 * each: it cannot become ready before they are launched, whatever else is. Producers come before
 * readers in the graph. */
static void mark_ops(const pn_graph *g, int pass, turn *turns) {
    for (int i = 0; i < g->op_count; i++) {
        turns[i].ready = !turns[i].done;
        turns[i].held = 0;
    }
    for (int n = 0; n < g->op_count; n++) {
        const int i = pass == FORWARD ? n : g->op_count - 1 - n;
        const op *o = &g->ops[i];
        if (!o->alive) continue;
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const int producer = pn_value_read(g, u)->op;
            if (producer < 0) continue;
            const int before = pass == FORWARD ? producer : i;
            const int after = pass == FORWARD ? i : producer;
            if (turns[before].done) continue;
            turns[after].ready = false;
            turns[after].held |= turns[before].held | 1U << g->ops[before].family;
        }
    }
}

/* A launch is all that is ready of one family. Of the families that have something ready, the one
 * for which waiting would gather the fewest more: so that a step takes few launches. */
static pn_family next_family(const pn_graph *g, const turn *turns) {
    int ready[PN_FAMILIES] = {0}, joining[PN_FAMILIES] = {0};
    pn_family best = PN_FAMILIES;
    for (int i = 0; i < g->op_count; i++) {
        const pn_family f = g->ops[i].family;
        if (turns[i].done) continue;
        ready[f] += turns[i].ready;
        joining[f] += !turns[i].ready && !(turns[i].held >> f & 1);
    }
    for (pn_family f = 0; f < PN_FAMILIES; f++)
        if (ready[f] && (best == PN_FAMILIES || joining[f] < joining[best])) best = f;
    return best;
}

/* Jobs that share a gradient become neighbours; otherwise the order of building. */
static int group_of(const pn_graph *g, int i, int pass) {
    const op *o = &g->ops[i];
    return pass == FORWARD || o->family == PN_NODE ? 0 : g->uses[o->first_use].term.value;
}

static void insert(const pn_graph *g, int *order, int n, int i, int pass) {
    const int group = group_of(g, i, pass);
    for (; n > 0 && group < group_of(g, order[n - 1], pass); n--) order[n] = order[n - 1];
    order[n] = i;
}

/* Nodes that add to one gradient go to different launches: kernels.h lets neighbours share all of
 * their gradients or none. */
static bool joins(const pn_graph *g, int i, int pass, const int *jobs, int count) {
    if (pass == FORWARD || g->ops[i].family != PN_NODE) return true;
    for (int j = 0; j < count; j++)
        if (pn_ops_share_gradient(g, &g->ops[i], &g->ops[jobs[j]])) return false;
    return true;
}

static void choose_launches(const pn_graph *g, int pass, pn_schedule *s) {
    const int first = pass == BACKWARD ? s->jobs[FORWARD] : 0;
    int n = first, end = first;
    for (int i = 0; i < g->op_count; i++) {
        s->turns[i].done = !g->ops[i].alive;
        end += g->ops[i].alive;
    }
    while (n < end) {
        mark_ops(g, pass, s->turns);
        const pn_family family = next_family(g, s->turns);
        int *const jobs = s->order + n, count = 0;
        for (int i = 0; i < g->op_count; i++) {
            turn *const t = &s->turns[i];
            if (g->ops[i].family != family || !t->ready || t->done) continue;
            if (!joins(g, i, pass, jobs, count)) continue;
            insert(g, jobs, count++, i, pass);
            t->launch[pass] = s->count;
        }
        for (int i = 0; i < count; i++) s->turns[jobs[i]].done = true;
        s->launches[s->count++] = (launch){family, pass, n, count};
        n += count;
    }
    s->jobs[pass] = n - first;
}

void pn_schedule_make(const pn_graph *g, pn_schedule *s) {
    s->count = s->jobs[BACKWARD] = 0;
    choose_launches(g, FORWARD, s);
    s->forward = s->count;
    if (g->training) choose_launches(g, BACKWARD, s);
}
