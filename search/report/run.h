/* run.h -- a run directory as it lies there: finished, at work, killed, damaged, empty, or of a
 * later version. Whoever only looks takes no lock and changes nothing, so what a run has written so
 * far can be seen from another terminal or another host.
 *
 * What is missing or damaged is left out, and said in words; a function fails for lack of memory
 * (PN_EMEM) or because reading failed now (PN_EIO). doc/runs.md has the files and their columns. */
#ifndef PN_REPORT_RUN_H
#define PN_REPORT_RUN_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/file.h"
#include "search/network/space.h"

struct json_t; /* jansson's */

typedef enum pn_view_kind { PN_VIEW_UNKNOWN, PN_VIEW_SEARCH, PN_VIEW_TRAINING } pn_view_kind;
typedef enum pn_view_state {
    PN_VIEW_EMPTY,      /* no run.json */
    PN_VIEW_UNREADABLE, /* a run.json that cannot be read */
    PN_VIEW_RUNNING,    /* at work, or stopped: nobody says which */
    PN_VIEW_DIVERGED,
    PN_VIEW_FINISHED
} pn_view_state;

enum { PN_TROUBLE_BYTES = 512 };

typedef struct pn_view {
    pn_place place;
    pn_view_kind kind; /* by run.json, else by the header of metrics.csv */
    pn_view_state state;
    struct json_t *root; /* all of run.json; NULL unless it is an object */
    int64_t format;      /* of the directory; 1 where run.json does not say */
    bool newer;          /* a format that this version does not know: read as far as it goes */
    bool found;          /* there is a genotype.txt */
    pn_arch arch;        /* in it */
    char trouble[PN_TROUBLE_BYTES]; /* what could not be read, and why; "" if nothing */
} pn_view;

/* The initialiser of one that is not open. */
#define PN_NO_VIEW           \
    {                        \
        .place = {.fd = -1 } \
    }

/* Reads run.json and genotype.txt. PN_EARG for a path that is too long, PN_EIO if there is no such
 * directory. After a failure pn_view_close is allowed, not needed. */
pn_status pn_view_open(pn_view *view, const char *path);
void pn_view_close(pn_view *view);

/* Members of run.json and of its settings; a usual value where there is none of that type. Text is
 * the view's. */
double pn_view_number(const pn_view *view, const char *name, double usual);
const char *pn_view_text(const pn_view *view, const char *name, const char *usual);
double pn_view_setting(const pn_view *view, const char *name, double usual);
const char *pn_view_setting_text(const pn_view *view, const char *name, const char *usual);

/* A table: named columns of numbers. Of a long one few rows are drawn, so a row is made into
 * numbers when it is first asked for; its first number, the step, is known before. */
typedef struct pn_columns {
    int count;    /* of columns */
    int64_t rows; /* whole ones: a torn last line is left out */
    int64_t bad;  /* rows left out because they have another number of cells, or a byte 0 */
    char **name;
    double *first; /* [rows]: the first column */
    double *value; /* [rows][count] of the rows asked for: NaN where a cell is empty or text */
    bool *asked;   /* [rows]: which these are */
    char *text;    /* of the file; a zero behind each cell of these rows */
    size_t *row;   /* [rows]: where each begins in it */
} pn_columns;

/* Reads a table; without the file, or with a damaged header, it has no column and no row. Rows of a
 * step (the first column) that was taken again replace those before. *columns is to be freed. */
pn_status pn_view_table(const pn_view *view, const char *name, pn_columns *columns);
void pn_columns_free(pn_columns *columns); /* zeros are allowed */

/* The number of a column; -1 if there is none of that name. */
int pn_column(const pn_columns *columns, const char *name);

/* The numbers of a row. */
const double *pn_row_at(const pn_columns *columns, int64_t row);

/* One of them; NaN where there is no such column. */
static inline double pn_value_at(const pn_columns *columns, int64_t row, int column) {
    return column < 0    ? (double)NAN
           : column == 0 ? columns->first[row]
                         : pn_row_at(columns, row)[column];
}

/* The text of a cell, the table's; "" if there is no such column. */
const char *pn_cell_text(const pn_columns *columns, int64_t row, int column);

/* A file of JSON, as results.json: *root is the caller's; NULL if it is not there or damaged. */
pn_status pn_view_json(const pn_view *view, const char *name, struct json_t **root);

/* A file with an object of JSON a line, as events.jsonl: a list of those that can be read; lines
 * that cannot are left out. *list is the caller's. */
pn_status pn_view_lines(const pn_view *view, const char *name, struct json_t **list);

/* The seeds N of the directories seed-N in what `train` was given, rising; *seeds is the
 * caller's. */
pn_status pn_view_seeds(const pn_view *view, uint64_t **seeds, int *count);

#endif
