/* SPDX-License-Identifier: Apache-2.0
 * BDAT (RFC 3030): its arguments, and which chunk is content, which is dropped, and what it is answered. Pure.
 *
 * What the octets of a chunk become on their way is smtp_eod_feed() in smtp.h.
 */
#ifndef POSTROAD_SMTP_BDAT_H
#define POSTROAD_SMTP_BDAT_H

#include "daemon/smtp/smtp.h"

/* ---- the command ---- */

struct smtp_bdat {
	uint64_t size; /* octets that follow the command's CRLF */
	bool last;
};

enum smtp_bdat_parse {
	SMTP_BDAT_OK,
	SMTP_BDAT_BAD, /* there is a size and what follows it is not LAST: 501, but that many octets come and are not
			* commands */
	SMTP_BDAT_LOST /* no size, or none that fits 64 bits: where the next command begins is unknown; 501 and close */
};

/* Parses the arguments of BDAT, "SIZE [LAST]" (RFC 3030 2), case ignored. *ret is filled for OK and BAD. */
enum smtp_bdat_parse smtp_bdat_parse(struct str args, struct smtp_bdat *ret) MUST_CHECK;

/* ---- the chunks of a transaction ---- */

/* Where in a transaction a BDAT comes: what only its receiver knows. */
enum smtp_chunk_place {
	SMTP_CHUNK_NO_MAIL,  /* outside a transaction */
	SMTP_CHUNK_NO_RCPT,  /* no RCPT was given */
	SMTP_CHUNK_NOBODY,   /* all RCPT were refused */
	SMTP_CHUNK_IN_PLACE, /* somebody was accepted */
};

enum smtp_chunk_step {
	SMTP_CHUNK_TAKE, /* its octets are content */
	SMTP_CHUNK_DROP, /* its octets are consumed and dropped, then `why` is the reply */
	SMTP_CHUNK_CLOSE /* `why` is the reply, at once; then the connection must be closed */
};

/* The reply that a chunk gets once its octets are consumed: one each, in order. */
enum smtp_chunk_reply {
	SMTP_CHUNK_REPLY_OK,    /* 250: more chunks may come. It promises nothing: the receiver's own, or a server's */
	SMTP_CHUNK_REPLY_FINAL, /* the message is complete: the reply is the server's verdict on it */
	SMTP_CHUNK_REPLY_WHY    /* refused: `why` */
};

/* Zero-initialise. A session has one; it outlives transactions, for chunks of one that failed may still come. */
struct smtp_chunks {
	uint64_t left; /* octets of the present chunk that are still to be consumed: none of them is a command */
	bool open;     /* there is a present chunk: its reply is due */
	bool last;     /* it is the last */
	bool any;      /* this transaction had a BDAT: MAIL, RCPT and DATA are out of sequence (RFC 3030 2) */
	bool refused;  /* a chunk was refused: so is each one that follows, or the rest would pass for the message */
	struct smtp_refusal why; /* of the present chunk; code 0 = its octets are content */
};

/* A new transaction: call it at MAIL, RSET, EHLO and HELO, once they were accepted. No chunk may be open. */
void smtp_chunks_reset(struct smtp_chunks *c);

/* A BDAT command came with these arguments. No chunk may be open. Behind TAKE and DROP, even with a size of 0, the
 * chunk is open until smtp_chunks_end(). */
enum smtp_chunk_step smtp_chunks_begin(struct smtp_chunks *c, struct str args, enum smtp_chunk_place place) MUST_CHECK;

/* Of n bytes at hand, how many belong to the present chunk; they count as consumed. */
size_t smtp_chunks_take(struct smtp_chunks *c, size_t n) MUST_CHECK;

/* All octets of the present chunk were consumed: smtp_chunks_end() is due. */
static inline bool smtp_chunks_complete(const struct smtp_chunks *c)
{
	return c->open && c->left == 0;
}

/* The message cannot succeed any more (too big, a NUL, lost servers, a server's refusal): what is left of the present
 * chunk is dropped, `why` is its reply, and later chunks are refused. Only the first call for a chunk counts, so a
 * chunk that was refused already keeps its reason. Between chunks only the latter holds. `why` has static text. */
void smtp_chunks_fail(struct smtp_chunks *c, const struct smtp_refusal *why);

/* Ends the present chunk, which must be complete, and says what to reply to it. Behind FINAL every other chunk is
 * refused until smtp_chunks_reset(). */
enum smtp_chunk_reply smtp_chunks_end(struct smtp_chunks *c) MUST_CHECK;

#endif
