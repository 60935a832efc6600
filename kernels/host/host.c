/* host.c -- the tables of the host backend and the choice among them. */
#include "kernels/host/host.h"

#include <string.h>

#define OP(FAMILY, op, isa)                                                           \
    .op##_fwd_scratch = pn_##op##_fwd_scratch_##isa,                                  \
    .op##_bwd_scratch = pn_##op##_bwd_scratch_##isa, .op##_fwd = pn_##op##_fwd_##isa, \
    .op##_bwd = pn_##op##_bwd_##isa,
#define TABLE(isa)                              \
    PN_DECLARE_ALL(isa)                         \
    static const pn_kernels table_##isa = {     \
        .name = "host-" #isa,                   \
        .memory = &pn_host_memory,              \
        PN_OPS(OP, isa).weigh = pn_weigh_##isa, \
        .rescale = pn_rescale_##isa,            \
        .sgd_scratch = pn_sgd_scratch_##isa,    \
        .sgd = pn_sgd_##isa,                    \
        .length = pn_length_##isa,              \
        .move = pn_move_##isa,                  \
        .flop_rate = pn_flop_rate_##isa,        \
        .copy_rate = pn_copy_rate_##isa,        \
    };

TABLE(base)

/* The features of the levels x86-64-v3 and x86-64-v4 that both compilers can ask for; whatever
 * has these has the rest (F16C, LZCNT, MOVBE). */
#ifdef PN_HAVE_AVX2
TABLE(avx2)
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif

#ifdef PN_HAVE_AVX512
TABLE(avx512)
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

enum { TABLES = 3 };

/* The tables that this machine can run, best first; gives their number. */
static int list_tables(const pn_kernels *tables[TABLES]) {
    int count = 0;
#ifdef PN_HAVE_AVX512
    if (has_avx512()) tables[count++] = &table_avx512;
#endif
#ifdef PN_HAVE_AVX2
    if (has_avx2()) tables[count++] = &table_avx2;
#endif
    tables[count++] = &table_base;
    return count;
}

const pn_kernels *pn_host_kernels(const char *isa) {
    static const char *const names[TABLES] = {"base", "avx2 base", "avx512 avx2 base"};
    const pn_kernels *tables[TABLES];
    const int count = list_tables(tables);
    if (!isa || !*isa) return tables[0];
    for (int i = 0; i < count; i++)
        if (strcmp(tables[i]->name + strlen("host-"), isa) == 0) return tables[i];
    pn_fail(PN_EARG, "instruction set \"%s\": this machine has %s", isa, names[count - 1]);
    return NULL;
}
