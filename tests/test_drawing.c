/* test_drawing.c -- the picture of two cells: that it shows the architecture, and can be read. */
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

enum { ARCHITECTURES = 300, TERMS = PN_MAX_NODES * PN_NODE_TERMS };

static int draw(uint64_t i, uint64_t *drawn, int below) {
    return (int)(pn_uniform(1, PN_STREAM_TEST, i, (*drawn)++) * below);
}

static pn_arch random_arch(uint64_t i) {
    pn_arch arch = {0};
    uint64_t drawn = 0;
    for (int kind = 0; kind < PN_KINDS; kind++)
        for (int t = 0; t < TERMS; t++) {
            const int node = t / PN_NODE_TERMS, op = draw(i, &drawn, PN_MAX_OPS),
                      input = draw(i, &drawn, pn_inputs(node));
            arch.cell[kind].term[node][t % PN_NODE_TERMS] =
                (pn_choice){(uint8_t)op, (uint8_t)input};
        }
    return arch;
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
        assert_int_equal(count(text, " -> "), PN_KINDS * (TERMS + PN_MAX_NODES));
        for (int kind = 0; kind < PN_KINDS; kind++)
            for (int t = 0; t < TERMS; t++) {
                const pn_choice c = arch.cell[kind].term[t / PN_NODE_TERMS][t % PN_NODE_TERMS];
                char op[16], arrow[96];
                words_of(c.op, op);
                snprintf(arrow, sizeof arrow, "%s_%s%d -> %s_%d [label=\"%s\"", name[kind],
                         c.input < 2 ? "in" : "", c.input < 2 ? c.input : c.input - 2, name[kind],
                         t / PN_NODE_TERMS, op);
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
            assert_int_equal(check_lines(cell, end, boxes, n), TERMS + PN_MAX_NODES);
            for (int a = 0; a < n; a++)
                if (boxes[a].y + boxes[a].height + top > bottom)
                    bottom = boxes[a].y + boxes[a].height + top;
            for (int t = 0; t < TERMS; t++) {
                const pn_choice c = arch.cell[kind].term[t / PN_NODE_TERMS][t % PN_NODE_TERMS];
                char title[96];
                if (c.input < 2)
                    snprintf(title, sizeof title, "<title>%s on the output of cell k-%d%s</title>",
                             pn_op_name[c.op], 2 - c.input,
                             kind == PN_REDUCTION ? ", stride 2" : "");
                else
                    snprintf(title, sizeof title, "<title>%s on node %d</title>", pn_op_name[c.op],
                             c.input - 2);
                const char *there = strstr(cell, title);
                assert_true(there && there < end);
            }
            cell = end;
        }
        free(text);
        free(again);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arrow_for_each_term),
        cmocka_unit_test(boxes_and_lines_keep_clear_of_each_other),
    };
    return cmocka_run_group_tests_name("drawing", tests, NULL, NULL);
}
