/* fuzz_weights.c -- any bytes as weights: refused, or loaded as eval and export do it, into no more
 * memory than the file itself has numbers for; then saved, and the same when loaded again. */
#include <stdlib.h>
#include <string.h>

#include "search/network/weights.h"
#include "tests/fuzz/harness.h"

/* What the file says of its images is whole, and the same in the file that was saved. */
static void same_images(const pn_images *a, const pn_safetensors *saved) {
    pn_weights_about about;
    MUST(pn_weights_describe(saved, &about) == PN_OK);
    const pn_images *b = &about.images;
    MUST(a->H == b->H && a->W == b->W && a->C == b->C && a->classes == b->classes);
    MUST(a->measured == b->measured && !a->names == !b->names);
    for (int c = 0; a->measured && c < a->C; c++)
        MUST(a->mean[c] == b->mean[c] && a->std[c] == b->std[c] && a->std[c] > 0);
    for (int i = 0; a->names && i < a->classes; i++) MUST(!strcmp(a->names[i], b->names[i]));
    pn_weights_about_free(&about);
}

/* The tensors' list, and each tensor's beginning on a line of its own. */
enum { NETWORK = 8 << 20 };

static const char *path, *again;

static pn_status load(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    const pn_space space = pn_space_darts();
    pn_safetensors *file = NULL;
    pn_weights_about about = {0};
    pn_arch arch;
    pn_network network = {0};
    PN_TRY(pn_safetensors_read(path, &file));
    pn_status s = pn_weights_describe(file, &about);
    if (s == PN_OK && !about.known) {
        pn_safetensors_free(file);
        return pn_fail(PN_EINPUT, "made elsewhere"); /* nothing is in `about` */
    }
    if (s == PN_OK) s = pn_genotype_read(about.genotype, strlen(about.genotype), &arch);
    if (s == PN_OK) s = pn_network_create(&network, &about.spec, &space, &arch);
    if (s == PN_OK) s = pn_weights_backed(file, &network);
    if (s == PN_OK) s = pn_parameters_allocate(&network.parameters, &pn_host_memory);
    if (s == PN_OK) s = pn_weights_load(file, &network);
    fuzz_loaded();
    if (s == PN_OK) {
        pn_safetensors *same = NULL;
        const void *a, *b;
        MUST(pn_weights_save(NULL, again, &network, &arch, &about.images, 1, true) == PN_OK);
        MUST(pn_safetensors_read(again, &same) == PN_OK);
        const pn_parameters *p = &network.parameters;
        for (int i = 0; i < p->count; i++) {
            int64_t shape[4];
            const pn_parameter *t = &p->list[i];
            for (int j = 0; j < t->rank; j++) shape[j] = t->shape[j];
            MUST(pn_safetensors_get(file, t->name, PN_F32, t->rank, shape, &a) == PN_OK);
            MUST(pn_safetensors_get(same, t->name, PN_F32, t->rank, shape, &b) == PN_OK);
            MUST(memcmp(a, b, t->count * sizeof(float)) == 0);
        }
        same_images(&about.images, same);
        pn_safetensors_free(same);
    }
    pn_network_destroy(&network);
    pn_weights_about_free(&about);
    pn_safetensors_free(file);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    path = fuzz_file("weights.safetensors", data, size);
    again = fuzz_path("again.safetensors");
    return fuzz_run(load, data, size, fuzz_tensors_limit(data, size) + NETWORK);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    return fuzz_mutate_tensors(data, size, most, seed);
}
