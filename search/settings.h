/* settings.h -- everything that decides what a search does, in one table: the command line, the
 * help text, run.json and the check that a continued run is the same run all read this table. */
#ifndef PN_SETTINGS_H
#define PN_SETTINGS_H

#include <stdbool.h>
#include <stdio.h>

#include "search/model.h"

enum { PN_TEXT_BYTES = 1024 };

/* "Not said": the rule, the data or the other settings decide. */
#define PN_UNSET_REAL (-1.0)
enum { PN_UNSET = -1 };

typedef struct pn_settings {
    char data[PN_TEXT_BYTES]; /* as pn_data_open takes it */
    char rule[16];
    int64_t layers, channels, batch, samples, epochs, steps, warmup, seed;
    double temperature, temperature_v, rate_pi, rate_v, rate_v_end, momentum, decay, clip,
        skip_below;
    int64_t baseline, distinct_inputs, freeze_weights, augment, share_slot; /* 0, 1, PN_UNSET */
    char prior[PN_TEXT_BYTES]; /* where pi came from; "" = uniform */
} pn_settings;

typedef enum pn_field_kind {
    PN_FIELD_TEXT,
    PN_FIELD_INT,
    PN_FIELD_REAL,
    PN_FIELD_FLAG
} pn_field_kind;

typedef struct pn_field {
    const char *name; /* --name */
    pn_field_kind kind;
    size_t offset;       /* in pn_settings */
    size_t size;         /* of a text, with its zero */
    double min, max;     /* of a number */
    const char *choices; /* of a text: "a|b", or NULL */
    const char *argument, *help;
} pn_field;

extern const pn_field pn_settings_field[];
extern const int pn_settings_fields;

/* All unset but what has one value for everybody. */
pn_settings pn_settings_defaults(void);

/* Sets one field from text. PN_EARG names the value and what is accepted. */
pn_status pn_settings_set(pn_settings *settings, const pn_field *field, const char *text);

/* The value as text, as pn_settings_set takes it ("auto" where unset). */
void pn_settings_text(const pn_settings *settings, const pn_field *field, char text[PN_TEXT_BYTES]);

/* Fills in what is unset, from the rule and the data, so that nothing is left to a default that
 * a later version could change. */
pn_status pn_settings_resolve(pn_settings *settings, const pn_data *data);

/* Resolved settings in the form that the parts want them. */
pn_search_settings pn_settings_search(const pn_settings *settings);
pn_model_settings pn_settings_model(const pn_settings *settings, const pn_data *data,
                                    size_t memory);

/* As a JSON object (to be freed), and back. PN_EINPUT for what is missing, unknown or out of
 * range; `where` begins the sentence. */
char *pn_settings_write(const pn_settings *settings);
pn_status pn_settings_read(const char *where, const char *json, size_t length,
                           pn_settings *settings);

/* PN_EARG naming the first field that was `given` for `now` and differs from `before`. */
pn_status pn_settings_same(const pn_settings *before, const pn_settings *now, const bool *given);

#endif
