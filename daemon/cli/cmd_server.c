/* SPDX-License-Identifier: Apache-2.0
 * `postroad server …` and `postroad node …`: what runs, and run-time state.
 *
 * A server is named POOL/SERVER. The server's part may hold anything but a slash ("mta2@[2001:db8::1]:25"), so the
 * first slash divides.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/cli/cmd_private.h"

/* ---- listing ---- */

static void add_servers(struct table *t, const char *pool, json_t *servers)
{
	const char *name;
	json_t *s;
	char text[64];

	json_object_foreach(servers, name, s) {
		const json_t *override = json_object_get(s, "weight_override");
		bool is_set = override != NULL && !json_is_null(override);
		table_add(t, pool);
		table_add(t, name);
		table_add(t, cli_str(s, "address"));
		table_add_state(t, cli_str(s, "state"));
		snprintf(text, sizeof(text), "%lld%s", cli_int(s, "weight"), is_set ? "*" : "");
		table_add(t, text);
		table_add_int(t, cli_int(s, "transactions"));
		table_add_int(t, cli_int(s, "connections"));
		table_add_int(t, cli_int(s, "idle"));
		table_add(t, cli_scalar(json_object_get(s, "max_connections"), text, sizeof(text)));
		table_add(t, cli_str(s, "why"));
	}
}

/* Those whose name has no address, which run nowhere. */
static void add_unresolved(struct table *t, const char *pool, json_t *list)
{
	const char *name;
	json_t *s;

	json_object_foreach(list, name, s) {
		table_add(t, pool);
		table_add(t, name);
		table_add(t, cli_str(s, "name"));
		table_add_tone(t, "unresolved", TONE_BAD);
		for (int i = 0; i < 5; i++)
			table_add(t, "");
		table_add(t, cli_str(s, "why"));
	}
}

void cmd_server_table(const struct cli *c, json_t *pools)
{
	struct table *t = table_new("POOL SERVER ADDRESS STATE >WEIGHT >OPEN >CONNS >IDLE >MAX WHY");
	const char *name;
	json_t *p;

	json_object_foreach(pools, name, p) {
		add_servers(t, name, json_object_get(p, "servers"));
		add_unresolved(t, name, json_object_get(p, "unresolved"));
	}
	table_end(t, c->colour);
}

static char *pool_path(const char *pool)
{
	struct sbuf path = { 0 };

	sbuf_puts(&path, CLI_API "/pools/");
	http_add_segment(&path, pool);
	return sbuf_steal(&path);
}

int cmd_server_list(struct cli *c)
{
	char *path = c->n_args == 1 ? pool_path(c->args[0]) : xstrdup(CLI_API "/pools");
	struct http_reply rp;
	int rc = http_get(c, path, &rp);

	free(path);
	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON)) {
		cli_print_json(rp.json);
	} else if (c->n_args == 1) {
		json_t *one = json_pack("{s:O}", c->args[0], rp.json);
		cmd_server_table(c, one);
		json_decref(one);
	} else {
		cmd_server_table(c, json_object_get(rp.json, "pools"));
	}
	http_reply_fini(&rp);
	return EXIT_DONE;
}

/* ---- changing ---- */

struct target {
	char *pool;
	const char *server;
};

static int parse_target(const struct cli *c, struct target *ret)
{
	const char *slash = strchr(c->args[0], '/');

	if (slash == NULL || slash == c->args[0] || slash[1] == '\0') {
		cli_error("\"%s\" names no server; write POOL/SERVER, as in mta/mta1", c->args[0]);
		return EXIT_USAGE;
	}
	ret->pool = xstrndup(c->args[0], (size_t)(slash - c->args[0]));
	ret->server = slash + 1;
	return EXIT_DONE;
}

/* Whether it is a server of a looked-up name: "mta2" stands for "mta2@10.0.0.12:25" and its like. */
static bool is_address_of(const char *name, const char *config_name)
{
	size_t n = strlen(config_name);

	return strncmp(name, config_name, n) == 0 && (name[n] == '\0' || name[n] == '@');
}

/* Sum of a number over the addresses of one server, -1 = there is no such server. */
static long long server_sum(const json_t *pool, const char *server, const char *key)
{
	long long sum = 0;
	bool is_found = false;
	const char *name;
	json_t *s;

	json_object_foreach(json_object_get(pool, "servers"), name, s) {
		if (!is_address_of(name, server))
			continue;
		is_found = true;
		sum += cli_int(s, key);
	}
	return is_found ? sum : -1;
}

/* A dry run of run-time state is made here: the API has none. It still asks the node whether the server exists. */
static int dry_run(struct cli *c, const struct target *g, const char *what)
{
	char *path = pool_path(g->pool);
	struct http_reply rp;
	int rc = http_get(c, path, &rp);
	const char *name;
	json_t *s;

	free(path);
	if (rc != EXIT_DONE)
		return rc;
	if (server_sum(rp.json, g->server, "transactions") < 0) {
		cli_error("pool %s has no server %s", g->pool, g->server);
		rc = EXIT_FAILED;
	}
	json_object_foreach(json_object_get(rp.json, "servers"), name, s)
		if (rc == EXIT_DONE && is_address_of(name, g->server))
			printf("%s/%s: %s, weight %lld; would be set to %s\n", g->pool, name, cli_str(s, "state"),
			       cli_int(s, "weight"), what);
	http_reply_fini(&rp);
	return rc;
}

static int put_runtime(struct cli *c, const struct target *g, const char *leaf, json_t *body)
{
	struct sbuf path = { 0 };
	struct http_reply rp;

	sbuf_puts(&path, CLI_API "/pools/");
	http_add_segment(&path, g->pool);
	sbuf_puts(&path, "/servers/");
	http_add_segment(&path, g->server);
	sbuf_printf(&path, "/%s%s", leaf, cli_has(c, OPT_LOCAL) ? "?scope=local" : "");
	struct http_request rq = { .method = "PUT", .path = path.p, .body = body };
	int rc = http_call(c, &rq, &rp);
	sbuf_fini(&path);
	if (rc == EXIT_DONE && cli_has(c, OPT_JSON) && rp.json != NULL)
		cli_print_json(rp.json);
	if (rc == EXIT_DONE)
		http_reply_fini(&rp);
	return rc;
}

/* Until no transaction is open on the server. */
static int wait_idle(struct cli *c, const struct target *g)
{
	char *path = pool_path(g->pool);
	struct timespec start, now, pause = { .tv_nsec = 250000000 };
	long timeout = 60;
	long long n = 0;
	int rc = EXIT_DONE;

	if (!options_number(c, OPT_TIMEOUT, 1, 86400, &timeout))
		rc = EXIT_USAGE;
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (rc == EXIT_DONE) {
		struct http_reply rp;
		rc = http_get(c, path, &rp);
		if (rc != EXIT_DONE)
			break;
		n = server_sum(rp.json, g->server, "transactions");
		http_reply_fini(&rp);
		if (n <= 0)
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= timeout) {
			cli_error("%lld transactions are still open on %s/%s", n, g->pool, g->server);
			rc = EXIT_FAILED;
		}
		nanosleep(&pause, NULL);
	}
	free(path);
	return rc;
}

int cmd_server_state(struct cli *c)
{
	const char *state = strchr(c->command->words, ' ') + 1;
	struct target g;
	int rc = parse_target(c, &g);

	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_DRY_RUN)) {
		rc = dry_run(c, &g, state);
	} else {
		json_t *body = json_pack("{s:s}", "admin", state);
		rc = put_runtime(c, &g, "state", body);
		if (rc == EXIT_DONE && cli_has(c, OPT_WAIT))
			rc = wait_idle(c, &g);
		if (rc == EXIT_DONE && !cli_has(c, OPT_JSON))
			printf("%s: %s\n", c->args[0], state);
		json_decref(body);
	}
	free(g.pool);
	return rc;
}

int cmd_server_weight(struct cli *c)
{
	const char *text = c->args[1];
	bool is_default = strcmp(text, "default") == 0;
	struct target g;

	if (!is_default &&
	    (*text == '\0' || strlen(text) > 4 || strspn(text, "0123456789") != strlen(text) || atoi(text) > 1000)) {
		cli_error("\"%s\" is no weight; write 0 to 1000, or \"default\" for what the configuration says", text);
		return EXIT_USAGE;
	}
	int rc = parse_target(c, &g);
	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_DRY_RUN)) {
		rc = dry_run(c, &g, is_default ? "the configured weight" : text);
	} else {
		json_t *body = is_default ? json_pack("{s:n}", "weight") : json_pack("{s:i}", "weight", atoi(text));
		rc = put_runtime(c, &g, "weight", body);
		if (rc == EXIT_DONE && !cli_has(c, OPT_JSON))
			printf("%s: weight %s\n", c->args[0], text);
		json_decref(body);
	}
	free(g.pool);
	return rc;
}

/* ---- nodes ---- */

/* "3s" ago, or "-" for what is not known and for the node that is asked. */
static void add_seconds(struct table *t, const json_t *n, const char *key)
{
	const json_t *value = json_object_get(n, key);
	char text[64];

	table_add(t, json_is_number(value) ? cli_duration(json_number_value(value), text, sizeof(text)) : "");
}

static void add_node(struct table *t, const char *name, json_t *n)
{
	bool is_heard = json_object_get(n, "sessions") != NULL, is_ready = cli_is_true(n, "ready");
	char text[64];

	table_add(t, name);
	table_add_state(t, cli_str(n, "state"));
	table_add_state(t, cli_str(n, "admin"));
	if (json_object_get(n, "ready") == NULL)
		table_add(t, "");
	else
		table_add_tone(t, is_ready ? "yes" : "no", is_ready ? TONE_PLAIN : TONE_BAD);
	table_add(t, cli_str(n, "version"));
	table_add(t, cli_scalar(json_object_get(n, "revision"), text, sizeof(text)));
	add_seconds(t, n, "uptime");
	if (is_heard)
		table_add_int(t, cli_int(n, "sessions"));
	else
		table_add(t, "");
	if (json_object_get(n, "safe_to_stop") == NULL)
		table_add(t, "");
	else
		table_add(t, cli_is_true(n, "safe_to_stop") ? "yes" : "no");
	if (cli_is_true(n, "this"))
		table_add(t, "");
	else
		add_seconds(t, n, "heard_ago");
}

void cmd_node_table(const struct cli *c, json_t *nodes)
{
	struct table *t = table_new("NODE STATE ADMIN READY VERSION REVISION UPTIME >SESSIONS SAFE-TO-STOP >HEARD");
	const char *name;
	json_t *n;

	json_object_foreach(nodes, name, n)
		add_node(t, name, n);
	table_end(t, c->colour);
}

int cmd_node_list(struct cli *c)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/nodes", &rp);

	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON))
		cli_print_json(rp.json);
	else
		cmd_node_table(c, json_object_get(rp.json, "nodes"));
	http_reply_fini(&rp);
	return EXIT_DONE;
}

static int node_dry_run(struct cli *c, const char *state)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/nodes", &rp);

	if (rc != EXIT_DONE)
		return rc;
	const json_t *n = json_object_get(json_object_get(rp.json, "nodes"), c->args[0]);
	if (n != NULL) {
		printf("%s: %s; would be set to %s\n", c->args[0], cli_str(n, "state"), state);
	} else {
		cli_error("there is no node %s", c->args[0]);
		rc = EXIT_FAILED;
	}
	http_reply_fini(&rp);
	return rc;
}

/* Until the node says that it is safe to stop it. */
static int wait_drained(struct cli *c)
{
	struct timespec start, now, pause = { .tv_nsec = 250000000 };
	long timeout = 60;
	int rc = options_number(c, OPT_TIMEOUT, 1, 86400, &timeout) ? EXIT_DONE : EXIT_USAGE;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (rc == EXIT_DONE) {
		struct http_reply rp;
		rc = http_get(c, CLI_API "/nodes", &rp);
		if (rc != EXIT_DONE)
			break;
		const json_t *n = json_object_get(json_object_get(rp.json, "nodes"), c->args[0]);
		bool done = cli_is_true(n, "safe_to_stop"), heard = json_object_get(n, "sessions") != NULL;
		long long sessions = cli_int(n, "sessions");
		http_reply_fini(&rp);
		if (done)
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= timeout) {
			cli_error("%s is not safe to stop yet: %lld sessions are open%s", c->args[0], sessions,
				  heard ? "" : ", as far as is known");
			rc = EXIT_FAILED;
		}
		nanosleep(&pause, NULL);
	}
	return rc;
}

int cmd_node_state(struct cli *c)
{
	const char *state = strchr(c->command->words, ' ') + 1;
	struct sbuf path = { 0 };
	struct http_reply rp = { 0 };
	int rc = EXIT_DONE;

	if (cli_has(c, OPT_DRY_RUN))
		return node_dry_run(c, state);
	if (strcmp(state, "drain") == 0)
		rc = cli_confirm(
			c,
			"move the addresses of node %s away, and end its mail sessions at their next transaction edge",
			c->args[0]);
	if (rc != EXIT_DONE)
		return rc;
	sbuf_puts(&path, CLI_API "/nodes/");
	http_add_segment(&path, c->args[0]);
	sbuf_puts(&path, cli_has(c, OPT_FORCE) ? "/state?force=true" : "/state");
	json_t *body = json_pack("{s:s}", "admin", state);
	struct http_request rq = { .method = "PUT", .path = path.p, .body = body };
	rc = http_call(c, &rq, &rp);
	if (rc == EXIT_DONE && cli_has(c, OPT_JSON) && rp.json != NULL)
		cli_print_json(rp.json);
	else if (rc == EXIT_DONE)
		printf("%s: %s\n", c->args[0], state);
	http_reply_fini(&rp);
	json_decref(body);
	sbuf_fini(&path);
	if (rc == EXIT_DONE && cli_has(c, OPT_WAIT))
		rc = wait_drained(c);
	if (rc == EXIT_DONE && cli_has(c, OPT_WAIT) && !cli_has(c, OPT_JSON))
		printf("%s: safe to stop\n", c->args[0]);
	return rc;
}
