/* test_train.c -- train, eval and export as a person uses them: what they write agrees with each
 * other and with the settings, and what they refuse. That a training continues to the bit:
 * test_resume.c. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/backend.h"
#include "runtime/data.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/rng.h"
#include "search/network/weights.h"
#include "search/train/trainer.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum { LIMIT = 300, EPOCHS = 4, STEPS = 12, IMAGES = 100, TESTED = 20 };
#define DATA "synthetic:100x32x32x3"

static pn_process last; /* the process run last */

static int run(const char *const *arguments) {
    return pn_process_program(&last, PN_PROGRAM, arguments, LIMIT);
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

/* It ends with that code, and one sentence that has these words. */
static void refuse(int code, const char *words, const char *const *arguments) {
    (void)run(arguments);
    pn_process_refused(&last, code, words);
}
#define REFUSE(code, words, ...) refuse(code, words, (const char *const[]){__VA_ARGS__, NULL})

#define TRAIN "train", "trained", "--genotype", "PDARTS", "--data", DATA, "--layers", "3", "--quiet"
#define SIZE "--channels", "4", "--batch", "32", "--epochs", "4", "--cutout", "8"

static int begin(void **state) {
    pn_folder_begin(state);
    return RUN(TRAIN, SIZE, "--seeds", "3,8", "--rate", "0.1");
}

static int end(void **state) {
    pn_process_free(&last);
    pn_folder_end(state);
    return 0;
}

__attribute__((noinline)) static char *text_of(const char *name) {
    void *data = NULL;
    size_t size;
    assert_int_equal(pn_file_read(pn_in_folder(name), 1 << 26, &data, &size), PN_OK);
    if (!data) abort();
    return data;
}

static json_t *json_of(const char *text) {
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    return root;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

/* ---- what is written ------------------------------------------------------------------------- */

enum {
    EPOCH,
    RATE,
    DROP_PATH,
    TRAIN_LOSS,
    AUXILIARY_LOSS,
    TRAIN_ACCURACY,
    NORM,
    LOSS,
    ACCURACY,
    COLUMNS
};

static void read_metrics(const char *name, double row[EPOCHS][COLUMNS]) {
    char *text = text_of(name), *line = strchr(text, '\n') + 1;
    for (int i = 0; i < EPOCHS; i++)
        for (int c = 0; c < COLUMNS; c++) {
            row[i][c] = strtod(line, &line);
            assert_int_equal(*line++, c == COLUMNS - 1 ? '\n' : ',');
        }
    assert_int_equal(*line, 0);
    free(text);
}

/* The sizes that train takes for a stem are those that plan reports for it, unless given. */
static void a_stem_has_the_sizes_of_plan(void **state) {
    static const struct {
        const char *stem;
        int layers, channels, batch;
    } rows[] = {{"cifar", 20, 36, 96}, {"imagenet", 14, 48, 128}};
    (void)state;
    pn_data data;
    assert_int_equal(pn_data_open("synthetic:300x32x32x3", PN_TRAIN, &data), PN_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pn_train_settings s = pn_train_defaults(), given = s;
        snprintf(s.stem, sizeof s.stem, "%s", rows[i].stem);
        snprintf(s.genotype, sizeof s.genotype, "x");
        assert_int_equal(pn_train_resolve(&s, &data), PN_OK);
        assert_int_equal(s.layers, rows[i].layers);
        assert_int_equal(s.channels, rows[i].channels);
        assert_int_equal(s.batch, rows[i].batch);
        given = s;
        given.layers = 3;
        given.batch = 7;
        assert_int_equal(pn_train_resolve(&given, &data), PN_OK);
        assert_int_equal(given.layers, 3);
        assert_int_equal(given.batch, 7);

        assert_int_equal(RUN("plan", "--network", "eval", "--stem", rows[i].stem, "--genotype",
                             "DARTS_V2", "--json"),
                         0);
        json_error_t why;
        json_t *root = json_loads(last.out, 0, &why);
        assert_non_null(root);
        assert_int_equal(json_integer_value(json_object_get(root, "layers")), rows[i].layers);
        assert_int_equal(json_integer_value(json_object_get(root, "channels")), rows[i].channels);
        assert_int_equal(json_integer_value(json_object_get(root, "batch")), rows[i].batch);
        json_decref(root);
    }
    pn_data_free(&data);
}

/* --hold-out, for any seed: what is scored and what is trained on are all images, each once. As
 * many of each class in both together as there are: a wrong split has others. */
static void held_out_images_are_not_trained_on(void **state) {
    enum { COUNT = 300, CLASSES = 10, BATCH = 25 };
    static pn_trainer t;
    const pn_kernels *kernels;
    pn_data data;
    (void)state;
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    assert_int_equal(pn_data_open("synthetic:300x8x8x1", PN_TRAIN, &data), PN_OK);
    assert_int_equal(data.count, COUNT);
    for (uint64_t seed = 0; seed < 4; seed++) {
        int64_t left[CLASSES] = {0};
        pn_predictions p;
        pn_arch arch;
        pn_train_settings s = pn_train_defaults();
        assert_int_equal(pn_genotype_open("PDARTS", &arch), PN_OK);
        pn_genotype_write(&arch, s.genotype);
        s.layers = 1;
        s.channels = 4;
        s.batch = BATCH;
        s.hold_out = 1;
        s.seed = seed;
        assert_int_equal(pn_train_resolve(&s, &data), PN_OK);
        for (int i = 0; i < COUNT; i++) left[data.labels[i]]++;
        assert_int_equal(pn_trainer_create(&t, kernels, &s, &data, 0, NULL), PN_OK);
        assert_int_equal(t.steps_per_epoch, COUNT / 2 / BATCH);
        for (int64_t step = 0; step < t.steps_per_epoch; step++) {
            pn_batch batch;
            assert_int_equal(pn_batches_take(t.batches, 0, step, &batch), PN_OK);
            for (int i = 0; i < batch.n; i++) left[batch.labels[i]]--;
        }
        assert_int_equal(pn_trainer_predict(&t, &data, PN_HALF_SECOND, &p), PN_OK);
        assert_int_equal(p.images, COUNT / 2);
        for (int label = 0; label < CLASSES; label++) {
            for (int k = 0; k < CLASSES; k++) left[label] -= p.confusion[label * CLASSES + k];
            assert_int_equal(left[label], 0);
        }
        pn_predictions_free(&p);
        pn_trainer_destroy(&t);
    }
    pn_data_free(&data);
}

/* ---- shards ---------------------------------------------------------------------------------- */

/* A network of one cell and its auxiliary head, for batches of the caller's. */
static void begin_shards(pn_trainer *t, int64_t batch, int64_t shards, int64_t auxiliary) {
    const pn_data like = {.name = "none", .count = 64, .H = 32, .W = 32, .C = 3, .classes = 10};
    const pn_kernels *kernels;
    pn_train_settings s = pn_train_defaults();
    pn_arch arch;
    assert_int_equal(pn_backend_open("cpu", &kernels), PN_OK);
    assert_int_equal(pn_genotype_open("PDARTS", &arch), PN_OK);
    pn_genotype_write(&arch, s.genotype);
    s.layers = 3;
    s.channels = 4;
    s.batch = batch;
    s.shards = shards;
    s.auxiliary = auxiliary;
    s.clip = s.decay = s.drop_path = 0;
    assert_int_equal(pn_train_resolve(&s, &like), PN_OK);
    if (pn_trainer_create(t, kernels, &s, &like, 0, NULL) != PN_OK) fail_msg("%s", pn_error());
}

/* A step of a batch in shards against steps of the shards by themselves, whose gradients and
 * running statistics are averaged in double. What differs is rounding: of a sum of D terms to
 * quanta, of the gradient to a float; of running statistics twice more, of what is kept and of the
 * sum with it, and in each of the shards as they are had here. */
static void a_step_in_shards(void **state) {
    (void)state;
    enum { D = 4, N = 8, PIXELS = 32 * 32 * 3 };
    static pn_trainer whole, one;
    static float image[N * PIXELS];
    int32_t label[N];
    pn_train_report report, of_one;
    for (int i = 0; i < N * PIXELS; i++)
        image[i] = (float)(2 * pn_uniform(1, PN_STREAM_INIT, 7, (uint64_t)i) - 1);
    for (int i = 0; i < N; i++) label[i] = 3 * i % 10;
    begin_shards(&whole, N, D, 1);
    const pn_parameters *p = &whole.network.parameters;
    double *gradient = calloc(p->floats, sizeof *gradient),
           *value = calloc(p->floats, sizeof *value), *size = calloc(p->floats, sizeof *size),
           loss = 0, auxiliary = 0;
    int64_t correct = 0;
    int moved = 0;
    assert_true(gradient && value && size);
    assert_int_equal(pn_trainer_step_on(&whole, &(pn_batch){N, image, label}, 0, 0, &report),
                     PN_OK);
    for (int d = 0; d < D; d++) {
        begin_shards(&one, N / D, 1, 1);
        const pn_batch shard = {N / D, image + (ptrdiff_t)d * (N / D) * PIXELS,
                                label + d * (N / D)};
        assert_int_equal(pn_trainer_step_on(&one, &shard, 0, 0, &of_one), PN_OK);
        const pn_parameters *q = &one.network.parameters;
        for (size_t i = 0; i < p->floats; i++) {
            gradient[i] += q->momentum[i] / (double)D;
            value[i] += q->value[i] / (double)D;
            size[i] += fabs(q->momentum[i] / (double)D) + fabs(q->value[i] / (double)D);
        }
        loss += of_one.loss / D;
        auxiliary += of_one.auxiliary_loss / D;
        correct += of_one.correct;
        pn_trainer_destroy(&one);
    }
    assert_true(fabs(report.loss - loss) < 1e-12 && report.correct == correct);
    assert_true(fabs(report.auxiliary_loss - auxiliary) < 1e-12);
    for (int t = 0; t < p->count; t++)
        for (size_t i = p->list[t].offset; i < p->list[t].offset + p->list[t].count; i++) {
            const double off = D * PN_QUANTUM / 2 + 1e-12 * size[i];
            assert_true(fabs(p->momentum[i] - gradient[i]) <= off + 0x1p-24 * fabs(gradient[i]));
            if (p->list[t].role != PN_ROLE_STATE) continue;
            assert_true(fabs(p->value[i] - value[i]) <= off + 4 * 0x1p-24 * size[i]);
            moved += p->value[i] != (p->list[t].init == PN_INIT_ONE);
        }
    assert_true(moved > 500);
    free(gradient);
    free(value);
    free(size);
    pn_trainer_destroy(&whole);
}

/* Drop-path draws for each shard, and scores take no more memory than was planned. */
static void shards_of_a_training(void **state) {
    (void)state;
    assert_int_equal(RUN("train", "shards", "--genotype", "PDARTS", "--data", DATA, "--layers", "3",
                         "--quiet", SIZE, "--shards", "4"),
                     0);
    double row[EPOCHS][COLUMNS];
    read_metrics("shards/seed-1/metrics.csv", row);
    assert_true(row[EPOCHS - 1][TRAIN_LOSS] < row[0][TRAIN_LOSS]);
    char *json = text_of("shards/seed-1/run.json");
    assert_non_null(strstr(json, "\"shards\": 4"));
    free(json);
    REFUSE(2, "--shards 3, want a divisor of --batch 32", "train", "new", "--genotype", "PDARTS",
           "--data", DATA, SIZE, "--shards", "3");
    REFUSE(2, "but this run was begun with 4", "train", "shards", "--genotype", "PDARTS", "--data",
           DATA, "--layers", "3", "--quiet", SIZE, "--shards", "2");
}

/* The cosine of DARTS moves once an epoch, drop-path grows by the epoch. */
static void rates_follow_the_settings(void **state) {
    (void)state;
    double row[EPOCHS][COLUMNS];
    read_metrics("trained/seed-3/metrics.csv", row);
    for (int i = 0; i < EPOCHS; i++) {
        assert_true(row[i][EPOCH] == i + 1);
        assert_true(fabs(row[i][RATE] - 0.05 * (1 + cos(acos(-1) * i / EPOCHS))) < 1e-9);
        assert_true(fabs(row[i][DROP_PATH] - 0.2 * i / EPOCHS) < 1e-9);
    }
    assert_true(row[EPOCHS - 1][TRAIN_LOSS] < row[0][TRAIN_LOSS]); /* it learns */
    assert_true(row[EPOCHS - 1][AUXILIARY_LOSS] < row[0][AUXILIARY_LOSS]);
}

static void results_are_the_seeds(void **state) {
    (void)state;
    char *text = text_of("trained/results.json");
    json_t *root = json_of(text), *seeds = json_object_get(root, "seeds");
    static const char *const metrics[] = {"trained/seed-3/metrics.csv",
                                          "trained/seed-8/metrics.csv"};
    double error[2];
    for (size_t i = 0; i < 2; i++) {
        double row[EPOCHS][COLUMNS], best = 0;
        const json_t *one = json_array_get(seeds, i);
        read_metrics(metrics[i], row);
        for (int e = 0; e < EPOCHS; e++) best = fmax(best, row[e][ACCURACY]);
        error[i] = number(one, "error");
        assert_true(number(one, "seed") == (i ? 8 : 3));
        assert_true(fabs(error[i] - (1 - row[EPOCHS - 1][ACCURACY])) < 1e-7);
        assert_true(fabs(number(one, "best_error") - (1 - best)) < 1e-7);
    }
    assert_true(fabs(number(root, "mean_error") - (error[0] + error[1]) / 2) < 1e-7);
    assert_true(fabs(number(root, "standard_deviation") - fabs(error[0] - error[1]) / sqrt(2)) <
                1e-7);
    json_decref(root);
    free(text);
}

/* eval, with batches of another size, says of the last weights what the training said. */
static void eval_agrees_with_the_training(void **state) {
    (void)state;
    double row[EPOCHS][COLUMNS];
    read_metrics("trained/seed-3/metrics.csv", row);
    assert_int_equal(RUN("eval", "trained/seed-3", "--data", DATA, "--batch", "7", "--json",
                         "--logits", "l.npy"),
                     0);
    json_t *root = json_of(last.out), *confusion = json_object_get(root, "confusion");
    assert_true(number(root, "images") == TESTED);
    assert_true(fabs(number(root, "loss") - row[EPOCHS - 1][LOSS]) < 1e-6 * row[EPOCHS - 1][LOSS]);
    assert_true(fabs(1 - number(root, "error") - row[EPOCHS - 1][ACCURACY]) < 1e-9);
    json_int_t sum = 0, correct = 0;
    for (size_t i = 0; i < 10; i++)
        for (size_t k = 0; k < 10; k++) {
            const json_int_t n =
                json_integer_value(json_array_get(json_array_get(confusion, i), k));
            sum += n;
            if (i == k) correct += n;
        }
    assert_int_equal(sum, TESTED);
    assert_true(number(root, "correct") == (double)correct);
    const double loss = number(root, "loss");
    json_decref(root);

    pn_array logits = {0};
    assert_int_equal(pn_npy_read(pn_in_folder("l.npy"), &logits), PN_OK);
    assert_int_equal(logits.rank, 2);
    assert_int_equal(logits.shape[0], TESTED);
    assert_int_equal(logits.shape[1], 10);
    pn_data data = {0};
    assert_int_equal(pn_data_open(DATA, PN_TEST, &data), PN_OK);
    double mean = 0;
    for (int i = 0; i < TESTED; i++) {
        const float *x = (const float *)logits.data + (ptrdiff_t)10 * i;
        double exponentials = 0;
        for (int k = 0; k < 10; k++) exponentials += exp((double)x[k]);
        mean += (log(exponentials) - (double)x[data.labels[i]]) / TESTED;
    }
    assert_true(fabs(mean - loss) < 1e-9 + 1e-12 * fabs(loss));
    pn_data_free(&data);
    pn_npy_free(&logits);
}

static bool ends_with(const char *name, const char *part) {
    const size_t n = strlen(name), m = strlen(part);
    return n >= m && !strcmp(name + n - m, part);
}

/* Every BatchNorm has PyTorch's five tensors, every other name is a weight or a bias. */
static void an_export_has_the_keys_of_a_state_dict(void **state) {
    (void)state;
    static const char *const some[] = {"stem.0.weight",
                                       "stem.1.running_var",
                                       "cells.0.preprocess0.op.1.weight",
                                       "cells.0.preprocess1.op.2.num_batches_tracked",
                                       "cells.0._ops.1.op.1.weight",
                                       "cells.2.preprocess0.conv_2.weight",
                                       "cells.2.preprocess0.bn.bias",
                                       "auxiliary_head.features.5.weight",
                                       "auxiliary_head.classifier.bias",
                                       "classifier.weight"};
    assert_int_equal(RUN("export", "trained/seed-3", "--safetensors", "all.safetensors"), 0);
    assert_int_equal(
        RUN("export", "trained/seed-3", "--safetensors", "bare.safetensors", "--no-auxiliary"), 0);
    pn_safetensors *all = NULL, *bare = NULL;
    assert_int_equal(pn_safetensors_read(pn_in_folder("all.safetensors"), &all), PN_OK);
    assert_int_equal(pn_safetensors_read(pn_in_folder("bare.safetensors"), &bare), PN_OK);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        assert_non_null(pn_safetensors_find(all, some[i]));
        assert_true(!pn_safetensors_find(bare, some[i]) == !strncmp(some[i], "auxiliary", 9));
    }
    int norms = 0;
    for (int i = 0; i < pn_safetensors_count(all); i++) {
        const pn_array *a = pn_safetensors_at(all, i);
        if (ends_with(a->name, "running_mean")) {
            char name[128];
            const int stem = (int)(strlen(a->name) - strlen("running_mean"));
            static const char *const parts[] = {"weight", "bias", "running_var"};
            for (int k = 0; k < 3; k++) {
                snprintf(name, sizeof name, "%.*s%s", stem, a->name, parts[k]);
                assert_non_null(pn_safetensors_find(all, name));
            }
            snprintf(name, sizeof name, "%.*snum_batches_tracked", stem, a->name);
            const pn_array *tracked = pn_safetensors_find(all, name);
            assert_non_null(tracked);
            assert_int_equal(tracked->rank, 0);
            assert_int_equal(*(const int64_t *)tracked->data, STEPS);
            norms++;
        } else {
            assert_true(ends_with(a->name, "weight") || ends_with(a->name, "bias") ||
                        ends_with(a->name, "running_var") ||
                        ends_with(a->name, "num_batches_tracked"));
        }
    }
    /* Stem; two preprocessings a cell; PDARTS' normal cell: five terms of sep_conv with two norms,
     * two of dil_conv; its reduction: two sep_conv, four dil_conv, each of two cells; the auxiliary
     * two. */
    assert_int_equal(norms, 1 + 3 * 2 + (4 * 2 + 2) + 2 * (2 * 2 + 4) + 2);
    pn_safetensors_free(all);
    pn_safetensors_free(bare);
}

/* The same tensors without our metadata, as another program would write them, perhaps with one more
 * or one less. */
static void rewrite(const char *name, const char *without, const char *with) {
    pn_safetensors *f = NULL;
    assert_int_equal(pn_safetensors_read(pn_in_folder("trained/seed-3/last.safetensors"), &f),
                     PN_OK);
    pn_tensors t = {0};
    for (int i = 0; i < pn_safetensors_count(f); i++)
        if (!without || strcmp(pn_safetensors_at(f, i)->name, without))
            assert_int_equal(pn_tensors_add_array(&t, *pn_safetensors_at(f, i)), PN_OK);
    const float zero = 0;
    if (with)
        assert_int_equal(
            pn_tensors_add_array(
                &t, (pn_array){.name = with, .dtype = PN_F32, .rank = 0, .data = &zero}),
            PN_OK);
    assert_int_equal(pn_safetensors_write(pn_in_folder(name), t.list, t.count, NULL, 0), PN_OK);
    pn_tensors_free(&t);
    pn_safetensors_free(f);
}

#define ELSEWHERE "--genotype", "PDARTS", "--layers", "3", "--channels", "4"
static void weights_made_elsewhere(void **state) {
    (void)state;
    rewrite("plain.safetensors", NULL, NULL);
    rewrite("less.safetensors", "cells.1._ops.1.op.2.weight", NULL);
    rewrite("more.safetensors", NULL, "cells.3.preprocess1.op.1.weight");
    assert_int_equal(RUN("eval", "trained/seed-3", "--data", DATA), 0);
    char *want = strdup(last.out);
    assert_int_equal(RUN("eval", "plain.safetensors", "--data", DATA, ELSEWHERE), 0);
    assert_string_equal(last.out, want);
    assert_int_equal(RUN("eval", "--weights", "bare.safetensors", "--data", DATA), 0);
    assert_string_equal(last.out, want);
    free(want);
    REFUSE(2, "want one of a and --weights b", "eval", "a", "--weights", "b");
    REFUSE(2, "want --genotype, --layers and --channels", "eval", "plain.safetensors", "--data",
           DATA);
    REFUSE(3, "cells.1._ops.1.op.2.weight", "eval", "less.safetensors", "--data", DATA, ELSEWHERE);
    REFUSE(3, "cells.3.preprocess1.op.1.weight: no tensor of this network", "eval",
           "more.safetensors", "--data", DATA, ELSEWHERE);
    REFUSE(3, "stem.0.weight is F32 (12,3,3,3), want F32 (24,3,3,3)", "eval", "plain.safetensors",
           "--data", DATA, "--genotype", "PDARTS", "--layers", "3", "--channels", "8");
    REFUSE(3, "cells.0._ops.0.op.1.weight", "eval", "plain.safetensors", "--data", DATA,
           "--genotype", "DARTS_V2", "--layers", "3", "--channels", "4");
}

static void weights_of_another_number_of_classes(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    const pn_network_spec spec = {.evaluation = true,
                                  .layers = 1,
                                  .channels = 4,
                                  .H = 32,
                                  .W = 32,
                                  .image_channels = 3,
                                  .classes = 7};
    pn_arch arch;
    pn_network n;
    assert_int_equal(pn_genotype_open("PDARTS", &arch), PN_OK);
    assert_int_equal(pn_network_create(&n, &spec, &space, &arch), PN_OK);
    assert_int_equal(pn_parameters_allocate(&n.parameters, &pn_host_memory), PN_OK);
    pn_parameters_init(&n.parameters, 1);
    assert_int_equal(
        pn_weights_save(NULL, pn_in_folder("seven.safetensors"), &n, &arch, NULL, 0, false), PN_OK);
    pn_network_destroy(&n);
    REFUSE(2, "7 classes apart, synthetic has 10", "eval", "seven.safetensors", "--data", DATA);
    REFUSE(2, "images of 32x32x3, those of synthetic are 16x16x3", "eval", "trained/seed-3",
           "--data", "synthetic:100x16x16x3");
}

/* ---- what is refused ------------------------------------------------------------------------- */

#define NEW \
    "train", "new", "--data", DATA, "--layers", "3", "--channels", "4", "--batch", "32", "--quiet"
/* The batch that the last refusal names is the largest that the limit allows. */
static void the_named_batch_fits(const char *limit) {
    const char *const word = strstr(last.err, "; batch ");
    assert_non_null(word);
    const long batch = strtol(word + strlen("; batch "), NULL, 10);
    char fits[24], more[24];
    snprintf(fits, sizeof fits, "%ld", batch);
    snprintf(more, sizeof more, "%ld", batch + 1);
    assert_in_range(batch, 1, 31);
    REFUSE(4, "would fit", NEW, "--genotype", "PDARTS", "--memory", limit, "--batch", more);
    assert_int_equal(
        RUN("train", "fitting", "--genotype", "PDARTS", "--data", DATA, "--layers", "3",
            "--channels", "4", "--epochs", "1", "--quiet", "--memory", limit, "--batch", fits),
        0);
}

static void what_cannot_be_trained(void **state) {
    (void)state;
    REFUSE(2, "want --genotype", NEW);
    REFUSE(2, "sep_conv_9x9", NEW, "--genotype", "Genotype(normal=[('sep_conv_9x9', 0)])");
    REFUSE(2, "want a multiple of 4", NEW, "--genotype", "PDARTS", "--channels", "6");
    REFUSE(2, "--batch 101, want at most 100", NEW, "--genotype", "PDARTS", "--batch", "101");
    REFUSE(2, "--batch 51, want at most 50", NEW, "--genotype", "PDARTS", "--batch", "51",
           "--hold-out");
    REFUSE(2, "--auxiliary", NEW, "--genotype", "PDARTS", "--data", "synthetic:100x16x16x3",
           "--auxiliary");
    REFUSE(2, "--seeds 1,1 names 1 twice", NEW, "--genotype", "PDARTS", "--seeds", "1,1");
    REFUSE(2, "--seeds 1,x", NEW, "--genotype", "PDARTS", "--seeds", "1,x");
    REFUSE(2, "--drop-path 1, want a number", NEW, "--genotype", "PDARTS", "--drop-path", "1");
    REFUSE(2, "did you mean --seeds?", NEW, "--genotype", "PDARTS", "--sedes", "3");
    REFUSE(4, " would fit", NEW, "--genotype", "PDARTS", "--memory", "16MiB");
    the_named_batch_fits("16MiB");
    REFUSE(4, "no batch would fit", NEW, "--genotype", "PDARTS", "--memory", "1MiB");
    REFUSE(2, "begun with 4", TRAIN, SIZE, "--seeds", "3", "--epochs", "5");
    REFUSE(2, "holds a run of its own", "train", "trained/seed-3", "--genotype", "PDARTS", "--data",
           DATA);
    char *left = pn_folder_text(pn_folder, NULL);
    assert_null(strstr(left, "new")); /* nothing was begun */
    free(left);
}

static void a_training_that_diverges(void **state) {
    (void)state;
    REFUSE(7, "not finite", NEW, "--genotype", "PDARTS", "--rate", "1e3", "--clip", "0", "--epochs",
           "20", "--decay", "100");
    char *json = text_of("new/seed-1/run.json");
    assert_non_null(strstr(json, "\"state\": \"diverged\""));
    free(json);
}

/* ---- what is not finite ---------------------------------------------------------------------- */

/* The gradient is finite to the last step, the weights after it are none: what was eval's "loss
 * nan" and a training's "finished" with no scores. */
static void a_score_that_is_not_finite(void **state) {
    (void)state;
    REFUSE(7, "the logits of 10 of 10 images are not finite", "train", "nan", "--genotype",
           "PDARTS", "--data", "synthetic:16x8x8x3", "--layers", "2", "--channels", "4", "--batch",
           "16", "--quiet", "--rate", "1000", "--decay", "1000", "--clip", "0", "--epochs", "1");
    char *json = text_of("nan/seed-1/run.json");
    assert_non_null(strstr(json, "\"state\": \"diverged\""));
    free(json);
    char *left = pn_folder_text(pn_in_folder("nan"), NULL);
    assert_null(strstr(left, "results.json"));
    free(left);
}

/* Weights of which one is NaN or infinite. */
static void eval_of_weights_that_are_not_finite(void **state) {
    (void)state;
    static const float wrong[] = {NAN, INFINITY};
    for (int w = 0; w < 2; w++) {
        pn_safetensors *f = NULL;
        pn_tensors t = {0};
        float bias[10] = {0};
        bias[3] = wrong[w];
        const char *from = pn_in_folder("trained/seed-3/last.safetensors");
        assert_int_equal(pn_safetensors_read(from, &f), PN_OK);
        for (int i = 0; i < pn_safetensors_count(f); i++) {
            pn_array a = *pn_safetensors_at(f, i);
            if (!strcmp(a.name, "classifier.bias")) a.data = bias;
            assert_int_equal(pn_tensors_add_array(&t, a), PN_OK);
        }
        assert_int_equal(
            pn_safetensors_write(pn_in_folder("wrong.safetensors"), t.list, t.count, NULL, 0),
            PN_OK);
        pn_tensors_free(&t);
        pn_safetensors_free(f);
        REFUSE(7, "the logits of 20 of 20 images are not finite", "eval", "wrong.safetensors",
               "--data", DATA, ELSEWHERE);
        REFUSE(7, "the logits of 20 of 20 images are not finite", "eval", "wrong.safetensors",
               "--data", DATA, ELSEWHERE, "--json");
    }
}

/* ---- results of all seeds -------------------------------------------------------------------- */

#define TINY(directory)                                                                          \
    "train", directory, "--genotype", "PDARTS", "--data", "synthetic:40x8x8x3", "--layers", "2", \
        "--channels", "4", "--batch", "20", "--quiet", "--threads", "1"

/* The seeds in results.json, as text. */
static void assert_seeds(const char *name, const char *want) {
    char *text = text_of(name), seeds[256] = "";
    json_t *root = json_of(text), *list = json_object_get(root, "seeds");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *seed = json_object_get(json_array_get(list, i), "seed");
        const size_t used = strlen(seeds);
        if (json_is_string(seed)) /* from 2^63 on */
            snprintf(seeds + used, sizeof seeds - used, " '%s'", json_string_value(seed));
        else
            snprintf(seeds + used, sizeof seeds - used, " %lld",
                     (long long)json_integer_value(seed));
    }
    assert_string_equal(seeds, want);
    json_decref(root);
    free(text);
}

static void later_seeds_are_added(void **state) {
    (void)state;
    assert_int_equal(RUN(TINY("later"), "--epochs", "1", "--seeds", "9"), 0);
    assert_int_equal(RUN(TINY("later"), "--epochs", "1", "--seeds", "2"), 0);
    assert_seeds("later/results.json", " 2 9");
    assert_null(strstr(last.out, "mean")); /* what is printed is of the seeds asked for */
    assert_int_equal(RUN(TINY("later"), "--epochs", "1", "--seeds", "18446744073709551615"), 0);
    assert_seeds("later/results.json", " 2 9 '18446744073709551615'");
    char *json = text_of("later/seed-18446744073709551615/run.json");
    assert_non_null(strstr(json, "\"seed\": \"18446744073709551615\""));
    free(json);
    assert_int_equal(RUN(TINY("later"), "--epochs", "2", "--seeds", "3"), 0);
    assert_seeds("later/results.json", " 3"); /* of another settings there is one */
    assert_int_equal(RUN(TINY("later"), "--epochs", "1", "--seeds", "2"), 0);
    assert_seeds("later/results.json", " 2 9 '18446744073709551615'");
}

/* Whoever writes last has seen what the others finished. */
static void trainings_at_once_lose_nothing(void **state) {
    (void)state;
    enum { AT_ONCE = 5 };
    const pn_conditions where = {.folder = pn_folder};
    for (int round = 0; round < 3; round++) {
        pn_process p[AT_ONCE];
        for (int i = 0; i < AT_ONCE; i++) {
            char seed[8];
            snprintf(seed, sizeof seed, "%d", i);
            const char *const argv[] = {PN_PROGRAM, TINY("once"), "--epochs", "1",
                                        "--seeds",  seed,         NULL};
            pn_process_start(&p[i], argv, &where);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            pn_process_wait(&p[i], LIMIT);
            if (p[i].code != 0) fail_msg("seed %d: exit code %d: %s", i, p[i].code, p[i].err);
            pn_process_free(&p[i]);
        }
        assert_seeds("once/results.json", " 0 1 2 3 4");
        pn_folder_remove(pn_in_folder("once"));
    }
}

/* ---- long names ------------------------------------------------------------------------------ */

/* A directory in the folder, of parts, with a name of exactly `length` bytes; its parents are
 * made. */
static const char *long_name(size_t length) {
    static char name[1200];
    size_t used = 0;
    while (used < length) {
        const size_t left = length - used, part = left <= 200 ? left : left < 400 ? left / 2 : 200;
        if (used) assert_true(mkdir(pn_in_folder(name), 0777) == 0 || errno == EEXIST);
        if (used) name[used++] = '/';
        memset(name + used, 'a' + (int)(used / 200), part - (used > 0));
        used += part - (used > 0);
        name[used] = 0;
    }
    return name;
}

/* No name is cut: what is written and read is in that directory, or the name is refused. */
static void names_of_any_length(void **state) {
    (void)state;
    char cut[1001];
    const char *name = long_name(1010);
    snprintf(cut, sizeof cut, "%s", name); /* where results.json would go, if it is there */
    assert_true(mkdir(pn_in_folder(cut), 0777) == 0);
    assert_int_equal(RUN(TINY(name), "--epochs", "1"), 0);
    char path[1200];
    snprintf(path, sizeof path, "%s/results.json", name);
    free(text_of(path));
    snprintf(path, sizeof path, "%s/seed-1", name);
    assert_int_equal(RUN("eval", path, "--data", "synthetic:40x8x8x3"), 0);
    assert_int_equal(RUN("export", path, "--safetensors", "long.safetensors"), 0);
    assert_int_equal(RUN("trace", "--genotype", "PDARTS", "--init-only", "--layers", "2",
                         "--channels", "4", "--out", path),
                     0);
    REFUSE(2, "a path of 1027 bytes, want at most 1023", TINY(long_name(1020)), "--epochs", "1");
    char *left = pn_folder_text(pn_in_folder(cut), NULL);
    assert_string_equal(left, "");
    free(left);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stem_has_the_sizes_of_plan),
        cmocka_unit_test(held_out_images_are_not_trained_on),
        cmocka_unit_test(a_step_in_shards),
        cmocka_unit_test(shards_of_a_training),
        cmocka_unit_test(rates_follow_the_settings),
        cmocka_unit_test(results_are_the_seeds),
        cmocka_unit_test(eval_agrees_with_the_training),
        cmocka_unit_test(an_export_has_the_keys_of_a_state_dict),
        cmocka_unit_test(weights_made_elsewhere),
        cmocka_unit_test(weights_of_another_number_of_classes),
        cmocka_unit_test(what_cannot_be_trained),
        cmocka_unit_test(a_training_that_diverges),
        cmocka_unit_test(a_score_that_is_not_finite),
        cmocka_unit_test(eval_of_weights_that_are_not_finite),
        cmocka_unit_test(later_seeds_are_added),
        cmocka_unit_test(trainings_at_once_lose_nothing),
        cmocka_unit_test(names_of_any_length),
    };
    return cmocka_run_group_tests_name("train", tests, begin, end);
}
