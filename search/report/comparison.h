/* comparison.h -- what `compare` found, as a page: private to this room. */
#ifndef PN_REPORT_COMPARISON_H
#define PN_REPORT_COMPARISON_H

#include "search/export/page.h"

struct json_t; /* jansson's */

/* All there is to say of it, from the verdict to its settings: of what `compare --json` prints.
 * PN_EMEM. */
pn_status pn_comparison_put(pn_page *page, const struct json_t *root);

#endif
