/* test_streams.c -- parsec-nas where its surroundings are not as they should be: standard streams
 * that are closed, full or that nobody reads, signals of every kind, names that would do something
 * to a terminal, no room for threads. What a run leaves on the disk is the same as ever, or can be
 * continued to it. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 300, MEMORY = 4, IO = 6 };

static char *reference; /* what an undisturbed search leaves there in `done`, as text */
static char *genotype;  /* and what it prints */

#define SMALL                                                                   \
    "--data synthetic:200x8x8x3 --layers 3 --channels 4 --batch 8 --threads 1 " \
    "--samples 3 --steps 60 --warmup 15 "
#define TRAIN                                                                                    \
    "--genotype PDARTS --data synthetic:40x8x8x3 --layers 2 --channels 4 --batch 8 --threads 1 " \
    "--epochs 2 "

/* A line of a shell, in which $P is the program. */
static void start_shell(pn_process *p, const char *line) {
    const char *const argv[] = {"/bin/sh", "-c", line, "sh", NULL};
    const pn_conditions where = {.folder = pn_folder};
    pn_process_start(p, argv, &where);
}

static void shell(pn_process *p, const char *line) {
    start_shell(p, line);
    pn_process_wait(p, LIMIT);
}

static void assert_code(const char *line, const pn_process *p, int code) {
    if (p->code != code || p->late)
        fail_msg("%s: exit code %d, signal %d, want %d\nstdout: %s\nstderr: %s", line, p->code,
                 p->signal, code, p->out, p->err);
}

/* One sentence, and that has these words. */
static void assert_sentence(const char *line, const pn_process *p, const char *words) {
    const char *end = strchr(p->err, '\n');
    if (!end || end[1] || !strstr(p->err, words)) fail_msg("%s said: %s", line, p->err);
}

static void remove_run(const char *name) { pn_folder_remove(pn_in_folder(name)); }

/* What a search left, which is then removed. The lock is empty: nothing was written into it. */
static void assert_as_reference(const char *line, const char *name) {
    char *text = pn_run_text(pn_in_folder(name)), lock[64];
    struct stat about;
    if (strcmp(text, reference) != 0)
        fail_msg("%s: %s holds\n%swant\n%s", line, name, text, reference);
    free(text);
    snprintf(lock, sizeof lock, "%s/lock", name);
    assert_int_equal(stat(pn_in_folder(lock), &about), 0);
    assert_int_equal(about.st_size, 0);
    remove_run(name);
}

static bool holds(const char *name, const char *part) {
    if (access(pn_in_folder(name), F_OK) != 0) return false;
    char *text = pn_folder_text(pn_in_folder(name), NULL);
    const bool found = strstr(text, part) != NULL;
    free(text);
    return found;
}

static int begin(void **state) {
    pn_process p;
    pn_folder_begin(state);
    assert_int_equal(setenv("P", PN_PROGRAM, 1), 0);
    shell(&p, "$P search done --quiet " SMALL);
    assert_code("search", &p, 0);
    genotype = p.out;
    free(p.err);
    reference = pn_run_text(pn_in_folder("done"));
    shell(&p, "$P train trained --quiet " TRAIN);
    assert_code("train", &p, 0);
    pn_process_free(&p);
    return 0;
}

static int end(void **state) {
    pn_folder_end(state);
    free(reference);
    free(genotype);
    return 0;
}

/* ---- streams that are not there -------------------------------------------------------------- */

/* Whoever is not --quiet writes a lot to stderr, and the tables of the run would be there. */
static void a_search_with_closed_streams(void **state) {
    (void)state;
    static const struct {
        const char *closed;
        int code;
    } rows[] = {
        {"<&-", 0},       {">&-", IO},     {"2>&-", 0},          {"<&- 2>&-", 0},
        {">&- 2>&-", IO}, {"<&- >&-", IO}, {"<&- >&- 2>&-", IO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[512];
        pn_process p;
        const char *unset = i % 2 ? "unset OMP_WAIT_POLICY; " : ""; /* it starts itself again */
        snprintf(line, sizeof line, "%sexec $P search closed " SMALL "%s", unset, rows[i].closed);
        shell(&p, line);
        assert_code(line, &p, rows[i].code);
        assert_string_equal(p.out, rows[i].code ? "" : genotype);
        pn_process_free(&p);
        assert_as_reference(line, "closed");
    }
}

static void other_commands_with_closed_streams(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int code;
    } rows[] = {
        {"$P train closed " TRAIN "<&- >&- 2>&-", IO},
        {"$P train closed " TRAIN "<&- 2>&-", 0},
        {"$P eval trained/seed-1 --data synthetic:40x8x8x3 >&- 2>&-", IO},
        {"$P eval trained/seed-1 --data synthetic:40x8x8x3 --json --logits l.npy <&- >&-", IO},
        {"$P eval trained/seed-1 --data synthetic:40x8x8x3 <&- 2>&-", 0},
        {"$P sample done >&-", IO},
        {"$P sample done --json <&- >&- 2>&-", IO},
        {"$P sample done 2>&-", 0},
        {"$P plan --genotype PDARTS <&- >&-", IO},
        {"$P export trained/seed-1 --safetensors e.safetensors <&- >&- 2>&-", 0},
        {"$P >&- 2>&-", 2},
    };
    char *want = pn_run_text(pn_in_folder("trained"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pn_process p;
        shell(&p, rows[i].line);
        assert_code(rows[i].line, &p, rows[i].code);
        pn_process_free(&p);
        if (!holds("closed", "")) continue;
        char *text = pn_run_text(pn_in_folder("closed"));
        assert_string_equal(text, want);
        free(text);
        remove_run("closed");
    }
    free(want);
}

static void progress_that_cannot_be_written(void **state) {
    (void)state;
    pn_process p;
    shell(&p, "$P search full " SMALL "2>/dev/full");
    assert_code("stderr is full", &p, 0);
    assert_string_equal(p.out, genotype);
    pn_process_free(&p);
    assert_as_reference("stderr is full", "full");
}

/* Nobody reads any more: it stops and saves, and its second message does it no more harm. */
static void progress_that_nobody_reads(void **state) {
    (void)state;
    pn_process p;
    shell(&p, "{ $P search unread " SMALL "--save-every 1000 2>&1; echo $? >code; } | head -n 1");
    assert_non_null(strstr(p.out, "200 images"));
    pn_process_free(&p);
    void *code;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder("code"), 100, &code, &size), PN_OK);
    /* head may have been the slower one: then all is done, and the genotype may find no reader. */
    if (!holds("unread", "genotype.txt")) assert_string_equal(code, "141\n");
    assert_true(holds("unread", "checkpoint-"));
    free(code);
    shell(&p, "$P search unread --quiet");
    assert_code("continued", &p, 0);
    pn_process_free(&p);
    assert_as_reference("continued", "unread");
}

/* ---- signals --------------------------------------------------------------------------------- */

/* Sends them to a search that has begun, all at once; waits for its end. */
static void strike(pn_process *p, const char *line, const int *signals, double wait) {
    start_shell(p, line);
    while (pn_process_runs(p) && !holds("struck", "prior.csv")) pn_sleep(0.001);
    pn_sleep(wait);
    for (; *signals; signals++)
        if (pn_process_runs(p)) kill(p->pid, *signals);
    pn_process_wait(p, LIMIT);
}

/* How a search ends before its end, from which it can be continued. */
typedef enum ending { BY_CODE, BY_ANY_CODE, BY_SIGNAL } ending;

static bool ended(const pn_process *p, ending how, int signal_number) {
    if (p->late) return false;
    if (how == BY_SIGNAL) return p->signal != 0;
    return how == BY_ANY_CODE ? p->code > 128 : p->code == 128 + signal_number;
}

static void assert_interrupted(ending how, const int *signals) {
    static const char line[] = "exec $P search struck --quiet --save-every 1000 " SMALL;
    pn_process p;
    for (double wait = 0.05;; wait /= 2) {
        strike(&p, line, signals, wait);
        if (p.code != 0 && (how != BY_SIGNAL || p.code < 128)) break;
        pn_process_free(&p); /* it was faster than we, or than our second signal */
        remove_run("struck");
    }
    const bool saved = holds("struck", "checkpoint-");
    if (!ended(&p, how, signals[0]) || (how != BY_SIGNAL && !saved))
        fail_msg("signal %d: exit code %d, signal %d, %s checkpoint: %s", signals[0], p.code,
                 p.signal, saved ? "a" : "no", p.err);
    if (how != BY_SIGNAL) assert_sentence(line, &p, "the same command continues");
    assert_string_equal(p.out, "");
    pn_process_free(&p);
    shell(&p, "$P search struck --quiet " SMALL);
    assert_code("continued", &p, 0);
    pn_process_free(&p);
    assert_as_reference("continued", "struck");
}
#define INTERRUPTED(how, ...) assert_interrupted(how, (const int[]){__VA_ARGS__, 0})

static void a_signal_saves(void **state) {
    (void)state;
    INTERRUPTED(BY_CODE, SIGHUP);
    INTERRUPTED(BY_CODE, SIGINT);
    INTERRUPTED(BY_CODE, SIGTERM);
    INTERRUPTED(BY_CODE, SIGUSR1);
    INTERRUPTED(BY_CODE, SIGPIPE);
}

/* Kernel and shell both say that a terminal is gone; whoever shuts down says TERM and HUP. */
static void a_second_hangup_does_no_harm(void **state) {
    (void)state;
    INTERRUPTED(BY_ANY_CODE, SIGHUP, SIGHUP, SIGPIPE);
    INTERRUPTED(BY_ANY_CODE, SIGTERM, SIGHUP);
    INTERRUPTED(BY_ANY_CODE, SIGUSR1, SIGUSR1, SIGTERM);
}

static void a_second_signal_ends_at_once(void **state) {
    (void)state;
    INTERRUPTED(BY_SIGNAL, SIGINT, SIGTERM);
}

static void an_ignored_signal_stays_ignored(void **state) {
    (void)state;
    static const char *const lines[] = {
        "trap '' INT HUP TERM; exec $P search struck --quiet " SMALL,
        "trap '' PIPE; exec $P search struck --quiet " SMALL,
    };
    static const int signals[][4] = {{SIGINT, SIGHUP, SIGTERM, 0}, {SIGPIPE, 0, 0, 0}};
    for (size_t i = 0; i < 2; i++) {
        pn_process p;
        strike(&p, lines[i], signals[i], 0);
        assert_code(lines[i], &p, 0);
        assert_string_equal(p.out, genotype);
        pn_process_free(&p);
        assert_as_reference(lines[i], "struck");
    }
}

/* Other commands, too: what they were writing is removed. */
static void a_file_that_may_not_grow(void **state) {
    (void)state;
    static const char *const lines[] = {
        "ulimit -f 8; exec $P export trained/seed-1 --safetensors large.safetensors",
        "ulimit -f 8; exec $P trace --genotype PDARTS --data synthetic:40x8x8x3 --batch 8 "
        "--layers 3 --channels 4 --out large",
        "ulimit -f 8; exec $P search large --quiet " SMALL,
        "ulimit -f 8; exec $P train large --quiet " TRAIN,
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        pn_process p;
        shell(&p, lines[i]);
        assert_code(lines[i], &p, IO);
        assert_sentence(lines[i], &p, "File too large");
        pn_process_free(&p);
        char *text = pn_folder_text(pn_folder, NULL);
        assert_null(strstr(text, ".tmp"));
        free(text);
        remove_run("large");
    }
}

/* ---- no thread ------------------------------------------------------------------------------- */

/* A stack larger than any address space: libgomp says so, and would end the program with 1.
 * LLVM's libomp aborts it, where nobody can give another code. */
static void no_room_for_threads(void **state) {
    (void)state;
    static const char line[] =
        "OMP_STACKSIZE=200000G exec $P search stack --quiet --threads 2 --data synthetic:200x8x8x3";
    pn_process p;
    shell(&p, line);
    if (p.signal == SIGABRT && strstr(p.err, "OMP: Error")) {
        print_message("built with libomp, which aborts\n");
        pn_process_free(&p);
        remove_run("stack");
        skip();
    }
    assert_code(line, &p, MEMORY);
    assert_non_null(strstr(p.err, "parsec-nas: no memory, or no thread"));
    pn_process_free(&p);
    remove_run("stack");
}

/* ---- names ----------------------------------------------------------------------------------- */

/* \033[2J would clear the screen. */
static void names_do_nothing_to_a_terminal(void **state) {
    (void)state;
    static const struct {
        const char *line, *shown;
    } rows[] = {
        {"$P eval \"$N\" --data synthetic", "nowhere"},
        {"$P \"$N\"", "no command \\x1b"},
        {"$P help \"$N\"", "no command \\x1b"},
        {"$P plan --\"$N\"", "option --\\x1b"},
        {"$P plan --layers \"$N\"", "--layers \\x1b"},
        {"$P plan --genotype \"$N\"", "x1b"},
        {"$P sample \"$N\"", "\\x1b"},
        {"$P search \"/dev/null/$N\"", "\\x1b"},
        {"$P search new --data \"$N\"", "not UTF-8"},
        {"$P train new --seeds \"$N\"", "--seeds \\x1b"},
    };
    assert_int_equal(setenv("N", "\033[2J\n\xc2\x9b\xff\u00e9nowhere", 1), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pn_process p;
        shell(&p, rows[i].line);
        if (p.code <= 1) fail_msg("%s: exit code %d", rows[i].line, p.code);
        assert_sentence(rows[i].line, &p, "parsec-nas");
        for (const char *c = p.err; *c != '\n'; c++)
            if ((unsigned char)*c < ' ' || (unsigned char)*c == 0xff ||
                ((unsigned char)*c == 0xc2 && (unsigned char)c[1] < 0xa0))
                fail_msg("%s said: %s", rows[i].line, p.err);
        if (!strstr(p.err, rows[i].shown)) fail_msg("%s said: %s", rows[i].line, p.err);
        pn_process_free(&p);
    }
    pn_process p; /* what can be read stays so */
    shell(&p, "$P sample \"$(printf 'gr\\303\\274n')\"");
    assert_sentence("sample", &p, "gr\xc3\xbcn");
    pn_process_free(&p);
}

/* A name that is not UTF-8 is no reason for half a JSON or an empty line. */
static void json_of_names_that_are_not_utf8(void **state) {
    (void)state;
    static const char *const lines[] = {
        "cp -r trained \"$N\"; $P eval \"$N/seed-1\" --data synthetic:40x8x8x3 --json",
        "cp done/genotype.txt \"$N.txt\"; $P compare \"$N.txt\" --data synthetic:40x8x8x3 "
        "--layers 2 --channels 4 --batch 8 --steps 1 --threads 1 --quiet --json",
    };
    assert_int_equal(setenv("N", "t\xff", 1), 0);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        pn_process p;
        json_error_t why;
        shell(&p, lines[i]);
        assert_code(lines[i], &p, 0);
        json_t *root = json_loads(p.out, 0, &why);
        if (!root) fail_msg("%s: %s, in: %s", lines[i], why.text, p.out);
        json_decref(root);
        pn_process_free(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_with_closed_streams),
        cmocka_unit_test(other_commands_with_closed_streams),
        cmocka_unit_test(progress_that_cannot_be_written),
        cmocka_unit_test(progress_that_nobody_reads),
        cmocka_unit_test(a_signal_saves),
        cmocka_unit_test(a_second_hangup_does_no_harm),
        cmocka_unit_test(a_second_signal_ends_at_once),
        cmocka_unit_test(an_ignored_signal_stays_ignored),
        cmocka_unit_test(a_file_that_may_not_grow),
        cmocka_unit_test(no_room_for_threads),
        cmocka_unit_test(names_do_nothing_to_a_terminal),
        cmocka_unit_test(json_of_names_that_are_not_utf8),
    };
    return cmocka_run_group_tests_name("streams", tests, begin, end);
}
