/* chart.h -- a curve over steps, in SVG that fits any width: the text around it is HTML and keeps
 * its size. */
#ifndef PN_REPORT_CHART_H
#define PN_REPORT_CHART_H

#include "search/export/page.h"
#include "search/report/run.h"

enum { PN_CHART_LINES = 3, PN_CHART_BUCKETS = 280, PN_CHART_MARKS = 64 };

/* A column of a table, times `scale`, over another column. */
typedef struct pn_chart_line {
    const char *name; /* in the legend */
    const pn_columns *table;
    const char *column, *per; /* per may be NULL */
    double scale;
} pn_chart_line;

/* A vertical line: where a run was continued, or where its weights began anew. */
typedef struct pn_chart_mark {
    double at;
    bool anew;
} pn_chart_mark;

/* Points that no line joins; their x is on the axis of steps. */
typedef struct pn_chart_points {
    const char *name;
    const double *x, *y;
    int count;
} pn_chart_points;

typedef struct pn_chart {
    const char *title, *unit, *axis; /* "step" or "epoch" */
    const char *phase;               /* of the steps in the shade, */
    double shaded;                   /* so many; 0: there are none */
    double from, to;                 /* the axis of steps */
    double least, most;              /* the other one */
    double rule;                     /* a horizontal line; NaN: none */
    const char *rule_name;
    pn_chart_line line[PN_CHART_LINES];
    pn_chart_mark mark[PN_CHART_MARKS];
    pn_chart_points points[PN_CHART_LINES];
    int lines, marks, groups; /* groups of points */
    bool broken; /* a line ends where the run was, and begins anew where it was continued */
} pn_chart;

/* A line of a chart in buckets of equal width: NaN where a bucket has no value. */
typedef struct pn_buckets {
    int count;
    double x[PN_CHART_BUCKETS]; /* mean step of the values */
    double mean[PN_CHART_BUCKETS], least[PN_CHART_BUCKETS], most[PN_CHART_BUCKETS];
    double spacing; /* between values, on average */
    double first, last;
    int values;
} pn_buckets;
void pn_chart_buckets(const pn_chart *chart, int line, pn_buckets *buckets);

/* Whether there is anything to draw. */
bool pn_chart_has(const pn_chart *chart);

/* Widens [least, most] so that the chart's lines fit, and its rule; NaN: not known yet. What few
 * values reach far out is cut off. */
void pn_chart_widen(const pn_chart *chart, double *least, double *most);

/* Round numbers in [least, most], at most `want` of them; *step is their distance. */
int pn_chart_ticks(double least, double most, int want, double tick[16], double *step);

void pn_chart_put(pn_page *page, const pn_chart *chart);

#endif
