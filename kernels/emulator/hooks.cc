/* hooks.cc -- an exact race check: kernels compiled with -fsanitize=thread report every load and
 * store to functions that that option's own library would bring; here they are ours.
 *
 * A race is two accesses to one byte by two threads, one at least a write, with nothing between
 * them that orders them:
 *  - in one block, a __syncthreads(); in one warp, a __syncwarp() of both lanes (a shuffle orders
 * no memory);
 *  - between blocks of one launch, a ticket: the writer's __threadfence() after the write, an
 * atomic on some counter by the writer's block (by the thread that fenced, or after a barrier), a
 * later atomic on the same counter by the reader's block, and a __threadfence() there by the reader
 * (or before a barrier), which must come after that atomic (or after a barrier after it). Atomics
 * do not race with each other. A counter may be written plainly by who has done an atomic on it, as
 * those before have been done by then. Launches follow each other.
 *
 * Time is counted in ticks: one for every barrier, __syncwarp, fence and atomic. All blocks run one
 * after another, so a word needs to remember its last write, and of its reads two of this block and
 * one of another. */
#include <dlfcn.h>
#include <unistd.h>

#include <bitset>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/emulator/emulator.h"
#include "kernels/emulator/watch.h"

#define HERE __builtin_return_address(0)

namespace {

enum { MAX_THREADS = 1024, LANES = 32, PAGE_WORDS = 1024 };

/* ---- what a word remembers ------------------------------------------------------------------- */

struct mark {
    uint32_t block; /* counted over all launches, from 1 */
    uint32_t tick;
    int32_t pc; /* distance from an address in this program */
    uint16_t thread;
    bool atomic;
};

struct cell {
    mark write, read, other, earlier; /* reads: the last; of another warp; of an earlier block */
    uint32_t lanes;                   /* of read's warp that have read */
};

struct page {
    uintptr_t number;
    cell *bytes; /* instead of words, of those of which parts have been used */
    uint64_t split[PAGE_WORDS / 64];
    cell words[PAGE_WORDS];
};

/* ---- what a block and a launch have done ----------------------------------------------------- */

struct release { /* what an atomic made ready to be seen */
    const void *counter;
    std::vector<uint32_t> before; /* per thread: accesses earlier than this tick */
};
struct acquisition { /* what a block's atomic may have come after */
    const void *counter;
    size_t releases; /* the first so many of the launch */
    uint32_t tick;
    unsigned thread;
    bool all;                      /* fenced, for all threads; or for some: */
    std::bitset<MAX_THREADS> some; /* (those that fenced since) */
};

struct {
    uint32_t first, block; /* of the launch; the one that runs */
    uint32_t tick, epoch;  /* now; at the last barrier */
    unsigned threads, number;
    const char *shared;
    size_t shared_bytes;

    uint32_t seen[MAX_THREADS][LANES]; /* what a __syncwarp showed of each lane */
    uint32_t fence[MAX_THREADS], fence_past[MAX_THREADS]; /* since the last barrier; before it */
    uint32_t fenced; /* accesses before this tick have a fence of some thread behind them */
    bool any_fence;  /* since the last barrier */
    std::vector<acquisition> acquired;

    std::vector<release> releases;
    std::vector<std::vector<unsigned>> of_block; /* which releases */
} now;

/* ---- source lines ---------------------------------------------------------------------------- */

void anchor() {}
int32_t pack(const void *pc) {
    return (int32_t)(static_cast<const char *>(pc) - reinterpret_cast<const char *>(anchor));
}
const char *unpack(int32_t pc) { return reinterpret_cast<const char *>(anchor) + pc; }

/* "kernels/cuda/x.cu:12", by addr2line: of the frames inlined there the innermost that is no file
 * of the emulator's. */
std::string find_line(int32_t packed) {
    const char *pc = unpack(packed) - 1; /* within the call */
    Dl_info info;
    char text[1024];
    if (!dladdr(pc, &info) || !info.dli_fname) return "?";
    const unsigned long offset = (unsigned long)(pc - static_cast<const char *>(info.dli_fbase));
    const ssize_t n = readlink("/proc/self/exe", text, sizeof text - 1);
    const std::string program(text, n > 0 ? (size_t)n : 0);
    snprintf(text, sizeof text, "+0x%lx", offset);
    std::string found = program + text;
    /* Some instructions have no line: then those a little before. */
    snprintf(text, sizeof text, "' 0x%lx 0x%lx 0x%lx 2>/dev/null", offset, offset - 5, offset - 10);
    FILE *f = popen(("addr2line -i -e '" + program + text).c_str(), "r");
    if (!f) return found;
    while (fgets(text, sizeof text, f)) {
        text[strcspn(text, " \n")] = 0;
        if (strchr(text, '?') || strstr(text, "emulator/emulator.h")) continue;
        const char *from = strstr(text, "/kernels/");
        if (!from) from = strstr(text, "/tests/");
        found = from ? from + 1 : text;
        break;
    }
    pclose(f);
    return found;
}

/* ---- order ----------------------------------------------------------------------------------- */

bool same_warp(const mark &a, const mark &b) { return a.thread / LANES == b.thread / LANES; }

/* Has what the lane did by that tick been shown to `me` by a __syncwarp? */
bool shown(const mark &me, unsigned lane, uint32_t tick) {
    return now.seen[me.thread][lane] > tick;
}

bool after_ticket(const mark &old, const mark &me, const void *word) {
    for (const acquisition &a : now.acquired) {
        const bool mine = a.thread == me.thread || a.tick < now.epoch;
        if (old.atomic && mine && a.counter == word) return true;
        if (!a.all && !a.some[me.thread]) continue;
        for (unsigned r : now.of_block[old.block - now.first])
            if (r < a.releases && now.releases[r].counter == a.counter &&
                old.tick < now.releases[r].before[old.thread])
                return true;
    }
    return false;
}

/* Does `old` come before what `me` is doing now? */
bool ordered(const mark &old, const mark &me, const void *word) {
    if (old.block < now.first) return true; /* an earlier launch, or nothing */
    if (old.block != me.block) {
        if ((size_t)(static_cast<const char *>(word) - now.shared) < now.shared_bytes) return true;
        return after_ticket(old, me, word);
    }
    if (old.thread == me.thread || old.tick < now.epoch) return true;
    return same_warp(old, me) && shown(me, old.thread % LANES, old.tick);
}

struct {
    mark old, me;
    bool wrote, writes, shared;
} found; /* the race */

const char *verb(const mark &m, bool write, const char *atomic, const char *writes,
                 const char *reads) {
    return m.atomic ? atomic : write ? writes : reads;
}

void explain(char *to, size_t bytes) {
    const std::string here = find_line(found.me.pc), there = find_line(found.old.pc);
    snprintf(to, bytes,
             "race: %s %s memory at %s, which thread %u %s%s at %s, and nothing orders them",
             verb(found.me, found.writes, "changes by an atomic", "writes", "reads"),
             found.shared ? "shared" : "global", here.c_str(), (unsigned)found.old.thread,
             found.old.block != found.me.block ? "of another block " : "",
             verb(found.old, found.wrote, "changed by an atomic", "wrote", "read"), there.c_str());
}

[[noreturn]] void race(const mark &old, const mark &me, bool wrote, bool writes, const void *p) {
    const bool shared = (size_t)(static_cast<const char *>(p) - now.shared) < now.shared_bytes;
    found = {old, me, wrote, writes, shared};
    pn_emulator_fault(explain);
}

/* ---- accesses -------------------------------------------------------------------------------- */

void check(cell *c, const mark &me, bool writes, const void *p) {
    const void *const word = static_cast<const char *>(p) - reinterpret_cast<uintptr_t>(p) % 4;
    if (!(c->write.atomic && me.atomic) && !ordered(c->write, me, word))
        race(c->write, me, true, writes, p);
    if (!writes) {
        mark *const r = &c->read;
        const uint32_t bit = 1u << me.thread % LANES;
        if (r->block == me.block && same_warp(*r, me)) {
            for (uint32_t lanes = c->lanes & ~bit; lanes; lanes &= lanes - 1) {
                const unsigned lane = (unsigned)__builtin_ctz(lanes);
                if (r->tick < now.epoch || shown(me, lane, r->tick)) c->lanes &= ~(1u << lane);
            }
            c->lanes |= bit;
        } else {
            if (r->block == me.block)
                c->other = *r;
            else if (r->block >= now.first)
                c->earlier = *r;
            c->lanes = bit;
        }
        *r = me;
        return;
    }
    const mark &r = c->read;
    if (r.block == me.block && same_warp(r, me)) {
        if (r.tick >= now.epoch)
            for (uint32_t lanes = c->lanes; lanes; lanes &= lanes - 1) {
                const unsigned lane = (unsigned)__builtin_ctz(lanes);
                if (lane == me.thread % LANES || shown(me, lane, r.tick)) continue;
                mark other = r;
                other.thread = (uint16_t)(me.thread / LANES * LANES + lane);
                race(other, me, false, true, p);
            }
    } else if (!ordered(r, me, word)) {
        race(r, me, false, true, p);
    }
    if (!ordered(c->other, me, word)) race(c->other, me, false, true, p);
    if (!ordered(c->earlier, me, word)) race(c->earlier, me, false, true, p);
    c->write = me;
    c->read.block = c->other.block = c->earlier.block = 0;
}

/* Open addressing; half empty at least. */
std::vector<page *> pages(1 << 12);
size_t pages_used;

page *last;

/* Between launches: what is remembered has no meaning any more, and takes 18 times the memory. */
void forget_pages() {
    for (page *&p : pages) {
        if (p) free(p->bytes);
        free(p);
        p = nullptr;
    }
    pages_used = 0;
    last = nullptr;
}

page *find_page(uintptr_t number) {
    if (last && last->number == number) return last;
    size_t mask = pages.size() - 1, i = (number * 0x9e3779b97f4a7c15u >> 20) & mask;
    while (pages[i] && pages[i]->number != number) i = (i + 1) & mask;
    if (!pages[i]) {
        if (2 * ++pages_used > pages.size()) {
            std::vector<page *> old(2 * pages.size());
            old.swap(pages);
            mask = pages.size() - 1;
            for (page *p : old) {
                if (!p) continue;
                i = (p->number * 0x9e3779b97f4a7c15u >> 20) & mask;
                while (pages[i]) i = (i + 1) & mask;
                pages[i] = p;
            }
            i = (number * 0x9e3779b97f4a7c15u >> 20) & mask;
            while (pages[i]) i = (i + 1) & mask;
        }
        pages[i] = static_cast<page *>(calloc(1, sizeof(page)));
        if (!pages[i]) abort();
        pages[i]->number = number;
    }
    return last = pages[i];
}

void split(page *p, unsigned word) {
    p->split[word / 64] |= (uint64_t)1 << word % 64;
    if (!p->bytes) p->bytes = static_cast<cell *>(calloc((size_t)4 * PAGE_WORDS, sizeof(cell)));
    if (!p->bytes) abort();
    for (unsigned b = 0; b < 4; b++) p->bytes[4 * word + b] = p->words[word];
}

void touch(const void *at, size_t bytes, bool writes, bool atomic, const void *pc) {
    if (!pn_emulator_self || pn_emulator_private(at)) return;
    const mark me = {now.block, now.tick, pack(pc), (uint16_t)threadIdx.x, atomic};
    const char *c = static_cast<const char *>(at), *const end = c + bytes;
    while (c < end) {
        const uintptr_t a = reinterpret_cast<uintptr_t>(c);
        page *const p = find_page(a / (4 * PAGE_WORDS));
        const unsigned word = (unsigned)(a / 4 % PAGE_WORDS);
        const bool whole = a % 4 == 0 && end - c >= 4;
        const bool is_split = p->split[word / 64] >> word % 64 & 1;
        if (whole && !is_split) {
            check(&p->words[word], me, writes, c);
            c += 4;
            continue;
        }
        if (!is_split) split(p, word);
        for (unsigned b = (unsigned)(a % 4); b < 4 && c < end; b++, c++)
            check(&p->bytes[4 * word + b], me, writes, c);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

void on_launch(unsigned blocks, unsigned threads) {
    if (pages_used > 1 << 14) forget_pages();
    now.first = now.block + 1;
    now.threads = threads;
    now.tick = 1;
    now.releases.clear();
    now.of_block.assign(blocks, {});
}

void on_block(unsigned index, const char *shared, size_t bytes) {
    now.block++;
    now.number = index;
    now.epoch = ++now.tick;
    now.shared = shared;
    now.shared_bytes = bytes;
    now.fenced = 0;
    now.any_fence = false;
    now.acquired.clear();
    memset(now.seen, 0, now.threads * sizeof *now.seen);
    memset(now.fence, 0, sizeof now.fence);
    memset(now.fence_past, 0, sizeof now.fence_past);
}

void on_barrier(const char *, int) {
    if (now.any_fence) {
        now.fenced = now.epoch;
        for (unsigned t = 0; t < now.threads; t++) {
            if (now.fence[t]) now.fence_past[t] = now.fence[t];
            now.fence[t] = 0;
        }
        now.any_fence = false;
        for (acquisition &a : now.acquired) a.all |= a.some.any();
    }
    now.epoch = ++now.tick;
}

void on_syncwarp(unsigned warp, unsigned mask) {
    uint32_t seen[LANES] = {0};
    const uint32_t tick = ++now.tick;
    for (unsigned lanes = mask; lanes; lanes &= lanes - 1) {
        const uint32_t *of = now.seen[warp * LANES + (unsigned)__builtin_ctz(lanes)];
        for (unsigned i = 0; i < LANES; i++) seen[i] = of[i] > seen[i] ? of[i] : seen[i];
    }
    for (unsigned i = 0; i < LANES; i++)
        if (mask >> i & 1) seen[i] = tick;
    for (unsigned lanes = mask; lanes; lanes &= lanes - 1)
        memcpy(now.seen[warp * LANES + (unsigned)__builtin_ctz(lanes)], seen, sizeof seen);
}

void on_atomic(const void *p, const void *pc) {
    touch(p, 4, true, true, pc);
    if (!pn_emulator_self || pn_emulator_private(p)) return;
    const unsigned thread = threadIdx.x;
    now.tick++;
    now.acquired.push_back({p, now.releases.size(), now.tick, thread, false, {}});

    release r = {p, std::vector<uint32_t>(now.threads)};
    const uint32_t all = now.fence[thread] ? now.epoch : now.fenced;
    bool any = all != 0;
    for (unsigned t = 0; t < now.threads; t++) {
        uint32_t before = now.fence_past[t] > all ? now.fence_past[t] : all;
        const bool same = t / LANES == thread / LANES;
        if (now.fence[t] && (t == thread || (same && now.seen[thread][t % LANES] > now.fence[t])))
            before = now.fence[t];
        r.before[t] = before;
        any |= before != 0;
    }
    if (!any) return;
    now.of_block[now.block - now.first].push_back((unsigned)now.releases.size());
    now.releases.push_back(std::move(r));
}

const pn_emulator_watch watcher = {on_launch,   on_block,  on_barrier,
                                   on_syncwarp, on_atomic, nullptr};
__attribute__((constructor)) void listen() { pn_emulator_watcher = &watcher; }

}  // namespace

/* ---- what emulator.h puts in the place of its own -------------------------------------------- */

void pn_hooked_fence(void) {
    if (!pn_emulator_self) return;
    const unsigned t = threadIdx.x;
    now.fence[t] = ++now.tick;
    now.any_fence = true;
    for (acquisition &a : now.acquired)
        if (a.thread == t || a.tick < now.epoch) a.some[t] = true;
}

float4 pn_hooked_load4(const float *p, const char *, int) {
    touch(p, 16, false, false, HERE);
    return *reinterpret_cast<const float4 *>(p);
}
void pn_hooked_store4(float *p, const float4 &v, const char *, int) {
    touch(p, 16, true, false, HERE);
    *reinterpret_cast<float4 *>(p) = v;
}
uint2 pn_hooked_load_halves(const uint16_t *p, const char *, int) {
    touch(p, 8, false, false, HERE);
    return *reinterpret_cast<const uint2 *>(p);
}
void pn_hooked_store_halves(uint16_t *p, const uint2 &v, const char *, int) {
    touch(p, 8, true, false, HERE);
    *reinterpret_cast<uint2 *>(p) = v;
}
float pn_hooked_load1(const float *p, const char *, int) {
    touch(p, 4, false, false, HERE);
    return *p;
}
void pn_hooked_store2(float *p, const float2 &v, const char *, int) {
    touch(p, 8, true, false, HERE);
    *reinterpret_cast<float2 *>(p) = v;
}
float pn_hooked_fma(float a, float b, float c) { return a * b + c; }
void pn_hooked_mma(unsigned) {}

#include "kernels/emulator/reports.h"
