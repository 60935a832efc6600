/* command_eval.c -- what trained weights are worth on a data set. */
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/npy.h"
#include "runtime/text.h"
#include "search/network/predict.h"
#include "search/network/weights.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas eval [--weights] WEIGHTS [OPTIONS]\n"
    "\n"
    "Prints error, loss, accuracy of each class and the confusion matrix of an\n"
    "evaluation network on a data set, with BatchNorm's running statistics. WEIGHTS\n"
    "is a .safetensors file, or a directory made by train (its last.safetensors).\n"
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
    char path[PN_PATH_BYTES]; /* of the weights */
    pn_data data;
    pn_arch arch;
    pn_network network;
    pn_program *program;
    pn_arena arena;
    pn_predictions predictions;
} evaluation;

static pn_status find_weights(evaluation *e) {
    pn_path_kind kind;
    PN_TRY(pn_path_look(o.weights, &kind));
    return pn_path_join(e->path, sizeof e->path, o.weights,
                        kind == PN_PATH_DIRECTORY ? "last.safetensors" : NULL);
}

/* Which network: what the file says of itself, or the options; they may not disagree. */
static pn_status describe(evaluation *e, const pn_safetensors *f, pn_network_spec *spec) {
    pn_weights_about about;
    PN_TRY(pn_weights_describe(f, &about));
    if (!about.known && (!o.genotype || !o.layers || !o.channels))
        return pn_fail(PN_EARG,
                       "does not say what network it is of; want --genotype, --layers and "
                       "--channels");
    if (o.genotype)
        PN_TRY(pn_genotype_open(o.genotype, &e->arch));
    else
        PN_TRY(pn_genotype_read(about.genotype, strlen(about.genotype), &e->arch));
    *spec = about.known ? about.spec
                        : (pn_network_spec){.H = e->data.H,
                                            .W = e->data.W,
                                            .image_channels = e->data.C,
                                            .classes = e->data.classes};
    spec->evaluation = true;
    spec->auxiliary = false;
    if (o.layers) spec->layers = o.layers;
    if (o.channels) spec->channels = o.channels;
    if (o.stem) spec->imagenet_stem = !strcmp(o.stem, "imagenet");
    return PN_OK;
}

static pn_status read_weights(evaluation *e) {
    const pn_space space = pn_space_darts();
    pn_network_spec spec;
    pn_safetensors *f = NULL;
    pn_status s = pn_safetensors_read(e->path, &f);
    if (s != PN_OK) return s;
    s = describe(e, f, &spec);
    if (s == PN_OK) s = pn_network_create(&e->network, &spec, &space, &e->arch);
    if (s == PN_OK) s = pn_weights_backed(f, &e->network);
    if (s == PN_OK) s = pn_parameters_allocate(&e->network.parameters, e->kernels->memory);
    if (s == PN_OK) s = pn_weights_load(f, &e->network);
    pn_safetensors_free(f);
    return s == PN_OK ? pn_parameters_push(&e->network.parameters) : pn_fail_in(s, "%s", e->path);
}

static int64_t row_sum(const pn_predictions *j, int label) {
    int64_t sum = 0;
    for (int k = 0; k < j->classes; k++) sum += j->confusion[label * j->classes + k];
    return sum;
}

static void print_text(const evaluation *e) {
    const pn_predictions *j = &e->predictions;
    printf("%s, %d images of the %s split: error %.2f %%, loss %.4f\n", e->data.name, j->images,
           o.split, 100 * (1 - pn_predictions_accuracy(j)), j->loss);
    if (j->classes > 20) return; /* too wide for a page; --json has it */
    printf("\nclass  accuracy   taken for");
    for (int k = 0; k < j->classes; k++) printf("%6d", k);
    putchar('\n');
    for (int i = 0; i < j->classes; i++) {
        const int64_t images = row_sum(j, i);
        printf("%5d  %6.2f %%            ", i,
               images ? 100 * (double)j->confusion[i * j->classes + i] / (double)images : 0);
        for (int k = 0; k < j->classes; k++)
            printf("%6lld", (long long)j->confusion[i * j->classes + k]);
        putchar('\n');
    }
}

static pn_status print_json(const evaluation *e) {
    const pn_predictions *j = &e->predictions;
    json_t *classes = json_array(), *confusion = json_array(), *root = json_object();
    int failed = 0;
    for (int i = 0; i < j->classes; i++) {
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
    failed |= json_object_set_new(root, "class_accuracy", classes);
    failed |= json_object_set_new(root, "confusion", confusion);
    return pn_json_print(root, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(17), stdout);
}

static pn_status evaluate(evaluation *e) {
    size_t bytes;
    PN_TRY(pn_device_open(&o.device, &e->kernels));
    PN_TRY(pn_data_open(o.data, !strcmp(o.split, "train") ? PN_TRAIN : PN_TEST, &e->data));
    PN_TRY(find_weights(e));
    PN_TRY(read_weights(e));
    const int N = o.batch < e->data.count ? o.batch : e->data.count;
    PN_TRY(pn_program_create(&e->program, e->kernels));
    PN_TRY(pn_predict_bytes(&e->network, &e->arch, e->program, e->kernels->memory, N, &bytes));
    PN_TRY(pn_arena_create(&e->arena, e->kernels->memory, bytes, 0));
    PN_TRY(pn_predict(e->kernels, &e->network, &e->arch, e->program, &e->arena, N, &e->data,
                      PN_HALF_BOTH, 0, &e->predictions));
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
    PN_ROW_DATA("cifar10", "as in train"),
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
    evaluation e = {0};
    pn_status s = PN_OK;
    if (words[0] && o.weights)
        s = pn_fail(PN_EARG, "want one of %s and --weights %s", words[0], o.weights);
    if (words[0]) o.weights = words[0];
    if (!o.weights) s = pn_fail(PN_EARG, "want WEIGHTS: a .safetensors file, or a directory");
    if (s == PN_OK) s = evaluate(&e);
    pn_predictions_free(&e.predictions);
    pn_program_destroy(e.program);
    pn_arena_destroy(&e.arena);
    pn_network_destroy(&e.network);
    pn_data_free(&e.data);
    return s;
}

PN_COMMAND(eval, "print error, loss and confusion matrix of trained weights", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
