/* probe.c -- makes each call that the library of faults.h replaces, once, and says "NAME N" for
 * those that did not do what they should: proof that the library reaches them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void say(const char *name) {
    char line[64];
    const int n = snprintf(line, sizeof line, "%s %03d\n", name, errno);
    if (write(STDERR_FILENO, line, (size_t)n) < 0) _exit(1);
}

#define TRY(name, works)         \
    do {                         \
        errno = 0;               \
        if (!(works)) say(name); \
    } while (0)

/* What later calls need: made again where it failed. */
#define NEED(name, works)  \
    do {                   \
        errno = 0;         \
        if (!(works)) {    \
            say(name);     \
            (void)(works); \
        }                  \
    } while (0)

static void *nothing(void *argument) { return argument; }

static int any(const struct dirent *e) {
    (void)e;
    return 1;
}

static void memory(void) {
    void *p;
    pthread_t thread;
    TRY("malloc", (p = malloc(10)));
    free(p);
    TRY("calloc", (p = calloc(1, 10)));
    free(p);
    TRY("realloc", (p = realloc(NULL, 10)));
    free(p);
    TRY("reallocarray", (p = reallocarray(NULL, 1, 10)));
    free(p);
    TRY("aligned_alloc", (p = aligned_alloc(64, 64)));
    free(p);
    TRY("memalign", (p = memalign(64, 64)));
    free(p);
    TRY("posix_memalign", !(errno = posix_memalign(&p, 64, 64)));
    NEED("mmap",
         (p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
    TRY("mprotect", mprotect(p, 4096, PROT_READ) == 0);
    TRY("mremap", mremap(p, 4096, 8192, MREMAP_MAYMOVE) != MAP_FAILED);
    TRY("pthread_create", !(errno = pthread_create(&thread, NULL, nothing, NULL)));
    if (!errno) pthread_join(thread, NULL);
}

static void names(void) {
    struct stat s;
    struct statx x;
    char text[4096];
    struct dirent **list = NULL;
    NEED("mkdir", mkdir("d", 0777) == 0);
    NEED("mkdirat", mkdirat(AT_FDCWD, "e", 0777) == 0);
    TRY("rmdir", rmdir("e") == 0);
    NEED("link", link("f", "g") == 0);
    TRY("unlink", unlink("g") == 0);
    NEED("linkat", linkat(AT_FDCWD, "f", AT_FDCWD, "h", 0) == 0);
    TRY("unlinkat", unlinkat(AT_FDCWD, "h", 0) == 0);
    NEED("rename", rename("f", "g") == 0);
    NEED("renameat", renameat(AT_FDCWD, "g", AT_FDCWD, "f") == 0);
    NEED("renameat2", renameat2(AT_FDCWD, "f", AT_FDCWD, "g", 0) == 0);
    TRY("remove", remove("g") == 0);
    TRY("stat", stat("d", &s) == 0);
    TRY("lstat", lstat("d", &s) == 0);
    TRY("fstatat", fstatat(AT_FDCWD, "d", &s, 0) == 0);
    TRY("statx", statx(AT_FDCWD, "d", 0, STATX_SIZE, &x) == 0);
    TRY("access", access("d", F_OK) == 0);
    TRY("faccessat", faccessat(AT_FDCWD, "d", F_OK, 0) == 0);
    TRY("realpath", realpath("d", text) != NULL);
    (void)symlink("d", "l");
    TRY("readlink", readlink("l", text, sizeof text) == 1);
    DIR *d;
    NEED("opendir", (d = opendir(".")) != NULL);
    TRY("readdir", readdir(d) != NULL);
    TRY("closedir", closedir(d) == 0);
    const int fd = open("d", O_RDONLY | O_DIRECTORY);
    TRY("fdopendir", (d = fdopendir(fd)) != NULL);
    TRY("scandir", scandir(".", &list, any, NULL) > 0);
    NEED("fchdir", fchdir(fd) == 0);
    TRY("chdir", chdir("..") == 0);
}

static void descriptors(void) {
    char text[64] = "some bytes";
    struct stat s;
    struct iovec part = {text, 4};
    int fd = open("f", O_RDWR | O_CREAT, 0666);
    if (fd < 0) { /* struck: now without */
        say("open");
        fd = open("f", O_RDWR | O_CREAT, 0666);
    }
    int other;
    NEED("openat", (other = openat(AT_FDCWD, "f", O_RDWR)) >= 0);
    TRY("write", write(fd, text, 10) == 10);
    TRY("pwrite", pwrite(fd, text, 10, 0) == 10);
    TRY("writev", writev(fd, &part, 1) == 4);
    NEED("lseek", lseek(fd, 0, SEEK_SET) == 0);
    TRY("read", read(fd, text, 4) == 4);
    TRY("pread", pread(fd, text, 4, 0) == 4);
    (void)lseek(fd, 0, SEEK_SET);
    TRY("readv", readv(fd, &part, 1) == 4);
    TRY("fsync", fsync(fd) == 0);
    TRY("fdatasync", fdatasync(fd) == 0);
    TRY("ftruncate", ftruncate(fd, 100) == 0);
    TRY("posix_fallocate", !(errno = posix_fallocate(fd, 0, 200)));
    TRY("fstat", fstat(fd, &s) == 0);
    TRY("flock", flock(fd, LOCK_SH) == 0);
    TRY("fcntl", fcntl(fd, F_GETFD) >= 0);
    TRY("fchmod", fchmod(fd, 0600) == 0);
    TRY("dup", dup(fd) >= 0);
    TRY("dup2", dup2(fd, other) == other);
    TRY("close", close(fd) == 0);
}

static void streams(void) {
    char text[64], *line = NULL;
    size_t room = 0;
    FILE *file;
    NEED("fopen", (file = fopen("f", "w+")) != NULL);
    TRY("fprintf", fprintf(file, "%d lines\n", 3) == 8);
    TRY("fputs", fputs("and\nanother\n", file) >= 0);
    TRY("fputc", fputc('c', file) == 'c');
    TRY("fwrite", fwrite("more\nand more\n", 1, 14, file) == 14);
    TRY("fflush", fflush(file) == 0);
    NEED("fseek", fseek(file, 0, SEEK_SET) == 0);
    TRY("ftell", ftell(file) >= 0);
    TRY("fclose", fclose(file) == 0);
    const int lines = open("lines", O_RDWR | O_CREAT, 0666);
    (void)write(lines, "c\nline\nanother\nmore\n", 21);
    (void)close(lines);
    file = fopen("lines", "r");
    TRY("fgetc", fgetc(file) != EOF);
    clearerr(file); /* glibc's getline looks at it */
    TRY("fgets", fgets(text, sizeof text, file) != NULL);
    clearerr(file);
    TRY("getline", getline(&line, &room, file) > 0);
    TRY("fread", fread(text, 1, 2, file) == 2);
    (void)fclose(file);
    free(line);
    const int fd = open("f", O_RDONLY);
    TRY("fdopen", fdopen(fd, "r") != NULL);
}

int main(void) {
    memory();
    descriptors();
    streams();
    names();
    return 0;
}
