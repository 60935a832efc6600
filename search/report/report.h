/* report.h -- one page of HTML about runs: what was found, how sure that is, what it is worth, what
 * it cost, and how to repeat it. It needs no network, no script and no other file; light, dark and
 * printed. The same run gives the same bytes: nothing of the day or the machine enters that does
 * not stand in the run's files. */
#ifndef PN_REPORT_H
#define PN_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/status.h"
#include "runtime/file.h"

struct json_t; /* jansson's */

enum { PN_MOST_REPORTED = 64, PN_VERDICT_BYTES = 4096 };

/* The page about `count` directories (1 to PN_MOST_REPORTED): searches, trainings, what `train` was
 * given (a training for each seed in it). *text is the caller's. PN_EARG, PN_EIO if one is not
 * there; PN_EINPUT if there is nothing of a run in one; PN_EMEM. */
pn_status pn_report_text(const char *const *paths, int count, char **text, size_t *size);

/* Writes it as a whole, or not at all. PN_EARG, before anything is read, if `file` is there and is
 * no report. verdict (PN_VERDICT_BYTES, may be NULL): the three sentences of each run, without
 * HTML, a line each. */
pn_status pn_report_write(const char *const *paths, int count, const char *file, char *verdict);

/* report.html of a run that has just finished, in its own directory, which is held open: of a
 * search, or of one seed. A file of that name that is no report stays as it is. */
extern const char pn_report_name[];
pn_status pn_report_of_run(const pn_place *place);

/* The page about a comparison, of what `compare --json` prints, which has to be ours. *text is the
 * caller's. PN_EMEM. */
pn_status pn_report_comparison_text(const struct json_t *root, char **text, size_t *size);

/* Writes it to a path (place NULL), where PN_EARG is as of pn_report_write, or into a run; *written
 * is false where somebody's own file of that name stays. */
pn_status pn_report_comparison(const struct json_t *root, const pn_place *place, const char *name,
                               bool *written);

/* PN_EARG unless a page may be written there: nothing is there, or an empty file, or a report, or
 * what takes all one writes to it (a pipe). */
pn_status pn_report_may_write(const char *file);

#endif
