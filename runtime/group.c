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

/* Who is asked whether he waits has so long to answer, a share of the patience and seconds. */
#define GRACE 0.25
#define LONGEST_GRACE 5.0

enum { BLAME, STOP, SAVE, PLACES }; /* in a meeting's message */
enum { FAILED, ODD, TAIL };         /* behind a sum's: how many have, and are */
enum { ROOM = 4096 };               /* bytes of places, once all are introduced */

pn_status pn_group_create(pn_group **group, const pn_carrier *carrier, void *self) {
    pn_group *g = calloc(1, sizeof *g);
    *group = g;
    if (g) g->meeting = calloc(PLACES, sizeof *g->meeting);
    if (!g || !g->meeting) {
        free(g);
        *group = NULL;
        return pn_fail(PN_EMEM, "no memory for a group of processes");
    }
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
    free(g->hosts);
    free(g->heard);
    free(g->meeting);
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

/* ---- who is missing -------------------------------------------------------------------------- */

/* A letter asks whether he to whom it goes waits, or answers that he who writes it does; both name
 * the wait of him who asks. */
static int64_t question(int64_t wait) { return 2 * wait; }
static int64_t answer_to(int64_t letter) { return letter + 1; }
static bool is_question(int64_t letter) { return letter % 2 == 0; }

/* Without memory there is nobody to ask. */
static void ask(pn_group *g) {
    if (!g->heard) g->heard = calloc((size_t)g->size, sizeof *g->heard);
    if (!g->heard) return;
    memset(g->heard, 0, (size_t)g->size * sizeof *g->heard);
    g->heard[g->rank] = true;
    for (int r = 0; r < g->size; r++)
        if (r != g->rank) g->carrier->write(g->self, r, question(g->waits));
}

/* Of a member that waits. */
static void read_letters(pn_group *g) {
    int64_t letter;
    int from;
    while (g->carrier->read(g->self, &from, &letter))
        if (is_question(letter))
            g->carrier->write(g->self, from, answer_to(letter));
        else if (g->heard && letter == answer_to(question(g->waits)))
            g->heard[from] = true;
}

/* Somebody else will tell, who has a lower rank. */
static bool is_first(const pn_group *g) {
    for (int r = 0; g->heard && r < g->rank; r++)
        if (g->heard[r]) return false;
    return true;
}

/* "rank 2 (host h2), rank 3 (host h2) and 4 others"; "rank 2" if it is not introduced; of nobody in
 * particular "other ranks". */
static void name_missing(const pn_group *g, char text[512]) {
    enum { NAMED = 4 };
    int missing = 0, named = 0;
    size_t at = 0;
    snprintf(text, 512, "other ranks");
    for (int r = 0; g->heard && r < g->size; r++) missing += !g->heard[r];
    for (int r = 0; named < missing && named < NAMED; r++) {
        if (g->heard[r]) continue;
        at += (size_t)snprintf(text + at, 512 - at, "%srank %d",
                               !named                 ? ""
                               : named + 1 == missing ? " and "
                                                      : ", ",
                               r);
        if (g->hosts) at += (size_t)snprintf(text + at, 512 - at, " (host %s)", g->hosts[r]);
        named++;
    }
    if (missing > named) snprintf(text + at, 512 - at, " and %d others", missing - named);
}

static void tell(const pn_group *g, double waited, const char *then) {
    char number[32] = "", whom[512];
    if (g->number >= 0) snprintf(number, sizeof number, " %lld", (long long)g->number);
    name_missing(g, whom);
    fprintf(stderr, "parsec-nas: rank %d (host %s) has waited %.0f s for %s at %s%s%s\n", g->rank,
            g->host, waited, whom, g->what, number, then);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static _Noreturn void end_all(const pn_group *g, pn_status why) {
    g->carrier->end(g->self, (int)why);
    _Exit((int)why);
}

/* Of a wait that has become long: asks, tells, gives up, each at its time. */
static void lose_patience(pn_group *g, double waited, bool *asked) {
    const double grace = GRACE * g->patience < LONGEST_GRACE ? GRACE * g->patience : LONGEST_GRACE;
    if (!*asked) {
        if (waited <= g->patience - grace) return;
        ask(g);
        *asked = true;
    }
    if (waited > g->patience && !g->told && is_first(g)) {
        char then[80];
        snprintf(then, sizeof then, "; all end after %.0f s", PATIENCES * g->patience);
        tell(g, waited, then);
        g->told = true;
    }
    /* Another one ends all; but who knows what has become of him. */
    if (waited <= (PATIENCES + !is_first(g)) * g->patience) return;
    tell(g, waited, ", and gives up; the next start continues from the last checkpoint");
    end_all(g, PN_EIO);
}

/* Until all that has begun is over. */
static void wait_for_all(pn_group *g) {
    const double begun = pn_now();
    bool asked = false;
    g->waits++;
    while (!g->carrier->done(g->self)) {
        const double waited = pn_now() - begun;
        if (waited < EAGER) {
            (void)sched_yield();
            continue;
        }
        const double nap = waited / 8 < LONGEST_NAP ? waited / 8 : LONGEST_NAP;
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)(nap * 1e9)}, NULL);
        read_letters(g);
        lose_patience(g, waited, &asked);
    }
}

/* ---- meetings -------------------------------------------------------------------------------- */

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
static uint64_t blame(const pn_group *g, pn_status s) {
    return s == PN_OK ? 0 : (uint64_t)s << 32 | (uint64_t)(INT32_MAX - g->rank);
}

/* All have found out that somebody has failed: how, and why. */
static pn_status take_blame(pn_group *g, uint64_t most) {
    const int whose = INT32_MAX - (int)(most & INT32_MAX);
    if (whose == g->rank) take_sentence(g);
    g->carrier->share(g->self, whose, g->sentence, sizeof g->sentence);
    wait_for_all(g);
    g->failed = (pn_status)(most >> 32);
    return failed_before(g);
}

/* The largest of each number, in places that fit the room; 0 and above. */
static pn_status meet(pn_group *g, pn_status mine, void *places, size_t numbers) {
    uint64_t *const m = g->meeting;
    PN_TRY(failed_before(g));
    const pn_wishes own = g->own ? g->own() : (pn_wishes){0};
    memset(m, 0, (PLACES + g->room) * sizeof *m);
    m[BLAME] = blame(g, mine);
    m[STOP] = (uint64_t)own.stop;
    m[SAVE] = (uint64_t)own.save;
    if (numbers) memcpy(m + PLACES, places, numbers * sizeof *m);
    g->carrier->most(g->self, m, PLACES + g->room);
    wait_for_all(g);
    if (m[BLAME]) return take_blame(g, m[BLAME]);
    if ((int)m[STOP] > g->wishes.stop) g->wishes.stop = (int)m[STOP];
    if ((int)m[SAVE] > g->wishes.save) g->wishes.save = (int)m[SAVE];
    if (numbers) memcpy(places, m + PLACES, numbers * sizeof *m);
    return PN_OK;
}

pn_status pn_group_agree(pn_group *g, pn_status mine) { return g ? meet(g, mine, NULL, 0) : mine; }

void pn_group_listen(pn_group *g, pn_wishes (*own)(void)) {
    if (g) g->own = own;
}

pn_wishes pn_group_heard(pn_group *g) {
    const pn_wishes heard = g ? g->wishes : (pn_wishes){0};
    if (g) g->wishes = (pn_wishes){0};
    return heard;
}

/* Where there is no room it takes a call of its own. */
static pn_status most(pn_group *g, void *places, size_t numbers) {
    if (numbers <= g->room) return meet(g, PN_OK, places, numbers);
    PN_TRY(meet(g, PN_OK, NULL, 0));
    g->carrier->most(g->self, places, numbers);
    wait_for_all(g);
    return PN_OK;
}

/* Numbers below 0 come before all others. */
static void turn_signs(int64_t *numbers, size_t count) {
    for (size_t i = 0; i < count; i++) numbers[i] ^= INT64_MIN;
}

pn_status pn_group_most(pn_group *g, int64_t *numbers, size_t count) {
    if (!g) return PN_OK;
    turn_signs(numbers, count);
    const pn_status s = most(g, numbers, count);
    turn_signs(numbers, count);
    return s;
}

pn_status pn_group_join(pn_group *g, void *places, size_t bytes) {
    if (!g) return PN_OK;
    if (bytes % sizeof(int64_t))
        return pn_fail(PN_EARG, "%zu bytes to join, want a multiple of %zu", bytes,
                       sizeof(int64_t));
    return most(g, places, bytes / sizeof(int64_t));
}

/* Of sums in this memory that go by the host. */
static bool goes_by_host(const pn_group *g, const pn_memory *memory) {
    return !memory->plain && !(g->exchange && memory == g->exchanged);
}

static pn_status stage(pn_group *g, size_t numbers) {
    if (numbers <= g->staged) return PN_OK;
    int64_t *staging = realloc(g->staging, numbers * sizeof *staging);
    if (!staging)
        return pn_fail(PN_EMEM, "no memory for the sum of %zu numbers on the host", numbers);
    g->staging = staging;
    g->staged = numbers;
    return PN_OK;
}

/* All go on with the old room until everybody has the new one. */
pn_status pn_group_room(pn_group *g, size_t bytes, const pn_memory *memory, size_t numbers) {
    const size_t room = (bytes + sizeof(int64_t) - 1) / sizeof(int64_t);
    if (!g) return PN_OK;
    uint64_t *larger = NULL;
    pn_status s = memory && goes_by_host(g, memory) ? stage(g, numbers + TAIL) : PN_OK;
    if (s == PN_OK && room > g->room) {
        larger = calloc(PLACES + room, sizeof *larger);
        if (!larger) s = pn_fail(PN_EMEM, "no memory for meetings of %zu numbers", room);
    }
    s = pn_group_agree(g, s);
    if (s != PN_OK) free(larger);
    if (s != PN_OK || !larger) return s;
    free(g->meeting);
    g->meeting = larger;
    g->room = room;
    return PN_OK;
}

pn_status pn_group_introduce(pn_group *g) {
    if (!g) return PN_OK;
    const size_t size = (size_t)g->size;
    char(*hosts)[PN_HOST_BYTES] = calloc(size, sizeof *hosts);
    if (!hosts) return pn_fail(PN_EMEM, "no memory for the hosts of %d ranks", g->size);
    memcpy(hosts[g->rank], g->host, sizeof g->host);
    const pn_status s = pn_group_join(g, hosts, size * sizeof *hosts);
    if (s != PN_OK) free(hosts);
    PN_TRY(s);
    g->hosts = hosts;
    return pn_group_room(g, ROOM, NULL, 0);
}

/* ---- what is carried ------------------------------------------------------------------------- */

pn_status pn_group_share(pn_group *g, void *host, size_t bytes) {
    if (!g) return PN_OK;
    PN_TRY(pn_group_agree(g, PN_OK));
    g->carrier->share(g->self, 0, host, bytes);
    wait_for_all(g);
    return PN_OK;
}

/* All ranges are one message. */
static size_t sum_of_counts(const pn_range *ranges, int count) {
    size_t all = 0;
    for (int i = 0; i < count; i++) all += ranges[i].count;
    return all;
}

/* In the host's own memory they move up to the first; others go by way of it. */
static pn_status pack(const pn_memory *memory, const int64_t *numbers, const pn_range *ranges,
                      int count, int64_t *packed) {
    for (int i = 0; i < count; packed += ranges[i++].count) {
        const int64_t *from = numbers + ranges[i].first;
        if (memory->plain)
            memmove(packed, from, ranges[i].count * sizeof *packed);
        else
            PN_TRY(memory->download(packed, from, ranges[i].count * sizeof *packed));
    }
    return PN_OK;
}

/* And back, from the last to the first. */
static pn_status unpack(const pn_memory *memory, int64_t *numbers, const pn_range *ranges,
                        int count, const int64_t *packed) {
    const int64_t *at = packed + sum_of_counts(ranges, count);
    int64_t mark;
    for (int i = count - 1; i >= 0; i--) {
        at -= ranges[i].count;
        if (memory->plain)
            memmove(numbers + ranges[i].first, at, ranges[i].count * sizeof *at);
        else
            PN_TRY(memory->upload(numbers + ranges[i].first, at, ranges[i].count * sizeof *at));
    }
    if (memory->plain) return PN_OK;
    PN_TRY(memory->mark(&mark));
    return memory->wait(mark); /* the next sum takes the same place */
}

/* Of no ranges it is the two numbers alone. */
static pn_status sum_there(pn_group *g, const pn_memory *memory, int64_t *numbers,
                           const pn_range *ranges, int count, pn_status mine, bool *odd) {
    const size_t all = sum_of_counts(ranges, count);
    int64_t tail[TAIL];
    if (count && !memory->plain && all + TAIL > g->staged)
        PN_TRY(pn_group_agree(g, stage(g, all + TAIL)));
    int64_t *const packed = !count ? tail : memory->plain ? numbers + ranges[0].first : g->staging;
    if (mine == PN_OK) mine = pack(memory, numbers, ranges, count, packed);
    packed[all + FAILED] = mine != PN_OK;
    packed[all + ODD] = odd && *odd;
    g->carrier->sum(g->self, packed, all + TAIL);
    wait_for_all(g);
    if (packed[all + FAILED]) return pn_group_agree(g, mine);
    if (odd) *odd = packed[all + ODD] > 0;
    return count ? unpack(memory, numbers, ranges, count, packed) : PN_OK;
}

/* From device to device, when all have agreed to. */
static pn_status sum_between(pn_group *g, const pn_memory *memory, int64_t *numbers,
                             const pn_range *ranges, int count) {
    int64_t mark;
    for (int i = 0; i < count; i++)
        PN_TRY(g->exchange->sum(memory->stream(), numbers + ranges[i].first, ranges[i].count));
    PN_TRY(memory->mark(&mark));
    return memory->wait(mark);
}

pn_status pn_group_sum(pn_group *g, const pn_memory *memory, int64_t *numbers,
                       const pn_range *ranges, int count, pn_status mine, bool *odd) {
    if (!g) return mine;
    PN_TRY(failed_before(g));
    if (memory->plain || goes_by_host(g, memory))
        return sum_there(g, memory, numbers, ranges, count, mine, odd);
    PN_TRY(sum_there(g, memory, NULL, NULL, 0, mine, odd));
    /* A device that fails amid the ranges leaves the others waiting for what never comes. */
    if (sum_between(g, memory, numbers, ranges, count) == PN_OK) return PN_OK;
    fprintf(stderr, "parsec-nas: rank %d (host %s): %s\n", g->rank, g->host, pn_error());
    end_all(g, PN_EDEVICE);
}

pn_status pn_group_exchange(pn_group *g, const pn_memory *memory, const pn_exchange *e) {
    unsigned char id[PN_EXCHANGE_BYTES];
    if (!g) return PN_OK;
    if (!e)
        return pn_group_agree(
            g, pn_fail(PN_EARG, "group nccl, want --device cuda, and a build with NCCL"));
    PN_TRY(pn_group_agree(g, g->rank ? PN_OK : e->invite(id)));
    PN_TRY(pn_group_share(g, id, sizeof id));
    PN_TRY(pn_group_agree(g, e->join(id, g->rank, g->size)));
    g->exchange = e;
    g->exchanged = memory;
    return PN_OK;
}

pn_status pn_group_same(pn_group *g, pn_status if_not, const char *what, const char *word) {
    char first[WORD] = "";
    if (!g) return PN_OK;
    snprintf(first, sizeof first, "%s", word);
    PN_TRY(pn_group_share(g, first, sizeof first));
    return pn_group_agree(g,
                          strcmp(word, first) == 0
                              ? PN_OK
                              : pn_fail(if_not, "%s %s, want %s as rank 0 has", what, word, first));
}
