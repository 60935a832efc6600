/* data_parts.h -- what the files of data sets share. */
#ifndef PN_DATA_PARTS_H
#define PN_DATA_PARTS_H

#include "runtime/data.h"

/* Tells whoever listens (pn_data_listen). */
void pn_data_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Tells of classes of which few images train a network, by number or by share. */
pn_status pn_data_tell_classes(const pn_data *train);

/* A split of a file that pn_data_pack wrote. */
pn_status pn_pack_read(const char *path, pn_split split, pn_data *data);

#endif
