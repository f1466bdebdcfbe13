/* SPDX-License-Identifier: Apache-2.0
 * `postroad status` and `postroad top`.
 *
 * Healthy is what the node's own readyz says, plus quorum: one judgement, made where the facts are, and the same one
 * that load balancers and monitoring get.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli/cmd_private.h"

/* ---- status ---- */

static void print_line(const char *label, const char *value)
{
	if (*value == '\0')
		return;
	printf("%-14s ", label);
	table_put_safe(value);
	putchar('\n');
}

/* By its key the manual says what to do. */
static void print_warning(const json_t *w)
{
	char *line = xasprintf("%s [%s]", cli_str(w, "text"), cli_str(w, "key"));

	print_line("warning", line);
	free(line);
}

static void print_listeners(const struct cli *c, const json_t *status)
{
	const char *state = cli_is_true(status, "listening") ? "listening" : "closed", *name;
	struct table *t = table_new("LISTENER BIND STATE POOL");
	json_t *l, *bind;
	size_t i;

	json_object_foreach(json_object_get(status, "listeners"), name, l) {
		json_array_foreach(json_object_get(l, "bind"), i, bind) {
			table_add(t, name);
			table_add(t, json_string_value(bind));
			table_add_state(t, state);
			table_add(t, cli_str(l, "pool"));
		}
	}
	table_end(t, c->colour);
}

static void print_pools(const struct cli *c, json_t *pools)
{
	struct table *t = table_new("POOL >USABLE >SERVERS >WAITING");
	const char *name;
	json_t *p;

	json_object_foreach(pools, name, p) {
		char text[24];
		snprintf(text, sizeof(text), "%lld", cli_int(p, "usable"));
		table_add(t, name);
		table_add_tone(t, text, cli_int(p, "usable") > 0 ? TONE_PLAIN : TONE_BAD);
		table_add_int(t, cli_int(p, "servers"));
		table_add_int(t, cli_int(p, "queue"));
	}
	table_end(t, c->colour);
}

static void print_vips(const json_t *status)
{
	const char *name;
	json_t *owners, *owner;
	size_t i;

	json_object_foreach(json_object_get(status, "vips"), name, owners) {
		struct sbuf text = { 0 };
		sbuf_printf(&text, "%s on", name);
		json_array_foreach(owners, i, owner)
			sbuf_printf(&text, "%s %s", i > 0 ? " and" : "", json_string_value(owner));
		if (json_array_size(owners) == 0)
			sbuf_puts(&text, " no node");
		print_line("vip", text.p);
		sbuf_fini(&text);
	}
}

/* Servers that are configured and run nowhere, as their names have no address. */
static void print_unresolved(const json_t *status)
{
	const char *pool, *server;
	json_t *p, *u;

	json_object_foreach(json_object_get(status, "pools"), pool, p) {
		json_object_foreach(json_object_get(p, "unresolved"), server, u) {
			char *text = xasprintf("%s/%s: %s: %s", pool, server, cli_str(u, "name"), cli_str(u, "why"));
			print_line("unresolved", text);
			free(text);
		}
	}
}

static void print_status(const struct cli *c, const json_t *s)
{
	bool is_safe = cli_is_true(s, "safe_to_stop");
	const char *unsafe = cli_str(s, "safe_to_stop_why");
	char text[256];
	json_t *w;
	size_t i;

	print_line("node", cli_str(s, "node"));
	print_line("version", cli_str(s, "version"));
	print_line("up", cli_duration(json_number_value(json_object_get(s, "uptime")), text, sizeof(text)));
	print_line("revision", cli_scalar(json_object_get(s, "revision"), text, sizeof(text)));
	print_line("quorum", cli_is_true(s, "quorum") ? "yes" : "NO");
	print_line("ready", cli_is_true(s, "ready") ? "yes" : "NO");
	json_array_foreach(json_object_get(s, "not_ready"), i, w)
		print_line("  because", json_string_value(w));
	snprintf(text, sizeof(text), "%s%s%s", is_safe ? "yes" : "no", *unsafe ? ": " : "", unsafe);
	print_line("safe to stop", text);
	print_vips(s);
	print_line("fingerprint", cli_str(json_object_get(s, "admin_api"), "certificate_sha256"));
	json_array_foreach(json_object_get(s, "warnings"), i, w)
		print_warning(w);
	print_unresolved(s);
	putchar('\n');
	cmd_node_table(c, json_object_get(s, "nodes"));
	putchar('\n');
	print_listeners(c, s);
	putchar('\n');
	print_pools(c, json_object_get(s, "pools"));
}

int cmd_status(struct cli *c)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/status", &rp);

	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON))
		cli_print_json(rp.json);
	else
		print_status(c, rp.json);
	if (!cli_is_true(rp.json, "ready") || !cli_is_true(rp.json, "quorum"))
		rc = EXIT_UNHEALTHY;
	http_reply_fini(&rp);
	return rc;
}

/* ---- top ---- */

enum { RATE_ACCEPTED, RATE_TEMPFAIL, RATE_PERMFAIL, RATE_NONE, RATE_COUNT };

struct sample {
	struct timespec at;
	double total[RATE_COUNT];
};

/* Sums postroad_transactions_total by result from the Prometheus text. */
static void read_sample(const char *text, struct sample *ret)
{
	static const char *const results[] = { "result=\"accepted\"", "result=\"tempfail\"", "result=\"permfail\"",
					       "result=\"none\"" };
	static const char family[] = "postroad_transactions_total{";

	for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n'), line += line != NULL) {
		const char *close = strchr(line, '}'), *end = strchr(line, '\n');
		if (strncmp(line, family, sizeof(family) - 1) != 0 || close == NULL || (end != NULL && close > end))
			continue;
		for (int i = 0; i < RATE_COUNT; i++) {
			const char *hit = strstr(line, results[i]);
			if (hit != NULL && hit < close)
				ret->total[i] += strtod(close + 1, NULL);
		}
	}
}

static int take_sample(struct cli *c, struct sample *ret)
{
	struct http_reply rp;
	int rc = http_get(c, "/metrics", &rp);

	if (rc != EXIT_DONE)
		return rc;
	memset(ret, 0, sizeof(*ret));
	clock_gettime(CLOCK_MONOTONIC, &ret->at);
	read_sample(rp.body.p != NULL ? rp.body.p : "", ret);
	http_reply_fini(&rp);
	return EXIT_DONE;
}

static void print_rates(const struct sample *a, const struct sample *b)
{
	static const char *const names[] = { "accepted", "tempfail", "permfail", "none" };
	double seconds = (double)(b->at.tv_sec - a->at.tv_sec) + (double)(b->at.tv_nsec - a->at.tv_nsec) / 1e9;

	for (int i = 0; i < RATE_COUNT; i++) {
		double n = b->total[i] - a->total[i];
		if (a->at.tv_sec == 0 || seconds <= 0 || n < 0)
			printf("  %s %.0f", names[i], b->total[i]);
		else
			printf("  %s %.1f/s", names[i], n / seconds);
	}
	putchar('\n');
}

static int draw(struct cli *c, struct sample *last)
{
	struct http_reply status = { 0 }, pools = { 0 };
	struct sample now;
	char up[32];
	int rc = http_get(c, CLI_API "/status", &status);

	if (rc == EXIT_DONE)
		rc = http_get(c, CLI_API "/pools", &pools);
	if (rc == EXIT_DONE)
		rc = take_sample(c, &now);
	if (rc == EXIT_DONE) {
		if (isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		table_put_safe(cli_str(status.json, "node"));
		printf("  revision %lld  up %s  sessions %lld\n", cli_int(status.json, "revision"),
		       cli_duration(json_number_value(json_object_get(status.json, "uptime")), up, sizeof(up)),
		       cli_int(status.json, "sessions"));
		fputs("transactions", stdout);
		print_rates(last, &now);
		putchar('\n');
		cmd_server_table(c, json_object_get(pools.json, "pools"));
		fflush(stdout);
		*last = now;
	}
	http_reply_fini(&status);
	http_reply_fini(&pools);
	return rc;
}

int cmd_top(struct cli *c)
{
	struct sample last = { 0 };
	long interval = 2, count = -1;

	if (!options_number(c, OPT_INTERVAL, 1, 3600, &interval) ||
	    !options_number(c, OPT_COUNT_LINES, 1, 1000000, &count))
		return EXIT_USAGE;
	if (cli_has(c, OPT_JSON)) {
		cli_error("top is for people; `postroad server list --json` and the metrics are for programs");
		return EXIT_USAGE;
	}
	for (;;) {
		int rc = draw(c, &last);
		if (rc != EXIT_DONE || (count > 0 && --count == 0))
			return rc;
		struct timespec pause = { .tv_sec = interval };
		nanosleep(&pause, NULL);
	}
}
