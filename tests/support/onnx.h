/* onnx.h -- reads a file of ONNX and computes what it says, for tests of what writes it.
 *
 * A reader of the wire format walks the file; a field that the writer has no reason to write fails
 * the test. Then the graph is evaluated by the rules of ONNX's ops (onnx.ai, opset 13), in plain
 * loops in double precision. */
#ifndef PN_TEST_ONNX_H
#define PN_TEST_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Fails the test with a line. (What follows it is for checkers, which do not know that.) */
#define PN_DEMAND(condition, ...)              \
    do {                                       \
        if (!(condition)) {                    \
            print_error("      " __VA_ARGS__); \
            print_error("\n");                 \
            fail();                            \
            abort();                           \
        }                                      \
    } while (0)

/* ---- the wire format ------------------------------------------------------------------------- */

typedef struct pn_bytes {
    unsigned char *at;
    size_t count;
} pn_bytes;

typedef struct pn_wire_field {
    int number, wire;
    uint64_t whole; /* wire 0, 5 */
    pn_bytes data;  /* wire 2 */
} pn_wire_field;

/* Takes the next field from the front of a message; false at its end. */
bool pn_take_field(pn_bytes *from, pn_wire_field *f);

/* ---- the file -------------------------------------------------------------------------------- */

enum {
    PN_ONNX_NAME = 128,
    PN_ONNX_NODES = 512,
    PN_ONNX_TENSORS = 1024,
    PN_ONNX_INPUTS = 5,
    PN_ONNX_ATTRIBUTES = 5,
    PN_ONNX_METAS = 8,
    PN_ONNX_META = 1024
};
enum { PN_ONNX_FLOAT = 1, PN_ONNX_UINT8 = 2, PN_ONNX_INT64 = 7 };

typedef struct pn_onnx_attribute {
    char name[PN_ONNX_NAME];
    int type, count;
    float f;
    int64_t i, ints[8];
} pn_onnx_attribute;

typedef struct pn_onnx_node {
    char op[PN_ONNX_NAME], name[PN_ONNX_NAME], output[PN_ONNX_NAME],
        input[PN_ONNX_INPUTS][PN_ONNX_NAME];
    pn_onnx_attribute attribute[PN_ONNX_ATTRIBUTES];
    int inputs, attributes;
} pn_onnx_node;

typedef struct pn_onnx_tensor {
    char name[PN_ONNX_NAME];
    int type, rank;
    int64_t dim[4];
    pn_bytes raw;
    bool read;
} pn_onnx_tensor;

/* Of an input or output of the graph. */
typedef struct pn_onnx_value {
    char name[PN_ONNX_NAME], batch[PN_ONNX_NAME];
    int type, rank;
    int64_t dim[3]; /* behind the batch */
} pn_onnx_value;

typedef struct pn_onnx_model {
    void *file;
    pn_onnx_node node[PN_ONNX_NODES];
    pn_onnx_tensor tensor[PN_ONNX_TENSORS];
    pn_onnx_value input, output;
    int nodes, tensors, metas;
    char meta[PN_ONNX_METAS][2][PN_ONNX_META];
} pn_onnx_model;

/* Reads everything in the file, which must be of IR version 7 and opset 13. */
pn_onnx_model *pn_onnx_read(const char *path);
void pn_onnx_free(pn_onnx_model *model);

/* What is there by this name, or NULL. */
const char *pn_onnx_meta(const pn_onnx_model *model, const char *key);
pn_onnx_tensor *pn_onnx_find_tensor(pn_onnx_model *model, const char *name);
pn_onnx_attribute *pn_onnx_find_attribute(pn_onnx_node *node, const char *name);

/* Demands what onnx.checker looks at: known ops with their attributes, values made before they are
 * read, and once; and that nothing is there in vain. */
void pn_onnx_check(pn_onnx_model *model);

/* The logits of one image (C,H,W). */
void pn_onnx_evaluate(pn_onnx_model *model, const double *image, double *logits);

#endif
