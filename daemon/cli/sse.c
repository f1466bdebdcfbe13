/* SPDX-License-Identifier: Apache-2.0
 * Server-sent events, from lines to events (WHATWG HTML, "Interpreting an event stream").
 *
 * An empty line ends an event; several data lines are joined by a line feed; a line that starts with a colon is a
 * comment (a heartbeat). The last id stays in force over events that carry none.
 */
#include "daemon/cli/cli.h"

#define DATA_MAX ((size_t)1 << 20)

static bool end_event(struct sse *e)
{
	bool goes_on = true;

	if (e->data.n > 0) {
		e->data.p[--e->data.n] = '\0'; /* the line feed behind the last data line */
		goes_on = e->on_event(e, e->arg);
	}
	sbuf_reset(&e->type);
	sbuf_reset(&e->data);
	return goes_on;
}

bool sse_line(const char *line, void *arg)
{
	struct sse *e = arg;
	size_t n = strcspn(line, ":");
	const char *value = line[n] == ':' ? line + n + 1 : line + n;

	if (*line == '\0')
		return end_event(e);
	value += *value == ' ';
	if (n == 2 && strncmp(line, "id", n) == 0) {
		sbuf_reset(&e->id);
		sbuf_puts(&e->id, value);
	} else if (n == 5 && strncmp(line, "event", n) == 0) {
		sbuf_reset(&e->type);
		sbuf_puts(&e->type, value);
	} else if (n == 4 && strncmp(line, "data", n) == 0) {
		if (e->data.n + strlen(value) > DATA_MAX)
			return false;
		sbuf_puts(&e->data, value);
		sbuf_putc(&e->data, '\n');
	}
	return true;
}

void sse_fini(struct sse *e)
{
	sbuf_fini(&e->id);
	sbuf_fini(&e->type);
	sbuf_fini(&e->data);
}
