/* flights.c -- see flights.h. */
#include "search/methods/flights.h"

#define PIXELS_OF_A_PROCESSOR 700

int pn_flights_rule(int processors, double pixels) {
    int flights = 1;
    while (flights < PN_FLIGHTS && flights * pixels < PIXELS_OF_A_PROCESSOR * (double)processors)
        flights++;
    return flights;
}

pn_status pn_flights_add(pn_flights *l, const pn_kernels *kernels, int ops, int terms) {
    pn_flight *const flight = &l->flight[l->count];
    l->memory = kernels->memory;
    PN_TRY(pn_program_create(&flight->program, kernels));
    l->open = ++l->count;
    return pn_program_reserve(flight->program, ops, terms);
}

void pn_flights_destroy(pn_flights *l) {
    for (int i = 0; i < l->count; i++) {
        pn_program_destroy(l->flight[i].program);
        pn_arena_destroy(&l->flight[i].arena);
    }
    *l = (pn_flights){0};
}

static int stream_of(int flight) { return flight + 1; }

pn_status pn_flights_enter(pn_flights *l) {
    if (l->count < 2) return PN_OK;
    l->at = l->next % l->open;
    l->next = l->at + 1;
    PN_TRY(l->memory->select(stream_of(l->at)));
    return l->memory->follow(0);
}

pn_status pn_flights_leave(pn_flights *l) {
    l->at = 0;
    return l->count < 2 ? PN_OK : l->memory->select(0);
}

/* What the others may not commit any more, the first one may. */
pn_status pn_flights_close(pn_flights *l) {
    const int failed = l->at;
    pn_arena *const first = &l->flight[0].arena;
    for (int i = failed; i < l->open; i++) {
        const pn_arena *a = &l->flight[i].arena;
        if (a->limit) first->limit += a->limit - a->high_water;
    }
    l->open = failed;
    l->at = 0;
    PN_TRY(l->memory->select(stream_of(0)));
    return l->memory->follow(stream_of(failed));
}

pn_status pn_flights_gather(const pn_flights *l) {
    for (int i = 0; l->count > 1 && i < l->count; i++) PN_TRY(l->memory->follow(stream_of(i)));
    return PN_OK;
}

size_t pn_flights_bytes(size_t program, size_t sum, int flights) {
    return (program > sum ? program : sum) + (size_t)(flights - 1) * program;
}

int pn_flights_granted(pn_flights_wish w) {
    int flights = w.flights;
    if (flights > w.here) flights = w.here;
    if (flights > w.samples) flights = w.samples;
    while (flights > 1 &&
           w.else_bytes + (double)pn_flights_bytes(w.program, w.sum, flights) > w.room)
        flights--;
    return flights;
}

size_t pn_flights_high_water(const pn_flights *l) {
    size_t bytes = 0;
    for (int i = 0; i < l->count; i++) bytes += l->flight[i].arena.high_water;
    return bytes;
}
