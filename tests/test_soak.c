/* test_soak.c -- a search that runs for hours, with a checkpoint every second and a training beside
 * it, takes no more of the machine at the end than at the beginning.
 *
 * Once a second (faster in a short run) we look at both processes in /proc and at their
 * directories, and write a line of CSV. The time counts from when both have saved first. Its
 * first tenth (a second at least) is the beginning, the last tenth the end.
 *
 *   memory       the end's least is at most 2 MiB above the beginning's most
 *   descriptors  the end's least is at most the beginning's least; never 8 more (a save has some)
 *   threads      never more than one above the beginning's least (a score has one)
 *   files        never one that is not known, nor more than three checkpoints
 *   progress     the number of the newest checkpoint grows
 *
 * A least is compared because what leaks stays, and what is in use for a moment does not.
 *
 *   PN_SOAK_SECONDS=N   so long, not 5 s
 *   PN_TEST_LONG=1      2 hours
 *   PN_SOAK_CSV=FILE    where the lines go */
#include <dirent.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/faulty.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { PROCESSES = 2, LIMIT = 60, SHORT = 5, LONG = 7200 };
enum { MOST_GROWTH = 2 << 20, MOST_OF_A_SAVE = 8, MOST_CHECKPOINTS = 3 };

/* ---- one look -------------------------------------------------------------------------------- */

typedef struct look {
    long memory, descriptors, threads, files;
    int64_t checkpoint;
} look;

static int entries(const char *path) {
    int count = -2; /* without . and .. */
    DIR *list = opendir(path);
    if (!list) return 0;
    while (readdir(list)) count++;
    closedir(list);
    return count;
}

/* The number behind a word of /proc/PID/status. */
static long status_of(pid_t pid, const char *word) {
    char path[64], line[256];
    long value = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, word, strlen(word))) value = strtol(line + strlen(word), NULL, 10);
    if (file) fclose(file);
    return value;
}

static bool known(const char *name) {
    static const char *const names[] = {".",
                                        "..",
                                        "lock",
                                        "run.json",
                                        "metrics.csv",
                                        "samples.csv",
                                        "prior.csv",
                                        "truth.csv",
                                        "times.csv",
                                        "events.jsonl",
                                        "report.html",
                                        "genotype.txt",
                                        "best.safetensors",
                                        "last.safetensors"};
    const size_t n = strlen(name);
    if (n > 4 && !strcmp(name + n - 4, ".tmp")) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

static long look_at_files(const char *directory) {
    long count = 0, checkpoints = 0;
    DIR *list = opendir(directory);
    for (struct dirent *e; list && (e = readdir(list));) {
        const size_t n = strlen(e->d_name);
        const bool whole = n > 12 && !strcmp(e->d_name + n - 12, ".safetensors");
        const bool checkpoint = whole && !strncmp(e->d_name, "checkpoint-", 11);
        checkpoints += checkpoint;
        count += e->d_name[0] != '.';
        if (!checkpoint && !known(e->d_name)) fail_msg("%s: what is %s?", directory, e->d_name);
    }
    if (list) closedir(list);
    if (checkpoints > MOST_CHECKPOINTS) fail_msg("%s: %ld checkpoints", directory, checkpoints);
    return count;
}

static look look_at(pid_t pid, const char *directory) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    return (look){.memory = status_of(pid, "VmRSS:") * 1024,
                  .descriptors = entries(path),
                  .threads = status_of(pid, "Threads:"),
                  .files = look_at_files(directory),
                  .checkpoint = pn_newest_checkpoint(directory)};
}

/* ---- a span ---------------------------------------------------------------------------------- */

typedef struct span {
    look least, most;
    int looks;
} span;

#define GATHER(what)                                                     \
    do {                                                                 \
        if (!s->looks || l.what < s->least.what) s->least.what = l.what; \
        if (!s->looks || l.what > s->most.what) s->most.what = l.what;   \
    } while (0)

static void gather(span *s, look l) {
    GATHER(memory);
    GATHER(descriptors);
    GATHER(threads);
    GATHER(files);
    GATHER(checkpoint);
    s->looks++;
}

static void judge(const char *name, const span *begin, const span *all, const span *end) {
    print_message(
        "%s: memory %ld to %ld KiB, at the end %ld to %ld; descriptors %ld to %ld, at "
        "the end %ld to %ld; threads %ld; files up to %ld; checkpoints to %" PRId64 "\n",
        name, begin->least.memory / 1024, begin->most.memory / 1024, end->least.memory / 1024,
        end->most.memory / 1024, begin->least.descriptors, begin->most.descriptors,
        end->least.descriptors, end->most.descriptors, all->most.threads, all->most.files,
        end->most.checkpoint);
    if (end->least.memory > begin->most.memory + MOST_GROWTH) fail_msg("%s: memory grows", name);
    if (end->least.descriptors > begin->least.descriptors ||
        all->most.descriptors > begin->least.descriptors + MOST_OF_A_SAVE)
        fail_msg("%s: descriptors grow", name);
    if (all->most.threads > begin->least.threads + 1) fail_msg("%s: threads grow", name);
    if (end->most.checkpoint <= begin->most.checkpoint) fail_msg("%s: no progress", name);
}

/* ---- the test -------------------------------------------------------------------------------- */

static double seconds(void) {
    const double usual = pn_setting("PN_TEST_LONG", 0) ? LONG : SHORT;
    return (double)pn_setting("PN_SOAK_SECONDS", (long)usual);
}

static void neither_a_search_nor_a_training_grows(void **state) {
    (void)state;
    static const char *const names[PROCESSES] = {"search", "train"};
    static const char *const directories[PROCESSES] = {"run", "trained/seed-1"};
    if (!pn_faulty_possible()) skip(); /* sanitizers keep what was freed */
    const double length = seconds();
    /* Large images for hours: the tables of all steps have some megabytes then, not hundreds. Small
     * ones for seconds: the arena is touched as far as the largest cell drawn so far needs. */
    const char *data = length > 60 ? "synthetic:512x32x32x3" : "synthetic:512x16x16x3";
#define NETWORK "--layers", "3", "--channels", "8", "--batch", "32", "--threads", "1"
#define OFTEN "--save-every", "1", "--quiet", "--device", "cpu"
    const char *const search[] = {PN_PROGRAM, "search",    "run", NETWORK,   OFTEN,      "--data",
                                  data,       "--samples", "2",   "--steps", "10000000", NULL};
    const char *const train[] = {
        PN_PROGRAM,   "train",    "trained",  NETWORK,  OFTEN,           "--data", data,
        "--genotype", "DARTS_V2", "--epochs", "100000", "--score-every", "10",     NULL};
    const char *const *const commands[PROCESSES] = {search, train};
    const double pause = length > 60 ? 1 : 0.1;
    const double first = length / 10 > 1 ? length / 10 : 1, last = length * 0.9;
    const char *csv = getenv("PN_SOAK_CSV");
    FILE *lines = fopen(csv ? csv : pn_in_folder("soak.csv"), "w");
    pn_process p[PROCESSES];
    span begin[PROCESSES] = {0}, all[PROCESSES] = {0}, end[PROCESSES] = {0};
    assert_non_null(lines);
    fprintf(lines, "seconds,process,memory,descriptors,threads,files,checkpoint\n");
    const pn_conditions where = {.folder = pn_folder};
    for (int i = 0; i < PROCESSES; i++) pn_process_start(&p[i], commands[i], &where);

    const double called = pn_clock();
    for (int i = 0; i < PROCESSES; i++) /* at work: it has saved */
        while (pn_process_runs(&p[i]) && pn_newest_checkpoint(pn_in_folder(directories[i])) < 0 &&
               pn_clock() < called + LIMIT)
            pn_sleep(0.01);
    const double start = pn_clock();
    double now;
    while ((now = pn_clock() - start) < length) {
        for (int i = 0; i < PROCESSES; i++) {
            if (!pn_process_runs(&p[i]))
                fail_msg("%s ended: code %d, signal %d: %s", names[i], p[i].code, p[i].signal,
                         p[i].err);
            const look l = look_at(p[i].pid, pn_in_folder(directories[i]));
            fprintf(lines, "%.1f,%s,%ld,%ld,%ld,%ld,%" PRId64 "\n", now, names[i], l.memory,
                    l.descriptors, l.threads, l.files, l.checkpoint);
            gather(&all[i], l);
            if (now < first)
                gather(&begin[i], l);
            else if (now > last)
                gather(&end[i], l);
        }
        fflush(lines);
        pn_sleep(pause);
    }
    for (int i = 0; i < PROCESSES; i++) {
        kill(p[i].pid, SIGTERM);
        pn_process_wait(&p[i], LIMIT);
        if (p[i].code != 143) fail_msg("%s: code %d: %s", names[i], p[i].code, p[i].err);
        pn_process_free(&p[i]);
    }
    fclose(lines);
    for (int i = 0; i < PROCESSES; i++) judge(names[i], &begin[i], &all[i], &end[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neither_a_search_nor_a_training_grows),
    };
    return cmocka_run_group_tests_name("soak", tests, pn_folder_begin, pn_folder_end);
}
