/* backend.h -- the backends of this build, by name. The one place that knows which there are. */
#ifndef PN_BACKEND_H
#define PN_BACKEND_H

#include "kernels/api.h"
#include "kernels/kernels.h"

PN_API_BEGIN

/* "auto": the first card if there is one that works, else the host; "cpu", "cpu:avx512",
 * "cpu:avx2", "cpu:base"; "cuda", "cuda:1"; "emulated": the kernels of the card, run by the host,
 * thread by thread. With "-bf16" behind it, one that stores the tensors between ops so; a card does
 * with "-fp16", too, and multiplies matrices so with "-tf32". A process works on one card. PN_EARG
 * for a name that none has, PN_EDEVICE with what is missing. */
pn_status pn_backend_open(const char *name, const pn_kernels **kernels);

/* The name above of a device at a precision: "float32", "tf32", "bf16", "fp16"; NULL, as the device
 * says. PN_EARG if there is no such, or the device says another one. */
enum { PN_BACKEND_NAME = 64 };
pn_status pn_backend_name(const char *device, const char *precision, char name[PN_BACKEND_NAME]);

/* For sizes alone: the table a device of that name would have, without opening it, with the host's
 * memory. No op of it may be called. */
pn_status pn_backend_sizes(const char *name, const pn_kernels **kernels);

/* What this build can run on: "cpu", "cpu, cuda", ... */
const char *pn_backend_names(void);

/* Card `index` in a few words. PN_EDEVICE: no CUDA in this build, no driver, no card; PN_EARG: not
 * that many. */
pn_status pn_backend_describe_card(int index, char *text, size_t bytes);

/* For tests. Lets what follows run in another order, which must not change a bit: on the host the
 * number of threads, in the emulator the order of threads and blocks. 0 is the usual order. On the
 * host those from PN_MANY on have more threads than a call has workspaces, or just as many. */
enum { PN_ORDERS = 7, PN_MANY = 4 };
int pn_backend_threads(int order); /* 2, 1, 3, 7, 16, 33, 64 */
void pn_backend_disturb(const pn_kernels *kernels, int order);

PN_API_END

#endif
