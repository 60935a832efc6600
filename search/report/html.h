/* html.h -- text and figures as a page shows them. */
#ifndef PN_REPORT_HTML_H
#define PN_REPORT_HTML_H

#include "search/export/page.h"

/* Text of others, for elements and for quoted attributes: < > & " ' become entities; what is not
 * UTF-8, and characters that HTML does not allow, become U+FFFD. */
void pn_html(pn_page *page, const char *text);

/* Text of ours, with figures: 10^18 is raised, a number is not parted from its unit. */
void pn_words_put(pn_page *page, const char *text);

/* A row of <div class="bars">: a name, a bar of value / most in a colour of style.css, a text. */
void pn_bar_put(pn_page *page, const char *name, double value, double most, int colour,
                const char *text);

enum { PN_FIGURE_BYTES = 48 };

/* "46,800"; "0.123", "12.3", "1.2e-7", of three digits; "12.3 MiB"; "35.2 s", "12 min 5 s",
 * "4 h 10 min"; "41.3 k", "2.52 M"; "91 %", "99.9 %"; "4.5 %",
 * "1 in 23,000,000", "1 in 10^14". A dash where there
 * is no number. */
const char *pn_figure_count(double count, char text[PN_FIGURE_BYTES]);
const char *pn_figure(double x, char text[PN_FIGURE_BYTES]);
const char *pn_figure_size(double bytes, char text[PN_FIGURE_BYTES]);
const char *pn_figure_time(double seconds, char text[PN_FIGURE_BYTES]);
const char *pn_figure_short(double count, char text[PN_FIGURE_BYTES]);
const char *pn_figure_share(double share, char text[PN_FIGURE_BYTES]);
const char *pn_figure_chance(double log_p, char text[PN_FIGURE_BYTES]);

#endif
