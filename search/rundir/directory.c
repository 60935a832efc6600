/* directory.c -- see directory.h. */
#include "search/rundir/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lock_name[] = "lock", run_name[] = "run.json";

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static pn_status fail_io(const pn_directory *d, const char *name) {
    const int why = errno;
    char path[PN_PATH_BYTES];
    return pn_fail(why == ENOMEM ? PN_EMEM : PN_EIO, "%s: %s", pn_place_name(&d->place, name, path),
                   strerror(why));
}

/* ---- taking ---------------------------------------------------------------------------------- */

static pn_status make(const char *path, int *made) {
    if (mkdir(path, 0777) == 0) {
        ++*made;
        return pn_parent_sync(path);
    }
    *made = 0; /* what comes next was not made in one that we made */
    if (errno == EEXIST) return PN_OK;
    return pn_fail(errno == ENOMEM ? PN_EMEM : PN_EIO, "%s: cannot make this directory: %s", path,
                   strerror(errno));
}

pn_status pn_directory_make(const char *path, int *made) {
    char above[PN_PATH_BYTES];
    const size_t length = strlen(path);
    struct stat found;
    *made = 0;
    if (length >= sizeof above)
        return pn_fail(PN_EARG, "a directory name of %zu bytes, want at most %zu", length,
                       sizeof above - 1);
    if (stat(path, &found) == 0) return PN_OK;
    for (size_t at = 1; at < length; at++) {
        if (path[at] != '/' || path[at - 1] == '/') continue;
        snprintf(above, sizeof above, "%.*s", (int)at, path);
        PN_TRY(make(above, made));
    }
    return length && path[length - 1] == '/' ? PN_OK : make(path, made);
}

void pn_directory_unmake(const char *path, int made) {
    char name[PN_PATH_BYTES];
    snprintf(name, sizeof name, "%s", path);
    for (; made > 0; made--) {
        size_t length = strlen(name);
        while (length > 1 && name[length - 1] == '/') name[--length] = 0;
        if (rmdir(name)) return; /* there is something in it */
        while (length > 0 && name[length - 1] != '/') name[--length] = 0;
    }
}

static int open_lock(const pn_directory *d, int flags) {
    int fd;
    do fd = openat(d->place.fd, lock_name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Locks what is open. *ours: it is still what its name leads to. */
static pn_status lock_open(pn_directory *d, int how, bool *ours) {
    struct stat held, named;
    int result;
    do result = flock(d->lock, how | LOCK_NB);
    while (result < 0 && errno == EINTR);
    if (result < 0 && errno == EWOULDBLOCK)
        return pn_fail(PN_EBUSY, "%s: another process is at work here", d->place.path);
    if (result < 0 || fstat(d->lock, &held)) return fail_io(d, lock_name);
    *ours = !fstatat(d->place.fd, lock_name, &named, AT_SYMLINK_NOFOLLOW);
    if (!*ours && errno != ENOENT) return fail_io(d, lock_name);
    *ours = *ours && same_file(&held, &named);
    return PN_OK;
}

/* Opens DIR/lock and holds it. A process that begins nothing removes the one that it made, perhaps
 * between our open and our lock; then the name is looked up anew. */
static pn_status take_lock(pn_directory *d) {
    for (bool ours = false; !ours;) {
        d->lock = open_lock(d, O_RDWR | O_CREAT | O_EXCL);
        d->made_lock = d->lock >= 0;
        if (d->lock < 0 && errno == EEXIST) d->lock = open_lock(d, O_RDWR);
        if (d->lock < 0 && errno == ENOENT) continue;
        if (d->lock < 0) return fail_io(d, lock_name);
        const pn_status s = lock_open(d, LOCK_EX, &ours);
        if (s == PN_OK && ours) break;
        close(d->lock); /* not ours to remove */
        d->lock = -1;
        PN_TRY(s);
    }
    return PN_OK;
}

/* A directory without run.json may hold nothing but our lock and what an interrupted write left. */
static pn_status may_be_there(void *self, const char *name) {
    const pn_directory *d = self;
    if (!strcmp(name, lock_name) || strstr(name, ".tmp")) return PN_OK;
    return pn_fail(PN_EARG, "%s: holds %s and no run.json, want a new or empty directory",
                   d->place.path, name);
}

pn_status pn_directory_take(pn_directory *d, const char *path, bool *begun) {
    *d = (pn_directory)PN_NO_DIRECTORY;
    if (strlen(path) >= sizeof d->place.path)
        return pn_fail(PN_EARG, "a directory name of %zu bytes, want at most %zu", strlen(path),
                       sizeof d->place.path - 1);
    const pn_status s = pn_directory_make(path, &d->made);
    if (s != PN_OK) snprintf(d->place.path, sizeof d->place.path, "%s", path); /* to be unmade */
    PN_TRY(s);
    PN_TRY(pn_place_open(&d->place, path));
    PN_TRY(take_lock(d));
    PN_TRY(pn_place_has(&d->place, run_name, begun));
    return *begun ? PN_OK : pn_place_list(&d->place, may_be_there, d);
}

pn_status pn_directory_read(pn_directory *d, const char *path) {
    bool begun, ours;
    *d = (pn_directory)PN_NO_DIRECTORY;
    PN_TRY(pn_place_open(&d->place, path));
    PN_TRY(pn_place_has(&d->place, run_name, &begun));
    if (!begun) return pn_fail(PN_EARG, "%s: no run in this directory", path);
    d->lock = open_lock(d, O_RDONLY);
    if (d->lock < 0) return errno == ENOENT ? PN_OK : fail_io(d, lock_name);
    return lock_open(d, LOCK_SH, &ours);
}

pn_status pn_directory_check(const pn_directory *d) {
    struct stat held, named;
    if (fstat(d->place.fd, &held)) return fail_io(d, ".");
    if (stat(d->place.path, &named)) {
        const int why = errno;
        return pn_fail(PN_EIO,
                       "%s: this directory cannot be found any more (%s); nothing was saved since "
                       "its last checkpoint",
                       d->place.path, strerror(why));
    }
    if (!same_file(&held, &named))
        return pn_fail(PN_EBUSY,
                       "%s: another directory has taken this name meanwhile; nothing was saved in "
                       "it",
                       d->place.path);
    if (fstat(d->lock, &held)) return fail_io(d, lock_name);
    const bool there = !fstatat(d->place.fd, lock_name, &named, AT_SYMLINK_NOFOLLOW);
    if (!there && errno != ENOENT) return fail_io(d, lock_name);
    if (!there || !same_file(&held, &named))
        return pn_fail(PN_EBUSY,
                       "%s/lock: removed or replaced meanwhile, another process may be at work "
                       "here; nothing was saved since the last checkpoint",
                       d->place.path);
    return PN_OK;
}

pn_status pn_directory_written(const pn_directory *d, pn_status s) {
    if (s != PN_EIO) return s;
    char sentence[PN_SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    if (pn_directory_check(d) == PN_EBUSY) return PN_EBUSY;
    return pn_fail(s, "%s", sentence);
}

void pn_directory_release(pn_directory *d) {
    if (d->lock >= 0) close(d->lock);
    d->lock = -1;
    pn_place_close(&d->place);
}

void pn_directory_abandon(pn_directory *d) {
    bool begun = false;
    char why[1024]; /* of the failure that comes before this, for the caller to say */
    snprintf(why, sizeof why, "%s", pn_error());
    if (d->place.fd >= 0 && pn_place_has(&d->place, run_name, &begun) != PN_OK) begun = true;
    if (d->lock >= 0 && d->made_lock && !begun) (void)pn_place_remove(&d->place, lock_name);
    if (!begun) pn_directory_unmake(d->place.path, d->made);
    pn_directory_release(d);
    pn_say("%s", why);
}

/* ---- what a killed process left -------------------------------------------------------------- */

typedef struct cleaning {
    const pn_place *place;
    const char *const *prefixes;
} cleaning;

static pn_status clean_one(void *self, const char *name) {
    const cleaning *c = self;
    const size_t n = strlen(name);
    if (n < 5 || strcmp(name + n - 4, ".tmp")) return PN_OK;
    for (const char *const *p = c->prefixes; *p; p++)
        if (!strncmp(name, *p, strlen(*p))) return pn_place_remove(c->place, name);
    return PN_OK;
}

pn_status pn_directory_clean(const pn_directory *d, const char *const *prefixes) {
    cleaning c = {&d->place, prefixes};
    return pn_place_list(&d->place, clean_one, &c);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

const char *pn_checkpoint_name(int64_t number, char name[PN_NAME_IN_PLACE]) {
    snprintf(name, PN_NAME_IN_PLACE, "checkpoint-%08" PRId64 ".safetensors", number);
    return name;
}

/* The number in "checkpoint-00000120.safetensors", or -1 for what we would not write so. */
static int64_t number_of(const char *name) {
    int64_t number = -1;
    char ours[PN_NAME_IN_PLACE];
    if (sscanf(name, "checkpoint-%18" SCNd64, &number) != 1 || number < 0) return -1;
    return strcmp(pn_checkpoint_name(number, ours), name) ? -1 : number;
}

typedef struct newest {
    int64_t below, number;
} newest;

static pn_status see(void *self, const char *name) {
    newest *n = self;
    const int64_t number = number_of(name);
    if (number > n->number && number < n->below) n->number = number;
    return PN_OK;
}

pn_status pn_checkpoint_newest(const pn_place *place, int64_t below, int64_t *number) {
    newest n = {below, -1};
    PN_TRY(pn_place_list(place, see, &n));
    *number = n.number;
    return PN_OK;
}

void pn_checkpoint_remove(const pn_place *place, int keep) {
    int64_t number = INT64_MAX;
    char name[PN_NAME_IN_PLACE];
    for (int i = 0; pn_checkpoint_newest(place, number, &number) == PN_OK && number >= 0; i++)
        if (i >= keep) (void)pn_place_remove(place, pn_checkpoint_name(number, name));
}

pn_status pn_checkpoint_damaged(const pn_place *place, int64_t number, const char *what) {
    char sentence[PN_SENTENCE_BYTES];
    int64_t before;
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    if (pn_checkpoint_newest(place, number, &before) != PN_OK)
        return pn_fail(PN_EINPUT, "%s", sentence);
    return before < 0 ? pn_fail(PN_EINPUT,
                                "%s; there is no checkpoint before it: moved elsewhere, the %s "
                                "begins anew",
                                sentence, what)
                      : pn_fail(PN_EINPUT,
                                "%s; with this file moved elsewhere, the %s continues from step "
                                "%" PRId64,
                                sentence, what, before);
}
