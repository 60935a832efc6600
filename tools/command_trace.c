/* command_trace.c -- one batch forward and backward with given weights through either network,
 * everything to files, so that anybody can compare with another framework. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "runtime/batches.h"
#include "runtime/device_batch.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"
#include "runtime/times.h"
#include "runtime/update.h"
#include "search/export/page.h"
#include "search/methods/cost.h"
#include "search/network/weights.h"
#include "search/rundir/directory.h"
#include "tools/commands.h"
#include "tools/progress.h"

static const char usage[] =
    "parsec-nas trace --genotype G --data D --out DIR [OPTIONS]\n"
    "parsec-nas trace --genotype G --input x.npy --labels y.npy --out DIR [OPTIONS]\n"
    "\n"
    "Runs one batch forward and backward through the search network, or with\n"
    "--network eval through the evaluation network, and writes to DIR\n"
    "  weights.safetensors    the weights, in PyTorch's shapes; names are\n"
    "                         cells.I.nodes.J.input.M.OP.dw1.weight ..., of an\n"
    "                         evaluation network those of the public DARTS code\n"
    "  input.npy, labels.npy  float32, normalised, (N,C,H,W); int64 (N)\n"
    "  logits.npy             float32 (N,classes)\n"
    "  gradients.safetensors  of the mean cross-entropy (with --auxiliary, plus\n"
    "                         --auxiliary-weight times the auxiliary loss); zero\n"
    "                         where the loss does not depend on a weight\n"
    "  trace.json             loss (mean cross-entropy), log_likelihood (minus its\n"
    "                         sum), correct; with --repeat also forward_ms, step_ms\n"
    "                         (medians) and peak_bytes\n"
    "  launches.csv           with --repeat: the median time of each launch, when\n"
    "                         each is timed alone\n"
    "and of an evaluation network\n"
    "  running.safetensors    BatchNorm's running statistics after the pass\n"
    "  logits_auxiliary.npy   with --auxiliary; loss_auxiliary is in trace.json\n"
    "  drop_path.npy          with --drop-path: a copy\n"
    "--mode inference runs the forward pass alone, with the running statistics of\n"
    "the weights.\n"
    "\n";

typedef struct options {
    const char *genotype, *network, *mode, *stem, *data, *input, *labels, *weights, *drop_path,
        *out;
    int layers, channels, batch, classes, repeat, image[3];
    double auxiliary_weight, smoothing;
    uint64_t seed;
    bool init_only, auxiliary, pool_norm;
    bool evaluation, training; /* what network and mode say */
    pn_device_options device;
} options;
static options o;

/* The batch as the kernels want it. */
typedef struct sample {
    int N, H, W, C, classes;
    float *x;        /* (N,H,W,C) */
    int32_t *labels; /* (N) */
} sample;

typedef struct tracer {
    const pn_kernels *kernels;
    pn_arch arch;
    char genotype[PN_GENOTYPE_BYTES];
    sample batch;
    pn_network network;
    pn_program *program;
    pn_arena arena;
    pn_update update;
    pn_device_batch feed;
    pn_result *found; /* in memory of the device: the classifier's and the auxiliary head's */
    pn_array drop_path;
    float *factors; /* the same in memory of the device */
    bool *used;
    pn_program_size size;
    pn_result result[2];
} tracer;

/* ---- the batch ------------------------------------------------------------------------------- */

static pn_status allocate(sample *b) {
    const size_t pixels = (size_t)b->N * (size_t)b->H * (size_t)b->W * (size_t)b->C;
    b->x = aligned_alloc(64, (pixels * sizeof *b->x + 63) / 64 * 64);
    b->labels = malloc((size_t)b->N * sizeof *b->labels);
    return b->x && b->labels ? PN_OK : pn_fail(PN_EMEM, "no memory for a batch of %d images", b->N);
}

static pn_status batch_from_data(sample *b) {
    pn_data data = {0};
    pn_batches *batches = NULL;
    pn_batch batch;
    PN_TRY(pn_data_open(o.data, PN_TRAIN, &data));
    const pn_batch_stream stream = {.half = PN_HALF_BOTH, .N = o.batch, .in_order = true};
    pn_status s = pn_batches_create(&data, &stream, 1, o.seed, &batches);
    if (s == PN_OK) s = pn_batches_take(batches, 0, 0, &batch);
    if (s == PN_OK) {
        *b = (sample){.N = batch.n, .H = data.H, .W = data.W, .C = data.C, .classes = data.classes};
        s = allocate(b);
    }
    if (s == PN_OK) {
        memcpy(b->x, batch.x,
               (size_t)b->N * (size_t)b->H * (size_t)b->W * (size_t)b->C * sizeof *b->x);
        memcpy(b->labels, batch.labels, (size_t)b->N * sizeof *b->labels);
    }
    pn_batches_free(batches);
    pn_data_free(&data);
    return s;
}

static pn_status check_images(const char *path, const pn_array *x) {
    if (x->dtype != PN_F32 || x->rank != 4)
        return pn_fail(PN_EINPUT, "%s: %s of shape %s, want F32 of shape (N,C,H,W)", path,
                       pn_dtype_name(x->dtype), pn_shape_text(x->rank, x->shape));
    if (x->shape[0] < 1 || x->shape[0] > 1 << 20 || (x->shape[1] != 1 && x->shape[1] != 3) ||
        x->shape[2] < 1 || x->shape[2] > 4096 || x->shape[3] < 1 || x->shape[3] > 4096)
        return pn_fail(PN_EINPUT,
                       "%s: shape %s, want N at least 1, C 1 or 3, H and W from 1 to 4096", path,
                       pn_shape_text(x->rank, x->shape));
    return PN_OK;
}

static pn_status read_labels(const char *path, const pn_array *y, sample *b) {
    if ((y->dtype != PN_I64 && y->dtype != PN_I32) || y->rank != 1 || y->shape[0] != b->N)
        return pn_fail(PN_EINPUT, "%s: %s of shape %s, want I64 of shape (%d)", path,
                       pn_dtype_name(y->dtype), pn_shape_text(y->rank, y->shape), b->N);
    for (int i = 0; i < b->N; i++) {
        const int64_t label =
            y->dtype == PN_I64 ? ((const int64_t *)y->data)[i] : ((const int32_t *)y->data)[i];
        if (label < 0 || label >= b->classes)
            return pn_fail(PN_EINPUT, "%s: label %lld of image %d, want 0 to %d (see --classes)",
                           path, (long long)label, i, b->classes - 1);
        b->labels[i] = (int32_t)label;
    }
    return PN_OK;
}

static pn_status batch_from_files(sample *b) {
    pn_array x = {0}, y = {0};
    PN_TRY(pn_npy_read(o.input, &x));
    pn_status s = check_images(o.input, &x);
    if (s == PN_OK) {
        *b = (sample){.N = (int)x.shape[0],
                      .C = (int)x.shape[1],
                      .H = (int)x.shape[2],
                      .W = (int)x.shape[3],
                      .classes = o.classes};
        s = allocate(b);
    }
    const size_t plane = (size_t)b->H * (size_t)b->W, C = (size_t)b->C;
    for (size_t i = 0; s == PN_OK && i < (size_t)b->N * C * plane; i++)
        b->x[(i / plane / C * plane + i % plane) * C + i / plane % C] = ((const float *)x.data)[i];
    pn_npy_free(&x);
    if (s == PN_OK) s = pn_npy_read(o.labels, &y);
    if (s == PN_OK) s = read_labels(o.labels, &y, b);
    pn_npy_free(&y);
    return s;
}

static pn_status read_drop_path(tracer *t) {
    const char *path = o.drop_path;
    pn_array *f = &t->drop_path;
    PN_TRY(pn_npy_read(path, f));
    if (f->dtype != PN_F32 || f->rank != 4 || f->shape[0] != o.layers ||
        f->shape[1] != t->network.space.nodes || f->shape[2] != t->network.slots ||
        f->shape[3] != t->batch.N)
        return pn_fail(PN_EINPUT, "%s: %s of shape %s, want F32 of shape (%d,%d,%d,%d)", path,
                       pn_dtype_name(f->dtype), pn_shape_text(f->rank, f->shape), o.layers,
                       t->network.space.nodes, t->network.slots, t->batch.N);
    return PN_OK;
}

/* ---- files out ------------------------------------------------------------------------------- */

static pn_status path_of(const char *name, char path[PN_PATH_BYTES]) {
    return pn_path_join(path, PN_PATH_BYTES, o.out, name);
}

/* The tensors that the genotype uses, from one of the three ranges. */
static pn_status write_tensors(const tracer *t, const char *name, const float *range,
                               unsigned roles) {
    char path[PN_PATH_BYTES];
    const pn_meta meta = {"genotype", t->genotype};
    pn_tensors tensors = {0};
    PN_TRY(path_of(name, path));
    pn_status s = pn_tensors_add(&tensors, &t->network.parameters, range, "", t->used, roles);
    if (s == PN_OK) s = pn_safetensors_write(path, tensors.list, tensors.count, &meta, 1);
    pn_tensors_free(&tensors);
    return s;
}

static pn_status write_weights(const tracer *t) {
    static const char name[] = "weights.safetensors";
    char path[PN_PATH_BYTES];
    PN_TRY(path_of(name, path));
    return o.evaluation ? pn_weights_save(NULL, path, &t->network, &t->arch, NULL, 0, true)
                        : write_tensors(t, name, t->network.parameters.value, PN_ALL_ROLES);
}

static pn_status write_npy(const char *name, pn_array array) {
    char path[PN_PATH_BYTES];
    PN_TRY(path_of(name, path));
    return pn_npy_write(path, &array);
}

static pn_status write_batch(const tracer *t) {
    const sample *b = &t->batch;
    const size_t plane = (size_t)b->H * (size_t)b->W, C = (size_t)b->C,
                 pixels = (size_t)b->N * C * plane;
    float *x = malloc(pixels * sizeof *x);
    int64_t *labels = malloc((size_t)b->N * sizeof *labels);
    pn_status s = x && labels ? PN_OK : pn_fail(PN_EMEM, "no memory for the batch");
    if (s == PN_OK) {
        for (size_t i = 0; i < pixels; i++)
            x[i] = b->x[(i / plane / C * plane + i % plane) * C + i / plane % C];
        for (int i = 0; i < b->N; i++) labels[i] = b->labels[i];
        s = write_npy(
            "input.npy",
            (pn_array){.dtype = PN_F32, .rank = 4, .shape = {b->N, b->C, b->H, b->W}, .data = x});
    }
    if (s == PN_OK)
        s = write_npy("labels.npy",
                      (pn_array){.dtype = PN_I64, .rank = 1, .shape = {b->N}, .data = labels});
    free(x);
    free(labels);
    return s;
}

/* ---- running --------------------------------------------------------------------------------- */

static pn_status read_weights(tracer *t) {
    pn_safetensors *f = NULL;
    const pn_parameters *p = &t->network.parameters;
    pn_status s = pn_safetensors_read(o.weights, &f);
    if (s == PN_OK) s = pn_weights_get(f, p, p->value, "", t->used, PN_ALL_ROLES);
    pn_safetensors_free(f);
    return s;
}

/* Forward, weight 1, backward: the gradient of the mean loss is in the gradient range. */
static pn_status pass(tracer *t) {
    if (!o.training) return pn_program_forward(t->program);
    PN_TRY(pn_update_begin(&t->update));
    PN_TRY(pn_program_forward(t->program));
    PN_TRY(pn_update_sample(&t->update, 0, t->program, t->found, 1, 0));
    return pn_program_backward(t->program);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *ms, int n) {
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    return n % 2 ? ms[n / 2] : (ms[n / 2 - 1] + ms[n / 2]) / 2;
}

/* Until all that was queued is done. */
static pn_status wait(const tracer *t) {
    int64_t mark;
    PN_TRY(t->kernels->memory->mark(&mark));
    return t->kernels->memory->wait(mark);
}

static pn_status time_passes(tracer *t, double *forward_ms, double *step_ms) {
    const int n = o.repeat;
    double *ms = malloc((size_t)n * sizeof *ms);
    if (!ms) return pn_fail(PN_EMEM, "no memory for %d timings", n);
    pn_status s = PN_OK;
    for (int i = 0; s == PN_OK && i < n; i++) {
        const double start = pn_now();
        s = pn_program_forward(t->program);
        if (s == PN_OK) s = wait(t);
        ms[i] = 1e3 * (pn_now() - start);
    }
    if (s == PN_OK) *forward_ms = median(ms, n);
    for (int i = 0; s == PN_OK && i < n && o.training; i++) {
        const double start = pn_now();
        s = pass(t);
        if (s == PN_OK)
            s = pn_update_apply(
                &t->update, (pn_sgd){.rate = 0.025F, .momentum = 0.9F, .decay = 3e-4F, .clip = 5});
        if (s == PN_OK) s = wait(t);
        ms[i] = 1e3 * (pn_now() - start);
    }
    if (s == PN_OK && o.training) *step_ms = median(ms, n);
    free(ms);
    return s;
}

/* ms[l * n + i]: of launch l in the i-th pass. */
static pn_status time_each(tracer *t, int launches, double *ms) {
    const int n = o.repeat;
    double *once = calloc((size_t)launches, sizeof *once);
    pn_status s = once ? PN_OK : pn_fail(PN_EMEM, "no memory for %d times", launches);
    for (int i = 0; s == PN_OK && i < n; i++) {
        s = pn_update_begin(&t->update);
        if (s == PN_OK) s = pn_program_time(t->program, false, once);
        if (s == PN_OK && o.training)
            s = pn_update_sample(&t->update, 0, t->program, t->found, 1, 0);
        if (s == PN_OK && o.training)
            s = pn_program_time(t->program, true, once + t->size.launches_fwd);
        for (int l = 0; l < launches; l++) ms[(size_t)l * (size_t)n + (size_t)i] = once[l];
    }
    free(once);
    return s;
}

static pn_status write_launches(tracer *t) {
    const size_t n = (size_t)o.repeat;
    const int launches = t->size.launches_fwd + t->size.launches_bwd;
    char path[PN_PATH_BYTES], *text = NULL;
    size_t bytes = 0;
    pn_page page = {0};
    double *ms = calloc((size_t)launches, n * sizeof *ms);
    pn_status s = ms ? time_each(t, launches, ms)
                     : pn_fail(PN_EMEM, "no memory for times of %d launches", launches);
    if (s == PN_OK) {
        pn_page_put(&page, "launch,op,pass,jobs,us\n");
        for (int l = 0; l < launches; l++) {
            const pn_job_look look = pn_program_job(t->program, l, 0);
            pn_page_put(&page, "%d,%s,%s,%d,%.3f\n", l, pn_family_name[look.family],
                        look.backward ? "bwd" : "fwd", pn_program_jobs(t->program, l),
                        1e3 * median(ms + (size_t)l * n, o.repeat));
        }
        s = pn_page_finish(&page, "launches.csv", &text, &bytes);
    }
    free(ms);
    if (s == PN_OK) s = path_of("launches.csv", path);
    if (s == PN_OK) s = pn_file_write(path, text, bytes);
    free(text);
    return s;
}

static pn_status write_json(const tracer *t, double forward_ms, double step_ms) {
    const sample *b = &t->batch;
    struct rusage self;
    getrusage(RUSAGE_SELF, &self);
    json_t *root = json_object();
    int failed = 0;
    failed |= json_object_set_new(root, "genotype", json_string(t->genotype));
    failed |= json_object_set_new(root, "network", json_string(o.network));
    failed |= json_object_set_new(root, "layers", json_integer(o.layers));
    failed |= json_object_set_new(root, "channels", json_integer(o.channels));
    failed |= json_object_set_new(root, "classes", json_integer(b->classes));
    failed |= json_object_set_new(root, "batch", json_integer(b->N));
    failed |= json_object_set_new(root, "image", json_pack("[iii]", b->H, b->W, b->C));
    failed |= json_object_set_new(root, "device", json_string(t->kernels->name));
    failed |= json_object_set_new(root, "smoothing", pn_json_number(o.smoothing));
    if (o.evaluation) {
        failed |= json_object_set_new(root, "mode", json_string(o.mode));
        failed |= json_object_set_new(root, "stem", json_string(o.stem));
        failed |= json_object_set_new(root, "auxiliary", json_boolean(o.auxiliary));
        failed |= json_object_set_new(root, "pool_norm", json_boolean(o.pool_norm));
    }
    failed |= json_object_set_new(root, "loss", pn_json_number(t->result[0].loss));
    failed |=
        json_object_set_new(root, "log_likelihood", pn_json_number(t->result[0].log_likelihood));
    failed |= json_object_set_new(root, "correct", json_integer(t->result[0].correct));
    if (o.auxiliary) {
        failed |= json_object_set_new(root, "auxiliary_weight", pn_json_number(o.auxiliary_weight));
        failed |= json_object_set_new(root, "loss_auxiliary", pn_json_number(t->result[1].loss));
    }
    failed |=
        json_object_set_new(root, "parameter_bytes",
                            json_integer((json_int_t)pn_parameters_bytes(&t->network.parameters)));
    failed |=
        json_object_set_new(root, "arena_bytes", json_integer((json_int_t)t->size.arena_bytes));
    if (o.repeat) {
        failed |= json_object_set_new(root, "repeat", json_integer(o.repeat));
        failed |= json_object_set_new(root, "forward_ms", pn_json_number(forward_ms));
        if (o.training) failed |= json_object_set_new(root, "step_ms", pn_json_number(step_ms));
    }
    failed |=
        json_object_set_new(root, "peak_bytes", json_integer((json_int_t)self.ru_maxrss * 1024));
    char *text, path[PN_PATH_BYTES];
    PN_TRY(pn_json_file(root, failed, JSON_INDENT(2) | PN_JSON_EXACT, &text));
    pn_status s = path_of("trace.json", path);
    if (s == PN_OK) s = pn_file_write(path, text, strlen(text));
    free(text);
    return s;
}

static pn_status write_logits(const tracer *t, int head, const char *name) {
    const sample *b = &t->batch;
    const size_t bytes = (size_t)b->N * (size_t)b->classes * sizeof(float);
    float *logits = malloc(bytes);
    if (!logits) return pn_fail(PN_EMEM, "no memory for logits");
    pn_status s = t->kernels->memory->download(logits, pn_program_logits(t->program, head), bytes);
    if (s == PN_OK)
        s = write_npy(
            name,
            (pn_array){.dtype = PN_F32, .rank = 2, .shape = {b->N, b->classes}, .data = logits});
    free(logits);
    return s;
}

static pn_status write_outcome(tracer *t) {
    const pn_parameters *p = &t->network.parameters;
    PN_TRY(write_batch(t));
    PN_TRY(write_logits(t, 0, "logits.npy"));
    if (o.auxiliary) PN_TRY(write_logits(t, 1, "logits_auxiliary.npy"));
    if (o.drop_path) PN_TRY(write_npy("drop_path.npy", t->drop_path));
    PN_TRY(pn_parameters_pull(p));
    if (o.evaluation)
        PN_TRY(write_tensors(t, "running.safetensors", p->value, 1U << PN_ROLE_STATE));
    if (!o.training) return PN_OK;
    return write_tensors(t, "gradients.safetensors", p->gradient,
                         1U << PN_ROLE_WEIGHT | 1U << PN_ROLE_AUXILIARY);
}

/* What the program finds, and what it reads beside weights and batch. */
static pn_status place(tracer *t) {
    const pn_memory *memory = t->kernels->memory;
    void *block;
    PN_TRY(memory->allocate(sizeof t->result, &block));
    t->found = block;
    if (!o.drop_path) return PN_OK;
    const size_t bytes = pn_array_bytes(&t->drop_path);
    PN_TRY(memory->allocate(bytes, &block));
    t->factors = block;
    return memory->upload(t->factors, t->drop_path.data, bytes);
}

static pn_status compile(tracer *t) {
    const pn_memory *memory = t->kernels->memory;
    PN_TRY(place(t));
    PN_TRY(pn_program_create(&t->program, t->kernels));
    const pn_build how = {.N = t->batch.N,
                          .training = o.training,
                          .inference = !o.training,
                          .guarded = pn_arena_checks(memory),
                          .auxiliary = o.auxiliary,
                          .auxiliary_weight = (float)o.auxiliary_weight,
                          .drop_path = t->factors,
                          .result = t->found};
    PN_TRY(pn_network_build(&t->network, &t->arch, t->program, &how));
    return pn_program_compile(t->program, &t->size);
}

static pn_status run_batch(tracer *t) {
    const sample *b = &t->batch;
    const pn_memory *memory = t->kernels->memory;
    const pn_batch batch = {.n = b->N, .x = b->x, .labels = b->labels};
    pn_parameters *p = &t->network.parameters;
    PN_TRY(pn_parameters_push(p));
    PN_TRY(
        pn_device_batch_create(&t->feed, memory, b->N, (size_t)b->H * (size_t)b->W * (size_t)b->C));
    PN_TRY(pn_device_batch_upload(&t->feed, &batch));
    PN_TRY(pn_update_create(&t->update, t->kernels, p, NULL));
    PN_TRY(pn_arena_create(&t->arena, memory, t->size.arena_bytes, 0));
    PN_TRY(pn_program_bind(t->program, &t->arena, p, t->feed.batch.x, t->feed.batch.labels,
                           pn_update_scale(&t->update, 0)));
    PN_TRY(pass(t));
    PN_TRY(memory->download(t->result, t->found, sizeof t->result));
    if (!isfinite(t->result[0].loss) || !isfinite(t->result[1].loss))
        return pn_fail(PN_EDIVERGED, "the loss is not finite");
    PN_TRY(write_outcome(t));
    double forward_ms = 0, step_ms = 0;
    if (o.repeat) PN_TRY(time_passes(t, &forward_ms, &step_ms));
    if (o.repeat) PN_TRY(write_launches(t));
    return write_json(t, forward_ms, step_ms);
}

static pn_status trace(tracer *t) {
    PN_TRY(pn_genotype_open(o.genotype, &t->arch));
    pn_genotype_write(&t->arch, t->genotype);
    PN_TRY(pn_device_open(&o.device, &t->kernels));
    if (o.training && t->kernels->storage == PN_STORED_FP16)
        return pn_fail(PN_EARG,
                       "fp16, whose loss scale takes steps to be found; want float32, "
                       "tf32, bf16 or an inference");
    if (o.input)
        PN_TRY(batch_from_files(&t->batch));
    else if (o.data)
        PN_TRY(batch_from_data(&t->batch));
    else
        t->batch = (sample){
            .N = 1, .H = o.image[0], .W = o.image[1], .C = o.image[2], .classes = o.classes};
    const pn_network_spec spec = {.evaluation = o.evaluation,
                                  .layers = o.layers,
                                  .channels = o.channels,
                                  .H = t->batch.H,
                                  .W = t->batch.W,
                                  .image_channels = t->batch.C,
                                  .classes = t->batch.classes,
                                  .auxiliary = o.auxiliary,
                                  .imagenet_stem = !strcmp(o.stem, "imagenet"),
                                  .pool_norm = o.pool_norm,
                                  .smoothing = (float)o.smoothing};
    const pn_space space = pn_space_darts();
    PN_TRY(pn_network_create(&t->network, &spec, &space, &t->arch));
    PN_TRY(pn_parameters_allocate(&t->network.parameters, t->kernels->memory));
    pn_parameters_init(&t->network.parameters, o.seed);
    t->used = calloc((size_t)t->network.parameters.count, sizeof *t->used);
    if (!t->used) return pn_fail(PN_EMEM, "no memory");
    pn_network_uses(&t->network, &t->arch, t->used);
    if (o.weights) PN_TRY(read_weights(t));
    if (o.drop_path) PN_TRY(read_drop_path(t));
    if (!o.init_only) PN_TRY(compile(t));
    int made = 0;
    PN_TRY(pn_directory_make(o.out, &made));
    PN_TRY(write_weights(t));
    return o.init_only ? PN_OK : run_batch(t);
}

static pn_status check_network(void) {
    const bool inference = !strcmp(o.mode, "inference");
    pn_network_sizes usual;
    PN_TRY(pn_network_asked(o.network, o.stem, o.pool_norm, &o.evaluation, &usual));
    o.training = !inference;
    if (inference && !o.evaluation)
        return pn_fail(PN_EARG,
                       "--mode inference, want training, or inference with --network eval");
    if (o.auxiliary && !o.evaluation)
        return pn_fail(PN_EARG, "--auxiliary goes with --network eval");
    if (o.drop_path && (!o.evaluation || inference))
        return pn_fail(PN_EARG, "--drop-path goes with --network eval and --mode training");
    if (!o.layers) o.layers = usual.layers;
    if (!o.channels) o.channels = usual.channels;
    return PN_OK;
}

static pn_status check_options(void) {
    PN_TRY(check_network());
    if (!o.genotype) return pn_fail(PN_EARG, "want --genotype G");
    if (!o.out) return pn_fail(PN_EARG, "want --out DIR");
    if (!o.input != !o.labels) return pn_fail(PN_EARG, "--input and --labels go together");
    if (o.input && o.data) return pn_fail(PN_EARG, "want one of --data and --input, not both");
    if (!o.input && !o.data && !o.init_only)
        return pn_fail(PN_EARG, "want --data D, or --input x.npy --labels y.npy");
    return PN_OK;
}

#define PN_OF options

static const pn_field rows[] = {
    PN_ROWS_EITHER_NETWORK,
    PN_TEXT("mode", mode, "training|inference", "MODE", "training",
            "mode of an evaluation network: training or inference"),
    PN_ROW_AUXILIARY(NULL, "with the auxiliary head of an evaluation network"),
    PN_ROW_AUXILIARY_WEIGHT("weight of the auxiliary loss in the gradient"),
    PN_PATH(
        "drop-path", drop_path, NULL, "F.npy", NULL,
        "what terms are multiplied by, float32 (layers,4,2,N), with every edge (layers,4,5,N); of "
        "two equal terms without "
        "weights the first's counts, for both; the identity's are not looked at"),
    PN_REAL("smoothing", smoothing, 0, 1, "X", "0", "label smoothing"),
    PN_ROW_DATA(NULL, "first images of this data set's training split, not augmented"),
    PN_ROW_BATCH("64", "with --data: how many"),
    PN_PATH("input", input, NULL, "X.npy", NULL, "images, float32 (N,C,H,W)"),
    PN_PATH("labels", labels, NULL, "Y.npy", NULL, "labels, int64 (N)"),
    PN_ROW_CLASSES("10", "with --input: classes"),
    PN_PATH("weights", weights, NULL, "FILE", NULL,
            "safetensors, also a checkpoint of a search: every tensor that the genotype uses"),
    PN_FLAG("init-only", init_only, NULL, "write the weights and stop: to see names and shapes"),
    PN_ROW_IMAGE("32x32x3", "with --init-only and neither data nor input"),
    PN_ROW(PN_FIELD_INT, "repeat", repeat, "R", NULL,
           "then time R forward passes and R training steps", .min = 1, .max = 100000),
    PN_ROW_SEED("seed for the initial weights"),
    PN_PATH("out", out, NULL, "DIR", NULL, "directory for the files", .also = "o|output"),
    PN_ROWS_DEVICE,
};

static pn_status run(const char *const *words) {
    (void)words;
    tracer t = {0};
    pn_status s = check_options();
    if (s == PN_OK) s = trace(&t);
    if (t.kernels) t.kernels->memory->release(t.found);
    if (t.kernels) t.kernels->memory->release(t.factors);
    pn_npy_free(&t.drop_path);
    pn_device_batch_destroy(&t.feed);
    pn_program_destroy(t.program);
    pn_arena_destroy(&t.arena);
    pn_update_destroy(&t.update);
    pn_network_destroy(&t.network);
    free(t.used);
    free(t.batch.x);
    free(t.batch.labels);
    return s;
}

PN_COMMAND(trace, "run one batch and write every tensor to files, to compare them",
           .options = {PN_OPTIONS(rows, o)});
