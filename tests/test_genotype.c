/* test_genotype.c -- architectures as text: what is read, what is written, what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/rng.h"
#include "search/methods/prior.h"
#include "search/network/genotype.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

/* As Python prints the tuple of DARTS' genotypes.py. */
static const char darts_v2[] =
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])";

/* DARTS_V2's two cells, for the tables below. */
#define NORMAL                                                                              \
    "[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), " \
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)]"
#define REDUCE                                                                              \
    "[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), " \
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)]"

/* A copy that ends where its memory ends: a sanitizer sees the first byte read too far. */
static pn_status read_exact(const char *text, size_t length, pn_arch *arch) {
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    pn_status status = pn_genotype_read(copy, length, arch);
    free(copy);
    return status;
}

static pn_status read_text(const char *text, pn_arch *arch) {
    return read_exact(text, strlen(text), arch);
}

static pn_arch the_published(const char *name) {
    pn_arch arch;
    const char *candidate;
    for (int i = 0; (candidate = pn_genotype_published(i, &arch)); i++)
        if (strcmp(candidate, name) == 0) return arch;
    fail_msg("%s is not built in", name);
    return arch;
}

static void published_ones_are_as_published(void **state) {
    (void)state;
    static const char *const want[][2] = {
        {"DARTS_V1",
         "normal s3@1 s3@0 | sk@0 s3@1 | sk@0 s3@1 | s3@0 sk@2 reduce mp@0 mp@1 | sk@2 mp@0 | "
         "mp@0 sk@2 | sk@2 ap@0"},
        {"DARTS_V2",
         "normal s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2 reduce mp@0 mp@1 | sk@2 mp@1 | "
         "mp@0 sk@2 | sk@2 mp@1"},
        {"PDARTS",
         "normal sk@0 d3@1 | sk@0 s3@1 | s3@1 s3@3 | s3@0 d5@4 reduce ap@0 s5@1 | s3@0 d5@2 | "
         "mp@0 d3@1 | d3@1 d5@3"},
        {"PC_DARTS_cifar",
         "normal s3@1 sk@0 | s3@0 d3@1 | s5@0 s3@1 | ap@0 d3@1 reduce s5@1 mp@0 | s5@1 s5@2 | "
         "s3@0 s3@3 | s3@1 s3@2"},
        {"SNAS_mild",
         "normal s3@0 s3@1 | sk@0 d3@1 | sk@0 sk@1 | sk@0 s3@1 reduce mp@0 mp@1 | mp@1 sk@2 | "
         "mp@1 sk@2 | mp@0 d5@2"},
        {"SNAS_moderate",
         "normal d5@0 sk@1 | s3@0 sk@1 | sk@0 sk@1 | s3@0 d5@1 reduce mp@0 mp@1 | s5@0 d5@1 | "
         "s5@0 s5@1 | s5@0 s5@1"},
        {"SNAS_aggressive",
         "normal s5@0 sk@1 | sk@0 sk@1 | d5@1 sk@0 | sk@0 d5@1 reduce s5@0 no@1 | s5@0 no@1 | "
         "no@1 no@0 | no@1 no@0"},
        {"SNAS_mild_edge_all",
         "normal s3@0 s3@1 | sk@0 d3@1 no@2 | sk@0 sk@1 no@3 no@2 | sk@0 s3@1 no@4 no@3 no@2 "
         "reduce mp@0 mp@1 | no@0 mp@1 sk@2 | no@0 mp@1 sk@2 no@3 | mp@0 d5@2 no@1 no@3 no@4"},
        {"SNAS_moderate_edge_all",
         "normal d5@0 sk@1 | s3@0 sk@1 no@2 | sk@0 no@3 no@2 sk@1 | s3@0 d5@1 no@4 no@3 no@2 "
         "reduce mp@0 mp@1 | s5@0 no@2 d5@1 | no@3 no@2 s5@0 s5@1 | no@4 no@3 no@2 s5@0 s5@1"},
        {"SNAS_aggressive_edge_all",
         "normal s5@0 sk@1 | sk@0 sk@1 no@2 | d5@1 sk@0 no@2 no@3 | sk@0 d5@1 no@2 no@3 no@4 "
         "reduce s5@0 no@1 | s5@0 no@1 no@2 | no@0 no@1 no@2 no@3 | no@0 no@1 no@2 no@3 no@4"},
    };
    pn_space space = pn_space_darts();
    enum { PUBLISHED = sizeof want / sizeof *want };
    for (int i = 0; i < PUBLISHED; i++) {
        pn_arch arch = the_published(want[i][0]), back;
        char text[PN_SHORT_BYTES];
        pn_genotype_short(&space, &arch, text);
        assert_string_equal(text, want[i][1]);
        assert_int_equal(read_text(want[i][0], &back), PN_OK);
        assert_memory_equal(&back, &arch, sizeof arch);
        assert_int_equal(read_text(text, &back), PN_OK);
        assert_memory_equal(&back, &arch, sizeof arch);
    }
    assert_null(pn_genotype_published(PUBLISHED, NULL));
    assert_null(pn_genotype_published(-1, NULL));
}

static void text_is_exactly_what_python_prints(void **state) {
    (void)state;
    pn_arch arch = the_published("DARTS_V2"), back;
    char text[PN_GENOTYPE_BYTES];
    pn_genotype_write(&arch, text);
    assert_string_equal(text, darts_v2);
    assert_int_equal(read_text(text, &back), PN_OK);
    assert_memory_equal(&back, &arch, sizeof arch);
}

/* Both notations. */
static void assert_survives(const pn_space *space, const pn_arch *arch) {
    pn_arch back;
    char text[PN_GENOTYPE_BYTES], line[PN_SHORT_BYTES];
    pn_genotype_write(arch, text);
    assert_int_equal(read_text(text, &back), PN_OK);
    assert_memory_equal(&back, arch, sizeof *arch);
    pn_genotype_short(space, arch, line);
    assert_null(strpbrk(line, ",\"'\n"));
    assert_int_equal(read_text(line, &back), PN_OK);
    assert_memory_equal(&back, arch, sizeof *arch);
}

static void every_choice_survives_both_notations(void **state) {
    (void)state;
    pn_space space = pn_space_darts();
    pn_prior prior;
    assert_int_equal(pn_prior_init(&prior, &space, false), PN_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        pn_arch arch;
        pn_prior_sample(&prior, 1, 0, i, &arch);
        assert_survives(&space, &arch);
    }
}

/* A cell of every edge with 0 to 5 terms a node, its edges in any order, and one of two terms. */
static pn_arch of_every_edge(uint64_t i) {
    pn_arch arch = {0};
    uint64_t drawn = 0;
    for (int kind = 0; kind < PN_KINDS; kind++) {
        pn_cell *cell = &arch.cell[kind];
        cell->every_edge = kind == 0 || i % 2;
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < pn_slots(cell, node); slot++) {
                const uint32_t other =
                    pn_random_below(1, PN_STREAM_TEST, i, drawn++, (uint32_t)slot + 1);
                cell->term[node][slot] = cell->term[node][other];
                cell->term[node][other] = (pn_choice){
                    (uint8_t)pn_random_below(1, PN_STREAM_TEST, i, drawn++, PN_NONE + 1),
                    (uint8_t)slot};
            }
    }
    return arch;
}

static void every_edge_survives_both_notations(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    int terms[PN_MOST_TERMS + 1] = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        const pn_arch arch = of_every_edge(i);
        assert_survives(&space, &arch);
        assert_false(pn_space_has(&space, &arch));
        for (int node = 0; node < PN_MAX_NODES; node++) terms[pn_node_terms(&arch.cell[0], node)]++;
    }
    for (int n = 0; n <= PN_MOST_TERMS; n++) assert_true(n == 0 || terms[n] > 0);
}

/* The longest there are fit, to the last byte that is written. */
static void the_longest_texts_fit(void **state) {
    (void)state;
    const pn_space space = pn_space_darts();
    pn_arch arch = {0}, back;
    char text[PN_GENOTYPE_BYTES], line[PN_SHORT_BYTES];
    for (int kind = 0; kind < PN_KINDS; kind++) {
        arch.cell[kind].every_edge = 1;
        for (int node = 0; node < PN_MAX_NODES; node++)
            for (int slot = 0; slot < pn_inputs(node); slot++)
                arch.cell[kind].term[node][slot] = (pn_choice){PN_MAX_POOL_3X3, (uint8_t)slot};
    }
    pn_genotype_write(&arch, text);
    pn_genotype_short(&space, &arch, line);
    assert_true(strlen(text) < sizeof text - 1 && strlen(line) < sizeof line - 1);
    assert_int_equal(read_text(text, &back), PN_OK);
    assert_memory_equal(&back, &arch, sizeof arch);
    assert_int_equal(read_text(line, &back), PN_OK);
    assert_memory_equal(&back, &arch, sizeof arch);
}

static void short_notation_shows_only_what_a_small_space_has(void **state) {
    (void)state;
    pn_space space = {.kinds = 1, .nodes = 2, .ops = 1, .op = {PN_DIL_CONV_5X5}};
    pn_arch arch;
    char text[PN_SHORT_BYTES];
    memset(&arch, 0, sizeof arch);
    arch.cell[0].term[0][0] = (pn_choice){PN_DIL_CONV_5X5, 1};
    arch.cell[0].term[0][1] = (pn_choice){PN_DIL_CONV_5X5, 0};
    arch.cell[0].term[1][0] = (pn_choice){PN_DIL_CONV_5X5, 2};
    arch.cell[0].term[1][1] = (pn_choice){PN_DIL_CONV_5X5, 0};
    pn_genotype_short(&space, &arch, text);
    assert_string_equal(text, "normal d5@1 d5@0 | d5@2 d5@0");
}

static void all_spellings_of_python_are_read(void **state) {
    (void)state;
    static const struct {
        const char *why, *text;
    } spellings[] = {
        {"range, as DARTS prints it",
         "Genotype(normal=" NORMAL ", normal_concat=range(2, 6), reduce=" REDUCE
         ", reduce_concat=range(2, 6))"},
        {"no white space at all",
         "Genotype(normal=[('sep_conv_3x3',0),('sep_conv_3x3',1),('sep_conv_3x3',0),"
         "('sep_conv_3x3',1),('sep_conv_3x3',1),('skip_connect',0),('skip_connect',0),"
         "('dil_conv_3x3',2)],normal_concat=[2,3,4,5],reduce=[('max_pool_3x3',0),"
         "('max_pool_3x3',1),('skip_connect',2),('max_pool_3x3',1),('max_pool_3x3',0),"
         "('skip_connect',2),('skip_connect',2),('max_pool_3x3',1)],reduce_concat=range(2,6))"},
        {"newlines, tabs, comments, a trailing comma everywhere",
         "\n\tGenotype (\r\n  normal = [\n ( 'sep_conv_3x3' , 0 , ) , # first\n ('sep_conv_3x3', "
         "1), "
         "('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
         "('skip_connect', 0), ('dil_conv_3x3', 2),\n  ],\n  normal_concat = range( 2, 6, ),\n"
         "  reduce = " REDUCE ",\n  reduce_concat = [ 2, 3, 4, 5, ],\n)\n# that is all"},
        {"double quotes",
         "Genotype(normal=[(\"sep_conv_3x3\", 0), ('sep_conv_3x3', 1), (\"sep_conv_3x3\", 0), "
         "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
         "(\"dil_conv_3x3\", 2)], normal_concat=[2, 3, 4, 5], reduce=" REDUCE
         ", reduce_concat=[2, 3, 4, 5])"},
        {"keywords in another order",
         "Genotype(reduce_concat=[2, 3, 4, 5], reduce=" REDUCE ", normal_concat=(2, 3, 4, 5), "
         "normal=" NORMAL ")"},
        {"a line of genotypes.py",
         "DARTS_V2 = Genotype(normal=" NORMAL ", normal_concat=[2, 3, 4, 5], reduce=" REDUCE
         ", reduce_concat=[2, 3, 4, 5])"},
        {"the name alone, with white space", " DARTS_V2\n"},
        {"short notation on several lines",
         "normal s3@0 s3@1 | s3@0 s3@1|s3@1 sk@0 | sk @ 0 d3@2\n"
         "reduce mp@0 mp@1 | sk@2 mp@1 | mp@0 sk@2 | sk@2 mp@1\n"},
    };
    pn_arch want = the_published("DARTS_V2"), got;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        if (read_text(spellings[i].text, &got) != PN_OK)
            fail_msg("%s: %s", spellings[i].why, pn_error());
        assert_memory_equal(&got, &want, sizeof want);
    }
}

/* A text with one thing wrong in its normal cell. */
#define WITH(normal, concat)                                               \
    "Genotype(normal=" normal ", normal_concat=" concat ", reduce=" REDUCE \
    ", reduce_concat=[2, 3, 4, 5])"
#define SIX                                                                                \
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), " \
    "('skip_connect', 0), ('skip_connect', 0)"

/* Edges of a cell that has all of them. */
#define NINE                                                                         \
    "('none', 0), ('none', 1), ('none', 2), ('none', 3), ('none', 0), ('none', 4), " \
    "('none', 2), ('none', 3), ('none', 1)"
#define ELEVEN                                                                       \
    "('none', 0), ('none', 1), ('none', 0), ('none', 1), ('none', 2), ('none', 0), " \
    "('none', 1), ('none', 2), ('none', 3), ('none', 0), ('none', 2)"
#define FOURTEEN ELEVEN ", ('none', 1), ('none', 3), ('none', 4)"

static const struct {
    const char *why, *text, *named, *accepted;
} refused[] = {
    {"nothing", "", "the end of the text", "DARTS_V1, DARTS_V2, PDARTS, PC_DARTS_cifar"},
    {"a name nobody published", "DARTS_V3", "'DARTS_V3'", "PDARTS"},
    {"only almost a name", "DARTS_V", "'DARTS_V'", "PDARTS"},
    {"a word without end", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "'aaaaaa",
     "PDARTS"},
    {"bytes that cannot be printed", "\x01\xff(", "'  ('", "PDARTS"},
    {"an op that is not of the space",
     WITH("[('sep_conv_7x7', 0), ('sep_conv_3x3', 0), " SIX "]", "range(2, 6)"), "'sep_conv_7x7'",
     "dil_conv_5x5, none"},
    {"an op that begins like one", WITH("[('sep_conv_3x33', 0), " SIX "]", "range(2, 6)"),
     "'sep_conv_3x33'", "sep_conv_3x3"},
    {"an empty op", WITH("[('', 0), " SIX "]", "range(2, 6)"), "''", "sep_conv_3x3"},
    {"a node that reads itself", WITH("[('sep_conv_3x3', 2), " SIX "]", "range(2, 6)"),
     "input 2 of node 0", "0..1"},
    {"a later node", WITH("[('sep_conv_3x3', 0), " SIX ", ('skip_connect', 5)]", "range(2, 6)"),
     "input 5 of node 3", "0..4"},
    {"a negative input", WITH("[('sep_conv_3x3', -1), " SIX "]", "range(2, 6)"), "input -1",
     "0..1"},
    {"an input beyond all numbers",
     WITH("[('sep_conv_3x3', 99999999999999999999), " SIX "]", "range(2, 6)"), "of node 0", "0..1"},
    {"seven pairs", WITH("[('sep_conv_3x3', 0), " SIX "]", "range(2, 6)"), "normal: 7 pairs",
     "two for each of 4"},
    {"nine pairs",
     WITH("[('sep_conv_3x3', 0), " SIX ", ('skip_connect', 0), ('skip_connect', 0)]",
          "range(2, 6)"),
     "normal: 9 pairs", "two for each of 4"},
    {"a node too many",
     WITH("[" SIX ", ('none', 0), ('none', 0), ('sep_conv_3x3', 5), ('sep_conv_3x3', 0)]",
          "range(2, 6)"),
     "input 5 of node 3", "0..4"},
    {"five nodes of two terms",
     WITH("[" SIX ", ('none', 0), ('none', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0)]",
          "range(2, 6)"),
     "normal: 10 pairs", "one for each of 14 edges"},
    {"an edge too many", WITH("[" FOURTEEN ", ('none', 0)]", "range(2, 6)"), "more than 14 pairs",
     "one for each of 14 edges"},
    {"every edge, an input twice",
     WITH("[" ELEVEN ", ('sep_conv_3x3', 1), ('none', 3), ('sep_conv_3x3', 3)]", "range(2, 6)"),
     "input 3 of node 3 twice", "5 inputs once"},
    {"every edge, a node that reads a later one",
     WITH("[('none', 0), ('none', 1), ('none', 0), ('none', 1), ('none', 3), " NINE "]",
          "range(2, 6)"),
     "input 3 of node 1", "0..2"},
    {"no pairs", WITH("[]", "range(2, 6)"), "normal: 0 pairs", "two for each of 4"},
    {"AmoebaNet's concatenation", WITH(NORMAL, "[4, 5, 6]"), "'[4, 5, 6]", "[2, 3, 4, 5]"},
    {"a concatenation without a node", WITH(NORMAL, "[2, 3, 4]"), "'[2, 3, 4]", "range(2, 6)"},
    {"a node twice", WITH(NORMAL, "[2, 3, 3, 5]"), "'[2, 3, 3, 5]", "range(2, 6)"},
    {"a range with a cell input", WITH(NORMAL, "range(1, 6)"), "'range(1, 6)", "range(2, 6)"},
    {"a range too short", WITH(NORMAL, "range(2, 5)"), "'range(2, 5)", "range(2, 6)"},
    {"another function", WITH(NORMAL, "list(2, 6)"), "'list(2, 6)", "range(2, 6)"},
    {"a pair without bracket", WITH("['sep_conv_3x3', 0]", "range(2, 6)"), "'sep_conv", "a pair"},
    {"a pair without quotes", WITH("[(sep_conv_3x3, 0)]", "range(2, 6)"), "sep_conv", "quotes"},
    {"a pair without comma", WITH("[('sep_conv_3x3' 0)]", "range(2, 6)"), "'0)", "comma"},
    {"a pair of three", WITH("[('sep_conv_3x3', 0, 1)]", "range(2, 6)"), "'1)", "end of the pair"},
    {"brackets that do not match", WITH("[('sep_conv_3x3', 0]]", "range(2, 6)"), "']]",
     "end of the pair"},
    {"a keyword twice", "Genotype(normal_concat=[2, 3, 4, 5], normal_concat=[2, 3, 4, 5])",
     "'normal_concat", "each once"},
    {"a keyword unknown", "Genotype(norml=[])", "'norml", "each once"},
    {"a keyword missing",
     "Genotype(normal=" NORMAL ", normal_concat=range(2, 6), reduce=" REDUCE ")",
     "without reduce_concat", "each once"},
    {"no keyword", "Genotype([])", "'[", "normal_concat"},
    {"words behind it", "DARTS_V2 DARTS_V1", "'DARTS_V1'", "nothing more"},
    {"short: an unknown op", "normal c3@0", "'c3@0'", "s5"},
    {"short: a node that reads itself", "normal s3@2", "input 2 of node 0", "0..1"},
    {"short: no bar", "normal s3@0 s3@1 s3@0", "'s3@0'", "|"},
    {"short: three terms at node 1 and two at node 2",
     "normal s3@0 s3@1 | s3@0 s3@1 no@2 | s3@0 s3@1 | s3@0 s3@1", "'|", "one of mp"},
    {"short: three terms at node 2 alone", "normal s3@0 s3@1 | s3@0 s3@1 | s3@0 s3@1 no@2",
     "'no@2'", "|"},
    {"short: every edge, an input twice",
     "normal s3@0 s3@1 | s3@0 s3@1 no@1 | s3@0 s3@1 no@2 no@3 | "
     "no@0 no@1 no@2 no@3 no@4 reduce",
     "input 1 of node 1 twice", "3 inputs once"},
    {"short: no reduction cell", "normal s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2",
     "the end of the text", "reduce"},
    {"short: no input", "normal s3", "the end of the text", "@"},
};

static void mistakes_are_refused_with_the_value_and_what_is_accepted(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        pn_arch arch, before;
        memset(&arch, 0x55, sizeof arch);
        before = arch;
        pn_status status = read_text(refused[i].text, &arch);
        const char *sentence = pn_error();
        if (status != PN_EARG || !strstr(sentence, refused[i].named) ||
            !strstr(sentence, refused[i].accepted) || strchr(sentence, '\n'))
            fail_msg("%s: status %d, \"%s\"", refused[i].why, status, sentence);
        assert_memory_equal(&arch, &before, sizeof arch);
    }
}

static void every_beginning_is_refused_within_its_bounds(void **state) {
    (void)state;
    pn_arch arch = the_published("DARTS_V2");
    pn_space space = pn_space_darts();
    char line[PN_SHORT_BYTES];
    pn_genotype_short(&space, &arch, line);
    for (size_t n = 0; n < strlen(darts_v2); n++)
        assert_int_equal(read_exact(darts_v2, n, &arch), PN_EARG);
    for (size_t n = 0; n < strlen(line); n++) assert_int_equal(read_exact(line, n, &arch), PN_EARG);
}

/* One byte changed: either refused, or read as something that can be written. */
static void every_damaged_byte_is_refused_or_harmless(void **state) {
    (void)state;
    static const char to[] = "0129[]()'\",=# x\n\\";
    size_t taken = 0;
    for (size_t at = 0; at < strlen(darts_v2); at++)
        for (size_t i = 0; i <= sizeof to - 1; i++) { /* the final zero too */
            char text[sizeof darts_v2], again[PN_GENOTYPE_BYTES];
            pn_arch arch, back;
            memcpy(text, darts_v2, sizeof text);
            text[at] = to[i];
            if (read_exact(text, sizeof text - 1, &arch) != PN_OK) continue;
            pn_genotype_write(&arch, again);
            assert_int_equal(read_text(again, &back), PN_OK);
            assert_memory_equal(&back, &arch, sizeof arch);
            taken++;
        }
    assert_in_range(taken, 100, 1000); /* digits and white space: most damage is refused */
}

/* ---- files ----------------------------------------------------------------------------------- */

static char folder[] = "/tmp/pn_test_genotype_XXXXXX";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"genotype.txt", "file"};
    char path[256];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static void put(const char *name, const char *text, char path[256]) {
    snprintf(path, 256, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void a_genotype_is_found_wherever_it_is(void **state) {
    (void)state;
    pn_arch want = the_published("DARTS_V2"), got;
    char path[256], text[4096];

    assert_int_equal(pn_genotype_open("DARTS_V2", &got), PN_OK);
    assert_memory_equal(&got, &want, sizeof want);
    assert_int_equal(pn_genotype_open(darts_v2, &got), PN_OK);
    assert_memory_equal(&got, &want, sizeof want);

    put("genotype.txt", darts_v2, path);
    assert_int_equal(pn_genotype_open(path, &got), PN_OK);
    memset(&got, 0, sizeof got);
    assert_int_equal(pn_genotype_open(folder, &got), PN_OK); /* a run directory */
    assert_memory_equal(&got, &want, sizeof want);

    /* A Python module, where the word stands before it is called; the first call counts. */
    snprintf(text, sizeof text,
             "from collections import namedtuple\n"
             "Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')\n"
             "MyGenotype(1)\n"
             "\n"
             "DARTS_V2 = %s\n"
             "\n"
             "DARTS = DARTS_V2\n"
             "X = Genotype(1)\n",
             darts_v2);
    put("file", text, path);
    memset(&got, 0, sizeof got);
    assert_int_equal(pn_genotype_open(path, &got), PN_OK);
    assert_memory_equal(&got, &want, sizeof want);

    /* A line of a training log. */
    snprintf(text, sizeof text, "11/24 03:41:56 AM epoch 3\n11/24 AM genotype = %s\ntensor([[0.1",
             darts_v2);
    put("file", text, path);
    memset(&got, 0, sizeof got);
    assert_int_equal(pn_genotype_open(path, &got), PN_OK);
    assert_memory_equal(&got, &want, sizeof want);
}

static void a_wrong_file_is_blamed_by_name(void **state) {
    (void)state;
    pn_arch arch;
    char path[256];
    put("file", "Genotype(normal=[('conv_7x1_1x7', 0)])", path);
    assert_int_equal(pn_genotype_open(path, &arch), PN_EINPUT);
    assert_non_null(strstr(pn_error(), path));
    assert_non_null(strstr(pn_error(), "conv_7x1_1x7"));

    put("file", "nothing here", path);
    assert_int_equal(pn_genotype_open(path, &arch), PN_EINPUT);
    assert_non_null(strstr(pn_error(), path));
    put("file", "", path);
    assert_int_equal(pn_genotype_open(path, &arch), PN_EINPUT);

    snprintf(path, sizeof path, "%s/genotype.txt", folder);
    unlink(path);
    assert_int_equal(pn_genotype_open(folder, &arch), PN_EIO); /* no search has run there */
    assert_non_null(strstr(pn_error(), "genotype.txt"));

    assert_int_equal(pn_genotype_open("runs/nowhere", &arch), PN_EARG);
    assert_non_null(strstr(pn_error(), "'runs/nowhere' is no file"));
    assert_int_equal(pn_genotype_open("Genotype(normal=[('noon', 0)])", &arch), PN_EARG);
    assert_non_null(strstr(pn_error(), "'noon'"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_ones_are_as_published),
        cmocka_unit_test(text_is_exactly_what_python_prints),
        cmocka_unit_test(every_choice_survives_both_notations),
        cmocka_unit_test(every_edge_survives_both_notations),
        cmocka_unit_test(the_longest_texts_fit),
        cmocka_unit_test(short_notation_shows_only_what_a_small_space_has),
        cmocka_unit_test(all_spellings_of_python_are_read),
        cmocka_unit_test(mistakes_are_refused_with_the_value_and_what_is_accepted),
        cmocka_unit_test(every_beginning_is_refused_within_its_bounds),
        cmocka_unit_test(every_damaged_byte_is_refused_or_harmless),
        cmocka_unit_test(a_genotype_is_found_wherever_it_is),
        cmocka_unit_test(a_wrong_file_is_blamed_by_name),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
