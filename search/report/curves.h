/* curves.h -- what changed while a run was at work; parts of the page, private. */
#ifndef PN_REPORT_CURVES_H
#define PN_REPORT_CURVES_H

#include "search/export/page.h"
#include "search/report/facts.h"

/* A section of all curves of a run; nothing where there is none. */
void pn_curves_put(pn_page *page, const pn_facts *run);

/* Images a second, by times.csv: a line for each process that was at work on the run, and none over
 * a step without a time. Nothing where there is no time at all. */
void pn_curves_speed(pn_page *page, const pn_facts *run);

/* A section for each curve: that of several runs of one kind, beside each other on the same
 * axes. */
void pn_curves_compare(pn_page *page, const pn_facts *run, int count);

#endif
