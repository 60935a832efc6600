/* watch.h -- what the emulator tells hooks.cc, or counts.cc, where one of them is linked in. */
#ifndef PN_EMULATOR_WATCH_H
#define PN_EMULATOR_WATCH_H

#include <cstddef>

struct pn_emulator_watch {
    void (*launch)(unsigned blocks, unsigned threads);
    void (*block)(unsigned index, const char *shared, size_t bytes); /* a block begins */
    void (*barrier)(const char *file, int line); /* all threads of the block have come */
    void (*syncwarp)(unsigned warp, unsigned mask);
    void (*atomic)(const void *p, const void *pc); /* one is about to be done, on 4 bytes */
    void (*end)();                                 /* the block has ended; or NULL */
};

/* NULL without hooks. With them, one OS thread runs all blocks, one after another. */
extern const pn_emulator_watch *pn_emulator_watcher;

/* Ends the launch; `explain` writes the sentence that follows block and thread, later, on a stack
 * that has room to start other programs. From a kernel only. */
[[noreturn]] void pn_emulator_fault(void (*explain)(char *to, size_t bytes));

/* Is p on the stack of a fiber, or one of the emulator's own variables? */
bool pn_emulator_private(const void *p);

#endif
