/* tiny.c -- see tiny.h. */
#include "tests/fuzz/tiny.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "search/network/weights.h"
#include "tests/fuzz/harness.h"

const pn_kernels *tiny_kernels(void) {
    static const pn_kernels *kernels;
    omp_set_num_threads(1);
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a huge page takes longer to clear than a run */
    if (!kernels) MUST(pn_backend_open("cpu:base", &kernels) == PN_OK);
    return kernels;
}

pn_settings tiny_settings(void) {
    pn_settings s = pn_settings_defaults();
    snprintf(s.data, sizeof s.data, TINY_DATA);
    s.layers = 1;
    s.channels = 4;
    s.batch = 2;
    s.samples = 2;
    s.steps = 4;
    s.warmup = 1;
    return s;
}

pn_train_settings tiny_train_settings(void) {
    pn_train_settings r = pn_train_defaults();
    snprintf(r.data, sizeof r.data, TINY_DATA);
    pn_arch arch;
    MUST(pn_genotype_open("PDARTS", &arch) == PN_OK);
    pn_genotype_write(&arch, r.genotype);
    r.layers = 1;
    r.channels = 4;
    r.batch = 2;
    r.epochs = 2;
    r.cutout = 1;
    return r;
}

void tiny_search(const char *directory) {
    const pn_opening opening = {.given = NULL};
    const pn_settings settings = tiny_settings();
    pn_run run;
    MUST(pn_run_open(&run, directory, &settings, &opening, tiny_kernels(), 0) == PN_OK);
    for (int i = 0; i < TINY_SEARCH_STEP; i++) MUST(pn_run_step(&run) == PN_OK);
    MUST(pn_run_save(&run) == PN_OK);
    pn_run_close(&run);
}

void tiny_training(const char *directory) {
    const pn_opening opening = {.given = NULL};
    const pn_train_settings settings = tiny_train_settings();
    pn_training training;
    MUST(pn_training_open(&training, directory, &settings, &opening, tiny_kernels(), 0) == PN_OK);
    for (int i = 0; i < TINY_TRAINING_STEP; i++) MUST(pn_training_step(&training) == PN_OK);
    MUST(pn_training_save(&training) == PN_OK);
    pn_training_close(&training);
}

void tiny_weights(const char *path, const pn_network_spec *spec) {
    const pn_space space = pn_space_darts();
    pn_network network;
    pn_arch arch;
    MUST(pn_genotype_open("DARTS_V2", &arch) == PN_OK);
    MUST(pn_network_create(&network, spec, &space, &arch) == PN_OK);
    MUST(pn_parameters_allocate(&network.parameters, &pn_host_memory) == PN_OK);
    pn_parameters_init(&network.parameters, 1);
    char *names[] = {"cat", "dog", "d\xc3\xa4\xc3\xa4s"};
    const pn_images images = {.H = spec->H,
                              .W = spec->W,
                              .C = spec->image_channels,
                              .classes = spec->classes,
                              .measured = true,
                              .mean = {.5F, .25F, .125F},
                              .std = {.5F, .25F, .75F},
                              .names = names};
    MUST(spec->classes == sizeof names / sizeof *names);
    MUST(pn_weights_save(NULL, path, &network, &arch, &images, 1, true) == PN_OK);
    pn_network_destroy(&network);
}

void *tiny_read(const char *directory, const char *name, size_t *size) {
    char path[512];
    void *data;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    MUST(pn_file_read(path, 1 << 24, &data, size) == PN_OK);
    return data;
}
