/* fuzz_settings.c -- any bytes as run.json of a search: refused, or settings that come back from
 * what they are written as; and if they are those of a small search, as the run.json of a
 * directory, which is then opened. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fields.h"
#include "tests/fuzz/tiny.h"

enum { SMALL = 8, MOST_STEPS = 1000, MODEL = 64 << 20 };

static const char *directory;
static pn_settings settings;

static pn_status load(const uint8_t *data, size_t size) {
    const pn_settings defaults = pn_settings_defaults();
    return fuzz_fields(&pn_settings_fields, &defaults, sizeof defaults, (const char *)data, size,
                       &settings);
}

static pn_status open_run(const uint8_t *data, size_t size) {
    const pn_opening opening = {.given = NULL};
    pn_run run;
    fuzz_pause();
    fuzz_file("search/run.json", data, size);
    fuzz_resume();
    const pn_status status =
        pn_run_open(&run, directory, &settings, &opening, tiny_kernels(), MODEL);
    fuzz_loaded();
    pn_run_close(&run);
    return status;
}

static void check(const uint8_t *data, size_t size) {
    fuzz_run(load, data, size, FUZZ_JSON * size + FUZZ_CONSTANT);
    const pn_settings *s = &settings;
    if (load(data, size) == PN_OK && !strcmp(s->data, TINY_DATA) && s->layers <= SMALL &&
        s->channels <= SMALL && s->batch <= SMALL && s->samples <= SMALL && !s->prior[0])
        fuzz_run(open_run, data, size, FUZZ_JSON * size + MODEL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    directory = strdup(fuzz_path("search"));
    MUST(directory != NULL);
    tiny_search(directory);
    /* Without its checkpoint: it begins anew, and writes its tables. */
    pn_place place;
    MUST(pn_place_open(&place, directory) == PN_OK);
    pn_checkpoint_remove(&place, 0);
    pn_place_close(&place);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check(data, size);
    if (size == 0) return 0;
    const pn_settings tiny = tiny_settings();
    size_t length;
    char *file = fuzz_field(&pn_settings_fields, &tiny, data, size, &length);
    check((const uint8_t *)file, length);
    free(file);
    fuzz_option(&pn_settings_fields, &tiny, sizeof tiny, data, size);
    return 0;
}
