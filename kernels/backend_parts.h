/* backend_parts.h -- what a build may have beside the host's kernels; for backend.c, which knows it
 * all by name. */
#ifndef PN_BACKEND_PARTS_H
#define PN_BACKEND_PARTS_H

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the kernels of a card are compiled for, each with a table of its own. */
typedef enum pn_precision {
    PN_PRECISION_FLOAT32,
    PN_PRECISION_TF32,
    PN_PRECISION_BF16,
    PN_PRECISION_FP16,
    PN_PRECISIONS
} pn_precision;

/* With CUDA: card `index`, opened, or NULL and a sentence; and in a few words. */
const pn_kernels *pn_cuda_kernels(int index, pn_precision precision);
const pn_kernels *pn_kernels_cuda(pn_precision precision); /* without opening a card */
pn_status pn_cuda_describe(int index, char *text, size_t bytes);

/* Allowed for context_bytes of memory.h where no card tells it. Contexts of 300 to 500 MiB are
 * reported for recent cards and drivers; ours was never measured. */
enum { PN_CONTEXT_ALLOWANCE = 512 << 20 };

static inline pn_status pn_check_stream(int i) {
    if (i >= 0 && i < PN_STREAMS) return PN_OK;
    return pn_fail(PN_EARG, "stream %d, want 0 to %d", i, PN_STREAMS - 1);
}

/* Has a card of this compute capability, times 10, what the precision wants? bf16 and fp16 are
 * storage, which every card has; their products are of floats where there are none of tf32. */
static inline pn_status pn_check_capability(int capability, pn_precision precision) {
    if (precision != PN_PRECISION_TF32 || capability >= 80) return PN_OK;
    return pn_fail(PN_EDEVICE, "a card of compute capability %d.%d has no tf32, want 8.0 or more",
                   capability / 10, capability % 10);
}

/* With the emulator; NULL and a sentence for a precision that this build leaves out. */
const pn_kernels *pn_kernels_emulated(pn_precision precision);
int pn_emulated_card(void);                      /* its compute capability, times 10 */
void pn_emulator_order(int kind, uint64_t seed); /* kernels/emulator/emulator.h, which is C++ */
void pn_emulator_late(uint64_t seed);            /* kernels/emulator/streams.h, likewise; 0: no */

/* With neither, where there is a C++ compiler: the scratch that the ops of a card need. */
const pn_kernels *pn_kernels_sized(pn_precision precision); /* float32 alone */

#ifdef __cplusplus
}
#endif

#endif
