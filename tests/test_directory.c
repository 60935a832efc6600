/* test_directory.c -- the run directory and what may befall it from outside: other versions, other
 * devices, links, other processes, hands. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "search/network/weights.h"
#include "search/rundir/directory.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { MOST_ARGUMENTS = 40, LIMIT = 300 };
enum { USAGE = 2, INPUT = 3, IO = 6, BUSY = 8 };

#define SMALL                                                                           \
    "--data", "synthetic:40x8x8x3", "--layers", "1", "--channels", "4", "--batch", "4", \
        "--samples", "2", "--steps", "12", "--warmup", "2"
#define SEARCH "--quiet", SMALL, "--threads", "1"

/* ---- the program, and files ------------------------------------------------------------------ */

static void start(pn_process *p, const char *const *arguments) {
    const char *argv[MOST_ARGUMENTS] = {PN_PROGRAM};
    const pn_conditions where = {.folder = pn_folder};
    for (int n = 1; *arguments; n++) {
        assert_true(n < MOST_ARGUMENTS - 1);
        argv[n] = *arguments++;
    }
    pn_process_start(p, argv, &where);
}

/* Runs it, and demands an exit code and a word on stderr. */
static void expect(int code, const char *word, const char *const *arguments) {
    pn_process p;
    start(&p, arguments);
    pn_process_wait(&p, LIMIT);
    if (p.code != code || !strstr(p.err, word))
        fail_msg("%s %s: exit code %d, want %d and '%s'; stderr: %s", arguments[0], arguments[1],
                 p.code, code, word, p.err);
    pn_process_free(&p);
}
#define EXPECT(code, word, ...) expect(code, word, (const char *const[]){__VA_ARGS__, NULL})

static char *get(const char *path, size_t *size) {
    static void *bytes; /* static, or gcc 12 fears that the text is the pointer */
    if (pn_file_read(path, 1 << 26, &bytes, size) != PN_OK) fail_msg("%s", pn_error());
    return bytes;
}

static void put(const char *path, const void *bytes, size_t size) {
    if (pn_file_write(path, bytes, size) != PN_OK) fail_msg("%s", pn_error());
}

static void assert_file(const char *path, const char *content) {
    size_t size;
    char *text = get(path, &size);
    assert_string_equal(text, content);
    free(text);
}

/* The first `from` in a file becomes `to`. */
static void replace(const char *path, const char *from, const char *to) {
    size_t size;
    char *text = get(path, &size), *at = strstr(text, from), *other = NULL;
    assert_non_null(at);
    const int length = asprintf(&other, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_true(length > 0);
    put(path, other, (size_t)length);
    free(text);
    free(other);
}

static void copy(const char *from, const char *to) {
    pn_folder_copy(pn_in_folder(from), pn_in_folder(to));
}

static bool exists(const char *path) {
    struct stat about;
    return lstat(path, &about) == 0;
}

/* A finished search, once. */
static const char *done(void) {
    if (!exists(pn_in_folder("done"))) EXPECT(0, "", "search", "done", SEARCH);
    return "done";
}

/* Nothing in `name` differs from a search that was not disturbed. */
static void assert_as_done(const char *name) {
    char *text = pn_run_text(pn_in_folder(name)), *want = pn_run_text(pn_in_folder(done()));
    assert_string_equal(text, want);
    free(text);
    free(want);
}

/* A search that has saved some checkpoints and is still at work. */
static void start_long(pn_process *p, const char *name, const char *steps) {
    start(p, (const char *const[]){"search", name, SEARCH, "--steps", steps, "--save-every", "0",
                                   NULL});
    while (pn_process_runs(p)) {
        char *text = exists(pn_in_folder(name)) ? pn_folder_text(pn_in_folder(name), NULL) : NULL;
        const bool saved = text && strstr(text, ".safetensors ");
        free(text);
        if (saved) return;
        pn_sleep(0.001);
    }
    fail_msg("it ended too early: %s", p->err);
}

/* ---- other versions -------------------------------------------------------------------------- */

static void unpack(const char *from, const char *to) {
    static unsigned char bytes[1 << 20];
    gzFile file = gzopen(from, "rb");
    assert_non_null(file);
    const int size = gzread(file, bytes, sizeof bytes);
    assert_true(size > 0 && size < (int)sizeof bytes);
    assert_int_equal(gzclose(file), Z_OK);
    put(to, bytes, (size_t)size);
}

static void fixture(const char *name, const char *file, const char *to) {
    char from[256];
    snprintf(from, sizeof from, "fixtures/0.1.0/%s/%s", name, file);
    const size_t n = strlen(file);
    if (n > 3 && !strcmp(file + n - 3, ".gz")) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.*s", to, (int)(n - 3), file);
        unpack(from, path);
        return;
    }
    char path[512];
    size_t size;
    char *bytes = get(from, &size);
    snprintf(path, sizeof path, "%s/%s", to, file);
    put(path, bytes, size);
    free(bytes);
}

/* Two tables of numbers and words: equal but for the last digits, which may be another
 * compiler's. */
static void assert_close(const char *table, const char *expected) {
    size_t size;
    char *a = get(table, &size), *b = get(expected, &size);
    char *x = a, *y = b;
    while (*x && *y) {
        char *after_x, *after_y;
        const double u = strtod(x, &after_x), v = strtod(y, &after_y);
        if (after_x != x && after_y != y) {
            const double off = u > v ? u - v : v - u;
            if (off > 1e-3 * (1 + (v < 0 ? -v : v)))
                fail_msg("%s: %.9g, want %.9g at\n%.60s", table, u, v, x);
            x = after_x;
            y = after_y;
            continue;
        }
        if (*x++ != *y++) fail_msg("%s: other words at\n%.60s", table, x - 1);
    }
    assert_int_equal(*x, *y);
    free(a);
    free(b);
}

/* A search that version 0.1.0 left at step 6 of 12. */
static void put_old_search(const char *name) {
    static const char *const files[] = {"run.json", "metrics.csv", "samples.csv", "prior.csv",
                                        "checkpoint-00000006.safetensors.gz"};
    assert_int_equal(mkdir(pn_in_folder(name), 0777), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        fixture("search", files[i], pn_in_folder(name));
}

static void a_search_of_version_0_1_0_is_continued(void **state) {
    (void)state;
    put_old_search("old");
    EXPECT(0, "continuing from step 6", "search", "old", "--device", "cpu:base");
    assert_close(pn_in_folder("old/metrics.csv"), "fixtures/0.1.0/expected/search-metrics.csv");
    size_t size;
    char *want = get("fixtures/0.1.0/expected/genotype.txt", &size);
    assert_file(pn_in_folder("old/genotype.txt"), want);
    free(want);
    EXPECT(0, "", "sample", "old", "--top", "3");
}

static void a_training_of_version_0_1_0_is_continued(void **state) {
    (void)state;
    static const char *const files[] = {"run.json", "metrics.csv", "genotype.txt",
                                        "best.safetensors.gz",
                                        "checkpoint-00000006.safetensors.gz"};
    assert_int_equal(mkdir(pn_in_folder("older"), 0777), 0);
    assert_int_equal(mkdir(pn_in_folder("older/seed-1"), 0777), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        fixture("train/seed-1", files[i], pn_in_folder("older/seed-1"));
    EXPECT(0, "continuing from step 6 of 12", "train", "older", "--device", "cpu:base");
    assert_close(pn_in_folder("older/seed-1/metrics.csv"),
                 "fixtures/0.1.0/expected/train-metrics.csv");
    EXPECT(0, "", "eval", "older/seed-1", "--data", "synthetic:16x8x8x3");
}

/* The version begun by, and settings that only one of two versions knows. */
static void other_versions_are_told_apart(void **state) {
    (void)state;
    copy(done(), "later");
    replace(pn_in_folder("later/run.json"), "\"format\": 2", "\"format\": 3");
    EXPECT(INPUT, "format 3", "search", "later");
    copy(done(), "setting");
    replace(pn_in_folder("setting/run.json"), "\"layers\": 1", "\"layers\": 1, \"colour\": 4");
    EXPECT(INPUT, "colour", "search", "setting");
    copy(done(), "fewer"); /* as if begun before there was this setting */
    replace(pn_in_folder("fewer/run.json"), "\"share-slot\": false,", "");
    EXPECT(0, "", "search", "fewer");
}

/* What stands in run.json beside the settings is looked at before anything is done. */
static void a_wrong_run_json_is_refused(void **state) {
    static const struct {
        const char *from, *to, *words;
    } rows[] = {
        {"\"command\": \"search\"", "\"command\": \"train\"", "not of a search"},
        {"\"format\": 2", "\"format\": 0", "not a whole number from 1"},
        {"\"data_crc32\": ", "\"data_crc\": ", "no \"data_crc32\""},
        {"\"device\": ", "\"devices\": ", "no \"device\""},
        {"\"settings\": {", "\"history\": 3, \"settings\": {", "\"history\" is not a list"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[16], path[32];
        snprintf(name, sizeof name, "wrong-%d", (int)i);
        snprintf(path, sizeof path, "%s/run.json", name);
        copy(done(), name);
        replace(pn_in_folder(path), rows[i].from, rows[i].to);
        EXPECT(INPUT, rows[i].words, "search", name);
    }
}

/* ---- other devices --------------------------------------------------------------------------- */

static void another_device_is_refused_or_asked_for(void **state) {
    (void)state;
    put_old_search("moved");
    EXPECT(USAGE, "begun on host-base, and this is emulated", "search", "moved", "--device",
           "emulated");
    EXPECT(USAGE, "--change-device", "search", "moved", "--device", "emulated");
    EXPECT(USAGE, "begun on host-base, and this is host-base-bf16", "search", "moved", "--device",
           "cpu:base", "--precision", "bf16");
    EXPECT(0, "continuing from step 6", "search", "moved", "--device", "emulated",
           "--change-device");
    size_t size;
    char *json = get(pn_in_folder("moved/run.json"), &size);
    assert_non_null(strstr(json, "\"device\": \"emulated\""));
    free(json);
    EXPECT(0, "", "search", "moved", "--device", "emulated"); /* it is the run's own now */
    EXPECT(USAGE, "begun on emulated", "search", "moved", "--device", "cpu:base");
    EXPECT(0, "", "search", "moved", "--device", "cpu:base", "--precision", "bf16",
           "--change-device");
    EXPECT(0, "", "search", "moved", "--device", "cpu:base-bf16"); /* the same by one name */
    EXPECT(USAGE, "want --device cpu:base-bf16", "search", "moved", "--device", "cpu:base");
}

/* ---- hands ----------------------------------------------------------------------------------- */

static void a_table_changed_by_hand_is_noticed(void **state) {
    (void)state;
    static const char *const tables[] = {"metrics.csv", "samples.csv", "prior.csv"};
    for (int i = 0; i < 3; i++) {
        char path[512];
        copy(done(), "edited");
        snprintf(path, sizeof path, "%s/%s", pn_in_folder("edited"), tables[i]);
        replace(path, "\n1,", "\n3,");
        EXPECT(INPUT, "changed since the run was saved", "search", "edited");
        EXPECT(INPUT, tables[i], "search", "edited");
        pn_folder_remove(pn_in_folder("edited"));
    }
}

static void only_names_that_we_give_are_checkpoints(void **state) {
    (void)state;
    static const char *const names[] = {
        "checkpoint-99.safetensors", "checkpoint-0000000099.safetensors",
        "checkpoint-00000099.safetensors.old", "checkpoint--0000099.safetensors",
        "checkpoint-.safetensors"};
    copy(done(), "named");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", pn_in_folder("named"), names[i]);
        put(path, "?", 1);
    }
    EXPECT(0, "continuing from step 12", "search", "named", SMALL);
}

/* What is advised may not lose a good file: nothing is to be removed, and what is named is what is
 * damaged. */
static void a_damaged_checkpoint_may_be_moved_away(void **state) {
    (void)state;
    pn_process p;
    start_long(&p, "hurt", "100000");
    kill(p.pid, SIGKILL);
    pn_process_wait(&p, LIMIT);
    pn_process_free(&p);
    pn_place place;
    int64_t newest, before;
    char name[PN_NAME_IN_PLACE], path[512];
    assert_int_equal(pn_place_open(&place, pn_in_folder("hurt")), PN_OK);
    assert_int_equal(pn_checkpoint_newest(&place, INT64_MAX, &newest), PN_OK);
    assert_int_equal(pn_checkpoint_newest(&place, newest, &before), PN_OK);
    pn_place_close(&place);
    pn_checkpoint_name(newest, name);
    snprintf(path, sizeof path, "%s/%s", pn_in_folder("hurt"), name);
    size_t size;
    char *bytes = get(path, &size);
    bytes[size - 100] ^= 4;
    put(path, bytes, size);
    free(bytes);
    EXPECT(INPUT, "CRC-32", "search", "hurt");
    EXPECT(INPUT, "moved elsewhere", "search", "hurt");
    EXPECT(INPUT, name, "search", "hurt");
    assert_true(exists(path));
    assert_int_equal(unlink(path), 0);
    if (before < 0) return;
    char word[64];
    snprintf(word, sizeof word, "continuing from step %lld", (long long)before);
    start(&p, (const char *const[]){"search", "hurt", NULL});
    pn_sleep(0.5);
    kill(p.pid, SIGTERM);
    pn_process_wait(&p, LIMIT);
    assert_non_null(strstr(p.err, word));
    pn_process_free(&p);
}

/* A directory whose names cannot be read is no directory without checkpoints. */
static void what_cannot_be_listed_is_not_empty(void **state) {
    (void)state;
    pn_place place;
    int64_t number = 77;
    bool there = false;
    assert_int_equal(pn_place_open(&place, pn_in_folder(done())), PN_OK);
    const int directory = place.fd;
    place.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pn_checkpoint_newest(&place, INT64_MAX, &number), PN_EIO);
    assert_int_equal(number, 77);
    assert_int_equal(pn_place_has(&place, "run.json", &there), PN_EIO);
    close(place.fd);
    place.fd = directory;
    assert_int_equal(pn_checkpoint_newest(&place, INT64_MAX, &number), PN_OK);
    assert_int_equal(number, 12);
    pn_place_close(&place);
}

/* ---- links ----------------------------------------------------------------------------------- */

static void links_in_a_run_are_not_followed(void **state) {
    (void)state;
    static const char *const names[] = {"metrics.csv",  "samples.csv",
                                        "prior.csv",    "run.json",
                                        "genotype.txt", "checkpoint-00000012.safetensors"};
    put(pn_in_folder("victim"), "precious", 8);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        copy(done(), "linked");
        snprintf(path, sizeof path, "%s/%s", pn_in_folder("linked"), names[i]);
        assert_int_equal(unlink(path), 0);
        if (i < 3) /* tables are cut to nothing where there is no checkpoint */
            assert_int_equal(unlink(pn_in_folder("linked/checkpoint-00000012.safetensors")), 0);
        assert_int_equal(symlink(pn_in_folder("victim"), path), 0);
        EXPECT(INPUT, names[i], "search", "linked");
        assert_file(pn_in_folder("victim"), "precious");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0666), 0); /* waits for a reader for ever, if it is opened */
        EXPECT(INPUT, "not a regular file", "search", "linked");
        pn_folder_remove(pn_in_folder("linked"));
    }
    unlink(pn_in_folder("victim"));
}

/* Whoever links the directory itself means it. */
static void the_directory_may_be_a_link(void **state) {
    (void)state;
    assert_int_equal(mkdir(pn_in_folder("disk"), 0777), 0);
    assert_int_equal(symlink("disk", pn_in_folder("alias")), 0);
    EXPECT(0, "", "search", "alias", SEARCH);
    assert_as_done("disk");
}

/* ---- other processes ------------------------------------------------------------------------- */

/* The directory of a search at work is removed, and another search begins in its place. */
static void a_directory_that_is_replaced_is_left_alone(void **state) {
    (void)state;
    pn_process p;
    start_long(&p, "taken", "100000");
    assert_int_equal(rename(pn_in_folder("taken"), pn_in_folder("gone")), 0);
    EXPECT(0, "", "search", "taken", SEARCH);
    pn_process_wait(&p, LIMIT);
    if (p.code != BUSY && p.code != IO) fail_msg("exit code %d: %s", p.code, p.err);
    assert_non_null(strstr(p.err, "taken"));
    pn_process_free(&p);
    assert_as_done("taken");
    EXPECT(0, "continuing", "search", "taken", SMALL); /* its checkpoint is there, and its own */
    pn_folder_remove(pn_in_folder("gone"));
}

static void a_lock_that_is_replaced_ends_its_owner(void **state) {
    (void)state;
    pn_process p;
    start_long(&p, "unlocked", "100000");
    assert_int_equal(unlink(pn_in_folder("unlocked/lock")), 0);
    pn_process q;
    start(&q, (const char *const[]){"search", "unlocked", "--quiet", "--save-every", "0", NULL});
    pn_process_wait(&p, LIMIT);
    if (p.code != BUSY || !strstr(p.err, "lock")) fail_msg("exit code %d: %s", p.code, p.err);
    pn_process_free(&p);
    pn_sleep(0.2);
    assert_true(pn_process_runs(&q)); /* the lock is its, nobody disturbs it */
    kill(q.pid, SIGTERM);
    pn_process_wait(&q, LIMIT);
    assert_int_equal(q.code, 143);
    pn_process_free(&q);
    start(&q,
          (const char *const[]){"search", "unlocked", NULL}); /* tables as the checkpoint says */
    pn_sleep(0.5);
    kill(q.pid, SIGTERM);
    pn_process_wait(&q, LIMIT);
    assert_int_equal(q.code, 143);
    assert_non_null(strstr(q.err, "continuing from step"));
    pn_process_free(&q);
}

/* The new owner clears away what the old one was writing: the reason is the lock, not the file. */
static void a_write_lost_to_another_process_is_no_error_of_the_disk(void **state) {
    (void)state;
    pn_directory d;
    bool begun;
    assert_int_equal(pn_directory_take(&d, pn_in_folder("lost"), &begun), PN_OK);
    const pn_status failed = pn_fail(PN_EIO, "lost/x: cannot write: of itself");
    assert_int_equal(pn_directory_written(&d, failed), PN_EIO);
    assert_string_equal(pn_error(), "lost/x: cannot write: of itself");
    assert_int_equal(unlink(pn_in_folder("lost/lock")), 0);
    assert_int_equal(pn_directory_written(&d, failed), PN_EBUSY);
    assert_non_null(strstr(pn_error(), "lost/lock: removed or replaced"));
    assert_int_equal(pn_directory_written(&d, PN_OK), PN_OK);
    assert_int_equal(pn_directory_written(&d, PN_EINPUT), PN_EINPUT);
    pn_directory_abandon(&d);
}

/* What the check says of the directory itself; what its helpers do with what is odd. */
static void the_check_tells_gone_from_replaced(void **state) {
    (void)state;
    pn_directory d;
    bool begun;
    int64_t newest;
    char name[PN_PATH_BYTES + 8];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(pn_directory_take(&d, name, &begun), PN_EARG);
    assert_non_null(strstr(pn_error(), "a directory name of"));
    pn_directory_abandon(&d);

    assert_int_equal(pn_directory_take(&d, pn_in_folder("moved"), &begun), PN_OK);
    put(pn_in_folder("moved/x"), "", 0);
    put(pn_in_folder("moved/a.tmp"), "", 0);
    put(pn_in_folder("moved/b.tmp"), "", 0);
    assert_int_equal(pn_directory_clean(&d, (const char *const[]){"a", NULL}), PN_OK);
    assert_true(exists(pn_in_folder("moved/x")) && exists(pn_in_folder("moved/b.tmp")));
    assert_false(exists(pn_in_folder("moved/a.tmp")));

    assert_int_equal(pn_directory_check(&d), PN_OK);
    assert_int_equal(rename(pn_in_folder("moved"), pn_in_folder("elsewhere")), 0);
    assert_int_equal(pn_directory_check(&d), PN_EIO);
    assert_non_null(strstr(pn_error(), "cannot be found any more"));
    assert_int_equal(mkdir(pn_in_folder("moved"), 0777), 0);
    assert_int_equal(pn_directory_check(&d), PN_EBUSY);
    assert_non_null(strstr(pn_error(), "another directory has taken this name"));
    pn_directory_release(&d);

    /* It cannot be told whether there is an earlier one: then nothing is said of it. */
    pn_fail(PN_EINPUT, "damaged");
    assert_int_equal(pn_checkpoint_damaged(&d.place, 12, "search"), PN_EINPUT);
    assert_string_equal(pn_error(), "damaged");
    assert_int_not_equal(pn_checkpoint_newest(&d.place, 12, &newest), PN_OK);
    pn_folder_remove(pn_in_folder("moved"));
    pn_folder_remove(pn_in_folder("elsewhere"));
}

/* A file of weights under a checkpoint's name. */
static void a_file_that_is_no_checkpoint_is_refused(void **state) {
    (void)state;
    const float one = 1;
    pn_tensors t = {0};
    pn_place place;
    copy(done(), "other");
    assert_int_equal(pn_place_open(&place, pn_in_folder("other")), PN_OK);
    assert_int_equal(
        pn_tensors_add_array(
            &t, (pn_array){.name = "one", .dtype = PN_F32, .rank = 1, .shape = {1}, .data = &one}),
        PN_OK);
    assert_int_equal(pn_safetensors_write_in(&place, "checkpoint-00000012.safetensors", t.list,
                                             t.count, NULL, 0),
                     PN_OK);
    pn_tensors_free(&t);
    pn_place_close(&place);
    EXPECT(INPUT, "not a checkpoint of a search", "search", "other");
}

/* The distribution that a search begins from is its own at once: the other run may go on, or go. */
static void a_prior_is_read_once(void **state) {
    (void)state;
    pn_process p;
    copy(done(), "source");
    start_long(&p, "heir", "100000");
    kill(p.pid, SIGKILL);
    pn_process_wait(&p, LIMIT);
    pn_process_free(&p);
    pn_folder_remove(pn_in_folder("heir"));
    start(&p, (const char *const[]){"search", "heir", SEARCH, "--prior", "source", "--save-every",
                                    "1000", NULL});
    while (pn_process_runs(&p) && !exists(pn_in_folder("heir/checkpoint-00000000.safetensors")))
        pn_sleep(0.001);
    kill(p.pid, SIGKILL);
    pn_process_wait(&p, LIMIT);
    pn_process_free(&p);
    pn_folder_remove(pn_in_folder("source"));
    EXPECT(0, "", "search", "heir", "--quiet");
}

/* ---- reading only ---------------------------------------------------------------------------- */

static void a_run_is_compared_without_a_trace(void **state) {
    (void)state;
    copy(done(), "archive");
    unlink(pn_in_folder("archive/lock"));
    char *before = pn_folder_text(pn_in_folder("archive"), NULL);
    EXPECT(0, "", "compare", "archive", "--steps", "0");
    char *after = pn_folder_text(pn_in_folder("archive"), NULL);
    assert_string_equal(before, after);
    free(before);
    free(after);
    pn_process p;
    start_long(&p, "busy", "100000");
    EXPECT(BUSY, "at work", "compare", "busy", "--steps", "0");
    kill(p.pid, SIGKILL);
    pn_process_wait(&p, LIMIT);
    pn_process_free(&p);
    EXPECT(USAGE, "finish the search first", "compare", "busy", "--steps", "0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_of_version_0_1_0_is_continued),
        cmocka_unit_test(a_training_of_version_0_1_0_is_continued),
        cmocka_unit_test(other_versions_are_told_apart),
        cmocka_unit_test(a_wrong_run_json_is_refused),
        cmocka_unit_test(another_device_is_refused_or_asked_for),
        cmocka_unit_test(a_table_changed_by_hand_is_noticed),
        cmocka_unit_test(only_names_that_we_give_are_checkpoints),
        cmocka_unit_test(a_damaged_checkpoint_may_be_moved_away),
        cmocka_unit_test(what_cannot_be_listed_is_not_empty),
        cmocka_unit_test(links_in_a_run_are_not_followed),
        cmocka_unit_test(the_directory_may_be_a_link),
        cmocka_unit_test(a_directory_that_is_replaced_is_left_alone),
        cmocka_unit_test(a_lock_that_is_replaced_ends_its_owner),
        cmocka_unit_test(a_write_lost_to_another_process_is_no_error_of_the_disk),
        cmocka_unit_test(the_check_tells_gone_from_replaced),
        cmocka_unit_test(a_file_that_is_no_checkpoint_is_refused),
        cmocka_unit_test(a_prior_is_read_once),
        cmocka_unit_test(a_run_is_compared_without_a_trace),
    };
    return cmocka_run_group_tests_name("directory", tests, pn_folder_begin, pn_folder_end);
}
