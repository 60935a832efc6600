/* main.c -- parsec-nas: finds the subcommand, turns a status into an exit code. */
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/data.h"
#include "runtime/text.h"
#include "tools/commands.h"
#include "tools/progress.h"
#include "tools/ranks.h"
#include "tools/times.h"

#define ADDRESS(name) &pn_command_##name,
const pn_command *const pn_commands[] = {PN_COMMANDS(ADDRESS) NULL};
#define ONE(name) +1
enum { COMMANDS = PN_COMMANDS(ONE) };

static bool speaks = true; /* this process, of those that run a command together */

/* Says why, if a command failed, and gives the exit code. */
static int report(const char *command, pn_status status) {
    char text[PN_SENTENCE_BYTES + 64];
    snprintf(text, sizeof text, "parsec-nas%s%s: %s", *command ? " " : "", command, pn_error());
    if (status != PN_OK && speaks) pn_say_line(text);
    return status == PN_EINTR ? 128 + pn_stopped : (int)status;
}

pn_status pn_device_open(const pn_device_options *options, const pn_kernels **kernels) {
    char name[PN_BACKEND_NAME];
    PN_TRY(pn_backend_name(options->device ? options->device : "auto", options->precision, name));
    if (options->threads) omp_set_num_threads(options->threads);
    return pn_backend_open(name, kernels);
}

pn_status pn_command_find(const char *name, const pn_command **command) {
    char shown[256], list[256] = "";
    int nearest = -1, best = 99;
    for (int i = 0; i < COMMANDS; i++) {
        *command = pn_commands[i];
        if (!strcmp(pn_commands[i]->name, name)) return PN_OK;
        const int slips = pn_slips(name, pn_commands[i]->name);
        if (slips >= 0 && slips < best) {
            best = slips;
            nearest = i;
        }
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s",
                 i ? i == COMMANDS - 1 ? " or " : ", " : "", pn_commands[i]->name);
    }
    pn_text_visible(name, shown, sizeof shown);
    if (nearest >= 0)
        return pn_fail(PN_EARG, "no command %s; did you mean %s?", shown,
                       pn_commands[nearest]->name);
    return pn_fail(PN_EARG, "no command %s, want %s", shown, list);
}

/* What has failed on one rank, wherever it was, fails on all. */
static pn_status end_together(pn_status s) {
    char sentence[PN_SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", pn_error());
    const pn_status opened = pn_ranks_open(NULL); /* if it did not come to that */
    if (s != PN_OK)
        pn_say("%s", sentence);
    else
        s = opened;
    s = pn_group_agree(pn_ranks(), s);
    speaks = pn_ranks_lead();
    return s;
}

static pn_status run(const pn_command *c, int argc, char **argv) {
    const char **words = calloc((size_t)argc + 1, sizeof *words);
    bool show = false;
    if (!words) return pn_fail(PN_EMEM, "no memory for %d words", argc);
    pn_status s = pn_options_parse(c, argc, argv, words, &show);
    if (s == PN_OK && !show) s = c->run(words);
    if (c->ranks && !show) s = end_together(s);
    if (s == PN_OK && show) pn_options_print(stdout, c);
    free(words);
    return s;
}

static int answer(int argc, char **argv) {
    const pn_command *c = &pn_command_help;
    if (argc < 2) {
        pn_print_commands(stderr);
        return PN_EARG;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V") || !strcmp(argv[1], "version")) {
        puts("parsec-nas " PN_VERSION);
        return 0;
    }
    const bool helps = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");
    const pn_status s = helps ? PN_OK : pn_command_find(argv[1], &c);
    return s == PN_OK ? report(c->name, run(c, argc - 1, argv + 1)) : report("", s);
}

/* Between two launches a thread waits some microseconds; libgomp would by default spin for
 * milliseconds, and on a machine that has other work it then mostly waits for a thread that is not
 * running (ten times slower was seen). It reads its environment before main, so the program starts
 * itself again with a short spin, unless the user has said how threads are to wait. */
static void wait_politely(char **argv) {
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
    if (!setenv("GOMP_SPINCOUNT", "20000", 1))
        (void)execv("/proc/self/exe", argv); /* or stay as we are */
}

/* A file that we open must not become one of the standard streams: progress would be written into
 * it. A stream that was closed is opened on what cannot be written, so that whoever writes to it
 * fails as before; without a /dev (chroot) on the root directory. */
static void hold_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        int held = open("/dev/null", O_RDONLY);
        if (held < 0) held = open("/", O_RDONLY | O_DIRECTORY);
        if (held != fd) _exit(PN_EIO);
    }
}

static bool returned; /* from main: nobody else ends the program by exit */

/* But libgomp, where it has no memory or no thread for a parallel region, after words of its own.
 * Nothing is written in a parallel region, so nothing is left half done. */
static void left_by_openmp(int status, void *unused) {
    static const char sentence[] = "parsec-nas: no memory, or no thread, to compute in parallel\n";
    (void)status;
    (void)unused;
    if (returned) return;
    const ssize_t written = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    (void)written;
    _exit(PN_EMEM);
}

static void say(void *unused, const char *sentence) {
    (void)unused;
    if (pn_ranks() && !pn_ranks_lead()) return;
    fprintf(stderr, "data: %s\n", sentence);
}

int main(int argc, char **argv) {
    hold_standard_streams();
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, exit code 6 */
    wait_politely(argv);
    (void)on_exit(left_by_openmp, NULL);
    pn_data_listen(say, NULL);
    pn_times_ask();
    int code = answer(argc, argv);
    pn_times_print();
    if (code == 0 && (fflush(stdout) || ferror(stdout))) {
        fputs("parsec-nas: cannot write to stdout\n", stderr);
        code = PN_EIO;
    }
    pn_ranks_close();
    returned = true;
    return code;
}
