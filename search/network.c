/* network.c -- the cells of DARTS, walked in one order by everything that needs them: enumerating
 * the tensors, building the program, counting. */
#include "search/network.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- shapes ------------------------------------------------------------------------------------
 */

/* What a cell knows before its architecture. */
typedef struct cell_shape {
    pn_kind kind;
    int C;              /* channels of its nodes */
    int in_channels[2]; /* of the two cell inputs as they come */
    bool reduce0;       /* the cell before was a reduction: input 0 is twice as large */
    int H, W;           /* of the two inputs after preprocessing */
    int P, Q;           /* of the nodes */
} cell_shape;

static void cell_shapes(const pn_network_spec *spec, int nodes, cell_shape *shape) {
    int C = spec->channels, H = spec->H, W = spec->W;
    int before[2] = {PN_STEM_FACTOR * C, PN_STEM_FACTOR * C};
    bool reduced = false;
    for (int i = 0; i < spec->layers; i++) {
        cell_shape *s = &shape[i];
        s->kind = pn_kind_at(i, spec->layers);
        if (s->kind == PN_REDUCTION) C *= 2;
        s->C = C;
        s->in_channels[0] = before[0];
        s->in_channels[1] = before[1];
        s->reduce0 = reduced;
        s->H = H;
        s->W = W;
        if (s->kind == PN_REDUCTION) {
            H = pn_out_size(H, 2);
            W = pn_out_size(W, 2);
        }
        s->P = H;
        s->Q = W;
        before[0] = before[1];
        before[1] = nodes * C;
        reduced = s->kind == PN_REDUCTION;
    }
}

/* Edge and dilation of a convolution, and how many stages it is; 0 stages: not a convolution. */
static int conv_stages(pn_op op, int *R, int *dilation) {
    *R = op == PN_SEP_CONV_5X5 || op == PN_DIL_CONV_5X5 ? 5 : 3;
    *dilation = op == PN_DIL_CONV_3X3 || op == PN_DIL_CONV_5X5 ? 2 : 1;
    return op == PN_SEP_CONV_3X3 || op == PN_SEP_CONV_5X5 ? 2 : pn_op_has_weights(op) ? 1 : 0;
}

static int term_stride(const cell_shape *s, int input) {
    return s->kind == PN_REDUCTION && input < 2 ? 2 : 1;
}

/* ---- enumeration
 * --------------------------------------------------------------------------------- */

typedef struct enumerator {
    pn_network *network;
    pn_status status;
    pn_role role;
} enumerator;

static int add(enumerator *e, const char *name, pn_layout layout, pn_init init, int fan_in,
               bool adjacent, int rank, const int *shape) {
    int index = -1;
    if (e->status == PN_OK)
        e->status = pn_parameters_add(&e->network->parameters, name, layout, init, e->role, fan_in,
                                      adjacent, rank, shape, &index);
    return index;
}

/* A convolution (O,I,R,R); I is 1 for a depthwise one. */
static int add_conv(enumerator *e, const char *prefix, const char *name, int O, int I, int R,
                    bool adjacent) {
    char full[80];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return add(e, full, PN_LAYOUT_CONV, PN_INIT_UNIFORM, I * R * R, adjacent, 4,
               (int[]){O, I, R, R});
}

/* Scale, shift and, in an evaluation network, running statistics; gives the index of the scale. */
static int add_norm(enumerator *e, const char *prefix, const char *name, int C) {
    static const struct {
        const char *part;
        pn_init init;
    } parts[] = {
        {"weight",       PN_INIT_ONE },
        {"bias",         PN_INIT_ZERO},
        {"running_mean", PN_INIT_ZERO},
        {"running_var",  PN_INIT_ONE }
    };
    int first = -1;
    const pn_role role = e->role;
    for (int i = 0; i < (e->network->spec.evaluation ? 4 : 2); i++) {
        char full[80];
        snprintf(full, sizeof full, "%s%s.%s", prefix, name, parts[i].part);
        e->role = i < 2 ? role : PN_ROLE_STATE;
        int index = add(e, full, PN_LAYOUT_SAME, parts[i].init, 1, false, 1, &C);
        if (i == 0) first = index;
    }
    e->role = role;
    return first;
}

/* A factorized reduce; both halves, then its BatchNorm in an evaluation network. */
static int add_reduce(enumerator *e, const char *prefix, int C_in, int C) {
    const bool evaluation = e->network->spec.evaluation;
    int first =
        add_conv(e, prefix, evaluation ? "conv_1.weight" : "weight_1", C / 2, C_in, 1, false);
    add_conv(e, prefix, evaluation ? "conv_2.weight" : "weight_2", C / 2, C_in, 1, true);
    if (evaluation) add_norm(e, prefix, "bn", C);
    return first;
}

/* One op of a cell; -1 if it has no weights. */
static int add_op(enumerator *e, const char *prefix, pn_op op, int C, int stride) {
    int R, dilation, first = -1;
    const int stages = conv_stages(op, &R, &dilation);
    for (int s = 0; s < stages; s++) {
        char dw[16], pw[16], bn[8];
        if (e->network->spec.evaluation) { /* ReLU, depthwise, pointwise, BatchNorm, ReLU, ... */
            snprintf(dw, sizeof dw, "op.%d.weight", 4 * s + 1);
            snprintf(pw, sizeof pw, "op.%d.weight", 4 * s + 2);
            snprintf(bn, sizeof bn, "op.%d", 4 * s + 3);
        } else {
            snprintf(dw, sizeof dw, "dw%d.weight", s + 1);
            snprintf(pw, sizeof pw, "pw%d.weight", s + 1);
        }
        int index = add_conv(e, prefix, dw, C, 1, R, false);
        if (s == 0) first = index;
        add_conv(e, prefix, pw, C, C, 1, false);
        if (e->network->spec.evaluation) add_norm(e, prefix, bn, C);
    }
    if (op == PN_SKIP_CONNECT && stride == 2) first = add_reduce(e, prefix, C, C);
    return first;
}

static void add_preprocess(enumerator *e, int layer, const cell_shape *s) {
    for (int i = 0; i < 2; i++) {
        char prefix[64];
        int *first = &e->network->cell[layer].preprocess[i];
        snprintf(prefix, sizeof prefix, "cells.%d.preprocess%d.", layer, i);
        if (i == 0 && s->reduce0) {
            *first = add_reduce(e, prefix, s->in_channels[0], s->C);
            continue;
        }
        const bool evaluation = e->network->spec.evaluation;
        *first = add_conv(e, prefix, evaluation ? "op.1.weight" : "weight", s->C, s->in_channels[i],
                          1, false);
        if (evaluation) add_norm(e, prefix, "op.2", s->C);
    }
}

/* All ops that the search may want at one cell. */
static void add_shared_ops(enumerator *e, int layer, const cell_shape *s) {
    const pn_network *n = e->network;
    for (int node = 0; node < n->space.nodes; node++)
        for (int slot = 0; slot < PN_SLOTS; slot++)
            for (int input = 0; input < pn_inputs(node); input++)
                for (int i = 0; i < n->space.ops; i++) {
                    const pn_op op = n->space.op[i];
                    int(*where)[2 + PN_MAX_NODES - 1][PN_MAX_OPS] =
                        e->network->cell[layer].op[node];
                    if (slot > 0 && !n->spec.share_slot) {
                        where[slot][input][op] = where[0][input][op];
                        continue;
                    }
                    char prefix[64], by_slot[16] = "";
                    if (n->spec.share_slot) snprintf(by_slot, sizeof by_slot, "slot.%d.", slot);
                    snprintf(prefix, sizeof prefix, "cells.%d.nodes.%d.%sinput.%d.%s.", layer, node,
                             by_slot, input, pn_op_name[op]);
                    where[slot][input][op] = add_op(e, prefix, op, s->C, term_stride(s, input));
                }
}

/* The ops of one architecture. */
static void add_own_ops(enumerator *e, int layer, const cell_shape *s, const pn_arch *arch) {
    for (int node = 0; node < e->network->space.nodes; node++)
        for (int slot = 0; slot < PN_SLOTS; slot++) {
            const pn_choice t = arch->cell[s->kind].term[node][slot];
            char prefix[64];
            snprintf(prefix, sizeof prefix, "cells.%d._ops.%d.", layer, PN_SLOTS * node + slot);
            e->network->cell[layer].op[node][slot][t.input][t.op] =
                add_op(e, prefix, t.op, s->C, term_stride(s, t.input));
        }
}

/* After DARTS: 5x5 average pool with stride 3, 1x1 to 128 channels, 2x2 to 768, linear. */
static void add_auxiliary(enumerator *e, int C_in) {
    enum { NARROW = 128, WIDE = 768 };
    const int classes = e->network->spec.classes;
    e->role = PN_ROLE_AUXILIARY;
    add_conv(e, "auxiliary_head.", "features.2.weight", NARROW, C_in, 1, false);
    add_norm(e, "auxiliary_head.", "features.3", NARROW);
    add_conv(e, "auxiliary_head.", "features.5.weight", WIDE, NARROW, 2, false);
    add_norm(e, "auxiliary_head.", "features.6", WIDE);
    add(e, "auxiliary_head.classifier.weight", PN_LAYOUT_LINEAR, PN_INIT_UNIFORM, WIDE, false, 2,
        (int[]){classes, WIDE});
    add(e, "auxiliary_head.classifier.bias", PN_LAYOUT_SAME, PN_INIT_UNIFORM, WIDE, false, 1,
        &classes);
    e->role = PN_ROLE_WEIGHT;
}

static pn_status check_spec(const pn_network_spec *s) {
    if (s->layers < 1 || s->layers > PN_MAX_LAYERS)
        return pn_fail(PN_EARG, "%d layers, want 1 to %d", s->layers, PN_MAX_LAYERS);
    if (s->channels < 4 || s->channels % 4 || s->channels > 4096)
        return pn_fail(PN_EARG, "%d channels, want a multiple of 4 from 4 to 4096", s->channels);
    if (s->H < 1 || s->W < 1 || s->H > 4096 || s->W > 4096)
        return pn_fail(PN_EARG, "images of %dx%d, want 1x1 to 4096x4096", s->H, s->W);
    if (s->image_channels != 1 && s->image_channels != 3)
        return pn_fail(PN_EARG, "images of %d channels, want 1 or 3", s->image_channels);
    if (s->classes < 2 || s->classes > 100000)
        return pn_fail(PN_EARG, "%d classes, want 2 to 100000", s->classes);
    return PN_OK;
}

pn_status pn_network_create(pn_network *n, const pn_network_spec *spec, const pn_space *space,
                            const pn_arch *arch) {
    PN_TRY(check_spec(spec));
    PN_TRY(pn_space_check(space));
    *n = (pn_network){.spec = *spec, .space = *space};
    memset(n->cell, -1, sizeof n->cell);
    cell_shape shape[PN_MAX_LAYERS];
    cell_shapes(spec, space->nodes, shape);

    enumerator e = {n, PN_OK, PN_ROLE_WEIGHT};
    const int stem = PN_STEM_FACTOR * spec->channels;
    n->stem = add_conv(&e, "stem.", spec->evaluation ? "0.weight" : "conv.weight", stem,
                       spec->image_channels, 3, false);
    add_norm(&e, "stem.", spec->evaluation ? "1" : "bn", stem);
    for (int i = 0; i < spec->layers; i++) {
        add_preprocess(&e, i, &shape[i]);
        if (spec->evaluation)
            add_own_ops(&e, i, &shape[i], arch);
        else
            add_shared_ops(&e, i, &shape[i]);
    }
    const int C = space->nodes * shape[spec->layers - 1].C;
    if (spec->evaluation && spec->auxiliary)
        add_auxiliary(&e, space->nodes * shape[2 * spec->layers / 3].C);
    n->classifier = add(&e, "classifier.weight", PN_LAYOUT_LINEAR, PN_INIT_UNIFORM, C, false, 2,
                        (int[]){spec->classes, C});
    add(&e, "classifier.bias", PN_LAYOUT_SAME, PN_INIT_UNIFORM, C, false, 1, &spec->classes);

    const int terms = PN_SLOTS * space->nodes;
    n->max_ops = 2 + spec->layers * (2 + 2 * terms + space->nodes);
    n->max_terms = 1 + PN_PARTS + spec->layers * (2 * PN_PARTS + 3 * terms);
    if (e.status != PN_OK) pn_network_destroy(n);
    return e.status;
}

void pn_network_destroy(pn_network *n) { pn_parameters_destroy(&n->parameters); }

/* ---- the program
 * --------------------------------------------------------------------------------- */

typedef struct builder {
    const pn_network *network;
    pn_program *program;
    bool inference;
} builder;

/* BatchNorm after an op whose convolutions are followed, in an evaluation network, by the four
 * tensors of a norm, the first of them at index `scale`. */
static pn_norm_spec norm_at(const builder *b, int scale) {
    if (!b->network->spec.evaluation) return (pn_norm_spec){PN_NORM_BATCH, -1, -1, -1, -1};
    return (pn_norm_spec){b->inference ? PN_NORM_RUNNING : PN_NORM_BATCH, scale, scale + 1,
                          scale + 2, scale + 3};
}

static pn_value build_op(const builder *b, const cell_shape *s, pn_op op, int input, pn_value x,
                         int w) {
    int R, dilation;
    const int stride = term_stride(s, input), stages = conv_stages(op, &R, &dilation);
    const bool evaluation = b->network->spec.evaluation;
    for (int i = 0; i < stages; i++) {
        x = pn_program_stage(b->program, x, R, dilation, i == 0 ? stride : 1, w, w + 1,
                             norm_at(b, w + 2));
        w += evaluation ? 6 : 2; /* two convolutions, and four tensors of a norm */
    }
    if (op == PN_MAX_POOL_3X3 || op == PN_AVG_POOL_3X3) {
        const pn_norm_spec after = {evaluation ? PN_NORM_NONE : PN_NORM_BATCH, -1, -1, -1, -1};
        return pn_program_pool(b->program, x, op == PN_MAX_POOL_3X3 ? PN_POOL_MAX : PN_POOL_AVG,
                               stride, after);
    }
    if (op == PN_SKIP_CONNECT && stride == 2)
        return pn_program_reduce(b->program, &x, 1, w, s->C, norm_at(b, w + 2));
    return x;
}

enum { MAX_TERMS = (2 + PN_MAX_NODES - 1) * PN_MAX_OPS };

/* The two terms of a node; one if they are equal, since the same term twice is computed once. */
static int own_terms(const builder *b, const cell_shape *s, const pn_cell_weights *w, int node,
                     const pn_choice *choice, const pn_value *input, pn_term_spec *terms) {
    int count = 0, first_weights = -1;
    for (int slot = 0; slot < PN_SLOTS; slot++) {
        const pn_choice t = choice[slot];
        const int weights = w->op[node][slot][t.input][t.op];
        if (slot > 0 && choice[0].op == t.op && choice[0].input == t.input &&
            first_weights == weights) {
            terms[0].coef += 1;
            continue;
        }
        first_weights = weights;
        terms[count++] =
            (pn_term_spec){build_op(b, s, t.op, t.input, input[t.input], weights), 1, NULL};
    }
    return count;
}

/* Every op on every input, each with the same share: the supernet of DARTS. */
static int all_terms(const builder *b, const cell_shape *s, const pn_cell_weights *w, int node,
                     const pn_value *input, pn_term_spec *terms) {
    const pn_space *space = &b->network->space;
    int count = 0;
    for (int i = 0; i < pn_inputs(node); i++)
        for (int o = 0; o < space->ops; o++) {
            const pn_op op = space->op[o];
            terms[count++] = (pn_term_spec){build_op(b, s, op, i, input[i], w->op[node][0][i][op]),
                                            1.0F / (float)space->ops, NULL};
        }
    return count;
}

pn_status pn_network_build(const pn_network *n, const pn_arch *arch, pn_program *p, int N,
                           bool training, bool inference, bool guarded, pn_result *result) {
    const pn_network_spec *spec = &n->spec;
    const builder b = {n, p, inference};
    cell_shape shape[PN_MAX_LAYERS];
    cell_shapes(spec, n->space.nodes, shape);

    pn_program_begin(p, N, training, guarded);
    pn_value image = pn_program_image(p, spec->H, spec->W, spec->image_channels);
    pn_norm_spec stem_norm = norm_at(&b, n->stem + 1);
    if (!spec->evaluation)
        stem_norm = (pn_norm_spec){PN_NORM_BATCH, n->stem + 1, n->stem + 2, -1, -1};
    pn_value stem =
        pn_program_stem(p, image, 1, n->stem, PN_STEM_FACTOR * spec->channels, stem_norm);

    /* The outputs of the two cells before, as the parts that they are concatenated of. */
    pn_value before[2][PN_PARTS] = {{stem}, {stem}};
    int parts[2] = {1, 1};
    for (int i = 0; i < spec->layers; i++) {
        const cell_shape *s = &shape[i];
        const pn_cell_weights *w = &n->cell[i];
        pn_value input[2 + PN_MAX_NODES];
        for (int j = 0; j < 2; j++) {
            const bool reduce = j == 0 && s->reduce0;
            const pn_norm_spec norm = norm_at(&b, w->preprocess[j] + (reduce ? 2 : 1));
            input[j] =
                reduce ? pn_program_reduce(p, before[j], parts[j], w->preprocess[j], s->C, norm)
                       : pn_program_conv1x1(p, before[j], parts[j], w->preprocess[j], s->C, norm);
        }
        for (int node = 0; node < n->space.nodes; node++) {
            pn_term_spec terms[MAX_TERMS];
            const int count =
                arch ? own_terms(&b, s, w, node, arch->cell[s->kind].term[node], input, terms)
                     : all_terms(&b, s, w, node, input, terms);
            input[2 + node] = pn_program_node(p, terms, count);
        }
        memcpy(before[0], before[1], sizeof before[0]);
        parts[0] = parts[1];
        memcpy(before[1], input + 2, sizeof before[1]);
        parts[1] = n->space.nodes;
    }
    pn_program_head(p, before[1], parts[1], false, n->classifier, n->classifier + 1, spec->classes,
                    spec->smoothing, 1, result);
    return PN_OK; /* a failure sticks to the program, and compiling it returns it */
}

/* ---- counting
 * ------------------------------------------------------------------------------------ */

static void mark(bool *used, int first, int count) {
    for (int i = 0; first >= 0 && i < count; i++) used[first + i] = true;
}

void pn_network_uses(const pn_network *n, const pn_arch *arch, bool *used) {
    const bool all = n->spec.evaluation || !arch;
    memset(used, all, (size_t)n->parameters.count * sizeof *used);
    if (all) return;
    cell_shape shape[PN_MAX_LAYERS];
    cell_shapes(&n->spec, n->space.nodes, shape);
    mark(used, n->stem, 3);
    mark(used, n->classifier, 2);
    for (int i = 0; i < n->spec.layers; i++) {
        mark(used, n->cell[i].preprocess[0], shape[i].reduce0 ? 2 : 1);
        mark(used, n->cell[i].preprocess[1], 1);
        for (int node = 0; node < n->space.nodes; node++)
            for (int slot = 0; slot < PN_SLOTS; slot++) {
                const pn_choice t = arch->cell[shape[i].kind].term[node][slot];
                int R, dilation;
                const int stages = conv_stages(t.op, &R, &dilation);
                mark(used, n->cell[i].op[node][slot][t.input][t.op], stages ? 2 * stages : 2);
            }
    }
}

void pn_network_count(const pn_network *n, const pn_arch *arch, size_t *weights,
                      size_t *auxiliary) {
    bool used[n->parameters.count];
    pn_network_uses(n, arch, used);
    *weights = *auxiliary = 0;
    for (int i = 0; i < n->parameters.count; i++) {
        const pn_parameter *t = &n->parameters.list[i];
        if (!used[i] || t->role == PN_ROLE_STATE) continue;
        *(t->role == PN_ROLE_WEIGHT ? weights : auxiliary) += t->count;
    }
}

/* Multiply-adds of one term. */
static double term_macs(const cell_shape *s, pn_op op, int input) {
    int R, dilation;
    const double pixels = (double)s->P * s->Q, square = (double)s->C * s->C;
    const int stages = conv_stages(op, &R, &dilation);
    if (op == PN_SKIP_CONNECT && term_stride(s, input) == 2) return pixels * square;
    return pixels * stages * ((double)R * R * s->C + square);
}

size_t pn_network_batch_bytes(const pn_network_spec *spec, int N) {
    const size_t numbers = (size_t)spec->H * (size_t)spec->W * (size_t)spec->image_channels;
    return 4 * (size_t)N * (numbers * sizeof(float) + sizeof(int32_t));
}

double pn_network_macs(const pn_network *n, const pn_arch *arch) {
    const pn_network_spec *spec = &n->spec;
    cell_shape shape[PN_MAX_LAYERS];
    cell_shapes(spec, n->space.nodes, shape);
    double macs = 9.0 * spec->image_channels * PN_STEM_FACTOR * spec->channels * spec->H * spec->W;
    for (int i = 0; i < spec->layers; i++) {
        const cell_shape *s = &shape[i];
        for (int j = 0; j < 2; j++) macs += (double)s->in_channels[j] * s->C * s->H * s->W;
        for (int node = 0; node < n->space.nodes; node++) {
            for (int slot = 0; arch && slot < PN_SLOTS; slot++) {
                const pn_choice t = arch->cell[s->kind].term[node][slot];
                macs += term_macs(s, t.op, t.input);
            }
            for (int input = 0; !arch && input < pn_inputs(node); input++)
                for (int o = 0; o < n->space.ops; o++) macs += term_macs(s, n->space.op[o], input);
        }
    }
    return macs + (double)n->space.nodes * shape[spec->layers - 1].C * spec->classes;
}

pn_arch pn_network_largest(const pn_space *space) {
    pn_arch arch = {0};
    pn_op largest = space->op[0];
    static const pn_op by_size[] = {PN_SEP_CONV_5X5, PN_SEP_CONV_3X3, PN_DIL_CONV_5X5,
                                    PN_DIL_CONV_3X3};
    for (int i = (int)(sizeof by_size / sizeof *by_size) - 1; i >= 0; i--)
        for (int j = 0; j < space->ops; j++)
            if (space->op[j] == by_size[i]) largest = by_size[i];
    for (int kind = 0; kind < space->kinds; kind++)
        for (int node = 0; node < space->nodes; node++)
            for (int slot = 0; slot < PN_SLOTS; slot++)
                arch.cell[kind].term[node][slot] = (pn_choice){(uint8_t)largest, (uint8_t)slot};
    return arch;
}
