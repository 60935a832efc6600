/* commands.h -- the subcommands of parsec-nas, one file each, and what they share. */
#ifndef PN_COMMANDS_H
#define PN_COMMANDS_H

#include "kernels/backend.h"
#include "kernels/status.h"
#include "tools/options.h"

/* Exit codes: a status has its own (see status.h); these have none. */
enum { PN_EXIT_CHECK = 1, PN_EXIT_IMPOSSIBLE = 77 };
int pn_exit_code(pn_status status);

/* Prints "parsec-nas COMMAND: sentence" to stderr and gives the exit code. */
int pn_report(const char *command, pn_status status);

/* The device options of every command that computes: --device, --threads. */
typedef struct pn_device_options {
    const char *device; /* see kernels/backend.h */
    int threads;        /* 0: what OpenMP says */
} pn_device_options;
#define PN_DEVICE_OPTIONS(d)                                        \
    {"device",                                                      \
     PN_OPT_TEXT,                                                   \
     &(d).device,                                                   \
     0,                                                             \
     0,                                                             \
     "D",                                                           \
     "auto, cpu, cpu:avx512, cpu:avx2, cpu:base, cuda, cuda:N",     \
     NULL},                                                         \
    {                                                               \
        "threads", PN_OPT_INT, &(d).threads, 1, 1024, "N",          \
            "threads; the result does not depend on it [all]", NULL \
    }

/* Of the commands that continue a run. */
#define PN_CHANGE_DEVICE(change)                                                              \
    {                                                                                         \
        "change-device", PN_OPT_FLAG, &(change), 0, 0, NULL,                                  \
            "continue a run of another device or instruction set, with other last bits", NULL \
    }

/* Applies them. PN_EDEVICE if this machine lacks the device, PN_EARG if there is no such. */
pn_status pn_device_open(const pn_device_options *options, const pn_kernels **kernels);

int pn_command_info(int argc, char **argv);
int pn_command_plan(int argc, char **argv);
int pn_command_search(int argc, char **argv);
int pn_command_sample(int argc, char **argv);
int pn_command_compare(int argc, char **argv);
int pn_command_check(int argc, char **argv);
int pn_command_trace(int argc, char **argv);
int pn_command_train(int argc, char **argv);
int pn_command_eval(int argc, char **argv);
int pn_command_export(int argc, char **argv);

/* The words about each for `parsec-nas help`. */
extern const char pn_info_usage[], pn_plan_usage[], pn_search_usage[], pn_sample_usage[],
    pn_compare_usage[], pn_check_usage[], pn_trace_usage[], pn_train_usage[], pn_eval_usage[],
    pn_export_usage[];

#endif
