/* chart.c -- see chart.h. */
#include "search/report/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/html.h"

/* The units of the picture, which is stretched over whatever place there is. */
enum { WIDTH = 1000, HEIGHT = 240, HOVERS = 56 };

/* ---- buckets --------------------------------------------------------------------------------- */

/* The step and the value of a row; false if it is to be left out. */
static bool point(const pn_chart *c, const pn_chart_line *line, int64_t row, int column, int per,
                  double *step, double *value) {
    *step = pn_value_at(line->table, row, 0);
    *value = line->scale * pn_value_at(line->table, row, column);
    if (line->per) *value /= pn_value_at(line->table, row, per);
    return isfinite(*value) && *step >= c->from && *step <= c->to;
}

/* Of few steps each has its own; else a bucket has four of them, or more. */
static int bucket_count(double steps) {
    enum { FEW = 70 };
    return steps <= FEW                    ? (int)steps
           : steps / 4 <= FEW              ? FEW
           : steps / 4 <= PN_CHART_BUCKETS ? (int)(steps / 4)
                                           : PN_CHART_BUCKETS;
}

void pn_chart_buckets(const pn_chart *c, int number, pn_buckets *b) {
    const pn_chart_line *line = &c->line[number];
    const int column = pn_column(line->table, line->column),
              per = line->per ? pn_column(line->table, line->per) : -1;
    const double span = c->to - c->from;
    int n[PN_CHART_BUCKETS] = {0};
    double first_step = NAN, last_step = NAN, step, value;
    memset(b, 0, sizeof *b);
    b->first = b->last = NAN;
    for (int64_t row = 0; column >= 0 && row < line->table->rows; row++) {
        if (!point(c, line, row, column, per, &step, &value)) continue;
        if (!b->values++) {
            first_step = step;
            b->first = value;
        }
        last_step = step;
        b->last = value;
    }
    if (!b->values) return;
    b->spacing = b->values > 1 ? (last_step - first_step) / (b->values - 1) : 1;
    if (!(b->spacing > 0)) b->spacing = 1;
    b->count = bucket_count(span / b->spacing + 1);
    for (int64_t row = 0; row < line->table->rows; row++) {
        if (!point(c, line, row, column, per, &step, &value)) continue;
        int i = span > 0 ? (int)((step - c->from) * b->count / span) : 0;
        if (i >= b->count) i = b->count - 1;
        b->x[i] += step;
        b->mean[i] += value;
        b->least[i] = n[i] ? fmin(b->least[i], value) : value;
        b->most[i] = n[i] ? fmax(b->most[i], value) : value;
        n[i]++;
    }
    for (int i = 0; i < b->count; i++) {
        b->x[i] = n[i] ? b->x[i] / n[i] : NAN;
        b->mean[i] = n[i] ? b->mean[i] / n[i] : NAN;
        if (!n[i]) b->least[i] = b->most[i] = NAN;
    }
}

bool pn_chart_has(const pn_chart *c) {
    pn_buckets b;
    for (int i = 0; i < c->lines; i++) {
        pn_chart_buckets(c, i, &b);
        if (b.values) return true;
    }
    return false;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The one that a share of the numbers are below; NaN are none. Sorts them. */
static double quantile(double *list, int count, double share) {
    int n = 0;
    for (int i = 0; i < count; i++)
        if (isfinite(list[i])) list[n++] = list[i];
    if (!n) return NAN;
    qsort(list, (size_t)n, sizeof *list, by_size);
    return list[(int)floor(share * (n - 1) + 0.5)];
}

/* All means, and the bands but where they reach out farthest. */
void pn_chart_widen(const pn_chart *c, double *least, double *most) {
    for (int k = 0; k < c->lines; k++) {
        pn_buckets b;
        pn_chart_buckets(c, k, &b);
        for (int i = 0; i < b.count; i++) { /* fmin and fmax pass over NaN */
            *least = fmin(*least, b.mean[i]);
            *most = fmax(*most, b.mean[i]);
        }
        *least = fmin(*least, quantile(b.least, b.count, 0.05));
        *most = fmax(*most, quantile(b.most, b.count, 0.95));
    }
    if (!isnan(c->rule)) *most = fmax(*most, c->rule);
}

int pn_chart_ticks(double least, double most, int want, double tick[16], double *step) {
    static const double nice[] = {1, 2, 5, 10};
    const double span = most - least;
    int n = 0;
    *step = 1;
    if (!(span > 0) || !isfinite(span)) {
        tick[0] = least;
        return 1;
    }
    const double unit = pow(10, floor(log10(span / want)));
    for (int i = 0; i < 4; i++) {
        *step = nice[i] * unit;
        if (floor(most / *step + 1e-9) - ceil(least / *step - 1e-9) + 1 <= want) break;
    }
    const double first = ceil(least / *step - 1e-9);
    for (; n < 16 && (first + n) * *step <= most + 1e-9 * span; n++) tick[n] = (first + n) * *step;
    return n;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static double at_x(const pn_chart *c, double step) {
    return c->to > c->from ? WIDTH * (step - c->from) / (c->to - c->from) : WIDTH / 2.0;
}

static double at_y(const pn_chart *c, double value) {
    const double y = HEIGHT * (c->most - value) / (c->most - c->least);
    return fmax(-HEIGHT, fmin(2 * HEIGHT, y)); /* what is cut off */
}

/* Whether two buckets are too far from each other for a line between them, or of two processes. */
static bool is_gap(const pn_chart *c, const pn_buckets *b, int from, int to) {
    const double width = (c->to - c->from) / b->count;
    for (int i = 0; i < c->marks && c->broken; i++)
        if (!c->mark[i].anew && b->x[from] < c->mark[i].at && c->mark[i].at <= b->x[to])
            return true;
    return b->x[to] - b->x[from] > 1.5 * fmax(width, b->spacing);
}

/* Buckets from *at on that hang together: [*at, *end), all of them with values. */
static bool next_piece(const pn_chart *c, const pn_buckets *b, int *at, int list[], int *count) {
    *count = 0;
    for (; *at < b->count; (*at)++) {
        if (isnan(b->mean[*at])) continue;
        if (*count && is_gap(c, b, list[*count - 1], *at)) break;
        list[(*count)++] = *at;
    }
    return *count > 0;
}

static void put_band(pn_page *p, const pn_chart *c, const pn_buckets *b, int colour) {
    int list[PN_CHART_BUCKETS], count, at = 0;
    bool any = false;
    for (int i = 0; i < b->count; i++) any |= b->most[i] > b->least[i];
    if (!any) return;
    pn_page_put(p, "<path class=\"band k%d\" d=\"", colour);
    while (next_piece(c, b, &at, list, &count)) {
        for (int i = 0; i < count; i++)
            pn_page_put(p, "%s%.0f %.0f", i ? " " : "M", at_x(c, b->x[list[i]]),
                        at_y(c, b->most[list[i]]));
        for (int i = count - 1; i >= 0; i--)
            pn_page_put(p, " %.0f %.0f", at_x(c, b->x[list[i]]), at_y(c, b->least[list[i]]));
        pn_page_put(p, "z");
    }
    pn_page_put(p, "\"/>");
}

static void put_line(pn_page *p, const pn_chart *c, const pn_buckets *b, int colour) {
    int list[PN_CHART_BUCKETS], count, at = 0;
    pn_page_put(p, "<path class=\"curve k%d\" d=\"", colour);
    while (next_piece(c, b, &at, list, &count)) {
        for (int i = 0; i < count; i++)
            pn_page_put(p, "%s%.0f %.1f", i ? " " : "M", at_x(c, b->x[list[i]]),
                        at_y(c, b->mean[list[i]]));
        if (count == 1) pn_page_put(p, "h0"); /* a dot: lines have round ends */
    }
    pn_page_put(p, "\"/>\n");
}

static void put_points(pn_page *p, const pn_chart *c, int group) {
    const pn_chart_points *g = &c->points[group];
    pn_page_put(p, "<path class=\"points k%d\" d=\"", group);
    for (int i = 0; i < g->count; i++)
        pn_page_put(p, "M%.1f %.1fh0", at_x(c, g->x[i]), at_y(c, g->y[i]));
    pn_page_put(p, "\"/>\n");
}

/* Strips that say what is under the pointer. */
static void put_hovers(pn_page *p, const pn_chart *c, const pn_buckets *b) {
    const int strips = b[0].count > HOVERS || !b[0].count ? HOVERS : b[0].count;
    pn_page_put(p, "<g class=\"hover\">");
    for (int s = 0; s < strips; s++) {
        const double from = c->from + (c->to - c->from) * s / strips,
                     to = c->from + (c->to - c->from) * (s + 1) / strips;
        char text[PN_FIGURE_BYTES];
        bool any = false;
        for (int k = 0; k < c->lines; k++) {
            double sum = 0;
            int n = 0;
            for (int i = 0; i < b[k].count; i++)
                if (b[k].x[i] >= from && (b[k].x[i] < to || s == strips - 1)) {
                    sum += b[k].mean[i];
                    n++;
                }
            if (!n) continue;
            if (!any)
                pn_page_put(p, "<rect x=\"%.0f\" width=\"%.0f\" height=\"%d\"><title>%s %s",
                            floor(1.0 * WIDTH * s / strips), ceil(1.0 * WIDTH / strips), HEIGHT,
                            c->axis, pn_figure_count(ceil(from), text));
            any = true;
            pn_page_put(p, ", %s %s", c->line[k].name, pn_figure(sum / n, text));
        }
        if (any) pn_page_put(p, "</title></rect>");
    }
    pn_page_put(p, "</g>\n");
}

static void put_title(pn_page *p, const pn_chart *c, const pn_buckets *b) {
    char first[PN_FIGURE_BYTES], last[PN_FIGURE_BYTES];
    pn_page_put(p, "<title>%s", c->title);
    for (int k = 0; k < c->lines; k++)
        if (b[k].values)
            pn_page_put(p, "%s %s from %s to %s", k ? ";" : ":", c->line[k].name,
                        pn_figure(b[k].first, first), pn_figure(b[k].last, last));
    for (int i = 0; i < c->groups; i++) pn_page_put(p, "%s %s", i ? "," : ":", c->points[i].name);
    pn_page_put(p, "</title>\n");
}

static void put_svg(pn_page *p, const pn_chart *c, const pn_buckets *b) {
    double tick[16], step;
    pn_page_put(p, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\">", WIDTH,
                HEIGHT);
    put_title(p, c, b);
    if (c->shaded > 0)
        pn_page_put(p, "<rect class=\"phase\" width=\"%.0f\" height=\"%d\"/>",
                    fmin(WIDTH, at_x(c, c->shaded)), HEIGHT);
    const int n = pn_chart_ticks(c->least, c->most, 5, tick, &step);
    pn_page_put(p, "<path class=\"grid\" d=\"");
    for (int i = 0; i < n; i++) pn_page_put(p, "M0 %.1fH%d", at_y(c, tick[i]), WIDTH);
    pn_page_put(p, "\"/>");
    for (int k = 0; k < c->lines; k++) put_band(p, c, &b[k], k);
    if (!isnan(c->rule))
        pn_page_put(p, "<path class=\"rule\" d=\"M0 %.1fH%d\"/>", at_y(c, c->rule), WIDTH);
    for (int i = 0; i < c->marks; i++)
        pn_page_put(p, "<path class=\"mark%s\" d=\"M%.1f 0V%d\"/>", c->mark[i].anew ? " anew" : "",
                    at_x(c, c->mark[i].at), HEIGHT);
    for (int k = c->lines - 1; k >= 0; k--) put_line(p, c, &b[k], k);
    for (int i = 0; i < c->groups; i++) put_points(p, c, i);
    if (c->lines) put_hovers(p, c, b);
    pn_page_put(p, "</svg>\n");
}

/* With as many places as tell a tick from the next; from `much` on in thousands or more. */
static void put_tick(pn_page *p, double value, double step, double much) {
    char text[PN_FIGURE_BYTES];
    const int places = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (fabs(value) < 1e-9 * step) value = 0;
    if (places > 4 || fabs(value) >= 1e15)
        pn_page_put(p, "%.2g", value);
    else if (places)
        pn_page_put(p, "%.*f", places, value);
    else
        pn_page_put(p, "%s",
                    value >= much ? pn_figure_short(value, text) : pn_figure_count(value, text));
}

static void put_labels(pn_page *p, const pn_chart *c) {
    double tick[16], step;
    int n = pn_chart_ticks(c->least, c->most, 5, tick, &step);
    pn_page_put(p, "<div class=\"y\">");
    for (int i = 0; i < n; i++) {
        pn_page_put(p, "<span style=\"top:%.1f%%\">", 100 * at_y(c, tick[i]) / HEIGHT);
        put_tick(p, tick[i], step, 1e5);
        pn_page_put(p, "</span>");
    }
    pn_page_put(p, "</div>\n<div class=\"x\">");
    n = pn_chart_ticks(c->from, c->to, 4, tick, &step);
    for (int i = 0; i < n; i++) {
        const double x = 100 * at_x(c, tick[i]) / WIDTH;
        pn_page_put(p, "<span%s style=\"left:%.1f%%\">",
                    x < 4    ? " class=\"first\""
                    : x > 96 ? " class=\"end\""
                             : "",
                    x);
        put_tick(p, tick[i], step, 1e7);
        pn_page_put(p, "</span>");
    }
    pn_page_put(p, "</div>\n");
}

static void put_legend(pn_page *p, const pn_chart *c, const pn_buckets *b) {
    pn_page_put(p, "<figcaption><b>%s</b> <small>%s</small>", c->title, c->unit);
    pn_page_put(p, " <span class=\"keys\">");
    for (int k = 0; k < c->lines && c->lines > 1; k++)
        if (b[k].values)
            pn_page_put(p, "<span class=\"key\"><i class=\"k%d\"></i>%s</span> ", k,
                        c->line[k].name);
    for (int i = 0; i < c->groups && c->groups > 1; i++)
        pn_page_put(p, "<span class=\"key\"><i class=\"k%d\"></i>%s</span> ", i, c->points[i].name);
    if (!isnan(c->rule))
        pn_page_put(p, "<span class=\"key\"><i class=\"rule\"></i>%s</span> ", c->rule_name);
    pn_page_put(p, "</span></figcaption>\n");
}

void pn_chart_put(pn_page *p, const pn_chart *chart) {
    pn_chart c = *chart;
    pn_buckets b[PN_CHART_LINES] = {0};
    if (!(c.most - c.least > 1e-6 * fabs(c.most))) { /* one value, or none */
        const double middle = isfinite(c.least) ? c.least : 0, room = fmax(fabs(middle) / 10, 1e-3);
        c.least = middle - room;
        c.most = middle + room;
    }
    for (int k = 0; k < c.lines; k++) pn_chart_buckets(&c, k, &b[k]);
    pn_page_put(p, "<figure class=\"chart\">\n");
    put_legend(p, &c, b);
    pn_page_put(p, "<div class=\"plot\">\n");
    put_svg(p, &c, b);
    put_labels(p, &c);
    pn_page_put(p, "</div>\n</figure>\n");
}
