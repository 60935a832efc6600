/* truth.h -- what cells are worth, told from a table of cells whose accuracy is known.
 *
 * A table has some thousand cells, the space 10^18. So a model is fitted when the table is opened
 * (ridge.h, features.h). It says what any cell reaches in the table's measure, with an error. It is
 * linear in t = -log(ceiling - accuracy), since what helps a poor cell helps a good one less.
 *
 * Each of the 1,218 cells of NAS-Bench-301's table was left out of the fit: 92.8 % of the variance
 * is explained (Kendall's tau .83). The error is 0.154 points, root of the mean square; its mean is
 * .002 in the tenth that the model likes best. 69 % of the cells lie within the error that is told
 * of each, 96 % within two.
 *
 * A cell unlike those of the table is *not judged*: a linear model goes on as it began where nobody
 * has measured anything. There are four reasons:
 *   - it is not of the space: a node has another number of terms than two;
 *   - a count of the cell (of an op, of an input's readers, ... features.h) is one that no cell of
 *     the table reaches;
 *   - its leverage is larger than that of any cell of the table that is left out;
 *   - its accuracy would be outside the table's range by more than the error.
 * Of uniform cells with distinct inputs 99.4 % are judged by NAS-Bench-301's table; of cells whose
 * nodes may read one input twice, 4 %.
 *
 * Searches know nothing of this: neither search/methods nor search/train may include this room. */
#ifndef PN_TRUTH_H
#define PN_TRUTH_H

#include "kernels/api.h"
#include "search/methods/prior.h"

PN_API_BEGIN

enum { PN_TRUTH_NAME = 24, PN_TRUTH_MEASURE = 48, PN_TRUTH_WHY = 160 };

typedef struct pn_truth pn_truth;

typedef struct pn_truth_facts {
    char name[PN_TRUTH_NAME];       /* "nasbench301"; of a file "crc32-" and its CRC-32 */
    char measure[PN_TRUTH_MEASURE]; /* of its accuracies: "cifar10_valid" */
    int cells;
    double least, mean, most; /* of its accuracies, percent */
    double error;             /* of a cell left out: root of the mean square, points */
    double explained;         /* share of the variance, of cells left out */
    double leverage;          /* largest of a cell left out */
    double uniform;           /* mean of uniform cells with distinct inputs that are judged */
    double uniform_judged;    /* share of those that are */
} pn_truth_facts;

typedef struct pn_judgement {
    bool judged;
    char why[PN_TRUTH_WHY]; /* not: one clause; else "" */
    double accuracy;        /* percent; of no use if not judged, as the two below */
    double error;           /* standard error, points */
    double better_than;     /* share of uniform cells that the model says are worse */
    double leverage;
} pn_judgement;

typedef struct pn_expectation {
    double judged;          /* share of the cells drawn */
    double mean, deviation; /* of those, percent and points; NaN if there are none, or is one */
} pn_expectation;

/* Opens a table by name (nasbench301, which is in the program) or the path of a CSV file: a line
 * "architecture,NAME", then lines CELL,ACCURACY. PN_EARG: no such table; PN_EINPUT: a file that is
 * wrong, of another space, or called nasbench301.csv without being it; PN_EIO, PN_EMEM. */
pn_status pn_truth_open(const char *table, pn_truth **truth);
void pn_truth_close(pn_truth *truth); /* NULL is allowed */

/* The tables that have a name, from 0; NULL past the last. */
const char *pn_truth_named(int i);

const pn_truth_facts *pn_truth_about(const pn_truth *truth);

/* An architecture of the whole space. The order of a node's two terms does not matter. */
void pn_truth_judge(const pn_truth *truth, const pn_arch *arch, pn_judgement *judgement);

/* What is to be expected of a cell drawn from the distribution: 1,000 of them are judged. They are
 * drawn with the same random numbers at each call, which are those of no search, so that two
 * distributions differ by less than two samples would. PN_EARG if it is not over DARTS' space. */
pn_status pn_truth_expect(const pn_truth *truth, const pn_prior *prior,
                          pn_expectation *expectation);

PN_API_END

#endif
