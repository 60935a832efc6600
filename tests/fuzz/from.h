/* from.h -- of the two targets that damage the search another one begins from. */
#ifndef PN_FUZZ_FROM_H
#define PN_FUZZ_FROM_H

#include "tests/fuzz/harness.h"

/* Makes it, in fuzz_path("from"), opens it, and makes the network that takes its weights. */
void fuzz_from_make(void);

/* Reads everything that --prior and --keep-weights read of it, and checks that every row that was
 * copied has a step below 0 and as many numbers as there are columns. */
pn_status fuzz_from_read(void);

/* Opens a new search that begins from it, as the program does. */
pn_status fuzz_from_begin(void);

/* Of the source that was opened in the beginning: the rows of prior.csv alone. */
pn_status fuzz_from_rows(void);

#endif
