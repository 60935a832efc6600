/* directory.h -- what every run that lives in a directory needs: a lock, so that one process works
 * there at a time; checkpoints by number, written atomically; and nothing left behind by a run that
 * was not begun.
 *
 * A run has begun when its run.json is there. A directory without one is taken only if it is new
 * or empty, so that a slip of the finger costs no file. */
#ifndef PN_DIRECTORY_H
#define PN_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"
#include "search/fields.h"

enum { PN_PATH_BYTES = PN_TEXT_BYTES + 64 };

typedef struct pn_directory {
    char path[PN_TEXT_BYTES];
    int lock;             /* file descriptor; -1: not ours */
    bool made, made_lock; /* by us */
} pn_directory;

/* Makes the directory if it is not there, and locks it. PN_EBUSY if another process holds it;
 * PN_EARG, with nothing changed, if it holds something else than a run. *begun: there is a
 * run.json. After a failure pn_directory_abandon undoes what was done. */
pn_status pn_directory_take(pn_directory *directory, const char *path, bool *begun);

/* Unlocks it. abandon: also removes lock and directory if we made them and no run has begun. */
void pn_directory_release(pn_directory *directory);
void pn_directory_abandon(pn_directory *directory);

/* PATH/NAME. */
void pn_directory_path(const pn_directory *directory, const char *name, char path[PN_PATH_BYTES]);

/* Removes what a killed process was writing: PREFIX*.tmp for each of the prefixes, NULL last. */
void pn_directory_clean(const pn_directory *directory, const char *const *prefixes);

/* Checkpoints: checkpoint-NUMBER.safetensors. The newest below `below`, or -1; all but the newest
 * `keep` are removed. */
int64_t pn_checkpoint_newest(const char *directory, int64_t below);
void pn_checkpoint_path(const char *directory, int64_t number, char path[PN_PATH_BYTES]);
void pn_checkpoint_remove(const char *directory, int keep);

/* PN_EINPUT: the sentence at hand, about checkpoint `number`, and what happens without that file.
 * `what` is continued: "search". */
pn_status pn_checkpoint_damaged(const char *directory, int64_t number, const char *what);

#endif
