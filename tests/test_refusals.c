/* test_refusals.c -- what parsec-nas does with what it cannot use: the exit code that it promises,
 * one sentence on stderr that names the value, nothing on stdout, and on the disk everything as it
 * was. And when the disk is full or the loss is not a number, what was saved before is intact. */
#define _GNU_SOURCE /* unshare */
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "kernels/backend.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

enum { MOST_ARGUMENTS = 40, LIMIT = 300, RECORD = 3073 };
enum { USAGE = 2, INPUT = 3, MEMORY = 4, DEVICE = 5, IO = 6, DIVERGED = 7, BUSY = 8 };

/* ---- what is there --------------------------------------------------------------------------- */

#define DATA "--data", "synthetic:200x8x8x3"
#define NETWORK "--layers", "3", "--channels", "4", "--threads", "1"
#define SEARCH DATA, NETWORK, "--batch", "8", "--samples", "3", "--steps", "30", "--warmup", "5"
#define CHECKPOINT "checkpoint-00000030.safetensors"

static void run(pn_process *p, const pn_conditions *conditions, const char *const *arguments) {
    const char *argv[MOST_ARGUMENTS] = {PN_PROGRAM};
    for (int n = 1; *arguments; n++) {
        assert_true(n < MOST_ARGUMENTS - 1);
        argv[n] = *arguments++;
    }
    pn_conditions where = *conditions;
    where.folder = pn_folder;
    pn_process_run(p, argv, &where, LIMIT);
}
#define RUN(p, ...) run(p, &(pn_conditions){0}, (const char *const[]){__VA_ARGS__, NULL})

static void must_work(const char *const *arguments) {
    pn_process p;
    run(&p, &(pn_conditions){0}, arguments);
    if (p.code != 0) fail_msg("%s: exit code %d: %s", arguments[0], p.code, p.err);
    pn_process_free(&p);
}
#define MUST_WORK(...) must_work((const char *const[]){__VA_ARGS__, NULL})

static void put(const char *name, const void *bytes, size_t size) {
    assert_int_equal(pn_file_write(pn_in_folder(name), bytes, size), PN_OK);
}

/* The caller frees it; a zero follows it. */
static char *get(const char *name, size_t *size) {
    static void *bytes; /* static, or gcc 12 fears that the text is the pointer */
    assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 28, &bytes, size), PN_OK);
    return bytes;
}

static void make_folder(const char *name) { assert_int_equal(mkdir(pn_in_folder(name), 0777), 0); }

/* Byte `at` of a file, counted from the end if negative, becomes another. */
static void flip(const char *name, long at) {
    size_t size;
    char *bytes = get(name, &size);
    bytes[at < 0 ? (long)size + at : at] ^= 0x10;
    put(name, bytes, size);
    free(bytes);
}

/* Keeps the first `keep` bytes; if negative, all but so many. */
static void cut(const char *name, long keep) {
    size_t size;
    char *bytes = get(name, &size);
    put(name, bytes, keep < 0 ? size - (size_t)-keep : (size_t)keep);
    free(bytes);
}

/* The first `from` in a text becomes `to`. */
static void replace(const char *name, const char *from, const char *to) {
    size_t size;
    char *text = get(name, &size), other[4096];
    const size_t before = (size_t)(strstr(text, from) - text);
    assert_true(before < size);
    const int length = snprintf(other, sizeof other, "%.*s%s%s", (int)before, text, to,
                                text + before + strlen(from));
    assert_true(length < (int)sizeof other);
    put(name, other, (size_t)length);
    free(text);
}

static void put_idx(const char *name, uint32_t magic, int rank, uint32_t count, size_t bytes) {
    unsigned char file[4096] = {(unsigned char)(magic >> 24), (unsigned char)(magic >> 16),
                                (unsigned char)(magic >> 8), (unsigned char)magic};
    const uint32_t dims[3] = {count, 4, 4};
    for (int i = 0; i < rank; i++)
        for (int b = 0; b < 4; b++) file[4 + 4 * i + b] = (unsigned char)(dims[i] >> (24 - 8 * b));
    const size_t header = 4 + 4 * (size_t)rank;
    assert_true(header + bytes <= sizeof file);
    for (size_t i = 0; i < bytes; i++) file[header + i] = (unsigned char)(i % 10);
    put(name, file, header + bytes);
}

/* Folders of IDX and CIFAR-10 files, each with one flaw. */
static void make_data(void) {
    static const char *const idx[] = {"idx-magic",   "idx-cut",  "idx-fewer",
                                      "idx-swapped", "idx-gzip", "idx-alone"};
    char images[64], labels[64];
    for (size_t i = 0; i < sizeof idx / sizeof *idx; i++) {
        make_folder(idx[i]);
        snprintf(images, sizeof images, "%s/train-images-idx3-ubyte", idx[i]);
        snprintf(labels, sizeof labels, "%s/train-labels-idx1-ubyte", idx[i]);
        put_idx(images, 0x803, 3, 40, 40 * 16);
        put_idx(labels, 0x801, 1, 40, 40);
    }
    put_idx("idx-magic/train-images-idx3-ubyte", 0x00000b03, 3, 40, 40 * 16);
    put_idx("idx-cut/train-images-idx3-ubyte", 0x803, 3, 40, 40 * 16 - 1);
    put_idx("idx-fewer/train-labels-idx1-ubyte", 0x801, 1, 39, 39);
    put_idx("idx-swapped/train-images-idx3-ubyte", 0x801, 1, 40, 40);
    assert_int_equal(unlink(pn_in_folder("idx-alone/train-labels-idx1-ubyte")), 0);

    assert_int_equal(unlink(pn_in_folder("idx-gzip/train-images-idx3-ubyte")), 0);
    size_t size;
    char *bytes = get("idx-cut/train-images-idx3-ubyte", &size);
    gzFile gz = gzopen(pn_in_folder("idx-gzip/train-images-idx3-ubyte.gz"), "wb");
    assert_int_equal(gzwrite(gz, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(gz), Z_OK);
    free(bytes);
    cut("idx-gzip/train-images-idx3-ubyte.gz", -12);

    static unsigned char records[20 * RECORD];
    for (int i = 0; i < 20; i++) records[i * RECORD] = (unsigned char)(i % 10);
    make_folder("cifar-cut");
    put("cifar-cut/data_batch_1.bin", records, sizeof records - 1);
    make_folder("cifar-missing");
    put("cifar-missing/data_batch_1.bin", records, sizeof records);
    records[7 * RECORD] = 10;
    put("cifar-label.bin", records, sizeof records);
    put("empty.bin", "", 0);
    make_folder("nothing-in-it");
    make_folder("foreign");
    put("foreign/thesis.tex", "\\begin", 6);
    put("foreign/run.json.tmp", "theirs", 6); /* not ours to remove */
}

/* Copies of a finished run, each with one flaw. */
static void make_runs(void) {
    static const char *const names[] = {"flipped", "cut",      "renamed",   "settings", "images",
                                        "table",   "no-json",  "half-json", "kind",     "nulls",
                                        "curve",   "no-curve", "half-curve"};
    MUST_WORK("search", "done", "--quiet", SEARCH);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        pn_folder_copy(pn_in_folder("done"), pn_in_folder(names[i]));
    flip("flipped/" CHECKPOINT, -1000);
    cut("cut/" CHECKPOINT, -1);
    const char *from = pn_in_folder("renamed/" CHECKPOINT);
    assert_int_equal(rename(from, pn_in_folder("renamed/checkpoint-00000029.safetensors")), 0);
    replace("settings/run.json", "\"clip\": 5.0", "\"clip\": 6.0");
    replace("images/run.json", "\"synthetic:200x8x8x3\"", "\"synthetic:300x8x8x3\"");
    cut("table/metrics.csv", -1);
    assert_int_equal(unlink(pn_in_folder("no-json/run.json")), 0);
    cut("half-json/run.json", 300);
    replace("kind/run.json", "\"layers\": 3", "\"layers\": x");
    replace("nulls/run.json", "\"samples\": 3", "\"samples\": null");
#define CURVE "step,table,mean,deviation,judged,found,found_error,found_better_than,found_judged\n"
    put("curve/truth.csv", CURVE "0,other,\n", strlen(CURVE) + 9);
    put("no-curve/truth.csv", "step\n", 5);
    put("half-curve/truth.csv", CURVE "0,nasbench301,\n3,nas", strlen(CURVE) + 20);
    put("nasbench301.csv", "architecture,mine\n", 18);
}

static void put_labels(const char *name, pn_dtype dtype, int64_t count, int64_t last) {
    int64_t labels[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    labels[count - 1] = last;
    const pn_array array = {.dtype = dtype, .rank = 1, .shape = {count}, .data = labels};
    assert_int_equal(pn_npy_write(pn_in_folder(name), &array), PN_OK);
}

static void put_images(const char *name, pn_dtype dtype, int rank, int64_t channels) {
    static const double zeros[8 * 4 * 8 * 8];
    const pn_array array = {
        .dtype = dtype, .rank = rank, .shape = {8, channels, 8, 8}, .data = zeros};
    assert_int_equal(pn_npy_write(pn_in_folder(name), &array), PN_OK);
}

#define TRACE "trace", "--genotype", "DARTS_V2", NETWORK
#define INPUT_FILES "--input", "images.npy", "--labels", "labels.npy"
#define WEIGHTS TRACE, INPUT_FILES, "--out", "new", "--weights"

/* Weights and batches for `trace`, good ones and such with one flaw. */
static void make_trace(void) {
    put_images("images.npy", PN_F32, 4, 3);
    put_images("double.npy", PN_F64, 4, 3);
    put_images("flat.npy", PN_F32, 3, 3);
    put_images("two.npy", PN_F32, 4, 2);
    put_images("half.npy", PN_F32, 4, 3);
    cut("half.npy", -4);
    put_labels("labels.npy", PN_I64, 8, 9);
    put_labels("beyond.npy", PN_I64, 8, 10);
    put_labels("negative.npy", PN_I64, 8, -1);
    put_labels("seven.npy", PN_I64, 7, 6);
    put_labels("real.npy", PN_F64, 8, 0);

    MUST_WORK(TRACE, INPUT_FILES, "--init-only", "--out", "weights");
    MUST_WORK(TRACE, INPUT_FILES, "--init-only", "--out", "wide", "--channels", "8");
    MUST_WORK(TRACE, INPUT_FILES, "--init-only", "--out", "others", "--genotype", "PDARTS");
    MUST_WORK(TRACE, INPUT_FILES, "--init-only", "--out", "damaged");
    flip("damaged/weights.safetensors", -1);
    MUST_WORK(TRACE, INPUT_FILES, "--init-only", "--out", "shorter");
    cut("shorter/weights.safetensors", -100);

    pn_safetensors *file; /* one tensor in double precision */
    pn_array arrays[256];
    static const double zeros[1 << 12];
    assert_int_equal(pn_safetensors_read(pn_in_folder("weights/weights.safetensors"), &file),
                     PN_OK);
    const int count = pn_safetensors_count(file);
    assert_true(count <= 256);
    for (int i = 0; i < count; i++) {
        arrays[i] = *pn_safetensors_at(file, i);
        if (strcmp(arrays[i].name, "stem.conv.weight") != 0) continue;
        arrays[i].dtype = PN_F64;
        arrays[i].data = zeros;
    }
    assert_int_equal(
        pn_safetensors_write(pn_in_folder("double.safetensors"), arrays, count, NULL, 0), PN_OK);
    pn_safetensors_free(file);
}

static int begin(void **state) {
    pn_folder_begin(state);
    make_data();
    make_runs();
    make_trace();
    put("no-genotype.py", "Genotype = 3", 12);
    return 0;
}

/* ---- one refusal ----------------------------------------------------------------------------- */

static void assert_refused(const char *why, const pn_process *p, int code, const char *word) {
    const char *newline = strchr(p->err, '\n');
    if (p->code != code || p->late || *p->out || !newline || newline[1] || !strstr(p->err, word) ||
        strncmp(p->err, "parsec-nas", 10) != 0)
        fail_msg(
            "%s: exit code %d, signal %d, want %d and one line with '%s'; stdout: %s\nstderr: %s",
            why, p->code, p->signal, code, word, p->out, p->err);
}

static char *everything(void) { return pn_folder_text(pn_folder, NULL); }

static void assert_unchanged(const char *why, char *before) {
    char *after = everything();
    if (strcmp(before, after) != 0)
        fail_msg("%s: the disk changed from\n%sto\n%s", why, before, after);
    free(before);
    free(after);
}

static void refuse(const char *why, const pn_conditions *conditions, int code, const char *word,
                   const char *const *arguments) {
    pn_process p;
    char *before = everything();
    run(&p, conditions, arguments);
    assert_refused(why, &p, code, word);
    assert_unchanged(why, before);
    pn_process_free(&p);
}

typedef struct refusal {
    const char *why;
    int code;
    const char *word; /* of the sentence */
    const char *arguments[MOST_ARGUMENTS];
} refusal;

static void refuse_all(const refusal *rows, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof *rows; i++)
        refuse(rows[i].why, &(pn_conditions){0}, rows[i].code, rows[i].word, rows[i].arguments);
}

/* ---- the command line ------------------------------------------------------------------------ */

static void words_that_are_no_command_or_option(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"a command that is none", USAGE, "search, train", {"quetzalcoatl"}},
        {"one with a slip", USAGE, "did you mean search?", {"serach"}},
        {"help for such a one", USAGE, "no command serch; did you mean search?", {"help", "serch"}},
        {"help for two", USAGE, "unexpected word extra", {"help", "search", "extra"}},
        {"an option with a slip", USAGE, "mean --genotype?", {"plan", "--genotpe", "DARTS_V2"}},
        {"an option of no likeness", USAGE, "--help lists", {"plan", "--quetzalcoatl"}},
        {"an option with one dash", USAGE, "-json", {"plan", "-json"}},
        {"an option of another command", USAGE, "--epochs", {"sample", "--epochs", "3"}},
        {"a value left out", USAGE, "--layers wants", {"plan", "--layers"}},
        {"a value of a flag", USAGE, "no value", {"plan", "--json=yes"}},
        {"a word too many", USAGE, "unexpected", {"search", "new", "newer"}},
        {"a word where none is wanted", USAGE, "unexpected", {"check", "DARTS_V2"}},
        {"a word and the option for it",
         USAGE,
         "want one of DARTS_V2 and --genotype PDARTS",
         {"plan", "DARTS_V2", "--genotype", "PDARTS"}},
        {"too few letters", USAGE, "--s may be --stem or --samples", {"plan", "--s", "3"}},
        {"a letter of no option", USAGE, "unknown option -n;", {"search", "new", "-n", "3"}},
        {"an option of nothing", USAGE, "unknown option --=3;", {"plan", "--=3"}},
        {"a name of other programs", USAGE, "want --device cuda", {"search", "new", "--gpu", "0"}},
        {"a file of settings", USAGE, "in its run.json", {"train", "new", "--config", "x.json"}},
        {"a name far from all", USAGE, "--help lists", {"search", "new", "--px", "3"}},
        {"two lengths of a search",
         USAGE,
         "want one of --time, --steps and --epochs",
         {"search", "new", SEARCH, "--time", "30m"}},
        {"two of a training",
         USAGE,
         "want one of --time and --epochs",
         {"train", "new", DATA, NETWORK, "--genotype", "PDARTS", "--time", "30m", "--epochs", "3"}},
        {"a time in which there is no epoch",
         USAGE,
         "--time 1 seconds, want at least ",
         {"train", "new", "--data", "synthetic:20000x8x8x3", NETWORK, "--genotype", "PDARTS",
          "--batch", "4", "--time", "1s"}},
        {"no directory", USAGE, "directory", {"search", "--layers", "3"}},
        {"two contradictory options", USAGE, "--count", {"sample", "--count", "1", "--top", "1"}},
        {"nothing to compare", USAGE, "--random N", {"compare", DATA}},
        {"nothing to compare it on", USAGE, "--data", {"compare", "DARTS_V2"}},
        {"a directory without a run", USAGE, "no run in", {"compare", "."}},
        {"a truth that is no table",
         USAGE,
         "is no table and no file, want nasbench301",
         {"search", "new", SEARCH, "--truth", "nowhere"}},
        {"a truth about another space",
         USAGE,
         "a table of another space",
         {"compare", "DARTS_V2", "--steps", "0", "--truth", "nasbench201"}},
        {"no genotype", USAGE, "--genotype", {"trace", "--out", "new"}},
        {"no batch", USAGE, "--data", {TRACE, "--out", "new"}},
        {"images without labels",
         USAGE,
         "--labels",
         {TRACE, "--out", "new", "--input", "images.npy"}},
        {"a network there is not",
         USAGE,
         "want search or eval",
         {TRACE, INPUT_FILES, "--out", "new", "--network", "super"}},
        {"a mode there is not",
         USAGE,
         "want training or inference",
         {TRACE, INPUT_FILES, "--out", "new", "--network", "eval", "--mode", "eval"}},
        {"a search network's inference",
         USAGE,
         "inference with --network eval",
         {TRACE, INPUT_FILES, "--out", "new", "--mode", "inference"}},
        {"a search network with another stem",
         USAGE,
         "imagenet with --network eval",
         {TRACE, INPUT_FILES, "--out", "new", "--stem", "imagenet"}},
        {"a norm behind the pools of a search network, which has one",
         USAGE,
         "--pool-norm goes with --network eval",
         {"plan", "DARTS_V2", "--pool-norm"}},
        {"a search network with an auxiliary head",
         USAGE,
         "--auxiliary goes with --network eval",
         {TRACE, INPUT_FILES, "--out", "new", "--auxiliary"}},
        {"an auxiliary head without room",
         USAGE,
         "auxiliary head behind images of 2x2",
         {TRACE, INPUT_FILES, "--out", "new", "--network", "eval", "--auxiliary"}},
        {"drop-path of inference",
         USAGE,
         "--mode training",
         {TRACE, INPUT_FILES, "--out", "new", "--network", "eval", "--mode", "inference",
          "--drop-path", "images.npy"}},
        {"another one", USAGE, "search or eval", {"plan", "--network", "super"}},
        {"a method that has no single cell",
         USAGE,
         "--method darts searches no single cell",
         {"plan", "DARTS_V2", "--method", "darts"}},
        {"nor an evaluation network",
         USAGE,
         "--method gdas searches no single cell",
         {"plan", "--network", "eval", "--method", "gdas"}},
    };
    refuse_all(rows, sizeof rows);
}

static void numbers_out_of_range(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"letters", USAGE, "abc", {"search", "new", "--layers", "abc"}},
        {"a number and more", USAGE, "3x", {"search", "new", "--layers", "3x"}},
        {"nothing", USAGE, "whole number", {"search", "new", "--layers", ""}},
        {"too small", USAGE, "from 1 to 64", {"search", "new", "--layers", "0"}},
        {"too large", USAGE, "from 1 to 64", {"search", "new", "--layers", "65"}},
        {"not whole", USAGE, "2.5", {"search", "new", "--layers", "2.5"}},
        {"beyond any number", USAGE, "1e999", {"search", "new", "--steps", "1e999"}},
        {"not a number", USAGE, "nan", {"search", "new", "--rate", "nan"}},
        {"infinite", USAGE, "inf", {"search", "new", "--temperature", "inf"}},
        {"negative", USAGE, "-1", {"search", "new", "--seed", "-1"}},
        {"channels by four", USAGE, "multiple of 4", {"search", "new", "--channels", "6"}},
        {"the same elsewhere",
         USAGE,
         "multiple of 4",
         {TRACE, INPUT_FILES, "--out", "new", "--channels", "6"}},
        {"and in a plan", USAGE, "multiple of 4", {"plan", "--channels", "6"}},
        {"a rule there is not",
         USAGE,
         "auto, paper, practical or evidence",
         {"search", "new", "--rule", "darts"}},
        {"a method there is not",
         USAGE,
         "--method annealing, want parsec, random, darts, gdas or snas",
         {"search", "new", "--method", "annealing"}},
        {"an option of another method",
         USAGE,
         "--rule is an option of --method parsec, not of random",
         {"search", "new", DATA, "--method", "random", "--rule", "paper"}},
        {"also when the pace is taken first",
         USAGE,
         "--select is an option of --method random, not of parsec",
         {"search", "new", DATA, "--select", "3", "--time", "2s"}},
        {"an order there is not",
         USAGE,
         "--order 3, want a whole number from 1 to 2",
         {"search", "new", DATA, "--method", "darts", "--order", "3"}},
        {"a finite difference over nothing",
         USAGE,
         "--epsilon 0, want a number from 0.000000001",
         {"search", "new", DATA, "--method", "darts", "--order", "2", "--epsilon", "0"}},
        {"one of the first order",
         USAGE,
         "--epsilon 0.1 wants --order 2",
         {"search", "new", DATA, "--method", "darts", "--epsilon", "0.1"}},
        {"a plan of an order of another method",
         USAGE,
         "--order is an option of --method darts, not of gdas",
         {"plan", "--method", "gdas", "--order", "2"}},
        {"a temperature of 0",
         USAGE,
         "--tau-end 0, want a number from 0.001",
         {"search", "new", DATA, "--method", "gdas", "--tau-end", "0"}},
        {"and of SNAS",
         USAGE,
         "--tau 0, want a number from 0.001",
         {"search", "new", DATA, "--method", "snas", "--tau", "0"}},
        {"edges that are all dropped",
         USAGE,
         "--drop-path 1, want a number from 0 to 0.9",
         {"search", "new", DATA, "--method", "snas", "--drop-path", "1"}},
        {"a resource term there is not",
         USAGE,
         "auto, none, mild, moderate or aggressive",
         {"search", "new", DATA, "--method", "snas", "--resource", "severe"}},
        {"a supernet of another method beyond the limit",
         MEMORY,
         "the supernet needs",
         {"search", "new", DATA, "--method", "snas", "--memory", "64MiB"}},
        {"a supernet beyond the limit",
         MEMORY,
         "the supernet needs",
         {"search", "new", DATA, "--method", "darts", "--memory", "64MiB"}},
        {"a selection of more cells than steps",
         USAGE,
         "--select 31, want at most the 30 steps",
         {"search", "new", DATA, "--method", "random", "--steps", "30", "--select", "31"}},
        {"evidence of four samples a step",
         USAGE,
         "want 1",
         {"search", "new", DATA, "--evidence", "--samples", "4"}},
        {"one sample a step without it",
         USAGE,
         "1 samples a step, want 2",
         {"search", "new", DATA, "--rule", "practical", "--samples", "1"}},
        {"evidence of frozen weights",
         USAGE,
         "want weights that are trained",
         {"search", "new", DATA, "--rule", "evidence", "--freeze-weights"}},
        {"shards that do not divide a batch",
         USAGE,
         "--shards 3, want a divisor of --batch 8",
         {"search", "new", DATA, "--batch", "8", "--shards", "3"}},
        {"shards of a supernet",
         USAGE,
         "--shards is an option of --method parsec or random, not of darts",
         {"search", "new", DATA, "--method", "darts", "--shards", "2"}},
        {"a plan of shards of a supernet",
         USAGE,
         "--shards 2, want 1",
         {"plan", "--supernet", "--shards", "2"}},
        {"a plan of several samples a step of a training",
         USAGE,
         "--step-samples 2, want 1",
         {"plan", "DARTS_V2", "--network", "eval", "--step-samples", "2"}},
        {"a plan of more ranks than units",
         USAGE,
         "--ranks 3, want at most 2: 2 samples in 1 shards each",
         {"plan", "DARTS_V2", "--step-samples", "2", "--ranks", "3"}},
        {"nothing to be made again",
         USAGE,
         "--recompute with --freeze-weights",
         {"search", "new", DATA, "--recompute", "--freeze-weights"}},
        {"evidence that begins from another pi",
         USAGE,
         "--evidence begins from the uniform pi",
         {"search", "new", DATA, "--rule", "evidence", "--prior", "reference"}},
        {"a batch beyond the half",
         USAGE,
         "at most 100",
         {"search", "new", DATA, "--batch", "101"}},
        {"more warm-up than steps",
         USAGE,
         "--warmup 31",
         {"search", "new", SEARCH, "--warmup", "31"}},
        {"a plan beyond any memory",
         USAGE,
         "less than 2^31 pixels",
         {"plan", "--batch", "1048576", "--image", "4096x4096", "--channels", "4096", "--layers",
          "64"}},
        {"a plan of a few pixels too many",
         USAGE,
         "less than 2^31 pixels",
         {"plan", "--batch", "128", "--image", "4096x4096", "--genotype", "DARTS_V2"}},
        {"a size without a unit's name", USAGE, "4GiB", {"plan", "--memory", "12XB"}},
        {"a size below a byte", USAGE, "4GiB", {"plan", "--memory", "0.5B"}},
        {"an image without edges", USAGE, "0x8", {"plan", "--image", "0x8"}},
        {"an image beyond an int", USAGE, "4294967328", {"plan", "--image", "4294967328"}},
        {"an image and more", USAGE, "EDGE, HxW", {"plan", "--image", "32x32x3x3"}},
        {"an image with a sign", USAGE, "EDGE, HxW", {"plan", "--image", "+32"}},
        {"an image with a space", USAGE, "EDGE, HxW", {"plan", "--image", "32x 32"}},
        {"a seed beyond 64 bits",
         USAGE,
         "from 0 to 18446744073709551615",
         {"search", "new", "--seed", "18446744073709551616"}},
        {"such a seed elsewhere",
         USAGE,
         "from 0 to 18446744073709551615",
         {"plan", "--seed", "18446744073709551616"}},
        {"a seed that is not whole", USAGE, "whole number", {"sample", "--seed", "1e30"}},
        {"a bound in full", USAGE, "from 1 to 1000000000000", {"search", "new", "--steps", "2e12"}},
        {"one that an int does not hold",
         USAGE,
         "from 1 to 1048576",
         {"plan", "--batch", "4294967297"}},
        {"images of 2^64 and more",
         USAGE,
         "COUNTxHxWxC",
         {"search", "new", "--data", "synthetic:18446744073709551816x8x8x3"}},
        {"an image of two channels", USAGE, "1 or 3", {"plan", "--image", "8x8x2"}},
        {"a list beyond its limit", USAGE, "from 1 to 100000", {"sample", "--top", "100001"}},
        {"synthetic images of size 0",
         USAGE,
         "COUNTxHxWxC",
         {"search", "new", "--data", "synthetic:200x0x8x3"}},
        {"a device there is not", USAGE, "cpu:avx2", {"search", "new", SEARCH, "--device", "tpu"}},
        {"an instruction set of another machine", DEVICE, "neon", {"info", "--device", "cpu:neon"}},
        {"a precision there is not",
         USAGE,
         "float32, tf32, bf16 or fp16",
         {"search", "new", SEARCH, "--precision", "half"}},
        {"a precision of cards on the host",
         DEVICE,
         "--precision float32 or bf16",
         {"info", "--device", "cpu", "--precision", "tf32"}},
        {"the same by name", DEVICE, "want --device cuda", {"plan", "--device", "cpu:base-tf32"}},
        {"halves that the host does not store",
         DEVICE,
         "--precision float32 or bf16",
         {"info", "--device", "cpu", "--precision", "fp16"}},
        {"two precisions",
         USAGE,
         "one of the two",
         {"info", "--device", "cpu-bf16", "--precision", "float32"}},
    };
    refuse_all(rows, sizeof rows);
}

#ifdef PN_HAVE_EMULATOR
static void a_card_without_tf32(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"tf32 on a card that has none",
         DEVICE,
         "compute capability 7.5 has no tf32, want 8.0 or more",
         {"info", "--device", "emulated", "--precision", "tf32"}},
    };
    assert_int_equal(setenv("PN_EMULATOR_CARD", "75", 1), 0);
    refuse_all(rows, sizeof rows);
    assert_int_equal(unsetenv("PN_EMULATOR_CARD"), 0);
}
#endif

/* Row i is about card i. */
static void cards_that_are_not_there(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"no card, or not in the build",
         DEVICE,
         "cuda",
         {"search", "new", SEARCH, "--device", "cuda"}},
        {"the same, by number",
         DEVICE,
         "cuda:1",
         {TRACE, INPUT_FILES, "--out", "new", "--device", "cuda:1"}},
    };
    for (int i = 0; i < 2; i++) {
        char card[120];
        if (pn_backend_describe_card(i, card, sizeof card) == PN_OK)
            print_message("[  SKIPPED ] %s: here is %s\n", rows[i].why, card);
        else
            refuse_all(&rows[i], sizeof *rows);
    }
}

#define CELL_END "normal_concat=[2,3,4,5],reduce_concat=[2,3,4,5],reduce=["
#define PAIR(op, input) "('" op "'," #input "),"
#define SKIPS \
    PAIR("skip_connect", 0) PAIR("skip_connect", 1) PAIR("skip_connect", 0) PAIR("skip_connect", 1)
#define GENOTYPE(first, rest) "Genotype(normal=[" first rest "]," CELL_END SKIPS SKIPS "])"
#define SIX PAIR("skip_connect", 0) PAIR("skip_connect", 1) SKIPS

static void genotypes_with_one_flaw(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"an op of another space",
         USAGE,
         "sep_conv_7x7",
         {"plan", "--genotype", GENOTYPE(PAIR("sep_conv_7x7", 0), PAIR("skip_connect", 1) SIX)}},
        {"a node after its own",
         USAGE,
         "input 2 of node 0, want 0..1",
         {"plan", "--genotype", GENOTYPE(PAIR("skip_connect", 2), PAIR("skip_connect", 1) SIX)}},
        {"a negative input",
         USAGE,
         "input -1",
         {"plan", "--genotype", GENOTYPE(PAIR("skip_connect", -1), PAIR("skip_connect", 1) SIX)}},
        {"a pair too few",
         USAGE,
         "7 pairs",
         {"plan", "--genotype", GENOTYPE(PAIR("skip_connect", 0), SIX)}},
        {"a pair too many", USAGE, "12 pairs", {"plan", "--genotype", GENOTYPE(SIX, SIX)}},
        {"cut off",
         USAGE,
         "end of the text",
         {"plan", "--genotype", "Genotype(normal=[('skip_connect', 0)"}},
        {"the short notation with an op that is none",
         USAGE,
         "s7",
         {"plan", "--genotype", "normal s7@0 s3@1"}},
        {"neither a name nor a file", USAGE, "DARTS_V3", {"plan", "--genotype", "DARTS_V3"}},
        {"the same for trace",
         USAGE,
         "DARTS_V3",
         {TRACE, INPUT_FILES, "--out", "new", "--genotype", "DARTS_V3"}},
        {"a file without one", INPUT, "no-genotype.py", {"plan", "--genotype", "no-genotype.py"}},
        {"a directory without one", IO, "genotype.txt", {"plan", "--genotype", "nothing-in-it"}},
    };
    refuse_all(rows, sizeof rows);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void damaged_data_sets(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"not there", INPUT, "'nowhere'", {"search", "new", "--data", "nowhere"}},
        {"a directory of nothing",
         INPUT,
         "nothing-in-it",
         {"search", "new", "--data", "nothing-in-it"}},
        {"IDX of another element type",
         INPUT,
         "0x00000b03",
         {"search", "new", "--data", "idx-magic"}},
        {"IDX without its last byte", INPUT, "639 bytes", {"search", "new", "--data", "idx-cut"}},
        {"IDX with a label less", INPUT, "39 labels", {"search", "new", "--data", "idx-fewer"}},
        {"labels where images should be",
         INPUT,
         "dimensions",
         {"search", "new", "--data", "idx-swapped"}},
        {"IDX without labels", INPUT, "labels-idx1", {"search", "new", "--data", "idx-alone"}},
        {"gzip cut off", INPUT, "damaged or cut", {"search", "new", "--data", "idx-gzip"}},
        {"CIFAR-10 without its last byte", INPUT, "3073", {"search", "new", "--data", "cifar-cut"}},
        {"CIFAR-10 without batch 2",
         INPUT,
         "data_batch_2.bin",
         {"search", "new", "--data", "cifar-missing"}},
        {"CIFAR-10 with an eleventh class",
         INPUT,
         "label 10",
         {"search", "new", "--data", "cifar-label.bin"}},
        {"an empty file", INPUT, "empty.bin", {"search", "new", "--data", "empty.bin"}},
        {"the same for trace",
         INPUT,
         "label 10",
         {TRACE, "--data", "cifar-label.bin", "--out", "new"}},
    };
    refuse_all(rows, sizeof rows);
}

static void run_directories_that_cannot_go_on(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"a bit of the checkpoint is another", INPUT, "CRC-32", {"search", "flipped"}},
        {"the checkpoint lacks a byte", INPUT, "cut/" CHECKPOINT, {"search", "cut"}},
        {"a checkpoint under another name", INPUT, "holds step 30", {"search", "renamed"}},
        {"a checkpoint of other settings", INPUT, "other settings", {"search", "settings"}},
        {"nulls in run.json", INPUT, "other settings", {"search", "nulls"}},
        {"other images", INPUT, "checksum", {"search", "images"}},
        {"a table shorter than it was", INPUT, "metrics.csv", {"search", "table"}},
        {"half of run.json", INPUT, "half-json/run.json", {"search", "half-json"}},
        {"run.json that is no JSON", INPUT, "kind/run.json", {"search", "kind"}},
        {"a run without run.json", USAGE, "no run.json", {"search", "no-json"}},
        {"somebody else's directory", USAGE, "thesis.tex", {"search", "foreign", SEARCH}},
        {"a run of another method",
         USAGE,
         "--method random, but this run was begun with parsec",
         {"search", "done", "--method", "random"}},
        {"a setting that it was not begun with",
         USAGE,
         "begun with 3",
         {"search", "done", "--layers", "4"}},
        {"a flag that it was not begun with",
         USAGE,
         "--augment 0",
         {"search", "done", "--no-augment"}},
        {"a prior that is not there",
         IO,
         "nowhere",
         {"search", "new", SEARCH, "--prior", "nowhere"}},
        {"a prior without a checkpoint",
         INPUT,
         "without a checkpoint",
         {"search", "new", SEARCH, "--prior", "nothing-in-it"}},
        {"a prior that is damaged",
         INPUT,
         "CRC-32",
         {"search", "new", SEARCH, "--prior", "flipped"}},
        {"a truth that is no table at all",
         INPUT,
         "want architecture,NAME",
         {"search", "new", SEARCH, "--truth", "images.npy"}},
        {"a truth by a name that it has not",
         INPUT,
         "not the table of that name",
         {"sample", "--truth", "nasbench301.csv"}},
        {"a curve by another table",
         USAGE,
         "its rows are by the table other, and this is nasbench301",
         {"search", "curve", "--truth", "nasbench301"}},
        {"a curve that is none",
         INPUT,
         "no-curve/truth.csv: not a table of this program",
         {"search", "no-curve", "--truth", "nasbench301"}},
        {"a row that is none",
         INPUT,
         "half-curve/truth.csv: no row of such a table: 3,nas",
         {"search", "half-curve", "--truth", "nasbench301"}},
        {"samples of a damaged checkpoint", INPUT, "CRC-32", {"sample", "flipped"}},
        {"samples of weights without pi",
         INPUT,
         "not a checkpoint",
         {"sample", "weights/weights.safetensors"}},
        {"samples of a file of another kind", INPUT, "images.npy", {"sample", "images.npy"}},
    };
    refuse_all(rows, sizeof rows);
}

static void weights_and_batches_for_trace(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"a tensor is missing", INPUT, "no array cells.", {WEIGHTS, "others/weights.safetensors"}},
        {"tensors of another width", INPUT, "want F32 (", {WEIGHTS, "wide/weights.safetensors"}},
        {"a tensor of another type", INPUT, "is F64", {WEIGHTS, "double.safetensors"}},
        {"a bit is another", INPUT, "CRC-32", {WEIGHTS, "damaged/weights.safetensors"}},
        {"cut off", INPUT, "shorter/", {WEIGHTS, "shorter/weights.safetensors"}},
        {"weights that are images", INPUT, "images.npy", {WEIGHTS, "images.npy"}},
        {"weights that are not there", IO, "nowhere", {WEIGHTS, "nowhere"}},
        {"a label beyond the classes",
         INPUT,
         "label 10",
         {TRACE, "--input", "images.npy", "--labels", "beyond.npy", "--out", "new"}},
        {"a negative label",
         INPUT,
         "label -1",
         {TRACE, "--input", "images.npy", "--labels", "negative.npy", "--out", "new"}},
        {"a label too few",
         INPUT,
         "(8)",
         {TRACE, "--input", "images.npy", "--labels", "seven.npy", "--out", "new"}},
        {"labels that are not whole",
         INPUT,
         "F64",
         {TRACE, "--input", "images.npy", "--labels", "real.npy", "--out", "new"}},
        {"drop-path of another shape",
         INPUT,
         "(8,3,8,8), want F32 of shape (3,4,2,8)",
         {TRACE, INPUT_FILES, "--out", "new", "--network", "eval", "--drop-path", "images.npy"}},
        {"images in double precision",
         INPUT,
         "F64",
         {TRACE, "--input", "double.npy", "--labels", "labels.npy", "--out", "new"}},
        {"images of three dimensions",
         INPUT,
         "(N,C,H,W)",
         {TRACE, "--input", "flat.npy", "--labels", "labels.npy", "--out", "new"}},
        {"images of two channels",
         INPUT,
         "C 1 or 3",
         {TRACE, "--input", "two.npy", "--labels", "labels.npy", "--out", "new"}},
        {"images cut off",
         INPUT,
         "half.npy",
         {TRACE, "--input", "half.npy", "--labels", "labels.npy", "--out", "new"}},
        {"images that are not there",
         IO,
         "nowhere",
         {TRACE, "--input", "nowhere", "--labels", "labels.npy", "--out", "new"}},
    };
    refuse_all(rows, sizeof rows);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void places_that_cannot_be_written(void **state) {
    (void)state;
    static const refusal rows[] = {
        {"below a file", IO, "empty.bin/new", {"search", "empty.bin/new", SEARCH}},
        {"a file itself", IO, "empty.bin", {"search", "empty.bin", SEARCH}},
        {"below what is not there, of data that are not",
         INPUT,
         "'nowhere'",
         {"search", "a/b//c/d/", "--data", "nowhere"}},
        {"the same of a training",
         INPUT,
         "'nowhere'",
         {"train", "a/b", "--genotype", "DARTS_V2", "--data", "nowhere"}},
        {"where nobody can write", IO, "/proc/new", {"search", "/proc/new", SEARCH}},
        {"trace below a file", IO, "empty.bin/new", {TRACE, INPUT_FILES, "--out", "empty.bin/new"}},
        {"trace into a file", IO, "empty.bin", {TRACE, INPUT_FILES, "--out", "empty.bin"}},
    };
    refuse_all(rows, sizeof rows);
}

/* A pipe that is full or a disk that is: what was printed is lost, so it must not look done. */
static void stdout_that_cannot_be_written(void **state) {
    (void)state;
    static const char *const commands[][4] = {
        {"help"},           {"help", "plan"}, {"search", "--help"}, {"--version"},      {"plan"},
        {"plan", "--json"}, {"sample"},       {"sample", "--json"}, {"search", "done"}, {"info"},
    };
    const pn_conditions full = {.to = "/dev/full"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        pn_process p;
        char *before = everything();
        run(&p, &full, commands[i]);
        if (p.code != IO || !strstr(p.err, "cannot write to stdout"))
            fail_msg("%s: exit code %d, it said: %s", commands[i][0], p.code, p.err);
        assert_unchanged(commands[i][0], before);
        pn_process_free(&p);
    }
}

static void a_directory_in_use(void **state) {
    (void)state;
    const int lock = open(pn_in_folder("done/lock"), O_RDWR | O_CLOEXEC);
    assert_true(lock >= 0);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    refuse("in use", &(pn_conditions){0}, BUSY, "another process",
           (const char *const[]){"search", "done", NULL});
    close(lock);
    MUST_WORK("search", "done", "--quiet");
}

static void too_little_memory(void **state) {
    (void)state;
    refuse("less than the arena needs", &(pn_conditions){0}, MEMORY, "limit is 1.0 MiB",
           (const char *const[]){"search", "new", "--data", "synthetic:200x16x16x3", NETWORK,
                                 "--memory", "1MiB", NULL});
#ifdef ASAN
    print_message("no limits of address space: the sanitizer needs terabytes of it\n");
#else
    /* From what the program text needs to a part of what the arena reserves (166 MiB). */
    for (size_t mib = 64; mib <= 128; mib *= 2) {
        const pn_conditions small = {.address_space = mib << 20};
        refuse(
            "less address space than search wants", &small, MEMORY, "refused",
            (const char *const[]){"search", "new", "--data", "synthetic:5000x16x16x3", "--layers",
                                  "3", "--channels", "8", "--threads", "1", "--quiet", NULL});
    }
#endif
}

/* ---- what was saved stays -------------------------------------------------------------------- */

static bool holds_checkpoint(const char *directory) {
    char *text = pn_folder_text(pn_in_folder(directory), NULL);
    const bool found = strstr(text, ".safetensors ") != NULL;
    free(text);
    return found;
}

/* A search that was killed after its first checkpoint. */
static void begin_and_kill(const char *directory) {
    const char *const argv[] = {PN_PROGRAM, "search",       directory, "--quiet",
                                SEARCH,     "--save-every", "0",       NULL};
    const pn_conditions where = {.folder = pn_folder};
    bool finished = true;
    while (finished) {
        pn_process p;
        pn_folder_remove(pn_in_folder(directory));
        pn_process_start(&p, argv, &where);
        while (pn_process_runs(&p) && access(pn_in_folder(directory), F_OK) != 0) continue;
        while (pn_process_runs(&p) && !holds_checkpoint(directory)) continue;
        kill(p.pid, SIGKILL);
        pn_process_wait(&p, LIMIT);
        finished = p.signal == 0;
        pn_process_free(&p);
    }
}

/* The run directory as it would be without what happened. */
static void assert_as_done(const char *directory) {
    char *text = pn_run_text(pn_in_folder(directory)), *want = pn_run_text(pn_in_folder("done"));
    assert_string_equal(text, want);
    free(text);
    free(want);
}

/* The lines of a folder's text that tell of finished checkpoints. */
static void keep_checkpoints(char *text) {
    char *to = text;
    for (char *line = text, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        const size_t length = (size_t)(end - line);
        if (strncmp(line, "checkpoint-", 11) != 0) continue;
        memmove(to, line, length);
        to += length;
    }
    *to = 0;
}

/* No file may be longer than half a checkpoint: the system's way to say that the disk is full. */
static void a_checkpoint_that_cannot_be_written(void **state) {
    (void)state;
    struct stat about;
    assert_int_equal(stat(pn_in_folder("done/" CHECKPOINT), &about), 0);
    const pn_conditions small = {.file_size = (size_t)about.st_size / 2};
    begin_and_kill("full");
    char *before = pn_folder_text(pn_in_folder("full"), NULL);
    keep_checkpoints(before); /* after a kill there may be a .tmp, which goes */
    char *tmp = strstr(before, ".tmp ");
    if (tmp) {
        while (tmp > before && tmp[-1] != '\n') tmp--;
        char *rest = strchr(tmp, '\n') + 1;
        memmove(tmp, rest, strlen(rest) + 1);
    }

    pn_process p;
    run(&p, &small, (const char *const[]){"search", "full", "--quiet", "--save-every", "0", NULL});
    assert_refused("full", &p, IO, "cannot write");
    pn_process_free(&p);
    char *after = pn_folder_text(pn_in_folder("full"), NULL);
    assert_null(strstr(after, ".tmp"));
    assert_null(strstr(after, "genotype.txt"));
    keep_checkpoints(after);
    assert_string_equal(after, before);
    free(before);
    free(after);

    MUST_WORK("search", "full", "--quiet");
    assert_as_done("full");
}

/* The same on a file system that is really full, where a test may mount one. */
static void a_full_disk(void **state) {
    (void)state;
    struct stat about;
    char size[48];
    assert_int_equal(stat(pn_in_folder("done/" CHECKPOINT), &about), 0);
    snprintf(size, sizeof size, "size=%lld", (long long)about.st_size * 3 / 2);
    make_folder("disk");
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", pn_in_folder("disk"), "tmpfs", 0, size) != 0) {
        print_message("no file system to fill: mounting is not allowed here\n");
        skip();
    }
    pn_process p;
    RUN(&p, "search", "disk/run", "--quiet", SEARCH, "--save-every", "0");
    assert_refused("full disk", &p, IO, "No space left");
    pn_process_free(&p);
    char *text = pn_folder_text(pn_in_folder("disk/run"), NULL);
    assert_non_null(strstr(text, "checkpoint-00000001.safetensors "));
    assert_null(strstr(text, ".tmp"));
    free(text);
    MUST_WORK("sample", "disk/run");

    snprintf(size, sizeof size, "size=%lld", (long long)about.st_size * 10);
    assert_int_equal(mount("none", pn_in_folder("disk"), "tmpfs", MS_REMOUNT, size), 0);
    MUST_WORK("search", "disk/run", "--quiet");
    assert_as_done("disk/run");

    /* A run that cannot be written to is compared, and gets no page. */
    assert_int_equal(mount("none", pn_in_folder("disk"), "tmpfs", MS_REMOUNT | MS_RDONLY, size), 0);
    RUN(&p, "compare", "disk/run", "--random", "1", "--steps", "2", "--threads", "1");
    assert_int_equal(p.code, 0);
    assert_null(strstr(p.err, "to look at"));
    pn_process_free(&p);
    assert_int_equal(umount(pn_in_folder("disk")), 0);
}

/* Each is marked, none ends the others; that all did is the exit code. */
static void comparisons_that_diverge(void **state) {
    (void)state;
    static const char row[] = "diverged    diverged   normal";
    pn_process p;
    for (int json = 0; json < 2; json++) {
        RUN(&p, "compare", "PDARTS", "--random", "1", DATA, NETWORK, "--steps", "30", "--rate",
            "1000", "--decay", "1000", "--clip", "0", "--quiet", json ? "--json" : NULL);
        assert_int_equal(p.code, DIVERGED);
        assert_string_equal(p.err,
                            "parsec-nas compare: all 2 trainings diverged; want a lower --rate\n");
        const char *first = strstr(p.out, json ? "\"diverged\": true" : row);
        if (!first || !strstr(first + 1, json ? "\"diverged\": true" : row))
            fail_msg("not two rows: %s", p.out);
        assert_null(strstr(p.out, "nan"));
        pn_process_free(&p);
    }
}

/* With these rates the weights grow a million times a step, until a loss is not a number. */
static void a_search_that_diverges(void **state) {
    (void)state;
    pn_process p;
    RUN(&p, "search", "nan", "--quiet", SEARCH, "--rate", "1000", "--decay", "1000", "--clip", "0",
        "--save-every", "0");
    assert_refused("diverged", &p, DIVERGED, "step ");
    pn_process_free(&p);

    size_t length;
    char *json = get("nan/run.json", &length), *text = pn_folder_text(pn_in_folder("nan"), NULL);
    assert_non_null(strstr(json, "\"state\": \"diverged\""));
    free(json);
    keep_checkpoints(text);
    char path[128], *newest = text, *next;
    while ((next = strchr(newest, '\n') + 1), *next) newest = next;
    snprintf(path, sizeof path, "nan/%.*s", (int)strcspn(newest, " "), newest);
    free(text);
    pn_safetensors *file;
    assert_int_equal(pn_safetensors_read(pn_in_folder(path), &file), PN_OK);
    for (int i = 0; i < pn_safetensors_count(file); i++) {
        const pn_array *a = pn_safetensors_at(file, i);
        for (size_t j = 0; a->dtype == PN_F32 && j < pn_array_bytes(a) / sizeof(float); j++)
            if (!isfinite(((const float *)a->data)[j])) fail_msg("%s: %s", path, a->name);
    }
    pn_safetensors_free(file);
    MUST_WORK("sample", "nan");

    char *before = pn_run_text(pn_in_folder("nan")); /* it is as it is: the same again */
    RUN(&p, "search", "nan", "--quiet");
    assert_refused("diverged again", &p, DIVERGED, "step ");
    pn_process_free(&p);
    char *after = pn_run_text(pn_in_folder("nan"));
    assert_string_equal(after, before);
    free(before);
    free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_that_are_no_command_or_option),
        cmocka_unit_test(numbers_out_of_range),
#ifdef PN_HAVE_EMULATOR
        cmocka_unit_test(a_card_without_tf32),
#endif
        cmocka_unit_test(cards_that_are_not_there),
        cmocka_unit_test(genotypes_with_one_flaw),
        cmocka_unit_test(damaged_data_sets),
        cmocka_unit_test(run_directories_that_cannot_go_on),
        cmocka_unit_test(weights_and_batches_for_trace),
        cmocka_unit_test(places_that_cannot_be_written),
        cmocka_unit_test(stdout_that_cannot_be_written),
        cmocka_unit_test(a_directory_in_use),
        cmocka_unit_test(too_little_memory),
        cmocka_unit_test(a_checkpoint_that_cannot_be_written),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(comparisons_that_diverge),
        cmocka_unit_test(a_search_that_diverges),
    };
    return cmocka_run_group_tests_name("refusals", tests, begin, pn_folder_end);
}
