/* profile.c -- see profile.h. */
#include "search/methods/profile.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/device_batch.h"
#include "runtime/times.h"
#include "runtime/update.h"

enum { FORWARD, BACKWARD, MOST_ROWS = PN_FAMILIES * PN_MAX_LAYERS };
static const float auxiliary_weight = 0.4F; /* DARTS' */

/* The network at hand, and what it runs with. */
typedef struct bench {
    const pn_kernels *kernels;
    const pn_profile_settings *settings;
    pn_ceilings *ceilings;
    pn_network network;
    bool created, placed; /* the network; its parameters have memory */
    pn_program *program;
    pn_program_size size;
    pn_arena arena;
    pn_update update;
    pn_device_batch feed;
    pn_result *found;
    float *x;
    int32_t *labels;
    double *ms; /* of each launch of a pass */
    double wall, cpu;
} bench;

/* ---- the network ----------------------------------------------------------------------------- */

static void close_network(bench *b) {
    pn_update_destroy(&b->update);
    if (b->created) pn_network_destroy(&b->network);
    b->created = b->placed = false;
}

/* Weights of a search network serve all architectures, those of an evaluation network one. */
static pn_status open_network(bench *b, const pn_arch *arch, bool placed) {
    const pn_network_spec *spec = &b->settings->spec;
    if (b->created && !spec->evaluation && b->placed == placed) return PN_OK;
    const pn_space space = pn_space_darts();
    close_network(b);
    PN_TRY(pn_network_create(&b->network, spec, &space, spec->evaluation ? arch : NULL));
    b->created = true;
    if (!placed) return PN_OK;
    PN_TRY(pn_parameters_allocate(&b->network.parameters, b->kernels->memory));
    pn_parameters_init(&b->network.parameters, b->settings->seed);
    PN_TRY(pn_parameters_push(&b->network.parameters));
    PN_TRY(pn_update_create(&b->update, b->kernels, &b->network.parameters, NULL));
    b->placed = true;
    return PN_OK;
}

static pn_status compile(bench *b, const pn_arch *arch) {
    const pn_network_spec *spec = &b->settings->spec;
    const pn_build how = {
        .N = b->settings->N,
        .training = true,
        .guarded = pn_arena_checks(b->kernels->memory),
        .auxiliary = spec->auxiliary && spec->evaluation && pn_network_auxiliary_fits(spec),
        .auxiliary_weight = auxiliary_weight,
        .result = b->found};
    PN_TRY(pn_network_build(&b->network, arch, b->program, &how));
    return pn_program_compile(b->program, &b->size);
}

/* ---- what is counted ------------------------------------------------------------------------- */

static pn_status predict(bench *b, pn_profile *p) {
    PN_TRY(open_network(b, &p->arch, false));
    PN_TRY(compile(b, &p->arch));
    pn_network_count(&b->network, &p->arch, &p->params, &p->auxiliary);
    p->macs = pn_network_macs(&b->network, &p->arch);
    p->predicted = b->size.arena_bytes;
    p->launches[FORWARD] = b->size.launches_fwd;
    p->launches[BACKWARD] = b->size.launches_bwd;
    const int rounds = b->settings->rounds;
    for (int pass = 0; pass < PN_PASSES; pass++) {
        p->ms[pass] = calloc((size_t)rounds, sizeof **p->ms);
        p->cpu_ms[pass] = calloc((size_t)rounds, sizeof **p->cpu_ms);
        if (!p->ms[pass] || !p->cpu_ms[pass])
            return pn_fail(PN_EMEM, "no memory for %d times", rounds);
    }
    return PN_OK;
}

static int find_row(const pn_profile *p, const pn_job_look *job) {
    int i = 0;
    while (i < p->rows &&
           (p->row[i].family != (int)job->family || p->row[i].H != job->H || p->row[i].W != job->W))
        i++;
    return i;
}

/* The rows of the bound program. */
static pn_status list_rows(bench *b, pn_profile *p) {
    const double N = b->settings->N;
    const size_t timed = (size_t)pn_profile_timed(b->settings->rounds);
    p->row = calloc(MOST_ROWS, sizeof *p->row);
    if (!p->row) return pn_fail(PN_EMEM, "no memory for a profile");
    for (int l = 0, jobs; (jobs = pn_program_jobs(b->program, l)) > 0; l++) {
        int last[MOST_ROWS] = {0}; /* 1: counted for this launch */
        for (int j = 0; j < jobs; j++) {
            const pn_job_look job = pn_program_job(b->program, l, j);
            const int i = find_row(p, &job);
            if (i == MOST_ROWS) return pn_fail(PN_EARG, "more than %d levels", MOST_ROWS);
            pn_profile_row *row = &p->row[i];
            if (i == p->rows) {
                *row = (pn_profile_row){.family = (int)job.family, .H = job.H, .W = job.W};
                p->rows++;
                for (int pass = 0; pass < PN_PASSES; pass++)
                    if (!(row->ms[pass] = calloc(timed, sizeof **row->ms)))
                        return pn_fail(PN_EMEM, "no memory for %zu times", timed);
            }
            const double limit = 1e3 * pn_least_seconds(b->ceilings, job.work);
            row->bytes[job.backward] += job.work.bytes;
            row->limit_ms[job.backward] += limit;
            row->launches[job.backward] += !last[i];
            p->limit_ms[job.backward] += limit;
            last[i] = 1;
            if (job.backward) continue;
            row->params += job.work.params;
            row->macs += job.work.flops / 2 / N;
        }
    }
    return PN_OK;
}

/* ---- what is measured ------------------------------------------------------------------------ */

static pn_status wait(const bench *b) {
    int64_t mark;
    PN_TRY(b->kernels->memory->mark(&mark));
    return b->kernels->memory->wait(mark);
}

/* A pass as it runs in a step, and its times. */
static pn_status time_pass(bench *b, pn_profile *p, int pass, int round) {
    const double wall = pn_now(), cpu = pn_cpu_now();
    PN_TRY(pass == FORWARD ? pn_program_forward(b->program) : pn_program_backward(b->program));
    PN_TRY(wait(b));
    const double spent = pn_cpu_now() - cpu, passed = pn_now() - wall;
    if (round < 0) return PN_OK;
    p->ms[pass][round] = 1e3 * passed;
    p->cpu_ms[pass][round] = 1e3 * spent;
    b->wall += passed;
    b->cpu += spent;
    return PN_OK;
}

/* The same launch by launch; the time of each is divided among its jobs. */
static pn_status time_launches(bench *b, pn_profile *p, int pass, int index) {
    const int first = pass == FORWARD ? 0 : p->launches[FORWARD];
    PN_TRY(pn_program_time(b->program, pass == BACKWARD, b->ms));
    for (int l = 0; l < p->launches[pass]; l++) {
        const int jobs = pn_program_jobs(b->program, first + l);
        double sum = 0;
        for (int turn = 0; turn < 2; turn++)
            for (int j = 0; j < jobs; j++) {
                const pn_job_look job = pn_program_job(b->program, first + l, j);
                const double limit = pn_least_seconds(b->ceilings, job.work),
                             weight = limit > 0 ? limit : job.work.bytes;
                if (turn == 0)
                    sum += weight;
                else
                    p->row[find_row(p, &job)].ms[pass][index] += b->ms[l] * weight / sum;
            }
    }
    return PN_OK;
}

/* One gradient, as a step with one sample has it; `pass` runs and times either pass. */
static pn_status step(bench *b, pn_profile *p, int round,
                      pn_status (*pass)(bench *, pn_profile *, int, int)) {
    PN_TRY(pn_update_begin(&b->update));
    PN_TRY(wait(b));
    PN_TRY(pass(b, p, FORWARD, round));
    PN_TRY(pn_update_sample(&b->update, 0, b->program, b->found, 1, 0));
    PN_TRY(wait(b));
    return pass(b, p, BACKWARD, round);
}

/* round -1: to warm up. */
static pn_status visit(bench *b, pn_profile *p, int round) {
    const pn_batch *batch = &b->feed.batch;
    PN_TRY(open_network(b, &p->arch, true));
    PN_TRY(compile(b, &p->arch));
    b->arena.high_water = 0;
    PN_TRY(pn_program_bind(b->program, &b->arena, &b->network.parameters, batch->x, batch->labels,
                           pn_update_scale(&b->update, 0)));
    p->measured = b->arena.high_water;
    if (!p->row) PN_TRY(list_rows(b, p));
    PN_TRY(step(b, p, round, time_pass));
    return round < 0 || round % 2 ? PN_OK : step(b, p, round / 2, time_launches);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* A random batch: uniform images, as many of each class. */
static pn_status make_batch(bench *b) {
    const pn_network_spec *spec = &b->settings->spec;
    const int N = b->settings->N;
    const size_t pixels = (size_t)spec->H * (size_t)spec->W * (size_t)spec->image_channels;
    b->x = malloc((size_t)N * pixels * sizeof *b->x);
    b->labels = malloc((size_t)N * sizeof *b->labels);
    if (!b->x || !b->labels) return pn_fail(PN_EMEM, "no memory for %d images", N);
    uint64_t state = b->settings->seed | 1;
    for (size_t i = 0; i < (size_t)N * pixels; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U; /* Knuth's MMIX generator */
        b->x[i] = 3.4F * ((float)(state >> 40) * 0x1p-24F) - 1.7F;
    }
    for (int i = 0; i < N; i++) b->labels[i] = i % spec->classes;
    PN_TRY(pn_device_batch_create(&b->feed, b->kernels->memory, N, pixels));
    return pn_device_batch_upload(&b->feed, &(pn_batch){.n = N, .x = b->x, .labels = b->labels});
}

/* All memory that any of them needs, touched, so that no round pays for it. */
static pn_status make_arena(bench *b, const pn_profile *profile, int count) {
    size_t most = 0;
    int launches = 1;
    for (int i = 0; i < count; i++) {
        if (profile[i].predicted > most) most = profile[i].predicted;
        for (int pass = 0; pass < PN_PASSES; pass++)
            if (profile[i].launches[pass] > launches) launches = profile[i].launches[pass];
    }
    b->ms = calloc((size_t)launches, sizeof *b->ms);
    if (!b->ms) return pn_fail(PN_EMEM, "no memory for %d times", launches);
    PN_TRY(pn_arena_create(&b->arena, b->kernels->memory, most, 0));
    PN_TRY(pn_arena_commit(&b->arena, most));
    return b->arena.checked ? PN_OK : b->kernels->memory->clear(b->arena.base, most);
}

static pn_status profile_all(bench *b, pn_profile *profile, int count,
                             pn_profile_progress *progress, void *self) {
    const int rounds = b->settings->rounds;
    void *block;
    PN_TRY(pn_program_create(&b->program, b->kernels));
    PN_TRY(b->kernels->memory->allocate(2 * sizeof *b->found, &block));
    b->found = block;
    for (int i = 0; i < count; i++) PN_TRY(predict(b, &profile[i]));
    PN_TRY(make_arena(b, profile, count));
    PN_TRY(make_batch(b));
    PN_TRY(visit(b, &profile[0], -1));
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < count; i++) {
            PN_TRY(visit(b, &profile[i], round));
            if (progress) PN_TRY(progress(self, round * count + i + 1, rounds * count));
        }
    return PN_OK;
}

pn_status pn_profile_run(const pn_kernels *kernels, const pn_profile_settings *settings,
                         pn_profile *profile, int count, pn_ceilings *ceilings,
                         pn_profile_progress *progress, void *self, double *wall, double *cpu) {
    bench *b = calloc(1, sizeof *b);
    if (!b) return pn_fail(PN_EMEM, "no memory for a network");
    b->kernels = ceilings->kernels = kernels;
    b->settings = settings;
    b->ceilings = ceilings;
    const pn_status s = profile_all(b, profile, count, progress, self);
    *wall = b->wall;
    *cpu = b->cpu;
    close_network(b);
    pn_device_batch_destroy(&b->feed);
    pn_program_destroy(b->program);
    if (b->arena.memory) pn_arena_destroy(&b->arena);
    kernels->memory->release(b->found);
    free(b->x);
    free(b->labels);
    free(b->ms);
    free(b);
    return s;
}

void pn_profile_free(pn_profile *profile, int count) {
    for (int i = 0; i < count; i++) {
        pn_profile *p = &profile[i];
        for (int r = 0; r < p->rows; r++)
            for (int pass = 0; pass < PN_PASSES; pass++) free(p->row[r].ms[pass]);
        for (int pass = 0; pass < PN_PASSES; pass++) {
            free(p->ms[pass]);
            free(p->cpu_ms[pass]);
        }
        free(p->row);
        *p = (pn_profile){.arch = p->arch};
    }
}
