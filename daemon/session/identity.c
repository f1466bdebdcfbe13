/* SPDX-License-Identifier: Apache-2.0
 * Who the client of a session is, in the words in which servers are told: PROXY, XCLIENT, XFORWARD.
 *
 * The hard thing is what they may not carry: a client chose its names, so nothing is put together here, only handed to
 * the encoders, which escape or leave out.
 */
#include "daemon/session/identity.h"

#include "daemon/net/stream_tls.h"

static unsigned number_of(enum identity_proxy version)
{
	return version == IDENTITY_PROXY_V1 ? 1 : 2;
}

size_t identity_proxy_plain(enum identity_proxy version, const struct addr ends[2], const char *id,
			    char out[PROXY_SEND_MAX])
{
	struct proxy_header h = { .version = number_of(version),
				  .kind = PROXY_TCP,
				  .src = ends[0],
				  .dst = ends[1],
				  .unique_id = str_from(id) };

	return proxy_encode(&h, out);
}

/* What the client's TLS tells (2.2.6). */
static void put_tls(const struct stream_tls_info *info, const struct stream_tls_peer *peer, struct proxy_header *h)
{
	h->ssl.given = true;
	h->ssl.client = PROXY_SSL_TLS;
	h->ssl.verify = 1;
	h->ssl.version = str_from(info->version);
	h->ssl.cipher = str_from(info->cipher);
	h->authority = info->sni != NULL ? str_from(info->sni) : (struct str) { NULL, 0 };
	if (!info->peer_certificate)
		return;
	h->ssl.client |= info->resumed ? PROXY_SSL_CERT_SESS : PROXY_SSL_CERT_CONN | PROXY_SSL_CERT_SESS;
	h->ssl.verify = info->peer_verified ? 0 : 1;
	if (peer->common_name != NULL)
		h->ssl.cn = str_from(peer->common_name);
}

size_t identity_proxy(const struct session *s, enum identity_proxy version, char out[PROXY_SEND_MAX])
{
	struct proxy_header h = { .version = number_of(version), .kind = PROXY_TCP };
	struct stream_tls_peer peer = { 0 };
	struct stream_tls_info info;
	char id[SESSION_ID_MAX];
	bool known = false;

	session_ends(s, &h.src, &h.dst);
	h.unique_id = str_from(session_id(s, id));
	if (stream_is_open(&s->front.st) && stream_tls_info(&s->front.st, &info)) {
		known = info.peer_certificate && stream_tls_peer(&s->front.st, &peer);
		put_tls(&info, &peer, &h);
	}
	size_t n = proxy_encode(&h, out);
	if (known)
		stream_tls_peer_fini(&peer);
	return n;
}

void identity_client(const struct session *s, const char *ident, struct xclient_client *ret)
{
	const struct front *f = &s->front;

	*ret = (struct xclient_client) { .helo = str_from(f->helo != NULL ? f->helo : ""),
					 .login = str_from(f->user != NULL ? f->user : ""),
					 .ident = str_from(ident != NULL ? ident : ""),
					 .esmtp = f->esmtp };
	session_ends(s, &ret->src, &ret->dst);
	const struct xclient *told = session_told(s);
	if (told == NULL)
		return;
	ret->name = str_from(told->name);
	ret->name_tempfail = (told->tempunavail & SMTP_XATTR_NAME) != 0;
}
