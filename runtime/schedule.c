/* schedule.c -- the living ops of a graph, sorted into launches of one family each. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_parts.h"

pn_status pn_schedule_reserve(pn_schedule *s, int ops, int terms) {
    PN_TRY(PN_RESIZE(s->launches, TURNS * ops));
    PN_TRY(PN_RESIZE(s->order, TURNS * ops));
    s->ops_max = ops;
    PN_TRY(PN_RESIZE(s->followers, terms));
    return PN_RESIZE(s->turns, ops);
}

void pn_schedule_free(pn_schedule *s) {
    free(s->launches);
    free(s->order);
    free(s->followers);
    free(s->turns);
}

/* ---- what waits for what --------------------------------------------------------------------- */

/* One pass, while its launches are chosen. */
typedef struct choice {
    const pn_graph *graph;
    pn_schedule *schedule;
    int pass;
    int ready[PN_FAMILIES];   /* the first op that waits for none, -1; a list in the order of ops */
    int joining[PN_FAMILIES]; /* ops not ready, but held by none of their own family */
} choice;

static pn_family family_of(const choice *c, int i) { return c->graph->ops[i].family; }

static void add_follower(pn_schedule *s, int before, int after) {
    s->followers[s->follower_count] = (follower){after, s->turns[before].first};
    s->turns[before].first = s->follower_count++;
    s->turns[after].waits++;
}

static void find_followers(const choice *c) {
    const pn_graph *g = c->graph;
    pn_schedule *s = c->schedule;
    s->follower_count = 0;
    for (int i = 0; i < g->op_count; i++) {
        turn *t = &s->turns[i];
        t->waits = 0;
        t->first = -1;
        memset(t->held, 0, sizeof t->held);
    }
    for (int i = 0; i < g->op_count; i++) {
        const op *o = &g->ops[i];
        for (int u = o->first_use; o->alive && u < o->first_use + o->uses; u++) {
            const int producer = pn_value_read(g, u)->op;
            if (producer < 0) continue;
            if (c->pass == FORWARD)
                add_follower(s, producer, i);
            else
                add_follower(s, i, producer);
        }
    }
}

/* In lists by rising index: so that jobs keep the order of building. */
static void add_ready(choice *c, int i) {
    turn *turns = c->schedule->turns;
    int *at = &c->ready[family_of(c, i)];
    while (*at >= 0 && *at < i) at = &turns[*at].next;
    turns[i].next = *at;
    *at = i;
}

/* Producers come before readers in the graph, so those that hold come before the held ones. */
static void begin_pass(choice *c) {
    const pn_graph *g = c->graph;
    turn *turns = c->schedule->turns;
    find_followers(c);
    for (pn_family f = 0; f < PN_FAMILIES; f++) {
        c->ready[f] = -1;
        c->joining[f] = 0;
    }
    for (int n = 0; n < g->op_count; n++) {
        const int i = c->pass == FORWARD ? n : g->op_count - 1 - n;
        if (!g->ops[i].alive) continue;
        const pn_family family = family_of(c, i);
        for (int l = turns[i].first; l >= 0; l = c->schedule->followers[l].next)
            for (pn_family f = 0; f < PN_FAMILIES; f++)
                turns[c->schedule->followers[l].op].held[f] += f == family || turns[i].held[f];
        if (!turns[i].waits)
            add_ready(c, i);
        else
            c->joining[family] += !turns[i].held[family];
    }
}

/* One of those that op i waits for neither is of this family any more nor waits for one. */
static void let_go(choice *c, int i, pn_family family) {
    turn *t = &c->schedule->turns[i];
    if (--t->held[family]) return;
    if (family_of(c, i) == family)
        c->joining[family]++;
    else
        for (int l = t->first; l >= 0; l = c->schedule->followers[l].next)
            let_go(c, c->schedule->followers[l].op, family);
}

/* Op i has its launch. */
static void release(choice *c, int i) {
    turn *turns = c->schedule->turns;
    for (int l = turns[i].first; l >= 0; l = c->schedule->followers[l].next) {
        const int after = c->schedule->followers[l].op;
        let_go(c, after, family_of(c, i));
        if (--turns[after].waits) continue;
        c->joining[family_of(c, after)]--;
        add_ready(c, after);
    }
}

/* ---- launches -------------------------------------------------------------------------------- */

/* A launch is all that is ready of one family. Of the families that have something ready, the one
 * for which waiting would gather the fewest more: so that a step takes few launches. */
static pn_family next_family(const choice *c) {
    pn_family best = PN_FAMILIES;
    for (pn_family f = 0; f < PN_FAMILIES; f++)
        if (c->ready[f] >= 0 && (best == PN_FAMILIES || c->joining[f] < c->joining[best])) best = f;
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

/* Takes those that are ready from their list. */
static int take_jobs(choice *c, pn_family family, int *jobs) {
    turn *turns = c->schedule->turns;
    int count = 0;
    for (int *at = &c->ready[family]; *at >= 0;) {
        const int i = *at;
        if (joins(c->graph, i, c->pass, jobs, count)) {
            insert(c->graph, jobs, count++, i, c->pass);
            turns[i].launch[c->pass] = c->schedule->count;
            *at = turns[i].next;
        } else {
            at = &turns[i].next;
        }
    }
    return count;
}

static void choose_launches(const pn_graph *g, int pass, pn_schedule *s) {
    const int first = pass == BACKWARD ? s->jobs[FORWARD] : 0;
    choice c = {.graph = g, .schedule = s, .pass = pass};
    int n = first;
    begin_pass(&c);
    for (pn_family f; (f = next_family(&c)) != PN_FAMILIES;) {
        int *const jobs = s->order + n;
        const int count = take_jobs(&c, f, jobs);
        for (int i = 0; i < count; i++) release(&c, jobs[i]);
        s->launches[s->count++] = (launch){f, pass, n, count};
        n += count;
    }
    s->jobs[pass] = n - first;
}

/* ---- what is made again ---------------------------------------------------------------------- */

/* What a launch wants to be made: the highest level, and between which ops all of them are. */
typedef struct wanted {
    int highest, first, last;
} wanted;

/* Puts an op on a level, above those that it reads and that have to be made now too. Gives the
 * level. */
static int want_again(const pn_graph *g, turn *turns, int i, wanted *w) {
    const op *o = &g->ops[i];
    if (!o->again || turns[i].level) return turns[i].level;
    int level = 1;
    for (int u = o->first_use; u < o->first_use + o->uses; u++) {
        const int producer = pn_value_read(g, u)->op;
        const int below = producer < 0 ? 0 : want_again(g, turns, producer, w);
        if (level <= below) level = below + 1;
    }
    if (w->highest < level) w->highest = level;
    if (w->first > i) w->first = i;
    if (w->last < i) w->last = i;
    return turns[i].level = level;
}

/* All that a launch reads and that is not there. */
static wanted want_for(const pn_graph *g, turn *turns, const int *jobs, int count) {
    wanted w = {.first = g->op_count, .last = -1};
    for (int j = 0; j < count; j++) {
        const op *o = &g->ops[jobs[j]];
        (void)want_again(g, turns, jobs[j], &w);
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const int producer = pn_value_read(g, u)->op;
            if (producer >= 0 && pn_use_rereads(g, u)) (void)want_again(g, turns, producer, &w);
        }
    }
    return w;
}

/* Appends the launches that make all that is wanted, level by level. */
static void launch_again(const pn_graph *g, pn_schedule *s, wanted w, int *n) {
    for (int level = 1; level <= w.highest; level++)
        for (pn_family f = 0; f < PN_FAMILIES; f++) {
            const int first = *n;
            for (int i = w.first; i <= w.last; i++) {
                if (g->ops[i].family != f || s->turns[i].level != level) continue;
                s->turns[i].launch[AGAIN] = s->count;
                s->turns[i].level = -1;
                s->order[(*n)++] = i;
            }
            if (*n > first) s->launches[s->count++] = (launch){f, AGAIN, first, *n - first};
        }
}

/* Before each launch of the backward pass, what it reads and what has not been kept. The launches
 * themselves stay as they are, and so do the order in which gradients are added, and all bits. */
static void insert_again(const pn_graph *g, pn_schedule *s) {
    const int launches = s->count - s->forward, jobs = s->jobs[BACKWARD];
    launch *const from = s->launches + TURNS * s->ops_max - launches;
    int *const order = s->order + TURNS * s->ops_max - jobs, n = s->jobs[FORWARD], at = 0;
    memmove(from, s->launches + s->forward, (size_t)launches * sizeof *from);
    memmove(order, s->order + n, (size_t)jobs * sizeof *order);
    for (int i = 0; i < g->op_count; i++) s->turns[i].level = 0;
    s->count = s->forward;
    for (int l = 0; l < launches; l++) {
        const launch a = from[l];
        launch_again(g, s, want_for(g, s->turns, order + at, a.count), &n);
        memmove(s->order + n, order + at, (size_t)a.count * sizeof *order);
        for (int j = 0; j < a.count; j++) s->turns[s->order[n + j]].launch[BACKWARD] = s->count;
        s->launches[s->count++] = (launch){a.family, BACKWARD, n, a.count};
        n += a.count;
        at += a.count;
    }
    s->jobs[BACKWARD] = n - s->jobs[FORWARD];
}

void pn_schedule_make(const pn_graph *g, pn_schedule *s) {
    s->count = s->jobs[BACKWARD] = 0;
    choose_launches(g, FORWARD, s);
    s->forward = s->count;
    if (g->training) choose_launches(g, BACKWARD, s);
    if (g->training && g->recompute) insert_again(g, s);
}
