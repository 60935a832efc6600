/* cases.c -- see cases.h. */
#include "kernels/cases/cases.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/halves.h"

enum { CLASSES = 10, HEAD_EDGE = 8, REDUCED_EDGE = 14 };

/* ---- names ----------------------------------------------------------------------------------- */

static const char *op_name(const pn_op_case *c) {
    static const char *const names[] = {
#define NAME(FAMILY, op, with) #op,
        PN_OPS(NAME, ) "sgd"};
#undef NAME
    if (c->op == PN_CASE_POOL) return c->pool == PN_POOL_MAX ? "max_pool" : "avg_pool";
    return names[c->op];
}

void pn_case_name(const pn_op_case *c, char name[PN_CASE_NAME]) {
    if (c->op == PN_CASE_SGD) {
        snprintf(name, PN_CASE_NAME, "sgd/floats:%zu", c->floats);
        return;
    }
    int n = snprintf(name, PN_CASE_NAME, "%s/%s/N:%d/C:%d/HW:%d", op_name(c),
                     c->backward ? "bwd" : "fwd", c->N, c->K ? c->K : c->C, c->HW);
#define ADD(...) n += snprintf(name + n, (size_t)(PN_CASE_NAME - n), __VA_ARGS__)
    if (c->op == PN_CASE_STAGE) ADD("/R:%d/dilation:%d/stride:%d", c->R, c->dilation, c->stride);
    if (c->op == PN_CASE_CONV1X1 || c->op == PN_CASE_REDUCE || c->op == PN_CASE_CONV)
        ADD("/parts:%dx%d", c->parts, c->C);
    if (c->op == PN_CASE_CONV) ADD("/R:%d/stride:%d%s", c->R, c->stride, c->mean ? "/mean" : "");
    if (c->op == PN_CASE_POOL || (c->op == PN_CASE_STEM && c->stride > 1))
        ADD("/stride:%d", c->stride);
    if (c->restore) ADD("/restored");
    if (c->terms) ADD("/terms:%d", c->terms);
#undef ADD
}

/* Ops of the search space, as the cases that they consist of. */
static const struct {
    const char *name;
    pn_op_case of;
} space_ops[] = {
    {"sep_conv_3x3", {.op = PN_CASE_STAGE, .R = 3, .dilation = 1}},
    {"sep_conv_5x5", {.op = PN_CASE_STAGE, .R = 5, .dilation = 1}},
    {"dil_conv_3x3", {.op = PN_CASE_STAGE, .R = 3, .dilation = 2}},
    {"dil_conv_5x5", {.op = PN_CASE_STAGE, .R = 5, .dilation = 2}},
    {"max_pool_3x3", {.op = PN_CASE_POOL, .pool = PN_POOL_MAX}},
    {"avg_pool_3x3", {.op = PN_CASE_POOL, .pool = PN_POOL_AVG}},
    {"skip_connect", {.op = PN_CASE_REDUCE}},
};
enum { SPACE_OPS = sizeof space_ops / sizeof *space_ops };

const char *pn_case_known(int i) {
    static const char *const ops[] = {"stem",     "conv1x1", "reduce", "conv", "stage", "max_pool",
                                      "avg_pool", "pool",    "node",   "head", "sgd"};
    const int count = sizeof ops / sizeof *ops;
    if (i < count) return ops[i];
    return i < count + SPACE_OPS ? space_ops[i - count].name : NULL;
}

int pn_case_is(const pn_op_case *c, const char *name) {
    if (!strcmp(name, op_name(c)) || (c->op == PN_CASE_POOL && !strcmp(name, "pool"))) return 1;
    for (int i = 0; i < SPACE_OPS; i++) {
        const pn_op_case *of = &space_ops[i].of;
        if (!strcmp(name, space_ops[i].name))
            return c->op == of->op && c->R == of->R && c->dilation == of->dilation &&
                   c->pool == of->pool;
    }
    return 0;
}

/* ---- those of a network ---------------------------------------------------------------------- */

int pn_cases_of(int N, int C, int HW, int first, pn_op_case list[PN_MOST_CASES]) {
    int n = 0;
    const int strides = HW < REDUCED_EDGE ? 1 : 2; /* the last cells have no reduction */
#define ADD(...)                                                    \
    for (int pass = 0; pass < 2; pass++) list[n++] = (pn_op_case) { \
            .N = N, .HW = HW, .backward = pass, __VA_ARGS__         \
        }
    for (int stride = 1; stride <= strides; stride++)
        for (int R = 3; R <= 5; R += 2)
            for (int dilation = 1; dilation <= 2; dilation++)
                ADD(.op = PN_CASE_STAGE, .C = C, .R = R, .dilation = dilation, .stride = stride);
    if (first) ADD(.op = PN_CASE_CONV1X1, .parts = 1, .C = 3 * C, .K = C);
    ADD(.op = PN_CASE_CONV1X1, .parts = PN_PARTS, .C = C, .K = C);
    if (strides == 2) {
        ADD(.op = PN_CASE_CONV1X1, .parts = PN_PARTS, .C = C, .K = 2 * C);
        ADD(.op = PN_CASE_REDUCE, .parts = PN_PARTS, .C = C, .K = 2 * C);
        ADD(.op = PN_CASE_REDUCE, .parts = 1, .C = 2 * C, .K = 2 * C);
    }
    for (int stride = 1; stride <= strides; stride++)
        for (int kind = PN_POOL_MAX; kind <= PN_POOL_AVG; kind++)
            ADD(.op = PN_CASE_POOL, .C = C, .stride = stride, .pool = (pn_pool_kind)kind);
    ADD(.op = PN_CASE_NODE, .C = C);
    ADD(.op = PN_CASE_NODE, .C = C, .restore = 1);
    if (first) ADD(.op = PN_CASE_STEM, .C = 3, .K = 3 * C, .stride = 1);
    if (HW <= HEAD_EDGE) ADD(.op = PN_CASE_HEAD, .C = C);
#undef ADD
    return n;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* NULL after a failure: then the status of the call says why. */
static void *take(pn_op_call *c, size_t bytes, pn_status *status) {
    const pn_memory *memory = c->kernels->memory;
    void *block = NULL;
    if (*status != PN_OK) return NULL;
    if (bytes > memory->available())
        *status = pn_fail(PN_EMEM, "%.1f MiB more are needed, %.1f MiB are available",
                          (double)bytes / 0x1p20, (double)memory->available() / 0x1p20);
    else
        *status = memory->allocate(bytes, &block);
    if (*status != PN_OK) return NULL;
    c->block[c->blocks++] = block;
    return block;
}

static void *copied(pn_op_call *c, const void *from, size_t bytes, pn_status *status) {
    const pn_memory *memory = c->kernels->memory;
    int64_t mark;
    void *block = take(c, bytes, status);
    if (block) *status = memory->upload(block, from, bytes);
    if (*status == PN_OK) *status = memory->mark(&mark);
    if (*status == PN_OK) *status = memory->wait(mark);
    return block;
}

/* Uniform (a generator of Numerical Recipes): what the numbers are does not matter to a time, but
 * that ReLU lets half of them through, and that none is denormal. */
static void fill(pn_op_call *c, float *to, size_t count, float low, float high) {
    unsigned state = c->random;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525U + 1013904223U;
        to[i] = low + (high - low) * (float)(state >> 8) * 0x1p-24F;
    }
    c->random = state;
}

/* Of the host, to be freed. */
static float *filled(pn_op_call *c, size_t count, float low, float high, pn_status *status) {
    const size_t bytes = count * sizeof(float);
    float *host = bytes < c->kernels->memory->available() ? malloc(bytes) : NULL;
    if (host)
        fill(c, host, count, low, high);
    else
        *status = pn_fail(PN_EMEM, "no memory for %zu bytes", bytes);
    return host;
}

static float *between(pn_op_call *c, double count, float low, float high, pn_status *status) {
    const size_t bytes = (size_t)count * sizeof(float);
    if (*status != PN_OK) return NULL;
    if (c->kernels->memory->plain) {
        float *block = take(c, bytes, status);
        if (block) fill(c, block, (size_t)count, low, high);
        return block;
    }
    float *host = filled(c, (size_t)count, low, high, status);
    float *block = host ? copied(c, host, bytes, status) : NULL;
    free(host);
    return block;
}

static float *floats(pn_op_call *c, double count, pn_status *status) {
    return between(c, count, -1, 1, status);
}

/* A tensor that lies between ops. */
static void *stored(pn_op_call *c, double count, pn_status *status) {
    if (c->kernels->storage == PN_STORED_FLOAT32) return floats(c, count, status);
    if (*status != PN_OK) return NULL;
    float *host = filled(c, (size_t)count, -1, 1, status);
    uint16_t *halves = (uint16_t *)(void *)host; /* in the place of those that were read */
    for (size_t i = 0; host && i < (size_t)count; i++)
        halves[i] = pn_half_narrow(c->kernels->storage, host[i]);
    void *block = host ? copied(c, halves, (size_t)count * sizeof *halves, status) : NULL;
    free(host);
    return block;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static pn_norm norm_of(pn_op_call *c, int K, pn_status *s) {
    return (pn_norm){.mode = PN_NORM_BATCH,
                     .eps = 1e-5F,
                     .momentum = 0.1F,
                     .stats = between(c, 4.0 * K, 0.5F, 1.5F, s)};
}

static pn_input input_of(pn_op_call *c, double pixels, bool gradient, pn_status *s) {
    const double count = pixels * c->of.C;
    return (pn_input){.x = stored(c, count, s),
                      .dx = gradient ? stored(c, count, s) : NULL,
                      .C = c->of.C,
                      .norm = norm_of(c, c->of.C, s)};
}

static pn_output output_of(pn_op_call *c, double pixels, int K, pn_status *s) {
    return (pn_output){.z = stored(c, pixels * K, s),
                       .dy = stored(c, pixels * K, s),
                       .coef = 1,
                       .K = K,
                       .norm = norm_of(c, K, s)};
}

static double pixels_of(int N, int edge) { return (double)N * edge * edge; }

static pn_status make_stem(pn_op_call *c) {
    const pn_op_case *of = &c->of;
    pn_stem *job = &c->job.stem;
    pn_status s = PN_OK;
    job->x = floats(c, pixels_of(of->N, of->HW) * of->C, &s);
    job->out = output_of(c, pixels_of(of->N, pn_out_size(of->HW, of->stride)), of->K, &s);
    job->w = floats(c, 9.0 * of->C * of->K, &s);
    job->dw = floats(c, 9.0 * of->C * of->K, &s);
    return s;
}

/* conv1x1, reduce, conv */
static pn_status make_conv(pn_op_call *c) {
    const pn_op_case *of = &c->of;
    const int edge = of->op == PN_CASE_REDUCE ? pn_out_size(of->HW, 2)
                     : of->op == PN_CASE_CONV ? pn_conv_size(of->HW, of->R, of->stride, of->pad)
                                              : of->HW;
    const double taps = of->op == PN_CASE_CONV && !of->mean ? of->R * of->R : 1;
    const double weights = taps * of->parts * of->C * of->K;
    pn_conv *job = &c->job.conv;
    pn_status s = PN_OK;
    for (int i = 0; i < of->parts; i++)
        job->in[i] = input_of(c, pixels_of(of->N, of->HW), true, &s);
    job->out = output_of(c, pixels_of(of->N, edge), of->K, &s);
    job->w = floats(c, weights, &s);
    job->dw = floats(c, weights, &s);
    return s;
}

static pn_status make_stage(pn_op_call *c) {
    const pn_op_case *of = &c->of;
    const double C = of->C, taps = of->R * of->R;
    pn_stage *job = &c->job.stage;
    pn_status s = PN_OK;
    job->in = input_of(c, pixels_of(of->N, of->HW), true, &s);
    job->out = output_of(c, pixels_of(of->N, pn_out_size(of->HW, of->stride)), of->C, &s);
    job->dw = floats(c, taps * C, &s);
    job->pw = floats(c, C * C, &s);
    job->ddw = floats(c, taps * C, &s);
    job->dpw = floats(c, C * C, &s);
    return s;
}

static pn_status make_pool(pn_op_call *c) {
    const pn_op_case *of = &c->of;
    pn_status s = PN_OK;
    c->job.pool.in = input_of(c, pixels_of(of->N, of->HW), true, &s);
    c->job.pool.out = output_of(c, pixels_of(of->N, pn_out_size(of->HW, of->stride)), of->C, &s);
    return s;
}

static pn_status make_node(pn_op_call *c) {
    const double pixels = pixels_of(c->of.N, c->of.HW);
    pn_node *job = &c->job.node;
    pn_status s = PN_OK;
    float *const weight = c->of.terms ? floats(c, 2.0 * job->terms, &s) : NULL;
    for (int i = 0; i < job->terms; i++) {
        c->term[i] = (pn_term){.in = input_of(c, pixels, false, &s), .coef = 1};
        if (!weight) continue;
        c->term[i].weight = weight + i;
        c->term[i].dweight = weight + job->terms + i;
    }
    job->h = stored(c, pixels * c->of.C, &s);
    job->dh = stored(c, pixels * c->of.C, &s);
    if (c->of.restore) c->term[1].in.x = job->h; /* one tensor: the term's z, and the sum */
    return s;
}

static pn_status make_head(pn_op_call *c) {
    const pn_op_case *of = &c->of;
    const double C = (double)PN_PARTS * of->C;
    pn_head *job = &c->job.head;
    pn_status s = PN_OK;
    for (int i = 0; i < PN_PARTS; i++) {
        job->in[i] = input_of(c, pixels_of(of->N, of->HW), true, &s);
        job->in[i].norm = (pn_norm){.mode = PN_NORM_NONE};
    }
    job->labels = take(c, (size_t)of->N * sizeof *job->labels, &s);
    job->w = floats(c, C * CLASSES, &s);
    job->b = floats(c, CLASSES, &s);
    job->dw = floats(c, C * CLASSES, &s);
    job->db = floats(c, CLASSES, &s);
    job->pooled = floats(c, of->N * C, &s);
    job->logits = floats(c, (double)of->N * CLASSES, &s);
    job->result = take(c, sizeof *job->result, &s);
    return s;
}

static pn_status make_sgd(pn_op_call *c) {
    const double count = (double)c->range.count;
    pn_status s = PN_OK;
    c->value = floats(c, count, &s);
    c->gradient = between(c, count, -1e-3F, 1e-3F, &s);
    c->velocity = between(c, count, 0, 0, &s);
    c->norm = take(c, sizeof *c->norm, &s);
    return s;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Shapes alone: as much as scratch depends on. */
static void shape(pn_op_call *c) {
    const pn_op_case *of = &c->of;
    const pn_norm norm = {.mode = PN_NORM_BATCH};
    const pn_input in = {.C = of->C, .norm = norm};
    const pn_output out = {.coef = 1, .K = of->K ? of->K : of->C, .norm = norm};
#define JOB(op, ...) \
    c->job.op = (pn_##op) { .N = of->N, .H = of->HW, .W = of->HW, __VA_ARGS__ }
    switch (of->op) {
        case PN_CASE_STEM:
            JOB(stem, .C = of->C, .stride = of->stride, .out = out);
            break;
        case PN_CASE_CONV1X1:
        case PN_CASE_REDUCE:
        case PN_CASE_CONV:
            JOB(conv, .parts = of->parts, .R = of->R, .stride = of->stride, .pad = of->pad,
                .mean = of->mean, .in = {in, in, in, in}, .out = out);
            break;
        case PN_CASE_STAGE:
            JOB(stage, .R = of->R, .dilation = of->dilation, .stride = of->stride, .in = in,
                .out = out);
            break;
        case PN_CASE_POOL:
            JOB(pool, .stride = of->stride, .kind = of->pool, .in = in, .out = out);
            break;
        case PN_CASE_NODE:
            JOB(node, .C = of->C, .terms = of->terms ? of->terms : 2, .restore = of->restore,
                .term = c->term);
            for (int i = 0; i < c->job.node.terms; i++) c->term[i] = (pn_term){.in = in, .coef = 1};
            break;
        case PN_CASE_HEAD:
            JOB(head, .parts = PN_PARTS, .classes = CLASSES, .loss_weight = 1,
                .in = {in, in, in, in});
            for (int i = 0; i < PN_PARTS; i++) c->job.head.in[i].norm.mode = PN_NORM_NONE;
            break;
        case PN_CASE_SGD:
            c->range = (pn_range){0, of->floats};
            break;
    }
#undef JOB
}

static size_t scratch_of(const pn_op_call *c) {
    const pn_kernels *k = c->kernels;
    switch (c->of.op) {
#define SCRATCH(FAMILY, op, with)                                  \
    case PN_CASE_##FAMILY:                                         \
        return c->of.backward ? k->op##_bwd_scratch(&c->job.op, 1) \
                              : k->op##_fwd_scratch(&c->job.op, 1);
        PN_OPS(SCRATCH, )
#undef SCRATCH
        default:
            return k->sgd_scratch(&c->range, 1);
    }
}

static pn_status make(pn_op_call *c) {
    static pn_status (*const makers[])(pn_op_call *) = {
        [PN_CASE_STEM] = make_stem, [PN_CASE_CONV1X1] = make_conv, [PN_CASE_REDUCE] = make_conv,
        [PN_CASE_CONV] = make_conv, [PN_CASE_STAGE] = make_stage,  [PN_CASE_POOL] = make_pool,
        [PN_CASE_NODE] = make_node, [PN_CASE_HEAD] = make_head,    [PN_CASE_SGD] = make_sgd,
    };
    return makers[c->of.op](c);
}

static pn_work work_of(const pn_op_call *c) {
    switch (c->of.op) {
#define WORK(FAMILY, op, with) \
    case PN_CASE_##FAMILY:     \
        return pn_##op##_work(&c->job.op, c->of.backward, c->kernels->storage);
        PN_OPS(WORK, )
#undef WORK
        default:
            return pn_sgd_work(c->range.count);
    }
}

static size_t write_table(const pn_op_call *c, void *table) {
    const pn_kernels *k = c->kernels;
    switch (c->of.op) {
#define TABLE(FAMILY, op, with)                                         \
    case PN_CASE_##FAMILY:                                              \
        return c->of.backward ? k->op##_bwd_table(&c->job.op, 1, table) \
                              : k->op##_fwd_table(&c->job.op, 1, table);
        PN_OPS(TABLE, )
#undef TABLE
        default:
            return 0;
    }
}

/* The call as the device reads it: a node's terms lie there, too. */
static void *table_of(pn_op_call *c, pn_status *s) {
    if (c->kernels->memory->plain || *s != PN_OK) return NULL;
    const size_t bytes = write_table(c, NULL);
    void *const here = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    if (!here) {
        if (bytes) *s = pn_fail(PN_EMEM, "no memory for a table of %zu bytes", bytes);
        return NULL;
    }
    (void)write_table(c, here);
    if (c->of.op == PN_CASE_NODE) ((pn_node *)here)->term = copied(c, c->term, sizeof c->term, s);
    void *const there = copied(c, here, bytes, s);
    free(here);
    return there;
}

pn_status pn_op_call_create(pn_op_call *c, const pn_kernels *kernels, const pn_op_case *of) {
    *c = (pn_op_call){.of = *of, .kernels = kernels, .random = 1};
    if (of->terms < 0 || of->terms > PN_CASE_TERMS)
        return pn_fail(PN_EARG, "a node of %d terms, want at most %d", of->terms, PN_CASE_TERMS);
    shape(c);
    const size_t scratch = scratch_of(c);
    if (scratch == PN_NO_SCRATCH) return PN_EARG; /* the kernels have said why */
    pn_status s = make(c);
    c->work = work_of(c);
    c->launch = (pn_launch){.scratch_bytes = scratch, .stream = kernels->memory->stream()};
    c->launch.scratch = take(c, scratch, &s);
    c->launch.table = table_of(c, &s);
    return s;
}

void pn_op_call_destroy(pn_op_call *c) {
    while (c->blocks > 0) c->kernels->memory->release(c->block[--c->blocks]);
}

pn_status pn_op_call_run(const pn_op_call *c) {
    static const pn_sgd settings = {1e-6F, 0.9F, 3e-4F, 5, 0};
    const pn_kernels *k = c->kernels;
    switch (c->of.op) {
#define RUN(FAMILY, op, with)                                          \
    case PN_CASE_##FAMILY:                                             \
        return c->of.backward ? k->op##_bwd(&c->job.op, 1, &c->launch) \
                              : k->op##_fwd(&c->job.op, 1, &c->launch);
        PN_OPS(RUN, )
#undef RUN
        default:
            return k->sgd(&c->range, 1, c->value, c->gradient, c->velocity, NULL, settings, c->norm,
                          &c->launch);
    }
}
