/* commands.h -- the subcommands of parsec-nas, one file each, and what they share. */
#ifndef PN_COMMANDS_H
#define PN_COMMANDS_H

#include "kernels/backend.h"
#include "kernels/status.h"
#include "runtime/update.h"
#include "search/rundir/rows.h"
#include "tools/options.h"

/* In the order of `parsec-nas help`: pn_command_NAME in command_NAME.c. */
#define PN_COMMANDS(X) \
    X(search)          \
    X(train)           \
    X(watch)           \
    X(eval)            \
    X(predict)         \
    X(export)          \
    X(data)            \
    X(plan)            \
    X(profile)         \
    X(bench) X(sample) X(compare) X(report) X(trace) X(check) X(info) X(help)
#define PN_DECLARE(name) extern const pn_command pn_command_##name;
PN_COMMANDS(PN_DECLARE)
extern const pn_command *const pn_commands[]; /* NULL behind the last */

/* PN_EARG if there is no such command. */
pn_status pn_command_find(const char *name, const pn_command **command);

/* What `parsec-nas help` shows. */
void pn_print_commands(FILE *out);

/* The definition of one, in its file: its table is `rows`, what it does is `run`. */
#define PN_COMMAND(command, about, ...)       \
    const pn_command pn_command_##command = { \
        .name = #command, .summary = about, .usage = usage, .run = run, __VA_ARGS__}

/* The device options of every command that computes. */
typedef struct pn_device_options {
    const char *device;    /* see kernels/backend.h */
    const char *precision; /* NULL: as the device says, float32 if it says none */
    int threads;           /* 0: what OpenMP says */
} pn_device_options;
#define PN_ROW_PRECISION(member)                                                                  \
    PN_TEXT("precision", member, "float32|tf32|bf16|fp16", "TYPE", NULL,                          \
            "bf16, and fp16 on a card, store tensors between ops in half the memory; tf32, and "  \
            "both on a card, round to 11 bits what matrices are multiplied of; weights and sums " \
            "are float32 [float32]")
#define PN_ROW_DEVICE(member, usual, help)                    \
    PN_ROW(PN_FIELD_WORD, "device", member, "D", usual, help, \
           .examples = "auto|cpu|cpu:avx512|cpu:avx2|cpu:base|cuda|emulated")
#define PN_ROWS_DEVICE                                                                             \
    PN_ROW_DEVICE(device.device, NULL, "auto, cpu, cpu:avx512, cpu:avx2, cpu:base, cuda, cuda:N"), \
        PN_ROW_PRECISION(device.precision),                                                        \
        PN_INT("threads", device.threads, 1, 1024, NULL,                                           \
               "threads; the result does not depend on it [all]", .also = "num-threads|j")
#define PN_ROW_IN_FLIGHT(help) PN_INT("in-flight", in_flight, 1, PN_FLIGHTS, NULL, help)
#define PN_ROW_REPORT PN_FLAG("report", report, "1", "write DIR/report.html at the end")
#define PN_ROW_JSON PN_FLAG("json", json, NULL, "print JSON")

/* A table of cells whose accuracy is known (search/truth/truth.h). */
#define PN_ROW_TRUTH(help) PN_PATH("truth", truth, "nasbench301", "TABLE", NULL, help)

/* Applies them. PN_EDEVICE if this machine lacks the device, PN_EARG if there is no such. */
pn_status pn_device_open(const pn_device_options *options, const pn_kernels **kernels);

/* The options of the commands that build either network, plan and trace. */
#define PN_ROWS_EITHER_NETWORK                                                                     \
    PN_ROW_GENOTYPE("a published name, a file, a run directory, or the text itself"),              \
        PN_TEXT("network", network, "search|eval", "NET", "search",                                \
                "search, or eval: the one that is trained from scratch"),                          \
        PN_ROW_STEM(                                                                               \
            "cifar",                                                                               \
            "stem of an evaluation network: cifar, or imagenet (3 convolutions, for 224 pixels)"), \
        PN_ROW_POOL_NORM(NULL), PN_ROW_LAYERS(NULL, "cells [8; eval 20, imagenet 14]"),            \
        PN_ROW_CHANNELS(NULL, "channels of the first cells [16; eval 36, imagenet 48]")

/* The options of the commands that work in a run directory, beside the settings. */
typedef struct pn_work_options {
    size_t memory;
    double save_every;
    bool quiet, change_device;
    const char *log_format;
    const char *group; /* pn_group_open's, and its patience */
    double patience;
} pn_work_options;
#define PN_ROWS_WORK(alone)                                                                   \
    PN_BYTES("memory", work.memory,                                                           \
             "most bytes of weights, arena and batches; refused before anything is touched"), \
        PN_REAL("save-every", work.save_every, 0, 1e9, "SECONDS", "30",                       \
                "time between checkpoints"),                                                  \
        PN_FLAG("quiet", work.quiet, NULL, "no progress, " alone, .also = "q|silent"),        \
        PN_TEXT("log-format", work.log_format, "text|json", "FORMAT", "text",                 \
                "progress on stderr: text, or json, an object a line"),                       \
        PN_FLAG("change-device", work.change_device, NULL,                                    \
                "continue a run of another device or instruction set, with other last bits"), \
        PN_TEXT("group", work.group, "auto|none|mpi|nccl", "G", "auto",                       \
                "auto: all processes that mpirun or srun has started run it together; nccl: " \
                "so, too, and their cards exchange sums without a way by the host"),          \
        PN_REAL("patience", work.patience, 1e-3, 1e9, "SECONDS", "60",                        \
                "a wait for other ranks that is told; ten times as long ends all"),           \
        PN_ROWS_DEVICE

#endif
