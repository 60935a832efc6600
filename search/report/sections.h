/* sections.h -- the parts of the page; private to this room. */
#ifndef PN_REPORT_SECTIONS_H
#define PN_REPORT_SECTIONS_H

#include "search/export/page.h"
#include "search/report/facts.h"

struct json_t; /* jansson's */

/* All there is to say of one run, from the verdict to its settings. */
void pn_section_run(pn_page *page, const pn_facts *run);

/* Several of one kind, in a section that is open and gets closed: a row for each, then their curves
 * beside each other on the same axes, then their cells. */
void pn_section_runs(pn_page *page, const pn_facts *run, int count);

/* The notation of cells. */
void pn_section_notation(pn_page *page);

/* ---- of them --------------------------------------------------------------------------------- */

/* "finished", "not finished" */
const char *pn_state_name(const pn_facts *run);

/* Of the last epoch of a training, 0..1; NaN: there is none. */
double pn_last_accuracy(const pn_facts *run);

/* The three sentences of a run in a <div> of that class, below what could not be read. */
void pn_section_sentences(pn_page *page, const pn_facts *run, const pn_verdict *verdict,
                          const char *style);

/* Both cells as style.css shows them, wide or narrow; and in short notation, a line for each. */
void pn_section_drawings(pn_page *page, const pn_arch *arch);
void pn_section_cell(pn_page *page, const pn_arch *arch);

/* What was typed, of the words of a command line; the first of them is the program. */
void pn_section_typed(pn_page *page, const struct json_t *words);

/* How to repeat a run. */
void pn_section_command(pn_page *page, const pn_facts *run);

#endif
