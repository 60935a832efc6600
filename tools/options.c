/* options.c -- reading the command line. */
#include "tools/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text.h"

static pn_status bad(const pn_option *o, const char *text, const char *want) {
    return pn_fail(PN_EARG, "--%s %s, want %s", o->name, text, want);
}

static pn_status set_whole(const pn_option *o, const char *text) {
    char want[96];
    const bool seed = o->kind == PN_OPT_SEED;
    const uint64_t min = seed ? 0 : (uint64_t)o->min, max = seed ? UINT64_MAX : (uint64_t)o->max;
    uint64_t x;
    if (!pn_whole(text, min, max, &x)) {
        snprintf(want, sizeof want, "a whole number from %" PRIu64 " to %" PRIu64, min, max);
        return bad(o, text, want);
    }
    if (seed)
        *(uint64_t *)o->value = x;
    else
        *(int *)o->value = (int)x;
    return PN_OK;
}

static pn_status set_real(const pn_option *o, const char *text) {
    char *end, want[96];
    errno = 0;
    const double x = strtod(text, &end);
    if (end == text || *end || errno || !(x >= o->min && x <= o->max)) {
        snprintf(want, sizeof want, "a number from %.10g to %.10g", o->min, o->max);
        return bad(o, text, want);
    }
    *(double *)o->value = x;
    return PN_OK;
}

static pn_status set_bytes(const pn_option *o, const char *text) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},         {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20},
                 {"GiB", 0x1p30}, {"KB", 1e3}, {"MB", 1e6},     {"GB", 1e9}};
    char *end;
    const double x = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].name) && x * units[i].factor >= 1 &&
            x * units[i].factor < 0x1p62) {
            *(size_t *)o->value = (size_t)(x * units[i].factor);
            return PN_OK;
        }
    return bad(o, text, "a size such as 4GiB, 512MiB or 1000000");
}

/* EDGE, HxW or HxWxC. */
static pn_status set_image(const pn_option *o, const char *text) {
    int *image = o->value, numbers = 0;
    uint64_t n[3] = {0};
    const char *at = text;
    do {
        if (numbers == 3 || !pn_take_whole(&at, 0, UINT64_MAX, &n[numbers]))
            return bad(o, text, "EDGE, HxW or HxWxC, as 32 or 28x28x1");
        numbers++;
    } while (*at++ == 'x');
    if (at[-1]) return bad(o, text, "EDGE, HxW or HxWxC, as 32 or 28x28x1");
    if (numbers < 2) n[1] = n[0];
    if (numbers < 3) n[2] = (uint64_t)image[2];
    if (n[0] < 1 || n[1] < 1 || n[0] > 4096 || n[1] > 4096 || (n[2] != 1 && n[2] != 3))
        return bad(o, text, "edges from 1 to 4096, and 1 or 3 channels");
    for (int i = 0; i < 3; i++) image[i] = (int)n[i];
    return PN_OK;
}

static pn_status set(const pn_option *o, const char *text) {
    switch (o->kind) {
        case PN_OPT_TEXT:
            *(const char **)o->value = text;
            return PN_OK;
        case PN_OPT_BYTES:
            return set_bytes(o, text);
        case PN_OPT_IMAGE:
            return set_image(o, text);
        case PN_OPT_CUSTOM:
            return o->set(o->value, text);
        case PN_OPT_REAL:
            return set_real(o, text);
        default:
            return set_whole(o, text);
    }
}

/* Letters to change, add or drop to make b of a (Levenshtein); names are short. */
static int distance(const char *a, const char *b) {
    int row[64], n = (int)strlen(b);
    if (n > 62) return 99;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int corner = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static pn_status unknown(const char *word, const char *name, const pn_option *options, int count) {
    const pn_option *nearest = NULL;
    int best = 4;
    for (int i = 0; i < count; i++) {
        int d = distance(name, options[i].name);
        if (d < best) {
            best = d;
            nearest = &options[i];
        }
    }
    if (nearest)
        return pn_fail(PN_EARG, "unknown option %s; did you mean --%s?", word, nearest->name);
    return pn_fail(PN_EARG, "unknown option %s; --help lists those there are", word);
}

pn_status pn_options_parse(int argc, char **argv, const pn_option *options, int option_count,
                           const char **words, int most, int *count, bool *help) {
    *count = 0;
    *help = false;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!only_words && !strcmp(word, "--")) {
            only_words = true;
            continue;
        }
        if (only_words || word[0] != '-' || !word[1]) {
            if (*count == most) return pn_fail(PN_EARG, "unexpected word %s", word);
            words[(*count)++] = word;
            continue;
        }
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            *help = true;
            return PN_OK;
        }
        char name[64];
        const char *equals = strchr(word, '=');
        const char *start = word + (word[1] == '-' ? 2 : 1);
        snprintf(name, sizeof name, "%.*s", (int)(equals ? equals - start : (long)strlen(start)),
                 start);
        const pn_option *o = NULL;
        bool negated = false;
        for (int j = 0; j < option_count && word[1] == '-'; j++) {
            if (!strcmp(options[j].name, name)) o = &options[j];
            if (!strncmp(name, "no-", 3) && !strcmp(options[j].name, name + 3) &&
                (options[j].kind == PN_OPT_FLAG ||
                 (options[j].kind == PN_OPT_CUSTOM && !options[j].argument))) {
                o = &options[j];
                negated = true;
            }
        }
        if (!o) return unknown(word, name, options, option_count);
        const bool flag = o->kind == PN_OPT_FLAG || (o->kind == PN_OPT_CUSTOM && !o->argument);
        if (flag) {
            if (equals) return pn_fail(PN_EARG, "--%s takes no value", o->name);
            if (o->kind == PN_OPT_FLAG)
                *(bool *)o->value = !negated;
            else
                PN_TRY(o->set(o->value, negated ? "0" : "1"));
            continue;
        }
        if (!equals && i + 1 >= argc)
            return pn_fail(PN_EARG, "--%s wants a value: %s", o->name, o->argument);
        PN_TRY(set(o, equals ? equals + 1 : argv[++i]));
    }
    return PN_OK;
}

enum { PAGE_COLUMNS = 80, HELP_COLUMN = 27 };

/* Words of a help text from HELP_COLUMN on, in as many lines as they take. */
static void print_help(FILE *out, const char *help) {
    const char *word = help;
    int column = HELP_COLUMN;
    while (*word) {
        const int length = (int)strcspn(word, " ");
        if (column > HELP_COLUMN && column + 1 + length > PAGE_COLUMNS) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += fprintf(out, "%s%.*s", column > HELP_COLUMN ? " " : "", length, word);
        word += length;
        word += strspn(word, " ");
    }
    fputc('\n', out);
}

void pn_options_print(FILE *out, const pn_option *options, int count) {
    for (int i = 0; i < count; i++) {
        if (!options[i].help) continue;
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].argument ? " " : "",
                 options[i].argument ? options[i].argument : "");
        fprintf(out, "  %-*s ", HELP_COLUMN - 3, left);
        print_help(out, options[i].help);
    }
}

static pn_status set_field(void *value, const char *text) {
    const pn_binding *b = value;
    *b->given = true;
    return pn_field_set(b->settings, b->field, text);
}

int pn_options_of_fields(const pn_fields *fields, void *settings, bool *given, pn_binding *bindings,
                         pn_option *table) {
    int count = 0;
    for (int i = 0; i < fields->count; i++) {
        const pn_field *f = &fields->list[i];
        if (!f->help) continue;
        bindings[count] = (pn_binding){settings, f, &given[i]};
        table[count] = (pn_option){f->name, PN_OPT_CUSTOM, &bindings[count], 0,
                                   0,       f->argument,   f->help,          set_field};
        count++;
    }
    return count;
}

const char *pn_bytes_text(double bytes, char text[32]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    for (; bytes >= 1024 && u < 4; u++) bytes /= 1024;
    snprintf(text, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return text;
}
