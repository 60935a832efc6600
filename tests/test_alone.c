/* test_alone.c -- cells trained alone, and what a fair comparison with chance is made of. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "search/methods/standalone.h"
#include "search/network/genotype.h"

/* All choices of n cells, one by one. */
static double best_by_enumeration(const double *choose_by, const double *value, int count, int n) {
    double sum = 0;
    int choices = 0;
    for (unsigned set = 0; set < 1U << count; set++) {
        int best = -1, size = 0;
        for (int i = 0; i < count; i++) {
            if (!(set >> i & 1)) continue;
            size++;
            if (best < 0 || choose_by[i] > choose_by[best]) best = i;
        }
        if (size != n) continue;
        sum += value[best];
        choices++;
    }
    return sum / choices;
}

static void best_of_a_few_is_the_mean_over_all_choices(void **state) {
    (void)state;
    /* The second and the sixth are equal where one chooses: the earlier counts as better. */
    const double choose_by[] = {0.3, 0.7, 0.1, 0.9, 0.5, 0.7, 0.2};
    const double value[] = {1, 20, 3, 10, 5, 40, 7};
    enum { COUNT = sizeof value / sizeof *value };
    for (int count = 1; count <= COUNT; count++)
        for (int n = 1; n <= count; n++)
            assert_true(fabs(pn_best_of(choose_by, value, count, n) -
                             best_by_enumeration(choose_by, value, count, n)) < 1e-12);
    assert_true(pn_best_of(choose_by, value, COUNT, COUNT) == 10);
    assert_true(pn_best_of(choose_by, value, COUNT, 100) == 10); /* no more than there are */
}

static void cost_counts_a_forward_as_a_third(void **state) {
    (void)state;
    pn_search_settings s = {.steps = 100, .warmup = 100, .samples = 4};
    assert_true(pn_search_cost(&s) == 100);
    s.steps = 160;
    assert_true(fabs(pn_search_cost(&s) - (100 + 60 * 16 / 3.0)) < 1e-9);
    s.steps = 40; /* not yet through the warm-up */
    assert_true(pn_search_cost(&s) == 40);
    s = (pn_search_settings){.steps = 30, .samples = 16, .freeze_weights = true};
    assert_true(fabs(pn_search_cost(&s) - 160) < 1e-9);
    s = (pn_search_settings){.steps = 160, .warmup = 100, .samples = 1, .evidence = true};
    assert_true(pn_search_cost(&s) == 160);
}

static void train(uint64_t seed, int64_t steps, pn_score *validation, pn_score *test) {
    pn_data data[2];
    memset(data, 0, sizeof data);
    pn_arch arch;
    pn_standalone_settings s = pn_standalone_defaults();
    s.steps = steps;
    s.images = 200;
    s.model.N = 16;
    s.model.seed = seed;
    s.model.network = (pn_network_spec){
        .layers = 3, .channels = 8, .H = 12, .W = 12, .image_channels = 3, .classes = 10};
    assert_int_equal(pn_genotype_read("DARTS_V2", strlen("DARTS_V2"), &arch), PN_OK);
    assert_int_equal(pn_data_open("synthetic:1000x12x12x3", PN_TRAIN, &data[0]), PN_OK);
    assert_int_equal(pn_data_open("synthetic:1000x12x12x3", PN_TEST, &data[1]), PN_OK);
    const pn_status status =
        pn_standalone_train(pn_host_kernels(NULL), &s, &data[0], &data[1], &arch, validation, test);
    if (status != PN_OK) fail_msg("%s", pn_error());
    pn_data_free(&data[0]);
    pn_data_free(&data[1]);
}

/* Ten kinds of stripes, 192 images: chance is 0.1 with a deviation of 0.022. */
static void a_cell_learns_and_the_test_images_show_it(void **state) {
    (void)state;
    pn_score before[2], after[2];
    train(1, 1, &before[0], &before[1]);
    train(1, 120, &after[0], &after[1]);
    for (int i = 0; i < 2; i++) {
        assert_true(before[i].accuracy < 0.2);
        assert_true(after[i].accuracy > 0.3 && after[i].loss < before[i].loss);
    }
}

static void equal_seeds_equal_scores(void **state) {
    (void)state;
    pn_score a[2], b[2], c[2];
    train(7, 10, &a[0], &a[1]);
    train(7, 10, &b[0], &b[1]);
    train(8, 10, &c[0], &c[1]);
    assert_memory_equal(a, b, sizeof a);
    assert_true(a[0].loss != c[0].loss);
}

static void divergence_is_said(void **state) {
    (void)state;
    pn_data data;
    memset(&data, 0, sizeof data);
    pn_arch arch;
    pn_score score;
    pn_standalone_settings s = pn_standalone_defaults();
    s.rate = s.rate_end = 1e30;
    s.steps = 20;
    s.model.N = 16;
    s.model.network = (pn_network_spec){
        .layers = 2, .channels = 4, .H = 8, .W = 8, .image_channels = 3, .classes = 10};
    assert_int_equal(pn_genotype_read("DARTS_V2", strlen("DARTS_V2"), &arch), PN_OK);
    assert_int_equal(pn_data_open("synthetic:200x8x8x3", PN_TRAIN, &data), PN_OK);
    assert_int_equal(
        pn_standalone_train(pn_host_kernels(NULL), &s, &data, &data, &arch, &score, &score),
        PN_EDIVERGED);
    assert_non_null(strstr(pn_error(), "not finite"));
    pn_data_free(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_of_a_few_is_the_mean_over_all_choices),
        cmocka_unit_test(cost_counts_a_forward_as_a_third),
        cmocka_unit_test(a_cell_learns_and_the_test_images_show_it),
        cmocka_unit_test(equal_seeds_equal_scores),
        cmocka_unit_test(divergence_is_said),
    };
    return cmocka_run_group_tests_name("alone", tests, NULL, NULL);
}
