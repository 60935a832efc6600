/* times.h -- how long launches take, by op and pass. Nothing is measured unless somebody asks: the
 * environment (PARSEC_TIMES, in tools/), or `profile`.
 *
 * A device only queues its work: a lap is the time between two stamps of its own clock (memory.h).
 * Where it has none, the host waits behind each launch and looks at its own. */
#ifndef PN_TIMES_H
#define PN_TIMES_H

#include <stdint.h>

#include "kernels/work.h"
#include "runtime/program.h"

/* ---- a stopwatch ----------------------------------------------------------------------------- */

/* Of the laps of one device, each added to the `ms` of its slot. Zero but for `memory`, `ms` and
 * `count` at the start. */
typedef struct pn_laps {
    const pn_memory *memory;
    double *ms;
    int64_t *count;      /* of the laps of each slot, or NULL */
    int slot[PN_STAMPS]; /* of the lap that ends at this stamp, -1: of none */
    int stamps;          /* on their way */
    double last;         /* without stamps: when the last lap ended, by the host's clock */
} pn_laps;

/* A lap begins here; it ends here, and the next one begins. */
pn_status pn_laps_begin(pn_laps *laps);
pn_status pn_laps_end(pn_laps *laps, int slot);

/* Waits for those on their way, and adds them. */
pn_status pn_laps_read(pn_laps *laps);

/* ---- all of a process ------------------------------------------------------------------------ */

/* Forward and backward of each op, and the update of weights. */
enum { PN_TIMED_UPDATE = 2 * PN_FAMILIES, PN_TIMED };
static inline int pn_timed(pn_family family, bool backward) { return 2 * (int)family + backward; }

extern const char *const pn_family_name[PN_FAMILIES]; /* "stem", ... */

/* From here on all passes and updates are timed. One thread runs them. */
void pn_times_start(void);

/* The stopwatch of all that runs in this memory; NULL: nobody asked. */
pn_laps *pn_times_of(const pn_memory *memory);

/* What there was so far. */
typedef struct pn_times {
    double ms[PN_TIMED];
    int64_t launches[PN_TIMED]; /* of the update: calls */
} pn_times;
pn_status pn_times_read(pn_times *times);

/* ---- one program ----------------------------------------------------------------------------- */

/* Runs a pass of a bound program, as pn_program_forward and pn_program_backward do, and waits.
 * ms[i]: of its i-th launch. */
pn_status pn_program_time(pn_program *program, bool backward, double *ms);

/* A job of a bound program. Launches are counted through both passes, forward first. */
typedef struct pn_job_look {
    pn_family family;
    bool backward;
    int H, W; /* of what it makes; of a head, of what it reads */
    pn_work work;
} pn_job_look;
int pn_program_jobs(const pn_program *program, int launch); /* 0 behind the last */
pn_job_look pn_program_job(const pn_program *program, int launch, int job);

#endif
