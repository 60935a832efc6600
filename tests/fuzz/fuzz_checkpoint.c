/* fuzz_checkpoint.c -- any bytes as the checkpoint of a search: the directory is refused, or opened
 * at the step that the file's name says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/harness.h"
#include "tests/fuzz/tiny.h"

enum { MODEL = 8 << 20 }; /* of the search itself, its images and its tables */

static const char *directory;

static pn_status load(const uint8_t *data, size_t size) {
    static const char *const tables[] = {"search/metrics.csv", "search/samples.csv",
                                         "search/prior.csv"};
    const pn_opening opening = {.given = NULL};
    const pn_settings settings = tiny_settings();
    pn_run run;
    fuzz_pause();
    fuzz_file("search/checkpoint-00000003.safetensors", data, size);
    for (int i = 0; i < 3; i++) MUST(truncate(fuzz_path(tables[i]), 1 << 16) == 0);
    fuzz_resume();
    const pn_status status = pn_run_open(&run, directory, &settings, &opening, tiny_kernels(), 0);
    fuzz_loaded();
    if (status == PN_OK) {
        MUST(run.continued && pn_run_position(&run) == TINY_SEARCH_STEP);
        MUST(isfinite(run.belief.entropy));
    }
    pn_run_close(&run);
    return status;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    directory = strdup(fuzz_path("search"));
    MUST(directory != NULL);
    tiny_search(directory);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_run(load, data, size, fuzz_tensors_limit(data, size) + MODEL);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
