/* status.h -- how every call of the library says that it failed.
 *
 * Libraries return a status, programs exit. A failing call leaves one sentence
 * for its thread: it names the offending value and what would be accepted. */
#ifndef PN_STATUS_H
#define PN_STATUS_H

#include "kernels/api.h"

PN_API_BEGIN

/* The number of each is the exit code of the program, but for the last: then it is 128 plus the
 * number of the signal. */
typedef enum pn_status {
    PN_OK = 0,
    PN_ECHECK = 1,    /* a check has found something wrong */
    PN_EARG = 2,      /* an argument or option that cannot be */
    PN_EINPUT = 3,    /* an input file that is wrong or damaged */
    PN_EMEM = 4,      /* memory */
    PN_EDEVICE = 5,   /* the device failed or is not there */
    PN_EIO = 6,       /* reading or writing failed */
    PN_EDIVERGED = 7, /* NaN or infinity where a number was needed */
    PN_EBUSY = 8,     /* somebody else holds it */
    PN_EINTR = 128    /* interrupted, can be continued */
} pn_status;

/* Remembers why this thread's call failed and gives the status back, so that one can write
 * return pn_fail(PN_EARG, "stride %d, want 1 or 2", s);  A macro, so that compilers and checkers
 * see that the status given is the status returned. */
#define pn_fail(status, ...) (pn_say(__VA_ARGS__), pn_failed(status))

/* The same, with words in front of the sentence of the failure at hand ("FILE: ..."). */
#define pn_fail_in(status, ...) (pn_say_in(__VA_ARGS__), pn_failed(status))

static inline pn_status pn_failed(pn_status status) { return status; }
void pn_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void pn_say_in(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Room for the longest path that a run has, and for what is wrong with it. */
enum { PN_SENTENCE_BYTES = 2048 };

/* The sentence of this thread's last failure, without a final newline; "" if none. */
const char *pn_error(void);

#define PN_TRY(call)                          \
    do {                                      \
        pn_status pn_try_ = (call);           \
        if (pn_try_ != PN_OK) return pn_try_; \
    } while (0)

PN_API_END

#endif
