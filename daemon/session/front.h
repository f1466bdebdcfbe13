/* SPDX-License-Identifier: Apache-2.0
 * The leg on which we are the server: lines in, replies out, deadlines. What a command means is front_commands.c.
 */
#ifndef POSTROAD_SESSION_FRONT_H
#define POSTROAD_SESSION_FRONT_H

#include "daemon/net/stream_tls.h"
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
/* Says 220, at once or after the listener's delay. */
void front_greet(struct session *s);
/* Starts the handshake. False: the client has said something that it should have said under TLS; nothing was started.
 */
bool front_start_tls(struct session *s, enum stream_tls_when when) MUST_CHECK;
/* The handshake is complete: what was said before is forgotten (RFC 3207 4.2). */
void front_on_tls(struct session *s);
/* Frees what is known of the client's certificate. */
void front_forget_certificate(struct session *s);
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
/* A line of an AUTH exchange is due; the exchange waits for a verdict or a delay. */
void front_set_auth(struct session *s);
void front_set_auth_wait(struct session *s);
/* Refuses a command, counted as an error and under the reason. */
enum step front_refuse(struct session *s, enum reject_reason why, unsigned code, const char *enhanced,
		       const char *text);
/* Queues a reply of which a trace shows something else. */
void front_relay_secret(struct session *s, const char *shown, const char *p, size_t n);
/* Queues reply lines as they are. */
void front_relay(struct session *s, const char *p, size_t n);
/* Verdicts came in: reads on, and the client's idle time begins anew. */
void front_go_on(struct session *s);
/* The session must end at its edge: soon, but a QUIT that is already there gets its 221. */
void front_end_soon(struct session *s);
/* Counts an error. False: one too many, the session was closed. */
bool front_count_error(struct session *s);

#endif
