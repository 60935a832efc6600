/* lifetimes.c -- which buffers a program has, and at which launches each begins and ends. */
#include <stdlib.h>

#include "runtime/program_parts.h"

pn_status pn_buffers_reserve(pn_buffers *b, int ops) {
    const int most = (4 + TURNS) * ops; /* data, twice, gradient, statistics; scratch */
    PN_TRY(PN_RESIZE(b->list, most));
    PN_TRY(PN_RESIZE(b->room.order, 2 * most));
    PN_TRY(PN_RESIZE(b->room.placed, most));
    PN_TRY(PN_RESIZE(b->scratch, TURNS * ops));
    return PN_RESIZE(b->places, ops);
}

void pn_buffers_free(pn_buffers *b) {
    free(b->list);
    free(b->room.order);
    free(b->room.placed);
    free(b->scratch);
    free(b->places);
}

int pn_buffers_add(pn_buffers *b, size_t bytes, int first, int last) {
    b->list[b->count] =
        (pn_buffer){.bytes = bytes + b->guard, .first = first, .last = last, .in_place_of = -1};
    return b->count++;
}

static void extend(pn_buffer *b, int last) {
    if (b->last < last) b->last = last;
}

/* ---- lives ----------------------------------------------------------------------------------- */

/* What an op makes, for as long as the op itself needs it. */
static void add_made(const pn_graph *g, const pn_schedule *s, pn_storage storage, int i,
                     pn_buffers *b) {
    const op *o = &g->ops[i];
    const int *when = s->turns[i].launch;
    const int first = when[FORWARD], last = when[g->training ? BACKWARD : FORWARD];
    place *has = &b->places[i];
    *has = (place){-1, -1, -1, -1, -1, -1, -1};
    if (o->out < 0) {
        const size_t n = (size_t)g->N * sizeof(float);
        int C = 0;
        for (int u = o->first_use; u < o->first_use + o->uses; u++) C += pn_value_read(g, u)->C;
        has->pooled = pn_buffers_add(b, n * (size_t)C, first, last);
        has->logits =
            pn_buffers_add(b, n * (size_t)o->classes, first, s->count - 1); /* read after the run */
        return;
    }
    const value *v = &g->values[o->out];
    const size_t elements = (size_t)g->N * (size_t)v->H * (size_t)v->W * (size_t)v->C;
    const size_t bytes = elements * pn_element_bytes(storage);
    const bool rereads = pn_producer_rereads(v);
    has->data = o->restored >= 0
                    ? b->places[pn_value_read(g, o->restored)->op].data
                    : pn_buffers_add(b, bytes, first, rereads && !o->again ? last : first);
    has->again =
        o->again ? pn_buffers_add(b, bytes, when[AGAIN], rereads ? last : when[AGAIN]) : has->data;
    if (v->norm.mode != PN_NORM_NONE)
        has->stats = pn_buffers_add(b, 4 * (size_t)v->C * sizeof(float), first, last);
    if (g->training && v->shared < 0) has->grad = pn_buffers_add(b, bytes, last, last);
}

/* What a living op reads has to be there while it runs. */
static void add_read(const pn_graph *g, const pn_schedule *s, int u, pn_buffers *b) {
    const int reader = g->uses[u].op;
    const int *when = s->turns[reader].launch;
    const value *v = pn_value_read(g, u);
    if (!g->ops[reader].alive || v->op < 0) return;
    place *has = &b->places[v->op];
    extend(&b->list[has->data], when[FORWARD]);
    if (has->stats >= 0) extend(&b->list[has->stats], when[FORWARD]);
    if (!g->training) return;
    if (g->ops[reader].again) extend(&b->list[has->again], when[AGAIN]);
    if (pn_use_rereads(g, u)) extend(&b->list[has->again], when[BACKWARD]);
    if (v->shared >= 0) { /* the node's gradient lives until this value's producer has read it */
        has->grad = b->places[reader].grad;
        extend(&b->list[has->grad], s->turns[v->op].launch[BACKWARD]);
    } else if (when[BACKWARD] < b->list[has->grad].first) {
        b->list[has->grad].first = when[BACKWARD];
    }
}

/* The first job that adds to a gradient overwrites it. */
static void find_writers(const pn_graph *g, const pn_schedule *s, place *places) {
    for (int l = s->count - 1; l >= s->forward; l--) {
        const launch *a = &s->launches[l];
        for (int i = a->count - 1; i >= 0 && a->pass == BACKWARD; i--) {
            const int reader = s->order[a->first + i];
            const op *o = &g->ops[reader];
            for (int u = o->first_use; u < o->first_use + o->uses; u++) {
                const int producer = pn_value_read(g, u)->op;
                if (producer >= 0) places[producer].writer = reader;
            }
        }
    }
}

/* Is this use the only one of its value at a launch of the forward pass? */
static bool reads_alone(const pn_graph *g, const pn_schedule *s, int u, int now) {
    int readers = 0;
    for (int w = 0; w < g->use_count; w++) {
        const int reader = g->uses[w].op;
        readers += g->ops[reader].alive && g->uses[w].term.value == g->uses[u].term.value &&
                   s->turns[reader].launch[FORWARD] == now;
    }
    return readers == 1;
}

/* Forward only, a node may be written over a term that nobody reads afterwards, nor any other job
 * of the same launch. */
static void run_node_in_place(const pn_graph *g, const pn_schedule *s, int i, pn_buffers *b) {
    const op *o = &g->ops[i];
    const int now = s->turns[i].launch[FORWARD];
    for (int u = o->first_use; u < o->first_use + o->uses; u++) {
        const int producer = pn_value_read(g, u)->op;
        if (producer < 0 || b->list[b->places[producer].data].last != now) continue;
        if (!reads_alone(g, s, u, now)) continue;
        b->list[b->places[i].data].in_place_of = b->places[producer].data;
        return;
    }
}

void pn_buffers_make(const pn_graph *g, const pn_schedule *s, pn_storage storage, size_t guard,
                     pn_buffers *b) {
    b->count = 0;
    b->guard = guard;
    for (int i = 0; i < g->op_count; i++)
        if (g->ops[i].alive) add_made(g, s, storage, i, b);
    for (int u = 0; u < g->use_count; u++) add_read(g, s, u, b);
    find_writers(g, s, b->places);
    for (int i = 0; i < g->op_count && !g->training; i++)
        if (g->ops[i].alive && g->ops[i].family == PN_NODE) run_node_in_place(g, s, i, b);
}
