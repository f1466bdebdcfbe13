/* SPDX-License-Identifier: Apache-2.0
 * TLS with the client: from the first byte (RFC 8314 3.3) or by STARTTLS (RFC 3207).
 *
 * The hard thing is that nothing said in plaintext may count as said under TLS: bytes that came with STARTTLS end the
 * session (stream_tls_server() looks into the kernel too), and the name, the greeting and all that EHLO told are
 * forgotten.
 */
#include <stdlib.h>

#include "daemon/session/front.h"
#include "daemon/session/handshakes.h"

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
	f->exts = 0;
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
	forget_plaintext(s);
	s->epoch++;
	if (first)
		front_greet(s);
	else
		front_set_command(s);
}
