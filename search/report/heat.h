/* heat.h -- the distribution over time: a map for each factor, or, of a search that learns weights
 * of ops on edges, for each edge; a row for each of its choices, a column for each row of
 * prior.csv; 20 shades of one hue. */
#ifndef PN_REPORT_HEAT_H
#define PN_REPORT_HEAT_H

#include "search/export/page.h"
#include "search/report/facts.h"

enum { PN_HEAT_SHADES = 20, PN_HEAT_COLUMNS = 120 };

/* Which rows of prior.csv become columns: those of the warm-up become one, its last; of more than
 * PN_HEAT_COLUMNS every so many. */
int pn_heat_rows(const pn_facts *facts, int64_t row[PN_HEAT_COLUMNS + 2]);

/* Nothing where prior.csv has neither. */
void pn_heat_put(pn_page *page, const pn_facts *facts);

#endif
