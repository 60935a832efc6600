/* test_journal.c -- what a run tells of itself (search/rundir/journal.h): events, times, and that
 * nothing wrong with these files stops a run or changes a bit of its result. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/json.h"
#include "search/rundir/journal.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 120, MOST_EVENTS = 256 };

#define HEADER                                                                 \
    "step,images,ms,data_ms,forward_ms,backward_ms,update_ms,distribution_ms," \
    "arena_bytes,memory_bytes\n"

/* ---- one journal ----------------------------------------------------------------------------- */

static char said[4096];

static void listen(const char *sentence) {
    const size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", sentence);
}

static pn_place place;
static pn_journal journal;

static int begin(void **state) {
    pn_folder_begin(state);
    assert_int_equal(pn_place_open(&place, pn_folder), PN_OK);
    return 0;
}

static int end(void **state) {
    pn_place_close(&place);
    return pn_folder_end(state);
}

/* A new one, behind what a test has put there. */
static void open_at(int64_t first) {
    *said = 0;
    pn_journal_open(&journal, &place, "step", first, listen);
}

static void put(const char *name, const char *text) {
    assert_int_equal(pn_file_write(pn_in_folder(name), text, strlen(text)), PN_OK);
}

/* Not inlined: gcc 12 then takes the text for the pointer to it. */
static __attribute__((noinline)) char *get(const char *name) {
    void *text;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 24, &text, &size), PN_OK);
    assert_int_equal(strlen(text), size);
    return text;
}

static void assert_holds(const char *name, const char *want) {
    char *text = get(name);
    assert_string_equal(text, want);
    free(text);
}

static void forget(void) {
    pn_journal_close(&journal);
    (void)unlink(pn_in_folder("events.jsonl"));
    (void)unlink(pn_in_folder("times.csv"));
}

static const pn_step_times known = {1, 0.5, 0.25, 0.125, 0.0625, 0.001, 64, 4096, 1 << 20};

static void a_row_has_its_columns_and_what_is_not_known_is_empty(void **state) {
    (void)state;
    pn_step_times t = known;
    open_at(0);
    pn_journal_times(&journal, 0, &t);
    t.forward = t.backward = t.update = NAN;
    t.memory_bytes = 0;
    pn_journal_times(&journal, 1, &t);
    pn_journal_flush(&journal);
    char *text = get("times.csv");
    assert_memory_equal(text, HEADER, strlen(HEADER));
    const char *row = text + strlen(HEADER), *next = strchr(row, '\n') + 1;
    assert_memory_equal(row, "0,64,1000.000,500.000,250.000,125.000,62.500,1.000,4096,1048576\n",
                        (size_t)(next - row));
    assert_memory_equal(next, "1,64,1000.000,500.000,,,,1.000,4096,\n", 38);
    assert_string_equal(said, "");
    free(text);
    forget();
}

static void rows_that_are_taken_again_are_replaced(void **state) {
    (void)state;
    /* the second was cut short by a kill, and is of a step to come anyway */
    static const char *const tails[] = {"2,8,1,1,1,1,1,1,1,1\n3,8,2,2,2,2,2,2,2,2\n", "2,8,1,", "1",
                                        ""};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char before[512], want[512];
        snprintf(before, sizeof before, HEADER "0,8,1,1,,,,1,1,1\n1,8,1,1,1,1,1,1,1,1\n%s",
                 tails[i]);
        put("times.csv", before);
        open_at(2);
        pn_journal_times(&journal, 2, &(pn_step_times){.all = NAN});
        pn_journal_flush(&journal);
        char *text = get("times.csv");
        snprintf(want, sizeof want, HEADER "0,8,1,1,,,,1,1,1\n1,8,1,1,1,1,1,1,1,1\n2,0,,");
        assert_memory_equal(text, want, strlen(want));
        assert_string_equal(said, "");
        free(text);
        forget();
    }
}

/* Of the first row alone, which was cut short, the header is left. */
static void a_torn_file_begins_where_it_is_whole(void **state) {
    (void)state;
    static const char *const torn[] = {"", "step,ima", HEADER, HEADER "0,1"};
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        put("times.csv", torn[i]);
        put("events.jsonl", i ? "{\"time\": \"2026" : "");
        open_at(5);
        pn_journal_flush(&journal);
        assert_holds("times.csv", HEADER);
        assert_holds("events.jsonl", "");
        assert_string_equal(said, "");
        forget();
    }
}

static void a_damaged_row_ends_what_is_kept_and_is_said(void **state) {
    (void)state;
    static const char *const damaged[] = {"1,8,1,1,1,1,1,1,1\n", "x\n", "1,8,1,1,?,1,1,1,1,1\n",
                                          "0,8,1,1,1,1,1,1,1,1\n", "\n"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        char before[512];
        snprintf(before, sizeof before, HEADER "0,8,1,1,1,1,1,1,1,1\n%s2,8,1,1,1,1,1,1,1,1\n",
                 damaged[i]);
        put("times.csv", before);
        open_at(3);
        assert_holds("times.csv", HEADER "0,8,1,1,1,1,1,1,1,1\n");
        if (!strstr(said, "times.csv: the row after that of 0 is damaged; it and those behind it"))
            fail_msg("said %s", said);
        forget();
    }
}

/* What a power cut may leave of a row. */
static void zeros_are_no_row(void **state) {
    (void)state;
    char text[] = HEADER "0,8,1,1,1,1,1,1,1,1\n1,8,1,1,1,1,1,1,1,1\n";
    memset(strstr(text, "\n1,8") + 3, 0, 3);
    assert_int_equal(pn_file_write(pn_in_folder("times.csv"), text, sizeof text - 1), PN_OK);
    open_at(2);
    assert_holds("times.csv", HEADER "0,8,1,1,1,1,1,1,1,1\n");
    assert_non_null(strstr(said, "is damaged"));
    forget();
}

static json_t *line_of(const char *text) {
    json_t *root;
    assert_int_equal(pn_json_parse(text, strcspn(text, "\n"), &root), PN_OK);
    return root;
}

static void assert_member(const char *line, const char *key, const char *want) {
    json_t *root = line_of(line);
    const char *value = json_string_value(json_object_get(root, key));
    if (!value || strcmp(value, want) != 0) fail_msg("%s: %s", key, line);
    json_decref(root);
}

static void events_are_added(void **state) {
    (void)state;
    static const char before[] = "{\"time\": \"2026-11-30T04:16:25Z\", \"event\": \"start\"}\n";
    char torn[256];
    snprintf(torn, sizeof torn, "%s{\"time\": \"2026-11", before);
    put("events.jsonl", torn);
    open_at(7);
    pn_journal_begin(&journal, true, 7, 100, "host-base");
    pn_journal_event(&journal, "warning", 8, "text", "two\nlines, \"quoted\", not UTF-8: \xff");
    char *text = get("events.jsonl"); /* nothing has to be flushed */
    assert_memory_equal(text, before, strlen(before));
    const char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;
    json_t *root = line_of(second);
    assert_int_equal(json_integer_value(json_object_get(root, "step")), 7);
    assert_true(json_array_size(json_object_get(root, "command")) >= 1);
    assert_true(json_integer_value(json_object_get(root, "threads")) >= 1);
    assert_non_null(json_string_value(json_object_get(root, "cpu")));
    json_decref(root);
    assert_member(second, "event", "resume");
    assert_member(second, "device", "host-base");
    assert_member(second, "version", PN_VERSION);
    assert_member(third, "text", "two\nlines, \"quoted\", not UTF-8: \xef\xbf\xbd");
    assert_ptr_equal(strchr(third, '\n') + 1, strchr(third, '\0'));
    free(text);
    forget();
}

/* ---- files that are not ours, and disks that are full ---------------------------------------- */

static void use(void) {
    pn_journal_begin(&journal, false, 0, 1, "host-base");
    pn_journal_event(&journal, "checkpoint", 1, NULL, NULL);
    pn_journal_times(&journal, 0, &known);
    pn_journal_flush(&journal);
}

static void assert_said_of(const char *name) {
    char want[64];
    snprintf(want, sizeof want, "/%s: ", name);
    const char *at = strstr(said, want);
    if (!at || !strstr(at, "the run goes on and writes no more of it") || strstr(at + 1, want))
        fail_msg("said %s, want one sentence of %s", said, name);
}

static void what_no_run_wrote_stays(void **state) {
    (void)state;
    static const char *const names[] = {"events.jsonl", "times.csv"};
    for (int i = 0; i < 2; i++) {
        put(names[i], "step,loss\n0,1\n"); /* somebody's */
        open_at(0);
        use();
        assert_holds(names[i], "step,loss\n0,1\n");
        assert_said_of(names[i]);
        forget();

        put("elsewhere", "");
        assert_int_equal(symlink("elsewhere", pn_in_folder(names[i])), 0);
        open_at(0);
        use();
        assert_holds("elsewhere", "");
        assert_said_of(names[i]);
        forget();

        assert_int_equal(mkdir(pn_in_folder(names[i]), 0777), 0);
        open_at(0);
        use();
        assert_said_of(names[i]);
        assert_int_equal(rmdir(pn_in_folder(names[i])), 0);
        forget();
        assert_int_equal(unlink(pn_in_folder("elsewhere")), 0);
    }
}

static void a_full_disk_ends_the_file_and_is_said_once(void **state) {
    (void)state;
    struct rlimit usual, full;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    full = usual;
    full.rlim_cur = 300;
    (void)signal(SIGXFSZ, SIG_IGN);
    open_at(0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    for (int i = 0; i < 20; i++) {
        pn_journal_event(&journal, "checkpoint", i, NULL, NULL);
        pn_journal_times(&journal, i, &known);
        pn_journal_flush(&journal);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    assert_said_of("events.jsonl");
    assert_said_of("times.csv");
    pn_journal_close(&journal);

    open_at(20); /* there is room again */
    use();
    assert_string_equal(said, "");
    char *text = get("events.jsonl");
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) json_decref(line_of(line));
    free(text);
    forget();
}

/* ---- runs ------------------------------------------------------------------------------------ */

#define ON "--device", "cpu:base", "--threads", "1", "--quiet"
#define SMALL "--data", "synthetic:80x8x8x3", "--layers", "1", "--channels", "4", "--batch", "4", ON
#define SEARCH SMALL, "--samples", "2", "--warmup", "5"

/* The kinds of events of a run, with a space after each. */
static void events_of(const char *directory, char kinds[2048]) {
    char name[256];
    snprintf(name, sizeof name, "%s/events.jsonl", directory);
    char *text = get(name);
    *kinds = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        json_t *root = line_of(line);
        const size_t used = strlen(kinds);
        snprintf(kinds + used, 2048 - used, "%s ",
                 json_string_value(json_object_get(root, "event")));
        json_decref(root);
    }
    free(text);
}

/* Rows first, first + 1, ... of times.csv, as many as there should be, and what they say. */
static void assert_times(const char *directory, int first, int count, bool distribution) {
    char name[256];
    snprintf(name, sizeof name, "%s/times.csv", directory);
    char *text = get(name), *row = strchr(text, '\n') + 1;
    for (int i = 0; i < count; i++, row = strchr(row, '\n') + 1) {
        double v[10];
        char *at = row;
        for (int k = 0; k < 10; k++, at++) {
            v[k] = *at == ',' ? NAN : strtod(at, &at);
            assert_int_equal(*at, k < 9 ? ',' : '\n');
        }
        assert_int_equal(v[0], first + i);
        assert_true(v[1] >= 4 && fmod(v[1], 4) == 0);
        assert_int_equal(isfinite(v[7]), distribution);
        assert_true(v[4] > 0 && v[5] > 0 && v[6] > 0 && v[3] >= 0);
        const double parts = v[3] + v[4] + v[5] + v[6] + (distribution ? v[7] : 0);
        assert_true(parts <= v[2] + 0.01); /* each is rounded to a microsecond */
        assert_true(v[8] > 1000 && v[9] > 1000000);
    }
    assert_string_equal(row, "");
    free(text);
}

static pn_process p;

static void run(int code, const char *const *arguments) {
    if (pn_process_program(&p, PN_PROGRAM, arguments, LIMIT) != code)
        fail_msg("exit code %d: %s", p.code, p.err);
}
#define RUN(code, ...) run(code, (const char *const[]){__VA_ARGS__, NULL})

static bool has_row(const char *name, const char *row) {
    void *text = NULL;
    size_t size;
    bool found = false;
    if (pn_file_read(pn_in_folder(name), 1 << 24, &text, &size) == PN_OK)
        found = strstr(text, row) != NULL;
    free(text);
    return found;
}

/* Runs until there is a row like this, and sends it a signal. */
static void run_until(const char *const *arguments, const char *table, const char *row, int signal,
                      int code) {
    const pn_conditions where = {.folder = pn_folder};
    pn_process_free(&p);
    pn_process_start(&p, arguments, &where);
    while (pn_process_runs(&p) && !has_row(table, row)) pn_sleep(0.001);
    kill(p.pid, signal);
    pn_process_wait(&p, LIMIT);
    if (p.code != code) fail_msg("exit code %d: %s", p.code, p.err);
}

/* Killed behind a checkpoint, then interrupted: 5,000 steps would take longer than the test. */
static void a_search_that_is_stopped_keeps_its_record(void **state) {
    (void)state;
    char kinds[2048];
    static const char *const begin[] = {PN_PROGRAM, "search",       "run", SEARCH, "--steps",
                                        "5000",     "--save-every", "0",   NULL};
    static const char *const on[] = {PN_PROGRAM, "search", "run", ON, NULL};
    run_until(begin, "run/times.csv", "\n20,", SIGKILL, -1);
    events_of("run", kinds);
    assert_memory_equal(kinds, "start checkpoint checkpoint ", 28);
    run_until(on, "run/times.csv", "\n60,", SIGINT, 130);
    assert_times("run", 0, atoi(strstr(p.err, "stopped after step ") + 19), true);
    events_of("run", kinds);
    assert_string_equal(strstr(kinds, " resume "), " resume checkpoint stop ");
    assert_true(has_row("run/events.jsonl", "\"reason\": \"SIGINT\"}\n"));
}

static void a_training_has_a_row_per_epoch(void **state) {
    (void)state;
    char kinds[2048];
    RUN(0, "train", "trained", SMALL, "--genotype", "PDARTS", "--epochs", "3");
    events_of("trained/seed-1", kinds);
    assert_string_equal(kinds, "start checkpoint finish ");
    assert_times("trained/seed-1", 1, 3, false);
    RUN(0, "train", "trained", "--genotype", "PDARTS", "--epochs", "3", ON);
    events_of("trained/seed-1", kinds); /* nothing happened */
    assert_string_equal(kinds, "start checkpoint finish ");
}

/* When a run is continued, both files are gone, or another's. */
static void a_run_without_them_has_the_same_bits(void **state) {
    (void)state;
    static const char *const begin[] = {PN_PROGRAM, "search",       "halted", SEARCH, "--steps",
                                        "60",       "--save-every", "0",      NULL};
    RUN(0, "search", "alone", SEARCH, "--steps", "60");
    assert_times("alone", 0, 60, true);
    char *want = pn_run_text(pn_in_folder("alone"));
    do {
        pn_folder_remove(pn_in_folder("halted"));
        pn_process_free(&p);
        pn_process_start(&p, begin, &(pn_conditions){.folder = pn_folder});
        while (pn_process_runs(&p) && !has_row("halted/times.csv", "\n20,")) pn_sleep(0.001);
        kill(p.pid, SIGKILL);
        pn_process_wait(&p, LIMIT);
    } while (p.signal == 0); /* it was finished */
    for (int foreign = 0; foreign < 2; foreign++) {
        char kinds[2048];
        pn_folder_copy(pn_in_folder("halted"), pn_in_folder("other"));
        assert_int_equal(unlink(pn_in_folder("other/events.jsonl")), 0);
        assert_int_equal(unlink(pn_in_folder("other/times.csv")), 0);
        if (foreign) put("other/events.jsonl", "mine");
        if (foreign) put("other/times.csv", "mine");
        RUN(0, "search", "other", ON);
        char *text = pn_run_text(pn_in_folder("other"));
        assert_string_equal(text, want);
        free(text);
        if (foreign) {
            assert_holds("other/events.jsonl", "mine");
            assert_holds("other/times.csv", "mine");
            assert_non_null(strstr(p.err, "warning: other/events.jsonl: not written by a run"));
            assert_non_null(strstr(p.err, "warning: other/times.csv: not written by a run"));
        } else {
            events_of("other", kinds);
            assert_string_equal(kinds, "resume checkpoint finish ");
            assert_string_equal(p.err, "");
        }
        pn_folder_remove(pn_in_folder("other"));
    }
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_its_columns_and_what_is_not_known_is_empty),
        cmocka_unit_test(rows_that_are_taken_again_are_replaced),
        cmocka_unit_test(a_torn_file_begins_where_it_is_whole),
        cmocka_unit_test(a_damaged_row_ends_what_is_kept_and_is_said),
        cmocka_unit_test(zeros_are_no_row),
        cmocka_unit_test(events_are_added),
        cmocka_unit_test(what_no_run_wrote_stays),
        cmocka_unit_test(a_full_disk_ends_the_file_and_is_said_once),
        cmocka_unit_test(a_search_that_is_stopped_keeps_its_record),
        cmocka_unit_test(a_training_has_a_row_per_epoch),
        cmocka_unit_test(a_run_without_them_has_the_same_bits),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
