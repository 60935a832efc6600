/* test_program.c -- parsec-nas as a person or a script uses it: what it prints, which files it
 * writes, and that these are what they are said to be. What it refuses: test_refusals.c. */
#define _GNU_SOURCE /* strsep */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "search/methods/prior.h"
#include "search/network/budget.h"
#include "search/network/genotype.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { MOST_ARGUMENTS = 40, LIMIT = 300 /* seconds of a run, far beyond any */ };

/* Runs it, which must succeed; gives stdout, to be freed, and fails if there is anything on
 * stderr. */
static char *output_of(const char *const *arguments) {
    const char *argv[MOST_ARGUMENTS] = {PN_PROGRAM};
    for (int n = 1; *arguments; n++) {
        assert_true(n < MOST_ARGUMENTS - 1);
        argv[n] = *arguments++;
    }
    const pn_conditions where = {.folder = pn_folder};
    pn_process p;
    pn_process_run(&p, argv, &where, LIMIT);
    if (p.code != 0 || *p.err)
        fail_msg("%s: exit code %d, signal %d; it said: %s", argv[1], p.code, p.signal, p.err);
    free(p.err);
    return p.out;
}
#define OUTPUT(...) output_of((const char *const[]){__VA_ARGS__, NULL})

static void quietly(const char *const *arguments) {
    char *text = output_of(arguments);
    assert_string_equal(text, "");
    free(text);
}
#define QUIETLY(...) quietly((const char *const[]){__VA_ARGS__, NULL})

static void assert_same_output(char *a, char *b) {
    assert_string_equal(a, b);
    free(a);
    free(b);
}

static json_t *json_of(char *text) {
    json_error_t why;
    json_t *root = json_loads(text, 0, &why);
    if (!root) fail_msg("%s, in: %s", why.text, text);
    free(text);
    return root;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

/* A small search, for everything that needs one. */
#define DATA "synthetic:200x8x8x3"
#define NETWORK "--layers", "3", "--channels", "4", "--threads", "1"

static int begin(void **state) {
    pn_folder_begin(state);
    char *genotype = OUTPUT("search", "done", "--quiet", "--data", DATA, NETWORK, "--batch", "8",
                            "--samples", "3", "--steps", "40", "--warmup", "5");
    free(genotype);
    return 0;
}

/* ---- help ------------------------------------------------------------------------------------ */

enum { MOST_COMMANDS = 32, PAGE_COLUMNS = 80 };

/* The commands that `help` lists, which is the program's own table. */
static int commands_of_help(char name[MOST_COMMANDS][16]) {
    int count = 0;
    char *text = OUTPUT("help");
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        char summary[2];
        if (count < MOST_COMMANDS && !strncmp(line, "  ", 2) && line[2] != ' ' &&
            sscanf(line, "  %15[a-z] %1[a-z]", name[count], summary) == 2)
            count++;
    }
    free(text);
    return count;
}

static void assert_page(const char *text, const char *what) {
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > PAGE_COLUMNS)
            fail_msg("%s: wider than %d columns: %.*s", what, PAGE_COLUMNS,
                     (int)strcspn(line, "\n"), line);
}

static void help_lists_the_commands(void **state) {
    (void)state;
    char name[MOST_COMMANDS][16];
    char *text = OUTPUT("help");
    assert_true(commands_of_help(name) >= 10);
    assert_string_equal(name[0], "search");
    assert_page(text, "help");
    assert_same_output(text, OUTPUT("--help"));
    assert_same_output(OUTPUT("help"), OUTPUT("-h"));
}

/* Fails unless every line that describes an option describes one that no other line does. */
static void assert_options_once(const char *text, const char *command) {
    int options = 0;
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        char name[64], again[72];
        if (sscanf(line, "  --%60[a-z0-9-]", name) != 1) continue;
        snprintf(again, sizeof again, "\n  --%s ", name);
        const char *first = strstr(text, again);
        if (!first || strstr(first + 1, again))
            fail_msg("%s: --%s is not listed once", command, name);
        options++;
    }
    assert_true(options >= 1);
}

static void help_of_each_command(void **state) {
    (void)state;
    char name[MOST_COMMANDS][16];
    const int count = commands_of_help(name);
    for (int i = 0; i < count; i++) {
        char *text = OUTPUT("help", name[i]), usage[64];
        const int length = snprintf(usage, sizeof usage, "parsec-nas %s", name[i]);
        assert_memory_equal(text, usage, length);
        assert_page(text, name[i]);
        assert_options_once(text, name[i]);
        assert_same_output(text, OUTPUT(name[i], "--help"));
        assert_same_output(OUTPUT("help", name[i]), OUTPUT(name[i], "-h"));
    }
}

static void help_explains_how_cells_are_written(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    char *text = OUTPUT("help", "notation"), brief[PN_SHORT_BYTES];
    pn_arch arch;
    assert_page(text, "help notation");
    assert_non_null(pn_genotype_published(1, &arch));
    pn_genotype_short(&space, &arch, brief);
    for (int op = 0; op < PN_MAX_OPS; op++) assert_non_null(strstr(text, pn_op_name[op]));
    brief[48] = 0; /* its example is how DARTS_V2 begins */
    assert_non_null(strstr(text, brief));
    free(text);
}

static void version_is_one_line(void **state) {
    (void)state;
    assert_same_output(OUTPUT("--version"), strdup("parsec-nas " PN_VERSION "\n"));
}

static void info_as_json(void **state) {
    (void)state;
    json_t *root = json_of(OUTPUT("info", "--json"));
    assert_string_equal(json_string_value(json_object_get(root, "version")), PN_VERSION);
    assert_true(json_array_size(json_object_get(root, "devices")) >= 1);
    assert_true(number(root, "copy_bytes_per_second") > 0);
    assert_true(number(root, "flops_per_second") > 0);
    assert_true(number(root, "memory_available_bytes") > 0);
    json_decref(root);
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* The public PyTorch code of DARTS counts these for 20 cells and 36 channels; that of SNAS too, but
 * for a norm of its own behind every pool. */
static void parameters_of_published_cells(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double params;
    } cells[] = {{"DARTS_V2", 3349342}, {"PDARTS", 3433798}, {"SNAS_aggressive_edge_all", 2313622}};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        json_t *root =
            json_of(OUTPUT("plan", "--json", "--network", "eval", "--genotype", cells[i].name));
        assert_true(number(root, "params") == cells[i].params);
        assert_true(number(root, "params_auxiliary") == 476426);
        assert_true(number(root, "layers") == 20);
        assert_true(number(root, "channels") == 36);
        json_decref(root);
    }
}

/* And these for ImageNet: 14 cells, 48 channels, 1000 classes; the mobile setting's limit of
 * multiply-adds is the reason for those sizes. */
static void parameters_for_imagenet(void **state) {
    (void)state;
    json_t *root = json_of(OUTPUT("plan", "--json", "--network", "eval", "--stem", "imagenet",
                                  "--genotype", "DARTS_V2", "--batch", "2"));
    assert_true(number(root, "params") == 4718752);
    assert_true(number(root, "layers") == 14);
    assert_true(number(root, "channels") == 48);
    assert_true(number(root, "classes") == 1000);
    assert_true(number(root, "macs") > 500e6 && number(root, "macs") < 600e6);
    json_decref(root);
}

/* The auxiliary head's tensors live in the arena of training, not in that of a forward pass. */
static void the_auxiliary_head_counts(void **state) {
    (void)state;
#define EVAL "plan", "--json", "--network", "eval", "--genotype", "PDARTS", "--layers", "6"
    json_t *with = json_of(OUTPUT(EVAL)), *without = json_of(OUTPUT(EVAL, "--no-auxiliary"));
    assert_true(number(with, "launches_fwd") > number(without, "launches_fwd"));
    assert_true(number(with, "activation_bytes") > number(without, "activation_bytes"));
    assert_true(number(with, "arena_bytes_eval") == number(without, "arena_bytes_eval"));
    const double numbers = number(with, "params_auxiliary");
    assert_true(numbers > 0 && numbers == number(without, "params_auxiliary"));
    assert_true(number(with, "parameter_bytes") - number(without, "parameter_bytes") >=
                3 * numbers * sizeof(float)); /* values, gradient and momentum */
    json_decref(with);
    json_decref(without);
}

/* Counted by hand: one cell (a reduction, so it has twice the channels) of pools has no weights but
 * the stem's, the two preprocessings' and the classifier's. */
static void parameters_of_one_cell_by_hand(void **state) {
    (void)state;
    json_t *root = json_of(OUTPUT("plan", "--json", "--layers", "1", "--channels", "8", "--classes",
                                  "7", "--image", "16x12x1", "--batch", "4", "--genotype",
                                  "normal s3@0 s3@1 | s3@0 s3@1 | s3@0 s3@1 | s3@0 s3@1 reduce "
                                  "mp@0 ap@1 | ap@0 mp@1 | mp@0 mp@1 | ap@0 mp@1"));
    const double pixels = 16 * 12, in = 3 * 8, cell = 2 * 8, out = 4 * cell, classes = 7;
    assert_true(number(root, "params") ==
                in * 9 + 2 * in + 2 * in * cell + out * classes + classes);
    assert_true(number(root, "macs") == pixels * (in * 9 + 2 * in * cell) + out * classes);
    json_decref(root);
}

static void every_spelling_of_a_genotype(void **state) {
    (void)state;
    static const char *const texts[] = {
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
        "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
        "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
        "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
        "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, "
        "5])",
        "Genotype( reduce_concat=range(2,6), # as a person may write it\n"
        "reduce=([\"max_pool_3x3\", 0], (\"max_pool_3x3\", 1), (\"skip_connect\", 2), "
        "(\"max_pool_3x3\", 1), (\"max_pool_3x3\", 0), (\"skip_connect\", 2), "
        "(\"skip_connect\", 2), (\"max_pool_3x3\", 1),),\n"
        "normal_concat=range(2, 6), normal=[('sep_conv_3x3',0),('sep_conv_3x3',1),"
        "('sep_conv_3x3',0),('sep_conv_3x3',1),('sep_conv_3x3',1),('skip_connect',0),"
        "('skip_connect',0),('dil_conv_3x3',2)],)",
        ("normal s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2 "
         "reduce mp@0 mp@1 | sk@2 mp@1 | mp@0 sk@2 | sk@2 mp@1"),
    };
    char *want = OUTPUT("plan", "--json", "--genotype", "DARTS_V2");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *text = OUTPUT("plan", "--json", "--genotype", texts[i]);
        assert_string_equal(text, want);
        free(text);
    }

    char module[2048]; /* a file with other things in it */
    const int size =
        snprintf(module, sizeof module, "import x\nDARTS_V2 = %s\nprint(1)\n", texts[1]);
    assert_int_equal(pn_file_write(pn_in_folder("genotypes.py"), module, (size_t)size), PN_OK);
    assert_same_output(want, OUTPUT("plan", "--json", "--genotype", "genotypes.py"));

    assert_same_output(OUTPUT("plan", "--json", "--genotype", "done"), /* a run directory */
                       OUTPUT("plan", "--json", "--genotype", "done/genotype.txt"));
}

static const char *const figures[] = {
    "params",      "params_auxiliary", "macs",        "parameter_bytes", "activation_bytes",
    "arena_bytes", "arena_bytes_eval", "batch_bytes", "context_bytes",   "total_bytes"};
enum { FIGURES = sizeof figures / sizeof *figures };

static void bytes_of_one_architecture(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        json_t *root = json_of(OUTPUT("plan", "--json", "--genotype", "PC_DARTS_cifar", "--network",
                                      i ? "eval" : "search", "--batch", "16"));
        for (int f = 0; f < FIGURES; f++) assert_true(number(root, figures[f]) >= 0);
        assert_true(number(root, "arena_bytes_eval") > 0);
        assert_true(number(root, "arena_bytes_eval") < number(root, "arena_bytes"));
        assert_true(number(root, "activation_bytes") < number(root, "arena_bytes"));
        assert_true(number(root, "total_bytes") == number(root, "parameter_bytes") +
                                                       number(root, "arena_bytes") +
                                                       number(root, "batch_bytes"));
        assert_true(number(root, "context_bytes") == 0);
        /* images and labels, double-buffered: of two halves, or with a factor for every term */
        const double batch = 16. * (32 * 32 * 3 * 4 + 4), factors = 20. * 8 * 16 * 4;
        assert_true(number(root, "batch_bytes") == (i ? 2 * batch + factors : 4 * batch));
        json_decref(root);
    }
}

/* A card's memory is not all the program's: 1 GiB holds what 512 MiB hold on the host. */
static void context_of_a_card(void **state) {
    (void)state;
    const double context = 512 << 20;
    json_t *card =
        json_of(OUTPUT("plan", "--json", "DARTS_V2", "--device", "cuda", "--memory", "1GiB"));
    assert_true(number(card, "context_bytes") == context);
    assert_true(number(card, "total_bytes") == number(card, "parameter_bytes") +
                                                   number(card, "arena_bytes") +
                                                   number(card, "batch_bytes") + context);
    json_t *twin =
        json_of(OUTPUT("plan", "--json", "DARTS_V2", "--device", "emulated", "--memory", "512MiB"));
    assert_true(number(twin, "context_bytes") == 0);
    assert_true(number(card, "largest_batch") > 64);
    assert_true(number(card, "largest_batch") == number(twin, "largest_batch"));
    json_decref(card);
    json_decref(twin);
}

static pn_status of_N_bytes(void *self, int N, size_t *bytes) {
    (void)self;
    *bytes = (size_t)N;
    return PN_OK;
}

static size_t a_thousand(void) { return 1000; }

/* What a limit leaves beside the context, or what there is. */
static void budgets(void **state) {
    (void)state;
    const pn_memory host = {.available = a_thousand},
                    card = {.available = a_thousand, .context_bytes = 100};
    static const struct {
        int shards, N;
        size_t limit;
        bool on_card;
        const char *why; /* NULL: it fits */
    } c[] = {{1, 500, 500, false, NULL},
             {1, 501, 500, false, "the limit is 0.0 MiB; batch 500 would fit"},
             {1, 1000, 0, false, NULL},
             {1, 1001, 0, false, "what the device has is 0.0 MiB; batch 1000 would fit"},
             {1, 1001, 1001, false, "what the device has is 0.0 MiB; batch 1000 would fit"},
             {1, 400, 500, true, NULL},
             {1, 401, 500, true, "the limit without the card's context is 0.0 MiB; batch 400"},
             {1, 1, 100, true, "the limit without the card's context is 0.0 MiB; no batch"},
             {1, 1000, 1100, true, NULL},
             {1, 1000, 0, true, NULL},
             {8, 504, 503, false, "batch 496 would fit"},
             {3, 504, 503, false, "batch 501 would fit"},
             {9, 9, 8, false, "no batch would fit"},
             {9, 504, 504, false, NULL}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        const pn_status s = pn_budget_check(of_N_bytes, NULL, "this", c[i].N, c[i].shards,
                                            c[i].limit, c[i].on_card ? &card : &host);
        assert_int_equal(s, c[i].why ? PN_EMEM : PN_OK);
        if (c[i].why) assert_non_null(strstr(pn_error(), c[i].why));
    }
    assert_true(pn_budget_room(99, &card) == 0);
}

/* Without a gradient for the whole space; shards are smaller, and each has a gradient. */
static void bytes_of_several_passes(void **state) {
    (void)state;
    static const char *const steps[][2] = {{"1", "1"}, {"4", "1"}, {"4", "4"}};
    double parameters[3], arena[3];
    for (int i = 0; i < 3; i++) {
        json_t *root = json_of(OUTPUT("plan", "--json", "DARTS_V2", "--step-samples", steps[i][0],
                                      "--shards", steps[i][1]));
        parameters[i] = number(root, "parameter_bytes");
        arena[i] = number(root, "arena_bytes");
        assert_true(number(root, "total_bytes") ==
                    parameters[i] + arena[i] + number(root, "batch_bytes"));
        json_decref(root);
    }
    const double range = parameters[0] / 3, place = (parameters[1] - 2 * range) / 4;
    assert_true(parameters[1] < parameters[0]);
    assert_true(parameters[2] == 2 * range + 16 * place);
    json_t *root = json_of(OUTPUT("plan", "--json", "DARTS_V2", "--step-samples", "4", "--shards",
                                  "4", "--ranks", "3"));
    assert_true(number(root, "parameter_bytes") == 2 * range + 6 * place);
    json_decref(root);
    assert_true(arena[1] == arena[0] && arena[2] < arena[0] / 3);
}

static void smallest_mean_and_largest(void **state) {
    (void)state;
    json_t *root = json_of(OUTPUT("plan", "--json", "--samples", "20", "--batch", "8"));
    for (int f = 0; f < FIGURES; f++) {
        const json_t *one = json_object_get(root, figures[f]);
        const double min = number(one, "min"), mean = number(one, "mean"), max = number(one, "max");
        /* A mean of equal numbers, summed in parts of 1/20, may be off by 20 roundings. */
        assert_true(min <= mean * (1 + 0x1p-48) && mean <= max * (1 + 0x1p-48));
    }
    const json_t *params = json_object_get(root, "params");
    assert_true(number(params, "min") < number(params, "max"));
    json_decref(root);

    assert_same_output(OUTPUT("plan", "--json", "--samples", "20", "--batch", "8"),
                       OUTPUT("plan", "--json", "--samples", "20", "--batch", "8", "--seed", "1"));
    char *a = OUTPUT("plan", "--samples", "5"),
         *b = OUTPUT("plan", "--samples", "5", "--seed", "2");
    assert_string_not_equal(a, b);
    free(a);
    free(b);
}

static void supernet_costs_more_than_any_sample(void **state) {
    (void)state;
    json_t *supernet = json_of(OUTPUT("plan", "--json", "--supernet"));
    json_t *samples = json_of(OUTPUT("plan", "--json", "--samples", "20"));
    const char *const more[] = {"params", "macs", "activation_bytes", "arena_bytes"};
    for (int i = 0; i < 4; i++)
        assert_true(number(supernet, more[i]) > number(json_object_get(samples, more[i]), "max"));
    json_decref(supernet);
    json_decref(samples);
}

/* Second order: beside value, gradient and momentum two copies of the values, and nothing else. */
static void looking_ahead_costs_two_copies(void **state) {
    (void)state;
    json_t *first = json_of(OUTPUT("plan", "--json", "--method", "darts", "--batch", "8")),
           *second = json_of(
               OUTPUT("plan", "--json", "--method", "darts", "--batch", "8", "--order", "2"));
    const double copies = 2 * number(first, "parameter_bytes") / 3;
    for (int f = 0; f < FIGURES; f++) {
        const bool more =
            !strcmp(figures[f], "parameter_bytes") || !strcmp(figures[f], "total_bytes");
        assert_true(number(second, figures[f]) == number(first, figures[f]) + (more ? copies : 0));
    }
    json_decref(first);
    json_decref(second);
}

static void the_largest_batch_fits_and_the_next_does_not(void **state) {
    (void)state;
    const double memory = 512. * (1 << 20);
    json_t *root =
        json_of(OUTPUT("plan", "--json", "--genotype", "DARTS_V2", "--memory", "512MiB"));
    const int largest = (int)number(root, "largest_batch");
    json_decref(root);
    for (int i = 0; i < 2; i++) {
        char batch[16];
        snprintf(batch, sizeof batch, "%d", largest + i);
        root = json_of(OUTPUT("plan", "--json", "--genotype", "DARTS_V2", "--batch", batch));
        assert_int_equal(number(root, "total_bytes") > memory, i);
        json_decref(root);
    }
}

/* The figures are printed all the same: they say why. */
static void a_plan_that_does_not_fit_ends_with_4(void **state) {
    (void)state;
    static const struct {
        const char *batch, *memory, *want;
    } cases[] = {
        {"64", "100MiB", "batch 64 needs 270.1 MiB, --memory is 100.0 MiB; batch 19 would fit"},
        {"64", "1MiB", "batch 64 needs 270.1 MiB, --memory is 1.0 MiB; no batch would fit"},
        {"19", "100MiB", ""},
    };
    for (int i = 0; i < 3; i++) {
        const char *const argv[] = {PN_PROGRAM,     "plan",     "DARTS_V2",      "--batch",
                                    cases[i].batch, "--memory", cases[i].memory, NULL};
        pn_process p;
        pn_process_run(&p, argv, &(pn_conditions){.folder = pn_folder}, LIMIT);
        assert_int_equal(p.code, *cases[i].want ? PN_EMEM : 0);
        assert_non_null(strstr(p.out, "largest_batch"));
        if (!strstr(p.err, cases[i].want)) fail_msg("%s, want %s", p.err, cases[i].want);
        pn_process_free(&p);
    }
}

/* Of the card, in every build that has a C++ compiler: its ops ask for other scratch. */
static void plans_of_a_card_that_is_not_here(void **state) {
    (void)state;
    json_t *host = json_of(OUTPUT("plan", "--json", "DARTS_V2")),
           *card = json_of(OUTPUT("plan", "--json", "DARTS_V2", "--device", "cuda")),
           *twin = json_of(OUTPUT("plan", "--json", "DARTS_V2", "--device", "emulated"));
    assert_true(number(host, "arena_bytes") != number(card, "arena_bytes"));
    for (int f = 0; f < FIGURES; f++)
        if (!strstr("context_bytes total_bytes", figures[f]))
            assert_true(number(card, figures[f]) == number(twin, figures[f]));
    json_decref(host);
    json_decref(card);
    json_decref(twin);
}

/* Of several architectures in flight so many arenas, or as many as fit; the host has one. */
static void plans_of_several_in_flight(void **state) {
    (void)state;
#define IN_FLIGHT(n, ...)                                                                  \
    json_of(OUTPUT("plan", "--json", "DARTS_V2", "--step-samples", "4", "--in-flight", #n, \
                   __VA_ARGS__))
    char memory[2][32];
    json_t *one = IN_FLIGHT(1, "--device", "cuda"), *two = IN_FLIGHT(2, "--device", "cuda");
    const double arena = number(one, "arena_bytes");
    assert_true(number(two, "arena_bytes") == 2 * arena);
    assert_true(number(two, "total_bytes") == number(one, "total_bytes") + arena);
    for (int less = 0; less < 2; less++)
        snprintf(memory[less], sizeof memory[less], "%.0fB", number(two, "total_bytes") - less);
    enum { AS_ONE = 3 };
    json_t *as_one[AS_ONE] = {
        json_of(OUTPUT("plan", "--json", "DARTS_V2", "--step-samples", "4", "--device", "cuda")),
        IN_FLIGHT(3, "--device", "cuda", "--ranks", "4"),
        IN_FLIGHT(3, "--device", "cuda", "--memory", memory[1])};
    for (int i = 0; i < AS_ONE; i++) {
        assert_true(number(as_one[i], "arena_bytes") == arena);
        json_decref(as_one[i]);
    }
    json_t *fit = IN_FLIGHT(3, "--device", "cuda", "--memory", memory[0]),
           *host = json_of(OUTPUT("plan", "--json", "DARTS_V2", "--step-samples", "4")),
           *host_too = IN_FLIGHT(3, "--device", "cpu");
    assert_true(number(fit, "arena_bytes") == 2 * arena);
    assert_true(number(host_too, "total_bytes") == number(host, "total_bytes"));
    json_decref(one);
    json_decref(two);
    json_decref(fit);
    json_decref(host);
    json_decref(host_too);
#undef IN_FLIGHT
}

/* ---- sample ---------------------------------------------------------------------------------- */

static const char *next_line(const char *text) {
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    return end + 1;
}

static void draws_depend_on_the_seed_alone(void **state) {
    (void)state;
    char *five = OUTPUT("sample", "--count", "5"), *ten = OUTPUT("sample");
    char *other = OUTPUT("sample", "--count", "5", "--seed", "2");
    assert_memory_equal(ten, five, strlen(five)); /* the first of more are the same */
    assert_string_not_equal(five, other);
    int lines = 0;
    for (const char *line = ten; *line; line = next_line(line)) {
        pn_arch arch;
        double log_p = strtod(line, NULL);
        const char *genotype = strchr(line, ' ') + 1;
        /* 16 ops of 7, and twice inputs of 2, 3, 4 and 5 for two slots: -(16 log 7 + 4 log 120) */
        assert_true(fabs(log_p + 16 * log(7) + 4 * log(120)) < 1e-4);
        assert_int_equal(
            pn_genotype_read(genotype, (size_t)(strchr(genotype, '\n') - genotype), &arch), PN_OK);
        lines++;
    }
    assert_int_equal(lines, 10);
    free(five);
    free(ten);
    free(other);
}

static int by_input(const void *a, const void *b) {
    const pn_choice *x = a, *y = b;
    return x->input != y->input ? x->input - y->input : x->op - y->op;
}

/* A genotype whose terms of a node are in the order of their inputs: methods hand over the best one
 * first. */
static pn_arch sorted(const char *genotype) {
    pn_arch arch;
    assert_int_equal(pn_genotype_read(genotype, strlen(genotype), &arch), PN_OK);
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int node = 0; node < PN_MAX_NODES; node++) {
            pn_cell *cell = &arch.cell[kind];
            qsort(cell->term[node], (size_t)pn_slots(cell, node), sizeof(pn_choice), by_input);
        }
    return arch;
}

/* 50 cells of a run, the one that it ended with in front. */
static void check_top(const char *run) {
    char *top = OUTPUT("sample", run, "--top", "50"), *one = OUTPUT("sample", run, "--top", "1");
    char path[64];
    snprintf(path, sizeof path, "%s/genotype.txt", run);
    assert_memory_equal(top, one, strlen(one));
    void *genotype;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder(path), 1024, &genotype, &size), PN_OK);
    const pn_arch first = sorted(strchr(one, ' ') + 1), ended = sorted(genotype);
    assert_memory_equal(&first, &ended, sizeof first);
    int lines = 0;
    double before = 0;
    for (const char *line = top; *line; line = next_line(line), lines++) {
        const double log_p = strtod(line, NULL);
        assert_true(log_p <= before);
        before = log_p;
    }
    assert_int_equal(lines, 50);
    free(top);
    free(one);
    free(genotype);
}

static void the_most_probable_come_first(void **state) {
    (void)state;
    check_top("done");
}

/* Every row of a table has its columns; gives the last row, to be freed. */
static char *last_row(const char *path, const char *columns) {
    void *text;
    size_t size, commas = 0;
    assert_int_equal(pn_file_read(pn_in_folder(path), 1 << 20, &text, &size), PN_OK);
    const char *line = text, *last = text;
    const size_t n = strcspn(line, "\n"), m = strlen(columns);
    assert_true(n > m);
    assert_memory_equal(line + n - m, columns, m);
    for (size_t i = 0; i < n; i++) commas += line[i] == ',';
    for (; *line; line = next_line(line)) {
        size_t found = 0;
        for (size_t i = 0; i < strcspn(line, "\n"); i++) found += line[i] == ',';
        assert_int_equal(found, commas);
        last = line;
    }
    char *row = strndup(last, strcspn(last, "\n"));
    assert_non_null(row);
    free(text);
    return row;
}

/* Of methods without pi: the cells by their logits, and what a step is told by alone. */
static void methods_with_logits(void **state) {
    (void)state;
    static const struct {
        const char *method, *columns;
        int more; /* columns */
        double temperature;
    } cases[] = {{"darts", "cells_reached", 0, 0},
                 {"gdas", "cells_reached,temperature", 1, 0.1},
                 {"snas", "cells_reached,temperature,resource", 2, 0.03}};
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/metrics.csv", cases[i].method);
        free(OUTPUT("search", cases[i].method, "--quiet", "--data", DATA, NETWORK, "--batch", "8",
                    "--steps", "3", "--method", cases[i].method, "--rate-alpha", "0.1"));
        check_top(cases[i].method);
        char *row = last_row(path, cases[i].columns), *cell = strrchr(row, ',');
        if (cases[i].more == 2) {
            assert_true(strtod(cell + 1, NULL) > 0);
            *cell = 0;
            cell = strrchr(row, ',');
        }
        if (cases[i].more) assert_true(strtod(cell + 1, NULL) == cases[i].temperature);
        free(row);
    }
}

/* The search said that inputs differ, so its distribution has no others. */
static void a_run_has_its_own_rule_of_inputs(void **state) {
    (void)state;
    json_t *rows = json_of(OUTPUT("sample", "done", "--json", "--count", "20"));
    assert_int_equal(json_array_size(rows), 20);
    for (size_t i = 0; i < 20; i++) {
        const json_t *row = json_array_get(rows, i);
        const char *text = json_string_value(json_object_get(row, "short"));
        const char *full = json_string_value(json_object_get(row, "genotype"));
        pn_arch arch, same;
        assert_int_equal(pn_genotype_read(text, strlen(text), &arch), PN_OK);
        assert_int_equal(pn_genotype_read(full, strlen(full), &same), PN_OK);
        assert_memory_equal(&arch, &same, sizeof arch);
        assert_true(number(row, "log_p") < 0);
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int node = 0; node < PN_MAX_NODES; node++)
                assert_int_not_equal(arch.cell[kind].term[node][0].input,
                                     arch.cell[kind].term[node][1].input);
    }
    json_decref(rows);
    assert_same_output(OUTPUT("sample", "done"),
                       OUTPUT("sample", "done/checkpoint-00000040.safetensors"));
}

/* Column 2 and 3 are what --json says; without --truth they are not there. */
static void samples_are_judged(void **state) {
    (void)state;
    char *text = OUTPUT("sample", "--distinct-inputs", "--truth", "nasbench301", "--count", "20"),
         *plain = OUTPUT("sample", "--distinct-inputs", "--count", "20");
    json_t *rows = json_of(
        OUTPUT("sample", "--distinct-inputs", "--truth", "nasbench301", "--count", "20", "--json"));
    const char *line = text, *other = plain;
    for (size_t i = 0; i < 20; i++, line = next_line(line), other = next_line(other)) {
        const json_t *judged = json_object_get(json_array_get(rows, i), "truth");
        char want[64] = " - - Genotype";
        if (json_is_true(json_object_get(judged, "judged")))
            snprintf(want, sizeof want, " %.2f %.3f Genotype", number(judged, "accuracy"),
                     number(judged, "better_than"));
        else
            assert_non_null(json_object_get(judged, "why"));
        assert_memory_equal(strchr(line, ' '), want, strlen(want));
        const char *genotype = strchr(other, 'G');
        assert_memory_equal(strchr(line, 'G'), genotype, next_line(genotype) - genotype);
    }
    json_decref(rows);
    free(text);
    free(plain);
}

/* ---- trace ----------------------------------------------------------------------------------- */

static pn_safetensors *tensors(const char *name) {
    pn_safetensors *file;
    if (pn_safetensors_read(pn_in_folder(name), &file) != PN_OK) fail_msg("%s", pn_error());
    return file;
}

static pn_array array(const char *name) {
    pn_array a;
    if (pn_npy_read(pn_in_folder(name), &a) != PN_OK) fail_msg("%s", pn_error());
    return a;
}

static json_t *json_file(const char *name) {
    void *text;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 20, &text, &size), PN_OK);
    return json_of(text);
}

static void assert_same_file(const char *a, const char *b) {
    void *x, *y;
    size_t m, n;
    assert_int_equal(pn_file_read(pn_in_folder(a), 1 << 28, &x, &m), PN_OK);
    assert_int_equal(pn_file_read(pn_in_folder(b), 1 << 28, &y, &n), PN_OK);
    if (m != n || memcmp(x, y, m) != 0) fail_msg("%s and %s differ", a, b);
    free(x);
    free(y);
}

static double norm(const pn_array *a) {
    double squares = 0;
    for (size_t i = 0; i < pn_array_bytes(a) / sizeof(float); i++) {
        const double x = ((const float *)a->data)[i];
        assert_true(isfinite(x));
        squares += x * x;
    }
    return sqrt(squares);
}

enum { BATCH = 8, EDGE = 8, CHANNELS = 3, CLASSES = 10 };
#define TRACE "trace", "--genotype", "DARTS_V2", NETWORK
#define FROM_DATA TRACE, "--data", DATA, "--batch", "8"
#define FROM_FILES TRACE, "--input", "trace/input.npy", "--labels", "trace/labels.npy"

static void assert_shape(const pn_array *a, pn_dtype dtype, int rank, const int64_t *shape) {
    assert_int_equal(a->dtype, dtype);
    assert_int_equal(a->rank, rank);
    assert_memory_equal(a->shape, shape, (size_t)rank * sizeof *shape);
}

/* (pixel / 255 - mean) / std, planes first. In float: pixel / 255, the difference and the quotient
 * are each rounded, by at most u = 2^-24 of at most 1, 1 and |v|; std is above 0.05 here and |v|
 * below 20, so that v is off by at most 2 u / 0.05 + 20 u = 60 u. */
static void trace_writes_the_batch(void **state) {
    (void)state;
    QUIETLY(FROM_DATA, "--out", "trace");
    pn_array x = array("trace/input.npy"), y = array("trace/labels.npy");
    assert_shape(&x, PN_F32, 4, (const int64_t[]){BATCH, CHANNELS, EDGE, EDGE});
    assert_shape(&y, PN_I64, 1, (const int64_t[]){BATCH});
    pn_data data;
    assert_int_equal(pn_data_open(DATA, PN_TRAIN, &data), PN_OK);
    for (int n = 0; n < BATCH; n++) {
        assert_int_equal(((const int64_t *)y.data)[n], data.labels[n]);
        for (int p = 0; p < EDGE * EDGE; p++)
            for (int c = 0; c < CHANNELS; c++) {
                const double pixel = data.images[(n * EDGE * EDGE + p) * CHANNELS + c] / 255.;
                const double v = (pixel - (double)data.mean[c]) / (double)data.std[c];
                const float found = ((const float *)x.data)[(n * CHANNELS + c) * EDGE * EDGE + p];
                assert_true(data.std[c] > 0.05F && fabs(v) < 20);
                assert_true(fabs((double)found - v) <= 60 * 0x1p-24);
            }
    }
    pn_data_free(&data);
    pn_npy_free(&x);
    pn_npy_free(&y);
}

/* The loss is made of these very logits in double precision; another order of the sum of eight
 * numbers may differ by some roundings. */
static void trace_says_the_loss_of_its_logits(void **state) {
    (void)state;
    pn_array logits = array("trace/logits.npy"), labels = array("trace/labels.npy");
    assert_shape(&logits, PN_F32, 2, (const int64_t[]){BATCH, CLASSES});
    double log_likelihood = 0;
    int correct = 0;
    for (int n = 0; n < BATCH; n++) {
        const float *l = (const float *)logits.data + (size_t)n * CLASSES;
        const int label = (int)((const int64_t *)labels.data)[n];
        double sum = 0;
        int best = 0;
        for (int k = 0; k < CLASSES; k++) {
            sum += exp((double)l[k]);
            if (l[k] > l[best]) best = k;
        }
        log_likelihood += (double)l[label] - log(sum);
        correct += best == label;
    }
    json_t *root = json_file("trace/trace.json");
    assert_true(fabs(number(root, "log_likelihood") - log_likelihood) < 1e-12 * -log_likelihood);
    assert_true(fabs(number(root, "loss") + log_likelihood / BATCH) < 1e-12 * -log_likelihood);
    assert_int_equal(number(root, "correct"), correct);
    assert_true(number(root, "batch") == BATCH && number(root, "classes") == CLASSES);
    assert_null(json_object_get(root, "step_ms")); /* nobody asked */
    json_decref(root);
    pn_npy_free(&logits);
    pn_npy_free(&labels);
}

/* Every weight has its gradient, and that of the classifier's bias is known: the mean of softmax
 * minus label. Sums of eight float32 numbers of at most 1/8 are off by at most 8 roundings. */
static void trace_writes_all_gradients(void **state) {
    (void)state;
    pn_safetensors *w = tensors("trace/weights.safetensors"),
                   *g = tensors("trace/gradients.safetensors");
    static const char *const names[] = {"stem.conv.weight",
                                        "stem.bn.weight",
                                        "stem.bn.bias",
                                        "cells.0.preprocess0.weight",
                                        "cells.2.preprocess0.weight_1",
                                        "cells.0.nodes.0.input.0.sep_conv_3x3.dw2.weight",
                                        "cells.0.nodes.3.input.2.dil_conv_3x3.pw1.weight",
                                        "classifier.weight",
                                        "classifier.bias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!pn_safetensors_find(w, names[i])) fail_msg("no tensor %s", names[i]);
    assert_int_equal(pn_safetensors_count(w), pn_safetensors_count(g));
    for (int i = 0; i < pn_safetensors_count(w); i++) {
        const pn_array *a = pn_safetensors_at(w, i), *b = pn_safetensors_find(g, a->name);
        if (!b || !(norm(b) > 0)) fail_msg("gradient of %s: none, or all zeros", a->name);
        assert_shape(b, PN_F32, a->rank, a->shape);
    }

    pn_array logits = array("trace/logits.npy"), labels = array("trace/labels.npy");
    const float *bias = pn_safetensors_find(g, "classifier.bias")->data;
    for (int k = 0; k < CLASSES; k++) {
        double want = 0;
        for (int n = 0; n < BATCH; n++) {
            const float *l = (const float *)logits.data + (size_t)n * CLASSES;
            double sum = 0;
            for (int j = 0; j < CLASSES; j++) sum += exp((double)l[j]);
            want += (exp((double)l[k]) / sum - (((const int64_t *)labels.data)[n] == k)) / BATCH;
        }
        assert_true(fabs((double)bias[k] - want) <= 8 * 0x1p-24);
    }
    pn_npy_free(&logits);
    pn_npy_free(&labels);
    pn_safetensors_free(w);
    pn_safetensors_free(g);
}

static void trace_reads_what_it_wrote(void **state) {
    (void)state;
    static const char *const names[] = {"weights.safetensors", "gradients.safetensors",
                                        "logits.npy", "input.npy", "labels.npy"};
    QUIETLY(FROM_FILES, "--weights", "trace/weights.safetensors", "--seed", "9", "--threads", "2",
            "--out", "again");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char a[64], b[64];
        snprintf(a, sizeof a, "trace/%s", names[i]);
        snprintf(b, sizeof b, "again/%s", names[i]);
        assert_same_file(a, b);
    }
}

static void trace_of_initial_weights_only(void **state) {
    (void)state;
    QUIETLY(TRACE, "--image", "8x8x3", "--init-only", "--out", "init");
    char *text = pn_folder_text(pn_in_folder("init"), NULL);
    assert_memory_equal(text, "weights.safetensors ", strlen("weights.safetensors "));
    assert_string_equal(next_line(text), "");
    free(text);
    assert_same_file("init/weights.safetensors", "trace/weights.safetensors"); /* the same seed */
}

/* A search's checkpoint has the weights of all architectures, momenta, and pi. */
static void trace_with_a_checkpoints_weights(void **state) {
    (void)state;
    QUIETLY(FROM_FILES, "--weights", "done/checkpoint-00000040.safetensors", "--out", "searched");
    pn_safetensors *w = tensors("searched/weights.safetensors"),
                   *all = tensors("done/checkpoint-00000040.safetensors");
    assert_true(pn_safetensors_count(w) < pn_safetensors_count(all));
    for (int i = 0; i < pn_safetensors_count(w); i++) {
        const pn_array *a = pn_safetensors_at(w, i), *b = pn_safetensors_find(all, a->name);
        assert_non_null(b);
        assert_shape(b, PN_F32, a->rank, a->shape);
        assert_memory_equal(a->data, b->data, pn_array_bytes(a));
    }
    pn_safetensors_free(w);
    pn_safetensors_free(all);
}

static void trace_times_without_changing_anything(void **state) {
    (void)state;
    QUIETLY(FROM_DATA, "--repeat", "3", "--out", "timed");
    assert_same_file("timed/weights.safetensors", "trace/weights.safetensors");
    assert_same_file("timed/gradients.safetensors", "trace/gradients.safetensors");
    assert_same_file("timed/logits.npy", "trace/logits.npy");
    json_t *timed = json_file("timed/trace.json"), *first = json_file("trace/trace.json");
    assert_true(number(timed, "loss") == number(first, "loss"));
    assert_true(number(timed, "repeat") == 3);
    assert_true(number(timed, "forward_ms") > 0 && number(timed, "step_ms") > 0);
    assert_true(number(timed, "peak_bytes") >= number(timed, "arena_bytes"));
    json_decref(timed);
    json_decref(first);
    /* Forward from the stem to the head, and back. */
    FILE *f = fopen(pn_in_folder("timed/launches.csv"), "r");
    char line[80], op[16], pass[8], before[16] = "";
    int at, jobs, launches = 0, backward = 0;
    double us;
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "launch,op,pass,jobs,us\n");
    for (; fgets(line, sizeof line, f); launches++) {
        assert_int_equal(sscanf(line, "%d,%15[^,],%7[^,],%d,%lf", &at, op, pass, &jobs, &us), 5);
        assert_int_equal(at, launches);
        assert_true(jobs >= 1 && us > 0);
        if (launches == 0) assert_string_equal(op, "stem");
        if (!backward && !strcmp(pass, "bwd")) assert_string_equal(before, "head");
        assert_true(!backward || !strcmp(pass, "bwd"));
        backward |= !strcmp(pass, "bwd");
        snprintf(before, sizeof before, "%s", op);
    }
    assert_true(backward);
    assert_string_equal(op, "stem");
    fclose(f);
}

/* Every row says ok; the bounds and the comparison themselves are tested in test_network.c. */
#define EVAL_DATA "--data", "synthetic:16x32x32x3"
#define TRACE_EVAL TRACE, "--network", "eval", EVAL_DATA, "--batch", "16", "--auxiliary"

/* The classifier knows nothing of the auxiliary head's loss, the stem does, and with weight 0 the
 * head learns nothing; what is found in the forward pass is the same to the bit. */
static void trace_of_an_evaluation_network(void **state) {
    (void)state;
    static const char *const same[] = {"logits.npy", "logits_auxiliary.npy", "running.safetensors",
                                       "weights.safetensors"};
    QUIETLY(TRACE_EVAL, "--out", "eval");
    QUIETLY(TRACE_EVAL, "--auxiliary-weight", "0", "--weights", "eval/weights.safetensors",
            "--seed", "9", "--out", "eval-0");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char a[64], b[64];
        snprintf(a, sizeof a, "eval/%s", same[i]);
        snprintf(b, sizeof b, "eval-0/%s", same[i]);
        assert_same_file(a, b);
    }
    pn_safetensors *g = tensors("eval/gradients.safetensors"),
                   *without = tensors("eval-0/gradients.safetensors");
    assert_int_equal(pn_safetensors_count(g), pn_safetensors_count(without));
    for (int i = 0; i < pn_safetensors_count(g); i++) {
        const pn_array *a = pn_safetensors_at(g, i), *b = pn_safetensors_find(without, a->name);
        const bool auxiliary = !strncmp(a->name, "auxiliary_head.", 15);
        assert_non_null(b);
        assert_null(strstr(a->name, "running_"));
        assert_true(norm(a) > 0);
        assert_true(auxiliary ? norm(b) == 0 : norm(b) > 0);
        if (auxiliary) continue;
        const bool equal = !memcmp(a->data, b->data, pn_array_bytes(a));
        if (equal != !strncmp(a->name, "classifier.", 11)) fail_msg("gradient of %s", a->name);
    }
    json_t *root = json_file("eval/trace.json");
    assert_true(number(root, "loss_auxiliary") > 0);
    assert_true(number(root, "loss_auxiliary") != number(root, "loss"));
    json_decref(root);
    pn_safetensors_free(g);
    pn_safetensors_free(without);
}

/* Inference with given running statistics is what eval does with the same file. */
static void trace_of_inference(void **state) {
    (void)state;
    QUIETLY(TRACE_EVAL, "--weights", "eval/weights.safetensors", "--mode", "inference", "--out",
            "inference");
    assert_int_equal(access(pn_in_folder("inference/gradients.safetensors"), F_OK), -1);
    json_t *root = json_file("inference/trace.json"),
           *judged = json_of(OUTPUT("eval", "eval/weights.safetensors", EVAL_DATA, "--split",
                                    "train", "--json", "--logits", "judged.npy"));
    assert_true(fabs(number(root, "loss") - number(judged, "loss")) <=
                1e-12 * number(root, "loss"));
    assert_int_equal(number(root, "correct"), number(judged, "correct"));
    assert_same_file("inference/logits.npy", "judged.npy");
    json_decref(root);
    json_decref(judged);
}

/* Ones leave everything as it is, to the bit; a term dropped for all images has no gradient. */
static void trace_with_drop_path(void **state) {
    (void)state;
    float factor[3][4][2][16];
    for (int i = 0; i < 3 * 4 * 2 * 16; i++) (&factor[0][0][0][0])[i] = 1;
    const pn_array array = {.dtype = PN_F32, .rank = 4, .shape = {3, 4, 2, 16}, .data = factor};
    assert_int_equal(pn_npy_write(pn_in_folder("ones.npy"), &array), PN_OK);
    memset(factor[0][0][1], 0, sizeof factor[0][0][1]); /* sep_conv_3x3 on input 1 */
    assert_int_equal(pn_npy_write(pn_in_folder("dropped.npy"), &array), PN_OK);
    QUIETLY(TRACE_EVAL, "--drop-path", "ones.npy", "--out", "ones");
    QUIETLY(TRACE_EVAL, "--drop-path", "dropped.npy", "--out", "dropped");
    assert_same_file("ones/gradients.safetensors", "eval/gradients.safetensors");
    assert_same_file("dropped/drop_path.npy", "dropped.npy");
    pn_safetensors *g = tensors("dropped/gradients.safetensors");
    for (int slot = 0; slot < 2; slot++) {
        char name[64];
        snprintf(name, sizeof name, "cells.0._ops.%d.op.1.weight", slot);
        assert_true(slot ? norm(pn_safetensors_find(g, name)) == 0
                         : norm(pn_safetensors_find(g, name)) > 0);
    }
    pn_safetensors_free(g);
}

static void check_finds_this_build_right(void **state) {
    (void)state;
    char *text = OUTPUT("check", "--samples", "1");
    assert_non_null(strstr(text, "host-base"));
    assert_non_null(strstr(text, "same bits ok"));
    assert_null(strstr(text, "FAILED"));
    free(text);
}

/* A search's cell, a given one and random ones, trained a little, in one table. */
static void compare_trains_every_cell(void **state) {
    (void)state;
    json_t *root = json_of(
        OUTPUT("compare", "done", "PDARTS", "--random", "3", "--steps", "5", "--json", "--quiet"));
    const json_t *cells = json_object_get(root, "cells");
    static const char *const names[] = {"derived", "PDARTS", "random 1", "random 2", "random 3"};
    assert_int_equal(json_array_size(cells), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *cell = json_array_get(cells, i);
        assert_string_equal(json_string_value(json_object_get(cell, "name")), names[i]);
        assert_true(json_is_true(json_object_get(cell, "random")) == (i >= 2));
        static const char *const numbers[] = {"shared_accuracy", "validation_accuracy",
                                              "test_accuracy"};
        for (size_t k = 0; k < 3; k++)
            assert_true(number(cell, numbers[k]) >= 0 && number(cell, numbers[k]) <= 1);
        assert_true(number(cell, "test_loss") > 0);
    }
    json_decref(root);
    char *text = OUTPUT("compare", "done", "--random", "2", "--steps", "5", "--quiet");
    assert_non_null(strstr(text, "  2 random cells, mean "));
    assert_non_null(strstr(text, "a single search\nproves nothing"));
    free(text);
    root = json_of(OUTPUT("compare", "done", "--steps", "0", "--json", "--quiet"));
    const json_t *cell = json_array_get(json_object_get(root, "cells"), 0);
    assert_non_null(json_object_get(cell, "shared_accuracy"));
    assert_null(json_object_get(cell, "test_accuracy"));
    json_decref(root);
}

/* ---- how long -------------------------------------------------------------------------------- */

/* A time chooses the steps, once: the run keeps them, and the same command continues it. */
static void a_time_chooses_the_length_of_a_run(void **state) {
    (void)state;
    char *cell = OUTPUT("search", "timed-search", "--quiet", "--data", DATA, NETWORK, "--batch",
                        "8", "--time", "1s");
    json_t *root = json_file("timed-search/run.json"), *s = json_object_get(root, "settings");
    const double steps = number(s, "steps");
    assert_true(number(s, "time") == 1 && steps >= 1 && number(s, "warmup") == steps);
    assert_true(number(root, "step") == steps);
    assert_same_output(cell, OUTPUT("search", "timed-search", "--quiet", "--time", "1s"));
    json_decref(root);

    free(OUTPUT("train", "timed-train", "--quiet", "--data", "synthetic:24x8x8x3", NETWORK,
                "--batch", "8", "--cutout", "0", "--genotype", "PDARTS", "--time", "0.02m",
                "--seeds", "1,2"));
    json_t *one = json_file("timed-train/seed-1/run.json"),
           *two = json_file("timed-train/seed-2/run.json");
    s = json_object_get(one, "settings");
    assert_true(number(s, "time") == 1.2 && number(s, "epochs") >= 1);
    assert_true(number(s, "epochs") == number(json_object_get(two, "settings"), "epochs"));
    json_decref(one);
    json_decref(two);
}

/* What was not measured is empty, not 0: the mean of a column is that of its numbers. */
static void a_cell_without_a_number_is_empty(void **state) {
    (void)state;
    void *text;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder("done/metrics.csv"), 1 << 20, &text, &size), PN_OK);
    const char *row = next_line(text);
    for (int step = 0; step < 40; step++, row = next_line(row)) {
        char *line = strndup(row, strcspn(row, "\n")), *rest = line, *cells[16];
        for (int i = 0; i < 16; i++) cells[i] = strsep(&rest, ",");
        assert_null(rest);
        static const int validated[] = {4, 6, 8, 11}, always[] = {2, 3, 5, 7, 9, 10};
        for (int i = 0; i < 4; i++)
            assert_int_equal(*cells[validated[i]] == 0, !strcmp(cells[1], "warmup"));
        for (int i = 0; i < 6; i++) assert_true(*cells[always[i]]);
        free(line);
    }
    free(text);
}

/* Of a search, of a given cell and of random ones; without training, and without any data. */
static void compare_judges_cells(void **state) {
    (void)state;
#define TWICE                                               \
    "normal s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@1 | sk@0 d3@2 " \
    "reduce mp@0 mp@1 | sk@2 mp@1 | mp@0 sk@2 | sk@2 mp@1"
#define JUDGED \
    "compare", TWICE, "--random", "3", "--steps", "0", "--quiet", "--truth", "nasbench301"
    json_t *root = json_of(OUTPUT(JUDGED, "--json", "done"));
    const json_t *cells = json_object_get(root, "cells"), *table = json_object_get(root, "truth");
    assert_int_equal(number(table, "cells"), 1218);
    assert_string_equal(json_string_value(json_object_get(table, "measure")), "cifar10_valid");
    assert_int_equal(json_array_size(cells), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *judged = json_object_get(json_array_get(cells, i), "truth");
        if (json_is_true(json_object_get(judged, "judged"))) {
            assert_true(number(judged, "accuracy") > 90 && number(judged, "accuracy") < 95);
            assert_true(number(judged, "better_than") >= 0 && number(judged, "better_than") <= 1);
        } else {
            assert_non_null(json_object_get(judged, "why"));
            assert_null(json_object_get(judged, "accuracy"));
        }
    }
    json_decref(root);
    root = json_of(OUTPUT(JUDGED, "--json"));
    assert_true(json_is_null(json_object_get(root, "data")));
    json_decref(root);
    char *text = OUTPUT(JUDGED);
    assert_non_null(strstr(text, "truth better than   cell\n"));
    assert_non_null(strstr(text, "truth: cifar10_valid by nasbench301, a model of 1218 cells"));
    assert_non_null(strstr(text, "  a uniform cell: 93.11 % on average\n"));
    assert_non_null(
        strstr(text, "...: not judged: its normal cell has 1 node with one input twice"));
    assert_null(strstr(text, "the search's cell"));
    free(text);
    text = OUTPUT(JUDGED, "done");
    assert_non_null(strstr(text, "  the search's cell: "));
    free(text);
}

/* A search that is named behind a genotype is still the one that is summed up. */
static void the_searchs_cell_wherever_it_stands(void **state) {
    (void)state;
    json_t *root = json_of(
        OUTPUT("compare", "PDARTS", "done", "--random", "1", "--steps", "3", "--json", "--quiet"));
    const json_t *cell = json_array_get(json_object_get(root, "cells"), 1);
    char want[64];
    assert_string_equal(json_string_value(json_object_get(cell, "name")), "derived");
    snprintf(want, sizeof want,
             "  the search's cell               %6.2f %%:", 100 * number(cell, "test_accuracy"));
    char *text = OUTPUT("compare", "PDARTS", "done", "--random", "1", "--steps", "3", "--quiet");
    assert_non_null(strstr(text, want));
    free(text);
    json_decref(root);
}

/* A row of truth.csv at each step of prior.csv; the last says of the cell found what compare does.
 * Asked for when the search is finished, that row alone. */
static void a_search_writes_its_curve(void **state) {
    (void)state;
    void *text, *prior;
    size_t size;
    free(OUTPUT("search", "curve", "--quiet", "--data", DATA, NETWORK, "--batch", "8", "--samples",
                "3", "--steps", "40", "--warmup", "5", "--truth", "nasbench301"));
    assert_int_equal(pn_file_read(pn_in_folder("curve/truth.csv"), 1 << 20, &text, &size), PN_OK);
    assert_int_equal(pn_file_read(pn_in_folder("curve/prior.csv"), 1 << 24, &prior, &size), PN_OK);
    const char *row = text, *other = prior, *last = row;
    const char *head =
        "step,table,mean,deviation,judged,found,found_error,found_better_than,"
        "found_judged\n0,nasbench301,93.";
    assert_memory_equal(row, head, strlen(head));
    while (*row && *other) {
        assert_memory_equal(row, other, strcspn(other, ",") + 1); /* the step */
        last = row;
        row = next_line(row);
        other = next_line(other);
    }
    assert_true(!*row && !*other);

    json_t *root = json_of(
        OUTPUT("compare", "curve", "--steps", "0", "--quiet", "--truth", "nasbench301", "--json"));
    const json_t *judged =
        json_object_get(json_array_get(json_object_get(root, "cells"), 0), "truth");
    char want[128] = ",,,,0\n";
    if (json_is_true(json_object_get(judged, "judged")))
        snprintf(want, sizeof want, ",%.4f,%.4f,%.4f,1\n", number(judged, "accuracy"),
                 number(judged, "error"), number(judged, "better_than"));
    assert_string_equal(last + strlen(last) - strlen(want), want);
    json_decref(root);

    assert_int_equal(unlink(pn_in_folder("curve/truth.csv")), 0);
    free(OUTPUT("search", "curve", "--quiet", "--truth", "nasbench301"));
    void *alone;
    assert_int_equal(pn_file_read(pn_in_folder("curve/truth.csv"), 1 << 20, &alone, &size), PN_OK);
    assert_string_equal(next_line(alone), last);
    free(text);
    free(prior);
    free(alone);
}

static void info_measures_this_machine(void **state) {
    (void)state;
    json_t *root = json_of(OUTPUT("info", "--json"));
    assert_true(json_number_value(json_object_get(root, "copy_bytes_per_second")) > 1e8);
    assert_true(json_number_value(json_object_get(root, "flops_per_second")) > 1e8);
    json_decref(root);
}

/* Whole 64-bit seeds: kept to the last digit, from 2^63 on as a string, and continued with. */
static void seeds_of_64_bits(void **state) {
    (void)state;
    static const char *const seeds[][2] = {
        {"9007199254740993", "\"seed\": 9007199254740993,"},
        {"9223372036854775807", "\"seed\": 9223372036854775807,"},
        {"9223372036854775808", "\"seed\": \"9223372036854775808\","},
        {"18446744073709551615", "\"seed\": \"18446744073709551615\","},
    };
    char *before = strdup("");
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        const char *const *seed = seeds[i];
        void *text;
        size_t size;
        free(OUTPUT("search", seed[0], "--quiet", "--data", DATA, NETWORK, "--batch", "8",
                    "--samples", "2", "--steps", "2", "--warmup", "0", "--seed", seed[0]));
        free(OUTPUT("search", seed[0], "--quiet", "--seed", seed[0]));
        char name[64];
        snprintf(name, sizeof name, "%s/run.json", seed[0]);
        assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 20, &text, &size), PN_OK);
        if (!strstr(text, seed[1])) fail_msg("no %s in %s", seed[1], (char *)text);
        free(text);
        snprintf(name, sizeof name, "%s/samples.csv", seed[0]);
        assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 20, &text, &size), PN_OK);
        assert_string_not_equal(text, before); /* each is another search */
        free(before);
        before = text;
    }
    free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_lists_the_commands),
        cmocka_unit_test(help_of_each_command),
        cmocka_unit_test(help_explains_how_cells_are_written),
        cmocka_unit_test(version_is_one_line),
        cmocka_unit_test(info_as_json),
        cmocka_unit_test(parameters_of_published_cells),
        cmocka_unit_test(parameters_for_imagenet),
        cmocka_unit_test(the_auxiliary_head_counts),
        cmocka_unit_test(parameters_of_one_cell_by_hand),
        cmocka_unit_test(every_spelling_of_a_genotype),
        cmocka_unit_test(bytes_of_one_architecture),
        cmocka_unit_test(context_of_a_card),
        cmocka_unit_test(budgets),
        cmocka_unit_test(bytes_of_several_passes),
        cmocka_unit_test(smallest_mean_and_largest),
        cmocka_unit_test(supernet_costs_more_than_any_sample),
        cmocka_unit_test(looking_ahead_costs_two_copies),
        cmocka_unit_test(the_largest_batch_fits_and_the_next_does_not),
        cmocka_unit_test(a_plan_that_does_not_fit_ends_with_4),
        cmocka_unit_test(plans_of_a_card_that_is_not_here),
        cmocka_unit_test(plans_of_several_in_flight),
        cmocka_unit_test(draws_depend_on_the_seed_alone),
        cmocka_unit_test(the_most_probable_come_first),
        cmocka_unit_test(methods_with_logits),
        cmocka_unit_test(a_run_has_its_own_rule_of_inputs),
        cmocka_unit_test(samples_are_judged),
        cmocka_unit_test(trace_writes_the_batch),
        cmocka_unit_test(trace_says_the_loss_of_its_logits),
        cmocka_unit_test(trace_writes_all_gradients),
        cmocka_unit_test(trace_reads_what_it_wrote),
        cmocka_unit_test(trace_of_initial_weights_only),
        cmocka_unit_test(trace_with_a_checkpoints_weights),
        cmocka_unit_test(trace_times_without_changing_anything),
        cmocka_unit_test(trace_of_an_evaluation_network),
        cmocka_unit_test(trace_of_inference),
        cmocka_unit_test(trace_with_drop_path),
        cmocka_unit_test(compare_trains_every_cell),
        cmocka_unit_test(a_time_chooses_the_length_of_a_run),
        cmocka_unit_test(a_cell_without_a_number_is_empty),
        cmocka_unit_test(compare_judges_cells),
        cmocka_unit_test(the_searchs_cell_wherever_it_stands),
        cmocka_unit_test(a_search_writes_its_curve),
        cmocka_unit_test(seeds_of_64_bits),
        cmocka_unit_test(check_finds_this_build_right),
        cmocka_unit_test(info_measures_this_machine),
    };
    return cmocka_run_group_tests_name("program", tests, begin, pn_folder_end);
}
