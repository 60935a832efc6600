/* layers.c -- see layers.h. The walk is that of pn_network_build (search/network/network.c). */
#include "search/export/layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/network/cells.h"

static const float eps = 1e-5F; /* of every BatchNorm (runtime/jobs.c) */

typedef struct lister {
    const pn_network *network;
    pn_layers *to;
    bool fold;
} lister;

/* ---- layers as they come --------------------------------------------------------------------- */

/* Appends a layer that makes an activation of these sizes; gives the activation. */
static int append(lister *l, pn_layer layer, int C, int H, int W) {
    pn_layers *to = l->to;
    layer.output = to->activations++;
    to->activation[layer.output] = (pn_activation){C, H, W, to->count, 0};
    to->layer[to->count++] = layer;
    return layer.output;
}

/* Copies a tensor behind the weights that are there. */
static float *copy(lister *l, int index) {
    float *at = l->to->weights + l->to->floats;
    pn_parameters_get(&l->network->parameters, l->network->parameters.value, index, at);
    l->to->floats += l->network->parameters.list[index].count;
    return at;
}

static const char *tensor_name(const lister *l, int index) {
    return l->network->parameters.list[index].name;
}

/* The name of a tensor without its last part, as "op.1" of "op.1.weight". */
static void name_after(const lister *l, int index, char name[80]) {
    const char *full = tensor_name(l, index);
    snprintf(name, 80, "%.*s", (int)(strrchr(full, '.') - full), full);
}

static int size_behind(int H, int R, int stride, int dilation, int pad) {
    return (H + 2 * pad - dilation * (R - 1) - 1) / stride + 1;
}

/* What channel c of the norm whose scale is tensor `norm` does. */
typedef struct folded {
    double factor, bias;
} folded;

static folded fold_one(const lister *l, int norm, int c) {
    const pn_parameters *p = &l->network->parameters;
    const double scale = p->value[p->list[norm].offset + (size_t)c],
                 shift = p->value[p->list[norm + 1].offset + (size_t)c],
                 mean = p->value[p->list[norm + 2].offset + (size_t)c],
                 var = p->value[p->list[norm + 3].offset + (size_t)c];
    const double factor = scale / sqrt(var + (double)eps);
    return (folded){factor, shift - mean * factor};
}

/* Folds channels first.. of that norm into a convolution's weights (O,taps), and makes its bias. */
static float *fold(lister *l, int norm, int first, int O, size_t taps, float *weight) {
    float *bias = l->to->weights + l->to->floats;
    l->to->floats += (size_t)O;
    for (int o = 0; o < O; o++) {
        const folded f = fold_one(l, norm, first + o);
        for (size_t i = 0; i < taps; i++)
            weight[(size_t)o * taps + i] = (float)(weight[(size_t)o * taps + i] * f.factor);
        bias[o] = (float)f.bias;
    }
    return bias;
}

static int add_norm(lister *l, int x, int norm) {
    const pn_activation a = l->to->activation[x];
    pn_layer layer = {.kind = PN_LAYER_BATCH_NORM, .inputs = 1, .input = {x}, .eps = eps};
    name_after(l, norm, layer.name);
    layer.gamma = copy(l, norm);
    layer.beta = copy(l, norm + 1);
    layer.mean = copy(l, norm + 2);
    layer.var = copy(l, norm + 3);
    return append(l, layer, a.C, a.H, a.W);
}

/* A convolution with the weights of tensor `w`; `norm` < 0: no BatchNorm to be folded into it, of
 * which the convolution has the channels from `first` on. */
static int add_conv(lister *l, pn_layer layer, int x, int w, int norm, int first) {
    const pn_activation a = l->to->activation[x];
    const pn_parameter *t = &l->network->parameters.list[w];
    const int O = t->shape[0];
    float *weight = copy(l, w);
    layer.kind = PN_LAYER_CONV;
    layer.inputs = 1;
    layer.input[0] = x;
    layer.groups = a.C / t->shape[1];
    layer.R = t->shape[2];
    layer.weight = weight;
    if (norm >= 0) layer.bias = fold(l, norm, first, O, t->count / (size_t)O, weight);
    name_after(l, w, layer.name);
    return append(l, layer, O, size_behind(a.H, layer.R, layer.stride, layer.dilation, layer.pad),
                  size_behind(a.W, layer.R, layer.stride, layer.dilation, layer.pad));
}

/* A convolution and the BatchNorm behind it. */
static int add_conv_norm(lister *l, pn_layer layer, int x, int w, int norm) {
    x = add_conv(l, layer, x, w, l->fold ? norm : -1, 0);
    return l->fold ? x : add_norm(l, x, norm);
}

static int add_concat(lister *l, const int *parts, int count, const char *name) {
    const pn_activation a = l->to->activation[parts[0]];
    pn_layer layer = {.kind = PN_LAYER_CONCAT, .inputs = count};
    int C = 0;
    for (int i = 0; i < count; i++) {
        layer.input[i] = parts[i];
        C += l->to->activation[parts[i]].C;
    }
    snprintf(layer.name, sizeof layer.name, "%.72s.concat", name);
    return append(l, layer, C, a.H, a.W);
}

/* ---- the parts of a cell --------------------------------------------------------------------- */

/* A factorized reduce, whose first tensor is `w`. */
static int add_reduce(lister *l, int x, int w) {
    const pn_activation a = l->to->activation[x];
    const int norm = w + 2, half = l->network->parameters.list[w].shape[0];
    const pn_layer conv = {.stride = 2, .dilation = 1, .relu = true};
    pn_layer shift = {.kind = PN_LAYER_SHIFT, .inputs = 1, .input = {x}};
    const char *full = tensor_name(l, w);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%.*s", (int)(strstr(full, ".conv_1") - full), full);
    snprintf(shift.name, sizeof shift.name, "%s.shift", prefix);
    const int first = add_conv(l, conv, x, w, l->fold ? norm : -1, 0);
    const int shifted =
        append(l, shift, a.C, 2 * pn_out_size(a.H, 2) - 1, 2 * pn_out_size(a.W, 2) - 1);
    const int second = add_conv(l, conv, shifted, w + 1, l->fold ? norm : -1, half);
    x = add_concat(l, (int[]){first, second}, 2, prefix);
    return l->fold ? x : add_norm(l, x, norm);
}

/* A 1x1 convolution of weights on its diagonal alone, which are to be written there: all that reads
 * layers knows convolutions. *weight: C*C zeros, then a bias of C. */
static int add_diagonal(lister *l, int x, int stride, const char *name, float **weight) {
    const pn_activation a = l->to->activation[x];
    const size_t C = (size_t)a.C;
    pn_layer layer = {.kind = PN_LAYER_CONV,
                      .inputs = 1,
                      .input = {x},
                      .groups = 1,
                      .R = 1,
                      .stride = stride,
                      .dilation = 1};
    *weight = l->to->weights + l->to->floats;
    layer.weight = *weight;
    layer.bias = *weight + C * C;
    l->to->floats += C * C + C;
    snprintf(layer.name, sizeof layer.name, "%s", name);
    return append(l, layer, a.C, pn_out_size(a.H, stride), pn_out_size(a.W, stride));
}

/* The BatchNorm behind a pool: no convolution is there to fold it into. */
static int add_pool_norm(lister *l, int x, int norm) {
    const size_t C = (size_t)l->to->activation[x].C;
    char name[80];
    float *weight;
    if (!l->fold) return add_norm(l, x, norm);
    name_after(l, norm, name);
    x = add_diagonal(l, x, 1, name, &weight);
    for (size_t c = 0; c < C; c++) {
        const folded f = fold_one(l, norm, (int)c);
        weight[c * C + c] = (float)f.factor;
        weight[C * C + c] = (float)f.bias;
    }
    return x;
}

/* One term of a node; `name` is for a pool. */
static int add_term(lister *l, const pn_cell_shape *s, pn_choice t, int x, int w,
                    const char *name) {
    int R, dilation;
    const int stages = pn_conv_stages((pn_op)t.op, &R, &dilation);
    const int stride = pn_term_stride(s, t.input);
    for (int i = 0; i < stages; i++, w += 6) { /* two convolutions, four tensors of a norm */
        const pn_layer depthwise = {.stride = i == 0 ? stride : 1,
                                    .dilation = dilation,
                                    .pad = dilation * (R - 1) / 2,
                                    .relu = true};
        x = add_conv(l, depthwise, x, w, -1, 0);
        x = add_conv_norm(l, (pn_layer){.stride = 1, .dilation = 1}, x, w + 1, w + 2);
    }
    if (pn_is_pool((pn_op)t.op)) {
        const pn_activation a = l->to->activation[x];
        pn_layer pool = {
            .kind = t.op == PN_MAX_POOL_3X3 ? PN_LAYER_MAX_POOL : PN_LAYER_AVERAGE_POOL,
            .inputs = 1,
            .input = {x},
            .R = 3,
            .stride = stride,
            .dilation = 1,
            .pad = 1};
        snprintf(pool.name, sizeof pool.name, "%s", name);
        x = append(l, pool, a.C, pn_out_size(a.H, stride), pn_out_size(a.W, stride));
        return w < 0 ? x : add_pool_norm(l, x, w);
    }
    return t.op == PN_SKIP_CONNECT && stride == 2 ? add_reduce(l, x, w) : x;
}

/* `value` times an input: 1 copies, 0 makes zeros. For a node that is one of its inputs, or
 * nothing. */
static int add_multiple(lister *l, int x, int stride, float value, const char *name) {
    const size_t C = (size_t)l->to->activation[x].C;
    float *weight;
    x = add_diagonal(l, x, stride, name, &weight);
    for (size_t c = 0; c < C; c++) weight[c * C + c] = value;
    return x;
}

static bool is_identity(const pn_cell_shape *s, pn_choice t) {
    return t.op == PN_SKIP_CONNECT && pn_term_stride(s, t.input) == 1;
}

/* The slots that have a term. Of more than two the inputs themselves come first: they are there
 * when the first of the others is made. */
static int slots_of(const pn_cell_shape *s, const pn_cell *cell, int node,
                    int slots[PN_MOST_TERMS]) {
    const bool sorted = pn_node_terms(cell, node) > 2;
    int count = 0;
    for (int pass = !sorted; pass < 2; pass++)
        for (int slot = 0; slot < pn_slots(cell, node); slot++) {
            const pn_choice t = cell->term[node][slot];
            if (t.op != PN_NONE && (!sorted || is_identity(s, t) == (pass == 0)))
                slots[count++] = slot;
        }
    return count;
}

/* Sums of two: what a node has, one term after another. */
static int add_node(lister *l, const pn_cell_shape *s, int cell, int node, const pn_cell *of,
                    const int *input) {
    const pn_cell_weights *w = &l->network->cell[cell];
    const bool twice = pn_equal_terms(w, of, node);
    int slots[PN_MOST_TERMS], sum = -1;
    const int count = slots_of(s, of, node, slots);
    char name[80], node_name[40];
    snprintf(node_name, sizeof node_name, "cells.%d.node.%d", cell, node);
    for (int i = 0; i < count; i++) {
        const pn_choice t = of->term[node][slots[i]];
        snprintf(name, sizeof name, "cells.%d._ops.%d", cell, pn_slot_place(of, node, slots[i]));
        const int term = i > 0 && twice ? sum
                                        : add_term(l, s, t, input[t.input],
                                                   pn_term_weights(w, of, node, slots[i]), name);
        if (i == 0) {
            sum = term;
            continue;
        }
        const pn_activation a = l->to->activation[sum];
        pn_layer add = {.kind = PN_LAYER_ADD, .inputs = 2, .input = {sum, term}};
        snprintf(add.name, sizeof add.name, "%s", node_name);
        if (i < count - 1) snprintf(add.name, sizeof add.name, "%s.%d", node_name, i);
        sum = append(l, add, a.C, a.H, a.W);
    }
    if (count == 0) return add_multiple(l, input[0], pn_term_stride(s, 0), 0, node_name);
    if (count == 1 && is_identity(s, of->term[node][slots[0]]))
        return add_multiple(l, sum, 1, 1, node_name);
    return sum;
}

static void add_stem(lister *l, int before[2]) {
    int w = l->network->stem;
    pn_layer conv = {.stride = 1, .dilation = 1, .pad = 1};
    if (!l->network->spec.imagenet_stem) {
        before[0] = before[1] = add_conv_norm(l, conv, 0, w, w + 1);
        return;
    }
    enum { TENSORS = 5 }; /* of a convolution and its norm */
    conv.stride = 2;
    before[0] = add_conv_norm(l, conv, 0, w, w + 1);
    conv.relu = true;
    before[0] = add_conv_norm(l, conv, before[0], w + TENSORS, w + TENSORS + 1);
    before[1] = add_conv_norm(l, conv, before[0], w + 2 * TENSORS, w + 2 * TENSORS + 1);
}

static void add_cell(lister *l, const pn_cell_shape *s, int cell, const pn_arch *arch,
                     int before[2]) {
    const int nodes = l->network->space.nodes;
    int input[2 + PN_MAX_NODES] = {0};
    char name[80];
    for (int j = 0; j < 2; j++) {
        const int w = l->network->cell[cell].preprocess[j];
        const pn_layer conv = {.stride = 1, .dilation = 1, .relu = true};
        input[j] = j == 0 && s->reduce0 ? add_reduce(l, before[j], w)
                                        : add_conv_norm(l, conv, before[j], w, w + 1);
    }
    for (int node = 0; node < nodes; node++)
        input[2 + node] = add_node(l, s, cell, node, &arch->cell[s->kind], input);
    snprintf(name, sizeof name, "cells.%d", cell);
    before[0] = before[1];
    before[1] = add_concat(l, input + 2, nodes, name);
}

static void add_classifier(lister *l, int x) {
    const int C = l->to->activation[x].C, w = l->network->classifier;
    pn_layer mean = {.kind = PN_LAYER_MEAN, .inputs = 1, .input = {x}, .name = "global_pooling"};
    pn_layer linear = {.kind = PN_LAYER_LINEAR, .inputs = 1, .name = "classifier"};
    linear.input[0] = append(l, mean, C, 1, 1);
    linear.weight = copy(l, w);
    linear.bias = copy(l, w + 1);
    l->to->logits = append(l, linear, l->network->spec.classes, 1, 1);
}

/* ---- what is read ---------------------------------------------------------------------------- */

/* Drops what nothing reads, numbers the rest anew, and notes the last readers. */
static void keep_what_is_read(pn_layers *l, int *number) {
    enum { UNREAD = -1, READ = 0 };
    for (int i = 0; i < l->activations; i++) number[i] = UNREAD;
    number[0] = number[l->logits] = READ;
    for (int i = l->count - 1; i >= 0; i--)
        for (int j = 0; number[l->layer[i].output] == READ && j < l->layer[i].inputs; j++)
            number[l->layer[i].input[j]] = READ;
    int kept = 0;
    for (int i = 0; i < l->activations; i++)
        if (number[i] == READ) {
            number[i] = kept;
            l->activation[kept++] = l->activation[i];
        }
    const int count = l->count;
    l->count = 0;
    for (int i = 0; i < count; i++) {
        pn_layer layer = l->layer[i];
        if (number[layer.output] == UNREAD) continue;
        layer.output = number[layer.output];
        for (int j = 0; j < layer.inputs; j++) {
            layer.input[j] = number[layer.input[j]];
            l->activation[layer.input[j]].last = l->count;
        }
        l->activation[layer.output].producer = l->count;
        l->layer[l->count++] = layer;
    }
    l->activations = kept;
    l->logits = number[l->logits];
    l->activation[l->logits].last = l->count;
}

/* Numbers of add_diagonal's in a cell, at most. */
static size_t diagonals(const pn_network *n, const pn_cell *cell, int C) {
    size_t count = 0;
    for (int node = 0; node < n->space.nodes; node++) {
        count += pn_node_terms(cell, node) < 2;
        for (int slot = 0; n->spec.pool_norm && slot < pn_slots(cell, node); slot++)
            count += pn_is_pool((pn_op)cell->term[node][slot].op);
    }
    return count * (size_t)C * (size_t)(C + 1);
}

pn_status pn_layers_create(const pn_network *n, const pn_arch *arch, bool fold_norms,
                           pn_layers *out) {
    *out = (pn_layers){0};
    if (!n->spec.evaluation || !n->parameters.value)
        return pn_fail(PN_EARG,
                       "a search network has no weights of its own to export; want an "
                       "evaluation network with weights");
    /* A cell has two preprocessings, a concatenation, and at most a term for every edge, or two a
     * node, each with a sum; the longest are a separable convolution and a factorized reduce. */
    enum { STEM_AND_HEAD = 2 * PN_IMAGENET_STEM + 2, LONGEST = 6 };
    const int nodes = n->space.nodes;
    const int most = STEM_AND_HEAD +
                     n->spec.layers * (2 * LONGEST + nodes + 1 + pn_edges(nodes) * (LONGEST + 1));
    size_t floats = 1; /* at least; a bias needs no more than the norm that it comes from */
    pn_cell_shape shape[PN_MAX_LAYERS];
    pn_cell_shapes(&n->spec, nodes, shape);
    for (int i = 0; i < n->spec.layers; i++)
        floats += diagonals(n, &arch->cell[shape[i].kind], shape[i].C);
    for (int i = 0; i < n->parameters.count; i++) floats += n->parameters.list[i].count;
    int *number = calloc((size_t)most + 1, sizeof *number);
    out->layer = calloc((size_t)most, sizeof *out->layer);
    out->activation = calloc((size_t)most + 1, sizeof *out->activation);
    out->weights = calloc(floats, sizeof *out->weights);
    if (!number || !out->layer || !out->activation || !out->weights) {
        free(number);
        pn_layers_destroy(out);
        return pn_fail(PN_EMEM, "no memory for a list of %d layers", most);
    }
    lister l = {n, out, fold_norms};
    out->activation[out->activations++] =
        (pn_activation){n->spec.image_channels, n->spec.H, n->spec.W, -1, 0};
    int before[2];
    add_stem(&l, before);
    for (int i = 0; i < n->spec.layers; i++) add_cell(&l, &shape[i], i, arch, before);
    add_classifier(&l, before[1]);
    keep_what_is_read(out, number);
    free(number);
    return PN_OK;
}

void pn_layers_destroy(pn_layers *l) {
    free(l->layer);
    free(l->activation);
    free(l->weights);
    *l = (pn_layers){0};
}
