/* group.c -- see group.h; what carries the calls is elsewhere (group_parts.h). */
#include "runtime/group.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/group_parts.h"

/* Seconds: of the first looks, which follow one another at once, and between later ones. */
#define EAGER 2e-4
#define LONGEST_NAP 2e-4

#define PATIENCE 60.0 /* as --patience has it by default */
enum { PATIENCES = 10, WORD = 256 };

pn_status pn_group_create(pn_group **group, const pn_carrier *carrier, void *self) {
    pn_group *g = calloc(1, sizeof *g);
    *group = g;
    if (!g) return pn_fail(PN_EMEM, "no memory for a group of processes");
    g->carrier = carrier;
    g->self = self;
    g->size = g->locals = 1;
    g->patience = PATIENCE;
    g->what = "the beginning";
    g->number = -1;
    if (gethostname(g->host, sizeof g->host - 1)) snprintf(g->host, sizeof g->host, "unknown");
    return PN_OK;
}

void pn_group_close(pn_group *g) {
    if (!g) return;
    if (g->exchange) g->exchange->leave();
    g->carrier->close(g->self);
    free(g->staging);
    free(g);
}

int pn_group_rank(const pn_group *g) { return g ? g->rank : 0; }
int pn_group_size(const pn_group *g) { return g ? g->size : 1; }
int pn_group_local(const pn_group *g) { return g ? g->local : 0; }
int pn_group_locals(const pn_group *g) { return g ? g->locals : 1; }

void pn_group_at(pn_group *g, const char *what, int64_t number) {
    if (!g) return;
    g->what = what;
    g->number = number;
}

void pn_group_patience(pn_group *g, double seconds) {
    if (g) g->patience = seconds;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void tell(const pn_group *g, double waited, const char *then) {
    char number[32] = "";
    if (g->number >= 0) snprintf(number, sizeof number, " %lld", (long long)g->number);
    fprintf(stderr, "parsec-nas: rank %d (host %s) has waited %.0f s for other ranks at %s%s%s\n",
            g->rank, g->host, waited, g->what, number, then);
}

static _Noreturn void end_all(const pn_group *g, pn_status why) {
    g->carrier->end(g->self, (int)why);
    _Exit((int)why);
}

/* Until all that has begun is over. */
static void wait_for_all(pn_group *g) {
    const double begun = pn_now();
    while (!g->carrier->done(g->self)) {
        const double waited = pn_now() - begun;
        if (waited < EAGER) {
            (void)sched_yield();
            continue;
        }
        const double nap = waited / 8 < LONGEST_NAP ? waited / 8 : LONGEST_NAP;
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)(nap * 1e9)}, NULL);
        if (waited > g->patience && !g->told && g->rank < 2) {
            char then[80];
            snprintf(then, sizeof then, "; all end after %.0f s", PATIENCES * g->patience);
            tell(g, waited, then);
            g->told = true;
        }
        if (waited <= PATIENCES * g->patience) continue;
        tell(g, waited, ", and gives up; the next start continues from the last checkpoint");
        end_all(g, PN_EIO);
    }
}

/* ---- what is said of failures ---------------------------------------------------------------- */

/* What all know by now. */
static pn_status failed_before(const pn_group *g) {
    return g->failed == PN_OK ? PN_OK : pn_fail(g->failed, "%s", g->sentence);
}

/* Rank 0 is the one that a person has in mind: it needs no name. */
static void take_sentence(pn_group *g) {
    if (g->rank)
        snprintf(g->sentence, sizeof g->sentence, "rank %d (host %s): %.*s", g->rank, g->host,
                 PN_SENTENCE_BYTES - 128, pn_error());
    else
        snprintf(g->sentence, sizeof g->sentence, "%s", pn_error());
}

/* A status and a rank as one number, of which the largest counts. */
static int64_t blame(const pn_group *g, pn_status s) {
    return s == PN_OK ? 0 : (int64_t)s << 32 | (INT32_MAX - g->rank);
}

pn_status pn_group_agree(pn_group *g, pn_status mine, pn_wishes *w) {
    if (!g) return mine;
    PN_TRY(failed_before(g));
    int64_t most[] = {blame(g, mine), w ? w->stop : 0, w ? w->save : 0};
    g->carrier->most(g->self, most, sizeof most / sizeof *most);
    wait_for_all(g);
    if (w) *w = (pn_wishes){.stop = (int)most[1], .save = (int)most[2]};
    if (!most[0]) return PN_OK;
    const int whose = INT32_MAX - (int)(most[0] & INT32_MAX);
    if (whose == g->rank) take_sentence(g);
    g->carrier->share(g->self, whose, g->sentence, sizeof g->sentence);
    wait_for_all(g);
    g->failed = (pn_status)(most[0] >> 32);
    return failed_before(g);
}

/* ---- what is carried ------------------------------------------------------------------------- */

pn_status pn_group_share(pn_group *g, void *host, size_t bytes) {
    if (!g) return PN_OK;
    PN_TRY(pn_group_agree(g, PN_OK, NULL));
    g->carrier->share(g->self, 0, host, bytes);
    wait_for_all(g);
    return PN_OK;
}

pn_status pn_group_most(pn_group *g, int64_t *numbers, size_t count) {
    if (!g) return PN_OK;
    PN_TRY(pn_group_agree(g, PN_OK, NULL));
    g->carrier->most(g->self, numbers, count);
    wait_for_all(g);
    return PN_OK;
}

static pn_status make_room(pn_group *g, size_t numbers) {
    if (numbers <= g->staged) return PN_OK;
    int64_t *staging = realloc(g->staging, numbers * sizeof *staging);
    if (!staging)
        return pn_fail(PN_EMEM, "no memory for the sum of %zu numbers on the host", numbers);
    g->staging = staging;
    g->staged = numbers;
    return PN_OK;
}

/* In the host's own memory where they lie; others by way of it. */
static pn_status sum_there(pn_group *g, const pn_memory *memory, int64_t *numbers,
                           const pn_range *ranges, int count) {
    int64_t *at = g->staging;
    for (int i = 0; i < count; i++) {
        int64_t *from = numbers + ranges[i].first;
        if (!memory->plain) {
            PN_TRY(memory->download(at, from, ranges[i].count * sizeof *at));
            from = at;
            at += ranges[i].count;
        }
        g->carrier->sum(g->self, from, ranges[i].count);
    }
    return PN_OK;
}

static pn_status put_back(const pn_group *g, const pn_memory *memory, int64_t *numbers,
                          const pn_range *ranges, int count) {
    const int64_t *at = g->staging;
    int64_t mark;
    for (int i = 0; i < count; i++) {
        PN_TRY(memory->upload(numbers + ranges[i].first, at, ranges[i].count * sizeof *at));
        at += ranges[i].count;
    }
    PN_TRY(memory->mark(&mark));
    return memory->wait(mark); /* the next sum takes the same place */
}

pn_status pn_group_exchange(pn_group *g, const pn_memory *memory, const pn_exchange *e) {
    unsigned char id[PN_EXCHANGE_BYTES];
    if (!g) return PN_OK;
    if (!e)
        return pn_group_agree(
            g, pn_fail(PN_EARG, "group nccl, want --device cuda, and a build with NCCL"), NULL);
    PN_TRY(pn_group_agree(g, g->rank ? PN_OK : e->invite(id), NULL));
    PN_TRY(pn_group_share(g, id, sizeof id));
    PN_TRY(pn_group_agree(g, e->join(id, g->rank, g->size), NULL));
    g->exchange = e;
    g->exchanged = memory;
    return PN_OK;
}

/* From device to device. All are here: they have just agreed. */
static pn_status sum_between(pn_group *g, const pn_memory *memory, int64_t *numbers,
                             const pn_range *ranges, int count) {
    int64_t mark;
    for (int i = 0; i < count; i++)
        PN_TRY(g->exchange->sum(memory->stream(), numbers + ranges[i].first, ranges[i].count));
    PN_TRY(memory->mark(&mark));
    return memory->wait(mark);
}

pn_status pn_group_sum(pn_group *g, const pn_memory *memory, int64_t *numbers,
                       const pn_range *ranges, int count) {
    size_t all = 0;
    if (!g) return PN_OK;
    for (int i = 0; i < count; i++) all += ranges[i].count;
    const bool between = g->exchange && memory == g->exchanged;
    PN_TRY(pn_group_agree(g, memory->plain || between ? PN_OK : make_room(g, all), NULL));
    if (!all) return PN_OK; /* of all members, who have the same ranges */
    /* A device that fails amid the ranges leaves the others waiting for what never comes. */
    if ((between ? sum_between : sum_there)(g, memory, numbers, ranges, count) != PN_OK) {
        fprintf(stderr, "parsec-nas: rank %d (host %s): %s\n", g->rank, g->host, pn_error());
        end_all(g, PN_EDEVICE);
    }
    wait_for_all(g);
    return memory->plain || between ? PN_OK : put_back(g, memory, numbers, ranges, count);
}

pn_status pn_group_join(pn_group *g, const pn_memory *memory, void *places, size_t bytes) {
    const pn_range all = {0, bytes / sizeof(int64_t)};
    if (!g) return PN_OK;
    if (bytes % sizeof(int64_t))
        return pn_fail(PN_EARG, "%zu bytes to join, want a multiple of %zu", bytes,
                       sizeof(int64_t));
    return pn_group_sum(g, memory, places, &all, 1);
}

pn_status pn_group_same(pn_group *g, pn_status if_not, const char *what, const char *word) {
    char first[WORD] = "";
    if (!g) return PN_OK;
    snprintf(first, sizeof first, "%s", word);
    PN_TRY(pn_group_share(g, first, sizeof first));
    return pn_group_agree(g,
                          strcmp(word, first) == 0
                              ? PN_OK
                              : pn_fail(if_not, "%s %s, want %s as rank 0 has", what, word, first),
                          NULL);
}
