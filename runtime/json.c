/* json.c -- see json.h. */
#include "runtime/json.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text.h"

/* ==== Memory ====
 *
 * jansson's lexer goes on after a refused allocation: a byte of the text is then missing, and the
 * string is another one, or an assertion stops the program, or it reads past its buffer. So a
 * reader is left at once, by longjmp, and what it had allocated is given back from a list.
 *
 * Blocks of a reader lie behind their place in the list, 8 bytes off what malloc gives, and are
 * told from others by that; 8 is enough for what jansson keeps in them. */

typedef struct block {
    void *unused; /* keeps what follows at 8 modulo 16 */
    struct block *before, *after;
} block;
_Static_assert(sizeof(block) % 16 == 8 && _Alignof(max_align_t) == 16, "told apart by alignment");

static block list = {NULL, &list, &list}; /* of the reader at work */
static jmp_buf refused;
static bool reading;

static void *allocate(size_t bytes) {
    if (!reading) return malloc(bytes);
    block *b = bytes < SIZE_MAX - sizeof *b ? malloc(sizeof *b + bytes) : NULL;
    if (!b) longjmp(refused, 1);
    b->before = list.before;
    b->after = &list;
    list.before->after = b;
    list.before = b;
    return b + 1;
}

static void release(void *memory) {
    if ((uintptr_t)memory % 16 == 0) { /* NULL, too */
        free(memory);
        return;
    }
    block *b = (block *)memory - 1;
    b->before->after = b->after;
    b->after->before = b->before;
    free(b);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static json_t *read_text(const char *text, size_t size, json_error_t *why) {
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, why);
    while (list.after != &list) { /* they live as long as the tree, by themselves */
        block *b = list.after;
        list.after = b->after;
        b->before = b->after = b;
    }
    list.before = &list;
    return root;
}

pn_status pn_json_parse(const char *text, size_t size, json_t **root) {
    json_error_t why = {.line = 0};
    *root = NULL;
    json_set_alloc_funcs(allocate, release); /* blocks of before are free()'s, and so is release */
    reading = true;
    if (setjmp(refused)) {
        reading = false;
        for (block *b = list.after, *next; b != &list; b = next) {
            next = b->after;
            free(b);
        }
        list = (block){NULL, &list, &list};
        return pn_fail(PN_EMEM, "no memory for %zu bytes of JSON", size);
    }
    *root = read_text(text, size, &why);
    reading = false;
    return *root ? PN_OK : pn_fail(PN_EINPUT, "line %d: %s", why.line, why.text);
}

/* ---- Building -------------------------------------------------------------------------------- */

json_t *pn_json_string(const char *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    char *clean = malloc(strlen(text) * strlen(replacement) + 1), *to = clean;
    if (!clean) return NULL;
    for (const char *at = text; *at;) {
        const size_t n = pn_utf8_length(at);
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

double pn_json_number_in(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *pn_json_text_in(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

json_t *pn_json_seed(uint64_t seed) {
    char digits[24];
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    snprintf(digits, sizeof digits, "%" PRIu64, seed);
    return json_string(digits);
}

/* ==== Writing ====
 *
 * jansson overlooks a failure while it writes a key; so we keep it in mind. */

typedef struct output {
    char *text;
    size_t used, room;
    bool failed;
} output;

static int append(const char *bytes, size_t size, void *to) {
    output *o = to;
    if (size >= o->room - o->used) {
        const size_t room = 2 * o->room + size + 256;
        char *larger = realloc(o->text, room);
        if (!larger) o->failed = true;
        if (!larger) return -1;
        o->text = larger;
        o->room = room;
    }
    memcpy(o->text + o->used, bytes, size);
    o->used += size;
    o->text[o->used] = 0;
    return 0;
}

/* Writes the fewest digits that read back as the same double over a real of jansson, which has one
 * precision for all; gives their length. What is not shorter, or not read whole here (a locale with
 * a decimal comma), stays. */
static size_t shorten_one(char *to, const char *number, size_t length) {
    char text[PN_REAL_BYTES + 2], *end;
    pn_real_text(strtod(number, &end), text);
    if (!strpbrk(text, ".e")) memcpy(text + strlen(text), ".0", 3); /* no whole number */
    const bool better = end == number + length && strlen(text) < length;
    memmove(to, better ? text : number, better ? strlen(text) : length);
    return better ? strlen(text) : length;
}

/* All reals of a JSON text, in place. */
static void shorten(char *text) {
    bool in_string = false;
    char *to = text;
    for (const char *at = text; *at;) {
        const size_t length = in_string ? 0 : strspn(at, "-+.0123456789eE");
        if (memchr(at, '.', length)) {
            to += shorten_one(to, at, length);
            at += length;
            continue;
        }
        if (*at == '"') in_string = !in_string;
        if (in_string && *at == '\\') *to++ = *at++;
        *to++ = *at++;
    }
    *to = 0;
}

static pn_status text_of(json_t *root, int failed, size_t flags, const char *end, char **text) {
    output o = {0};
    if (!root || failed || json_dump_callback(root, append, &o, flags) != 0 ||
        append(end, strlen(end), &o) != 0 || o.failed) {
        free(o.text);
        o.text = NULL;
    }
    if (o.text && (flags & JSON_REAL_PRECISION(31)) == PN_JSON_EXACT) shorten(o.text);
    json_decref(root);
    *text = o.text;
    return *text ? PN_OK : pn_fail(PN_EMEM, "no memory for JSON");
}

pn_status pn_json_text(json_t *root, int failed, size_t flags, char **text) {
    return text_of(root, failed, flags, "", text);
}

pn_status pn_json_file(json_t *root, int failed, size_t flags, char **text) {
    return text_of(root, failed, flags, "\n", text);
}

pn_status pn_json_print(json_t *root, int failed, size_t flags, FILE *out) {
    char *text;
    PN_TRY(pn_json_file(root, failed, flags, &text));
    const bool printed = fputs(text, out) >= 0 && !ferror(out);
    free(text);
    return printed ? PN_OK : pn_fail(PN_EIO, "cannot write JSON");
}
