/* memory.cc -- the card: which one, its memory, its streams. Host code alone; what only the
 * driver has (virtual memory) is looked up at run time, so that the program starts without one. */
#include <cuda.h>
#include <cuda_runtime.h>
#if __has_include(<nvtx3/nvToolsExt.h>) /* a package of its own */
#include <nvtx3/nvToolsExt.h>
#define HAVE_NVTX
#endif

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/backend_parts.h"

extern "C" pn_memory pn_memory_cuda;           /* made before main; opening a card completes it */
extern "C" const void *pn_a_kernel_cuda(void); /* any one: table.cu */

static long launches;
extern "C" long pn_launches_cuda(void) { return launches; }
extern "C" void pn_count_launch_cuda(void) { launches++; }

static unsigned overlaps;
extern "C" unsigned pn_overlaps_cuda(void) { return overlaps; }

namespace {

enum { OLDEST = 75, EVENTS = 64 };
const double mib = 1 << 20;

struct line {
    cudaStream_t stream = nullptr; /* made when first selected */
    cudaEvent_t event[EVENTS] = {};
    int64_t marks = 0;
    cudaEvent_t end = nullptr; /* what others follow */
};

struct {
    int index = -1;
    int capability = 0; /* times 10 */
    bool virtual_memory = false;
    line lines[PN_STREAMS];
    int selected = 0;
    cudaStream_t stream = nullptr;     /* the selected one's */
    cudaEvent_t stamp[PN_STAMPS] = {}; /* made when first used */
} card;

const size_t UNIT = 2 << 20; /* the granularity of physical memory on every card there is */

pn_status failed(const char *what, cudaError_t e) {
    if (e == cudaErrorMemoryAllocation)
        return pn_fail(PN_EMEM, "cuda:%d: %s: out of memory", card.index, what);
    return pn_fail(PN_EDEVICE, "cuda:%d: %s: %s", card.index, what, cudaGetErrorString(e));
}
#define CUDA_TRY(what, call)                            \
    do {                                                \
        const cudaError_t e_ = (call);                  \
        if (e_ != cudaSuccess) return failed(what, e_); \
    } while (0)

/* ---- blocks ---------------------------------------------------------------------------------- */

size_t available() {
    size_t free_bytes = 0, total = 0;
    return cudaMemGetInfo(&free_bytes, &total) == cudaSuccess ? free_bytes : 0;
}

/* What is in use of the card when nothing is allocated yet is the context, if no one else is on the
 * card; of two contexts' size it need not be. */
size_t context_bytes() {
    size_t free_bytes = 0, total = 0;
    if (cudaMemGetInfo(&free_bytes, &total) != cudaSuccess) return PN_CONTEXT_ALLOWANCE;
    const size_t used = total - free_bytes;
    return used <= 2 * (size_t)PN_CONTEXT_ALLOWANCE ? used : (size_t)PN_CONTEXT_ALLOWANCE;
}

pn_status no_memory(size_t bytes) {
    return pn_fail(PN_EMEM, "cuda:%d: %.1f MiB are needed, %.1f MiB are available", card.index,
                   (double)bytes / mib, (double)available() / mib);
}

pn_status allocate(size_t bytes, void **block) {
    *block = nullptr;
    const cudaError_t e = cudaMalloc(block, bytes ? bytes : 1);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return no_memory(bytes);
    }
    CUDA_TRY("allocate", e);
    CUDA_TRY("clear", cudaMemsetAsync(*block, 0, bytes, card.stream));
    return PN_OK;
}

void release(void *block) { (void)cudaFree(block); }

pn_status stage(size_t bytes, void **block) {
    *block = nullptr;
    const cudaError_t e = cudaHostAlloc(block, bytes ? bytes : 1, cudaHostAllocDefault);
    if (e == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return pn_fail(PN_EMEM, "memory: %.1f MiB of page-locked memory refused",
                       (double)bytes / mib);
    }
    CUDA_TRY("page-locked memory", e);
    memset(*block, 0, bytes);
    return PN_OK;
}

void unstage(void *block) { (void)cudaFreeHost(block); }

/* ---- address space --------------------------------------------------------------------------- */

/* A function of the driver; NULL if it has none of that name. */
template <class F>
F driver(const char *name, F) {
    void *f = nullptr;
    cudaDriverEntryPointQueryResult found;
#if CUDART_VERSION >= 13000
    const cudaError_t e =
        cudaGetDriverEntryPointByVersion(name, &f, 12000, cudaEnableDefault, &found);
#else
    const cudaError_t e = cudaGetDriverEntryPoint(name, &f, cudaEnableDefault, &found);
#endif
    return e == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<F>(f)
                                                                    : nullptr;
}
#define DRIVER(name) driver<decltype(&name)>(#name, nullptr)

struct piece {
    CUdeviceptr at;
    size_t bytes;
    CUmemGenericAllocationHandle handle;
};
std::vector<piece> pieces; /* of all arenas there are */

CUmemAllocationProp kind_of_memory() {
    CUmemAllocationProp p = {};
    p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p.location.id = card.index;
    return p;
}

pn_status driver_failed(const char *what, CUresult r, size_t bytes) {
    if (r == CUDA_ERROR_OUT_OF_MEMORY) return no_memory(bytes);
    return pn_fail(PN_EDEVICE, "cuda:%d: %s: driver error %d", card.index, what, (int)r);
}

pn_status reserve(size_t bytes, void **base) {
    CUdeviceptr at = 0;
    *base = nullptr;
    if (!card.virtual_memory) return allocate(1, base); /* commit allocates */
    const CUresult r = DRIVER(cuMemAddressReserve)(&at, bytes, UNIT, 0, 0);
    if (r != CUDA_SUCCESS) return driver_failed("address space", r, bytes);
    *base = reinterpret_cast<void *>(at);
    return PN_OK;
}

pn_status commit(void **base, size_t from, size_t to) {
    if (!card.virtual_memory) {
        release(*base);
        return allocate(to, base);
    }
    const CUmemAllocationProp kind = kind_of_memory();
    piece p = {reinterpret_cast<CUdeviceptr>(*base) + from, to - from, 0};
    CUmemAccessDesc access = {};
    access.location = kind.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    CUresult r = DRIVER(cuMemCreate)(&p.handle, p.bytes, &kind, 0);
    if (r != CUDA_SUCCESS) return driver_failed("memory", r, p.bytes);
    r = DRIVER(cuMemMap)(p.at, p.bytes, 0, p.handle, 0);
    if (r != CUDA_SUCCESS) {
        (void)DRIVER(cuMemRelease)(p.handle);
        return driver_failed("map", r, p.bytes);
    }
    pieces.push_back(p);
    r = DRIVER(cuMemSetAccess)(p.at, p.bytes, &access, 1);
    return r == CUDA_SUCCESS ? PN_OK : driver_failed("access", r, p.bytes);
}

void unreserve(void *base, size_t bytes, size_t committed) {
    (void)committed;
    if (!card.virtual_memory) {
        release(base);
        return;
    }
    const CUdeviceptr begin = reinterpret_cast<CUdeviceptr>(base);
    (void)cudaDeviceSynchronize();
    for (size_t i = pieces.size(); i-- > 0;) {
        const piece p = pieces[i];
        if (p.at < begin || p.at >= begin + bytes) continue;
        (void)DRIVER(cuMemUnmap)(p.at, p.bytes);
        (void)DRIVER(cuMemRelease)(p.handle);
        pieces.erase(pieces.begin() + (std::ptrdiff_t)i);
    }
    (void)DRIVER(cuMemAddressFree)(begin, bytes);
}

/* ---- the streams ----------------------------------------------------------------------------- */

pn_status upload(void *to, const void *from, size_t bytes) {
    CUDA_TRY("upload", cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, card.stream));
    return PN_OK;
}

pn_status download(void *to, const void *from, size_t bytes) {
    CUDA_TRY("download", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, card.stream));
    CUDA_TRY("download", cudaStreamSynchronize(card.stream));
    return PN_OK;
}

pn_status copy(void *to, const void *from, size_t bytes) {
    CUDA_TRY("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, card.stream));
    return PN_OK;
}

pn_status clear(void *to, size_t bytes) {
    CUDA_TRY("clear", cudaMemsetAsync(to, 0, bytes, card.stream));
    return PN_OK;
}

/* Number m of stream s is m * PN_STREAMS + s, from 1 on, and has event[m % EVENTS] there. */
pn_status mark(int64_t *out) {
    line &l = card.lines[card.selected];
    *out = ++l.marks * PN_STREAMS + card.selected;
    CUDA_TRY("mark", cudaEventRecord(l.event[l.marks % EVENTS], l.stream));
    return PN_OK;
}

/* An event taken since by a later mark waits for that one: longer than need be, never less. */
pn_status wait(int64_t at) {
    if (at)
        CUDA_TRY("wait",
                 cudaEventSynchronize(card.lines[at % PN_STREAMS].event[at / PN_STREAMS % EVENTS]));
    return PN_OK;
}

pn_status make_line(line *l) {
    CUDA_TRY("stream", cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking));
    for (int i = 0; i < EVENTS; i++)
        CUDA_TRY("event", cudaEventCreateWithFlags(&l->event[i], cudaEventDisableTiming));
    CUDA_TRY("event", cudaEventCreateWithFlags(&l->end, cudaEventDisableTiming));
    return PN_OK;
}

pn_status select_stream(int i) {
    PN_TRY(pn_check_stream(i));
    if (!card.lines[i].stream) PN_TRY(make_line(&card.lines[i]));
    card.selected = i;
    card.stream = card.lines[i].stream;
    return PN_OK;
}

/* Of a stream that was never selected there is nothing to wait for. */
pn_status follow(int of) {
    PN_TRY(pn_check_stream(of));
    const line &l = card.lines[of];
    if (!l.stream || of == card.selected) return PN_OK;
    CUDA_TRY("follow", cudaEventRecord(l.end, l.stream));
    CUDA_TRY("follow", cudaStreamWaitEvent(card.stream, l.end, 0));
    return PN_OK;
}

pn_status stamp(int i) {
    cudaEvent_t *event = &card.stamp[i];
    if (!*event) CUDA_TRY("stamp", cudaEventCreate(event));
    CUDA_TRY("stamp", cudaEventRecord(*event, card.stream));
    return PN_OK;
}

pn_status elapsed(int from, int to, double *ms) {
    float found = 0;
    CUDA_TRY("elapsed", cudaEventSynchronize(card.stamp[to]));
    CUDA_TRY("elapsed", cudaEventElapsedTime(&found, card.stamp[from], card.stamp[to]));
    *ms = found;
    return PN_OK;
}

pn_stream stream() { return reinterpret_cast<pn_stream>(card.stream); }

#ifdef HAVE_NVTX
void range(const char *name) {
    if (name)
        (void)nvtxRangePushA(name);
    else
        (void)nvtxRangePop();
}
#else
constexpr void (*range)(const char *) = nullptr;
#endif

/* ---- the card -------------------------------------------------------------------------------- */

pn_status no_card(cudaError_t e) {
    if (e == cudaErrorInsufficientDriver) {
        int version = 0;
        (void)cudaDriverGetVersion(&version);
        if (version == 0)
            return pn_fail(PN_EDEVICE,
                           "there is no NVIDIA driver on this machine; --device cpu needs none");
        return pn_fail(PN_EDEVICE, "the driver is for CUDA %d.%d, want %d.%d or later",
                       version / 1000, version % 1000 / 10, CUDART_VERSION / 1000,
                       CUDART_VERSION % 1000 / 10);
    }
    if (e == cudaErrorNoDevice)
        return pn_fail(PN_EDEVICE,
                       "there is no NVIDIA card on this machine; --device cpu needs none");
    return pn_fail(PN_EDEVICE, "%s", cudaGetErrorString(e));
}

/* Has this binary code for the card at hand? */
cudaError_t probe() {
    cudaFuncAttributes a;
    const cudaError_t e = cudaFuncGetAttributes(&a, pn_a_kernel_cuda());
    (void)cudaGetLastError();
    return e;
}

/* May a launch come up while the one before it runs? Where our code waits (gpu.h), which code for
 * older cards does not, even if the driver compiles it for a new one. PARSEC_PDL=0: nowhere. */
bool may_overlap(int major) {
    const char *wish = getenv("PARSEC_PDL");
    cudaFuncAttributes a;
    if (major < 9 || (wish && !strcmp(wish, "0"))) return false;
    return cudaFuncGetAttributes(&a, pn_a_kernel_cuda()) == cudaSuccess && a.ptxVersion >= 90;
}

bool has_virtual_memory(int index) {
    int supported = 0;
    size_t unit = 0;
    const auto attribute = DRIVER(cuDeviceGetAttribute);
    const auto granularity = DRIVER(cuMemGetAllocationGranularity);
    const CUmemAllocationProp kind = kind_of_memory();
    return attribute && granularity && DRIVER(cuMemAddressReserve) && DRIVER(cuMemCreate) &&
           DRIVER(cuMemMap) && DRIVER(cuMemSetAccess) && DRIVER(cuMemUnmap) &&
           DRIVER(cuMemRelease) && DRIVER(cuMemAddressFree) &&
           attribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, index) ==
               CUDA_SUCCESS &&
           supported &&
           granularity(&unit, &kind, CU_MEM_ALLOC_GRANULARITY_MINIMUM) == CUDA_SUCCESS && unit &&
           UNIT % unit == 0;
}

pn_status open_card(int index) {
    int count = 0;
    cudaDeviceProp p;
    const cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess || count == 0) return no_card(e == cudaSuccess ? cudaErrorNoDevice : e);
    if (index < 0 || index >= count)
        return pn_fail(PN_EDEVICE, "this machine has %d card%s, want 0 to %d", count,
                       count == 1 ? "" : "s", count - 1);
    CUDA_TRY("properties", cudaGetDeviceProperties(&p, index));
    if (10 * p.major + p.minor < OLDEST)
        return pn_fail(PN_EDEVICE, "%s has compute capability %d.%d, want %d.%d or more", p.name,
                       p.major, p.minor, OLDEST / 10, OLDEST % 10);
    CUDA_TRY("select", cudaSetDevice(index));
    const cudaError_t can = probe();
    if (can == cudaErrorNoKernelImageForDevice || can == cudaErrorInvalidDeviceFunction)
        return pn_fail(PN_EDEVICE,
                       "this build has no code for %s (compute capability %d.%d); build with "
                       "-DCMAKE_CUDA_ARCHITECTURES=%d%d",
                       p.name, p.major, p.minor, p.major, p.minor);
    CUDA_TRY("probe", can);
    PN_TRY(select_stream(0));
    card.index = index;
    card.capability = 10 * p.major + p.minor;
    card.virtual_memory = has_virtual_memory(index);
    pn_memory_cuda.moves = !card.virtual_memory;
    pn_memory_cuda.context_bytes = context_bytes();
    pn_memory_cuda.processors = p.multiProcessorCount;
    overlaps = may_overlap(p.major);
    return PN_OK;
}

pn_memory make_memory() {
    pn_memory m = {};
    m.allocate = allocate;
    m.release = release;
    m.stage = stage;
    m.unstage = unstage;
    m.unit = UNIT;
    m.reserve = reserve;
    m.commit = commit;
    m.unreserve = unreserve;
    m.available = available;
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
    m.range = range;
    return m;
}

}  // namespace

extern "C" {
pn_memory pn_memory_cuda = make_memory();
}

extern "C" const pn_kernels *pn_cuda_kernels(int index, pn_precision precision) {
    if (card.index < 0 && open_card(index) != PN_OK) return nullptr;
    if (card.index != index) {
        (void)pn_fail(PN_EARG, "this process works on cuda:%d already", card.index);
        return nullptr;
    }
    if (pn_check_capability(card.capability, precision) != PN_OK) return nullptr;
    return pn_kernels_cuda(precision);
}

extern "C" pn_status pn_cuda_describe(int index, char *text, size_t bytes) {
    int count = 0;
    cudaDeviceProp p;
    const cudaError_t e = cudaGetDeviceCount(&count);
    if (e != cudaSuccess || count == 0) return no_card(e == cudaSuccess ? cudaErrorNoDevice : e);
    if (index >= count) return pn_fail(PN_EARG, "no such card: %d", index);
    CUDA_TRY("properties", cudaGetDeviceProperties(&p, index));
    snprintf(text, bytes, "%s, compute capability %d.%d, %d multiprocessors, %.1f GiB", p.name,
             p.major, p.minor, p.multiProcessorCount, (double)p.totalGlobalMem / (1 << 30));
    return PN_OK;
}
