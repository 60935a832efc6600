/* test_plan.c -- hand-made lives in, exact offsets out; then what must hold for any plan. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/plan.h"
#include "runtime/rng.h"

enum { MOST = 64 };

static void plan(pn_buffer *b, int count, size_t *total) {
    int order[2 * MOST];
    pn_placed placed[MOST];
    assert_int_equal(pn_plan(b, count, &(pn_plan_room){order, placed}, total), PN_OK);
}

static void disjoint_lives_share_a_place(void **state) {
    (void)state;
    pn_buffer b[] = {{128, 0, 1, -1, 9}, {128, 2, 3, -1, 9}};
    size_t total;
    plan(b, 2, &total);
    assert_int_equal(b[0].offset, 0);
    assert_int_equal(b[1].offset, 0);
    assert_int_equal(total, 128);
}

static void one_common_launch_is_enough_to_part_them(void **state) {
    (void)state;
    pn_buffer b[] = {{128, 0, 2, -1, 9}, {128, 2, 3, -1, 9}};
    size_t total;
    plan(b, 2, &total);
    assert_int_equal(b[0].offset, 0);
    assert_int_equal(b[1].offset, 128);
    assert_int_equal(total, 256);
}

static void the_largest_comes_first_and_small_ones_fill_the_lowest_gap(void **state) {
    (void)state;
    /* 512 at 0; 256 behind it; when the 512 is dead, 64 and 128 go to its place. */
    pn_buffer b[] = {{64, 2, 3, -1, 9}, {256, 0, 3, -1, 9}, {512, 0, 1, -1, 9}, {128, 2, 3, -1, 9}};
    size_t total;
    plan(b, 4, &total);
    assert_int_equal(b[2].offset, 0);
    assert_int_equal(b[1].offset, 512);
    assert_int_equal(b[3].offset, 0);
    assert_int_equal(b[0].offset, 128);
    assert_int_equal(total, 768);
}

static void offsets_are_whole_lines_and_the_total_is_exact(void **state) {
    (void)state;
    pn_buffer b[] = {{100, 0, 0, -1, 9}, {20, 0, 0, -1, 9}};
    size_t total;
    plan(b, 2, &total);
    assert_int_equal(b[1].offset, 128);
    assert_int_equal(total, 148);
}

static void equal_sizes_keep_their_order(void **state) {
    (void)state;
    pn_buffer b[9];
    size_t total;
    for (int i = 0; i < 9; i++) b[i] = (pn_buffer){64, 0, 0, -1, 9};
    plan(b, 9, &total);
    for (int i = 0; i < 9; i++) assert_int_equal(b[i].offset, 64 * i);
}

static void in_place_takes_the_dying_buffers_place(void **state) {
    (void)state;
    pn_buffer b[] = {{256, 0, 1, -1, 9}, {256, 1, 2, 0, 9}, {256, 2, 3, 1, 9}, {64, 0, 3, -1, 9}};
    size_t total;
    plan(b, 4, &total);
    assert_int_equal(b[1].offset, b[0].offset);
    assert_int_equal(b[2].offset, b[0].offset);
    assert_int_equal(total, 320);
    assert_int_equal(pn_plan_floor(b, 4), 320);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *why;
        pn_buffer b[3];
    } cases[] = {
        {"ends before it begins", {{64, 2, 1, -1, 0}, {64, 0, 0, -1, 0}, {64, 0, 0, -1, 0}}},
        {"in place of one that still lives",
         {{64, 0, 2, -1, 0}, {64, 1, 2, 0, 0}, {64, 0, 0, -1, 0}}},
        {"in place of a smaller one", {{64, 0, 1, -1, 0}, {128, 1, 2, 0, 0}, {64, 0, 0, -1, 0}}},
        {"in place of a later one", {{64, 1, 1, 1, 0}, {64, 0, 1, -1, 0}, {64, 0, 0, -1, 0}}},
        {"three in one place at once", {{64, 0, 1, -1, 0}, {64, 1, 1, 0, 0}, {64, 1, 2, 1, 0}}},
        {"two in one place", {{64, 0, 1, -1, 0}, {64, 1, 2, 0, 0}, {64, 1, 2, 0, 0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_buffer b[3] = {cases[i].b[0], cases[i].b[1], cases[i].b[2]};
        int order[6];
        pn_placed placed[3];
        size_t total;
        if (pn_plan(b, 3, &(pn_plan_room){order, placed}, &total) != PN_EARG)
            fail_msg("accepted: %s", cases[i].why);
    }
}

/* One that ends at the last address, and those that would go on from 0. */
static void totals_do_not_wrap(void **state) {
    (void)state;
    static const struct {
        const char *why;
        size_t bytes[3];
        pn_status wanted;
    } cases[] = {
        {"all there is", {SIZE_MAX - 3 * PN_ALIGN - 2, 1, 1}, PN_OK},
        {"a byte more", {SIZE_MAX - 3 * PN_ALIGN - 1, 1, 1}, PN_EARG},
        {"one too large to round", {SIZE_MAX, 0, 0}, PN_EARG},
        {"two halves", {SIZE_MAX / 2, SIZE_MAX / 2, 1}, PN_EARG},
        {"three thirds and a few", {SIZE_MAX / 3, SIZE_MAX / 3, SIZE_MAX / 3}, PN_EARG},
        {"a sum that wraps to 0", {(size_t)1 << 63, (size_t)1 << 63, PN_ALIGN}, PN_EARG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_buffer b[3];
        int order[6];
        pn_placed placed[3];
        size_t total;
        for (int j = 0; j < 3; j++) b[j] = (pn_buffer){cases[i].bytes[j], 0, 1, -1, 0};
        if (pn_plan(b, 3, &(pn_plan_room){order, placed}, &total) != cases[i].wanted)
            fail_msg("%s", cases[i].why);
        if (cases[i].wanted != PN_OK) continue;
        for (int j = 0; j < 3; j++) assert_true(total >= b[j].offset + b[j].bytes);
        assert_true(total >= pn_plan_floor(b, 3));
    }
}

/* The rule without any means: largest first, equal ones in their order; of offset 0 and all ends of
 * those that live then, the lowest where none of these is in the way. */
static void plan_by_the_rule(pn_buffer *b, int count) {
    bool done[MOST] = {0};
    for (int n = 0; n < count; n++) {
        int k = -1;
        for (int i = 0; i < count; i++)
            if (!done[i] && (k < 0 || b[i].bytes > b[k].bytes)) k = i;
        size_t best = SIZE_MAX;
        for (int i = -1; i < count; i++) {
            if (i >= 0 && (!done[i] || b[i].last < b[k].first || b[k].last < b[i].first)) continue;
            const size_t round = PN_ALIGN - 1;
            const size_t at = i < 0 ? 0 : (b[i].offset + b[i].bytes + round) & ~round;
            bool free = true;
            for (int j = 0; j < count && free; j++)
                free = !done[j] || b[j].last < b[k].first || b[k].last < b[j].first ||
                       b[j].offset + b[j].bytes <= at || at + b[k].bytes <= b[j].offset;
            if (free && at < best) best = at;
        }
        b[k].offset = best;
        done[k] = true;
    }
}

static void the_rule_to_the_byte(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 3000; round++) {
        pn_buffer b[MOST], wanted[MOST];
        const int count = 1 + (int)pn_random_below(3, PN_STREAM_TEST, round, 0, MOST);
        const int launches = round % 2 ? 60 : 12;
        for (int i = 0; i < count; i++) {
            const pn_random4 r = pn_random(4, PN_STREAM_TEST, round, (uint64_t)i);
            const int first = (int)(r.v[0] % (uint32_t)launches);
            const int most = i % 3 ? launches - first : 2;
            const int life = (int)(r.v[2] % (uint32_t)most);
            const size_t bytes = i % 2 ? 64U << r.v[1] % 6 : 1 + r.v[1] % 3000; /* many are equal */
            b[i] = wanted[i] = (pn_buffer){bytes, first, first + life, -1, 0};
        }
        size_t total;
        plan(b, count, &total);
        plan_by_the_rule(wanted, count);
        for (int i = 0; i < count; i++)
            if (b[i].offset != wanted[i].offset)
                fail_msg("round %d: buffer %d at %zu, want %zu", (int)round, i, b[i].offset,
                         wanted[i].offset);
    }
}

/* Whatever the lives: no two alive at one launch overlap, no plan is below the floor, and the same
 * input gives the same plan. */
static void random_plans_keep_the_promise(void **state) {
    (void)state;
    double worst = 0;
    for (uint64_t round = 0; round < 5000; round++) {
        pn_buffer b[40], again[40];
        const int count = 1 + (int)pn_random_below(1, PN_STREAM_TEST, round, 0, 40);
        for (int i = 0; i < count; i++) {
            const pn_random4 r = pn_random(2, PN_STREAM_TEST, round, (uint64_t)i);
            const int first = (int)(r.v[0] % 20);
            b[i] = (pn_buffer){1 + r.v[1] % 5000, first, first + (int)(r.v[2] % 8), -1, 0};
            /* the one before, if it dies just now and is large enough, gives its place */
            const bool third = i > 0 && b[i - 1].in_place_of >= 0 && b[i - 1].first == b[i].first;
            if (i > 0 && b[i - 1].last == b[i].first && b[i - 1].bytes >= b[i].bytes && !third)
                b[i].in_place_of = i - 1;
            again[i] = b[i];
        }
        size_t total, total_again;
        plan(b, count, &total);
        plan(again, count, &total_again);
        assert_int_equal(total, total_again);
        assert_memory_equal(b, again, (size_t)count * sizeof *b);
        const size_t floor = pn_plan_floor(b, count);
        assert_true(total >= floor);
        for (int i = 0; i < count; i++)
            for (int j = i + 1; j < count; j++) {
                if (b[j].in_place_of == i || b[i].last < b[j].first || b[j].last < b[i].first)
                    continue;
                const bool apart = b[i].offset + b[i].bytes <= b[j].offset ||
                                   b[j].offset + b[j].bytes <= b[i].offset;
                if (!apart) fail_msg("round %d: buffers %d and %d overlap", (int)round, i, j);
            }
        const double ratio = (double)total / (double)floor;
        if (ratio > worst) worst = ratio;
    }
    print_message("worst of 5000 random plans: %.2f of the floor (rounding to 64 bytes included)\n",
                  worst);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disjoint_lives_share_a_place),
        cmocka_unit_test(one_common_launch_is_enough_to_part_them),
        cmocka_unit_test(the_largest_comes_first_and_small_ones_fill_the_lowest_gap),
        cmocka_unit_test(offsets_are_whole_lines_and_the_total_is_exact),
        cmocka_unit_test(equal_sizes_keep_their_order),
        cmocka_unit_test(in_place_takes_the_dying_buffers_place),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(totals_do_not_wrap),
        cmocka_unit_test(the_rule_to_the_byte),
        cmocka_unit_test(random_plans_keep_the_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
