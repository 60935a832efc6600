/* folder.h -- a directory of pictures, a class each folder, as a data set.
 *
 *     DIR/CLASS/NAME            split by a hash of CLASS/NAME
 *     DIR/train/CLASS/NAME      likewise, if none of these is beside it:
 *     DIR/test/CLASS/NAME       its makers' test images; or val, or valid; the first that is there
 *
 * Classes are numbered in the order of their bytes, and so are the files of a class. What a file
 * system or another program puts there (hidden names, __MACOSX, Thumbs.db, desktop.ini) is not
 * seen. A file of another kind is skipped, one that is damaged is left out; both are named. */
#ifndef PN_FOLDER_H
#define PN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/data.h"

typedef enum pn_fate { PN_FATE_TAKEN, PN_FATE_SKIPPED, PN_FATE_DAMAGED } pn_fate;

typedef struct pn_picture {
    char *path;    /* with the directory's */
    char *why;     /* it was not taken; else NULL */
    uint64_t hash; /* of its bytes */
    int label;
    pn_split split;
    pn_fate fate;
    bool grey;
} pn_picture;

typedef struct pn_folder {
    const char *directory; /* the caller's */
    pn_picture *pictures;  /* by split where it is the makers', by class, by name */
    char **classes;
    int count, room, class_count, class_room;
    int damaged, skipped;
    int H, W; /* of the picture in the middle, by its shorter edge */
    bool own_test;
} pn_folder;

#define PN_TEST_FRACTION .2

/* Lists it. PN_EINPUT with a sentence if it holds fewer than two classes, a class is empty or
 * stands in one split alone; PN_EIO if a part of it cannot be read. To be freed, failed or not. */
pn_status pn_folder_open(const char *directory, double test_fraction, pn_folder *folder);
void pn_folder_free(pn_folder *folder);

/* Whether there is a folder with a folder in it, so that it may be one. */
pn_status pn_folder_like(const char *directory, bool *like);

/* Reads every picture at the size edge x edge, with all threads, and sets fates. Of one channel if
 * all are grey. Edge 0: 64, or 32 if half of the pictures are smaller than 64; says which. */
pn_status pn_folder_read(pn_folder *folder, int edge, pn_data *train, pn_data *test);

/* Says what is wrong with it (pn_data_listen): what was left out, and the same bytes in both
 * splits. PN_EINPUT if more than 1 % of the pictures are damaged, or a split is empty. */
pn_status pn_folder_judge(const pn_folder *folder, const pn_data *train, const pn_data *test);

#endif
