/* embedded.h -- files of code/, byte for byte and with a zero behind, which cmake/embed.cmake turns
 * into C: the beginning of generated code, and the program that shows how it is used. */
#ifndef PN_CODE_EMBEDDED_H
#define PN_CODE_EMBEDDED_H

#include <stddef.h>

extern const unsigned char pn_code_float[], pn_code_int8[], pn_code_example[];
extern const size_t pn_code_float_size, pn_code_int8_size, pn_code_example_size;

#endif
