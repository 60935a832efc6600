/* test_drawing.c -- the picture of two cells: that it shows the architecture, and can be read. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"
#include "search/export/drawing.h"
#include "search/network/genotype.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { ARCHITECTURES = 300 };

static int draw(uint64_t i, uint64_t *drawn, int below) {
    return (int)(pn_uniform(1, PN_STREAM_TEST, i, (*drawn)++) * below);
}

/* Every third of every edge, two thirds of which are none, and some with none among two terms. */
static pn_arch random_arch(uint64_t i) {
    pn_arch arch = {0};
    uint64_t drawn = 0;
    const int ops = i % 3 == 0 ? 2 * PN_MAX_OPS : i % 3 == 1 ? PN_NONE + 1 : PN_MAX_OPS;
    for (int kind = 0; kind < PN_KINDS; kind++) {
        pn_cell *cell = &arch.cell[kind];
        cell->every_edge = i % 3 == 0;
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < pn_slots(cell, node); slot++) {
                const int op = draw(i, &drawn, ops), input = cell->every_edge
                                                                 ? (slot + (int)i) % pn_inputs(node)
                                                                 : draw(i, &drawn, pn_inputs(node));
                cell->term[node][slot] =
                    (pn_choice){(uint8_t)(op < PN_NONE ? op : PN_NONE), (uint8_t)input};
            }
    }
    return arch;
}

static int terms_of(const pn_cell *cell) {
    int terms = 0;
    for (int node = 0; node < PN_MAX_NODES; node++) terms += pn_node_terms(cell, node);
    return terms;
}

static int count(const char *text, const char *word) {
    int n = 0;
    for (; (text = strstr(text, word)); text++) n++;
    return n;
}

/* "sep_conv_3x3" as words. */
static void words_of(int op, char text[16]) {
    snprintf(text, 16, "%s", pn_op_name[op]);
    for (char *c = text; *c; c++) *c = *c == '_' ? ' ' : *c;
}

/* ---- Graphviz -------------------------------------------------------------------------------- */

static void an_arrow_for_each_term(void **state) {
    (void)state;
    static const char *const name[PN_KINDS] = {"normal", "reduction"};
    for (uint64_t i = 0; i < ARCHITECTURES; i++) {
        const pn_arch arch = random_arch(i);
        char *text, genotype[PN_GENOTYPE_BYTES];
        pn_arch found;
        pn_genotype_write(&arch, genotype);
        assert_int_equal(pn_drawing_dot(&arch, &text), PN_OK);
        assert_int_equal(pn_genotype_find(text, strlen(text), &found), PN_OK);
        assert_memory_equal(&found, &arch, sizeof arch);
        assert_int_equal(count(text, " -> "), terms_of(&arch.cell[0]) + terms_of(&arch.cell[1]) +
                                                  PN_KINDS * PN_MAX_NODES);
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int node = 0; node < PN_MAX_NODES; node++)
                for (int slot = 0; slot < pn_slots(&arch.cell[kind], node); slot++) {
                    const pn_choice c = arch.cell[kind].term[node][slot];
                    char op[16], arrow[96];
                    if (c.op == PN_NONE) continue;
                    words_of(c.op, op);
                    snprintf(arrow, sizeof arrow, "%s_%s%d -> %s_%d [label=\"%s\"", name[kind],
                             c.input < 2 ? "in" : "", c.input < 2 ? c.input : c.input - 2,
                             name[kind], node, op);
                    assert_non_null(strstr(text, arrow));
                }
        free(text);
    }
}

/* ---- SVG ------------------------------------------------------------------------------------- */

/* A small reader: every tag is closed, and none holds what XML does not allow. */
static void check_xml(const char *text) {
    char open[16][16];
    int depth = 0;
    for (const char *at = text; (at = strchr(at, '<')); at++) {
        const char *end = strchr(at, '>');
        char name[16];
        assert_non_null(end);
        assert_null(memchr(at + 1, '<', (size_t)(end - at - 1)));
        assert_int_equal(sscanf(at + (at[1] == '/' ? 2 : 1), "%15[a-z]", name), 1);
        if (at[1] == '/') {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (end[-1] != '/') {
            assert_true(depth < 16);
            memcpy(open[depth++], name, sizeof name);
        }
    }
    assert_int_equal(depth, 0);
    assert_null(strchr(text, '&'));
}

typedef struct box {
    double x, y, width, height;
} box;

/* The boxes of a cell's nodes and ends; returns how many. */
static int find_boxes(const char *cell, const char *end, box boxes[8]) {
    int n = 0;
    for (; (cell = strstr(cell, "<rect class=\"")) && cell < end; cell++) {
        char class[16];
        box b;
        assert_int_equal(sscanf(cell,
                                "<rect class=\"%15[a-z]\" x=\"%lf\" y=\"%lf\" width=\"%lf\" "
                                "height=\"%lf\"",
                                class, &b.x, &b.y, &b.width, &b.height),
                         5);
        if (strcmp(class, "node") && strcmp(class, "end")) continue;
        assert_true(n < 8);
        boxes[n++] = b;
    }
    return n;
}

static bool overlap(const box *a, const box *b) {
    return a->x < b->x + b->width && b->x < a->x + a->width && a->y < b->y + b->height &&
           b->y < a->y + a->height;
}

/* Where a line runs straight it is in a lane: no box is there. Its curves stay between columns. */
static int check_lines(const char *cell, const char *end, const box *boxes, int count_boxes) {
    int n = 0;
    for (; (cell = strstr(cell, " d=\"M")) && cell < end; cell++, n++) {
        double x, y;
        int used;
        assert_int_equal(sscanf(cell, " d=\"M%lf %lf%n", &x, &y, &used), 2);
        for (const char *at = cell + used; *at != '"'; at += used) {
            double c[6];
            if (sscanf(at, " C%lf %lf %lf %lf %lf %lf%n", c, c + 1, c + 2, c + 3, c + 4, c + 5,
                       &used) == 6) {
                assert_true(c[4] > x && c[4] - x < 100 && c[1] == y && c[3] == c[5]);
                x = c[4];
                y = c[5];
            } else {
                assert_int_equal(sscanf(at, " H%lf%n", c, &used), 1);
                const box lane = {x, y - 2, c[0] - x, 4};
                for (int i = 0; i < count_boxes; i++) assert_false(overlap(&lane, &boxes[i]));
                x = c[0];
            }
        }
    }
    return n;
}

/* What the pointer is told of every term. */
static void check_titles(const char *cell, const char *end, const pn_arch *arch, int kind) {
    for (int edge = 0; edge < PN_MAX_NODES * PN_MOST_TERMS; edge++) {
        const int node = edge / PN_MOST_TERMS, slot = edge % PN_MOST_TERMS;
        const pn_choice c = arch->cell[kind].term[node][slot];
        char title[96];
        if (slot >= pn_slots(&arch->cell[kind], node) || c.op == PN_NONE) continue;
        if (c.input < 2)
            snprintf(title, sizeof title, "<title>%s on the output of cell k-%d%s</title>",
                     pn_op_name[c.op], 2 - c.input, kind == PN_REDUCTION ? ", stride 2" : "");
        else
            snprintf(title, sizeof title, "<title>%s on node %d</title>", pn_op_name[c.op],
                     c.input - 2);
        const char *there = strstr(cell, title);
        assert_true(there && there < end);
    }
}

static void boxes_and_lines_keep_clear_of_each_other(void **state) {
    (void)state;
    for (uint64_t i = 0; i < ARCHITECTURES; i++) {
        const pn_arch arch = random_arch(i);
        char *text, *again;
        double width, height;
        assert_int_equal(pn_drawing_svg(&arch, &text), PN_OK);
        assert_int_equal(pn_drawing_svg(&arch, &again), PN_OK);
        assert_string_equal(text, again);
        check_xml(text);
        pn_arch found;
        assert_int_equal(pn_genotype_find(text, strlen(text), &found), PN_OK);
        assert_memory_equal(&found, &arch, sizeof arch);
        assert_int_equal(sscanf(strstr(text, "viewBox"), "viewBox=\"0 0 %lf %lf", &width, &height),
                         2);
        const char *cell = text;
        double bottom = 0;
        for (int kind = 0; kind < PN_KINDS; kind++) {
            box boxes[8];
            double top;
            cell = strstr(cell, "<g transform");
            assert_int_equal(sscanf(cell, "<g transform=\"translate(0 %lf)", &top), 1);
            const char *end = strstr(cell, "  </g>\n");
            const int n = find_boxes(cell, end, boxes);
            assert_int_equal(n, 2 + PN_MAX_NODES + 1);
            for (int a = 0; a < n; a++) {
                assert_true(boxes[a].x > 0 && boxes[a].x + boxes[a].width < width);
                assert_true(boxes[a].y + top > bottom &&
                            boxes[a].y + boxes[a].height + top < height);
                for (int b = 0; b < a; b++) assert_false(overlap(&boxes[a], &boxes[b]));
            }
            assert_int_equal(check_lines(cell, end, boxes, n),
                             terms_of(&arch.cell[kind]) + PN_MAX_NODES);
            for (int a = 0; a < n; a++)
                if (boxes[a].y + boxes[a].height + top > bottom)
                    bottom = boxes[a].y + boxes[a].height + top;
            check_titles(cell, end, &arch, kind);
            cell = end;
        }
        free(text);
        free(again);
    }
}

static double middle(const box *b) { return b->y + b->height / 2; }

/* Arcs from this height to that one, beside x. */
static int arcs_to(const char *cell, double from, double to, double x) {
    int n = 0;
    for (; (cell = strstr(cell, " d=\"M")); cell++) {
        double a[8];
        assert_int_equal(sscanf(cell, " d=\"M%lf %lf C%lf %lf %lf %lf %lf %lf\"", a, a + 1, a + 2,
                                a + 3, a + 4, a + 5, a + 6, a + 7),
                         8);
        assert_true(a[0] == a[6] && a[1] == a[3] && a[2] == a[4] && a[5] == a[7]);
        n += a[0] == x && fabs(a[1] - from) < 1e-9 && fabs(a[7] - to) < 1e-9;
    }
    return n;
}

/* The middles of an op's boxes in a node; how many. */
static int op_middles(const char *cell, const box *node, const char *name,
                      double y[PN_MOST_TERMS]) {
    int n = 0;
    char want[96];
    snprintf(want, sizeof want, ">%s</text>", name);
    for (; (cell = strstr(cell, "<g><title>")); cell++) {
        const char *rect = strstr(cell, "<rect"), *end = strstr(cell, "</g>"),
                   *words = strstr(cell, want);
        box b;
        assert_int_equal(
            sscanf(strstr(rect, " x="), " x=\"%lf\" y=\"%lf\" width=\"%lf\" height=\"%lf\"", &b.x,
                   &b.y, &b.width, &b.height),
            4);
        if (words && words < end && overlap(&b, node)) y[n++] = middle(&b);
    }
    return n;
}

/* Below each other; each term's op has an arc from what it reads, beside all boxes. */
static void a_narrow_cell_fits_a_telephone(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 2 * ARCHITECTURES; i++) {
        const pn_arch arch = random_arch(i / 2);
        const int kind = (int)(i % 2);
        pn_page page = {0};
        char *cell;
        size_t size;
        double width, height;
        box b[8] = {{0, 0, 0, 0}};
        pn_drawing_narrow_cell(&page, &arch, (pn_kind)kind);
        assert_int_equal(pn_page_finish(&page, "a cell", &cell, &size), PN_OK);
        check_xml(cell);
        assert_int_equal(sscanf(strstr(cell, "viewBox"), "viewBox=\"0 0 %lf %lf", &width, &height),
                         2);
        assert_true(width <= 288); /* of 320, without the edges of the page */
        assert_int_equal(find_boxes(cell, cell + size, b), 2 + PN_MAX_NODES + 1);
        for (int k = 0; k < 2 + PN_MAX_NODES; k++)
            assert_true(b[k].y > 0 && b[k].y + b[k].height < b[k + 1].y);
        assert_true(b[2 + PN_MAX_NODES].y + b[2 + PN_MAX_NODES].height < height);
        const double left = b[2].x, right = b[2].x + b[2].width;
        assert_int_equal(count(cell, " d=\"M"), terms_of(&arch.cell[kind]) + PN_MAX_NODES);
        for (const char *at = cell; (at = strstr(at, " C")); at++) { /* it bends by 3/4 of that */
            const double x = strtod(at + 2, NULL), edge = x < left ? left : right;
            const double most = edge + 0.75 * (x - edge);
            assert_true((x < left || x > right) && most > 0 && most < width);
        }
        for (int node = 0; node < PN_MAX_NODES; node++) {
            assert_int_equal(
                arcs_to(cell, middle(&b[2 + node]), middle(&b[2 + PN_MAX_NODES]), right), 1);
            for (int slot = 0; slot < pn_slots(&arch.cell[kind], node); slot++) {
                const pn_choice *term = arch.cell[kind].term[node], c = term[slot];
                char op[16];
                double y[PN_MOST_TERMS];
                int arcs = 0;
                if (c.op == PN_NONE) continue;
                words_of(c.op, op);
                const int places = op_middles(cell, &b[2 + node], op, y);
                for (int k = 0; k < places; k++)
                    arcs += arcs_to(cell, middle(&b[c.input]), y[k], left);
                const bool twice = term[0].op == term[1].op && term[0].input == term[1].input;
                assert_int_equal(arcs, twice ? 2 : 1);
            }
        }
        check_titles(cell, cell + size, &arch, kind);
        free(cell);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arrow_for_each_term),
        cmocka_unit_test(boxes_and_lines_keep_clear_of_each_other),
        cmocka_unit_test(a_narrow_cell_fits_a_telephone),
    };
    return cmocka_run_group_tests_name("drawing", tests, NULL, NULL);
}
