/* counts.cc -- see counts.h. Like hooks.cc it is what kernels report to that were compiled with
 * -fsanitize=thread: every load and store, and (emulator.h) every multiply-add. */
#include "kernels/emulator/counts.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kernels/emulator/emulator.h"
#include "kernels/emulator/watch.h"

#define HERE __builtin_return_address(0)

namespace {

enum { MAX_THREADS = 1024, LANES = 32, WARPS = MAX_THREADS / LANES, BANKS = 32, SECTOR = 32 };

/* ---- requests -------------------------------------------------------------------------------- */

/* Where accesses come from: a line, or where a kernel has no word of gpu.h an instruction. */
struct site {
    const void *at;
    int line; /* 0: at is an instruction */
    bool writes;
    unsigned bytes;
    bool operator==(const site &o) const {
        return at == o.at && line == o.line && writes == o.writes && bytes == o.bytes;
    }
};
struct hash_site {
    size_t operator()(const site &s) const {
        return (reinterpret_cast<size_t>(s.at) * 31 + (size_t)s.line) * 64 + s.bytes + s.writes;
    }
};

struct request {
    uint32_t lanes;
    uintptr_t address[LANES];
};

/* What a warp has asked for from one site since the last barrier; how often each lane has. */
struct stretch {
    uint32_t times[LANES];
    size_t used;
    std::vector<request> requests;
};

struct {
    pn_counted *to;
    unsigned stride, blocks, warps;
    bool sampled, tail, counts; /* the block at hand */
    bool atomic;                /* it has done one */
    uintptr_t shared;
    size_t shared_bytes;
    std::vector<pn_interval> of_block;

    std::vector<site> sites;
    std::unordered_map<site, int, hash_site> numbers;
    std::vector<stretch> asked[WARPS]; /* by site */
    std::vector<int> touched[WARPS];
    std::unordered_set<uintptr_t> sectors; /* that the block has read */
    uint32_t fma[MAX_THREADS], mma[MAX_THREADS];
} now;

int number_of(const site &s) {
    static site last;
    static int last_number = -1;
    if (last_number >= 0 && last == s) return last_number;
    const auto found = now.numbers.emplace(s, (int)now.sites.size());
    if (found.second) now.sites.push_back(s);
    last = s;
    return last_number = found.first->second;
}

void note(const void *p, const site &s) {
    if (!now.counts || !pn_emulator_self || pn_emulator_private(p)) return;
    const unsigned thread = threadIdx.x, warp = thread / LANES, lane = thread % LANES;
    const size_t n = (size_t)number_of(s);
    std::vector<stretch> &all = now.asked[warp];
    if (n >= all.size()) all.resize(n + 64);
    stretch &t = all[n];
    if (t.used == 0) {
        memset(t.times, 0, sizeof t.times);
        now.touched[warp].push_back((int)n);
    }
    const size_t time = t.times[lane]++;
    if (time >= t.used) {
        t.used = time + 1;
        if (t.requests.size() < t.used) t.requests.resize(std::max<size_t>(2 * t.used, 16));
        t.requests[time].lanes = 0;
    }
    request &r = t.requests[time];
    r.lanes |= 1u << lane;
    r.address[lane] = reinterpret_cast<uintptr_t>(p);
}

/* ---- what a request costs -------------------------------------------------------------------- */

/* How often the fullest bank is asked, each time for another word, by `lanes`. */
unsigned conflicts(const request &r, uint32_t lanes, unsigned words) {
    uintptr_t seen[BANKS][LANES];
    unsigned count[BANKS] = {0}, most = 0;
    for (; lanes; lanes &= lanes - 1) {
        const uintptr_t word = (r.address[__builtin_ctz(lanes)] - now.shared) / 4;
        for (uintptr_t w = word; w < word + words; w++) {
            const unsigned bank = (unsigned)(w % BANKS);
            if (std::find(seen[bank], seen[bank] + count[bank], w) != seen[bank] + count[bank])
                continue;
            seen[bank][count[bank]++] = w;
            most = std::max(most, count[bank]);
        }
    }
    return most;
}

bool is_shared(const request &r) {
    return r.address[__builtin_ctz(r.lanes)] - now.shared < now.shared_bytes;
}

/* Sectors of a request, and how many of them the block has not read before. No access reaches into
 * two: each is aligned to its size. */
struct sectors {
    unsigned all, fresh;
};
sectors sectors_of(const request &r, bool reads) {
    uintptr_t seen[LANES];
    sectors s = {0, 0};
    for (uint32_t lanes = r.lanes; lanes; lanes &= lanes - 1) {
        const uintptr_t sector = r.address[__builtin_ctz(lanes)] / SECTOR;
        if (std::find(seen, seen + s.all, sector) != seen + s.all) continue;
        seen[s.all++] = sector;
        if (reads) s.fresh += now.sectors.insert(sector).second;
    }
    return s;
}

struct chain {
    double near, far;
};

/* By a word of gpu.h: 128 bytes at a time, so all lanes, sixteen, or eight. */
void add_word(const request &r, const site &s, pn_counts *c, chain *w) {
    unsigned turns = 0, cycles = 0;
    const unsigned words = s.bytes / 4, at_once = LANES / words;
    const bool shared = is_shared(r);
    for (unsigned q = 0; q < words; q++) {
        const uint32_t lanes = r.lanes & (0xffffffffu >> (LANES - at_once)) << at_once * q;
        turns += lanes != 0;
        if (shared) cycles += conflicts(r, lanes, words);
    }
    if (shared) {
        c->shared++;
        c->shared_cycles += cycles;
        c->shared_least += turns;
        if (!s.writes) w->near += s.bytes / 16.;
        return;
    }
    const sectors t = sectors_of(r, !s.writes);
    c->global++;
    c->global_cycles += std::max(turns, (t.all + 3) / 4);
    if (s.writes) {
        c->written += t.all;
        return;
    }
    c->read += t.fresh;
    (t.fresh ? w->far : w->near) += t.fresh ? 1 : s.bytes / 16.;
}

void add_narrow(const request &r, const site &s, pn_counts *c) {
    c->narrow++;
    if (is_shared(r)) {
        c->narrow_cycles += conflicts(r, r.lanes, (s.bytes + 3) / 4);
        return;
    }
    const sectors t = sectors_of(r, !s.writes);
    c->narrow_cycles += (t.all + 3) / 4;
    (s.writes ? c->narrow_written : c->narrow_read) += s.writes ? t.all : t.fresh;
}

/* ---- intervals ------------------------------------------------------------------------------- */

pn_interval *interval_of(pn_interval *list, int count, const char *file, int line, int tail) {
    for (int i = 0; i < count; i++)
        if (list[i].line == line && list[i].tail == tail && !strcmp(list[i].file, file))
            return &list[i];
    return nullptr;
}

void end_interval(const char *file, int line) {
    if (!now.counts) return;
    pn_counts c = {};
    c.runs = 1;
    for (unsigned v = 0; v < now.warps; v++) {
        chain w = {0, 0};
        for (const int n : now.touched[v]) {
            stretch &t = now.asked[v][(size_t)n];
            const site &s = now.sites[(size_t)n];
            for (size_t i = 0; i < t.used; i++) {
                if (s.line)
                    add_word(t.requests[i], s, &c, &w);
                else
                    add_narrow(t.requests[i], s, &c);
            }
            t.used = 0;
        }
        now.touched[v].clear();
        const uint32_t fma = *std::max_element(now.fma + v * LANES, now.fma + (v + 1) * LANES);
        c.fma += fma;
        c.chain_near = std::max(c.chain_near, w.near);
        c.chain_far = std::max(c.chain_far, w.far);
        c.chain_fma = std::max<double>(c.chain_fma, fma);
        const uint32_t mma = now.mma[v * LANES]; /* of all lanes alike */
        c.mma += mma;
        c.chain_mma = std::max<double>(c.chain_mma, mma);
    }
    memset(now.fma, 0, sizeof now.fma);
    memset(now.mma, 0, sizeof now.mma);
    pn_interval *i =
        interval_of(now.of_block.data(), (int)now.of_block.size(), file, line, now.tail);
    if (!i) {
        now.of_block.push_back({file, line, now.tail, {}, {}});
        i = &now.of_block.back();
    }
    pn_add_counts(&i->sum, 1, &c);
}

double cycles(const pn_counts *c) { return c->shared_cycles + c->global_cycles + c->narrow_cycles; }

/* ---- events ---------------------------------------------------------------------------------- */

void on_launch(unsigned blocks, unsigned threads) {
    now.blocks = blocks;
    now.warps = (threads + LANES - 1) / LANES;
    if (now.to) now.to->blocks += blocks;
}

void on_block(unsigned index, const char *shared, size_t bytes) {
    now.sampled = now.to && (index % now.stride == 0 || index == now.blocks - 1);
    now.counts = now.sampled;
    now.tail = false;
    now.atomic = false;
    now.shared = reinterpret_cast<uintptr_t>(shared);
    now.shared_bytes = bytes;
    now.sectors.clear();
    now.of_block.clear();
    if (now.sampled) now.to->counted++;
}

void on_barrier(const char *file, int line) {
    end_interval(file, line);
    if (!now.atomic) return;
    now.tail = true;
    now.counts = now.to;
}

void on_end() {
    if (!now.to) return;
    end_interval("", 0);
    double tail = 0, most = 0;
    for (const pn_interval &i : now.of_block)
        if (i.tail) tail += cycles(&i.sum);
    for (int i = 0; i < now.to->intervals; i++) most += cycles(&now.to->interval[i].most);
    if (tail > most)
        for (int i = 0; i < now.to->intervals; i++) now.to->interval[i].most = {};
    for (const pn_interval &i : now.of_block) {
        pn_interval *to = interval_of(now.to->interval, now.to->intervals, i.file, i.line, i.tail);
        if (!to) {
            if (now.to->intervals == PN_MOST_INTERVALS) abort();
            to = &now.to->interval[now.to->intervals++];
            *to = {i.file, i.line, i.tail, {}, {}};
        }
        pn_add_counts(&to->sum, 1, &i.sum);
        if (i.tail && tail > most) to->most = i.sum;
    }
}

void on_syncwarp(unsigned, unsigned) {}
void on_atomic(const void *, const void *) { now.atomic = true; }

const pn_emulator_watch watcher = {on_launch, on_block, on_barrier, on_syncwarp, on_atomic, on_end};
__attribute__((constructor)) void listen() { pn_emulator_watcher = &watcher; }

}  // namespace

/* ---- for programs ---------------------------------------------------------------------------- */

extern "C" void pn_count_launches(pn_counted *to, unsigned stride) {
    now.to = to;
    now.stride = stride;
    if (to) *to = {};
}

extern "C" void pn_add_counts(pn_counts *to, double times, const pn_counts *of) {
    static_assert(sizeof(pn_counts) % sizeof(double) == 0, "counts are doubles");
    double *const sums = reinterpret_cast<double *>(to);
    const double *const terms = reinterpret_cast<const double *>(of);
    for (size_t i = 0; i < sizeof *to / sizeof *sums; i++) sums[i] += times * terms[i];
}

extern "C" pn_counts pn_launch_counts(const pn_counted *launch) {
    pn_counts all = {};
    const double of_each = (double)launch->blocks / (double)launch->counted;
    for (int i = 0; i < launch->intervals; i++) {
        const pn_interval *v = &launch->interval[i];
        pn_add_counts(&all, v->tail ? 1 : of_each, &v->sum);
    }
    return all;
}

/* ---- what emulator.h puts in the place of its own -------------------------------------------- */

void pn_hooked_fence(void) {}

float4 pn_hooked_load4(const float *p, const char *file, int line) {
    note(p, {file, line, false, 16});
    return *reinterpret_cast<const float4 *>(p);
}
void pn_hooked_store4(float *p, const float4 &v, const char *file, int line) {
    note(p, {file, line, true, 16});
    *reinterpret_cast<float4 *>(p) = v;
}
uint2 pn_hooked_load_halves(const uint16_t *p, const char *file, int line) {
    note(p, {file, line, false, 8});
    return *reinterpret_cast<const uint2 *>(p);
}
void pn_hooked_store_halves(uint16_t *p, const uint2 &v, const char *file, int line) {
    note(p, {file, line, true, 8});
    *reinterpret_cast<uint2 *>(p) = v;
}
float pn_hooked_load1(const float *p, const char *file, int line) {
    note(p, {file, line, false, 4});
    return *p;
}
void pn_hooked_store2(float *p, const float2 &v, const char *file, int line) {
    note(p, {file, line, true, 8});
    *reinterpret_cast<float2 *>(p) = v;
}
void pn_hooked_mma(unsigned instructions) {
    if (now.counts && pn_emulator_self) now.mma[threadIdx.x] += instructions;
}
float pn_hooked_fma(float a, float b, float c) {
    if (now.counts && pn_emulator_self) now.fma[threadIdx.x]++;
    return a * b + c;
}

namespace {
/* Whole structures are left out: one thread copies its job. */
void touch(const void *at, size_t bytes, bool writes, bool, const void *pc) {
    if (bytes <= 16) note(at, {pc, 0, writes, (unsigned)bytes});
}
}  // namespace

#include "kernels/emulator/reports.h"
