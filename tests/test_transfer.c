/* test_transfer.c -- a search that begins from another one's distribution: what it takes over, what
 * it records of where that came from, and what it refuses. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "runtime/safetensors.h"
#include "search/methods/warm_start.h"
#include "search/network/genotype.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 120, ROW_BYTES = 8192, MOST = 32 };

/* The program, with what it says on stderr in `said` (ROW_BYTES) if that is not NULL. */
static int run(const char *directory, const char *const *more, char *said) {
    const char *argv[MOST] = {PN_PROGRAM,  "search", directory,    "--quiet",
                              "--threads", "1",      "--data",     "synthetic:200x8x8x3",
                              "--batch",   "8",      "--channels", "4"};
    const pn_conditions where = {.folder = pn_folder};
    pn_process p;
    for (int n = 12; *more; more++) {
        assert_true(n < MOST - 1);
        argv[n++] = *more;
    }
    pn_process_run(&p, argv, &where, LIMIT);
    if (said) snprintf(said, ROW_BYTES, "%s", p.err);
    const int code = p.code;
    pn_process_free(&p);
    return code;
}

/* 40 steps that leave pi nearly decided: its rate is far beyond what one would choose. */
static int begin(void **state) {
    static const char *const arguments[] = {"--rule",    "practical", "--layers", "3",
                                            "--steps",   "40",        "--warmup", "5",
                                            "--rate-pi", "2",         NULL};
    pn_folder_begin(state);
    return run("source", arguments, NULL);
}

__attribute__((noinline)) static char *text_of(const char *name) {
    void *data = NULL;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 26, &data, &size), PN_OK);
    if (!data) abort();
    return data;
}

/* The rest of the row of a table that begins with `step`. */
static const char *row(const char *table, const char *step) {
    char begin_of_row[32];
    static char found[2][ROW_BYTES * 2];
    static int next;
    snprintf(begin_of_row, sizeof begin_of_row, "\n%s,", step);
    const char *at = strstr(table, begin_of_row);
    if (!at) {
        print_error("no row of step %s\n", step);
        abort();
    }
    at += strcspn(at, ",");
    next = !next;
    snprintf(found[next], sizeof found[next], "%.*s", (int)strcspn(at, "\n"), at);
    return found[next];
}

static const char *const larger[] = {"--layers", "5",       "--steps", "12", "--warmup",
                                     "8",        "--prior", "source",  NULL};

static void the_distribution_and_its_history_carry_on(void **state) {
    (void)state;
    assert_int_equal(run("larger", larger, NULL), 0);
    char *before = text_of("source/prior.csv"), *after = text_of("larger/prior.csv");
    assert_string_equal(row(after, "-40"), row(before, "0"));
    assert_string_equal(row(after, "-11"), row(before, "29"));
    assert_string_equal(row(after, "0"), row(before, "40"));
    assert_null(strstr(strstr(after, "\n0,") + 1, "\n0,"));
    free(before);
    free(after);

    static const char *const third[] = {"--layers", "3",       "--steps", "4", "--warmup",
                                        "0",        "--prior", "larger",  NULL};
    assert_int_equal(run("third", third, NULL), 0);
    char *json = text_of("third/run.json");
    json_t *root = json_loads(json, 0, NULL), *history = json_object_get(root, "history");
    assert_int_equal(json_array_size(history), 2);
    static const struct {
        const char *from;
        int step, layers;
    } want[] = {{"source", 40, 3}, {"larger", 12, 5}};
    for (size_t i = 0; i < 2; i++) {
        const json_t *one = json_array_get(history, i);
        const json_t *settings = json_object_get(one, "settings");
        assert_string_equal(json_string_value(json_object_get(one, "from")), want[i].from);
        assert_int_equal(json_integer_value(json_object_get(one, "step")), want[i].step);
        assert_int_equal(json_integer_value(json_object_get(settings, "layers")), want[i].layers);
        assert_true(json_real_value(json_object_get(one, "entropy")) < 50.3);
    }
    json_decref(root);
    free(json);
    after = text_of("third/prior.csv");
    before = text_of("source/prior.csv");
    assert_string_equal(row(after, "-52"), row(before, "0"));
    free(before);
    free(after);
}

/* Rows of samples.csv's warm-up that are the mode of the source. */
static int mode_rows(const char *directory) {
    const pn_space space = pn_space_darts();
    char name[64], mode[PN_SHORT_BYTES + 1] = ",", *samples;
    pn_warm_start source;
    pn_prior prior;
    pn_arch arch;
    int count = 0;
    assert_int_equal(pn_prior_init(&prior, &space, true), PN_OK);
    assert_int_equal(pn_warm_start_open(&source, pn_in_folder("source"), &space), PN_OK);
    assert_int_equal(pn_warm_start_prior(&source, &prior), PN_OK);
    assert_true(prior.distinct);
    pn_warm_start_close(&source);
    assert_true(pn_prior_entropy(&prior, NULL) < 1); /* or the test says nothing */
    pn_prior_mode(&prior, &arch);
    pn_genotype_short(&space, &arch, mode + 1);
    snprintf(name, sizeof name, "%s/samples.csv", directory);
    samples = text_of(name);
    char *rest = samples, *line;
    while ((line = strsep(&rest, "\n")))
        if (strstr(line, ",warmup,")) {
            const char *last = strrchr(line, ',');
            count += last && !strcmp(last, mode);
        }
    free(samples);
    return count;
}

static void warm_up_follows_the_distribution(void **state) {
    (void)state;
    static const char *const uniform[] = {"--layers",          "5", "--steps", "9",
                                          "--warmup",          "8", "--prior", "source",
                                          "--no-warmup-prior", NULL};
    assert_int_equal(run("uniform", uniform, NULL), 0);
    assert_true(mode_rows("larger") >= 4);
    assert_int_equal(mode_rows("uniform"), 0);
}

/* With a rate of 0 the weights stay what they were at the beginning. */
static void weights_are_kept_where_shapes_agree(void **state) {
    (void)state;
    static const char *const kept[] = {"--layers", "3",      "--steps",        "2",
                                       "--rate",   "0",      "--rate-end",     "0",
                                       "--prior",  "source", "--keep-weights", NULL};
    pn_safetensors *a = NULL, *b = NULL;
    int compared = 0;
    assert_int_equal(run("kept", kept, NULL), 0);
    assert_int_equal(
        pn_safetensors_read(pn_in_folder("source/checkpoint-00000040.safetensors"), &a), PN_OK);
    assert_int_equal(pn_safetensors_read(pn_in_folder("kept/checkpoint-00000002.safetensors"), &b),
                     PN_OK);
    for (int i = 0; i < pn_safetensors_count(a); i++) {
        const pn_array *x = pn_safetensors_at(a, i);
        if (strncmp(x->name, "cells.", 6)) continue;
        const pn_array *y = pn_safetensors_find(b, x->name);
        assert_non_null(y);
        assert_memory_equal(x->data, y->data, pn_array_bytes(x));
        compared++;
    }
    assert_true(compared > 100);
    pn_safetensors_free(a);
    pn_safetensors_free(b);
    char *samples = text_of("kept/samples.csv");
    assert_null(strstr(samples, "warmup,-")); /* there is none to be done */
    free(samples);
}

static void what_cannot_be_taken_over(void **state) {
    (void)state;
    char said[ROW_BYTES];
    static const char *const other[] = {"--layers", "6",      "--steps",        "2",
                                        "--prior",  "source", "--keep-weights", NULL};
    assert_int_equal(run("refused", other, said), 3);
    assert_non_null(strstr(said, "array cells."));
    assert_non_null(strstr(said, "want F32"));
    static const char *const alone[] = {"--layers", "3", "--steps", "2", "--keep-weights", NULL};
    assert_int_equal(run("refused", alone, said), 2);
    assert_non_null(strstr(said, "--keep-weights wants --prior"));
    static const char *const nowhere[] = {"--layers", "3",       "--steps", "2",
                                          "--prior",  "nowhere", NULL};
    assert_int_equal(run("refused", nowhere, said), 6);
    static const char *const empty[] = {"--layers", "3", "--steps", "2", "--prior", ".", NULL};
    assert_int_equal(run("refused", empty, said), 3);
    assert_non_null(strstr(said, "without a checkpoint"));

    const double state_of[8] = {0};
    const pn_array array = {
        .name = pn_checkpoint_state, .dtype = PN_F64, .rank = 1, .shape = {8}, .data = state_of};
    const pn_meta meta[] = {{"format", pn_checkpoint_format},
                            {"step", "3"},
                            {"space", "1 kinds, 2 nodes, skip_connect"}};
    assert_int_equal(pn_safetensors_write(pn_in_folder("other.safetensors"), &array, 1, meta, 3),
                     PN_OK);
    static const char *const space[] = {"--layers",          "3", "--steps", "2", "--prior",
                                        "other.safetensors", NULL};
    assert_int_equal(run("refused", space, said), 3);
    assert_non_null(strstr(said, "a distribution over another space (1 kinds, 2 nodes, "));
    assert_non_null(strstr(said, "max_pool_3x3"));
    char *left = pn_folder_text(pn_folder, NULL);
    assert_null(strstr(left, "refused")); /* nothing was begun */
    free(left);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_distribution_and_its_history_carry_on),
        cmocka_unit_test(warm_up_follows_the_distribution),
        cmocka_unit_test(weights_are_kept_where_shapes_agree),
        cmocka_unit_test(what_cannot_be_taken_over),
    };
    return cmocka_run_group_tests_name("transfer", tests, begin, pn_folder_end);
}
