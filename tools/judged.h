/* judged.h -- how commands show what a cell is worth by a table of known cells. */
#ifndef PN_JUDGED_H
#define PN_JUDGED_H

#include <jansson.h>

#include "search/truth/truth.h"

enum { PN_JUDGED_TEXT = 256 };

/* "93.87 % (error 0.17), better than 91 % of all cells", "not judged: WHY". */
const char *pn_judged_text(const pn_judgement *judgement, char text[PN_JUDGED_TEXT]);

/* {"judged": true, "accuracy": 93.87, "error": 0.17, "better_than": 0.91, "leverage": 0.2}, or
 * {"judged": false, "why": ...}. NULL: no memory. */
json_t *pn_judged_json(const pn_judgement *judgement);

/* What the table is, and what it says of a uniform cell. NULL: no memory. */
json_t *pn_judged_table_json(const pn_truth_facts *facts);

#endif
