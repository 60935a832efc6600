/* fuzz_training.c -- any bytes as the checkpoint of a training: the directory is refused, or opened
 * at the step that the file's name says. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/harness.h"
#include "tests/fuzz/tiny.h"

enum { MODEL = 8 << 20 }; /* of the training itself, its images and its table */

static const char *directory;

static void finite(const pn_epoch_score *m, const pn_training *t) {
    MUST(m->epoch >= 0 && m->epoch <= t->settings.epochs);
    MUST(m->loss - m->loss == 0 && m->accuracy >= 0 && m->accuracy <= 1);
}

static pn_status load(const uint8_t *data, size_t size) {
    const pn_opening opening = {.given = NULL};
    const pn_train_settings settings = tiny_train_settings();
    pn_training training;
    fuzz_pause();
    fuzz_file("training/checkpoint-00000007.safetensors", data, size);
    MUST(truncate(fuzz_path("training/metrics.csv"), 1 << 16) == 0);
    fuzz_resume();
    const pn_status status =
        pn_training_open(&training, directory, &settings, &opening, tiny_kernels(), 0);
    fuzz_loaded();
    if (status == PN_OK) {
        const pn_epoch_sums *s = &training.sums;
        MUST(training.continued && training.trainer.step == TINY_TRAINING_STEP);
        MUST(s->steps >= 0 && s->images >= 0 && s->correct >= 0 && s->correct <= s->images);
        MUST(s->loss - s->loss == 0 && s->gradient_norm - s->gradient_norm == 0);
        finite(&training.last, &training);
        finite(&training.best, &training);
    }
    pn_training_close(&training);
    return status;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    directory = strdup(fuzz_path("training"));
    MUST(directory != NULL);
    tiny_training(directory);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_run(load, data, size, fuzz_tensors_limit(data, size) + MODEL);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
