/* curves.c -- see curves.h. */
#include "search/report/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/report/chart.h"
#include "search/report/html.h"

enum { MOST_CHARTS = 12 };

static bool add_mark(pn_chart *c, double at, bool anew) {
    if (c->marks == PN_CHART_MARKS || !(at >= c->from && at <= c->to)) return false;
    c->mark[c->marks++] = (pn_chart_mark){at, anew};
    return true;
}

/* Where an event stands on the axis: of a training, the epoch that was at work. NaN: not known. */
static double place_of(const pn_facts *f, const json_t *event) {
    const json_t *step = json_object_get(event, "step"), *all = json_object_get(event, "steps");
    if (!json_is_number(step)) return NAN;
    if (f->search) return json_number_value(step);
    const double steps_per_epoch = json_number_value(all) / (double)f->all;
    return steps_per_epoch > 0 ? floor(json_number_value(step) / steps_per_epoch) + 1 : NAN;
}

static pn_chart chart_of(const pn_facts *f, const char *title, const char *unit) {
    const double most = (double)(f->all > f->done ? f->all : f->done);
    pn_chart c = {.title = title,
                  .unit = unit,
                  .axis = f->search ? "step" : "epoch",
                  .from = f->search ? 0 : 1,
                  .to = most > 1 ? most : 2,
                  .least = NAN,
                  .most = NAN,
                  .rule = NAN};
    if (f->search && f->warmup > 0 && f->warmup < f->all) {
        c.shaded = (double)f->warmup;
        c.phase = f->evidence ? "uniform phase" : "warm-up";
    }
    size_t i;
    json_t *one;
    json_array_foreach(f->events, i, one) {
        const char *what = json_string_value(json_object_get(one, "event"));
        if (what && !strcmp(what, "resume")) add_mark(&c, place_of(f, one), false);
    }
    const double restart = pn_view_setting(&f->view, "restart", 0);
    for (double at = restart; f->evidence && restart >= 1 && at < (double)f->done; at += restart)
        if (!add_mark(&c, at, true)) break;
    return c;
}

static void add_line(pn_chart *c, const pn_columns *table, const char *name, const char *column,
                     double scale) {
    if (pn_column(table, column) >= 0 && c->lines < PN_CHART_LINES)
        c->line[c->lines++] = (pn_chart_line){name, table, column, NULL, scale};
}

/* All the curves of a run; those without a value are left out by whoever draws. */
static int charts_of(const pn_facts *f, pn_chart chart[MOST_CHARTS]) {
    int n = 0;
    pn_chart *c = &chart[n++];
    *c = chart_of(f, "Loss", "nats an image");
    add_line(c, &f->metrics, "training", "train_loss", 1);
    add_line(c, &f->metrics, f->search ? "validation" : "scored", f->search ? "val_loss" : "loss",
             1);
    c = &chart[n++];
    *c = chart_of(f, f->search ? "Accuracy" : "Error", "%");
    if (f->search) {
        add_line(c, &f->metrics, "training", "train_accuracy", 100);
        add_line(c, &f->metrics, "validation", "val_accuracy", 100);
    } else {
        c->title = "Accuracy";
        add_line(c, &f->metrics, "training", "train_accuracy", 100);
        add_line(c, &f->metrics, "scored", "accuracy", 100);
    }
    c = &chart[n++];
    *c = chart_of(f, "Entropy", "of the distribution, nats");
    add_line(c, &f->metrics, "entropy", "entropy", 1);
    if (f->distributed) {
        c->rule = f->health.entropy_uniform;
        c->rule_name = "uniform";
    }
    if (pn_view_setting(&f->view, "samples", 2) > 1) {
        c = &chart[n++];
        *c = chart_of(f, "Effective samples", "a step");
        add_line(c, &f->metrics, "for the weights", "ess_v", 1);
        add_line(c, &f->metrics, "for the distribution", "ess_pi", 1);
    }
    c = &chart[n++];
    *c = chart_of(f, "Expected accuracy", "by the table of known cells, %");
    add_line(c, &f->truth, "a cell drawn", "mean", 1);
    add_line(c, &f->truth, "the cell found so far", "found", 1);
    c = &chart[n++];
    *c = chart_of(f, "Learning rate", "of the weights");
    add_line(c, &f->metrics, "rate", "rate", 1);
    c = &chart[n++];
    *c = chart_of(f, "Gradient", "norm before clipping");
    add_line(c, &f->metrics, "of the weights", f->search ? "gradient_norm_v" : "gradient_norm", 1);
    c = &chart[n++];
    *c = chart_of(f, "Time", f->search ? "milliseconds a step" : "seconds an epoch");
    add_line(c, &f->times, "time", "ms", f->search ? 1 : 1e-3);
    return n;
}

/* What the shades and dotted lines of all charts are. */
static void put_key(pn_page *p, const pn_chart *c) {
    pn_page_put(p,
                "<p>A line is the mean of the %ss under it, the band their smallest and largest "
                "value. ",
                c->axis);
    if (c->shaded > 0)
        pn_page_put(p, "<span class=\"key\"><i class=\"phase\"></i>%s</span>", c->phase);
    bool any[2] = {false};
    for (int i = 0; i < c->marks; i++) any[c->mark[i].anew] = true;
    if (any[0]) pn_page_put(p, "<span class=\"key\"><i class=\"mark\"></i>continued</span>");
    if (any[1])
        pn_page_put(p, "<span class=\"key\"><i class=\"mark anew\"></i>weights anew</span>");
    pn_page_put(p, "</p>\n");
}

void pn_curves_put(pn_page *p, const pn_facts *f) {
    pn_chart chart[MOST_CHARTS];
    const int n = charts_of(f, chart);
    int put = 0;
    for (int i = 0; i < n; i++) {
        if (!pn_chart_has(&chart[i])) continue;
        if (!put++) {
            pn_page_put(p, "<section><h2>Curves</h2>\n");
            put_key(p, &chart[i]);
            pn_page_put(p, "<div class=\"charts\">\n");
        }
        pn_chart_widen(&chart[i], &chart[i].least, &chart[i].most);
        pn_chart_put(p, &chart[i]);
    }
    if (put) pn_page_put(p, "</div>\n</section>\n");
}

void pn_curves_speed(pn_page *p, const pn_facts *f) {
    pn_chart c = chart_of(f, "Images a second", "through the network");
    c.line[c.lines++] = (pn_chart_line){"images a second", &f->times, "images", "ms", 1000};
    c.broken = true;
    if (!pn_chart_has(&c)) return;
    pn_chart_widen(&c, &c.least, &c.most);
    c.least = 0; /* half as fast is half as high */
    pn_chart_put(p, &c);
}

/* ---- several --------------------------------------------------------------------------------- */

/* Chart i of a run by its title, since runs may have other curves. */
static bool chart_by_title(const pn_facts *f, const char *title, pn_chart *chart) {
    pn_chart all[MOST_CHARTS];
    const int n = charts_of(f, all);
    for (int i = 0; i < n; i++)
        if (!strcmp(all[i].title, title) && pn_chart_has(&all[i])) {
            *chart = all[i];
            return true;
        }
    return false;
}

static void put_multiples(pn_page *p, const pn_facts *run, int count, const char *title) {
    double least = NAN, most = NAN, from = NAN, to = NAN;
    pn_chart c;
    const char *unit = "";
    for (int i = 0; i < count; i++)
        if (chart_by_title(&run[i], title, &c)) {
            pn_chart_widen(&c, &least, &most);
            from = fmin(from, c.from);
            to = fmax(to, c.to);
            unit = c.unit;
        }
    if (isnan(to)) return;
    pn_page_put(p, "<section><h2>%s, %s</h2>\n<div class=\"charts\">\n", title, unit);
    for (int i = 0; i < count; i++) {
        if (!chart_by_title(&run[i], title, &c)) continue;
        pn_page name = {0};
        char *text;
        size_t size;
        pn_html(&name, run[i].name);
        if (pn_page_finish(&name, "a name", &text, &size) != PN_OK) {
            p->no_memory = true;
            return;
        }
        c.title = text;
        c.unit = "";
        c.from = from;
        c.to = to;
        c.least = least;
        c.most = most;
        pn_chart_put(p, &c);
        free(text);
    }
    pn_page_put(p, "</div>\n</section>\n");
}

void pn_curves_compare(pn_page *p, const pn_facts *run, int count) {
    pn_chart all[MOST_CHARTS];
    const int n = charts_of(&run[0], all);
    for (int i = 0; i < n; i++) put_multiples(p, run, count, all[i].title);
}
