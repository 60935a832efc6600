/* directory.h -- what every run that lives in a directory needs: a lock, so that one process works
 * there at a time; checkpoints by number; and nothing left behind by a run that was not begun.
 *
 * The directory is held open, and its files are reached through the descriptor. Whether its name
 * still leads to it, and whether the lock in it is still the one that is held, is looked at before
 * anything is saved: somebody may have removed or replaced either.
 *
 * A run has begun when its run.json is there. A directory without one is taken only if it is new
 * or empty, so that a slip of the finger costs no file. */
#ifndef PN_DIRECTORY_H
#define PN_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/api.h"
#include "runtime/file.h"

PN_API_BEGIN

typedef struct pn_directory {
    pn_place place;
    int lock;       /* file descriptor; -1: not ours */
    int made;       /* by us: the directory (1), its parent too (2), ... */
    bool made_lock; /* by us */
} pn_directory;

/* The initialiser of one that is not open. */
#define PN_NO_DIRECTORY \
    { .place = {.fd = -1}, .lock = -1 }

/* Makes a directory and those above it, where they are not there, and flushes their names to the
 * disk. *made: how many at the end of the path were made, also after a failure; unmake removes
 * these again, as far as they are empty. */
pn_status pn_directory_make(const char *path, int *made);
void pn_directory_unmake(const char *path, int made);

/* Makes the directory as pn_directory_make, and locks it. PN_EBUSY if another process holds it;
 * PN_EARG, with nothing changed, if it holds something else than a run. *begun: there is a
 * run.json. After a failure pn_directory_abandon undoes what was done. */
pn_status pn_directory_take(pn_directory *directory, const char *path, bool *begun);

/* Opens the directory of a run to read it, where nothing may be writable. PN_EARG if there is none,
 * PN_EBUSY if a process is at work there: its lock, if it is there, is shared until released. */
pn_status pn_directory_read(pn_directory *directory, const char *path);

/* PN_EBUSY or PN_EIO if directory or lock are not those that were taken any more. */
pn_status pn_directory_check(const pn_directory *directory);

/* The status of a write that came after the check. One that failed with PN_EIO may have failed
 * because another process took the lock in between and removed what was being written: then
 * PN_EBUSY with the sentence of the check, otherwise `s` with its own. */
pn_status pn_directory_written(const pn_directory *directory, pn_status s);

/* Unlocks it. abandon: also removes lock and directories if we made them and no run has begun. */
void pn_directory_release(pn_directory *directory);
void pn_directory_abandon(pn_directory *directory);

/* Removes what a killed process was writing: PREFIX*.tmp for each of the prefixes, NULL last. */
pn_status pn_directory_clean(const pn_directory *directory, const char *const *prefixes);

/* Checkpoints: checkpoint-NUMBER.safetensors, NUMBER of eight digits or more. The newest below
 * `below`, or -1 if there is none. PN_EIO if that cannot be told. */
pn_status pn_checkpoint_newest(const pn_place *place, int64_t below, int64_t *number);
const char *pn_checkpoint_name(int64_t number, char name[PN_NAME_IN_PLACE]);

/* Removes all but the newest `keep`. One that cannot be removed stays, which does no harm. */
void pn_checkpoint_remove(const pn_place *place, int keep);

/* PN_EINPUT: the sentence at hand, about checkpoint `number`, and how to go on without that file.
 * `what` is continued: "search". */
pn_status pn_checkpoint_damaged(const pn_place *place, int64_t number, const char *what);

PN_API_END

#endif
