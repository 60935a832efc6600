/* onnx.c -- see onnx.h. */
#include "tests/support/onnx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { NAME = PN_ONNX_NAME };

#define MUST(condition) PN_DEMAND(condition, "line %d: want %s", __LINE__, #condition)

/* ---- the wire format ------------------------------------------------------------------------- */

static unsigned char take_byte(pn_bytes *from) {
    PN_DEMAND(from->count, "the message ends in a field");
    from->count--;
    return *from->at++;
}

static uint64_t take_varint(pn_bytes *from) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const unsigned char byte = take_byte(from);
        PN_DEMAND(shift < 63 || byte <= 1, "a varint of more than 64 bits");
        value |= (uint64_t)(byte & 127) << shift;
        PN_DEMAND(byte || !shift, "a varint with a zero at its end");
        if (byte < 128) return value;
    }
}

bool pn_take_field(pn_bytes *from, pn_wire_field *f) {
    if (!from->count) return false;
    const uint64_t key = take_varint(from);
    *f = (pn_wire_field){.number = (int)(key >> 3), .wire = (int)(key & 7)};
    if (f->wire == 0) {
        f->whole = take_varint(from);
    } else if (f->wire == 5) {
        for (int i = 0; i < 4; i++) f->whole |= (uint64_t)take_byte(from) << 8 * i;
    } else {
        PN_DEMAND(f->wire == 2, "field %d of wire type %d", f->number, f->wire);
        f->data.count = take_varint(from);
        f->data.at = from->at;
        PN_DEMAND(f->data.count <= from->count, "field %d is longer than its message", f->number);
        from->at += f->data.count;
        from->count -= f->data.count;
    }
    return true;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void take_text(const pn_wire_field *f, char *text, size_t room) {
    PN_DEMAND(f->wire == 2 && f->data.count && f->data.count < room,
              "field %d: a text of %zu bytes", f->number, f->data.count);
    memcpy(text, f->data.at, f->data.count);
    text[f->data.count] = 0;
    assert_int_equal(strlen(text), f->data.count);
}

static int64_t take_whole(const pn_wire_field *f) {
    PN_DEMAND(f->wire == 0, "field %d: wire type %d, want a varint", f->number, f->wire);
    return (int64_t)f->whole;
}

static pn_bytes take_message(const pn_wire_field *f) {
    PN_DEMAND(f->wire == 2, "field %d: wire type %d, want a message", f->number, f->wire);
    return f->data;
}

static void unknown(const char *message, const pn_wire_field *f) {
    PN_DEMAND(false, "%s: field %d is unknown", message, f->number);
}

static pn_onnx_attribute read_attribute(pn_bytes m) {
    pn_onnx_attribute a = {0};
    for (pn_wire_field f; pn_take_field(&m, &f);) {
        if (f.number == 1) {
            take_text(&f, a.name, NAME);
        } else if (f.number == 2) {
            const uint32_t bits = (uint32_t)f.whole;
            assert_int_equal(f.wire, 5);
            memcpy(&a.f, &bits, sizeof bits);
        } else if (f.number == 3) {
            a.i = take_whole(&f);
        } else if (f.number == 8) {
            MUST(a.count < 8);
            a.ints[a.count++] = take_whole(&f);
        } else if (f.number == 20) {
            a.type = (int)take_whole(&f);
        } else {
            unknown("attribute", &f);
        }
    }
    return a;
}

static pn_onnx_node read_node(pn_bytes m) {
    pn_onnx_node n = {0};
    for (pn_wire_field f; pn_take_field(&m, &f);) {
        if (f.number == 1) {
            MUST(n.inputs < PN_ONNX_INPUTS);
            take_text(&f, n.input[n.inputs++], NAME);
        } else if (f.number == 2) {
            take_text(&f, n.output, NAME);
        } else if (f.number == 3) {
            take_text(&f, n.name, NAME);
        } else if (f.number == 4) {
            take_text(&f, n.op, NAME);
        } else if (f.number == 5) {
            MUST(n.attributes < PN_ONNX_ATTRIBUTES);
            n.attribute[n.attributes++] = read_attribute(take_message(&f));
        } else {
            unknown("node", &f);
        }
    }
    return n;
}

static pn_onnx_tensor read_tensor(pn_bytes m) {
    pn_onnx_tensor t = {0};
    size_t count = 1;
    for (pn_wire_field f; pn_take_field(&m, &f);) {
        if (f.number == 1) {
            MUST(t.rank < 4);
            t.dim[t.rank] = take_whole(&f);
            MUST(t.dim[t.rank] >= 1);
            count *= (size_t)t.dim[t.rank++];
        } else if (f.number == 2) {
            t.type = (int)take_whole(&f);
        } else if (f.number == 8) {
            take_text(&f, t.name, NAME);
        } else if (f.number == 9) {
            t.raw = take_message(&f);
        } else {
            unknown("tensor", &f);
        }
    }
    PN_DEMAND(t.type == PN_ONNX_FLOAT || t.type == PN_ONNX_INT64, "%s of type %d", t.name, t.type);
    PN_DEMAND(t.raw.count == count * (t.type == PN_ONNX_FLOAT ? sizeof(float) : sizeof(int64_t)),
              "%s: %zu bytes for %zu elements", t.name, t.raw.count, count);
    return t;
}

static pn_onnx_value read_value(pn_bytes m) {
    pn_onnx_value v = {.rank = -1};
    pn_bytes type = {0}, shape = {0};
    for (pn_wire_field f; pn_take_field(&m, &f);) {
        if (f.number == 1) {
            take_text(&f, v.name, NAME);
        } else if (f.number == 2) {
            type = take_message(&f);
        } else {
            unknown("value", &f);
        }
    }
    pn_wire_field f;
    MUST(pn_take_field(&type, &f) && f.number == 1 && !type.count);
    type = take_message(&f);
    while (pn_take_field(&type, &f)) {
        if (f.number == 1) {
            v.type = (int)take_whole(&f);
        } else if (f.number == 2) {
            shape = take_message(&f);
        } else {
            unknown("type", &f);
        }
    }
    while (pn_take_field(&shape, &f)) {
        pn_bytes dim = take_message(&f);
        assert_int_equal(f.number, 1);
        MUST(pn_take_field(&dim, &f) && !dim.count && v.rank < 3);
        assert_int_equal(f.number, v.rank < 0 ? 2 : 1);
        if (v.rank < 0)
            take_text(&f, v.batch, NAME);
        else
            v.dim[v.rank] = take_whole(&f);
        v.rank++;
    }
    return v;
}

static void read_graph(pn_onnx_model *m, pn_bytes graph) {
    char name[NAME] = "";
    int inputs = 0, outputs = 0;
    for (pn_wire_field f; pn_take_field(&graph, &f);) {
        if (f.number == 1) {
            MUST(m->nodes < PN_ONNX_NODES);
            m->node[m->nodes++] = read_node(take_message(&f));
        } else if (f.number == 2) {
            take_text(&f, name, NAME);
        } else if (f.number == 5) {
            MUST(m->tensors < PN_ONNX_TENSORS);
            m->tensor[m->tensors++] = read_tensor(take_message(&f));
        } else if (f.number == 11) {
            m->input = read_value(take_message(&f));
            inputs++;
        } else if (f.number == 12) {
            m->output = read_value(take_message(&f));
            outputs++;
        } else {
            unknown("graph", &f);
        }
    }
    MUST(*name);
    assert_int_equal(inputs, 1);
    assert_int_equal(outputs, 1);
}

static void read_pair(pn_bytes pair, char into[2][PN_ONNX_META]) {
    for (pn_wire_field f; pn_take_field(&pair, &f);) {
        MUST(f.number == 1 || f.number == 2);
        take_text(&f, into[f.number - 1], PN_ONNX_META);
    }
}

/* Everything in the file; free it by pn_onnx_free. */
pn_onnx_model *pn_onnx_read(const char *path) {
    pn_onnx_model *m = calloc(1, sizeof *m);
    size_t size;
    MUST(m);
    assert_int_equal(pn_file_read(path, 1 << 26, &m->file, &size), PN_OK);
    pn_bytes rest = {m->file, size};
    char text[NAME];
    int64_t ir = 0, opset = 0, graphs = 0;
    for (pn_wire_field f; pn_take_field(&rest, &f);) {
        if (f.number == 1) {
            ir = take_whole(&f);
        } else if (f.number == 2) {
            take_text(&f, text, NAME);
            assert_string_equal(text, "parsec-nas");
        } else if (f.number == 3) {
            take_text(&f, text, NAME);
            assert_string_equal(text, PN_VERSION);
        } else if (f.number == 7) {
            read_graph(m, take_message(&f));
            graphs++;
        } else if (f.number == 8) {
            pn_bytes set = take_message(&f);
            MUST(pn_take_field(&set, &f) && f.number == 2 && !set.count);
            opset = take_whole(&f);
        } else if (f.number == 14) {
            MUST(m->metas < PN_ONNX_METAS);
            read_pair(take_message(&f), m->meta[m->metas++]);
        } else {
            unknown("model", &f);
        }
    }
    assert_int_equal(ir, 7);
    assert_int_equal(opset, 13);
    assert_int_equal(graphs, 1);
    return m;
}

void pn_onnx_free(pn_onnx_model *m) {
    free(m->file);
    free(m);
}

const char *pn_onnx_meta(const pn_onnx_model *m, const char *key) {
    for (int i = 0; i < m->metas; i++)
        if (!strcmp(m->meta[i][0], key)) return m->meta[i][1];
    return NULL;
}

/* ---- the graph ------------------------------------------------------------------------------- */

static const struct {
    const char *name, *attributes; /* name:type, 1 float, 2 int, 7 ints */
    int least, most;               /* inputs */
} ops[] = {
    {"Conv", "kernel_shape:7 strides:7 pads:7 dilations:7 group:2 ", 2, 3},
    {"BatchNormalization", "epsilon:1 ", 5, 5},
    {"Relu", "", 1, 1},
    {"MaxPool", "kernel_shape:7 strides:7 pads:7 ", 1, 1},
    {"AveragePool", "kernel_shape:7 strides:7 pads:7 count_include_pad:2 ", 1, 1},
    {"Add", "", 2, 2},
    {"Concat", "axis:2 ", 2, 4},
    {"Slice", "", 4, 4},
    {"Pad", "", 2, 2},
    {"GlobalAveragePool", "", 1, 1},
    {"Flatten", "", 1, 1},
    {"Gemm", "transB:2 ", 3, 3},
    {"Cast", "to:2 ", 1, 1},
    {"Div", "", 2, 2},
    {"Sub", "", 2, 2},
};
enum { OPS = sizeof ops / sizeof *ops };

pn_onnx_tensor *pn_onnx_find_tensor(pn_onnx_model *m, const char *name) {
    for (int i = 0; i < m->tensors; i++)
        if (!strcmp(m->tensor[i].name, name)) {
            m->tensor[i].read = true;
            return &m->tensor[i];
        }
    return NULL;
}

/* The node that makes a value: an index below `before`, or -1. */
static int find_producer(const pn_onnx_model *m, const char *value, int before) {
    for (int i = 0; i < before; i++)
        if (!strcmp(m->node[i].output, value)) return i;
    return -1;
}

static void check_node(pn_onnx_model *m, int i, bool *read) {
    const pn_onnx_node *n = &m->node[i];
    char attributes[256] = "";
    int op = 0;
    while (op < OPS && strcmp(ops[op].name, n->op)) op++;
    PN_DEMAND(op < OPS, "%s: op %s is unknown", n->name, n->op);
    PN_DEMAND(n->inputs >= ops[op].least && n->inputs <= ops[op].most, "%s: %d inputs", n->name,
              n->inputs);
    for (int j = 0; j < n->attributes; j++) {
        const size_t used = strlen(attributes);
        snprintf(attributes + used, sizeof attributes - used, "%s:%d ", n->attribute[j].name,
                 n->attribute[j].type);
    }
    assert_string_equal(attributes, ops[op].attributes);
    PN_DEMAND(find_producer(m, n->output, i) < 0, "two nodes make %s", n->output);
    for (int j = 0; j < i; j++) assert_string_not_equal(m->node[j].name, n->name);
    for (int j = 0; j < n->inputs; j++) {
        const int producer = find_producer(m, n->input[j], i);
        if (producer >= 0)
            read[producer] = true;
        else
            PN_DEMAND(!strcmp(n->input[j], "images") || pn_onnx_find_tensor(m, n->input[j]),
                      "%s reads %s, which no node before it makes", n->name, n->input[j]);
    }
}

/* What onnx.checker looks at, and that nothing is there in vain. */
void pn_onnx_check(pn_onnx_model *m) {
    bool read[PN_ONNX_NODES] = {false};
    for (int i = 0; i < m->nodes; i++) check_node(m, i, read);
    assert_int_equal(find_producer(m, "logits", m->nodes), m->nodes - 1);
    for (int i = 0; i < m->nodes - 1; i++)
        PN_DEMAND(read[i], "nothing reads %s", m->node[i].output);
    for (int i = 0; i < m->tensors; i++) {
        PN_DEMAND(m->tensor[i].read, "nothing reads %s", m->tensor[i].name);
        for (int j = 0; j < i; j++) assert_string_not_equal(m->tensor[i].name, m->tensor[j].name);
    }
}

/* ---- what it computes ------------------------------------------------------------------------ */

/* The value of one image. */
typedef struct value {
    int C, H, W;
    double *d;
} value;

/* All values of an evaluation. */
enum { POOL = 1 << 22 };
static double *pool;
static size_t pool_used;

static value new_value(int C, int H, int W) {
    const size_t count = (size_t)C * (size_t)H * (size_t)W;
    MUST(C > 0 && H > 0 && W > 0 && count <= POOL - pool_used);
    pool_used += count;
    return (value){C, H, W, pool + pool_used - count};
}

static size_t elements(const value *v) { return (size_t)v->C * (size_t)v->H * (size_t)v->W; }

static double *pixel(const value *v, int c, int h, int w) {
    return &v->d[((size_t)c * (size_t)v->H + (size_t)h) * (size_t)v->W + (size_t)w];
}

static double at(const pn_onnx_tensor *t, size_t i) {
    float x;
    int64_t whole;
    if (t->type == PN_ONNX_INT64) {
        memcpy(&whole, t->raw.at + i * sizeof whole, sizeof whole);
        return (double)whole;
    }
    memcpy(&x, t->raw.at + i * sizeof x, sizeof x);
    return (double)x;
}

pn_onnx_attribute *pn_onnx_find_attribute(pn_onnx_node *n, const char *name) {
    for (int i = 0; i < n->attributes; i++)
        if (!strcmp(n->attribute[i].name, name)) return &n->attribute[i];
    return NULL;
}

static const pn_onnx_attribute *attribute_of(pn_onnx_node *n, const char *name) {
    const pn_onnx_attribute *found = pn_onnx_find_attribute(n, name);
    PN_DEMAND(found, "%s has no %s", n->name, name);
    return found;
}

static const pn_onnx_tensor *tensor_of(pn_onnx_model *m, const char *name) {
    const pn_onnx_tensor *found = pn_onnx_find_tensor(m, name);
    PN_DEMAND(found, "no tensor %s", name);
    return found;
}

/* Sizes of a window: kernel, strides, pads (begin, begin, end, end), dilations. */
typedef struct window {
    int64_t R[2], stride[2], pad[4], dilation[2];
} window;

static window window_of(pn_onnx_node *n) {
    window w = {.dilation = {1, 1}};
    const pn_onnx_attribute *dilation = pn_onnx_find_attribute(n, "dilations");
    memcpy(w.R, attribute_of(n, "kernel_shape")->ints, sizeof w.R);
    memcpy(w.stride, attribute_of(n, "strides")->ints, sizeof w.stride);
    memcpy(w.pad, attribute_of(n, "pads")->ints, sizeof w.pad);
    if (dilation) memcpy(w.dilation, dilation->ints, sizeof w.dilation);
    return w;
}

static int size_behind(const window *w, int axis, int edge) {
    return (
        int)((edge + w->pad[axis] + w->pad[axis + 2] - w->dilation[axis] * (w->R[axis] - 1) - 1) /
                 w->stride[axis] +
             1);
}

/* The pixel under a tap of output (p,q), NULL: padding. */
static const double *under(const window *w, const value *x, int c, int p, int q, int i, int j) {
    const int64_t h = p * w->stride[0] + i * w->dilation[0] - w->pad[0],
                  v = q * w->stride[1] + j * w->dilation[1] - w->pad[1];
    return h < 0 || h >= x->H || v < 0 || v >= x->W ? NULL : pixel(x, c, (int)h, (int)v);
}

static value eval_conv(pn_onnx_model *m, pn_onnx_node *n, const value *x) {
    const pn_onnx_tensor *weight = tensor_of(m, n->input[1]),
                         *bias = n->inputs > 2 ? tensor_of(m, n->input[2]) : NULL;
    const window w = window_of(n);
    const int groups = (int)attribute_of(n, "group")->i, O = (int)weight->dim[0],
              I = (int)weight->dim[1];
    MUST(weight->rank == 4 && weight->dim[2] == w.R[0] && weight->dim[3] == w.R[1]);
    MUST(groups >= 1 && x->C == groups * I && O % groups == 0);
    MUST(!bias || (bias->rank == 1 && bias->dim[0] == O));
    value y = new_value(O, size_behind(&w, 0, x->H), size_behind(&w, 1, x->W));
    for (int o = 0; o < O; o++)
        for (int p = 0; p < y.H; p++)
            for (int q = 0; q < y.W; q++) {
                double sum = bias ? at(bias, (size_t)o) : 0;
                size_t k = (size_t)o * (size_t)I * (size_t)(w.R[0] * w.R[1]);
                for (int c = 0; c < I; c++)
                    for (int i = 0; i < w.R[0]; i++)
                        for (int j = 0; j < w.R[1]; j++, k++) {
                            const double *v = under(&w, x, o / (O / groups) * I + c, p, q, i, j);
                            if (v) sum += at(weight, k) * *v;
                        }
                *pixel(&y, o, p, q) = sum;
            }
    return y;
}

static value eval_pool(pn_onnx_node *n, const value *x) {
    const window w = window_of(n);
    const bool max = !strcmp(n->op, "MaxPool");
    const bool counts = !max && attribute_of(n, "count_include_pad")->i;
    value y = new_value(x->C, size_behind(&w, 0, x->H), size_behind(&w, 1, x->W));
    for (int c = 0; c < y.C; c++)
        for (int p = 0; p < y.H; p++)
            for (int q = 0; q < y.W; q++) {
                double sum = 0, most = -INFINITY, taps = 0;
                for (int i = 0; i < w.R[0]; i++)
                    for (int j = 0; j < w.R[1]; j++) {
                        const double *v = under(&w, x, c, p, q, i, j);
                        taps += v || counts;
                        sum += v ? *v : 0;
                        if (v && *v > most) most = *v;
                    }
                *pixel(&y, c, p, q) = max ? most : sum / taps;
            }
    return y;
}

static value eval_norm(pn_onnx_model *m, pn_onnx_node *n, const value *x) {
    const pn_onnx_tensor *part[4];
    value y = new_value(x->C, x->H, x->W);
    const double eps = (double)attribute_of(n, "epsilon")->f;
    for (int i = 0; i < 4; i++) {
        part[i] = tensor_of(m, n->input[1 + i]);
        MUST(part[i]->rank == 1 && part[i]->dim[0] == x->C);
    }
    for (size_t i = 0; i < elements(x); i++) {
        const size_t c = i / ((size_t)x->H * (size_t)x->W);
        y.d[i] = at(part[0], c) * (x->d[i] - at(part[2], c)) / sqrt(at(part[3], c) + eps) +
                 at(part[1], c);
    }
    return y;
}

static value eval_pad(pn_onnx_model *m, pn_onnx_node *n, const value *x) {
    const pn_onnx_tensor *pads = tensor_of(m, n->input[1]); /* begins of N,C,H,W, then ends */
    MUST(pads->rank == 1 && pads->dim[0] == 8);
    for (size_t i = 0; i < 6; i++) MUST(at(pads, i) == 0);
    value y = new_value(x->C, x->H + (int)at(pads, 6), x->W + (int)at(pads, 7));
    for (int c = 0; c < x->C; c++)
        for (int h = 0; h < x->H; h++)
            for (int w = 0; w < x->W; w++) *pixel(&y, c, h, w) = *pixel(x, c, h, w);
    return y;
}

static value eval_slice(pn_onnx_model *m, pn_onnx_node *n, const value *x) {
    const pn_onnx_tensor *starts = tensor_of(m, n->input[1]), *ends = tensor_of(m, n->input[2]),
                         *axes = tensor_of(m, n->input[3]);
    const int down = (int)at(starts, 0), right = (int)at(starts, 1);
    MUST(at(axes, 0) == 2 && at(axes, 1) == 3);
    MUST(at(ends, 0) >= x->H && at(ends, 1) >= x->W); /* to the end */
    value y = new_value(x->C, x->H - down, x->W - right);
    for (int c = 0; c < y.C; c++)
        for (int h = 0; h < y.H; h++)
            for (int w = 0; w < y.W; w++) *pixel(&y, c, h, w) = *pixel(x, c, h + down, w + right);
    return y;
}

static value eval_concat(pn_onnx_node *n, const value *const *x) {
    int C = 0;
    size_t done = 0;
    assert_int_equal(attribute_of(n, "axis")->i, 1);
    for (int i = 0; i < n->inputs; i++) {
        MUST(x[0] && x[i] && x[i]->H == x[0]->H && x[i]->W == x[0]->W);
        C += x[i]->C;
    }
    value y = new_value(C, x[0]->H, x[0]->W);
    for (int i = 0; i < n->inputs; done += elements(x[i++]))
        memcpy(y.d + done, x[i]->d, elements(x[i]) * sizeof *y.d);
    return y;
}

static value eval_gemm(pn_onnx_model *m, pn_onnx_node *n, const value *x) {
    const pn_onnx_tensor *weight = tensor_of(m, n->input[1]), *bias = tensor_of(m, n->input[2]);
    const int O = (int)weight->dim[0];
    assert_int_equal(attribute_of(n, "transB")->i, 1);
    MUST(weight->rank == 2 && (size_t)weight->dim[1] == elements(x));
    MUST(bias->rank == 1 && bias->dim[0] == O);
    value y = new_value(O, 1, 1);
    for (size_t o = 0; o < (size_t)O; o++) {
        y.d[o] = at(bias, o);
        for (size_t c = 0; c < elements(x); c++)
            y.d[o] += at(weight, o * elements(x) + c) * x->d[c];
    }
    return y;
}

/* Element by element: of one value, of two, or with a constant (C,1,1) or (1,1,1). */
static value eval_plain(pn_onnx_model *m, pn_onnx_node *n, const value *x, const value *other) {
    const pn_onnx_tensor *constant = n->inputs > 1 && !other ? tensor_of(m, n->input[1]) : NULL;
    const size_t plane = (size_t)x->H * (size_t)x->W;
    value y = new_value(x->C, x->H, x->W);
    if (constant)
        MUST(constant->rank == 3 && (constant->dim[0] == x->C || constant->dim[0] == 1) &&
             constant->dim[1] == 1 && constant->dim[2] == 1);
    if (!strcmp(n->op, "Cast")) assert_int_equal(attribute_of(n, "to")->i, PN_ONNX_FLOAT);
    for (size_t i = 0; i < elements(x); i++) {
        const double b = other      ? other->d[i]
                         : constant ? at(constant, constant->dim[0] > 1 ? i / plane : 0)
                                    : 0;
        y.d[i] = !strcmp(n->op, "Relu")  ? fmax(x->d[i], 0)
                 : !strcmp(n->op, "Add") ? x->d[i] + b
                 : !strcmp(n->op, "Sub") ? x->d[i] - b
                 : !strcmp(n->op, "Div") ? x->d[i] / b
                                         : x->d[i]; /* Cast, Flatten */
    }
    return y;
}

static value eval_mean(const value *x) {
    const size_t plane = (size_t)x->H * (size_t)x->W;
    value y = new_value(x->C, 1, 1);
    for (size_t i = 0; i < elements(x); i++) y.d[i / plane] += x->d[i] / (double)plane;
    return y;
}

/* The logits of one image (C,H,W). */
void pn_onnx_evaluate(pn_onnx_model *m, const double *image, double *logits) {
    const size_t classes = (size_t)m->output.dim[0];
    value made[PN_ONNX_NODES] = {{0}};
    pool = calloc(POOL, sizeof *pool);
    pool_used = 0;
    MUST(pool);
    value input = new_value((int)m->input.dim[0], (int)m->input.dim[1], (int)m->input.dim[2]);
    memcpy(input.d, image, elements(&input) * sizeof *image);
    for (int i = 0; i < m->nodes; i++) {
        pn_onnx_node *n = &m->node[i];
        const value *x[PN_ONNX_INPUTS] = {NULL};
        for (int j = 0; j < n->inputs; j++) {
            const int producer = find_producer(m, n->input[j], i);
            x[j] = producer >= 0 ? &made[producer] : !strcmp(n->input[j], "images") ? &input : NULL;
        }
        MUST(x[0]);
        made[i] = !strcmp(n->op, "Conv")                 ? eval_conv(m, n, x[0])
                  : !strcmp(n->op, "BatchNormalization") ? eval_norm(m, n, x[0])
                  : strstr(n->op, "Global")              ? eval_mean(x[0])
                  : strstr(n->op, "Pool")                ? eval_pool(n, x[0])
                  : !strcmp(n->op, "Pad")                ? eval_pad(m, n, x[0])
                  : !strcmp(n->op, "Slice")              ? eval_slice(m, n, x[0])
                  : !strcmp(n->op, "Concat")             ? eval_concat(n, x)
                  : !strcmp(n->op, "Gemm")               ? eval_gemm(m, n, x[0])
                                                         : eval_plain(m, n, x[0], x[1]);
    }
    assert_int_equal(elements(&made[m->nodes - 1]), classes);
    MUST(made[m->nodes - 1].d);
    memcpy(logits, made[m->nodes - 1].d, classes * sizeof *logits);
    free(pool);
}
