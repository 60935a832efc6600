/* group.h -- several processes at one run: ranks, numbered from 0, as a launcher starts them.
 *
 * A group that is NULL is one process: every call returns at once and changes nothing. So whoever
 * calls need not ask whether there is a group.
 *
 * All members make the same calls in the same order. What fails on one of them alone fails on all:
 * every call but pn_group_sum begins with a meeting, whose message has the same length wherever it
 * is. It says who has failed, and he who has goes straight to pn_group_agree, wherever the others
 * are. (What fails between a meeting and a sum goes with the sum.) There all get the same status
 * and the same sentence, "rank 3 (host h2): ...", and from then on every call gives them back.
 *
 * What is small travels with the meeting: what each has found (pn_group_join), and what each wishes
 * (pn_group_listen). So a step of several units makes two collective calls, and neither can be
 * spared: what a unit counts follows from what all have found, and the sum of the gradients follows
 * from what each counts. A step that trains nothing makes one.
 *
 * Who waits sleeps between two looks, so that he takes no core from one who computes. Shortly
 * before `patience` is over he asks the others, beside all this, whether they wait as well: those
 * who do answer at once. Who is missing is then told once on stderr, by the lowest rank that waits;
 * a wait of ten times `patience` ends all processes with exit code 6. */
#ifndef PN_GROUP_H
#define PN_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/exchange.h"
#include "kernels/kernels.h"
#include "kernels/memory.h"
#include "kernels/status.h"

typedef struct pn_group pn_group;

/* What the environment of this process says of a launcher, before anything is opened: how many it
 * has started (1: none, or one; 0: a launcher that does not say how many), which of them this is,
 * and by which variable. SLURM_NTASKS alone is no launcher: a script of sbatch has it too. */
typedef struct pn_launch_words {
    int size, rank;
    const char *variable;
} pn_launch_words;
pn_launch_words pn_group_environment(void);

/* how: "auto": a group if there is a launcher (above) and it has started more than one; "none":
 * never; "mpi" and "nccl": at any rate, also of one, and with "nccl" the caller has the cards
 * connected (pn_group_exchange). *group is NULL if this is one process. PN_EDEVICE: a
 * launcher, but MPI knows nothing of it, or this build has no MPI. Once a process. */
pn_status pn_group_open(pn_group **group, const char *how);

/* After the last call of all members. NULL is allowed. */
void pn_group_close(pn_group *group);

/* What MPI this build has, for a person: "Open MPI v4.1.4", or "none". */
const char *pn_group_built(char text[128]);

/* 0, 1, 1 of one process. local: which of those on this host; locals: how many there are. */
int pn_group_rank(const pn_group *group);
int pn_group_size(const pn_group *group);
int pn_group_local(const pn_group *group);
int pn_group_locals(const pn_group *group);

/* What a wait that is too long is called: "step 12". Seconds of patience, above 0. */
void pn_group_at(pn_group *group, const char *what, int64_t number);
void pn_group_patience(pn_group *group, double seconds);

/* Who is on which host, for sentences. Before: when all are known to run the same program, since
 * from here on meetings may have room (pn_group_room). PN_EMEM. */
pn_status pn_group_introduce(pn_group *group);

/* So many bytes of pn_group_join travel with a meeting, and sums of so many numbers in this memory
 * (NULL: none) need no more memory of the host's; more than before, never fewer. PN_EMEM. */
pn_status pn_group_room(pn_group *group, size_t bytes, const pn_memory *memory, size_t numbers);

/* Wishes of a member that become those of all: of each the largest. */
typedef struct pn_wishes {
    int stop; /* the number of a signal: to end after this step; 0: none */
    int save; /* 1: a checkpoint now */
} pn_wishes;

/* Each meeting asks its members for their wishes. heard: what all have wished at the meetings since
 * it was last called, the same on all. */
void pn_group_listen(pn_group *group, pn_wishes (*own)(void));
pn_wishes pn_group_heard(pn_group *group);

/* A meeting: the worst status of all members, of equals that of the lowest rank, and its sentence,
 * for all. */
pn_status pn_group_agree(pn_group *group, pn_status mine);

/* Rank 0's bytes, which lie on the host, to all. */
pn_status pn_group_share(pn_group *group, void *host, size_t bytes);

/* Elementwise over all members, in place: the largest. */
pn_status pn_group_most(pn_group *group, int64_t *numbers, size_t count);

/* Elementwise over all members, in place, numbers in a backend's memory over ranges that ascend:
 * the sum. Whole numbers: it does not depend on who adds in which order. Numbers between the ranges
 * are lost, and so are two behind the last one, which have to be there. Waits.
 * mine: what this member has come to since the last meeting, which all agree on without another;
 * the numbers may then be any. odd: in: of this member, out: of any; NULL: false. */
pn_status pn_group_sum(pn_group *group, const pn_memory *memory, int64_t *numbers,
                       const pn_range *ranges, int count, pn_status mine, bool *odd);

/* Bytes of which each member has filled places of its own, and the others have zeros there: all
 * get all, whatever they mean. With the meeting if there is room. PN_EARG unless they are whole
 * numbers of 64 bits. */
pn_status pn_group_join(pn_group *group, void *places, size_t bytes);

/* From now on sums of numbers in this memory go from device to device, without a way by the hosts.
 * Each member has a device of its own. PN_EARG if exchange is NULL (there is no such way);
 * PN_EDEVICE. */
pn_status pn_group_exchange(pn_group *group, const pn_memory *memory, const pn_exchange *exchange);

/* This status, on all, if a word (a version, a checksum) is not the same everywhere: "rank 1 (host
 * h2): images d00d, want beef as rank 0 has". Words of less than 256 bytes. */
pn_status pn_group_same(pn_group *group, pn_status if_not, const char *what, const char *word);

#endif
