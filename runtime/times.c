/* times.c -- see times.h. */
#include "runtime/times.h"

#include "runtime/clock.h"

const char *const pn_family_name[PN_FAMILIES] = {
#define NAME(FAMILY, op, with) #op,
    PN_OPS(NAME, )
#undef NAME
};

/* ---- a stopwatch ----------------------------------------------------------------------------- */

static void add(pn_laps *l, int slot, double ms) {
    l->ms[slot] += ms;
    if (l->count) l->count[slot]++;
}

static pn_status stamp(pn_laps *l, int slot) {
    PN_TRY(l->memory->stamp(l->stamps));
    l->slot[l->stamps++] = slot;
    return PN_OK;
}

/* By the host's clock, when all that was queued is done. */
static pn_status look(pn_laps *l, int slot) {
    int64_t mark;
    PN_TRY(l->memory->mark(&mark));
    PN_TRY(l->memory->wait(mark));
    const double now = pn_now();
    if (slot >= 0) add(l, slot, 1e3 * (now - l->last));
    l->last = now;
    return PN_OK;
}

pn_status pn_laps_begin(pn_laps *l) {
    if (!l->memory->stamp) return look(l, -1);
    if (l->stamps > PN_STAMPS - 2) PN_TRY(pn_laps_read(l));
    return stamp(l, -1);
}

pn_status pn_laps_end(pn_laps *l, int slot) {
    if (!l->memory->stamp) return look(l, slot);
    PN_TRY(stamp(l, slot));
    return l->stamps < PN_STAMPS ? PN_OK : pn_laps_begin(l);
}

pn_status pn_laps_read(pn_laps *l) {
    const int stamps = l->stamps;
    l->stamps = 0;
    for (int i = 1; i < stamps; i++) {
        double ms;
        if (l->slot[i] < 0) continue;
        PN_TRY(l->memory->elapsed(i - 1, i, &ms));
        add(l, l->slot[i], ms);
    }
    return PN_OK;
}

/* ---- all of a process ------------------------------------------------------------------------ */

static bool started;
static pn_times all;
static pn_laps laps = {.ms = all.ms, .count = all.launches};

void pn_times_start(void) { started = true; }

pn_laps *pn_times_of(const pn_memory *memory) {
    if (!started) return NULL;
    if (laps.memory != memory) {
        if (laps.memory) (void)pn_laps_read(&laps); /* of a device that nobody uses any more */
        laps.memory = memory;
    }
    return &laps;
}

pn_status pn_times_read(pn_times *times) {
    if (laps.memory) PN_TRY(pn_laps_read(&laps));
    *times = all;
    return PN_OK;
}
