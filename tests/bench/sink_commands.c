/* SPDX-License-Identifier: Apache-2.0
 * The commands of postroad-sink, and the failures it was asked to play.
 *
 * Sequence errors are answered as a real server would (RFC 5321 4.1.4), so that a balancer that gets the order wrong is
 * seen in the counters of the sender.
 */
#include "tests/bench/sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static double dice(struct worker *w)
{
	/* xorshift64: seeded by the worker's number, so that runs are alike. */
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (double)(w->random >> 11) / (double)(1ull << 53);
}

bool sink_fails(struct worker *w, struct conn *c, enum stage stage)
{
	const struct failure *f = &options.fail[stage];
	char text[80];

	if (f->fraction <= 0 || dice(w) >= f->fraction)
		return false;
	atomic_fetch_add_explicit(&w->stats.failed, 1, memory_order_relaxed);
	if (f->code == 0) {
		w->n_out = 0;
		c->closing = true;
		return true;
	}
	snprintf(text, sizeof(text), "%u %u.3.0 failure as ordered\r\n", f->code, f->code / 100);
	sink_reply(w, c, text);
	if (f->code == 421 || stage == STAGE_CONNECT)
		c->closing = true;
	return true;
}

static void reset(struct conn *c)
{
	c->have_mail = false;
	c->n_rcpt = 0;
}

static void cmd_ehlo(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	reset(c);
	if (sink_fails(w, c, STAGE_HELO))
		return;
	c->have_helo = true;
	sink_reply(w, c, options.ehlo);
}

static void cmd_helo(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	reset(c);
	if (sink_fails(w, c, STAGE_HELO))
		return;
	c->have_helo = true;
	sink_reply(w, c, options.helo);
}

static void cmd_mail(struct worker *w, struct conn *c, const char *args)
{
	if (!c->have_helo || c->have_mail) {
		sink_reply(w, c, "503 5.5.1 bad sequence\r\n");
		return;
	}
	if (strncasecmp(args, "FROM:<", 6) != 0) {
		sink_reply(w, c, "501 5.5.4 syntax: MAIL FROM:<address>\r\n");
		return;
	}
	if (sink_fails(w, c, STAGE_MAIL))
		return;
	c->have_mail = true;
	if (options.store_fd >= 0)
		store_mail(&c->store, args + 5);
	sink_reply(w, c, "250 2.1.0 OK\r\n");
}

static void cmd_rcpt(struct worker *w, struct conn *c, const char *args)
{
	if (!c->have_mail) {
		sink_reply(w, c, "503 5.5.1 bad sequence\r\n");
		return;
	}
	if (strncasecmp(args, "TO:<", 4) != 0) {
		sink_reply(w, c, "501 5.5.4 syntax: RCPT TO:<address>\r\n");
		return;
	}
	if (sink_fails(w, c, STAGE_RCPT))
		return;
	c->n_rcpt++;
	if (options.store_fd >= 0)
		store_rcpt(&c->store, args + 3);
	sink_reply(w, c, "250 2.1.5 OK\r\n");
}

static void cmd_data(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	if (c->n_rcpt == 0) {
		/* RFC 2920 3.1: a client that pipelined learns it here. */
		sink_reply(w, c, c->have_mail ? "554 5.5.1 no valid recipients\r\n" : "503 5.5.1 bad sequence\r\n");
		return;
	}
	if (sink_fails(w, c, STAGE_DATA))
		return;
	c->in_data = true;
	c->eod = 2; /* the CRLF of DATA itself counts */
	if (options.store_fd >= 0)
		store_data(&c->store);
	sink_reply(w, c, "354 end with <CRLF>.<CRLF>\r\n");
}

static void cmd_rset(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	reset(c);
	sink_reply(w, c, "250 2.0.0 OK\r\n");
}

static void cmd_noop(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	sink_reply(w, c, "250 2.0.0 OK\r\n");
}

static void cmd_vrfy(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	sink_reply(w, c, "252 2.1.5 cannot verify\r\n");
}

/* XCLIENT ADDR=… …: the session starts anew behind a second greeting, under the name of another client. */
static void cmd_xclient(struct worker *w, struct conn *c, const char *args)
{
	const char *addr = strcasestr(args, "ADDR=");

	if (!options.xclient || c->have_mail) {
		sink_reply(w, c, options.xclient ? "503 5.5.1 bad sequence\r\n" : "500 5.5.2 unknown command\r\n");
		return;
	}
	if (addr != NULL)
		snprintf(c->store.client, sizeof(c->store.client), "%.*s", (int)strcspn(addr + 5, " "), addr + 5);
	reset(c);
	c->have_helo = false;
	sink_reply(w, c, options.greeting);
}

static void cmd_quit(struct worker *w, struct conn *c, const char *args)
{
	UNUSED(args);
	sink_reply(w, c, "221 2.0.0 bye\r\n");
	c->closing = true;
}

static const struct command {
	const char *name;
	void (*run)(struct worker *w, struct conn *c, const char *args);
} commands[] = {
	{ "EHLO", cmd_ehlo }, { "HELO", cmd_helo },       { "MAIL", cmd_mail }, { "RCPT", cmd_rcpt },
	{ "DATA", cmd_data }, { "RSET", cmd_rset },       { "NOOP", cmd_noop }, { "VRFY", cmd_vrfy },
	{ "QUIT", cmd_quit }, { "XCLIENT", cmd_xclient },
};

void sink_command(struct worker *w, struct conn *c, char *line)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		size_t n = strlen(commands[i].name);

		if (strncasecmp(line, commands[i].name, n) != 0 || (line[n] != '\0' && line[n] != ' '))
			continue;
		commands[i].run(w, c, line[n] == ' ' ? line + n + 1 : line + n);
		return;
	}
	sink_reply(w, c, "500 5.5.2 unknown command\r\n");
}
