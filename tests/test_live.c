/* test_live.c -- what a person sees of a run at work: on terminals of several sizes, in pipes, as
 * JSON, and from another terminal. A screen interprets what the program writes, so that the tests
 * speak of what can be read there and not of bytes. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "tests/support/process.h"
#include "tests/support/terminal.h"
#include "tools/rate.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 60 };

#define CPU "--device", "cpu:base", "--threads", "1"
#define NETWORK "--data", "synthetic:80x8x8x3", "--layers", "1", "--channels", "4", "--batch", "4"
#define SEARCH "--samples", "2", "--steps", "100000", "--warmup", "3", NETWORK, CPU

static const char *const usual[] = {"TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=", NULL};
static pn_terminal t;

static void start(const char *const *environment, int columns, int rows, const char *const *words) {
    const char *argv[48] = {PN_PROGRAM};
    for (int i = 0; words[i]; i++) argv[i + 1] = words[i];
    pn_terminal_start(&t, pn_folder, argv, environment, columns, rows);
}
#define START(environment, columns, rows, ...) \
    start(environment, columns, rows, (const char *const[]){__VA_ARGS__, NULL})

static void dump(void) {
    for (int i = 0; i <= t.screen.last; i++) print_message("|%s\n", pn_screen_text(&t.screen, i));
}

static void wait_for(const char *words) {
    if (pn_terminal_until(&t, words, LIMIT)) return;
    dump();
    fail_msg("not seen: %s", words);
}

/* For several times that it is drawn anew. */
static void watch_for(double seconds) { (void)pn_terminal_until(&t, "never seen", seconds); }

static void assert_seen(const char *words, int times) {
    const int seen = pn_screen_count(&t.screen, words);
    if (seen == times) return;
    dump();
    fail_msg("%s: seen %d times, want %d", words, seen, times);
}

/* Ctrl-C: the run saves, the cursor is on a fresh line below what was shown, in no colour. */
static void interrupt(void) {
    pn_terminal_type(&t, "\003");
    pn_terminal_wait(&t, LIMIT);
    assert_int_equal(t.code, 130);
    const int said = pn_screen_find(&t.screen, "stopped after step");
    assert_true(said > 0);
    assert_non_null(strstr(pn_screen_text(&t.screen, said), "parsec-nas search: stopped"));
    assert_true(pn_screen_text(&t.screen, said - 1)[0] != 0);
    assert_int_equal(t.screen.column, 0);
    assert_int_equal(t.screen.at, t.screen.last);
    assert_string_equal(pn_screen_text(&t.screen, t.screen.at), "");
    assert_false(t.screen.coloured);
}

static void end(void) { pn_terminal_free(&t); }

/* Ten steps a second for ten minutes, then two; looked at twice a second or every ten. */
static void a_rate_follows_the_machine(void **state) {
    (void)state;
    static const double between[] = {0.5, 10};
    for (int i = 0; i < 2; i++) {
        double now = 1000, done = 7;
        pn_rate rate = pn_rate_begin(now, done);
        assert_true(isnan(pn_rate_of(&rate)));
        for (; now < 1600; pn_rate_look(&rate, now, done)) {
            now += between[i];
            done += 10 * between[i];
            if (now < 1020) assert_false(pn_rate_of(&rate) > 10.001);
        }
        assert_float_equal(pn_rate_of(&rate), 10, 1e-9);
        for (; now < 1600 + PN_RATE_HALF; pn_rate_look(&rate, now, done)) {
            now += between[i];
            done += 2 * between[i];
        }
        assert_float_equal(pn_rate_of(&rate), 6, 0.35); /* half of the way, but for the looks */
        for (; now < 1600 + 10 * PN_RATE_HALF; pn_rate_look(&rate, now, done)) {
            now += between[i];
            done += 2 * between[i];
        }
        assert_float_equal(pn_rate_of(&rate), 2, 0.01);
        pn_rate_look(&rate, now, done); /* twice at one time */
        assert_float_equal(pn_rate_of(&rate), 2, 0.01);
    }
}

/* The five lines, once, one below the other. */
static void assert_block(void) {
    static const char *const begins[] = {"[", "loss ", "entropy ", "best cell p ", ""};
    assert_seen(" images/s", 1);
    assert_seen("  left ", 1);
    assert_seen("best cell p ", 1);
    const int first = pn_screen_find(&t.screen, "  left ");
    for (int i = 0; i < 5; i++)
        if (strncmp(pn_screen_text(&t.screen, first + i), begins[i], strlen(begins[i])) != 0) {
            dump();
            fail_msg("line %d: want %s", i, begins[i]);
        }
    assert_non_null(strstr(pn_screen_text(&t.screen, first), "  search  left "));
    assert_non_null(strstr(pn_screen_text(&t.screen, first), " %  step "));
    assert_non_null(strstr(pn_screen_text(&t.screen, first + 1), "  accuracy "));
    assert_non_null(strstr(pn_screen_text(&t.screen, first + 2), " of 47.07 nats"));
    assert_non_null(strstr(pn_screen_text(&t.screen, first + 3), "  normal "));
    assert_non_null(strstr(pn_screen_text(&t.screen, first + 4), "  memory "));
}

static void assert_line(void) {
    assert_seen("  left ", 1);
    assert_seen(" images/s", 0);
    assert_seen("best cell", 0);
    assert_memory_equal(pn_screen_text(&t.screen, pn_screen_find(&t.screen, "  left ")), "step ",
                        5);
}

static void a_block_is_drawn_in_place(void **state) {
    (void)state;
    START(usual, 80, 24, "search", "block", SEARCH);
    wait_for("best cell p ");
    watch_for(1.5);
    assert_block();
    assert_int_equal(t.screen.breaks, 0);
    assert_true(t.screen.colours > 0);
    assert_true(pn_screen_find(&t.screen, "\u2591") >= 0);
    assert_true(pn_screen_find(&t.screen, "\u2581") >= 0);
    interrupt();
    assert_block(); /* the last one stays */
    assert_int_equal(t.screen.breaks, 0);
    end();
}

/* A second Ctrl-C ends at once: whatever comes next begins a line. */
static void who_is_in_a_hurry_gets_a_fresh_line(void **state) {
    (void)state;
    START(usual, 80, 24, "search", "hurry", SEARCH);
    wait_for("best cell p ");
    pn_terminal_type(&t, "\003\003");
    pn_terminal_wait(&t, LIMIT);
    assert_true(t.signal == SIGINT || t.code == 130);
    assert_int_equal(t.screen.column, 0);
    assert_false(t.screen.coloured);
    assert_block();
    end();
}

/* Between two words nothing is broken by the terminal, and a line is not longer than it. */
static void a_narrow_or_low_terminal_has_a_line(void **state) {
    (void)state;
    static const int size[][2] = {{40, 24}, {80, 9}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        START(usual, size[i][0], size[i][1], "search", i ? "line" : "narrow", SEARCH);
        wait_for("  search");
        watch_for(i ? 0 : 1.2);
        assert_line();
        interrupt();
        assert_line();
        assert_int_equal(t.screen.breaks, 0);
        assert_int_equal(t.screen.colours, 0);
        end();
        pn_folder_remove(pn_in_folder("line"));
    }
}

static void a_new_size_leaves_nothing_behind(void **state) {
    (void)state;
    START(usual, 100, 30, "search", "sizes", SEARCH);
    wait_for("best cell p ");
    pn_terminal_resize(&t, 70, 30); /* what was wider is broken until it is drawn anew */
    watch_for(0.7);
    assert_block();
    pn_terminal_resize(&t, 40, 30);
    watch_for(0.7);
    assert_line();
    pn_terminal_resize(&t, 80, 24);
    watch_for(0.7);
    assert_block();
    pn_terminal_resize(&t, 80, 6);
    watch_for(0.7);
    assert_line();
    pn_terminal_resize(&t, 120, 40);
    watch_for(0.7);
    assert_block();
    interrupt();
    end();
}

static void plain_terminals_get_what_they_can_show(void **state) {
    (void)state;
    static const char *const dumb[] = {"TERM=dumb", "LC_ALL=C.UTF-8", NULL};
    static const char *const plain[] = {"TERM=xterm", "LC_ALL=C", "NO_COLOR=1", NULL};
    START(dumb, 80, 24, "search", "dumb", SEARCH);
    wait_for("first 20 steps");
    assert_int_equal(t.screen.breaks, 0);
    interrupt(); /* the next line would come after ten seconds; the last comes now */
    assert_seen("  search  left ", 1);
    assert_int_equal(t.screen.escapes, 0);
    end();

    START(plain, 80, 24, "search", "plain", SEARCH);
    wait_for("best cell p ");
    assert_block();
    assert_int_equal(t.screen.colours, 0);
    for (int i = 0; i <= t.screen.last; i++)
        for (const char *at = pn_screen_text(&t.screen, i); *at; at++)
            assert_in_range(*at, ' ', '~');
    interrupt();
    end();
}

static pn_process p;

static int run(const char *const *words) {
    return pn_process_program(&p, PN_PROGRAM, words, LIMIT);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void a_training_has_its_block(void **state) {
    (void)state;
    START(usual, 80, 24, "train", "training", "--genotype", "PDARTS", "--epochs", "100000", NETWORK,
          CPU);
    wait_for("scored ");
    watch_for(0.7);
    assert_seen("  left ", 1);
    assert_seen("images/s", 1);
    assert_seen("seed 1  epoch 1: ", 1); /* above it */
    assert_seen("cell  normal sk@0", 1);
    assert_int_equal(t.screen.breaks, 0);
    pn_terminal_type(&t, "\003");
    pn_terminal_wait(&t, LIMIT);
    assert_int_equal(t.code, 130);
    end();
}

static void a_pipe_gets_lines(void **state) {
    (void)state;
    assert_int_equal(RUN("search", "piped", "--samples", "2", "--steps", "30", NETWORK, CPU), 0);
    assert_null(strchr(p.err, '\033'));
    assert_null(strchr(p.err, '\r'));
    assert_non_null(strstr(p.err, "\nstep 30/30  search  left 0:00  "));
    assert_non_null(strstr(p.err, "\nentropy ")); /* each line ends, the last one too */
}

/* Each line of stderr is an object; what they say is what the tables say. */
static void json_has_an_object_a_line(void **state) {
    (void)state;
    static const struct {
        const char *words[24], *number[4], *text;
    } cases[] = {
        {{"search", "objects", "--samples", "2", "--steps", "30", "--warmup", "10", NETWORK, CPU,
          "--log-format", "json"},
         {"train_loss", "val_loss", "entropy", "images_per_s"},
         "cell"},
        {{"train", "objects-train", "--genotype", "PDARTS", "--epochs", "2", NETWORK, CPU,
          "--log-format", "json"},
         {"scored", "train_loss", "epoch", "images_per_s"},
         "cell"},
    };
    for (int i = 0; i < 2; i++) {
        int lines = 0;
        if (run(cases[i].words)) fail_msg("exit code %d: %s", p.code, p.err);
        for (char *line = p.err, *stop; *line; line = stop + 1, lines++) {
            json_t *root;
            stop = strchr(line, '\n');
            assert_non_null(stop);
            *stop = 0;
            if (pn_json_parse(line, (size_t)(stop - line), &root) != PN_OK) fail_msg("%s", line);
            assert_string_equal(json_string_value(json_object_get(root, "event")), "progress");
            for (int k = 0; k < 4; k++)
                if (!json_is_number(json_object_get(root, cases[i].number[k])))
                    fail_msg("no %s: %s", cases[i].number[k], line);
            assert_true(json_is_string(json_object_get(root, cases[i].text)));
            assert_true(json_number_value(json_object_get(root, "memory_bytes")) > 1e6);
            json_decref(root);
        }
        assert_in_range(lines, i ? 2 : 1, 5);
    }
    assert_int_equal(RUN("search", "objects", "--log-format", "xml"), 2);
}

/* ---- from another terminal ------------------------------------------------------------------- */

/* Begins a search that goes on. */
static void begin_search(pn_process *search, const char *directory) {
    const char *const argv[] = {PN_PROGRAM, "search", directory, SEARCH, "--quiet", NULL};
    char name[64];
    snprintf(name, sizeof name, "%s/times.csv", directory);
    pn_process_start(search, argv, &(pn_conditions){.folder = pn_folder});
    for (bool rows = false; !rows; pn_sleep(0.01)) {
        FILE *file = fopen(pn_in_folder(name), "rb");
        if (file) rows = fseek(file, 500, SEEK_SET) == 0 && fgetc(file) != EOF && fclose(file) == 0;
        assert_true(pn_process_runs(search));
    }
}

static void stop_search(pn_process *search, int signal_number) {
    kill(search->pid, signal_number);
    pn_process_wait(search, LIMIT);
    pn_process_free(search);
}

static void watch_shows_another_ones_run(void **state) {
    (void)state;
    pn_process search;
    begin_search(&search, "watched");
    START(usual, 80, 24, "watch", "watched");
    wait_for("best cell p ");
    watch_for(1.5);
    assert_block();
    assert_int_equal(t.screen.breaks, 0);
    pn_terminal_resize(&t, 40, 24);
    watch_for(0.5); /* at once */
    assert_line();
    pn_terminal_resize(&t, 80, 24);
    stop_search(&search, SIGINT);
    pn_terminal_wait(&t, LIMIT); /* by itself */
    assert_int_equal(t.code, 0);
    assert_seen("  stopped", 1);
    assert_seen("stopped by SIGINT; the same", 1);
    assert_int_equal(t.screen.column, 0);
    end();
}

static void watch_ends_with_ctrl_c_and_leaves_the_run_alone(void **state) {
    (void)state;
    pn_process search;
    begin_search(&search, "left");
    START(usual, 80, 24, "watch", "left");
    wait_for("  left ");
    pn_terminal_type(&t, "\003");
    pn_terminal_wait(&t, LIMIT);
    assert_int_equal(t.code, 0);
    assert_int_equal(t.screen.column, 0);
    assert_false(t.screen.coloured);
    end();
    assert_true(pn_process_runs(&search));

    /* In a pipe: once. */
    assert_int_equal(RUN("watch", "left"), 0);
    const char *line = p.out;
    for (int i = 0; i < 5; i++) line = strchr(line, '\n') + 1;
    assert_string_equal(line, "");
    assert_string_equal(p.err, "");
    assert_null(strchr(p.out, '\033'));
    assert_non_null(strstr(p.out, "  left "));
    assert_non_null(strstr(p.out, " images/s"));

    stop_search(&search, SIGKILL);
    char *before = pn_folder_text(pn_in_folder("left"), NULL);
    assert_int_equal(RUN("watch", "left", "--once"), 0);
    assert_non_null(strstr(p.out, "  dead"));
    assert_non_null(strstr(p.out, "no process is at work, last sign "));
    char *after = pn_folder_text(pn_in_folder("left"), NULL);
    assert_string_equal(after, before);
    free(before);
    free(after);
}

static void watch_says_what_became_of_a_run(void **state) {
    (void)state;
    assert_int_equal(
        RUN("search", "done", "--samples", "2", "--steps", "20", NETWORK, CPU, "--quiet"), 0);
    assert_int_equal(RUN("watch", "done"), 0);
    assert_non_null(strstr(p.out, "100 %  step 20/20  finished\n"));
    FILE *events = fopen(pn_in_folder("done/events.jsonl"), "ab");
    assert_non_null(events); /* not ours: what it says must not reach the terminal as it is */
    assert_true(
        fputs("{\"event\": \"warning\", \"text\": \"a\\u001b[2J\\nb\"}\nno JSON\n", events) > 0);
    assert_int_equal(fclose(events), 0);
    assert_int_equal(RUN("watch", "done"), 0);
    assert_non_null(strstr(p.out, "warning: a"));
    assert_null(strchr(p.out, '\033'));
    assert_non_null(strstr(p.out, "[2J"));
    assert_int_equal(RUN("train", "seeds", "--genotype", "PDARTS", "--epochs", "2", "--seeds",
                         "4,5", NETWORK, CPU, "--quiet"),
                     0);
    assert_int_equal(RUN("watch", "seeds"), 0);
    assert_non_null(strstr(p.out, "100 %  seed 5  epoch 2.00/2  finished\n"));
    assert_int_equal(RUN("watch", "seeds/seed-4", "--json"), 0);
    json_t *root;
    assert_int_equal(pn_json_parse(p.out, strlen(p.out), &root), PN_OK);
    assert_string_equal(json_string_value(json_object_get(root, "phase")), "finished");
    assert_int_equal(json_integer_value(json_object_get(root, "seed")), 4);
    assert_true(json_is_number(json_object_get(root, "scored")));
    json_decref(root);

    assert_int_equal(RUN("watch"), 2);
    assert_int_equal(RUN("watch", "nothing"), 6);
    pn_process_refused(&p, 6, "nothing: cannot open");
    assert_int_equal(RUN("watch", "."), 2);
    pn_process_refused(&p, 2, ".: no run in this directory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_follows_the_machine),
        cmocka_unit_test(a_block_is_drawn_in_place),
        cmocka_unit_test(who_is_in_a_hurry_gets_a_fresh_line),
        cmocka_unit_test(a_narrow_or_low_terminal_has_a_line),
        cmocka_unit_test(a_new_size_leaves_nothing_behind),
        cmocka_unit_test(plain_terminals_get_what_they_can_show),
        cmocka_unit_test(a_training_has_its_block),
        cmocka_unit_test(a_pipe_gets_lines),
        cmocka_unit_test(json_has_an_object_a_line),
        cmocka_unit_test(watch_shows_another_ones_run),
        cmocka_unit_test(watch_ends_with_ctrl_c_and_leaves_the_run_alone),
        cmocka_unit_test(watch_says_what_became_of_a_run),
    };
    return cmocka_run_group_tests(tests, pn_folder_begin, pn_folder_end);
}
