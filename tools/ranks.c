/* ranks.c -- see ranks.h. */
#include "tools/ranks.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/exchange.h"
#include "tools/progress.h"

static pn_group *group;
static bool opened; /* or it was tried */
static bool alone;  /* whatever the launcher says */
static bool direct; /* sums are to go from card to card */

pn_group *pn_ranks(void) { return group; }

bool pn_ranks_lead(void) {
    return group ? pn_group_rank(group) == 0 : alone || pn_group_environment().rank == 0;
}

pn_status pn_ranks_open(const pn_work_options *options) {
    if (opened) return PN_OK;
    opened = true;
    PN_TRY(pn_group_open(&group, options ? options->group : "auto"));
    alone = !group;
    direct = group && options && strcmp(options->group, "nccl") == 0;
    if (options) pn_group_patience(group, options->patience);
    PN_TRY(pn_group_same(group, PN_EARG, "parsec-nas", PN_VERSION));
    return pn_group_introduce(group);
}

void pn_ranks_close(void) {
    pn_group_close(group);
    group = NULL;
}

/* ---- wishes ---------------------------------------------------------------------------------- */

static double saved, save_every; /* the last checkpoint, by pn_now; seconds */

static pn_wishes own_wishes(void) {
    return (pn_wishes){pn_stopped, pn_ranks_lead() && pn_now() - saved >= save_every};
}

pn_status pn_ranks_begin(double every, pn_wishes *wishes) {
    saved = pn_now();
    save_every = every;
    pn_group_listen(group, own_wishes);
    PN_TRY(pn_group_agree(group, PN_OK));
    *wishes = pn_ranks_wishes();
    return PN_OK;
}

/* Of one there need not have been a meeting. */
pn_wishes pn_ranks_wishes(void) {
    return pn_group_size(group) > 1 ? pn_group_heard(group) : own_wishes();
}

void pn_ranks_saved(pn_wishes *wishes) {
    saved = pn_now();
    const int stop = pn_ranks_wishes().stop;
    if (!wishes->stop) wishes->stop = stop;
}

/* ---- threads and devices --------------------------------------------------------------------- */

/* Cores of this machine, and those that this process may use. */
static int cores(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }
static int cores_given(void) { return omp_get_num_procs(); }

static void share_cores(const pn_device_options *o) {
    if (o->threads || getenv("OMP_NUM_THREADS") || cores_given() < cores()) return;
    const int each = cores() / pn_group_locals(group);
    omp_set_num_threads(each > 1 ? each : 1);
}

static int count_cards(void) {
    char card[200];
    int cards = 0;
    if (!strstr(pn_backend_names(), "cuda")) return 0;
    while (pn_backend_describe_card(cards, card, sizeof card) == PN_OK) cards++;
    return cards;
}

/* A card for each process of a host, in turn; "" leaves it as it was. */
static void choose_card(const pn_device_options *o, char name[32]) {
    const char *asked = o->device ? o->device : "auto";
    *name = 0;
    if (strcmp(asked, "auto") != 0 && strcmp(asked, "cuda") != 0) return;
    const int cards = count_cards();
    if (cards) snprintf(name, 32, "cuda:%d", pn_group_local(group) % cards);
}

static const char *const sets[] = {"base", "avx2", "avx512"}; /* each has what is before it */
enum { SETS = sizeof sets / sizeof *sets };

/* Of a table's name, "host-avx2-bf16"; -1: none of the host. */
static int set_of(const pn_kernels *k) {
    const char *name = k->name + strlen("host-");
    if (strncmp(k->name, "host-", strlen("host-")) != 0) return -1;
    for (int i = SETS - 1; i >= 0; i--)
        if (strncmp(name, sets[i], strlen(sets[i])) == 0) return i;
    return -1;
}

/* Last bits differ from one set to the next: all take the lowest, but for those who were told. */
static pn_status take_lowest(const pn_device_options *o, const pn_kernels **kernels) {
    const int own = set_of(*kernels);
    int64_t most[] = {own, -own}; /* the highest, and minus the lowest */
    PN_TRY(pn_group_most(group, most, sizeof most / sizeof *most));
    const int lowest = (int)-most[1];
    if (lowest >= 0 && own > lowest && !(o->device && strchr(o->device, ':'))) {
        char name[PN_BACKEND_NAME];
        snprintf(name, sizeof name, "cpu:%s%s", sets[lowest],
                 (*kernels)->name + strlen("host-") + strlen(sets[own]));
        PN_TRY(pn_backend_open(name, kernels));
    }
    if (most[0] != lowest && pn_ranks_lead())
        pn_note("%s: the instruction set that all ranks have", (*kernels)->name);
    return pn_group_same(group, PN_EARG, "device", (*kernels)->name);
}

static pn_status connect_cards(const pn_kernels *kernels) {
    const int cards = count_cards(), locals = pn_group_locals(group);
    const pn_status s =
        cards && locals > cards
            ? pn_fail(PN_EARG, "group nccl with %d ranks and %d card%s on a host, want a card each",
                      locals, cards, cards == 1 ? "" : "s")
            : PN_OK;
    PN_TRY(pn_group_agree(group, s));
    return pn_group_exchange(group, kernels->memory, pn_backend_exchange(kernels));
}

pn_status pn_ranks_device(const pn_device_options *options, const pn_kernels **kernels) {
    pn_device_options o = *options;
    char card[32];
    if (!group) return pn_device_open(options, kernels);
    choose_card(options, card);
    if (*card) o.device = card;
    PN_TRY(pn_device_open(&o, kernels));
    share_cores(&o);
    PN_TRY(take_lowest(options, kernels));
    return direct ? connect_cards(*kernels) : PN_OK;
}

void pn_ranks_introduce(void) {
    if (!group) return;
    pn_note("%d ranks, %d of them on this host", pn_group_size(group), pn_group_locals(group));
    if (cores_given() == 1 && cores() >= 2 * pn_group_locals(group)) {
        char text[160];
        snprintf(text, sizeof text,
                 "the launcher binds each rank to 1 of %d cores; mpirun --bind-to none gives all",
                 cores());
        pn_warn(text);
    }
}
