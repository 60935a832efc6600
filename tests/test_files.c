/* test_files.c -- files are whole or not there, and damage is noticed. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

static char folder[256]; /* of this run, empty at the beginning and the end */

static const char *in_folder(const char *name) {
    static char path[4][320];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
    return path[next];
}

static int make_folder(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pn_files_XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

/* Fails if a test left something behind: temporaries among them. */
static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

static bool exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

static void assert_sentence(const char *part) {
    if (!strstr(pn_error(), part)) fail_msg("'%s' does not contain '%s'", pn_error(), part);
}

static void assert_content(const char *path, const char *text) {
    void *data;
    size_t size;
    assert_int_equal(pn_file_read(path, 1 << 20, &data, &size), PN_OK);
    assert_int_equal(size, strlen(text));
    assert_string_equal(data, text); /* a 0 follows */
    free(data);
}

static void write_raw(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- Whole files ----------------------------------------------------------------------------- */

static void a_file_is_replaced_and_keeps_its_mode(void **state) {
    (void)state;
    const char *path = in_folder("text");
    assert_int_equal(pn_file_write(path, "old", 3), PN_OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(pn_file_write(path, "newer", 5), PN_OK);
    assert_content(path, "newer");
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(pn_file_write(path, "", 0), PN_OK);
    assert_content(path, "");
    unlink(path);
}

static void what_a_killed_writer_left_is_overwritten(void **state) {
    (void)state;
    write_raw(in_folder("text.tmp"), "a long piece of something else", 30);
    assert_int_equal(pn_file_write(in_folder("text"), "short", 5), PN_OK);
    assert_content(in_folder("text"), "short");
    assert_false(exists(in_folder("text.tmp")));
    unlink(in_folder("text"));
}

static void a_discarded_file_changes_nothing(void **state) {
    (void)state;
    const char *path = in_folder("text");
    write_raw(path, "old", 3);
    pn_writer *out;
    assert_int_equal(pn_writer_open(path, &out), PN_OK);
    assert_int_equal(pn_writer_write(out, "half", 4), PN_OK);
    assert_content(path, "old"); /* nor before */
    pn_writer_discard(out);
    assert_content(path, "old");
    assert_false(exists(in_folder("text.tmp")));
    unlink(path);
}

static void two_writers_of_one_file_do_not_mix(void **state) {
    (void)state;
    pn_writer *first, *second;
    assert_int_equal(pn_writer_open(in_folder("text"), &first), PN_OK);
    assert_int_equal(pn_writer_open(in_folder("text"), &second), PN_EBUSY);
    assert_sentence("another process is writing it");
    assert_int_equal(pn_writer_write(first, "one", 3), PN_OK);
    assert_int_equal(pn_writer_commit(first), PN_OK);
    assert_content(in_folder("text"), "one");
    unlink(in_folder("text"));
}

static void a_link_stays_a_link(void **state) {
    (void)state;
    write_raw(in_folder("target"), "old", 3);
    assert_int_equal(symlink(in_folder("target"), in_folder("link")), 0);
    assert_int_equal(pn_file_write(in_folder("link"), "new", 3), PN_OK);
    assert_content(in_folder("target"), "new");
    struct stat info;
    assert_int_equal(lstat(in_folder("link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    unlink(in_folder("link"));
    unlink(in_folder("target"));
}

static void a_device_is_written_not_replaced(void **state) {
    (void)state;
    assert_int_equal(pn_file_write("/dev/null", "gone", 4), PN_OK);
    assert_int_equal(pn_file_write("/dev/full", "no room", 7), PN_EIO);
    assert_sentence("/dev/full: cannot write: No space left on device");
    struct stat info;
    assert_int_equal(stat("/dev/full", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

/* A file size limit stands in for a full disk: it fails in the middle of the data. */
static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    enum { LARGE = 1 << 20 };
    const char *path = in_folder("weights");
    write_raw(path, "old", 3);
    char *large = calloc(1, LARGE);
    assert_non_null(large);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = LARGE / 2;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    pn_status status = pn_file_write(path, large, LARGE);
    const pn_array array = {
        .name = "w", .dtype = PN_U8, .rank = 1, .shape = {LARGE}, .data = large};
    pn_status checkpoint = pn_safetensors_write(path, &array, 1, NULL, 0);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    free(large);
    assert_int_equal(status, PN_EIO);
    assert_int_equal(checkpoint, PN_EIO);
    assert_sentence("weights: cannot write: File too large");
    assert_content(path, "old");
    assert_false(exists(in_folder("weights.tmp")));
    unlink(path);
}

static void places_that_cannot_be_written_say_why(void **state) {
    (void)state;
    static const struct {
        const char *path, *why;
    } cases[] = {
        {"/dev/null/below_a_file", "Not a directory"},
        {"/nonexistent_folder/x", "No such file or directory"},
        {"/proc/x", "No such file or directory"}, /* refuses even the superuser */
        {"/", "Is a directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pn_file_write(cases[i].path, "x", 1), PN_EIO);
        assert_sentence(cases[i].path);
        assert_sentence(cases[i].why);
        void *data;
        size_t size;
        assert_int_equal(pn_file_read(cases[i].path, 10, &data, &size), PN_EIO);
        assert_sentence(cases[i].why);
    }
}

static void a_file_beyond_the_limit_is_refused(void **state) {
    (void)state;
    write_raw(in_folder("text"), "12345", 5);
    void *data;
    size_t size;
    assert_int_equal(pn_file_read(in_folder("text"), 4, &data, &size), PN_EINPUT);
    assert_sentence("longer than 4 bytes");
    assert_int_equal(pn_file_read(in_folder("text"), 5, &data, &size), PN_OK);
    free(data);
    unlink(in_folder("text"));
    assert_int_equal(pn_file_read("/dev/zero", 1 << 20, &data, &size), PN_EINPUT);
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void a_table_forgets_rows_after_the_checkpoint(void **state) {
    (void)state;
    const char *path = in_folder("metrics.csv");
    pn_table *table;
    assert_int_equal(pn_table_open(path, -1, &table), PN_OK);
    assert_int_equal(pn_table_printf(table, "step,loss\n"), PN_OK);
    assert_int_equal(pn_table_printf(table, "%d,%.1f\n", 1, 2.5), PN_OK);
    const int64_t saved = pn_table_size(table);
    assert_int_equal(saved, 16);
    assert_int_equal(pn_table_sync(table), PN_OK);
    assert_content(path, "step,loss\n1,2.5\n");
    assert_int_equal(pn_table_printf(table, "2,2.0\n"), PN_OK);
    assert_int_equal(pn_table_close(table), PN_OK);
    assert_content(path, "step,loss\n1,2.5\n2,2.0\n");

    assert_int_equal(pn_table_open(path, saved, &table), PN_OK);
    assert_int_equal(pn_table_size(table), saved);
    assert_int_equal(pn_table_printf(table, "2,1.5\n"), PN_OK);
    assert_int_equal(pn_table_close(table), PN_OK);
    assert_content(path, "step,loss\n1,2.5\n2,1.5\n");

    assert_int_equal(pn_table_open(path, 100, &table), PN_EINPUT);
    assert_sentence("22 bytes, but 100 were written");
    unlink(path);
}

static void a_table_on_a_full_disk_says_so(void **state) {
    (void)state;
    pn_table *table;
    assert_int_equal(pn_table_open("/dev/full", -1, &table), PN_OK);
    assert_int_equal(pn_table_printf(table, "row\n"), PN_OK);
    assert_int_equal(pn_table_flush(table), PN_EIO);
    assert_sentence("/dev/full: cannot write: No space left on device");
    pn_table_close(table);
}

/* ---- Places ---------------------------------------------------------------------------------- */

static pn_place open_place(void) {
    pn_place place;
    assert_int_equal(pn_place_open(&place, folder), PN_OK);
    return place;
}

static void what_is_in_a_place_is_a_file_of_its_own(void **state) {
    (void)state;
    pn_place place = open_place();
    void *data;
    size_t size;
    pn_writer *out = NULL;
    pn_table *table = NULL;
    write_raw(in_folder("target"), "precious", 8);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    assert_int_equal(mkfifo(in_folder("fifo"), 0666), 0);
    assert_int_equal(mkdir(in_folder("below"), 0777), 0);
    static const char *const names[] = {"link", "fifo", "below"};
    for (int i = 0; i < 3; i++) { /* nobody waits for the other end of a FIFO */
        assert_int_not_equal(pn_file_read_in(&place, names[i], 100, &data, &size), PN_OK);
        assert_sentence(names[i]);
        assert_int_equal(pn_writer_open_in(&place, names[i], &out), PN_EINPUT);
        assert_sentence("not a regular file");
        assert_int_not_equal(pn_table_open_in(&place, names[i], 0, NULL, &table), PN_OK);
        assert_null(out);
        assert_null(table);
    }
    assert_int_equal(pn_file_read_in(&place, "link", 100, &data, &size), PN_EINPUT);
    assert_sentence("a symbolic link");
    /* Nor is what an attacker puts in the way of a temporary file. */
    assert_int_equal(symlink("target", in_folder("new.tmp")), 0);
    assert_int_equal(pn_file_write_in(&place, "new", "x", 1), PN_EINPUT);
    assert_content(in_folder("target"), "precious");
    static const char *const all[] = {"new.tmp", "link", "fifo", "target"};
    for (int i = 0; i < 4; i++) assert_int_equal(pn_place_remove(&place, all[i]), PN_OK);
    assert_int_equal(pn_place_remove(&place, "never there"), PN_OK);
    assert_int_equal(pn_place_remove(&place, "below"), PN_EIO);
    assert_int_equal(rmdir(in_folder("below")), 0);
    pn_place_close(&place);
    pn_place_close(&place);
}

/* The directory gets another name, another one gets its name: what is open stays what it was. */
static void a_place_is_not_its_name(void **state) {
    (void)state;
    pn_place place;
    char path[320];
    snprintf(path, sizeof path, "%s", in_folder("run"));
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(pn_place_open(&place, path), PN_OK);
    assert_int_equal(rename(path, in_folder("elsewhere")), 0);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(pn_file_write_in(&place, "file", "here", 4), PN_OK);
    assert_content(in_folder("elsewhere/file"), "here");
    assert_false(exists(in_folder("run/file")));
    assert_int_equal(pn_place_remove(&place, "file"), PN_OK);
    pn_place_close(&place);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(in_folder("elsewhere")), 0);
}

static pn_status count_name(void *self, const char *name) {
    int *count = self;
    return ++*count == 3 ? pn_fail(PN_EARG, "enough of %s", name) : PN_OK;
}

static void names_are_all_listed_or_it_failed(void **state) {
    (void)state;
    pn_place place = open_place();
    int count = 0;
    write_raw(in_folder("a"), "", 0);
    write_raw(in_folder("b"), "", 0);
    for (int again = 1; again <= 2; again++) { /* each from the beginning */
        assert_int_equal(pn_place_list(&place, count_name, &count), again < 2 ? PN_OK : PN_EARG);
        assert_int_equal(count, again + 1);
    }
    unlink(in_folder("a"));
    unlink(in_folder("b"));
    const int directory = place.fd;
    place.fd = STDERR_FILENO; /* no directory */
    assert_int_equal(pn_place_list(&place, count_name, &count), PN_EIO);
    assert_sentence("cannot be listed");
    place.fd = -1;
    assert_int_equal(pn_place_sync(&place), PN_EIO);
    place.fd = directory;
    assert_int_equal(pn_place_sync(&place), PN_OK);
    pn_place_close(&place);
    char longer[PN_PLACE_BYTES + 8];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(pn_place_open(&place, longer), PN_EARG);
    assert_int_equal(pn_place_open(&place, in_folder("nothing")), PN_EIO);
    assert_int_equal(pn_parent_sync(in_folder("nothing/below")), PN_EIO);
    assert_int_equal(pn_parent_sync("relative"), PN_OK);
    assert_int_equal(pn_parent_sync("/tmp/"), PN_OK);
}

static void what_is_added_stands_at_the_end(void **state) {
    (void)state;
    pn_place place;
    assert_int_equal(pn_place_open(&place, folder), PN_OK);
    write_raw(in_folder("grows"), "ab", 2);
    assert_int_equal(pn_file_append_in(&place, "grows", 2, "cd", 2), PN_OK);
    assert_content(in_folder("grows"), "abcd");
    assert_int_equal(pn_file_append_in(&place, "grows", 2, "ef", 2), PN_EBUSY);
    const int other = open(in_folder("grows"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(pn_file_append_in(&place, "grows", 4, "ef", 2), PN_EBUSY);
    close(other);
    assert_content(in_folder("grows"), "abcd");
    unlink(in_folder("grows"));
    assert_int_equal(pn_file_append_in(&place, "grows", 0, "ef", 2), PN_EIO);
    assert_int_equal(symlink("elsewhere", in_folder("grows")), 0);
    assert_int_equal(pn_file_append_in(&place, "grows", 0, "ef", 2), PN_EINPUT);
    unlink(in_folder("grows"));
    pn_place_close(&place);
}

static void a_table_changed_by_hand_is_noticed(void **state) {
    (void)state;
    pn_place place = open_place();
    pn_table *table;
    char row[40000];
    memset(row, 'r', sizeof row);
    row[sizeof row - 1] = 0;
    assert_int_equal(pn_table_open_in(&place, "t.csv", 0, NULL, &table), PN_OK);
    assert_int_equal(pn_table_printf(table, "%s\n", row), PN_OK); /* longer than any buffer */
    assert_int_equal(pn_table_pending(table), sizeof row);
    assert_int_equal(pn_table_flush(table), PN_OK);
    assert_int_equal(pn_table_pending(table), 0);
    const int64_t size = pn_table_size(table);
    const uint32_t crc = pn_table_crc(table);
    assert_int_equal(pn_table_printf(table, "later\n"), PN_OK);
    assert_int_not_equal(pn_table_crc(table), crc);
    pn_table_discard(table); /* the later row is lost */
    assert_int_equal(pn_table_open_in(&place, "t.csv", size, &crc, &table), PN_OK);
    assert_int_equal(pn_table_size(table), size);
    assert_int_equal(pn_table_crc(table), crc);
    assert_int_equal(pn_table_close(table), PN_OK);
    FILE *file = fopen(in_folder("t.csv"), "r+b");
    assert_non_null(file);
    assert_int_equal(fputc('s', file), 's');
    assert_int_equal(fclose(file), 0);
    assert_int_equal(pn_table_open_in(&place, "t.csv", size, &crc, &table), PN_EINPUT);
    assert_sentence("changed since the run was saved");
    assert_int_equal(pn_table_open_in(&place, "t.csv", size, NULL, &table), PN_OK);
    pn_table_discard(table);
    pn_table_discard(NULL);
    assert_int_equal(pn_table_close(NULL), PN_OK);
    assert_int_equal(pn_place_remove(&place, "t.csv"), PN_OK);
    pn_place_close(&place);
}

static void a_writer_can_be_read_before_it_is_a_file(void **state) {
    (void)state;
    pn_place place = open_place();
    pn_writer *out;
    int fd;
    char *large = calloc(1, 1 << 20), text[8] = "";
    assert_non_null(large);
    assert_int_equal(pn_writer_open_in(&place, "new", &out), PN_OK);
    assert_int_equal(pn_writer_write(out, "head", 4), PN_OK);
    assert_int_equal(pn_writer_write(out, large, 1 << 20), PN_OK); /* more than is buffered */
    assert_int_equal(pn_writer_write(out, "tail", 4), PN_OK);
    assert_int_equal(pn_writer_read_back(out, &fd), PN_OK);
    assert_int_equal(pread(fd, text, 4, 0), 4);
    assert_string_equal(text, "head");
    assert_int_equal(pread(fd, text, 7, 4 + (1 << 20)), 4);
    assert_string_equal(text, "tail");
    assert_false(exists(in_folder("new")));
    assert_int_equal(pn_writer_commit(out), PN_OK);
    assert_true(exists(in_folder("new")));
    assert_int_equal(pn_place_remove(&place, "new"), PN_OK);
    pn_place_close(&place);
    assert_int_equal(pn_writer_open("/dev/null", &out), PN_OK);
    assert_int_equal(pn_writer_read_back(out, &fd), PN_OK);
    assert_int_equal(fd, -1); /* a device keeps nothing */
    assert_int_equal(pn_writer_commit(out), PN_OK);
    free(large);
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static const float some_floats[6] = {1, -2, 3.5F, 0, 1e-38F, 3e38F};
static const int64_t some_integers[2] = {INT64_MIN, 7};
static const uint8_t some_bytes[3] = {0, 128, 255};
static const pn_array some_arrays[] = {
    {"bytes", PN_U8, 1, {3}, some_bytes},
    {"weights \"quoted\" \xc3\xa9", PN_F32, 2, {2, 3}, some_floats},
    {"counts", PN_I64, 1, {2}, some_integers},
    {"nothing", PN_F32, 2, {0, 4}, NULL},
    {"one", PN_F32, 0, {0}, some_floats + 2},
};
enum { ARRAYS = sizeof some_arrays / sizeof *some_arrays };
static const pn_meta some_metas[] = {{"step", "12"}, {"genotype", "Genotype(normal=[...])"}};

static void write_some(const char *path) {
    assert_int_equal(pn_safetensors_write(path, some_arrays, ARRAYS, some_metas, 2), PN_OK);
}

/* Whether all that was written is there, bit for bit. */
static bool holds_some(const pn_safetensors *file) {
    if (pn_safetensors_count(file) != ARRAYS) return false;
    for (int i = 0; i < ARRAYS; i++) {
        const pn_array *a = pn_safetensors_find(file, some_arrays[i].name), *b = &some_arrays[i];
        if (!a || a->dtype != b->dtype || a->rank != b->rank ||
            memcmp(a->shape, b->shape, sizeof a->shape) != 0 || (uintptr_t)a->data % 64 != 0)
            return false;
        size_t bytes = pn_array_bytes(b);
        if (bytes && memcmp(a->data, b->data, bytes) != 0) return false;
    }
    const char *step = pn_safetensors_meta(file, "step");
    const char *genotype = pn_safetensors_meta(file, "genotype");
    return step && genotype && strcmp(step, "12") == 0 && strcmp(genotype, some_metas[1].text) == 0;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    const char *path = in_folder("a.safetensors");
    write_some(path);
    pn_safetensors *file;
    assert_int_equal(pn_safetensors_read(path, &file), PN_OK);
    assert_true(holds_some(file));
    assert_true(pn_safetensors_checked(file));
    assert_string_equal(pn_safetensors_at(file, 0)->name, "counts"); /* largest elements first */
    assert_null(pn_safetensors_find(file, "absent"));
    assert_null(pn_safetensors_meta(file, "absent"));

    const void *data;
    const int64_t shape[] = {2, 3};
    assert_int_equal(pn_safetensors_get(file, some_arrays[1].name, PN_F32, 2, shape, &data), PN_OK);
    assert_memory_equal(data, some_floats, sizeof some_floats);
    assert_int_equal(pn_safetensors_get(file, "bytes", PN_F32, 2, shape, &data), PN_EINPUT);
    assert_sentence("a.safetensors: array bytes is U8 (3), want F32 (2,3)");
    assert_int_equal(pn_safetensors_get(file, "absent", PN_F32, 2, shape, &data), PN_EINPUT);
    assert_sentence("a.safetensors: no array absent");
    pn_safetensors_free(file);
    unlink(path);
}

static void the_same_arrays_give_the_same_bytes(void **state) {
    (void)state;
    void *first, *second;
    size_t n, m;
    write_some(in_folder("a"));
    write_some(in_folder("b"));
    assert_int_equal(pn_file_read(in_folder("a"), 1 << 20, &first, &n), PN_OK);
    assert_int_equal(pn_file_read(in_folder("b"), 1 << 20, &second, &m), PN_OK);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    uint64_t header;
    memcpy(&header, first, sizeof header);
    assert_int_equal(header % 8, 0); /* else other readers find the data unaligned */
    free(first);
    free(second);
    unlink(in_folder("a"));
    unlink(in_folder("b"));
}

static void any_changed_byte_is_noticed(void **state) {
    (void)state;
    unsigned char *bytes;
    size_t size;
    write_some(in_folder("a"));
    assert_int_equal(pn_file_read(in_folder("a"), 1 << 20, (void **)&bytes, &size), PN_OK);
    unlink(in_folder("a"));
    int refused = 0, unchecked = 0;
    for (size_t i = 0; i < size; i++)
        for (int change = 1; change < 256; change++) {
            bytes[i] ^= (unsigned char)change;
            pn_safetensors *file = NULL;
            pn_status status = pn_safetensors_parse(bytes, size, &file);
            if (status == PN_OK) {
                /* Only where the checksum's key itself is no longer ours; nothing else is hurt,
                 * and who needs the checksum asks for it. */
                assert_false(pn_safetensors_checked(file));
                assert_true(holds_some(file));
                unchecked++;
                pn_safetensors_free(file);
            } else {
                assert_int_equal(status, PN_EINPUT);
                refused++;
            }
            bytes[i] ^= (unsigned char)change;
        }
    assert_int_equal(refused + unchecked, (int)size * 255);
    assert_true(unchecked < 15 * 255); /* {"__metadata__":{"crc32":"01234567": 5 + 8 bytes of it */
    free(bytes);
}

static void a_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    void *bytes, *copy;
    size_t size;
    pn_safetensors *file;
    write_some(in_folder("a"));
    assert_int_equal(pn_file_read(in_folder("a"), 1 << 20, &bytes, &size), PN_OK);
    for (size_t n = 0; n < size; n++) {
        copy = malloc(n + 1); /* of its own, so that a sanitizer sees what reads beyond */
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        assert_int_equal(pn_safetensors_parse(copy, n, &file), PN_EINPUT);
        free(copy);
    }
    assert_int_equal(truncate(in_folder("a"), (off_t)size - 1), 0);
    assert_int_equal(pn_safetensors_read(in_folder("a"), &file), PN_EINPUT);
    assert_sentence(in_folder("a"));
    free(bytes);
    unlink(in_folder("a"));
}

/* A file of this header and `data` bytes of data. */
static pn_status parse_text(const char *header, size_t data, pn_safetensors **file) {
    uint64_t length = strlen(header);
    size_t size = 8 + length + data;
    char *bytes = calloc(1, size + 1);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length + 1);
    pn_status status = pn_safetensors_parse(bytes, size, file);
    free(bytes);
    return status;
}

static void headers_that_lie_are_refused_with_the_reason(void **state) {
    (void)state;
    /* clang-format 14 crashes on this table. */
    /* clang-format off */
#define F32(shape, offsets) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct {
        const char *header;
        size_t data;
        const char *why;
    } cases[] = {
        {"", 0, "not a JSON object"},
        {"[]", 0, "not a JSON object"},
        {" {}", 0, "does not begin with '{'"},
        {"{} x", 0, "not a JSON object"},
        {"{\"a\":1}", 0, "want exactly dtype"},
        {"{\"a\":" F32("[1]", "[0,4]") ",\"a\":" F32("[1]", "[0,4]") "}", 4, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
         "want exactly dtype"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype F31"},
        {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "not a string"},
        {"{\"a\":" F32("4", "[0,4]") "}", 4, "not a list"},
        {"{\"a\":" F32("[-1]", "[0,4]") "}", 4, "whole number"},
        {"{\"a\":" F32("[1.0]", "[0,4]") "}", 4, "whole number"},
        {"{\"a\":" F32("[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "9 dimensions"},
        {"{\"a\":" F32("[4294967296,4294967296]", "[0,4]") "}", 4, "does not take"},
        {"{\"a\":" F32("[4611686018427387904]", "[0,0]") "}", 0, "does not take"},
        {"{\"a\":" F32("[99999999999999999999]", "[0,4]") "}", 4, "too big"},
        {"{\"a\":" F32("[1]", "[0,4]") "}", 3, "3 bytes of data"},
        {"{\"a\":" F32("[1]", "[4,0]") "}", 4, "data_offsets 4 to 0"},
        {"{\"a\":" F32("[1]", "[-4,0]") "}", 4, "data_offsets -4"},
        {"{\"a\":" F32("[1]", "[0]") "}", 4, "two whole numbers"},
        {"{\"a\":" F32("[1]", "[0,4,4]") "}", 4, "two whole numbers"},
        {"{\"a\":" F32("[1]", "{}") "}", 4, "two whole numbers"},
        {"{\"a\":" F32("[1]", "[0,4]") ",\"b\":" F32("[1]", "[2,6]") "}", 6, "want 4"},
        {"{\"a\":" F32("[1]", "[0,4]") ",\"b\":" F32("[1]", "[0,4]") "}", 4, "want 4"},
        {"{\"a\":" F32("[1]", "[0,4]") ",\"b\":" F32("[1]", "[5,9]") "}", 9, "want 4"},
        {"{\"a\":" F32("[1]", "[4,8]") "}", 8, "want 0"},
        {"{\"a\":" F32("[1]", "[0,4]") "}", 5, "the arrays end at 4"},
        {"{\"__metadata__\":[]}", 0, "not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "not a string"},
        {"{\"a\\u0000b\":" F32("[1]", "[0,4]") "}", 4, "not a JSON object"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_safetensors *file;
        pn_status status = parse_text(cases[i].header, cases[i].data, &file);
        if (status != PN_EINPUT) fail_msg("%s: status %d", cases[i].header, status);
        assert_sentence(cases[i].why);
    }
    static const unsigned char huge[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    pn_safetensors *file;
    assert_int_equal(pn_safetensors_parse(huge, sizeof huge, &file), PN_EINPUT);
    assert_sentence("a header of 18446744073709551615 bytes");
}

static void files_of_other_programs_need_no_checksum(void **state) {
    (void)state;
    pn_safetensors *file;
    assert_int_equal(parse_text("{}", 0, &file), PN_OK);
    assert_int_equal(pn_safetensors_count(file), 0);
    pn_safetensors_free(file);

    /* One byte, then a float at an odd place: it comes out aligned. */
    assert_int_equal(
        parse_text(
            "{\"b\":" F32(
                "[1]", "[1,5]") ",\"a\":{\"data_offsets\":[0,1],\"shape\":[1],"
                                "\"dtype\":\"BOOL\"},\"__metadata__\":{\"crc32\":\"00000000\"}}   ",
            5, &file),
        PN_OK);
    assert_false(pn_safetensors_checked(file)); /* carried along, but not where ours is */
    assert_string_equal(pn_safetensors_at(file, 0)->name, "a");
    assert_int_equal((uintptr_t)pn_safetensors_find(file, "b")->data % 64, 0);
    pn_safetensors_free(file);
}

static void what_cannot_be_written_is_refused(void **state) {
    (void)state;
    const pn_array twice[] = {some_arrays[0], some_arrays[0]};
    const pn_array reserved = {"__metadata__", PN_U8, 1, {3}, some_bytes};
    const pn_array latin = {"\xe9", PN_U8, 1, {3}, some_bytes};
    const pn_array negative = {"n", PN_U8, 1, {-3}, some_bytes};
    const pn_array huge = {"h", PN_F64, 2, {INT64_MAX, 2}, some_bytes};
    const pn_array deep = {"d", PN_U8, PN_MAX_RANK + 1, {3}, some_bytes};
    const pn_meta crc = {"crc32", "0"};
    const char *path = in_folder("a");
    assert_int_equal(pn_safetensors_write(path, twice, 2, NULL, 0), PN_EARG);
    assert_sentence("array bytes: named twice");
    assert_int_equal(pn_safetensors_write(path, &reserved, 1, NULL, 0), PN_EARG);
    assert_int_equal(pn_safetensors_write(path, &latin, 1, NULL, 0), PN_EARG);
    assert_int_equal(pn_safetensors_write(path, &negative, 1, NULL, 0), PN_EARG);
    assert_int_equal(pn_safetensors_write(path, &huge, 1, NULL, 0), PN_EARG);
    assert_int_equal(pn_safetensors_write(path, &deep, 1, NULL, 0), PN_EARG);
    assert_int_equal(pn_safetensors_write(path, NULL, 0, &crc, 1), PN_EARG);
    assert_sentence("key crc32: named twice, or reserved");
    assert_false(exists(path));
}

/* ---- npy ------------------------------------------------------------------------------------- */

static void arrays_pass_through_npy(void **state) {
    (void)state;
    static const double doubles[] = {1, -.5, 1e300};
    static const int32_t integers[] = {INT32_MIN, 1, 2, 3};
    static const pn_array arrays[] = {
        {NULL, PN_F32, 2, {2, 3}, some_floats},
        {NULL, PN_F64, 1, {3}, doubles},
        {NULL, PN_I32, 3, {2, 1, 2}, integers},
        {NULL, PN_I64, 1, {2}, some_integers},
        {NULL, PN_U8, 1, {3}, some_bytes},
        {NULL, PN_F32, 0, {0}, some_floats},
        {NULL, PN_F32, 3, {5, 0, 2}, some_floats},
        {NULL, PN_U8, 8, {1, 1, 1, 3, 1, 1, 1, 1}, some_bytes},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        pn_array read;
        assert_int_equal(pn_npy_write(in_folder("a.npy"), &arrays[i]), PN_OK);
        assert_int_equal(pn_npy_read(in_folder("a.npy"), &read), PN_OK);
        assert_int_equal(read.dtype, arrays[i].dtype);
        assert_int_equal(read.rank, arrays[i].rank);
        assert_memory_equal(read.shape, arrays[i].shape, sizeof read.shape);
        if (pn_array_bytes(&read))
            assert_memory_equal(read.data, arrays[i].data, pn_array_bytes(&read));
        pn_npy_free(&read);
    }
    unlink(in_folder("a.npy"));
    const pn_array half = {NULL, PN_F16, 1, {1}, some_bytes};
    assert_int_equal(pn_npy_write(in_folder("a.npy"), &half), PN_EARG);
}

/* A file of format MAJOR.0 with this dictionary and `data` bytes. */
static pn_status parse_npy(int major, const char *dictionary, size_t data, pn_array *array) {
    size_t n = strlen(dictionary), start = major == 1 ? 10 : 12;
    unsigned char *bytes = calloc(1, start + n + data + 1);
    assert_non_null(bytes);
    static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    memcpy(bytes, magic, sizeof magic);
    bytes[6] = (unsigned char)major;
    bytes[8] = (unsigned char)(n & 255);
    bytes[9] = (unsigned char)(n >> 8);
    memcpy(bytes + start, dictionary, n + 1);
    pn_status status = pn_npy_parse(bytes, start + n + data, array);
    free(bytes);
    return status;
}

static void npy_headers_are_read_strictly(void **state) {
    (void)state;
    static const struct {
        int major;
        const char *dictionary;
        size_t data;
        const char *why; /* NULL: right */
    } cases[] = {
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }   \n", 8, NULL},
        {2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n", 8, NULL},
        {1, "{'shape':(),'fortran_order':False,'descr':'<f8'}", 8, NULL},
        {3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 8, "format 3.0"},
        {1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }\n", 8, "descr '>f4'"},
        {1, "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n", 8, "descr '|O'"},
        {1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }\n", 8, "descr [("},
        {1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }\n", 8, "fortran_order True"},
        {1, "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }\n", 8, "neither True nor False"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2), }\n", 8, "not a tuple"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': 2, }\n", 8, "not a tuple"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }\n", 8, "whole numbers"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2 1), }\n", 8, "whole numbers"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,1,1,1,1,1,1,1,1), }\n", 8,
         "more than 8"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", 8,
         "whole numbers"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905,), }\n", 4,
         "more than"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 7, "7 bytes of data"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 9, "9 bytes of data"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x\n", 8, "goes on"},
        {1, "{'descr': '<f4', 'fortran_order': False}\n", 8, "lacks"},
        {1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\n", 8,
         "twice"},
        {1, "{'shape': (2,), 'shape': (2,), 'descr': '<f4', 'fortran_order': False}\n", 8, "twice"},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}\n", 8, "a key other"},
        {1, "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}\n", 8, "not a dictionary"},
        {1, "", 8, "not a dictionary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_array array;
        pn_status status = parse_npy(cases[i].major, cases[i].dictionary, cases[i].data, &array);
        if (status != (cases[i].why ? PN_EINPUT : PN_OK))
            fail_msg("%s: status %d, %s", cases[i].dictionary, status, pn_error());
        if (cases[i].why)
            assert_sentence(cases[i].why);
        else
            pn_npy_free(&array);
    }
}

static void an_npy_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    void *bytes;
    size_t size;
    const pn_array array = {NULL, PN_F32, 2, {2, 3}, some_floats};
    assert_int_equal(pn_npy_write(in_folder("a.npy"), &array), PN_OK);
    assert_int_equal(pn_file_read(in_folder("a.npy"), 1 << 20, &bytes, &size), PN_OK);
    unlink(in_folder("a.npy"));
    for (size_t n = 0; n < size; n++) {
        pn_array read;
        void *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        assert_int_equal(pn_npy_parse(copy, n, &read), PN_EINPUT);
        free(copy);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_replaced_and_keeps_its_mode),
        cmocka_unit_test(what_a_killed_writer_left_is_overwritten),
        cmocka_unit_test(a_discarded_file_changes_nothing),
        cmocka_unit_test(two_writers_of_one_file_do_not_mix),
        cmocka_unit_test(a_link_stays_a_link),
        cmocka_unit_test(a_device_is_written_not_replaced),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(places_that_cannot_be_written_say_why),
        cmocka_unit_test(a_file_beyond_the_limit_is_refused),
        cmocka_unit_test(a_table_forgets_rows_after_the_checkpoint),
        cmocka_unit_test(a_table_on_a_full_disk_says_so),
        cmocka_unit_test(what_is_in_a_place_is_a_file_of_its_own),
        cmocka_unit_test(a_place_is_not_its_name),
        cmocka_unit_test(names_are_all_listed_or_it_failed),
        cmocka_unit_test(what_is_added_stands_at_the_end),
        cmocka_unit_test(a_table_changed_by_hand_is_noticed),
        cmocka_unit_test(a_writer_can_be_read_before_it_is_a_file),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_same_arrays_give_the_same_bytes),
        cmocka_unit_test(any_changed_byte_is_noticed),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(headers_that_lie_are_refused_with_the_reason),
        cmocka_unit_test(files_of_other_programs_need_no_checksum),
        cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(arrays_pass_through_npy),
        cmocka_unit_test(npy_headers_are_read_strictly),
        cmocka_unit_test(an_npy_file_cut_anywhere_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
