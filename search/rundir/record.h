/* record.h -- a run on the disk: what a search and a training have in common.
 *
 * run.json holds the settings, the version and format, the device, the state, and whatever else the
 * kind of run adds; no times, so that a continued run ends with the same bytes as one that was not
 * disturbed. Checkpoints hold the tensors, the state as one array of doubles, and of each table its
 * length and CRC-32: tables are flushed to the disk before the checkpoint that counts on them, and
 * cut back to it when the run goes on from there.
 *
 * Versions. run.json says the format of the directory (1: written by version 0.1.0, which did not
 * say). A later format is refused; an earlier one is read for ever. A setting that run.json lacks
 * has its default; one that this version does not know was begun by a later one and is refused. */
#ifndef PN_RECORD_H
#define PN_RECORD_H

#include "kernels/api.h"
#include "runtime/loss_scale.h"
#include "runtime/parameters.h"
#include "runtime/safetensors.h"
#include "search/rundir/directory.h"
#include "search/rundir/fields.h"
#include "search/rundir/journal.h"

PN_API_BEGIN

struct json_t; /* jansson's */

enum { PN_RECORD_FORMAT = 2, PN_MOST_TABLES = 3, PN_DEVICE_BYTES = 32 };

/* What tells a search from a training. Lists end with NULL. */
typedef struct pn_record_kind {
    const char *command; /* "search", "train" */
    const char *what;    /* in sentences: "search", "training" */
    const char *format;  /* of its checkpoints */
    const char *state;   /* the name of the array in them */
    const pn_fields *fields;
    size_t settings_bytes;
    const char *tables[PN_MOST_TABLES + 1];
    const char *times;      /* the first column of times.csv */
    const char *written[6]; /* how the names begin of what it replaces */
} pn_record_kind;

typedef struct pn_record {
    const pn_record_kind *kind;
    pn_directory directory;
    bool begun;                   /* there was a run in it */
    bool finished;                /* and run.json says that it is finished */
    char device[PN_DEVICE_BYTES]; /* on which it was begun, or last changed to */
    uint32_t checksum;            /* of the images it was begun with */
    char *history;                /* a JSON array (warm_start.h), or NULL */
    int64_t saved;                /* step of the newest checkpoint, -1: none */
    pn_table *table[PN_MOST_TABLES];
    int64_t length[PN_MOST_TABLES]; /* of the tables, as the checkpoint has them */
    uint32_t crc[PN_MOST_TABLES];
    bool summed; /* the checkpoint had the CRC-32s, too */
    pn_journal journal;
} pn_record;

/* The initialiser of one that is not open. */
#define PN_NO_RECORD \
    { .directory = PN_NO_DIRECTORY, .saved = -1, .journal = PN_NO_JOURNAL }

/* How a run is opened. */
typedef struct pn_opening {
    const bool *given;      /* field i of the settings was asked for; NULL: none was */
    const char *device;     /* name of the kernels */
    bool change_device;     /* go on although it was begun on another one */
    bool reading;           /* nothing is written, nothing is made */
    pn_journal_say *say;    /* what becomes of the journal; NULL: nobody listens */
    struct pn_group *group; /* runtime/group.h: of processes that all open it; NULL: one alone */
    int in_flight;          /* of a search, as in pn_model_settings */
} pn_opening;

/* Of a group rank 0 alone has a record: no other sees the directory, or calls what follows. What
 * all have to know it tells them.
 *
 * Opens a directory: a new one (made, as those above it), or one with a run in it. *settings
 * holds the defaults and becomes the settings of the run, or, of a new one, *asked.
 * PN_EBUSY if another process works on it; PN_EINPUT for a damaged run.json, or one of a later
 * version; PN_EARG for a directory that holds something else, for a setting given that the run was
 * not begun with, and for another device. After a failure only pn_record_close makes sense. */
pn_status pn_record_open(pn_record *record, const pn_record_kind *kind, const char *path,
                         const pn_opening *opening, const void *asked, void *settings);

/* Reads run.json alone, without a lock, since it is replaced as a whole: its settings into
 * *settings, which holds the defaults, and all of it as *root, the caller's; NULL if there is no
 * run. */
pn_status pn_record_look(const pn_record_kind *kind, const char *path, void *settings,
                         struct json_t **root);

/* PN_EINPUT if the images are others than those the run was begun with, or not the same on all of a
 * group, who all call it. `data` names them. record NULL: there is none to compare with. */
pn_status pn_record_same_images(pn_record *record, struct pn_group *group, const char *data,
                                uint32_t checksum);

/* Takes the state out of a checkpoint. PN_EINPUT if it cannot be one. */
typedef pn_status pn_restore(void *self, const pn_safetensors *file, int64_t step,
                             const double *state);

/* The newest checkpoint: tensors into `p` and onto the device, then `restore`, with `count` doubles
 * of state. Without one, record->saved stays -1. PN_EINPUT if it is damaged, or of other
 * `settings`. */
pn_status pn_record_load(pn_record *record, const void *settings, const pn_parameters *p, int count,
                         pn_restore *restore, void *self);

/* Cleans up what a killed process left, and opens the tables and the journal of a run of so many
 * steps, whose next row of times.csv is `next`. *begin: the tables are empty. */
pn_status pn_record_tables(pn_record *record, int64_t steps, int64_t next, pn_journal_say *say,
                           bool *begin);

/* After each step: rows go to the disk's tables when enough wait, or after a second, if the
 * directory is still ours. */
pn_status pn_record_rows(pn_record *record);

/* A checkpoint between two steps; older ones but one are removed when it has been read back.
 * Nothing if step is the newest one's. `more`: metadata of this kind of run. */
pn_status pn_record_save(pn_record *record, int64_t step, const void *settings,
                         const pn_parameters *p, const double *state, int count,
                         const pn_meta *more, int more_count);

/* run.json. `more`, which is handed over, has the members of this kind of run (NULL: no memory). */
pn_status pn_record_write(const pn_record *record, const char *state, int64_t step,
                          const void *settings, struct json_t *more);

/* After a failure with PN_EDIVERGED, which it gives back with its sentence: all rows, and run.json
 * with the state "diverged". */
pn_status pn_record_diverged(pn_record *record, int64_t step, const void *settings,
                             struct json_t *more);

/* The run is finished: run.json says so, and so does the journal, once. `more` as above. */
pn_status pn_record_finished(pn_record *record, int64_t step, const void *settings,
                             struct json_t *more);

/* The scale of the loss, of a run that has one. In run.json: NULL, if not. As metadata of a
 * checkpoint: `room` is for its text; gives how many there are, 0 or 1. Out of one: left alone if
 * that has none, as of a run on another device before; PN_EINPUT. In the journal, after a step that
 * it has skipped. */
struct json_t *pn_record_loss_scale(const pn_loss_scale *l);
int pn_record_loss_meta(const pn_loss_scale *l, char room[PN_LOSS_SCALE_TEXT], pn_meta *meta);
pn_status pn_record_restore_loss(const pn_safetensors *file, pn_loss_scale *l);
void pn_record_overflow(pn_record *record, int64_t step, const pn_loss_scale *l);

/* A small file of text beside them. */
pn_status pn_record_text(const pn_record *record, const char *name, const char *text);

/* Rank 0's state to all of a group: weights and momenta, which are then on the device too, and
 * `count` numbers. */
pn_status pn_record_spread(struct pn_group *group, const pn_parameters *p, double *state,
                           int count);

/* PN_ECHECK if weights, momenta and state are not the same to the bit on all of a group, as they
 * must be: so a rank whose memory or processor fails is named before a checkpoint is written. */
pn_status pn_record_compare(struct pn_group *group, const pn_parameters *p, const double *state,
                            int count);

/* Gives everything back; nothing is written. Rows since the last checkpoint, which would be cut off
 * when the run goes on, are lost. */
void pn_record_close(pn_record *record);

PN_API_END

#endif
