/* test_onnx.c -- a network as ONNX. A reader of our own (support/onnx.h) evaluates the file, and it
 * must give the logits that the twins of our kernels give (pn_whole_reference). */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/export/onnx.h"
#include "search/export/protobuf.h"
#include "search/network/weights.h"
#include "search/network/whole.h"
#include "tests/support/onnx.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* ---- the wire format ------------------------------------------------------------------------- */

/* Examples of the format's own description. */
static void a_message_by_hand(void **state) {
    (void)state;
    static const unsigned char want[] = {0x08, 0x96, 0x01,                                 /* 150 */
                                         0x12, 0x07, 't',  'e',  's',  't', 'i', 'n', 'g', /* */
                                         0x1a, 0x03, 0x08, 0x96, 0x01,        /* nested */
                                         0xa5, 0x01, 0x00, 0x00, 0xc0, 0x3f}; /* 1.5 */
    pn_message m = {0};
    pn_message_whole(&m, 1, 150);
    pn_message_text(&m, 2, "testing");
    const size_t nested = pn_message_open(&m, 3);
    pn_message_whole(&m, 1, 150);
    pn_message_close(&m, nested);
    pn_message_float(&m, 20, 1.5F);
    assert_int_equal(pn_message_check(&m), PN_OK);
    assert_int_equal(m.bytes, sizeof want);
    assert_memory_equal(m.data, want, sizeof want);
    pn_message_free(&m);
}

/* Around the sizes at which a varint, a key or a length becomes longer. */
static void messages_of_every_length(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 126, 127, 128, 129, 16382, 16383, 16384, 2097152};
    enum { LENGTHS = sizeof lengths / sizeof *lengths };
    for (int i = 0; i < LENGTHS; i++) {
        pn_message m = {0};
        pn_wire_field f;
        unsigned char *data = malloc(lengths[i] + 1);
        assert_non_null(data);
        for (size_t j = 0; j < lengths[i]; j++) data[j] = (unsigned char)(j * 7 + j / 256);
        const size_t outer = pn_message_open(&m, 1), inner = pn_message_open(&m, 16);
        pn_message_bytes(&m, 2047, data, lengths[i]);
        pn_message_close(&m, inner);
        pn_message_close(&m, outer);
        pn_message_whole(&m, 2, lengths[i]);
        pn_message_whole(&m, 3, UINT64_MAX - lengths[i]);
        pn_bytes rest = {m.data, m.bytes};
        assert_true(pn_take_field(&rest, &f) && f.number == 1);
        pn_bytes nested = f.data;
        assert_true(pn_take_field(&nested, &f) && f.number == 16 && !nested.count);
        nested = f.data;
        assert_true(pn_take_field(&nested, &f) && f.number == 2047 && !nested.count);
        assert_int_equal(f.data.count, lengths[i]);
        assert_memory_equal(f.data.at, data, lengths[i]);
        assert_true(pn_take_field(&rest, &f) && f.number == 2 && f.whole == lengths[i]);
        assert_true(pn_take_field(&rest, &f) && f.number == 3 &&
                    f.whole == UINT64_MAX - lengths[i]);
        assert_false(pn_take_field(&rest, &f));
        free(data);
        pn_message_free(&m);
    }
}

/* ---- networks -------------------------------------------------------------------------------- */

enum { IMAGES = 2, CLASSES = 5, MOST_PIXELS = 48 * 48 * 3 };

/* A row has a reason to be here. */
typedef struct network_case {
    const char *why, *genotype;
    int layers, channels, H, W, C;
    bool imagenet_stem, pool_norm;
} network_case;

static const network_case cases[] = {
    {"odd edges: a Pad of a row and a column", "PDARTS", 3, 4, 9, 7, 3, false, false},
    {"one edge is odd; grey", "DARTS_V1", 3, 4, 6, 5, 1, false, false},
    {"even edges need no Pad; two reductions in a row", "DARTS_V2", 2, 4, 8, 4, 3, false, false},
    {"one pixel", "PC_DARTS_cifar", 3, 8, 1, 1, 3, false, false},
    {"one cell, a reduction", "PC_DARTS_cifar", 1, 4, 5, 5, 3, false, false},
    {"the ImageNet stem", "PDARTS", 3, 8, 35, 40, 3, true, false},
    {"cells and inputs that nothing reads",
     "normal s3@0 d5@0 | ap@0 s3@2 | sk@0 mp@0 | d3@0 s5@3 "
     "reduce sk@0 s5@0 | ap@0 d3@2 | mp@0 sk@0 | d5@3 s3@0",
     5, 4, 9, 8, 3, false, false},
    {"a term twice",
     "normal sk@0 sk@0 | mp@1 mp@1 | s3@2 s3@2 | ap@3 ap@3 "
     "reduce sk@0 sk@0 | ap@1 ap@1 | d3@0 d3@0 | sk@2 sk@2",
     3, 4, 7, 6, 3, false, false},
    {"nodes of 0 to 5 terms",
     "normal s3@1 mp@0 | sk@0 ap@2 d5@1 | s5@3 sk@1 no@0 mp@2 | d3@4 sk@0 s3@1 mp@3 ap@2 "
     "reduce sk@0 mp@1 | no@0 no@1 no@2 | s3@2 d3@3 sk@1 sk@0 | sk@4 sk@3 sk@2 s5@0 mp@1",
     3, 4, 7, 6, 3, false, false},
    {"norms behind pools",
     "normal s3@1 mp@0 | sk@0 ap@2 d5@1 | s5@3 sk@1 no@0 mp@2 | d3@4 sk@0 s3@1 mp@3 ap@2 "
     "reduce sk@0 mp@1 | no@0 no@1 no@2 | s3@2 d3@3 sk@1 sk@0 | sk@4 sk@3 sk@2 s5@0 mp@1",
     3, 4, 7, 6, 3, false, true},
    {"norms behind pools, a pool twice",
     "normal mp@0 mp@0 | mp@1 s3@1 | ap@2 ap@2 | ap@3 sk@3 "
     "reduce ap@0 ap@0 | mp@1 mp@1 | d3@0 mp@0 | sk@2 ap@2",
     4, 8, 8, 9, 1, false, true},
    {"empty nodes", "SNAS_aggressive", 4, 4, 6, 9, 3, false, false},
    {"nodes that are an input or one op",
     "normal s3@0 no@1 | no@0 sk@2 | sk@1 no@0 | no@4 sk@0 "
     "reduce no@0 mp@1 | no@2 sk@2 | sk@0 no@0 | no@0 s5@1",
     4, 4, 8, 5, 3, false, false},
    {"sums of inputs",
     "normal sk@0 sk@1 | sk@0 sk@1 sk@2 | sk@0 sk@1 sk@2 sk@3 | sk@0 sk@1 sk@2 sk@3 sk@4 "
     "reduce sk@0 sk@1 | sk@0 sk@1 sk@2 | sk@0 sk@1 sk@2 sk@3 | sk@0 sk@1 sk@2 sk@3 sk@4",
     3, 4, 6, 6, 1, false, false},
};
enum { CASES = sizeof cases / sizeof *cases };

/* How far the logits of one network may be from those of the twins, relative to the largest: the
 * sums are the same, in double, in another order. Folding rounds every weight once, as does an
 * instruction of float32, for which there is PN_LOGIT_BOUND. */
static const double exact_bound = 1e-11, folded_bound = PN_LOGIT_BOUND;

static const float mean[3] = {0.4914F, 0.4822F, 0.4465F}, deviation[3] = {0.247F, 0.2435F, 0.2616F};
static char *class_names[CLASSES] = {"cat", "dog", "\xc3\xa9tude", "\"quoted\"", "x y"};

/* A network with random weights and statistics, its images, and the twins' logits of them. */
typedef struct subject {
    pn_arch arch;
    pn_whole reference;
    double pixels[IMAGES][MOST_PIXELS], images[IMAGES][MOST_PIXELS]; /* (C,H,W) */
    double logits[IMAGES][CLASSES], largest;
} subject;

static void make_images(subject *s, const network_case *c) {
    const int C = c->C == 1 ? 1 : 3;
    double *image = s->reference.twin[1].d; /* (N,H,W,C) */
    for (int n = 0; n < IMAGES; n++)
        for (int i = 0; i < c->H * c->W; i++)
            for (int k = 0; k < C; k++, image++) {
                const int to = k * c->H * c->W + i;
                const double byte =
                    floor(256 * pn_uniform(7, PN_STREAM_TEST, (uint64_t)n, (uint64_t)to));
                s->pixels[n][to] = byte;
                s->images[n][to] = *image = (byte / 255 - (double)mean[k]) / (double)deviation[k];
            }
}

static void make_subject(subject *s, const network_case *c, uint64_t seed) {
    const pn_whole_case whole = {.spec = {.evaluation = true,
                                          .layers = c->layers,
                                          .channels = c->channels,
                                          .H = c->H,
                                          .W = c->W,
                                          .image_channels = c->C,
                                          .classes = CLASSES,
                                          .imagenet_stem = c->imagenet_stem,
                                          .pool_norm = c->pool_norm},
                                 .N = IMAGES,
                                 .inference = true};
    assert_int_equal(pn_genotype_open(c->genotype, &s->arch), PN_OK);
    assert_int_equal(pn_whole_reference(&s->reference, &whole, &s->arch, seed), PN_OK);
    make_images(s, c);
    assert_int_equal(pn_program_forward(s->reference.program), PN_OK);
    const double *logits = pn_at(&s->reference.twins, pn_program_logits(s->reference.program, 0));
    s->largest = 0;
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        s->logits[i / CLASSES][i % CLASSES] = logits[i];
        s->largest = fmax(s->largest, fabs(logits[i]));
    }
    assert_true(s->largest > 0.01);
}

static pn_images images_of(const pn_network_spec *spec) {
    pn_images images = {.H = spec->H,
                        .W = spec->W,
                        .C = spec->image_channels,
                        .classes = CLASSES,
                        .measured = true,
                        .names = class_names};
    memcpy(images.mean, mean, sizeof mean);
    memcpy(images.std, deviation, sizeof deviation);
    return images;
}

static pn_onnx_model *export_and_read(const subject *s, bool fold, bool raw) {
    const pn_images images = images_of(&s->reference.network.spec);
    pn_layers layers;
    int nodes;
    assert_int_equal(pn_layers_create(&s->reference.network, &s->arch, fold, &layers), PN_OK);
    assert_int_equal(
        pn_onnx_write(pn_in_folder("net.onnx"), &layers, &s->arch, &images, raw, &nodes), PN_OK);
    pn_layers_destroy(&layers);
    pn_onnx_model *m = pn_onnx_read(pn_in_folder("net.onnx"));
    assert_int_equal(m->nodes, nodes);
    return m;
}

/* The largest difference of a logit, relative to the largest logit. */
static double distance(pn_onnx_model *m, const subject *s, bool raw) {
    double worst = 0;
    for (int n = 0; n < IMAGES; n++) {
        double logits[CLASSES];
        pn_onnx_evaluate(m, raw ? s->pixels[n] : s->images[n], logits);
        for (int k = 0; k < CLASSES; k++)
            worst = fmax(worst, fabs(logits[k] - s->logits[n][k]) / s->largest);
    }
    return worst;
}

static void check_about(const pn_onnx_model *m, const subject *s, bool raw) {
    const pn_network_spec *spec = &s->reference.network.spec;
    const int64_t image[3] = {spec->image_channels, spec->H, spec->W};
    char genotype[PN_GENOTYPE_BYTES];
    pn_genotype_write(&s->arch, genotype);
    assert_string_equal(m->input.name, "images");
    assert_string_equal(m->input.batch, "batch");
    assert_int_equal(m->input.type, raw ? PN_ONNX_UINT8 : PN_ONNX_FLOAT);
    assert_int_equal(m->input.rank, 3);
    assert_memory_equal(m->input.dim, image, sizeof image);
    assert_string_equal(m->output.name, "logits");
    assert_string_equal(m->output.batch, "batch");
    assert_int_equal(m->output.type, PN_ONNX_FLOAT);
    assert_int_equal(m->output.rank, 1);
    assert_int_equal(m->output.dim[0], CLASSES);
    assert_int_equal(m->metas, 5);
    assert_string_equal(pn_onnx_meta(m, "genotype"), genotype);
    assert_string_equal(pn_onnx_meta(m, "classes"),
                        "[\"cat\", \"dog\", \"\xc3\xa9tude\", \"\\\"quoted\\\"\", \"x y\"]");
    assert_string_equal(pn_onnx_meta(m, "mean"),
                        image[0] == 1 ? "[0.4914]" : "[0.4914, 0.4822, 0.4465]");
    assert_string_equal(pn_onnx_meta(m, "std"),
                        image[0] == 1 ? "[0.247]" : "[0.247, 0.2435, 0.2616]");
    assert_non_null(
        strstr(pn_onnx_meta(m, "images"), raw ? "0 to 255" : "(pixel / 255 - mean) / std"));
}

static void the_graph_computes_what_the_network_computes(void **state) {
    (void)state;
    static subject s;
    for (int i = 0; i < CASES; i++) {
        make_subject(&s, &cases[i], 1 + (uint64_t)i);
        for (int variant = 0; variant < 4; variant++) {
            const bool fold = variant & 1, raw = variant & 2;
            pn_onnx_model *m = export_and_read(&s, fold, raw);
            pn_onnx_check(m);
            check_about(m, &s, raw);
            for (int j = 0; j < m->nodes; j++)
                assert_false(fold && !strcmp(m->node[j].op, "BatchNormalization"));
            const double far = distance(m, &s, raw);
            PN_DEMAND(far <= (fold ? folded_bound : exact_bound), "%s%s%s: off by %g", cases[i].why,
                      fold ? "" : ", not folded", raw ? ", raw" : "", far);
            pn_onnx_free(m);
        }
        pn_whole_destroy(&s.reference);
    }
}

/* ---- what must be seen ----------------------------------------------------------------------- */

static pn_onnx_node *find_node(pn_onnx_model *m, const char *op) {
    for (int i = m->nodes - 1; i >= 0; i--) /* near the logits, where nothing hides it */
        if (!strcmp(m->node[i].op, op)) return &m->node[i];
    PN_DEMAND(false, "no node %s", op);
    return NULL;
}

static void spoil_tensor(pn_onnx_model *m, const char *name, size_t i) {
    const float other = 3;
    memcpy(pn_onnx_find_tensor(m, name)->raw.at + i * sizeof other, &other, sizeof other);
}

static void count_padding(pn_onnx_model *m) {
    pn_onnx_find_attribute(find_node(m, "AveragePool"), "count_include_pad")->i = 1;
}
static void leave_out_shift(pn_onnx_model *m) {
    const int64_t zero[2] = {0, 0};
    memcpy(pn_onnx_find_tensor(m, "shift.starts")->raw.at, zero, sizeof zero);
}
static void leave_out_relu(pn_onnx_model *m) { strcpy(find_node(m, "Relu")->op, "Flatten"); }
static void leave_out_dilation(pn_onnx_model *m) {
    for (int i = 0; i < m->nodes; i++) {
        pn_onnx_attribute *dilation = pn_onnx_find_attribute(&m->node[i], "dilations");
        pn_onnx_attribute *pads = pn_onnx_find_attribute(&m->node[i], "pads");
        if (!dilation || dilation->ints[0] == 1) continue;
        for (int j = 0; j < 2; j++) dilation->ints[j] = 1;
        for (int j = 0; j < 4; j++) pads->ints[j] /= 2;
        return;
    }
    fail_msg("no dilation");
}
static void exchange_halves(pn_onnx_model *m) {
    for (int i = 0; i < m->nodes; i++)
        if (!strcmp(m->node[i].op, "Concat") && m->node[i].inputs == 2) {
            char name[PN_ONNX_NAME];
            memcpy(name, m->node[i].input[0], sizeof name);
            memcpy(m->node[i].input[0], m->node[i].input[1], sizeof name);
            memcpy(m->node[i].input[1], name, sizeof name);
            return;
        }
    fail_msg("no factorized reduce");
}
static void other_pool(pn_onnx_model *m) { strcpy(find_node(m, "AveragePool")->op, "MaxPool"); }
static void other_deviation(pn_onnx_model *m) { spoil_tensor(m, "images.std", 2); }
static void other_epsilon(pn_onnx_model *m) {
    pn_onnx_find_attribute(find_node(m, "BatchNormalization"), "epsilon")->f = 1e-3F;
}
static void other_bias(pn_onnx_model *m) { spoil_tensor(m, "classifier.bias", CLASSES - 1); }
static void other_shift(pn_onnx_model *m) { spoil_tensor(m, "cells.2.preprocess0.bn.bias", 0); }
static void other_weight(pn_onnx_model *m) { spoil_tensor(m, "stem.0.weight", 5); }

/* A comparison that finds nothing wrong with these proves nothing. */
static void another_graph_is_seen(void **state) {
    (void)state;
    static const struct {
        const char *why;
        void (*spoil)(pn_onnx_model *m);
    } faults[] = {
        {"an average that counts its padding", count_padding},
        {"a factorized reduce without its shift", leave_out_shift},
        {"a ReLU left out", leave_out_relu},
        {"a dilation left out", leave_out_dilation},
        {"halves of a reduce exchanged", exchange_halves},
        {"a maximum for an average", other_pool},
        {"another deviation of the pixels", other_deviation},
        {"another epsilon", other_epsilon},
        {"another bias of the classifier", other_bias},
        {"another shift of a BatchNorm", other_shift},
        {"another weight of the stem", other_weight},
    };
    static const network_case odd = {"", "PDARTS", 3, 4, 9, 7, 3, false, false};
    static subject s;
    make_subject(&s, &odd, 1);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        pn_onnx_model *m = export_and_read(&s, false, true);
        faults[i].spoil(m);
        const double far = distance(m, &s, true);
        PN_DEMAND(far > 2 * folded_bound, "not seen (%g): %s", far, faults[i].why);
        pn_onnx_free(m);
    }
    pn_whole_destroy(&s.reference);
}

static void raw_images_want_a_mean(void **state) {
    (void)state;
    static subject s;
    pn_layers layers;
    int nodes;
    make_subject(&s, &cases[4], 1);
    assert_int_equal(pn_layers_create(&s.reference.network, &s.arch, true, &layers), PN_OK);
    const pn_images unknown_mean = {.C = 3, .classes = CLASSES};
    assert_int_equal(
        pn_onnx_write(pn_in_folder("none.onnx"), &layers, &s.arch, &unknown_mean, true, &nodes),
        PN_EARG);
    assert_non_null(strstr(pn_error(), "--raw"));
    pn_path_kind kind;
    assert_int_equal(pn_path_look(pn_in_folder("none.onnx"), &kind), PN_OK);
    assert_int_equal(kind, PN_PATH_NOTHING);
    pn_layers_destroy(&layers);
    pn_whole_destroy(&s.reference);
}

/* ---- the command ----------------------------------------------------------------------------- */

enum { LIMIT = 60 };

/* Runs the program in the folder; gives its exit code, and what it said on stderr in `said`. */
static int run(const char *const *words, const pn_conditions *also, char said[2048]) {
    const char *argv[16] = {PN_PROGRAM, "export"};
    pn_conditions where = also ? *also : (pn_conditions){0};
    pn_process p;
    int n = 2;
    for (; *words; words++) {
        assert_true(n < 15);
        argv[n++] = *words;
    }
    where.folder = pn_folder;
    pn_process_run(&p, argv, &where, LIMIT);
    snprintf(said, 2048, "%s", p.err);
    assert_string_equal(p.out, "");
    const int code = p.code;
    pn_process_free(&p);
    return code;
}
#define RUN(said, ...) run((const char *const[]){__VA_ARGS__, NULL}, NULL, said)

/* Weights of a network in the folder, as a training leaves them; or one of version 0.2, which did
 * not know what images they take. */
static void save_weights(subject *s, bool know_images) {
    make_subject(s, &cases[1], 3);
    const pn_images images = images_of(&s->reference.network.spec);
    assert_int_equal(pn_weights_save(NULL, pn_in_folder("w.safetensors"), &s->reference.network,
                                     &s->arch, know_images ? &images : NULL, 1, false),
                     PN_OK);
}

static void the_command_writes_what_was_asked_for(void **state) {
    (void)state;
    static subject s;
    char said[2048];
    save_weights(&s, true);
    assert_int_equal(RUN(said, "w.safetensors", "--onnx", "n.onnx", "--safetensors", "copy",
                         "--dot", "cells.dot", "--svg", "cells.svg"),
                     0);
    pn_onnx_model *m = pn_onnx_read(pn_in_folder("n.onnx"));
    pn_onnx_check(m);
    assert_true(distance(m, &s, false) <= folded_bound);
    char want[64];
    snprintf(want, sizeof want, "n.onnx: %d nodes, ", m->nodes);
    assert_non_null(strstr(said, want));
    pn_onnx_free(m);
    assert_int_equal(RUN(said, "w.safetensors", "--onnx", "n.onnx", "--no-fold"), 0);
    m = pn_onnx_read(pn_in_folder("n.onnx"));
    assert_true(distance(m, &s, false) <= exact_bound);
    pn_onnx_free(m);
    assert_int_equal(RUN(said, "w.safetensors", "--onnx", "n.onnx", "--raw"), 0);
    m = pn_onnx_read(pn_in_folder("n.onnx"));
    assert_true(distance(m, &s, true) <= folded_bound);
    check_about(m, &s, true);
    pn_onnx_free(m);
    pn_whole_destroy(&s.reference);
    assert_int_equal(RUN(said, "--genotype", "DARTS_V2", "--svg", "v2.svg"), 0);
    char *left = pn_folder_text(pn_folder, NULL);
    for (int i = 0; i < 4; i++)
        assert_non_null(
            strstr(left, (const char *[]){"copy ", "cells.dot ", "cells.svg ", "v2.svg "}[i]));
    assert_null(strstr(left, ".tmp"));
    free(left);
}

static void the_command_refuses(void **state) {
    (void)state;
    static subject s;
    char said[2048];
    save_weights(&s, false);
    pn_whole_destroy(&s.reference);
    const int64_t zero = 0;
    const pn_array array = {.name = "step", .dtype = PN_I64, .rank = 0, .data = &zero};
    const pn_meta search = {"format", "parsec-nas search 1"};
    assert_int_equal(pn_safetensors_write(pn_in_folder("search"), &array, 1, &search, 1), PN_OK);
    assert_int_equal(pn_safetensors_write(pn_in_folder("foreign"), &array, 1, NULL, 0), PN_OK);
    static const struct {
        const char *words[6];
        int code;
        const char *sentence;
    } rows[] = {
        {{"w.safetensors"}, 2, "want --onnx, --safetensors, --dot or --svg FILE"},
        {{"--onnx", "x"}, 2, "want TRAINING"},
        {{"--genotype", "PDARTS", "--onnx", "x"}, 2, "want TRAINING"},
        {{"--genotype", "nonsense", "--svg", "x"}, 2, "genotype 'nonsense' is no file"},
        {{"w.safetensors", "--genotype", "PDARTS", "--svg", "x"}, 2, "want one of"},
        {{"w.safetensors", "--raw", "--svg", "x"}, 2, "--raw without --onnx FILE"},
        {{"w.safetensors", "--no-fold", "--dot", "x"}, 2, "--no-fold without --onnx FILE"},
        {{"w.safetensors", "--raw", "--onnx", "x"}, 2, "do not say by which mean and deviation"},
        {{"search", "--onnx", "x"}, 3, "search: a checkpoint, want weights of a training"},
        {{"foreign", "--onnx", "x"}, 3, "foreign: not weights of a training"},
        {{"nowhere", "--onnx", "x"}, 6, "nowhere"},
        {{"w.safetensors", "--onnx", "/dev/full"}, 6, "/dev/full"},
        {{"w.safetensors", "--svg", "nowhere/x"}, 6, "nowhere/x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int code = run(rows[i].words, NULL, said);
        PN_DEMAND(code == rows[i].code && strstr(said, rows[i].sentence), "%s ...: exit %d, %s",
                  rows[i].words[0], code, said);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one sentence */
    }
    pn_path_kind kind;
    assert_int_equal(pn_path_look(pn_in_folder("x"), &kind), PN_OK);
    assert_int_equal(kind, PN_PATH_NOTHING);
}

/* A file that may not grow, as on a full disk: the old one stays, nothing is beside it. */
static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    static subject s;
    char said[2048];
    save_weights(&s, true);
    pn_whole_destroy(&s.reference);
    assert_int_equal(RUN(said, "w.safetensors", "--onnx", "kept.onnx"), 0);
    char *before = pn_folder_text(pn_folder, NULL);
    const pn_conditions full = {.file_size = 4096};
    assert_int_equal(
        run((const char *const[]){"w.safetensors", "--onnx", "kept.onnx", "--no-fold", NULL}, &full,
            said),
        6);
    assert_int_equal(
        run((const char *const[]){"w.safetensors", "--onnx", "new.onnx", NULL}, &full, said), 6);
    char *after = pn_folder_text(pn_folder, NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_by_hand),
        cmocka_unit_test(messages_of_every_length),
        cmocka_unit_test(the_graph_computes_what_the_network_computes),
        cmocka_unit_test(another_graph_is_seen),
        cmocka_unit_test(raw_images_want_a_mean),
        cmocka_unit_test(the_command_writes_what_was_asked_for),
        cmocka_unit_test(the_command_refuses),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests_name("onnx", tests, pn_folder_begin, pn_folder_end);
}
