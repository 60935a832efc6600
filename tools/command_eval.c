/* command_eval.c -- what trained weights are worth on a data set. */
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "runtime/npy.h"
#include "runtime/text.h"
#include "search/network/predict.h"
#include "search/network/weights.h"
#include "tools/commands.h"

const char pn_eval_usage[] =
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

typedef struct evaluation {
    const options *o;
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
    PN_TRY(pn_path_look(e->o->weights, &kind));
    return pn_path_join(e->path, sizeof e->path, e->o->weights,
                        kind == PN_PATH_DIRECTORY ? "last.safetensors" : NULL);
}

/* Which network: what the file says of itself, or the options; they may not disagree. */
static pn_status describe(evaluation *e, const pn_safetensors *f, pn_network_spec *spec) {
    const options *o = e->o;
    pn_weights_about about;
    PN_TRY(pn_weights_describe(f, &about));
    if (!about.known && (!o->genotype || !o->layers || !o->channels))
        return pn_fail(PN_EARG,
                       "does not say what network it is of; want --genotype, --layers and "
                       "--channels");
    if (o->genotype)
        PN_TRY(pn_genotype_open(o->genotype, &e->arch));
    else
        PN_TRY(pn_genotype_read(about.genotype, strlen(about.genotype), &e->arch));
    *spec = about.known ? about.spec
                        : (pn_network_spec){.H = e->data.H,
                                            .W = e->data.W,
                                            .image_channels = e->data.C,
                                            .classes = e->data.classes};
    spec->evaluation = true;
    spec->auxiliary = false;
    if (o->layers) spec->layers = o->layers;
    if (o->channels) spec->channels = o->channels;
    if (o->stem) spec->imagenet_stem = !strcmp(o->stem, "imagenet");
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
           e->o->split, 100 * (1 - pn_predictions_accuracy(j)), j->loss);
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
    failed |= json_object_set_new(root, "split", json_string(e->o->split));
    failed |= json_object_set_new(root, "images", json_integer(j->images));
    failed |= json_object_set_new(root, "error", json_real(1 - pn_predictions_accuracy(j)));
    failed |= json_object_set_new(root, "loss", pn_json_number(j->loss));
    failed |= json_object_set_new(root, "correct", json_integer(j->correct));
    failed |= json_object_set_new(root, "class_accuracy", classes);
    failed |= json_object_set_new(root, "confusion", confusion);
    return pn_json_print(root, failed, JSON_INDENT(2) | JSON_REAL_PRECISION(17), stdout);
}

static pn_status evaluate(evaluation *e) {
    const options *o = e->o;
    size_t bytes;
    PN_TRY(pn_device_open(&o->device, &e->kernels));
    PN_TRY(pn_data_open(o->data, !strcmp(o->split, "train") ? PN_TRAIN : PN_TEST, &e->data));
    PN_TRY(find_weights(e));
    PN_TRY(read_weights(e));
    const int N = o->batch < e->data.count ? o->batch : e->data.count;
    PN_TRY(pn_program_create(&e->program, e->kernels));
    PN_TRY(pn_predict_bytes(&e->network, &e->arch, e->program, e->kernels->memory, N, &bytes));
    PN_TRY(pn_arena_create(&e->arena, e->kernels->memory, bytes, 0));
    PN_TRY(pn_predict(e->kernels, &e->network, &e->arch, e->program, &e->arena, N, &e->data,
                      PN_HALF_BOTH, 0, &e->predictions));
    const pn_predictions *j = &e->predictions;
    if (o->logits)
        PN_TRY(pn_npy_write(
            o->logits,
            &(pn_array){
                .dtype = PN_F32, .rank = 2, .shape = {j->images, j->classes}, .data = j->logits}));
    if (o->json) return print_json(e);
    print_text(e);
    return PN_OK;
}

static pn_status check_options(const options *o) {
    if (!o->weights) return pn_fail(PN_EARG, "want WEIGHTS: a .safetensors file, or a directory");
    if (strcmp(o->split, "test") && strcmp(o->split, "train"))
        return pn_fail(PN_EARG, "--split %s, want test or train", o->split);
    if (o->stem && strcmp(o->stem, "cifar") && strcmp(o->stem, "imagenet"))
        return pn_fail(PN_EARG, "--stem %s, want cifar or imagenet", o->stem);
    if (o->channels % 4)
        return pn_fail(PN_EARG, "--channels %d, want a multiple of 4", o->channels);
    return PN_OK;
}

int pn_command_eval(int argc, char **argv) {
    options o = {.data = "cifar10", .split = "test", .batch = 64};
    bool help;
    int words;
    const pn_option table[] = {
        {"weights", PN_OPT_TEXT, &o.weights, 0, 0, "WEIGHTS", "the same as the word", NULL},
        {"data", PN_OPT_TEXT, &o.data, 0, 0, "D", "as in train [cifar10]", NULL},
        {"split", PN_OPT_TEXT, &o.split, 0, 0, "SPLIT", "test or train [test]", NULL},
        {"logits", PN_OPT_TEXT, &o.logits, 0, 0, "F.npy", "write them, float32 (images, classes)",
         NULL},
        {"genotype", PN_OPT_TEXT, &o.genotype, 0, 0, "G", "the cell, if the file does not say",
         NULL},
        {"layers", PN_OPT_INT, &o.layers, 1, PN_MAX_LAYERS, "N", "cells, likewise", NULL},
        {"channels", PN_OPT_INT, &o.channels, 4, 4096, "N", "channels of the first, likewise",
         NULL},
        {"stem", PN_OPT_TEXT, &o.stem, 0, 0, "STEM", "cifar or imagenet, likewise [cifar]", NULL},
        {"batch", PN_OPT_INT, &o.batch, 1, 1 << 20, "N", "images at a time [64]", NULL},
        {"json", PN_OPT_FLAG, &o.json, 0, 0, NULL, "print JSON", NULL},
        PN_DEVICE_OPTIONS(o.device),
    };
    enum { COUNT = sizeof table / sizeof *table };
    const char *word = NULL;
    pn_status s = pn_options_parse(argc, argv, table, COUNT, &word, 1, &words, &help);
    if (s == PN_OK && help) {
        fputs(pn_eval_usage, stdout);
        pn_options_print(stdout, table, COUNT);
        return 0;
    }
    if (s == PN_OK && word && o.weights)
        s = pn_fail(PN_EARG, "want one of %s and --weights %s", word, o.weights);
    if (word) o.weights = word;
    evaluation e = {.o = &o};
    if (s == PN_OK) s = check_options(&o);
    if (s == PN_OK) s = evaluate(&e);
    pn_predictions_free(&e.predictions);
    pn_program_destroy(e.program);
    pn_arena_destroy(&e.arena);
    pn_network_destroy(&e.network);
    pn_data_free(&e.data);
    return pn_report("eval", s);
}
