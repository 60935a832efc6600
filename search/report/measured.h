/* measured.h -- what cells cost on the machine where `profile` ran: a part of the page; private. */
#ifndef PN_REPORT_MEASURED_H
#define PN_REPORT_MEASURED_H

#include "search/export/page.h"
#include "search/report/facts.h"

/* Milliseconds of a training step against multiply-adds and bytes, and the share of each op;
 * nothing without profile.json. */
void pn_measured_put(pn_page *page, const pn_facts *facts);

#endif
