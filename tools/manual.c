/* manual.c -- see manual.h. One writer a format; all walk the list of commands. */
#include "tools/manual.h"

#include <stdint.h>
#include <string.h>

#include "tools/commands.h"

/* ---- what all writers need ------------------------------------------------------------------- */

/* The characters that are written as something else; {NULL} behind the last. */
typedef const char *const escapes[][2];

static void put(FILE *out, const char *text, size_t length, escapes as) {
    for (const char *c = text; c < text + length; c++) {
        int i = 0;
        while (as[i][0] && *as[i][0] != *c) i++;
        if (as[i][0])
            fputs(as[i][1], out);
        else
            fputc(*c, out);
    }
}

static void put_in(FILE *out, const char *before, const char *text, escapes as, const char *after) {
    fputs(before, out);
    put(out, text, strlen(text), as);
    fputs(after, out);
}

static const char *list_of(const pn_field *f) { return f->choices ? f->choices : f->examples; }

/* A flag that is on, or may be, if nobody says otherwise: --no-NAME is then of use. */
static bool is_on(const pn_field *f) {
    return !f->argument && (f->usual ? *f->usual == '1' : f->size == sizeof(int64_t));
}

/* What the words of a command may be beside files: of help, the commands. */
static void put_words(FILE *out, const pn_command *c) {
    for (int i = 0; c == &pn_command_help && pn_commands[i]; i++)
        fprintf(out, "%s%s", i ? " " : "", pn_commands[i]->name);
}

/* ---- man ------------------------------------------------------------------------------------- */

static const char files[] =
    "  DIR/run.json         every setting of a run, its state, device and results\n"
    "  DIR/metrics.csv      a row for each step of a search, each epoch of a training\n"
    "  DIR/samples.csv, DIR/prior.csv\n"
    "                       of a search: the architectures drawn, and the distribution\n"
    "  DIR/truth.csv        of a search with --truth: what the distribution is worth\n"
    "  DIR/checkpoint-*.safetensors\n"
    "                       from where the same command continues\n"
    "  DIR/genotype.txt     the cell\n"
    "  DIR/seed-N/          of train: one training, with its weights in\n"
    "                       last.safetensors and best.safetensors\n"
    "  DIR/results.json     of train: all seeds that are finished\n"
    "  DIR/lock             held by the process at work\n";

static const char environment[] =
    "  PARSEC_TIMES=1       at the end, on stderr: time and launches of each op and pass\n"
    "  PARSEC_NVTX=1        names each launch of a card for a profiler\n"
    "  PARSEC_PDL=0         no launch of a card comes up while the one before it runs\n"
    "  PARSEC_CUTS=...      how jobs are cut for a card, to be tried: CONTRIBUTING.md\n"
    "  OMP_NUM_THREADS      as --threads; OMP_WAIT_POLICY: how threads wait\n";

static escapes of_roff = {{"-", "\\-"},   {"\\", "\\e"},  {"^", "\\(ha"},
                          {"~", "\\(ti"}, {"'", "\\(aq"}, {NULL}};

static void roff(FILE *out, const char *text, size_t length) {
    if (length && *text == '.') fputs("\\&", out);
    put(out, text, length, of_roff);
    fputc('\n', out);
}

/* Paragraphs, with lists whose lines begin with two spaces: a term, two spaces or more or the end
 * of the line, and words about it, which more indented lines continue. */
static void prose(FILE *out, const char *text) {
    bool listed = false;
    for (const char *end; *text; text = end + 1) {
        end = strchr(text, '\n');
        const size_t indent = strspn(text, " "), length = (size_t)(end - text) - indent;
        const char *words = text + indent, *gap = strstr(words, "  ");
        if (!length || (listed && !indent)) fputs(".PP\n", out);
        if (indent == 2) {
            const size_t term = gap && gap < end ? (size_t)(gap - words) : length;
            fputs(".TP\n.B ", out);
            roff(out, words, term);
            words += term + strspn(words + term, " ");
        }
        if (words < end) roff(out, words, (size_t)(end - words));
        if (length) listed = indent != 0;
    }
}

/* The other names of an option. */
static void put_also(FILE *out, const pn_field *f) {
    char name[PN_NAME_OF_OPTION];
    for (int n = 0; pn_option_also(f, n, name); n++) {
        fputs(n ? ", " : "(also ", out);
        put(out, name, strlen(name), of_roff);
    }
    if (f->also) fputs(")\n", out);
}

static void page_of(FILE *out, const pn_command *c) {
    const pn_options *table;
    const pn_field *f;
    char text[PN_TEXT_BYTES];
    const char *end = strstr(c->usage, "\n\n");
    fprintf(out, ".SS %s\n", c->name);
    for (const char *line = c->usage; line < end + 1; line = strchr(line, '\n') + 1) {
        fputs(".HP 4\n.B ", out);
        roff(out, line, strcspn(line, "\n"));
    }
    fputs(".PP\n", out);
    prose(out, end + 2);
    for (int i = 0; (f = pn_option_at(c, i, &table)); i++) {
        fputs(".TP\n.B \\-\\-", out);
        if (is_on(f)) fputs("[no\\-]", out);
        put(out, f->name, strlen(f->name), of_roff);
        fprintf(out, f->argument ? " \\fI%s\\fR\n" : "\n", f->argument);
        pn_option_text(f, text);
        roff(out, text, strlen(text));
        put_also(out, f);
    }
    if (c->notes) prose(out, c->notes);
}

void pn_manual_page(FILE *out, const pn_exit *exits, const char *examples) {
    fputs(".TH PARSEC\\-NAS 1 \"\" \"parsec\\-nas " PN_VERSION
          "\" \"User Commands\"\n.ad l\n.nh\n"
          ".SH NAME\nparsec\\-nas \\- architecture search in the memory of one network\n"
          ".SH SYNOPSIS\n.nf\n.B parsec\\-nas \\fICOMMAND\\fR [OPTIONS]\n"
          ".B parsec\\-nas help \\fICOMMAND\\fR\n.B parsec\\-nas \\-\\-version\n.fi\n"
          ".SH DESCRIPTION\n",
          out);
    prose(out,
          "Searches a distribution over DARTS cells (PARSEC: Casale, Gordon, Fusi,\n"
          "Probabilistic Neural Architecture Search, 2019), and trains the cells that it\n"
          "finds, on fused kernels for CPU and CUDA. Data goes to stdout, progress and\n"
          "messages go to stderr.\n"
          "\n"
          "An option is given as --name VALUE or --name=VALUE; --no-name turns a flag off.\n"
          "As many letters of a name will do as no other option begins with.\n"
          "What is in brackets behind an option is its default.\n");
    fputs(".SH COMMANDS\n", out);
    for (int i = 0; pn_commands[i]; i++) page_of(out, pn_commands[i]);
    fputs(".SH EXIT STATUS\n", out);
    for (; exits->code; exits++) {
        fprintf(out, ".TP\n.B %s\n", exits->code);
        roff(out, exits->meaning, strlen(exits->meaning));
    }
    fputs(".SH ENVIRONMENT\n", out);
    prose(out, environment);
    fputs(".SH FILES\n", out);
    prose(out, files);
    fputs(".SH EXAMPLES\n.nf\n", out);
    for (const char *line = examples; *line; line = strchr(line, '\n') + 1)
        roff(out, line, strcspn(line, "\n"));
    fputs(".fi\n.SH SEE ALSO\nThe folder doc/ of the sources: architecture.md, runs.md, stage.md\n",
          out);
}

/* ---- completions ----------------------------------------------------------------------------- */

static escapes blanks = {{"|", " "}, {NULL}};

static void bash(FILE *out) {
    const pn_options *table;
    const pn_field *f;
    fputs(
        "# Completion for bash: parsec-nas help --completion bash\n"
        "_parsec_nas() {\n"
        "    local word command=${COMP_WORDS[1]} before= current= joined= options= values= files=\n"
        "    # bash cuts words at = and :, and replaces what is behind the last of them.\n"
        "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD}\"; do\n"
        "        case $word in\n"
        "        =) before=$current current= joined=1 ;;\n"
        "        :) current+=: joined=1 ;;\n"
        "        *) [[ $joined ]] || before=$current current=\n"
        "            current+=$word joined= ;;\n"
        "        esac\n"
        "    done\n"
        "    ((COMP_CWORD > 1)) || command=\n"
        "    case $command in\n"
        "    '') values='--help --version ",
        out);
    put_words(out, &pn_command_help);
    fputs("' ;;\n", out);
    for (int i = 0; pn_commands[i]; i++) {
        const pn_command *c = pn_commands[i];
        fprintf(out, "    %s) case $before in\n", c->name);
        for (int j = 0; (f = pn_option_at(c, j, &table)); j++) {
            if (!f->argument) continue;
            fprintf(out, "        --%s)", f->name);
            if (list_of(f)) put_in(out, " values='", list_of(f), blanks, "'");
            fputs(f->path ? " files=1 ;;\n" : " ;;\n", out);
        }
        fputs("        *) options='--help", out);
        for (int j = 0; (f = pn_option_at(c, j, &table)); j++)
            fprintf(out, is_on(f) ? " --%s --no-%s" : " --%s", f->name, f->name);
        fputs("' values='", out);
        put_words(out, c);
        fputs(c->words && c != &pn_command_help ? "' files=1 ;;\n" : "' ;;\n", out);
        fputs("        esac ;;\n", out);
    }
    fputs(
        "    esac\n"
        "    [[ $options && $current == -* ]] && values=$options files=\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$current\"\n"
        "        [[ $files ]] && compgen -f -- \"$current\")\n"
        "    [[ $files ]] && compopt -o filenames 2>/dev/null\n"
        "    [[ $COMP_WORDBREAKS == *:* ]] &&\n"
        "        COMPREPLY=(\"${COMPREPLY[@]#\"${current%\"${current##*:}\"}\"}\")\n"
        "    return 0\n"
        "}\n"
        "complete -F _parsec_nas parsec-nas\n",
        out);
}

static void zsh(FILE *out) {
    static escapes quoted = {{"'", "'\\''"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}, {NULL}},
                   listed = {{"|", " "}, {":", "\\:"}, {NULL}};
    const pn_options *table;
    const pn_field *f;
    char text[PN_TEXT_BYTES];
    fputs(
        "#compdef parsec-nas\n"
        "# Completion for zsh: parsec-nas help --completion zsh\n"
        "_parsec_nas_or_file() { compadd -- \"$@\"; _files }\n"
        "_parsec_nas() {\n"
        "    local curcontext=$curcontext state line\n"
        "    local -A opt_args\n"
        "    local -a commands=(\n",
        out);
    for (int i = 0; pn_commands[i]; i++) {
        fprintf(out, "        '%s", pn_commands[i]->name);
        put_in(out, ":", pn_commands[i]->summary, quoted, "'\n");
    }
    fputs(
        "    )\n"
        "    _arguments -C --help --version '1:command:->command' '*::argument:->argument'\n"
        "    [[ $state == command ]] && _describe command commands\n"
        "    [[ $state == argument ]] && case $words[1] in\n",
        out);
    for (int i = 0; pn_commands[i]; i++) {
        const pn_command *c = pn_commands[i];
        fprintf(out, "    %s) _arguments \\\n", c->name);
        for (int j = 0; (f = pn_option_at(c, j, &table)); j++) {
            fprintf(out, "        '--%s%s", f->name, f->argument ? "=" : "");
            put_in(out, "[", pn_option_text(f, text), quoted, "]");
            if (f->argument) fprintf(out, ":%s:", f->argument);
            if (f->path)
                put_in(out, " _parsec_nas_or_file ", list_of(f) ? list_of(f) : "", listed, "");
            else if (list_of(f))
                put_in(out, "(", list_of(f), listed, ")");
            fprintf(out, is_on(f) ? "' '--no-%s' \\\n" : "' \\\n", f->name);
        }
        fputs("        --help", out);
        if (c == &pn_command_help) {
            fputs(" '1:command:(", out);
            put_words(out, c);
            fputs(")'", out);
        } else if (c->words) {
            fputs(" '*:file:_files'", out);
        }
        fputs(" ;;\n", out);
    }
    fputs("    esac\n}\n_parsec_nas \"$@\"\n", out);
}

static void fish(FILE *out) {
    static escapes quoted = {{"'", "\\'"}, {"\\", "\\\\"}, {NULL}};
    const pn_options *table;
    const pn_field *f;
    char text[PN_TEXT_BYTES];
    fputs(
        "# Completion for fish: parsec-nas help --completion fish\n"
        "function __parsec_nas_in\n"
        "    set -l words (commandline -opc) ''\n"
        "    test \"$words[2]\" = \"$argv[1]\"\n"
        "end\n"
        "complete -c parsec-nas -n '__parsec_nas_in \"\"' -f -l help\n"
        "complete -c parsec-nas -n '__parsec_nas_in \"\"' -f -l version\n",
        out);
    for (int i = 0; pn_commands[i]; i++) {
        const pn_command *c = pn_commands[i];
        fprintf(out, "complete -c parsec-nas -n '__parsec_nas_in \"\"' -f -a %s", c->name);
        put_in(out, " -d '", c->summary, quoted, "'\n");
        fprintf(out, "complete -c parsec-nas -n '__parsec_nas_in %s' -l help\n", c->name);
        if (!c->words || c == &pn_command_help) {
            fprintf(out, "complete -c parsec-nas -n '__parsec_nas_in %s' -f -a '", c->name);
            put_words(out, c);
            fputs("'\n", out);
        }
        for (int j = 0; (f = pn_option_at(c, j, &table)); j++) {
            fprintf(out, "complete -c parsec-nas -n '__parsec_nas_in %s' -l %s%s", c->name, f->name,
                    !f->argument ? ""
                    : f->path    ? " -r -F"
                                 : " -x");
            if (list_of(f)) put_in(out, " -a '", list_of(f), blanks, "'");
            put_in(out, " -d '", pn_option_text(f, text), quoted, "'\n");
            if (is_on(f))
                fprintf(out, "complete -c parsec-nas -n '__parsec_nas_in %s' -l no-%s\n", c->name,
                        f->name);
        }
    }
}

void pn_manual_completion(FILE *out, const char *shell) {
    (!strcmp(shell, "bash") ? bash : !strcmp(shell, "zsh") ? zsh : fish)(out);
}
