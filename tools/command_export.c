/* command_export.c -- weights out of a training's directory, into files of others. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/export/drawing.h"
#include "search/export/onnx.h"
#include "search/network/weights.h"
#include "search/train/trained.h"
#include "tools/commands.h"

static const char usage[] =
    "parsec-nas export TRAINING --onnx FILE [OPTIONS]\n"
    "parsec-nas export TRAINING --safetensors FILE [OPTIONS]\n"
    "parsec-nas export [TRAINING | --genotype G] [--dot FILE] [--svg FILE]\n"
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
    "--dot, --svg: a picture of the two cells, also of a genotype without weights.\n"
    "\n";

typedef struct options {
    const char *safetensors, *onnx, *dot, *svg, *genotype;
    bool best, auxiliary, raw, fold;
} options;
static options o;

#define PN_OF options

static const pn_field rows[] = {
    PN_PATH("onnx", onnx, NULL, "FILE", NULL, "write the network as ONNX (opset 13)"),
    PN_PATH("safetensors", safetensors, NULL, "FILE", NULL, "write the weights for PyTorch"),
    PN_PATH("dot", dot, NULL, "FILE", NULL, "draw the cells for Graphviz"),
    PN_PATH("svg", svg, NULL, "FILE", NULL, "draw the cells as an SVG picture"),
    PN_ROW_GENOTYPE("the cells to draw, without a training"),
    PN_FLAG("best", best, NULL, "weights of the epoch with the best score, not of the last"),
    PN_ROW_AUXILIARY("1", "the auxiliary head's weights for PyTorch too, if there is one"),
    PN_FLAG("raw", raw, NULL, "ONNX: take pixels, uint8 from 0 to 255, and normalise them"),
    PN_FLAG("fold", fold, "1", "ONNX: fold BatchNorm into the convolutions"),
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
    if (status == PN_OK)
        note("%s: %d nodes, %.1f M numbers\n", o.onnx, nodes, (double)layers.floats / 1e6);
    pn_layers_destroy(&layers);
    pn_network_destroy(&s->network);
    return status;
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

static pn_status write_all(source *s) {
    PN_TRY(read_about(s));
    if (o.safetensors) PN_TRY(write_safetensors(s));
    if (o.onnx) PN_TRY(write_onnx(s));
    return draw(&s->arch);
}

/* ---- the command ----------------------------------------------------------------------------- */

static pn_status check_options(const char *from) {
    if (!o.safetensors && !o.onnx && !o.dot && !o.svg)
        return pn_fail(PN_EARG, "want --onnx, --safetensors, --dot or --svg FILE");
    if (!o.onnx && (o.raw || !o.fold))
        return pn_fail(PN_EARG, "%s without --onnx FILE", o.raw ? "--raw" : "--no-fold");
    if (from && o.genotype)
        return pn_fail(PN_EARG, "want one of %s and --genotype %s", from, o.genotype);
    if (!from && (!o.genotype || o.safetensors || o.onnx))
        return pn_fail(PN_EARG,
                       "want TRAINING: a directory that train has made; or, for --dot and --svg, "
                       "--genotype G");
    return PN_OK;
}

static pn_status export_all(const char *from) {
    char path[PN_PATH_BYTES];
    source s = {0};
    PN_TRY(check_options(from));
    if (o.genotype) {
        PN_TRY(pn_genotype_open(o.genotype, &s.arch));
        return draw(&s.arch);
    }
    PN_TRY(pn_trained_weights(from, o.best, path));
    PN_TRY(pn_safetensors_read(path, &s.file));
    const pn_status status = write_all(&s);
    pn_weights_about_free(&s.about);
    pn_safetensors_free(s.file);
    return status == PN_OK || status == PN_EIO ? status : pn_fail_in(status, "%s", path);
}

static pn_status run(const char *const *words) {
    PN_TRY(export_all(words[0]));
    fputs(written, stderr);
    return PN_OK;
}

PN_COMMAND(export, "write a trained network as ONNX or for PyTorch; draw its cells", .words = 1,
           .options = {PN_OPTIONS(rows, o)});
