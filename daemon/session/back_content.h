/* SPDX-License-Identifier: Apache-2.0
 * Content towards a server: by DATA as it comes, or by BDAT (RFC 3030) in chunks of our own.
 *
 * Content is put in one form, canonical and dot-stuffed as DATA has it, whatever the client used and whatever this
 * server gets: so the same bytes go to another server that differs in CHUNKING, cut wherever the first was lost.
 */
#ifndef POSTROAD_SESSION_BACK_CONTENT_H
#define POSTROAD_SESSION_BACK_CONTENT_H

#include "daemon/session/back.h"

/* Sends DATA: content may be put behind its 354. */
void back_content_ask(struct back *b);
/* Content goes by BDAT: it may be put at once. Nothing may be due. */
void back_content_chunked(struct back *b);
/* The next piece of the content. Behind BDAT it is gathered, and leaves by back_content_push() or the end. */
void back_content_put(struct back *b, const char *p, size_t n);
/* Nothing more for now: sends what was gathered, if it is worth a chunk and one may be sent. */
void back_content_push(struct back *b);
/* More may be put. False: too much waits; the stream's on_drained or the reply to a chunk (DUE_CHUNK) comes. */
bool back_content_takes(struct back *b) MUST_CHECK;
/* The end may be given. False: chunks wait for their replies. LAST never goes out behind one of them, so that a chunk
 * that is refused was refused before the commit point. */
bool back_content_may_end(const struct back *b);
/* The one end of content: the final dot, or the rest as the chunk with LAST. DUE_DOT is due from here on. */
void back_content_end(struct back *b);

#endif
