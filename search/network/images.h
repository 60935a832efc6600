/* images.h -- what images a network takes, and what its classes are called: what the data set that
 * it was trained on said of itself. It stands, as JSON, in the metadata of weights and checkpoints
 * (key "images") and in run.json, so that whoever uses a network needs its weights alone. */
#ifndef PN_IMAGES_H
#define PN_IMAGES_H

#include <stdbool.h>

#include "kernels/api.h"
#include "runtime/data.h"

PN_API_BEGIN

struct json_t; /* jansson's */

/* Bytes of a class's name with its final zero; a longer one is cut. */
enum { PN_CLASS_NAME_BYTES = 256 };

typedef struct pn_images {
    int H, W, C, classes;
    bool measured; /* mean and std are known: weights written by version 0.2 do not say them */
    float mean[PN_MAX_IMAGE_CHANNELS], std[PN_MAX_IMAGE_CHANNELS]; /* as in data.h */
    char **names; /* (classes) UTF-8 without control characters, one block; NULL: not known */
} pn_images;

/* That of a data set; to be freed. PN_EMEM. */
pn_status pn_images_of(const pn_data *data, pn_images *images);
void pn_images_free(pn_images *images); /* leaves it empty */

/* A class's name, or its number as text. */
const char *pn_images_class(const pn_images *images, int i, char number[16]);

/* PN_EARG, in one sentence, if a data set has images of another size, another number of classes or
 * other names for them. Test images that stand alone may lack the last classes. */
pn_status pn_images_same(const pn_images *images, const pn_data *data);

/* As a JSON object; NULL: no memory. And back: PN_EINPUT for what is not one, or has mean outside
 * 0..1, std outside 0..1 or 0, a size or a number of names that cannot be. */
struct json_t *pn_images_json(const pn_images *images);
pn_status pn_images_read(const struct json_t *object, pn_images *images);

/* The same as text, to be freed. */
pn_status pn_images_text(const pn_images *images, char **text);

PN_API_END

#endif
