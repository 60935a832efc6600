/* quantize.h -- a network in whole numbers of 8 bits, for machines without the memory for float32.
 *
 * Symmetric: a number x is q * s with q in -127..127. Weights have a scale s for each output
 * channel (of a depthwise convolution, each channel), its largest magnitude / 127; activations one
 * for each, from the magnitudes that calibration saw; between a depthwise and a 1x1 convolution one
 * for each channel. Sums have 32 bits and are exact; then
 *     q = clamp((sum * m + addend * m' + 2^(shift-1)) >> shift),  m = s_x * s_w / s_out * 2^shift
 * with 64 bits, once for each output. What is a concatenation has the scales of its parts, which
 * are folded into the weights that read it. (Jacob et al. 2018, without zero points.) */
#ifndef PN_QUANTIZE_H
#define PN_QUANTIZE_H

#include "runtime/data.h"
#include "search/export/steps.h"

/* Where the constants of a step are: indices into weights and numbers; of the depthwise part of a
 * stage, then of the dense one. */
typedef struct pn_quantized_step {
    size_t weight[2];
    size_t number[2]; /* biases, then multipliers, both in panels; depthwise multipliers alone */
    int shift[2];
    int multiplier, add_multiplier; /* of x where it has no weights, and of the addend */
} pn_quantized_step;

typedef struct pn_quantized {
    pn_steps steps;
    pn_quantized_step *step; /* of each step */
    int8_t *weights;
    int32_t *numbers;
    size_t weight_count, number_count;
    float image_scale; /* of the normalised image */
    int8_t *pixel;     /* (channels,256): what a byte becomes */
    float *logits;     /* (2,classes): scales and biases, logit = sum * scale + bias */
    int pooled_factor; /* the mean is kept in units of its scale / this */
} pn_quantized;

/* Largest magnitudes that calibration saw: of each activation, and of each channel of each
 * activation, whose first has index channel[a]. */
typedef struct pn_ranges {
    const pn_layers *layers;
    float *most;     /* (channels of all activations) */
    size_t *channel; /* (activations) */
    size_t channels;
} pn_ranges;

/* Runs `count` images of a data set, spread evenly over it, through the layers in float32. */
pn_status pn_ranges_measure(const pn_layers *layers, const pn_data *data, int count,
                            pn_ranges *ranges);
void pn_ranges_free(pn_ranges *ranges);

/* `data` says how bytes become numbers. The layers have to outlive the result. */
pn_status pn_quantize(const pn_layers *layers, const pn_ranges *ranges, const pn_data *data,
                      pn_quantized *quantized);
void pn_quantized_destroy(pn_quantized *quantized); /* an empty one is allowed */

/* Of `count` images of a data set, spread evenly over it: how many get the right class from the
 * float32 code and from the int8 code, by exactly the arithmetic that each has here. */
pn_status pn_quantized_judge(const pn_layers *layers, const pn_quantized *quantized,
                             const pn_data *data, int count, int64_t *in_float, int64_t *in_int8);

#endif
