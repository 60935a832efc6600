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

/* Copies the n-th of "a|b|c"; false: there are not so many. */
static bool name_in(const char *list, int n, char name[PN_NAME_OF_OPTION]) {
    for (; list && n > 0; n--) {
        list = strchr(list, '|');
        list += list != NULL;
    }
    if (list) snprintf(name, PN_NAME_OF_OPTION, "%.*s", (int)strcspn(list, "|"), list);
    return list;
}

const char *pn_option_also(const pn_field *f, int n, char name[PN_NAME_OF_OPTION]) {
    char bare[PN_NAME_OF_OPTION];
    if (!name_in(f->also, n, bare)) return NULL;
    snprintf(name, PN_NAME_OF_OPTION, "%s%.37s", bare[1] ? "--" : "-", bare);
    return name;
}

int pn_slips(const char *a, const char *b) { /* Levenshtein's distance */
    int row[64], n = (int)strlen(b);
    const int length = (int)strlen(a), most = (length < n ? length : n) / 3 + 1;
    if (n > 62) return -1;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; i <= length; i++) {
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
    return row[n] <= most ? row[n] : -1;
}

/* What other programs call something that is here, but by another name and value. */
static const char *elsewhere(const char *name) {
    static const char *const hints[][2] = {
        {"gpu", "want --device cuda, or cuda:N"},
        {"gpus", "want --device cuda, or cuda:N"},
        {"cuda", "want --device cuda"},
        {"cpu", "want --device cpu"},
        {"workers", "want --threads N"},
        {"num-workers", "want --threads N"},
        {"config", "settings are options, and those of a run are in its run.json"},
        {"resume", "the same command continues a run"},
        {"continue", "the same command continues a run"},
        {"save-dir", "the directory is the first word: parsec-nas COMMAND DIR"},
        {"output-dir", "the directory is the first word: parsec-nas COMMAND DIR"},
        {"verbose", "progress is shown unless --quiet is given"},
        {"v", "progress is shown unless --quiet is given"},
        {"dry-run", "parsec-nas plan says what a run costs"},
        {"pretrained", "want --prior RUN --keep-weights"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (!strcmp(hints[i][0], name)) return hints[i][1];
    return NULL;
}

static pn_status unknown(const pn_command *c, const char *word, const char *name) {
    const pn_options *table;
    const pn_field *f, *nearest = NULL;
    const char *hint = elsewhere(name);
    if (hint) return pn_fail(PN_EARG, "unknown option %s; %s", word, hint);
    int best = 99;
    for (int i = 0; (f = pn_option_at(c, i, &table)); i++) {
        const int slips = pn_slips(name, f->name);
        if (slips < 0 || slips >= best) continue;
        best = slips;
        nearest = f;
    }
    if (nearest)
        return pn_fail(PN_EARG, "unknown option %s; did you mean --%s?", word, nearest->name);
    return pn_fail(PN_EARG, "unknown option %s; --help lists those there are", word);
}

/* ---- finding one ----------------------------------------------------------------------------- */

/* The options that a name may mean: one in the end, whole or begun. */
typedef struct finding {
    const pn_field *field, *other; /* the first found, and another one */
    const pn_options *table;
    bool negated, whole;
} finding;

/* Looks at one name of an option; "no-" before it: of a flag that is turned off. */
static void compare(finding *found, const char *given, const char *name, const pn_field *f,
                    const pn_options *table, bool negated) {
    const size_t length = strlen(given);
    const bool whole = !strcmp(given, name);
    if (found->whole || !length || strncmp(given, name, length) != 0) return;
    if (found->field && !whole && (found->field != f || found->negated != negated)) {
        if (!found->other) found->other = f;
        return;
    }
    *found = (finding){.field = f, .table = table, .negated = negated, .whole = whole};
}

/* -q: the letter itself; --quiet: as many letters as are given. */
static pn_status find(const pn_command *c, const char *word, const char *given, finding *found) {
    const pn_options *table;
    const pn_field *f;
    char name[PN_NAME_OF_OPTION], off[PN_NAME_OF_OPTION + 3];
    const bool letter = word[1] != '-';
    *found = (finding){0};
    for (int i = 0; (f = pn_option_at(c, i, &table)); i++) {
        if (!letter) compare(found, given, f->name, f, table, false);
        for (int n = 0; name_in(f->also, n, name); n++)
            if (letter ? !strcmp(name, given) : name[1])
                compare(found, given, name, f, table, false);
        snprintf(off, sizeof off, "no-%s", f->name);
        if (!letter && !f->argument && !strncmp(given, "no-", 3))
            compare(found, given, off, f, table, true);
    }
    if (!found->field) return unknown(c, word, given);
    if (found->other)
        return pn_fail(PN_EARG, "%s may be --%s or --%s, want more of its letters", word,
                       found->field->name, found->other->name);
    return PN_OK;
}

/* The option argv[*at], whose value may be the next word. */
static pn_status take(const pn_command *c, int argc, char **argv, int *at) {
    const char *word = argv[*at], *value = strchr(word, '='), *start = word + 1 + (word[1] == '-');
    char given[64];
    finding found;
    snprintf(given, sizeof given, "%.*s", (int)(value ? value - start : (long)strlen(start)),
             start);
    for (char *letter = given; *letter; letter++)
        if (*letter == '_') *letter = '-';
    PN_TRY(find(c, word, given, &found));
    const pn_field *f = found.field;
    if (!f) return PN_EARG; /* find has said why */
    if (!f->argument && value) return pn_fail(PN_EARG, "--%s takes no value", f->name);
    if (f->argument && !value && *at + 1 >= argc)
        return pn_fail(PN_EARG, "--%s wants a value: %s", f->name, f->argument);
    if (!f->argument)
        value = found.negated ? "0" : "1";
    else
        value = value ? value + 1 : argv[++*at];
    if (found.table->given) found.table->given[f - found.table->rows->list] = true;
    return pn_field_set(found.table->values, f, value);
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

bool pn_option_given(const pn_fields *rows, const bool *given, const char *name) {
    for (int i = 0; i < rows->count; i++)
        if (!strcmp(rows->list[i].name, name)) return given[i];
    return false;
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
    char name[PN_NAME_OF_OPTION], letter[PN_NAME_OF_OPTION + 8] = "";
    for (int n = 0; pn_option_also(f, n, name); n++)
        if (name[1] != '-') snprintf(letter, sizeof letter, " (%s)", name);
    const size_t length = strlen(f->help);
    const bool said = length && f->help[length - 1] == ']',
               off = !f->argument && f->usual && *f->usual == '0';
    snprintf(text, PN_TEXT_BYTES, !f->usual || said || off ? "%s%s" : "%s%s [%s]", f->help, letter,
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
