/* trained.h -- trained weights by any of their names: the directory that train was given, that of
 * one seed in it, or a file. */
#ifndef PN_TRAINED_H
#define PN_TRAINED_H

#include "kernels/api.h"
#include "runtime/file.h"
#include "search/train/settings.h"

PN_API_BEGIN

/* "seed-7", written as train writes it: the directory of one seed. */
bool pn_trained_seed(const char *name, uint64_t *seed);

/* The file of weights that NAME stands for: a file itself; of DIR/seed-N the last weights, or the
 * best; of DIR those of its only seed. PN_EARG if it has several, which the sentence names, or
 * none; a name that leads to nothing is taken for a file. */
pn_status pn_trained_weights(const char *name, bool best, char path[PN_PATH_BYTES]);

/* The data set of the training in whose directory the weights lie, as train was given it; "" if
 * they lie in none. PN_EINPUT if its run.json is damaged. */
pn_status pn_trained_data(const char *weights, char data[PN_TEXT_BYTES]);

PN_API_END

#endif
