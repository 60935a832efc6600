/* embedded.h -- style.css, byte for byte and with a zero behind, which cmake/embed.cmake turns into
 * C. */
#ifndef PN_REPORT_EMBEDDED_H
#define PN_REPORT_EMBEDDED_H

#include <stddef.h>

extern const unsigned char pn_report_style[];
extern const size_t pn_report_style_size;

#endif
