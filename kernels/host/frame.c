/* frame.c -- see frame.h. */
#include "kernels/host/frame.h"

#include <assert.h>
#include <string.h>

#include "kernels/poison.h"

/* A thread's workspace ends so many floats before the next one: a core fetches ahead of what its
 * thread walks through, and what it fetches of a neighbour's workspace the neighbour has to fetch
 * back. Side by side, two threads took as long for a stage of 16 channels as one; from 32 KiB on
 * more makes no difference. For the same reason the sums of a chunk, if they are few, are gathered
 * in the workspace and copied to the chunk's partial. Large partials lie apart themselves: of
 * workspaces there are 16, and those of 144 channels would cost 25 MB. */
enum { APART = 8192, LOCAL = 16384 };
static size_t apart(size_t floats) { return pn_align16(floats) + APART; }

/* What lies where in scratch. */
typedef struct layout {
    const pn_host_op *op;
    int count, backward;
    char *prepared;
    float *spaces; /* a workspace: what the op has there, then partials */
    size_t space_floats, partials_at, floats; /* floats: of all scratch */
} layout;

static pn_prepared *job_at(const layout *l, int j) {
    return (pn_prepared *)(l->prepared + j * l->op->bytes);
}
static int is_local(const pn_prepared *s) { return s->partial_floats <= LOCAL; }

static layout lay_out(const pn_host_op *op, const void *jobs, int count, int backward, void *base) {
    pn_carver c = {.base = base};
    layout l = {.op = op, .count = count, .backward = backward};
    l.prepared = (char *)pn_carve(&c, count * op->bytes / sizeof(float) + 1);
    size_t group = 0, partials = 0;
    assert(op->bytes <= PN_PREPARED_BYTES);
    for (int j = 0; j < count; j++) {
        _Alignas(64) char counted[PN_PREPARED_BYTES];
        pn_prepared *s = l.prepared ? job_at(&l, j) : (pn_prepared *)counted;
        memset(s, 0, op->bytes);
        op->lay_out(s, jobs, j, backward, &c);
        s->shares_dx &= backward;
        s->partial_step = is_local(s) ? pn_align16(s->partial_floats) : apart(s->partial_floats);
        s->partials = pn_carve(&c, pn_chunks(s->N) * s->partial_step);
        s->local_at = s->shares_dx ? group : 0;
        group = s->local_at + is_local(s) * s->partial_step;
        if (group > partials) partials = group;
        if (s->space_floats > l.partials_at) l.partials_at = s->space_floats;
    }
    l.partials_at = pn_align16(l.partials_at);
    l.space_floats = apart(l.partials_at + partials);
    l.spaces = pn_carve(&c, PN_WORKERS * l.space_floats);
    l.floats = c.used;
    return l;
}

/* The room between workspaces is shut while an op runs: an overrun of a workspace into the next
 * one changes a neighbour's numbers now and then, and no guard around scratch sees it. */
static float *fence_at(const layout *l, int t) {
    return l->spaces + (t + 1) * l->space_floats - APART;
}
static void fence(const layout *l) {
    for (int t = 0; PN_POISONS && t < PN_WORKERS; t++)
        PN_POISON(fence_at(l, t), APART * sizeof(float));
}
static void unfence(const layout *l) {
    for (int t = 0; PN_POISONS && t < PN_WORKERS; t++) {
        PN_UNPOISON(fence_at(l, t), APART * sizeof(float));
        assert(pn_poison_lost(fence_at(l, t), APART * sizeof(float)) < 0);
    }
}

/* Units of work for the threads of a region, each given once. A thread takes those of its own share
 * first and in order, so that from call to call it meets the same images, some of them still in its
 * cache; then what others have not begun, so that a thread that is held up keeps nobody waiting.
 * Against giving the next unit to whoever asks: ops of 32 and 64 channels 1.1 to 1.8 times as
 * fast. */
typedef struct units {
    struct {
        int taken;
        char apart[60]; /* a cache line each */
    } of[PN_WORKERS];
} units;

static int next_unit(units *u, int count) {
    const int threads = omp_get_num_threads(), me = omp_get_thread_num();
    for (int k = 0; k < threads; k++) {
        const int t = (me + k) % threads;
        const int first = (int)((long)count * t / threads);
        const int end = (int)((long)count * (t + 1) / threads);
        const int unit = first + __atomic_fetch_add(&u->of[t].taken, 1, __ATOMIC_RELAXED);
        if (unit < end) return unit;
    }
    return -1;
}

/* One past the last job of the group that begins with job j. */
static int group_end(const layout *l, int j) {
    do j++;
    while (j < l->count && job_at(l, j)->shares_dx);
    return j;
}

static void run_unit(const layout *l, int first_job, int chunk, float *workspace) {
    const pn_host_op *op = l->op;
    const int N = job_at(l, first_job)->N, end_job = group_end(l, first_job);
    const int from = pn_chunk_first(N, chunk), end = pn_chunk_first(N, chunk + 1);
    const int step = l->backward && op->by_image ? 1 : end - from;
    float *local = workspace + l->partials_at;
    for (int n = from; n < end; n += step)
        for (int j = first_job; j < end_job; j++) {
            const pn_prepared *s = job_at(l, j);
            float *partial =
                is_local(s) ? local + s->local_at : s->partials + chunk * s->partial_step;
            if (n == from) memset(partial, 0, s->partial_floats * sizeof *partial);
            op->run[l->backward](s, n, n + step, workspace, partial);
        }
    for (int j = first_job; j < end_job; j++) {
        const pn_prepared *s = job_at(l, j);
        if (is_local(s))
            memcpy(s->partials + chunk * s->partial_step, local + s->local_at,
                   s->partial_floats * sizeof *local);
    }
}

static void finish(const layout *l, int j, int share, float *workspace) {
    const pn_host_op *op = l->op;
    if (op->finish[l->backward]) op->finish[l->backward](job_at(l, j), share, workspace);
    if (share || !l->backward || job_at(l, j)->shares_dx) return;
    for (const int end = group_end(l, j); op->finish_inputs && j < end; j++)
        op->finish_inputs(job_at(l, j));
}

size_t pn_frame_scratch(const pn_host_op *op, const void *jobs, int count, int backward) {
    return lay_out(op, jobs, count, backward, NULL).floats * sizeof(float);
}

size_t pn_frame_table(const void *jobs, int count, size_t job_bytes, void *table) {
    const size_t bytes = (size_t)count * job_bytes;
    if (table && bytes) memcpy(table, jobs, bytes);
    return bytes;
}

pn_status pn_frame_run(const pn_host_op *op, const char *name, const void *jobs, int count,
                       int backward, const pn_launch *launch) {
    PN_TRY(pn_check_room(name, launch, pn_frame_scratch(op, jobs, count, backward)));
    if (backward && launch->gate && *launch->gate == 0) return PN_OK;
    assert(launch->scratch); /* as the call was checked */
    const layout l = lay_out(op, jobs, count, backward, launch->scratch);
    const int shares = op->shares[backward];
    units work = {0};
    fence(&l);
#pragma omp parallel num_threads(pn_threads())
    {
        float *workspace = l.spaces + omp_get_thread_num() * l.space_floats;
        if (op->prepare) {
#pragma omp for schedule(dynamic)
            for (int j = 0; j < count; j++) op->prepare(job_at(&l, j), backward);
        }
        for (int u; (u = next_unit(&work, PN_CHUNKS * count)) >= 0;) {
            const pn_prepared *s = job_at(&l, u % count);
            if (!s->shares_dx && u / count < pn_chunks(s->N))
                run_unit(&l, u % count, u / count, workspace);
        }
        if (shares) {
#pragma omp barrier
#pragma omp for schedule(dynamic)
            for (int u = 0; u < shares * count; u++) finish(&l, u / shares, u % shares, workspace);
        }
    }
    unfence(&l);
    return PN_OK;
}
