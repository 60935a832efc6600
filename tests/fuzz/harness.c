/* harness.c -- see harness.h. */
#include "tests/fuzz/harness.h"

#include <sanitizer/allocator_interface.h>
#include <sanitizer/lsan_interface.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATHS = 4 };

void fuzz_broken(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: not so: %s; the last sentence was: %s\n", file, line, what, pn_error());
    abort();
}

/* ---- memory held ----------------------------------------------------------------------------- */

static atomic_long held, most;
static atomic_bool counting, loading;

static void taken(const volatile void *block, size_t size) {
    (void)block;
    if (!counting) return;
    const long now = atomic_fetch_add(&held, (long)size) + (long)size;
    if (loading && now > most) most = now;
}

static void given(const volatile void *block) {
    if (!counting || !block) return;
    atomic_fetch_sub(&held, (long)__sanitizer_get_allocated_size(block));
}

/* ---- two runs -------------------------------------------------------------------------------- */

static uint32_t hash(const uint8_t *data, size_t size) { /* FNV-1a */
    uint32_t h = 2166136261;
    for (size_t i = 0; i < size; i++) h = (h ^ data[i]) * 16777619;
    return h;
}

void fuzz_loaded(void) {
    fuzz_disarm();
    loading = false;
}

/* What was not given back may be the libraries' own, kept for the next time, or is lost. */
static void check_leaks(void) {
    enum { MOST_CHECKS = 500 }; /* each takes as long as some runs */
    static int checks;
    if (held != 0 && checks++ < MOST_CHECKS) MUST(!__lsan_do_recoverable_leak_check());
}

static pn_status load_once(fuzz_load load, const uint8_t *data, size_t size, long fails) {
    held = most = 0;
    counting = loading = true;
    fuzz_arm(fails);
    const pn_status status = load(data, size);
    fuzz_loaded();
    counting = false;
    check_leaks();
    return status;
}

int fuzz_run(fuzz_load load, const uint8_t *data, size_t size, size_t most_bytes) {
    static bool begun, faults;
    if (!begun) {
        const char *wanted = getenv("PN_FUZZ_FAULTS");
        faults = !wanted || strcmp(wanted, "0") != 0;
        __sanitizer_install_malloc_and_free_hooks(taken, given);
        begun = true;
    }
    pn_say("%s", "");
    const pn_status first = load_once(load, data, size, 0);
    MUST(first == PN_OK || first == PN_EINPUT || first == PN_EARG || first == PN_EMEM);
    MUST(first == PN_OK || *pn_error());
    if ((size_t)most > most_bytes) {
        fprintf(stderr, "%ld bytes were held for a file of %zu, want at most %zu\n", (long)most,
                size, most_bytes);
        abort();
    }

    const long calls = fuzz_calls();
    if (!calls || !faults) return 0;
    const pn_status second =
        load_once(load, data, size, 1 + (long)(hash(data, size) % (unsigned long)calls));
    const fuzz_kind what = fuzz_failed();
    if (second != first && !(what == FUZZ_MEMORY && second == PN_EMEM) &&
        !(what == FUZZ_IO && second == PN_EIO)) {
        fprintf(stderr, "status %d, but %d after %s failed: %s\n", (int)first, (int)second,
                what == FUZZ_MEMORY ? "an allocation"
                : what == FUZZ_IO   ? "a call of the system's"
                                    : "nothing",
                pn_error());
        abort();
    }
    return 0;
}

size_t fuzz_tensors_limit(const uint8_t *data, size_t size) {
    uint64_t header = 0;
    if (size >= sizeof header) memcpy(&header, data, sizeof header);
    if (header > size) header = size;
    return FUZZ_DATA * size + FUZZ_JSON * header + FUZZ_CONSTANT;
}

/* ---- files ----------------------------------------------------------------------------------- */

static char directory[64];

static void remove_directory(void) {
    char command[96];
    snprintf(command, sizeof command, "rm -rf -- '%s'", directory);
    if (system(command)) fprintf(stderr, "%s stays\n", directory);
}

const char *fuzz_path(const char *name) {
    static char path[PATHS][192];
    static int next;
    if (!directory[0]) {
        struct stat about;
        const char *in = stat("/dev/shm", &about) == 0 ? "/dev/shm" : "/tmp";
        snprintf(directory, sizeof directory, "%s/parsec-nas-fuzz-XXXXXX", in);
        MUST(mkdtemp(directory) != NULL);
        MUST(atexit(remove_directory) == 0);
    }
    next = (next + 1) % PATHS;
    snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

const char *fuzz_file(const char *name, const void *data, size_t size) {
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wbe");
    MUST(file != NULL);
    if (size) MUST(fwrite(data, size, 1, file) == 1);
    MUST(fclose(file) == 0);
    return path;
}
