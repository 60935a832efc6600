/* faults.c -- which call is struck, and what is told about it. See faults.h. */
#define _GNU_SOURCE /* RTLD_NEXT, dl_iterate_phdr */
#include "tests/faults/faults.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_FDS = 4096, MOST_FRAMES = 40, MOST_MODULES = 64, LIST_BYTES = 1 << 16 };
enum how { ONCE, ON, KILL };

static const struct {
    const char *name;
    enum pn_class class;
    int error, ends;
} calls[] = {
#define ROW(name, class, error, ends) {#name, class, error, ends},
    PN_CALLS(ROW)
#undef ROW
};
static const char *const classes[PN_CLASSES] = {"memory", "files", "threads"};

static const struct {
    const char *name;
    int value;
} errors[] = {
#define E(name) \
    { #name, name }
    E(EIO),   E(ENOSPC), E(EINTR), E(EMFILE), E(ENFILE),  E(EACCES), E(ENOMEM), E(EAGAIN),
    E(EROFS), E(EDQUOT), E(EBADF), E(ENOENT), E(ENOTDIR), E(ESTALE), E(ENOLCK), E(EPERM),
#undef E
};

static atomic_bool counting;               /* main runs */
static atomic_long counted[PN_CALL_COUNT]; /* each call */
static atomic_long candidates;             /* of what PN_FAULT names */
static bool chosen[PN_CALL_COUNT];         /* what it names */
static long target;                        /* its N; 0: none */
static enum how how;
static int error, ends; /* 0: the usual one; PN_INTERRUPTED or PN_SHORT: only calls that can */
static int log_fd = -1, list_fd = -1;
static atomic_bool fd_counts[MOST_FDS];
static __thread int own __attribute__((tls_model("initial-exec")));

void pn_begin_own(void) { own++; }
void pn_end_own(void) { own--; }

/* ---- files that count ------------------------------------------------------------------------ */

bool pn_path_counts(int directory, const char *path) {
    static const char *const others[] = {"/proc", "/sys", "/dev", "/usr", "/lib", "/etc"};
    if (!path) return false;
    if (*path != '/') return directory == AT_FDCWD || pn_fd_counts(directory);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const size_t n = strlen(others[i]);
        if (!strncmp(path, others[i], n) && (path[n] == '/' || !path[n])) return false;
    }
    return true;
}

bool pn_fd_counts(int fd) { return fd >= 0 && fd < MOST_FDS && fd_counts[fd]; }

void pn_fd_is(int fd, bool yes) {
    if (fd >= 0 && fd < MOST_FDS && fd != STDERR_FILENO) fd_counts[fd] = yes;
}

/* ---- what is told ---------------------------------------------------------------------------- */

/* Descriptors of ours are far from those of the program, which takes the lowest. */
static int open_own(const char *variable) {
    const char *path = getenv(variable);
    if (!path) return -1;
    const long fd =
        syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    const long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, fd);
    return (int)high;
}

static void put(int fd, const char *text, size_t size) {
    while (size > 0) {
        const long n = syscall(SYS_write, fd, text, size);
        if (n <= 0) return;
        text += n;
        size -= (size_t)n;
    }
}

/* Where modules lie, so that a place is the same in every run, wherever they were loaded. */
static struct { uintptr_t begin, end, base; } modules[MOST_MODULES];
static int module_count;

static int add_module(struct dl_phdr_info *about, size_t size, void *unused) {
    (void)size;
    (void)unused;
    if (module_count == MOST_MODULES) return 1;
    uintptr_t begin = UINTPTR_MAX, end = 0;
    for (int i = 0; i < about->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &about->dlpi_phdr[i];
        if (p->p_type != PT_LOAD) continue;
        const uintptr_t from = about->dlpi_addr + p->p_vaddr, to = from + p->p_memsz;
        begin = from < begin ? from : begin;
        end = to > end ? to : end;
    }
    modules[module_count].begin = begin;
    modules[module_count].end = end;
    modules[module_count++].base = about->dlpi_addr;
    return 0;
}

/* The module of an address (0 is the program), or -1. */
static int module_of(uintptr_t address) {
    for (int i = 0; i < module_count; i++)
        if (address >= modules[i].begin && address < modules[i].end) return i;
    return -1;
}

static uint64_t hash_of_place(void) {
    void *frame[MOST_FRAMES];
    own++;
    const int n = backtrace(frame, MOST_FRAMES);
    own--;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (int i = 1; i < n; i++) {
        const int m = module_of((uintptr_t)frame[i]);
        hash = (hash ^ (uint64_t)(m + 1)) * 0x100000001b3u;
        if (m >= 0) hash = (hash ^ ((uintptr_t)frame[i] - modules[m].base)) * 0x100000001b3u;
    }
    return hash;
}

static void tell_place(enum pn_call call, long number, int with) {
    void *frame[MOST_FRAMES];
    char text[64 + 20 * MOST_FRAMES];
    own++;
    const int n = backtrace(frame, MOST_FRAMES);
    int at = snprintf(text, sizeof text, "struck %s %ld %d at", calls[call].name, number, with);
    for (int i = 1; i < n; i++)
        if (module_of((uintptr_t)frame[i]) == 0) /* return addresses: one back is the call */
            at += snprintf(text + at, sizeof text - (size_t)at, " 0x%lx",
                           (unsigned long)((uintptr_t)frame[i] - modules[0].base - 1));
    at += snprintf(text + at, sizeof text - (size_t)at, "\n");
    own--;
    put(log_fd, text, (size_t)at);
}

static char list[LIST_BYTES];
static size_t listed;
static atomic_flag list_lock = ATOMIC_FLAG_INIT;

static void flush_list(void) {
    put(list_fd, list, listed);
    listed = 0;
}

static void tell_call(enum pn_call call) {
    const uint64_t place = hash_of_place();
    own++;
    while (atomic_flag_test_and_set(&list_lock)) continue;
    listed += (size_t)snprintf(list + listed, 64, "%s %016lx\n", calls[call].name, place);
    if (listed > sizeof list - 64) flush_list();
    atomic_flag_clear(&list_lock);
    own--;
}

static void tell_counts(void) {
    char text[64];
    long sum[PN_CLASSES] = {0};
    for (int i = 0; i < PN_CALL_COUNT; i++) {
        sum[calls[i].class] += counted[i];
        if (counted[i])
            put(log_fd, text,
                (size_t)snprintf(text, sizeof text, "call %s %ld\n", calls[i].name, counted[i]));
    }
    for (int i = 0; i < PN_CLASSES; i++)
        put(log_fd, text,
            (size_t)snprintf(text, sizeof text, "class %s %ld\n", classes[i], sum[i]));
    put(log_fd, text, (size_t)snprintf(text, sizeof text, "named %ld\n", candidates));
}

/* ---- the call -------------------------------------------------------------------------------- */

int pn_strike(enum pn_call call, size_t size) {
    if (!counting || own) return 0;
    counted[call]++;
    if (!chosen[call] || (ends == PN_SHORT && size < 2)) return 0;
    const int before = errno;
    const long number = ++candidates;
    if (list_fd >= 0) tell_call(call);
    const bool hit = target && (number == target || (how == ON && number > target));
    const int with = ends == PN_SHORT ? PN_HALF : error ? error : calls[call].error;
    if (hit && number == target && log_fd >= 0) tell_place(call, number, with);
    if (hit && how == KILL)
        for (;;) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    errno = before;
    return hit ? with : 0;
}

/* ---- what the environment asks for ----------------------------------------------------------- */

static void refuse(const char *what) {
    dprintf(STDERR_FILENO, "faults: PN_FAULT: %s\n", what);
    _exit(126);
}

static void read_error(const char *name) {
    if (!strcmp(name, "short")) ends = PN_SHORT;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (!strcmp(name, errors[i].name)) error = errors[i].value;
    if (!ends && !error) refuse("no such error");
    if (error == EINTR) ends = PN_INTERRUPTED;
}

static void read_fault(void) {
    const char *given = getenv("PN_FAULT");
    char text[128] = "", *part[4] = {0};
    if (!given) return;
    snprintf(text, sizeof text, "%s", given);
    int parts = 0;
    for (char *at = text; at && parts < 4;) part[parts++] = strsep(&at, ":");
    if (parts < 3) refuse("want WHAT:N:HOW[:ERROR]");
    target = strtol(part[1], NULL, 10);
    how = !strcmp(part[2], "on") ? ON : !strcmp(part[2], "kill") ? KILL : ONCE;
    if (how == ONCE && strcmp(part[2], "once") != 0) refuse("want once, on or kill");
    if (part[3]) read_error(part[3]);
    bool any = false;
    for (int i = 0; i < PN_CALL_COUNT; i++) {
        const bool named =
            !strcmp(part[0], calls[i].name) || !strcmp(part[0], classes[calls[i].class]);
        chosen[i] = named && (!ends || (calls[i].ends & ends));
        any |= chosen[i];
    }
    if (!any) refuse("no such class or call");
}

static int (*real_main)(int, char **, char **);

static int our_main(int argc, char **argv, char **environment) {
    void *frame[2];
    (void)backtrace(frame, 2); /* loads what it needs, with memory */
    (void)dl_iterate_phdr(add_module, NULL);
    read_fault();
    log_fd = open_own("PN_FAULT_LOG");
    list_fd = open_own("PN_FAULT_LIST");
    fd_counts[STDOUT_FILENO] = true;
    pn_record_begin();
    counting = true;
    const int code = real_main(argc, argv, environment);
    counting = false;
    return code;
}

__attribute__((destructor)) static void end(void) { /* after an exit in the middle, too */
    counting = false;
    if (log_fd >= 0) tell_counts();
    if (list_fd >= 0) flush_list();
}

int __libc_start_main(int (*run)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(int (*run)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
    __typeof__(&__libc_start_main) start = (__typeof__(start))dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = run;
    return start(our_main, argc, argv, init, fini, rtld_fini, stack_end);
}
