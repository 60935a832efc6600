/* process.c -- children, and folders as text. */
#include "tests/support/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "runtime/file.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { MOST_ARGUMENTS = 48 };

enum { PATH_BYTES = 4096 };

static void must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- children -------------------------------------------------------------------------------- */

double pn_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pn_sleep(double seconds) {
    if (seconds <= 0) return;
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

static bool limit(int resource, size_t bytes) {
    const struct rlimit most = {bytes, bytes};
    return bytes == 0 || setrlimit((__rlimit_resource_t)resource, &most) == 0;
}

/* The child's side, up to the program: 125 and a sentence if it does not come so far. */
static void become(const char *const *argv, const pn_conditions *where, int out, int err) {
    const int to = where->to ? open(where->to, O_WRONLY | O_CLOEXEC) : out;
    bool done = to >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    done = done && (!where->folder || chdir(where->folder) == 0);
    done = done && dup2(to, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0;
    done = done && setenv("OMP_WAIT_POLICY", "passive", 1) == 0;
    done = done && limit(RLIMIT_CORE, 1) && limit(RLIMIT_FSIZE, where->file_size) &&
           limit(RLIMIT_AS, where->address_space);
    if (done) execv(argv[0], (char *const *)argv);
    dprintf(err, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(125);
}

void pn_process_start(pn_process *p, const char *const *argv, const pn_conditions *where) {
    static const pn_conditions ours;
    *p = (pn_process){.to_out = tmpfile(), .to_err = tmpfile()};
    must(p->to_out && p->to_err, "temporary file");
    fflush(NULL); /* or the child has what is buffered, too */
    p->pid = fork();
    must(p->pid >= 0, "fork");
    if (p->pid == 0) become(argv, where ? where : &ours, fileno(p->to_out), fileno(p->to_err));
}

static char *text_of(FILE *file) {
    struct stat about;
    must(fstat(fileno(file), &about) == 0, "what a child wrote");
    const size_t size = (size_t)about.st_size;
    char *text = malloc(size + 1);
    must(text, "memory");
    must(pread(fileno(file), text, size, 0) == (ssize_t)size, "what a child wrote");
    text[size] = 0;
    fclose(file);
    return text;
}

bool pn_process_runs(pn_process *p) {
    if (p->out) return false;
    int status;
    const pid_t ended = waitpid(p->pid, &status, WNOHANG);
    must(ended >= 0, "waitpid");
    if (ended == 0) return true;
    p->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    p->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    p->out = text_of(p->to_out);
    p->err = text_of(p->to_err);
    return false;
}

void pn_process_wait(pn_process *p, double seconds) {
    const double end = pn_clock() + seconds;
    while (pn_process_runs(p)) {
        if (!p->late && pn_clock() > end) {
            p->late = true;
            kill(p->pid, SIGKILL);
        }
        pn_sleep(0.001);
    }
}

void pn_process_free(pn_process *p) {
    free(p->out);
    free(p->err);
    p->out = p->err = NULL;
}

void pn_process_run(pn_process *p, const char *const *argv, const pn_conditions *where,
                    double seconds) {
    pn_process_start(p, argv, where);
    pn_process_wait(p, seconds);
}

int pn_process_program(pn_process *p, const char *program, const char *const *arguments,
                       double seconds) {
    const char *argv[MOST_ARGUMENTS] = {program};
    const pn_conditions where = {.folder = pn_folder};
    int n = 1;
    for (; *arguments; arguments++) {
        assert_true(n < MOST_ARGUMENTS - 1);
        argv[n++] = *arguments;
    }
    pn_process_free(p);
    pn_process_run(p, argv, &where, seconds);
    return p->code;
}

void pn_process_refused(const pn_process *p, int code, const char *words) {
    assert_int_equal(p->code, code);
    if (!strstr(p->err, words)) fail_msg("said %swant %s", p->err, words);
    assert_ptr_equal(strchr(p->err, '\n') + 1, strchr(p->err, '\0'));
    assert_string_equal(p->out, "");
}

/* ---- folders --------------------------------------------------------------------------------- */

static void join(char path[PATH_BYTES], const char *folder, const char *name) {
    must(snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES, "a path too long");
}

char *pn_folder_make(void) {
    const char *tmp = getenv("TMPDIR");
    char path[PATH_BYTES];
    join(path, tmp ? tmp : "/tmp", "pn_test_XXXXXX");
    must(mkdtemp(path), path);
    char *folder = strdup(path);
    must(folder, "memory");
    return folder;
}

static bool is_folder(const char *path) {
    struct stat about;
    return lstat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static int any(const struct dirent *e) {
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* What is in a folder, sorted; -1 if it is none. */
static int list(const char *folder, struct dirent ***entries) {
    return scandir(folder, entries, any, by_name);
}

void pn_folder_remove(const char *folder) {
    struct dirent **entry;
    const int count = list(folder, &entry);
    if (count < 0) return;
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES];
        join(path, folder, entry[i]->d_name);
        if (is_folder(path))
            pn_folder_remove(path);
        else
            must(unlink(path) == 0, path);
        free(entry[i]);
    }
    free(entry);
    must(rmdir(folder) == 0, folder);
}

char *pn_folder;

int pn_folder_begin(void **state) {
    (void)state;
    pn_folder = pn_folder_make();
    return 0;
}

int pn_folder_end(void **state) {
    (void)state;
    pn_folder_remove(pn_folder);
    free(pn_folder);
    pn_folder = NULL;
    return 0;
}

const char *pn_in_folder(const char *name) {
    static char path[4][PATH_BYTES];
    static int next;
    next = (next + 1) % 4;
    join(path[next], pn_folder, name);
    return path[next];
}

static bool is_one_of(const char *name, const char *const *list) {
    for (; *list; list++)
        if (!strcmp(name, *list)) return true;
    return false;
}

/* `but` ends with NULL. */
static void add_lines(FILE *text, const char *folder, const char *prefix, const char *const *but) {
    struct dirent **entry;
    const int count = list(folder, &entry);
    must(count >= 0, folder);
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES], name[PATH_BYTES];
        join(path, folder, entry[i]->d_name);
        must(snprintf(name, sizeof name, "%s%s", prefix, entry[i]->d_name) < PATH_BYTES, path);
        void *bytes;
        size_t size;
        const bool left_out = is_one_of(entry[i]->d_name, but);
        if (!left_out && is_folder(path)) {
            char inside[PATH_BYTES];
            fprintf(text, "%s/\n", name);
            must(snprintf(inside, sizeof inside, "%s/", name) < PATH_BYTES, path);
            add_lines(text, path, inside, but);
        } else if (left_out) {
            /* nothing to say */
        } else if (pn_file_read(path, (size_t)1 << 30, &bytes, &size) == PN_OK) {
            fprintf(text, "%s %zu %08lx\n", name, size, crc32_z(0, bytes, size));
            free(bytes);
        } else {
            fprintf(text, "%s cannot be read\n", name);
        }
        free(entry[i]);
    }
    free(entry);
}

static char *text_but(const char *folder, const char *const *but) {
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    must(stream, "memory");
    add_lines(stream, folder, "", but);
    must(fclose(stream) == 0, "memory");
    return text;
}

char *pn_folder_text(const char *folder, const char *but) {
    return text_but(folder, (const char *const[]){but, NULL});
}

char *pn_run_text(const char *folder) {
    return text_but(
        folder, (const char *const[]){"lock", "events.jsonl", "times.csv", "report.html", NULL});
}

void pn_folder_copy(const char *from, const char *to) {
    struct dirent **entry;
    const int count = list(from, &entry);
    must(count >= 0, from);
    must(mkdir(to, 0777) == 0, to);
    for (int i = 0; i < count; i++) {
        char source[PATH_BYTES], target[PATH_BYTES];
        void *bytes;
        size_t size;
        join(source, from, entry[i]->d_name);
        join(target, to, entry[i]->d_name);
        if (is_folder(source)) {
            pn_folder_copy(source, target);
        } else {
            must(pn_file_read(source, (size_t)1 << 30, &bytes, &size) == PN_OK, source);
            FILE *file = fopen(target, "wb");
            must(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0, target);
            free(bytes);
        }
        free(entry[i]);
    }
    free(entry);
}
