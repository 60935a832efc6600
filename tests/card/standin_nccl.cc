/* standin_nccl.cc -- a libnccl.so.2 for machines without cards: a group of any size whose other
 * members are made up. It takes what nccl.cc may call, on memory of the host, and refuses the rest.
 *
 * STANDIN_VERSION: what it says it is. STANDIN_FAILS: the call that fails. */
#include <nccl.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

struct ncclComm {
    int size, rank;
};

static bool fails(const char *call) {
    const char *which = getenv("STANDIN_FAILS");
    return which && strcmp(which, call) == 0;
}

ncclResult_t ncclGetVersion(int *version) {
    const char *said = getenv("STANDIN_VERSION");
    *version = said ? atoi(said) : NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    return result == ncclInvalidUsage ? "invalid usage" : "a made-up failure";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    if (fails("id")) return ncclSystemError;
    for (int i = 0; i < NCCL_UNIQUE_ID_BYTES; i++) id->internal[i] = static_cast<char>(i * 7);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id, int rank) {
    ncclUniqueId made;
    (void)ncclGetUniqueId(&made);
    if (fails("init") || memcmp(&made, &id, sizeof id) != 0 || rank < 0 || rank >= size)
        return ncclInvalidUsage;
    *comm = new ncclComm{size, rank};
    return ncclSuccess;
}

/* Member r has r + 1 in every place, but for the one that calls. */
ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
    int64_t *numbers = static_cast<int64_t *>(to);
    if (fails("sum") || from != to || type != ncclInt64 || op != ncclSum || !stream)
        return ncclInvalidUsage;
    for (size_t i = 0; i < count; i++)
        for (int r = 0; r < comm->size; r++)
            if (r != comm->rank) numbers[i] += r + 1;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    delete comm;
    return ncclSuccess;
}
