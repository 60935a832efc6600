/* jobs.c -- the jobs of a program, as the kernels read them, and their way to the device. */
#include <stdlib.h>
#include <string.h>

#include "runtime/program_parts.h"

enum {
    TABLE_ALIGN = 64,
    /* What a table has beside a job, at most: where its group and its partials are, and the
     * counters of some twenty slices. Should a launch want more, there will be more. */
    BESIDE_A_JOB = 512
};

typedef union any_job {
#define JOB(FAMILY, op, with) pn_##op op;
    PN_OPS(JOB, )
#undef JOB
} any_job;

static const size_t job_size[PN_FAMILIES] = {
#define SIZE(FAMILY, op, with) sizeof(pn_##op),
    PN_OPS(SIZE, )
#undef SIZE
};

static size_t aligned(size_t bytes) {
    return (bytes + TABLE_ALIGN - 1) & ~(size_t)(TABLE_ALIGN - 1);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void release_tables(tables *t, const pn_memory *memory) {
    memory->release(t->device);
    memory->unstage(t->staging);
    *t = (tables){0};
}

static pn_status reserve_tables(tables *t, const pn_memory *memory, size_t bytes) {
    void *device, *staging;
    if (memory->plain || bytes <= t->bytes) return PN_OK;
    release_tables(t, memory);
    PN_TRY(memory->allocate(bytes, &device));
    t->device = device;
    PN_TRY(memory->stage(2 * bytes, &staging));
    t->staging = staging;
    t->bytes = bytes;
    return PN_OK;
}

pn_status pn_jobs_reserve(pn_jobs *j, const pn_memory *memory, int ops, int terms) {
    const int jobs = TURNS * ops, nodes = PASSES * terms; /* nodes are not run again */
    PN_TRY(pn_resize((void **)&j->jobs, jobs, sizeof(any_job)));
    PN_TRY(PN_RESIZE(j->terms, nodes));
    PN_TRY(PN_RESIZE(j->at, jobs));
    PN_TRY(PN_RESIZE(j->table_at, jobs));
    const size_t bytes =
        (size_t)jobs * (sizeof(any_job) + BESIDE_A_JOB) + (size_t)nodes * sizeof(pn_term);
    return reserve_tables(&j->tables, memory, aligned(bytes));
}

void pn_jobs_free(pn_jobs *j, const pn_memory *memory) {
    release_tables(&j->tables, memory);
    free(j->jobs);
    free(j->terms);
    free(j->at);
    free(j->table_at);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What jobs are written from. */
typedef struct sources {
    const pn_graph *graph;
    const pn_buffers *buffers;
    const pn_binding *binding;
    int pass; /* of the launch */
} sources;

void *pn_buffer_address(const pn_buffers *b, const pn_binding *binding, int buffer) {
    return buffer < 0 || !binding->arena ? NULL : binding->arena->base + b->list[buffer].offset;
}

static void *at(const sources *s, int buffer) {
    return pn_buffer_address(s->buffers, s->binding, buffer);
}

/* A tensor, which may lie elsewhere in the backward pass. */
static float *data(const sources *s, int i) {
    const place *has = &s->buffers->places[i];
    return at(s, s->pass == FORWARD ? has->data : has->again);
}

static float *parameter(const sources *s, int index) {
    const pn_parameters *p = s->binding->parameters;
    return index < 0 || !p ? NULL : p->device.value + p->list[index].offset;
}

static float *gradient(const sources *s, int index) {
    const pn_parameters *p = s->binding->parameters;
    if (index < 0 || !p || !s->graph->training) return NULL;
    if (s->binding->gradient) return s->binding->gradient + s->binding->gradient_at[index];
    return p->device.gradient ? p->device.gradient + p->list[index].offset : NULL;
}

static float *running(const sources *s, int index) {
    return s->binding->gradient ? gradient(s, index) : parameter(s, index);
}

static void write_norm(const sources *s, const value *v, pn_norm *to) {
    const pn_norm_spec *n = &v->norm;
    if (n->mode == PN_NORM_NONE) return;
    to->mode = n->mode;
    to->eps = 1e-5F;
    to->momentum = PN_RUNNING_MOMENTUM;
    to->stats = at(s, s->buffers->places[v->op].stats);
    to->gamma = parameter(s, n->gamma);
    to->beta = parameter(s, n->beta);
    to->dgamma = gradient(s, n->gamma);
    to->dbeta = gradient(s, n->beta);
    to->running_mean = running(s, n->running_mean);
    to->running_var = running(s, n->running_var);
}

static void write_input(const sources *s, int u, pn_input *to) {
    const value *v = pn_value_read(s->graph, u);
    to->C = v->C;
    write_norm(s, v, &to->norm);
    if (v->op < 0) {
        to->x = s->binding->image;
        return;
    }
    const place *has = &s->buffers->places[v->op];
    to->x = data(s, v->op);
    if (!s->graph->training) return;
    if (pn_use_writes(s->graph, u)) to->dx = at(s, has->grad);
    to->add = has->writer != s->graph->uses[u].op;
}

static void write_output(const sources *s, int i, pn_output *to) {
    const pn_graph *g = s->graph;
    const value *v = &g->values[g->ops[i].out];
    const place *has = &s->buffers->places[i];
    to->z = data(s, i);
    to->coef = 1;
    to->K = v->C;
    if (s->pass == AGAIN) return; /* without norm: its statistics are there */
    write_norm(s, v, &to->norm);
    if (!g->training) return;
    to->dy = at(s, has->grad);
    if (v->shared >= 0) {
        const pn_term_spec *t = &g->uses[v->shared].term;
        to->coef = t->coef;
        to->factor = t->factor;
        to->weight = t->weight;
    }
}

static void write_terms(const sources *s, const op *o, pn_term *terms) {
    memset(terms, 0, (size_t)o->uses * sizeof *terms);
    for (int u = o->first_use, i = 0; u < o->first_use + o->uses; u++) {
        const pn_term_spec *t = &s->graph->uses[u].term;
        pn_term *to = &terms[u == o->restored ? o->uses - 1 : i++]; /* the restored one last */
        to->coef = t->coef;
        to->factor = t->factor;
        to->weight = t->weight;
        to->dweight = t->dweight;
        write_input(s, u, &to->in);
    }
}

/* Writes a job, which is all zero. shares_dx: it shares a gradient with the job before
 * (pn_stage.shares_dx and so on). terms: a node's, written already. */
static void write_job(const sources *s, int i, bool shares_dx, const pn_term *terms, any_job *job) {
    const op *o = &s->graph->ops[i];
    const place *has = &s->buffers->places[i];
    const value *x = o->uses
                         ? pn_value_read(s->graph, o->first_use) /* zeros are as they are made */
                         : &s->graph->values[o->out];
    const int N = s->graph->N, H = x->H, W = x->W;
    pn_input *in = NULL;
    pn_output *out = NULL;
    switch (o->family) {
        case PN_STEM: {
            pn_stem *j = &job->stem;
            j->N = N, j->H = H, j->W = W, j->C = x->C, j->stride = o->stride;
            j->x = s->binding->image;
            j->w = parameter(s, o->w);
            j->dw = gradient(s, o->w);
            out = &j->out;
            break;
        }
        case PN_CONV1X1:
        case PN_REDUCE:
        case PN_CONV: {
            pn_conv *j = &job->conv;
            j->N = N, j->H = H, j->W = W, j->parts = o->uses, j->shares_dx = shares_dx;
            j->R = o->R, j->stride = o->stride, j->pad = o->pad, j->mean = o->mean;
            j->w = parameter(s, o->w);
            j->dw = gradient(s, o->w);
            in = j->in;
            out = &j->out;
            break;
        }
        case PN_STAGE: {
            pn_stage *j = &job->stage;
            j->N = N, j->H = H, j->W = W, j->shares_dx = shares_dx;
            j->R = o->R, j->dilation = o->dilation, j->stride = o->stride;
            j->dw = parameter(s, o->w);
            j->ddw = gradient(s, o->w);
            j->pw = parameter(s, o->w2);
            j->dpw = gradient(s, o->w2);
            in = &j->in;
            out = &j->out;
            break;
        }
        case PN_POOL: {
            pn_pool *j = &job->pool;
            j->N = N, j->H = H, j->W = W, j->shares_dx = shares_dx;
            j->stride = o->stride, j->kind = o->pool;
            in = &j->in;
            out = &j->out;
            break;
        }
        case PN_NODE: {
            pn_node *j = &job->node;
            j->N = N, j->H = H, j->W = W, j->C = x->C, j->terms = o->uses;
            j->restore = o->restored >= 0, j->shares_dx = shares_dx;
            j->term = terms;
            j->h = at(s, has->data);
            j->dh = at(s, has->grad);
            break;
        }
        default: { /* PN_HEAD */
            pn_head *j = &job->head;
            j->N = N, j->H = H, j->W = W, j->parts = o->uses, j->relu = o->relu;
            j->classes = o->classes, j->shares_dx = shares_dx;
            j->smoothing = o->smoothing, j->loss_weight = o->loss_weight;
            j->labels = s->binding->labels;
            j->w = parameter(s, o->w);
            j->dw = gradient(s, o->w);
            j->b = parameter(s, o->w2);
            j->db = gradient(s, o->w2);
            j->pooled = at(s, has->pooled);
            j->logits = at(s, has->logits);
            j->result = o->result;
            j->scale = s->binding->scale;
            in = j->in;
            break;
        }
    }
    for (int k = 0; in && k < o->uses; k++) write_input(s, o->first_use + k, &in[k]);
    if (out) write_output(s, i, out);
}

void pn_jobs_write(const pn_graph *g, const pn_schedule *s, const pn_buffers *b,
                   const pn_binding *binding, pn_jobs *j) {
    sources from = {.graph = g, .buffers = b, .binding = binding};
    j->bytes = 0;
    j->term_count = 0;
    for (int l = 0; l < s->count; l++) {
        const launch *a = &s->launches[l];
        const int *order = s->order + a->first;
        j->at[l] = j->bytes;
        from.pass = a->pass;
        memset(j->jobs + j->bytes, 0, (size_t)a->count * job_size[a->family]);
        for (int i = 0; i < a->count; i++) {
            const op *o = &g->ops[order[i]];
            const bool shares_dx =
                a->pass == BACKWARD && i > 0 && pn_ops_share_gradient(g, o, &g->ops[order[i - 1]]);
            pn_term *const terms = j->terms + j->term_count;
            if (o->family == PN_NODE) {
                write_terms(&from, o, terms);
                j->term_count += o->uses;
            }
            write_job(&from, order[i], shares_dx, terms, (any_job *)(void *)(j->jobs + j->bytes));
            j->bytes += job_size[a->family];
        }
    }
}

/* The table of launch l at `to`, or with NULL nothing; gives its bytes. */
static size_t write_table(const pn_jobs *j, const launch *a, int l, const pn_kernels *k, void *to) {
    const void *jobs = j->jobs + j->at[l];
    switch (a->family) {
#define TABLE(FAMILY, op, with)                                            \
    case PN_##FAMILY:                                                      \
        return a->pass == BACKWARD ? k->op##_bwd_table(jobs, a->count, to) \
                                   : k->op##_fwd_table(jobs, a->count, to);
        PN_OPS(TABLE, )
#undef TABLE
        default:
            return 0;
    }
}

/* Gives the bytes of all; the terms come first. */
static size_t lay_out_tables(pn_jobs *j, const pn_schedule *s, const pn_kernels *k) {
    size_t bytes = aligned((size_t)j->term_count * sizeof(pn_term));
    for (int l = 0; l < s->count; l++) {
        j->table_at[l] = bytes;
        bytes += aligned(write_table(j, &s->launches[l], l, k, NULL));
    }
    return bytes;
}

pn_status pn_jobs_upload(pn_jobs *j, const pn_schedule *s, const pn_kernels *k) {
    tables *t = &j->tables;
    const pn_memory *memory = k->memory;
    const size_t bytes = lay_out_tables(j, s, k);
    PN_TRY(reserve_tables(t, memory, bytes));
    const int half = t->half ^= 1;
    char *to = t->staging + (size_t)half * t->bytes;
    PN_TRY(memory->wait(t->mark[half]));
    memcpy(to, j->terms, (size_t)j->term_count * sizeof(pn_term));
    for (int l = 0; l < s->count; l++) {
        (void)write_table(j, &s->launches[l], l, k, to + j->table_at[l]);
        if (s->launches[l].family != PN_NODE) continue;
        pn_node *nodes = (pn_node *)(void *)(to + j->table_at[l]);
        for (int i = 0; i < s->launches[l].count; i++)
            nodes[i].term = (const pn_term *)(void *)t->device + (nodes[i].term - j->terms);
    }
    PN_TRY(memory->upload(t->device, to, bytes));
    return memory->mark(&t->mark[half]);
}
