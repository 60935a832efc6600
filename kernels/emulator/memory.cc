/* memory.cc -- the emulated card's memory: blocks of their own, so that a pointer of the host given
 * to a kernel, or the other way round, is a mistake here too; and counters of what crosses. */
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "kernels/emulator/memory.h"
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

pn_status upload(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    traffic.uploads++;
    return PN_OK;
}

pn_status download(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    traffic.waits++;
    return PN_OK;
}

pn_status copy(void *to, const void *from, size_t bytes) {
    memcpy(to, from, bytes);
    return PN_OK;
}

pn_status clear(void *to, size_t bytes) {
    memset(to, 0, bytes);
    return PN_OK;
}

pn_status mark(int64_t *out) {
    static int64_t marks;
    *out = ++marks;
    return PN_OK;
}

/* Everything is done already; a host that waits for what it has just queued would really wait. */
pn_status wait(int64_t at) {
    (void)at;
    return PN_OK;
}

std::chrono::steady_clock::time_point stamped[PN_STAMPS];

pn_status stamp(int i) {
    stamped[i] = std::chrono::steady_clock::now();
    return PN_OK;
}

pn_status elapsed(int from, int to, double *ms) {
    *ms = std::chrono::duration<double, std::milli>(stamped[to] - stamped[from]).count();
    return PN_OK;
}

pn_stream stream() { return nullptr; }

pn_memory make_memory() {
    pn_memory m = pn_host_memory; /* address space and what is available are the host's */
    m.plain = 0;
    m.allocate = allocate;
    m.stage = allocate;
    m.upload = upload;
    m.download = download;
    m.copy = copy;
    m.clear = clear;
    m.mark = mark;
    m.wait = wait;
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
