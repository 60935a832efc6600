/* from.c -- see from.h. */
#include "tests/fuzz/from.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/methods/warm_start.h"
#include "tests/fuzz/tiny.h"

static char *directory, *header;
static pn_network network;
static pn_warm_start opened = PN_NO_WARM_START;

void fuzz_from_make(void) {
    const pn_settings settings = tiny_settings();
    const pn_space space = pn_space_darts();
    const pn_data data = {.H = 4, .W = 4, .C = 1, .classes = 10};
    const pn_model_settings model = pn_settings_model(&settings, &data, 0);
    directory = strdup(fuzz_path("from"));
    MUST(directory != NULL);
    tiny_search(directory);
    MUST(pn_network_create(&network, &model.network, &space, NULL) == PN_OK);
    MUST(pn_parameters_allocate(&network.parameters, &pn_host_memory) == PN_OK);
    MUST(pn_warm_start_open(&opened, directory, &space) == PN_OK);
    size_t size;
    header = tiny_read(directory, "prior.csv", &size);
    header[strcspn(header, "\n")] = 0;
}

static int columns(const char *row) {
    int count = 1;
    for (; *row; row++) count += *row == ',';
    return count;
}

static void check_rows(const char *path) {
    void *text;
    size_t size;
    MUST(pn_file_read(path, SIZE_MAX / 4, &text, &size) == PN_OK);
    MUST(strlen(text) == size);
    char *rest = text;
    char *end = NULL;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        MUST(columns(line) == columns(header));
        MUST(line[0] == '-' && strtoll(line, &end, 10) < 0 && *end == ',');
        while (*end == ',') (void)strtod(end + 1, &end);
        MUST(*end == 0);
    }
    free(text);
}

static pn_status read_rows(const pn_warm_start *from) {
    const char *path = fuzz_path("rows.csv");
    pn_table *table = NULL;
    PN_TRY(pn_table_open(path, 0, &table));
    const pn_status rows = pn_warm_start_rows(from, header, table);
    const pn_status closed = pn_table_close(table);
    PN_TRY(rows);
    PN_TRY(closed);
    fuzz_loaded();
    check_rows(path);
    return PN_OK;
}

pn_status fuzz_from_rows(void) { return read_rows(&opened); }

static pn_status read_source(const pn_warm_start *source) {
    const pn_space space = pn_space_darts();
    pn_prior prior;
    MUST(pn_prior_init(&prior, &space, true) == PN_OK);
    PN_TRY(pn_warm_start_prior(source, &prior));
    for (int i = 0; i < prior.count; i++) MUST(isfinite(prior.logit[i]));
    char *history;
    PN_TRY(pn_warm_start_history(source, &prior, &history));
    free(history);
    PN_TRY(pn_warm_start_weights(source, &network.parameters));
    MUST(isfinite(pn_prior_entropy(&prior, NULL)));
    return read_rows(source);
}

pn_status fuzz_from_read(void) {
    const pn_space space = pn_space_darts();
    pn_warm_start source;
    pn_status status = pn_warm_start_open(&source, directory, &space);
    if (status == PN_OK) status = read_source(&source);
    pn_warm_start_close(&source);
    return status;
}

static pn_status remove_one(void *self, const char *name) { return pn_place_remove(self, name); }

/* Nothing is left of the search before. */
static void clear(const char *path) {
    pn_place place;
    if (pn_place_open(&place, path) != PN_OK) return;
    MUST(pn_place_list(&place, remove_one, &place) == PN_OK);
    pn_place_close(&place);
}

pn_status fuzz_from_begin(void) {
    const pn_opening opening = {.given = NULL};
    pn_settings settings = tiny_settings();
    pn_run run;
    char begun[192];
    fuzz_pause();
    snprintf(begun, sizeof begun, "%s", fuzz_path("begun"));
    clear(begun);
    fuzz_resume();
    snprintf(settings.prior, sizeof settings.prior, "%s", directory);
    settings.keep_weights = 1;
    const pn_status status = pn_run_open(&run, begun, &settings, &opening, tiny_kernels(), 0);
    fuzz_loaded();
    if (status == PN_OK)
        MUST(pn_run_position(&run) == 0 && run.record.saved == 0 && run.record.history);
    pn_run_close(&run);
    return status;
}
