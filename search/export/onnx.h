/* onnx.h -- an evaluation network as a file of ONNX (onnx.ai), for whoever runs one.
 *
 * IR version 7, opset 13. The input "images" is (batch,C,H,W), the batch of any size: float32,
 * (pixel / 255 - mean) / std of each channel, or, raw, the pixels themselves as uint8. The output
 * "logits" is float32 (batch,classes). Ops: Conv, BatchNormalization (where it is not folded),
 * Relu, MaxPool, AveragePool, Add, Concat, Slice, Pad, GlobalAveragePool, Flatten, Gemm; raw also
 * Cast, Div and Sub. Tensors have PyTorch's names (search/network/network.h). */
#ifndef PN_ONNX_H
#define PN_ONNX_H

#include "search/export/layers.h"

/* What a file says beside its graph, and whether the graph begins with pixels. */
typedef struct pn_onnx_about {
    const char *genotype;       /* DARTS notation */
    const char *const *classes; /* a name for each, UTF-8; NULL: unknown */
    const float *mean, *std;    /* of each channel; NULL: unknown */
    bool raw;                   /* wants mean and std */
} pn_onnx_about;

/* Writes the file, atomically (runtime/file.h); the same network gives the same bytes. *nodes: of
 * the graph. PN_EARG for raw images without mean and std, and for more than 2 GiB. */
pn_status pn_onnx_write(const char *path, const pn_layers *layers, const pn_onnx_about *about,
                        int *nodes);

#endif
