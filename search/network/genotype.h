/* genotype.h -- architectures as text, both ways.
 *
 * DARTS notation is what papers and other programs exchange:
 *     Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5],
 *              reduce=[...], reduce_concat=[2, 3, 4, 5])
 * with two pairs (op, input) a node, node after node; inputs 0 and 1 are the cell's, 2.. the
 * nodes. Or, as SNAS writes its cells, with a pair for every edge, 14 in all: of each node as many
 * as it has inputs, in any order. The op 'none' is a term that is not there. A genotype always
 * speaks of the whole space: both kinds of cell, four nodes, all of them concatenated. Read are all
 * spellings that Python accepts for it: keywords in any order, single or double quotes, lists or
 * range(2, 6), white space, newlines and # comments anywhere, a comma after the last item, and
 * "NAME =" in front.
 *
 * The short notation fits into a cell of a CSV file (no comma, no quote, no newline):
 *     normal s3@0 s3@1 | s3@0 s3@1 | s3@1 sk@0 | sk@0 d3@2 reduce mp@0 mp@1 | ...
 * op@input, with mp, ap max and average pool, sk skip, s3, s5 sep_conv, d3, d5 dil_conv, no none;
 * two or, of every edge, as many terms a node as it has inputs. */
#ifndef PN_GENOTYPE_H
#define PN_GENOTYPE_H

#include <stddef.h>

#include "kernels/api.h"
#include "search/network/space.h"

PN_API_BEGIN

/* Bytes that hold any architecture in either notation, the final zero included. */
enum { PN_GENOTYPE_BYTES = 768, PN_SHORT_BYTES = 192 };

/* Reads one architecture from `length` bytes of text (no final zero needed): a published name
 * (DARTS_V1, DARTS_V2, PDARTS, PC_DARTS_cifar, SNAS_mild, SNAS_moderate, SNAS_aggressive; of the
 * last three also with every edge: SNAS_mild_edge_all), DARTS notation, or the short notation.
 * Nothing but white space and comments may follow. PN_EARG with one sentence that names the value
 * at fault and what is accepted; *arch is then unchanged. */
pn_status pn_genotype_read(const char *text, size_t length, pn_arch *arch);

/* The same for text that may have anything in front and behind, a log or a Python module: the
 * first "Genotype(" that is a word of its own counts. PN_EINPUT instead of PN_EARG. */
pn_status pn_genotype_find(const char *text, size_t length, pn_arch *arch);

/* What the command line calls a genotype: a published name, a file (of at most
 * PN_GENOTYPE_FILE bytes, searched by pn_genotype_find), a run directory (its genotype.txt), or
 * else the text itself. PN_EARG for a text, PN_EINPUT for what a file holds, PN_EIO for a file
 * that cannot be read. */
enum { PN_GENOTYPE_FILE = 1 << 24 };
pn_status pn_genotype_open(const char *argument, pn_arch *arch);

/* Writes DARTS notation exactly as Python prints it, one line, no newline. The architecture is
 * one of the whole space. */
void pn_genotype_write(const pn_arch *arch, char text[PN_GENOTYPE_BYTES]);

/* Writes the short notation; of a smaller space only the kinds and nodes that it has. */
void pn_genotype_short(const pn_space *space, const pn_arch *arch, char text[PN_SHORT_BYTES]);

/* The published architectures by number, from 0: the name, or NULL past the last. arch may be
 * NULL. For lists of what is accepted, and for tests. */
const char *pn_genotype_published(int i, pn_arch *arch);

PN_API_END

#endif
