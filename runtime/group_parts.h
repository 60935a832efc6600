/* group_parts.h -- a group from inside: what carries its calls from process to process. Another
 * carrier is another table. */
#ifndef PN_GROUP_PARTS_H
#define PN_GROUP_PARTS_H

#include "runtime/group.h"

enum { PN_HOST_BYTES = 64 };

/* Calls that begin something return at once; `done` is asked again and again until all that has
 * begun is over. All numbers are the host's. */
typedef struct pn_carrier {
    void (*share)(void *self, int from, void *bytes, size_t count);
    void (*sum)(void *self, int64_t *numbers, size_t count);
    void (*most)(void *self, int64_t *numbers, size_t count);
    bool (*done)(void *self);
    /* Ends all processes at once; does not return. */
    void (*end)(void *self, int code);
    void (*close)(void *self);
} pn_carrier;

struct pn_group {
    const pn_carrier *carrier;
    void *self; /* the carrier's */
    int rank, size, local, locals;
    char host[PN_HOST_BYTES];
    double patience;
    const char *what; /* what the calls at hand belong to */
    int64_t number;
    bool told;                        /* that it takes long */
    pn_status failed;                 /* what all have agreed on, */
    char sentence[PN_SENTENCE_BYTES]; /* and why */
    const pn_exchange *exchange;      /* what sums in this memory go by; NULL: by the hosts */
    const pn_memory *exchanged;
    int64_t *staging; /* numbers on their way from and to a device's memory */
    size_t staged;    /* how many there is room for */
};

/* A group of one, until the carrier says otherwise. PN_EMEM. */
pn_status pn_group_create(pn_group **group, const pn_carrier *carrier, void *self);

#endif
