/* SPDX-License-Identifier: Apache-2.0
 * The SMTP protocol, pure: bytes in, structs out. No socket, no clock, no log, no allocation but where said.
 *
 * Sources: RFC 5321 (SMTP), 1870 (SIZE), 2034/3463 (enhanced codes), 2920 (PIPELINING), 3030 (CHUNKING), 3461 (DSN),
 * 6152 (8BITMIME), 6531 (SMTPUTF8), 9422 (LIMITS).
 */
#ifndef POSTROAD_SMTP_SMTP_H
#define POSTROAD_SMTP_SMTP_H

#include "daemon/base/str.h"

/* ---- command lines (RFC 5321 4.1.1) ---- */

enum smtp_verb {
	SMTP_UNKNOWN,
	SMTP_EHLO,
	SMTP_HELO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_VRFY,
	SMTP_HELP,
	SMTP_QUIT,
	SMTP_EXPN,
	SMTP_ETRN,
	SMTP_TURN,
	SMTP_STARTTLS,
	SMTP_AUTH,
	SMTP_BDAT,
	SMTP_XCLIENT,
	SMTP_VERB_COUNT
};

extern const char *const smtp_verb_names[SMTP_VERB_COUNT];

#define SMTP_LINE_MAX 2048 /* with CRLF: room for every extension's parameters, as Postfix's line_length_limit */

struct smtp_command {
	enum smtp_verb verb;
	struct str word; /* the verb as written */
	struct str args; /* without leading and trailing spaces */
};

enum smtp_line_status {
	SMTP_LINE_MORE,     /* no complete line yet: read more */
	SMTP_LINE_OK,       /* *ret_len bytes are one line with its CRLF */
	SMTP_LINE_BARE_LF,  /* complete, but ended by LF alone: refuse with 500, *ret_len consumed */
	SMTP_LINE_BAD_BYTE, /* complete, but holds a CR or NUL inside: refuse with 500 */
	SMTP_LINE_TOO_LONG, /* longer than max; *ret_len bytes (maybe not the whole line) are to be discarded. While no
			     * LF was seen (the last of them is none), *ret_len = n and the caller goes on discarding up
			     * to and with the next LF */
};

/* Finds the first line in p[0..n). The line handed on excludes the ending: *ret_line, set for OK, and for BARE_LF and
 * BAD_BYTE so that it can be logged. */
enum smtp_line_status smtp_line(const char *p, size_t n, size_t max, size_t *ret_len, struct str *ret_line) MUST_CHECK;
/* Splits a line into verb and arguments. Never fails: an unknown word gives SMTP_UNKNOWN. */
void smtp_command_parse(struct str line, struct smtp_command *ret);

/* ---- paths (RFC 5321 4.1.2, RFC 6531) ---- */

#define SMTP_LOCAL_MAX 255 /* RFC 5321 4.5.3.1.1 asks for 64 at least; VERP and SRS go beyond */
#define SMTP_DOMAIN_MAX 255

struct smtp_path {
	/* As written, without brackets and source route; empty for "<>". This goes to servers, between "<" and ">". */
	struct str mailbox;
	/* The same with a byte on either side: "<" and ">", but ":" and ">" where a source route was removed. */
	struct str raw;
	struct str local;  /* as written (quotes kept); empty for "<>" */
	struct str domain; /* as written, may be an address literal "[…]"; empty for "<>" and "<postmaster>" */
	bool utf8;         /* has bytes above 0x7f: legal only with SMTPUTF8 */
};

/* ---- MAIL and RCPT with their parameters ---- */

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };

struct smtp_mail {
	struct smtp_path path;
	bool has_size;
	uint64_t size;
	enum smtp_body body;
	bool smtputf8;
	struct str ret;    /* DSN, "FULL" or "HDRS", as written; .p NULL when absent */
	struct str envid;  /* DSN, xtext as written */
	struct str auth;   /* RFC 4954 AUTH=, xtext as written */
	struct str hops;   /* XHOPS=, tokens and commas as written; empty when absent */
	struct str params; /* the whole parameter text as written, for passing on */
};

struct smtp_rcpt {
	struct smtp_path path;
	struct str notify, orcpt; /* DSN, as written and checked */
	struct str params;
};

/* Our own extension, of the kind RFC 5321 2.2.1 leaves to those who agree on it: "MAIL FROM:<…> XHOPS=token,token"
 * names the balancers that a message passes before it has content to which a Received field could be added. A token is
 * 16 hexadecimal digits in lower case, made at random by each process. */
#define SMTP_HOP_TOKEN 16
#define SMTP_HOPS_MAX 8

/* Why a command was refused, ready to be sent: "501 5.1.7 …" without the session id. */
struct smtp_refusal {
	unsigned code;        /* 501, 553, 555 … */
	const char *enhanced; /* "5.5.4" */
	const char *text;     /* static */
};

/* Extensions announced to this client: parameters of others are refused with 555 5.5.4. */
enum {
	SMTP_EXT_PIPELINING = 1u << 0,
	SMTP_EXT_SIZE = 1u << 1,
	SMTP_EXT_8BITMIME = 1u << 2,
	SMTP_EXT_SMTPUTF8 = 1u << 3,
	SMTP_EXT_DSN = 1u << 4,
	SMTP_EXT_ENHANCEDSTATUSCODES = 1u << 5,
	SMTP_EXT_CHUNKING = 1u << 6,
	SMTP_EXT_STARTTLS = 1u << 7,
	SMTP_EXT_AUTH = 1u << 8,
	SMTP_EXT_XHOPS = 1u << 9, /* ours: see below */
	SMTP_EXT_COUNT = 10
};

/* Keyword of one extension bit (index 0 = PIPELINING); also the words of `capabilities.off|force`. */
extern const char *const smtp_ext_names[SMTP_EXT_COUNT];

/* Parses the arguments of MAIL ("FROM:<…> …") or RCPT ("TO:<…> …"). False = refused, *ret_why filled. Views point into
 * args. A parameter given twice is refused. BODY=BINARYMIME is refused (never announced). 553 5.6.7: an address above
 * ASCII without SMTPUTF8 on MAIL, or for RCPT without the extension; that a RCPT with path.utf8 follows a MAIL with
 * SMTPUTF8 is the caller's to check. */
bool smtp_mail_parse(struct str args, unsigned exts, struct smtp_mail *ret, struct smtp_refusal *ret_why) MUST_CHECK;
bool smtp_rcpt_parse(struct str args, unsigned exts, struct smtp_rcpt *ret, struct smtp_refusal *ret_why) MUST_CHECK;
/* How many tokens a value of XHOPS holds; 0 = malformed, or more than SMTP_HOPS_MAX. */
unsigned smtp_hops_count(struct str value);
/* A HELO/EHLO argument: a domain or an address literal, leniently (underscores are seen in the wild), without spaces,
 * control characters or bytes that would need escaping in a header. */
bool smtp_helo_valid(struct str arg);
/* The domain to compare: lower-case A-label (libidn2), without a trailing dot, into out[256]; address literals
 * lower-cased. False = not a valid domain (then compare nothing). */
bool smtp_domain_fold(struct str domain, char out[SMTP_DOMAIN_MAX + 1]) MUST_CHECK;

/* ---- replies (RFC 5321 4.2) ---- */

#define SMTP_REPLY_LINES_MAX 64
#define SMTP_REPLY_BYTES_MAX 8192

struct smtp_reply {
	unsigned code; /* 200..599 */
	unsigned lines;
	struct str text;      /* the lines as received with our CRLF, codes included: ready to be re-emitted */
	struct str last;      /* text of the last line behind the code and the space */
	unsigned enhanced[3]; /* class, subject, detail of the last line; class 0 = none */
};

enum smtp_parse { SMTP_PARSE_MORE, SMTP_PARSE_OK, SMTP_PARSE_BAD };

/* Parses one whole reply at p. OK: *ret_len bytes consumed. MORE: the reply is incomplete and within the limits. BAD:
 * not a reply (bad code, inconsistent codes, bare CR or LF, control characters, too long); *ret_why says what, static
 * text. A reply whose code has no space behind it ("250\r\n") is legal. Views point into p. */
enum smtp_parse smtp_reply_parse(const char *p, size_t n, struct smtp_reply *ret, size_t *ret_len,
				 const char **ret_why) MUST_CHECK;

static inline bool smtp_reply_is(const struct smtp_reply *r, unsigned class)
{
	return r->code / 100 == class;
}
/* The longest line of a reply, with CRLF (RFC 5321 4.5.3.1.5). Servers send longer ones and we read them, but a client
 * need not. */
#define SMTP_REPLY_LINE_MAX 512
/* A line of the text of a parsed reply is longer. */
bool smtp_reply_is_long(struct str reply) MUST_CHECK;
/* Appends the text of a parsed reply, lines that are longer cut into several: at a space where there is one, with the
 * code and the enhanced code on each. */
void smtp_reply_fold(struct str reply, struct sbuf *out);
/* 421, or 4xx with enhanced code 4.3.x: the server says it is the one in trouble (not the client). */
bool smtp_reply_is_server_trouble(const struct smtp_reply *r);

/* ---- EHLO replies ---- */

/* Attributes of XCLIENT and XFORWARD (Postfix XCLIENT_README, XFORWARD_README); the commands are in xclient.h. */
enum {
	SMTP_XATTR_NAME = 1u << 0,
	SMTP_XATTR_ADDR = 1u << 1,
	SMTP_XATTR_PORT = 1u << 2,
	SMTP_XATTR_PROTO = 1u << 3,
	SMTP_XATTR_HELO = 1u << 4,
	SMTP_XATTR_LOGIN = 1u << 5,
	SMTP_XATTR_DESTADDR = 1u << 6,
	SMTP_XATTR_DESTPORT = 1u << 7,
	SMTP_XATTR_SOURCE = 1u << 8,
	SMTP_XATTR_IDENT = 1u << 9,
	SMTP_XATTR_COUNT = 10,
	SMTP_XATTR_OFFERED = 1u << 30, /* the keyword was there, with whatever attributes */
};

#define SMTP_XATTR_BASIC (SMTP_XATTR_NAME | SMTP_XATTR_ADDR | SMTP_XATTR_PORT | SMTP_XATTR_PROTO | SMTP_XATTR_HELO)
#define SMTP_XCLIENT_ATTRS (SMTP_XATTR_BASIC | SMTP_XATTR_LOGIN | SMTP_XATTR_DESTADDR | SMTP_XATTR_DESTPORT)
#define SMTP_XFORWARD_ATTRS (SMTP_XATTR_BASIC | SMTP_XATTR_SOURCE | SMTP_XATTR_IDENT)

/* Name of one attribute bit (index 0 = NAME); also the words of a pool's `identity.xclient`. */
extern const char *const smtp_xattr_names[SMTP_XATTR_COUNT];

/* SASL mechanisms of the AUTH keyword (RFC 4954 3). */
enum {
	SMTP_AUTH_PLAIN = 1u << 0,
	SMTP_AUTH_LOGIN = 1u << 1,
	SMTP_AUTH_SCRAM_SHA_256 = 1u << 2,
	SMTP_AUTH_SCRAM_SHA_256_PLUS = 1u << 3,
	SMTP_AUTH_OAUTHBEARER = 1u << 4,
	SMTP_AUTH_XOAUTH2 = 1u << 5,
	SMTP_AUTH_COUNT = 6
};

extern const char *const smtp_auth_names[SMTP_AUTH_COUNT]; /* index 0 = PLAIN */

/* Limits of one session (RFC 9422 4); 0 = not limited. */
struct smtp_limits {
	unsigned rcpt_max;        /* recipients of one transaction, the refused ones included */
	unsigned mail_max;        /* transactions of one session */
	unsigned rcpt_domain_max; /* different recipient domains of one session */
};

#define SMTP_LIMIT_MAX 999999u /* six digits at most on the wire */
#define SMTP_LIMITS_MAX 64     /* the longest value, with its NUL */

struct smtp_ehlo {
	unsigned exts;         /* SMTP_EXT_* */
	uint64_t size;         /* SIZE value, 0 = no limit or none given */
	unsigned xclient;      /* SMTP_XATTR_* of XCLIENT; 0 = not offered */
	unsigned xforward;     /* of XFORWARD likewise */
	unsigned auth;         /* SMTP_AUTH_*; may be 0 though SMTP_EXT_AUTH is in exts: none that is known here */
	struct str auth_names; /* the words of the first AUTH line, with those unknown here; a view of the reply */
	bool requiretls;       /* REQUIRETLS (RFC 8689) */
	bool has_limits;       /* the LIMITS keyword was there */
	struct smtp_limits limits;
	struct str hostname; /* first word of the first line */
};

/* Reads the capabilities from a parsed 250 reply to EHLO (unknown keywords are skipped, case ignored). */
void smtp_ehlo_parse(const struct smtp_reply *r, struct smtp_ehlo *ret);

/* ---- LIMITS (RFC 9422) ---- */

/* Reads the value of a LIMITS keyword into *io, a limit already there being kept where it is smaller. Unknown names and
 * malformed values are skipped, as RFC 9422 asks of clients. */
void smtp_limits_read(struct str value, struct smtp_limits *io);
/* The line to announce, "LIMITS RCPTMAX=1000 MAILMAX=100", into out; its length, 0 (and an empty string) when there is
 * nothing to say. A limit above SMTP_LIMIT_MAX cannot be said and is left out. What is announced has to be kept to:
 * recipient rcpt_max + 1 gets 452 4.5.3; behind transaction mail_max the session is over (421). */
size_t smtp_limits_write(const struct smtp_limits *l, char out[SMTP_LIMITS_MAX]);

/* ---- content: the end of data and canonical lines (RFC 5321 4.1.1.4, 4.5.2; RFC 3030) ---- */

/* How content comes, or leaves: behind DATA it is dot-stuffed and ends at CRLF . CRLF, behind BDAT it is neither. */
enum smtp_by { SMTP_BY_DATA, SMTP_BY_BDAT };

/* Scans what a client sends after 354, or in its chunks, in pieces of any size, and makes canonical lines of it for a
 * server's DATA or BDAT. From DATA, only CRLF . CRLF ends it, and that ".\r\n" is not part of the output. From BDAT,
 * chunks are the client's accident: they are fed one behind the other, a CR and an LF on either side of a boundary are
 * one CRLF, CRLF . CRLF is content, and smtp_eod_finish() says the end.
 *
 * A bare CR or bare LF becomes CRLF (normalize), or is noted and nothing comes out from there on (reject). A NUL is
 * noted and passes. Towards DATA what comes out is dot-stuffed: what the client stuffed stays, what became or always
 * was a dot at a line start of content is stuffed. Towards BDAT it is the content itself.
 *
 * What comes out never holds a bare CR or a bare LF, and towards DATA never CRLF . CRLF. The first byte is at the start
 * of a line: the CRLF of DATA itself counts (RFC 5321 4.1.1.4).
 *
 * Invariant (property test): the output and verdict are the same for every way of splitting the same input; `content`
 * and the verdict are the same towards DATA and BDAT. */
struct smtp_eod {
	uint8_t state;    /* private: where in a line ending of the input the scanner stands */
	uint8_t from, to; /* enum smtp_by */
	bool normalize;
	bool saw_bare_cr, saw_bare_lf, saw_nul;
	bool done;        /* CRLF . CRLF was seen, or smtp_eod_finish() was called; stays true */
	uint64_t content; /* message bytes so far: what leaves (or would), less stuffed dots, the last CRLF included */
};

/* From DATA to DATA. */
void smtp_eod_init(struct smtp_eod *e, bool normalize);
void smtp_eod_init_pair(struct smtp_eod *e, bool normalize, enum smtp_by from, enum smtp_by to);

/* One piece of output: either a view into the input or static bytes (an inserted CR, LF or dot). */
typedef void smtp_eod_out_fn(const char *p, size_t n, void *arg);

/* Consumes p[0..n) up to the end of data; returns how many bytes were consumed (less than n only when done). `out` is
 * called for the canonical bytes, in order, with as few and long pieces as possible: clean input comes out in one piece
 * per call, but for bytes held back at the end of a call while they may turn out differently: a lone CR, and "." or
 * ".\r" at a line start (emitted later as static bytes). CRLF at the end of a call is not held back. Consumes nothing
 * once done. From BDAT all of p[0..n) is consumed, and it is the caller's to feed no more than the chunk's octets. A
 * sender of BDAT gathers pieces to chunks of any size it likes, for a chunk may end anywhere. */
size_t smtp_eod_feed(struct smtp_eod *e, const char *p, size_t n, smtp_eod_out_fn *out, void *arg) MUST_CHECK;

/* From BDAT only: the last octet of the chunk with LAST was fed. Emits what is held back; a last line that does not end
 * in CRLF gets one, in either setting: neither a server's DATA nor the lines of a message can do without (an empty
 * message stays empty). A CR at the very end is a bare CR. Harmless once done. */
void smtp_eod_finish(struct smtp_eod *e, smtp_eod_out_fn *out, void *arg);

/* ---- header section ---- */

/* Counts "Received:" fields in the header of a message fed in pieces, for loop detection (RFC 5321 6.3). Stops looking
 * at the first empty line. Zero-initialise. */
struct smtp_hops {
	uint8_t state; /* private */
	uint8_t matched;
	unsigned count;
};
void smtp_hops_feed(struct smtp_hops *h, const char *p, size_t n);

/* ---- xtext (RFC 3461 4) ---- */

/* Appends the encoding of s to out. */
void smtp_xtext_encode(struct sbuf *out, struct str s);
bool smtp_xtext_valid(struct str s);
/* Decodes s into out[0..max), without a NUL behind it. False = malformed, or longer than max. The bytes can be any: to
 * be judged before they are used. Hexadecimal digits in lower case, which RFC 3461 does not have, are taken too. */
bool smtp_xtext_decode(struct str s, char *out, size_t max, size_t *ret_len) MUST_CHECK;

#endif
