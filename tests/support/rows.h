/* rows.h -- what a line of an op's table says of a call, read from text and written again. How the
 * text reads: op_test.h. */
#ifndef PN_ROWS_H
#define PN_ROWS_H

enum { PN_MAX_JOBS = 4, PN_MOST_PARTS = 36, PN_ROW_TEXT = 1600 };

/* One job; each word of the text is a member. The table of an op says which words it takes. */
typedef struct pn_row {
    int N, H, W, K, R, stride, dilation, pad;
    int C[PN_MOST_PARTS]; /* of each part, ended by a 0 */
    int in, also[PN_MOST_PARTS], out;
    int shares; /* the inputs of the job before, adding to the same dx */
    int mean, relu, scaled;
    float smoothing, weight;
    int coef[PN_MOST_PARTS]; /* of each term, ended by a 0 */
    int in_place;            /* the term, from 1, that h overwrites; 0: none */
    int restore;             /* with in_place the last term: backward puts its z back */
    int again;               /* the term, from 1, that reads and adds to what the one before does */
    int factors;             /* terms with a factor for each image */
} pn_row;

/* A word that an op takes, with its least and most number; of a list, the name ends in a comma. A
 * job that does not say it has `otherwise`, or is refused where that is PN_MUST. */
typedef struct pn_key {
    const char *word;
    double least, most, otherwise;
} pn_key;
enum { PN_MUST = -1000 };

/* Reads the jobs of a call. `keys` end with one without a word. Returns how many jobs there are; 0
 * if the text is wrong, and says in `error`, of PN_ROW_TEXT bytes, where and why. */
int pn_rows_read(const pn_key *keys, const char *text, pn_row rows[PN_MAX_JOBS], char *error);

/* Writes jobs, in PN_ROW_TEXT bytes, as pn_rows_read would read them. */
void pn_rows_write(const pn_key *keys, const pn_row rows[PN_MAX_JOBS], char *text);

/* Inputs of a job: terms, or parts. */
int pn_row_parts(const pn_row *r);

#endif
