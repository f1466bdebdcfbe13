/* SPDX-License-Identifier: Apache-2.0
 * Between building a line (log.c) and writing it elsewhere (log_queue.c). Private to daemon/base.
 */
#ifndef POSTROAD_BASE_LOG_PRIVATE_H
#define POSTROAD_BASE_LOG_PRIVATE_H

#include "daemon/base/log.h"

/* A line without its end goes into the queue, or is counted as dropped. False: there is no writer; write it here. */
bool log_queue_put(enum log_level level, const char *text, size_t n);

/* n bytes of whole lines, each with its level in front (one byte) and '\n' behind; may wait. False: they are lost. */
bool log_write(const char *lines, size_t n);

#endif
