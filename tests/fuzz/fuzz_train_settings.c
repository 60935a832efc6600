/* fuzz_train_settings.c -- any bytes as run.json of a training; see fuzz_settings.c. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fields.h"
#include "tests/fuzz/tiny.h"

enum { SMALL = 8, MODEL = 64 << 20 };

static const char *directory;
static pn_train_settings settings;

static pn_status load(const uint8_t *data, size_t size) {
    const pn_train_settings defaults = pn_train_defaults();
    return fuzz_fields(&pn_train_fields, &defaults, sizeof defaults, (const char *)data, size,
                       &settings);
}

static pn_status open_training(const uint8_t *data, size_t size) {
    const pn_opening opening = {.given = NULL};
    pn_training training;
    fuzz_pause();
    fuzz_file("training/run.json", data, size);
    fuzz_resume();
    const pn_status status =
        pn_training_open(&training, directory, &settings, &opening, tiny_kernels(), MODEL);
    fuzz_loaded();
    pn_training_close(&training);
    return status;
}

static void check(const uint8_t *data, size_t size) {
    fuzz_run(load, data, size, FUZZ_JSON * size + FUZZ_CONSTANT);
    const pn_train_settings *r = &settings;
    if (load(data, size) == PN_OK && !strcmp(r->data, TINY_DATA) && r->layers <= SMALL &&
        r->channels <= SMALL && r->batch <= SMALL)
        fuzz_run(open_training, data, size, FUZZ_JSON * size + MODEL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    directory = strdup(fuzz_path("training"));
    MUST(directory != NULL);
    tiny_training(directory);
    pn_place place;
    MUST(pn_place_open(&place, directory) == PN_OK);
    pn_checkpoint_remove(&place, 0);
    pn_place_close(&place);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check(data, size);
    if (size == 0) return 0;
    const pn_train_settings tiny = tiny_train_settings();
    size_t length;
    char *file = fuzz_field(&pn_train_fields, &tiny, data, size, &length);
    check((const uint8_t *)file, length);
    free(file);
    fuzz_option(&pn_train_fields, &tiny, sizeof tiny, data, size);
    return 0;
}
