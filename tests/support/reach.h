/* reach.h -- memory that the host and the kernels under test both read and write.
 *
 * PN_TEST_BACKEND names the one backend that a test program looks at. If that has a memory of its
 * own, what a test gives to a kernel must not lie in the host's: here it lies in page-locked
 * memory, which a card reads and writes through the bus at the host's own addresses. Slow, but the
 * guards, the comparisons and the references need not know about it. Without the variable, and for
 * the host's backends, it is plain memory. */
#ifndef PN_REACH_H
#define PN_REACH_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"

/* The backend that PN_TEST_BACKEND names; NULL without it. One that cannot be opened fails the
 * test: whoever names it wants it tested. */
const pn_kernels *pn_only_backend(void);

/* `bytes` that are aligned to 64; their contents are undefined. Ends the program if there are
 * none. */
void *pn_reach(size_t bytes);
void pn_unreach(void *memory);

/* Could a kernel of the backend that PN_TEST_BACKEND names not read `word` if it is an address?
 * True only of what certainly is one, of the program or its heap, and not of memory from here. */
bool pn_out_of_reach(size_t word);

/* Waits for what was queued. Its status is that of the kernels. */
pn_status pn_finish(const pn_kernels *k);

#endif
