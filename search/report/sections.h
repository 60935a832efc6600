/* sections.h -- the parts of the page; private to this room. */
#ifndef PN_REPORT_SECTIONS_H
#define PN_REPORT_SECTIONS_H

#include "search/export/page.h"
#include "search/report/facts.h"

/* All there is to say of one run, from the verdict to its settings. */
void pn_section_run(pn_page *page, const pn_facts *run);

/* Several of one kind, in a section that is open and gets closed: a row for each, then their curves
 * beside each other on the same axes, then their cells. */
void pn_section_runs(pn_page *page, const pn_facts *run, int count);

/* The notation of cells. */
void pn_section_notation(pn_page *page);

#endif
