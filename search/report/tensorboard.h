/* tensorboard.h -- the tables of a run as a file that TensorBoard reads.
 *
 * The file is made from the tables, not by the run: a run that was killed and continued has each
 * step once in them, and so has the file. It is a function of the run's files, to the byte.
 *
 * Records (TFRecord): length, 8 bytes; its checksum; an Event; its checksum. A checksum is the
 * CRC-32C, turned by 15 bits, plus 0xa282ead8. Event, Summary and HistogramProto are messages
 * (github.com/tensorflow/tensorboard, tensorboard/compat/proto). The first event says the version;
 * each further one belongs to a step of a search, or to an epoch of a training:
 *
 *   metrics/COLUMN, times/COLUMN, truth/COLUMN   the numbers of these tables, where there are any
 *   pi/CELL/OP             probability of an op, mean over the terms of that kind of cell
 *   pi/CELL.NODE.TERM.op   histogram: bucket i has the probability of op i, or of input i for
 *   ...input               .input; its range is i - 1/2 to i + 1/2
 *
 * Rows of a step come in one event; those about the distribution after s steps, of prior.csv and
 * truth.csv, stand at step s before that step's own. Rows of another run in prior.csv (negative
 * steps, --prior) are left out.
 *
 * The wall time of an event is when the run began (events.jsonl; 1970 if that is not known), plus
 * what its steps took up to there (times.csv; a second each if there is no such file). */
#ifndef PN_TENSORBOARD_H
#define PN_TENSORBOARD_H

#include "search/export/protobuf.h"
#include "search/report/run.h"

#define PN_TENSORBOARD_FILE "events.out.tfevents.parsec-nas"

typedef struct pn_tensorboard {
    pn_message file; /* the bytes; to be freed */
    int64_t steps;   /* steps or epochs in it */
    int64_t damaged; /* rows that could not be read */
} pn_tensorboard;

/* Of a search the file has what was known after `until` steps; INT64_MAX: all that is there. What a
 * checkpoint holds is never taken back, so a file up to there is the beginning of a later one. */
pn_status pn_tensorboard_make(const pn_view *run, int64_t until, pn_tensorboard *made);

/* Puts it into a directory as PN_TENSORBOARD_FILE. If `append`, and what lies there is the
 * beginning of it, the rest is added, since TensorBoard reads on in a file that it has open;
 * otherwise the file is replaced as a whole. PN_EARG for a file of that name of something else. */
pn_status pn_tensorboard_put(const pn_tensorboard *made, const pn_place *place, bool append);

#endif
