/* units.h -- the passes of a step, where there are several, and the exact sum of their gradients.
 *
 * A step runs sample k on each shard d of its batch: (k, d) is a unit. The backward pass of a unit
 * adds to a place of its own, which has room for what its network touches, packed, and not for
 * what the space has; places lie one after another, in memory that is committed as they come. When
 * the log-likelihoods of all are known, and with them what each sample counts (pn_share), the
 * places are added up in fixed point (kernels.h: tally): whole numbers, so that no order of adding,
 * and nobody who adds some of them elsewhere, changes a bit. (The idea is that of reproducible sums
 * in climate models: Hallberg and Adcroft, "An order-invariant real-to-integer conversion sum",
 * Parallel Computing 40, 2014.)
 *
 * Running statistics are summed alike. In its place a unit finds zeros, and leaves momentum times
 * the batch's; the mean over the shards is added to what is kept of the old.
 *
 * The sum is as long as the parameters' ranges, and so is the gradient that comes of it: they lie
 * in the arena, in whose activations nobody is interested any more. */
#ifndef PN_UNITS_H
#define PN_UNITS_H

#include <stdbool.h>

#include "kernels/api.h"
#include "kernels/kernels.h"
#include "runtime/arena.h"
#include "runtime/parameters.h"
#include "runtime/program.h"

PN_API_BEGIN

struct pn_group; /* group.h */

/* How many there are in a step at most, and how many of them are run here; and the floats of the
 * largest place. Samples, shards, here: 1 or more. group: who runs the others, NULL: nobody. */
typedef struct pn_unit_counts {
    int samples, shards, here;
    size_t floats;
    struct pn_group *group;
} pn_unit_counts;

typedef struct pn_units {
    pn_unit_counts counts;
    const pn_kernels *kernels;
    const pn_parameters *parameters;
    pn_arena places;
    size_t taken;            /* floats of them */
    size_t *first;           /* (samples, shards): of the place of a unit; SIZE_MAX: it has none */
    pn_share *share;         /* (samples), in memory of the device */
    bool *used;              /* (samples, parameters): what has a place */
    bool *touched, *tracked; /* (parameters), of any unit, also of others': weights, statistics, */
    bool *either;            /* and both */
    size_t *at;              /* of each parameter in the place at hand */
    pn_range *ranges;        /* room for the most there can be */
    int samples;             /* so far in this step, from 0 */
} pn_units;

/* Floats of a place for this program. PN_EMEM. */
pn_status pn_units_floats(const pn_parameters *parameters, const pn_program *program,
                          size_t *floats);

/* The most of so many units that one of so many processes runs, whatever they cost: an even part,
 * rounded up. So whoever deals them leaves no place unused, and plan knows how many there are. */
int pn_units_most(int units, int ranks);

/* Bytes of all places here, all of them the largest, and of the arena that the sum wants. */
size_t pn_units_bytes(pn_unit_counts counts);
size_t pn_units_arena_bytes(const pn_parameters *parameters);

/* PN_EMEM. */
pn_status pn_units_create(pn_units *units, const pn_kernels *kernels,
                          const pn_parameters *parameters, pn_unit_counts counts);
void pn_units_destroy(pn_units *units);

/* A new step: without units. */
void pn_units_begin(pn_units *units);

/* The place of unit (k, d), cleared, becomes that of the compiled program, which is then to be
 * bound. PN_EMEM if there is no room. */
pn_status pn_units_take(pn_units *units, int k, int d, pn_program *program);

/* After the backward pass of the unit that was taken last: its gradients, not its statistics,
 * times `by`. */
pn_status pn_units_scale(pn_units *units, int k, int d, float by, const pn_launch *launch);

/* Of a group, before the places are taken: a program that is marked or compiled is that of sample
 * k, here or elsewhere, so that all of the group know what the step touches. */
void pn_units_note(pn_units *units, int k, const pn_program *program);

/* Commits the arena for the sum, of which it is from now on. PN_EMEM: so it comes before a group
 * meets for the last time before the sum. */
pn_status pn_units_room(const pn_units *units, pn_arena *arena);

/* Adds up the units so far, with a group those of all, by one collective call. found: of unit
 * (k, d) at [k * shards + d], also of what is run elsewhere. Gives where in the arena the gradient
 * is, a range like those of the parameters, valid where a unit touched them. *scale: 1 before, in
 * memory of the device, and NaN if a sum cannot be had (a term beyond PN_TERM_LIMIT). Running
 * statistics are then as they were; else they have moved. */
pn_status pn_units_sum(pn_units *units, const pn_result *found, double temperature,
                       double skip_below, pn_arena *arena, float *scale, const pn_launch *launch,
                       float **gradient);

/* Gives the arena back, when the gradient is used. */
pn_status pn_units_end(const pn_units *units, pn_arena *arena);

PN_API_END

#endif
