/* library.c -- the library itself, and what costs no training: see parsec_nas.h. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "api/parts.h"
#include "search/methods/cost.h"
#include "search/methods/step.h"
#include "search/rundir/rows.h"

int parsec_nas_abi(void) { return PARSEC_NAS_ABI; }
const char *parsec_nas_version(void) { return PN_VERSION; }
const char *parsec_nas_error(void) { return pn_error(); }
void parsec_nas_free(char *text) { free(text); }

int parsec_nas_threads(int count) {
    if (count < 1 || count > 1024) return pn_fail(PN_EARG, "%d threads, want 1 to 1024", count);
    omp_set_num_threads(count);
    return PN_OK;
}

/* ---- genotypes ------------------------------------------------------------------------------- */

static json_t *cell_json(const pn_cell *cell) {
    json_t *nodes = json_array();
    int failed = 0;
    for (int node = 0; node < PN_MAX_NODES; node++) {
        json_t *terms = json_array();
        for (int i = 0; i < pn_slots(cell, node); i++) {
            const pn_choice c = cell->term[node][i];
            failed |=
                json_array_append_new(terms, json_pack("[s,i]", pn_op_name[c.op], (int)c.input));
        }
        failed |= json_array_append_new(nodes, terms);
    }
    if (!failed) return nodes;
    json_decref(nodes);
    return NULL;
}

static pn_status genotype_text(const pn_arch *arch, char **json) {
    const pn_space space = pn_space_darts();
    char text[PN_GENOTYPE_BYTES], brief[PN_SHORT_BYTES];
    pn_genotype_write(arch, text);
    pn_genotype_short(&space, arch, brief);
    json_t *root = json_pack("{s:s,s:s}", "genotype", text, "short", brief);
    int failed = 0;
    failed |= json_object_set_new(root, "normal", cell_json(&arch->cell[PN_NORMAL]));
    failed |= json_object_set_new(root, "reduce", cell_json(&arch->cell[PN_REDUCTION]));
    return pn_json_text(root, failed, 0, json);
}

int parsec_nas_genotype(const char *text, char **json) {
    pn_arch arch;
    PN_TRY(pn_api_wanted(text, "text"));
    PN_TRY(pn_api_wanted(json, "json"));
    PN_TRY(pn_genotype_open(text, &arch));
    pn_api_lock();
    const pn_status s = genotype_text(&arch, json);
    pn_api_unlock();
    return s;
}

/* ---- what a network costs -------------------------------------------------------------------- */

#define PN_OF pn_cost_settings

static const pn_field rows[] = {
    PN_ROW_GENOTYPE(NULL),
    PN_TEXT("network", network, "search|eval", "NET", "search", NULL),
    PN_ROW_STEM("cifar", NULL),
    PN_ROW_LAYERS(NULL, NULL),
    PN_ROW_CHANNELS(NULL, NULL),
    PN_INT("samples", samples, 1, 1e6, NULL, NULL),
    PN_FLAG("supernet", supernet, NULL, NULL),
    PN_ROW_AUXILIARY("1", NULL),
    PN_ROW_BATCH(NULL, NULL),
    PN_ROW_SHARDS(NULL),
    PN_INT("step-samples", step_samples, 1, PN_MAX_SAMPLES, NULL, NULL),
    PN_INT("ranks", ranks, 1, 65536, NULL, NULL),
    PN_ROW_IMAGE(NULL, NULL),
    PN_ROW_CLASSES(NULL, NULL),
    PN_TEXT("device", device, NULL, "D", "cpu", NULL),
    PN_TEXT("precision", precision, "float32|tf32|bf16|fp16", "TYPE", NULL, NULL),
    PN_BYTES("memory", memory, NULL),
    PN_ROW_SHARE_SLOT(NULL),
    PN_ROW_SEED(NULL),
};

static pn_status plan(const char *settings, char **json) {
    static const pn_fields fields = PN_FIELDS(rows);
    pn_cost_settings asked = {0};
    pn_cost cost;
    const pn_api_table table = {&fields, &asked, NULL};
    json_t *root; /* holds the words that `asked`, and so `cost`, points to */
    pn_fields_defaults(&fields, &asked);
    PN_TRY(pn_api_read(settings, &table, 1, NULL, &root));
    pn_status s = pn_cost_find(&asked, &cost);
    if (s == PN_OK) s = pn_cost_text(&cost, json);
    json_decref(root);
    return s;
}

int parsec_nas_plan(const char *settings, char **json) {
    PN_TRY(pn_api_wanted(json, "json"));
    pn_api_lock();
    const pn_status s = plan(settings, json);
    pn_api_unlock();
    return s;
}
