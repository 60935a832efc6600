/* budget.c -- see budget.h. */
#include "search/network/budget.h"

pn_status pn_budget_batch(pn_measure measure, void *self, int most, int shards, size_t limit,
                          int *batch) {
    int fits = 0, fails = most / shards + 1; /* images of a shard */
    while (fails - fits > 1) {
        int middle = fits + (fails - fits) / 2;
        size_t bytes;
        if (fits == 0 && middle > 64) middle = 64; /* most answers are near, and cheap to find */
        PN_TRY(measure(self, middle * shards, &bytes));
        *(bytes <= limit ? &fits : &fails) = middle;
    }
    *batch = fits * shards;
    return PN_OK;
}

size_t pn_budget_room(size_t limit, const pn_memory *memory) {
    return limit > memory->context_bytes ? limit - memory->context_bytes : 0;
}

pn_status pn_budget_check(pn_measure measure, void *self, const char *whose, int N, int shards,
                          size_t limit, const pn_memory *memory) {
    const double mib = 1 << 20;
    const size_t available = memory->available(), room = pn_budget_room(limit, memory);
    const int promised = limit > 0 && room <= available;
    const size_t most = promised ? room : available;
    size_t needed;
    int fits;
    PN_TRY(measure(self, N, &needed));
    if (needed <= most) return PN_OK;
    PN_TRY(pn_budget_batch(measure, self, N - 1, shards, most, &fits));
    const char *what = !promised               ? "what the device has"
                       : memory->context_bytes ? "the limit without the card's context"
                                               : "the limit";
    if (!fits)
        return pn_fail(PN_EMEM,
                       "memory: %s needs %.1f MiB at batch %d, %s is %.1f MiB; no batch would fit",
                       whose, (double)needed / mib, N, what, (double)most / mib);
    return pn_fail(PN_EMEM,
                   "memory: %s needs %.1f MiB at batch %d, %s is %.1f MiB; batch %d would fit",
                   whose, (double)needed / mib, N, what, (double)most / mib, fits);
}
