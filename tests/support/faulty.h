/* faulty.h -- children under the preloaded library of tests/faults. */
#ifndef PN_FAULTY_H
#define PN_FAULTY_H

#include <stdint.h>

#include "tests/support/process.h"

/* Whether this build has the library: one with sanitizers has not. */
bool pn_faulty_possible(void);

/* What the child is told, as faults.h says; NULL: nothing. Paths are absolute. */
typedef struct pn_faulty {
    const char *fault;  /* "files:7:once" */
    const char *log;    /* PN_FAULT_LOG */
    const char *list;   /* PN_FAULT_LIST */
    const char *record; /* PN_RECORD */
} pn_faulty;

void pn_faulty_run(pn_process *process, const char *const *argv, const pn_conditions *where,
                   double seconds, const pn_faulty *how);

/* Runs a command in `folder`, which makes `name` there, and kills it in its middle: after so much
 * of its calls on files that there is a checkpoint in `checkpoints`, and not the last. */
void pn_faulty_halt(const char *const *argv, const char *folder, const char *name,
                    const char *checkpoints);

/* The step from which a run went on, by its stderr: 0 if from the beginning, `last` if it had
 * nothing to do. */
int64_t pn_continued_from(const char *err, int64_t last);

/* The call that was struck, from a log: its name (empty if none was), and where, as addresses. */
void pn_faulty_struck(const char *log, char name[32], char place[1024]);

/* Such addresses as "runtime/file.c:41 < search/methods/run.c:95 ...", innermost first. */
void pn_faulty_place(const char *program, const char *addresses, char *text, size_t size);

/* What may be struck: for each call of what `fault` names, which place it comes from (they are
 * numbered as they appear). The caller frees. */
typedef struct pn_sites {
    int calls, places;
    int *place;     /* of each call */
    uint64_t *hash; /* of each place */
} pn_sites;
void pn_sites_read(const char *list, pn_sites *sites);
void pn_sites_free(pn_sites *sites);

/* Numbers that are the same in each run (Knuth's MMIX generator). */
typedef struct pn_dice {
    uint64_t state;
} pn_dice;
uint32_t pn_roll(pn_dice *dice, uint32_t below);

/* The number of the newest "checkpoint-N.safetensors" in a folder, or -1. */
int64_t pn_newest_checkpoint(const char *folder);

/* A number from the environment, or what it is without. */
long pn_setting(const char *variable, long otherwise);

#endif
