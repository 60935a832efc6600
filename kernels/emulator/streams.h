/* streams.h -- the streams of the emulated card: what is queued on them, and when it runs.
 *
 * Usually all of it runs at once, when it is queued. Late, as with PN_EMULATOR_STREAMS=seed or
 * pn_emulator_late(), it runs only when the host waits for it, as late and in as odd an order
 * between streams as a card might have it: in each turn a stream that may run does so until it has
 * to wait for another one, or until chance takes the turn away. So what nobody waits for comes too
 * late, or too early. */
#ifndef PN_EMULATOR_STREAMS_H
#define PN_EMULATOR_STREAMS_H

#include <cstdint>
#include <functional>

#include "kernels/status.h"

bool pn_emulator_is_late();

/* Queues work on the selected stream, or does it. A piece of work that failed is what all that
 * follows says, as of a card. */
pn_status pn_emulator_queue(std::function<pn_status()> work);

void pn_emulator_select(int stream);
int pn_emulator_selected();
pn_status pn_emulator_follow(int of);

/* Pieces of work that a stream has so far; returns when so many are done. Of all streams, all. */
int64_t pn_emulator_queued(int stream);
pn_status pn_emulator_wait(int stream, int64_t count);
pn_status pn_emulator_wait_all();

#endif
