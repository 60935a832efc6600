/* data.h -- a labelled set of images of one size, whole in memory or mapped, as bytes.
 *
 * Pixels stay bytes (CIFAR-10: 150 MB instead of 600 MB as float32) and are normalised when a
 * batch is made (batches.h). A file that is cut off, has bytes left over, a wrong magic number, a
 * label out of range, or as many labels as it has not images, is PN_EINPUT. */
#ifndef PN_DATA_H
#define PN_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/api.h"
#include "kernels/status.h"

PN_API_BEGIN

enum { PN_MAX_IMAGE_CHANNELS = 3, PN_MAX_IMAGE_EDGE = 4096, PN_MAX_LABELS = 1 << 16 };

typedef enum pn_split { PN_TRAIN, PN_TEST } pn_split;

typedef struct pn_data {
    char name[64]; /* "cifar10", "fashion-mnist", "synthetic", or the directory's last part */
    int count, H, W, C, classes;
    uint8_t *images;    /* (count,H,W,C), C = 1 or 3 */
    uint16_t *labels;   /* (count), below `classes` */
    char **class_names; /* (classes), UTF-8, in one block with their texts; NULL: it has none */
    struct pn_safetensors *mapped; /* the file that `images` is a part of; NULL: they are memory */

    /* Per channel, of pixel / 255 over the training images, with four decimals, as they are
     * published: v = (pixel / 255 - mean) / std. The same for both splits. */
    float mean[PN_MAX_IMAGE_CHANNELS], std[PN_MAX_IMAGE_CHANNELS];

    /* Whether its makers chose the test images. If not, a hash of their names did, or both splits
     * are the same file. */
    bool own_test;

    /* Test images of IDX without training images beside them: `classes` is one more than the
     * largest label, mean and std are theirs. Who knows better has to say so. */
    bool alone;
} pn_data;

/* Opens one split of
 *   "cifar10"        the binary version in data/cifar10 or data/cifar-10-batches-bin
 *   "fashion-mnist"  in data/fashion-mnist, or where Debian's dataset-fashion-mnist puts it
 *   "synthetic" or "synthetic:COUNTxHxWxC"
 *                    ten kinds of stripes in noise, made here; COUNT images for training and
 *                    COUNT / 5 (at least 10) for testing; 5000x32x32x3 if nothing is said
 *   DIRECTORY        with data_batch_1.bin .. data_batch_5.bin and test_batch.bin, or with
 *                    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., each plain
 *                    or with .gz
 *   DIRECTORY[@EDGE] with a folder of JPEG and PNG for each class: DIRECTORY/CLASS/NAME, of which
 *                    a fifth is for testing, chosen by a hash of CLASS/NAME, or
 *                    DIRECTORY/train/CLASS/NAME with test, val or valid beside train. Images are
 *                    EDGE x EDGE (image.h), 8 to 4096; 64, or 32 for pictures smaller than 64, if
 *                    nothing is said
 *   FILE.safetensors that pn_data_pack wrote; mapped, not read
 *   FILE             of CIFAR-10 records; it has no splits, both are the whole file
 *   any of them and "/2"
 *                    where there is no such path: at half the height and width, each pixel the
 *                    mean of four; normalised as the whole images are
 * PN_EINPUT with a sentence if that is not there, or is wrong; PN_EARG for a COUNTxHxWxC that
 * cannot be, or for half of an odd size; *data is then as before. */
pn_status pn_data_open(const char *spec, pn_split split, pn_data *data);

/* Either split or both (NULL: not asked for), at the size that a network takes: a DIRECTORY of
 * pictures without @EDGE becomes edge x edge; 0: as above. */
pn_status pn_data_open_sized(const char *spec, int edge, pn_data *train, pn_data *test);

/* Both splits, which costs no more than one where a split does not stand alone. */
pn_status pn_data_open_both(const char *spec, pn_data *train, pn_data *test);

/* The same with another share of test images where a hash chooses them, between 0 and 1. */
pn_status pn_data_open_fraction(const char *spec, double test_fraction, pn_data *train,
                                pn_data *test);
void pn_data_free(pn_data *data); /* leaves it empty; an empty one is allowed */

/* Who is told what opening a set has to say: a sentence each about files that are left out, the
 * size that was chosen, classes of few images. For the whole process; nobody is told at first. */
typedef void pn_data_listener(void *self, const char *sentence);
void pn_data_listen(pn_data_listener *listener, void *self);

/* Packs both splits into one file of safetensors, atomically (file.h), which pn_data_open maps:
 * train.images and test.images U8 (count,H,W,C), train.labels and test.labels U16 (count), and as
 * metadata format, name, classes, mean, std (lists in JSON), own_test. The same sets give the same
 * bytes. PN_EARG if the splits differ in shape or classes. */
pn_status pn_data_pack(const char *path, const pn_data *train, const pn_data *test);

/* CRC-32 of images and labels, of which each is a byte as long as there are at most 256 classes:
 * whether these are the images that a run was begun with. A folder and its packed file agree. */
uint32_t pn_data_checksum(const pn_data *data);

/* The loaders of data_cifar.c, data_idx.c and data_synthetic.c, from memory where they can be.
 * CIFAR-10: records of one label and 3 x 32 x 32 bytes, plane by plane; they become NHWC.
 * Each fills its outputs anew; the caller frees them. */
pn_status pn_cifar_parse(const void *bytes, size_t size, uint8_t **images, uint16_t **labels,
                         int *count);

/* IDX (LeCun's MNIST files): big-endian magic 0x00000801 (labels: one dimension) or 0x00000803
 * (images: three), the dimensions, the bytes. */
typedef struct pn_idx {
    int rank; /* 1 or 3 */
    int dim[3];
    uint8_t *bytes;
} pn_idx;
pn_status pn_idx_parse(const void *bytes, size_t size, pn_idx *out);
pn_status pn_idx_read(const char *path, pn_idx *out); /* plain or gzip */

/* `count` images of the built-in set. */
pn_status pn_synthetic_make(pn_split split, int count, int H, int W, int C, pn_data *data);

/* Sets mean and std from the images at hand. */
void pn_data_measure(pn_data *data);

/* Sets class_names to copies of `count` names. PN_EMEM. */
pn_status pn_data_name_classes(pn_data *data, const char *const *names, int count);

PN_API_END

#endif
