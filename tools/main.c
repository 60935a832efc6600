/* main.c -- parsec-nas: finds the subcommand, turns a status into an exit code. */
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/text.h"
#include "tools/commands.h"

typedef int command_main(int argc, char **argv);

static const struct {
    const char *name;
    command_main *run;
    const char *usage, *summary;
} commands[] = {
#define COMMAND(name, summary) \
    { #name, pn_command_##name, pn_##name##_usage, summary }
    COMMAND(search, "run or continue a search in a directory"),
    COMMAND(train, "train one cell from scratch by the protocol of the papers"),
    COMMAND(eval, "print error, loss and confusion matrix of trained weights"),
    COMMAND(export, "write trained weights to a file that PyTorch's DARTS network loads"),
    COMMAND(plan, "print parameters, multiply-adds and exact bytes before a run"),
    COMMAND(sample, "draw architectures of a distribution, or list the most probable"),
    COMMAND(compare, "train a search's cell and random ones alone, and compare them"),
    COMMAND(trace, "run one batch and write every tensor to files, to compare them"),
    COMMAND(check, "self-test on this machine: kernels, gradients, determinism"),
    COMMAND(info, "print version, devices, measured bandwidth and FLOP rate"),
#undef COMMAND
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char intro[] =
    "parsec-nas " PN_VERSION
    ": architecture search (PARSEC) in the memory of one network\n"
    "\n"
    "  parsec-nas COMMAND [OPTIONS]        parsec-nas help COMMAND: its options\n"
    "\n";
static const char outro[] =
    "\n"
    "stdout is data, stderr is progress and messages. Exit codes:\n"
    "  0 done                        5 device failed or is not there\n"
    "  1 a check failed              6 reading or writing failed\n"
    "  2 wrong usage                 7 diverged (NaN)\n"
    "  3 bad input file              8 directory in use\n"
    "  4 out of memory               77 not possible on this machine\n"
    "  128 + N: interrupted by signal N (Ctrl-C 130, TERM 143, HUP 129, PIPE 141);\n"
    "           the same command continues\n"
    "\n"
    "  parsec-nas plan --genotype DARTS_V2        what one architecture costs\n"
    "  parsec-nas search runs/first --data fashion-mnist --layers 5 --channels 8 \\\n"
    "      --steps 1000\n";

int pn_exit_code(pn_status status) {
    static const int code[] = {
        [PN_OK] = 0,  [PN_EARG] = 2,      [PN_EINPUT] = 3, [PN_EMEM] = 4,   [PN_EDEVICE] = 5,
        [PN_EIO] = 6, [PN_EDIVERGED] = 7, [PN_EBUSY] = 8,  [PN_EINTR] = 130};
    return code[status];
}

int pn_report(const char *command, pn_status status) {
    if (status != PN_OK) fprintf(stderr, "parsec-nas %s: %s\n", command, pn_error());
    return pn_exit_code(status);
}

pn_status pn_device_open(const pn_device_options *options, const pn_kernels **kernels) {
    const char *device = options->device ? options->device : "auto";
    if (options->threads) omp_set_num_threads(options->threads);
    return pn_backend_open(device, kernels);
}

static void print_list(FILE *out) {
    fputs(intro, out);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs(outro, out);
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_list(stderr);
        return pn_exit_code(PN_EARG);
    }
    const char *word = argv[1];
    if (!strcmp(word, "--version")) {
        puts("parsec-nas " PN_VERSION);
        return 0;
    }
    const bool help = !strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h");
    if (help && argc < 3) {
        print_list(stdout);
        return 0;
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, help ? argv[2] : word)) continue;
        if (!help) return commands[i].run(argc - 1, argv + 1);
        char *ask[] = {argv[2], "--help", NULL};
        return commands[i].run(2, ask);
    }
    char shown[256];
    pn_text_visible(help ? argv[2] : word, shown, sizeof shown);
    fprintf(stderr, "parsec-nas: no command %s, want", shown);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(stderr, "%s %s", i ? i == COMMANDS - 1 ? " or" : "," : "", commands[i].name);
    fputs("\n", stderr);
    return pn_exit_code(PN_EARG);
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
        if (held != fd) _exit(pn_exit_code(PN_EIO));
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
    _exit(pn_exit_code(PN_EMEM));
}

int main(int argc, char **argv) {
    hold_standard_streams();
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, exit code 6 */
    wait_politely(argv);
    (void)on_exit(left_by_openmp, NULL);
    int code = run(argc, argv);
    if (code == 0 && (fflush(stdout) || ferror(stdout))) {
        fputs("parsec-nas: cannot write to stdout\n", stderr);
        code = pn_exit_code(PN_EIO);
    }
    returned = true;
    return code;
}
