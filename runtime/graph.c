/* graph.c -- building: values, the ops that read and make them, and what of it is needed. */
#include <stdlib.h>

#include "runtime/program_parts.h"

/* ---- memory ---------------------------------------------------------------------------------- */

static pn_status grow(void **list, int *max, int wanted, size_t item) {
    if (wanted <= *max) return PN_OK;
    const int n = wanted > 2 * *max ? wanted : 2 * *max;
    PN_TRY(pn_resize(list, n, item));
    *max = n;
    return PN_OK;
}

#define GROW(g, list, max, wanted) grow((void **)&(g)->list, &(g)->max, wanted, sizeof *(g)->list)

pn_status pn_graph_reserve(pn_graph *g, int ops, int terms) {
    PN_TRY(GROW(g, values, values_max, ops + 1));
    PN_TRY(GROW(g, uses, uses_max, terms));
    return GROW(g, ops, ops_max, ops);
}

void pn_graph_free(pn_graph *g) {
    free(g->values);
    free(g->uses);
    free(g->ops);
}

void pn_graph_begin(pn_graph *g, int N, bool training) {
    g->N = N;
    g->training = training;
    g->recompute = false;
    g->failed = N < 1 ? pn_fail(PN_EARG, "program: batch of %d, want at least 1", N) : PN_OK;
    g->value_count = g->use_count = g->op_count = 0;
}

/* ---- values and ops -------------------------------------------------------------------------- */

static pn_value fail(pn_graph *g, pn_status status) {
    if (g->failed == PN_OK) g->failed = status;
    return -1;
}

/* As kernels.h limits them: so that no size overflows. */
static pn_status check_size(int N, int H, int W, int C) {
    if (pn_too_many_pixels(N, H, W))
        return pn_fail(PN_EARG, "program: %d images of %dx%d, want less than 2^31 pixels", N, H, W);
    if (C > PN_MAX_WIDTH)
        return pn_fail(PN_EARG, "program: %d channels, want %d at most", C, PN_MAX_WIDTH);
    return PN_OK;
}

static pn_value add_value(pn_graph *g, value v) {
    pn_status s = GROW(g, values, values_max, g->value_count + 1);
    if (s == PN_OK) s = check_size(g->N, v.H, v.W, v.C);
    if (s != PN_OK) return fail(g, s);
    g->values[g->value_count] = v;
    return g->value_count++;
}

/* An op reads values that are there, each once, all of one height and width. */
static pn_status check_terms(const pn_graph *g, const pn_term_spec *terms, int count) {
    if (count < 1) return pn_fail(PN_EARG, "program: an op without input");
    for (int i = 0; i < count; i++) {
        const pn_value v = terms[i].value;
        if (v < 0 || v >= g->value_count)
            return pn_fail(PN_EARG, "program: value %d, want 0..%d", v, g->value_count - 1);
        const value *x = &g->values[v], *first = &g->values[terms[0].value];
        if (x->H != first->H || x->W != first->W)
            return pn_fail(PN_EARG, "program: an op reads images of %dx%d and %dx%d", x->H, x->W,
                           first->H, first->W);
        for (int j = 0; j < i; j++)
            if (terms[j].value == v)
                return pn_fail(PN_EARG, "program: an op reads value %d twice", v);
    }
    return PN_OK;
}

/* Appends an op that reads `count` terms, and the value of K channels that it makes. -1 after a
 * failure, and for a head, which makes none. */
static pn_value add_op(pn_graph *g, const op *new, const pn_term_spec *terms, int count, int K,
                       pn_norm_spec norm) {
    if (g->failed != PN_OK) return -1;
    pn_status s = GROW(g, ops, ops_max, g->op_count + 1);
    if (s == PN_OK) s = GROW(g, uses, uses_max, g->use_count + count);
    if (s == PN_OK) s = check_terms(g, terms, count);
    if (s != PN_OK) return fail(g, s);

    const int index = g->op_count++;
    op *o = &g->ops[index];
    *o = *new;
    o->out = o->restored = -1;
    o->first_use = g->use_count;
    o->uses = count;
    o->depth = 1;
    for (int i = 0; i < count; i++) {
        const int producer = g->values[terms[i].value].op;
        if (producer >= 0 && o->depth <= g->ops[producer].depth)
            o->depth = g->ops[producer].depth + 1;
        g->uses[g->use_count++] = (use){terms[i], index};
    }
    if (o->family == PN_HEAD) return -1;

    const value *x = pn_value_read(g, o->first_use);
    const bool dense = o->family == PN_CONV; /* the others have "same" padding */
    const int H =
        dense ? pn_conv_size(x->H, o->R, o->stride, o->pad) : pn_out_size(x->H, o->stride);
    const int W =
        dense ? pn_conv_size(x->W, o->R, o->stride, o->pad) : pn_out_size(x->W, o->stride);
    if (H < 1 || W < 1)
        return fail(g, pn_fail(PN_EARG,
                               "program: a convolution of an image of %dx%d with pad %d, want R "
                               "%d or more",
                               x->H, x->W, o->pad, o->R));
    return o->out = add_value(g, (value){.H = H, .W = W, .C = K, .op = index, .norm = norm});
}

/* The same for an op that concatenates what it reads, or reads one value only. */
static pn_value add_concat(pn_graph *g, const op *new, const pn_value *x, int parts, int K,
                           pn_norm_spec norm) {
    pn_term_spec terms[PN_PARTS];
    if (parts < 1 || parts > PN_PARTS)
        return fail(g, pn_fail(PN_EARG, "program: %d parts, want 1..%d", parts, PN_PARTS));
    for (int i = 0; i < parts; i++) terms[i] = (pn_term_spec){.value = x[i], .coef = 1};
    return add_op(g, new, terms, parts, K, norm);
}

/* Channels of a value; 0 of one that is not there, which add_op refuses. */
static int width(const pn_graph *g, pn_value v) {
    return v < 0 || v >= g->value_count ? 0 : g->values[v].C;
}

/* ---- building, as in program.h --------------------------------------------------------------- */

static const pn_norm_spec no_norm = {PN_NORM_NONE, -1, -1, -1, -1};

pn_value pn_program_image(pn_program *p, int H, int W, int C) {
    pn_graph *g = pn_graph_of(p);
    if (g->failed != PN_OK) return -1;
    if (H < 1 || W < 1)
        return fail(g, pn_fail(PN_EARG, "program: image of %dx%d, want at least 1x1", H, W));
    return add_value(g, (value){.H = H, .W = W, .C = C, .op = -1, .norm = no_norm});
}

pn_value pn_program_stem(pn_program *p, pn_value image, int stride, int w, int K,
                         pn_norm_spec norm) {
    const op new = {PN_STEM, .stride = stride, .w = w, .w2 = -1};
    return add_concat(pn_graph_of(p), &new, &image, 1, K, norm);
}

pn_value pn_program_stage(pn_program *p, pn_value x, int R, int dilation, int stride, int dw,
                          int pw, pn_norm_spec norm) {
    const op new = {PN_STAGE, .R = R, .dilation = dilation, .stride = stride, .w = dw, .w2 = pw};
    return add_concat(pn_graph_of(p), &new, &x, 1, width(pn_graph_of(p), x), norm);
}

pn_value pn_program_conv1x1(pn_program *p, const pn_value *x, int parts, int w, int K,
                            pn_norm_spec norm) {
    const op new = {PN_CONV1X1, .stride = 1, .w = w, .w2 = -1};
    return add_concat(pn_graph_of(p), &new, x, parts, K, norm);
}

pn_value pn_program_reduce(pn_program *p, const pn_value *x, int parts, int w, int K,
                           pn_norm_spec norm) {
    const op new = {PN_REDUCE, .stride = 2, .w = w, .w2 = -1};
    return add_concat(pn_graph_of(p), &new, x, parts, K, norm);
}

pn_value pn_program_conv(pn_program *p, const pn_value *x, int parts, int R, int stride, int pad,
                         bool mean, int w, int K, pn_norm_spec norm) {
    const op new = {PN_CONV, .R = R, .stride = stride, .pad = pad, .mean = mean, .w = w, .w2 = -1};
    return add_concat(pn_graph_of(p), &new, x, parts, K, norm);
}

pn_value pn_program_pool(pn_program *p, pn_value x, pn_pool_kind kind, int stride,
                         pn_norm_spec norm) {
    const op new = {PN_POOL, .pool = kind, .stride = stride, .w = -1, .w2 = -1};
    return add_concat(pn_graph_of(p), &new, &x, 1, width(pn_graph_of(p), x), norm);
}

pn_value pn_program_node(pn_program *p, const pn_term_spec *terms, int count) {
    const op new = {PN_NODE, .stride = 1, .w = -1, .w2 = -1};
    const int C = count < 1 ? 0 : width(pn_graph_of(p), terms[0].value);
    return add_op(pn_graph_of(p), &new, terms, count, C, no_norm);
}

pn_value pn_program_zeros(pn_program *p, int H, int W, int C) {
    pn_graph *g = pn_graph_of(p);
    if (g->failed != PN_OK) return -1;
    if (H < 1 || W < 1 || C < 1)
        return fail(g,
                    pn_fail(PN_EARG, "program: zeros of %dx%dx%d, want at least 1x1x1", H, W, C));
    const pn_status s = GROW(g, ops, ops_max, g->op_count + 1);
    if (s != PN_OK) return fail(g, s);
    const int index = g->op_count++;
    g->ops[index] =
        (op){PN_NODE, .out = -1, .first_use = g->use_count, .depth = 1, .restored = -1, .stride = 1,
             .w = -1, .w2 = -1};
    const pn_value v = add_value(g, (value){.H = H, .W = W, .C = C, .op = index, .norm = no_norm});
    return g->ops[index].out = v;
}

void pn_program_head(pn_program *p, const pn_value *x, int parts, bool relu, int w, int b,
                     int classes, float smoothing, float loss_weight, pn_result *result) {
    const op new = {PN_HEAD,
                    .relu = relu,
                    .w = w,
                    .w2 = b,
                    .classes = classes,
                    .smoothing = smoothing,
                    .loss_weight = loss_weight,
                    .result = result};
    add_concat(pn_graph_of(p), &new, x, parts, 0, no_norm);
}

/* ---- what is needed -------------------------------------------------------------------------- */

static void find_living(pn_graph *g) {
    for (int v = 0; v < g->value_count; v++) g->values[v].uses = 0;
    for (int i = g->op_count - 1; i >= 0; i--) {
        op *o = &g->ops[i];
        o->alive = o->out < 0 || g->values[o->out].uses > 0;
        if (o->alive)
            for (int u = o->first_use; u < o->first_use + o->uses; u++)
                g->values[g->uses[u].term.value].uses++;
    }
}

/* A value that only one term of a node reads needs no gradient of its own: its producer reads the
 * node's, with the term's coefficient, weight and factor. (A node cannot do so: its job has none.)
 * In training the node takes over the tensor of one such term, and its backward puts that term's z
 * back for the producer: see pn_node.restore. */
static void find_shared(pn_graph *g) {
    for (int v = 0; v < g->value_count; v++) g->values[v].shared = -1;
    for (int i = 0; i < g->op_count; i++) {
        op *o = &g->ops[i];
        o->restored = -1;
        if (!o->alive || o->family != PN_NODE) continue;
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            const pn_term_spec *term = &g->uses[u].term;
            value *v = &g->values[term->value];
            if (v->uses != 1 || v->op < 0 || g->ops[v->op].family == PN_NODE) continue;
            v->shared = u;
            if (g->training && v->norm.mode == PN_NORM_BATCH && v->norm.gamma < 0 &&
                term->coef != 0 && !term->weight && !term->factor)
                o->restored = u;
        }
    }
}

static bool wants_sums(const value *v) {
    return v->norm.mode == PN_NORM_BATCH || (v->norm.mode != PN_NORM_NONE && v->norm.gamma >= 0);
}

/* To turn dy into dz, if batch statistics stand between them. */
bool pn_producer_rereads(const value *v) { return v->norm.mode == PN_NORM_BATCH; }

/* A node reads for the sums, for a weight's gradient and to put a term back, an average pool only
 * for the sums, a head only for ReLU's mask. */
bool pn_use_rereads(const pn_graph *g, int u) {
    const op *o = &g->ops[g->uses[u].op];
    const value *v = pn_value_read(g, u);
    switch (o->family) {
        case PN_NODE:
            return o->restored >= 0 || g->uses[u].term.dweight || wants_sums(v);
        case PN_POOL:
            return o->pool == PN_POOL_MAX || wants_sums(v);
        case PN_HEAD:
            return o->relu || wants_sums(v);
        default:
            return true;
    }
}

static bool may_run_again(const op *o) {
    return o->family == PN_CONV1X1 || o->family == PN_REDUCE || o->family == PN_STAGE ||
           o->family == PN_POOL;
}

/* With `recompute` nodes keep their sums, what stands outside the cells keeps all, and what lies
 * between is made again, if backward reads it; but a node's restored term is put back. */
static void find_again(pn_graph *g) {
    for (int v = 0; v < g->value_count; v++) g->values[v].reread = false;
    for (int i = g->op_count - 1; i >= 0; i--) {
        op *o = &g->ops[i];
        o->again = false;
        if (!o->alive || !g->recompute || !g->training) continue;
        if (o->out >= 0 && may_run_again(o)) {
            const value *v = &g->values[o->out];
            const bool restored =
                v->shared >= 0 && g->ops[g->uses[v->shared].op].restored == v->shared;
            o->again = !restored && (v->reread || pn_producer_rereads(v));
        }
        for (int u = o->first_use; u < o->first_use + o->uses; u++) {
            value *v = &g->values[g->uses[u].term.value];
            v->reread |= o->again || pn_use_rereads(g, u);
        }
    }
}

void pn_graph_mark(pn_graph *g) {
    find_living(g);
    find_shared(g);
    find_again(g);
}

bool pn_use_writes(const pn_graph *g, int u) {
    const value *v = pn_value_read(g, u);
    return v->op >= 0 && v->shared < 0; /* the image has no gradient */
}

bool pn_ops_share_gradient(const pn_graph *g, const op *a, const op *b) {
    for (int i = a->first_use; i < a->first_use + a->uses; i++)
        for (int j = b->first_use; j < b->first_use + b->uses; j++)
            if (g->uses[i].term.value == g->uses[j].term.value && pn_use_writes(g, i)) return true;
    return false;
}
