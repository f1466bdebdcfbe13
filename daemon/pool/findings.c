/* SPDX-License-Identifier: Apache-2.0
 * What is wrong with servers beside their health: told when it begins, changes and ends; and when a server is asked
 * whether it relays for this node.
 *
 * The hard thing is to say nothing twice and nothing for too long: checks come every few seconds and find the same, and
 * what they found under one configuration may mean nothing under the next. Whether a server relays is asked rarely,
 * since each question stands in its log.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/pool/registry.h"

#define RELAY_AGAIN_MS (12 * 3600 * 1000LL)
#define RELAY_RETRY_MS (3600 * 1000LL) /* where it said neither yes nor no */

const char *const server_finding_names[FINDING_COUNT] = { "identity", "xclient", "banner", "relay" };

void finding_set(struct server_private *sp, enum server_finding what, const char *text)
{
	const struct registry_hooks *h = &sp->pool->registry->hooks;
	char *before = sp->findings[what];

	if (before == NULL ? text == NULL : text != NULL && strcmp(before, text) == 0)
		return;
	sp->findings[what] = text != NULL ? xstrdup(text) : NULL;
	free(before);
	if (h->on_finding != NULL)
		h->on_finding(sp->server, what, text, h->arg);
}

void findings_end(struct server_private *sp)
{
	for (int i = 0; i < FINDING_COUNT; i++)
		finding_set(sp, (enum server_finding)i, NULL);
	sp->has_greeted = false;
	sp->relay_due_ms = 0;
}

/* ---- configurations ---- */

static bool may_ask(const struct pool_config *pc)
{
	return pc != NULL && pc->health.relay_check && pc->inbound != NULL;
}

/* The server would see the same peer, in the same role. */
static bool is_same_question(const struct pool_config *a, const struct pool_config *b)
{
	return may_ask(a) && may_ask(b) && strcmp(a->inbound, b->inbound) == 0 &&
	       a->identity.proxy == b->identity.proxy && a->identity.xclient == b->identity.xclient &&
	       pool_auth_same(&a->auth, &b->auth) && addr_eq(&a->source_v4, &b->source_v4) &&
	       addr_eq(&a->source_v6, &b->source_v6);
}

void findings_reconfigure(struct server_private *sp, const struct pool_config *before)
{
	const struct pool_config *pc = sp->pool->config;

	if (!identity_pins(&pc->identity))
		finding_set(sp, FINDING_IDENTITY, NULL);
	if (pc->identity.xclient == 0) {
		atomic_store(&sp->server->xclient_denied, false);
		finding_set(sp, FINDING_XCLIENT, NULL);
	}
	if (pc->identity.proxy != IDENTITY_PROXY_NONE)
		finding_set(sp, FINDING_BANNER, NULL);
	if (is_same_question(before, pc))
		return;
	finding_set(sp, FINDING_RELAY, NULL);
	sp->relay_due_ms = 0;
}

/* ---- does it relay? ---- */

bool relay_is_due(const struct server_private *sp)
{
	return may_ask(sp->pool->config) && loop_now_ms(sp->pool->registry->loop) >= sp->relay_due_ms;
}

void relay_asked(struct server_private *sp)
{
	sp->relay_due_ms = loop_now_ms(sp->pool->registry->loop) + RELAY_RETRY_MS;
}

void relay_answered(struct server_private *sp, bool relays)
{
	const struct pool_config *pc = sp->pool->config;

	/* The answer may come behind the end of what was asked. */
	if (!sp->checking || !may_ask(pc) || sp->relay_due_ms == 0)
		return;
	sp->relay_due_ms = loop_now_ms(sp->pool->registry->loop) + RELAY_AGAIN_MS;
	char *text = xasprintf("it relays for this node (RCPT TO:<" RELAY_CHECK_RCPT
			       "> was accepted): only accepted_domains of %s stand between it and the world",
			       pc->inbound);
	finding_set(sp, FINDING_RELAY, relays ? text : NULL);
	free(text);
}
