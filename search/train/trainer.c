/* trainer.c -- see trainer.h. */
#include "search/train/trainer.h"

#include <math.h>
#include <string.h>

#include "runtime/clock.h"
#include "search/network/budget.h"

/* ---- setting up ------------------------------------------------------------------------------ */

static pn_status build(pn_trainer *t, int N, pn_program_size *size) {
    const pn_train_settings *r = &t->settings;
    PN_TRY(pn_network_build(&t->network, &t->arch, t->training,
                            &(pn_build){.N = N,
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
    PN_TRY(
        pn_predict_bytes(&t->network, &t->arch, t->inference, t->kernels->memory, N, &inference));
    *bytes = size.arena_bytes > inference ? size.arena_bytes : inference;
    return PN_OK;
}

static pn_status measure(void *self, int N, size_t *bytes) {
    pn_trainer *t = self;
    PN_TRY(arena_bytes(t, N, bytes));
    *bytes +=
        pn_parameters_bytes(&t->network.parameters) + pn_network_batch_bytes(&t->network.spec, N);
    return PN_OK;
}

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

static pn_status create(pn_trainer *t, const pn_data *data, size_t limit) {
    const pn_train_settings *r = &t->settings;
    const pn_memory *memory = t->kernels->memory;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = pn_train_network(r, data);
    const int N = (int)r->batch;
    size_t bytes;
    void *block;
    PN_TRY(pn_train_arch(r, &t->arch));
    PN_TRY(pn_network_create(&t->network, &spec, &space, &t->arch));
    PN_TRY(pn_program_create(&t->training, t->kernels));
    PN_TRY(pn_program_create(&t->inference, t->kernels));
    PN_TRY(pn_budget_check(measure, t, "this network", N, limit, memory->available()));
    PN_TRY(arena_bytes(t, N, &bytes));
    PN_TRY(pn_arena_create(&t->arena, memory, bytes, 0));
    PN_TRY(pn_parameters_allocate(&t->network.parameters, memory));
    pn_parameters_init(&t->network.parameters, r->seed);
    PN_TRY(pn_parameters_push(&t->network.parameters));
    PN_TRY(pn_update_create(&t->update, t->kernels, &t->network.parameters));
    if (data->images) PN_TRY(start_batches(t, data));
    PN_TRY(pn_device_batch_create(&t->device_batch, memory, N,
                                  (size_t)data->H * (size_t)data->W * (size_t)data->C));
    PN_TRY(allocate(t, &block, 2 * sizeof *t->found));
    t->found = block;
    if (r->drop_path > 0)
        t->factors = (size_t)r->layers * (size_t)space.nodes * PN_NODE_TERMS * (size_t)N;
    PN_TRY(allocate(t, &block, t->factors * sizeof(float)));
    t->factor = block;
    if (t->factors) {
        PN_TRY(memory->stage(2 * t->factors * sizeof(float), &block));
        t->staging = block;
    }
    return build(t, N, &t->size);
}

pn_status pn_trainer_create(pn_trainer *t, const pn_kernels *kernels,
                            const pn_train_settings *settings, const pn_data *data, size_t memory) {
    *t = (pn_trainer){.kernels = kernels, .settings = *settings};
    const pn_status s = create(t, data, memory);
    if (s != PN_OK) pn_trainer_destroy(t);
    return s;
}

void pn_trainer_destroy(pn_trainer *t) {
    pn_batches_free(t->batches);
    pn_device_batch_destroy(&t->device_batch);
    if (t->kernels) {
        t->kernels->memory->release(t->found);
        t->kernels->memory->release(t->factor);
        t->kernels->memory->unstage(t->staging);
    }
    pn_program_destroy(t->training);
    pn_program_destroy(t->inference);
    pn_arena_destroy(&t->arena);
    pn_update_destroy(&t->update);
    pn_network_destroy(&t->network);
    *t = (pn_trainer){0};
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Which terms are dropped in this step. */
static pn_status drop_paths(pn_trainer *t, double dropped) {
    const pn_memory *memory = t->kernels->memory;
    const int half = (int)(t->step & 1);
    float *from = t->staging + (size_t)half * t->factors;
    if (!t->factors) return PN_OK;
    PN_TRY(memory->wait(t->mark[half]));
    pn_network_drop_path(&t->network, &t->arch, 1 - dropped, t->settings.seed, t->step, from,
                         (int)t->settings.batch);
    PN_TRY(memory->upload(t->factor, from, t->factors * sizeof *from));
    return memory->mark(&t->mark[half]);
}

void pn_trainer_forget(pn_trainer *t) { t->bound = (pn_batch){0}; }

static pn_status bind(pn_trainer *t, const pn_batch *batch) {
    PN_TRY(pn_device_batch_upload(&t->device_batch, batch));
    const pn_batch *here = &t->device_batch.batch;
    if (t->bound.x == here->x && t->bound.labels == here->labels) return PN_OK;
    pn_trainer_forget(t);
    PN_TRY(pn_program_bind(t->training, &t->arena, &t->network.parameters, here->x, here->labels,
                           pn_update_scale(&t->update)));
    t->bound = *here;
    return PN_OK;
}

pn_status pn_trainer_step_on(pn_trainer *t, const pn_batch *batch, double rate, double dropped,
                             pn_train_report *report) {
    const pn_train_settings *r = &t->settings;
    pn_result found[2] = {{0}};
    PN_TRY(bind(t, batch));
    PN_TRY(drop_paths(t, dropped));
    PN_TRY(pn_update_begin(&t->update));
    double since = pn_now();
    PN_TRY(pn_program_forward(t->training));
    t->times.forward += pn_lap(&since);
    PN_TRY(pn_update_sample(&t->update, t->training, t->found, 1, 0)); /* the only one: weight 1 */
    t->times.update += pn_lap(&since);
    PN_TRY(pn_program_backward(t->training));
    t->times.backward += pn_lap(&since);
    PN_TRY(pn_update_apply(&t->update, (pn_sgd){.rate = (float)rate,
                                                .momentum = (float)r->momentum,
                                                .decay = (float)r->decay,
                                                .clip = (float)r->clip}));
    t->times.update += pn_lap(&since);
    t->times.images += r->batch;
    PN_TRY(
        t->kernels->memory->download(found, t->found, (r->auxiliary ? 2 : 1) * sizeof *t->found));
    PN_TRY(pn_update_read(&t->update));
    *report = (pn_train_report){.images = (int)r->batch,
                                .correct = found[0].correct,
                                .loss = found[0].loss,
                                .auxiliary_loss = found[1].loss,
                                .gradient_norm = t->update.state.norm};
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
                      (int)t->settings.batch, data, half, t->settings.seed, out);
}
