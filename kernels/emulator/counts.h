/* counts.h -- what kernels ask of a multiprocessor, counted by the emulator: counts.cc, linked with
 * the kernels of hooks.cc in the place of that.
 *
 * A *request* is what the lanes of one warp ask for by one instruction: accesses of lanes belong to
 * one if they are the n-th of their thread, since the last barrier, from one line of the source
 * (of one instruction, where a kernel has no word of gpu.h). A *cycle* is one of the data path
 * between registers and shared memory or L1, 128 bytes wide: of 16 bytes a lane, eight lanes at a
 * time; in shared memory as often as the lanes want different words of one of the 32 banks; a
 * request that is told to all lanes alike costs the same.
 *
 * Counted are all accesses by a word of gpu.h (gpu_load4, gpu_load1 ...), exactly and whatever the
 * compiler; the others, `narrow`, as this build's compiler left them; multiply-adds; and products
 * of tensor cores. Not counted: shuffles, integers, other arithmetic. */
#ifndef PN_EMULATOR_COUNTS_H
#define PN_EMULATOR_COUNTS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pn_counts {
    double runs;          /* intervals between two barriers */
    double shared;        /* requests of shared memory by a word of gpu.h, */
    double shared_cycles; /* their cycles, */
    double shared_least;  /* and these without a bank conflict */
    double global;        /* requests of global memory likewise */
    double global_cycles;
    double read;    /* sectors of 32 bytes that the block reads for the first time, by those */
    double written; /* sectors of their stores, each time */
    double narrow;  /* the other requests of 16 bytes or less, of either memory */
    double narrow_cycles, narrow_read, narrow_written; /* likewise */
    double fma; /* instructions of a warp, 32 multiply-adds at most */
    double mma; /* instructions of a warp, 16 x 8 x 8 multiply-adds each */
    /* What the warp with the most of it does one after another: requests that L1 or shared memory
     * answers (by a word of gpu.h; one of 4 bytes is a quarter), those of which a sector is read
     * for the first time, multiply-adds, products of tensor cores. */
    double chain_near, chain_far, chain_fma, chain_mma;
} pn_counts;

/* All intervals of a launch that end at one barrier, on one side of the block's first atomic:
 * `tail` is what comes after that, so what a last block does for the others. */
typedef struct pn_interval {
    const char *file; /* of the barrier; "" and 0: the kernel's end */
    int line, tail;
    pn_counts sum;  /* of all blocks that were counted: of a tail, all */
    pn_counts most; /* tail: of the block whose tail has the most cycles */
} pn_interval;

enum { PN_MOST_INTERVALS = 96 };
typedef struct pn_counted {
    unsigned blocks, counted; /* of the launch; of them counted before their tails */
    int intervals;
    pn_interval interval[PN_MOST_INTERVALS];
} pn_counted;

/* Counts what is launched from here on, as one launch, into *to (NULL: nothing any more): of every
 * `stride` blocks the first, and the last. */
void pn_count_launches(pn_counted *to, unsigned stride);

/* to += times * of */
void pn_add_counts(pn_counts *to, double times, const pn_counts *of);

/* Of a whole launch: the blocks that were not counted as the mean of those that were. */
pn_counts pn_launch_counts(const pn_counted *launch);

#ifdef __cplusplus
}
#endif

#endif
