/* tiny.h -- the smallest search and training there are: for seeds, and as what a damaged file lies
 * beside. Every call makes the same bytes. */
#ifndef PN_FUZZ_TINY_H
#define PN_FUZZ_TINY_H

#include "kernels/backend.h"
#include "search/methods/run.h"
#include "search/train/run.h"

#define TINY_DATA "synthetic:10x4x4x1"

const pn_kernels *tiny_kernels(void);
pn_settings tiny_settings(void);
pn_train_settings tiny_train_settings(void);

enum { TINY_SEARCH_STEP = 3, TINY_TRAINING_STEP = 7 };
/* Begins in a new directory, goes to the step above, and saves: not finished. */
void tiny_search(const char *directory);
void tiny_training(const char *directory);

/* Weights of an evaluation network that nobody has trained, as train would write them. */
void tiny_weights(const char *path, const pn_network_spec *spec);

/* The whole file; to be freed. */
void *tiny_read(const char *directory, const char *name, size_t *size);

#endif
