/* page.h -- a text that grows, in memory. (open_memstream loses text without a word when memory
 * runs out: glibc 2.36.) */
#ifndef PN_PAGE_H
#define PN_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/status.h"

/* Zero is an empty one. */
typedef struct pn_page {
    char *data; /* ends in a zero, once something has been put */
    size_t used, room;
    bool no_memory; /* something is missing */
} pn_page;

/* Appends. What there is no memory for is remembered, and told by pn_page_finish. */
__attribute__((format(printf, 2, 3))) void pn_page_put(pn_page *page, const char *format, ...);

/* Hands the text over, to be freed; *page is empty again. PN_EMEM if something is missing: `what`
 * there is no memory for. */
pn_status pn_page_finish(pn_page *page, const char *what, char **text, size_t *size);

#endif
