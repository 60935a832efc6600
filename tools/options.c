/* options.c -- reading the command line. */
#include "tools/options.h"

#include <string.h>

const pn_field *pn_option_at(const pn_command *c, int i, const pn_options **table) {
    for (*table = c->options; *table < c->options + PN_OPTION_TABLES && (*table)->rows; ++*table) {
        const pn_fields *rows = (*table)->rows;
        for (int j = 0; j < rows->count; j++)
            if (rows->list[j].help && i-- == 0) return &rows->list[j];
    }
    return NULL;
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

static pn_status unknown(const pn_command *c, const char *word, const char *name) {
    const pn_options *table;
    const pn_field *f, *nearest = NULL;
    int best = 4;
    for (int i = 0; (f = pn_option_at(c, i, &table)); i++) {
        const int d = distance(name, f->name);
        if (d < best) {
            best = d;
            nearest = f;
        }
    }
    if (nearest)
        return pn_fail(PN_EARG, "unknown option %s; did you mean --%s?", word, nearest->name);
    return pn_fail(PN_EARG, "unknown option %s; --help lists those there are", word);
}

/* --NAME, --no-NAME of a flag; NULL: there is none. */
static const pn_field *find(const pn_command *c, const char *name, const pn_options **table,
                            bool *negated) {
    const pn_field *f;
    for (int i = 0; (f = pn_option_at(c, i, table)); i++) {
        *negated = !f->argument && !strncmp(name, "no-", 3) && !strcmp(f->name, name + 3);
        if (*negated || !strcmp(f->name, name)) return f;
    }
    return NULL;
}

/* The option argv[*at], whose value may be the next word. */
static pn_status take(const pn_command *c, int argc, char **argv, int *at) {
    const char *word = argv[*at], *value = strchr(word, '='), *start = word + 1 + (word[1] == '-');
    const pn_options *table;
    const pn_field *f = NULL;
    char name[64];
    bool negated = false;
    snprintf(name, sizeof name, "%.*s", (int)(value ? value - start : (long)strlen(start)), start);
    if (word[1] == '-') f = find(c, name, &table, &negated);
    if (!f) return unknown(c, word, name);
    if (!f->argument && value) return pn_fail(PN_EARG, "--%s takes no value", f->name);
    if (f->argument && !value && *at + 1 >= argc)
        return pn_fail(PN_EARG, "--%s wants a value: %s", f->name, f->argument);
    if (!f->argument)
        value = negated ? "0" : "1";
    else
        value = value ? value + 1 : argv[++*at];
    if (table->given) table->given[f - table->rows->list] = true;
    return pn_field_set(table->values, f, value);
}

pn_status pn_options_parse(const pn_command *c, int argc, char **argv, const char **words,
                           bool *help) {
    bool only_words = false;
    int count = 0;
    *help = false;
    for (int i = 0; i < PN_OPTION_TABLES && c->options[i].rows; i++)
        pn_fields_defaults(c->options[i].rows, c->options[i].values);
    for (int i = 1; i < argc && !*help; i++) {
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
        } else if (only_words || argv[i][0] != '-' || !argv[i][1]) {
            if (count == c->words) return pn_fail(PN_EARG, "unexpected word %s", argv[i]);
            words[count++] = argv[i];
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            *help = true;
        } else {
            PN_TRY(take(c, argc, argv, &i));
        }
    }
    words[count] = NULL;
    return PN_OK;
}

enum { PAGE_COLUMNS = 80, HELP_COLUMN = 27 };

void pn_print_wrapped(FILE *out, int begin, const char *text) {
    int column = begin;
    for (const char *word = text; *word; word += strspn(word, " ")) {
        const int length = (int)strcspn(word, " ");
        if (column > begin && column + 1 + length > PAGE_COLUMNS) {
            fprintf(out, "\n%*s", begin, "");
            column = begin;
        }
        column += fprintf(out, "%s%.*s", column > begin ? " " : "", length, word);
        word += length;
    }
    fputc('\n', out);
}

const char *pn_option_text(const pn_field *f, char text[PN_TEXT_BYTES]) {
    const size_t length = strlen(f->help);
    const bool said = length && f->help[length - 1] == ']',
               off = !f->argument && f->usual && *f->usual == '0';
    snprintf(text, PN_TEXT_BYTES, !f->usual || said || off ? "%s" : "%s [%s]", f->help,
             f->argument ? f->usual : "on");
    return text;
}

void pn_options_print(FILE *out, const pn_command *c) {
    const pn_options *table;
    char text[PN_TEXT_BYTES];
    const pn_field *f;
    fputs(c->usage, out);
    for (int i = 0; (f = pn_option_at(c, i, &table)); i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", f->name, f->argument ? " " : "",
                 f->argument ? f->argument : "");
        fprintf(out, "  %-*s ", HELP_COLUMN - 3, left);
        pn_print_wrapped(out, HELP_COLUMN, pn_option_text(f, text));
    }
    if (c->notes) fputs(c->notes, out);
}

const char *pn_bytes_text(double bytes, char text[32]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    for (; bytes >= 1024 && u < 4; u++) bytes /= 1024;
    snprintf(text, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return text;
}
