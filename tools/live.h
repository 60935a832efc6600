/* live.h -- what a run looks like while it is at work: a block of five lines that are written again
 * in place, on a terminal of at least 60 x 10; else a line, cut to the width of the terminal, in
 * place of the last one where the terminal can do that (TERM is set and not "dumb"); or JSON.
 *
 *     [########............]  42 %  step 19,656/46,800  search  left 2:10:05
 *     loss 1.234/1.456  accuracy 45.6 %  ess 2.3/4
 *     entropy 38.21 of 49.07 nats  ..--==**##
 *     best cell p 3e-12  normal s3@0 s3@1 | ...
 *     1,234 images/s  12.3 steps/s  warning: ...  memory 1.2 GiB  arena 92.1 MiB
 *
 * Neither the cursor is hidden nor any mode of the terminal changed: nothing has to be restored,
 * however the program ends. NO_COLOR: no colours. A locale that is not UTF-8 gets ASCII. */
#ifndef PN_LIVE_H
#define PN_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "search/network/genotype.h"

/* Numbers in the order in which they came, as means of equally many: for a line of bars. */
enum { PN_COURSE = 96 };
typedef struct pn_course {
    double value[PN_COURSE];
    int count;
    int64_t each;  /* numbers in a value */
    double sum;    /* of the next value */
    int64_t added; /* numbers in it */
} pn_course;
void pn_course_add(pn_course *course, double x); /* one that is not finite is left out */

/* What is seen. Not known are NAN, 0 where 0 cannot be, and "". */
typedef struct pn_glance {
    bool training, evidence;
    uint64_t seed;       /* of a training */
    char phase[32];      /* "warm-up", "stopped" */
    int64_t step, steps; /* done, in all */
    int64_t epochs;      /* of a training, in all */
    double left;         /* seconds to the end */
    double steps_per_s, images_per_s;
    double train_loss, val_loss; /* nats an image */
    double accuracy;             /* 0..1, of the validation batches if there are any */
    double ess;
    int64_t samples;         /* the most that ess can be */
    double entropy, uniform; /* nats */
    double agreement;        /* by evidence */
    double scored, best;     /* of a training: 0..1 */
    int64_t best_epoch;
    pn_course course;          /* of the entropy, or of the scores */
    char cell[PN_SHORT_BYTES]; /* the most probable one, or the one that is trained */
    double log_p;
    double memory_bytes, arena_bytes;
    char warning[256];
} pn_glance;

/* All not known. */
pn_glance pn_glance_nothing(void);

typedef struct pn_live {
    int fd; /* where it is shown */
    bool json;
    bool terminal; /* that can write a line again */
    double shown;  /* when, by pn_now; 0: not yet */
} pn_live;

/* Begins to show on this descriptor. */
pn_live pn_live_begin(int fd, bool json);

/* Whether it is time: twice a second on a terminal, and when it got another size; else every ten
 * seconds. */
bool pn_live_due(const pn_live *live);

/* In place of what was shown. */
void pn_live_show(pn_live *live, const pn_glance *glance);

/* A line of text in place of what was shown, cut to the width; nothing where no terminal is. */
void pn_live_line(const pn_live *live, const char *text);

/* All of it once, as lines of text or as an object, to stdout. PN_EMEM. */
pn_status pn_live_print(const pn_live *live, const pn_glance *glance);

/* Takes what is shown off the terminal, before other text comes; or leaves it there and goes below
 * it. Nothing where nothing is shown. */
void pn_live_clear(void);
void pn_live_end(void);

/* The same from a signal handler. */
void pn_live_end_at_once(void);

#endif
