/* test_resume.c -- a search or a training that was killed, interrupted or run with other threads
 * ends with the same bytes as one that was left alone.
 *
 * Every test runs the program on the same small search, or training, and compares whole directories
 * with that of an undisturbed run. When a kill strikes depends on the machine; what must follow
 * does not. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/poison.h"
#include "tests/support/faulty.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { MOST_ARGUMENTS = 40, DEVICE = 5, LIMIT = 300 /* seconds of a run, far beyond any */ };

/* AddressSanitizer sees nothing in what is killed, and the same in each that continues.
 * NOW_AND_THEN: seconds between two checkpoints, a few steps. */
#ifdef PN_ASAN
enum { FEW_KILLS = 1 };
#define NOW_AND_THEN "0.2"
#else
enum { FEW_KILLS = 0 };
#define NOW_AND_THEN "0.02"
#endif

static char *reference;       /* what an undisturbed run leaves, as text */
static double reference_time; /* seconds that it took */

#define SMALL                                                                            \
    "--data", "synthetic:200x8x8x3", "--layers", "3", "--channels", "4", "--batch", "8", \
        "--samples", "3", "--steps", "40", "--warmup", "10"
static const char *const plain[] = {SMALL, NULL};

/* Random numbers that are the same in every run of the test (Knuth's MMIX generator). */
static double fraction(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) * 0x1p-53;
}

/* ---- one run --------------------------------------------------------------------------------- */

/* How a search is run, beside what decides its result. */
typedef struct manner {
    const char *threads, *save_every;
    bool training; /* not a search */
} manner;
static const manner usual = {"1", NOW_AND_THEN, false};

static void start(pn_process *p, const char *directory, const char *const *arguments, manner how) {
    const char *argv[MOST_ARGUMENTS] = {PN_PROGRAM,     how.training ? "train" : "search",
                                        directory,      "--quiet",
                                        "--threads",    how.threads,
                                        "--save-every", how.save_every};
    int n = 8;
    while (*arguments) {
        assert_true(n < MOST_ARGUMENTS - 1);
        argv[n++] = *arguments++;
    }
    const pn_conditions where = {.folder = pn_folder};
    pn_process_start(p, argv, &where);
}

static void assert_code(const pn_process *p, int code) {
    if (p->code != code || p->late)
        fail_msg("exit code %d, signal %d%s, want %d; it said: %s", p->code, p->signal,
                 p->late ? " (time was up)" : "", code, p->err);
}

/* To the end. */
static void finish(const char *directory, const char *const *arguments, manner how) {
    pn_process p;
    start(&p, directory, arguments, how);
    pn_process_wait(&p, LIMIT);
    assert_code(&p, 0);
    assert_string_equal(p.err, "");
    pn_process_free(&p);
}

/* For that long. Whether it was killed: it may have been finished. */
static bool kill_after(const char *directory, const char *const *arguments, manner how,
                       double seconds) {
    pn_process p;
    start(&p, directory, arguments, how);
    pn_sleep(seconds);
    kill(p.pid, SIGKILL);
    pn_process_wait(&p, LIMIT);
    const bool killed = p.signal == SIGKILL;
    if (!killed) assert_code(&p, 0);
    pn_process_free(&p);
    return killed;
}

static bool holds(const char *directory, const char *part) {
    DIR *d = opendir(pn_in_folder(directory));
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));)
        found = strstr(e->d_name, part) != NULL;
    if (d) closedir(d);
    return found;
}

/* After the first checkpoint and before the end, however fast the machine is. */
static void kill_amid(const char *directory, const char *const *arguments) {
    for (bool finished = true; finished;) {
        pn_folder_remove(pn_in_folder(directory));
        pn_process p;
        start(&p, directory, arguments, (manner){"1", "0", false});
        while (pn_process_runs(&p) && !holds(directory, "checkpoint-00000002.safetensors"))
            continue;
        kill(p.pid, SIGKILL);
        pn_process_wait(&p, LIMIT);
        finished = p.signal == 0;
        pn_process_free(&p);
    }
}

static void assert_text(const char *directory, const char *want) {
    char *text = pn_run_text(pn_in_folder(directory));
    if (strcmp(text, want) != 0) fail_msg("%s holds\n%swant\n%s", directory, text, want);
    free(text);
}

static void remove_run(const char *directory) { pn_folder_remove(pn_in_folder(directory)); }

static int begin(void **state) {
    pn_folder_begin(state);
    const double start_time = pn_clock();
    finish("reference", plain, usual);
    reference_time = pn_clock() - start_time;
    reference = pn_run_text(pn_in_folder("reference"));
    return 0;
}

static int end(void **state) {
    pn_folder_end(state);
    free(reference);
    return 0;
}

/* ---- killed ---------------------------------------------------------------------------------- */

static void a_finished_run_has_its_files_and_no_others(void **state) {
    (void)state;
    static const char *const names[] = {"checkpoint-00000040.safetensors ",
                                        "genotype.txt ",
                                        "metrics.csv ",
                                        "prior.csv ",
                                        "run.json ",
                                        "samples.csv "};
    const char *line = reference;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_memory_equal(line, names[i], strlen(names[i]));
        line = strchr(line, '\n') + 1;
    }
    assert_string_equal(line, "");
}

/* From one to four kills in a row in one directory, the first of some within the first
 * milliseconds; checkpoints now and then, or after every step, so that many kills hit one being
 * written. The span within which they fall adapts to how fast the machine is at the time. With
 * PN_TEST_LONG=1 some 300 kills. */
static void killed_at_random_instants(void **state) {
    (void)state;
    int killed = 0, continued = 0;
    double span = reference_time;
    const int rounds = pn_setting("PN_TEST_LONG", 0) ? 120 : FEW_KILLS ? 4 : 8;
    for (int round = 0; round < rounds; round++) {
        const manner how = {"1", round % 2 ? "0" : NOW_AND_THEN, false};
        const int kills = 1 + (int)(4 * fraction());
        for (int i = 0; i < kills; i++) {
            const bool early = round < rounds / 4 && i == 0;
            const bool hit = kill_after("killed", plain, how, (early ? 0.005 : span) * fraction());
            const bool saved = holds("killed", "checkpoint-");
            killed += hit;
            continued += hit && saved && !holds("killed", "genotype.txt");
            if (!early) span *= !hit ? 0.8 : saved ? 1 : 1.2;
        }
        finish("killed", plain, how);
        assert_text("killed", reference);
        remove_run("killed");
    }
    assert_true(killed >= rounds - 2);
    assert_true(continued >= rounds / 4); /* not all kills came before the first checkpoint */
}

/* The instants at which something has just come into being. */
static void killed_on_sight_of(void **state) {
    (void)state;
    static const char *const names[] = {"lock",         "run.json",         "metrics.csv",
                                        "prior.csv",    ".safetensors.tmp", "checkpoint-",
                                        "genotype.txt", "genotype.txt.tmp"};
    const manner how = {"1", "0", false};
    int killed = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pn_process p;
        start(&p, "seen", plain, how);
        while (pn_process_runs(&p) && !holds("seen", names[i])) continue;
        kill(p.pid, SIGKILL);
        pn_process_wait(&p, LIMIT);
        killed += p.signal == SIGKILL;
        pn_process_free(&p);
        finish("seen", plain, how);
        assert_text("seen", reference);
        remove_run("seen");
    }
    assert_true(killed >= 5); /* the last ones may be gone before they are seen */
}

static void append(const char *path, const char *text) {
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What a kill may leave, put there by hand: the kills above hit it by chance only. */
static void leftovers_of_a_kill_are_removed(void **state) {
    (void)state;
    kill_amid("left", plain);
    append(pn_in_folder("left/checkpoint-00000039.safetensors.tmp"), "half a checkpoint");
    append(pn_in_folder("left/run.json.tmp"), "{\"program\": ");
    append(pn_in_folder("left/genotype.txt.tmp"), "Geno");
    append(pn_in_folder("left/metrics.csv"), "39,search,4");
    append(pn_in_folder("left/samples.csv"), "39,0,sea");
    append(pn_in_folder("left/prior.csv"), "40,0.5");
    finish("left", plain, usual);
    assert_text("left", reference);
    remove_run("left");
}

/* ---- interrupted ----------------------------------------------------------------------------- */

static void interrupt(int signal_number, int code) {
    const manner how = {"1", "1000", false}; /* the only checkpoint is that of the signal */
    bool finished = true;
    for (double wait = reference_time / 4; finished; wait /= 2) { /* it may be faster than we */
        pn_process p;
        remove_run("interrupted");
        start(&p, "interrupted", plain, how);
        while (pn_process_runs(&p) && !holds("interrupted", "prior.csv")) pn_sleep(0.001);
        pn_sleep(wait);
        kill(p.pid, signal_number);
        pn_process_wait(&p, LIMIT);
        finished = p.code == 0;
        if (!finished) {
            assert_code(&p, code);
            assert_string_equal(p.out, "");
            assert_non_null(strstr(p.err, "the same command continues"));
            assert_ptr_equal(strchr(p.err, '\n') + 1, strchr(p.err, '\0')); /* one line */
        }
        pn_process_free(&p);
    }
    assert_true(holds("interrupted", "checkpoint-"));
    assert_false(holds("interrupted", "genotype.txt"));
    finish("interrupted", plain, how);
    assert_text("interrupted", reference);
    remove_run("interrupted");
}

static void interrupted_by_ctrl_c(void **state) {
    (void)state;
    interrupt(SIGINT, 130);
}

static void terminated(void **state) {
    (void)state;
    interrupt(SIGTERM, 143);
}

/* ---- the same search in other ways ----------------------------------------------------------- */

static void any_number_of_threads(void **state) {
    (void)state;
    static const char *const threads[] = {"2", "3"};
    for (int i = 0; i < 2; i++) {
        finish("threads", plain, (manner){threads[i], NOW_AND_THEN, false});
        assert_text("threads", reference);
        remove_run("threads");
    }
}

/* Nothing is computed again, and whoever missed the genotype gets it. */
static void run_again_when_finished(void **state) {
    (void)state;
    const char *const argv[] = {PN_PROGRAM, "search", "reference", NULL};
    const pn_conditions where = {.folder = pn_folder};
    pn_process p;
    pn_process_run(&p, argv, &where, LIMIT);
    assert_code(&p, 0);
    FILE *file = fopen(pn_in_folder("reference/genotype.txt"), "rb");
    char genotype[1024] = "";
    assert_non_null(file);
    assert_non_null(fgets(genotype, sizeof genotype, file));
    fclose(file);
    assert_string_equal(p.out, genotype);
    assert_non_null(strstr(p.err, "continuing from step 40"));
    pn_process_free(&p);
    assert_text("reference", reference);
}

/* A search of 30 steps alone, and killed twice with 1 and 2 threads in turn. */
static void compare(const char *const *arguments) {
    const double start_time = pn_clock();
    finish("alone", arguments, usual);
    const double seconds = pn_clock() - start_time;
    char *want = pn_run_text(pn_in_folder("alone"));
    kill_after("twice", arguments, (manner){"2", "0", false}, seconds * fraction());
    kill_after("twice", arguments, usual, seconds * fraction());
    finish("twice", arguments, (manner){"2", NOW_AND_THEN, false});
    assert_text("twice", want);
    assert_string_not_equal(want, reference);
    free(want);
    remove_run("alone");
    remove_run("twice");
}

#define SHORT "--layers", "3", "--channels", "4", "--batch", "8", "--steps", "30"
#define ROW(name, ...)                                                     \
    static void name(void **state) {                                       \
        (void)state;                                                       \
        static const char *const arguments[] = {SHORT, __VA_ARGS__, NULL}; \
        compare(arguments);                                                \
    }
ROW(the_literal_rule, "--warmup", "10", "--data", "synthetic:200x8x8x3", "--rule", "paper",
    "--samples", "4")
ROW(frozen_weights_and_the_pi_of_another_run, "--warmup", "10", "--data", "synthetic:200x8x8x3",
    "--freeze-weights", "--samples", "2", "--prior", "reference")
ROW(samples_by_the_entropy, "--warmup", "5", "--data", "synthetic:200x8x8x3", "--samples-per-nat",
    "0.1", "--rate-pi", "0.5", "--steps", "20")
ROW(grey_images_of_odd_size, "--warmup", "10", "--data", "synthetic:100x9x7x1", "--no-augment",
    "--share-slot", "--no-baseline", "--no-distinct-inputs", "--samples", "2", "--clip", "0",
    "--seed", "7")
ROW(by_evidence, "--warmup", "10", "--data", "synthetic:200x8x8x3", "--rule", "evidence",
    "--restart", "3")
ROW(a_random_search, "--data", "synthetic:200x8x8x3", "--method", "random", "--select", "12",
    "--select-batches", "2", "--finalists", "6")
ROW(darts, "--data", "synthetic:200x8x8x3", "--method", "darts", "--rate-alpha", "0.05", "--steps",
    "12")
ROW(darts_that_looks_ahead, "--data", "synthetic:200x8x8x3", "--method", "darts", "--order", "2",
    "--rate-alpha", "0.05", "--steps", "5")
ROW(gdas, "--data", "synthetic:200x8x8x3", "--method", "gdas", "--rate-alpha", "0.05")
ROW(snas, "--data", "synthetic:200x8x8x3", "--method", "snas", "--rate-alpha", "0.05", "--steps",
    "12", "--resource", "aggressive")
ROW(one_cell_that_skips_backwards, "--warmup", "10", "--data", "synthetic:100x8x8x3", "--layers",
    "1", "--samples", "4", "--temperature-weights", "0.01", "--skip-below", "0.5")

ROW(shards_of_several_samples, "--warmup", "10", "--data", "synthetic:200x8x8x3", "--samples", "2",
    "--shards", "4", "--temperature-weights", "8")
ROW(shards_of_one_sample, "--warmup", "10", "--data", "synthetic:200x8x8x3", "--rule", "evidence",
    "--shards", "2")
ROW(shards_of_a_random_search, "--data", "synthetic:200x8x8x3", "--method", "random", "--select",
    "12", "--select-batches", "2", "--shards", "4")

/* The other run is needed for the beginning only. */
static void the_other_run_may_be_gone_when_continued(void **state) {
    (void)state;
    static const char *const arguments[] = {SMALL, "--prior", "source", NULL};
    pn_folder_copy(pn_in_folder("reference"), pn_in_folder("source"));
    finish("alone", arguments, usual);
    char *want = pn_run_text(pn_in_folder("alone"));
    kill_amid("orphan", arguments);
    remove_run("source");
    finish("orphan", arguments, usual);
    assert_text("orphan", want);
    free(want);
    remove_run("alone");
    remove_run("orphan");
}

/* Nothing that judges a search reaches it: but for truth.csv, every byte is that of the reference,
 * which was not judged. And truth.csv itself is the same whether or not the run was killed. */
static void judged_or_not_it_is_the_same_search(void **state) {
    (void)state;
    static const char *const arguments[] = {SMALL, "--truth", "nasbench301", NULL};
    finish("judged", arguments, usual);
    char *want = pn_run_text(pn_in_folder("judged"));
    for (int i = 0; i < 2; i++) {
        kill_amid("killed", i % 2 ? plain : arguments); /* perhaps without its first rows */
        if (i % 2 == 0) {
            append(pn_in_folder("killed/truth.csv.tmp"), "step,ta");
            kill_after("killed", arguments, usual, reference_time * fraction());
            finish("killed", arguments, (manner){"2", "0", false});
            assert_text("killed", want);
        } else {
            finish("killed", arguments, usual);
        }
        assert_int_equal(unlink(pn_in_folder("killed/truth.csv")), 0);
        assert_text("killed", reference);
        remove_run("killed");
    }
    /* Continued without the option, the table stays as it was. */
    kill_amid("killed", arguments);
    FILE *file = fopen(pn_in_folder("killed/truth.csv"), "rb");
    char before[8192] = "", after[8192] = "";
    assert_non_null(file);
    assert_true(fread(before, 1, sizeof before - 1, file) > 0);
    fclose(file);
    finish("killed", plain, usual);
    file = fopen(pn_in_folder("killed/truth.csv"), "rb");
    assert_non_null(file);
    assert_true(fread(after, 1, sizeof after - 1, file) > 0);
    fclose(file);
    assert_string_equal(before, after);
    remove_run("killed");
    assert_int_equal(unlink(pn_in_folder("judged/truth.csv")), 0);
    assert_text("judged", reference);
    remove_run("judged");
    free(want);
}

/* Each device that this machine or build has; the others are refused. How many architectures are in
 * flight on a card may change from one process to the next. */
static void every_device(void **state) {
    (void)state;
    enum { DEVICES = 5 };
    static const char *const devices[DEVICES] = {"cpu:base", "cpu:avx2", "cpu:avx512", "cpu-bf16",
                                                 "emulated-fp16"}; /* and its loss scale */
    int there = 0;
    for (int i = 0; i < DEVICES; i++) {
        const char *const arguments[] = {SMALL, "--steps",  "20",       "--warmup",
                                         "5",   "--device", devices[i], NULL};
        const char *two[24] = {"--in-flight", "2"}, *three[24] = {"--in-flight", "3"};
        memcpy(two + 2, arguments, sizeof arguments);
        memcpy(three + 2, arguments, sizeof arguments);
        pn_process p;
        start(&p, "device", arguments, usual);
        pn_process_wait(&p, LIMIT);
        if (p.code != DEVICE) {
            assert_code(&p, 0);
            char *want = pn_run_text(pn_in_folder("device"));
            kill_after("again", two, (manner){"2", "0", false}, reference_time / 6);
            finish("again", three, usual);
            assert_text("again", want);
            free(want);
            remove_run("again");
            there++;
        }
        assert_int_equal(holds(".", "device"), p.code != DEVICE);
        pn_process_free(&p);
        remove_run("device");
    }
    assert_true(there >= 1);
}

/* A card that fails in the middle of a step ends the run, says so, and leaves the last checkpoint
 * as it was: the run continues from there, to the bits of one that was not disturbed. */
static void a_device_that_fails(void **state) {
    (void)state;
#ifdef PN_HAVE_EMULATOR
    static const char *const arguments[] = {SMALL, "--steps",  "12",       "--warmup",
                                            "4",   "--device", "emulated", NULL};
    const manner often = {"1", "0", false};
    pn_process p;
    finish("undisturbed", arguments, often);
    char *want = pn_run_text(pn_in_folder("undisturbed"));
    setenv("PN_EMULATOR_FAIL_AT", "1200", 1);
    start(&p, "failed", arguments, often);
    pn_process_wait(&p, LIMIT);
    unsetenv("PN_EMULATOR_FAIL_AT");
    assert_code(&p, DEVICE);
    assert_non_null(strstr(p.err, "launch 1200 failed"));
    assert_true(holds("failed", "checkpoint-"));
    assert_false(holds("failed", "genotype.txt"));
    pn_process_free(&p);
    finish("failed", arguments, often);
    assert_text("failed", want);
    free(want);
    remove_run("undisturbed");
    remove_run("failed");
#else
    skip();
#endif
}

/* ---- trainings ------------------------------------------------------------------------------- */

#define TRAIN \
    "--genotype", "PDARTS", "--layers", "3", "--channels", "4", "--batch", "8", "--epochs", "5"
static const char *const trained[] = {TRAIN, "--data", "synthetic:80x8x8x3", "--hold-out", NULL};
static const manner train_usual = {"1", NOW_AND_THEN, true}, train_often = {"2", "0", true};

/* Kills that fall anywhere: while weights are made, in an epoch, in a score, while files are
 * written. */
static void a_training_killed_at_random_instants(void **state) {
    (void)state;
    const double start_time = pn_clock();
    finish("trained", trained, train_usual);
    double span = pn_clock() - start_time;
    char *want = pn_run_text(pn_in_folder("trained"));
    int killed = 0, continued = 0;
    const int rounds = FEW_KILLS ? 3 : 8;
    for (int round = 0; round < rounds; round++) {
        const manner how = {round % 3 ? "1" : "2", round % 2 ? "0" : NOW_AND_THEN, true};
        const int kills = 1 + (int)(3 * fraction());
        for (int i = 0; i < kills; i++) {
            const bool hit = kill_after("killed", trained, how, span * fraction());
            const bool saved = holds("killed", "seed-1") && holds("killed/seed-1", "checkpoint-");
            killed += hit;
            continued += hit && saved;
            span *= !hit ? 0.8 : saved ? 1 : 1.2;
        }
        finish("killed", trained, how);
        assert_text("killed", want);
        remove_run("killed");
    }
    assert_true(killed >= rounds - 2);
    assert_true(continued >= rounds / 4);
    free(want);
    remove_run("trained");
}

/* With what else is random in a training: drop-path, cut squares; and with the auxiliary head, on
 * the emulated card too, and there in shards. */
static void a_training_with_everything(void **state) {
    (void)state;
    static const char *const all[][3] = {
        {"cpu", "20", "1"},
#ifdef PN_HAVE_EMULATOR
        {"emulated", "8", "2"},
#endif
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *const arguments[] = {
            "--genotype",  "DARTS_V2",    "--layers", "2",
            "--channels",  "4",           "--data",   "synthetic:16x32x32x3",
            "--batch",     "4",           "--epochs", "2",
            "--auxiliary", "--cutout",    all[i][1],  "--drop-path",
            "0.5",         "--smoothing", "0.1",      "--device",
            all[i][0],     "--shards",    all[i][2],  NULL};
        finish("alone", arguments, train_usual);
        char *want = pn_run_text(pn_in_folder("alone"));
        kill_after("again", arguments, train_often, 0.2);
        finish("again", arguments, train_often);
        assert_text("again", want);
        free(want);
        remove_run("alone");
        remove_run("again");
    }
}

/* Seeds that come later leave those that are there as they are. */
static void another_seed(void **state) {
    (void)state;
    const char *const one[] = {TRAIN, "--data", "synthetic:80x8x8x3", NULL};
    const char *const both[] = {TRAIN, "--data", "synthetic:80x8x8x3", "--seeds", "1,7", NULL};
    finish("both", both, train_usual);
    char *want = pn_run_text(pn_in_folder("both"));
    finish("later", one, train_usual);
    finish("later", both, train_usual);
    assert_text("later", want);
    free(want);
    char *first = pn_run_text(pn_in_folder("both/seed-1")),
         *second = pn_run_text(pn_in_folder("both/seed-7"));
    assert_string_not_equal(first, second);
    free(first);
    free(second);
    remove_run("both");
    remove_run("later");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_finished_run_has_its_files_and_no_others),
        cmocka_unit_test(killed_at_random_instants),
        cmocka_unit_test(killed_on_sight_of),
        cmocka_unit_test(leftovers_of_a_kill_are_removed),
        cmocka_unit_test(interrupted_by_ctrl_c),
        cmocka_unit_test(terminated),
        cmocka_unit_test(any_number_of_threads),
        cmocka_unit_test(run_again_when_finished),
        cmocka_unit_test(the_literal_rule),
        cmocka_unit_test(frozen_weights_and_the_pi_of_another_run),
        cmocka_unit_test(samples_by_the_entropy),
        cmocka_unit_test(grey_images_of_odd_size),
        cmocka_unit_test(by_evidence),
        cmocka_unit_test(a_random_search),
        cmocka_unit_test(darts),
        cmocka_unit_test(darts_that_looks_ahead),
        cmocka_unit_test(gdas),
        cmocka_unit_test(snas),
        cmocka_unit_test(one_cell_that_skips_backwards),
        cmocka_unit_test(shards_of_several_samples),
        cmocka_unit_test(shards_of_one_sample),
        cmocka_unit_test(shards_of_a_random_search),
        cmocka_unit_test(the_other_run_may_be_gone_when_continued),
        cmocka_unit_test(judged_or_not_it_is_the_same_search),
        cmocka_unit_test(every_device),
        cmocka_unit_test(a_device_that_fails),
        cmocka_unit_test(a_training_killed_at_random_instants),
        cmocka_unit_test(a_training_with_everything),
        cmocka_unit_test(another_seed),
    };
    return cmocka_run_group_tests_name("resume", tests, begin, end);
}
