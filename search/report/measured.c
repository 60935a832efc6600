/* measured.c -- see measured.h. profile.json has Google Benchmark's shape (doc/runs.md). */
#include "search/report/measured.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/json.h"
#include "search/network/genotype.h"
#include "search/report/chart.h"
#include "search/report/html.h"

enum { MOST_CELLS = 1000, MOST_OPS = 32, OP_BYTES = 40 };

/* A cell pair that was measured; NaN: not known. */
typedef struct measured {
    double ms[2]; /* forward, backward */
    double macs, bytes;
    bool own; /* the run's */
} measured;

typedef struct op_share {
    char name[OP_BYTES];
    double ms;
} op_share;

typedef struct profile {
    measured cell[MOST_CELLS];
    op_share op[MOST_OPS];
    int cells, ops;
} profile;

double pn_profile_ms(const json_t *row) {
    const char *unit = json_string_value(json_object_get(row, "time_unit"));
    const json_t *time = json_object_get(row, "real_time");
    if (!json_is_number(time)) return NAN;
    return json_number_value(time) * (!unit || !strcmp(unit, "ns") ? 1e-6
                                      : !strcmp(unit, "us")        ? 1e-3
                                      : !strcmp(unit, "s")         ? 1e3
                                                                   : 1);
}

static double number_in(const json_t *row, const char *name) {
    const json_t *value = json_object_get(row, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static void add_op(profile *all, const char *name, double ms) {
    int i = 0;
    while (i < all->ops && strcmp(all->op[i].name, name) != 0) i++;
    if (i == MOST_OPS || !isfinite(ms)) return;
    if (i == all->ops) snprintf(all->op[all->ops++].name, OP_BYTES, "%s", name);
    all->op[i].ms += ms;
}

/* A median: of a pass of a cell pair ("profile/3/forward"), or of an op in it
 * ("profile/3/forward/sep_conv_3x3/16x16"). */
static void add_row(profile *all, const json_t *row, const char *own) {
    const char *name = json_string_value(json_object_get(row, "run_name")),
               *aggregate = json_string_value(json_object_get(row, "aggregate_name")),
               *label = json_string_value(json_object_get(row, "label"));
    char pass[16], op[OP_BYTES];
    unsigned number;
    if (!name || !aggregate || strcmp(aggregate, "median") != 0) return;
    const int parts = sscanf(name, "profile/%u/%15[^/]/%39[^/]", &number, pass, op);
    if (parts < 2 || number >= MOST_CELLS) return;
    const bool backward = !strcmp(pass, "backward");
    if (!backward && strcmp(pass, "forward") != 0) return;
    const double ms = pn_profile_ms(row);
    if (parts == 3) {
        add_op(all, op, ms);
        return;
    }
    for (; all->cells <= (int)number; all->cells++)
        all->cell[all->cells] = (measured){.ms = {NAN, NAN}, .macs = NAN, .bytes = NAN};
    measured *cell = &all->cell[number];
    cell->ms[backward] = ms;
    cell->macs = number_in(row, "macs");
    cell->bytes = number_in(row, "arena_bytes");
    cell->own = label && !strcmp(label, own);
}

/* ---- plots ----------------------------------------------------------------------------------- */

static bool is_known(const measured *c) {
    return isfinite(c->ms[0] + c->ms[1]) && isfinite(c->macs) && isfinite(c->bytes);
}

/* Milliseconds against something: of other cells, then of the run's own. */
static void put_plot(pn_page *p, const profile *all, const char *unit, bool bytes) {
    double *x = calloc((size_t)all->cells, 2 * sizeof *x), *y = x + all->cells;
    if (!x) {
        p->no_memory = true;
        return;
    }
    pn_chart c = {.title = "Milliseconds a step",
                  .unit = unit,
                  .axis = "",
                  .rule = NAN,
                  .least = 0,
                  .most = NAN,
                  .from = INFINITY,
                  .to = -INFINITY};
    int n = 0;
    for (int own = 0; own < 2; own++) {
        const int first = n;
        for (int i = 0; i < all->cells; i++) {
            const measured *m = &all->cell[i];
            if (!is_known(m) || m->own != own) continue;
            x[n] = bytes ? m->bytes / (1 << 20) : m->macs / 1e6;
            y[n] = m->ms[0] + m->ms[1];
            c.from = fmin(c.from, x[n]);
            c.to = fmax(c.to, x[n]);
            c.most = fmax(c.most, y[n]);
            n++;
        }
        if (n > first)
            c.points[c.groups++] = (pn_chart_points){own ? "this cell pair" : "others", x + first,
                                                     y + first, n - first};
    }
    const double room = fmax(0.04 * (c.to - c.from), 1e-3 * c.to);
    c.from = fmax(c.from - room, 0);
    c.to += room;
    c.most *= 1.1;
    pn_chart_put(p, &c);
    free(x);
}

static int longest_first(const void *a, const void *b) {
    const op_share *x = a, *y = b;
    return x->ms != y->ms ? (x->ms < y->ms ? 1 : -1) : strcmp(x->name, y->name);
}

static void put_shares(pn_page *p, profile *all) {
    double sum = 0;
    if (!all->ops) return;
    qsort(all->op, (size_t)all->ops, sizeof *all->op, longest_first);
    for (int i = 0; i < all->ops; i++) sum += all->op[i].ms;
    pn_page_put(p, "<h3>Where the time goes</h3>\n<div class=\"bars\">\n");
    for (int i = 0; i < all->ops && sum > 0; i++) {
        pn_page name = {0};
        char *text, share[PN_FIGURE_BYTES];
        size_t size;
        pn_html(&name, all->op[i].name);
        if (pn_page_finish(&name, "a name", &text, &size) != PN_OK) {
            p->no_memory = true;
            break;
        }
        pn_bar_put(p, text, all->op[i].ms, all->op[0].ms, 0,
                   pn_figure_share(all->op[i].ms / sum, share));
        free(text);
    }
    pn_page_put(p, "</div>\n");
}

void pn_measured_put(pn_page *p, const pn_facts *f) {
    const json_t *context = json_object_get(f->profile, "context");
    const char *device = json_string_value(json_object_get(context, "device"));
    char own[PN_GENOTYPE_BYTES] = "";
    json_t *row;
    size_t i;
    int known = 0;
    if (!json_is_array(json_object_get(f->profile, "benchmarks"))) return;
    profile *all = calloc(1, sizeof *all);
    if (!all) {
        p->no_memory = true;
        return;
    }
    if (f->known) pn_genotype_write(&f->arch, own);
    json_array_foreach(json_object_get(f->profile, "benchmarks"), i, row) add_row(all, row, own);
    for (int k = 0; k < all->cells; k++) known += is_known(&all->cell[k]);
    if (known) {
        pn_page_put(p,
                    "<section><h2>What cells cost to run</h2>\n<p>A training step of %d cell "
                    "pair%s, by profile.json",
                    known, known == 1 ? "" : "s");
        if (device) {
            pn_page_put(p, ", on ");
            pn_html(p, device);
        }
        pn_page_put(p, ".%s</p>\n<div class=\"charts\">\n",
                    json_is_true(json_object_get(context, "busy"))
                        ? " The machine was busy: the times are to be doubted."
                        : "");
        put_plot(p, all, "against millions of multiply-adds an image", false);
        put_plot(p, all, "against MiB of the arena", true);
        pn_page_put(p, "</div>\n");
        put_shares(p, all);
        pn_page_put(p, "</section>\n");
    }
    free(all);
}
