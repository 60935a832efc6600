/* test_rows.c -- the notation of the ops' tests: what is wrong in a row is refused where it is. */
#include "tests/support/op_test.h"

#include <stdio.h>

static const pn_key keys[] = {{"N", 1, 9, PN_MUST}, {"HxW", 1, 9, PN_MUST},  {"C,", 4, 64, PN_MUST},
                              {"s", 1, 2, 1},       {"smoothing=", 0, 1, 0}, {"mean", 0, 0, 0},
                              {"in=", 0, 0, 0},     {"also=,", 0, 0, 0},     {"out=", 0, 0, 0},
                              {NULL, 0, 0, 0}};

static const struct bad {
    const char *row;
    int at;
    const char *why;
} bad[] = {
    {"", 1, "N is missing"},
    {"N3 8x8", 7, "C, is missing"},
    {"N3 8x8 C4 |", 12, "N is missing"},
    {"N3 8x8 C4 q5", 11, "no such word"},
    {"N3 8x8 C4 K5", 11, "no such word"},
    {"N3 8x8 C4 meanly", 11, "no such word"},
    {"N3 8x8 C4 N3", 11, "said before"},
    {"N3 8x8 C4 & C4", 13, "said before"},
    {"N0 8x8 C4", 2, "N wants 1 to 9"},
    {"N10 8x8 C4", 2, "N wants 1 to 9"},
    {"N1.5 8x8 C4", 2, "N wants 1 to 9"},
    {"N3 8 C4", 5, "no HxW"},
    {"N3 8x10 C4", 6, "HxW wants 1 to 9"},
    {"N3 8x8x8 C4", 7, "no HxW"},
    {"N3 8x8 C", 9, "C, wants 4 to 64"},
    {"N3 8x8 C4,", 11, "C, wants 4 to 64"},
    {"N3 8x8 C4,4,4,4,4", 16, "no C,"},
    {"N3 8x8 C4 smoothing=x", 21, "smoothing= wants 0 to 1"},
    {"N3 8x8 C4 mean=1", 11, "no such word"},
    {"N3 8x8 C4 in=batch+batch", 20, "no such input"},
    {"N3 8x8 C4 in=factor", 14, "no such input"},
    {"N3 8x8 C4 out=add", 15, "no such input"},
    {"N3 8x8 C4,8 also=-", 19, "also= has 1, want 2"},
    {"N3 8x8 C4 & & & &", 18, "more than 4 jobs"},
};

static void refused(void **state) {
    const struct bad *b = *state;
    pn_row rows[PN_MAX_JOBS];
    char error[PN_ROW_TEXT], place[PN_ROW_TEXT];
    assert_int_equal(pn_rows_read(keys, b->row, rows, error), 0);
    snprintf(place, sizeof place, "\"%s\", at %d, ", b->row, b->at);
    if (strncmp(error, place, strlen(place)) != 0 || !strstr(error, b->why))
        fail_msg("says %s, want %s... %s", error, place, b->why);
}

static void read_and_written(void **state) {
    (void)state;
    static const char text[] =
        "N3 8x9 C4,12 in=add also=-,batch+affine | N1 1x2 C8 smoothing=0.25 "
        "mean & s2 out=running+factor ";
    static const pn_row want[PN_MAX_JOBS] = {
        {.N = 3, .H = 8, .W = 9, .C = {4, 12}, .stride = 1, .in = PN_ADD, .also = {0, 5}},
        {.N = 1, .H = 1, .W = 2, .C = {8}, .stride = 1, .smoothing = 0.25f, .mean = 1},
        {.N = 1, .H = 1, .W = 2, .C = {8}, .stride = 2, .shares = 1, .out = PN_RUNNING | PN_FACTOR},
    };
    pn_row rows[PN_MAX_JOBS];
    char error[PN_ROW_TEXT], again[PN_ROW_TEXT];
    assert_int_equal(pn_rows_read(keys, text, rows, error), 3);
    assert_memory_equal(rows, want, sizeof want);
    pn_rows_write(keys, rows, again);
    assert_string_equal(again, text);
}

int main(void) {
    static const struct CMUnitTest others[] = {cmocka_unit_test(read_and_written)};
    return pn_run_rows("rows", bad, sizeof *bad, (int)(sizeof bad / sizeof *bad), refused, others,
                       1);
}
