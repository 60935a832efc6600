/* exchange.h -- sums over the devices of several processes, without a way by their hosts.
 *
 * A process is a member of one group at most. The members make the same calls in the same order; a
 * call that some of them do not make never returns, so they agree beforehand (runtime/group.h). */
#ifndef PN_EXCHANGE_H
#define PN_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/memory.h"
#include "kernels/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PN_EXCHANGE_BYTES = 128 };

typedef struct pn_exchange {
    /* What the members of a group know each other by: one of them makes it, and all join with it.
     * PN_EDEVICE says which library is missing, or too old. */
    pn_status (*invite)(unsigned char id[PN_EXCHANGE_BYTES]);

    /* Returns when all `size` members are there, each with the device that it has opened and that
     * no other has. PN_EDEVICE. */
    pn_status (*join)(const unsigned char id[PN_EXCHANGE_BYTES], int rank, int size);

    /* numbers[0..count), in this device's memory, become the sums over all members. Queued on the
     * device's stream (memory.h). PN_EDEVICE. */
    pn_status (*sum)(pn_stream stream, int64_t *numbers, size_t count);

    void (*leave)(void); /* also without having joined */
} pn_exchange;

/* Of a backend; NULL: its devices have no such way, or this build does not know it. */
const pn_exchange *pn_backend_exchange(const pn_kernels *kernels);

/* With CUDA and NCCL's header: nccl.cc. */
extern const pn_exchange pn_exchange_nccl;

#ifdef __cplusplus
}
#endif

#endif
