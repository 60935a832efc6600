/* model.c -- evaluating architectures with shared weights. */
#include "search/methods/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "runtime/times.h"
#include "search/methods/deal.h"
#include "search/methods/mixture.h"
#include "search/network/budget.h"

enum { TRAIN, VALIDATE };

pn_model_settings pn_model_defaults(void) {
    return (pn_model_settings){
        .network =
            {.layers = 8, .channels = 16, .H = 32, .W = 32, .image_channels = 3, .classes = 10},
        .N = 64,
        .shards = 1,
        .augment = true,
        .temperature = 1,
        .skip_below = 0x1p-24,
        .momentum = 0.9F,
        .decay = 3e-4F,
        .clip = 5,
    };
}

/* One op on every edge: the one with most buffers, as pn_network_largest's. */
static void choose_largest(const pn_space *space, int8_t chosen[PN_MAX_MIX_EDGES]) {
    const pn_arch largest = pn_network_largest(space);
    memset(chosen, pn_op_choice(space, largest.cell[0].term[0][0].op), PN_MAX_MIX_EDGES);
}

/* Several passes a step, of which each has a gradient of its own. */
static bool has_units(const pn_model *m) {
    return !m->settings.frozen && (m->samples > 1 || m->settings.shards > 1);
}

static pn_unit_counts unit_counts(const pn_model *m) {
    return (pn_unit_counts){
        .samples = m->samples,
        .shards = m->settings.shards,
        .here = pn_units_most(m->samples * m->settings.shards, pn_group_size(m->settings.group)),
        .floats = m->unit_floats,
        .group = m->settings.group};
}

/* Images of a shard, if a batch has N; of a batch that shards do not divide, of the larger ones. */
static int shard_of(const pn_model *m, int N) {
    return (N + m->settings.shards - 1) / m->settings.shards;
}

/* Of the architecture at hand. */
static pn_flight *flight(pn_model *m) { return &m->flights.flight[m->flights.at]; }

/* The largest program of this kind, for batches of N; m->size and unit_floats say what it needs. */
static pn_status measure(pn_model *m, int N) {
    const pn_arch largest = pn_network_largest(&m->network.space);
    float number = 0; /* an address for each weight of a supernet: nothing runs */
    int8_t chosen[PN_MAX_MIX_EDGES];
    pn_mix mix = {.weight = &number, .dweight = &number};
    choose_largest(&m->network.space, chosen);
    if (m->settings.kind == PN_MODEL_EDGES) mix = (pn_mix){.dweight = &number, .chosen = chosen};
    const bool cells = m->settings.kind == PN_MODEL_CELLS;
    PN_TRY(pn_network_build(&m->network, cells ? &largest : NULL, flight(m)->program,
                            &(pn_build){.N = shard_of(m, N),
                                        .training = !m->settings.frozen,
                                        .recompute = m->settings.recompute,
                                        .guarded = pn_arena_checks(m->kernels->memory),
                                        .mix = cells ? NULL : &mix,
                                        .drop_path = m->settings.drop_path ? &number : NULL}));
    PN_TRY(pn_program_compile(flight(m)->program, &m->size));
    return pn_units_floats(&m->network.parameters, flight(m)->program, &m->unit_floats);
}

/* Of the sum over the units; 0: there is none. */
static size_t sum_bytes(const pn_model *m) {
    return has_units(m) ? pn_units_arena_bytes(&m->network.parameters) : 0;
}

/* Of one flight, which has the sum too. */
static size_t arena_bytes(const pn_model *m) {
    return pn_flights_bytes(m->size.arena_bytes, sum_bytes(m), 1);
}

size_t pn_model_ahead_bytes(const pn_parameters *p, bool look_ahead) {
    return look_ahead ? 2 * pn_parameters_range_bytes(p) : 0;
}

/* All but the arena: weights with what belongs to them, two batches of each half. */
static size_t fixed_bytes(const pn_model *m, int N) {
    return pn_parameters_bytes(&m->network.parameters) +
           pn_model_ahead_bytes(&m->network.parameters, m->settings.look_ahead) +
           (has_units(m) ? pn_units_bytes(unit_counts(m)) : 0) +
           pn_network_batch_bytes(&m->network, N);
}

static pn_status needed_bytes(void *self, int N, size_t *bytes) {
    pn_model *m = self;
    PN_TRY(measure(m, N));
    *bytes = fixed_bytes(m, N) + arena_bytes(m);
    return PN_OK;
}

/* As many as are wished, of what a step runs here, and as there is memory for. Launches that are
 * timed come one after another. */
static int choose_flights(const pn_model *m) {
    const pn_memory *memory = m->kernels->memory;
    const pn_network_spec *n = &m->settings.network;
    const int N = m->settings.N;
    int flights = m->settings.in_flight;
    if (!memory->select || m->settings.kind != PN_MODEL_CELLS || pn_times_of(memory)) return 1;
    if (!flights)
        flights = pn_flights_rule(memory->processors, (double)shard_of(m, N) * n->H * n->W);
    size_t room = memory->available();
    const size_t limit = pn_budget_room(m->settings.memory, memory);
    if (m->settings.memory && limit < room) room = limit;
    return pn_flights_granted((pn_flights_wish){.flights = flights,
                                                .samples = m->samples,
                                                .here = unit_counts(m).here,
                                                .program = m->size.arena_bytes,
                                                .sum = sum_bytes(m),
                                                .else_bytes = (double)fixed_bytes(m, N),
                                                .room = (double)room});
}

static pn_status add_flight(pn_model *m) {
    return pn_flights_add(&m->flights, m->kernels, m->network.max_ops, m->network.max_terms);
}

/* Address space for any program: see pn_network_largest. Of the supernet there is one, and no
 * cell is larger. The first flight has what --memory promises beside the others. */
static pn_status reserve_arena(pn_model *m, int i, size_t room) {
    const size_t most =
        m->settings.kind == PN_MODEL_MIXTURE ? m->size.arena_bytes : 2 * m->size.unshared_bytes;
    const size_t limit =
        i ? m->size.arena_bytes : room - (size_t)(m->flights.count - 1) * m->size.arena_bytes;
    return pn_arena_create(&m->flights.flight[i].arena, m->kernels->memory,
                           most + arena_bytes(m) + (64 << 20), room ? limit : 0);
}

static pn_status reserve(pn_model *m) {
    static const char *const whose[] = {"the largest cell", "the largest cell of one op an edge",
                                        "the supernet"};
    const int N = m->settings.N;
    const size_t limit = m->settings.memory;
    PN_TRY(pn_budget_check(needed_bytes, m, whose[m->settings.kind], N, m->settings.shards, limit,
                           m->kernels->memory));
    PN_TRY(measure(m, N));
    const size_t room = limit ? pn_budget_room(limit, m->kernels->memory) - fixed_bytes(m, N) : 0;
    const int flights = choose_flights(m);
    while (m->flights.count < flights) PN_TRY(add_flight(m));
    for (int i = 0; i < flights; i++) PN_TRY(reserve_arena(m, i, room));
    return PN_OK;
}

static size_t results(const pn_model *m) {
    return 2 * (size_t)m->samples * (size_t)m->settings.shards;
}

/* What the heads find, and the shares that follow: read once a step. */
static pn_status allocate_results(pn_model *m) {
    const pn_memory *memory = m->kernels->memory;
    const size_t n = (size_t)m->samples;
    void *found;
    PN_TRY(memory->allocate(results(m) * sizeof *m->found, &found));
    m->found = found;
    m->result = calloc(results(m), sizeof *m->result);
    m->share = calloc(n, sizeof *m->share);
    m->evaluation = calloc(n, sizeof *m->evaluation);
    return m->result && m->share && m->evaluation
               ? PN_OK
               : pn_fail(PN_EMEM, "model: no memory for %d samples", m->samples);
}

/* ---- who runs what --------------------------------------------------------------------------- */

static size_t units_of(const pn_model *m) {
    return (size_t)m->samples * (size_t)m->settings.shards;
}

enum { NUMBERS = sizeof(pn_result) / sizeof(int64_t) };
_Static_assert(sizeof(pn_result) == NUMBERS * sizeof(int64_t), "results are joined as numbers");

/* All results of a step, and the bytes of its programs. */
static size_t joined_numbers(const pn_model *m) {
    return results(m) * NUMBERS + (size_t)m->samples;
}

static pn_status allocate_dealing(pn_model *m) {
    const size_t units = units_of(m), ranks = (size_t)pn_group_size(m->settings.group);
    if (!m->settings.group || m->settings.kind != PN_MODEL_CELLS) return PN_OK; /* none to deal */
    m->owner = calloc(units, sizeof *m->owner);
    m->cost = calloc(units, sizeof *m->cost);
    m->load = calloc(ranks, sizeof *m->load);
    m->held = calloc(ranks, sizeof *m->held);
    m->joined = calloc(joined_numbers(m), sizeof *m->joined);
    if (!m->owner || !m->cost || !m->load || !m->held || !m->joined)
        return pn_fail(PN_EMEM, "model: no memory to deal %zu units", units);
    return pn_group_room(m->settings.group, joined_numbers(m) * sizeof *m->joined,
                         m->kernels->memory, has_units(m) ? m->network.parameters.floats : 0);
}

/* Unit (k, d); of any shard with d -1. */
static bool is_mine(const pn_model *m, int k, int d) {
    const int shards = m->settings.shards, rank = pn_group_rank(m->settings.group);
    if (!m->owner) return true;
    if (d >= 0) return m->owner[k * shards + d] == rank;
    while (++d < shards)
        if (m->owner[k * shards + d] == rank) return true;
    return false;
}

/* Multiply-adds as long as an op takes beside its own. */
#define MACS_OF_AN_OP 1e6

/* Every rank finds out of every architecture what it touches and what it will cost. That takes its
 * graph, not a compiled program. */
static pn_status look_at(pn_model *m, int k, const pn_arch *arch) {
    const int shards = m->settings.shards;
    int ops;
    PN_TRY(pn_network_build(&m->network, arch, flight(m)->program,
                            &(pn_build){.N = shard_of(m, m->settings.N),
                                        .training = !m->settings.frozen,
                                        .recompute = m->settings.recompute}));
    PN_TRY(pn_program_mark(flight(m)->program, &ops));
    if (has_units(m)) pn_units_note(&m->update.units, k, flight(m)->program);
    const double cost =
        pn_network_macs(&m->network, arch) * shard_of(m, m->settings.N) + ops * MACS_OF_AN_OP;
    for (int d = 0; d < shards; d++) m->cost[k * shards + d] = cost;
    return PN_OK;
}

static pn_status deal(void *self, int count, const pn_arch *arch) {
    pn_model *m = self;
    if (!m->owner) return PN_OK;
    for (int k = 0; k < count; k++) PN_TRY(look_at(m, k, &arch[k]));
    pn_deal(m->cost, count * m->settings.shards, m->load, m->held, pn_group_size(m->settings.group),
            m->owner);
    m->dealt = count;
    return PN_OK;
}

static pn_status check_dealt(const pn_model *m, int k) {
    return !m->owner || k < m->dealt
               ? PN_OK
               : pn_fail(PN_EARG, "sample %d of a step of which %d are dealt", k, m->dealt);
}

/* ---- supernets, and the rest of memory ------------------------------------------------------- */

/* Weights of a supernet, (kinds, edges, ops), and their gradients, (layers, edges, ops). */
static size_t mix_weights(const pn_model *m) {
    const pn_space *s = &m->network.space;
    return (size_t)s->kinds * (size_t)pn_edges(s->nodes) * (size_t)s->ops;
}

static size_t mix_dweights(const pn_model *m) {
    const pn_space *s = &m->network.space;
    return (size_t)m->settings.network.layers * (size_t)pn_edges(s->nodes) * (size_t)s->ops;
}

/* Of drop-path: (layers, edges, N). */
static size_t mix_factors(const pn_model *m) {
    const size_t edges = (size_t)pn_edges(m->network.space.nodes);
    return (size_t)m->settings.network.layers * edges * (size_t)m->settings.N;
}

static pn_status allocate_factors(pn_model *m) {
    void *factor;
    if (!m->settings.drop_path) return PN_OK;
    PN_TRY(m->kernels->memory->allocate(mix_factors(m) * sizeof(float), &factor));
    m->mix_factor = factor;
    m->factor_host = calloc(mix_factors(m), sizeof *m->factor_host);
    return m->factor_host ? PN_OK : pn_fail(PN_EMEM, "model: no memory for drop-path");
}

static pn_status allocate_mixture(pn_model *m) {
    const pn_memory *memory = m->kernels->memory;
    void *weight, *dweight;
    if (m->settings.kind == PN_MODEL_CELLS) return PN_OK;
    PN_TRY(memory->allocate(mix_weights(m) * sizeof(float), &weight));
    m->mix_weight = weight;
    PN_TRY(memory->allocate(mix_dweights(m) * sizeof(float), &dweight));
    m->mix_dweight = dweight;
    m->mix_host = calloc(mix_weights(m) + mix_dweights(m), sizeof *m->mix_host);
    if (!m->mix_host) return pn_fail(PN_EMEM, "model: no memory for a mixture");
    return allocate_factors(m);
}

static pn_status allocate_elsewhere(pn_model *m) {
    const pn_memory *memory = m->kernels->memory;
    const size_t bytes = pn_parameters_range_bytes(&m->network.parameters);
    void *ahead, *slope;
    m->place = &m->network.parameters;
    if (!m->settings.look_ahead) return PN_OK;
    PN_TRY(memory->allocate(bytes, &ahead));
    m->ahead = ahead;
    PN_TRY(memory->allocate(bytes, &slope));
    m->slope = slope;
    return PN_OK;
}

static pn_status check_ranks(const pn_model *m) {
    const int ranks = pn_group_size(m->settings.group);
    if ((size_t)ranks <= units_of(m)) return PN_OK;
    return pn_fail(PN_EARG, "%d ranks, want at most %zu: %d samples in %d shards each", ranks,
                   units_of(m), m->samples, m->settings.shards);
}

static pn_status create(pn_model *m, const pn_space *space, const pn_data *data) {
    PN_TRY(pn_shards_check(m->settings.shards, m->settings.N));
    PN_TRY(check_ranks(m));
    if ((has_units(m) || m->settings.frozen) && m->settings.kind != PN_MODEL_CELLS)
        return pn_fail(PN_EARG, "a supernet with %d samples in %d shards, want 1 each, and trained",
                       m->samples, m->settings.shards);
    if (m->kernels->storage == PN_STORED_FP16 && m->settings.kind != PN_MODEL_CELLS)
        return pn_fail(PN_EARG,
                       "fp16 with a supernet, whose loss is not scaled; want bf16, "
                       "or a method that samples cells");
    PN_TRY(pn_network_create(&m->network, &m->settings.network, space, NULL));
    m->network.parameters.no_gradient = has_units(m) || m->settings.frozen;
    const pn_network_spec *n = &m->settings.network;
    PN_TRY(add_flight(m));
    PN_TRY(reserve(m));
    PN_TRY(pn_parameters_allocate(&m->network.parameters, m->kernels->memory));
    pn_parameters_init(&m->network.parameters, m->settings.seed);
    PN_TRY(pn_parameters_push(&m->network.parameters));
    const pn_unit_counts units = unit_counts(m);
    PN_TRY(pn_update_create(&m->update, m->kernels, &m->network.parameters,
                            has_units(m) ? &units : NULL));
    const pn_batch_stream streams[2] = {
        {.half = m->settings.all_images ? PN_HALF_BOTH : PN_HALF_FIRST,
         .N = m->settings.N,
         .augment = m->settings.augment},
        {.half = PN_HALF_SECOND, .N = m->settings.N, .augment = m->settings.augment},
    };
    if (data) PN_TRY(pn_batches_create(data, streams, 2, m->settings.seed, &m->batches));
    for (int half = 0; half < 2; half++)
        PN_TRY(pn_device_batch_create(&m->device_batch[half], m->kernels->memory, m->settings.N,
                                      (size_t)n->H * (size_t)n->W * (size_t)n->image_channels));
    PN_TRY(allocate_mixture(m));
    PN_TRY(allocate_elsewhere(m));
    PN_TRY(allocate_dealing(m));
    return allocate_results(m);
}

pn_status pn_model_create(pn_model *m, const pn_kernels *kernels, const pn_space *space,
                          const pn_model_settings *settings, const pn_data *data, int samples) {
    *m = (pn_model){.settings = *settings,
                    .kernels = kernels,
                    .samples = samples,
                    .step = -1,
                    .taken = {-1, -1}};
    pn_status s = create(m, space, data);
    if (s != PN_OK) pn_model_destroy(m);
    return s;
}

void pn_model_destroy(pn_model *m) {
    pn_batches_free(m->batches);
    for (int half = 0; half < 2; half++) pn_device_batch_destroy(&m->device_batch[half]);
    if (m->kernels) {
        m->kernels->memory->release(m->found);
        m->kernels->memory->release(m->mix_weight);
        m->kernels->memory->release(m->mix_dweight);
        m->kernels->memory->release(m->ahead);
        m->kernels->memory->release(m->slope);
        m->kernels->memory->release(m->mix_factor);
    }
    free(m->mix_host);
    free(m->factor_host);
    free(m->result);
    free(m->share);
    free(m->evaluation);
    free(m->owner);
    free(m->cost);
    free(m->load);
    free(m->held);
    free(m->joined);
    pn_flights_destroy(&m->flights);
    pn_update_destroy(&m->update);
    pn_network_destroy(&m->network);
    *m = (pn_model){0};
}

pn_status pn_model_give(pn_model *m, int half, int64_t step, const pn_batch *batch) {
    m->taken[half] = -1;
    PN_TRY(pn_device_batch_upload(&m->device_batch[half], batch));
    m->taken[half] = step;
    return PN_OK;
}

/* The batch of a half for this step; both samples and retries get the same one. */
static pn_status take(pn_model *m, int half, int64_t step) {
    pn_batch batch;
    if (m->taken[half] == step) return PN_OK;
    if (!m->batches)
        return pn_fail(PN_EARG, "step %lld wants a batch of the %s images", (long long)step,
                       half == TRAIN ? "training" : "validation");
    PN_TRY(pn_batches_take(m->batches, half, step, &batch));
    return pn_model_give(m, half, step, &batch);
}

/* Builds and compiles a program; `training`: with backward. arch NULL: the supernet with this
 * mixture. */
static pn_status compile(pn_model *m, const pn_arch *arch, const pn_mix *mix, bool training,
                         pn_result *result) {
    m->supernet = false;
    PN_TRY(pn_network_build(&m->network, arch, flight(m)->program,
                            &(pn_build){.N = shard_of(m, m->settings.N),
                                        .training = training,
                                        .recompute = m->settings.recompute,
                                        .guarded = flight(m)->arena.checked,
                                        .mix = mix,
                                        .drop_path = mix && m->mix_keep < 1 ? m->mix_factor : NULL,
                                        .result = result}));
    return pn_program_compile(flight(m)->program, &m->size);
}

/* Binds it to shard d of the batch of a half. */
static pn_status bind(pn_model *m, int half, int d, const float *scale) {
    const pn_device_batch *from = &m->device_batch[half];
    const size_t before = (size_t)d * (size_t)shard_of(m, m->settings.N);
    return pn_program_bind(flight(m)->program, &flight(m)->arena, m->place,
                           from->batch.x + before * from->image_floats, from->batch.labels + before,
                           scale);
}

/* Of sample k, or of its shard d. */
static pn_result *found_of(const pn_model *m, int half, int k, int d) {
    return m->found + ((ptrdiff_t)half * m->samples + k) * m->settings.shards + d;
}

/* Nothing is queued between two steps: the host may write. */
static pn_status renew(void *self, int64_t time) {
    pn_model *m = self;
    pn_parameters_init(&m->network.parameters, m->settings.seed ^ (uint64_t)time << 48);
    return pn_parameters_push(&m->network.parameters);
}

/* Where kernels are queued, the host's time says nothing of theirs. */
static void begin_times(pn_model *m) {
    const double known = m->kernels->memory->plain ? 0 : NAN;
    m->times = (pn_step_times){.forward = known, .backward = known, .update = known};
    m->begun = pn_now();
}

static pn_status begin(void *self, int64_t step) {
    pn_model *m = self;
    if (step != m->step) begin_times(m); /* a step may begin twice: see mix */
    m->step = step;
    m->place = &m->network.parameters;
    m->mix_keep = 1;
    m->dealt = 0;
    m->met = false;
    m->applied = false;
    m->flights.next = 0;
    PN_TRY(m->kernels->memory->clear(m->found, results(m) * sizeof *m->found));
    memset(m->evaluation, 0, (size_t)m->samples * sizeof *m->evaluation);
    return pn_update_begin(&m->update);
}

static pn_status forward(pn_model *m) {
    double since = pn_now();
    const pn_status s = pn_program_forward(flight(m)->program);
    m->times.forward += pn_lap(&since);
    return s;
}

/* Forward, importance weight and backward of the bound program, as sample k of the step. */
static pn_status learn(pn_model *m, int k, const pn_result *result) {
    PN_TRY(forward(m));
    double since = pn_now();
    PN_TRY(pn_update_sample(&m->update, m->flights.at, flight(m)->program, result,
                            m->settings.temperature, m->settings.skip_below));
    m->evaluation[k].bytes = m->size.arena_bytes;
    m->times.update += pn_lap(&since);
    const pn_status s = pn_program_backward(flight(m)->program);
    m->times.backward += pn_lap(&since);
    return s;
}

/* The program writes what it finds in shard 0's place: so the others come before, last to first;
 * and of a shard 0 that is another's nothing may be there. */
static pn_status keep_found(const pn_model *m, int half, int k, int d) {
    const pn_memory *memory = m->kernels->memory;
    pn_result *const first = found_of(m, half, k, 0);
    if (!d) return PN_OK;
    PN_TRY(memory->copy(found_of(m, half, k, d), first, sizeof *m->found));
    return is_mine(m, k, 0) ? PN_OK : memory->clear(first, sizeof *m->found);
}

/* With several shards nobody knows before the last forward what a sample counts. */
static pn_status learn_shard(pn_model *m, int k, int d) {
    if (has_units(m)) PN_TRY(pn_units_take(&m->update.units, k, d, flight(m)->program));
    if (m->settings.shards == 1) {
        PN_TRY(bind(m, TRAIN, d, pn_update_scale(&m->update, m->flights.at)));
        PN_TRY(learn(m, k, found_of(m, TRAIN, k, d)));
        return pn_update_unscale(&m->update, k, d);
    }
    PN_TRY(bind(m, TRAIN, d, pn_update_full_scale(&m->update)));
    PN_TRY(forward(m));
    m->evaluation[k].bytes = m->size.arena_bytes;
    double since = pn_now();
    const pn_status s = pn_program_backward(flight(m)->program);
    m->times.backward += pn_lap(&since);
    PN_TRY(s);
    PN_TRY(pn_update_unscale(&m->update, k, d));
    return keep_found(m, TRAIN, k, d);
}

static pn_status take_timed(pn_model *m, int half) {
    double since = pn_now();
    const pn_status s = take(m, half, m->step);
    m->times.data += pn_lap(&since);
    return s;
}

/* The passes of sample k on the batch of a half, which is there, in the next flight; if the device
 * has no memory for that one's arena, in the first. */
typedef pn_status passes(pn_model *m, int k, const pn_arch *arch);

static pn_status in_a_flight(pn_model *m, passes *run, int k, const pn_arch *arch) {
    pn_status s = pn_flights_enter(&m->flights);
    if (s == PN_OK) s = run(m, k, arch);
    if (s == PN_EMEM && m->flights.at > 0) {
        s = pn_flights_close(&m->flights);
        if (s == PN_OK) s = run(m, k, arch);
    }
    const pn_status left = pn_flights_leave(&m->flights);
    return s == PN_OK ? left : s;
}

static pn_status learn_all(pn_model *m, int k, const pn_arch *arch) {
    PN_TRY(compile(m, arch, NULL, true, found_of(m, TRAIN, k, 0)));
    for (int d = m->settings.shards - 1; d >= 0; d--)
        if (is_mine(m, k, d)) PN_TRY(learn_shard(m, k, d));
    return PN_OK;
}

static pn_status train(void *self, int k, const pn_arch *arch) {
    pn_model *m = self;
    if (m->settings.frozen) return pn_fail(PN_EARG, "frozen weights are not trained");
    PN_TRY(check_dealt(m, k));
    if (!is_mine(m, k, -1)) return PN_OK;
    PN_TRY(take_timed(m, TRAIN));
    return in_a_flight(m, learn_all, k, arch);
}

static pn_status validate_all(pn_model *m, int k, const pn_arch *arch) {
    PN_TRY(compile(m, arch, NULL, false, found_of(m, VALIDATE, k, 0)));
    if (m->size.arena_bytes > m->evaluation[k].bytes) m->evaluation[k].bytes = m->size.arena_bytes;
    for (int d = m->settings.shards - 1; d >= 0; d--) {
        if (!is_mine(m, k, d)) continue;
        PN_TRY(bind(m, VALIDATE, d, NULL));
        PN_TRY(forward(m));
        PN_TRY(keep_found(m, VALIDATE, k, d));
    }
    return PN_OK;
}

static pn_status validate(void *self, int k, const pn_arch *arch) {
    pn_model *m = self;
    PN_TRY(check_dealt(m, k));
    if (!is_mine(m, k, -1)) return PN_OK;
    PN_TRY(take_timed(m, VALIDATE));
    return in_a_flight(m, validate_all, k, arch);
}

static pn_sgd sgd_of(const pn_model *m, double rate) {
    return (pn_sgd){.rate = (float)rate,
                    .momentum = m->settings.momentum,
                    .decay = m->settings.decay,
                    .clip = m->settings.clip,
                    .nesterov = m->settings.nesterov};
}

/* What all have found on both batches, and the bytes of their programs, in one call: once a step,
 * when all passes are queued. Waits for them. */
static pn_status meet(pn_model *m) {
    PN_TRY(pn_flights_gather(&m->flights));
    PN_TRY(m->kernels->memory->download(m->result, m->found, results(m) * sizeof *m->result));
    m->met = true;
    if (!m->owner) return PN_OK;
    int64_t *const bytes = m->joined + results(m) * NUMBERS;
    memcpy(m->joined, m->result, results(m) * sizeof *m->result);
    for (int k = 0; k < m->samples; k++)
        bytes[k] = k < m->dealt && is_mine(m, k, 0) ? (int64_t)m->evaluation[k].bytes : 0;
    PN_TRY(pn_group_join(m->settings.group, m->joined, joined_numbers(m) * sizeof *m->joined));
    memcpy(m->result, m->joined, results(m) * sizeof *m->result);
    for (int k = 0; k < m->samples; k++) m->evaluation[k].bytes = (size_t)bytes[k];
    return PN_OK;
}

/* The sum over the units of all: what each counts follows from what all have found. */
static pn_status sum_units(pn_model *m) {
    const size_t trained = units_of(m) * sizeof *m->found;
    PN_TRY(pn_flights_gather(&m->flights));
    PN_TRY(pn_update_room(&m->update, &m->flights.flight[0].arena));
    if (m->owner) PN_TRY(meet(m));
    if (m->owner) PN_TRY(m->kernels->memory->upload(m->found, m->result, trained));
    return pn_update_sum(&m->update, m->found, m->settings.temperature, m->settings.skip_below);
}

static pn_status update(void *self, double rate) {
    pn_model *m = self;
    double since = pn_now();
    if (has_units(m)) PN_TRY(sum_units(m));
    const pn_status s = pn_update_apply(&m->update, sgd_of(m, rate));
    m->applied = true;
    m->times.update += pn_lap(&since);
    return s;
}

/* Over the shards, in their order. */
static void add_results(const pn_model *m, const pn_result *of, double *log_likelihood,
                        int64_t *correct) {
    for (int d = 0; d < m->settings.shards; d++) {
        *log_likelihood += of[d].log_likelihood;
        *correct += of[d].correct;
    }
}

static pn_status finish(void *self, int count, pn_evaluation *out, double *gradient_norm) {
    pn_model *m = self;
    const pn_memory *memory = m->kernels->memory;
    PN_TRY(check_dealt(m, count - 1));
    if (!m->met) PN_TRY(meet(m));
    PN_TRY(pn_update_read(&m->update));
    const bool skipped = m->applied && pn_update_skipped(&m->update);
    m->applied = false;
    if (m->update.arena)
        PN_TRY(memory->download(m->share, m->update.units.share, (size_t)count * sizeof *m->share));
    for (int k = 0; k < count; k++) {
        const pn_result *t = m->result + (found_of(m, TRAIN, k, 0) - m->found),
                        *v = m->result + (found_of(m, VALIDATE, k, 0) - m->found);
        out[k] = m->evaluation[k];
        out[k].skipped = skipped || (m->update.arena && m->share[k].skipped);
        add_results(m, t, &out[k].train_ll, &out[k].train_correct);
        add_results(m, v, &out[k].val_ll, &out[k].val_correct);
    }
    *gradient_norm = m->update.state.norm;
    m->times.all = pn_now() - m->begun;
    return PN_OK;
}

/* The first batches of a stream: what each shard of those finds that are ours. */
static pn_status run_scores(pn_model *m, const pn_arch *arch, pn_batches *batches, int stream,
                            int64_t steps, pn_group *group, pn_result *found) {
    const int shards = m->settings.shards;
    m->taken[VALIDATE] = -1; /* the batch at hand is none of a step's */
    m->place = &m->network.parameters;
    PN_TRY(compile(m, arch, NULL, false, m->found));
    for (int64_t step = pn_group_rank(group); step < steps; step += pn_group_size(group)) {
        pn_batch batch;
        double since = pn_now();
        PN_TRY(pn_batches_take(batches, stream, step, &batch));
        m->times.data += pn_lap(&since);
        PN_TRY(pn_device_batch_upload(&m->device_batch[VALIDATE], &batch));
        for (int d = 0; d < shards; d++) {
            PN_TRY(bind(m, VALIDATE, d, NULL));
            PN_TRY(forward(m));
            PN_TRY(
                m->kernels->memory->download(&found[step * shards + d], m->found, sizeof *found));
        }
    }
    return PN_OK;
}

/* Sums over them, in their order, whoever has run which. */
static pn_status sum_scores(pn_model *m, const pn_arch *arch, pn_batches *batches, int stream,
                            int64_t steps, pn_group *group, pn_evaluation *out) {
    const size_t count = (size_t)steps * (size_t)m->settings.shards;
    pn_result *found = calloc(count, sizeof *found);
    if (!found) return pn_fail(PN_EMEM, "model: no memory for the scores of %zu batches", count);
    pn_status s = run_scores(m, arch, batches, stream, steps, group, found);
    if (s == PN_OK) s = pn_group_join(group, found, count * sizeof *found);
    *out = (pn_evaluation){.bytes = m->size.arena_bytes};
    for (size_t i = 0; i < count; i++) {
        out->val_ll += found[i].log_likelihood;
        out->val_correct += found[i].correct;
    }
    free(found);
    return s;
}

static pn_status score(void *self, const pn_arch *arch, int64_t batches, pn_evaluation *out) {
    pn_model *m = self;
    begin_times(m);
    PN_TRY(sum_scores(m, arch, m->batches, VALIDATE, batches, m->settings.group, out));
    m->times.all = pn_now() - m->begun;
    return PN_OK;
}

/* ---- a supernet ------------------------------------------------------------------------------ */

/* The weights without those of `none`, which is no op of the supernet. */
static pn_status upload_weights(pn_model *m, const double *weight) {
    const int ops = m->network.space.ops;
    const size_t count = mix_weights(m);
    for (size_t i = 0; i < count; i++)
        m->mix_host[i] = (float)weight[i / (size_t)ops * (size_t)(1 + ops) + 1 + i % (size_t)ops];
    return m->kernels->memory->upload(m->mix_weight, m->mix_host, count * sizeof *m->mix_host);
}

/* That of all ops is the same in every pass, for either half: it is compiled once, until another
 * program takes its place. */
static pn_status compile_mixture(pn_model *m, const int8_t *chosen) {
    const pn_mix made = {
        .weight = chosen ? NULL : m->mix_weight, .dweight = m->mix_dweight, .chosen = chosen};
    const bool drops = m->mix_keep < 1;
    if (m->supernet && !chosen && m->supernet_drops == drops) return PN_OK;
    PN_TRY(compile(m, NULL, &made, true, m->found));
    m->supernet = !chosen;
    m->supernet_drops = drops;
    return PN_OK;
}

static pn_status drop(void *self, double keep) {
    pn_model *m = self;
    if (!m->mix_factor) return pn_fail(PN_EARG, "model: drop-path without a place for its factors");
    pn_network_drop_edges(&m->network, keep, m->settings.seed, m->step, m->factor_host,
                          m->settings.N);
    PN_TRY(m->kernels->memory->upload(m->mix_factor, m->factor_host,
                                      mix_factors(m) * sizeof *m->factor_host));
    m->mix_keep = keep;
    return PN_OK;
}

static pn_status mix(void *self, pn_step_half half, const double *weight, const int8_t *chosen) {
    pn_model *m = self;
    const int which = half == PN_STEP_TRAIN ? TRAIN : VALIDATE;
    PN_TRY(take_timed(m, which));
    if (!chosen) PN_TRY(upload_weights(m, weight));
    PN_TRY(m->kernels->memory->clear(m->mix_dweight, mix_dweights(m) * sizeof *m->mix_dweight));
    PN_TRY(compile_mixture(m, chosen));
    PN_TRY(bind(m, which, 0, pn_update_scale(&m->update, 0)));
    return learn(m, 0, m->found);
}

/* Each cell has its own gradients: they are added in double, cell after cell. */
static void sum_dweights(const pn_model *m, const float *dweight, double *of_weight) {
    const pn_space *s = &m->network.space;
    const int edges = pn_edges(s->nodes), layers = m->settings.network.layers;
    memset(of_weight, 0, (size_t)(s->kinds * edges * (1 + s->ops)) * sizeof *of_weight);
    for (int layer = 0; layer < layers; layer++) {
        const int kind = s->kinds == 1 ? PN_NORMAL : (int)pn_kind_at(layer, layers);
        for (int edge = 0; edge < edges; edge++)
            for (int op = 0; op < s->ops; op++)
                of_weight[(kind * edges + edge) * (1 + s->ops) + 1 + op] +=
                    (double)dweight[(layer * edges + edge) * s->ops + op];
    }
}

static pn_status mixed(void *self, pn_step_half half, pn_evaluation *out, double *of_weight) {
    pn_model *m = self;
    const pn_memory *memory = m->kernels->memory;
    float *dweight = m->mix_host + mix_weights(m);
    pn_result found;
    PN_TRY(memory->download(&found, m->found, sizeof found));
    PN_TRY(memory->download(dweight, m->mix_dweight, mix_dweights(m) * sizeof *dweight));
    sum_dweights(m, dweight, of_weight);
    *out = (pn_evaluation){.bytes = m->evaluation[0].bytes};
    *(half == PN_STEP_TRAIN ? &out->train_ll : &out->val_ll) = found.log_likelihood;
    *(half == PN_STEP_TRAIN ? &out->train_correct : &out->val_correct) = found.correct;
    m->times.all = pn_now() - m->begun;
    return PN_OK;
}

/* The next programs are bound to `ahead`, and give their gradient to `gradient`. */
static void stand_elsewhere(pn_model *m, float *gradient) {
    m->elsewhere = m->network.parameters;
    m->elsewhere.device.value = m->ahead;
    m->elsewhere.device.gradient = gradient;
    m->place = &m->elsewhere;
}

static pn_status ahead(void *self, double rate, double *norm) {
    pn_model *m = self;
    double since = pn_now();
    PN_TRY(pn_update_ahead(&m->update, sgd_of(m, rate), m->ahead, m->slope));
    PN_TRY(m->kernels->memory->clear(m->slope, pn_parameters_range_bytes(&m->network.parameters)));
    m->times.update += pn_lap(&since);
    stand_elsewhere(m, m->slope);
    *norm = m->update.state.norm;
    return PN_OK;
}

static pn_status aside(void *self, double step, double *norm) {
    pn_model *m = self;
    double since = pn_now();
    PN_TRY(pn_update_aside(&m->update, m->slope, (float)step, m->ahead));
    m->times.update += pn_lap(&since);
    stand_elsewhere(m, m->network.parameters.device.gradient);
    *norm = m->update.state.norm;
    return PN_OK;
}

pn_evaluator pn_model_evaluator(pn_model *m) {
    return (pn_evaluator){.self = m,
                          .batch = m->settings.N,
                          .network = &m->settings.network,
                          .begin = begin,
                          .deal = deal,
                          .train = train,
                          .validate = validate,
                          .update = update,
                          .finish = finish,
                          .renew = renew,
                          .score = score,
                          .mix = mix,
                          .mixed = mixed,
                          .ahead = m->ahead ? ahead : NULL,
                          .aside = m->ahead ? aside : NULL,
                          .drop = drop};
}

pn_status pn_model_score_on(pn_model *m, const pn_arch *arch, pn_batches *batches, int stream,
                            int64_t steps, double *log_likelihood, double *accuracy) {
    pn_evaluation sum;
    PN_TRY(sum_scores(m, arch, batches, stream, steps, NULL, &sum));
    const double images = (double)steps * m->settings.N;
    *log_likelihood = sum.val_ll / images;
    *accuracy = (double)sum.val_correct / images;
    return PN_OK;
}

pn_status pn_model_score(pn_model *m, const pn_arch *arch, int64_t steps, double *log_likelihood,
                         double *accuracy) {
    return pn_model_score_on(m, arch, m->batches, VALIDATE, steps, log_likelihood, accuracy);
}
