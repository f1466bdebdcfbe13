/* SPDX-License-Identifier: Apache-2.0
 * A thread that watches the others: one that does not come round any more ends the process, so that whoever supervises
 * it starts it anew.
 *
 * Time is what passes between two rounds of the watchdog itself, and of a long gap only the first half second counts.
 * So a process that was stopped as a whole, or whose machine was paused, is no different afterwards. A thread that
 * waits for what is not in its hands (a disk, another program) says so, and may wait without end.
 */
#ifndef POSTROAD_BASE_WATCHDOG_H
#define POSTROAD_BASE_WATCHDOG_H

#include "daemon/base/obj.h"

enum { WATCHDOG_BEAT_MS = 250, WATCHDOG_ROUND_MS = 250, WATCHDOG_GAP_MS = 500, WATCHDOG_LIMIT_MS = 5000 };

/* ---- what is watched: from the thread itself ---- */

/* Watches the calling thread from here on; it beats at least each second. The name stays the caller's, and is the
 * thread's own for ps(1) unless it is the first thread of the process. Watched once at most. */
void watchdog_enter(const char *name);
/* The calling thread has come round. A store to memory that is the thread's own; nothing where it is not watched. */
void watchdog_beat(void);
/* Between the two the calling thread may wait for what is not in its hands. They nest. */
void watchdog_wait(void);
void watchdog_waited(void);
/* Not watched any more; before the thread ends. */
void watchdog_exit(void);

/* ---- who watches ---- */

/* Starts the watchdog: a thread of its own. round is called in each of its rounds, on its thread; may be NULL. A thread
 * that was silent for WATCHDOG_LIMIT_MS is named in the log, and abort(3) follows. */
void watchdog_start(void (*round)(void *arg), void *arg);
/* Nothing is watched any more; returns when its thread has ended. */
void watchdog_stop(void);

/* One round of it, at this time (clock_mono_ms()): the name of the thread that has been silent for too long, and how
 * long; else NULL. watchdog_start() sees to this; for tests. */
const char *watchdog_round(int64_t now_ms, int64_t *ret_silent_ms);

#endif
