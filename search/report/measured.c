/* measured.c -- see measured.h. */
#include "search/report/measured.h"

#include <math.h>
#include <stdlib.h>

#include "search/report/chart.h"
#include "search/report/html.h"

/* ---- plots ----------------------------------------------------------------------------------- */

static bool is_known(const pn_profiled *c) {
    return isfinite(c->ms[0] + c->ms[1]) && isfinite(c->macs) && isfinite(c->bytes);
}

/* Milliseconds against something: of other cells, then of the run's own. */
static void put_plot(pn_page *p, const pn_facts *f, const char *unit, bool bytes) {
    const pn_report_profile *all = &f->profile;
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
            const pn_profiled *m = &all->cell[i];
            if (!is_known(m) || (f->known && pn_profiled_is(m, &f->arch)) != own) continue;
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

static void put_shares(pn_page *p, const pn_report_profile *all) {
    double sum = 0;
    if (!all->ops) return;
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
    const pn_report_profile *all = &f->profile;
    int known = 0;
    for (int k = 0; k < all->cells; k++) known += is_known(&all->cell[k]);
    if (!known) return;
    pn_page_put(p,
                "<section><h2>What cells cost to run</h2>\n<p>A training step of %d cell "
                "pair%s, by profile.json",
                known, known == 1 ? "" : "s");
    if (all->device[0]) {
        pn_page_put(p, ", on ");
        pn_html(p, all->device);
    }
    pn_page_put(p, ".%s</p>\n<div class=\"charts\">\n",
                all->busy ? " The machine was busy: the times are to be doubted." : "");
    put_plot(p, f, "against millions of multiply-adds an image", false);
    put_plot(p, f, "against MiB of the arena", true);
    pn_page_put(p, "</div>\n");
    put_shares(p, all);
    pn_page_put(p, "</section>\n");
}
