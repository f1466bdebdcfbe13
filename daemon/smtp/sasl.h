/* SPDX-License-Identifier: Apache-2.0
 * Authentication, pure: the server's and the client's side of SASL mechanisms in SMTP.
 *
 * Sources: RFC 4954 (AUTH), 4616 (PLAIN), 5802 and 7677 (SCRAM-SHA-256), 5929 and 9266 (channel bindings); LOGIN is
 * as its clients speak it.
 */
#ifndef POSTROAD_SMTP_SASL_H
#define POSTROAD_SMTP_SASL_H

#include "daemon/base/password.h"
#include "daemon/base/scram_verifier.h"
#include "daemon/smtp/smtp.h"

enum sasl_mechanism { SASL_PLAIN, SASL_LOGIN, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256_PLUS, SASL_MECHANISM_COUNT };

/* As they are announced. */
extern const char *const sasl_mechanism_names[SASL_MECHANISM_COUNT];
/* By name, case ignored. False = no such mechanism (504 5.5.4). */
bool sasl_mechanism_find(struct str name, enum sasl_mechanism *ret) MUST_CHECK;
/* A list of names as in "AUTH PLAIN LOGIN" of a server's EHLO reply: a bit (1 << mechanism) for each that is known. */
unsigned sasl_mechanism_set(struct str names);

/* The arguments of AUTH: mechanism and initial response; the latter's p is NULL where there is none. False = malformed
 * (501 5.5.4). */
bool sasl_auth_parse(struct str args, struct str *ret_name, struct str *ret_initial) MUST_CHECK;

/* ---- passing by ---- */

#define SASL_USER_MAX 255 /* bytes (RFC 4616 2) */

/* The name in the first response of an exchange (base64), where the mechanism shows it: PLAIN, LOGIN, SCRAM-…,
 * OAUTHBEARER, XOAUTH2. As the client wrote it: nobody has verified it yet. False = none that is whole, out is "". */
bool sasl_name(struct str mechanism, struct str response, char out[SASL_USER_MAX + 1]);

#define SASL_PASS_CHALLENGES_MAX 16 /* of one exchange: no mechanism needs half as many */

/* One exchange between a client and a server, seen from between them. */
struct sasl_pass {
	const char *mechanism;        /* the caller's, as long as the exchange lives */
	char user[SASL_USER_MAX + 1]; /* as sasl_name(); "" = not known, or it cannot be told which name counted */
	/* private */
	bool name_due; /* the next response shows the name */
	bool shown;    /* the client has said what could be right or wrong */
	bool cancels;  /* its newest response is "*" */
	unsigned n_secrets, n_challenges;
};

enum sasl_pass_step {
	SASL_PASS_CHALLENGE, /* for the client, as it is */
	SASL_PASS_DONE,      /* sasl_pass.user has logged in */
	SASL_PASS_REFUSED,   /* a failed login, also where the client cancels after it has shown what it had */
	SASL_PASS_CANCELLED, /* by the client, which had shown nothing */
	SASL_PASS_BUSY,      /* the server cannot tell now */
	SASL_PASS_BROKEN,    /* a reply that makes no sense here */
};

/* initial: with the command, p NULL = none. */
void sasl_pass_init(struct sasl_pass *p, const char *mechanism, struct str initial);
/* The client's line, without its end. */
void sasl_pass_response(struct sasl_pass *p, struct str line);
/* The server's answer to the command or to a response. */
enum sasl_pass_step sasl_pass_reply(struct sasl_pass *p, const struct smtp_reply *r) MUST_CHECK;

/* A prompt of LOGIN, in base64, that asks for the user: its text begins with "user", case ignored. */
bool sasl_asks_for_user(struct str prompt);

/* ---- the server's side ---- */

#define SASL_LINE_MAX 12288   /* a line of a client, with CRLF (RFC 4954 4); longer: 500 5.5.6 */
#define SASL_MESSAGE_MAX 2048 /* a client's message, decoded; a longer one is malformed */
#define SASL_NONCE_MAX 128    /* of ours */
#define SASL_BINDING_MAX 64
#define SASL_CHALLENGE_MAX 1024 /* in base64, with NUL */

/* What a mechanism needs to know. All is copied; PLAIN and LOGIN need nothing but `mechanism`. */
struct sasl_setup {
	enum sasl_mechanism mechanism;
	/* SCRAM-SHA-256-PLUS was announced in this session: a client that says it could, but that we could not, was
	 * lied to on the way (RFC 5802 6). */
	bool plus_announced;
	struct str nonce; /* fresh and random; printable ASCII without ',', 1 to SASL_NONCE_MAX; at least 18 bytes in
			   * base64 */
	/* Channel bindings of the TLS connection, empty = there is none: RFC 9266, RFC 5929 4. At most SASL_BINDING_MAX
	 * bytes. */
	struct str tls_exporter, tls_server_end_point;
	/* From which users that do not exist get a salt that is always the same. Must outlive the process, or a restart
	 * tells them from others; alike on all nodes for the same reason. */
	struct str unknown_key;
};

enum sasl_step {
	SASL_CHALLENGE,       /* send "334 " sasl_challenge(), give the next line to sasl_step() */
	SASL_VERIFY_PASSWORD, /* check sasl_user() and sasl_password(), then call sasl_password_verified() */
	SASL_FIND_VERIFIER,   /* look up sasl_user(), then call sasl_verifier_found() */
	SASL_DONE,            /* it is sasl_user(): 235 2.7.0 */
	SASL_MALFORMED,       /* over: 501 5.5.2 */
	SASL_CANCELLED,       /* over, the client said "*": 501 5.7.0 (RFC 4954 4) */
	SASL_REFUSED,         /* over: bad credentials, 535 5.7.8 */
	SASL_STEP_COUNT
};

/* One exchange. Holds secrets; sasl_free() wipes them. */
struct sasl;
struct sasl *sasl_new(const struct sasl_setup *setup);
void sasl_free(struct sasl *s);

/* The first step. `initial` as sasl_auth_parse() gave it ("=" is an empty response, RFC 4954 4). */
enum sasl_step sasl_start(struct sasl *s, struct str initial) MUST_CHECK;
/* The client's answer to a challenge: its line without CRLF. */
enum sasl_step sasl_step(struct sasl *s, struct str line) MUST_CHECK;
/* The answer to SASL_VERIFY_PASSWORD; wipes the password. */
enum sasl_step sasl_password_verified(struct sasl *s, bool is_good) MUST_CHECK;
/* Before sasl_verifier_found(): what a user of that name who does not exist has, alike each time. Without it, what is
 * made here has (SCRAM_ITERATIONS_DEFAULT, SCRAM_SALT_LEN). salt_len is at most SCRAM_SALT_MAX. */
void sasl_look_like(struct sasl *s, unsigned iterations, size_t salt_len);
/* The answer to SASL_FIND_VERIFIER. NULL = no such user, or one without a verifier: the exchange goes on and fails
 * where a wrong password would. */
enum sasl_step sasl_verifier_found(struct sasl *s, const struct scram_verifier *v) MUST_CHECK;

/* Valid until the next step. Base64, may be empty; NUL-terminated. */
const char *sasl_challenge(const struct sasl *s);
/* As the client wrote it, "" before it did; UTF-8 without control characters. NUL-terminated. */
const char *sasl_user(const struct sasl *s);
/* NUL-terminated; only between SASL_VERIFY_PASSWORD and its answer. A secret: never into a log. */
const char *sasl_password(const struct sasl *s);
enum sasl_mechanism sasl_mechanism(const struct sasl *s);
/* The reply to an exchange that is over without success. */
void sasl_refusal(enum sasl_step step, struct smtp_refusal *ret);

/* ---- the client's side ---- */

enum sasl_client_step {
	SASL_CLIENT_SEND,    /* send what was appended, wait for the next reply */
	SASL_CLIENT_DONE,    /* 2xx: we are known */
	SASL_CLIENT_LATER,   /* 4xx: the server cannot tell now */
	SASL_CLIENT_REFUSED, /* 5xx: it does not want these credentials, or not this mechanism */
	SASL_CLIENT_BROKEN,  /* an answer that makes no sense here */
};

/* PLAIN or LOGIN towards a server. The views must live as long as the exchange. */
struct sasl_client {
	enum sasl_mechanism mechanism;
	struct str user, password; /* 1 to 255 bytes, no NUL */
	uint8_t sent;              /* private */
};

void sasl_client_init(struct sasl_client *c, enum sasl_mechanism mechanism, struct str user, struct str password);
/* Appends "AUTH … CRLF", with an initial response where the line stays within 512 bytes (RFC 4954 4). What is appended
 * here and below is a secret: out's memory must be wiped after use. */
void sasl_client_start(struct sasl_client *c, struct sbuf *out);
/* Judges the server's reply and appends the next line where one is due. */
enum sasl_client_step sasl_client_reply(struct sasl_client *c, const struct smtp_reply *r, struct sbuf *out) MUST_CHECK;

#endif
