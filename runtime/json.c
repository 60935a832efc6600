/* json.c -- see json.h. */
#include "runtime/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Whether jansson was refused memory since this was last cleared. */
static bool refused;

static void *allocate(size_t bytes) {
    void *block = malloc(bytes);
    if (!block) refused = true;
    return block;
}

pn_status pn_json_parse(const char *text, size_t size, json_t **root) {
    json_error_t why = {.line = 0};
    json_set_alloc_funcs(allocate, free);
    refused = false;
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    if (*root) return PN_OK;
    if (refused) return pn_fail(PN_EMEM, "no memory for %zu bytes of JSON", size);
    return pn_fail(PN_EINPUT, "line %d: %s", why.line, why.text);
}

/* The length of the character of UTF-8 that begins at `at`; 0 if none does. */
static size_t utf8_length(const unsigned char *at) {
    static const struct {
        unsigned char mask, lead;
        unsigned least;
    } forms[] = {
        {0x80, 0x00, 0      },
        {0xe0, 0xc0, 0x80   },
        {0xf0, 0xe0, 0x800  },
        {0xf8, 0xf0, 0x10000}
    };
    for (size_t n = 0; n < sizeof forms / sizeof *forms; n++) {
        if ((at[0] & forms[n].mask) != forms[n].lead) continue;
        unsigned code = at[0] & (unsigned char)~forms[n].mask;
        for (size_t i = 1; i <= n; i++) {
            if ((at[i] & 0xc0) != 0x80) return 0; /* a final zero, too */
            code = code << 6 | (at[i] & 0x3f);
        }
        const bool half = code >= 0xd800 && code <= 0xdfff; /* of a UTF-16 pair */
        return code >= forms[n].least && code <= 0x10ffff && !half ? n + 1 : 0;
    }
    return 0;
}

bool pn_json_utf8(const char *text) {
    for (size_t n; *text; text += n)
        if (!(n = utf8_length((const unsigned char *)text))) return false;
    return true;
}

json_t *pn_json_string(const char *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    char *clean = malloc(strlen(text) * strlen(replacement) + 1), *to = clean;
    if (!clean) return NULL;
    for (const char *at = text; *at;) {
        const size_t n = utf8_length((const unsigned char *)at);
        memcpy(to, n ? at : replacement, n ? n : strlen(replacement));
        to += n ? n : strlen(replacement);
        at += n ? n : 1;
    }
    *to = 0;
    json_t *string = json_string(clean);
    free(clean);
    return string;
}

json_t *pn_json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

pn_status pn_json_text(json_t *root, int failed, size_t flags, char **text) {
    *text = root && !failed ? json_dumps(root, flags) : NULL;
    json_decref(root);
    return *text ? PN_OK : pn_fail(PN_EMEM, "no memory for JSON");
}

pn_status pn_json_print(json_t *root, int failed, size_t flags, FILE *out) {
    char *text;
    PN_TRY(pn_json_text(root, failed, flags, &text));
    const bool printed = fprintf(out, "%s\n", text) >= 0 && !ferror(out);
    free(text);
    return printed ? PN_OK : pn_fail(PN_EIO, "cannot write JSON");
}
