/* judged.c -- see judged.h. */
#include "tools/judged.h"

#include <stdio.h>

#include "runtime/json.h"
#include "search/report/html.h"

const char *pn_judged_text(const pn_judgement *j, char text[PN_JUDGED_TEXT]) {
    char share[PN_FIGURE_BYTES];
    if (j->judged)
        snprintf(text, PN_JUDGED_TEXT, "%.2f %% (error %.2f), better than %s of all cells",
                 j->accuracy, j->error, pn_figure_share(j->better_than, share));
    else
        snprintf(text, PN_JUDGED_TEXT, "not judged: %s", j->why);
    return text;
}

json_t *pn_judged_json(const pn_judgement *j) {
    if (!j->judged) return json_pack("{s:b,s:s}", "judged", 0, "why", j->why);
    return json_pack("{s:b,s:f,s:f,s:f,s:f}", "judged", 1, "accuracy", j->accuracy, "error",
                     j->error, "better_than", j->better_than, "leverage", j->leverage);
}

json_t *pn_judged_table_json(const pn_truth_facts *f) {
    json_t *table = json_object();
    int failed = 0;
    failed |= json_object_set_new(table, "name", pn_json_string(f->name));
    failed |= json_object_set_new(table, "measure", pn_json_string(f->measure));
    failed |= json_object_set_new(table, "cells", json_integer(f->cells));
    failed |= json_object_set_new(table, "error", pn_json_number(f->error));
    failed |= json_object_set_new(table, "explained", pn_json_number(f->explained));
    failed |= json_object_set_new(table, "uniform", pn_json_number(f->uniform));
    if (!failed) return table;
    json_decref(table);
    return NULL;
}
