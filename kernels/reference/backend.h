/* backend.h -- the twins as a backend, so that a whole program runs in double precision. */
#ifndef PN_REFERENCE_BACKEND_H
#define PN_REFERENCE_BACKEND_H

#include "kernels/reference/reference.h"

/* The table whose ops work on `twins`, of this thread, until the next call. The twins must hold
 * the arena, the parameter ranges and the image of the bound program. */
const pn_kernels *pn_reference_kernels(const pn_twins *twins);

#endif
