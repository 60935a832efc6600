/* trainer.c -- see trainer.h. */
#include "search/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "search/network/budget.h"

/* ---- setting up ------------------------------------------------------------------------------ */

static int shards_of(const pn_trainer *t) { return (int)t->settings.shards; }

/* Images of a shard, if a batch has N; of a batch that shards do not divide, of the larger ones. */
static int shard_of(const pn_trainer *t, int N) { return (N + shards_of(t) - 1) / shards_of(t); }

/* For batches of N. */
static pn_status build(pn_trainer *t, int N, pn_program_size *size) {
    const pn_train_settings *r = &t->settings;
    PN_TRY(pn_network_build(&t->network, &t->arch, t->training,
                            &(pn_build){.N = shard_of(t, N),
                                        .training = true,
                                        .recompute = r->recompute == 1,
                                        .guarded = pn_arena_checks(t->kernels->memory),
                                        .auxiliary = r->auxiliary,
                                        .auxiliary_weight = (float)r->auxiliary_weight,
                                        .drop_path = t->factor,
                                        .result = t->found}));
    return pn_program_compile(t->training, size);
}

/* Bytes of the arena: of training, and of scoring in between. */
static pn_status arena_bytes(pn_trainer *t, int N, size_t *bytes) {
    pn_program_size size;
    size_t inference;
    PN_TRY(build(t, N, &size));
    PN_TRY(pn_predict_bytes(&t->network, &t->arch, t->inference, t->kernels->memory, shard_of(t, N),
                            &inference));
    *bytes = size.arena_bytes > inference ? size.arena_bytes : inference;
    const size_t sum = shards_of(t) > 1 ? pn_units_arena_bytes(&t->network.parameters) : 0;
    if (sum > *bytes) *bytes = sum;
    return PN_OK;
}

/* Of a program that is built: each shard has a gradient of its own. */
static pn_status count_units(const pn_trainer *t, pn_unit_counts *units) {
    *units = (pn_unit_counts){.samples = 1,
                              .shards = shards_of(t),
                              .here = pn_units_most(shards_of(t), pn_group_size(t->group)),
                              .group = t->group};
    return pn_units_floats(&t->network.parameters, t->training, &units->floats);
}

static pn_status measure(void *self, int N, size_t *bytes) {
    pn_trainer *t = self;
    pn_unit_counts units;
    PN_TRY(arena_bytes(t, N, bytes));
    PN_TRY(count_units(t, &units));
    *bytes += pn_parameters_bytes(&t->network.parameters) + pn_network_batch_bytes(&t->network, N) +
              (units.shards > 1 ? pn_units_bytes(units) : 0);
    return PN_OK;
}

/* What each shard finds, at both heads. */
static size_t kept_bytes(const pn_trainer *t) { return 2 * (size_t)shards_of(t) * sizeof *t->kept; }

static pn_status allocate(pn_trainer *t, void **block, size_t bytes) {
    *block = NULL;
    return bytes ? t->kernels->memory->allocate(bytes, block) : PN_OK;
}

static pn_status start_batches(pn_trainer *t, const pn_data *data) {
    const pn_train_settings *r = &t->settings;
    const pn_batch_stream stream = {.half = r->hold_out ? PN_HALF_FIRST : PN_HALF_BOTH,
                                    .N = (int)r->batch,
                                    .augment = r->augment,
                                    .cutout = (int)r->cutout};
    PN_TRY(pn_batches_create(data, &stream, 1, r->seed, &t->batches));
    t->steps_per_epoch = pn_batches_steps_per_epoch(t->batches, 0);
    return PN_OK;
}

static pn_status check_ranks(const pn_trainer *t) {
    const int ranks = pn_group_size(t->group);
    return ranks <= shards_of(t)
               ? PN_OK
               : pn_fail(PN_EARG, "%d ranks, want at most the %d of --shards", ranks, shards_of(t));
}

static pn_status create(pn_trainer *t, const pn_data *data, size_t limit) {
    const pn_train_settings *r = &t->settings;
    const pn_memory *memory = t->kernels->memory;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = pn_train_network(r, data);
    const int N = (int)r->batch, shards = shards_of(t);
    pn_unit_counts units;
    size_t bytes;
    void *block;
    PN_TRY(check_ranks(t));
    PN_TRY(pn_train_arch(r, &t->arch));
    PN_TRY(pn_network_create(&t->network, &spec, &space, &t->arch));
    t->network.parameters.no_gradient = shards > 1;
    PN_TRY(pn_program_create(&t->training, t->kernels));
    PN_TRY(pn_program_create(&t->inference, t->kernels));
    PN_TRY(pn_budget_check(measure, t, "this network", N, shards, limit, memory));
    PN_TRY(arena_bytes(t, N, &bytes));
    PN_TRY(pn_arena_create(&t->arena, memory, bytes, 0));
    PN_TRY(pn_parameters_allocate(&t->network.parameters, memory));
    pn_parameters_init(&t->network.parameters, r->seed);
    PN_TRY(pn_parameters_push(&t->network.parameters));
    PN_TRY(count_units(t, &units));
    PN_TRY(pn_update_create(&t->update, t->kernels, &t->network.parameters,
                            shards > 1 ? &units : NULL));
    if (data->images) PN_TRY(start_batches(t, data));
    PN_TRY(pn_device_batch_create(&t->device_batch, memory, N,
                                  (size_t)data->H * (size_t)data->W * (size_t)data->C));
    PN_TRY(allocate(t, &block, 2 * sizeof *t->found));
    t->found = block;
    if (shards > 1) PN_TRY(allocate(t, &block, kept_bytes(t)));
    if (shards > 1) t->kept = block;
    t->result = calloc(2 * (size_t)shards, sizeof *t->result);
    if (!t->result) return pn_fail(PN_EMEM, "trainer: no memory for %d shards", shards);
    if (r->drop_path > 0)
        t->factors = (size_t)r->layers * (size_t)space.nodes * (size_t)t->network.slots *
                     (size_t)shard_of(t, N);
    PN_TRY(allocate(t, &block, t->factors * sizeof(float)));
    t->factor = block;
    if (t->factors) {
        PN_TRY(memory->stage(2 * (size_t)shards * t->factors * sizeof(float), &block));
        t->staging = block;
    }
    PN_TRY(pn_group_room(t->group, kept_bytes(t), memory, t->network.parameters.floats));
    return build(t, N, &t->size);
}

pn_status pn_trainer_create(pn_trainer *t, const pn_kernels *kernels,
                            const pn_train_settings *settings, const pn_data *data, size_t memory,
                            pn_group *group) {
    *t = (pn_trainer){.kernels = kernels, .settings = *settings, .group = group};
    const pn_status s = create(t, data, memory);
    if (s != PN_OK) pn_trainer_destroy(t);
    return s;
}

void pn_trainer_destroy(pn_trainer *t) {
    pn_batches_free(t->batches);
    pn_device_batch_destroy(&t->device_batch);
    if (t->kernels) {
        t->kernels->memory->release(t->found);
        t->kernels->memory->release(t->kept);
        t->kernels->memory->release(t->factor);
        t->kernels->memory->unstage(t->staging);
    }
    free(t->result);
    pn_program_destroy(t->training);
    pn_program_destroy(t->inference);
    pn_arena_destroy(&t->arena);
    pn_update_destroy(&t->update);
    pn_network_destroy(&t->network);
    *t = (pn_trainer){0};
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Which terms are dropped in shard d of this step. */
static pn_status drop_paths(pn_trainer *t, int d, double dropped) {
    const pn_memory *memory = t->kernels->memory;
    const int half = (int)(t->step & 1), shards = shards_of(t);
    float *from = t->staging + ((size_t)half * (size_t)shards + (size_t)d) * t->factors;
    if (!t->factors) return PN_OK;
    if (d == pn_group_rank(t->group)) PN_TRY(memory->wait(t->mark[half])); /* our first */
    pn_network_drop_path(&t->network, &t->arch, 1 - dropped, t->settings.seed, t->step * shards + d,
                         from, shard_of(t, (int)t->settings.batch));
    PN_TRY(memory->upload(t->factor, from, t->factors * sizeof *from));
    return memory->mark(&t->mark[half]);
}

void pn_trainer_forget(pn_trainer *t) { t->bound = (pn_batch){0}; }

/* To the batch on the device, or a shard of it. */
static pn_status bind(pn_trainer *t, const pn_batch *here, const float *scale) {
    if (t->bound.x == here->x && t->bound.labels == here->labels) return PN_OK;
    pn_trainer_forget(t);
    PN_TRY(pn_program_bind(t->training, &t->arena, &t->network.parameters, here->x, here->labels,
                           scale));
    t->bound = *here;
    return PN_OK;
}

/* The batch in one pass. */
static pn_status learn(pn_trainer *t, double dropped) {
    PN_TRY(bind(t, &t->device_batch.batch, pn_update_scale(&t->update, 0)));
    PN_TRY(drop_paths(t, 0, dropped));
    PN_TRY(pn_update_begin(&t->update));
    double since = pn_now();
    PN_TRY(pn_program_forward(t->training));
    t->times.forward += pn_lap(&since);
    PN_TRY(
        pn_update_sample(&t->update, 0, t->training, t->found, 1, 0)); /* the only one: weight 1 */
    t->times.update += pn_lap(&since);
    const pn_status s = pn_program_backward(t->training);
    t->times.backward += pn_lap(&since);
    return s;
}

static pn_status keep_found(const pn_trainer *t, int d) {
    const pn_memory *memory = t->kernels->memory;
    PN_TRY(memory->copy(&t->kept[d], t->found, sizeof *t->found));
    if (!t->settings.auxiliary) return PN_OK;
    return memory->copy(&t->kept[shards_of(t) + d], t->found + 1, sizeof *t->found);
}

static pn_status learn_shard(pn_trainer *t, int d, double dropped) {
    const int N = shard_of(t, (int)t->settings.batch);
    const pn_batch *all = &t->device_batch.batch;
    const size_t before = (size_t)d * (size_t)N;
    PN_TRY(pn_units_take(&t->update.units, 0, d, t->training));
    pn_trainer_forget(t);
    PN_TRY(bind(
        t, &(pn_batch){N, all->x + before * t->device_batch.image_floats, all->labels + before},
        pn_update_full_scale(&t->update)));
    PN_TRY(drop_paths(t, d, dropped));
    double since = pn_now();
    PN_TRY(pn_program_forward(t->training));
    t->times.forward += pn_lap(&since);
    const pn_status s = pn_program_backward(t->training);
    t->times.backward += pn_lap(&since);
    PN_TRY(s);
    PN_TRY(pn_update_unscale(&t->update, 0, d));
    return keep_found(t, d);
}

/* What all have found, in one call. */
static pn_status meet(pn_trainer *t) {
    const pn_memory *memory = t->kernels->memory;
    if (!t->group) return PN_OK;
    PN_TRY(memory->download(t->result, t->kept, kept_bytes(t)));
    PN_TRY(pn_group_join(t->group, t->result, kept_bytes(t)));
    return memory->upload(t->kept, t->result, kept_bytes(t));
}

static pn_status learn_shards(pn_trainer *t, double dropped) {
    PN_TRY(pn_update_begin(&t->update));
    if (t->group) PN_TRY(t->kernels->memory->clear(t->kept, kept_bytes(t)));
    for (int d = pn_group_rank(t->group); d < shards_of(t); d += pn_group_size(t->group))
        PN_TRY(learn_shard(t, d, dropped));
    PN_TRY(pn_update_room(&t->update, &t->arena));
    PN_TRY(meet(t));
    double since = pn_now();
    const pn_status s = pn_update_sum(&t->update, t->kept, 1, 0);
    t->times.update += pn_lap(&since);
    return s;
}

/* Sums over the shards, in their order; losses of equally many images each. */
static pn_status read_results(pn_trainer *t, pn_train_report *report) {
    const int shards = shards_of(t), heads = t->settings.auxiliary ? 2 : 1;
    PN_TRY(t->kernels->memory->download(t->result, t->kept ? t->kept : t->found,
                                        (size_t)heads * (size_t)shards * sizeof *t->result));
    PN_TRY(pn_update_read(&t->update));
    const bool skipped = pn_update_skipped(&t->update);
    *report = (pn_train_report){.images = (int)t->settings.batch,
                                .gradient_norm = t->update.state.norm,
                                .skipped = skipped};
    for (int d = 0; d < shards; d++) {
        report->correct += t->result[d].correct;
        report->loss += t->result[d].loss;
        if (heads > 1) report->auxiliary_loss += t->result[shards + d].loss;
    }
    report->loss /= shards;
    report->auxiliary_loss /= shards;
    return PN_OK;
}

pn_status pn_trainer_step_on(pn_trainer *t, const pn_batch *batch, double rate, double dropped,
                             pn_train_report *report) {
    const pn_train_settings *r = &t->settings;
    PN_TRY(pn_device_batch_upload(&t->device_batch, batch));
    PN_TRY(shards_of(t) > 1 ? learn_shards(t, dropped) : learn(t, dropped));
    double since = pn_now();
    PN_TRY(pn_update_apply(&t->update, (pn_sgd){.rate = (float)rate,
                                                .momentum = (float)r->momentum,
                                                .decay = (float)r->decay,
                                                .clip = (float)r->clip}));
    t->times.update += pn_lap(&since);
    t->times.images += r->batch;
    PN_TRY(read_results(t, report));
    if (!isfinite(report->loss) || !isfinite(report->gradient_norm))
        return pn_fail(PN_EDIVERGED, "step %lld: the loss or its gradient is not finite",
                       (long long)t->step);
    t->step++;
    return PN_OK;
}

pn_status pn_trainer_step(pn_trainer *t, pn_train_report *report) {
    const int64_t epoch = t->step / t->steps_per_epoch;
    pn_batch batch;
    double since = pn_now();
    PN_TRY(pn_batches_take(t->batches, 0, t->step, &batch));
    t->times.data += pn_lap(&since);
    return pn_trainer_step_on(t, &batch, pn_train_rate(&t->settings, epoch),
                              pn_train_drop_path(&t->settings, epoch), report);
}

pn_status pn_trainer_predict(pn_trainer *t, const pn_data *data, pn_half half,
                             pn_predictions *out) {
    pn_trainer_forget(t);
    return pn_predict(t->kernels, &t->network, &t->arch, t->inference, &t->arena,
                      shard_of(t, (int)t->settings.batch), data, half, t->settings.seed, t->group,
                      out);
}
