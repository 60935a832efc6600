/* heat.c -- see heat.h. */
#include "search/report/heat.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "search/report/html.h"

enum { ROW_HEIGHT = 14 }; /* pixels, as in style.css */

int pn_heat_rows(const pn_facts *f, int64_t row[PN_HEAT_COLUMNS + 2]) {
    const pn_columns *t = &f->prior;
    const int step = pn_column(t, "step");
    int64_t folded = -1, left = 0, seen = 0;
    int count = 0;
    for (int64_t r = 0; r < t->rows; r++) {
        const double s = pn_value_at(t, r, step);
        if (!f->evidence && s >= 0 && s <= (double)f->warmup) folded = r;
    }
    for (int64_t r = 0; r < t->rows; r++) left += pn_value_at(t, r, step) < 0 || r > folded;
    const int64_t every =
        left > PN_HEAT_COLUMNS ? (left + PN_HEAT_COLUMNS - 1) / PN_HEAT_COLUMNS : 1;
    for (int64_t r = 0; r < t->rows; r++) {
        const bool alone = pn_value_at(t, r, step) < 0 || r > folded;
        const bool taken = alone ? ++seen % every == 0 || r == t->rows - 1 : r == folded;
        if (taken && count < PN_HEAT_COLUMNS + 2) row[count++] = r;
    }
    return count;
}

static int shade_of(double probability) {
    const int shade = (int)floor(probability * PN_HEAT_SHADES);
    return shade < 0 ? 0 : shade >= PN_HEAT_SHADES ? PN_HEAT_SHADES - 1 : shade;
}

static const char *choice_name(const pn_factor *f, int i, char text[24]) {
    if (f->ops) {
        static const char *const brief[PN_MAX_OPS] = {"max pool", "avg pool", "skip",   "sep 3x3",
                                                      "sep 5x5",  "dil 3x3",  "dil 5x5"};
        snprintf(text, 24, "%s", brief[i]);
    } else if (i < 2) {
        snprintf(text, 24, "cell k-%d", 2 - i);
    } else {
        snprintf(text, 24, "node %d", i - 2);
    }
    return text;
}

/* What a map shows: [choice][column] shades. */
typedef struct map {
    int choices, columns;
    unsigned char shade[PN_MAX_OPS][PN_HEAT_COLUMNS + 2];
    double first[PN_MAX_OPS], last[PN_MAX_OPS];
} map;

static void fill(map *m, const pn_facts *f, const pn_factor *factor, const int64_t *row, int rows) {
    m->choices = factor->choices;
    m->columns = rows;
    for (int i = 0; i < m->choices; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&f->pi.space, factor->first + i, name);
        const int column = pn_column(&f->prior, name);
        m->first[i] = pn_value_at(&f->prior, row[0], column);
        m->last[i] = pn_value_at(&f->prior, row[rows - 1], column);
        for (int k = 0; k < rows; k++) {
            const double p = pn_value_at(&f->prior, row[k], column);
            m->shade[i][k] = (unsigned char)(isfinite(p) ? shade_of(p) : 0);
        }
    }
}

/* All of one shade in a path; equal neighbours are one stroke. */
static void put_shade(pn_page *p, const map *m, int shade) {
    bool any = false;
    for (int i = 0; i < m->choices; i++)
        for (int k = 0, end; k < m->columns; k = end) {
            for (end = k + 1; end < m->columns && m->shade[i][end] == m->shade[i][k];) end++;
            if (m->shade[i][k] != shade) continue;
            if (!any)
                pn_page_put(p, "<path class=\"shade\" fill-opacity=\"%.2f\" d=\"",
                            (double)shade / (PN_HEAT_SHADES - 1));
            any = true;
            pn_page_put(p, "M%d %dh%dv1h-%dz", k, i, end - k, end - k);
        }
    if (any) pn_page_put(p, "\"/>");
}

static void put_factor(pn_page *p, const pn_facts *f, const pn_factor *factor, const int64_t *row,
                       int rows) {
    static map m;
    char name[24], first[PN_FIGURE_BYTES], last[PN_FIGURE_BYTES];
    const pn_choice of = f->arch.cell[factor->kind].term[factor->node][factor->slot];
    const int chosen = !f->known ? -1 : factor->ops ? pn_op_choice(&f->pi.space, of.op) : of.input;
    int best = 0;
    fill(&m, f, factor, row, rows);
    for (int i = 1; i < m.choices; i++)
        if (m.last[i] > m.last[best]) best = i;
    pn_page_put(p,
                "<figure class=\"factor\"><figcaption>node %d, %s term, %s</figcaption>\n"
                "<div class=\"map\"><ol>",
                factor->node, factor->slot ? "second" : "first", factor->ops ? "op" : "input");
    for (int i = 0; i < m.choices; i++)
        pn_page_put(p, "<li%s>%s</li>", i == chosen ? " class=\"on\"" : "",
                    choice_name(factor, i, name));
    pn_page_put(p,
                "</ol>\n<svg height=\"%d\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
                "role=\"img\"><title>%s cell, node %d, %s term, %s: most probable at the end is "
                "%s with %s</title>\n",
                ROW_HEIGHT * m.choices, rows, m.choices, factor->kind ? "reduction" : "normal",
                factor->node, factor->slot ? "second" : "first", factor->ops ? "op" : "input",
                choice_name(factor, best, name), pn_figure(m.last[best], last));
    for (int shade = 1; shade < PN_HEAT_SHADES; shade++) put_shade(p, &m, shade);
    pn_page_put(p, "<g class=\"hover\">");
    for (int i = 0; i < m.choices; i++)
        pn_page_put(p,
                    "<rect y=\"%d\" width=\"%d\" height=\"1\"><title>%s: %s at first, %s at the "
                    "end</title></rect>",
                    i, rows, choice_name(factor, i, name), pn_figure(m.first[i], first),
                    pn_figure(m.last[i], last));
    pn_page_put(p, "</g></svg></div></figure>\n");
}

void pn_heat_put(pn_page *p, const pn_facts *f) {
    /* Of a node's factors in flat order (inputs, ops, inputs, ops), the wide ones first. */
    static const int order[] = {1, 3, 0, 2};
    pn_factor factor[PN_MAX_FACTORS];
    int64_t row[PN_HEAT_COLUMNS + 2];
    char text[PN_FIGURE_BYTES];
    if (!f->distributed) return;
    const int factors = pn_factors(&f->pi.space, factor), rows = pn_heat_rows(f, row);
    pn_page_put(p,
                "<section><h2>The distribution over time</h2>\n"
                "<p>Each map is one choice of the search, each row an alternative; from left to "
                "right ");
    if (f->warmup > 0 && !f->evidence) pn_page_put(p, "the warm-up in the first column, then ");
    pn_page_put(p, "up to step %s. Bold: what the cell took. <span class=\"nowrap\">Probability 0",
                pn_figure_count(f->pi_step, text));
    pn_page_put(p, "<span class=\"scale\">");
    for (int i = 0; i < PN_HEAT_SHADES; i++)
        pn_page_put(p, "<i style=\"opacity:%.2f\"></i>", (double)i / (PN_HEAT_SHADES - 1));
    pn_page_put(p, "</span>1</span></p>\n");
    for (int first = 0; first < factors; first += 4) {
        if (factor[first].node == 0)
            pn_page_put(p, "%s<h3>%s cell</h3>\n<div class=\"heat\">\n", first ? "</div>\n" : "",
                        factor[first].kind ? "Reduction" : "Normal");
        for (int i = 0; i < 4; i++) put_factor(p, f, &factor[first + order[i]], row, rows);
    }
    pn_page_put(p, "</div>\n</section>\n");
}
