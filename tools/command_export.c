/* command_export.c -- weights out of a training's directory, into files of others. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/export/code.h"
#include "search/export/drawing.h"
#include "search/export/onnx.h"
#include "search/network/weights.h"
#include "search/rundir/directory.h"
#include "search/train/trained.h"
#include "tools/commands.h"
#include "tools/tensorboard.h"

static const char usage[] =
    "parsec-nas export TRAINING --onnx FILE [OPTIONS]\n"
    "parsec-nas export TRAINING --c DIR [--int8] [OPTIONS]\n"
    "parsec-nas export TRAINING --safetensors FILE [OPTIONS]\n"
    "parsec-nas export [TRAINING | --genotype G] [--dot FILE] [--svg FILE]\n"
    "parsec-nas export RUN --tensorboard DIR [--follow]\n"
    "\n"
    "Writes the network of a training for other programs. TRAINING is what train was\n"
    "given; of several seeds, DIR/seed-N; or one of its .safetensors files.\n"
    "\n"
    "--safetensors: its weights with the names and shapes of PyTorch's DARTS\n"
    "evaluation network, running statistics included: load_state_dict(strict=True)\n"
    "takes them. If your network has no auxiliary head, add --no-auxiliary. Metadata\n"
    "say what images it takes and name the classes.\n"
    "\n"
    "--onnx: a network that takes \"images\", float32 (batch, C, H, W), each channel\n"
    "(pixel / 255 - mean) / std, and gives \"logits\" (batch, classes). Metadata name\n"
    "genotype, mean, std and classes. --raw: it takes pixels.\n"
    "\n"
    "--c: C99 that needs no library and allocates nothing; NAME.h says how it is\n"
    "called, the Makefile builds example.c with it. --int8: in whole numbers of 8\n"
    "bits, with ranges from images of the training's data; prints the accuracy of\n"
    "both on its test images.\n"
    "\n"
    "--dot, --svg: a picture of the two cells, also of a genotype without weights.\n"
    "\n"
    "--tensorboard: the tables of a search or training as an event file, of each seed\n"
    "in DIR/seed-N: what the steps or epochs were, and the distribution. Of a run at\n"
    "work it holds what is there. With --follow it grows with each checkpoint (of a\n"
    "training: each epoch), until the run is finished or Ctrl-C. To look at it:\n"
    "tensorboard --logdir DIR.\n"
    "\n";

typedef struct options {
    const char *safetensors, *onnx, *dot, *svg, *genotype, *c, *name, *calibrate, *tensorboard;
    int images;
    bool best, auxiliary, raw, fold, int8, embed, apart, follow;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_PATH("onnx", onnx, NULL, "FILE", NULL, "write the network as ONNX (opset 13)"),
    PN_PATH("c", c, NULL, "DIR", NULL, "write the network as C into a directory"),
    PN_PATH("safetensors", safetensors, NULL, "FILE", NULL, "write the weights for PyTorch"),
    PN_PATH("dot", dot, NULL, "FILE", NULL, "draw the cells for Graphviz"),
    PN_PATH("svg", svg, NULL, "FILE", NULL, "draw the cells as an SVG picture"),
    PN_ROW_GENOTYPE("the cells to draw, without a training"),
    PN_FLAG("best", best, NULL, "weights of the epoch with the best score, not of the last"),
    PN_ROW_AUXILIARY("1", "the auxiliary head's weights for PyTorch too, if there is one"),
    PN_FLAG("raw", raw, NULL, "ONNX: take pixels, uint8 from 0 to 255, and normalise them"),
    PN_FLAG("fold", fold, "1", "ONNX: fold BatchNorm into the convolutions"),
    PN_TEXT("name", name, NULL, "NAME", "net", "C: what its names and files begin with"),
    PN_FLAG("embed", embed, NULL, "C: weights inside NAME.c [below 1 M weights]"),
    PN_FLAG("apart", apart, NULL, "C: weights in a file beside it [from 1 M weights on]"),
    PN_FLAG("int8", int8, NULL, "C: weights and activations of 8 bits"),
    PN_PATH("calibrate", calibrate, "cifar10|fashion-mnist|synthetic", "D", NULL,
            "int8: the data set for ranges and accuracy [the training's]"),
    PN_INT("images", images, 1, 1 << 24, "500", "int8: training images that ranges come from"),
    PN_PATH("tensorboard", tensorboard, NULL, "DIR", NULL, "write the tables for TensorBoard"),
    PN_FLAG("follow", follow, NULL, "tensorboard: add what a run at work adds, until it ends"),
};

/* What has been written, a line each; said at the end, since a command that fails says one
 * sentence, why. */
static char written[4 * PN_PATH_BYTES];

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
    const size_t used = strlen(written);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(written + used, sizeof written - used, format, arguments);
    va_end(arguments);
}

/* The weights that are to be exported. */
typedef struct source {
    pn_safetensors *file;
    pn_weights_about about;
    pn_arch arch;
    pn_network network;
} source;

static pn_status read_about(source *s) {
    const char *format = pn_safetensors_meta(s->file, "format");
    PN_TRY(pn_weights_describe(s->file, &s->about));
    if (s->about.known)
        return pn_genotype_read(s->about.genotype, strlen(s->about.genotype), &s->arch);
    if (format && !strncmp(format, "parsec-nas ", 11))
        return pn_fail(PN_EINPUT,
                       "a checkpoint, want weights of a training: its last.safetensors or "
                       "best.safetensors");
    return pn_fail(PN_EINPUT, "not weights of a training (no format in its metadata)");
}

/* Fills s->network, which is to be destroyed after a failure too. */
static pn_status load(source *s, bool auxiliary) {
    const pn_space space = pn_space_darts();
    pn_network_spec spec = s->about.spec;
    spec.auxiliary = spec.auxiliary && auxiliary;
    PN_TRY(pn_network_create(&s->network, &spec, &space, &s->arch));
    const pn_parameters *p = &s->network.parameters;
    PN_TRY(pn_weights_backed(s->file, &s->network));
    PN_TRY(pn_parameters_allocate(&s->network.parameters, &pn_host_memory));
    return pn_weights_get(s->file, p, p->value, "", NULL, PN_ALL_ROLES);
}

/* ---- what is written ------------------------------------------------------------------------- */

static pn_status write_safetensors(source *s) {
    const void *tracked;
    pn_status status = load(s, true);
    if (status == PN_OK)
        status = pn_safetensors_get(s->file,
                                    s->about.spec.imagenet_stem ? "stem0.1.num_batches_tracked"
                                                                : "stem.1.num_batches_tracked",
                                    PN_I64, 0, NULL, &tracked);
    if (status == PN_OK)
        status = pn_weights_save(NULL, o.safetensors, &s->network, &s->arch, &s->about.images,
                                 *(const int64_t *)tracked, o.auxiliary);
    if (status == PN_OK)
        note("%s: for load_state_dict(strict=True) of PyTorch's DARTS network\n", o.safetensors);
    pn_network_destroy(&s->network);
    return status;
}

static pn_status write_onnx(source *s) {
    pn_layers layers = {0};
    int nodes;
    pn_status status = load(s, false);
    if (status == PN_OK) status = pn_layers_create(&s->network, &s->arch, o.fold, &layers);
    if (status == PN_OK)
        status = pn_onnx_write(o.onnx, &layers, &s->arch, &s->about.images, o.raw, &nodes);
    if (status == PN_OK) note("%s: %d nodes, %zu numbers\n", o.onnx, nodes, (size_t)layers.floats);
    pn_layers_destroy(&layers);
    pn_network_destroy(&s->network);
    return status;
}

/* Both splits are normalised as the weights say; weights that do not say it are told. */
static void agree_on_normalising(pn_images *images, pn_data *train, pn_data *test) {
    const size_t bytes = sizeof images->mean;
    if (!images->measured) {
        memcpy(images->mean, train->mean, bytes);
        memcpy(images->std, train->std, bytes);
        images->measured = true;
    }
    memcpy(train->mean, images->mean, bytes);
    memcpy(train->std, images->std, bytes);
    memcpy(test->mean, images->mean, bytes);
    memcpy(test->std, images->std, bytes);
}

/* In 8 bits: from ranges that images of the training split show, and judged on the test split. */
static pn_status quantize(const char *spec, const pn_layers *layers, pn_images *images,
                          pn_quantized *quantized) {
    pn_data train = {0}, test = {0};
    pn_ranges ranges = {0};
    int64_t in_float, in_int8;
    const int edge = images->H == images->W ? images->H : 0;
    pn_status s = pn_data_open_sized(spec, edge, &train, &test);
    if (s == PN_OK && (train.classes != images->classes || test.classes != images->classes))
        s = pn_fail(PN_EARG, "the network tells %d classes apart, %s has %d", images->classes,
                    train.name, train.classes);
    if (s == PN_OK) agree_on_normalising(images, &train, &test);
    if (s == PN_OK) s = pn_ranges_measure(layers, &train, o.images, &ranges);
    if (s == PN_OK) s = pn_quantize(layers, &ranges, &train, quantized);
    if (s == PN_OK)
        s = pn_quantized_judge(layers, quantized, &test, test.count, &in_float, &in_int8);
    if (s == PN_OK)
        note("accuracy on %d test images: float32 %.2f %%, int8 %.2f %%\n", test.count,
             100 * (double)in_float / test.count, 100 * (double)in_int8 / test.count);
    pn_ranges_free(&ranges);
    pn_data_free(&test);
    pn_data_free(&train);
    return s;
}

static void say_size(const pn_layers *layers, const pn_code_size *size, int replaced) {
    note("%s: %s, %.1f KiB of weights (%zu numbers)", o.c, o.name, (double)size->weights / 1024,
         layers->floats);
    if (size->numbers) note(" and %.1f KiB beside", (double)size->numbers / 1024);
    note(", %.1f KiB of arena", (double)size->arena / 1024);
    if (replaced) note("; %d older files replaced", replaced);
    note("\n");
}

static pn_status write_code(source *s, const char *calibrate) {
    enum { EMBEDDED = 1000000 };
    pn_layers layers = {0};
    pn_quantized quantized = {0};
    pn_code_size size;
    pn_place place = {.fd = -1};
    pn_path_kind kind;
    int replaced = 0, made = 0;
    PN_TRY(pn_code_name_check(o.name));
    PN_TRY(pn_path_look(o.c, &kind));
    if (kind == PN_PATH_FILE || kind == PN_PATH_OTHER)
        return pn_fail(PN_EARG, "--c %s: want a directory, new or old", o.c);
    pn_status status = load(s, false);
    if (status == PN_OK) status = pn_layers_create(&s->network, &s->arch, true, &layers);
    if (status == PN_OK && o.int8)
        status = quantize(calibrate, &layers, &s->about.images, &quantized);
    if (status == PN_OK) status = pn_directory_make(o.c, &made);
    if (status == PN_OK) status = pn_place_open(&place, o.c);
    const pn_code code = {.name = o.name,
                          .genotype = s->about.genotype,
                          .layers = &layers,
                          .quantized = o.int8 ? &quantized : NULL,
                          .images = &s->about.images,
                          .embed = o.embed || (!o.apart && layers.floats < EMBEDDED)};
    if (status == PN_OK) status = pn_code_write(&code, &place, &size, &replaced);
    if (status == PN_OK) say_size(&layers, &size, replaced);
    pn_place_close(&place);
    if (status != PN_OK) pn_directory_unmake(o.c, made); /* as far as it is empty */
    pn_quantized_destroy(&quantized);
    pn_layers_destroy(&layers);
    pn_network_destroy(&s->network);
    return status;
}

/* The data set that the ranges come from. */
static pn_status find_calibration(const char *weights, char data[PN_TEXT_BYTES]) {
    *data = 0;
    if (!o.int8) return PN_OK;
    if (o.calibrate)
        snprintf(data, PN_TEXT_BYTES, "%s", o.calibrate);
    else
        PN_TRY(pn_trained_data(weights, data));
    return *data ? PN_OK
                 : pn_fail(PN_EARG, "lies in no directory of train's, want --calibrate D for int8");
}

static pn_status write_text(const char *path, pn_status made, char *text) {
    if (made == PN_OK) made = pn_file_write(path, text, strlen(text));
    free(text);
    if (made == PN_OK) note("%s: the two cells\n", path);
    return made;
}

static pn_status draw(const pn_arch *arch) {
    char *text = NULL;
    pn_status s = PN_OK;
    if (o.dot) {
        s = pn_drawing_dot(arch, &text);
        s = write_text(o.dot, s, text);
    }
    if (s == PN_OK && o.svg) {
        s = pn_drawing_svg(arch, &text);
        s = write_text(o.svg, s, text);
    }
    return s;
}

static pn_status write_all(source *s, const char *path) {
    char calibrate[PN_TEXT_BYTES];
    PN_TRY(read_about(s));
    PN_TRY(find_calibration(path, calibrate));
    if (o.safetensors) PN_TRY(write_safetensors(s));
    if (o.onnx) PN_TRY(write_onnx(s));
    if (o.c) PN_TRY(write_code(s, calibrate));
    return draw(&s->arch);
}

/* ---- the command ----------------------------------------------------------------------------- */

static pn_status export_tensorboard(const char *from) {
    if (!from) return pn_fail(PN_EARG, "want RUN: a directory of search or train");
    if (o.safetensors || o.onnx || o.c || o.dot || o.svg || o.genotype)
        return pn_fail(PN_EARG, "want --tensorboard by itself");
    return pn_tensorboard_export(from, o.tensorboard, o.follow);
}

static pn_status check_options(const char *from) {
    if (o.follow) return pn_fail(PN_EARG, "--follow without --tensorboard DIR");
    if (!o.safetensors && !o.onnx && !o.c && !o.dot && !o.svg)
        return pn_fail(
            PN_EARG,
            "want --onnx, --safetensors, --dot or --svg FILE, or --c or --tensorboard DIR");
    if (!o.c && (o.int8 || o.embed || o.apart || o.calibrate))
        return pn_fail(PN_EARG, "--%s without --c DIR",
                       o.int8    ? "int8"
                       : o.embed ? "embed"
                                 : "calibrate");
    if (o.embed && o.apart) return pn_fail(PN_EARG, "want one of --embed and --apart");
    if (o.calibrate && !o.int8) return pn_fail(PN_EARG, "--calibrate without --int8");
    if (!o.onnx && (o.raw || !o.fold))
        return pn_fail(PN_EARG, "%s without --onnx FILE", o.raw ? "--raw" : "--no-fold");
    if (from && o.genotype)
        return pn_fail(PN_EARG, "want one of %s and --genotype %s", from, o.genotype);
    if (!from && (!o.genotype || o.safetensors || o.onnx || o.c))
        return pn_fail(PN_EARG,
                       "want TRAINING: a directory that train has made; or, for --dot and --svg, "
                       "--genotype G");
    return PN_OK;
}

static pn_status export_all(const char *from) {
    char path[PN_PATH_BYTES];
    source s = {0};
    if (o.tensorboard) return export_tensorboard(from);
    PN_TRY(check_options(from));
    if (o.genotype) {
        PN_TRY(pn_genotype_open(o.genotype, &s.arch));
        return draw(&s.arch);
    }
    PN_TRY(pn_trained_weights(from, o.best, path));
    PN_TRY(pn_safetensors_read(path, &s.file));
    const pn_status status = write_all(&s, path);
    pn_weights_about_free(&s.about);
    pn_safetensors_free(s.file);
    return status == PN_OK || status == PN_EIO ? status : pn_fail_in(status, "%s", path);
}

static pn_status run(const char *const *words) {
    PN_TRY(export_all(words[0]));
    fputs(written, stderr);
    return PN_OK;
}

PN_COMMAND(export, "write a network as ONNX, as C or for PyTorch; a run for TensorBoard",
           .words = 1, .options = {PN_OPTIONS(rows, o)});
