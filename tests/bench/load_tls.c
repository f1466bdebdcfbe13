/* SPDX-License-Identifier: Apache-2.0
 * TLS of postroad-load: OpenSSL on non-blocking sockets.
 *
 * Every handshake is a full one unless resumption is asked for, and what was negotiated is reported: two servers are
 * only compared fairly when they did the same work.
 */
#include "tests/bench/load.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

/* All of it belongs to the one thread. */
static SSL_CTX *ctx;
static SSL_SESSION *newest;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	UNUSED(ssl);
	SSL_SESSION_free(newest);
	newest = session;
	return 1; /* it is ours now */
}

void load_tls_init(void)
{
	ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL) {
		ERR_print_errors_fp(stderr);
		exit(1);
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	if (!options.resume)
		return;
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
}

bool load_tls_begin(struct session *s)
{
	s->tls = SSL_new(ctx);
	if (s->tls == NULL || SSL_set_fd(s->tls, s->fd) != 1)
		return false;
	SSL_set_connect_state(s->tls);
	if (newest != NULL)
		SSL_set_session(s->tls, newest);
	return true;
}

/* errno as sockets have it: EAGAIN where the socket has to be waited for. Returns 0 where the server ended. */
static ssize_t explain(struct session *s, int ret)
{
	int why = SSL_get_error(s->tls, ret);

	ERR_clear_error();
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
	return -1;
}

static void note_handshake(struct session *s)
{
	const char *group = OBJ_nid2sn((int)SSL_get_negotiated_group(s->tls));

	results.handshakes++;
	results.resumed += SSL_session_reused(s->tls) ? 1 : 0;
	if (results.tls[0] == '\0')
		snprintf(results.tls, sizeof(results.tls), "%s/%s/%s", SSL_get_version(s->tls),
			 SSL_get_cipher_name(s->tls), group != NULL ? group : "-");
}

enum tls_step load_tls_handshake(struct session *s)
{
	int ret = SSL_do_handshake(s->tls);

	if (ret == 1) {
		note_handshake(s);
		return TLS_DONE;
	}
	return explain(s, ret) < 0 && errno == EAGAIN ? TLS_AGAIN : TLS_FAILED;
}

ssize_t load_tls_recv(struct session *s, char *p, size_t n)
{
	int ret = SSL_read(s->tls, p, (int)n);

	return ret > 0 ? ret : explain(s, ret);
}

ssize_t load_tls_send(struct session *s, const char *p, size_t n)
{
	int ret = SSL_write(s->tls, p, (int)n);

	return ret > 0 ? ret : explain(s, ret);
}

void load_tls_end(struct session *s)
{
	if (s->tls == NULL)
		return;
	/* Not waited for. In the midst of a handshake there is nothing to be said. */
	if (SSL_is_init_finished(s->tls))
		SSL_shutdown(s->tls);
	ERR_clear_error();
	SSL_free(s->tls);
	s->tls = NULL;
}
