/* pace.c -- see pace.h. */
#include "search/methods/pace.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/group.h"
#include "search/methods/method.h"
#include "search/rundir/record.h"

enum { TRIED = 1000000 }; /* steps of the search whose first are timed */
static const int64_t most_steps = INT64_C(1000000000000);

typedef struct pacing {
    pn_group *group;
    pn_settings asked; /* of rank 0 */
    pn_data data;
    pn_model model;
    int in_flight;
    const pn_method *method;
    void *self; /* its state */
    pn_step_report report;
} pacing;

/* Of a search of so many steps, in steps of warm-up. PN_EARG if it cannot have so few. */
static pn_status cost_of(const pacing *p, int64_t steps, double *cost) {
    pn_settings s = p->asked;
    s.steps = steps;
    PN_TRY(pn_settings_resolve(&s, &p->data));
    *cost = p->method->cost(&s, steps);
    return PN_OK;
}

static pn_status step(pacing *p) {
    const pn_evaluator evaluator = pn_model_evaluator(&p->model);
    pn_group_at(p->group, "timed step", p->method->position(p->self));
    return p->method->step(p->self, &evaluator, &p->report);
}

/* Seconds of a step of warm-up, or of as much of another one. `timed`: the settings of it all.
 * After each step rank 0 says whether there is another: clocks differ. */
static pn_status measure(pacing *p, const pn_settings *timed, double limit, double *seconds) {
    int64_t steps = 0;
    bool more = true;
    for (; steps < PN_PACE_FIRST; steps++) PN_TRY(step(p));
    const double begun = pn_now();
    while (more) {
        PN_TRY(step(p));
        steps++;
        more = steps < PN_PACE_FIRST + PN_PACE_STEPS && pn_now() - begun <= limit;
        PN_TRY(pn_group_share(p->group, &more, sizeof more));
    }
    *seconds = (pn_now() - begun) /
               (p->method->cost(timed, steps) - p->method->cost(timed, PN_PACE_FIRST));
    return pn_group_share(p->group, seconds, sizeof *seconds);
}

static pn_status choose(pacing *p, double each, int64_t *steps) {
    int64_t fits = 1, fails = most_steps + 1;
    if (p->asked.warmup > fits) fits = p->asked.warmup;
    if (p->asked.select > fits) fits = p->asked.select;
    while (fails - fits > 1) {
        const int64_t middle = fits + (fails - fits) / 2;
        double cost;
        PN_TRY(cost_of(p, middle, &cost));
        *(cost * each <= p->asked.time ? &fits : &fails) = middle;
    }
    *steps = fits;
    return PN_OK;
}

static pn_status pace(pacing *p, const pn_kernels *kernels, size_t memory, int64_t *steps) {
    const pn_space space = pn_space_darts();
    double each;
    PN_TRY(pn_group_share(p->group, &p->asked, sizeof p->asked));
    pn_settings s = p->asked;
    s.steps = s.warmup > TRIED ? s.warmup : TRIED;
    p->method = pn_method_of(&s);
    PN_TRY(pn_method_check(&s));
    PN_TRY(pn_method_check_ranks(p->method, p->group));
    PN_TRY(pn_data_open(s.data, PN_TRAIN, &p->data));
    PN_TRY(pn_record_same_images(NULL, p->group, s.data, pn_data_checksum(&p->data)));
    PN_TRY(pn_settings_resolve(&s, &p->data));
    pn_model_settings model = pn_settings_model(&s, &p->data, memory);
    model.group = p->group;
    model.in_flight = p->in_flight;
    PN_TRY(pn_model_create(&p->model, kernels, &space, &model, &p->data, (int)s.samples));
    p->self = calloc(1, p->method->bytes);
    if (!p->self) return pn_fail(PN_EMEM, "no memory for the state of the search");
    PN_TRY(p->method->begin(p->self, &space, &s));
    PN_TRY(measure(p, &s, s.time / 10, &each));
    return choose(p, each, steps);
}

pn_status pn_search_pace(const pn_settings *asked, const pn_kernels *kernels, size_t memory,
                         int in_flight, pn_group *group, int64_t *steps) {
    pacing *p = calloc(1, sizeof *p);
    if (!p) return pn_fail(PN_EMEM, "no memory to time the first steps");
    p->group = group;
    p->in_flight = in_flight;
    p->asked = *asked;
    const pn_status s = pace(p, kernels, memory, steps);
    free(p->self);
    pn_model_destroy(&p->model);
    pn_data_free(&p->data);
    free(p);
    return s;
}
