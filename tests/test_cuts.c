/* test_cuts.c -- how jobs are cut for a card, said by the environment. */
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "kernels/cuts.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

static pn_status read_as(const char *words, pn_cuts *cuts) {
    assert_int_equal(setenv("PARSEC_CUTS", words, 1), 0);
    return pn_cuts_read(cuts);
}

static void reads_any_of_three_words(void **state) {
    (void)state;
    pn_cuts c;
    unsetenv("PARSEC_CUTS");
    assert_int_equal(pn_cuts_read(&c), PN_OK);
    assert_true(c.blocks == PN_BLOCKS && c.halves == PN_BLOCKS && c.cost == 1);
    assert_int_equal(read_as("", &c), PN_OK);
    assert_true(c.blocks == PN_BLOCKS && c.halves == PN_BLOCKS && c.cost == 1);
    assert_int_equal(read_as(" cost=0  blocks=16 ", &c), PN_OK);
    assert_true(c.blocks == 16 && c.halves == PN_BLOCKS && c.cost == 0);
    assert_int_equal(read_as("halves=0 blocks=256", &c), PN_OK);
    assert_true(c.blocks == PN_MOST_BLOCKS && c.halves == 0 && c.cost == 1);
}

static void refuses_others(void **state) {
    (void)state;
    static const char *const wrong[] = {"blocks=15", "blocks=257", "blocks=", "blocks=64,cost=0",
                                        "halves=-1", "cost=2",     "tiles=3", "cost=0 x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pn_cuts c;
        assert_int_equal(read_as(wrong[i], &c), PN_EARG);
        assert_non_null(strstr(pn_error(), "PARSEC_CUTS: "));
        assert_non_null(strstr(pn_error(), "want blocks=16 to 256, halves=0 or more, cost=0 or 1"));
        assert_true(c.blocks == PN_BLOCKS && c.halves == PN_BLOCKS && c.cost == 1);
    }
    /* As the program meets it. */
    const pn_kernels *kernels;
    pn_status s = pn_backend_open("emulated", &kernels);
    if (s != PN_EDEVICE) { /* not in this build */
        assert_int_equal(s, PN_EARG);
        assert_non_null(strstr(pn_error(), "PARSEC_CUTS: \"x\""));
    }
}

/* What the forward pass of a stage puts into scratch: for every block pivot, sum and square of each
 * channel, and the count of pixels. */
static void a_launch_has_so_many_blocks(void **state) {
    (void)state;
    enum { C = 16 };
    const pn_kernels *kernels;
    if (pn_backend_sizes("cuda", &kernels) != PN_OK) skip();
    const pn_stage job = {.N = 64,
                          .H = 32,
                          .W = 32,
                          .R = 3,
                          .dilation = 1,
                          .stride = 1,
                          .in = {.C = C},
                          .out = {.K = C, .norm = {.mode = PN_NORM_BATCH}}};
    setenv("PARSEC_CUTS", "blocks=64", 1); /* read once */
    assert_int_equal(kernels->stage_fwd_scratch(&job, 1), 64 * (3 * C + 4) * sizeof(float));
    setenv("PARSEC_CUTS", "blocks=128", 1);
    assert_int_equal(kernels->stage_fwd_scratch(&job, 1), 64 * (3 * C + 4) * sizeof(float));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_any_of_three_words),
        cmocka_unit_test(refuses_others),
        cmocka_unit_test(a_launch_has_so_many_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
