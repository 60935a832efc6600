/* program.c -- a program's stages in turn (program_parts.h), and running what they made. */
#include "runtime/program.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/program_parts.h"
#include "runtime/times.h"

struct pn_program {
    const pn_kernels *kernels;
    pn_graph graph;
    pn_schedule schedule;
    pn_buffers buffers;
    pn_binding binding;
    pn_jobs jobs;
    int ops_max, terms_max; /* that all stages have room for */
    bool guarded, compiled;
    size_t arena_bytes;
};

/* ---- memory of the program itself ------------------------------------------------------------ */

pn_status pn_resize(void **list, int count, size_t item) {
    if (count == 0) return PN_OK;
    void *resized = realloc(*list, (size_t)count * item);
    if (!resized)
        return pn_fail(PN_EMEM, "program: no memory for %d items of %zu bytes", count, item);
    *list = resized;
    return PN_OK;
}

pn_status pn_program_create(pn_program **program, const pn_kernels *kernels) {
    *program = calloc(1, sizeof **program);
    if (!*program) return pn_fail(PN_EMEM, "program: no memory");
    (*program)->kernels = kernels;
    return PN_OK;
}

void pn_program_destroy(pn_program *p) {
    if (!p) return;
    pn_graph_free(&p->graph);
    pn_schedule_free(&p->schedule);
    pn_buffers_free(&p->buffers);
    pn_jobs_free(&p->jobs, p->kernels->memory);
    free(p);
}

/* The graph grows while it is built; the other stages follow it to the same size. */
pn_status pn_program_reserve(pn_program *p, int ops, int terms) {
    PN_TRY(pn_graph_reserve(&p->graph, ops, terms));
    ops = p->graph.ops_max;
    terms = p->graph.uses_max;
    if (ops <= p->ops_max && terms <= p->terms_max) return PN_OK;
    PN_TRY(pn_schedule_reserve(&p->schedule, ops, terms));
    PN_TRY(pn_buffers_reserve(&p->buffers, ops));
    PN_TRY(pn_jobs_reserve(&p->jobs, p->kernels->memory, ops, terms));
    p->ops_max = ops;
    p->terms_max = terms;
    return PN_OK;
}

/* ---- what is built --------------------------------------------------------------------------- */

pn_graph *pn_graph_of(pn_program *p) { return &p->graph; }

void pn_program_begin(pn_program *p, int N, bool training, bool guarded) {
    pn_graph_begin(&p->graph, N, training);
    p->guarded = guarded;
    p->compiled = false;
}

void pn_program_recompute(pn_program *p) { p->graph.recompute = true; }

void pn_program_shape(const pn_program *p, pn_value v, int *H, int *W, int *C) {
    *H = *W = *C = 0;
    if (v < 0 || v >= p->graph.value_count) return;
    *H = p->graph.values[v].H;
    *W = p->graph.values[v].W;
    *C = p->graph.values[v].C;
}

int pn_program_batch(const pn_program *p) { return p->graph.N; }

bool pn_program_trains(const pn_program *p) { return p->graph.training; }

pn_status pn_program_mark(pn_program *p, int *ops) {
    if (p->graph.failed != PN_OK) return p->graph.failed;
    pn_graph_mark(&p->graph);
    *ops = 0;
    for (int i = 0; i < p->graph.op_count; i++) *ops += p->graph.ops[i].alive;
    return PN_OK;
}

void pn_program_touch(const pn_program *p, bool *touched) {
    for (int i = 0; i < p->graph.op_count; i++) {
        const op *o = &p->graph.ops[i];
        if (!o->alive) continue;
        if (o->w >= 0) touched[o->w] = true;
        if (o->family == PN_REDUCE) touched[o->w + 1] = true; /* its two halves are two tensors */
        if (o->w2 >= 0) touched[o->w2] = true;
        if (o->out < 0) continue;
        const pn_norm_spec *n = &p->graph.values[o->out].norm;
        if (n->mode != PN_NORM_NONE && n->gamma >= 0) touched[n->gamma] = touched[n->beta] = true;
    }
}

void pn_program_track(const pn_program *p, bool *tracked) {
    for (int i = 0; i < p->graph.op_count && p->graph.training; i++) {
        const op *o = &p->graph.ops[i];
        if (!o->alive || o->out < 0) continue;
        const pn_norm_spec *n = &p->graph.values[o->out].norm;
        if (n->mode == PN_NORM_BATCH && n->running_mean >= 0)
            tracked[n->running_mean] = tracked[n->running_var] = true;
    }
}

/* ---- kernels of a launch --------------------------------------------------------------------- */

static size_t scratch_of(const pn_kernels *k, const launch *a, const void *jobs) {
    switch (a->family) {
#define SCRATCH(FAMILY, op, with)                                        \
    case PN_##FAMILY:                                                    \
        return a->pass == BACKWARD ? k->op##_bwd_scratch(jobs, a->count) \
                                   : k->op##_fwd_scratch(jobs, a->count);
        PN_OPS(SCRATCH, )
#undef SCRATCH
        default:
            return 0;
    }
}

static pn_status run_launch(const pn_kernels *k, const launch *a, const void *jobs,
                            const pn_launch *where) {
    switch (a->family) {
#define RUN(FAMILY, op, with)                                           \
    case PN_##FAMILY:                                                   \
        return a->pass == BACKWARD ? k->op##_bwd(jobs, a->count, where) \
                                   : k->op##_fwd(jobs, a->count, where);
        PN_OPS(RUN, )
#undef RUN
        default:
            return PN_OK;
    }
}

/* For a profiler that was asked for: the environment variable PARSEC_NVTX is set. */
static const char *range_name(const launch *a, char text[64]) {
    snprintf(text, 64, "%s %s, %d jobs", pn_family_name[a->family],
             a->pass == BACKWARD ? "bwd" : "fwd", a->count);
    return text;
}

/* ---- compiling ------------------------------------------------------------------------------- */

/* Without its guard. */
static size_t plain_bytes(const pn_buffers *b, int buffer) {
    return b->list[buffer].bytes - b->guard;
}

static size_t scratch_bytes(const pn_buffers *b, int l) {
    return b->scratch[l] < 0 ? 0 : plain_bytes(b, b->scratch[l]);
}

/* All of a program's size but that of the arena. */
static pn_program_size size_of(const pn_graph *g, const pn_schedule *s, const pn_buffers *b) {
    pn_program_size size = {.launches_fwd = s->forward,
                            .launches_bwd = s->count - s->forward,
                            .jobs_fwd = s->jobs[FORWARD],
                            .jobs_bwd = s->jobs[BACKWARD]};
    for (int i = 0; i < b->count; i++) {
        const pn_buffer *buffer = &b->list[i];
        size.unshared_bytes += buffer->bytes + PN_ALIGN;
        if (buffer->first < s->forward && buffer->last >= s->forward)
            size.activation_bytes += buffer->bytes;
    }
    for (int l = 0; l < s->count; l++)
        if (scratch_bytes(b, l) > size.scratch_bytes) size.scratch_bytes = scratch_bytes(b, l);
    for (int i = 0; i < g->op_count; i++)
        if (g->ops[i].alive && g->ops[i].depth > size.levels) size.levels = g->ops[i].depth;
    return size;
}

pn_status pn_program_compile(pn_program *p, pn_program_size *size) {
    pn_graph *const g = &p->graph;
    pn_schedule *const s = &p->schedule;
    pn_buffers *const b = &p->buffers;
    if (g->failed != PN_OK) return g->failed;
    PN_TRY(pn_program_reserve(p, g->op_count, g->use_count));
    p->binding = (pn_binding){0};
    pn_graph_mark(g);
    pn_schedule_make(g, s);
    pn_buffers_make(g, s, p->kernels->storage, p->guarded ? PN_GUARD : 0, b);
    pn_jobs_write(g, s, b, &p->binding, &p->jobs);
    for (int l = 0; l < s->count; l++) {
        const size_t bytes = scratch_of(p->kernels, &s->launches[l], p->jobs.jobs + p->jobs.at[l]);
        if (bytes == PN_NO_SCRATCH) return PN_EARG; /* the kernels have said why */
        b->scratch[l] = bytes ? pn_buffers_add(b, bytes, l, l) : -1;
    }
    PN_TRY(pn_plan(b->list, b->count, &b->room, &p->arena_bytes));
    *size = size_of(g, s, b);
    size->arena_bytes = p->arena_bytes;
    p->compiled = true;
    return PN_OK;
}

size_t pn_program_floor(const pn_program *p) {
    return p->compiled ? pn_plan_floor(p->buffers.list, p->buffers.count) : 0;
}

/* ---- binding and running --------------------------------------------------------------------- */

void pn_program_gradient(pn_program *p, float *base, const size_t *at) {
    p->binding.gradient = base;
    p->binding.gradient_at = at;
}

pn_status pn_program_bind(pn_program *p, pn_arena *arena, pn_parameters *parameters,
                          const float *image, const int32_t *labels, const float *scale) {
    if (!p->compiled) return pn_fail(PN_EARG, "program: bound before it is compiled");
    PN_TRY(pn_arena_commit(arena, p->arena_bytes));
    p->binding.arena = arena;
    p->binding.parameters = parameters;
    p->binding.image = image;
    p->binding.scale = scale;
    p->binding.labels = labels;
    pn_jobs_write(&p->graph, &p->schedule, &p->buffers, &p->binding, &p->jobs);
    const pn_memory *memory = p->kernels->memory;
    return memory->plain ? PN_OK : pn_jobs_upload(&p->jobs, &p->schedule, p->kernels);
}

/* In a checked arena, buffers come and go as the plan says. */
static void births(const pn_buffers *b, int now, pn_arena *arena) {
    for (int i = 0; i < b->count; i++)
        if (b->list[i].first == now && b->list[i].in_place_of < 0)
            pn_arena_born(arena, b->list[i].offset, plain_bytes(b, i));
}

static pn_status deaths(const pn_buffers *b, int now, pn_arena *arena) {
    for (int i = 0; i < b->count; i++) {
        if (b->list[i].last != now) continue;
        bool replaced = false;
        for (int j = i + 1; j < b->count && !replaced; j++) replaced = b->list[j].in_place_of == i;
        if (!replaced) PN_TRY(pn_arena_died(arena, b->list[i].offset, plain_bytes(b, i)));
    }
    return PN_OK;
}

/* What a launch finds outside its jobs. An op that wants no scratch still gets an address. */
static pn_launch surroundings(const pn_program *p, int l) {
    const pn_memory *memory = p->kernels->memory;
    const int scratch = p->buffers.scratch[l];
    return (pn_launch){.scratch = scratch < 0
                                      ? p->binding.arena->base
                                      : pn_buffer_address(&p->buffers, &p->binding, scratch),
                       .scratch_bytes = scratch_bytes(&p->buffers, l),
                       .table = memory->plain ? NULL : p->jobs.tables.device + p->jobs.table_at[l],
                       .gate = p->schedule.launches[l].pass == BACKWARD ? p->binding.scale : NULL,
                       .stream = memory->stream()};
}

/* laps: NULL, or what times the launches: each in a slot of its own or, `by_op`, in that of its op
 * and pass. */
static pn_status run(const pn_program *p, int first, int end, pn_laps *laps, bool by_op) {
    void (*const range)(const char *) = getenv("PARSEC_NVTX") ? p->kernels->memory->range : NULL;
    pn_arena *const arena = p->binding.arena;
    char text[64];
    if (!arena || !p->binding.image) return pn_fail(PN_EARG, "program: run before it is bound");
    if (laps) PN_TRY(pn_laps_begin(laps));
    for (int l = first; l < end; l++) {
        const launch *a = &p->schedule.launches[l];
        const pn_launch where = surroundings(p, l);
        if (p->guarded) births(&p->buffers, l, arena);
        if (range) range(range_name(a, text));
        const pn_status s = run_launch(p->kernels, a, p->jobs.jobs + p->jobs.at[l], &where);
        if (range) range(NULL);
        PN_TRY(s);
        if (laps)
            PN_TRY(pn_laps_end(laps, by_op ? pn_timed(a->family, a->pass == BACKWARD) : l - first));
        /* What lives to the end (logits) is read after the run: its memory is never closed. */
        if (p->guarded && l + 1 < p->schedule.count) PN_TRY(deaths(&p->buffers, l, arena));
    }
    return PN_OK;
}

static pn_status run_pass(pn_program *p, bool backward, pn_laps *laps, bool by_op) {
    const int forward = p->schedule.forward;
    if (!backward) return run(p, 0, forward, laps, by_op);
    if (!p->graph.training)
        return pn_fail(PN_EARG, "program: backward of a program for forward only");
    return run(p, forward, p->schedule.count, laps, by_op);
}

pn_status pn_program_forward(pn_program *p) {
    return run_pass(p, false, pn_times_of(p->kernels->memory), true);
}

pn_status pn_program_backward(pn_program *p) {
    return run_pass(p, true, pn_times_of(p->kernels->memory), true);
}

/* ---- looking at it --------------------------------------------------------------------------- */

/* The stamps of a device are one set: what others have on their way is read first. */
pn_status pn_program_time(pn_program *p, bool backward, double *ms) {
    const pn_memory *memory = p->kernels->memory;
    const int launches = backward ? p->schedule.count - p->schedule.forward : p->schedule.forward;
    pn_laps laps = {.memory = memory, .ms = ms}, *const others = pn_times_of(memory);
    if (others) PN_TRY(pn_laps_read(others));
    for (int l = 0; l < launches; l++) ms[l] = 0;
    PN_TRY(run_pass(p, backward, &laps, false));
    return pn_laps_read(&laps);
}

int pn_program_jobs(const pn_program *p, int l) {
    return l < p->schedule.count ? p->schedule.launches[l].count : 0;
}

pn_job_look pn_program_job(const pn_program *p, int l, int j) {
    const launch *a = &p->schedule.launches[l];
    const op *o = &p->graph.ops[p->schedule.order[a->first + j]];
    const void *jobs = p->jobs.jobs + p->jobs.at[l];
    const pn_storage storage = p->kernels->storage;
    const value *made =
        o->out >= 0 ? &p->graph.values[o->out] : pn_value_read(&p->graph, o->first_use);
    pn_job_look look = {
        .family = a->family, .backward = a->pass == BACKWARD, .H = made->H, .W = made->W};
    switch (a->family) {
#define WORK(FAMILY, op, with)                                                         \
    case PN_##FAMILY:                                                                  \
        look.work = pn_##op##_work((const pn_##op *)jobs + j, look.backward, storage); \
        break;
        PN_OPS(WORK, )
#undef WORK
        default:
            break;
    }
    return look;
}

const float *pn_program_logits(const pn_program *p, int index) {
    for (int i = 0; i < p->graph.op_count && p->compiled; i++)
        if (p->graph.ops[i].family == PN_HEAD && index-- == 0)
            return pn_buffer_address(&p->buffers, &p->binding, p->buffers.places[i].logits);
    return NULL;
}
