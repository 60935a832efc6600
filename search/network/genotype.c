/* genotype.c -- architectures as text.
 *
 * A hand-written descent over DARTS notation: the grammar is five rules, and the input may be
 * anything, so every step looks at the end first. Positions, not copies: text need not end
 * with a zero. */
#include "search/network/genotype.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"

enum { PAIRS = PN_MAX_NODES * PN_NODE_TERMS, EDGES = PN_MAX_EDGES, WORD = 32 };

enum { OPS = PN_MAX_OPS + 1 }; /* with `none` */
static const char *const short_name[OPS] = {"mp", "ap", "sk", "s3", "s5", "d3", "d5", "no"};
static const char *const cell_name[PN_KINDS] = {"normal", "reduce"};

#define N(o, i) \
    { PN_##o, i }
#define S3(i) N(SEP_CONV_3X3, i)
#define S5(i) N(SEP_CONV_5X5, i)
#define D3(i) N(DIL_CONV_3X3, i)
#define D5(i) N(DIL_CONV_5X5, i)
#define SK(i) N(SKIP_CONNECT, i)
#define MP(i) N(MAX_POOL_3X3, i)
#define AP(i) N(AVG_POOL_3X3, i)
#define NO(i) N(NONE, i)
#define PAIR(...)               \
    {                           \
        .term = { __VA_ARGS__ } \
    }
#define EVERY(...) \
    { .term = {__VA_ARGS__}, .every_edge = 1 }

/* From the genotypes.py of DARTS (Liu et al. 2019), P-DARTS (Chen et al. 2019), PC-DARTS (Xu et
 * al. 2020) and SNAS (Xie et al. 2019); a row is a node. */
static const struct {
    const char *name;
    pn_arch arch;
} published[] = {
    {"DARTS_V1",
     {{PAIR({S3(1), S3(0)}, {SK(0), S3(1)}, {SK(0), S3(1)}, {S3(0), SK(2)}),
       PAIR({MP(0), MP(1)}, {SK(2), MP(0)}, {MP(0), SK(2)}, {SK(2), AP(0)})}}},
    {"DARTS_V2",
     {{PAIR({S3(0), S3(1)}, {S3(0), S3(1)}, {S3(1), SK(0)}, {SK(0), D3(2)}),
       PAIR({MP(0), MP(1)}, {SK(2), MP(1)}, {MP(0), SK(2)}, {SK(2), MP(1)})}}},
    {"PDARTS",
     {{PAIR({SK(0), D3(1)}, {SK(0), S3(1)}, {S3(1), S3(3)}, {S3(0), D5(4)}),
       PAIR({AP(0), S5(1)}, {S3(0), D5(2)}, {MP(0), D3(1)}, {D3(1), D5(3)})}}},
    {"PC_DARTS_cifar",
     {{PAIR({S3(1), SK(0)}, {S3(0), D3(1)}, {S5(0), S3(1)}, {AP(0), D3(1)}),
       PAIR({S5(1), MP(0)}, {S5(1), S5(2)}, {S3(0), S3(3)}, {S3(1), S3(2)})}}},
    {"SNAS_mild",
     {{PAIR({S3(0), S3(1)}, {SK(0), D3(1)}, {SK(0), SK(1)}, {SK(0), S3(1)}),
       PAIR({MP(0), MP(1)}, {MP(1), SK(2)}, {MP(1), SK(2)}, {MP(0), D5(2)})}}},
    {"SNAS_moderate",
     {{PAIR({D5(0), SK(1)}, {S3(0), SK(1)}, {SK(0), SK(1)}, {S3(0), D5(1)}),
       PAIR({MP(0), MP(1)}, {S5(0), D5(1)}, {S5(0), S5(1)}, {S5(0), S5(1)})}}},
    {"SNAS_aggressive",
     {{PAIR({S5(0), SK(1)}, {SK(0), SK(1)}, {D5(1), SK(0)}, {SK(0), D5(1)}),
       PAIR({S5(0), NO(1)}, {S5(0), NO(1)}, {NO(1), NO(0)}, {NO(1), NO(0)})}}},
    {"SNAS_mild_edge_all",
     {{EVERY({S3(0), S3(1)}, {SK(0), D3(1), NO(2)}, {SK(0), SK(1), NO(3), NO(2)},
             {SK(0), S3(1), NO(4), NO(3), NO(2)}),
       EVERY({MP(0), MP(1)}, {NO(0), MP(1), SK(2)}, {NO(0), MP(1), SK(2), NO(3)},
             {MP(0), D5(2), NO(1), NO(3), NO(4)})}}},
    {"SNAS_moderate_edge_all",
     {{EVERY({D5(0), SK(1)}, {S3(0), SK(1), NO(2)}, {SK(0), NO(3), NO(2), SK(1)},
             {S3(0), D5(1), NO(4), NO(3), NO(2)}),
       EVERY({MP(0), MP(1)}, {S5(0), NO(2), D5(1)}, {NO(3), NO(2), S5(0), S5(1)},
             {NO(4), NO(3), NO(2), S5(0), S5(1)})}}},
    {"SNAS_aggressive_edge_all",
     {{EVERY({S5(0), SK(1)}, {SK(0), SK(1), NO(2)}, {D5(1), SK(0), NO(2), NO(3)},
             {SK(0), D5(1), NO(2), NO(3), NO(4)}),
       EVERY({S5(0), NO(1)}, {S5(0), NO(1), NO(2)}, {NO(0), NO(1), NO(2), NO(3)},
             {NO(0), NO(1), NO(2), NO(3), NO(4)})}}},
};
enum { PUBLISHED = sizeof published / sizeof *published };

#define ACCEPTED_NAMES                                                                        \
    "DARTS_V1, DARTS_V2, PDARTS, PC_DARTS_cifar, SNAS_mild, SNAS_moderate, SNAS_aggressive, " \
    "the last three with _edge_all too"
#define ACCEPTED_OPS                                                                       \
    "max_pool_3x3, avg_pool_3x3, skip_connect, sep_conv_3x3, sep_conv_5x5, dil_conv_3x3, " \
    "dil_conv_5x5, none"

const char *pn_genotype_published(int i, pn_arch *arch) {
    if (i < 0 || i >= PUBLISHED) return NULL;
    if (arch) *arch = published[i].arch;
    return published[i].name;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A place in the text, and the status that a mistake in it has. */
typedef struct cursor {
    const char *at, *end;
    pn_status mistake;
} cursor;

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* White space and comments count for nothing, as inside Python's brackets. */
static void skip_space(cursor *c) {
    while (c->at < c->end) {
        if (*c->at == '#')
            while (c->at < c->end && *c->at != '\n') c->at++;
        else if (isspace((unsigned char)*c->at))
            c->at++;
        else
            return;
    }
}

/* What stands here, for a message: printable, and not too long. */
static const char *here(const cursor *c, char text[WORD]) {
    size_t n = 0;
    if (c->at == c->end) return "the end of the text";
    text[n++] = '\'';
    for (const char *p = c->at; p < c->end && n < WORD - 2; p++)
        text[n++] = (char)(isprint((unsigned char)*p) ? *p : ' ');
    text[n++] = '\'';
    text[n] = 0;
    return text;
}

static pn_status unexpected(const cursor *c, const char *where, const char *want) {
    char text[WORD];
    return pn_fail(c->mistake, "genotype, %s: found %s, want %s", where, here(c, text), want);
}

/* Steps over one character if it is the next. */
static bool take(cursor *c, char wanted) {
    skip_space(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

/* Steps over an opening bracket of either kind; gives the closing one, or 0. */
static char take_open(cursor *c) { return take(c, '[') ? ']' : take(c, '(') ? ')' : 0; }

/* Steps over letters, digits and underscores: "" if there are none. False if they are more than
 * any word of the notation has. */
static bool take_word(cursor *c, char word[WORD]) {
    skip_space(c);
    size_t n = 0;
    while (c->at < c->end && is_word(*c->at)) {
        if (n == WORD - 1) return false;
        word[n++] = *c->at++;
    }
    word[n] = 0;
    return true;
}

/* Steps over a whole number, signed so that a wrong one can be named. Far larger ones than are
 * accepted anywhere are cut off. */
static bool take_number(cursor *c, int *number) {
    skip_space(c);
    const char *p = c->at;
    bool negative = p < c->end && *p == '-';
    if (negative) p++;
    if (p == c->end || !isdigit((unsigned char)*p)) return false;
    for (*number = 0; p < c->end && isdigit((unsigned char)*p); p++)
        if (*number < 1000000) *number = *number * 10 + (*p - '0');
    if (negative) *number = -*number;
    c->at = p;
    return true;
}

static pn_status check_input(pn_status mistake, const char *cell, int node, int input) {
    if (input >= 0 && input < pn_inputs(node)) return PN_OK;
    return pn_fail(mistake, "genotype, %s: input %d of node %d, want 0..%d", cell, input, node,
                   pn_inputs(node) - 1);
}

/* ('op', input) as pair `t` of a cell. */
static pn_status read_pair(cursor *c, const char *cell, int t, pn_choice *term) {
    char word[WORD];
    int node = t / PN_NODE_TERMS, input, op = 0;
    if (node >= PN_MAX_NODES) node = PN_MAX_NODES - 1; /* of every edge: see place_terms */
    char close = take_open(c);
    if (!close) return unexpected(c, cell, "a pair ('op', input)");

    skip_space(c);
    char quote = c->at < c->end ? *c->at : 0;
    if (quote != '\'' && quote != '"') return unexpected(c, cell, "the name of an op in quotes");
    const char *name = c->at + 1;
    const char *name_end = memchr(name, quote, (size_t)(c->end - name));
    if (!name_end) return unexpected(c, cell, "a closing quote");
    size_t length = (size_t)(name_end - name);
    while (op < OPS &&
           (strlen(pn_op_name[op]) != length || memcmp(pn_op_name[op], name, length) != 0))
        op++;
    if (op == OPS) {
        cursor whole = {c->at + 1, name_end, c->mistake};
        return pn_fail(c->mistake, "genotype, %s: op %s, want one of " ACCEPTED_OPS, cell,
                       length ? here(&whole, word) : "''");
    }
    c->at = name_end + 1;

    if (!take(c, ',')) return unexpected(c, cell, "a comma after the op");
    if (!take_number(c, &input)) return unexpected(c, cell, "the number of an input");
    PN_TRY(check_input(c->mistake, cell, node, input));
    take(c, ',');
    if (!take(c, close)) return unexpected(c, cell, "the end of the pair");
    *term = (pn_choice){(uint8_t)op, (uint8_t)input};
    return PN_OK;
}

/* Each input of a node once: an edge has one op. */
static pn_status check_edges(pn_status mistake, const char *name, const pn_cell *cell) {
    for (int node = 0; cell->every_edge && node < PN_MAX_NODES; node++) {
        unsigned seen = 0;
        for (int slot = 0; slot < pn_slots(cell, node); slot++) {
            const int input = cell->term[node][slot].input;
            PN_TRY(check_input(mistake, name, node, input));
            if (seen >> input & 1)
                return pn_fail(
                    mistake,
                    "genotype, %s: input %d of node %d twice, want each of its %d inputs "
                    "once where every edge is listed",
                    name, input, node, pn_inputs(node));
            seen |= 1U << input;
        }
    }
    return PN_OK;
}

/* A list of terms as those of the nodes. */
static pn_status place_terms(pn_status mistake, const char *name, const pn_choice *list, int count,
                             pn_cell *cell) {
    if (count != PAIRS && count != EDGES)
        return pn_fail(
            mistake,
            "genotype, %s: %s%d pairs, want two for each of %d nodes, or one for each of "
            "%d edges",
            name, count > EDGES ? "more than " : "", count > EDGES ? EDGES : count, PN_MAX_NODES,
            EDGES);
    cell->every_edge = count == EDGES;
    for (int node = 0; node < PN_MAX_NODES; node++)
        for (int slot = 0; slot < pn_slots(cell, node); slot++)
            cell->term[node][slot] = list[pn_slot_place(cell, node, slot)];
    return check_edges(mistake, name, cell);
}

/* [pair, pair, ...]: two pairs a node, eight in all, or one of every edge. */
static pn_status read_cell(cursor *c, const char *name, pn_cell *cell) {
    pn_choice list[EDGES];
    char close = take_open(c);
    if (!close) return unexpected(c, name, "a list of pairs ('op', input)");
    int count = 0;
    while (!take(c, close)) {
        if (count == EDGES) return place_terms(c->mistake, name, list, count + 1, cell);
        PN_TRY(read_pair(c, name, count, &list[count]));
        count++;
        if (!take(c, ',')) {
            if (!take(c, close)) return unexpected(c, name, "a comma or the end of the list");
            break;
        }
    }
    return place_terms(c->mistake, name, list, count, cell);
}

/* [2, 3, 4, 5] or range(2, 6): all four nodes, nothing else is built here. */
static pn_status read_concat(cursor *c, const char *name) {
    char word[WORD];
    const char *want = "[2, 3, 4, 5] or range(2, 6)";
    cursor begin = *c;
    skip_space(&begin);
    if (take_word(c, word) && strcmp(word, "range") == 0) {
        int from, to;
        if (take(c, '(') && take_number(c, &from) && take(c, ',') && take_number(c, &to)) {
            take(c, ',');
            if (take(c, ')') && from == 2 && to == 2 + PN_MAX_NODES) return PN_OK;
        }
        return unexpected(&begin, name, want);
    }
    char close = take_open(c);
    if (!close) return unexpected(&begin, name, want);
    for (int node = 0; node < PN_MAX_NODES; node++) {
        int number;
        if (!take_number(c, &number) || number != 2 + node) return unexpected(&begin, name, want);
        if (!take(c, ',') && node < PN_MAX_NODES - 1) return unexpected(&begin, name, want);
    }
    return take(c, close) ? PN_OK : unexpected(&begin, name, want);
}

/* From the bracket after "Genotype" to the one that closes it. */
static pn_status read_darts(cursor *c, pn_arch *arch) {
    static const char *const keyword[4] = {"normal", "normal_concat", "reduce", "reduce_concat"};
    const char *keywords = "normal, normal_concat, reduce and reduce_concat, each once";
    bool seen[4] = {false};
    int count = 0;
    if (!take(c, '(')) return unexpected(c, "after the word Genotype", "(");
    while (!take(c, ')')) {
        char word[WORD];
        skip_space(c);
        cursor begin = *c;
        int k = 0;
        if (!take_word(c, word)) return unexpected(&begin, "its keywords", keywords);
        while (k < 4 && strcmp(word, keyword[k]) != 0) k++;
        if (k == 4 || seen[k]) return unexpected(&begin, "its keywords", keywords);
        if (!take(c, '=')) return unexpected(c, keyword[k], "=");
        if (k % 2)
            PN_TRY(read_concat(c, keyword[k]));
        else
            PN_TRY(read_cell(c, keyword[k], &arch->cell[k / 2]));
        seen[k] = true;
        count++;
        if (!take(c, ',')) {
            if (!take(c, ')')) return unexpected(c, keyword[k], "a comma or the closing )");
            break;
        }
    }
    for (int k = 0; k < 4; k++)
        if (!seen[k])
            return pn_fail(c->mistake, "genotype: %d keywords without %s, want %s", count,
                           keyword[k], keywords);
    return PN_OK;
}

/* op@input, of a node. */
static pn_status read_term(cursor *c, const char *cell, int node, pn_choice *term) {
    char word[WORD];
    int op = 0, input;
    skip_space(c);
    const cursor begin = *c;
    const bool read = take_word(c, word);
    while (read && op < OPS && strcmp(word, short_name[op]) != 0) op++;
    if (!read || op == OPS)
        return unexpected(&begin, cell, "one of mp, ap, sk, s3, s5, d3, d5, no");
    if (!take(c, '@') || !take_number(c, &input))
        return unexpected(c, cell, "@ and the number of an input");
    PN_TRY(check_input(c->mistake, cell, node, input));
    *term = (pn_choice){(uint8_t)op, (uint8_t)input};
    return PN_OK;
}

/* Whether another term follows; a cell ends with a bar, the word "reduce" or the text. */
static bool at_term(const cursor *c) {
    cursor ahead = *c;
    char word[WORD];
    skip_space(&ahead);
    return ahead.at < ahead.end && is_word(*ahead.at) &&
           !(take_word(&ahead, word) && strcmp(word, cell_name[PN_REDUCTION]) == 0);
}

/* normal op@input op@input | ... reduce ...; the cursor stands before "normal". A third term of
 * node 1 tells that the cell has every edge. */
static pn_status read_short(cursor *c, pn_arch *arch) {
    char word[WORD];
    for (int kind = 0; kind < PN_KINDS; kind++) {
        const char *name = cell_name[kind];
        pn_cell *cell = &arch->cell[kind];
        cursor begin = *c;
        skip_space(&begin);
        if (!take_word(c, word) || strcmp(word, name) != 0)
            return unexpected(&begin, "short notation",
                              kind ? "the word reduce" : "the word normal");
        for (int node = 0; node < PN_MAX_NODES; node++) {
            if (node > 0 && !take(c, '|')) return unexpected(c, name, "| between nodes");
            for (int slot = 0; slot < pn_slots(cell, node); slot++) {
                PN_TRY(read_term(c, name, node, &cell->term[node][slot]));
                if (node == 1 && slot == PN_NODE_TERMS - 1) cell->every_edge = at_term(c);
            }
        }
        PN_TRY(check_edges(c->mistake, name, cell));
    }
    return PN_OK;
}

pn_status pn_genotype_read(const char *text, size_t length, pn_arch *arch) {
    cursor c = {text, text + length, PN_EARG};
    char word[WORD], name[WORD];
    pn_arch read;
    memset(&read, 0, sizeof read);
    skip_space(&c);
    cursor begin = c;

    bool known = take_word(&c, word);
    if (known && take(&c, '=')) known = take_word(&c, word); /* NAME = Genotype(...) */
    if (known && strcmp(word, "Genotype") == 0) {
        PN_TRY(read_darts(&c, &read));
    } else if (known && strcmp(word, cell_name[PN_NORMAL]) == 0) {
        c = begin;
        PN_TRY(read_short(&c, &read));
    } else {
        int i = 0;
        while (known && i < PUBLISHED && strcmp(word, published[i].name) != 0) i++;
        if (!known || i == PUBLISHED)
            return pn_fail(c.mistake,
                           "genotype %s, want a published name (" ACCEPTED_NAMES
                           "), Genotype(normal=...), or normal op@input ... reduce ...",
                           here(&begin, name));
        read = published[i].arch;
    }
    skip_space(&c);
    if (c.at != c.end) return unexpected(&c, "after its end", "nothing more");
    *arch = read;
    return PN_OK;
}

pn_status pn_genotype_find(const char *text, size_t length, pn_arch *arch) {
    static const char key[] = "Genotype";
    const size_t n = sizeof key - 1;
    const char *end = text + length;
    for (const char *p = text; (size_t)(end - p) >= n; p++) {
        if (*p != key[0] || memcmp(p, key, n) != 0 || (p > text && is_word(p[-1]))) continue;
        cursor c = {p + n, end, PN_EINPUT};
        cursor bracket = c;
        if (!take(&bracket, '(')) continue;
        pn_arch read;
        memset(&read, 0, sizeof read);
        PN_TRY(read_darts(&c, &read));
        *arch = read;
        return PN_OK;
    }
    return pn_fail(PN_EINPUT, "no Genotype(...) in it");
}

pn_status pn_genotype_open(const char *argument, pn_arch *arch) {
    pn_path_kind kind;
    for (int i = 0; i < PUBLISHED; i++)
        if (strcmp(argument, published[i].name) == 0) {
            *arch = published[i].arch;
            return PN_OK;
        }
    PN_TRY(pn_path_look(argument, &kind));
    if (kind == PN_PATH_NOTHING) {
        pn_status status = pn_genotype_read(argument, strlen(argument), arch);
        /* Without a bracket or an @ it was hardly meant as a text. */
        if (status == PN_OK || strpbrk(argument, "(@")) return status;
        return pn_fail(status,
                       "genotype '%.60s' is no file, directory or published name (" ACCEPTED_NAMES
                       "), and no text such as Genotype(normal=...)",
                       argument);
    }
    char path[4096];
    int written = snprintf(path, sizeof path, "%s%s", argument,
                           kind == PN_PATH_DIRECTORY ? "/genotype.txt" : "");
    if (written < 0 || (size_t)written >= sizeof path)
        return pn_fail(PN_EARG, "genotype '%.60s...': a path of %zu bytes, want below %zu",
                       argument, strlen(argument), sizeof path);
    void *text;
    size_t size;
    PN_TRY(pn_file_read(path, PN_GENOTYPE_FILE, &text, &size));
    pn_status status = pn_genotype_find(text, size, arch);
    free(text);
    return status == PN_OK ? PN_OK : pn_fail_in(status, "%s", path);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Adds to a text of `size` bytes, whose bound is the longest architecture there is. */
static void add(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(char *text, size_t size, const char *format, ...) {
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

void pn_genotype_write(const pn_arch *arch, char text[PN_GENOTYPE_BYTES]) {
    const size_t size = PN_GENOTYPE_BYTES;
    text[0] = 0;
    add(text, size, "Genotype(");
    for (int kind = 0; kind < PN_KINDS; kind++) {
        add(text, size, "%s%s=[", kind ? ", " : "", cell_name[kind]);
        const pn_cell *cell = &arch->cell[kind];
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < pn_slots(cell, node); slot++) {
                const pn_choice c = cell->term[node][slot];
                add(text, size, "%s('%s', %d)", node + slot ? ", " : "", pn_op_name[c.op], c.input);
            }
        add(text, size, "], %s_concat=[2, 3, 4, 5]", cell_name[kind]);
    }
    add(text, size, ")");
}

void pn_genotype_short(const pn_space *space, const pn_arch *arch, char text[PN_SHORT_BYTES]) {
    const size_t size = PN_SHORT_BYTES;
    assert(space->kinds <= PN_KINDS && space->nodes <= PN_MAX_NODES);
    text[0] = 0;
    for (int kind = 0; kind < space->kinds; kind++) {
        add(text, size, "%s%s", kind ? " " : "", cell_name[kind]);
        for (int node = 0; node < space->nodes; node++) {
            if (node) add(text, size, " |");
            for (int slot = 0; slot < pn_slots(&arch->cell[kind], node); slot++) {
                pn_choice c = arch->cell[kind].term[node][slot];
                add(text, size, " %s@%d", short_name[c.op], c.input);
            }
        }
    }
}
