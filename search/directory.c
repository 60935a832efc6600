/* directory.c -- see directory.h. */
#include "search/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void pn_directory_path(const pn_directory *d, const char *name, char path[PN_PATH_BYTES]) {
    snprintf(path, PN_PATH_BYTES, "%s/%s", d->path, name);
}

static bool has(const pn_directory *d, const char *name) {
    char path[PN_PATH_BYTES];
    pn_directory_path(d, name, path);
    return access(path, F_OK) == 0;
}

/* Opens DIR/lock and holds it. A process that begins nothing removes the one that it made, perhaps
 * between our open and our lock; then the name is looked up anew. */
static pn_status take_lock(pn_directory *d) {
    char path[PN_PATH_BYTES];
    pn_directory_path(d, "lock", path);
    for (;;) {
        d->made_lock = access(path, F_OK) != 0;
        d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (d->lock < 0) return pn_fail(PN_EIO, "%s: %s", path, strerror(errno));
        if (flock(d->lock, LOCK_EX | LOCK_NB)) {
            const bool busy = errno == EWOULDBLOCK;
            const char *why = strerror(errno);
            pn_directory_release(d); /* not ours to remove */
            return busy ? pn_fail(PN_EBUSY, "%s: another process is at work here", d->path)
                        : pn_fail(PN_EIO, "%s: %s", path, why);
        }
        struct stat held, named;
        if (!fstat(d->lock, &held) && !stat(path, &named) && held.st_ino == named.st_ino &&
            held.st_dev == named.st_dev)
            return PN_OK;
        close(d->lock);
    }
}

/* A directory without run.json may hold nothing but our lock and what an interrupted write left. */
static pn_status check_empty(const pn_directory *d) {
    pn_status s = PN_OK;
    DIR *list = opendir(d->path);
    for (struct dirent *e; list && s == PN_OK && (e = readdir(list));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "lock") &&
            !strstr(e->d_name, ".tmp"))
            s = pn_fail(PN_EARG, "%s: holds %s and no run.json, want a new or empty directory",
                        d->path, e->d_name);
    if (list) closedir(list);
    return s;
}

pn_status pn_directory_take(pn_directory *d, const char *path, bool *begun) {
    *d = (pn_directory){.lock = -1};
    if (strlen(path) >= sizeof d->path)
        return pn_fail(PN_EARG, "a directory name of %zu bytes, want at most %zu", strlen(path),
                       sizeof d->path - 1);
    snprintf(d->path, sizeof d->path, "%s", path);
    d->made = mkdir(path, 0777) == 0;
    if (!d->made && errno != EEXIST)
        return pn_fail(PN_EIO, "%s: cannot make this directory: %s", path, strerror(errno));
    PN_TRY(take_lock(d));
    *begun = has(d, "run.json");
    return *begun ? PN_OK : check_empty(d);
}

void pn_directory_release(pn_directory *d) {
    if (d->lock >= 0) close(d->lock);
    d->lock = -1;
}

void pn_directory_abandon(pn_directory *d) {
    char path[PN_PATH_BYTES];
    pn_directory_path(d, "lock", path);
    if (d->lock >= 0 && d->made_lock && !has(d, "run.json")) (void)unlink(path);
    if (d->made) (void)rmdir(d->path); /* not if there is anything in it */
    pn_directory_release(d);
}

void pn_directory_clean(const pn_directory *d, const char *const *prefixes) {
    DIR *list = opendir(d->path);
    for (struct dirent *e; list && (e = readdir(list));) {
        const size_t n = strlen(e->d_name);
        char path[PN_PATH_BYTES + 256];
        snprintf(path, sizeof path, "%s/%s", d->path, e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".tmp")) continue;
        for (const char *const *p = prefixes; *p; p++)
            if (!strncmp(e->d_name, *p, strlen(*p))) (void)unlink(path);
    }
    if (list) closedir(list);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* The number in "checkpoint-00000120.safetensors", or -1. */
static int64_t number_of(const char *name) {
    int64_t number = -1;
    int end = 0;
    if (sscanf(name, "checkpoint-%" SCNd64 ".safetensors%n", &number, &end) != 1 || !end ||
        name[end])
        return -1;
    return number;
}

void pn_checkpoint_path(const char *directory, int64_t number, char path[PN_PATH_BYTES]) {
    snprintf(path, PN_PATH_BYTES, "%s/checkpoint-%08" PRId64 ".safetensors", directory, number);
}

int64_t pn_checkpoint_newest(const char *directory, int64_t below) {
    int64_t best = -1;
    DIR *list = opendir(directory);
    for (struct dirent *e; list && (e = readdir(list));) {
        const int64_t number = number_of(e->d_name);
        if (number > best && number < below) best = number;
    }
    if (list) closedir(list);
    return best;
}

void pn_checkpoint_remove(const char *directory, int keep) {
    int64_t number = INT64_MAX;
    for (int i = 0; (number = pn_checkpoint_newest(directory, number)) >= 0; i++) {
        char path[PN_PATH_BYTES];
        pn_checkpoint_path(directory, number, path);
        if (i >= keep) (void)unlink(path); /* one that stays is no harm */
    }
}

pn_status pn_checkpoint_damaged(const char *directory, int64_t number, const char *what) {
    const int64_t before = pn_checkpoint_newest(directory, number);
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    return before < 0
               ? pn_fail(PN_EINPUT, "%s; without this file the %s begins anew", sentence, what)
               : pn_fail(PN_EINPUT, "%s; without this file the %s continues from step %" PRId64,
                         sentence, what, before);
}
