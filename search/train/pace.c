/* pace.c -- see pace.h. */
#include "search/train/pace.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "search/train/trainer.h"

enum { FIRST = 2, TIMED = 20 }; /* steps: untimed, timed */

typedef struct pacing {
    pn_data data, held;
    pn_trainer trainer;
    pn_train_report report;
} pacing;

/* Seconds of a step. */
static pn_status measure(pacing *p, double limit, double *seconds) {
    int timed = 0;
    for (int i = 0; i < FIRST; i++) PN_TRY(pn_trainer_step(&p->trainer, &p->report));
    const double begun = pn_now();
    do {
        PN_TRY(pn_trainer_step(&p->trainer, &p->report));
        timed++;
    } while (timed < TIMED && pn_now() - begun <= limit);
    *seconds = (pn_now() - begun) / timed;
    return PN_OK;
}

static pn_status pace(pacing *p, const pn_train_settings *asked, const pn_kernels *kernels,
                      size_t memory, int64_t *epochs) {
    pn_train_settings s = *asked;
    double step;
    if (s.hold_out == 1)
        PN_TRY(pn_data_open(s.data, PN_TRAIN, &p->data));
    else
        PN_TRY(pn_data_open_both(s.data, &p->data, &p->held));
    PN_TRY(pn_train_resolve(&s, &p->data));
    PN_TRY(pn_trainer_create(&p->trainer, kernels, &s, &p->data, memory));
    PN_TRY(measure(p, s.time / 10, &step));
    const double images = s.hold_out ? p->data.count / 2 : p->held.count,
                 scores = images / (double)s.batch / 3 / (double)s.score_every,
                 epoch = step * ((double)p->trainer.steps_per_epoch + scores);
    const double fit = s.time / epoch;
    if (fit < 1)
        return pn_fail(PN_EARG, "--time %.0f seconds, want at least %.0f, which an epoch takes",
                       s.time, epoch + 1);
    *epochs = fit < 1e6 ? (int64_t)fit : 1000000;
    return PN_OK;
}

pn_status pn_training_pace(const pn_train_settings *asked, const pn_kernels *kernels, size_t memory,
                           int64_t *epochs) {
    pacing *p = calloc(1, sizeof *p);
    if (!p) return pn_fail(PN_EMEM, "no memory to time the first steps");
    const pn_status s = pace(p, asked, kernels, memory, epochs);
    pn_trainer_destroy(&p->trainer);
    pn_data_free(&p->data);
    pn_data_free(&p->held);
    free(p);
    return s;
}
