/* pace.c -- see pace.h. */
#include "search/train/pace.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "search/rundir/record.h"
#include "search/train/trainer.h"

enum { FIRST = 2, TIMED = 20 }; /* steps: untimed, timed */

typedef struct pacing {
    pn_group *group;
    pn_data data, held;
    pn_trainer trainer;
    pn_train_report report;
} pacing;

static pn_status step(pacing *p) {
    pn_group_at(p->group, "timed step", p->trainer.step);
    return pn_trainer_step(&p->trainer, &p->report);
}

/* Seconds of a step. After each one rank 0 says whether there is another: clocks differ. */
static pn_status measure(pacing *p, double limit, double *seconds) {
    int timed = 0;
    bool more = true;
    for (int i = 0; i < FIRST; i++) PN_TRY(step(p));
    const double begun = pn_now();
    while (more) {
        PN_TRY(step(p));
        timed++;
        more = timed < TIMED && pn_now() - begun <= limit;
        PN_TRY(pn_group_share(p->group, &more, sizeof more));
    }
    *seconds = (pn_now() - begun) / timed;
    return pn_group_share(p->group, seconds, sizeof *seconds);
}

static pn_status pace(pacing *p, const pn_train_settings *asked, const pn_kernels *kernels,
                      size_t memory, int64_t *epochs) {
    pn_train_settings s = *asked;
    double each;
    PN_TRY(pn_group_share(p->group, &s, sizeof s));
    if (s.hold_out == 1)
        PN_TRY(pn_data_open(s.data, PN_TRAIN, &p->data));
    else
        PN_TRY(pn_data_open_both(s.data, &p->data, &p->held));
    PN_TRY(pn_record_same_images(NULL, p->group, s.data, pn_data_checksum(&p->data)));
    PN_TRY(pn_train_resolve(&s, &p->data));
    PN_TRY(pn_trainer_create(&p->trainer, kernels, &s, &p->data, memory, p->group));
    PN_TRY(measure(p, s.time / 10, &each));
    const double images = s.hold_out ? p->data.count / 2 : p->held.count,
                 scores = images / (double)s.batch / 3 / (double)s.score_every,
                 epoch = each * ((double)p->trainer.steps_per_epoch + scores);
    const double fit = s.time / epoch;
    if (fit < 1)
        return pn_fail(PN_EARG, "--time %.0f seconds, want at least %.0f, which an epoch takes",
                       s.time, epoch + 1);
    *epochs = fit < 1e6 ? (int64_t)fit : 1000000;
    return PN_OK;
}

pn_status pn_training_pace(const pn_train_settings *asked, const pn_kernels *kernels, size_t memory,
                           pn_group *group, int64_t *epochs) {
    pacing *p = calloc(1, sizeof *p);
    if (!p) return pn_fail(PN_EMEM, "no memory to time the first steps");
    p->group = group;
    const pn_status s = pace(p, asked, kernels, memory, epochs);
    pn_trainer_destroy(&p->trainer);
    pn_data_free(&p->data);
    pn_data_free(&p->held);
    free(p);
    return s;
}
