/* fiber.h -- stacks to switch between: what a thread of a block waits on.
 *
 * The switch is our own on x86-64 and aarch64: swapcontext asks the kernel for the signal mask each
 * time, which makes it a hundred times slower. */
#ifndef PN_FIBER_H
#define PN_FIBER_H

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define PN_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PN_FIBER_ASAN 1
#endif
#endif

#if !defined(__x86_64__) && !defined(__aarch64__)
#define PN_FIBER_UCONTEXT 1
#include <ucontext.h>
#endif

/* A place to come back to. Zeroed, it stands for the stack that the OS thread came with. */
struct pn_fiber {
    void *sp;
    void *fake;        /* AddressSanitizer's */
    const char *stack; /* lowest byte; NULL until ASan says it, for the OS thread's own */
    size_t bytes;
#ifdef PN_FIBER_UCONTEXT
    ucontext_t context;
#endif
};

/* Address space for the stacks of `count` fibers, *bytes long; NULL if there is none. */
char *pn_fiber_stacks(unsigned count, size_t *bytes);

/* Gives f stack number n of those. */
void pn_fiber_make(pn_fiber *f, char *stacks, unsigned n);

/* The next switch to f enters entry(), which must not return. Also to forget what f was doing. */
void pn_fiber_reset(pn_fiber *f, void (*entry)());

/* Leaves `from`, where a later switch to it goes on, for `to`. With `forget`, nobody will come
 * back. */
void pn_fiber_switch(pn_fiber *from, pn_fiber *to, bool forget);

/* First thing in entry(): with the fiber that we came from, if it is the OS thread's own. */
void pn_fiber_entered(pn_fiber *from);

#endif
