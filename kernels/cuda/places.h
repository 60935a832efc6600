/* kernels/cuda/places.h -- who does what in a launch: how the jobs of a call are cut into blocks,
 * the table in which the host writes that down, and how a launch finds its last blocks.
 *
 * Places. A call is one launch. Jobs that share a dx form a *group*. An op may cut the channels of
 * a group into *slices*, so that a block keeps the sums of its slice in registers and partials stay
 * small. Each slice gets blocks, which divide its *tiles* (images, or bands of rows) in a fixed
 * way, tile t to block t % blocks, and do them for one job of the group after another: so a dx has
 * one writer, in job order. All of that follows from shapes. So the host works it out, once, when
 * it makes the table (kernels.h): behind the jobs it has where each group begins, how it is cut,
 * and where the partials of each job lie; a block looks up its group and divides by nothing more.
 *
 * Sums. Each block has a *partial* in scratch for every job, for the sums over what it did. It
 * writes that and takes a ticket; the last block of a slice to arrive adds all partials, in the
 * order of their numbers. Which block that is does not matter to the result: the same bits always,
 * without floating-point atomics, without a second launch. The memory model wants: write;
 * __threadfence; barrier; atomic by one thread; barrier; __threadfence; read (CUDA guide, "memory
 * fence functions", threadFenceReduction).
 *
 * Sets. That last block works alone, and one multiprocessor reads some 64 bytes a clock: 128
 * partials of 16 KB would take it 19 us at least (at 1.75 GHz, not timed). Partials that are plain
 * sums, and large, are therefore added in two rounds: SET neighbours at a time, by the last of
 * them to arrive, into the first one's place, while other blocks do the same elsewhere; what
 * remains by the last of those. It reads 16 + 8 partials instead of 128.
 *
 * Tickets are counters in the table: zeros there, and zeros again when a launch has ended. So two
 * calls may be under way at once if they have a table and scratch each. */
#ifndef PN_GPU_PLACES_H
#define PN_GPU_PLACES_H

#include <cassert>
#include <climits>
#include <cstring>

#include "kernels/cuda/op.h"

namespace {

constexpr int SET = 16;                  /* partials added in the first round */
constexpr size_t SET_BYTES = 256u << 10; /* of a slice's partials from which there are two: 128
                                              of them less a second round's fence and atomic */

/* ---- what an op says of its jobs ------------------------------------------------------------- */

/* An op describes a pass by a type with
 *   using Job = ...;
 *   using Cut = ...;       how a group is cut: at least tiles and blocks (of a slice), slices, and
 *                          slice (channels of one), and what else its kernel wants to be told
 *   static bool shares_dx(const Job *jobs, int j); does job j share its dx with job j - 1?
 *                                                  (forward: false)
 *   static Cut cut(const Job *group, int jobs);    by shapes alone, those of all its jobs
 *   static size_t partial_floats(const Job &job, const Cut &cut); a multiple of 4
 * all of which depend on values of the jobs and on no address; and derives from one of these. */

/* Partials that one block adds up: small ones, and what is not a plain sum. */
struct one_round {
    static constexpr bool SETS = false;
    template <class Job>
    static bool wants_sets(const Job *, int, size_t) {
        return false;
    }
    template <class Job>
    static size_t set_floats(const Job &) {
        return 0;
    }
};

/* Plain sums, in sets where they are large. bytes: of all partials of a slice. set_floats: of what
 * the first round leaves of a set, if that does not take the first partial's place. */
struct plain_sums {
    static constexpr bool SETS = true;
    template <class Job>
    static bool wants_sets(const Job *, int, size_t bytes) {
        return bytes >= SET_BYTES;
    }
    template <class Job>
    static size_t set_floats(const Job &) {
        return 0;
    }
};

/* Words that are none were refused when the backend was opened. */
inline const pn_cuts &wanted() {
    static const pn_cuts cuts = [] {
        pn_cuts c;
        (void)pn_cuts_read(&c);
        return c;
    }();
    return cuts;
}

/* Blocks of a slice, where a group has so many. */
inline int blocks_of_slice(int slices, int tiles) {
    return min_of(tiles, max_of(2 * wanted().blocks / (slices + 1), 16));
}

/* The cut of a group that is not sliced. */
struct whole {
    int tiles, blocks;
    static constexpr int slices = 1, slice = 0;
};
inline whole whole_of(int tiles) { return {tiles, min_of(tiles, wanted().blocks)}; }

/* ---- the table ------------------------------------------------------------------------------- */

/* What a block does. */
struct assignment {
    int first, end;      /* jobs of the group */
    int block, blocks;   /* of the slice (in the table: the group's first block of the launch) */
    int tiles;           /* this block does block, block + blocks, ... */
    int slice;           /* (in the table: 0) */
    int ticket, tickets; /* of the slice: the number of its first; 1, or one more than sets */
};
template <class Op>
struct place : assignment {
    typename Op::Cut cut;
};

/* Floats: of scratch before a job's partials, [slice][block][floats]; of one; of scratch before
 * what the first round leaves, [slice][set][set_floats]. */
struct partials_at {
    size_t before, floats, sets;
};

/* Bytes of a table before each of its parts; the jobs come first. */
struct table_layout {
    int quads; /* of the blocks with which groups begin */
    size_t begins, partials, places, tickets;
};

inline size_t up16(size_t bytes) { return (bytes + 15) & ~(size_t)15; }

template <class Op>
inline int group_end(const typename Op::Job *jobs, int count, int first) {
    int end = first + 1;
    while (end < count && Op::shares_dx(jobs, end)) end++;
    return end;
}

template <class Op>
inline table_layout lay_out(const typename Op::Job *jobs, int count) {
    int groups = 0;
    for (int first = 0; first < count; first = group_end<Op>(jobs, count, first)) groups++;
    table_layout t = {div_up(groups, 4), up16(count * sizeof(typename Op::Job)), 0, 0, 0};
    t.partials = t.begins + t.quads * sizeof(int4);
    t.places = t.partials + count * sizeof(partials_at);
    t.tickets = t.places + up16(groups * sizeof(place<Op>));
    return t;
}

/* What the host needs of a call. */
struct call_size {
    int groups;
    unsigned blocks, tickets;
    size_t floats; /* of scratch */

    size_t bytes() const { /* a call without scratch is refused: some in any case */
        return floats ? (floats * sizeof(float) + 63) & ~(size_t)63 : 64;
    }
};

/* Calls group(g, place) for each group, job(j, partials) for each job. */
template <class Op, class Group, class Job>
inline call_size walk(const typename Op::Job *jobs, int count, Group group, Job job) {
    call_size size = {0, 0, 0, 0};
    for (int first = 0, end; first < count; first = end) {
        end = group_end<Op>(jobs, count, first);
        const typename Op::Cut cut = Op::cut(jobs + first, end - first);
        size_t floats = 0; /* of a block */
        for (int j = first; j < end; j++) floats += Op::partial_floats(jobs[j], cut);
        const size_t bytes = cut.blocks * floats * sizeof(float);
        const bool in_sets =
            cut.blocks >= 2 * SET && Op::wants_sets(jobs + first, end - first, bytes);
        const int sets = in_sets ? div_up(cut.blocks, SET) : 0;
        for (int j = first; j < end; j++) {
            partials_at at = {size.floats, Op::partial_floats(jobs[j], cut), 0};
            at.sets = at.before + (size_t)cut.slices * cut.blocks * at.floats;
            size.floats = at.sets + (size_t)cut.slices * sets * Op::set_floats(jobs[j]);
            job(j, at);
        }
        place<Op> p;
        static_cast<assignment &>(p) = {first,     end, (int)size.blocks,  cut.blocks,
                                        cut.tiles, 0,   (int)size.tickets, 1 + sets};
        p.cut = cut;
        group(size.groups, p);
        size.groups++;
        size.blocks += (unsigned)(cut.slices * cut.blocks);
        size.tickets += (unsigned)(cut.slices * p.tickets);
    }
    return size;
}

template <class Op>
inline call_size size_of(const typename Op::Job *jobs, int count) {
    return walk<Op>(
        jobs, count, [](int, const place<Op> &) {}, [](int, partials_at) {});
}

/* Writes the table of a call, or nothing to NULL; gives its bytes. */
template <class Op>
inline size_t write_table(const typename Op::Job *jobs, int count, void *table) {
    const table_layout t = lay_out<Op>(jobs, count);
    char *const to = static_cast<char *>(table);
    const auto put = [&](size_t at, const auto &item) {
        if (to) memcpy(to + at, &item, sizeof item);
    };
    if (to && count) memcpy(to, jobs, count * sizeof *jobs);
    for (int g = 0; g < 4 * t.quads; g++) put(t.begins + g * sizeof(int), INT_MAX);
    const call_size size = walk<Op>(
        jobs, count,
        [&](int g, const place<Op> &p) {
            put(t.begins + g * sizeof(int), p.block);
            put(t.places + g * sizeof p, p);
        },
        [&](int j, partials_at at) { put(t.partials + j * sizeof at, at); });
    const size_t tickets = up16(size.tickets * sizeof(unsigned));
    if (to) memset(to + t.tickets, 0, tickets);
    return t.tickets + tickets;
}

/* ---- what a block finds there ---------------------------------------------------------------- */

/* What a kernel is given of a call, by value. */
template <class Op>
struct call_of {
    const typename Op::Job *jobs;
    const int4 *begins;
    const partials_at *partials;
    const place<Op> *places;
    unsigned *tickets;
    float *scratch;
    const float *gate;
    int quads;
};

template <class Op>
__device__ inline place<Op> look_up_place(const call_of<Op> &call) {
    const int block = (int)blockIdx.x;
    int group = -1;
#pragma unroll 2
    for (int i = 0; i < call.quads; i++) {
        const int4 begins = call.begins[i];
        group +=
            (begins.x <= block) + (begins.y <= block) + (begins.z <= block) + (begins.w <= block);
    }
    place<Op> p = call.places[group];
    p.block = block - p.block;
    if (p.cut.slices > 1) {
        p.slice = p.block / p.blocks;
        p.block -= p.slice * p.blocks;
        p.ticket += p.slice * p.tickets;
    }
    return p;
}

/* All threads call one of these, first of all. Behind it they may read what other launches wrote.
 * `shared`: where registers are short; known to all threads behind the next barrier. */
template <class Op>
__device__ inline place<Op> find_place(const call_of<Op> &call) {
    const place<Op> p = look_up_place(call);
    gpu_wait_for_launches();
    return p;
}
template <class Op>
__device__ inline void find_place(const call_of<Op> &call, place<Op> *shared) {
    if (threadIdx.x == 0) *shared = look_up_place(call);
    gpu_wait_for_launches();
}

/* Did the caller say "do nothing"? */
template <class Op>
__device__ __forceinline__ bool gate_closed(const call_of<Op> &call) {
    return call.gate && *call.gate == 0;
}

/* The partials of the slice for job j; that of this block. */
template <class Op>
__device__ inline float *partials_of(const call_of<Op> &call, const assignment &p, int j) {
    const partials_at at = call.partials[j];
    return call.scratch + at.before + (size_t)p.slice * p.blocks * at.floats;
}
template <class Op>
__device__ inline float *partial_of(const call_of<Op> &call, const assignment &p, int j) {
    const partials_at at = call.partials[j];
    return call.scratch + at.before + ((size_t)p.slice * p.blocks + p.block) * at.floats;
}

/* ---- the last block -------------------------------------------------------------------------- */

/* Is this the last of so many blocks to have come here? All threads call it, after their writes to
 * the partials, and get the same answer; in the last block all of those may then be read. */
__device__ inline bool is_last(unsigned *ticket, int blocks) {
    GPU_SHARED(bool, last);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(ticket, 1u) == (unsigned)blocks - 1;
        if (last) *ticket = 0;
    }
    __syncthreads();
    const bool is_it = last; /* of its own: the next call writes to the shared one */
    if (is_it) __threadfence();
    return is_it;
}

/* The first of `count` partials becomes their sum, in order. (In few registers: it stands behind
 * loops that have none to give.) */
__device__ inline void add_to_first(float *partials, size_t floats, int count) {
#pragma unroll 1
    for (unsigned i = 4 * threadIdx.x; i < (unsigned)floats; i += 4 * THREADS) {
        float *at = partials + i;
        float4 sum = gpu_load4(at);
#pragma unroll 4
        for (int b = 1; b < count; b++) {
            at += floats;
            sum = sum + gpu_load4(at);
        }
        gpu_store4(partials + i, sum);
    }
}

/* Is this block the last of its slice? Where there are sets, first_round(j, first, blocks) has then
 * been called for each of them and each job, by the set's last block. */
template <class Op, class Round>
__device__ inline bool last_of_slice(const call_of<Op> &call, const assignment &p,
                                     Round first_round) {
    unsigned *const tickets = call.tickets + p.ticket;
    if (!Op::SETS || p.tickets == 1) return is_last(tickets, p.blocks);
    const int set = p.block / SET, blocks = min_of(SET, p.blocks - set * SET);
    if (!is_last(tickets + 1 + set, blocks)) return false;
#pragma unroll 1
    for (int j = p.first; j < p.end; j++) first_round(j, set * SET, blocks);
    return is_last(tickets, p.tickets - 1);
}
template <class Op>
__device__ inline bool last_of_slice(const call_of<Op> &call, const assignment &p) {
    return last_of_slice(call, p, [&](int j, int first, int blocks) {
        const size_t floats = call.partials[j].floats;
        add_to_first(partials_of(call, p, j) + first * floats, floats, blocks);
    });
}

/* What the last block has to add: `count` partials of which each begins `step` floats behind the
 * one before. `blocks`: the first so many of the slice, that wrote one. */
struct leftover {
    const float *first;
    size_t step;
    int count;
};
template <class Op>
__device__ inline leftover what_remains(const call_of<Op> &call, const assignment &p, int j,
                                        int blocks) {
    const size_t floats = call.partials[j].floats;
    const bool sets = Op::SETS && p.tickets > 1;
    return {partials_of(call, p, j), sets ? SET * floats : floats,
            sets ? div_up(blocks, SET) : blocks};
}
template <class Op>
__device__ inline leftover what_remains(const call_of<Op> &call, const assignment &p, int j) {
    return what_remains(call, p, j, p.blocks);
}

}  // namespace

/* ---- the functions of an op ------------------------------------------------------------------ */

namespace {

/* A call that was found good, on its way to a kernel. */
template <class Op>
struct checked_call {
    const char *name;             /* "stem_fwd" */
    const typename Op::Job *jobs; /* to be read by the host; the kernel reads the table */
    int count;
    unsigned blocks;
    const pn_launch *l;

    /* Launches a kernel with `shared` bytes of dynamic shared memory. */
    pn_status launch(void (*kernel)(const call_of<Op>), size_t shared) const {
        assert(shared <= DYNAMIC);
        const table_layout t = lay_out<Op>(jobs, count);
        char *const table = static_cast<char *>(l->table);
        const call_of<Op> call = {at<typename Op::Job>(table),
                                  at<int4>(table + t.begins),
                                  at<partials_at>(table + t.partials),
                                  at<place<Op>>(table + t.places),
                                  at<unsigned>(table + t.tickets),
                                  static_cast<float *>(l->scratch),
                                  l->gate,
                                  t.quads};
        return gpu_launch(name, {blocks, THREADS, shared, l->stream}, kernel, call);
    }

   private:
    template <class T>
    static T *at(char *table) {
        return static_cast<T *>(static_cast<void *>(table));
    }
};

inline pn_status check_table(const char *op, int count, const pn_launch *l) {
    if (count == 0 || (l->table && reinterpret_cast<uintptr_t>(l->table) % 64 == 0)) return PN_OK;
    return pn_fail(PN_EARG, "%s: no table at a multiple of 64 bytes, want what %s_table makes", op,
                   op);
}

}  // namespace

/* Defines the forward and the backward pass of an op, how much scratch each takes, and their
 * tables. Forward and Backward are the types that describe them. The file has, in its anonymous
 * namespace,
 *   pn_status check_widths(const char *name, const Job *jobs, int count);
 *                                                  what this backend refuses beside check.h
 *   pn_status launch_forward(const checked_call<Forward> &call);
 *   pn_status launch_backward(const checked_call<Backward> &call); */
#define PN_CUDA_OP(op, Forward, Backward)             \
    PN_CUDA_PASS(op, fwd, 0, Forward, launch_forward) \
    PN_CUDA_PASS(op, bwd, 1, Backward, launch_backward)

#define PN_CUDA_PASS(op, pass, back, Op, launch_pass)                                            \
    extern "C" size_t PN_GPU_NAME(pn_##op##_##pass##_scratch)(const pn_##op *list, int count) {  \
        const Op::Job *const jobs = static_cast<const Op::Job *>(list);                          \
        if (pn_check_##op##_shapes(#op "_" #pass "_scratch", list, count)) return PN_NO_SCRATCH; \
        if (check_widths(#op "_" #pass "_scratch", jobs, count)) return PN_NO_SCRATCH;           \
        return size_of<Op>(jobs, count).bytes();                                                 \
    }                                                                                            \
    extern "C" size_t PN_GPU_NAME(pn_##op##_##pass##_table)(const pn_##op *list, int count,      \
                                                            void *table) {                       \
        const Op::Job *const jobs = static_cast<const Op::Job *>(list);                          \
        if (pn_check_##op##_shapes(#op "_" #pass "_table", list, count)) return PN_NO_SCRATCH;   \
        if (check_widths(#op "_" #pass "_table", jobs, count)) return PN_NO_SCRATCH;             \
        return write_table<Op>(jobs, count, table);                                              \
    }                                                                                            \
    extern "C" pn_status PN_GPU_NAME(pn_##op##_##pass)(const pn_##op *list, int count,           \
                                                       const pn_launch *l) {                     \
        const Op::Job *const jobs = static_cast<const Op::Job *>(list);                          \
        PN_TRY(pn_check_##op(#op "_" #pass, list, count, back, l));                              \
        PN_TRY(check_widths(#op "_" #pass, jobs, count));                                        \
        const call_size size = size_of<Op>(jobs, count);                                         \
        PN_TRY(pn_check_room(#op "_" #pass, l, size.bytes()));                                   \
        PN_TRY(check_table(#op "_" #pass, count, l));                                            \
        return launch_pass(checked_call<Op>{#op "_" #pass, jobs, count, size.blocks, l});        \
    }

#endif
