/* flights.h -- several architectures of a step in flight at once.
 *
 * The launches of one sampled network are small for a large card: at 16 channels and batch 64 its
 * mean launch has 209 blocks and takes 14 us, 5 of them to begin and to end (counted on the
 * emulated card, predicted for an H100 by bench/predict_kernels, which says that a step of one
 * after another takes 1.9 times as long as the card's own limits would). So each architecture is
 * queued in a *flight*: a stream, with an arena and a program of its own. The host queues one after
 * another, as ever, and waits for none. What flights share they only read (weights, batches), or
 * each has a place of its own in it (results, the gradients of units.h): the bits are the same for
 * any number of flights.
 *
 * Without a second flight all is queued on the step's own stream, 0; else flight i has stream
 * i + 1. */
#ifndef PN_FLIGHTS_H
#define PN_FLIGHTS_H

#include "kernels/api.h"
#include "runtime/arena.h"
#include "runtime/program.h"
#include "runtime/update.h"

PN_API_BEGIN

typedef struct pn_flight {
    pn_arena arena;
    pn_program *program;
} pn_flight;

typedef struct pn_flights {
    const pn_memory *memory;
    pn_flight flight[PN_FLIGHTS];
    int count; /* of them */
    int open;  /* those in use: fewer if the device had no memory for the others after all */
    int next;
    int at; /* the one at hand; 0 when none was entered */
} pn_flights;

/* The rule: as many as together have 700 pixels for each multiprocessor; 1 of no card, or if one
 * batch of so many pixels is enough. A card takes two blocks a multiprocessor at a time, and a
 * launch of 64 images of 32x32 has some 200: that is where the number comes from. */
int pn_flights_rule(int processors, double pixels);

/* One flight more, with a program that has room for so many ops and terms; its arena is the
 * caller's to create. The first one creates the flights, which are all zero. PN_EMEM. */
pn_status pn_flights_add(pn_flights *flights, const pn_kernels *kernels, int ops, int terms);
void pn_flights_destroy(pn_flights *flights);

/* What is queued from here on is queued in the next flight, behind all that the step's own stream
 * has so far; from `leave` on there again. */
pn_status pn_flights_enter(pn_flights *flights);
pn_status pn_flights_leave(pn_flights *flights);

/* In place of one that was entered and got no memory: from now on there are only those before it,
 * and the first one is at hand. */
pn_status pn_flights_close(pn_flights *flights);

/* What the step's own stream gets next comes behind all flights. */
pn_status pn_flights_gather(const pn_flights *flights);

/* As many of those that are wished as a step has samples and units here (units.h), and as there is
 * room for: their arenas, by pn_flights_bytes, and the bytes of all else. At least 1. */
typedef struct pn_flights_wish {
    int flights, samples, here;
    size_t program, sum;
    double else_bytes, room; /* INFINITY: all there can be */
} pn_flights_wish;
int pn_flights_granted(pn_flights_wish wish);

/* Bytes of the arenas of so many flights: of a program each, and of the sum over their gradients
 * (units.h; 0: none), which comes when those are done, in the first. */
size_t pn_flights_bytes(size_t program, size_t sum, int flights);

/* Most bytes of all arenas that were asked for. */
size_t pn_flights_high_water(const pn_flights *flights);

PN_API_END

#endif
