/* nccl.cc -- sums from card to card by NCCL, which is looked up when somebody wants it: a program
 * that was built with it starts without, and its 200 MB are not loaded for one process. */
#include <dlfcn.h>
#include <nccl.h>

#include <cstring>

#include "kernels/exchange.h"

static_assert(PN_EXCHANGE_BYTES == NCCL_UNIQUE_ID_BYTES, "NCCL's name of a group");

namespace {

const char library[] = "libnccl.so.2";
const int oldest = NCCL_VERSION(2, 7, 0); /* the calls below are as old as that */

struct {
    decltype(&ncclGetVersion) version;
    decltype(&ncclGetUniqueId) unique_id;
    decltype(&ncclCommInitRank) init;
    decltype(&ncclAllReduce) all_reduce;
    decltype(&ncclCommDestroy) destroy;
    decltype(&ncclGetErrorString) error;
    ncclComm_t group;
} nccl;

pn_status failed(const char *what, ncclResult_t r) {
    return pn_fail(PN_EDEVICE, "NCCL: %s: %s", what, nccl.error(r));
}
#define NCCL_TRY(what, call)                            \
    do {                                                \
        const ncclResult_t r_ = (call);                 \
        if (r_ != ncclSuccess) return failed(what, r_); \
    } while (0)

template <class F>
bool find(void *handle, const char *name, F *function) {
    *function = reinterpret_cast<F>(dlsym(handle, name));
    return *function != nullptr;
}

pn_status load() {
    if (nccl.version) return PN_OK;
    void *const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return pn_fail(PN_EDEVICE,
                       "NCCL: %s; want it installed, or LD_LIBRARY_PATH to name its folder",
                       dlerror());
    decltype(nccl.version) version;
    if (!find(handle, "ncclGetVersion", &version) ||
        !find(handle, "ncclGetUniqueId", &nccl.unique_id) ||
        !find(handle, "ncclCommInitRank", &nccl.init) ||
        !find(handle, "ncclAllReduce", &nccl.all_reduce) ||
        !find(handle, "ncclCommDestroy", &nccl.destroy) ||
        !find(handle, "ncclGetErrorString", &nccl.error))
        return pn_fail(PN_EDEVICE, "NCCL: %s lacks a function: %s", library, dlerror());
    int found = 0;
    NCCL_TRY("version", version(&found));
    if (found < oldest)
        return pn_fail(PN_EDEVICE, "NCCL: %s is version %d, want %d or later", library, found,
                       oldest);
    nccl.version = version;
    return PN_OK;
}

pn_status invite(unsigned char id[PN_EXCHANGE_BYTES]) {
    ncclUniqueId made;
    PN_TRY(load());
    NCCL_TRY("a new group", nccl.unique_id(&made));
    memcpy(id, &made, sizeof made);
    return PN_OK;
}

pn_status join(const unsigned char id[PN_EXCHANGE_BYTES], int rank, int size) {
    ncclUniqueId made;
    PN_TRY(load());
    memcpy(&made, id, sizeof made);
    NCCL_TRY("join the group", nccl.init(&nccl.group, size, made, rank));
    return PN_OK;
}

pn_status sum(pn_stream stream, int64_t *numbers, size_t count) {
    NCCL_TRY("sum", nccl.all_reduce(numbers, numbers, count, ncclInt64, ncclSum, nccl.group,
                                    reinterpret_cast<cudaStream_t>(stream)));
    return PN_OK;
}

void leave() {
    if (nccl.group) (void)nccl.destroy(nccl.group);
    nccl.group = nullptr;
}

}  // namespace

const pn_exchange pn_exchange_nccl = {invite, join, sum, leave};
