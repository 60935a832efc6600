/* several.c -- runs of one kind beside each other: a part of the page. */
#include <math.h>
#include <string.h>

#include "runtime/json.h"
#include "search/report/curves.h"
#include "search/report/html.h"
#include "search/report/sections.h"

typedef char figure[PN_FIGURE_BYTES];

static void put_chances(pn_page *p, const pn_facts *f) {
    figure a;
    pn_page_put(p, "<td>%.1f nats</td><td>", f->health.entropy);
    pn_words_put(p, pn_figure_chance(f->log_p, a));
    pn_page_put(p, "</td>");
}

static void put_runs_table(pn_page *p, const pn_facts *run, int count) {
    const bool search = run[0].search;
    figure a, b;
    pn_page_put(p,
                "<div class=\"scroll\"><table>\n<thead><tr><th>run</th><th>state</th>"
                "<th>%s</th>%s<th>time</th><th>memory</th></tr></thead>\n<tbody>\n",
                search ? "steps" : "epochs",
                search ? "<th>entropy</th><th>probability</th><th>better than</th>"
                       : "<th>error</th><th>best</th>");
    for (int i = 0; i < count; i++) {
        const pn_facts *f = &run[i];
        pn_page_put(p, "<tr><td>");
        pn_html(p, f->name);
        pn_page_put(p, "</td><td>%s</td><td>%s</td>", pn_state_name(f),
                    pn_figure_count((double)f->done, a));
        if (search) {
            const double better = f->truth.rows
                                      ? pn_value_at(&f->truth, f->truth.rows - 1,
                                                    pn_column(&f->truth, "found_better_than"))
                                      : NAN;
            if (f->distributed)
                put_chances(p, f);
            else
                pn_page_put(p, "<td></td><td></td>");
            if (isnan(better))
                pn_page_put(p, "<td></td>");
            else
                pn_page_put(p, "<td>%s</td>", pn_figure_share(better, a));
        } else {
            const json_t *best = json_object_get(json_object_get(f->view.root, "best"), "accuracy");
            if (isnan(pn_last_accuracy(f)))
                pn_page_put(p, "<td></td>");
            else
                pn_page_put(p, "<td>%.2f %%</td>", 100 * (1 - pn_last_accuracy(f)));
            if (json_is_number(best))
                pn_page_put(p, "<td>%.2f %%</td>", 100 * (1 - json_number_value(best)));
            else
                pn_page_put(p, "<td></td>");
        }
        pn_page_put(p, "<td>%s</td><td>%s</td></tr>\n", pn_figure_time(f->seconds, a),
                    pn_figure_size(f->parameter_bytes + f->arena_bytes, b));
    }
    pn_page_put(p, "</tbody></table></div>\n");
}

/* The mean error of trainings, and how it varies from seed to seed. */
static void put_spread(pn_page *p, const pn_facts *run, int count) {
    double sum = 0, square = 0;
    int n = 0;
    for (int i = 0; i < count; i++) {
        const double error = 100 * (1 - pn_last_accuracy(&run[i]));
        if (run[i].view.state != PN_VIEW_FINISHED || isnan(error)) continue;
        sum += error;
        square += error * error;
        n++;
    }
    if (n < 2) return;
    pn_page_put(p,
                "<p class=\"note\">The error of the last epochs is %.2f %% in the mean of %d "
                "trainings, with a standard deviation of %.2f points.</p>\n",
                sum / n, n, sqrt(fmax(0, (square - sum * sum / n) / (n - 1))));
}

static bool same_cell(const pn_facts *a, const pn_facts *b) {
    return a->known && b->known && !memcmp(&a->arch, &b->arch, sizeof a->arch);
}

static void put_summary(pn_page *p, const pn_facts *f, bool cell) {
    pn_verdict v;
    pn_verdict_of(f, &v);
    pn_page_put(p, "<section><h2>");
    pn_html(p, f->name);
    pn_page_put(p, "</h2>\n");
    pn_section_sentences(p, f, &v, "words");
    if (f->known && cell) pn_section_drawings(p, &f->arch);
    if (f->known) {
        pn_page_put(p, "<p class=\"note\">");
        pn_section_cell(p, &f->arch);
        pn_page_put(p, "</p>\n");
    }
    pn_page_put(p, "</section>\n");
}

void pn_section_runs(pn_page *p, const pn_facts *run, int count) {
    put_runs_table(p, run, count);
    if (!run[0].search) put_spread(p, run, count);
    pn_page_put(p, "</section>\n");
    pn_curves_compare(p, run, count);
    for (int i = 0; i < count; i++) {
        bool shown = false;
        for (int k = 0; k < i; k++) shown |= same_cell(&run[k], &run[i]);
        put_summary(p, &run[i], !shown);
    }
    pn_section_command(p, &run[0]);
}
