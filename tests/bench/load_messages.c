/* SPDX-License-Identifier: Apache-2.0
 * The messages postroad-load sends: when each is due, what it says, what became of it.
 *
 * With --rate the due times are a fixed timetable and latencies count from it. A server that stalls therefore makes
 * every message late that should have been sent meanwhile, as it would for real senders; a generator that waited for
 * the stall to end before starting the next one would hide it (coordinated omission).
 */
#include "tests/bench/load.h"

#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/clock.h"

struct retry {
	struct message m;
	struct retry *next;
};

/* All of it belongs to the one thread. */
static int64_t start_us, stop_us;
static uint64_t n_started, n_finished;
static bool stopped;
static struct retry *retries, **retries_tail = &retries; /* one delay for all: in order of time */
static struct sbuf body;

static void build_body(void)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog and posts another letter abroad.\r\n";
	struct message first = { 0 };
	struct sbuf header = { 0 };

	messages_header(&first, &header);
	sbuf_puts(&body, "\r\n");
	while (header.n + body.n + sizeof(line) - 1 <= options.size)
		sbuf_puts(&body, line);
	/* The rest of the last line, so that the size is exact; below three bytes there is no room for a line. */
	while (header.n + body.n + 2 < options.size)
		sbuf_putc(&body, 'x');
	if (body.n > 2 && body.p[body.n - 1] != '\n')
		sbuf_puts(&body, "\r\n");
	sbuf_puts(&body, ".\r\n");
	sbuf_fini(&header);
}

void messages_init(int64_t start)
{
	start_us = start;
	stop_us = options.seconds > 0 ? start + (int64_t)options.seconds * 1000000 : INT64_MAX;
	build_body();
}

static int64_t due_time(uint64_t number, int64_t now)
{
	return options.rate > 0 ? start_us + (int64_t)((double)number * 1e6 / (double)options.rate) : now;
}

static bool more_new(int64_t now)
{
	return !stopped && now < stop_us && (options.messages == 0 || n_started < options.messages);
}

bool messages_next(int64_t now, struct message *ret)
{
	struct retry *r = retries;

	if (r != NULL && r->m.due_us <= now) {
		retries = r->next;
		if (retries == NULL)
			retries_tail = &retries;
		*ret = r->m;
		free(r);
		return true;
	}
	if (!more_new(now) || due_time(n_started, now) > now)
		return false;
	*ret = (struct message) { .number = n_started, .due_us = due_time(n_started, now) };
	n_started++;
	return true;
}

int64_t messages_next_due(void)
{
	int64_t due = -1;

	if (options.rate > 0 && more_new(0))
		due = due_time(n_started, 0);
	if (retries != NULL && (due < 0 || retries->m.due_us < due))
		due = retries->m.due_us;
	return due;
}

static void write_id(const struct message *m, enum outcome outcome, unsigned code)
{
	static const char *const names[OUTCOME_COUNT] = { "accepted", "tempfail", "permfail", "lost" };
	struct sbuf line = { 0 };

	sbuf_printf(&line, "%s-%09lu %s %u %u %u %u\n", options.run, (unsigned long)m->number, names[outcome], code,
		    m->tries, m->unanswered, m->put_off);
	if (write(options.ids_fd, line.p, line.n) != (ssize_t)line.n) {
		perror("postroad-load: --ids");
		exit(1);
	}
	sbuf_fini(&line);
}

void messages_done(const struct message *m, enum outcome outcome, unsigned code)
{
	bool again = (outcome == OUTCOME_TEMPFAIL || outcome == OUTCOME_LOST) && m->tries < options.retries;

	if (!again) {
		results.outcomes[outcome]++;
		n_finished++;
		if (options.ids_fd >= 0)
			write_id(m, outcome, code);
		return;
	}
	struct retry *r = xcalloc(1, sizeof(*r));

	r->m = *m;
	r->m.tries++;
	r->m.due_us = clock_mono_us() + (int64_t)options.retry_delay_ms * 1000;
	*retries_tail = r;
	retries_tail = &r->next;
	results.retries++;
}

bool messages_finished(int64_t now)
{
	return !more_new(now) && n_finished == n_started;
}

void messages_stop(void)
{
	stopped = true;
}

/* Copies a pattern; "%n" becomes the number. */
static void add_pattern(struct sbuf *out, const char *pattern, uint64_t number)
{
	for (const char *p = pattern; *p != '\0'; p++) {
		if (p[0] == '%' && p[1] == 'n') {
			sbuf_printf(out, "%lu", (unsigned long)number);
			p++;
		} else {
			sbuf_putc(out, *p);
		}
	}
}

static void add_rcpt(struct sbuf *out, const struct message *m, unsigned index)
{
	size_t local = strcspn(options.rcpt, "@");

	sbuf_puts(out, "RCPT TO:<");
	if (options.rcpts > 1)
		sbuf_printf(out, "r%u.", index);
	if (options.n_domains == 0) {
		add_pattern(out, options.rcpt, m->number);
	} else {
		sbuf_add(out, options.rcpt, local);
		sbuf_printf(out, "@%s", options.domains[m->number % options.n_domains]);
	}
	sbuf_puts(out, ">\r\n");
}

void messages_command(const struct message *m, unsigned index, struct sbuf *out)
{
	if (index == 0) {
		sbuf_puts(out, "MAIL FROM:<");
		add_pattern(out, options.from, m->number);
		sbuf_puts(out, ">\r\n");
	} else if (index <= options.rcpts) {
		add_rcpt(out, m, index);
	} else {
		sbuf_puts(out, "DATA\r\n");
	}
}

void messages_header(const struct message *m, struct sbuf *out)
{
	sbuf_printf(out,
		    "X-Postroad-Id: %s-%09lu\r\nMessage-ID: <%s.%09lu@load.test>\r\nFrom: <load@load.test>\r\n"
		    "Subject: load\r\n",
		    options.run, (unsigned long)m->number, options.run, (unsigned long)m->number);
}

struct str messages_body(void)
{
	return (struct str) { body.p, body.n };
}
