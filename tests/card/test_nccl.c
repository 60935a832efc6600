/* test_nccl.c -- kernels/cuda/nccl.cc by a stand-in for the library, on memory of the host: what it
 * asks of NCCL, and what it says if that is not there, is too old, or fails.
 *
 * Each case is a process of its own: a library that was found once stays. The argument of this
 * program is the folder of the stand-in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/exchange.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 60, COUNT = 1000, RANK = 1, SIZE = 3, GUARD = 77 };

static const char *self;     /* this program */
static const char *standins; /* the folder of a libnccl.so.2 */

/* Made-up member r has r + 1 in every place. */
static pn_status sum(void) {
    const pn_exchange *e = &pn_exchange_nccl;
    unsigned char id[PN_EXCHANGE_BYTES];
    int64_t numbers[COUNT + 2];
    char any; /* the stand-in wants a stream, whichever */
    pn_stream stream = (pn_stream)(void *)&any;
    PN_TRY(e->invite(id));
    PN_TRY(e->join(id, RANK, SIZE));
    for (int i = 0; i < COUNT + 2; i++) numbers[i] = i * (INT64_C(1) << 50);
    numbers[0] = numbers[COUNT + 1] = GUARD;
    PN_TRY(e->sum(stream, numbers + 1, COUNT));
    PN_TRY(e->sum(stream, numbers + 1, 0));
    for (int i = 1; i <= COUNT; i++)
        if (numbers[i] != i * (INT64_C(1) << 50) + 1 + 3) return pn_fail(PN_EIO, "a wrong sum");
    if (numbers[0] != GUARD || numbers[COUNT + 1] != GUARD)
        return pn_fail(PN_EIO, "written beyond the numbers");
    return PN_OK;
}

static int member(void) {
    const pn_status s = sum();
    pn_exchange_nccl.leave();
    pn_exchange_nccl.leave(); /* of nothing */
    if (s != PN_OK) fprintf(stderr, "%s\n", pn_error());
    return (int)s;
}

/* With the stand-in and one more variable, or without both. */
static void run_member(pn_process *p, const char *variable, const char *value) {
    const char *const argv[] = {self, "member", NULL};
    if (variable) {
        setenv("LD_LIBRARY_PATH", standins, 1);
        setenv(variable, value, 1);
    } else {
        setenv("LD_LIBRARY_PATH", "/nonexistent", 1);
    }
    pn_process_run(p, argv, NULL, LIMIT);
    if (variable) unsetenv(variable);
}

static void test_sums(void **state) {
    (void)state;
    pn_process p;
    run_member(&p, "STANDIN_FAILS", "");
    if (p.code) fail_msg("exit code %d: %s", p.code, p.err);
    pn_process_free(&p);
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {NULL, NULL, "NCCL: "}, /* or it is where the linker always looks, and there is no card */
        {"STANDIN_VERSION", "2604", "version 2604, want 2700"},
        {"STANDIN_FAILS", "id", "a new group: a made-up failure"},
        {"STANDIN_FAILS", "init", "join the group: invalid usage"},
        {"STANDIN_FAILS", "sum", "sum: invalid usage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pn_process p;
        run_member(&p, cases[i][0], cases[i][1]);
        pn_process_refused(&p, PN_EDEVICE, cases[i][2]);
        pn_process_free(&p);
    }
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc == 2 && strcmp(argv[1], "member") == 0) return member();
    if (argc != 2) return 2;
    standins = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
