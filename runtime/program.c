/* program.c -- building, sorting, planning, binding and running a network. */
#include "runtime/program.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORWARD, BACKWARD, PASSES };

/* A tensor. Buffers are indices into pn_program.buffers, -1 where there is none. */
typedef struct value {
    int H, W, C;
    int op; /* its producer; -1: the image */
    pn_norm_spec norm;
    int uses; /* by living ops */
    int data, grad, stats;
    int shared;   /* index of the one use (a node's term) whose gradient stands for this
                     value's own; -1: it has its own */
    bool written; /* while the order of adds is settled */
} value;

/* One op's reading of one value. */
typedef struct use {
    pn_term_spec term;
    int op;
    int add; /* does its gradient add to what is there? */
} use;

typedef struct op {
    pn_family family;
    pn_value out; /* -1: a head */
    int first_use, uses;
    bool alive;
    int depth; /* of the longest chain of ops that ends here */
    int launch[PASSES];
    bool done, ready, held; /* while launches are chosen */
    int R, dilation, stride, pad;
    bool mean;
    pn_pool_kind pool;
    int w, w2; /* parameters; stage: depthwise and pointwise; head: weight and bias */
    bool relu;
    int classes;
    float smoothing, loss_weight;
    pn_result *result;
    int pooled, logits; /* buffers of a head */
    int restored; /* node: the use that shares its tensor with the sum (pn_node.restore), or -1 */
} op;

typedef struct launch {
    pn_family family;
    int pass;
    int first, count; /* in order[pass] */
    int scratch;      /* buffer, -1: none wanted */
    size_t scratch_bytes;
    size_t jobs; /* offset of the first job, bytes */
} launch;

/* Jobs and terms as the device reads them. The host fills one half of the staging block while the
 * other is on its way. */
typedef struct table {
    char *device, *staging;
    size_t bytes; /* of the device's, and of each half of the staging block */
    int half;
    int64_t mark[2]; /* of the upload from each half */
} table;

struct pn_program {
    const pn_kernels *kernels;
    int N;
    bool training, guarded, compiled;
    pn_status failed;

    value *values;
    use *uses;
    op *ops;
    pn_buffer *buffers;
    launch *launches;
    int *order;      /* ops in running order: forward, then backward */
    int *plan_order; /* scratch of the planner */
    pn_term *terms;  /* of the node jobs: forward, then backward */
    char *jobs;
    int value_count, use_count, op_count, buffer_count, launch_count, term_count;
    int values_max, uses_max, ops_max, buffers_max, launches_max, order_max, plan_max, terms_max;
    int jobs_max; /* in jobs of the largest kind */
    table tables; /* unused where kernels work in the host's memory */
    int order_count[PASSES], launches_fwd;
    size_t job_bytes;

    pn_program_size size;
    /* bound */
    pn_arena *arena;
    pn_parameters *parameters;
    const float *image, *scale;
    const int32_t *labels;
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

/* ---- memory of the program itself ------------------------------------------------------------ */

static pn_status reserve(void **list, int *max, int wanted, size_t item) {
    if (wanted <= *max) return PN_OK;
    int n = wanted > 2 * *max ? wanted : 2 * *max;
    void *bigger = realloc(*list, (size_t)n * item);
    if (!bigger) return pn_fail(PN_EMEM, "program: no memory for %d items of %zu bytes", n, item);
    *list = bigger;
    *max = n;
    return PN_OK;
}

#define RESERVE(p, list, max, wanted) \
    reserve((void **)&(p)->list, &(p)->max, wanted, sizeof *(p)->list)

pn_status pn_program_create(pn_program **program, const pn_kernels *kernels) {
    *program = calloc(1, sizeof **program);
    if (!*program) return pn_fail(PN_EMEM, "program: no memory");
    (*program)->kernels = kernels;
    return PN_OK;
}

static void release_table(pn_program *p) {
    p->kernels->memory->release(p->tables.device);
    p->kernels->memory->unstage(p->tables.staging);
    p->tables = (table){0};
}

void pn_program_destroy(pn_program *p) {
    if (!p) return;
    release_table(p);
    free(p->values);
    free(p->uses);
    free(p->ops);
    free(p->buffers);
    free(p->launches);
    free(p->order);
    free(p->plan_order);
    free(p->terms);
    free(p->jobs);
    free(p);
}

static pn_status reserve_table(pn_program *p) {
    const pn_memory *memory = p->kernels->memory;
    const size_t bytes =
        ((size_t)p->jobs_max * sizeof(any_job) + (size_t)p->terms_max * sizeof(pn_term) + 15) &
        ~(size_t)15;
    void *device, *staging;
    if (memory->plain || bytes <= p->tables.bytes) return PN_OK;
    release_table(p);
    PN_TRY(memory->allocate(bytes, &device));
    p->tables.device = device;
    PN_TRY(memory->stage(2 * bytes, &staging));
    p->tables.staging = staging;
    p->tables.bytes = bytes;
    return PN_OK;
}

pn_status pn_program_reserve(pn_program *p, int ops, int terms) {
    const int buffers =
        3 * ops + 2 * PASSES * ops + 4; /* data, gradient, statistics; scratch; heads */
    PN_TRY(RESERVE(p, values, values_max, ops + 1));
    PN_TRY(RESERVE(p, uses, uses_max, terms));
    PN_TRY(RESERVE(p, ops, ops_max, ops));
    PN_TRY(RESERVE(p, buffers, buffers_max, buffers));
    PN_TRY(RESERVE(p, launches, launches_max, PASSES * ops));
    PN_TRY(RESERVE(p, order, order_max, PASSES * ops));
    PN_TRY(RESERVE(p, plan_order, plan_max, 2 * buffers));
    PN_TRY(RESERVE(p, terms, terms_max, PASSES * terms));
    PN_TRY(reserve((void **)&p->jobs, &p->jobs_max, PASSES * ops, sizeof(any_job)));
    return reserve_table(p);
}

/* ---- building -------------------------------------------------------------------------------- */

void pn_program_begin(pn_program *p, int N, bool training, bool guarded) {
    p->N = N;
    p->training = training;
    p->guarded = guarded;
    p->compiled = false;
    p->failed = PN_OK;
    p->value_count = p->use_count = p->op_count = p->buffer_count = p->launch_count = 0;
    if (N < 1) p->failed = pn_fail(PN_EARG, "program: batch of %d, want at least 1", N);
}

static pn_value fail(pn_program *p, pn_status status) {
    if (p->failed == PN_OK) p->failed = status;
    return -1;
}

/* As kernels.h limits them: so that no size overflows. */
static pn_status check_size(const pn_program *p, int H, int W, int C) {
    if (pn_too_many_pixels(p->N, H, W))
        return pn_fail(PN_EARG, "program: %d images of %dx%d, want less than 2^31 pixels", p->N, H,
                       W);
    if (C > PN_MAX_WIDTH)
        return pn_fail(PN_EARG, "program: %d channels, want %d at most", C, PN_MAX_WIDTH);
    return PN_OK;
}

static pn_value add_value(pn_program *p, int H, int W, int C, int producer, pn_norm_spec norm) {
    pn_status s = RESERVE(p, values, values_max, p->value_count + 1);
    if (s == PN_OK) s = check_size(p, H, W, C);
    if (s != PN_OK) return fail(p, s);
    p->values[p->value_count] = (value){.H = H,
                                        .W = W,
                                        .C = C,
                                        .op = producer,
                                        .norm = norm,
                                        .data = -1,
                                        .grad = -1,
                                        .stats = -1,
                                        .shared = -1};
    return p->value_count++;
}

/* Appends an op that reads `count` terms, all of one height and width; NULL after a failure. */
static op *add_op(pn_program *p, pn_family family, const pn_term_spec *terms, int count) {
    if (p->failed != PN_OK) return NULL;
    pn_status s = RESERVE(p, ops, ops_max, p->op_count + 1);
    if (s == PN_OK) s = RESERVE(p, uses, uses_max, p->use_count + count);
    if (s == PN_OK && count < 1) s = pn_fail(PN_EARG, "program: an op without input");
    for (int i = 0; s == PN_OK && i < count; i++) {
        pn_value v = terms[i].value;
        if (v < 0 || v >= p->value_count)
            s = pn_fail(PN_EARG, "program: value %d, want 0..%d", v, p->value_count - 1);
        else if (p->values[v].H != p->values[terms[0].value].H ||
                 p->values[v].W != p->values[terms[0].value].W)
            s = pn_fail(PN_EARG, "program: an op reads images of %dx%d and %dx%d", p->values[v].H,
                        p->values[v].W, p->values[terms[0].value].H, p->values[terms[0].value].W);
        for (int j = 0; s == PN_OK && j < i; j++)
            if (terms[j].value == v) s = pn_fail(PN_EARG, "program: an op reads value %d twice", v);
    }
    if (s != PN_OK) {
        fail(p, s);
        return NULL;
    }
    op *o = &p->ops[p->op_count];
    *o = (op){.family = family,
              .out = -1,
              .first_use = p->use_count,
              .uses = count,
              .w = -1,
              .w2 = -1,
              .pooled = -1,
              .logits = -1,
              .restored = -1};
    for (int i = 0; i < count; i++)
        p->uses[p->use_count++] = (use){.term = terms[i], .op = p->op_count};
    p->op_count++;
    return o;
}

/* The first value that an op reads. */
static const value *input_of(const pn_program *p, const op *o) {
    return &p->values[p->uses[o->first_use].term.value];
}

static pn_value add_sized_output(pn_program *p, op *o, int H, int W, int K, pn_norm_spec norm) {
    pn_value out = add_value(p, H, W, K, (int)(o - p->ops), norm);
    if (out >= 0) o->out = out;
    return out;
}

static pn_value add_output(pn_program *p, op *o, int stride, int K, pn_norm_spec norm) {
    const value *x = input_of(p, o);
    return add_sized_output(p, o, pn_out_size(x->H, stride), pn_out_size(x->W, stride), K, norm);
}

static const pn_norm_spec no_norm = {PN_NORM_NONE, -1, -1, -1, -1};

pn_value pn_program_image(pn_program *p, int H, int W, int C) {
    if (p->failed != PN_OK) return -1;
    if (H < 1 || W < 1)
        return fail(p, pn_fail(PN_EARG, "program: image of %dx%d, want at least 1x1", H, W));
    return add_value(p, H, W, C, -1, no_norm);
}

pn_value pn_program_stem(pn_program *p, pn_value image, int stride, int w, int K,
                         pn_norm_spec norm) {
    op *o = add_op(p, PN_STEM, &(pn_term_spec){image, 1, NULL}, 1);
    if (!o) return -1;
    o->stride = stride;
    o->w = w;
    return add_output(p, o, stride, K, norm);
}

pn_value pn_program_stage(pn_program *p, pn_value x, int R, int dilation, int stride, int dw,
                          int pw, pn_norm_spec norm) {
    op *o = add_op(p, PN_STAGE, &(pn_term_spec){x, 1, NULL}, 1);
    if (!o) return -1;
    o->R = R;
    o->dilation = dilation;
    o->stride = stride;
    o->w = dw;
    o->w2 = pw;
    return add_output(p, o, stride, p->values[x].C, norm);
}

static op *add_concat(pn_program *p, pn_family family, const pn_value *x, int parts) {
    pn_term_spec terms[PN_PARTS];
    if (parts < 1 || parts > PN_PARTS) {
        fail(p, pn_fail(PN_EARG, "program: %d parts, want 1..%d", parts, PN_PARTS));
        return NULL;
    }
    for (int i = 0; i < parts; i++) terms[i] = (pn_term_spec){x[i], 1, NULL};
    return add_op(p, family, terms, parts);
}

pn_value pn_program_conv1x1(pn_program *p, const pn_value *x, int parts, int w, int K,
                            pn_norm_spec norm) {
    op *o = add_concat(p, PN_CONV1X1, x, parts);
    if (!o) return -1;
    o->w = w;
    return add_output(p, o, 1, K, norm);
}

pn_value pn_program_reduce(pn_program *p, const pn_value *x, int parts, int w, int K,
                           pn_norm_spec norm) {
    op *o = add_concat(p, PN_REDUCE, x, parts);
    if (!o) return -1;
    o->w = w;
    return add_output(p, o, 2, K, norm);
}

pn_value pn_program_conv(pn_program *p, const pn_value *x, int parts, int R, int stride, int pad,
                         bool mean, int w, int K, pn_norm_spec norm) {
    op *o = add_concat(p, PN_CONV, x, parts);
    if (!o) return -1;
    const value *in = input_of(p, o);
    const int H = pn_conv_size(in->H, R, stride, pad), W = pn_conv_size(in->W, R, stride, pad);
    if (H < 1 || W < 1)
        return fail(p, pn_fail(PN_EARG,
                               "program: a convolution of an image of %dx%d with pad %d, want R "
                               "%d or more",
                               in->H, in->W, pad, R));
    o->R = R;
    o->stride = stride;
    o->pad = pad;
    o->mean = mean;
    o->w = w;
    return add_sized_output(p, o, H, W, K, norm);
}

pn_value pn_program_pool(pn_program *p, pn_value x, pn_pool_kind kind, int stride,
                         pn_norm_spec norm) {
    op *o = add_op(p, PN_POOL, &(pn_term_spec){x, 1, NULL}, 1);
    if (!o) return -1;
    o->pool = kind;
    o->stride = stride;
    return add_output(p, o, stride, p->values[x].C, norm);
}

pn_value pn_program_node(pn_program *p, const pn_term_spec *terms, int count) {
    op *o = add_op(p, PN_NODE, terms, count);
    return o ? add_output(p, o, 1, p->values[terms[0].value].C, no_norm) : -1;
}

void pn_program_head(pn_program *p, const pn_value *x, int parts, bool relu, int w, int b,
                     int classes, float smoothing, float loss_weight, pn_result *result) {
    op *o = add_concat(p, PN_HEAD, x, parts);
    if (!o) return;
    o->relu = relu;
    o->w = w;
    o->w2 = b;
    o->classes = classes;
    o->smoothing = smoothing;
    o->loss_weight = loss_weight;
    o->result = result;
}

void pn_program_shape(const pn_program *p, pn_value v, int *H, int *W, int *C) {
    *H = *W = *C = 0;
    if (v < 0 || v >= p->value_count) return;
    *H = p->values[v].H;
    *W = p->values[v].W;
    *C = p->values[v].C;
}

/* ---- levels and launches --------------------------------------------------------------------- */

static bool wants_sums(const value *v) {
    return v->norm.mode == PN_NORM_BATCH || (v->norm.mode != PN_NORM_NONE && v->norm.gamma >= 0);
}

static void find_living(pn_program *p) {
    for (int v = 0; v < p->value_count; v++) p->values[v].uses = 0;
    for (int i = p->op_count - 1; i >= 0; i--) {
        op *o = &p->ops[i];
        o->alive = o->out < 0 || p->values[o->out].uses > 0;
        if (o->alive)
            for (int u = 0; u < o->uses; u++)
                p->values[p->uses[o->first_use + u].term.value].uses++;
    }
}

static void find_depths(pn_program *p) {
    for (int i = 0; i < p->op_count; i++) {
        op *o = &p->ops[i];
        o->depth = 0;
        for (int u = 0; u < o->uses; u++) {
            int producer = p->values[p->uses[o->first_use + u].term.value].op;
            if (producer >= 0 && p->ops[producer].depth >= o->depth)
                o->depth = p->ops[producer].depth + 1;
        }
    }
}

/* A value that only one term of a node reads needs no gradient of its own: its producer reads the
 * node's, with the term's coefficient and factor. (A node cannot do so: its job has neither.) */
static void find_shared(pn_program *p) {
    for (int v = 0; v < p->value_count; v++) p->values[v].shared = -1;
    for (int i = 0; i < p->op_count; i++) {
        const op *o = &p->ops[i];
        if (!o->alive || o->family != PN_NODE) continue;
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            value *v = &p->values[p->uses[u].term.value];
            if (v->uses == 1 && v->op >= 0 && p->ops[v->op].family != PN_NODE) v->shared = u;
        }
    }
}

/* In training, a node takes over the tensor of a term that no other op reads, and its backward puts
 * that term's z back for the producer: see pn_node.restore. */
static void find_restored(pn_program *p) {
    for (int i = 0; i < p->op_count; i++) {
        op *o = &p->ops[i];
        o->restored = -1;
        if (!p->training || !o->alive || o->family != PN_NODE) continue;
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const value *v = &p->values[p->uses[u].term.value];
            const pn_term_spec *term = &p->uses[u].term;
            if (v->shared == u && v->norm.mode == PN_NORM_BATCH && v->norm.gamma < 0 &&
                term->coef != 0 && !term->factor)
                o->restored = u;
        }
    }
}

static bool has_gradient(const pn_program *p, pn_value v) { return p->values[v].op >= 0; }

/* Does a backward job of this use write a gradient? */
static bool writes(const pn_program *p, int u) {
    pn_value v = p->uses[u].term.value;
    return has_gradient(p, v) && p->values[v].shared < 0;
}

/* Do two ops add to the same gradient? Nodes that do go to different launches: kernels.h lets
 * neighbours share all of their gradients or none. */
static bool share_gradient(const pn_program *p, const op *a, const op *b) {
    for (int i = a->first_use; i < a->first_use + a->uses; i++)
        for (int j = b->first_use; j < b->first_use + b->uses; j++)
            if (p->uses[i].term.value == p->uses[j].term.value && writes(p, i)) return true;
    return false;
}

/* ready: an op that waits for none that is not done. held: one that cannot become ready before
 * `family` is launched, whatever else is. Producers come before readers in the list. */
static void mark_ops(pn_program *p, int pass, pn_family family) {
    for (int i = 0; i < p->op_count; i++) {
        p->ops[i].ready = !p->ops[i].done;
        p->ops[i].held = false;
    }
    for (int n = 0; n < p->op_count; n++) {
        op *o = &p->ops[pass == FORWARD ? n : p->op_count - 1 - n];
        if (!o->alive) continue;
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const int producer = p->values[p->uses[u].term.value].op;
            if (producer < 0) continue;
            op *const q = &p->ops[producer];
            op *const before = pass == FORWARD ? q : o, *const after = pass == FORWARD ? o : q;
            if (before->done) continue;
            after->ready = false;
            after->held |= before->held || before->family == family;
        }
    }
}

/* A launch is all that is ready of one family. Of the families that have something ready, the one
 * for which waiting would gather the fewest more: so that a step takes few launches. */
static pn_family next_family(pn_program *p, int pass) {
    pn_family best = PN_FAMILIES;
    int fewest = p->op_count + 1;
    for (pn_family f = 0; f < PN_FAMILIES && fewest > 0; f++) {
        int ready = 0, joining = 0;
        mark_ops(p, pass, f);
        for (int i = 0; i < p->op_count; i++) {
            const op *o = &p->ops[i];
            if (o->family != f || o->done) continue;
            ready += o->ready;
            joining += !o->ready && !o->held;
        }
        if (!ready || joining >= fewest) continue;
        fewest = joining;
        best = f;
    }
    return best;
}

/* Jobs that share a gradient become neighbours; otherwise the order of building. */
static int group_of(const pn_program *p, const op *o, int pass) {
    return pass == FORWARD || o->family == PN_NODE ? 0 : p->uses[o->first_use].term.value;
}

static void insert(const pn_program *p, int *order, int n, int i, int pass) {
    const int group = group_of(p, &p->ops[i], pass);
    for (; n > 0 && group < group_of(p, &p->ops[order[n - 1]], pass); n--) order[n] = order[n - 1];
    order[n] = i;
}

static void choose_launches(pn_program *p, int pass) {
    const int first = pass == BACKWARD ? p->order_count[FORWARD] : 0;
    int *const order = p->order + first;
    int n = 0, left = 0;
    for (int i = 0; i < p->op_count; i++) {
        p->ops[i].done = !p->ops[i].alive;
        left += p->ops[i].alive;
    }
    while (n < left) {
        const pn_family family = next_family(p, pass);
        launch *const a = &p->launches[p->launch_count];
        *a = (launch){.family = family, .pass = pass, .first = first + n, .scratch = -1};
        for (int i = 0; i < p->op_count; i++) {
            op *o = &p->ops[i];
            bool fits = o->family == family && o->ready && !o->done;
            for (int j = 0; fits && pass == BACKWARD && family == PN_NODE && j < a->count; j++)
                fits = !share_gradient(p, o, &p->ops[order[n - a->count + j]]);
            if (!fits) continue;
            insert(p, order + n - a->count, a->count, i, pass);
            o->launch[pass] = p->launch_count;
            a->count++;
            n++;
        }
        for (int i = 0; i < a->count; i++) p->ops[order[n - 1 - i]].done = true;
        p->launch_count++;
    }
    p->order_count[pass] = n;
}

/* The first launch that adds to a gradient overwrites it. */
static void settle_adds(pn_program *p) {
    for (int v = 0; v < p->value_count; v++) p->values[v].written = false;
    for (int i = 0; i < p->order_count[BACKWARD]; i++) {
        const op *o = &p->ops[p->order[p->order_count[FORWARD] + i]];
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            value *v = &p->values[p->uses[u].term.value];
            p->uses[u].add = v->written;
            v->written = true;
        }
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* Addresses; NULL before binding. */
static void *at(const pn_program *p, int buffer) {
    return buffer < 0 || !p->arena ? NULL : p->arena->base + p->buffers[buffer].offset;
}

/* An op that wants none still gets an address. */
static void *scratch_at(const pn_program *p, const launch *a) {
    return a->scratch < 0 ? p->arena->base : at(p, a->scratch);
}

static float *parameter(const pn_program *p, int index) {
    return index < 0 || !p->parameters
               ? NULL
               : p->parameters->device.value + p->parameters->list[index].offset;
}

static float *gradient(const pn_program *p, int index) {
    return index < 0 || !p->parameters || !p->training
               ? NULL
               : p->parameters->device.gradient + p->parameters->list[index].offset;
}

static pn_norm norm_job(const pn_program *p, const value *v) {
    const pn_norm_spec *s = &v->norm;
    if (s->mode == PN_NORM_NONE) return (pn_norm){.mode = PN_NORM_NONE};
    return (pn_norm){.mode = s->mode,
                     .eps = 1e-5F,
                     .momentum = 0.1F,
                     .stats = at(p, v->stats),
                     .gamma = parameter(p, s->gamma),
                     .beta = parameter(p, s->beta),
                     .dgamma = gradient(p, s->gamma),
                     .dbeta = gradient(p, s->beta),
                     .running_mean = parameter(p, s->running_mean),
                     .running_var = parameter(p, s->running_var)};
}

static pn_input input_job(const pn_program *p, int u) {
    const value *v = &p->values[p->uses[u].term.value];
    return (pn_input){.x = v->op < 0 ? p->image : at(p, v->data),
                      .dx = p->training && writes(p, u) ? at(p, v->grad) : NULL,
                      .C = v->C,
                      .add = p->uses[u].add,
                      .norm = norm_job(p, v)};
}

static pn_output output_job(const pn_program *p, const op *o) {
    const value *v = &p->values[o->out];
    pn_output out = {.z = at(p, v->data), .coef = 1, .K = v->C, .norm = norm_job(p, v)};
    if (!p->training) return out;
    out.dy = at(p, v->grad);
    if (v->shared >= 0) {
        out.coef = p->uses[v->shared].term.coef;
        out.factor = p->uses[v->shared].term.factor;
    }
    return out;
}

/* shares_dx: it shares a gradient with the job before (pn_stage.shares_dx and so on). */
static any_job make_job(pn_program *p, const op *o, bool shares_dx, pn_term *terms) {
    const value *x = input_of(p, o);
    const int N = p->N, H = x->H, W = x->W;
    any_job job;
    switch (o->family) {
        case PN_STEM:
            job.stem = (pn_stem){.N = N,
                                 .H = H,
                                 .W = W,
                                 .C = x->C,
                                 .stride = o->stride,
                                 .x = p->image,
                                 .out = output_job(p, o),
                                 .w = parameter(p, o->w),
                                 .dw = gradient(p, o->w)};
            break;
        case PN_CONV1X1:
            job.conv1x1 = (pn_conv1x1){.N = N,
                                       .H = H,
                                       .W = W,
                                       .parts = o->uses,
                                       .shares_dx = shares_dx,
                                       .out = output_job(p, o),
                                       .w = parameter(p, o->w),
                                       .dw = gradient(p, o->w)};
            for (int i = 0; i < o->uses; i++) job.conv1x1.in[i] = input_job(p, o->first_use + i);
            break;
        case PN_REDUCE:
            job.reduce = (pn_reduce){.N = N,
                                     .H = H,
                                     .W = W,
                                     .parts = o->uses,
                                     .shares_dx = shares_dx,
                                     .out = output_job(p, o),
                                     .w = parameter(p, o->w),
                                     .dw = gradient(p, o->w)};
            for (int i = 0; i < o->uses; i++) job.reduce.in[i] = input_job(p, o->first_use + i);
            break;
        case PN_CONV:
            job.conv = (pn_conv){.N = N,
                                 .H = H,
                                 .W = W,
                                 .parts = o->uses,
                                 .shares_dx = shares_dx,
                                 .R = o->R,
                                 .stride = o->stride,
                                 .pad = o->pad,
                                 .mean = o->mean,
                                 .out = output_job(p, o),
                                 .w = parameter(p, o->w),
                                 .dw = gradient(p, o->w)};
            for (int i = 0; i < o->uses; i++) job.conv.in[i] = input_job(p, o->first_use + i);
            break;
        case PN_STAGE:
            job.stage = (pn_stage){.N = N,
                                   .H = H,
                                   .W = W,
                                   .R = o->R,
                                   .dilation = o->dilation,
                                   .stride = o->stride,
                                   .shares_dx = shares_dx,
                                   .in = input_job(p, o->first_use),
                                   .out = output_job(p, o),
                                   .dw = parameter(p, o->w),
                                   .pw = parameter(p, o->w2),
                                   .ddw = gradient(p, o->w),
                                   .dpw = gradient(p, o->w2)};
            break;
        case PN_POOL:
            job.pool = (pn_pool){.N = N,
                                 .H = H,
                                 .W = W,
                                 .stride = o->stride,
                                 .shares_dx = shares_dx,
                                 .kind = o->pool,
                                 .in = input_job(p, o->first_use),
                                 .out = output_job(p, o)};
            break;
        case PN_NODE:
            for (int u = o->first_use, i = 0; u < o->first_use + o->uses; u++) {
                const pn_term_spec *t = &p->uses[u].term;
                const int place = u == o->restored ? o->uses - 1 : i++; /* the restored one last */
                terms[place] = (pn_term){input_job(p, u), t->coef, t->factor};
            }
            job.node = (pn_node){.N = N,
                                 .H = H,
                                 .W = W,
                                 .C = x->C,
                                 .terms = o->uses,
                                 .restore = o->restored >= 0,
                                 .shares_dx = shares_dx,
                                 .term = terms,
                                 .h = at(p, p->values[o->out].data),
                                 .dh = p->training ? at(p, p->values[o->out].grad) : NULL};
            break;
        default: /* PN_HEAD */
            job.head = (pn_head){.N = N,
                                 .H = H,
                                 .W = W,
                                 .parts = o->uses,
                                 .shares_dx = shares_dx,
                                 .relu = o->relu,
                                 .classes = o->classes,
                                 .smoothing = o->smoothing,
                                 .loss_weight = o->loss_weight,
                                 .labels = p->labels,
                                 .w = parameter(p, o->w),
                                 .b = parameter(p, o->w2),
                                 .dw = gradient(p, o->w),
                                 .db = gradient(p, o->w2),
                                 .pooled = at(p, o->pooled),
                                 .logits = at(p, o->logits),
                                 .result = o->result,
                                 .scale = p->scale};
            for (int i = 0; i < o->uses; i++) job.head.in[i] = input_job(p, o->first_use + i);
            break;
    }
    return job;
}

/* Writes all jobs of all launches; before binding with
 * NULL for pointers, for the sizes of scratch. */
static void write_jobs(pn_program *p) {
    size_t offset = 0;
    int term = 0;
    for (int l = 0; l < p->launch_count; l++) {
        launch *a = &p->launches[l];
        a->jobs = offset;
        for (int i = 0; i < a->count; i++) {
            const op *o = &p->ops[p->order[a->first + i]];
            const bool shares_dx = a->pass == BACKWARD && i > 0 &&
                                   share_gradient(p, o, &p->ops[p->order[a->first + i - 1]]);
            any_job job = make_job(p, o, shares_dx, p->terms + term);
            if (o->family == PN_NODE) term += o->uses;
            memcpy(p->jobs + offset, &job, job_size[a->family]);
            offset += job_size[a->family];
        }
        offset = (offset + 15) & ~(size_t)15; /* a device reads its table 16 bytes at a time */
    }
    p->job_bytes = offset;
}

/* The one upload of a program: all jobs, and behind them the terms they point to. */
static pn_status upload_jobs(pn_program *p) {
    const pn_memory *memory = p->kernels->memory;
    table *t = &p->tables;
    const int half = t->half ^= 1;
    char *to = t->staging + (size_t)half * t->bytes;
    const size_t terms_at = p->job_bytes;
    size_t terms = 0;
    PN_TRY(memory->wait(t->mark[half]));
    memcpy(to, p->jobs, p->job_bytes);
    for (int l = 0; l < p->launch_count; l++) {
        const launch *a = &p->launches[l];
        if (a->family != PN_NODE) continue;
        pn_node *nodes = (pn_node *)(void *)(to + a->jobs);
        for (int i = 0; i < a->count; i++) {
            const size_t at = terms_at + (size_t)(nodes[i].term - p->terms) * sizeof(pn_term);
            nodes[i].term = (const pn_term *)(const void *)(t->device + at);
            terms += (size_t)nodes[i].terms;
        }
    }
    memcpy(to + terms_at, p->terms, terms * sizeof(pn_term));
    PN_TRY(memory->upload(t->device, to, terms_at + terms * sizeof(pn_term)));
    return memory->mark(&t->mark[half]);
}

static size_t scratch_of(const pn_program *p, const launch *a) {
    const pn_kernels *k = p->kernels;
    const void *jobs = p->jobs + a->jobs;
    switch (a->family) {
#define SCRATCH(FAMILY, op, with)                                       \
    case PN_##FAMILY:                                                   \
        return a->pass == FORWARD ? k->op##_fwd_scratch(jobs, a->count) \
                                  : k->op##_bwd_scratch(jobs, a->count);
        PN_OPS(SCRATCH, )
#undef SCRATCH
        default:
            return 0;
    }
}

static pn_status run_launch(const pn_program *p, const launch *a) {
    const pn_kernels *k = p->kernels;
    const void *jobs = p->jobs + a->jobs;
    const pn_launch where = {.scratch = scratch_at(p, a),
                             .scratch_bytes = a->scratch_bytes,
                             .table = (k->memory->plain ? p->jobs : p->tables.device) + a->jobs,
                             .gate = a->pass == BACKWARD ? p->scale : NULL,
                             .stream = k->memory->stream()};
    switch (a->family) {
#define RUN(FAMILY, op, with)                                           \
    case PN_##FAMILY:                                                   \
        return a->pass == FORWARD ? k->op##_fwd(jobs, a->count, &where) \
                                  : k->op##_bwd(jobs, a->count, &where);
        PN_OPS(RUN, )
#undef RUN
        default:
            return PN_OK;
    }
}

/* ---- lives and places ------------------------------------------------------------------------ */

static int add_buffer(pn_program *p, size_t bytes, int first, int last) {
    p->buffers[p->buffer_count] = (pn_buffer){.bytes = bytes + (p->guarded ? PN_GUARD : 0),
                                              .first = first,
                                              .last = last,
                                              .in_place_of = -1};
    return p->buffer_count++;
}

/* What backward reads again of a value beside its statistics:
 * its producer, to turn dy into dz, if batch statistics stand between them; */
static bool producer_rereads(const value *v) { return v->norm.mode == PN_NORM_BATCH; }

/* and a consumer. A node reads for the sums and to put a term back, an average pool only for the
 * sums, a head only for ReLU's mask. */
static bool consumer_rereads(const op *o, const value *v) {
    switch (o->family) {
        case PN_NODE:
            return o->restored >= 0 || wants_sums(v);
        case PN_POOL:
            return o->pool == PN_POOL_MAX || wants_sums(v);
        case PN_HEAD:
            return o->relu || wants_sums(v);
        default:
            return true;
    }
}

static int later(int a, int b) { return a > b ? a : b; }
static int earlier(int a, int b) { return a < b ? a : b; }

/* When the data of every value, its gradient and its statistics live. */
static void add_lives(pn_program *p) {
    const int end = p->launch_count - 1;
    for (int i = 0; i < p->op_count; i++) {
        op *o = &p->ops[i];
        if (!o->alive) continue;
        if (o->out < 0) {
            const size_t n = (size_t)p->N * sizeof(float);
            int C = 0;
            for (int u = 0; u < o->uses; u++)
                C += p->values[p->uses[o->first_use + u].term.value].C;
            o->pooled = add_buffer(p, n * (size_t)C, o->launch[FORWARD],
                                   p->training ? o->launch[BACKWARD] : o->launch[FORWARD]);
            o->logits = add_buffer(p, n * (size_t)o->classes, o->launch[FORWARD],
                                   end); /* read after the run */
            continue;
        }
        value *v = &p->values[o->out];
        const size_t bytes =
            (size_t)p->N * (size_t)v->H * (size_t)v->W * (size_t)v->C * sizeof(float);
        if (o->restored >= 0)
            v->data = p->values[p->uses[o->restored].term.value].data;
        else
            v->data = add_buffer(
                p, bytes, o->launch[FORWARD],
                p->training && producer_rereads(v) ? o->launch[BACKWARD] : o->launch[FORWARD]);
        v->stats = v->norm.mode == PN_NORM_NONE
                       ? -1
                       : add_buffer(p, 4 * (size_t)v->C * sizeof(float), o->launch[FORWARD],
                                    o->launch[p->training ? BACKWARD : FORWARD]);
        v->grad = p->training && v->shared < 0
                      ? add_buffer(p, bytes, o->launch[BACKWARD], o->launch[BACKWARD])
                      : -1;
    }
    for (int u = 0; u < p->use_count; u++) {
        const op *o = &p->ops[p->uses[u].op];
        value *v = &p->values[p->uses[u].term.value];
        if (!o->alive || v->op < 0) continue;
        pn_buffer *data = &p->buffers[v->data];
        data->last = later(data->last, o->launch[FORWARD]);
        if (v->stats >= 0)
            p->buffers[v->stats].last = later(p->buffers[v->stats].last, o->launch[FORWARD]);
        if (!p->training) continue;
        if (consumer_rereads(o, v)) data->last = later(data->last, o->launch[BACKWARD]);
        if (v->shared >=
            0) { /* the node's gradient lives until this value's producer has read it */
            v->grad = p->values[o->out].grad;
            p->buffers[v->grad].last =
                later(p->buffers[v->grad].last, p->ops[v->op].launch[BACKWARD]);
        } else {
            p->buffers[v->grad].first = earlier(p->buffers[v->grad].first, o->launch[BACKWARD]);
        }
    }
}

/* Forward only, a node may be written over a term that nobody reads afterwards, nor any other job
 * of the same launch. */
static void run_nodes_in_place(pn_program *p) {
    for (int i = 0; i < p->op_count; i++) {
        const op *o = &p->ops[i];
        if (!o->alive || o->family != PN_NODE) continue;
        const int t = o->launch[FORWARD];
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const value *v = &p->values[p->uses[u].term.value];
            if (v->op < 0 || p->buffers[v->data].last != t) continue;
            int readers = 0;
            for (int w = 0; w < p->use_count; w++) {
                const op *reader = &p->ops[p->uses[w].op];
                readers += reader->alive && p->uses[w].term.value == p->uses[u].term.value &&
                           reader->launch[FORWARD] == t;
            }
            if (readers == 1) {
                p->buffers[p->values[o->out].data].in_place_of = v->data;
                break;
            }
        }
    }
}

pn_status pn_program_compile(pn_program *p, pn_program_size *size) {
    if (p->failed != PN_OK) return p->failed;
    PN_TRY(pn_program_reserve(p, p->op_count, p->use_count));
    p->arena = NULL;
    p->parameters = NULL;
    p->image = p->scale = NULL;
    p->labels = NULL;
    p->buffer_count = p->launch_count = 0;

    find_living(p);
    find_depths(p);
    find_shared(p);
    find_restored(p);
    choose_launches(p, FORWARD);
    p->launches_fwd = p->launch_count;
    p->order_count[BACKWARD] = 0;
    if (p->training) {
        choose_launches(p, BACKWARD);
        settle_adds(p);
    }
    add_lives(p);
    if (!p->training) run_nodes_in_place(p);

    *size = (pn_program_size){0};
    for (int b = 0; b < p->buffer_count; b++)
        if (p->training && p->buffers[b].first < p->launches_fwd &&
            p->buffers[b].last >= p->launches_fwd)
            size->activation_bytes += p->buffers[b].bytes;

    write_jobs(p);
    for (int l = 0; l < p->launch_count; l++) {
        const size_t bytes = scratch_of(p, &p->launches[l]);
        if (bytes == PN_NO_SCRATCH) return PN_EARG; /* the kernels have said why */
        p->launches[l].scratch_bytes = bytes;
        if (bytes) p->launches[l].scratch = add_buffer(p, bytes, l, l);
        if (bytes > size->scratch_bytes) size->scratch_bytes = bytes;
    }
    PN_TRY(pn_plan(p->buffers, p->buffer_count, p->plan_order, &size->arena_bytes));
    for (int b = 0; b < p->buffer_count; b++)
        size->unshared_bytes += p->buffers[b].bytes + PN_ALIGN;
    size->floor_bytes = pn_plan_floor(p->buffers, p->buffer_count);
    for (int i = 0; i < p->op_count; i++)
        if (p->ops[i].alive) size->levels = later(size->levels, p->ops[i].depth + 1);
    size->launches_fwd = p->launches_fwd;
    size->launches_bwd = p->launch_count - p->launches_fwd;
    size->jobs_fwd = p->order_count[FORWARD];
    size->jobs_bwd = p->order_count[BACKWARD];
    p->size = *size;
    p->compiled = true;
    return PN_OK;
}

/* ---- binding and running --------------------------------------------------------------------- */

pn_status pn_program_bind(pn_program *p, pn_arena *arena, pn_parameters *parameters,
                          const float *image, const int32_t *labels, const float *scale) {
    if (!p->compiled) return pn_fail(PN_EARG, "program: bound before it is compiled");
    PN_TRY(pn_arena_commit(arena, p->size.arena_bytes));
    p->arena = arena;
    p->parameters = parameters;
    p->image = image;
    p->labels = labels;
    p->scale = scale;
    write_jobs(p);
    for (int l = 0; l < p->launch_count; l++) /* addresses change nothing */
        assert(scratch_of(p, &p->launches[l]) == p->launches[l].scratch_bytes);
    return p->kernels->memory->plain ? PN_OK : upload_jobs(p);
}

static size_t plain_bytes(const pn_program *p, int b) {
    return p->buffers[b].bytes - (p->guarded ? PN_GUARD : 0);
}

/* In a checked arena, buffers come and go as the plan says. */
static void births(const pn_program *p, int now) {
    for (int b = 0; b < p->buffer_count; b++)
        if (p->buffers[b].first == now && p->buffers[b].in_place_of < 0)
            pn_arena_born(p->arena, p->buffers[b].offset, plain_bytes(p, b));
}

static pn_status deaths(const pn_program *p, int now) {
    for (int b = 0; b < p->buffer_count; b++) {
        if (p->buffers[b].last != now) continue;
        bool replaced = false;
        for (int c = b + 1; c < p->buffer_count && !replaced; c++)
            replaced = p->buffers[c].in_place_of == b;
        if (!replaced) PN_TRY(pn_arena_died(p->arena, p->buffers[b].offset, plain_bytes(p, b)));
    }
    return PN_OK;
}

/* For a profiler that was asked for: the environment variable PARSEC_NVTX is set. */
static const char *range_name(const launch *a, char text[64]) {
    static const char *const family[PN_FAMILIES] = {
#define NAME(FAMILY, op, with) #op,
        PN_OPS(NAME, )
#undef NAME
    };
    snprintf(text, 64, "%s %s, %d jobs", family[a->family], a->pass == FORWARD ? "fwd" : "bwd",
             a->count);
    return text;
}

static pn_status run(const pn_program *p, int first, int end) {
    void (*const range)(const char *) = getenv("PARSEC_NVTX") ? p->kernels->memory->range : NULL;
    char text[64];
    if (!p->arena || !p->image) return pn_fail(PN_EARG, "program: run before it is bound");
    for (int l = first; l < end; l++) {
        if (p->guarded) births(p, l);
        if (range) range(range_name(&p->launches[l], text));
        const pn_status s = run_launch(p, &p->launches[l]);
        if (range) range(NULL);
        PN_TRY(s);
        /* What lives to the end (logits) is read after the run: its memory is never closed. */
        if (p->guarded && l + 1 < p->launch_count) PN_TRY(deaths(p, l));
    }
    return PN_OK;
}

pn_status pn_program_forward(pn_program *p) { return run(p, 0, p->launches_fwd); }

pn_status pn_program_backward(pn_program *p) {
    if (!p->training) return pn_fail(PN_EARG, "program: backward of a program for forward only");
    return run(p, p->launches_fwd, p->launch_count);
}

const float *pn_program_logits(const pn_program *p, int index) {
    for (int i = 0; i < p->op_count; i++)
        if (p->ops[i].family == PN_HEAD && index-- == 0) return at(p, p->ops[i].logits);
    return NULL;
}

int pn_program_batch(const pn_program *p) { return p->N; }

bool pn_program_trains(const pn_program *p) { return p->training; }

void pn_program_touch(const pn_program *p, bool *touched) {
    for (int i = 0; i < p->op_count; i++) {
        const op *o = &p->ops[i];
        if (!o->alive) continue;
        if (o->w >= 0) touched[o->w] = true;
        if (o->family == PN_REDUCE) touched[o->w + 1] = true; /* its two halves are two tensors */
        if (o->w2 >= 0) touched[o->w2] = true;
        if (o->out < 0) continue;
        const pn_norm_spec *n = &p->values[o->out].norm;
        if (n->mode != PN_NORM_NONE && n->gamma >= 0) touched[n->gamma] = touched[n->beta] = true;
    }
}
