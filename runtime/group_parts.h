/* group_parts.h -- a group from inside: what carries its calls from process to process. Another
 * carrier is another table. */
#ifndef PN_GROUP_PARTS_H
#define PN_GROUP_PARTS_H

#include "runtime/group.h"

enum { PN_HOST_BYTES = 64 };

/* Calls that begin something return at once; `done` is asked again and again until all that has
 * begun is over. All numbers are the host's. Letters come and go while something else is waited
 * for; one that cannot be sent is lost. */
typedef struct pn_carrier {
    void (*share)(void *self, int from, void *bytes, size_t count);
    void (*sum)(void *self, int64_t *numbers, size_t count);
    void (*most)(void *self, uint64_t *numbers, size_t count);
    bool (*done)(void *self);
    void (*write)(void *self, int to, int64_t letter);
    bool (*read)(void *self, int *from, int64_t *letter); /* false: there is none */
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
    char (*hosts)[PN_HOST_BYTES];     /* (size); NULL: not introduced */
    bool *heard;                      /* (size): who has answered that he waits; NULL: not asked */
    int64_t waits;                    /* so far, the same on all; letters are about one */
    bool told;                        /* that it takes long */
    uint64_t *meeting;                /* the message: blame, wishes, places */
    size_t room;                      /* numbers of places */
    pn_wishes (*own)(void);           /* NULL: none */
    pn_wishes wishes;                 /* of all */
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
