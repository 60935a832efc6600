/* pace.c -- see pace.h. */
#include "search/methods/pace.h"

#include <stdlib.h>

#include "runtime/clock.h"
#include "search/methods/method.h"

enum { TRIED = 1000000 }; /* steps of the search whose first are timed */
static const int64_t most_steps = INT64_C(1000000000000);

typedef struct pacing {
    pn_data data;
    pn_model model;
    const pn_method *method;
    void *self; /* its state */
    pn_step_report report;
} pacing;

/* Of a search of so many steps, in steps of warm-up. PN_EARG if it cannot have so few. */
static pn_status cost_of(const pacing *p, const pn_settings *asked, int64_t steps, double *cost) {
    pn_settings s = *asked;
    s.steps = steps;
    PN_TRY(pn_settings_resolve(&s, &p->data));
    *cost = p->method->cost(&s, steps);
    return PN_OK;
}

/* Seconds of a step of warm-up, or of as much of another one. `timed`: the settings of it all. */
static pn_status measure(pacing *p, const pn_settings *timed, double limit, double *seconds) {
    const pn_evaluator evaluator = pn_model_evaluator(&p->model);
    int64_t steps = 0;
    for (; steps < PN_PACE_FIRST; steps++) PN_TRY(p->method->step(p->self, &evaluator, &p->report));
    const double begun = pn_now();
    do {
        PN_TRY(p->method->step(p->self, &evaluator, &p->report));
        steps++;
    } while (steps < PN_PACE_FIRST + PN_PACE_STEPS && pn_now() - begun <= limit);
    *seconds = (pn_now() - begun) /
               (p->method->cost(timed, steps) - p->method->cost(timed, PN_PACE_FIRST));
    return PN_OK;
}

static pn_status choose(pacing *p, const pn_settings *asked, double each, int64_t *steps) {
    int64_t fits = 1, fails = most_steps + 1;
    if (asked->warmup > fits) fits = asked->warmup;
    if (asked->select > fits) fits = asked->select;
    while (fails - fits > 1) {
        const int64_t middle = fits + (fails - fits) / 2;
        double cost;
        PN_TRY(cost_of(p, asked, middle, &cost));
        *(cost * each <= asked->time ? &fits : &fails) = middle;
    }
    *steps = fits;
    return PN_OK;
}

static pn_status pace(pacing *p, const pn_settings *asked, const pn_kernels *kernels, size_t memory,
                      int64_t *steps) {
    const pn_space space = pn_space_darts();
    pn_settings s = *asked;
    double each;
    s.steps = asked->warmup > TRIED ? asked->warmup : TRIED;
    p->method = pn_method_of(asked);
    PN_TRY(pn_method_check(asked));
    PN_TRY(pn_data_open(s.data, PN_TRAIN, &p->data));
    PN_TRY(pn_settings_resolve(&s, &p->data));
    const pn_model_settings model = pn_settings_model(&s, &p->data, memory);
    PN_TRY(pn_model_create(&p->model, kernels, &space, &model, &p->data, (int)s.samples));
    p->self = calloc(1, p->method->bytes);
    if (!p->self) return pn_fail(PN_EMEM, "no memory for the state of the search");
    PN_TRY(p->method->begin(p->self, &space, &s));
    PN_TRY(measure(p, &s, asked->time / 10, &each));
    return choose(p, asked, each, steps);
}

pn_status pn_search_pace(const pn_settings *asked, const pn_kernels *kernels, size_t memory,
                         int64_t *steps) {
    pacing *p = calloc(1, sizeof *p);
    if (!p) return pn_fail(PN_EMEM, "no memory to time the first steps");
    const pn_status s = pace(p, asked, kernels, memory, steps);
    free(p->self);
    pn_model_destroy(&p->model);
    pn_data_free(&p->data);
    free(p);
    return s;
}
