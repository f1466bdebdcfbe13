/* SPDX-License-Identifier: Apache-2.0
 * The leg on which we are the server: lines in, replies out, deadlines. What a command means is front_commands.c.
 */
#ifndef POSTROAD_SESSION_FRONT_H
#define POSTROAD_SESSION_FRONT_H

#include "daemon/session/session.h"

/* What a command handler says. */
enum step {
	STEP_MORE, /* done, or answered later in order: the next command may be read */
	STEP_WAIT, /* not begun: verdicts before it are due. It is offered again by front_resume() */
	STEP_HOLD, /* begun: nothing more is read until it was answered */
	STEP_DONE  /* the session is over */
};

/* Starts: greets and reads. */
void front_start(struct session *s, int fd);
/* Runs one command. */
enum step front_command(struct session *s, struct str line);

/* 354 goes out, content is due. */
void front_start_body(struct session *s);
/* The content is complete: the final reply is due. */
void front_set_dot(struct session *s);
/* Octets of a chunk are due, or its reply. */
void front_start_chunk(struct session *s);
/* Back to commands. */
void front_set_command(struct session *s);

void front_pause(struct session *s);
/* Reads on; kept bytes are offered at the end of the turn. */
void front_resume(struct session *s);
/* Queues reply lines as they are. */
void front_relay(struct session *s, const char *p, size_t n);
/* Verdicts came in: reads on, and the client's idle time begins anew. */
void front_go_on(struct session *s);
/* The session must end at its edge: soon, but a QUIT that is already there gets its 221. */
void front_end_soon(struct session *s);
/* Counts an error. False: one too many, the session was closed. */
bool front_count_error(struct session *s);

#endif
