/* command_eval.c -- what trained weights are worth on a data set. */
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/npy.h"
#include "search/network/classifier.h"
#include "search/train/trained.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas eval [--weights] WEIGHTS [OPTIONS]\n"
    "\n"
    "Prints error, loss, accuracy of each class and the confusion matrix of an\n"
    "evaluation network on a data set, with BatchNorm's running statistics. WEIGHTS\n"
    "is what train was given (its last weights; of several seeds, DIR/seed-N), or a\n"
    ".safetensors file. Data are those of the training, if the weights lie in its\n"
    "directory; they are normalised as the weights say.\n"
    "\n"
    "Files made by parsec-nas describe their network; for one of PyTorch's DARTS\n"
    "network give --genotype, --layers and --channels. Its auxiliary head is ignored.\n"
    "\n";

typedef struct options {
    const char *weights, *genotype, *stem, *data, *split, *logits;
    int layers, channels, batch;
    bool json;
    pn_device_options device;
} options;
static options o;

typedef struct evaluation {
    const pn_kernels *kernels;
    char path[PN_PATH_BYTES];  /* of the weights */
    char found[PN_TEXT_BYTES]; /* the data set of their training */
    pn_data data;
    pn_classifier classifier;
    pn_predictions predictions;
} evaluation;

/* The edge of the squares that a network takes; 0: it takes none, or does not say. */
static pn_status find_edge(const char *path, int *edge) {
    pn_safetensors *file;
    pn_weights_about about;
    *edge = 0;
    PN_TRY(pn_safetensors_read(path, &file));
    const pn_status s = pn_weights_describe(file, &about);
    if (s == PN_OK && about.spec.H == about.spec.W) *edge = about.spec.H;
    if (s == PN_OK) pn_weights_about_free(&about);
    pn_safetensors_free(file);
    return s == PN_OK ? s : pn_fail_in(s, "%s", path);
}

/* The set, as the network takes its images. */
static pn_status open_data(evaluation *e) {
    const bool train = !strcmp(o.split, "train");
    int edge;
    PN_TRY(find_edge(e->path, &edge));
    if (!o.data) {
        PN_TRY(pn_trained_data(e->path, e->found));
        o.data = e->found;
        if (!*o.data)
            return pn_fail(
                PN_EARG, "%s: does not lie in the directory of a training; want --data D", e->path);
    }
    return pn_data_open_sized(o.data, edge, train ? &e->data : NULL, train ? NULL : &e->data);
}

static pn_status open_network(evaluation *e, int N) {
    pn_classifier *c = &e->classifier;
    const pn_classifier_asked asked = {.genotype = o.genotype,
                                       .stem = o.stem,
                                       .layers = o.layers,
                                       .channels = o.channels,
                                       .data = &e->data};
    PN_TRY(pn_classifier_open(c, e->kernels, e->path, &asked, N));
    PN_TRY(pn_images_same(&c->images, &e->data));
    e->data.classes = c->images.classes;
    memcpy(e->data.mean, c->images.mean, sizeof e->data.mean);
    memcpy(e->data.std, c->images.std, sizeof e->data.std);
    return PN_OK;
}

static int64_t row_sum(const pn_predictions *j, int label) {
    int64_t sum = 0;
    for (int k = 0; k < j->classes; k++) sum += j->confusion[label * j->classes + k];
    return sum;
}

/* Characters of a text of UTF-8. */
static int characters(const char *text) {
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_text(const evaluation *e) {
    const pn_predictions *j = &e->predictions;
    char *const *names = e->classifier.images.names;
    int width = 0; /* of the names */
    printf("%s, %d images of the %s split: error %.2f %%, loss %.4f\n", e->data.name, j->images,
           o.split, 100 * (1 - pn_predictions_accuracy(j)), j->loss);
    if (j->classes > 20) return; /* too wide for a page; --json has it */
    for (int i = 0; names && i < j->classes; i++)
        if (characters(names[i]) + 2 > width) width = characters(names[i]) + 2;
    printf("\nclass%*s  accuracy   taken for", width, "");
    for (int k = 0; k < j->classes; k++) printf("%6d", k);
    putchar('\n');
    for (int i = 0; i < j->classes; i++) {
        const int64_t images = row_sum(j, i);
        const char *name = names ? names[i] : "";
        printf("%5d%s%s%*s  %6.2f %%            ", i, names ? "  " : "", name,
               names ? width - 2 - characters(name) : 0, "",
               images ? 100 * (double)j->confusion[i * j->classes + i] / (double)images : 0);
        for (int k = 0; k < j->classes; k++)
            printf("%6lld", (long long)j->confusion[i * j->classes + k]);
        putchar('\n');
    }
}

static pn_status print_json(const evaluation *e) {
    const pn_predictions *j = &e->predictions;
    char *const *named = e->classifier.images.names;
    json_t *classes = json_array(), *confusion = json_array(), *root = json_object(),
           *names = json_array();
    int failed = 0;
    for (int i = 0; i < j->classes; i++) {
        if (named) failed |= json_array_append_new(names, json_string(named[i]));
        const int64_t images = row_sum(j, i);
        const double right = (double)j->confusion[i * j->classes + i];
        json_t *row = json_array();
        for (int k = 0; k < j->classes; k++)
            failed |= json_array_append_new(row, json_integer(j->confusion[i * j->classes + k]));
        failed |= json_array_append_new(confusion, row);
        failed |= json_array_append_new(classes,
                                        images ? json_real(right / (double)images) : json_null());
    }
    failed |= json_object_set_new(root, "weights", pn_json_string(e->path));
    failed |= json_object_set_new(root, "data", pn_json_string(e->data.name));
    failed |= json_object_set_new(root, "split", json_string(o.split));
    failed |= json_object_set_new(root, "images", json_integer(j->images));
    failed |= json_object_set_new(root, "error", json_real(1 - pn_predictions_accuracy(j)));
    failed |= json_object_set_new(root, "loss", pn_json_number(j->loss));
    failed |= json_object_set_new(root, "correct", json_integer(j->correct));
    if (named) failed |= json_object_set(root, "class_names", names);
    failed |= json_object_set_new(root, "class_accuracy", classes);
    failed |= json_object_set_new(root, "confusion", confusion);
    json_decref(names);
    return pn_json_print(root, failed, JSON_INDENT(2) | PN_JSON_EXACT, stdout);
}

static pn_status evaluate(evaluation *e) {
    pn_classifier *c = &e->classifier;
    PN_TRY(pn_device_open(&o.device, &e->kernels));
    PN_TRY(pn_trained_weights(o.weights, false, e->path));
    PN_TRY(open_data(e));
    const int N = o.batch < e->data.count ? o.batch : e->data.count;
    PN_TRY(open_network(e, N));
    PN_TRY(pn_predict(e->kernels, &c->network, &c->arch, c->program, &c->arena, N, &e->data,
                      PN_HALF_BOTH, 0, NULL, &e->predictions));
    const pn_predictions *j = &e->predictions;
    if (o.logits)
        PN_TRY(pn_npy_write(
            o.logits,
            &(pn_array){
                .dtype = PN_F32, .rank = 2, .shape = {j->images, j->classes}, .data = j->logits}));
    if (o.json) return print_json(e);
    print_text(e);
    return PN_OK;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_PATH("weights", weights, NULL, "WEIGHTS", NULL, "the same as the word"),
    PN_ROW_DATA(NULL, "as in train [that of the training]"),
    PN_TEXT("split", split, "test|train", "SPLIT", "test", "test or train"),
    PN_PATH("logits", logits, NULL, "F.npy", NULL, "write them, float32 (images, classes)"),
    PN_ROW_GENOTYPE("the cell, if the file does not say"),
    PN_ROW_LAYERS(NULL, "cells, likewise"),
    PN_ROW_CHANNELS(NULL, "channels of the first, likewise"),
    PN_ROW_STEM(NULL, "cifar or imagenet, likewise [cifar]"),
    PN_ROW_BATCH("64", "images at a time"),
    PN_ROW_JSON,
    PN_ROWS_DEVICE,
};

static pn_status run(const char *const *words) {
    static evaluation e; /* large: a network */
    pn_status s = PN_OK;
    if (words[0] && o.weights)
        s = pn_fail(PN_EARG, "want one of %s and --weights %s", words[0], o.weights);
    if (words[0]) o.weights = words[0];
    if (!o.weights) s = pn_fail(PN_EARG, "want WEIGHTS: a .safetensors file, or a directory");
    if (s == PN_OK) s = evaluate(&e);
    pn_predictions_free(&e.predictions);
    pn_classifier_close(&e.classifier);
    pn_data_free(&e.data);
    return s;
}

PN_COMMAND(eval, "print error, loss and confusion matrix of trained weights", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
