/* network.c -- the cells of DARTS, walked in one order by everything that needs them: enumerating
 * the tensors, building the program, counting. */
#include "search/network/network.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/network/cells.h"

pn_network_sizes pn_network_defaults(bool evaluation, bool imagenet_stem) {
    return imagenet_stem ? (pn_network_sizes){14, 48, 128, 224, 1000}
           : evaluation  ? (pn_network_sizes){20, 36, 96, 32, 10}
                         : (pn_network_sizes){8, 16, 64, 32, 10};
}

/* ---- enumeration ----------------------------------------------------------------------------- */

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
    } parts[] = {{"weight", PN_INIT_ONE},
                 {"bias", PN_INIT_ZERO},
                 {"running_mean", PN_INIT_ZERO},
                 {"running_var", PN_INIT_ONE}};
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
    const int stages = pn_conv_stages(op, &R, &dilation);
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
    if (pn_is_pool(op) && e->network->spec.pool_norm) first = add_norm(e, prefix, "op.1", C);
    return first;
}

static void add_preprocess(enumerator *e, int layer, const pn_cell_shape *s) {
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
static void add_shared_ops(enumerator *e, int layer, const pn_cell_shape *s) {
    const pn_network *n = e->network;
    for (int node = 0; node < n->space.nodes; node++)
        for (int slot = 0; slot < PN_NODE_TERMS; slot++)
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
                    where[slot][input][op] = add_op(e, prefix, op, s->C, pn_term_stride(s, input));
                }
}

/* The ops of one architecture. */
static void add_own_ops(enumerator *e, int layer, const pn_cell_shape *s, const pn_arch *arch) {
    const pn_cell *cell = &arch->cell[s->kind];
    for (int node = 0; node < e->network->space.nodes; node++)
        for (int slot = 0; slot < pn_slots(cell, node); slot++) {
            const pn_choice t = cell->term[node][slot];
            char prefix[64];
            if (t.op == PN_NONE) continue;
            snprintf(prefix, sizeof prefix, "cells.%d._ops.%d.", layer,
                     pn_slot_place(cell, node, slot));
            e->network->cell[layer].op[node][cell->every_edge ? 0 : slot][t.input][t.op] =
                add_op(e, prefix, t.op, s->C, pn_term_stride(s, t.input));
        }
}

/* Of an evaluation network's norm in the list of tensors: scale, shift, mean, variance. */
enum { NORM = 4 };

/* NetworkImageNet: to C/2, to C, and again, each with stride 2. */
static void add_imagenet_stem(enumerator *e) {
    static const char *const conv[PN_IMAGENET_STEM] = {"stem0.0.weight", "stem0.3.weight",
                                                       "stem1.1.weight"},
                             *const bn[PN_IMAGENET_STEM] = {"stem0.1", "stem0.4", "stem1.2"};
    const pn_network_spec *s = &e->network->spec;
    const int C[PN_IMAGENET_STEM + 1] = {s->image_channels, s->channels / 2, s->channels,
                                         s->channels};
    for (int i = 0; i < PN_IMAGENET_STEM; i++) {
        const int index = add_conv(e, "", conv[i], C[i + 1], C[i], 3, false);
        add_norm(e, "", bn[i], C[i + 1]);
        if (i == 0) e->network->stem = index;
    }
}

static void add_stem(enumerator *e) {
    const pn_network_spec *s = &e->network->spec;
    const int K = pn_stem_channels(s);
    if (s->imagenet_stem) {
        add_imagenet_stem(e);
        return;
    }
    e->network->stem = add_conv(e, "stem.", s->evaluation ? "0.weight" : "conv.weight", K,
                                s->image_channels, 3, false);
    add_norm(e, "stem.", s->evaluation ? "1" : "bn", K);
}

/* After DARTS: 5x5 average pool, 1x1 to 128 channels, 2x2 to 768, linear; for ImageNet without the
 * second BatchNorm, which is a comment in the public code. */
enum { AUXILIARY_POOL = 5, AUXILIARY_NARROW = 128, AUXILIARY_WIDE = 768 };
static int auxiliary_stride(const pn_network_spec *s) { return s->imagenet_stem ? 2 : 3; }

static void add_auxiliary(enumerator *e, int C_in) {
    const pn_network_spec *s = &e->network->spec;
    static const char prefix[] = "auxiliary_head.";
    e->role = PN_ROLE_AUXILIARY;
    e->network->auxiliary =
        add_conv(e, prefix, "features.2.weight", AUXILIARY_NARROW, C_in, 1, false);
    add_norm(e, prefix, "features.3", AUXILIARY_NARROW);
    add_conv(e, prefix, "features.5.weight", AUXILIARY_WIDE, AUXILIARY_NARROW, 2, false);
    if (!s->imagenet_stem) add_norm(e, prefix, "features.6", AUXILIARY_WIDE);
    add(e, "auxiliary_head.classifier.weight", PN_LAYOUT_LINEAR, PN_INIT_UNIFORM, AUXILIARY_WIDE,
        false, 2, (int[]){s->classes, AUXILIARY_WIDE});
    add(e, "auxiliary_head.classifier.bias", PN_LAYOUT_SAME, PN_INIT_UNIFORM, AUXILIARY_WIDE, false,
        1, &s->classes);
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
    if (s->imagenet_stem && (!s->evaluation || s->channels % 8))
        return pn_fail(PN_EARG,
                       "the ImageNet stem with %d channels, want an evaluation network with a "
                       "multiple of 8",
                       s->channels);
    if (s->pool_norm && !s->evaluation)
        return pn_fail(PN_EARG,
                       "a search network whose pools have a BatchNorm of their own: it has one "
                       "behind its pools in any case, want an evaluation network");
    return PN_OK;
}

pn_status pn_network_create(pn_network *n, const pn_network_spec *spec, const pn_space *space,
                            const pn_arch *arch) {
    PN_TRY(check_spec(spec));
    PN_TRY(pn_space_check(space));
    *n = (pn_network){.spec = *spec, .space = *space, .auxiliary = -1, .slots = PN_NODE_TERMS};
    for (int kind = 0; spec->evaluation && kind < space->kinds; kind++)
        if (arch->cell[kind].every_edge) n->slots = PN_MOST_TERMS;
    memset(n->cell, -1, sizeof n->cell);
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(spec, space->nodes, shape);

    enumerator e = {n, PN_OK, PN_ROLE_WEIGHT};
    add_stem(&e);
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

    const int terms =
        n->slots > PN_NODE_TERMS ? pn_edges(space->nodes) : PN_NODE_TERMS * space->nodes;
    enum { STEM_AND_HEADS = PN_IMAGENET_STEM + 1 + 3 };
    n->max_ops = STEM_AND_HEADS + spec->layers * (2 + 2 * terms + space->nodes);
    n->max_terms = STEM_AND_HEADS + 2 * PN_PARTS + spec->layers * (2 * PN_PARTS + 3 * terms);
    if (e.status != PN_OK) pn_network_destroy(n);
    return e.status;
}

void pn_network_destroy(pn_network *n) { pn_parameters_destroy(&n->parameters); }

/* ---- the program ----------------------------------------------------------------------------- */

typedef struct builder {
    const pn_network *network;
    pn_program *program;
    const pn_build *how;
} builder;

/* BatchNorm after an op whose convolutions are followed, in an evaluation network, by the four
 * tensors of a norm, the first of them at index `scale`. */
static pn_norm_spec norm_at(const builder *b, int scale) {
    if (!b->network->spec.evaluation) return (pn_norm_spec){PN_NORM_BATCH, -1, -1, -1, -1};
    return (pn_norm_spec){b->how->inference ? PN_NORM_RUNNING : PN_NORM_BATCH, scale, scale + 1,
                          scale + 2, scale + 3};
}

static pn_value build_op(const builder *b, const pn_cell_shape *s, pn_op op, int input, pn_value x,
                         int w) {
    int R, dilation;
    const int stride = pn_term_stride(s, input), stages = pn_conv_stages(op, &R, &dilation);
    const bool evaluation = b->network->spec.evaluation;
    for (int i = 0; i < stages; i++) {
        x = pn_program_stage(b->program, x, R, dilation, i == 0 ? stride : 1, w, w + 1,
                             norm_at(b, w + 2));
        w += evaluation ? 6 : 2; /* two convolutions, and four tensors of a norm */
    }
    if (pn_is_pool(op)) {
        const pn_norm_spec none = {PN_NORM_NONE, -1, -1, -1, -1};
        const pn_norm_spec after = evaluation && !b->network->spec.pool_norm ? none : norm_at(b, w);
        return pn_program_pool(b->program, x, op == PN_MAX_POOL_3X3 ? PN_POOL_MAX : PN_POOL_AVG,
                               stride, after);
    }
    if (op == PN_SKIP_CONNECT && stride == 2)
        return pn_program_reduce(b->program, &x, 1, w, s->C, norm_at(b, w + 2));
    return x;
}

enum { MAX_TERMS = (2 + PN_MAX_NODES - 1) * PN_MAX_OPS };

/* The factors of a term for each image, NULL: 1. */
static const float *factor_of(const builder *b, int layer, int node, int slot) {
    const int place = (layer * b->network->space.nodes + node) * b->network->slots + slot;
    return b->how->drop_path ? b->how->drop_path + (size_t)place * (size_t)b->how->N : NULL;
}

/* The terms of a node; one if there are two equal ones, since the same term twice is computed
 * once. */
static int own_terms(const builder *b, const pn_cell_shape *s, int layer, int node,
                     const pn_cell *cell, const pn_value *input, pn_term_spec *terms) {
    const pn_cell_weights *w = &b->network->cell[layer];
    const bool twice = pn_equal_terms(w, cell, node);
    const int slots = twice ? 1 : pn_slots(cell, node);
    int count = 0;
    for (int slot = 0; slot < slots; slot++) {
        const pn_choice t = cell->term[node][slot];
        const int weights = pn_term_weights(w, cell, node, slot);
        if (t.op == PN_NONE) continue;
        const bool identity = t.op == PN_SKIP_CONNECT && pn_term_stride(s, t.input) == 1;
        const float *factor = identity ? NULL : factor_of(b, layer, node, slot);
        terms[count++] =
            (pn_term_spec){.value = build_op(b, s, t.op, t.input, input[t.input], weights),
                           .coef = twice && !factor ? 2 : 1,
                           .factor = factor};
    }
    return count;
}

/* A term of the supernet: op o of the space on an edge. */
static pn_term_spec mixed_term(const builder *b, int layer, pn_kind kind, int edge, int o,
                               pn_value v) {
    const pn_space *space = &b->network->space;
    const pn_mix *mix = b->how->mix;
    const int edges = pn_edges(space->nodes), N = b->how->N;
    if (!mix) return (pn_term_spec){.value = v, .coef = 1.0F / (float)space->ops};
    const int shared_edge = (int)kind * edges + edge, own_edge = layer * edges + edge;
    const size_t shared = (size_t)shared_edge, own = (size_t)own_edge;
    const size_t ops = (size_t)space->ops, op = (size_t)o;
    return (pn_term_spec){.value = v,
                          .coef = 1,
                          .factor = b->how->drop_path ? b->how->drop_path + own * (size_t)N : NULL,
                          .weight = mix->weight ? mix->weight + shared * ops + op : NULL,
                          .dweight = mix->dweight ? mix->dweight + own * ops + op : NULL};
}

/* Every op on every input, or the chosen ones: the supernet of DARTS. */
static int all_terms(const builder *b, int layer, const pn_cell_shape *s, int node,
                     const pn_value *input, pn_term_spec *terms) {
    const pn_space *space = &b->network->space;
    const pn_cell_weights *w = &b->network->cell[layer];
    const int8_t *chosen = b->how->mix ? b->how->mix->chosen : NULL;
    int count = 0;
    for (int i = 0; i < pn_inputs(node); i++) {
        const int edge = pn_edge(node, i);
        for (int o = 0; o < space->ops; o++) {
            const pn_op op = space->op[o];
            if (chosen && chosen[(int)s->kind * pn_edges(space->nodes) + edge] != o) continue;
            const pn_value v = build_op(b, s, op, i, input[i], w->op[node][0][i][op]);
            terms[count++] = mixed_term(b, layer, s->kind, edge, o, v);
        }
    }
    return count;
}

static pn_norm_spec stem_norm(const builder *b, int scale) {
    return b->network->spec.evaluation ? norm_at(b, scale)
                                       : (pn_norm_spec){PN_NORM_BATCH, scale, scale + 1, -1, -1};
}

/* What the first cell reads as its two inputs. */
static void build_stem(const builder *b, pn_value *before0, pn_value *before1) {
    const pn_network *n = b->network;
    const pn_network_spec *spec = &n->spec;
    pn_program *p = b->program;
    int w = n->stem;
    const pn_value image = pn_program_image(p, spec->H, spec->W, spec->image_channels);
    if (!spec->imagenet_stem) {
        *before0 = *before1 =
            pn_program_stem(p, image, 1, w, pn_stem_channels(spec), stem_norm(b, w + 1));
        return;
    }
    *before1 = pn_program_stem(p, image, 2, w, spec->channels / 2, norm_at(b, w + 1));
    for (int i = 1; i < PN_IMAGENET_STEM; i++) {
        w += 1 + NORM;
        *before0 = *before1;
        *before1 =
            pn_program_conv(p, before0, 1, 3, 2, 1, false, w, spec->channels, norm_at(b, w + 1));
    }
}

static void build_auxiliary(const builder *b, const pn_value *x, int parts) {
    const pn_network_spec *spec = &b->network->spec;
    int w = b->network->auxiliary;
    const pn_norm_spec none = {PN_NORM_NONE, -1, -1, -1, -1};
    pn_value v = pn_program_conv(b->program, x, parts, AUXILIARY_POOL, auxiliary_stride(spec), 0,
                                 true, w, AUXILIARY_NARROW, norm_at(b, w + 1));
    w += 1 + NORM;
    v = pn_program_conv(b->program, &v, 1, 2, 1, 0, false, w, AUXILIARY_WIDE,
                        spec->imagenet_stem ? none : norm_at(b, w + 1));
    w += spec->imagenet_stem ? 1 : 1 + NORM;
    pn_program_head(b->program, &v, 1, true, w, w + 1, spec->classes, spec->smoothing,
                    b->how->auxiliary_weight, b->how->result ? b->how->result + 1 : NULL);
}

pn_status pn_network_build(const pn_network *n, const pn_arch *arch, pn_program *p,
                           const pn_build *how) {
    const pn_network_spec *spec = &n->spec;
    const builder b = {n, p, how};
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(spec, n->space.nodes, shape);
    if (how->auxiliary && (n->auxiliary < 0 || !pn_network_auxiliary_fits(spec)))
        return pn_fail(PN_EARG,
                       "an auxiliary head behind images of %dx%d: want a network that has one, "
                       "and 8x8 pixels there (7x7 with the ImageNet stem)",
                       shape[2 * spec->layers / 3].P, shape[2 * spec->layers / 3].Q);

    /* The outputs of the two cells before, as the parts that they are concatenated of. */
    pn_value before[2][PN_PARTS], middle[PN_PARTS] = {-1};
    int parts[2] = {1, 1};
    pn_program_begin(p, how->N, how->training, how->guarded);
    if (how->recompute) pn_program_recompute(p);
    build_stem(&b, before[0], before[1]);
    for (int i = 0; i < spec->layers; i++) {
        const pn_cell_shape *s = &shape[i];
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
            const int count = arch ? own_terms(&b, s, i, node, &arch->cell[s->kind], input, terms)
                                   : all_terms(&b, i, s, node, input, terms);
            input[2 + node] =
                count ? pn_program_node(p, terms, count) : pn_program_zeros(p, s->P, s->Q, s->C);
        }
        memcpy(before[0], before[1], sizeof before[0]);
        parts[0] = parts[1];
        memcpy(before[1], input + 2, sizeof before[1]);
        parts[1] = n->space.nodes;
        if (i == 2 * spec->layers / 3) memcpy(middle, before[1], sizeof middle);
    }
    pn_program_head(p, before[1], parts[1], false, n->classifier, n->classifier + 1, spec->classes,
                    spec->smoothing, 1, how->result);
    if (how->auxiliary) build_auxiliary(&b, middle, n->space.nodes);
    return PN_OK; /* a failure sticks to the program, and compiling it returns it */
}

bool pn_network_auxiliary_fits(const pn_network_spec *spec) {
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(spec, PN_MAX_NODES, shape);
    const pn_cell_shape *s = &shape[2 * spec->layers / 3];
    const int stride = auxiliary_stride(spec);
    return s->P >= AUXILIARY_POOL && s->Q >= AUXILIARY_POOL &&
           (s->P - AUXILIARY_POOL) / stride == 1 && (s->Q - AUXILIARY_POOL) / stride == 1;
}

/* ---- drop-path ------------------------------------------------------------------------------- */

static void drop_term(double keep, uint64_t seed, int64_t step, int place, float *factor, int N) {
    for (int i = 0; i < N; i++) {
        const uint64_t index = (uint64_t)place << 32 | (uint64_t)i;
        const bool kept = pn_uniform(seed, PN_STREAM_DROP_PATH, (uint64_t)step, index) < keep;
        factor[i] = kept ? (float)(1 / keep) : 0;
    }
}

void pn_network_drop_path(const pn_network *n, const pn_arch *arch, double keep, uint64_t seed,
                          int64_t step, float *factor, int N) {
    pn_cell_shape shape[PN_MAX_LAYERS];
    int place = 0;
    pn_cell_shapes(&n->spec, n->space.nodes, shape);
    for (int layer = 0; layer < n->spec.layers; layer++)
        for (int node = 0; node < n->space.nodes; node++) {
            const pn_cell *cell = &arch->cell[shape[layer].kind];
            const int slots = pn_slots(cell, node);
            float *const pair = factor;
            for (int slot = 0; slot < n->slots; slot++, place++, factor += N) {
                const pn_choice none = {PN_NONE, 0},
                                t = slot < slots ? cell->term[node][slot] : none;
                drop_term(keep, seed, step, place, factor, N);
                if (t.op == PN_SKIP_CONNECT && pn_term_stride(&shape[layer], t.input) == 1)
                    for (int i = 0; i < N; i++) factor[i] = 1;
                if (t.op == PN_NONE) memset(factor, 0, (size_t)N * sizeof *factor);
            }
            if (pn_equal_terms(&n->cell[layer], cell, node))
                for (int i = 0; i < N; i++) {
                    pair[i] += pair[N + i];
                    pair[N + i] = 0;
                }
        }
}

void pn_network_drop_edges(const pn_network *n, double keep, uint64_t seed, int64_t step,
                           float *factor, int N) {
    const int places = n->spec.layers * pn_edges(n->space.nodes);
    for (int place = 0; place < places; place++, factor += N)
        drop_term(keep, seed, step, place, factor, N);
}

/* ---- counting -------------------------------------------------------------------------------- */

static void mark(bool *used, int first, int count) {
    for (int i = 0; first >= 0 && i < count; i++) used[first + i] = true;
}

void pn_network_uses(const pn_network *n, const pn_arch *arch, bool *used) {
    const bool all = n->spec.evaluation || !arch;
    memset(used, all, (size_t)n->parameters.count * sizeof *used);
    if (all) return;
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(&n->spec, n->space.nodes, shape);
    mark(used, n->stem, 3);
    mark(used, n->classifier, 2);
    for (int i = 0; i < n->spec.layers; i++) {
        mark(used, n->cell[i].preprocess[0], shape[i].reduce0 ? 2 : 1);
        mark(used, n->cell[i].preprocess[1], 1);
        const pn_cell *cell = &arch->cell[shape[i].kind];
        for (int node = 0; node < n->space.nodes; node++)
            for (int slot = 0; slot < pn_slots(cell, node); slot++) {
                int R, dilation;
                const int stages = pn_conv_stages(cell->term[node][slot].op, &R, &dilation);
                mark(used, pn_term_weights(&n->cell[i], cell, node, slot), stages ? 2 * stages : 2);
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
static double term_macs(const pn_cell_shape *s, pn_op op, int input) {
    int R, dilation;
    const double pixels = (double)s->P * s->Q, square = (double)s->C * s->C;
    const int stages = pn_conv_stages(op, &R, &dilation);
    if (op == PN_SKIP_CONNECT && pn_term_stride(s, input) == 2) return pixels * square;
    return pixels * stages * ((double)R * R * s->C + square);
}

pn_status pn_shards_check(int64_t shards, int64_t batch) {
    if (shards >= 1 && batch % shards == 0) return PN_OK;
    return pn_fail(PN_EARG, "--shards %" PRId64 ", want a divisor of --batch %" PRId64, shards,
                   batch);
}

size_t pn_network_batch_bytes(const pn_network *n, int N) {
    const pn_network_spec *spec = &n->spec;
    const size_t numbers = (size_t)spec->H * (size_t)spec->W * (size_t)spec->image_channels;
    const size_t batch = (size_t)N * (numbers * sizeof(float) + sizeof(int32_t));
    const size_t terms = (size_t)spec->layers * (size_t)n->space.nodes * (size_t)n->slots;
    return spec->evaluation ? 2 * batch + terms * (size_t)N * sizeof(float) : 4 * batch;
}

static double stem_macs(const pn_network_spec *s) {
    if (!s->imagenet_stem) return 9.0 * s->image_channels * pn_stem_channels(s) * s->H * s->W;
    const int C[PN_IMAGENET_STEM + 1] = {s->image_channels, s->channels / 2, s->channels,
                                         s->channels};
    double macs = 0;
    int H = s->H, W = s->W;
    for (int i = 0; i < PN_IMAGENET_STEM; i++) {
        H = pn_out_size(H, 2);
        W = pn_out_size(W, 2);
        macs += 9.0 * C[i] * C[i + 1] * H * W;
    }
    return macs;
}

/* Of a node: arch NULL: of a supernet. */
static double node_macs(const pn_network *n, const pn_cell_shape *s, const pn_arch *arch,
                        const int8_t *chosen, int node) {
    const int first = (int)s->kind * pn_edges(n->space.nodes);
    double macs = 0;
    for (int slot = 0; arch && slot < pn_slots(&arch->cell[s->kind], node); slot++) {
        const pn_choice t = arch->cell[s->kind].term[node][slot];
        macs += term_macs(s, t.op, t.input);
    }
    for (int input = 0; !arch && input < pn_inputs(node); input++)
        for (int o = 0; o < n->space.ops; o++)
            if (!chosen || chosen[first + pn_edge(node, input)] == o)
                macs += term_macs(s, n->space.op[o], input);
    return macs;
}

static double all_macs(const pn_network *n, const pn_arch *arch, const int8_t *chosen) {
    const pn_network_spec *spec = &n->spec;
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(spec, n->space.nodes, shape);
    double macs = stem_macs(spec);
    for (int i = 0; i < spec->layers; i++) {
        const pn_cell_shape *s = &shape[i];
        for (int j = 0; j < 2; j++) macs += (double)s->in_channels[j] * s->C * s->H * s->W;
        for (int node = 0; node < n->space.nodes; node++)
            macs += node_macs(n, s, arch, chosen, node);
    }
    return macs + (double)n->space.nodes * shape[spec->layers - 1].C * spec->classes;
}

double pn_network_macs(const pn_network *n, const pn_arch *arch) { return all_macs(n, arch, NULL); }

double pn_network_mixed_macs(const pn_network *n, const int8_t *chosen) {
    return all_macs(n, NULL, chosen);
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
            for (int slot = 0; slot < PN_NODE_TERMS; slot++)
                arch.cell[kind].term[node][slot] = (pn_choice){(uint8_t)largest, (uint8_t)slot};
    return arch;
}
