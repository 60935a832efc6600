/* set.h -- the arrays of one test case.
 *
 * Each array exists as floats for the kernel, between guards of NaN, and twice in double precision
 * for the reference: its values, and its *magnitudes*. On magnitudes the reference runs a second
 * time, with every number made positive (or negative where the formula subtracts it), so that what
 * it computes is the sum of the absolute values of all terms of a result. That is the scale of
 * rounding errors: a float sum of n terms in any order is off by at most g(n) times that sum,
 * g(n) = n u / (1 - n u), u = 2^-24 (Higham, Accuracy and Stability, section 3.1). And as long as
 * it stays below 2^24, whole numbers are summed exactly in any order.
 *
 * A backend that stores bf16 or fp16 finds its *stored* arrays as such, at the same addresses:
 * halves in the first half of the array's bytes, a guard in the second. Their data are such
 * numbers. What a call stores is off by its float error and one rounding more, v = 2^-8 of the
 * number itself (of fp16 2^-11, or 2^-25 where that is more): a whole number that is exact in float
 * is the nearest such number. Where k jobs add to an array one after another, each rounds what is
 * there, at most the magnitude: g(k) with v in place of u.
 *
 * Where operands of products are rounded to tf32, each is off by t = 2^-11 of itself, a product by
 * 2 t + t^2, and a sum of them by so much of its magnitude. What an op computes has been through
 * one such product at most: each element that is *multiplied* is allowed that once. Whole numbers
 * up to 2^11 are numbers of tf32, and so large no operand gets: they stay exact. Where fp16 is
 * stored operands are halves, and one below 2^-14 is off by 2^-25 instead: of a sum of n products
 * of numbers up to 1 that is n u, which the roundings of its n steps are allowed already. */
#ifndef PN_SET_H
#define PN_SET_H

#include <stdbool.h>

#include "kernels/reference/reference.h"

enum { PN_MEMBERS = 480 };

/* Which quarters of an array count as negative among the magnitudes. */
enum { PN_PLUS = 0, PN_MINUS = 15, PN_MINUS_MEAN = 1, PN_MINUS_MEAN_SUMS = 13 };

typedef struct pn_member {
    const char *name;
    size_t count;
    float *f, *start;  /* the kernel's floats; what they were before a call */
    double *d, *m;     /* the reference's values and magnitudes */
    double *tolerance; /* of each element; NULL: derived from m and steps */
    int steps;         /* most roundings on the way from an input to an element */
    int minus;         /* PN_PLUS ... */
    bool must;         /* the pass at hand has to write it */
    bool opaque;       /* not floats: guarded, but compared by others */
    bool stored;       /* has the backend's element type */
    int coarse;        /* most roundings to it on the way to an element */
    bool multiplied;   /* comes from a product of matrices, if the op has any */
} pn_member;

typedef struct pn_set {
    pn_member member[PN_MEMBERS];
    pn_twin value[PN_MEMBERS], magnitude[PN_MEMBERS];
    int count;
    uint64_t state; /* of the random numbers */
    bool backward;  /* which pass the arrays are prepared for */
    bool whole;     /* whole numbers */
    bool exact;     /* whole, and the op only multiplies and adds: no tolerance */
    pn_storage storage;
    pn_products products; /* of the backend at hand, if the op has any */
    bool narrowed;        /* stored arrays are halves now */
} pn_set;

void pn_set_begin(pn_set *set, uint64_t seed, bool whole, bool backward);
void pn_set_end(pn_set *set);

/* A new array, full of NaN: written by the call or not at all. */
float *pn_set_poison(pn_set *set, const char *name, size_t count, int steps);

/* A new array of data: whole numbers in -whole..whole, or uniform in -real..real. */
float *pn_set_data(pn_set *set, const char *name, size_t count, int whole, double real);

/* A new array that the pass must write: data if the op adds to it, NaN if it overwrites. */
float *pn_set_result(pn_set *set, const char *name, size_t count, int steps, bool adds);

/* Says that it has the backend's element type. Returns it. */
void *pn_set_stored(pn_set *set, void *f);

pn_member *pn_set_find(pn_set *set, const float *f);
bool pn_set_has(const pn_set *set, const float *f);

/* Remembers the floats as `start`, and makes doubles of them. Stored arrays are rounded before, if
 * they are halves. */
void pn_set_freeze(pn_set *set);
pn_twins pn_set_values(const pn_set *set);
pn_twins pn_set_magnitudes(const pn_set *set);

/* Floats back to `start`, guards renewed; stored arrays as the set's storage has them, until they
 * are widened. */
void pn_set_restore(pn_set *set);
void pn_set_widen(pn_set *set);

/* The first array with a damaged guard, or NULL; the first that is not as at `start`, or NULL. */
const pn_member *pn_set_overrun(const pn_set *set);
const pn_member *pn_set_touched(const pn_set *set);

/* A random whole number in lo..hi; a random number in [lo, hi). */
int pn_set_whole(pn_set *set, int lo, int hi);
double pn_set_real(pn_set *set, double lo, double hi);

/* `bytes` of memory full of NaN between guards, 64-aligned, within reach of the kernels under test
 * (reach.h); free with pn_unguard. */
void *pn_guarded(size_t bytes);
bool pn_guards_hold(const void *memory, size_t bytes);
void pn_unguard(void *memory);

#endif
