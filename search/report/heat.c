/* heat.c -- see heat.h. */
#include "search/report/heat.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "search/methods/mixture.h"
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

enum { MOST_CHOICES = PN_MIX_OPS };

/* What a map is of. */
typedef struct subject {
    const char *cell;
    char caption[48];
    const char *most; /* what its largest number at the end is called */
    int choices, column[MOST_CHOICES];
    char name[MOST_CHOICES][24];
    bool on[MOST_CHOICES]; /* the cell took it */
} subject;

/* And what it shows: [choice][column] shades. */
typedef struct map {
    int choices, columns;
    unsigned char shade[MOST_CHOICES][PN_HEAT_COLUMNS + 2];
    double first[MOST_CHOICES], last[MOST_CHOICES];
} map;

static const char *const cell_name[PN_KINDS] = {"normal", "reduction"};

static void name_op(int op, char text[24]) {
    static const char *const brief[PN_MAX_OPS] = {"max pool", "avg pool", "skip",   "sep 3x3",
                                                  "sep 5x5",  "dil 3x3",  "dil 5x5"};
    snprintf(text, 24, "%s", op < 0 ? "none" : brief[op]);
}

static void name_input(int input, char text[24]) {
    if (input < 2)
        snprintf(text, 24, "cell k-%d", 2 - input);
    else
        snprintf(text, 24, "node %d", input - 2);
}

static void subject_of_factor(const pn_facts *f, const pn_factor *factor, subject *s) {
    const pn_choice of = f->arch.cell[factor->kind].term[factor->node][factor->slot];
    const int taken = factor->ops ? pn_op_choice(&f->pi.space, of.op) : of.input;
    *s = (subject){
        .cell = cell_name[factor->kind], .most = "most probable", .choices = factor->choices};
    snprintf(s->caption, sizeof s->caption, "node %d, %s term, %s", factor->node,
             factor->slot ? "second" : "first", factor->ops ? "op" : "input");
    for (int i = 0; i < s->choices; i++) {
        char name[PN_NAME_BYTES];
        pn_logit_name(&f->pi.space, factor->first + i, name);
        s->column[i] = pn_column(&f->prior, name);
        (factor->ops ? name_op : name_input)(i, s->name[i]);
        s->on[i] = f->known && pn_space_has(&f->pi.space, &f->arch) && i == taken;
    }
}

static void subject_of_edge(const pn_facts *f, const pn_space *space, int kind, int node, int input,
                            subject *s) {
    const int ops = 1 + space->ops,
              first = (kind * pn_edges(space->nodes) + pn_edge(node, input)) * ops;
    char from[24];
    name_input(input, from);
    *s = (subject){.cell = cell_name[kind], .most = "largest", .choices = ops};
    snprintf(s->caption, sizeof s->caption, "node %d, from %s", node, from);
    for (int i = 0; i < ops; i++) {
        char name[PN_NAME_BYTES];
        pn_mixture_name(space, first + i, name);
        s->column[i] = pn_column(&f->prior, name);
        name_op(i - 1, s->name[i]);
        for (int slot = 0; slot < pn_slots(&f->arch.cell[kind], node); slot++) {
            const pn_choice of = f->arch.cell[kind].term[node][slot];
            const int taken = of.op == PN_NONE ? 0 : 1 + pn_op_choice(space, of.op);
            s->on[i] |= f->known && of.input == input && i == taken;
        }
    }
}

static void fill(map *m, const pn_facts *f, const subject *of, const int64_t *row, int rows) {
    m->choices = of->choices;
    m->columns = rows;
    for (int i = 0; i < m->choices; i++) {
        m->first[i] = pn_value_at(&f->prior, row[0], of->column[i]);
        m->last[i] = pn_value_at(&f->prior, row[rows - 1], of->column[i]);
        for (int k = 0; k < rows; k++) {
            const double p = pn_value_at(&f->prior, row[k], of->column[i]);
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

static void put_map(pn_page *p, const pn_facts *f, const subject *of, const int64_t *row,
                    int rows) {
    static map m;
    char first[PN_FIGURE_BYTES], last[PN_FIGURE_BYTES];
    int best = 0;
    fill(&m, f, of, row, rows);
    for (int i = 1; i < m.choices; i++)
        if (m.last[i] > m.last[best]) best = i;
    pn_page_put(p,
                "<figure class=\"factor\"><figcaption>%s</figcaption>\n"
                "<div class=\"map\"><ol>",
                of->caption);
    for (int i = 0; i < m.choices; i++)
        pn_page_put(p, "<li%s>%s</li>", of->on[i] ? " class=\"on\"" : "", of->name[i]);
    pn_page_put(p,
                "</ol>\n<svg height=\"%d\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
                "role=\"img\"><title>%s cell, %s: %s at the end is %s with %s</title>\n",
                ROW_HEIGHT * m.choices, rows, m.choices, of->cell, of->caption, of->most,
                of->name[best], pn_figure(m.last[best], last));
    for (int shade = 1; shade < PN_HEAT_SHADES; shade++) put_shade(p, &m, shade);
    pn_page_put(p, "<g class=\"hover\">");
    for (int i = 0; i < m.choices; i++)
        pn_page_put(p,
                    "<rect y=\"%d\" width=\"%d\" height=\"1\"><title>%s: %s at first, %s at the "
                    "end</title></rect>",
                    i, rows, of->name[i], pn_figure(m.first[i], first), pn_figure(m.last[i], last));
    pn_page_put(p, "</g></svg></div></figure>\n");
}

static void put_scale(pn_page *p, const char *what) {
    pn_page_put(p, "Bold: what the cell took. <span class=\"nowrap\">%s 0<span class=\"scale\">",
                what);
    for (int i = 0; i < PN_HEAT_SHADES; i++)
        pn_page_put(p, "<i style=\"opacity:%.2f\"></i>", (double)i / (PN_HEAT_SHADES - 1));
    pn_page_put(p, "</span>1</span></p>\n");
}

static void begin_cell(pn_page *p, int kind, const char *class) {
    pn_page_put(p, "%s<h3>%s cell</h3>\n<div class=\"%s\">\n", kind ? "</div>\n" : "",
                kind ? "Reduction" : "Normal", class);
}

static void put_distribution(pn_page *p, const pn_facts *f, const int64_t *row, int rows) {
    /* Of a node's factors in flat order (inputs, ops, inputs, ops), the wide ones first. */
    static const int order[] = {1, 3, 0, 2};
    pn_factor factor[PN_MAX_FACTORS];
    char text[PN_FIGURE_BYTES];
    subject of;
    const int factors = pn_factors(&f->pi.space, factor);
    pn_page_put(p,
                "<section><h2>The distribution over time</h2>\n"
                "<p>Each map is one choice of the search, each row an alternative; from left to "
                "right ");
    if (f->warmup > 0 && !f->evidence) pn_page_put(p, "the warm-up in the first column, then ");
    pn_page_put(p, "up to step %s. ", pn_figure_count(f->pi_step, text));
    put_scale(p, "Probability");
    for (int first = 0; first < factors; first += 4) {
        if (factor[first].node == 0) begin_cell(p, (int)factor[first].kind, "heat");
        for (int i = 0; i < 4; i++) {
            subject_of_factor(f, &factor[first + order[i]], &of);
            put_map(p, f, &of, row, rows);
        }
    }
    pn_page_put(p, "</div>\n</section>\n");
}

/* ---- weights of ops on edges ----------------------------------------------------------------- */

static bool has_mixture(const pn_facts *f, const pn_space *space) {
    const int logits = space->kinds * pn_edges(space->nodes) * (1 + space->ops);
    char name[PN_NAME_BYTES];
    for (int i = 0; i < logits; i++) {
        pn_mixture_name(space, i, name);
        if (pn_column(&f->prior, name) < 0) return false;
    }
    return f->prior.rows > 0;
}

static void put_mixture(pn_page *p, const pn_facts *f, const pn_space *space, const int64_t *row,
                        int rows) {
    char text[PN_FIGURE_BYTES];
    subject of;
    pn_page_put(p,
                "<section><h2>The weights over time</h2>\n"
                "<p>Each map is one edge of the cell, each row an op on it; from left to right up "
                "to step %s. ",
                pn_figure_count(
                    pn_value_at(&f->prior, f->prior.rows - 1, pn_column(&f->prior, "step")), text));
    put_scale(p, "Weight");
    for (int kind = 0; kind < space->kinds; kind++) {
        begin_cell(p, kind, "heat edges");
        for (int node = 0; node < space->nodes; node++)
            for (int input = 0; input < pn_inputs(node); input++) {
                subject_of_edge(f, space, kind, node, input, &of);
                put_map(p, f, &of, row, rows);
            }
    }
    pn_page_put(p, "</div>\n</section>\n");
}

void pn_heat_put(pn_page *p, const pn_facts *f) {
    const pn_space space = pn_space_darts();
    int64_t row[PN_HEAT_COLUMNS + 2] = {0};
    const int rows = pn_heat_rows(f, row);
    if (f->distributed)
        put_distribution(p, f, row, rows);
    else if (has_mixture(f, &space))
        put_mixture(p, f, &space, row, rows);
}
