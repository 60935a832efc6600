/* parsec_nas.h -- the stable interface, for programs that load the library instead of being
 * compiled against it: Python's ctypes (python/parsec_nas.py), Julia, Lua, a plug-in.
 *
 * The other headers of this library may change with every 0.X. This one does not: handles are
 * opaque, whatever has many parts is JSON text, and functions are added, never changed or removed.
 * PARSEC_NAS_ABI counts the additions: a program that needs what came with 2 asks for
 * parsec_nas_abi() >= 2. What a JSON text holds may grow; a reader ignores keys that it does not
 * know.
 *
 * Status. A call gives 0, or one of the codes below; then parsec_nas_error() has one sentence that
 * names the value at fault and what is accepted. Out parameters are written only on success, unless
 * stated otherwise; a handle that a failed call was to make is NULL. After an error every handle is
 * as usable as before, unless stated otherwise. Nothing is printed, nothing exits: but for OpenMP,
 * which ends the process where no thread can be started for it.
 *
 * Text. Arguments are UTF-8 with a final zero. Text that is given back is the caller's to release
 * by parsec_nas_free, but for the constant strings of version and error.
 *
 * Settings are a JSON object. Its names are those of the program's options without "--"
 * (`parsec-nas help plan`), its values numbers, true and false, strings, [height, width, channels]
 * for "image"; null and what is missing is the default. A name that a call does not know is
 * refused.
 *
 * Images are n x height x width x channels numbers, or n x channels x height x width, floats or
 * bytes, as `format` says (PARSEC_NAS_...). Floats are taken as they are: normalised as those were
 * that the network was trained on. Bytes are normalised here, v = (byte / 255 - mean) / std, with
 * the mean and std of the weights or of the settings; without these they are refused. No array is
 * changed or kept, and none needs an alignment beyond that of its elements. A float that is not
 * finite, or a label that is no class, is refused before anything is computed.
 *
 * Threads. Any call may be made from any thread. Calls on one handle wait for each other. Calls on
 * different handles run side by side on the CPU where they compute (predict, evaluate, step); all
 * others, and all on a card, wait for each other. Only closing is the caller's care: a handle is
 * closed once, when no other call uses it. The sentence of an error belongs to its thread. After
 * fork() a child may not use what the parent has used: start processes anew.
 *
 * The same seed gives the same bits for any number of threads (OMP_NUM_THREADS, or
 * parsec_nas_threads). OMP_WAIT_POLICY=passive lets OpenMP's threads sleep between two calls. */
#ifndef PARSEC_NAS_H
#define PARSEC_NAS_H

#include <stdint.h>

#include "kernels/api.h"

PN_API_BEGIN

#define PARSEC_NAS_ABI 1

/* Results of calls. */
#define PARSEC_NAS_OK 0
#define PARSEC_NAS_EARG 2      /* an argument or setting that cannot be */
#define PARSEC_NAS_EINPUT 3    /* a file that is wrong or damaged, JSON that is none */
#define PARSEC_NAS_EMEM 4      /* memory */
#define PARSEC_NAS_EDEVICE 5   /* the device failed or is not there */
#define PARSEC_NAS_EIO 6       /* reading or writing failed */
#define PARSEC_NAS_EDIVERGED 7 /* NaN or infinity where a number was needed */
#define PARSEC_NAS_EBUSY 8     /* somebody else holds it */

/* Formats of images. */
#define PARSEC_NAS_FLOAT_NHWC 0 /* float, (n, height, width, channels) */
#define PARSEC_NAS_FLOAT_NCHW 1 /* float, (n, channels, height, width), as PyTorch has them */
#define PARSEC_NAS_BYTES_NHWC 2 /* uint8_t, as decoders of images give them */
#define PARSEC_NAS_BYTES_NCHW 3

/* ---- the library ----------------------------------------------------------------------------- */

/* PARSEC_NAS_ABI of the library at hand. */
int parsec_nas_abi(void);

/* "0.2.0". */
const char *parsec_nas_version(void);

/* The sentence of this thread's last failure, until its next one; "" if there was none. */
const char *parsec_nas_error(void);

/* Releases text that a call gave back; NULL is allowed. */
void parsec_nas_free(char *text);

/* Threads for what this thread calls from now on, 1 to 1024. EARG. */
int parsec_nas_threads(int count);

/* ---- what costs no training ------------------------------------------------------------------ */

/* Reads an architecture: a published name (DARTS_V1, DARTS_V2, PDARTS, PC_DARTS_cifar, SNAS_mild,
 * ...), DARTS notation, the short notation, a file that holds one, or a directory of a run. *json:
 * "genotype" (DARTS notation), "short", and the cells "normal" and "reduce", each a list of nodes
 * of two [op, input], or of one for each of its inputs; "none" is an op that is not there. EARG,
 * EINPUT, EIO. */
int parsec_nas_genotype(const char *text, char **json);

/* What a network costs, before anything is allocated: the text of `parsec-nas plan --json` for
 * settings as its options; bytes are bytes, macs multiply-adds an image. With neither "genotype"
 * nor "supernet": of "samples" (100) random ones, objects of min, mean and max. With "memory" it
 * has "largest_batch", 0 if not even one image fits, which is no failure here. EARG. */
int parsec_nas_plan(const char *settings, char **json);

/* ---- distributions over architectures -------------------------------------------------------- */

typedef struct parsec_nas_distribution parsec_nas_distribution;

/* What a search has learnt: `path` is its directory or a checkpoint; NULL: the uniform
 * distribution. distinct: not 0: the two inputs of a node differ (a search that demanded it still
 * does). The files are read here and not held. EINPUT, EIO. */
int parsec_nas_distribution_open(const char *path, int distinct, parsec_nas_distribution **out);

/* `count` (1 to 1000000) draws, a function of the seed: a list of objects of "log_p" (nats),
 * "genotype" and "short", the lines of `parsec-nas sample --json`. EARG. */
int parsec_nas_distribution_sample(parsec_nas_distribution *d, int64_t count, uint64_t seed,
                                   char **json);

/* The same of the `count` (1 to 100000) most probable, best first. */
int parsec_nas_distribution_top(parsec_nas_distribution *d, int64_t count, char **json);

/* *log_p = the log-probability (nats) of an architecture, named as for parsec_nas_genotype; minus
 * infinity if "distinct" rules it out. */
int parsec_nas_distribution_log_p(parsec_nas_distribution *d, const char *genotype, double *log_p);

/* *json: "distinct", "entropy" and "entropy_uniform" (nats), "mode" (the most probable, as in
 * sample), "probability": by the names of prior.csv ("normal.0.1.op.skip_connect"), 0 to 1. */
int parsec_nas_distribution_describe(parsec_nas_distribution *d, char **json);

void parsec_nas_distribution_close(parsec_nas_distribution *d); /* NULL is allowed */

/* ---- trained weights ------------------------------------------------------------------------- */

typedef struct parsec_nas_classifier parsec_nas_classifier;

/* Reads weights that describe their network: a .safetensors file of `train` or `export`, or the
 * directory of a training or of its one seed, whose last.safetensors it takes. device: "cpu",
 * "cuda", ... as --device; NULL: "auto". The file is read here and not held. EARG, EINPUT, EIO,
 * EMEM, EDEVICE. */
int parsec_nas_classifier_open(const char *weights, const char *device,
                               parsec_nas_classifier **out);

/* *json: "genotype", "short", "stem", "pool_norm", "layers", "channels", "image" ([height, width,
 * channels]), "classes", "params" (numbers learnt), "device"; where the weights say them "mean",
 * "std" (a number a channel) and "names" (a string a class). */
int parsec_nas_classifier_describe(parsec_nas_classifier *c, char **json);

/* Overwrites logits, (n, classes) floats, by those of n images, 0 or more. An image's logits depend
 * on that image alone. `room`: how many floats the array has, at least n * classes.
 * EARG; EDIVERGED if a logit is not finite: then all were written. */
int parsec_nas_classifier_predict(parsec_nas_classifier *c, const void *images, int format,
                                  int64_t n, float *logits, int64_t room);

void parsec_nas_classifier_close(parsec_nas_classifier *c); /* NULL is allowed */

/* ---- training one architecture from scratch -------------------------------------------------- */

typedef struct parsec_nas_trainer parsec_nas_trainer;

/* The evaluation network of "genotype" for images of size "image" and "classes" classes, which are
 * wanted, with weights from "seed" (1). As in `parsec-nas train`: "layers" (20), "channels" (36),
 * "batch" (96), "stem", "momentum", "decay", "clip", "smoothing", "auxiliary", "auxiliary-weight",
 * "pool-norm". Batches, and what is done to their images, are the caller's, and so is the schedule
 * of the rate; so there is no "data", "epochs", "rate", "cutout" or "augment". "drop-path": true:
 * drop-path may be used. "device" ("auto"), "precision", "memory": as the options. "mean", "std"
 * (lists, a number a channel: for images that are bytes) and "names" (a string a class) go into the
 * weights. EARG; EMEM, before anything large is touched, with the batch that would fit; EDEVICE. */
int parsec_nas_trainer_create(const char *settings, parsec_nas_trainer **out);

/* *json: what classifier_describe says, and "batch", "step" (steps done), "auxiliary",
 * "parameter_bytes", "arena_bytes". */
int parsec_nas_trainer_describe(parsec_nas_trainer *t, char **json);

/* One step of SGD with this learning rate on n = "batch" images; labels: (n), 0 to classes - 1.
 * drop_path: the probability with which a term of a node is dropped for an image in this step, 0 to
 * 0.99; 0 unless "drop-path" is true. *loss: mean over the batch (nats; with "smoothing"), before
 * the step, *correct: images classified rightly; either may be NULL. EARG. EDIVERGED, with weights
 * as they were, if loss or gradient is not finite (running statistics may have moved). */
int parsec_nas_trainer_step(parsec_nas_trainer *t, const void *images, int format,
                            const int32_t *labels, int64_t n, double rate, double drop_path,
                            double *loss, int64_t *correct);

/* As parsec_nas_classifier_predict, with the weights of this moment. */
int parsec_nas_trainer_predict(parsec_nas_trainer *t, const void *images, int format, int64_t n,
                               float *logits, int64_t room);

/* The network as in predict on n images, 1 or more: *loss, the mean cross-entropy (nats), and
 * *correct; either may be NULL. */
int parsec_nas_trainer_evaluate(parsec_nas_trainer *t, const void *images, int format,
                                const int32_t *labels, int64_t n, double *loss, int64_t *correct);

/* Writes the weights to a .safetensors file, whole or not at all, which parsec_nas_classifier_open,
 * `eval`, `export` and PyTorch take. EIO, EBUSY. */
int parsec_nas_trainer_save(parsec_nas_trainer *t, const char *path);

void parsec_nas_trainer_close(parsec_nas_trainer *t); /* NULL is allowed */

/* ---- a search over arrays -------------------------------------------------------------------- */

typedef struct parsec_nas_search parsec_nas_search;

/* A search at step 0, from the uniform distribution. Wanted are "image", "classes" and "steps" (of
 * the whole search: rates and warm-up follow from it); the others as in `parsec-nas search`, but
 * for "method" (it is PARSEC's), "data", "epochs", "augment", "prior" and "keep-weights". "device",
 * "precision", "memory", "mean" and "std" as of a trainer. EARG, EMEM, EDEVICE. */
int parsec_nas_search_create(const char *settings, parsec_nas_search **out);

/* One step on two batches of n = "batch" images: train moves the shared weights, valid the
 * distribution; the two should be of different halves of the data. NULL is allowed for a batch that
 * the step does not read: valid in the warm-up and with the rule evidence, train with
 * "freeze-weights". *json (NULL: not wanted): "step", "phase", "entropy" (nats), "train_loss",
 * "val_loss" (nats an image), "train_accuracy", "val_accuracy" (0 to 1), "rate", "gradient_norm_v",
 * "gradient_norm_pi", and "samples", a list of the architectures drawn, as in sample. null: not of
 * this phase. EARG, too, if all steps are done; EDIVERGED, with weights and distribution as they
 * were. */
int parsec_nas_search_step(parsec_nas_search *s, const void *train, const int32_t *train_labels,
                           const void *valid, const int32_t *valid_labels, int format, int64_t n,
                           char **json);

/* A copy of the distribution as it is: the caller's, to be closed. */
int parsec_nas_search_distribution(parsec_nas_search *s, parsec_nas_distribution **out);

void parsec_nas_search_close(parsec_nas_search *s); /* NULL is allowed */

PN_API_END

#endif
