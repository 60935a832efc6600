/* code.h -- a network as C99 that needs nothing: no library, no allocation, one arena.
 *
 *     NAME.h              sizes, names of the classes, NAME_predict, NAME_predict_rgb8
 *     NAME.c              the kernels, the arena and a call for each step (steps.h)
 *     NAME_weights.bin    the weights, unless they are inside NAME.c;
 *     NAME_weights.S      brings them in through the assembler
 *     example.c, Makefile a program that says what an image shows
 *
 * The kernels are the files of code/ as they are. */
#ifndef PN_CODE_H
#define PN_CODE_H

#include "runtime/file.h"
#include "search/export/quantize.h"
#include "search/network/images.h"

typedef struct pn_code {
    const char *name;     /* a C identifier: pn_code_name_check */
    const char *genotype; /* for a comment */
    const pn_layers *layers;
    const pn_quantized *quantized; /* the network in int8, or NULL: in float32 */
    const pn_images *images;       /* for NAME_predict_rgb8 and names, as far as they are known */
    bool embed;                    /* weights inside NAME.c */
} pn_code;

enum { PN_CODE_NAME_BYTES = 41, PN_CODE_FILES = 6 };

/* PN_EARG unless it can begin names of C, and those of files. */
pn_status pn_code_name_check(const char *name);

/* Bytes of the weights, in int8 of biases and multipliers, and of the arena. */
typedef struct pn_code_size {
    size_t weights, numbers, arena;
} pn_code_size;

/* Writes the files into a directory, all or none, and replaces those that an earlier call wrote;
 * *replaced says how many. If the system fails between two of them, those that are new go, too:
 * what is left never mixes two networks. PN_EARG if another file has one of their names. */
pn_status pn_code_write(const pn_code *code, const pn_place *place, pn_code_size *size,
                        int *replaced);

#endif
