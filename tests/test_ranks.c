/* test_ranks.c -- a search, or a training, by several processes leaves the same bytes as by one:
 * whoever computes what, whoever is killed or interrupted, and however many go on. And what cannot
 * be is refused in one sentence of one of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/poison.h"
#include "kernels/status.h"
#include "runtime/arena.h"
#include "runtime/rng.h"
#include "tests/support/faulty.h"
#include "tests/support/process.h"
#include "tests/support/ranks.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* AddressSanitizer sees nothing in what is killed, and in the rest what it has seen before. */
#ifdef PN_ASAN
enum { FEW = 1 };
#else
enum { FEW = 0 };
#endif

enum { MOST_ARGUMENTS = 64, LIMIT = 200 /* seconds, far beyond any */ };

#define TINY                                                                            \
    "--data", "synthetic:48x8x8x3", "--layers", "3", "--channels", "4", "--batch", "8", \
        "--threads", "1", "--no-report", "--quiet"

/* Units of unequal cost, a warm-up of one sample, and samples that count nothing. */
static const char *const units[] = {"--samples",
                                    "3",
                                    "--shards",
                                    "2",
                                    "--steps",
                                    "5",
                                    "--warmup",
                                    "2",
                                    "--skip-below",
                                    "0.5",
                                    "--temperature-weights",
                                    "1",
                                    NULL};
static const char *const judged[] = {"--method", "random", "--shards",    "4", "--steps", "8",
                                     "--select", "3",      "--finalists", "2", NULL};
static const char *const frozen[] = {"--samples", "3", "--steps", "3", "--freeze-weights", NULL};
static const char *const card[] = {"--device", "emulated", "--samples", "2",           "--shards",
                                   "2",        "--steps",  "2",         "--in-flight", "2",
                                   "--warmup", "1",        NULL};
/* So small a batch that the first gradients overflow: all skip the same steps, and take others. */
static const char *const half[] = {"--device",  "emulated", "--precision", "fp16", "--batch", "4",
                                   "--samples", "2",        "--shards",    "2",    "--steps", "6",
                                   "--warmup",  "5",        "--in-flight", "2",    NULL};
static const char *const training[] = {"--genotype",   "DARTS_V2", "--epochs",    "2",
                                       "--shards",     "4",        "--drop-path", "0.3",
                                       "--save-every", "0",        NULL};
/* Long enough to be killed amid. */
static const char *const many[] = {"--samples",    "4", "--steps", "40", "--warmup", "4",
                                   "--save-every", "0", NULL};

/* ---- one run --------------------------------------------------------------------------------- */

/* ranks NULL: without a launcher. `own`: what rank 0 alone is told, or NULL. */
static void start(pn_process *p, const char *ranks, const char *command, const char *directory,
                  const char *const *arguments, const char *const *last) {
    static const char *const tiny[] = {TINY, NULL};
    const char *argv[MOST_ARGUMENTS];
    const char *const *const parts[] = {tiny, arguments, last};
    int n = 0;
    if (ranks) {
        argv[n++] = pn_launcher();
        argv[n++] = "-n";
        argv[n++] = last ? "1" : ranks;
    }
    for (int time = 0; time < (last ? 2 : 1); time++) {
        if (time) {
            argv[n++] = ":";
            argv[n++] = "-n";
            argv[n++] = "1";
        }
        argv[n++] = PN_PROGRAM;
        argv[n++] = command;
        argv[n++] = directory;
        for (int i = 0; i < 2 + time; i++)
            for (const char *const *a = parts[i]; *a; a++) {
                assert_true(n < MOST_ARGUMENTS - 1);
                argv[n++] = *a;
            }
    }
    argv[n] = NULL;
    const pn_conditions where = {.folder = pn_folder};
    pn_process_start(p, argv, &where);
}

static void assert_code(const pn_process *p, int code, const char *words) {
    if (p->code != code || p->late || !strstr(p->err, words))
        fail_msg("exit code %d, signal %d%s, want %d and \"%s\"; it said: %s", p->code, p->signal,
                 p->late ? " (time was up)" : "", code, words, p->err);
}

static void finish(const char *ranks, const char *command, const char *directory,
                   const char *const *arguments) {
    pn_process p;
    start(&p, ranks, command, directory, arguments, NULL);
    pn_process_wait(&p, LIMIT);
    assert_code(&p, 0, "");
    assert_string_equal(p.err, "");
    pn_process_free(&p);
}

static void assert_same(const char *directory, const char *reference) {
    char *found = pn_run_text(pn_in_folder(directory)),
         *want = pn_run_text(pn_in_folder(reference));
    if (strcmp(found, want) != 0) fail_msg("%s holds\n%swant\n%s", directory, found, want);
    free(found);
    free(want);
}

/* By one, two and three. */
static void compare(const char *name, const char *command, const char *const *arguments,
                    bool three) {
    static char directory[3][64];
    static const char *const ranks[] = {NULL, "2", "3"};
    for (int i = 0; i < 2 + three; i++) {
        snprintf(directory[i], sizeof directory[i], "%s-%s", name, ranks[i] ? ranks[i] : "1");
        finish(ranks[i], command, directory[i], arguments);
        if (i) assert_same(directory[i], directory[0]);
    }
}

static void test_units(void **state) {
    (void)state;
    compare("units", "search", units, true);
}

static void test_judged(void **state) {
    (void)state;
    compare("judged", "search", judged, true);
}

static void test_frozen(void **state) {
    (void)state;
    compare("frozen", "search", frozen, false);
}

static void test_card(void **state) {
    (void)state;
    compare("card", "search", card, false);
}

static void test_half(void **state) {
    (void)state;
    char json[8192];
    compare("half", "search", half, false);
    FILE *file = fopen(pn_in_folder("half-2/run.json"), "r");
    assert_non_null(file);
    json[fread(json, 1, sizeof json - 1, file)] = 0;
    fclose(file);
    const char *const skipped = strstr(json, "\"skipped\": ");
    assert_non_null(skipped);
    const long count = strtol(skipped + strlen("\"skipped\": "), NULL, 10);
    if (count < 1 || count > 5) fail_msg("%ld of 6 steps skipped", count);
}

/* Shards of one network; its score, of which each rank runs a part of the batches. */
static void test_training(void **state) {
    (void)state;
    compare("training", "train", training, true);
}

/* ---- killed, interrupted, continued ---------------------------------------------------------- */

static bool is_there(const char *path) {
    struct stat about;
    return stat(pn_in_folder(path), &about) == 0;
}

/* A run by two, until it has made a few steps; then a signal to one of them. Again if it was at the
 * end by then. */
static void disturb(pn_process *p, const char *command, const char *directory,
                    const char *const *arguments, int rank, int with) {
    enum { TRIES = 20 };
    char checkpoint[128];
    snprintf(checkpoint, sizeof checkpoint, "%s%s/checkpoint-00000006.safetensors", directory,
             strcmp(command, "train") == 0 ? "/seed-1" : "");
    for (int i = 0; i < TRIES; i++) {
        pn_folder_remove(pn_in_folder(directory));
        start(p, "2", command, directory, arguments, NULL);
        while (pn_process_runs(p) && !is_there(checkpoint)) pn_sleep(0.0005);
        const pid_t pid = pn_rank_of(p->pid, rank);
        if (pid) kill(pid, with);
        const double begun = pn_clock();
        pn_process_wait(p, LIMIT);
        if (pn_clock() - begun > 60) fail_msg("%.0f s until all were gone", pn_clock() - begun);
        if (p->code != 0) return;
        pn_process_free(p);
    }
    fail_msg("%s: rank %d was never found at work", directory, rank);
}

/* Whether it was still at work: a fast machine may have been at the end. */
static bool is_finished(const char *directory) {
    char path[128];
    snprintf(path, sizeof path, "%s/genotype.txt", directory);
    return is_there(path);
}

static void test_killed(void **state) {
    (void)state;
    static const char *const directory[] = {"killed-0", "killed-1"}, *const next[] = {NULL, "3"};
    finish(NULL, "search", "whole", many);
    for (int rank = 0; rank < 2; rank++) {
        pn_process p;
        disturb(&p, "search", directory[rank], many, rank, SIGKILL);
        assert_true(p.code != 0 && !p.late);
        assert_false(is_finished(directory[rank]));
        pn_process_free(&p);
        finish(next[rank], "search", directory[rank], many);
        assert_same(directory[rank], "whole");
    }
}

/* Until one is over, or so many seconds have gone by; the process of a rank by then, or 0. */
static pid_t wait_for_rank(pn_process *p, int rank, double seconds) {
    const double begun = pn_clock();
    while (pn_process_runs(p) && pn_clock() - begun < seconds) pn_sleep(0.002);
    while (pn_process_runs(p)) {
        const pid_t pid = pn_rank_of(p->pid, rank);
        if (pid) return pid;
        pn_sleep(0.002);
    }
    return 0;
}

/* PN_TEST_LONG: at so many instants any of two or three is killed, as they start, compute, write or
 * end; whoever goes on, and however many, in the end there are the bytes of one. A search that was
 * quicker than its killer is compared, and another one begins. */
static void test_killed_at_random(void **state) {
    (void)state;
    enum { INSTANTS = 50 };
    static const char *const ranks[] = {"2", "3"};
    static const char directory[] = "random";
    const uint64_t seed = (uint64_t)pn_setting("PN_TEST_SEED", 1);
    double longest = 0;
    int killed = 0, searches = 1;
    if (!pn_setting("PN_TEST_LONG", 0)) skip();
    const double first = pn_clock(); /* of a whole search */
    finish("3", "search", directory, many);
    const double whole = pn_clock() - first;
    pn_folder_remove(pn_in_folder(directory));
    for (uint64_t i = 0; killed < INSTANTS; i++) {
        double u[3]; /* how many there are, which of them, and when */
        for (uint64_t j = 0; j < 3; j++) u[j] = pn_uniform(seed, PN_STREAM_INIT, i, j);
        const int many_ranks = u[0] < 0.5 ? 2 : 3, rank = (int)(u[1] * many_ranks);
        pn_process p;
        start(&p, ranks[many_ranks - 2], "search", directory, many, NULL);
        const pid_t pid = wait_for_rank(&p, rank, u[2] * whole);
        const bool hit = pid && kill(pid, SIGKILL) == 0;
        const double at = pn_clock();
        pn_process_wait(&p, LIMIT);
        const double gone = pn_clock() - at;
        if (p.code == 0 && !p.late) { /* at its end */
            assert_same(directory, "whole");
            pn_folder_remove(pn_in_folder(directory));
            searches++;
        } else if (!hit) {
            fail_msg("code %d, it said: %s", p.code, p.err);
        } else {
            killed++;
            if (gone > longest) longest = gone;
            if (gone > 60) fail_msg("%.0f s until all were gone", gone);
        }
        pn_process_free(&p);
    }
    finish(NULL, "search", directory, many);
    assert_same(directory, "whole");
    print_message("%d kills in %d searches of %.1f s, all gone after %.1f s at most\n", killed,
                  searches, whole, longest);
}

/* All stop after the step, whoever was asked. */
static void test_interrupted(void **state) {
    (void)state;
    pn_process p;
    disturb(&p, "search", "stopped", many, 1, SIGTERM);
    assert_code(&p, 128 + SIGTERM, "parsec-nas search: stopped after step ");
    assert_null(strstr(p.err, "rank "));
    pn_process_free(&p);
    assert_false(is_finished("stopped"));
    finish("4", "search", "stopped", many);
    assert_same("stopped", "whole");
}

/* The clock of rank 0 has said how many steps there are, and so it stays: of so many any number of
 * ranks makes the same bits. */
static void test_timed(void **state) {
    (void)state;
    static const char *const search[] = {"--samples",    "2", "--time", "1",
                                         "--save-every", "0", NULL},
                             *const train[] = {"--genotype", "DARTS_V2", "--shards",     "2",
                                               "--time",     "1",        "--save-every", "0",
                                               NULL};
    static const struct {
        const char *command, *directory, *copy;
        const char *const *arguments;
    } runs[] = {{"search", "timed", "timed-copy", search},
                {"train", "timed-train", "timed-train-copy", train}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const char *const command = runs[i].command;
        pn_process p;
        disturb(&p, command, runs[i].directory, runs[i].arguments, 0, SIGTERM);
        assert_code(&p, 128 + SIGTERM, "stopped after step ");
        pn_process_free(&p);
        pn_folder_copy(pn_in_folder(runs[i].directory), pn_in_folder(runs[i].copy));
        finish("2", command, runs[i].directory, runs[i].arguments);
        finish(NULL, command, runs[i].copy, runs[i].arguments);
        assert_same(runs[i].copy, runs[i].directory);
    }
}

/* ---- refused --------------------------------------------------------------------------------- */

/* How often a text is in another. */
static int times(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* One of them says it, among a launcher's words, and nothing is left behind. */
static void refused(const char *ranks, const char *directory, const char *const *arguments,
                    const char *const *last, int code, const char *words) {
    pn_process p;
    start(&p, ranks, "search", directory, arguments, last);
    pn_process_wait(&p, LIMIT);
    assert_code(&p, code, words);
    if (times(p.err, "parsec-nas search: ") != 1) fail_msg("it said: %s", p.err);
    assert_string_equal(p.out, "");
    pn_process_free(&p);
    assert_false(is_there("refused"));
}

static void test_refused(void **state) {
    (void)state;
    static const char
        *const two[] = {"--samples", "2", "--steps", "3", NULL},
               *const darts[] = {"--method", "darts", NULL}, *const slip[] = {"--step", "x", NULL},
               *const memory[] = {"--memory", "1K", NULL}, *const timed[] = {"--samples", "2",
                                                                             "--time",    "60",
                                                                             "--steps",   "30",
                                                                             NULL},
               *const darts_timed[] = {"--method", "darts", "--time", "60", NULL};
    refused("3", "refused", two, NULL, PN_EARG,
            "3 ranks, want at most 2: 2 samples in 1 shards each");
    refused("2", "refused", darts, NULL, PN_EARG, "2 ranks, want one: a step of --method darts");
    refused("2", "refused", darts_timed, NULL, PN_EARG, "2 ranks, want one: a step of --method");
    refused("2", "refused", timed, NULL, PN_EARG, "want one of --time, --steps and --epochs");
    refused("2", "refused", slip, NULL, PN_EARG, "--steps x, want");
    refused("2", "refused", two, memory, PN_EMEM, "rank 1 (host ");
    refused("2", "/proc/refused", two, NULL, PN_EIO, "/proc/refused");
}

/* What plan says of one of so many ranks. */
static size_t planned(const char *ranks, const char *image) {
    const char *const arguments[] = {"plan",       "DARTS_V2", "--network", "eval",    "--layers",
                                     "3",          "--shards", "4",         "--batch", "8",
                                     "--channels", "4",        "--ranks",   ranks,     "--image",
                                     image,        "--json",   NULL};
    pn_process p = {0};
    size_t bytes = 0;
    assert_int_equal(pn_process_program(&p, PN_PROGRAM, arguments, LIMIT), 0);
    const char *at = strstr(p.out, "\"total_bytes\": ");
    if (!at || sscanf(at, "\"total_bytes\": %zu", &bytes) != 1) fail_msg("plan said %s", p.out);
    pn_process_free(&p);
    return bytes;
}

/* A rank has memory for the gradients of its own shards, and --memory counts no others. */
static void test_memory(void **state) {
    (void)state;
    if (pn_arena_checks(&pn_host_memory)) skip(); /* guards are in no plan */
    const size_t one = planned("1", "32x32x3"), two = planned("2", "32x32x3");
    assert_true(two < one);
    for (size_t less = 0; less < 2; less++) {
        char limit[32];
        snprintf(limit, sizeof limit, "%zu", two - less);
        const char *const arguments[] = {
            "--genotype", "DARTS_V2", "--epochs", "1",      "--shards",
            "4",          "--memory", limit,      "--data", "synthetic:24x32x32x3",
            NULL};
        pn_process p;
        start(&p, "2", "train", less ? "refused" : "enough", arguments, NULL);
        pn_process_wait(&p, LIMIT);
        assert_code(&p, less ? PN_EMEM : 0, less ? "memory: this network needs" : "");
        if (less && times(p.err, "parsec-nas train: ") != 1) fail_msg("it said: %s", p.err);
        pn_process_free(&p);
    }
}

/* What every rank of the two that follow is told. */
#define ASKED(program) \
    "-n", "1", program, "search", pn_in_folder("refused"), TINY, "--samples", "2", "--steps", "3"

/* One of them says it, and nothing is left behind. */
static void refuses(const char *const *argv, int code, const char *words) {
    pn_process p;
    pn_process_run(&p, argv, NULL, LIMIT);
    assert_code(&p, code, words);
    if (times(p.err, "parsec-nas search: ") != 1) fail_msg("it said: %s", p.err);
    pn_process_free(&p);
    assert_false(is_there("refused"));
}

/* Whichever of them is the other one. */
static void test_other_version(void **state) {
    (void)state;
    const char *const last[] = {pn_launcher(), ASKED(PN_PROGRAM), ":", ASKED(PN_OTHER_VERSION),
                                NULL},
                      *const first[] = {pn_launcher(), ASKED(PN_OTHER_VERSION), ":",
                                        ASKED(PN_PROGRAM), NULL};
    refuses(last, PN_EARG, "): parsec-nas 0.0.0, want ");
    refuses(first, PN_EARG, ", want 0.0.0 as rank 0 has");
}

/* NCCL has no two ranks on a card; nor is it for the host's memory. */
static void test_one_card(void **state) {
    (void)state;
    const char *const shared[] = {pn_launcher(),      ASKED(PN_ONE_CARD), "--group", "nccl", ":",
                                  ASKED(PN_ONE_CARD), "--group",          "nccl",    NULL},
                      *const plain[] = {
                          pn_launcher(), ASKED(PN_PROGRAM), "--group", "nccl", "--device", "cpu",
                          ":",           ASKED(PN_PROGRAM), "--group", "nccl", "--device", "cpu",
                          NULL};
    refuses(shared, PN_EARG, "group nccl with 2 ranks and 1 card on a host, want a card each");
    refuses(plain, PN_EARG, "group nccl, want --device cuda, and a build with NCCL");
}

/* Somebody has exported what a launcher says, and nobody has started us. A script of sbatch has
 * SLURM_NTASKS, and means one process. */
static void test_exported(void **state) {
    (void)state;
    static const char *const words[][2] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE says 2 "},
                                           {"PMI_SIZE", "PMI_SIZE says 2 ranks and MPI knows of 1"},
                                           {"SLURM_NTASKS", NULL}};
    (void)pn_launcher();
    for (int i = 0; i < 3; i++) {
        const char *const argv[] = {
            PN_PROGRAM, "search",    pn_in_folder(words[i][1] ? "refused" : "slurm"),
            TINY,       "--samples", "2",
            "--steps",  "3",         NULL};
        pn_process p;
        setenv(words[i][0], "2", 1);
        if (words[i][1]) {
            refuses(argv, PN_EDEVICE, words[i][1]);
        } else {
            pn_process_run(&p, argv, NULL, LIMIT);
            assert_code(&p, 0, "");
            pn_process_free(&p);
        }
        unsetenv(words[i][0]);
    }
}

/* A data set of the same name, in folders that are another for each rank. */
static void test_other_images(void **state) {
    (void)state;
    static const char *const folder[] = {"host-0", "host-1"}, *const images[] = {
                                                                  "synthetic:64x8x8x3",
                                                                  "synthetic:72x8x8x3"};
    const char *directory = pn_in_folder("refused"), *where[2];
    pn_process p = {0};
    for (int i = 0; i < 2; i++) {
        char set[64];
        where[i] = pn_in_folder(folder[i]);
        assert_int_equal(mkdir(where[i], 0700), 0);
        snprintf(set, sizeof set, "%s/set.safetensors", folder[i]);
        const char *const pack[] = {"data", "pack", images[i], "--out", set, NULL};
        assert_int_equal(pn_process_program(&p, PN_PROGRAM, pack, LIMIT), 0);
    }
    pn_process_free(&p);
#define ON(rank)                                                                                   \
    "-n", "1", "-wdir", where[rank], PN_PROGRAM, "search", directory, "--quiet", "--samples", "2", \
        "--steps", "2", "--batch", "8", "--data", "set.safetensors"
    const char *const argv[] = {pn_launcher(), ON(0), ":", ON(1), NULL};
#undef ON
    pn_process_run(&p, argv, NULL, LIMIT);
    assert_code(&p, PN_EINPUT, "parsec-nas search: rank 1 (host ");
    assert_non_null(strstr(p.err, "as rank 0 has"));
    pn_process_free(&p);
    assert_false(is_there("refused"));
}

/* Of the instruction sets that they ask for the lowest; what two insist on must be the same. */
static void test_sets(void **state) {
    (void)state;
    static const char *const any[] = {"--samples", "2", "--steps", "2", "--warmup", "1", NULL},
                             *const base[] = {"--device", "cpu:base", NULL},
                             *const whole[] = {"--samples", "2",        "--steps",  "2", "--warmup",
                                               "1",         "--device", "cpu:base", NULL};
    pn_process p;
    start(&p, "2", "search", "lowest", any, base);
    pn_process_wait(&p, LIMIT);
    assert_code(&p, 0, "");
    pn_process_free(&p);
    finish(NULL, "search", "base", whole);
    assert_same("lowest", "base");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),         cmocka_unit_test(test_training),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_sets),
        cmocka_unit_test(test_other_images),  cmocka_unit_test(test_memory),
        cmocka_unit_test(test_other_version), cmocka_unit_test(test_one_card),
        cmocka_unit_test(test_exported),
    };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_judged),      cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_card),        cmocka_unit_test(test_half),
        cmocka_unit_test(test_killed),      cmocka_unit_test(test_killed_at_random),
        cmocka_unit_test(test_interrupted), cmocka_unit_test(test_timed),
    };
    if (!*pn_launcher()) return 77;
    const int failed = cmocka_run_group_tests_name("ranks", tests, pn_folder_begin, pn_folder_end);
    if (FEW) return failed;
    return failed + cmocka_run_group_tests_name("more", more, pn_folder_begin, pn_folder_end);
}
