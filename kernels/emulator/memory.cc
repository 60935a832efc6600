/* memory.cc -- the emulated card's memory: blocks of their own, so that a pointer of the host given
 * to a kernel, or the other way round, is a mistake here too; and counters of what crosses. */
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/backend_parts.h"
#include "kernels/emulator/memory.h"
#include "kernels/emulator/streams.h"
#include "kernels/memory.h"

namespace {

const double mib = 1 << 20;
pn_emulated_traffic traffic;

pn_status allocate(size_t bytes, void **block) {
    /* To the byte, for AddressSanitizer to see the end. */
    if (posix_memalign(block, 256, bytes ? bytes : 1) != 0)
        return pn_fail(PN_EMEM, "emulated: %.1f MiB refused", (double)bytes / mib);
    memset(*block, 0, bytes);
    traffic.allocations++;
    return PN_OK;
}

/* What is on its way still uses memory that is given back: the host waits, as for a card. */
void release(void *block) {
    (void)pn_emulator_wait_all();
    free(block);
}

void unreserve(void *base, size_t bytes, size_t committed) {
    (void)pn_emulator_wait_all();
    pn_host_memory.unreserve(base, bytes, committed);
}

/* Page-locked memory is read when the upload comes to it, other memory of the host at once. */
std::map<const char *, size_t> staged;
std::mutex staging;

pn_status stage(size_t bytes, void **block) {
    PN_TRY(allocate(bytes, block));
    const std::lock_guard<std::mutex> lock(staging);
    staged[static_cast<char *>(*block)] = bytes;
    return PN_OK;
}

void unstage(void *block) {
    {
        const std::lock_guard<std::mutex> lock(staging);
        staged.erase(static_cast<char *>(block));
    }
    release(block);
}

bool is_staged(const void *p) {
    const char *at = static_cast<const char *>(p);
    const std::lock_guard<std::mutex> lock(staging);
    const auto behind = staged.upper_bound(at);
    if (behind == staged.begin()) return false;
    const auto block = std::prev(behind);
    return at < block->first + block->second;
}

pn_status upload(void *to, const void *from, size_t bytes) {
    traffic.uploads++;
    if (!pn_emulator_is_late() || is_staged(from))
        return pn_emulator_queue([=] { return memcpy(to, from, bytes), PN_OK; });
    const char *const first = static_cast<const char *>(from);
    const std::vector<char> now(first, first + bytes);
    return pn_emulator_queue([=] { return memcpy(to, now.data(), now.size()), PN_OK; });
}

pn_status download(void *to, const void *from, size_t bytes) {
    const int stream = pn_emulator_selected();
    traffic.waits++;
    PN_TRY(pn_emulator_wait(stream, pn_emulator_queued(stream)));
    memcpy(to, from, bytes);
    return PN_OK;
}

pn_status copy(void *to, const void *from, size_t bytes) {
    return pn_emulator_queue([=] { return memcpy(to, from, bytes), PN_OK; });
}

pn_status clear(void *to, size_t bytes) {
    return pn_emulator_queue([=] { return memset(to, 0, bytes), PN_OK; });
}

/* A mark of stream s behind its n-th piece of work: n * PN_STREAMS + s. */
pn_status mark(int64_t *out) {
    const int stream = pn_emulator_selected();
    *out = pn_emulator_queued(stream) * PN_STREAMS + stream;
    return PN_OK;
}

pn_status wait(int64_t at) { return pn_emulator_wait((int)(at % PN_STREAMS), at / PN_STREAMS); }

pn_status select_stream(int i) {
    PN_TRY(pn_check_stream(i));
    pn_emulator_select(i);
    return PN_OK;
}

pn_status follow(int of) {
    PN_TRY(pn_check_stream(of));
    return pn_emulator_follow(of);
}

std::chrono::steady_clock::time_point stamped[PN_STAMPS];

pn_status stamp(int i) {
    return pn_emulator_queue([=] {
        stamped[i] = std::chrono::steady_clock::now();
        return PN_OK;
    });
}

pn_status elapsed(int from, int to, double *ms) {
    PN_TRY(pn_emulator_wait_all());
    *ms = std::chrono::duration<double, std::milli>(stamped[to] - stamped[from]).count();
    return PN_OK;
}

pn_stream stream() { return nullptr; }

pn_memory make_memory() {
    pn_memory m = pn_host_memory; /* address space and what is available are the host's */
    m.plain = 0;
    m.allocate = allocate;
    m.release = release;
    m.stage = stage;
    m.unstage = unstage;
    m.unreserve = unreserve;
    m.upload = upload;
    m.download = download;
    m.copy = copy;
    m.clear = clear;
    m.mark = mark;
    m.wait = wait;
    m.select = select_stream;
    m.follow = follow;
    m.stamp = stamp;
    m.elapsed = elapsed;
    m.stream = stream;
    return m;
}

}  // namespace

extern "C" {
pn_memory pn_memory_emulated = make_memory();
}

extern "C" pn_emulated_traffic pn_emulated_traffic_so_far(void) { return traffic; }
