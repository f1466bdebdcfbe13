/* SPDX-License-Identifier: Apache-2.0
 * postroadd's part towards postroad-ha, for labs: commands as lines on standard input, what is heard as JSON lines.
 *
 *   ha-driver RUN_DIR NODE
 *   vip NAME INTERFACE VRID PRIORITY ADVERT_MS FAILBACK SOURCE PEER,… ADDRESS/BITS,…    (a peer "-" is none)
 *   table GENERATION            the VIPs named since the last
 *   health NAME=1 NAME=0 …      beat on|off      probe TICKET VIP
 *   list TICKET VIP             keep TICKET VIP SECONDS      drop TICKET VIP
 *   open TICKET VIP OWNER SECONDS      take TICKET VIP OWNER SECONDS LOCAL REMOTE …
 *   corosync TICKET VERB GENERATION [CLUSTER KEY_BYTE ID/NAME/LINK[/LINK] …]
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/vip/ha_client.h"
#include "daemon/base/clock.h"

static struct ha_table table;
static struct ha_message message;
static bool beating = true;
static struct ha_client *client;

_Noreturn static void fail(const char *what)
{
	fprintf(stderr, "ha-driver: %s\n", what);
	exit(2);
}

static char *word(char **at)
{
	char *w = strsep(at, " ");

	if (w == NULL || *w == '\0')
		fail("a word is missing");
	return w;
}

static unsigned number(char **at)
{
	return (unsigned)strtoul(word(at), NULL, 10);
}

static struct addr ip(const char *text)
{
	struct addr a;

	if (!addr_parse_ip(text, &a))
		fail(text);
	return a;
}

static void refused(const char *why)
{
	if (why != NULL)
		printf("{\"event\": \"refused\", \"why\": \"%s\"}\n", why);
}

/* ---- commands ---- */

static void name_into(char out[HA_NAME_MAX + 1], const char *name)
{
	snprintf(out, HA_NAME_MAX + 1, "%s", name);
}

static void vip(char **at)
{
	struct ha_vip *v = &table.vips[table.n++];
	char *p;

	memset(v, 0, sizeof(*v));
	name_into(v->name, word(at));
	snprintf(v->interface, sizeof(v->interface), "%s", word(at));
	v->vrid = (uint8_t)number(at);
	v->priority = (uint8_t)number(at);
	v->advert_ms = (uint16_t)number(at);
	v->failback = number(at) != 0;
	v->garp_s = 60;
	v->source = ip(word(at));
	char *peers = word(at), *addresses = word(at);
	while ((p = strsep(&peers, ",")) != NULL)
		if (strcmp(p, "-") != 0)
			v->peers[v->n_peers++] = ip(p);
	while ((p = strsep(&addresses, ",")) != NULL) {
		struct ha_address *a = &v->addresses[v->n_addresses++];
		char *slash = strchr(p, '/');
		if (slash == NULL)
			fail("an address without its length");
		*slash = '\0';
		a->ip = ip(p);
		a->bits = (uint8_t)atoi(slash + 1);
	}
}

static void set_table(char **at)
{
	table.generation = number(at);
	refused(ha_client_set_table(client, &table));
	memset(&table, 0, sizeof(table));
}

static void health(char **at)
{
	static struct ha_health h;
	char *w;

	memset(&h, 0, sizeof(h));
	while ((w = strsep(at, " ")) != NULL) {
		char *equals = strchr(w, '=');
		if (equals == NULL)
			continue;
		*equals = '\0';
		name_into(h.vips[h.n].name, w);
		h.vips[h.n].up = equals[1] == '1';
		snprintf(h.vips[h.n].reason, sizeof(h.vips[h.n].reason), "the driver says so");
		h.n++;
	}
	refused(ha_client_set_health(client, &h));
}

static void about(enum ha_type type, char **at)
{
	message.type = type;
	message.about.ticket = number(at);
	name_into(message.about.vip, word(at));
	if (type == HA_FLOWS_KEEP)
		message.about.seconds = number(at);
	refused(ha_client_request(client, &message));
}

static void flows(enum ha_type type, char **at)
{
	struct ha_flows *f = &message.flows;

	message.type = type;
	f->ticket = number(at);
	name_into(f->vip, word(at));
	f->last = true;
	f->owner = ip(word(at));
	f->seconds = number(at);
	while (type == HA_FLOWS_TAKE && *at != NULL) {
		char *local = word(at), *remote = word(at);
		if (!addr_parse(local, 0, &f->list[f->n].local) || !addr_parse(remote, 0, &f->list[f->n].remote))
			fail("not a flow");
		f->n++;
	}
	refused(ha_client_request(client, &message));
}

static void corosync_node(struct ha_corosync_node *n, char *text)
{
	char *p;

	n->id = (uint32_t)strtoul(strsep(&text, "/"), NULL, 10);
	name_into(n->name, strsep(&text, "/"));
	while ((p = strsep(&text, "/")) != NULL)
		n->links[n->n_links++] = ip(p);
}

static void corosync(char **at)
{
	static const char *const verbs[] = { "",        "stage", "install", "start", "reload",
					     "restart", "stop",  "hung",    "purge" };
	struct ha_corosync *q = &message.corosync;

	message.type = HA_COROSYNC;
	q->ticket = number(at);
	const char *verb = word(at);
	for (size_t i = 1; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verb, verbs[i]) == 0)
			q->verb = (enum ha_corosync_verb)i;
	q->generation = number(at);
	if (q->verb == HA_COROSYNC_STAGE) {
		name_into(q->cluster, word(at));
		q->key_len = HA_KEY_MIN;
		memset(q->key, (int)number(at), q->key_len);
		while (*at != NULL)
			corosync_node(&q->nodes[q->n++], word(at));
	}
	refused(ha_client_request(client, &message));
}

static void command(char *line)
{
	char *at = line;
	const char *w = word(&at);

	memset(&message, 0, sizeof(message));
	if (strcmp(w, "vip") == 0)
		vip(&at);
	else if (strcmp(w, "table") == 0)
		set_table(&at);
	else if (strcmp(w, "health") == 0)
		health(&at);
	else if (strcmp(w, "beat") == 0)
		beating = strcmp(word(&at), "on") == 0;
	else if (strcmp(w, "probe") == 0)
		about(HA_PROBE, &at);
	else if (strcmp(w, "list") == 0)
		about(HA_FLOWS_LIST, &at);
	else if (strcmp(w, "keep") == 0)
		about(HA_FLOWS_KEEP, &at);
	else if (strcmp(w, "drop") == 0)
		about(HA_FLOWS_DROP, &at);
	else if (strcmp(w, "open") == 0)
		flows(HA_FLOWS_OPEN, &at);
	else if (strcmp(w, "take") == 0)
		flows(HA_FLOWS_TAKE, &at);
	else if (strcmp(w, "corosync") == 0)
		corosync(&at);
	else
		fail(w);
}

/* ---- what is heard ---- */

static const char *bool_text(bool v)
{
	return v ? "true" : "false";
}

static void on_connected(bool yes, const char *why, void *arg)
{
	UNUSED(arg);
	printf("{\"event\": \"connected\", \"yes\": %s, \"why\": \"%s\"}\n", bool_text(yes), why == NULL ? "" : why);
}

static void on_report(const struct ha_report *r, void *arg)
{
	static const char *const states[] = { "unknown", "backup", "master", "fault", "stop" };

	UNUSED(arg);
	printf("{\"event\": \"report\", \"generation\": %llu, \"keepalived\": %s, \"corosync\": %s, "
	       "\"corosync_generation\": %llu, \"vips\": {",
	       (unsigned long long)r->generation, bool_text(r->keepalived), bool_text(r->corosync),
	       (unsigned long long)r->corosync_generation);
	for (size_t i = 0; i < r->n; i++)
		printf("%s\"%s\": {\"addresses\": %u, \"present\": %u, \"up\": %s, \"state\": \"%s\", \"priority\": "
		       "%u}",
		       i > 0 ? ", " : "", r->vips[i].name, r->vips[i].addresses, r->vips[i].present,
		       bool_text(r->vips[i].up), states[r->vips[i].state], r->vips[i].priority);
	puts("}}");
}

static void print_flows(const struct ha_flows *f)
{
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];

	printf("{\"event\": \"flows\", \"ticket\": %u, \"last\": %s, \"owner\": \"%s\", \"seconds\": %u, \"list\": [",
	       f->ticket, bool_text(f->last), addr_format_ip(&f->owner, a), f->seconds);
	for (size_t i = 0; i < f->n; i++)
		printf("%s\"%s %s\"", i > 0 ? ", " : "", addr_format(&f->list[i].local, a),
		       addr_format(&f->list[i].remote, b));
	puts("]}");
}

/* A sentence may hold what JSON wants escaped. */
static void print_text(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
}

static void on_answer(const struct ha_message *m, void *arg)
{
	UNUSED(arg);
	if (m->type == HA_FLOWS) {
		print_flows(&m->flows);
	} else if (m->type == HA_PROBED) {
		printf("{\"event\": \"probed\", \"ticket\": %u, \"seen\": %s, \"mac\": "
		       "\"%02x:%02x:%02x:%02x:%02x:%02x\"}\n",
		       m->probed.ticket, bool_text(m->probed.seen), m->probed.mac[0], m->probed.mac[1],
		       m->probed.mac[2], m->probed.mac[3], m->probed.mac[4], m->probed.mac[5]);
	} else {
		printf("{\"event\": \"%s\", \"ticket\": %u, \"about\": %u, \"generation\": %llu, \"text\": \"",
		       m->type == HA_DONE ? "done" : "error", m->outcome.ticket, m->outcome.about,
		       (unsigned long long)m->outcome.generation);
		print_text(m->outcome.text);
		puts("\"}");
	}
}

/* False at the end of standard input. */
static bool read_commands(void)
{
	static char text[64 * 1024];
	static size_t n;
	char *end;
	ssize_t got = read(0, text + n, sizeof(text) - 1 - n);

	if (got <= 0)
		return false;
	n += (size_t)got;
	text[n] = '\0';
	while ((end = memchr(text, '\n', n)) != NULL) {
		*end++ = '\0';
		command(text);
		n -= (size_t)(end - text);
		memmove(text, end, n + 1);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct ha_client_events events = { .connected = on_connected, .report = on_report, .answer = on_answer };
	int64_t beat_at = 0, tick_at = 0;

	if (argc != 3)
		fail("usage: ha-driver RUN_DIR NODE");
	setvbuf(stdout, NULL, _IOLBF, 0);
	client = ha_client_new(argv[1], argv[2], &events);
	for (;;) {
		int64_t now = clock_mono_ms();
		if (now >= beat_at && beating) {
			ha_client_beat(client);
			beat_at = now + HA_BEAT_MS;
		}
		tick_at = ha_client_tick(client, now);
		int64_t until = beating && beat_at < tick_at ? beat_at : tick_at;
		struct pollfd fds[2] = { { .fd = 0, .events = POLLIN },
					 { .fd = ha_client_fd(client), .events = POLLIN } };
		poll(fds, 2, until > now ? (int)(until - now) : 0);
		if (fds[1].revents != 0)
			ha_client_dispatch(client, clock_mono_ms());
		if (fds[0].revents != 0 && !read_commands())
			break;
	}
	ha_client_free(client);
	return 0;
}
