/* method.h -- ways to search, each behind one table of functions.
 *
 * A run (run.h), its tables and checkpoints, and the commands know a method by its table alone. Its
 * state is a block of pn_method.bytes and, on the disk, an array of doubles. A new method is a file
 * of its own, a line in method.c, and rows for its options in settings.c. */
#ifndef PN_METHOD_H
#define PN_METHOD_H

#include "kernels/api.h"
#include "runtime/safetensors.h"
#include "search/methods/health.h"
#include "search/methods/settings.h"
#include "search/methods/step.h"

PN_API_BEGIN

struct json_t;   /* jansson's */
struct pn_group; /* runtime/group.h */

enum { PN_METHOD_TEXT = 256 };

typedef struct pn_method {
    const char *name;    /* of --method */
    const char *options; /* settings that belong to it, "|rule|samples|": others refuse them */

    pn_model_kind model;                /* what its programs are */
    bool all_images;                    /* it trains on all of them, unless it is asked not to */
    bool drop_path;                     /* its supernets have edges that are dropped */
    bool has_temperature, has_resource; /* of each step, in columns of metrics.csv */

    /* ---- by its settings alone ---- */

    /* Fills in what is unset. PN_EARG. */
    pn_status (*resolve)(pn_settings *settings, const pn_data *data);
    /* What the first `steps` steps of resolved settings cost, in SGD steps of one architecture. */
    double (*cost)(const pn_settings *settings, int64_t steps);
    /* For a person, when it begins. */
    void (*describe)(const pn_settings *settings, char text[PN_METHOD_TEXT]);
    /* How the phase of warm-up steps is called. */
    const char *(*warmup_name)(const pn_settings *settings);

    /* ---- its state ---- */

    size_t bytes;
    /* Step 0 of a search by resolved settings. PN_EARG. */
    pn_status (*begin)(void *self, const pn_space *space, const pn_settings *settings);
    /* One step. PN_EDIVERGED if a number is none: the state is then as it was before. After any
     * failure the report is undefined. */
    pn_status (*step)(void *self, const pn_evaluator *evaluator, pn_step_report *report);
    int64_t (*position)(const void *self); /* the next step */
    /* The state as `count` doubles, and back into one that was begun alike: it then continues to
     * the bit. PN_EINPUT if the numbers cannot be a state; nothing is changed then. */
    int (*count)(const void *self);
    void (*save)(const void *self, double *state);
    pn_status (*restore)(void *self, const double *state, int count);

    /* ---- what it believes ---- */

    /* prior.csv: a column for each probability. */
    int (*columns)(const void *self);
    void (*column)(const void *self, int i, char name[PN_NAME_BYTES]);
    void (*probabilities)(const void *self, double *probability);
    void (*believe)(const void *self, pn_belief *belief);
    /* The cell to hand over. */
    void (*derive)(const void *self, pn_arch *arch);
    /* For a person, when it is finished: how sure it is of this cell. */
    void (*conclude)(const void *self, const pn_arch *arch, char text[PN_METHOD_TEXT]);

    /* ---- NULL where it has none ---- */

    /* pi, which may be moved before the first step. */
    pn_prior *(*prior)(void *self);
    /* pi of a checkpoint, its logits and whether inputs are distinct; *prior is initialised. */
    pn_status (*read_prior)(const pn_safetensors *checkpoint, const struct json_t *settings,
                            pn_prior *prior);
    /* What a method without pi has in its place: log p of a cell, -INFINITY of one that it
     * cannot hand over; the `index`-th cell of those drawn with this seed, whose log p it
     * gives back; and the most probable cells, as pn_prior_top. */
    double (*log_p)(const void *self, const pn_arch *arch);
    double (*draw)(const void *self, uint64_t seed, uint64_t index, pn_arch *arch);
    pn_status (*top)(const void *self, int want, pn_arch *arch, double *log_p, int *found);
    /* How well two halves of the steps agree (effects.h); NAN where it is not known. */
    double (*agreement)(const void *self);
} pn_method;

/* By its name, or by its number from 0; NULL: there is none. */
const pn_method *pn_method_find(const char *name);
const pn_method *pn_method_at(int i);

/* The method that settings name. */
const pn_method *pn_method_of(const pn_settings *settings);

/* PN_EARG if something was asked for that belongs to another method than settings->method. Of
 * settings as they are given, not yet resolved. */
pn_status pn_method_check(const pn_settings *asked);

/* PN_EARG if this is a group of several, and the method no work for them: they share the units of a
 * step, and a supernet is one. */
pn_status pn_method_check_ranks(const pn_method *method, const struct pn_group *group);

PN_API_END

#endif
