/* kernels/cuda/slices.h -- groups of jobs whose channels are cut into slices: each slice has
 * blocks, a ticket and partials of its own, so that a block keeps the sums of its slice in
 * registers and partials stay small. Otherwise as in op.h.
 *
 * An op describes its jobs by a type with
 *   using Job = ..., Cut = ...;                     a Cut has at least slices, tiles (of a slice),
 *                                                   blocks (of a slice), slice (its channels)
 *   static bool shares_dx(const Job *jobs, int j);     as in op.h
 *   static Cut cut(const Job *group, int jobs);     of so many jobs that share dx, which are cut
 *                                                   alike
 *   static size_t partial_floats(const Job &job, int slice);   a multiple of 4 */
#ifndef PN_GPU_SLICES_H
#define PN_GPU_SLICES_H

#include "kernels/cuda/op.h"

namespace {

/* What this block does: an assignment in which the blocks of a slice count as a group. */
template <class Op>
struct sliced_assignment {
    assignment p;
    typename Op::Cut cut;
    int slice;
};

template <class Op>
__device__ inline sliced_assignment<Op> find_slice(const typename Op::Job *jobs, int count) {
    sliced_assignment<Op> s;
    assignment &p = s.p;
    p = {0, 0, (int)blockIdx.x, 0, 0, 0, 0};
    for (;;) {
        p.end = group_end<Op>(jobs, count, p.first);
        s.cut = Op::cut(jobs + p.first, p.end - p.first);
        p.tiles = s.cut.tiles;
        p.blocks = s.cut.blocks;
        const int all = s.cut.slices * p.blocks;
        if (p.block < all) break;
        p.block -= all;
        for (int j = p.first; j < p.end; j++)
            p.partials += all * Op::partial_floats(jobs[j], s.cut.slice);
        p.group += s.cut.slices;
        p.first = p.end;
    }
    /* Slices of one tile side by side: they read the same dy and z, which then are in L2. */
    s.slice = p.block % s.cut.slices;
    p.block /= s.cut.slices;
    p.group += s.slice;
    return s;
}

/* The partials of this slice for job j. */
template <class Op>
__device__ inline float *slice_partials(const typename Op::Job *jobs,
                                        const sliced_assignment<Op> &s, int j, float *scratch) {
    float *at = scratch + s.p.partials;
    for (int i = s.p.first; i < j; i++)
        at += (size_t)s.cut.slices * s.p.blocks * Op::partial_floats(jobs[i], s.cut.slice);
    return at + (size_t)s.slice * s.p.blocks * Op::partial_floats(jobs[j], s.cut.slice);
}

/* What the host needs of a call; groups: slices. */
template <class Op>
inline call_size sliced_size(const typename Op::Job *jobs, int count) {
    call_size size = {0, 0, 0};
    for (int first = 0, end; first < count; first = end) {
        end = group_end<Op>(jobs, count, first);
        const typename Op::Cut cut = Op::cut(jobs + first, end - first);
        const int blocks = cut.slices * cut.blocks;
        size.groups += cut.slices;
        size.blocks += (unsigned)blocks;
        for (int j = first; j < end; j++)
            size.bytes += blocks * Op::partial_floats(jobs[j], cut.slice) * sizeof(float);
    }
    size.bytes = (size.bytes + 63) & ~(size_t)63;
    return size;
}

}  // namespace

#endif
