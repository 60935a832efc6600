/* status.h -- how every call of the library says that it failed.
 *
 * Libraries return a status, programs exit. A failing call leaves one sentence
 * for its thread: it names the offending value and what would be accepted. */
#ifndef PN_STATUS_H
#define PN_STATUS_H

#include "kernels/api.h"

PN_API_BEGIN

typedef enum pn_status {
    PN_OK = 0,
    PN_EARG,      /* an argument or option that cannot be (exit 2) */
    PN_EINPUT,    /* an input file that is wrong or damaged (exit 3) */
    PN_EMEM,      /* memory (exit 4) */
    PN_EDEVICE,   /* the device failed or is not there (exit 5) */
    PN_EIO,       /* reading or writing failed (exit 6) */
    PN_EDIVERGED, /* NaN or infinity where a number was needed (exit 7) */
    PN_EBUSY,     /* somebody else holds it (exit 8) */
    PN_EINTR      /* interrupted, can be continued (exit 130 or 143) */
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
