/* SPDX-License-Identifier: Apache-2.0
 * The PROXY protocol, versions 1 and 2: whose connection this is, said in front of everything else.
 *
 * Source: W. Tarreau, "The PROXY protocol, versions 1 & 2" (proxy-protocol.txt of HAProxy), section numbers below.
 * A header is believed because of who sends it: parse only what a listed network sent, and there refuse what is none.
 */
#ifndef POSTROAD_SMTP_PROXY_H
#define POSTROAD_SMTP_PROXY_H

#include "daemon/base/addr.h"
#include "daemon/smtp/smtp.h"

#define PROXY_V1_MAX 107        /* the line with its CRLF (2.1) */
#define PROXY_RECEIVE_MAX 4096  /* a version 2 header with its TLVs; a longer one is refused */
#define PROXY_SEND_MAX 536      /* what fits the smallest segment TCP has to carry (2) */
#define PROXY_UNIQUE_ID_MAX 128 /* 2.2.5 */

/* What a header says about the connection's ends. */
enum proxy_kind {
	PROXY_UNKNOWN, /* relayed, but between whom is not said: v1 UNKNOWN, v2 UNSPEC, datagrams */
	PROXY_LOCAL,   /* the proxy's own connection, a health check (v2 only): its ends are the real ones */
	PROXY_TCP,     /* src and dst are the client's connection */
	PROXY_UNIX,    /* relayed from a Unix socket (v2 only): no addresses that networks could match */
};

/* Client flags of PROXY_SSL (2.2.6). */
enum {
	PROXY_SSL_TLS = 1u << 0,       /* the client spoke TLS */
	PROXY_SSL_CERT_CONN = 1u << 1, /* it showed a certificate on this connection */
	PROXY_SSL_CERT_SESS = 1u << 2, /* or on an earlier one of this TLS session */
};

struct proxy_ssl {
	bool given;
	uint8_t client;     /* PROXY_SSL_* */
	uint32_t verify;    /* 0 = the certificate is good; some senders say 0 without one: proxy_ssl_verified() */
	struct str version; /* "TLSv1.3" */
	struct str cn;      /* of the client certificate's subject */
	struct str cipher;  /* "TLS_AES_256_GCM_SHA384" */
	struct str sig_alg; /* of the certificate presented by the proxy's front end */
	struct str key_alg; /* likewise */
};

/* The client proved to the proxy that the certificate with this cn is its own. */
static inline bool proxy_ssl_verified(const struct proxy_ssl *ssl)
{
	return ssl->given && ssl->verify == 0 && (ssl->client & (PROXY_SSL_CERT_CONN | PROXY_SSL_CERT_SESS)) != 0;
}

/* One header: what was received, or what is to be sent. Texts are absent when n is 0. The sender vouches for having
 * seen them, not for what they hold: a client chose authority and alpn, and perhaps cn. Any byte can be in them. */
struct proxy_header {
	unsigned version; /* 1 or 2 */
	enum proxy_kind kind;
	struct addr src, dst; /* for PROXY_TCP; IPv4 in IPv6 clothes (::ffff:a.b.c.d) is made IPv4 */
	struct str alpn;
	struct str authority; /* the name asked for by SNI */
	struct str unique_id; /* for the logs of both sides */
	struct str netns;
	struct proxy_ssl ssl;
	bool crc; /* received: there was a checksum, and it is right. To be sent: add one */
};

/* Parses the header at p[0..n). OK: *ret_len bytes are the header and nothing behind it. MORE: no header is complete
 * yet, and one may still come of it. BAD: *ret_why says why, static text; close the connection without a word
 * (2.1, 2.2). Views point into p. What a longer p would yield, a shorter one never contradicts.
 *
 * For any kind but PROXY_TCP src and dst have family 0 and the real addresses of the connection count. LOCAL must be
 * accepted; whether PROXY_UNKNOWN and PROXY_UNIX may send mail is the caller's policy (2.2 allows either): their peer
 * is the proxy, so a network in `allow` says nothing about the client. */
enum smtp_parse proxy_parse(const char *p, size_t n, struct proxy_header *ret, size_t *ret_len,
			    const char **ret_why) MUST_CHECK;

/* Writes the header of h->version and returns its length, never 0. To be sent before anything else and at once (2.2).
 *
 * Two families: the IPv4 end is written as ::ffff:a.b.c.d, as neither end may be lost to the receiver's access rules.
 * An end of family 0 makes the whole PROXY_UNKNOWN, which receivers may refuse (2.2; in version 2 HAProxy and Postfix
 * do). Version 1 has no LOCAL: with src and dst set (then the real ends of the check's connection, 2.1) they are
 * written, else UNKNOWN; nor has it TLVs, or Unix sockets, which become UNKNOWN in version 2 too. A TLV that would
 * make the header longer than PROXY_SEND_MAX, or is itself too long, is left out whole, never cut: half a name is
 * another name. verify is never written as 0 where no certificate was shown. Room is given in the order checksum,
 * unique_id, ssl with its flags, version, cipher and cn, authority, alpn, netns. */
size_t proxy_encode(const struct proxy_header *h, char out[PROXY_SEND_MAX]);

#endif
