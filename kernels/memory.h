/* memory.h -- where a backend's data lives, and how it gets there and back.
 *
 * What is queued runs in the order it was queued in, kernels and copies alike, on one stream,
 * unless several are asked for; the host waits for nothing but `download` and `wait`. The host
 * backend does everything at once. */
#ifndef PN_MEMORY_H
#define PN_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

typedef struct CUstream_st
    *pn_stream; /* a cudaStream_t, without CUDA's headers; NULL on the host */

enum { PN_STAMPS = 1024, PN_STREAMS = 9 };

typedef struct pn_memory {
    int plain; /* kernels work in the host's own memory: what the host has there they see */

    /* Blocks, zero-filled, aligned to 256 bytes. allocate: for the kernels. stage: of the host, so
     * that uploads from it run in the background (page-locked). PN_EMEM says how much there is. */
    pn_status (*allocate)(size_t bytes, void **block);
    void (*release)(void *block);
    pn_status (*stage)(size_t bytes, void **block);
    void (*unstage)(void *block);

    /* Address space that fills from the front: base[0..bytes) is reserved, base[from..to) becomes
     * usable; all three are multiples of `unit`. `moves`: a device without virtual memory may move
     * the base in a commit, and what was there is lost. */
    size_t unit;
    int moves;
    pn_status (*reserve)(size_t bytes, void **base);
    pn_status (*commit)(void **base, size_t from, size_t to);
    void (*unreserve)(void *base, size_t bytes, size_t committed);

    /* Bytes that could still be allocated without pushing others out. */
    size_t (*available)(void);
    /* What the process takes of a card before it allocates anything: CUDA's context, the kernels'
     * code. A limit on memory counts it. 0 on the host. */
    size_t context_bytes;

    /* Queued: the source of an upload must stay as it is until it is done (a mark tells), the
     * destination of a download is valid on return. copy: within this memory. */
    pn_status (*upload)(void *to, const void *from, size_t bytes);
    pn_status (*download)(void *to, const void *from, size_t bytes);
    pn_status (*copy)(void *to, const void *from, size_t bytes);
    pn_status (*clear)(void *to, size_t bytes);

    /* A mark stands for all that was queued before it; wait returns when that is done. */
    pn_status (*mark)(int64_t *mark);
    pn_status (*wait)(int64_t mark);

    /* Streams are numbered from 0 and below PN_STREAMS. select: from here on all of this queues on
     * that one, at first on 0; a download or a mark waits, or stands, for what is on the selected
     * one alone. follow: what comes next on the selected one begins when all that stream `of` has
     * so far is done; the host does not wait. Both NULL: there is one stream. */
    pn_status (*select)(int stream);
    pn_status (*follow)(int of);
    int processors; /* multiprocessors of the card; 0: of none, or of an emulated one */

    /* Time by the device's own clock: `stamp` queues that number i below PN_STAMPS shall have the
     * time at which all before it is done; `elapsed` waits for `to` and gives the milliseconds from
     * an earlier one. Both NULL: the host's clock tells, when it has waited. */
    pn_status (*stamp)(int i);
    pn_status (*elapsed)(int from, int to, double *ms);

    pn_stream (*stream)(void); /* the selected one, for pn_launch */

    /* Names what follows for a profiler; NULL ends the innermost name. NULL where there is none. */
    void (*range)(const char *name);
} pn_memory;

/* The host's. */
extern const pn_memory pn_host_memory;

PN_API_END

#endif
