/* jobs.c -- the jobs of a program, as the kernels read them, and their way to the device. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_parts.h"

enum { TABLE_ALIGN = 16 }; /* bytes at a time in which a device reads its table */

typedef union any_job {
#define JOB(FAMILY, op, with) pn_##op op;
    PN_OPS(JOB, )
#undef JOB
} any_job;

_Static_assert(sizeof(any_job) % TABLE_ALIGN == 0,
               "else the end of a launch needs room of its own");

static const size_t job_size[PN_FAMILIES] = {
#define SIZE(FAMILY, op, with) sizeof(pn_##op),
    PN_OPS(SIZE, )
#undef SIZE
};

static size_t aligned(size_t bytes) {
    return (bytes + TABLE_ALIGN - 1) & ~(size_t)(TABLE_ALIGN - 1);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void release_table(table *t, const pn_memory *memory) {
    memory->release(t->device);
    memory->unstage(t->staging);
    *t = (table){0};
}

static pn_status reserve_table(table *t, const pn_memory *memory, size_t bytes) {
    void *device, *staging;
    if (memory->plain || bytes <= t->bytes) return PN_OK;
    release_table(t, memory);
    PN_TRY(memory->allocate(bytes, &device));
    t->device = device;
    PN_TRY(memory->stage(2 * bytes, &staging));
    t->staging = staging;
    t->bytes = bytes;
    return PN_OK;
}

pn_status pn_jobs_reserve(pn_jobs *j, const pn_memory *memory, int ops, int terms) {
    const int jobs = PASSES * ops, nodes = PASSES * terms;
    PN_TRY(pn_resize((void **)&j->jobs, jobs, sizeof(any_job)));
    PN_TRY(PN_RESIZE(j->terms, nodes));
    PN_TRY(PN_RESIZE(j->at, jobs));
    const size_t bytes = (size_t)jobs * sizeof(any_job) + (size_t)nodes * sizeof(pn_term);
    return reserve_table(&j->table, memory, aligned(bytes));
}

void pn_jobs_free(pn_jobs *j, const pn_memory *memory) {
    release_table(&j->table, memory);
    free(j->jobs);
    free(j->terms);
    free(j->at);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What jobs are written from. */
typedef struct sources {
    const pn_graph *graph;
    const pn_buffers *buffers;
    const pn_binding *binding;
} sources;

void *pn_buffer_address(const pn_buffers *b, const pn_binding *binding, int buffer) {
    return buffer < 0 || !binding->arena ? NULL : binding->arena->base + b->list[buffer].offset;
}

static void *at(const sources *s, int buffer) {
    return pn_buffer_address(s->buffers, s->binding, buffer);
}

static float *parameter(const sources *s, int index) {
    const pn_parameters *p = s->binding->parameters;
    return index < 0 || !p ? NULL : p->device.value + p->list[index].offset;
}

static float *gradient(const sources *s, int index) {
    const pn_parameters *p = s->binding->parameters;
    return index < 0 || !p || !s->graph->training ? NULL
                                                  : p->device.gradient + p->list[index].offset;
}

static pn_norm norm_of(const sources *s, const value *v) {
    const pn_norm_spec *n = &v->norm;
    if (n->mode == PN_NORM_NONE) return (pn_norm){.mode = PN_NORM_NONE};
    return (pn_norm){.mode = n->mode,
                     .eps = 1e-5F,
                     .momentum = 0.1F,
                     .stats = at(s, s->buffers->places[v->op].stats),
                     .gamma = parameter(s, n->gamma),
                     .beta = parameter(s, n->beta),
                     .dgamma = gradient(s, n->gamma),
                     .dbeta = gradient(s, n->beta),
                     .running_mean = parameter(s, n->running_mean),
                     .running_var = parameter(s, n->running_var)};
}

static pn_input input_of(const sources *s, int u) {
    const value *v = pn_value_read(s->graph, u);
    pn_input in = {.x = s->binding->image, .C = v->C, .norm = norm_of(s, v)};
    if (v->op < 0) return in;
    const place *has = &s->buffers->places[v->op];
    in.x = at(s, has->data);
    if (!s->graph->training) return in;
    if (pn_use_writes(s->graph, u)) in.dx = at(s, has->grad);
    in.add = has->writer != s->graph->uses[u].op;
    return in;
}

/* All zero for a head. */
static pn_output output_of(const sources *s, int i) {
    const pn_graph *g = s->graph;
    if (g->ops[i].out < 0) return (pn_output){0};
    const value *v = &g->values[g->ops[i].out];
    const place *has = &s->buffers->places[i];
    pn_output out = {.z = at(s, has->data), .coef = 1, .K = v->C, .norm = norm_of(s, v)};
    if (!g->training) return out;
    out.dy = at(s, has->grad);
    if (v->shared >= 0) {
        out.coef = g->uses[v->shared].term.coef;
        out.factor = g->uses[v->shared].term.factor;
    }
    return out;
}

static void write_terms(const sources *s, const op *o, pn_term *terms) {
    for (int u = o->first_use, i = 0; u < o->first_use + o->uses; u++) {
        const pn_term_spec *t = &s->graph->uses[u].term;
        const int position = u == o->restored ? o->uses - 1 : i++; /* the restored one last */
        terms[position] = (pn_term){input_of(s, u), t->coef, t->factor};
    }
}

/* shares_dx: it shares a gradient with the job before (pn_stage.shares_dx and so on). terms: a
 * node's, written already. */
static any_job make_job(const sources *s, int i, bool shares_dx, const pn_term *terms) {
    const op *o = &s->graph->ops[i];
    const place *has = &s->buffers->places[i];
    const value *x = pn_value_read(s->graph, o->first_use);
    const pn_output out = output_of(s, i);
    float *const w = parameter(s, o->w), *const dw = gradient(s, o->w);
    float *const w2 = parameter(s, o->w2), *const dw2 = gradient(s, o->w2);
    pn_input *in = NULL;
    any_job job;
#define JOB(op, ...) \
    job.op = (pn_##op) { .N = s->graph->N, .H = x->H, .W = x->W, __VA_ARGS__ }
    switch (o->family) {
        case PN_STEM:
            JOB(stem, .C = x->C, .stride = o->stride, .x = s->binding->image, .out = out, .w = w,
                .dw = dw);
            break;
        case PN_CONV1X1:
        case PN_REDUCE:
        case PN_CONV:
            JOB(conv, .parts = o->uses, .shares_dx = shares_dx, .R = o->R, .stride = o->stride,
                .pad = o->pad, .mean = o->mean, .out = out, .w = w, .dw = dw);
            in = job.conv.in;
            break;
        case PN_STAGE:
            JOB(stage, .R = o->R, .dilation = o->dilation, .stride = o->stride,
                .shares_dx = shares_dx, .out = out, .dw = w, .pw = w2, .ddw = dw, .dpw = dw2);
            in = &job.stage.in;
            break;
        case PN_POOL:
            JOB(pool, .stride = o->stride, .shares_dx = shares_dx, .kind = o->pool, .out = out);
            in = &job.pool.in;
            break;
        case PN_NODE:
            JOB(node, .C = x->C, .terms = o->uses, .restore = o->restored >= 0,
                .shares_dx = shares_dx, .term = terms, .h = out.z, .dh = out.dy);
            break;
        default: /* PN_HEAD */
            JOB(head, .parts = o->uses, .relu = o->relu, .classes = o->classes,
                .shares_dx = shares_dx, .smoothing = o->smoothing, .loss_weight = o->loss_weight,
                .labels = s->binding->labels, .w = w, .b = w2, .dw = dw, .db = dw2,
                .pooled = at(s, has->pooled), .logits = at(s, has->logits), .result = o->result,
                .scale = s->binding->scale);
            in = job.head.in;
            break;
    }
#undef JOB
    for (int k = 0; in && k < o->uses; k++) in[k] = input_of(s, o->first_use + k);
    return job;
}

void pn_jobs_write(const pn_graph *g, const pn_schedule *s, const pn_buffers *b,
                   const pn_binding *binding, pn_jobs *j) {
    const sources from = {g, b, binding};
    j->bytes = 0;
    j->term_count = 0;
    for (int l = 0; l < s->count; l++) {
        const launch *a = &s->launches[l];
        const int *order = s->order + a->first;
        j->at[l] = j->bytes;
        for (int i = 0; i < a->count; i++) {
            const op *o = &g->ops[order[i]];
            const bool shares_dx =
                a->pass == BACKWARD && i > 0 && pn_ops_share_gradient(g, o, &g->ops[order[i - 1]]);
            pn_term *const terms = j->terms + j->term_count;
            if (o->family == PN_NODE) {
                write_terms(&from, o, terms);
                j->term_count += o->uses;
            }
            const any_job job = make_job(&from, order[i], shares_dx, terms);
            memcpy(j->jobs + j->bytes, &job, job_size[a->family]);
            j->bytes += job_size[a->family];
        }
        j->bytes = aligned(j->bytes);
    }
}

pn_status pn_jobs_upload(pn_jobs *j, const pn_schedule *s, const pn_memory *memory) {
    table *t = &j->table;
    const int half = t->half ^= 1;
    char *to = t->staging + (size_t)half * t->bytes;
    const size_t term_bytes = (size_t)j->term_count * sizeof(pn_term);
    PN_TRY(memory->wait(t->mark[half]));
    memcpy(to, j->jobs, j->bytes);
    for (int l = 0; l < s->count; l++) {
        if (s->launches[l].family != PN_NODE) continue;
        pn_node *nodes = (pn_node *)(void *)(to + j->at[l]);
        for (int i = 0; i < s->launches[l].count; i++) {
            const size_t offset = j->bytes + (size_t)(nodes[i].term - j->terms) * sizeof(pn_term);
            nodes[i].term = (const pn_term *)(const void *)(t->device + offset);
        }
    }
    memcpy(to + j->bytes, j->terms, term_bytes);
    PN_TRY(memory->upload(t->device, to, j->bytes + term_bytes));
    return memory->mark(&t->mark[half]);
}
