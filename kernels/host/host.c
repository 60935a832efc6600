/* host.c -- the tables of the host backend and the choice among them. */
#include "kernels/host/host.h"

#include <string.h>

#define OP(FAMILY, op, isa)                                                                       \
    .op##_fwd_scratch = pn_##op##_fwd_scratch_##isa,                                              \
    .op##_bwd_scratch = pn_##op##_bwd_scratch_##isa, .op##_fwd_table = pn_##op##_fwd_table_##isa, \
    .op##_bwd_table = pn_##op##_bwd_table_##isa, .op##_fwd = pn_##op##_fwd_##isa,                 \
    .op##_bwd = pn_##op##_bwd_##isa,
/* What touches no tensor between ops is there once, for floats. */
#define ONE(isa, ops, type, suffix)                                                               \
    {                                                                                             \
        .name = "host-" #isa suffix, .storage = type, .memory = &pn_host_memory,                  \
        PN_OPS(OP, ops).weigh = pn_weigh_##isa, .share = pn_share_##isa, .tally = pn_tally_##isa, \
        .settle = pn_settle_##isa, .sgd_scratch = pn_sgd_scratch_##isa, .sgd = pn_sgd_##isa,      \
        .length = pn_length_##isa, .move = pn_move_##isa, .scale = pn_scale_##isa,                \
        .flop_rate = pn_flop_rate_##isa, .copy_rate = pn_copy_rate_##isa,                         \
    }
enum { STORAGES = 2, TABLES = 3 };
#define TABLE(isa)                                                               \
    PN_DECLARE_ALL(isa)                                                          \
    PN_OPS(PN_DECLARE_OP, isa##_bf16)                                            \
    static const pn_kernels table_##isa[STORAGES] = {                            \
        [PN_STORED_FLOAT32] = ONE(isa, isa, PN_STORED_FLOAT32, ""),              \
        [PN_STORED_BF16] = ONE(isa, isa##_bf16, PN_STORED_BF16, PN_BF16_SUFFIX), \
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

/* The tables of an element type that this machine can run, best first; gives their number. */
static int list_tables(pn_storage storage, const pn_kernels *tables[TABLES]) {
    int count = 0;
#ifdef PN_HAVE_AVX512
    if (has_avx512()) tables[count++] = &table_avx512[storage];
#endif
#ifdef PN_HAVE_AVX2
    if (has_avx2()) tables[count++] = &table_avx2[storage];
#endif
    tables[count++] = &table_base[storage];
    return count;
}

const pn_kernels *pn_host_kernels(const char *isa) {
    static const char *const names[TABLES] = {"base", "avx2 base", "avx512 avx2 base"};
    const pn_kernels *tables[TABLES];
    int count = list_tables(PN_STORED_BF16, tables);
    if (isa && !strcmp(isa, "bf16")) return tables[0];
    for (int storage = PN_STORED_FLOAT32; storage <= PN_STORED_BF16; storage++) {
        count = list_tables((pn_storage)storage, tables);
        if (!isa || !*isa) return tables[0];
        for (int i = 0; i < count; i++)
            if (strcmp(tables[i]->name + strlen("host-"), isa) == 0) return tables[i];
    }
    pn_fail(PN_EARG, "instruction set \"%s\": this machine has %s", isa, names[count - 1]);
    return NULL;
}
