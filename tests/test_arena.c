/* test_arena.c -- what an arena refuses, and the guards of a checked one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/poison.h"
#include "runtime/arena.h"

static void more_than_an_address_space_is_refused(void **state) {
    (void)state;
    pn_arena a;
    assert_int_equal(pn_arena_create(&a, &pn_host_memory, SIZE_MAX / 2 + 1, 0), PN_EMEM);
    assert_non_null(strstr(pn_error(), "want half of all at most"));
    pn_arena_destroy(&a);
}

static size_t one_mebibyte(void) { return 1 << 20; }

static void a_commit_says_what_is_in_its_way(void **state) {
    (void)state;
    pn_memory scarce = pn_host_memory;
    pn_arena a;
    scarce.available = one_mebibyte;
    assert_int_equal(pn_arena_create(&a, &scarce, 64 << 20, 32 << 20), PN_OK);
    assert_int_equal(pn_arena_commit(&a, (64 << 20) + 1), PN_EMEM);
    assert_non_null(strstr(pn_error(), "67108865 bytes wanted, 67108864 reserved"));
    assert_int_equal(pn_arena_commit(&a, 48 << 20), PN_EMEM);
    assert_non_null(strstr(pn_error(), "needs 48.0 MiB, the limit is 32.0 MiB"));
    assert_int_equal(pn_arena_commit(&a, 16 << 20), PN_EMEM);
    assert_non_null(strstr(pn_error(), "16.0 MiB more are needed, 1.0 MiB are available"));
    assert_int_equal(a.committed, 0);
    assert_int_equal(a.high_water, 0);
    pn_arena_destroy(&a);
}

static void what_is_committed_stays(void **state) {
    (void)state;
    pn_arena a;
    assert_int_equal(pn_arena_create(&a, &pn_host_memory, 0, 0), PN_OK);
    assert_int_equal(a.reserved, pn_host_memory.unit);
    assert_int_equal(pn_arena_commit(&a, 1), PN_OK);
    const size_t committed = a.committed;
    assert_int_equal(pn_arena_commit(&a, committed), PN_OK);
    assert_int_equal(pn_arena_commit(&a, 1), PN_OK);
    assert_int_equal(a.committed, committed);
    assert_int_equal(a.high_water, committed);
    pn_arena_destroy(&a);
}

/* Only where memory is filled: under AddressSanitizer such a write ends the program. */
static void a_write_past_the_end_is_found(void **state) {
    (void)state;
    enum { AT = 4096, BYTES = 256 };
    pn_arena a;
    assert_int_equal(pn_arena_create(&a, &pn_host_memory, 1 << 20, 0), PN_OK);
    assert_int_equal(pn_arena_commit(&a, 1 << 20), PN_OK);
    assert_int_equal(a.checked, PN_POISONS);
    pn_arena_born(&a, AT, BYTES);
    float first = 0;
    memcpy(&first, a.base + AT, sizeof first);
    if (a.checked) assert_true(isnan(first));
    memset(a.base + AT, 0, BYTES);
    assert_int_equal(pn_arena_died(&a, AT, BYTES), PN_OK);
#ifndef PN_ASAN
    for (int byte = 0; byte < PN_GUARD; byte += PN_GUARD - 1) {
        pn_arena_born(&a, AT, BYTES);
        a.base[AT + BYTES + byte] = 0;
        assert_int_equal(pn_arena_died(&a, AT, BYTES), a.checked ? PN_EDEVICE : PN_OK);
        if (a.checked) assert_non_null(strstr(pn_error(), "after the 256 bytes at 4096"));
    }
#endif
    pn_arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_an_address_space_is_refused),
        cmocka_unit_test(a_commit_says_what_is_in_its_way),
        cmocka_unit_test(what_is_committed_stays),
        cmocka_unit_test(a_write_past_the_end_is_found),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
