/* backend_parts.h -- what a build may have beside the host's kernels; for backend.c, which knows it
 * all by name. */
#ifndef PN_BACKEND_PARTS_H
#define PN_BACKEND_PARTS_H

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* With CUDA: card `index`, opened, or NULL and a sentence; and in a few words. */
const pn_kernels *pn_cuda_kernels(int index);
const pn_kernels *pn_kernels_cuda(void); /* without opening a card */
pn_status pn_cuda_describe(int index, char *text, size_t bytes);

/* Allowed for context_bytes of memory.h where no card tells it. Contexts of 300 to 500 MiB are
 * reported for recent cards and drivers; ours was never measured. */
enum { PN_CONTEXT_ALLOWANCE = 512 << 20 };

/* With the emulator. */
const pn_kernels *pn_kernels_emulated(void);
void pn_emulator_order(int kind, uint64_t seed); /* kernels/emulator/emulator.h, which is C++ */

/* With neither, where there is a C++ compiler: the scratch that the ops of a card need. */
const pn_kernels *pn_kernels_sized(void);

#ifdef __cplusplus
}
#endif

#endif
