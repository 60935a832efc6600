/* search.c -- a small search without the program and without a directory: synthetic images, shared
 * weights, PARSEC's steps. Prints the most probable cell in DARTS notation. Far too short to find a
 * good one: it shows how the parts fit. search/methods/run.h is the same with tables, checkpoints,
 * and a way to continue. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "search/methods/model.h"
#include "search/methods/parsec.h"
#include "search/network/genotype.h"

enum { STEPS = 24, BATCH = 16 };

static void must(pn_status s) {
    if (s == PN_OK) return;
    fprintf(stderr, "search: %s\n", pn_error());
    exit(1);
}

/* Gives the entropy of the distribution at the end, in nats. */
static double run(const pn_kernels *kernels, const pn_data *data, pn_search *search) {
    static pn_step_report report; /* large: it has all samples */
    const pn_space space = pn_space_darts();
    pn_model model;

    /* The weights that all architectures share: 3 cells, 4 channels. */
    pn_model_settings how = pn_model_defaults();
    how.N = BATCH;
    how.seed = 1;
    how.network = (pn_network_spec){.layers = 3,
                                    .channels = 4,
                                    .H = data->H,
                                    .W = data->W,
                                    .image_channels = data->C,
                                    .classes = data->classes};
    /* How the distribution moves: the rule of the program, with warm-up in the first half. */
    pn_search_settings rule = pn_rule_practical(STEPS, BATCH);
    rule.seed = 1;
    must(pn_model_create(&model, kernels, &space, &how, data, rule.samples));
    must(pn_search_init(search, &space, &rule));

    const pn_evaluator evaluator = pn_model_evaluator(&model);
    while (search->step < STEPS) {
        must(pn_search_step(search, &evaluator, &report));
        if (search->step % 8 == 0)
            fprintf(stderr, "step %2d of %d on %s: loss %.2f, entropy %.2f nats\n",
                    (int)search->step, STEPS, kernels->name, report.train_loss, report.entropy);
    }
    pn_model_destroy(&model);
    return report.entropy;
}

int main(void) {
    static pn_search search, again;
    const pn_kernels *kernels;
    pn_data data;
    pn_arch mode, read;
    char genotype[PN_GENOTYPE_BYTES];

    must(pn_backend_open("auto", &kernels));
    must(pn_data_open("synthetic:400x12x12x3", PN_TRAIN, &data));
    const double entropy = run(kernels, &data, &search);
    pn_prior_mode(&search.prior, &mode);
    pn_genotype_write(&mode, genotype);
    puts(genotype);

    /* The distribution has moved, what was printed is its cell, and the same search again ends with
     * the same bits. */
    run(kernels, &data, &again);
    pn_data_free(&data);
    must(pn_genotype_read(genotype, strlen(genotype), &read));
    const int moved = entropy < pn_prior_entropy_uniform(&search.prior) - 0.5;
    const int printed = !memcmp(&read, &mode, sizeof mode);
    int same = again.prior.count == search.prior.count;
    for (int i = 0; i < search.prior.count; i++)
        same &= again.prior.logit[i] == search.prior.logit[i];
    if (moved && printed && same) return 0;
    fprintf(stderr, "search: WRONG: moved %d, printed %d, same bits %d\n", moved, printed, same);
    return 1;
}
