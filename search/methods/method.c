/* method.c -- which methods there are. */
#include "search/methods/method.h"

#include <stdio.h>
#include <string.h>

#include "runtime/group.h"

extern const pn_method pn_method_parsec, pn_method_random, pn_method_darts, pn_method_gdas,
    pn_method_snas;

static const pn_method *const methods[] = {&pn_method_parsec, &pn_method_random, &pn_method_darts,
                                           &pn_method_gdas,   &pn_method_snas,   NULL};

const pn_method *pn_method_at(int i) {
    int count = 0;
    while (methods[count]) count++;
    return i >= 0 && i < count ? methods[i] : NULL;
}

const pn_method *pn_method_find(const char *name) {
    for (int i = 0; pn_method_at(i); i++)
        if (!strcmp(methods[i]->name, name)) return methods[i];
    return NULL;
}

const pn_method *pn_method_of(const pn_settings *s) { return pn_method_find(s->method); }

static bool has_option(const pn_method *m, const char *name) {
    char word[64];
    snprintf(word, sizeof word, "|%s|", name);
    return strstr(m->options, word) != NULL;
}

/* The methods with this option, "a, b or c"; "": everybody has it. */
static void owners(const char *name, char text[PN_METHOD_TEXT]) {
    int left = 0;
    *text = 0;
    for (int i = 0; pn_method_at(i); i++) left += has_option(methods[i], name);
    for (int i = 0; pn_method_at(i); i++) {
        const size_t used = strlen(text);
        if (!has_option(methods[i], name)) continue;
        left--;
        snprintf(text + used, PN_METHOD_TEXT - used, "%s%s", methods[i]->name,
                 left > 1    ? ", "
                 : left == 1 ? " or "
                             : "");
    }
}

pn_status pn_method_check(const pn_settings *asked) {
    const pn_method *m = pn_method_of(asked);
    const pn_settings usual = pn_settings_defaults();
    for (int i = 0; i < pn_settings_fields.count; i++) {
        const pn_field *f = &pn_settings_fields.list[i];
        char now[PN_TEXT_BYTES], before[PN_TEXT_BYTES], of[PN_METHOD_TEXT];
        pn_field_text(asked, f, now);
        pn_field_text(&usual, f, before);
        owners(f->name, of);
        if (!strcmp(now, before) || !*of || has_option(m, f->name)) continue;
        return pn_fail(PN_EARG, "--%s is an option of --method %s, not of %s", f->name, of,
                       m->name);
    }
    return PN_OK;
}

pn_status pn_method_check_ranks(const pn_method *m, const pn_group *group) {
    const int ranks = pn_group_size(group);
    return ranks == 1 || m->model == PN_MODEL_CELLS
               ? PN_OK
               : pn_fail(PN_EARG,
                         "%d ranks, want one: a step of --method %s is one pass after another",
                         ranks, m->name);
}
