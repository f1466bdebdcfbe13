/* SPDX-License-Identifier: Apache-2.0
 * TLS with the client: from the first byte (RFC 8314 3.3) or by STARTTLS (RFC 3207).
 *
 * The hard thing is that nothing said in plaintext may count as said under TLS: bytes that came with STARTTLS end the
 * session (stream_tls_server() looks into the kernel too), and the name, the greeting and all that EHLO told are
 * forgotten.
 */
#include <stdlib.h>

#include "daemon/session/chunk.h"
#include "daemon/session/front.h"
#include "daemon/net/handshakes.h"

bool front_start_tls(struct session *s, enum stream_tls_when when)
{
	struct front *f = &s->front;

	if (!stream_tls_server(&f->st, s->lv->config->tls.server, when))
		return false;
	f->state = FRONT_TLS;
	timer_set_in(s->w->loop, &f->timer, s->lv->config->timeouts.tls_ms);
	return true;
}

static void forget_plaintext(struct session *s)
{
	struct front *f = &s->front;

	free(f->helo);
	f->helo = NULL;
	f->greeted = f->esmtp = false;
	f->exts = f->unknown = 0;
	chunk_reset(s);
}

/* ---- the client's certificate ---- */

static char *hash_text(const uint8_t sha256[32])
{
	struct sbuf text = { 0 };

	sbuf_puts(&text, "sha256:");
	for (size_t i = 0; i < 32; i++)
		sbuf_printf(&text, "%02x", sha256[i]);
	return text.p;
}

/* Takes the texts out of peer. */
static struct envelope_certificate *certificate_new(struct stream_tls_peer *peer)
{
	struct envelope_certificate *c = xcalloc(1, sizeof(*c));
	const char **names = xcalloc(peer->n_names + 1, sizeof(*names));

	c->common_name = peer->common_name;
	peer->common_name = NULL;
	for (size_t i = 0; i < peer->n_names; i++)
		names[c->n_names++] = peer->names[i];
	peer->n_names = 0;
	names[c->n_names++] = hash_text(peer->sha256);
	c->names = names;
	return c;
}

void front_forget_certificate(struct session *s)
{
	struct envelope_certificate *c = s->front.certificate;

	s->front.certificate = NULL;
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n_names; i++)
		free((char *)(uintptr_t)c->names[i]);
	free((char *)(uintptr_t)c->common_name);
	free((void *)(uintptr_t)c->names);
	free(c);
}

/* One that our authorities do not vouch for says nothing. */
static void learn_certificate(struct session *s)
{
	struct stream_tls_peer peer;

	if (stream_tls_peer(&s->front.st, &peer) && peer.verified)
		s->front.certificate = certificate_new(&peer);
	stream_tls_peer_fini(&peer);
}

void front_on_tls(struct session *s)
{
	struct stream_tls_info info;
	bool first = !s->front.spoke;

	if (!stream_tls_info(&s->front.st, &info))
		return;
	handshakes_succeeded(HANDSHAKE_CLIENT, &info);
	s->front.tls = str_eq(str_from(info.version), STR("TLSv1.3")) ? "TLSv1.3" : "TLSv1.2";
	session_trace(s, 'i', s->front.tls, strlen(s->front.tls));
	learn_certificate(s);
	forget_plaintext(s);
	s->epoch++;
	if (first)
		front_greet(s);
	else
		front_set_command(s);
}
