/* SPDX-License-Identifier: Apache-2.0
 * TLS on a stream: starting it, and what the handshake found out.
 *
 * From the start on the stream is as before, its bytes protected: on_data() gets what the peer meant, stream_put()
 * gathers a turn's bytes into one record where they fit. stream_queued() then counts bytes of the wire. on_tls() tells
 * that the handshake is complete; what is written before waits for it. There is no deadline here: the owner's timer
 * closes a peer that does not finish. A handshake that fails is on_gone(), with the errno of the connection or EPROTO,
 * and stream_tls_error() says why. stream_close() and stream_shutdown() say close_notify; an end without one is an end:
 * SMTP has ends of its own.
 */
#ifndef POSTROAD_NET_STREAM_TLS_H
#define POSTROAD_NET_STREAM_TLS_H

#include "daemon/net/stream.h"
#include "daemon/net/tls.h"

struct ssl_st; /* OpenSSL's SSL */

enum stream_tls_when {
	/* The connection begins with TLS; what has come and was not used is the handshake's beginning. */
	STREAM_TLS_IMPLICIT,
	/* Both sides have agreed in plaintext (RFC 3207). Anything of the peer's that is there already was not said
	 * under TLS and must not be taken for it (CVE-2011-0411, CVE-2026-1642). */
	STREAM_TLS_STARTTLS,
};

/* Starts TLS on an open, connected stream; references to the context are taken. What was written before goes out
 * before, in plaintext: the server queues its 220 and starts. False, and nothing has changed: with
 * STREAM_TLS_STARTTLS, plaintext of the peer's is there, in the keep buffer or in the kernel; or TLS is on, or the
 * stream has ended. Inside on_data(), what is not used of that offer is such plaintext too: the stream then tells
 * on_gone(EPROTO). Reading goes on even if paused, until the handshake is complete. */
bool stream_tls_server(struct stream *st, struct tls_server *ctx, enum stream_tls_when when) MUST_CHECK;
/* The same as client. `addr` is the server's, `name` what it should be called: for SNI, verification and the session to
 * resume; NULL or "" = no name: then a verifying context expects the address in the certificate. */
bool stream_tls_client(struct stream *st, struct tls_client *ctx, const struct addr *addr, const char *name,
		       enum stream_tls_when when) MUST_CHECK;

/* The same with a connection of somebody else's context, whose peer is judged by that context: `ssl` is taken over, by
 * a call that fails too. Its side is what SSL_set_accept_state() or SSL_set_connect_state() says; a client begins. What
 * stands below about names and bindings is not for these: stream_tls_ssl() is. */
bool stream_tls_own(struct stream *st, struct ssl_st *ssl, enum stream_tls_when when) MUST_CHECK;
/* Borrowed, for its questions alone; NULL = TLS is not on. */
struct ssl_st *stream_tls_ssl(const struct stream *st);

/* TLS is on and the handshake complete. */
bool stream_tls_is_on(const struct stream *st);
/* Why TLS failed, in words for the log ("wrong version number", "alert from the peer: unknown ca"), or NULL. Valid
 * until the stream is closed. */
const char *stream_tls_error(const struct stream *st);

/* Strings are valid until the stream is closed. */
struct stream_tls_info {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* the name as OpenSSL has it */
	unsigned bits;       /* of the cipher's key */
	const char *sni; /* server: a plain host name the client asked for; client: what we asked for; NULL = none */
	bool resumed;
	bool peer_certificate; /* the peer showed one */
	bool peer_verified;    /* its chain ends at our CA; of a server, the name was verified too */
};

/* False: no TLS, or the handshake is not complete. */
bool stream_tls_info(const struct stream *st, struct stream_tls_info *ret) MUST_CHECK;

#define STREAM_TLS_NAMES_MAX 32

/* The certificate the peer showed. Text is UTF-8 without control characters. */
struct stream_tls_peer {
	char *subject;                     /* RFC 4514 */
	char *common_name;                 /* NULL = none that is text */
	char *names[STREAM_TLS_NAMES_MAX]; /* alternative names: "dns:…" and "email:…" in lower case, "uri:…", "ip:…" */
	size_t n_names;
	uint8_t sha256[32]; /* of the whole certificate */
	bool verified;
};

/* False: the peer showed none. The caller ends *ret with stream_tls_peer_fini(). */
bool stream_tls_peer(const struct stream *st, struct stream_tls_peer *ret) MUST_CHECK;
void stream_tls_peer_fini(struct stream_tls_peer *peer);

#define STREAM_TLS_BINDING_MAX 64

/* Channel bindings, into out; return the length, 0 = this connection has none of that kind.
 * tls-exporter (RFC 9266): TLS 1.3, or 1.2 with extended master secret. */
size_t stream_tls_exporter(const struct stream *st, uint8_t out[STREAM_TLS_BINDING_MAX]);
/* tls-server-end-point (RFC 5929 4): a hash of the server's certificate. As a server with several certificates, none in
 * a resumed session: which one it began with is not known. */
size_t stream_tls_end_point(const struct stream *st, uint8_t out[STREAM_TLS_BINDING_MAX]);

#endif
