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
#include "search/network/images.h"

/* Writes the file, atomically (runtime/file.h); the same network gives the same bytes. Its metadata
 * say the genotype, what the images are, and, as JSON, mean, deviation ("std") and the names of the
 * classes, as far as `images` knows them. *nodes: of the graph. PN_EARG for raw images whose mean
 * and deviation are not known, and for more than 2 GiB. */
pn_status pn_onnx_write(const char *path, const pn_layers *layers, const pn_arch *arch,
                        const pn_images *images, bool raw, int *nodes);

#endif
