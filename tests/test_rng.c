/* test_rng.c -- random numbers: the published answers, and what is built on them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rng.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* kat_vectors of Random123: philox4x32, 10 rounds. The words are counter 0..3, then key 0..1; our
 * counter words are index (low), stream << 16 | index (high), step (low), step (high). */
static void philox_gives_the_published_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const uint32_t *c = vectors[i].counter, *k = vectors[i].key;
        pn_random4 r =
            pn_random((uint64_t)k[1] << 32 | k[0], (pn_stream_id)(c[1] >> 16),
                      (uint64_t)c[3] << 32 | c[2], (uint64_t)(c[1] & 0xffff) << 32 | c[0]);
        assert_memory_equal(r.v, vectors[i].want, sizeof r.v);
    }
}

static int compare_blocks(const void *a, const void *b) { return memcmp(a, b, sizeof(pn_random4)); }

/* Philox is a bijection of the counter: blocks of one seed can only be equal if two counters
 * are, that is if (stream, step, index) were packed with an overlap. */
static void streams_steps_and_indices_never_share_a_block(void **state) {
    (void)state;
    static const uint64_t steps[] = {0, 1, 2, 0xffff, 0x10000, (uint64_t)1 << 32, UINT64_MAX};
    static const uint64_t indices[] = {0, 1, 0xffff, 0x10000, (uint64_t)1 << 32, (uint64_t)1 << 46};
    enum { S = 7, I = 6, TOTAL = (PN_STREAM_TEST + 1) * S * I };
    pn_random4 blocks[TOTAL];
    int n = 0;
    for (int stream = 0; stream <= PN_STREAM_TEST; stream++)
        for (int s = 0; s < S; s++)
            for (int i = 0; i < I; i++)
                blocks[n++] = pn_random(7, (pn_stream_id)stream, steps[s], indices[i]);
    assert_int_equal(n, TOTAL);
    qsort(blocks, TOTAL, sizeof *blocks, compare_blocks);
    for (int i = 1; i < TOTAL; i++)
        assert_int_not_equal(compare_blocks(&blocks[i - 1], &blocks[i]), 0);
}

/* Mean of n uniforms: deviation sqrt(1/12n). Beyond 6 deviations: once in 5e8 seeds, and the
 * numbers are fixed, so the test cannot fail by chance twice. */
static void uniforms_fill_the_unit_interval(void **state) {
    (void)state;
    enum { N = 100000 };
    double sum = 0, least = 1, most = 0;
    for (int i = 0; i < N; i++) {
        double u = pn_uniform(1, PN_STREAM_TEST, 0, (uint64_t)i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        least = u < least ? u : least;
        most = u > most ? u : most;
    }
    assert_true(fabs(sum / N - .5) < 6 * sqrt(1. / 12 / N));
    assert_true(least < 20. / N && most > 1 - 20. / N); /* missed with probability e^-20 */
}

static void below_covers_every_number_evenly(void **state) {
    (void)state;
    enum { N = 70000, SIDES = 7 };
    int seen[SIDES] = {0};
    for (int i = 0; i < N; i++) seen[pn_random_below(2, PN_STREAM_TEST, 3, (uint64_t)i, SIDES)]++;
    for (int i = 0; i < SIDES; i++) /* binomial: 6 deviations */
        assert_true(abs(seen[i] - N / SIDES) < 6 * sqrt(N * (1. / 7) * (6. / 7)));
    assert_int_equal(pn_random_below(2, PN_STREAM_TEST, 3, 4, 1), 0);
    assert_true(pn_random_below(2, PN_STREAM_TEST, 3, 4, UINT32_MAX) < UINT32_MAX);
}

static void permutations_hit_each_number_once(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 4, 5, 15, 16, 17, 64, 65, 1000, 4096, 4097, 25000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const uint32_t n = sizes[k];
        char *seen = calloc(n, 1);
        assert_non_null(seen);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t at = pn_permute(5, PN_STREAM_SHUFFLE, 9, n, i);
            assert_true(at < n && !seen[at]);
            seen[at] = 1;
        }
        free(seen);
    }
    assert_true(pn_permute(5, PN_STREAM_SHUFFLE, 9, UINT32_MAX, UINT32_MAX - 1) < UINT32_MAX);
}

/* All 120 orders of five things, 120000 permutations: chi-square has 119 degrees of freedom,
 * deviation sqrt(238) = 15.4; the bound is 6 deviations above the mean. */
static void every_order_of_five_is_as_likely(void **state) {
    (void)state;
    enum { N = 120000, ORDERS = 120 };
    int seen[ORDERS] = {0};
    for (int which = 0; which < N; which++) {
        int place[5], code = 0;
        for (int i = 0; i < 5; i++)
            place[i] = (int)pn_permute(3, PN_STREAM_TEST, (uint64_t)which, 5, (uint32_t)i);
        for (int i = 0; i < 5; i++) { /* Lehmer code */
            int smaller = 0;
            for (int j = i + 1; j < 5; j++) smaller += place[j] < place[i];
            code = code * (5 - i) + smaller;
        }
        seen[code]++;
    }
    double chi = 0, expected = (double)N / ORDERS;
    for (int i = 0; i < ORDERS; i++) chi += (seen[i] - expected) * (seen[i] - expected) / expected;
    assert_true(chi < 119 + 6 * sqrt(238));
}

/* Of a random permutation of n, the number of fixed points has mean 1 and deviation 1. */
static void permutations_differ_by_epoch_stream_and_seed(void **state) {
    (void)state;
    enum { N = 1000, MOST = 12 }; /* P(more than 12 of a Poisson 1) = 6e-11 */
    int by_epoch = 0, by_stream = 0, by_seed = 0;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t at = pn_permute(1, PN_STREAM_SHUFFLE, 0, N, i);
        by_epoch += at == pn_permute(1, PN_STREAM_SHUFFLE, 1, N, i);
        by_stream += at == pn_permute(1, PN_STREAM_SHUFFLE2, 0, N, i);
        by_seed += at == pn_permute(2, PN_STREAM_SHUFFLE, 0, N, i);
    }
    assert_true(by_epoch <= MOST && by_stream <= MOST && by_seed <= MOST);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(streams_steps_and_indices_never_share_a_block),
        cmocka_unit_test(uniforms_fill_the_unit_interval),
        cmocka_unit_test(below_covers_every_number_evenly),
        cmocka_unit_test(permutations_hit_each_number_once),
        cmocka_unit_test(every_order_of_five_is_as_likely),
        cmocka_unit_test(permutations_differ_by_epoch_stream_and_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
