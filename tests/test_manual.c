/* test_manual.c -- what is made from the tables of options: the page for man and the completions
 * name every command and every option of `parsec-nas help`, and those who read them take them. And
 * the tables themselves: a value that cannot be is refused in the same words wherever it stands. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/file.h"
#include "search/methods/settings.h"
#include "search/network/genotype.h"
#include "search/train/settings.h"
#include "tests/support/process.h"

/* cmocka.h wants the others before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

enum {
    MOST_ARGUMENTS = 12,
    LIMIT = 60,
    MOST_COMMANDS = 32,
    MOST_OPTIONS = 2 * PN_MAX_FIELDS,
    NAME = 40,
    SKIP = 77
};

/* argv[0] is found by its path; the caller frees `out` and `err`. */
static pn_process finished(const char *const *argv) {
    const pn_conditions where = {.folder = pn_folder};
    pn_process p;
    pn_process_run(&p, argv, &where, LIMIT);
    return p;
}

static char *output_of(const char *const *argv) {
    pn_process p = finished(argv);
    if (p.code != 0 || *p.err)
        fail_msg("%s %s: exit code %d; it said: %s", argv[0], argv[1], p.code, p.err);
    free(p.err);
    return p.out;
}
#define OUTPUT(...) output_of((const char *const[]){PN_PROGRAM, __VA_ARGS__, NULL})

static void put(const char *name, char *text) {
    assert_int_equal(pn_file_write(pn_in_folder(name), text, strlen(text)), PN_OK);
    free(text);
}

static int begin(void **state) {
    pn_folder_begin(state);
    put("page.1", OUTPUT("help", "--man"));
    put("c.bash", OUTPUT("help", "--completion", "bash"));
    put("c.zsh", OUTPUT("help", "--completion", "zsh"));
    put("c.fish", OUTPUT("help", "--completion", "fish"));
    put("words.npy", strdup("a file"));
    return 0;
}

/* ---- everything is named --------------------------------------------------------------------- */

/* The names that follow `before` at the beginning of a line, and are followed by a space. */
static int names_of(const char *text, const char *before, char name[][NAME], int most) {
    int count = 0;
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, before, strlen(before)) != 0) continue;
        const char *at = line + strlen(before);
        const size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
        if (!length || at[length] != ' ') continue;
        assert_true(count < most && length < NAME);
        snprintf(name[count++], NAME, "%.*s", (int)length, at);
    }
    return count;
}

/* The part of a text from a line that begins with `from` to the next `to`. */
static char *part(const char *text, const char *from, const char *to) {
    const char *first = strstr(text, from);
    if (!first) fail_msg("no line %s", from);
    const char *last = first ? strstr(first + 1, to) : NULL;
    if (!last) fail_msg("no %s after %s", to, from);
    return last ? strndup(first, (size_t)(last - first)) : NULL;
}

static void must_have(const char *text, const char *what, const char *command, const char *option) {
    if (!strstr(text, what)) fail_msg("%s: no --%s: no %s", command, option, what);
}

static void assert_named(const char *command, const char *option, const char *page,
                         const char *bash, const char *zsh, const char *fish) {
    char text[4 * NAME], *to = text + sprintf(text, "\n.B \\-\\-");
    for (const char *c = option; *c; c++) to += sprintf(to, *c == '-' ? "\\-" : "%c", *c);
    if (!strstr(page, text)) { /* a flag that can be turned off */
        char negated[4 * NAME + 8];
        snprintf(negated, sizeof negated, "\n.B \\-\\-[no\\-]%s", text + strlen("\n.B \\-\\-"));
        must_have(page, negated, command, option);
    }
    snprintf(text, sizeof text, " --%.39s", option);
    must_have(strstr(bash, "*) options="), text, command, option);
    snprintf(text, sizeof text, "'--%.39s", option);
    must_have(zsh, text, command, option);
    snprintf(text, sizeof text, "'__parsec_nas_in %.39s' -l %.39s ", command, option);
    must_have(fish, text, command, option);
}

static void every_command_and_option_is_named(void **state) {
    (void)state;
    char command[MOST_COMMANDS][NAME], option[MOST_OPTIONS][NAME], from[2 * NAME];
    char *help = OUTPUT("help"), *page = OUTPUT("help", "--man"),
         *bash = OUTPUT("help", "--completion", "bash"),
         *zsh = OUTPUT("help", "--completion", "zsh"),
         *fish = OUTPUT("help", "--completion", "fish");
    char *list = part(help, "  search ", "\n\n");
    const int commands = names_of(list, "  ", command, MOST_COMMANDS);
    assert_true(commands >= 11);
    for (int i = 0; i < commands; i++) {
        char *text = OUTPUT("help", command[i]);
        const int options = names_of(text, "  --", option, MOST_OPTIONS);
        snprintf(from, sizeof from, ".SS %.39s\n", command[i]);
        char *of_page = part(page, from, i + 1 < commands ? ".SS " : ".SH EXIT");
        snprintf(from, sizeof from, "    %.39s) case ", command[i]);
        char *of_bash = part(bash, from, "esac ;;");
        snprintf(from, sizeof from, "    %.39s) _arguments ", command[i]);
        char *of_zsh = part(zsh, from, ";;\n");
        assert_true(options >= 2);
        for (int j = 0; j < options; j++)
            assert_named(command[i], option[j], of_page, of_bash, of_zsh, fish);
        free(text);
        free(of_page);
        free(of_bash);
        free(of_zsh);
    }
    static const char *const sections[] = {"NAME",        "SYNOPSIS", "DESCRIPTION", "COMMANDS",
                                           "EXIT STATUS", "FILES",    "EXAMPLES",    "SEE ALSO"};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        snprintf(from, sizeof from, "\n.SH %s\n", sections[i]);
        assert_non_null(strstr(page, from));
    }
    for (int code = 0; code <= 8; code++) {
        snprintf(from, sizeof from, "\n.B %d\n", code);
        assert_non_null(strstr(page, from));
        snprintf(from, sizeof from, "  %d ", code);
        assert_non_null(strstr(help, from));
    }
    for (int i = 0; pn_genotype_published(i, NULL); i++)
        assert_non_null(strstr(bash, pn_genotype_published(i, NULL)));
    free(help);
    free(page);
    free(bash);
    free(zsh);
    free(fish);
    free(list);
}

/* The other names of every option stand in the page. */
static void must_have_names(const char *page, const pn_fields *fields) {
    for (int i = 0; i < fields->count; i++) {
        const pn_field *f = &fields->list[i];
        char names[4 * NAME] = "(also ", *to = names + strlen(names);
        if (!f->also || !f->help) continue;
        for (const char *c = f->also; *c; c += strcspn(c, "|"), c += *c == '|') {
            const int length = (int)strcspn(c, "|");
            to += sprintf(to, length == 1 ? "\\-" : "\\-\\-");
            for (int k = 0; k < length; k++) to += sprintf(to, c[k] == '-' ? "\\-" : "%c", c[k]);
            to += sprintf(to, "%s", c[length] ? ", " : ")\n");
        }
        if (!strstr(page, names)) fail_msg("--%s: no line %s", f->name, names);
    }
}

static void other_names_are_in_the_page(void **state) {
    (void)state;
    char *page = OUTPUT("help", "--man"), *help = OUTPUT("help", "search");
    must_have_names(page, &pn_settings_fields);
    must_have_names(page, &pn_train_fields);
    assert_non_null(strstr(page, "(also \\-q, \\-\\-silent)\n"));
    assert_non_null(strstr(help, " (-q)\n"));
    free(page);
    free(help);
}

/* ---- who reads it takes it ------------------------------------------------------------------- */

/* A line of sh, which must say nothing; SKIP: what it needs is not here. */
static void silent(const char *line) {
    pn_process p = finished((const char *const[]){"/bin/sh", "-c", line, NULL});
    const int code = p.code;
    if (code != SKIP && (code != 0 || *p.out || *p.err))
        fail_msg("%s: exit code %d: %s%s", line, code, p.out, p.err);
    pn_process_free(&p);
    if (code == SKIP) skip();
}
#define NEEDS(program) "command -v " program " >/dev/null || exit 77; "

static void groff_has_no_warning(void **state) {
    (void)state;
    silent(NEEDS("groff") "groff -man -ww -z page.1 2>&1");
}

static void no_line_of_the_page_is_too_wide(void **state) {
    (void)state;
    silent(NEEDS("groff") "groff -man -rLL=80n -Tascii -P-cbou page.1 | awk 'length($0) > 80'");
}

static void bash_parses_it(void **state) {
    (void)state;
    silent(NEEDS("bash") "bash -n c.bash");
}

static void zsh_parses_it(void **state) {
    (void)state;
    silent(NEEDS("zsh") "zsh -n c.zsh");
}

static void fish_parses_it(void **state) {
    (void)state;
    silent(NEEDS("fish") "fish --no-config -n c.fish");
}

/* As bash asks: COMP_WORDS, cut at = and :, of which the last is to be completed. */
static void bash_completes(void **state) {
    (void)state;
    static const struct {
        const char *words, *want; /* a line each, in this order */
    } cases[] = {
        {"pl", "plan"},
        {"s", "search sample"},
        {"help t", "train trace"},
        {"info --", "--help --json --device --precision --threads"},
        {"sample --", "--help --count --top --distinct-inputs --seed --truth --json"},
        {"plan --s", "--stem --samples --supernet --shards --step-samples --share-slot --seed"},
        {"train d --no-", "--no-auxiliary --no-augment --no-hold-out --no-report"},
        {"search d --r",
         "--rule --restart --rate-alpha --resource --resource-weight --resource-form --resource-of "
         "--rate-pi --rate --rate-end --recompute --report"},
        {"search d --rule ''", "auto paper practical evidence"},
        {"search d --rule = pr", "practical"},
        {"search d --device cpu : av", "avx512 avx2"},
        {"plan --genotype D", "DARTS_V1 DARTS_V2"},
        {"plan --genotype SNAS_mi", "SNAS_mild SNAS_mild_edge_all"},
        {"plan --layers ''", ""},
        {"info ''", ""},
        {"plan w", "words.npy"},
        {"trace --input w", "words.npy"},
        {"eval --json w", "words.npy"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[512];
        snprintf(line, sizeof line,
                 NEEDS("bash") "bash -c '. ./c.bash; COMP_WORDS=(parsec-nas \"$@\"); "
                               "COMP_CWORD=$#; _parsec_nas; echo \"${COMPREPLY[*]}\"' - %s",
                 cases[i].words);
        pn_process p = finished((const char *const[]){"/bin/sh", "-c", line, NULL});
        if (p.code == SKIP) skip();
        if (strlen(p.out)) p.out[strlen(p.out) - 1] = 0;
        if (p.code || *p.err || strcmp(p.out, cases[i].want))
            fail_msg("%s: %s, want %s; it said: %s", cases[i].words, p.out, cases[i].want, p.err);
        pn_process_free(&p);
    }
}

/* ---- as people type it ----------------------------------------------------------------------- */

/* Each spelling is the same as the one before the first NULL: other names, beginnings of names,
 * underscores, one letter, and --name=value. */
static void every_spelling_of_an_option(void **state) {
    (void)state;
    static const char *const spellings[][5][4] = {
        {{"plan", "--batch", "8", "--json"},
         {"plan", "--batch-size", "8", "--json"},
         {"plan", "--batch_size=8", "--js"},
         {"plan", "--bs=8", "--json"}},
        {{"plan", "--genotype", "PDARTS"},
         {"plan", "PDARTS"},
         {"plan", "--geno", "PDARTS"},
         {"plan", "--arch=PDARTS"}},
        {{"plan", "--memory=512MiB", "PDARTS"},
         {"plan", "--memory=512M", "PDARTS"},
         {"plan", "--mem", "512 mib", "PDARTS"},
         {"plan", "--memory=536870912", "PDARTS"}},
        {{"plan", "--memory=1GB", "PDARTS"}, {"plan", "--memory=1gb", "PDARTS"}},
        {{"plan", "--channels", "8", "PDARTS"},
         {"plan", "--init_channels", "8", "PDARTS"},
         {"plan", "--chan=8", "PDARTS"}},
        {{"plan", "--network=eval", "--no-auxiliary", "PDARTS"},
         {"plan", "--net=eval", "--no-aux", "PDARTS"}},
        {{"--version"}, {"-V"}, {"version"}},
    };
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        char *want = NULL;
        for (int k = 0; k < 5 && spellings[i][k][0]; k++) {
            const char *const *w = spellings[i][k];
            char *text = OUTPUT(w[0], w[1], w[2], w[3]);
            if (!want) want = strdup(text);
            assert_string_equal(text, want);
            free(text);
        }
        free(want);
    }
}

/* ---- defaults -------------------------------------------------------------------------------- */

/* Each default is a value that its row takes, and comes out again; the rest is unset. */
static void assert_defaults(const pn_fields *fields, const void *settings) {
    for (int i = 0; i < fields->count; i++) {
        const pn_field *f = &fields->list[i];
        char text[PN_TEXT_BYTES], other[PN_TEXT_BYTES];
        _Alignas(16) char copy[sizeof(pn_train_settings) + sizeof(pn_settings)] = {0};
        if (f->usual) assert_int_equal(pn_field_set(copy, f, f->usual), PN_OK);
        pn_field_text(settings, f, text);
        pn_field_text(copy, f, other);
        if (!f->usual) snprintf(other, sizeof other, f->kind == PN_FIELD_TEXT ? "" : "auto");
        assert_string_equal(text, other);
    }
}

static void defaults_are_those_of_the_tables(void **state) {
    (void)state;
    const pn_settings search = pn_settings_defaults();
    const pn_train_settings train = pn_train_defaults();
    const pn_network_sizes usual = pn_network_defaults(false, false);
    assert_defaults(&pn_settings_fields, &search);
    assert_defaults(&pn_train_fields, &train);
    assert_int_equal(search.layers, usual.layers);
    assert_true(search.time == PN_UNSET_REAL && train.time == PN_UNSET_REAL);
    assert_int_equal(search.channels, usual.channels);
    assert_int_equal(search.batch, usual.batch);
    assert_true(search.rate == 0.025 && search.rate_end == PN_UNSET_REAL && search.momentum == 0.9);
    assert_true(search.decay == PN_UNSET_REAL && search.clip == PN_UNSET_REAL &&
                search.skip_below == 0x1p-24);
    assert_true(train.epochs == 600 && train.cutout == 16 && train.drop_path == 0.2);
    assert_true(train.rate == 0.025 && train.rate_end == 0 && train.auxiliary_weight == 0.4);
}

/* ---- one sentence ---------------------------------------------------------------------------- */

/* What the program says of a wrong value, without "parsec-nas COMMAND: ". */
static char *refusal(const char *command, const char *option, const char *value) {
    char name[NAME];
    snprintf(name, sizeof name, "--%s", option);
    pn_process p = finished((const char *const[]){PN_PROGRAM, command, name, value, NULL});
    const char *sentence = strstr(p.err, ": ");
    if (p.code != PN_EARG || !sentence) fail_msg("%s %s %s: %s", command, name, value, p.err);
    char *text = sentence ? strndup(sentence + 2, strcspn(sentence + 2, "\n")) : NULL;
    pn_process_free(&p);
    return text;
}

static void a_wrong_value_has_one_sentence(void **state) {
    (void)state;
    static const struct {
        const char *option, *value, *want;
        const char *commands[4];
        const char *json; /* NULL: not of run.json */
    } cases[] = {
        {"layers", "0", "a whole number from 1 to 64", {"plan", "search", "train", "eval"}, "0"},
        {"channels", "6", "a multiple of 4", {"trace", "search", "train", "compare"}, "6"},
        {"batch", "1e9", "a whole number from 1 to 1048576", {"eval", "search", "train"}, "1e9"},
        {"seed", "-1", "a whole number from 0 to 18446744073709551615", {"plan", "search"}, "-1"},
        {"stem", "vgg", "cifar or imagenet", {"plan", "trace", "train", "eval"}, NULL},
        {"rule", "darts", "auto, paper, practical or evidence", {"search"}, "\"darts\""},
        {"auxiliary-weight", "x", "a number from 0 to 1000", {"trace", "train"}, NULL},
        {"save-every", "-1", "a number from 0 to 1000000000", {"search", "train"}, NULL},
        {"temperature", "0", "a number from 0.000001 to 1000000000000", {"search"}, NULL},
        {"time", "30x", "a time from 1s, as 90s, 30m, 1.5h or 2d", {"search", "train"}, NULL},
        {"memory", "12XB", "a size such as 4GiB, 512MiB or 1000000", {"plan", "search"}, NULL},
        {"completion", "tcsh", "bash, zsh or fish", {"help"}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[128];
        snprintf(want, sizeof want, "--%s %s, want %s", cases[i].option, cases[i].value,
                 cases[i].want);
        for (int k = 0; k < 4 && cases[i].commands[k]; k++) {
            char *text = refusal(cases[i].commands[k], cases[i].option, cases[i].value);
            assert_string_equal(text, want);
            free(text);
        }
        if (!cases[i].json) continue;
        pn_settings settings = pn_settings_defaults();
        json_t *object = json_object(), *value = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
        assert_int_equal(json_object_set_new(object, cases[i].option, value), 0);
        assert_int_equal(pn_fields_read(&pn_settings_fields, "run.json", object, &settings),
                         PN_EINPUT);
        json_decref(object);
        assert_memory_equal(pn_error(), "run.json: ", 10);
        if (!strchr(cases[i].json, 'e')) /* jansson reads 1e9 as a real number */
            assert_string_equal(pn_error() + 10, want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_and_option_is_named),
        cmocka_unit_test(other_names_are_in_the_page),
        cmocka_unit_test(groff_has_no_warning),
        cmocka_unit_test(no_line_of_the_page_is_too_wide),
        cmocka_unit_test(bash_parses_it),
        cmocka_unit_test(zsh_parses_it),
        cmocka_unit_test(fish_parses_it),
        cmocka_unit_test(bash_completes),
        cmocka_unit_test(every_spelling_of_an_option),
        cmocka_unit_test(defaults_are_those_of_the_tables),
        cmocka_unit_test(a_wrong_value_has_one_sentence),
    };
    return cmocka_run_group_tests_name("manual", tests, begin, pn_folder_end);
}
