/* drawing.c -- see drawing.h.
 *
 * The SVG is laid out in layers (Sugiyama, Tagawa, Toda 1981). A cell has seven boxes: two inputs,
 * four nodes, the output. A box stands in the column behind the last of those it reads; a line that
 * passes a column has a lane there, of its own for each box that it comes from, so that no line
 * runs through a box. In each column boxes and lanes are exchanged as long as that makes lines
 * cross less, or shorter. */
#include "search/export/drawing.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/export/page.h"
#include "search/network/genotype.h"

enum { INPUTS = 2, OUT = INPUTS + PN_MAX_NODES, BOXES, COLUMNS = PN_MAX_NODES + 2 };

static const char *const kind_name[PN_KINDS] = {"normal", "reduction"};

/* "sep conv 3x3" */
static const char *words_of(pn_op op, char text[16]) {
    snprintf(text, 16, "%s", pn_op_name[op]);
    for (char *c = text; *c; c++)
        if (*c == '_') *c = ' ';
    return text;
}

static const struct family {
    const char *name, *colour, *fill;             /* on white */
    const char *dark_colour, *dark_fill, *stroke; /* on black; of the line of either */
} families[] = {
    {"pool", "#009e73", "#d6f0e7", "#2fc79b", "#07432f", ""},
    {"skip", "#6b7280", "#eceef0", "#9aa4af", "#30363d", "stroke-dasharray: 3 2"},
    {"sep", "#0072b2", "#d6e9f5", "#56b4e9", "#0b3a57", ""},
    {"dil", "#d55e00", "#fbe5d6", "#e69f00", "#553300", ""},
};
enum { FAMILIES = sizeof families / sizeof *families };

static const struct family *family_of(pn_op op) {
    return &families[op < PN_SKIP_CONNECT    ? 0
                     : op == PN_SKIP_CONNECT ? 1
                     : op < PN_DIL_CONV_3X3  ? 2
                                             : 3];
}

static pn_status finish(pn_page *page, char **out) {
    size_t size;
    return pn_page_finish(page, "a drawing", out, &size);
}

/* ---- Graphviz -------------------------------------------------------------------------------- */

static void dot_cell(pn_page *p, const pn_cell *cell, const char *name) {
    pn_page_put(p,
                "  subgraph cluster_%s {\n"
                "    label=\"%s cell\";\n"
                "    %s_in0 [label=\"cell k-2\"];\n"
                "    %s_in1 [label=\"cell k-1\"];\n",
                name, name, name, name);
    for (int node = 0; node < PN_MAX_NODES; node++)
        pn_page_put(p, "    %s_%d [label=\"%d\", fillcolor=\"#f6f8fa\"];\n", name, node, node);
    pn_page_put(p, "    %s_out [label=\"cell k\"];\n", name);
    for (int node = 0; node < PN_MAX_NODES; node++)
        for (int slot = 0; slot < pn_slots(cell, node); slot++) {
            const pn_choice t = cell->term[node][slot];
            if (t.op == PN_NONE) continue;
            const struct family *family = family_of(t.op);
            char op[16];
            pn_page_put(p,
                        "    %s_%s%d -> %s_%d [label=\"%s\", class=\"%s\", color=\"%s\", "
                        "fontcolor=\"%s\"%s];\n",
                        name, t.input < INPUTS ? "in" : "",
                        t.input < INPUTS ? t.input : t.input - INPUTS, name, node,
                        words_of(t.op, op), family->name, family->colour, family->colour,
                        t.op == PN_SKIP_CONNECT ? ", style=dashed" : "");
        }
    for (int node = 0; node < PN_MAX_NODES; node++)
        pn_page_put(p, "    %s_%d -> %s_out [color=\"#8b949e\"];\n", name, node, name);
    pn_page_put(p, "  }\n");
}

pn_status pn_drawing_dot(const pn_arch *arch, char **out) {
    char genotype[PN_GENOTYPE_BYTES];
    pn_page drawing = {0}, *p = &drawing;
    pn_genotype_write(arch, genotype);
    pn_page_put(p,
                "// %s\n"
                "digraph genotype {\n"
                "  rankdir=LR;\n"
                "  fontname=\"Helvetica\";\n"
                "  color=\"#d0d7de\";\n"
                "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#ffffff\", "
                "color=\"#57606a\", fontname=\"Helvetica\", fontsize=12, height=0.35];\n"
                "  edge [fontname=\"Helvetica\", fontsize=10, penwidth=1.4, arrowsize=0.7];\n",
                genotype);
    for (int kind = PN_KINDS - 1; kind >= 0; kind--) /* dot draws the last one on top */
        dot_cell(p, &arch->cell[kind], kind_name[kind]);
    pn_page_put(p, "}\n");
    return finish(p, out);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* Pixels. A line enters a node in the middle of its op, and leaves a box in the middle. */
enum {
    OP_WIDTH = 100,
    OP_HEIGHT = 22,
    OP_GAP = 6,
    NODE_WIDTH = OP_WIDTH + 42,
    END_WIDTH = 76, /* of inputs and output */
    END_HEIGHT = 30,
    LANE_HEIGHT = 6,
    COLUMN_GAP = 72,
    ROW_GAP = 20,
    INPUT_GAP = 44,
    MARGIN = 20,
    HEADING = 34
};

typedef struct layout {
    const pn_cell *cell;
    int column[BOXES];         /* of each box */
    int last[BOXES];           /* the last column with a reader of the box; its own, if none */
    int columns;               /* how many */
    int order[COLUMNS][BOXES]; /* boxes and lanes, the lane of a box by the box's number */
    int count[COLUMNS];
    double y[COLUMNS][BOXES]; /* their middles, around 0 */
    bool flip[BOXES];         /* a node's last op above its first: they are a sum */
    double height;
} layout;

/* Lines into a box, at most. */
static int slots_of(const pn_cell *cell, int box) {
    return box == OUT ? 1 : box < INPUTS ? 0 : pn_slots(cell, box - INPUTS);
}

static bool reads(const layout *l, int box, int slot, int other) {
    if (box == OUT) return slot == 0 && other >= INPUTS && other < OUT;
    if (box < INPUTS) return false;
    const pn_choice t = l->cell->term[box - INPUTS][slot];
    return t.op != PN_NONE && t.input == other;
}

/* Of a node with so many ops; an empty one has the height of one. */
static int node_height(const pn_cell *cell, int node) {
    const int ops = pn_node_terms(cell, node), rows = ops ? ops : 1;
    return rows * OP_HEIGHT + (rows + 1) * OP_GAP;
}

static int box_height(const layout *l, int column, int box) {
    if (l->column[box] != column) return LANE_HEIGHT;
    return box >= INPUTS && box < OUT ? node_height(l->cell, box - INPUTS) : END_HEIGHT;
}

/* Where an op stands in its node, below the node's middle; flip: the last above the first. */
static double op_y(const pn_cell *cell, int node, bool flip, int slot) {
    const int ops = pn_node_terms(cell, node);
    int row = 0;
    for (int i = 0; i < slot; i++) row += cell->term[node][i].op != PN_NONE;
    return ((flip ? ops - 1 - row : row) - (ops - 1) / 2.0) * (OP_HEIGHT + OP_GAP);
}

/* Where a line enters a box, below the box's middle. */
static double port(const layout *l, int box, int slot) {
    return box == OUT ? 0 : op_y(l->cell, box - INPUTS, l->flip[box], slot);
}

static void place_column(layout *l, int c) {
    const int gap = c ? ROW_GAP : INPUT_GAP;
    double height = -gap, at;
    for (int i = 0; i < l->count[c]; i++) height += box_height(l, c, l->order[c][i]) + gap;
    at = -height / 2;
    for (int i = 0; i < l->count[c]; i++) {
        const int box = l->order[c][i], high = box_height(l, c, box);
        l->y[c][box] = at + high / 2.0;
        at += high + gap;
    }
    if (height > l->height) l->height = height;
}

typedef struct segment {
    double from, to;
} segment;

/* The lines between a column and the next, in pieces: at most one to each of a node's ops, to each
 * lane, and from each node to the output. */
enum { SEGMENTS = PN_MAX_EDGES + 2 * BOXES };
static int segments_at(const layout *l, int c, segment list[SEGMENTS]) {
    int n = 0;
    for (int i = 0; i < l->count[c]; i++) {
        const int from = l->order[c][i];
        if (l->last[from] > c + 1) list[n++] = (segment){l->y[c][from], l->y[c + 1][from]};
        for (int box = INPUTS; box < BOXES; box++)
            for (int slot = 0; slot < slots_of(l->cell, box); slot++)
                if (l->column[box] == c + 1 && reads(l, box, slot, from))
                    list[n++] = (segment){l->y[c][from], l->y[c + 1][box] + port(l, box, slot)};
    }
    return n;
}

/* How bad the lines are: a crossing counts as much as two columns of detour. */
static double cost(const layout *l) {
    double sum = 0;
    for (int c = 0; c + 1 < l->columns; c++) {
        segment s[SEGMENTS];
        const int n = segments_at(l, c, s);
        for (int i = 0; i < n; i++) {
            sum += (s[i].to - s[i].from) * (s[i].to - s[i].from) / COLUMN_GAP;
            for (int j = 0; j < i; j++)
                if ((s[i].from - s[j].from) * (s[i].to - s[j].to) < 0) sum += 10.0 * COLUMN_GAP;
        }
    }
    return sum;
}

/* Whether a change has made the lines better than they were at best. */
static bool improves(const layout *l, double *best) {
    const double now = cost(l);
    const bool better = now < *best - 1e-6;
    if (better) *best = now;
    return better;
}

static void swap(layout *l, int c, int i, int j) {
    const int box = l->order[c][i];
    l->order[c][i] = l->order[c][j];
    l->order[c][j] = box;
    place_column(l, c);
}

static void untangle(layout *l) {
    double best = cost(l);
    for (bool better = true; better;) {
        better = false;
        for (int c = 0; c < l->columns; c++)
            for (int i = 0; i < l->count[c]; i++)
                for (int j = 0; j < i; j++) {
                    swap(l, c, i, j);
                    if (improves(l, &best))
                        better = true;
                    else
                        swap(l, c, i, j);
                }
        for (int box = INPUTS; box < OUT; box++) {
            l->flip[box] = !l->flip[box];
            if (improves(l, &best))
                better = true;
            else
                l->flip[box] = !l->flip[box];
        }
    }
}

static layout lay_out(const pn_cell *cell) {
    layout l = {.cell = cell};
    for (int box = INPUTS; box < BOXES; box++) {
        l.column[box] = 1; /* an empty node's too */
        for (int slot = 0; slot < slots_of(cell, box); slot++)
            for (int other = 0; other < box; other++)
                if (reads(&l, box, slot, other) && l.column[other] >= l.column[box])
                    l.column[box] = l.column[other] + 1;
    }
    l.columns = l.column[OUT] + 1;
    for (int other = 0; other < BOXES; other++) {
        l.last[other] = l.column[other];
        for (int box = INPUTS; box < BOXES; box++)
            for (int slot = 0; slot < slots_of(cell, box); slot++)
                if (reads(&l, box, slot, other) && l.column[box] > l.last[other])
                    l.last[other] = l.column[box];
        for (int c = l.column[other]; c == l.column[other] || c < l.last[other]; c++)
            l.order[c][l.count[c]++] = other;
    }
    for (int c = 0; c < l.columns; c++) place_column(&l, c);
    untangle(&l);
    return l;
}

/* ---- SVG ------------------------------------------------------------------------------------- */

static double column_width(int c, int columns) {
    return c == 0 || c == columns - 1 ? END_WIDTH : NODE_WIDTH;
}

static double column_x(int c) {
    return MARGIN + (c ? END_WIDTH + COLUMN_GAP + (c - 1) * (NODE_WIDTH + COLUMN_GAP) : 0);
}

/* From a box through its lanes into a port of another. */
static void svg_line(pn_page *p, const layout *l, int from, int box, int slot) {
    int c = l->column[from];
    double x = column_x(c) + column_width(c, l->columns), y = l->y[c][from];
    pn_page_put(p, "    <path class=\"line%s\" d=\"M%g %g", box == OUT ? " out" : "", x, y);
    for (; c < l->column[box]; c++) {
        const bool there = c + 1 == l->column[box];
        const double to_x = column_x(c + 1), half = COLUMN_GAP / 2.0,
                     to_y = there ? l->y[c + 1][box] + port(l, box, slot) : l->y[c + 1][from];
        pn_page_put(p, " C%g %g %g %g %g %g", x + half, y, to_x - half, to_y, to_x, to_y);
        x = to_x;
        y = to_y;
        if (there) break;
        x += column_width(c + 1, l->columns);
        pn_page_put(p, " H%g", x);
    }
    pn_page_put(p, "\"/>\n");
}

/* An input or the output, by its left edge and its middle. */
static void svg_end(pn_page *p, double x, double y, const char *text) {
    pn_page_put(p,
                "    <rect class=\"end\" x=\"%g\" y=\"%g\" width=\"%d\" height=\"%d\" rx=\"15\"/>\n"
                "    <text x=\"%g\" y=\"%g\">%s</text>\n",
                x, y - END_HEIGHT / 2.0, END_WIDTH, END_HEIGHT, x + END_WIDTH / 2.0, y + 4, text);
}

static void svg_node(pn_page *p, const pn_cell *cell, int node, double x, double y, bool flip,
                     bool reduction) {
    const int height = node_height(cell, node);
    pn_page_put(p,
                "    <rect class=\"node\" x=\"%g\" y=\"%g\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n"
                "    <text class=\"number\" x=\"%g\" y=\"%g\">+ %d</text>\n",
                x, y - height / 2.0, NODE_WIDTH, height, x + NODE_WIDTH - 20, y + 4, node);
    for (int slot = 0; slot < pn_slots(cell, node); slot++) {
        const pn_choice t = cell->term[node][slot];
        const double at = y + op_y(cell, node, flip, slot);
        char op[16];
        if (t.op == PN_NONE) continue;
        pn_page_put(p, "    <g><title>%s on ", pn_op_name[t.op]);
        if (t.input < INPUTS)
            pn_page_put(p, "the output of cell k-%d%s", INPUTS - t.input,
                        reduction ? ", stride 2" : "");
        else
            pn_page_put(p, "node %d", t.input - INPUTS);
        pn_page_put(p,
                    "</title>\n"
                    "      <rect class=\"%s\" x=\"%g\" y=\"%g\" width=\"%d\" height=\"%d\" "
                    "rx=\"6\"/>\n"
                    "      <text x=\"%g\" y=\"%g\">%s</text></g>\n",
                    family_of(t.op)->name, x, at - OP_HEIGHT / 2.0, OP_WIDTH, OP_HEIGHT,
                    x + OP_WIDTH / 2.0, at + 4, words_of(t.op, op));
    }
}

static const char *const end_name[BOXES] = {[0] = "cell k-2", [1] = "cell k-1", [OUT] = "cell k"};

static void svg_box(pn_page *p, const layout *l, int box, pn_kind kind) {
    const double x = column_x(l->column[box]), y = l->y[l->column[box]][box];
    if (end_name[box])
        svg_end(p, x, y, end_name[box]);
    else
        svg_node(p, l->cell, box - INPUTS, x, y, l->flip[box], kind == PN_REDUCTION);
}

static void svg_heading(pn_page *p, double x, double top, pn_kind kind) {
    pn_page_put(p, "  <text class=\"heading\" x=\"%g\" y=\"%g\">%s cell</text>\n", x, top + 14,
                kind_name[kind]);
}

static void svg_cell(pn_page *p, const layout *l, pn_kind kind, double top) {
    svg_heading(p, MARGIN, top, kind);
    pn_page_put(p, "  <g transform=\"translate(0 %g)\">\n", top + HEADING + l->height / 2);
    for (int box = OUT; box >= INPUTS; box--)
        for (int slot = 0; slot < slots_of(l->cell, box); slot++)
            for (int from = 0; from < box; from++)
                if (reads(l, box, slot, from)) svg_line(p, l, from, box, slot);
    for (int box = 0; box < BOXES; box++) svg_box(p, l, box, kind);
    pn_page_put(p, "  </g>\n");
}

/* ---- narrow ---------------------------------------------------------------------------------- */

/* Pixels: of the arcs on either side, between boxes, around all of it. */
enum { LEFT_ARCS = 74, RIGHT_ARCS = 58, BOX_GAP = 16, EDGE = 4 };
enum { NARROW_WIDTH = EDGE + LEFT_ARCS + NODE_WIDTH + RIGHT_ARCS + EDGE };

static int narrow_height(const pn_cell *cell, int box) {
    return end_name[box] ? END_HEIGHT : node_height(cell, box - INPUTS);
}

/* The middle of a box. */
static double narrow_y(const pn_cell *cell, int box) {
    double y = HEADING + END_HEIGHT / 2.0;
    for (int i = 1; i <= box; i++)
        y += BOX_GAP + (narrow_height(cell, i - 1) + narrow_height(cell, i)) / 2.0;
    return y;
}

/* From a box to one that is `rows` below it, where the line ends at `to`; it bends to the left
 * (side -1) or to the right, the farther the more. */
static void svg_arc(pn_page *p, const pn_cell *cell, double x, int from, double to, int rows,
                    int side, bool out) {
    const double y = narrow_y(cell, from), bent = x + side * (8 + 17.0 * rows);
    pn_page_put(p, "  <path class=\"line%s\" d=\"M%g %g C%g %g %g %g %g %g\"/>\n",
                out ? " out" : "", x, y, bent, y, bent, to, x, to);
}

/* A node's nearest input is that of its uppermost op: the arcs then lie within each other. */
static pn_cell narrow_order(const pn_cell *cell) {
    pn_cell sorted = *cell;
    for (int node = 0; node < PN_MAX_NODES; node++) {
        pn_choice *t = sorted.term[node];
        for (int i = 1; i < pn_slots(cell, node); i++)
            for (int j = i; j > 0 && t[j].input > t[j - 1].input; j--) {
                const pn_choice first = t[j - 1];
                t[j - 1] = t[j];
                t[j] = first;
            }
    }
    return sorted;
}

static void svg_narrow(pn_page *p, const pn_cell *of, pn_kind kind) {
    const double left = EDGE + LEFT_ARCS, right = left + NODE_WIDTH;
    const pn_cell sorted = narrow_order(of), *cell = &sorted;
    svg_heading(p, EDGE, 0, kind);
    for (int box = INPUTS; box < OUT; box++) {
        svg_arc(p, cell, right, box, narrow_y(cell, OUT), OUT - box, 1, true);
        for (int slot = 0; slot < pn_slots(cell, box - INPUTS); slot++) {
            const pn_choice t = cell->term[box - INPUTS][slot];
            if (t.op != PN_NONE)
                svg_arc(p, cell, left, t.input,
                        narrow_y(cell, box) + op_y(cell, box - INPUTS, false, slot), box - t.input,
                        -1, false);
        }
    }
    for (int box = 0; box < BOXES; box++) {
        const double y = narrow_y(cell, box);
        if (box == OUT)
            svg_end(p, right - END_WIDTH, y, end_name[box]);
        else if (box < INPUTS)
            svg_end(p, left, y, end_name[box]);
        else
            svg_node(p, cell, box - INPUTS, left, y, false, kind == PN_REDUCTION);
    }
}

/* A rule for each of them, in what `scope` selects. */
static void svg_rules(pn_page *p, const char *scope, const char *const rule[], int count) {
    for (int i = 0; i < count; i++) pn_page_put(p, "    %s%s\n", scope, rule[i]);
}

/* For what `scope` selects ("", or ".cells "); dark where `dark` holds. */
static void svg_style(pn_page *p, const char *scope, const char *dark) {
    static const char *const light_rules[] = {
        "text { font: 12px sans-serif; text-anchor: middle; fill: #1b1f24 }",
        ".heading { font-size: 15px; font-weight: bold; text-anchor: start }",
        ".page { fill: #ffffff }",
        ".line { fill: none; stroke: #57606a; stroke-width: 1.4 }",
        ".out { stroke: #afb8c1 }",
        ".node { fill: #f6f8fa; stroke: #afb8c1 }",
        ".end { fill: #ffffff; stroke: #57606a }"};
    static const char *const dark_rules[] = {"text { fill: #f0f3f6 }",
                                             ".page { fill: #0d1117 }",
                                             ".line { stroke: #8b949e }",
                                             ".out { stroke: #57606a }",
                                             ".node { fill: #161b22; stroke: #3d444d }",
                                             ".end { fill: #0d1117; stroke: #8b949e }"};
    svg_rules(p, scope, light_rules, sizeof light_rules / sizeof *light_rules);
    for (int i = 0; i < FAMILIES; i++)
        pn_page_put(p, "    %s.%s { fill: %s; stroke: %s; stroke-width: 1.4; %s }\n", scope,
                    families[i].name, families[i].fill, families[i].colour, families[i].stroke);
    pn_page_put(p, "    @media %s {\n", dark);
    svg_rules(p, scope, dark_rules, sizeof dark_rules / sizeof *dark_rules);
    for (int i = 0; i < FAMILIES; i++)
        pn_page_put(p, "    %s.%s { fill: %s; stroke: %s }\n", scope, families[i].name,
                    families[i].dark_fill, families[i].dark_colour);
    pn_page_put(p, "    }\n");
}

void pn_drawing_style(pn_page *p) {
    svg_style(p, ".cells ", "screen and (prefers-color-scheme: dark)");
}

static void open_svg(pn_page *p, const char *name, double width, double height, pn_kind kind) {
    pn_page_put(p,
                "<svg class=\"cells %s\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" "
                "role=\"img\">\n"
                "  <title>The %s cell</title>\n",
                name, width, height, width, height, kind_name[kind]);
}

void pn_drawing_cell(pn_page *p, const pn_arch *arch, pn_kind kind) {
    const layout l = lay_out(&arch->cell[kind]);
    open_svg(p, "wide", column_x(l.columns - 1) + END_WIDTH + MARGIN, HEADING + l.height + MARGIN,
             kind);
    svg_cell(p, &l, kind, 0);
    pn_page_put(p, "</svg>\n");
}

void pn_drawing_narrow_cell(pn_page *p, const pn_arch *arch, pn_kind kind) {
    const pn_cell *cell = &arch->cell[kind];
    open_svg(p, "narrow", NARROW_WIDTH, narrow_y(cell, OUT) + END_HEIGHT / 2.0 + EDGE, kind);
    svg_narrow(p, cell, kind);
    pn_page_put(p, "</svg>\n");
}

pn_status pn_drawing_svg(const pn_arch *arch, char **out) {
    const layout normal = lay_out(&arch->cell[PN_NORMAL]),
                 reduction = lay_out(&arch->cell[PN_REDUCTION]);
    const int columns = normal.columns > reduction.columns ? normal.columns : reduction.columns;
    const double width = column_x(columns - 1) + END_WIDTH + MARGIN,
                 second = MARGIN + HEADING + normal.height + 2 * MARGIN,
                 height = second + HEADING + reduction.height + MARGIN;
    char genotype[PN_GENOTYPE_BYTES];
    pn_page drawing = {0}, *p = &drawing;
    pn_genotype_write(arch, genotype);
    pn_page_put(p,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
                "viewBox=\"0 0 %g %g\" role=\"img\">\n"
                "  <title>The normal and the reduction cell</title>\n"
                "  <desc>%s</desc>\n",
                width, height, width, height, genotype);
    pn_page_put(p, "  <style>\n");
    svg_style(p, "", "(prefers-color-scheme: dark)");
    pn_page_put(p, "  </style>\n");
    pn_page_put(p, "  <rect class=\"page\" width=\"100%%\" height=\"100%%\"/>\n");
    svg_cell(p, &normal, PN_NORMAL, MARGIN);
    svg_cell(p, &reduction, PN_REDUCTION, second);
    pn_page_put(p, "</svg>\n");
    return finish(p, out);
}
