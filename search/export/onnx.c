/* onnx.c -- see onnx.h. Numbers of fields and of types are those of onnx.proto, version 7. */
#include "search/export/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "runtime/json.h"
#include "search/export/protobuf.h"
#include "search/network/genotype.h"

enum { IR_VERSION = 7, OPSET = 13 };

enum model_field {
    MODEL_IR = 1,
    MODEL_PRODUCER,
    MODEL_PRODUCER_VERSION,
    MODEL_GRAPH = 7,
    MODEL_OPSET,
    MODEL_META = 14
};
enum graph_field { GRAPH_NODE = 1, GRAPH_NAME, GRAPH_TENSOR = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT };
enum node_field { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_ATTRIBUTE };
enum attribute_field {
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_FLOAT,
    ATTRIBUTE_INT,
    ATTRIBUTE_INTS = 8,
    ATTRIBUTE_TYPE = 20
};
enum attribute_type { OF_FLOAT = 1, OF_INT = 2, OF_INTS = 7 };
enum tensor_field { TENSOR_DIM = 1, TENSOR_TYPE, TENSOR_NAME = 8, TENSOR_RAW };
enum tensor_type { FLOAT = 1, UINT8 = 2, INT64 = 7 };
enum { OPSET_VERSION = 2 };                        /* OperatorSetIdProto */
enum { META_KEY = 1, META_TEXT };                  /* StringStringEntryProto */
enum { VALUE_NAME = 1, VALUE_TYPE };               /* ValueInfoProto */
enum { TYPE_TENSOR = 1, ELEMENT_TYPE = 1, SHAPE }; /* TypeProto */
enum { SHAPE_DIM = 1, DIM_VALUE = 1, DIM_NAME };   /* TensorShapeProto */

enum { NAME_BYTES = 112 };

typedef struct graph {
    pn_message m;
    const pn_layers *layers;
    const pn_images *images;
    bool raw;
    bool *rectified; /* of an activation: its ReLU is there; two of a value are one */
    bool *positive;  /* it is its own ReLU */
    int nodes;
    bool shifts, pads[2][2]; /* which constants of a Slice and a Pad are there */
} graph;

/* ---- tensors --------------------------------------------------------------------------------- */

static void add_tensor(graph *g, const char *layer, const char *part, enum tensor_type type,
                       int rank, const int *shape, const void *data) {
    char name[NAME_BYTES];
    size_t bytes = type == INT64 ? sizeof(int64_t) : sizeof(float);
    const size_t tensor = pn_message_open(&g->m, GRAPH_TENSOR);
    for (int i = 0; i < rank; i++) {
        pn_message_whole(&g->m, TENSOR_DIM, (uint64_t)shape[i]);
        bytes *= (size_t)shape[i];
    }
    pn_message_whole(&g->m, TENSOR_TYPE, type);
    snprintf(name, sizeof name, "%s.%s", layer, part);
    pn_message_text(&g->m, TENSOR_NAME, name);
    pn_message_bytes(&g->m, TENSOR_RAW, data, bytes); /* little endian, as this machine is */
    pn_message_close(&g->m, tensor);
}

static void add_whole_numbers(graph *g, const char *layer, const char *part, int count,
                              const int64_t *data) {
    add_tensor(g, layer, part, INT64, 1, &count, data);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* What a node reads is added by add_input, its attributes by the functions behind; the end is
 * pn_message_close. */
static size_t open_node(graph *g, const char *op, const char *output) {
    const size_t node = pn_message_open(&g->m, GRAPH_NODE);
    pn_message_text(&g->m, NODE_OP, op);
    pn_message_text(&g->m, NODE_NAME, output);
    pn_message_text(&g->m, NODE_OUTPUT, output);
    g->nodes++;
    return node;
}

static void add_input(graph *g, const char *name) { pn_message_text(&g->m, NODE_INPUT, name); }

static void add_part(graph *g, const char *layer, const char *part) {
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    add_input(g, name);
}

static size_t open_attribute(graph *g, const char *name, enum attribute_type type) {
    const size_t attribute = pn_message_open(&g->m, NODE_ATTRIBUTE);
    pn_message_text(&g->m, ATTRIBUTE_NAME, name);
    pn_message_whole(&g->m, ATTRIBUTE_TYPE, type);
    return attribute;
}

static void add_int(graph *g, const char *name, int value) {
    const size_t attribute = open_attribute(g, name, OF_INT);
    pn_message_whole(&g->m, ATTRIBUTE_INT, (uint64_t)value);
    pn_message_close(&g->m, attribute);
}

static void add_float(graph *g, const char *name, float value) {
    const size_t attribute = open_attribute(g, name, OF_FLOAT);
    pn_message_float(&g->m, ATTRIBUTE_FLOAT, value);
    pn_message_close(&g->m, attribute);
}

/* The same number for each of `count` edges. */
static void add_edges(graph *g, const char *name, int count, int value) {
    const size_t attribute = open_attribute(g, name, OF_INTS);
    for (int i = 0; i < count; i++) pn_message_whole(&g->m, ATTRIBUTE_INTS, (uint64_t)value);
    pn_message_close(&g->m, attribute);
}

static void add_window(graph *g, const pn_layer *l) {
    add_edges(g, "kernel_shape", 2, l->R);
    add_edges(g, "strides", 2, l->stride);
    add_edges(g, "pads", 4, l->pad);
}

/* A node that reads one value and has no attributes. */
static void add_simple(graph *g, const char *op, const char *input, const char *output) {
    const size_t node = open_node(g, op, output);
    add_input(g, input);
    pn_message_close(&g->m, node);
}

/* ---- values ---------------------------------------------------------------------------------- */

static const char input_name[] = "images", output_name[] = "logits";

/* The value of an activation is called as the layer that makes it. */
static const char *value_name(const graph *g, int activation) {
    const int producer = g->layers->activation[activation].producer;
    return activation == g->layers->logits ? output_name
           : producer >= 0                 ? g->layers->layer[producer].name
           : g->raw                        ? "images/normalised"
                                           : input_name;
}

/* The value that a layer reads: of an activation, or its ReLU. */
static void read_value(graph *g, int activation, bool relu, char name[NAME_BYTES]) {
    const char *plain = value_name(g, activation);
    const bool other = relu && !g->positive[activation];
    snprintf(name, NAME_BYTES, "%s%s", plain, other ? "/relu" : "");
    if (!other || g->rectified[activation]) return;
    add_simple(g, "Relu", plain, name);
    g->rectified[activation] = true;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static void add_conv(graph *g, const pn_layer *l, const char *input, const char *output) {
    const int C = g->layers->activation[l->input[0]].C, O = g->layers->activation[l->output].C;
    const size_t node = open_node(g, "Conv", output);
    add_input(g, input);
    add_part(g, l->name, "weight");
    if (l->bias) add_part(g, l->name, "bias");
    add_window(g, l);
    add_edges(g, "dilations", 2, l->dilation);
    add_int(g, "group", l->groups);
    pn_message_close(&g->m, node);
    add_tensor(g, l->name, "weight", FLOAT, 4, (int[]){O, C / l->groups, l->R, l->R}, l->weight);
    if (l->bias) add_tensor(g, l->name, "bias", FLOAT, 1, &O, l->bias);
}

static void add_norm(graph *g, const pn_layer *l, const char *input, const char *output) {
    static const char *const part[] = {"weight", "bias", "running_mean", "running_var"};
    const float *const data[] = {l->gamma, l->beta, l->mean, l->var};
    const int C = g->layers->activation[l->output].C;
    const size_t node = open_node(g, "BatchNormalization", output);
    add_input(g, input);
    for (int i = 0; i < 4; i++) add_part(g, l->name, part[i]);
    add_float(g, "epsilon", l->eps);
    pn_message_close(&g->m, node);
    for (int i = 0; i < 4; i++) add_tensor(g, l->name, part[i], FLOAT, 1, &C, data[i]);
}

static void add_pool(graph *g, const pn_layer *l, const char *input, const char *output) {
    const bool max = l->kind == PN_LAYER_MAX_POOL;
    const size_t node = open_node(g, max ? "MaxPool" : "AveragePool", output);
    add_input(g, input);
    add_window(g, l);
    if (!max) add_int(g, "count_include_pad", 0);
    pn_message_close(&g->m, node);
}

/* Adds a row or column of zeros behind an odd edge, then leaves out the first row and column.
 * Whoever reads it takes its ReLU, which is the same before and behind, and before it is there for
 * others too. */
static void add_shift(graph *g, const pn_layer *l, const char *output) {
    static const char constants[] = "shift";
    const pn_activation a = g->layers->activation[l->input[0]];
    const bool down = a.H % 2, right = a.W % 2;
    char input[NAME_BYTES], padded[NAME_BYTES], pads[16];
    read_value(g, l->input[0], g->positive[l->output], input);
    if (down || right) {
        snprintf(pads, sizeof pads, "pads_%d_%d", down, right);
        snprintf(padded, sizeof padded, "%s/pad", output);
        const size_t node = open_node(g, "Pad", padded);
        add_input(g, input);
        add_part(g, constants, pads);
        pn_message_close(&g->m, node);
        if (!g->pads[down][right])
            add_whole_numbers(g, constants, pads, 8, (int64_t[]){0, 0, 0, 0, 0, 0, down, right});
        g->pads[down][right] = true;
    }
    const size_t node = open_node(g, "Slice", output);
    add_input(g, down || right ? padded : input);
    add_part(g, constants, "starts");
    add_part(g, constants, "ends");
    add_part(g, constants, "axes");
    pn_message_close(&g->m, node);
    if (!g->shifts) {
        add_whole_numbers(g, constants, "starts", 2, (int64_t[]){1, 1});
        add_whole_numbers(g, constants, "ends", 2, (int64_t[]){INT32_MAX, INT32_MAX});
        add_whole_numbers(g, constants, "axes", 2, (int64_t[]){2, 3});
    }
    g->shifts = true;
}

static void add_linear(graph *g, const pn_layer *l, const char *input, const char *output) {
    const int C = g->layers->activation[l->input[0]].C, O = g->layers->activation[l->output].C;
    char flat[NAME_BYTES];
    snprintf(flat, sizeof flat, "%s/flatten", l->name);
    add_simple(g, "Flatten", input, flat); /* axis 1 */
    const size_t node = open_node(g, "Gemm", output);
    add_input(g, flat);
    add_part(g, l->name, "weight");
    add_part(g, l->name, "bias");
    add_int(g, "transB", 1);
    pn_message_close(&g->m, node);
    add_tensor(g, l->name, "weight", FLOAT, 2, (int[]){O, C}, l->weight);
    add_tensor(g, l->name, "bias", FLOAT, 1, &O, l->bias);
}

static void add_joint(graph *g, const pn_layer *l, const char *output) {
    char input[PN_LAYER_INPUTS][NAME_BYTES];
    for (int i = 0; i < l->inputs; i++) read_value(g, l->input[i], l->relu, input[i]);
    const size_t node = open_node(g, l->kind == PN_LAYER_ADD ? "Add" : "Concat", output);
    for (int i = 0; i < l->inputs; i++) add_input(g, input[i]);
    if (l->kind == PN_LAYER_CONCAT) add_int(g, "axis", 1);
    pn_message_close(&g->m, node);
}

static void add_layer(graph *g, const pn_layer *l) {
    const char *output = value_name(g, l->output);
    char input[NAME_BYTES];
    if (l->kind == PN_LAYER_SHIFT) {
        add_shift(g, l, output);
        return;
    }
    if (l->kind == PN_LAYER_ADD || l->kind == PN_LAYER_CONCAT) {
        add_joint(g, l, output);
        return;
    }
    read_value(g, l->input[0], l->relu, input);
    switch (l->kind) {
        case PN_LAYER_CONV:
            add_conv(g, l, input, output);
            break;
        case PN_LAYER_BATCH_NORM:
            add_norm(g, l, input, output);
            break;
        case PN_LAYER_LINEAR:
            add_linear(g, l, input, output);
            break;
        case PN_LAYER_MEAN:
            add_simple(g, "GlobalAveragePool", input, output);
            break;
        default:
            add_pool(g, l, input, output);
            break;
    }
}

/* ---- the graph ------------------------------------------------------------------------------- */

/* Pixels to what the network was trained with. */
static void add_normalisation(graph *g) {
    static const char *const op[] = {"Div", "Sub", "Div"},
                             *const constant[] = {"scale", "mean", "std"},
                             *const output[] = {"images/unit", "images/centred",
                                                "images/normalised"};
    static const float white = 255;
    const float *const data[] = {&white, g->images->mean, g->images->std};
    const int C = g->layers->activation[0].C;
    const char *input = "images/float";
    size_t node = open_node(g, "Cast", input);
    add_input(g, input_name);
    add_int(g, "to", FLOAT);
    pn_message_close(&g->m, node);
    for (int i = 0; i < 3; i++) {
        node = open_node(g, op[i], output[i]);
        add_input(g, input);
        add_part(g, input_name, constant[i]);
        pn_message_close(&g->m, node);
        add_tensor(g, input_name, constant[i], FLOAT, 3, (int[]){i ? C : 1, 1, 1}, data[i]);
        input = output[i];
    }
}

static void add_value(graph *g, int field, const char *name, enum tensor_type type, int rank,
                      const int *shape) {
    pn_message *m = &g->m;
    const size_t value = pn_message_open(m, field);
    pn_message_text(m, VALUE_NAME, name);
    const size_t of_type = pn_message_open(m, VALUE_TYPE);
    const size_t tensor = pn_message_open(m, TYPE_TENSOR);
    pn_message_whole(m, ELEMENT_TYPE, type);
    const size_t of_shape = pn_message_open(m, SHAPE);
    for (int i = -1; i < rank; i++) {
        const size_t dim = pn_message_open(m, SHAPE_DIM);
        if (i < 0)
            pn_message_text(m, DIM_NAME, "batch");
        else
            pn_message_whole(m, DIM_VALUE, (uint64_t)shape[i]);
        pn_message_close(m, dim);
    }
    pn_message_close(m, of_shape);
    pn_message_close(m, tensor);
    pn_message_close(m, of_type);
    pn_message_close(m, value);
}

/* Which shifts are read by convolutions of their ReLU alone. */
static void find_positive(graph *g) {
    const pn_layers *all = g->layers;
    for (int i = 0; i < all->count; i++)
        if (all->layer[i].kind == PN_LAYER_SHIFT) g->positive[all->layer[i].output] = true;
    for (int i = 0; i < all->count; i++)
        for (int j = 0; j < all->layer[i].inputs; j++)
            if (!all->layer[i].relu) g->positive[all->layer[i].input[j]] = false;
}

static void add_graph(graph *g) {
    const pn_activation image = g->layers->activation[0];
    const size_t opened = pn_message_open(&g->m, MODEL_GRAPH);
    pn_message_text(&g->m, GRAPH_NAME, "evaluation network");
    find_positive(g);
    if (g->raw) add_normalisation(g);
    for (int i = 0; i < g->layers->count; i++) add_layer(g, &g->layers->layer[i]);
    add_value(g, GRAPH_INPUT, input_name, g->raw ? UINT8 : FLOAT, 3,
              (int[]){image.C, image.H, image.W});
    add_value(g, GRAPH_OUTPUT, output_name, FLOAT, 1,
              (int[]){g->layers->activation[g->layers->logits].C});
    pn_message_close(&g->m, opened);
}

/* ---- what it says of itself ------------------------------------------------------------------ */

static void add_meta(pn_message *m, const char *key, const char *text) {
    const size_t meta = pn_message_open(m, MODEL_META);
    pn_message_text(m, META_KEY, key);
    pn_message_text(m, META_TEXT, text);
    pn_message_close(m, meta);
}

/* A member of what is known of the images, as JSON; nothing if it is not there. */
static pn_status add_member(pn_message *m, const json_t *about, const char *key, const char *name) {
    json_t *value = json_object_get(about, key);
    char *text;
    if (!value) return PN_OK;
    PN_TRY(pn_json_text(json_incref(value), 0, JSON_REAL_PRECISION(9), &text));
    add_meta(m, name, text);
    free(text);
    return PN_OK;
}

static pn_status add_about(graph *g, const pn_arch *arch) {
    char genotype[PN_GENOTYPE_BYTES];
    pn_genotype_write(arch, genotype);
    add_meta(&g->m, "genotype", genotype);
    add_meta(&g->m, "images",
             g->raw ? "pixels, 0 to 255" : "(pixel / 255 - mean) / std of each channel");
    json_t *about = pn_images_json(g->images);
    pn_status s = about ? PN_OK : pn_fail(PN_EMEM, "no memory for metadata");
    if (s == PN_OK) s = add_member(&g->m, about, "mean", "mean");
    if (s == PN_OK) s = add_member(&g->m, about, "std", "std");
    if (s == PN_OK) s = add_member(&g->m, about, "names", "classes");
    json_decref(about);
    return s;
}

static pn_status make_model(graph *g, const pn_arch *arch) {
    pn_message_whole(&g->m, MODEL_IR, IR_VERSION);
    pn_message_text(&g->m, MODEL_PRODUCER, "parsec-nas");
    pn_message_text(&g->m, MODEL_PRODUCER_VERSION, PN_VERSION);
    add_graph(g);
    const size_t opset = pn_message_open(&g->m, MODEL_OPSET);
    pn_message_whole(&g->m, OPSET_VERSION, OPSET);
    pn_message_close(&g->m, opset);
    PN_TRY(add_about(g, arch));
    return pn_message_check(&g->m);
}

pn_status pn_onnx_write(const char *path, const pn_layers *layers, const pn_arch *arch,
                        const pn_images *images, bool raw, int *nodes) {
    if (raw && !images->measured)
        return pn_fail(PN_EARG,
                       "--raw of weights that do not say by which mean and deviation "
                       "images were normalised (before version 0.3)");
    graph g = {.layers = layers, .images = images, .raw = raw};
    g.rectified = calloc(2 * (size_t)layers->activations, sizeof *g.rectified);
    if (!g.rectified) return pn_fail(PN_EMEM, "no memory for a graph");
    g.positive = g.rectified + layers->activations;
    pn_status s = make_model(&g, arch);
    if (s == PN_OK) s = pn_file_write(path, g.m.data, g.m.bytes);
    *nodes = g.nodes;
    pn_message_free(&g.m);
    free(g.rectified);
    return s;
}
