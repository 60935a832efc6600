/* test_code.c -- networks as C: compiled by the system's compiler with every warning an error and
 * with sanitizers, generated code gives the logits of the host's kernels. The list of layers that
 * it is made from is evaluated by plain loops in double precision.
 *
 *   PN_TEST_LONG=1   every way to compile every network, with the published sizes among them */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "search/export/code.h"
#include "search/export/run.h"
#include "search/network/genotype.h"
#include "search/network/whole.h"
#include "tests/support/faulty.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { IMAGES = 2, SECONDS = 600 };

typedef struct subject {
    const char *why, *genotype;
    pn_network_spec spec;
    bool embed, only_long;
} subject;

#define NETWORK(l, c, h, w, i, k, ...)                                                       \
    {                                                                                        \
        .evaluation = true, .layers = l, .channels = c, .H = h, .W = w, .image_channels = i, \
        .classes = k, __VA_ARGS__                                                            \
    }

/* Nothing but skips of input 0: input 1, and so the cell before, is read by nobody. */
#define ONE_SIDED                                                                               \
    "normal sk@0 sk@0 | sk@2 sk@0 | sk@0 mp@0 | sk@3 sk@3 reduce sk@0 ap@0 | sk@0 sk@0 | sk@0 " \
    "s3@0 | sk@2 sk@4"

static const subject subjects[] = {
    {"even sizes, weights inside", "DARTS_V2", NETWORK(3, 8, 16, 16, 3, 10), true, false},
    {"grey, odd sizes, 4 channels", "PDARTS", NETWORK(3, 4, 9, 13, 1, 7), false, false},
    {"a width that is no multiple of 8", "PC_DARTS_cifar", NETWORK(3, 12, 7, 10, 3, 17), false,
     false},
    {"the ImageNet stem, odd sizes", "DARTS_V1",
     NETWORK(3, 8, 33, 47, 3, 21, .imagenet_stem = true), false, false},
    {"cells that are not read, equal terms, a term made long before its sum", ONE_SIDED,
     NETWORK(5, 4, 8, 8, 3, 3), true, false},
    {"nodes of 0 to 5 terms, norms behind pools",
     "normal s3@1 mp@0 | sk@0 ap@2 d5@1 | s5@3 sk@1 no@0 mp@2 | d3@4 sk@0 s3@1 mp@3 ap@2 "
     "reduce sk@0 mp@1 | no@0 no@1 no@2 | s3@2 d3@3 sk@1 sk@0 | sk@4 sk@3 sk@2 s5@0 mp@1",
     NETWORK(4, 8, 9, 8, 3, 5, .pool_norm = true), true, false},
    {"empty nodes, nodes of one op, sums of inputs that little else reads",
     "normal sk@0 no@1 | s3@0 no@1 no@2 | sk@1 sk@0 sk@2 no@3 | no@0 no@1 no@2 no@3 no@4 "
     "reduce sk@0 no@1 | mp@0 no@1 no@2 | no@0 no@1 no@2 no@3 | s5@1 no@0 no@2 no@3 no@4",
     NETWORK(5, 4, 8, 8, 3, 3), true, false},
    {"one pixel", "DARTS_V1", NETWORK(1, 4, 1, 1, 3, 2), true, false},
    {"the published size", "DARTS_V2", NETWORK(20, 36, 32, 32, 3, 10), false, true},
    {"the published size for ImageNet", "PDARTS",
     NETWORK(14, 48, 224, 224, 3, 1000, .imagenet_stem = true), false, true},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

static bool is_long(void) { return getenv("PN_TEST_LONG") != NULL; }

/* A network with weights, its images and their logits by the host's kernels. */
typedef struct network {
    pn_whole whole;
    pn_arch arch;
    pn_layers layers;
    pn_images about;
} network;

static void make(network *n, const subject *s) {
    const pn_whole_case c = {.spec = s->spec, .N = IMAGES, .inference = true};
    *n = (network){0};
    assert_int_equal(pn_genotype_read(s->genotype, strlen(s->genotype), &n->arch), PN_OK);
    assert_int_equal(pn_whole_create(&n->whole, &c, &n->arch, pn_host_kernels(NULL), 1), PN_OK);
    assert_int_equal(pn_whole_run(&n->whole), PN_OK);
    assert_int_equal(pn_layers_create(&n->whole.network, &n->arch, true, &n->layers), PN_OK);
    n->about = (pn_images){.H = s->spec.H,
                           .W = s->spec.W,
                           .C = s->spec.image_channels,
                           .classes = s->spec.classes,
                           .measured = true,
                           .mean = {0.5F, 0.25F, 0.125F},
                           .std = {0.25F, 0.5F, 1}};
}

static void unmake(network *n) {
    pn_layers_destroy(&n->layers);
    pn_whole_destroy(&n->whole);
}

/* ---- the list of layers ---------------------------------------------------------------------- */

static double at(const double *x, const pn_activation *a, int c, int h, int w) {
    return h < 0 || w < 0 || h >= a->H || w >= a->W ? 0 : x[(c * a->H + h) * a->W + w];
}

static double one_of_conv(const pn_layer *l, const pn_activation *a, int O, const double *x, int o,
                          int p, int q) {
    const int I = a->C / l->groups, first = o / (O / l->groups) * I;
    double sum = l->bias ? l->bias[o] : 0;
    for (int c = 0; c < I; c++)
        for (int i = 0; i < l->R; i++)
            for (int j = 0; j < l->R; j++) {
                const double v = at(x, a, first + c, p * l->stride + i * l->dilation - l->pad,
                                    q * l->stride + j * l->dilation - l->pad);
                sum += (l->relu && v < 0 ? 0 : v) * l->weight[((o * I + c) * l->R + i) * l->R + j];
            }
    return sum;
}

static double one_of_pool(const pn_layer *l, const pn_activation *a, const double *x, int c, int p,
                          int q) {
    double most = -HUGE_VAL, sum = 0;
    int count = 0;
    for (int i = 0; i < l->R; i++)
        for (int j = 0; j < l->R; j++) {
            const int h = p * l->stride + i - l->pad, w = q * l->stride + j - l->pad;
            if (h < 0 || w < 0 || h >= a->H || w >= a->W) continue;
            most = fmax(most, at(x, a, c, h, w));
            sum += at(x, a, c, h, w);
            count++;
        }
    return l->kind == PN_LAYER_MAX_POOL ? most : sum / count;
}

/* One number of what a layer makes. */
static double one(const pn_layers *all, const pn_layer *l, double *const *value, int c, int p,
                  int q) {
    const pn_activation *a = &all->activation[l->input[0]], *b = &all->activation[l->output];
    const double *x = value[l->input[0]];
    double sum = 0;
    switch (l->kind) {
        case PN_LAYER_CONV:
            return one_of_conv(l, a, b->C, x, c, p, q);
        case PN_LAYER_BATCH_NORM:
            return l->gamma[c] * (at(x, a, c, p, q) - l->mean[c]) /
                       sqrt((double)l->var[c] + (double)l->eps) +
                   l->beta[c];
        case PN_LAYER_MAX_POOL:
        case PN_LAYER_AVERAGE_POOL:
            return one_of_pool(l, a, x, c, p, q);
        case PN_LAYER_ADD:
            return at(x, a, c, p, q) + at(value[l->input[1]], a, c, p, q);
        case PN_LAYER_CONCAT:
            for (int i = 0; i < l->inputs; c -= all->activation[l->input[i++]].C)
                if (c < all->activation[l->input[i]].C)
                    return at(value[l->input[i]], &all->activation[l->input[i]], c, p, q);
            fail();
            return 0;
        case PN_LAYER_SHIFT:
            return at(x, a, c, p + 1, q + 1);
        case PN_LAYER_MEAN:
            for (int i = 0; i < a->H * a->W; i++) sum += x[c * a->H * a->W + i];
            return sum / (a->H * a->W);
        case PN_LAYER_LINEAR:
            for (int i = 0; i < a->C; i++) sum += x[i] * l->weight[c * a->C + i];
            return sum + l->bias[c];
    }
    fail();
    return 0;
}

/* Logits of one image (H,W,C). */
static void evaluate(const pn_layers *l, const float *image, double *logits) {
    double **value = calloc((size_t)l->activations, sizeof *value);
    assert_non_null(value);
    for (int i = 0; i < l->activations; i++) {
        const pn_activation *a = &l->activation[i];
        value[i] = calloc((size_t)a->C * (size_t)a->H * (size_t)a->W, sizeof **value);
        assert_non_null(value[i]);
        double *to = value[i];
        for (int c = 0; c < a->C; c++)
            for (int p = 0; p < a->H; p++)
                for (int q = 0; q < a->W; q++)
                    *to++ = i == 0 ? image[(p * a->W + q) * a->C + c]
                                   : one(l, &l->layer[a->producer], value, c, p, q);
    }
    memcpy(logits, value[l->logits], (size_t)l->activation[l->logits].C * sizeof *logits);
    for (int i = 0; i < l->activations; i++) free(value[i]);
    free(value);
}

/* float32 logits: within the bound of a whole network, and 1e-4 of the largest. */
static void compare_with(const network *n, int image, const double *logits, double rounded) {
    const int classes = n->whole.network.spec.classes;
    const float *want = n->whole.logits + (size_t)image * (size_t)classes;
    double most = 0;
    for (int k = 0; k < classes; k++) most = fmax(most, fabs((double)want[k]));
    for (int k = 0; k < classes; k++)
        if (!(fabs(logits[k] - (double)want[k]) <= 1e-4 * most + rounded))
            fail_msg("logit %d of image %d: %.9g, want %.9g", k, image, logits[k], (double)want[k]);
}

static void check_list(const pn_layers *l) {
    assert_int_equal(l->activation[0].producer, -1);
    for (int i = 0; i < l->count; i++) {
        assert_int_equal(l->activation[l->layer[i].output].producer, i);
        for (int j = 0; j < l->layer[i].inputs; j++) {
            assert_true(l->activation[l->layer[i].input[j]].producer < i);
            assert_true(l->activation[l->layer[i].input[j]].last >= i);
        }
        for (int j = 0; j < i; j++) assert_string_not_equal(l->layer[i].name, l->layer[j].name);
    }
    for (int i = 0; i < l->activations; i++)
        if (i != l->logits) assert_true(l->activation[i].last < l->count);
}

static void layers_are_the_network(void **state) {
    (void)state;
    for (int i = 0; i < SUBJECTS; i++) {
        network n;
        pn_layers apart;
        if (subjects[i].only_long) continue;
        const int classes = subjects[i].spec.classes;
        make(&n, &subjects[i]);
        const size_t numbers = (size_t)subjects[i].spec.H * (size_t)subjects[i].spec.W *
                               (size_t)subjects[i].spec.image_channels;
        assert_int_equal(pn_layers_create(&n.whole.network, &n.arch, false, &apart), PN_OK);
        check_list(&n.layers);
        check_list(&apart);
        for (int image = 0; image < IMAGES; image++) {
            double logits[2][32];
            evaluate(&n.layers, n.whole.image + (size_t)image * numbers, logits[0]);
            evaluate(&apart, n.whole.image + (size_t)image * numbers, logits[1]);
            for (int k = 0; k < classes; k++) assert_true(isfinite(logits[0][k]));
            compare_with(&n, image, logits[0], 0);
            compare_with(&n, image, logits[1], 0);
        }
        pn_layers_destroy(&apart);
        unmake(&n);
    }
}

/* With input 1 unread, every other cell is not needed. */
static void what_nobody_reads_is_dropped(void **state) {
    (void)state;
    network n;
    bool seen[5] = {0};
    make(&n, &subjects[4]);
    for (int i = 0; i < n.layers.count; i++)
        if (!strncmp(n.layers.layer[i].name, "cells.", 6))
            seen[n.layers.layer[i].name[6] - '0'] = true;
    assert_true(seen[0] && seen[2] && seen[4]);
    assert_false(seen[1] || seen[3]);
    unmake(&n);
}

static void a_search_network_is_refused(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = {
        .layers = 2, .channels = 4, .H = 8, .W = 8, .image_channels = 3, .classes = 3};
    pn_network shared;
    pn_layers layers;
    pn_arch arch;
    assert_int_equal(pn_genotype_read("DARTS_V1", 8, &arch), PN_OK);
    assert_int_equal(pn_network_create(&shared, &spec, &space, NULL), PN_OK);
    assert_int_equal(pn_layers_create(&shared, &arch, true, &layers), PN_EARG);
    pn_network_destroy(&shared);
}

/* ---- generated code -------------------------------------------------------------------------- */

/* A compiler, or the test is skipped. */
static const char *compiler(void) {
    static const char *const known[] = {"/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (access(known[i], X_OK) == 0) return known[i];
    print_message("no C compiler: skipped\n");
    skip();
    return NULL;
}

/* Runs a shell command in the folder; what it writes, to be freed. */
static char *shell(const char *command) {
    pn_process p;
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    pn_process_run(&p, argv, &(pn_conditions){.folder = pn_folder}, SECONDS);
    if (p.code != 0) fail_msg("%s: %s%s", command, p.out, p.err);
    char *out = strdup(p.out);
    assert_non_null(out);
    pn_process_free(&p);
    return out;
}

static void run_shell(const char *command) { free(shell(command)); }

static void compile(const char *flags, bool embed) {
    char command[512];
    snprintf(
        command, sizeof command,
        "cd code && %s -std=c99 -Wall -Wextra -Werror -pedantic %s -o example example.c net.c%s",
        compiler(), flags, embed ? "" : " net_weights.S");
    run_shell(command);
}

static void write_code(const pn_code *code) {
    pn_place place;
    pn_code_size size;
    int replaced;
    assert_int_equal(mkdir(pn_in_folder("code"), 0777), 0);
    assert_int_equal(pn_place_open(&place, pn_in_folder("code")), PN_OK);
    assert_int_equal(pn_code_write(code, &place, &size, &replaced), PN_OK);
    assert_int_equal(replaced, 0);
    pn_place_close(&place);
}

/* The images as the program reads them: (C,H,W). */
static void write_images(const network *n) {
    const pn_network_spec *s = &n->whole.network.spec;
    FILE *f = fopen(pn_in_folder("images"), "wb");
    assert_non_null(f);
    for (int i = 0; i < IMAGES; i++)
        for (int c = 0; c < s->image_channels; c++)
            for (int p = 0; p < s->H * s->W; p++)
                assert_int_equal(
                    fwrite(n->whole.image + (i * s->H * s->W + p) * s->image_channels + c,
                           sizeof(float), 1, f),
                    1);
    assert_int_equal(fclose(f), 0);
}

static void compare_printed(const network *n, const char *printed) {
    const int classes = n->whole.network.spec.classes;
    double *logits = calloc((size_t)classes, sizeof *logits);
    assert_non_null(logits);
    for (int image = 0; image < IMAGES; image++) {
        for (int k = 0; k < classes; k++) {
            char *end;
            logits[k] = strtod(printed, &end);
            assert_ptr_not_equal(end, printed);
            printed = end;
        }
        compare_with(n, image, logits, 0);
    }
    free(logits);
}

/* Symbols that code may want beside its own: what a compiler makes of a loop. */
static void check_symbols(void) {
    char *wanted = shell("cd code && cc -O2 -c net.c -o net.o && nm -u net.o");
    for (const char *name = strtok(wanted, " \n"); name; name = strtok(NULL, " \n"))
        if (strcmp(name, "U") != 0 && strcmp(name, "memset") != 0 && strcmp(name, "memcpy") != 0 &&
            strcmp(name, "net_weights") != 0 && strcmp(name, "_GLOBAL_OFFSET_TABLE_") != 0)
            fail_msg("wants %s", name);
    free(wanted);
}

static const char sanitized[] =
    "-O1 -march=native -ffp-contract=fast "
    "-fsanitize=address,undefined -fno-sanitize-recover=all";
static const char *const ways[] = {sanitized, "-O2 -Dnet_SCALAR", "-O2",
                                   "-O1 -Dnet_SCALAR -fsanitize=address,undefined "
                                   "-fno-sanitize-recover=all",
                                   "-O3 -march=native -ffp-contract=fast"};
enum { WAYS = sizeof ways / sizeof *ways };

/* Usually each network is compiled in one way, and with sanitizers every second too: a compilation
 * takes one to two seconds. */
static void code_gives_the_logits(void **state) {
    (void)state;
    (void)compiler();
    for (int i = 0; i < SUBJECTS; i++) {
        network n;
        if (subjects[i].only_long && !is_long()) continue;
        make(&n, &subjects[i]);
        write_code(&(pn_code){.name = "net",
                              .genotype = subjects[i].genotype,
                              .layers = &n.layers,
                              .images = &n.about,
                              .embed = subjects[i].embed});
        write_images(&n);
        for (int way = 0; way < WAYS; way++) {
            if (!is_long() && (way == 0 ? i % 2 == 0 : way != 1 + i % (WAYS - 1))) continue;
            compile(ways[way], subjects[i].embed);
            char *printed = shell("code/example --floats --logits images");
            compare_printed(&n, printed);
            free(printed);
        }
        if (i == 0) check_symbols();
        run_shell("rm -r code");
        unmake(&n);
    }
}

/* ---- 8 bits ---------------------------------------------------------------------------------- */

/* The data set of the test: bytes at random. */
static void make_data(pn_data *data, const pn_network_spec *s) {
    char spec[64];
    snprintf(spec, sizeof spec, "synthetic:40x%dx%dx%d", s->H, s->W, s->image_channels);
    assert_int_equal(pn_data_open(spec, PN_TRAIN, data), PN_OK);
}

/* Logits of the first images by pn_run_int8; and by the float32 code. */
static void run_here(const network *n, const pn_quantized *q, const pn_data *data, int image,
                     float *logits) {
    const size_t numbers = (size_t)data->H * (size_t)data->W * (size_t)data->C;
    const pn_layers *l = &n->layers;
    int8_t *arena = calloc(q->steps.arena_bytes, 1);
    int pooled[4096];
    assert_non_null(arena);
    for (size_t j = 0; j < numbers; j++)
        arena[pn_view_at(&q->steps.view[0], 1) + j] =
            q->pixel[j % (size_t)data->C * 256 + data->images[(size_t)image * numbers + j]];
    for (int s = 0; s < q->steps.count; s++) pn_run_int8(l, q, arena, pooled, logits, s);
    free(arena);
}

/* Generated code has the same bits as what judged it. Of the logits of a network with random
 * weights, 8 bits keep the most significant three or four: the bound is a quarter of the largest
 * logit's magnitude, which forgotten scales, shifts or channels exceed many times. */
static void eight_bits_give_the_same_logits_here_and_there(void **state) {
    (void)state;
    (void)compiler();
    for (int i = 0; i < SUBJECTS; i++) {
        network n;
        pn_data data = {0};
        pn_ranges ranges;
        pn_quantized q;
        if (subjects[i].only_long || (!is_long() && i % 2 == 0)) continue;
        make(&n, &subjects[i]);
        make_data(&data, &subjects[i].spec);
        assert_int_equal(pn_ranges_measure(&n.layers, &data, 40, &ranges), PN_OK);
        assert_int_equal(pn_quantize(&n.layers, &ranges, &data, &q), PN_OK);
        write_code(&(pn_code){.name = "net",
                              .genotype = subjects[i].genotype,
                              .layers = &n.layers,
                              .quantized = &q,
                              .images = &n.about,
                              .embed = subjects[i].embed});
        const size_t numbers = (size_t)data.H * (size_t)data.W * (size_t)data.C;
        assert_int_equal(pn_file_write(pn_in_folder("bytes"), data.images, IMAGES * numbers),
                         PN_OK);
        compile(ways[i % 4 == 1 ? 0 : i % 4 == 3 ? 3 : 4], subjects[i].embed);
        char *printed = shell("code/example --bytes --logits bytes"), *at = printed;
        for (int image = 0; image < IMAGES; image++) {
            float logits[32] = {0};
            double exact[32] = {0}, most = 0;
            float *x = calloc(numbers, sizeof *x);
            assert_non_null(x);
            for (size_t j = 0; j < numbers; j++) {
                const size_t c = j % (size_t)data.C;
                x[j] = ((float)data.images[(size_t)image * numbers + j] / 255 - data.mean[c]) /
                       data.std[c];
            }
            run_here(&n, &q, &data, image, logits);
            evaluate(&n.layers, x, exact);
            for (int k = 0; k < subjects[i].spec.classes; k++) most = fmax(most, fabs(exact[k]));
            for (int k = 0; k < subjects[i].spec.classes; k++) {
                const double there = strtod(at, &at);
                assert_true(fabs(there - (double)logits[k]) <= 1e-6 * most);
                if (!(fabs((double)logits[k] - exact[k]) <= most / 4))
                    fail_msg("%s: logit %d is %g, want %g", subjects[i].why, k, (double)logits[k],
                             exact[k]);
            }
            free(x);
        }
        free(printed);
        run_shell("rm -r code");
        pn_quantized_destroy(&q);
        pn_ranges_free(&ranges);
        pn_data_free(&data);
        unmake(&n);
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

#define RUN(...) run_program((const char *const[]){PN_PROGRAM, __VA_ARGS__, NULL})
static char said[4096];

static int run_program(const char *const *argv) {
    pn_process p;
    pn_process_run(&p, argv, &(pn_conditions){.folder = pn_folder}, SECONDS);
    snprintf(said, sizeof said, "%s", p.err);
    const int code = p.code;
    pn_process_free(&p);
    return code;
}

static void assert_said(const char *words) {
    if (!strstr(said, words)) fail_msg("want \"%s\" in: %s", words, said);
}

static void train(void) {
    struct stat s;
    if (stat(pn_in_folder("trained"), &s) == 0) return;
    if (RUN("train", "trained", "--genotype", "DARTS_V1", "--data", "synthetic:400x8x8x3",
            "--layers", "2", "--channels", "8", "--batch", "32", "--epochs", "4", "--quiet") != 0)
        fail_msg("train: %s", said);
}

/* The whole way: train, export, make, run; eval says the same. */
static void a_training_becomes_a_program(void **state) {
    (void)state;
    (void)compiler();
    train();
    assert_int_equal(RUN("export", "trained", "--c", "out", "--name", "stripes"), 0);
    assert_said("stripes");
    run_shell(
        "make -C out CFLAGS=-O1 && head -c 192 /dev/zero > black && "
        "(printf 'P6\n8 8\n255\n'; cat black) > black.ppm");
    char *names = shell("out/example black.ppm"), *bytes = shell("out/example --bytes black");
    assert_string_equal(names, bytes);
    assert_int_equal(strlen(names), 2); /* a class without a name is called by its number */
    free(names);
    free(bytes);
    assert_int_equal(RUN("export", "trained", "--c", "out", "--name", "stripes"), 0);
    assert_said("4 older files replaced");
    run_shell("cc -DP=stripes_weights -fsyntax-only out/stripes.c && ! ls out/*.tmp 2>&1");
    run_shell("rm -r out");
}

/* The program says what both are worth. (The network has learnt nothing; how near its logits are is
 * tested above.) */
static void eight_bits_are_judged(void **state) {
    (void)state;
    double in_float, in_int8;
    int images;
    train();
    assert_int_equal(RUN("export", "trained", "--c", "out", "--int8", "--apart"), 0);
    assert_int_equal(sscanf(said, "accuracy on %d test images: float32 %lf %%, int8 %lf", &images,
                            &in_float, &in_int8),
                     3);
    assert_int_equal(images, 80);
    assert_true(fabs(in_float - in_int8) <= 15);
    run_shell(
        "make -C out CFLAGS=-O1 && cc -c -O1 out/net.c -Dnet_WEIGHTS_POINTER -o pointer.o && "
        "rm -r out");
}

static void bad_requests(void **state) {
    (void)state;
    train();
    assert_int_equal(RUN("export", "trained", "--c", "out", "--name", "3d"), PN_EARG);
    assert_said("a name of C");
    assert_int_equal(RUN("export", "trained", "--c", "out", "--name", "float"), PN_EARG);
    assert_int_equal(RUN("export", "trained", "--c", "out", "--name", "../x"), PN_EARG);
    assert_int_equal(RUN("export", "trained", "--int8"), PN_EARG);
    assert_int_equal(RUN("export", "trained", "--c", "out", "--calibrate", "synthetic"), PN_EARG);
    assert_said("--calibrate without --int8");
    assert_int_equal(RUN("export", "trained", "--c", "out", "--embed", "--apart"), PN_EARG);
    assert_int_equal(
        RUN("export", "trained", "--c", "out", "--int8", "--calibrate", "synthetic:20x9x9x3"),
        PN_EARG);
    assert_said("9x9");
    assert_int_equal(access(pn_in_folder("out"), F_OK), -1);
    run_shell("echo > file");
    assert_int_equal(RUN("export", "trained", "--c", "file"), PN_EARG);
    assert_said("want a directory");
    run_shell("mkdir others && echo all: > others/Makefile");
    assert_int_equal(RUN("export", "trained", "--c", "others"), PN_EARG);
    assert_said("Makefile: not made by parsec-nas");
    run_shell("test \"$(ls others)\" = Makefile && test \"$(cat others/Makefile)\" = all:");
}

/* A file that may not grow beyond some size is a disk that is full: nothing is left. */
static void a_full_disk_leaves_nothing(void **state) {
    (void)state;
    train();
    for (size_t size = 512; size < 200000; size *= 8) {
        pn_process p;
        const char *const argv[] = {PN_PROGRAM, "export", "trained", "--c", "full", NULL};
        pn_process_run(&p, argv, &(pn_conditions){.folder = pn_folder, .file_size = size}, SECONDS);
        assert_int_equal(p.code, 6);
        pn_process_free(&p);
        assert_int_equal(access(pn_in_folder("full"), F_OK), -1);
    }
}

static char *lines_of(const char *folder, char **at) {
    *at = pn_folder_text(pn_in_folder(folder), NULL);
    return *at;
}

/* A name that the system does not give: what is there is of one network, and a set that is whole
 * is right. */
static void half_a_set_is_not_left(void **state) {
    (void)state;
    enum { FILES = 6 };
    char *before, *new, *text, fault[32];
    if (!pn_faulty_possible()) skip();
    train();
    assert_int_equal(RUN("export", "trained", "--c", "old", "--apart", "--int8"), 0);
    assert_int_equal(RUN("export", "trained", "--c", "new", "--apart"), 0);
    lines_of("old", &before);
    lines_of("new", &new);
    for (int i = 1; i <= FILES; i++) {
        const char *const argv[] = {PN_PROGRAM, "export",  "trained", "--c",
                                    "into",     "--apart", NULL};
        pn_process p;
        pn_folder_remove(pn_in_folder("into"));
        pn_folder_copy(pn_in_folder("old"), pn_in_folder("into"));
        snprintf(fault, sizeof fault, "renameat:%d:once:EIO", i);
        pn_faulty_run(&p, argv, &(pn_conditions){.folder = pn_folder}, SECONDS,
                      &(pn_faulty){.fault = fault});
        pn_process_refused(&p, 6, "cannot write");
        pn_process_free(&p);
        int left = 0;
        for (char *line = strtok(lines_of("into", &text), "\n"); line; line = strtok(NULL, "\n")) {
            left++;
            if (!strstr(before, line)) fail_msg("name %d fails: of another network: %s", i, line);
        }
        assert_int_equal(left, i == 1 ? FILES : FILES - i + 1);
        free(text);
    }
    assert_string_not_equal(before, new);
    free(before);
    free(new);
    run_shell("rm -r old new into");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_the_network),
        cmocka_unit_test(what_nobody_reads_is_dropped),
        cmocka_unit_test(a_search_network_is_refused),
        cmocka_unit_test(code_gives_the_logits),
        cmocka_unit_test(eight_bits_give_the_same_logits_here_and_there),
        cmocka_unit_test(a_training_becomes_a_program),
        cmocka_unit_test(eight_bits_are_judged),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(half_a_set_is_not_left),
    };
    return cmocka_run_group_tests_name("code", tests, pn_folder_begin, pn_folder_end);
}
