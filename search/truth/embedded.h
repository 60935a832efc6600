/* embedded.h -- the tables that are in the program: files of truth/, byte for byte, which
 * cmake/embed.cmake turns into C. */
#ifndef PN_EMBEDDED_H
#define PN_EMBEDDED_H

#include <stddef.h>

extern const unsigned char pn_nasbench301[];
extern const size_t pn_nasbench301_size; /* without the zero that follows */

#endif
