/* SPDX-License-Identifier: Apache-2.0
 * A member of a corosync group by way of the adapter, for tests: does what lines on standard input say, and writes what
 * happened to a file.
 *
 *	send N SIZE   N messages of SIZE bytes, as fast as they are taken
 *	hold, go      take no events; take them again
 *	resync
 *	status        prints one line of JSON
 *	stop          stops the adapter, prints how long that took, and ends
 *
 * The file has a line for each event: `V RING LOWEST ID,…` a view, `M SENDER NUMBER` a message of this view, `S SENDER`
 * one of another view (which the log above the adapter would ignore), `D` disconnected.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster/core/le.h"
#include "cluster/corosync/corosync.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

enum { HEAD_LEN = 16 };

struct member {
	struct corosync *c;
	FILE *out;
	struct core_view_id view;
	bool held;
	uint64_t to_send, number, heard, refused;
	size_t size;
	uint8_t message[CORE_MESSAGE_MAX];
};

static void on_view(void *arg, struct core_view_id view, const uint32_t *members, size_t n)
{
	struct member *m = arg;

	m->view = view;
	fprintf(m->out, "V %" PRIu64 " %u ", view.ring, view.lowest);
	for (size_t i = 0; i < n; i++)
		fprintf(m->out, "%s%u", i > 0 ? "," : "", members[i]);
	fputc('\n', m->out);
	fflush(m->out);
}

static void on_deliver(void *arg, uint32_t sender, struct str bytes)
{
	struct member *m = arg;
	const uint8_t *p = (const uint8_t *)bytes.p;

	ASSERT(bytes.n >= HEAD_LEN);
	m->heard++;
	if (le_get(p, 8) == m->view.ring && le_get(p + 8, 4) == m->view.lowest)
		fprintf(m->out, "M %u %" PRIu64 "\n", sender, le_get(p + 12, 4));
	else
		fprintf(m->out, "S %u\n", sender);
}

static void on_disconnected(void *arg)
{
	struct member *m = arg;

	fputs("D\n", m->out);
	fflush(m->out);
}

static void send_some(struct member *m)
{
	const struct transport *t = corosync_transport(m->c);

	while (m->to_send > 0) {
		le_put(m->message, m->view.ring, 8);
		le_put(m->message + 8, m->view.lowest, 4);
		le_put(m->message + 12, m->number, 4);
		if (t->multicast(t->self, (struct str) { (char *)m->message, m->size }) != 0) {
			m->refused++;
			return;
		}
		m->number++;
		m->to_send--;
	}
}

static void print_links(const struct corosync_ring *r)
{
	fputs("\"links\":[", stdout);
	for (size_t i = 0; i < r->n_links; i++)
		printf("%s{\"node\":%u,\"link\":%u,\"connected\":%s,\"latency_us\":%u,\"mtu\":%u,\"downs\":%" PRIu64
		       "}",
		       i > 0 ? "," : "", r->links[i].node, r->links[i].link, r->links[i].connected ? "true" : "false",
		       r->links[i].latency_us, r->links[i].mtu, r->links[i].downs);
	fputs("]", stdout);
}

static void print_status(struct member *m)
{
	struct corosync_status s;
	int64_t now = clock_mono_ms();

	corosync_status(m->c, &s);
	printf("{\"connected\":%s,\"why\":\"%s\",\"id\":%u,\"ring\":%" PRIu64 ",\"members\":%zu,",
	       s.connected ? "true" : "false", s.why, s.id, s.ring, s.n_members);
	printf("\"hung_ms\":%" PRId64 ",\"refused\":%s,\"since_returned_ms\":%" PRId64 ",",
	       s.hung_since_ms == 0 ? 0 : now - s.hung_since_ms, s.refused_since_ms != 0 ? "true" : "false",
	       now - s.returned_ms);
	printf("\"in_flight\":%u,\"waiting\":%u,\"events\":%u,\"views\":%" PRIu64 ",\"connections\":%" PRIu64 ",",
	       s.in_flight, s.waiting, s.events, s.views, s.connections);
	printf("\"resyncs\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"to_send\":%" PRIu64 ",\"heard\":%" PRIu64 ",", s.resyncs,
	       s.lost, m->to_send, m->heard);
	printf("\"asked\":%s,\"token_us\":%" PRIu64 ",\"retransmits\":%" PRIu64 ",\"gather\":%" PRIu64 ",",
	       s.totem.asked_ms != 0 ? "true" : "false", s.totem.token_us, s.totem.retransmits,
	       s.totem.continuous_gather);
	print_links(&s.totem);
	puts("}");
	fflush(stdout);
}

/* false: the end. */
static bool obey(struct member *m, const char *line)
{
	const struct transport *t = corosync_transport(m->c);
	unsigned long long n;

	if (sscanf(line, "send %llu %zu", &n, &m->size) == 2) {
		ASSERT(m->size >= HEAD_LEN && m->size <= sizeof(m->message));
		m->to_send += n;
	} else if (strcmp(line, "hold\n") == 0) {
		m->held = true;
	} else if (strcmp(line, "go\n") == 0) {
		m->held = false;
	} else if (strcmp(line, "resync\n") == 0) {
		t->resync(t->self);
	} else if (strcmp(line, "status\n") == 0) {
		fflush(m->out);
		print_status(m);
	} else {
		return false;
	}
	return true;
}

static void run(struct member *m)
{
	char line[128];

	for (bool on = true; on;) {
		struct pollfd fds[2] = { { STDIN_FILENO, POLLIN, 0 }, { m->held ? -1 : corosync_fd(m->c), POLLIN, 0 } };
		if (poll(fds, 2, 1000) < 0)
			ASSERT(errno == EINTR);
		if (fds[1].revents != 0)
			corosync_dispatch(m->c);
		if (fds[0].revents != 0)
			on = fgets(line, sizeof(line), stdin) != NULL && obey(m, line);
		if (!m->held)
			send_some(m);
	}
}

int main(int argc, char **argv)
{
	static struct member m;
	const struct transport_events events = { &m, on_view, on_deliver, on_disconnected };
	const struct corosync_options options = { .id = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0 };
	char *why = NULL;

	if (argc < 2 || (m.out = fopen(argv[1], "a")) == NULL) {
		fputs("usage: ring-member FILE [ID]\n", stderr);
		return 2;
	}
	setvbuf(stdin, NULL, _IONBF, 0); /* so that poll() sees each line */
	log_init(LOG_TARGET_STDERR, LOG_LEVEL_INFO);
	m.c = corosync_start(&options, &events, &why);
	if (m.c == NULL) {
		fprintf(stderr, "%s\n", why);
		free(why);
		return 1;
	}
	run(&m);
	int64_t begun = clock_mono_ms();
	corosync_stop(m.c);
	printf("{\"stopped_ms\":%" PRId64 "}\n", clock_mono_ms() - begun);
	fclose(m.out);
	return 0;
}
