/* comparison.c -- see comparison.h. */
#include "search/report/comparison.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/network/genotype.h"
#include "search/report/chart.h"
#include "search/report/html.h"
#include "search/report/sections.h"

typedef char figure[PN_FIGURE_BYTES];

/* ---- what there is --------------------------------------------------------------------------- */

/* Accuracies are percent; NaN: not known. */
typedef struct cell {
    const char *name;
    bool random, searched, diverged;
    bool drawn; /* what it is is known: */
    pn_arch arch;
    double shared, validation, test, truth, truth_error, better;
} cell;

typedef struct comparison {
    const json_t *root;
    cell *list; /* the best first, by test accuracy, else by truth, else as they came */
    int count;
    const cell *own;     /* the search's, NULL: there is none */
    int randoms, scored; /* random cells, and those with a test accuracy */
    int steps, diverged,
        ahead;          /* ahead: random cells that are as good as the search's, or better */
    double mean, error; /* of the random cells' test accuracies, and its standard error */
    double best;        /* of so many of them as the search would pay for */
    int at_cost;        /* 0: not known */
} comparison;

static cell read_cell(const json_t *row) {
    const json_t *truth = json_object_get(row, "truth");
    const char *genotype = pn_json_text_in(row, "genotype");
    cell c = {.name = pn_json_text_in(row, "name"),
              .random = json_is_true(json_object_get(row, "random")),
              .diverged = json_is_true(json_object_get(row, "diverged")),
              .shared = 100 * pn_json_number_in(row, "shared_accuracy"),
              .validation = 100 * pn_json_number_in(row, "validation_accuracy"),
              .test = 100 * pn_json_number_in(row, "test_accuracy"),
              .truth = pn_json_number_in(truth, "accuracy"),
              .truth_error = pn_json_number_in(truth, "error"),
              .better = pn_json_number_in(truth, "better_than")};
    c.searched = !strcmp(c.name, "derived") && !c.random;
    if (c.searched) c.name = "the search's";
    c.drawn = pn_genotype_read(genotype, strlen(genotype), &c.arch) == PN_OK;
    return c;
}

static int falling(double x, double y) {
    if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
    return (x < y) - (x > y);
}

static int better_first(const void *a, const void *b) {
    const cell *x = a, *y = b;
    const int by_test = falling(x->test, y->test), by_truth = falling(x->truth, y->truth);
    return by_test ? by_test : by_truth ? by_truth : strcmp(x->name, y->name);
}

static pn_status take(comparison *c, const json_t *root) {
    const json_t *cells = json_object_get(root, "cells"), *cost = json_object_get(root, "at_cost");
    const int count = (int)json_array_size(cells);
    double square = 0;
    *c = (comparison){
        .root = root, .mean = 0, .error = NAN, .best = 100 * pn_json_number_in(cost, "best")};
    c->list = malloc(((size_t)count + 1) * sizeof *c->list);
    if (!c->list) return pn_fail(PN_EMEM, "no memory for %d cells", count);
    for (; c->count < count; c->count++)
        c->list[c->count] = read_cell(json_array_get(cells, (size_t)c->count));
    qsort(c->list, (size_t)count, sizeof *c->list, better_first);
    c->steps = (int)fmax(0, pn_json_number_in(root, "steps"));
    c->at_cost = (int)fmax(0, pn_json_number_in(cost, "cells"));
    for (int i = 0; i < count; i++) {
        const cell *one = &c->list[i];
        if (one->searched) c->own = one;
        c->diverged += one->diverged;
        c->randoms += one->random;
        if (!one->random || isnan(one->test)) continue;
        c->scored++;
        c->mean += one->test;
    }
    c->mean = c->scored ? c->mean / c->scored : (double)NAN;
    for (int i = 0; i < count; i++) {
        const cell *one = &c->list[i];
        if (!one->random || isnan(one->test)) continue;
        square += (one->test - c->mean) * (one->test - c->mean);
        c->ahead += c->own && one->test >= c->own->test;
    }
    if (c->scored > 1) c->error = sqrt(square / (c->scored - 1) / c->scored);
    return PN_OK;
}

/* The best of all by validation, which is what one may choose by. */
static const cell *chosen(const comparison *c, bool others) {
    const cell *best = NULL;
    for (int i = 0; i < c->count; i++) {
        const cell *one = &c->list[i];
        if (isnan(one->validation) || (others && one->searched)) continue;
        if (!best || one->validation > best->validation) best = one;
    }
    return best;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void say(pn_page *p, const char *format, ...) {
    char text[PN_SENTENCE_WORDS];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pn_words_put(p, text);
}

static void say_mean(pn_page *p, const comparison *c) {
    if (!c->scored) return;
    say(p, "the mean of %d random cell%s, %.2f %%", c->scored, c->scored == 1 ? "" : "s", c->mean);
    if (!isnan(c->error)) say(p, " (standard error %.2f)", c->error);
}

/* How likely a cell drawn by chance would be as good: the search's is one of `scored` + 1 that are
 * alike, if the search did nothing. */
static void say_search(pn_page *p, const comparison *c) {
    figure share;
    const cell *own = c->own;
    say(p, "Trained alone for %d steps the search's cell pair reaches %.2f %% of the test images",
        c->steps, own->test);
    if (c->scored) {
        say(p, ": %+.2f points against ", own->test - c->mean);
        say_mean(p, c);
        say(p, ", and better than %d of %d", c->scored - c->ahead, c->scored);
    }
    say(p, ".");
    if (!c->scored) return;
    pn_page_put(p, "</p>\n<p>");
    if (c->at_cost) {
        const double over = own->test - c->best;
        say(p,
            "With what the search cost one could have trained %d random cell%s; the best by "
            "validation would reach %.2f %%, %.2f points %s. ",
            c->at_cost, c->at_cost == 1 ? "" : "s", c->best, fabs(over),
            over > 0 ? "less" : "more");
    }
    say(p,
        "A cell drawn by chance would be as good or better with a probability of %s, and trainings "
        "of one cell differ by some tenths of a percent: one search proves little.",
        pn_figure_share((c->ahead + 1.0) / (c->scored + 1), share));
}

static void say_chosen(pn_page *p, const comparison *c) {
    const cell *best = chosen(c, false);
    if (!best) {
        say(p, c->steps ? "All trainings diverged." : "Nothing was trained.");
        return;
    }
    say(p, "Of %d cell pair%s, trained alone for %d steps, ", c->count, c->count == 1 ? "" : "s",
        c->steps);
    pn_html(p, best->name);
    say(p, " is the best by validation; it reaches %.2f %% of the test images", best->test);
    if (c->scored) {
        say(p, ", beside ");
        say_mean(p, c);
    }
    say(p, ". Trainings of one cell differ by some tenths of a percent.");
}

static void say_truth(pn_page *p, const comparison *c) {
    const json_t *table = json_object_get(c->root, "truth");
    figure share;
    int judged = 0;
    if (!table) return;
    for (int i = 0; i < c->count; i++) judged += !isnan(c->list[i].truth);
    pn_page_put(p, "<p>By the table ");
    pn_html(p, pn_json_text_in(table, "name"));
    if (c->own && !isnan(c->own->truth))
        say(p,
            " the search's cell pair is worth %.2f %% (standard error %.2f), better than %s of "
            "cells drawn by chance",
            c->own->truth, c->own->truth_error, pn_figure_share(c->own->better, share));
    else if (c->own)
        say(p, " the search's cell pair cannot be judged");
    else
        say(p, " %d of %d cell pairs can be judged", judged, c->count);
    if (!isnan(pn_json_number_in(table, "uniform")))
        say(p, "; a uniform cell is worth %.2f %% on average", pn_json_number_in(table, "uniform"));
    pn_page_put(p, ".</p>\n");
}

static void put_verdict(pn_page *p, const comparison *c) {
    pn_page_put(p, "<div class=\"verdict\">\n<p>");
    if (c->own && !isnan(c->own->test))
        say_search(p, c);
    else
        say_chosen(p, c);
    pn_page_put(p, "</p>\n");
    say_truth(p, c);
    if (c->diverged) pn_page_put(p, "<p>%d of %d trainings diverged.</p>\n", c->diverged, c->count);
    pn_page_put(p, "</div>\n");
}

/* ---- the cells ------------------------------------------------------------------------------- */

/* Of a strip from the least to the largest accuracy of all. */
static double place(double x, double least, double most) {
    return most > least ? 2 + 96 * (x - least) / (most - least) : 50;
}

static void put_strips(pn_page *p, const comparison *c) {
    double least = NAN, most = NAN;
    for (int i = 0; i < c->count; i++) {
        least = fmin(least, fmin(c->list[i].test, c->list[i].validation));
        most = fmax(most, fmax(c->list[i].test, c->list[i].validation));
    }
    if (isnan(most)) return;
    pn_page_put(p,
                "<section><h2>Trained alone</h2>\n<p>The best first. <span class=\"key\"><i "
                "class=\"spot c4\"></i>test</span> <span class=\"key\"><i class=\"spot ring\"></i>"
                "validation</span> ");
    if (c->scored)
        pn_page_put(p, "<span class=\"key\"><i class=\"mark\"></i>mean of the random cells</span>");
    pn_page_put(p, "</p>\n<div class=\"bars\" style=\"margin-top:16px\">\n");
    for (int i = 0; i < c->count; i++) {
        const cell *one = &c->list[i];
        if (isnan(one->test) && !one->diverged) continue;
        pn_page_put(p, "<span>");
        pn_html(p, one->name);
        if (one->diverged) {
            pn_page_put(p, "</span><span class=\"bar\"></span><span>diverged</span>\n");
            continue;
        }
        pn_page_put(p,
                    "</span><span class=\"bar\" role=\"img\" aria-label=\"test %.2f %%, validation "
                    "%.2f %%\"><i class=\"spot ring\" style=\"left:%.1f%%\"></i><i class=\"spot "
                    "c%d\" style=\"left:%.1f%%\"></i>",
                    one->test, one->validation, place(one->validation, least, most),
                    one->searched ? 1
                    : one->random ? 0
                                  : 2,
                    place(one->test, least, most));
        if (c->scored) pn_page_put(p, "<b style=\"left:%.1f%%\"></b>", place(c->mean, least, most));
        pn_page_put(p, "</span><span>%.2f&nbsp;%%</span>\n", one->test);
    }
    pn_page_put(p,
                "</div>\n<p class=\"note\">From %.2f to %.2f&nbsp;%%. Validation images are those "
                "that one may choose by; test images nothing has seen.</p>\n</section>\n",
                least, most);
}

static void put_percent(pn_page *p, double x) {
    if (isnan(x))
        pn_page_put(p, "<td></td>");
    else
        pn_page_put(p, "<td>%.2f&nbsp;%%</td>", x);
}

static void put_table(pn_page *p, const comparison *c) {
    const bool truth = json_object_get(c->root, "truth") != NULL;
    bool shared = false;
    for (int i = 0; i < c->count; i++) shared |= !isnan(c->list[i].shared);
    pn_page_put(p,
                "<section><h2>All cell pairs</h2>\n<div class=\"scroll\"><table class=\"top\">\n"
                "<thead><tr><th>cell pair</th>%s%s%s</tr></thead>\n<tbody>\n",
                shared ? "<th>shared</th>" : "", c->steps ? "<th>validation</th><th>test</th>" : "",
                truth ? "<th>truth</th><th>better than</th>" : "");
    for (int i = 0; i < c->count; i++) {
        const cell *one = &c->list[i];
        pn_page_put(p, "<tr><td>");
        pn_html(p, one->name);
        if (one->drawn) {
            pn_page_put(p, "<br>");
            pn_section_cell(p, &one->arch);
        }
        pn_page_put(p, "</td>");
        if (shared) put_percent(p, one->shared);
        if (c->steps && one->diverged) pn_page_put(p, "<td>diverged</td><td>diverged</td>");
        if (c->steps && !one->diverged) {
            put_percent(p, one->validation);
            put_percent(p, one->test);
        }
        if (truth && isnan(one->truth)) pn_page_put(p, "<td>not judged</td><td></td>");
        if (truth && !isnan(one->truth)) {
            figure share;
            put_percent(p, one->truth);
            pn_page_put(p, "<td>%s</td>", pn_figure_share(one->better, share));
        }
        pn_page_put(p, "</tr>\n");
    }
    pn_page_put(p, "</tbody></table></div>\n");
    if (shared)
        pn_page_put(p,
                    "<p class=\"note\">Shared: the accuracy with the shared weights of the search, "
                    "on its validation images.</p>\n");
    if (truth)
        pn_page_put(p,
                    "<p class=\"note\">Truth: what a table of known cells lets one expect, and the "
                    "share of all cells that it is better than. A cell unlike those of the table "
                    "is not judged.</p>\n");
    pn_section_notation(p);
    pn_page_put(p, "</section>\n");
}

/* ---- whether two measures agree -------------------------------------------------------------- */

static double shared_of(const cell *one) { return one->shared; }
static double truth_of(const cell *one) { return one->truth; }

/* Kendall's tau a: pairs in the same order less those in the other, of all pairs. */
static double tau(const double *x, const double *y, int n) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            sum += ((x[i] > x[k]) - (x[i] < x[k])) * ((y[i] > y[k]) - (y[i] < y[k]));
    return 2.0 * sum / ((double)n * (n - 1));
}

static pn_status put_plot(pn_page *p, const comparison *c, const char *unit,
                          double (*of)(const cell *), bool *any) {
    enum { LEAST = 3 };
    double *x = malloc(((size_t)c->count + 1) * 2 * sizeof *x), *y = x + c->count + 1;
    if (!x) return pn_fail(PN_EMEM, "no memory for a plot of %d cells", c->count);
    pn_chart chart = {.title = "Test accuracy, %",
                      .unit = unit,
                      .axis = "",
                      .rule = NAN,
                      .from = INFINITY,
                      .to = -INFINITY,
                      .least = INFINITY,
                      .most = -INFINITY};
    int n = 0;
    for (int own = 0; own < 2; own++) {
        const int first = n;
        for (int i = 0; i < c->count; i++) {
            const cell *one = &c->list[i];
            if (one->searched != own || isnan(of(one)) || isnan(one->test)) continue;
            x[n] = of(one);
            y[n] = one->test;
            chart.from = fmin(chart.from, x[n]);
            chart.to = fmax(chart.to, x[n]);
            chart.least = fmin(chart.least, y[n]);
            chart.most = fmax(chart.most, y[n]);
            n++;
        }
        if (n > first)
            chart.points[chart.groups++] = (pn_chart_points){
                own ? "the search's" : "other cell pairs", x + first, y + first, n - first};
    }
    if (n >= LEAST) {
        char title[128];
        const double wide = fmax(0.05 * (chart.to - chart.from), 0.01),
                     high = fmax(0.08 * (chart.most - chart.least), 0.01);
        snprintf(title, sizeof title, "%s (tau %.2f)", unit, tau(x, y, n));
        chart.unit = title;
        chart.from -= wide;
        chart.to += wide;
        chart.least -= high;
        chart.most += high;
        if (!*any)
            pn_page_put(p,
                        "<section><h2>Do the measures agree?</h2>\n<p>A point is a cell pair. "
                        "Kendall's tau is 1 where both give the same order, 0 where neither tells "
                        "of the other.</p>\n<div class=\"charts\">\n");
        *any = true;
        pn_chart_put(p, &chart);
    }
    free(x);
    return PN_OK;
}

static pn_status put_plots(pn_page *p, const comparison *c) {
    bool any = false;
    PN_TRY(put_plot(p, c, "against that with the shared weights", shared_of, &any));
    PN_TRY(put_plot(p, c, "against the truth", truth_of, &any));
    if (any) pn_page_put(p, "</div>\n</section>\n");
    return PN_OK;
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_drawn(pn_page *p, const cell *one, const char *heading) {
    char text[PN_GENOTYPE_BYTES];
    if (!one || !one->drawn) return;
    pn_page_put(p, "<section><h2>%s", heading);
    if (!one->searched) pn_html(p, one->name);
    pn_page_put(p, "</h2>\n");
    pn_section_drawings(p, &one->arch);
    pn_genotype_write(&one->arch, text);
    pn_page_put(p, "<pre>");
    pn_html(p, text);
    pn_page_put(p, "</pre>\n</section>\n");
}

static void put_settings(pn_page *p, const comparison *c) {
    static const char *const names[] = {"run",   "data",  "layers", "channels",
                                        "batch", "steps", "seed"};
    pn_page_put(p, "<section><h2>Settings</h2>\n<dl class=\"settings\">\n");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *value = json_object_get(c->root, names[i]);
        if (!value || json_is_null(value)) continue;
        pn_page_put(p, "<div><dt>%s</dt><dd>", names[i]);
        if (json_is_string(value))
            pn_html(p, json_string_value(value));
        else
            pn_page_put(p, "%lld", (long long)json_integer_value(value));
        pn_page_put(p, "</dd></div>\n");
    }
    pn_page_put(p, "</dl>\n</section>\n");
}

static void put_command(pn_page *p, const comparison *c) {
    const json_t *words = json_object_get(c->root, "command");
    if (json_array_size(words) < 2) return;
    pn_page_put(p, "<section><h2>How to repeat it</h2>\n");
    pn_section_typed(p, words);
    pn_page_put(p,
                "<p class=\"note\">On one device the same command trains to the same bits, "
                "whatever the number of threads.</p>\n</section>\n");
}

pn_status pn_comparison_put(pn_page *p, const json_t *root) {
    comparison c;
    PN_TRY(take(&c, root));
    const char *run = pn_json_text_in(root, "run");
    pn_page_put(p, "<p class=\"kind\">parsec-nas comparison of %d cell pair%s%s</p>\n<h1>", c.count,
                c.count == 1 ? "" : "s", *run ? ", one of them found by" : "");
    pn_html(p, *run ? run : pn_json_text_in(root, "data"));
    if (!*run && !*pn_json_text_in(root, "data")) pn_page_put(p, "Cells");
    pn_page_put(p, "</h1>\n");
    put_verdict(p, &c);
    put_strips(p, &c);
    put_table(p, &c);
    pn_status s = put_plots(p, &c);
    put_drawn(p, c.own, "The search's cell pair");
    put_drawn(p, chosen(&c, true),
              c.own ? "The best of the others by validation: " : "The best by validation: ");
    put_command(p, &c);
    put_settings(p, &c);
    free(c.list);
    return s;
}
