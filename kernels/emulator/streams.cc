/* streams.cc -- see streams.h. One host thread queues: late streams are for tests of that one. */
#include "kernels/emulator/streams.h"

#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "kernels/emulator/emulator.h"
#include "kernels/memory.h"

namespace {

struct piece {
    std::function<pn_status()> work; /* none: */
    int of;                          /* waits until so much of that stream is done */
    int64_t count;
};

struct stream {
    std::deque<piece> waiting;
    int64_t done = 0;
};

stream streams[PN_STREAMS];
int selected, turn;
std::string failed; /* what the first failure said */

uint64_t seed_from_environment() {
    const char *seed = getenv("PN_EMULATOR_STREAMS");
    return seed ? strtoull(seed, nullptr, 10) : 0;
}

/* 0: nothing is late. */
uint64_t &seed() {
    static uint64_t s = seed_from_environment();
    return s;
}

/* A linear congruential generator's upper bits (Knuth's MMIX). */
unsigned below(unsigned n) {
    static uint64_t state;
    state = (state + seed()) * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % n);
}

bool may_run(const stream &s) {
    if (s.waiting.empty()) return false;
    const piece &next = s.waiting.front();
    return next.work || streams[next.of].done >= next.count;
}

pn_status fail_again() { return pn_fail(PN_EDEVICE, "%s", failed.c_str()); }

pn_status run(stream *s) {
    const piece next = s->waiting.front();
    s->waiting.pop_front();
    const pn_status status = next.work ? next.work() : PN_OK;
    s->done++;
    if (status == PN_OK) return PN_OK;
    failed = pn_error();
    return fail_again();
}

/* A stream that may run keeps its turn for a thousand pieces in the mean: some passes. */
stream *next_to_run() {
    const bool lost = below(1000) == 0;
    for (unsigned tries = 0; lost || !may_run(streams[turn]); tries++) {
        turn = tries < 4 * PN_STREAMS ? (int)below(PN_STREAMS) : (turn + 1) % PN_STREAMS;
        if (may_run(streams[turn])) break;
    }
    return &streams[turn];
}

}  // namespace

bool pn_emulator_is_late() { return seed() != 0; }

extern "C" void pn_emulator_late(uint64_t wanted) {
    (void)pn_emulator_wait_all();
    seed() = wanted;
}

pn_status pn_emulator_queue(std::function<pn_status()> work) {
    if (!seed()) return work();
    if (!failed.empty()) return fail_again();
    streams[selected].waiting.push_back({std::move(work), 0, 0});
    return PN_OK;
}

void pn_emulator_select(int i) { selected = i; }
int pn_emulator_selected() { return selected; }

pn_status pn_emulator_follow(int of) {
    if (seed() && of != selected)
        streams[selected].waiting.push_back({nullptr, of, pn_emulator_queued(of)});
    return PN_OK;
}

int64_t pn_emulator_queued(int i) { return streams[i].done + (int64_t)streams[i].waiting.size(); }

pn_status pn_emulator_wait(int i, int64_t count) {
    if (!failed.empty()) return fail_again();
    if (streams[i].done < count) turn = (int)below(PN_STREAMS);
    while (streams[i].done < count) PN_TRY(run(next_to_run()));
    return PN_OK;
}

pn_status pn_emulator_wait_all() {
    for (int i = 0; i < PN_STREAMS; i++) PN_TRY(pn_emulator_wait(i, pn_emulator_queued(i)));
    return PN_OK;
}

/* A kernel's arguments are copied, as for a card; so is what its halves are. */
pn_status pn_emulator_launch(const char *what, gpu_grid g, void (*call)(const void *kernel),
                             const void *kernel, size_t bytes) {
    if (!seed()) return pn_emulator_run(what, g, call, kernel);
    const std::vector<char> copy(static_cast<const char *>(kernel),
                                 static_cast<const char *>(kernel) + bytes);
    const pn_storage halves = pn_emulator_halves;
    return pn_emulator_queue([=] {
        const pn_emulator_stores stored(halves);
        return pn_emulator_run(what, g, call, copy.data());
    });
}
