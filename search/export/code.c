/* code.c -- see code.h. */
#include "search/export/code.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/export/embedded.h"
#include "search/export/page.h"
#include "search/export/run.h"

pn_status pn_code_name_check(const char *name) {
    static const char *const reserved[] = {
        "auto",     "break",  "case",    "char",     "const",    "continue", "default",  "do",
        "double",   "else",   "enum",    "extern",   "float",    "for",      "goto",     "if",
        "inline",   "int",    "long",    "register", "restrict", "return",   "short",    "signed",
        "sizeof",   "static", "struct",  "switch",   "typedef",  "union",    "unsigned", "void",
        "volatile", "while",  "example", "main"};
    bool good = isalpha((unsigned char)name[0]) && strlen(name) < PN_CODE_NAME_BYTES;
    for (const char *c = name; *c; c++) good = good && (isalnum((unsigned char)*c) || *c == '_');
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        good = good && strcmp(name, reserved[i]) != 0;
    return good ? PN_OK
                : pn_fail(PN_EARG,
                          "--name %s: want a name of C, at most %d letters, digits and _, that "
                          "begins with a letter",
                          name, PN_CODE_NAME_BYTES - 1);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* With the name and _ for every NAME_; of "NAME_.h" without. */
static void put_template(pn_page *f, const unsigned char *from, const char *name) {
    const char *at = (const char *)from, *found;
    for (; (found = strstr(at, "NAME_")); at = found + strlen("NAME_"))
        pn_page_put(f, "%.*s%s%s", (int)(found - at), at, name,
                    found[strlen("NAME_")] == '.' ? "" : "_");
    pn_page_put(f, "%s", at);
}

/* A text as a C string; every control character, quote and backslash in octal, and nothing that
 * could be a trigraph. */
static void put_string(pn_page *f, const char *s) {
    pn_page_put(f, "%c", '"');
    for (; *s; s++)
        if (iscntrl((unsigned char)*s) || strchr("\"\\?", *s))
            pn_page_put(f, "\\%03o", (unsigned)(unsigned char)*s);
        else
            pn_page_put(f, "%c", *s);
    pn_page_put(f, "%c", '"');
}

/* ---- steps ----------------------------------------------------------------------------------- */

typedef struct writer {
    const pn_code *code;
    const pn_layers *layers;
    const pn_steps *steps;
    const pn_packed *packed;       /* float32 */
    const pn_quantized *quantized; /* int8, or NULL */
    pn_page *f;
    size_t number; /* bytes of one of the arena's */
} writer;

/* Where an activation begins in the arena, from a channel on. */
static size_t offset_of(const writer *w, int activation, int channel) {
    return pn_view_at(&w->steps->view[activation], w->number) + (size_t)channel;
}

static void put_activation(const writer *w, int activation) {
    pn_page_put(w->f, "arena + %zu, %d", offset_of(w, activation, 0),
                w->steps->view[activation].step);
}

static void put_addend(const writer *w, int i) {
    const pn_step *step = &w->steps->step[i];
    if (step->add < 0)
        pn_page_put(w->f, "%s", "0, 0");
    else
        pn_page_put(w->f, "arena + %zu, %d", offset_of(w, step->add, step->add_from),
                    w->steps->view[step->add].step);
    if (w->quantized) pn_page_put(w->f, ", %d", w->quantized->step[i].add_multiplier);
}

/* Where a step writes; in int8 the shift follows. */
static void put_result(const writer *w, int i) {
    put_activation(w, w->steps->step[i].out);
    if (w->quantized) pn_page_put(w->f, ", %d", w->quantized->step[i].shift[1]);
}

static void put_depthwise(const writer *w, int i) {
    if (w->quantized) {
        const pn_quantized_step *at = &w->quantized->step[i];
        pn_page_put(w->f, "weights + %zu, numbers + %zu, %d, ", at->weight[0], at->number[0],
                    at->shift[0]);
    } else {
        pn_page_put(w->f, "weights + %zu, ", w->packed->step[i].depthwise);
    }
}

/* Weights, biases, in int8 multipliers, number of outputs. */
static void put_dense(const writer *w, int i) {
    const int K = w->layers->activation[w->steps->step[i].out].C;
    if (w->quantized) {
        const pn_quantized_step *at = &w->quantized->step[i];
        pn_page_put(w->f, "weights + %zu, numbers + %zu, numbers + %zu, %d", at->weight[1],
                    at->number[1], at->number[1] + (size_t)pn_in_panels(K), K);
    } else {
        const pn_packed_step *at = &w->packed->step[i];
        pn_page_put(w->f, "weights + %zu, weights + %zu, %d", at->dense, at->bias, K);
    }
}

static void put_linear(const writer *w, int i) {
    const pn_step *step = &w->steps->step[i];
    const pn_activation *in = &w->layers->activation[step->x];
    const size_t rows = step->offset[0] / w->number;
    pn_page_put(w->f, "%s", w->quantized ? "linear(" : "mean(");
    put_activation(w, step->x);
    pn_page_put(w->f, ", %d, %d, ", in->H * in->W, in->C);
    if (w->quantized) {
        pn_page_put(w->f, "%d,\n           weights + %zu, %d, scales, biases, pooled, logits);\n",
                    w->quantized->pooled_factor, w->quantized->step[i].weight[1],
                    w->layers->activation[step->out].C);
        return;
    }
    pn_page_put(w->f, "arena + %zu);\n    matrix(arena + %zu, 1, %d, %d, ", rows, rows, in->C,
                in->C);
    put_dense(w, i);
    pn_page_put(w->f, "%s", ", 0, 0,\n           ");
    put_result(w, i);
    pn_page_put(w->f, "%s", ");\n");
}

static void put_step(const writer *w, int i) {
    static const char line[] = ",\n         ";
    const pn_step *step = &w->steps->step[i];
    const pn_layer *layer = &w->layers->layer[step->layer];
    const pn_activation *in = &w->layers->activation[step->x],
                        *out = &w->layers->activation[step->out];
    const size_t rows = step->offset[0] / w->number, more = step->offset[1] / w->number;
    const bool plain = step->kind == PN_STEP_POOL || step->kind == PN_STEP_ADD;
    pn_page_put(w->f, "    /* %s: %dx%dx%d to %dx%dx%d */\n    ", layer->name, in->C, in->H, in->W,
                out->C, out->H, out->W);
    if (step->kind == PN_STEP_LINEAR) {
        put_linear(w, i);
        return;
    }
    if (step->kind == PN_STEP_CONVOLUTION)
        pn_page_put(w->f, "%s", "convolution(");
    else if (step->kind == PN_STEP_STAGE)
        pn_page_put(w->f, "stage_%d_%d_%d(", layer->R, layer->stride, layer->dilation);
    else if (step->kind == PN_STEP_POOL)
        pn_page_put(w->f, "pool(%d, ", layer->kind == PN_LAYER_AVERAGE_POOL);
    else
        pn_page_put(w->f, "%s", "add_two(");
    put_activation(w, step->x);
    if (step->kind != PN_STEP_ADD) pn_page_put(w->f, ", %d, %d, %d", in->H, in->W, in->C);
    if (step->kind == PN_STEP_CONVOLUTION)
        pn_page_put(w->f, ", %d, %d, %d, %d", layer->relu, layer->R, layer->stride, step->shift);
    if (step->kind == PN_STEP_POOL) pn_page_put(w->f, ", %d", layer->stride);
    if (plain && w->quantized) pn_page_put(w->f, ", %d", w->quantized->step[i].multiplier);
    pn_page_put(w->f, "%s", line);
    if (step->kind == PN_STEP_STAGE) put_depthwise(w, i);
    if (!plain) put_dense(w, i);
    pn_page_put(w->f, "%s", plain ? "" : ", ");
    put_addend(w, i);
    if (step->kind == PN_STEP_ADD) pn_page_put(w->f, ", %d, %d", in->H * in->W, in->C);
    pn_page_put(w->f, "%s", line);
    put_result(w, i);
    if (!plain) pn_page_put(w->f, ", arena + %zu", rows);
    if (step->kind == PN_STEP_STAGE) pn_page_put(w->f, ", arena + %zu", more);
    if (!plain) pn_page_put(w->f, ", %d", step->chunk);
    pn_page_put(w->f, "%s", ");\n");
}

/* A function for each kind of stage there is, of constants. */
static void put_stages(const writer *w) {
    bool seen[6][3][3] = {0};
    for (int i = 0; i < w->steps->count; i++) {
        const pn_layer *l = &w->layers->layer[w->steps->step[i].layer];
        if (w->steps->step[i].kind != PN_STEP_STAGE || seen[l->R][l->stride][l->dilation]) continue;
        seen[l->R][l->stride][l->dilation] = true;
        pn_page_put(w->f, "SHARED void stage_%d_%d_%d", l->R, l->stride, l->dilation);
        pn_page_put(
            w->f,
            w->quantized
                ? "(const signed char *x, int x_step, int H, int W, int C,\n"
                  "    const signed char *dw, const int *dm, int dw_shift,\n"
                  "    const signed char *w, const int *bias, const int *m, int K,\n"
                  "    const signed char *add, int add_step, int add_m, signed char *out,\n"
                  "    int out_step, int shift, signed char *ring, signed char *rows,\n"
                  "    int chunk) {\n"
                  "    stage(%d, %d, %d, x, x_step, H, W, C, dw, dm, dw_shift, w, bias, m,\n"
                  "          K, add, add_step, add_m, out, out_step, shift, ring, rows,\n"
                  "          chunk);\n"
                  "}\n\n"
                : "(const float *x, int x_step, int H, int W, int C,\n"
                  "    const float *dw, const float *w, const float *bias, int K,\n"
                  "    const float *add, int add_step, float *out, int out_step,\n"
                  "    float *ring, float *rows, int chunk) {\n"
                  "    stage(%d, %d, %d, x, x_step, H, W, C, dw, w, bias, K, add, add_step,\n"
                  "          out, out_step, ring, rows, chunk);\n"
                  "}\n\n",
            l->R, l->stride, l->dilation);
    }
}

/* ---- the files ------------------------------------------------------------------------------- */

static void put_float(pn_page *f, float x) {
    char number[32];
    snprintf(number, sizeof number, "%.9g", (double)x);
    pn_page_put(f, "%s%sF", number, strpbrk(number, ".e") ? "" : ".0");
}

static void put_floats(pn_page *f, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        pn_page_put(f, "%s", i % 8 ? " " : "\n    ");
        put_float(f, x[i]);
        pn_page_put(f, "%c", ',');
    }
}

static const char made[] = "Made by parsec-nas " PN_VERSION;

/* What is brought in from outside or written down here. */
static void put_weights(const writer *w) {
    const char *name = w->code->name;
    const pn_quantized *q = w->quantized;
    const char *type = q ? "signed char" : "float";
    const size_t count = q ? q->weight_count : w->packed->count;
    if (w->code->embed) {
        pn_page_put(w->f, "static const %s weights[%zu] ALIGNED = {", type, count);
        if (!q) put_floats(w->f, w->packed->data, count);
        for (size_t i = 0; q && i < count; i++)
            pn_page_put(w->f, "%s%d,", i % 24 ? "" : "\n    ", q->weights[i]);
        pn_page_put(w->f, "%s", "};\n\n");
        return;
    }
    pn_page_put(w->f,
                "/* %zu numbers, %s_weights.bin: brought in by %s_weights.S; or, with\n"
                " * -D%s_WEIGHTS_POINTER, wherever you let %s_weights point to. */\n"
                "#ifdef %s_WEIGHTS_POINTER\n"
                "const %s *%s_weights;\n"
                "#else\n"
                "extern const %s %s_weights[];\n"
                "#endif\n"
                "#define weights %s_weights\n\n",
                count, name, name, name, name, name, type, name, type, name, name);
}

/* Beside the weights, in int8. */
static void put_numbers(const writer *w) {
    const pn_quantized *q = w->quantized;
    const int classes = w->layers->activation[w->layers->logits].C;
    pn_page_put(w->f, "static const int numbers[%zu] = {", q->number_count);
    for (size_t i = 0; i < q->number_count; i++)
        pn_page_put(w->f, "%s%d,", i % 8 ? " " : "\n    ", q->numbers[i]);
    for (int i = 0; i < 2; i++) {
        pn_page_put(w->f, "};\n\nstatic const float %s[%d] = {", i ? "biases" : "scales", classes);
        put_floats(w->f, q->logits + (size_t)i * (size_t)classes, (size_t)classes);
    }
    pn_page_put(w->f, "};\n\nstatic int pooled[%d];\n\n",
                w->layers->activation[w->steps->step[w->steps->count - 1].x].C);
}

static void put_float_image(const writer *w) {
    const pn_activation *image = &w->layers->activation[0];
    const pn_images *about = w->code->images;
    const char *name = w->code->name;
    const int C = image->C, pixels = image->H * image->W;
    const size_t x = offset_of(w, 0, 0), logits = offset_of(w, w->layers->logits, 0);
    pn_page_put(w->f,
                "static void run(float *logits) {\n"
                "    forward();\n"
                "    for (int k = 0; k < %d; k++) logits[k] = arena[%zu + k];\n"
                "}\n\n"
                "void %s_predict(const float *chw, float *logits) {\n"
                "    for (int i = 0; i < %d; i++)\n"
                "        for (int c = 0; c < %d; c++) arena[%zu + i * %d + c] = chw[c * %d + i];\n"
                "    run(logits);\n"
                "}\n",
                w->layers->activation[w->layers->logits].C, logits, name, pixels, C, x, C, pixels);
    if (!about->measured) return;
    pn_page_put(w->f, "\nvoid %s_predict_%s(const unsigned char *hwc, float *logits) {\n", name,
                C == 1 ? "gray8" : "rgb8");
    for (int i = 0; i < 2; i++) {
        pn_page_put(w->f, "    static const float %s[%d] = {", i ? "factor" : "mean", C);
        for (int c = 0; c < C; c++) {
            const double mean = 255 * (double)about->mean[c], std = 255 * (double)about->std[c];
            if (c) pn_page_put(w->f, "%s", ", ");
            put_float(w->f, (float)(i ? 1 / std : mean));
        }
        pn_page_put(w->f, "%s", "};\n");
    }
    pn_page_put(
        w->f,
        "    for (int i = 0; i < %d; i++)\n"
        "        for (int c = 0; c < %d; c++)\n"
        "            arena[%zu + i * %d + c] = ((float)hwc[i * %d + c] - mean[c]) * factor[c];\n"
        "    run(logits);\n"
        "}\n",
        pixels, C, x, C, C);
}

static void put_int8_image(const writer *w) {
    const pn_activation *image = &w->layers->activation[0];
    const char *name = w->code->name;
    const int C = image->C, pixels = image->H * image->W;
    const size_t x = offset_of(w, 0, 0);
    pn_page_put(w->f,
                "void %s_predict(const float *chw, float *logits) {\n"
                "    for (int i = 0; i < %d; i++)\n"
                "        for (int c = 0; c < %d; c++) {\n"
                "            const float v = chw[c * %d + i] * ",
                name, pixels, C, pixels);
    put_float(w->f, 1 / w->quantized->image_scale);
    pn_page_put(
        w->f,
        ";\n"
        "            arena[%zu + i * %d + c] =\n"
        "                (signed char)(v >= 127 ? 127 : v <= -127 ? -127 : v < 0 ? v - 0.5F\n"
        "                                                                       : v + 0.5F);\n"
        "        }\n"
        "    forward(logits);\n"
        "}\n\n"
        "static const signed char pixel[%d][256] = {",
        x, C, C);
    for (int i = 0; i < 256 * C; i++)
        pn_page_put(w->f, "%s%d%s",
                    i % 256 == 0 ? "\n    {"
                    : i % 24     ? ""
                                 : "\n     ",
                    w->quantized->pixel[i], i % 256 == 255 ? "}," : ",");
    pn_page_put(w->f,
                "};\n\n"
                "void %s_predict_%s(const unsigned char *hwc, float *logits) {\n"
                "    for (int i = 0; i < %d; i++)\n"
                "        for (int c = 0; c < %d; c++)\n"
                "            arena[%zu + i * %d + c] = pixel[c][hwc[i * %d + c]];\n"
                "    forward(logits);\n"
                "}\n",
                name, C == 1 ? "gray8" : "rgb8", pixels, C, x, C, C);
}

static void put_names(const writer *w) {
    const int classes = w->layers->activation[w->layers->logits].C;
    pn_page_put(w->f, "const char *const %s_class_names[%d] = {", w->code->name, classes);
    for (int k = 0; k < classes; k++) {
        char number[16];
        snprintf(number, sizeof number, "%d", k);
        pn_page_put(w->f, "%s", "\n    ");
        put_string(w->f, w->code->images->names ? w->code->images->names[k] : number);
        pn_page_put(w->f, "%c", ',');
    }
    pn_page_put(w->f, "%s", "};\n\n");
}

/* NAME.c */
static void put_code(const writer *w) {
    const pn_code *code = w->code;
    pn_page_put(
        w->f,
        "/* %s.c -- %s. %s\n"
        " *\n"
        " * Compile it with -O3, for the machine (-march=native), and -ffp-contract=fast. It\n"
        " * is C99 and needs no library. With -D%s_SCALAR it uses no vectors of gcc and clang.\n"
        " * The arena is one for all: calls from several threads have to wait for each other. */\n"
        "#include \"%s.h\"\n\n",
        code->name, made, code->genotype, code->name, code->name);
    pn_page_put(w->f, "%s",
                "#ifdef __GNUC__\n"
                "#define ALIGNED __attribute__((aligned(64)))\n"
                "#else\n"
                "#define ALIGNED\n"
                "#endif\n\n");
    put_template(w->f, code->quantized ? pn_code_int8 : pn_code_float, code->name);
    pn_page_put(
        w->f,
        "\n/* ---- the network "
        "----------------------------------------------------------------------------- */\n\n");
    put_stages(w);
    put_weights(w);
    if (w->quantized) put_numbers(w);
    pn_page_put(w->f, "static %s arena[%zu] ALIGNED; /* %zu bytes */\n\n",
                code->quantized ? "signed char" : "float", w->steps->arena_bytes / w->number,
                w->steps->arena_bytes);
    put_names(w);
    pn_page_put(w->f, "static void forward(%s) {\n", code->quantized ? "float *logits" : "void");
    for (int i = 0; i < w->steps->count; i++) put_step(w, i);
    pn_page_put(w->f, "%s", "}\n\n");
    if (code->quantized)
        put_int8_image(w);
    else
        put_float_image(w);
}

static void put_header(const writer *w) {
    const pn_code *code = w->code;
    const char *name = code->name;
    const pn_activation *image = &w->layers->activation[0];
    pn_page_put(w->f, "/* %s.h -- %s.\n *\n * A network that tells %d classes apart. */\n", name,
                made, w->layers->activation[w->layers->logits].C);
    pn_page_put(w->f,
                "#ifndef %s_h\n#define %s_h\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
                name, name);
    pn_page_put(w->f,
                "enum { %s_channels = %d, %s_height = %d, %s_width = %d, %s_classes = %d };\n"
                "extern const char *const %s_class_names[%s_classes];\n\n",
                name, image->C, name, image->H, name, image->W, name,
                w->layers->activation[w->layers->logits].C, name, name);
    pn_page_put(w->f,
                "/* Logits of an image of (channels,height,width) numbers, normalised%s. */\n"
                "void %s_predict(const float *chw, float *logits);\n\n",
                code->images->measured ? " as below" : "", name);
    if (code->images->measured) {
        const char *kind = image->C == 1 ? "gray8" : "rgb8";
        pn_page_put(
            w->f, "%s",
            "/* The same of (height,width,channels) bytes: v = (byte / 255 - mean) / std, with\n"
            " *     mean");
        for (int c = 0; c < image->C; c++)
            pn_page_put(w->f, " %.4f", (double)code->images->mean[c]);
        pn_page_put(w->f, "%s", "\n *     std ");
        for (int c = 0; c < image->C; c++) pn_page_put(w->f, " %.4f", (double)code->images->std[c]);
        pn_page_put(w->f,
                    " */\n"
                    "void %s_predict_%s(const unsigned char *hwc, float *logits);\n"
                    "#define %s_predict_bytes %s_predict_%s\n\n",
                    name, kind, name, name, kind);
    }
    pn_page_put(w->f, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}

static void put_assembly(const writer *w) {
    const char *name = w->code->name;
    pn_page_put(w->f,
                "/* %s_weights.S -- %s. */\n"
                "#ifdef __APPLE__\n"
                "#define SYMBOL _%s_weights\n"
                "    .const_data\n"
                "#else\n"
                "#define SYMBOL %s_weights\n"
                "    .section .rodata\n"
                "#endif\n"
                "    .globl SYMBOL\n"
                "    .balign 64\n"
                "SYMBOL:\n"
                "    .incbin \"%s_weights.bin\"\n"
                "#ifdef __ELF__\n"
                "    .section .note.GNU-stack,\"\",%%progbits\n"
                "#endif\n",
                name, made, name, name, name);
}

static void put_makefile(const writer *w) {
    const char *name = w->code->name;
    const bool apart = !w->code->embed;
    pn_page_put(w->f,
                "# %s.\n"
                "CFLAGS = -O3 -march=native -ffp-contract=fast\n\n"
                "example: example.c %s.c %s.h%s%s%s%s%s\n"
                "\t$(CC) -std=c99 $(CFLAGS) -o $@ example.c %s.c%s%s%s\n\n"
                "clean:\n"
                "\trm -f example\n\n"
                ".PHONY: clean\n",
                made, name, name, apart ? " " : "", apart ? name : "", apart ? "_weights.S " : "",
                apart ? name : "", apart ? "_weights.bin" : "", name, apart ? " " : "",
                apart ? name : "", apart ? "_weights.S" : "");
}

static void put_example(const writer *w) {
    pn_page_put(w->f, "/* example.c -- %s. */\n", made);
    put_template(w->f, pn_code_example, w->code->name);
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct file {
    char name[PN_CODE_NAME_BYTES + 16];
    char *text; /* NULL: of the weights */
    size_t size;
    pn_writer *out;
} file;

typedef struct set {
    file file[PN_CODE_FILES];
    int count;
} set;

static pn_status add_file(set *s, writer *w, const char *name, void put(const writer *)) {
    file *f = &s->file[s->count++];
    snprintf(f->name, sizeof f->name, "%s", name);
    pn_page page = {0};
    w->f = &page;
    put(w);
    w->f = NULL;
    return pn_page_finish(&page, "generated code", &f->text, &f->size);
}

/* The text of all files. */
static pn_status make_texts(set *s, writer *w) {
    char name[PN_CODE_NAME_BYTES + 16];
    PN_TRY(add_file(s, w, "example.c", put_example));
    snprintf(name, sizeof name, "%s.c", w->code->name);
    PN_TRY(add_file(s, w, name, put_code));
    snprintf(name, sizeof name, "%s.h", w->code->name);
    PN_TRY(add_file(s, w, name, put_header));
    PN_TRY(add_file(s, w, "Makefile", put_makefile));
    if (w->code->embed) return PN_OK;
    snprintf(name, sizeof name, "%s_weights.S", w->code->name);
    return add_file(s, w, name, put_assembly);
}

/* Whether a file that is there may be replaced: it says that we made it, or, of weights, the header
 * beside it does. */
static pn_status may_replace(const pn_place *place, const char *name, int *replaced) {
    enum { LIMIT = 1 << 30 };
    bool there;
    PN_TRY(pn_place_has(place, name, &there));
    if (!there) return PN_OK;
    void *data;
    size_t size;
    PN_TRY(pn_file_read_in(place, name, LIMIT, &data, &size));
    char *line = data;
    line[strcspn(line, "\n")] = 0;
    const bool ours = strstr(line, "Made by parsec-nas") != NULL;
    free(data);
    char path[PN_PATH_BYTES];
    if (!ours)
        return pn_fail(PN_EARG, "%s: not made by parsec-nas, and would be overwritten",
                       pn_place_name(place, name, path));
    ++*replaced;
    return PN_OK;
}

static pn_status write_out(const pn_place *place, file *f, const void *data, size_t size) {
    int fd;
    PN_TRY(pn_writer_open_in(place, f->name, &f->out));
    PN_TRY(pn_writer_write(f->out, data, size));
    return pn_writer_read_back(f->out, &fd); /* so nothing waits to be written */
}

/* A set of which some files are new and some old would compile, and compute nonsense: those that
 * have their names already go. The first, example.c, is the same for all networks of that name. */
static pn_status take_back(const pn_place *place, const set *s, int last, pn_status why) {
    char sentence[PN_SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    for (int i = 1; i <= last; i++) (void)pn_place_remove(place, s->file[i].name);
    return pn_fail(why, "%s", sentence);
}

/* All files beside their names first, then all names: a full disk shows before any of them. */
static pn_status write_set(const pn_place *place, set *s, const void *weights, size_t bytes) {
    for (int i = 0; i < s->count; i++)
        PN_TRY(s->file[i].text ? write_out(place, &s->file[i], s->file[i].text, s->file[i].size)
                               : write_out(place, &s->file[i], weights, bytes));
    for (int i = 0; i < s->count; i++) {
        pn_writer *out = s->file[i].out;
        s->file[i].out = NULL;
        const pn_status status = pn_writer_commit(out);
        if (status != PN_OK) return take_back(place, s, i, status);
    }
    return pn_place_sync(place);
}

static pn_status write_all(writer *w, const pn_place *place, const void *weights, size_t bytes,
                           int *replaced) {
    set s = {0};
    pn_status status = make_texts(&s, w);
    for (int i = 0; status == PN_OK && i < s.count; i++)
        status = may_replace(place, s.file[i].name, replaced);
    if (status == PN_OK && !w->code->embed)
        snprintf(s.file[s.count++].name, sizeof s.file->name, "%s_weights.bin", w->code->name);
    if (status == PN_OK) status = write_set(place, &s, weights, bytes);
    for (int i = 0; i < s.count; i++) {
        pn_writer_discard(s.file[i].out);
        free(s.file[i].text);
    }
    return status;
}

static pn_status write_int8(const pn_code *code, const pn_place *place, pn_code_size *size,
                            int *replaced) {
    const pn_quantized *q = code->quantized;
    const pn_layers *l = code->layers;
    const int pooled = l->activation[q->steps.step[q->steps.count - 1].x].C;
    writer w = {code, l, &q->steps, NULL, q, NULL, 1};
    size->weights = q->weight_count;
    size->numbers = q->number_count * sizeof *q->numbers;
    size->arena = q->steps.arena_bytes + (size_t)pooled * sizeof(int);
    return write_all(&w, place, q->weights, q->weight_count, replaced);
}

static pn_status write_float(const pn_code *code, const pn_place *place, pn_code_size *size,
                             int *replaced) {
    pn_steps steps = {0};
    pn_packed packed = {0};
    pn_status s = pn_steps_create(code->layers, sizeof(float), false, &steps);
    if (s == PN_OK) s = pn_pack(code->layers, &steps, &packed);
    writer w = {code, code->layers, &steps, &packed, NULL, NULL, sizeof(float)};
    *size = (pn_code_size){packed.count * sizeof(float), 0, steps.arena_bytes};
    if (s == PN_OK) s = write_all(&w, place, packed.data, size->weights, replaced);
    pn_packed_free(&packed);
    pn_steps_destroy(&steps);
    return s;
}

pn_status pn_code_write(const pn_code *code, const pn_place *place, pn_code_size *size,
                        int *replaced) {
    *replaced = 0;
    PN_TRY(pn_code_name_check(code->name));
    return (code->quantized ? write_int8 : write_float)(code, place, size, replaced);
}
