/* harness.h -- what every target does with its loader.
 *
 * fuzz_run loads an input twice. The first time it has to be refused with a sentence, or to be
 * accepted; never more memory may be held than the target says; nothing may stay behind. The second
 * time one call that can fail does: an allocation, or a call of the system's; which one follows
 * from the input. Then the answer is the same as before, or that there was no memory, or that
 * reading or writing failed. PN_FUZZ_FAULTS=0 leaves the second time out. */
#ifndef PN_FUZZ_HARNESS_H
#define PN_FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

#define MUST(holds)                                            \
    do {                                                       \
        if (!(holds)) fuzz_broken(#holds, __FILE__, __LINE__); \
    } while (0)
_Noreturn void fuzz_broken(const char *what, const char *file, int line);

/* Loads, compares with the input what there is to compare, frees everything. Says fuzz_loaded()
 * when the loader has returned: from there on neither memory is counted nor calls fail. */
typedef pn_status (*fuzz_load)(const uint8_t *data, size_t size);
int fuzz_run(fuzz_load load, const uint8_t *data, size_t size, size_t most_bytes);
void fuzz_loaded(void);

/* Nothing fails and nothing is counted between the two: for what the target itself needs. */
void fuzz_pause(void);
void fuzz_resume(void);

/* DIRECTORY/NAME in memory, with these bytes; the path is good until the call after the next three.
 * NULL as data: only the path. The directory is this process's and goes with it. */
const char *fuzz_path(const char *name);
const char *fuzz_file(const char *name, const void *data, size_t size);

/* What a loader may hold. The file and one copy while it grows, thrice over: 4 times what is there.
 * JSON becomes a tree. A nested array takes most of memory for its text: for one byte, "[", 40
 * bytes, 64 for its first 8 items, and twice the 24 that json.c puts before a block. */
enum { FUZZ_DATA = 4, FUZZ_JSON = 152, FUZZ_CONSTANT = 1 << 16, FUZZ_WRITER = 1 << 19 };
/* Of a file of safetensors: its header's bytes count as JSON. */
size_t fuzz_tensors_limit(const uint8_t *data, size_t size);

/* Mutators that leave the input a file of its kind: lengths and checksums are repaired. */
size_t fuzz_mutate_tensors(uint8_t *data, size_t size, size_t most, unsigned seed);
void fuzz_repair_tensors(uint8_t *data, size_t size); /* the CRC-32 alone */
size_t fuzz_mutate_gzip(uint8_t *data, size_t size, size_t most, unsigned seed);

/* faults.c: the calls that can fail are counted while armed, and the k-th fails (0: none). */
typedef enum fuzz_kind { FUZZ_NONE, FUZZ_MEMORY, FUZZ_IO } fuzz_kind;
void fuzz_arm(long fail);
void fuzz_disarm(void);
long fuzz_calls(void);
fuzz_kind fuzz_failed(void); /* what failed since fuzz_arm */

#endif
