/* SPDX-License-Identifier: Apache-2.0
 * XCLIENT and XFORWARD: who the client is, said between servers that trust each other.
 *
 * Sources: Postfix's XCLIENT_README and XFORWARD_README. XCLIENT makes the server take the connection for the client's,
 * rights included; XFORWARD is for its log. Attribute bits are SMTP_XATTR_* of smtp.h.
 */
#ifndef POSTROAD_SMTP_XCLIENT_H
#define POSTROAD_SMTP_XCLIENT_H

#include "daemon/base/addr.h"
#include "daemon/smtp/smtp.h"

#define XCLIENT_VALUE_MAX 255 /* decoded (XCLIENT_README note 1) */
#define XCLIENT_LINE_MAX 512  /* a command with its CRLF (RFC 5321 4.5.3.1.4) */
#define XCLIENT_KEYWORD_MAX 80

/* ---- we are the server ---- */

/* What a trusted peer said so far in this session; zero-initialise. An attribute is in one of `given` and
 * `unavailable`, or in neither: then nobody spoke of it and what the connection shows counts. */
struct xclient {
	unsigned given;       /* has a value */
	unsigned unavailable; /* said to be [UNAVAILABLE] or [TEMPUNAVAIL]: not known, and not what the connection shows
			       */
	unsigned tempunavail; /* of these the [TEMPUNAVAIL] */
	struct addr addr;     /* family 0 unless given; without a port; IPv4 in IPv6 clothes is made IPv4 */
	struct addr destaddr; /* likewise */
	unsigned port, destport;
	bool esmtp; /* PROTO */
	/* NUL-terminated, checked, and safe in a command, a header and the log; empty unless given. */
	char name[XCLIENT_VALUE_MAX + 1];  /* letters, digits, hyphen, underscore, dot */
	char helo[XCLIENT_VALUE_MAX + 1];  /* as smtp_helo_valid() */
	char login[XCLIENT_VALUE_MAX + 1]; /* UTF-8 without control characters and spaces */
};

/* Reads the arguments of XCLIENT into *io, over what earlier commands said: attributes that are not named keep their
 * value. `announced` are the attributes this client was told of; others are unknown. Names and the words in brackets
 * may be in either case. False = refused with 501, *ret_why filled and *io untouched: an unknown or repeated attribute,
 * a malformed value, none at all. Behind success the session is at its greeting again (220, or the reply a connection
 * of that client would have met), and what HELO, MAIL, RCPT and AUTH said is forgotten; TLS stays, and what LOGIN said.
 * Where another ADDR is named than before, that is another client, and the caller begins with an empty *io. Refusing it
 * in a transaction (503) and from strangers (550) is the caller's. */
bool xclient_parse(struct str args, unsigned announced, struct xclient *io, struct smtp_refusal *ret_why) MUST_CHECK;

/* The ends of the client's connection as *x has them, over *real_src and *real_dst. An end whose address is unavailable
 * gets family 0: it is in no network. */
void xclient_ends(const struct xclient *x, struct addr *io_src, struct addr *io_dst);

/* The line of the EHLO reply, "XCLIENT NAME ADDR …", for the attributes of `attrs` that XCLIENT has; its length. */
size_t xclient_announce(unsigned attrs, char out[XCLIENT_KEYWORD_MAX]);

/* ---- we are the client ---- */

/* The client of a session, as told to a server. Texts are as they came from the network: everything is escaped here. */
struct xclient_client {
	struct addr src, dst; /* with ports; family 0 = not known */
	struct str name;      /* from DNS; empty = it has none. What is no host name is told as [UNAVAILABLE] */
	bool name_tempfail;   /* DNS did not answer: [TEMPUNAVAIL] */
	struct str helo;      /* empty = not yet said */
	struct str login;     /* user name; empty = not logged in, and LOGIN is not sent */
	struct str ident;     /* XFORWARD: our id of the transaction; empty = IDENT is not sent */
	bool esmtp;           /* EHLO rather than HELO */
	bool local;           /* XFORWARD SOURCE=LOCAL: the message began on this host */
};

/* Appends the commands that tell a server about *c to out, a line each with its CRLF, none longer than
 * XCLIENT_LINE_MAX, and returns how many there are (smtp_line() takes them apart). `attrs` are those to be sent,
 * already cut down to what the server offered in its latest EHLO (smtp_ehlo.xclient or .xforward); none left = 0
 * commands.
 *
 * NAME and ADDR are in the last command, together: once a server has them, we may be nobody it takes XCLIENT from.
 * XCLIENT goes in lock-step, each command answered with 220 before the next, and EHLO again behind the last: what was
 * offered before is forgotten. XFORWARD may be pipelined where offered (250 each) and holds for one transaction. A
 * value that no line can hold is told as [UNAVAILABLE], and never cut; LOGIN is left out then, so that the server knows
 * of no user.
 *
 * A Postfix without IPv6 (`inet_protocols = ipv4`) answers 501 to an IPv6 ADDR, with the words before it maybe obeyed:
 * do not go on with that connection. */
unsigned xclient_commands(struct sbuf *out, unsigned attrs, const struct xclient_client *c);
unsigned xforward_commands(struct sbuf *out, unsigned attrs, const struct xclient_client *c);

#endif
