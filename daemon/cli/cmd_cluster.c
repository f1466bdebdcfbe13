/* SPDX-License-Identifier: Apache-2.0
 * `postroad cluster …`: who belongs to the cluster.
 *
 * The hard thing: what is asked is written down at once and takes effect step by step. So a command waits and says what
 * for; one that is interrupted has changed nothing of that.
 */
#include "daemon/cli/cli.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/cli/cmd_private.h"
#include "daemon/cli/node_file.h"

enum { TOKEN_TEXT = 1024, WAIT_SECONDS = 180 };

/* ---- calls ---- */

int cmd_cluster_call(struct cli *c, const char *method, const char *path, json_t *stolen, struct http_reply *ret)
{
	struct http_request rq = { .method = method, .path = path, .body = stolen };
	int rc = http_call(c, &rq, ret);

	json_decref(stolen);
	return rc;
}

static json_t *links_json(const struct cli *c)
{
	char *copy = xstrdup(cli_has(c, OPT_LINK) ? c->options[OPT_LINK] : ""), *save = NULL;
	json_t *links = json_array();

	for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save))
		json_array_append_new(links, json_string(word));
	free(copy);
	return links;
}

/* What init and join say alike. NULL: explained. */
static json_t *where_json(const struct cli *c)
{
	if (!cli_has(c, OPT_LINK)) {
		cli_error("--link is needed: this machine's address in the network between the nodes");
		return NULL;
	}
	if (cli_has(c, OPT_URL)) {
		cli_error("run this on the machine itself: it writes the node file there");
		return NULL;
	}
	json_t *body = json_pack("{s:o}", "links", links_json(c));
	if (cli_has(c, OPT_LISTEN))
		json_object_set_new(body, "listen", json_string(c->options[OPT_LISTEN]));
	if (cli_has(c, OPT_FORCE))
		json_object_set_new(body, "force", json_true());
	return body;
}

/* ---- waiting ---- */

static bool is_settled(const json_t *s, const char *node)
{
	const json_t *members = json_object_get(s, "members");

	if (strcmp(cli_str(s, "state"), "ACTIVE") != 0 || json_is_object(json_object_get(s, "change")))
		return false;
	return node == NULL || cli_int(json_object_get(members, node), "votes") > 0;
}

static bool is_alone(const json_t *s, const char *node)
{
	(void)node;
	return json_is_null(json_object_get(s, "cluster"));
}

/* A state's name alone sounds like a failure; each is a stage on the way, too. */
static void what_is_awaited(const json_t *s, char out[256])
{
	const json_t *change = json_object_get(s, "change"), *corosync = json_object_get(s, "corosync");
	const char *state = cli_str(s, "state"), *why = cli_str(corosync, "why");

	if (json_is_object(change) && *cli_str(change, "doing") != '\0')
		snprintf(out, 256, "%s", cli_str(change, "doing"));
	else if (strcmp(state, "OFFLINE") == 0 && !cli_is_true(corosync, "connected"))
		snprintf(out, 256, "waiting for corosync to start on this node%s%s", *why != '\0' ? ": " : "", why);
	else if (strcmp(state, "OFFLINE") == 0 || strcmp(state, "SYNC") == 0)
		snprintf(out, 256, "waiting until this node agrees with those that are there (%s)", state);
	else if (strcmp(state, "MINORITY") == 0)
		snprintf(out, 256, "waiting for more nodes: those that are there are too few to decide (%s)", state);
	else
		snprintf(out, 256, "waiting for this to be in force");
}

static void say_progress(const json_t *s, char last[256])
{
	char text[256];

	what_is_awaited(s, text);
	if (strcmp(text, last) == 0)
		return;
	memcpy(last, text, sizeof(text));
	fprintf(stderr, "… %s\n", text);
}

/* ret_gone: what is awaited ends as soon as this node is in no cluster any more, which is then said there and nowhere
 * else; NULL = that is no end. */
static int await_or_gone(struct cli *c, bool (*is_there)(const json_t *s, const char *node), const char *node,
			 bool *ret_gone)
{
	struct timespec start, now, pause = { .tv_nsec = 500000000 };
	long timeout = WAIT_SECONDS;
	char last[256] = "";

	if (!options_number(c, OPT_TIMEOUT, 1, 86400, &timeout))
		return EXIT_USAGE;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct http_reply rp;
		int rc = http_get(c, CLI_API "/cluster/members", &rp);
		if (rc != EXIT_DONE)
			return rc;
		bool done = is_there(rp.json, node), gone = ret_gone != NULL && is_alone(rp.json, node);
		if (!done && !gone)
			say_progress(rp.json, last);
		http_reply_fini(&rp);
		if (gone)
			*ret_gone = true;
		if (done || gone)
			return gone ? EXIT_FAILED : EXIT_DONE;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= timeout) {
			cli_error("not there yet (%s); `postroad cluster status` shows what it waits for", last);
			return EXIT_FAILED;
		}
		nanosleep(&pause, NULL);
	}
}

static int await(struct cli *c, bool (*is_there)(const json_t *s, const char *node), const char *node)
{
	return await_or_gone(c, is_there, node, NULL);
}

/* A member's file says so; one that cannot be written is no reason to be no member. */
static void write_node_file(const json_t *answer, bool member)
{
	const char *file = cli_str(answer, "node_file");
	char *why = NULL;

	if (*file != '\0' && !node_file_set_cluster(file, member ? cli_str(answer, "listen") : NULL, &why))
		cli_error("%s is not changed (%s): set \"cluster\" there by hand", file, why);
	free(why);
}

/* ---- init and join ---- */

static void print_passed_over(const json_t *answer)
{
	json_t *text;
	size_t i;

	json_array_foreach(json_object_get(answer, "passed_over"), i, text)
		fprintf(stderr, "passed over by --force: %s\n", json_string_value(text));
}

int cmd_cluster_init(struct cli *c)
{
	json_t *body = where_json(c);
	struct http_reply rp;

	if (body == NULL)
		return EXIT_USAGE;
	if (cli_has(c, OPT_NAME))
		json_object_set_new(body, "name", json_string(c->options[OPT_NAME]));
	int rc = cmd_cluster_call(c, "POST", CLI_API "/cluster/init", body, &rp);
	if (rc != EXIT_DONE)
		return rc;
	print_passed_over(rp.json);
	write_node_file(rp.json, true);
	char *node = xstrdup(cli_str(rp.json, "node")), *cluster = xstrdup(cli_str(rp.json, "cluster"));
	http_reply_fini(&rp);
	rc = await(c, is_settled, node);
	if (rc == EXIT_DONE)
		printf("%s is the first node of the cluster %s. `postroad cluster token` lets the next one in.\n", node,
		       cluster);
	free(node);
	free(cluster);
	return rc;
}

/* It is in the table by now; that may give it up. */
static int await_vote(struct cli *c, const json_t *answer)
{
	bool gone = false;
	int rc = await_or_gone(c, is_settled, cli_str(answer, "node"), &gone);

	if (rc == EXIT_DONE)
		printf("%s is a member of the cluster %s and votes.\n", cli_str(answer, "node"),
		       cli_str(answer, "cluster"));
	if (!gone)
		return rc;
	write_node_file(answer, false);
	cli_error("the join was given up, and this node is alone again; the log of the member that let it in says why");
	return rc;
}

int cmd_cluster_join(struct cli *c)
{
	const char *file = c->options[OPT_TOKEN_FILE];
	struct http_reply rp;
	size_t n = 0;

	if (file == NULL) {
		cli_error("--token-file is needed: what `postroad cluster token` printed (- = standard input)");
		return EXIT_USAGE;
	}
	json_t *body = where_json(c);
	if (body == NULL)
		return EXIT_USAGE;
	c->options[OPT_TOKEN_FILE] = NULL; /* it is none of the API's */
	char *token = cli_read_file(file, TOKEN_TEXT, &n);
	if (token == NULL) {
		json_decref(body);
		return EXIT_FAILED;
	}
	/* A shell makes the file before the command that fills it, and that may have failed. */
	if (strspn(token, " \t\r\n") == n) {
		cli_error("%s: it is empty: `postroad cluster token` prints what belongs there, if it does not fail",
			  strcmp(file, "-") == 0 ? "standard input" : file);
		free(token);
		json_decref(body);
		return EXIT_FAILED;
	}
	json_object_set_new(body, "token", json_string(token));
	OPENSSL_cleanse(token, n);
	free(token);
	if (cli_has(c, OPT_VOTER_ONLY))
		json_object_set_new(body, "voter_only", json_true());
	int rc = cmd_cluster_call(c, "POST", CLI_API "/cluster/join", body, &rp);
	if (rc != EXIT_DONE)
		return rc;
	print_passed_over(rp.json);
	write_node_file(rp.json, true);
	json_t *answer = json_incref(rp.json);
	http_reply_fini(&rp);
	rc = await_vote(c, answer);
	json_decref(answer);
	return rc;
}

/* ---- going ---- */

int cmd_cluster_leave(struct cli *c)
{
	struct http_reply rp;
	int rc = cli_confirm(c, "take this node out of its cluster: it will stand alone, with the cluster's "
				"configuration but for its virtual addresses");

	if (rc == EXIT_DONE)
		rc = cmd_cluster_call(c, "POST",
				      cli_has(c, OPT_FORCE) ? CLI_API "/cluster/leave?force=true"
							    : CLI_API "/cluster/leave",
				      json_object(), &rp);
	if (rc != EXIT_DONE)
		return rc;
	json_t *answer = json_incref(rp.json);
	http_reply_fini(&rp);
	rc = await(c, is_alone, NULL);
	if (rc == EXIT_DONE) {
		write_node_file(answer, false);
		puts("This node stands alone.");
	}
	json_decref(answer);
	return rc;
}

/* A change that is asked for, and awaited. */
static int call_and_settle(struct cli *c, const char *method, const char *path, json_t *body)
{
	struct http_reply rp;
	int rc = cmd_cluster_call(c, method, path, body, &rp);

	if (rc != EXIT_DONE)
		return rc;
	http_reply_fini(&rp);
	return await(c, is_settled, NULL);
}

int cmd_cluster_remove(struct cli *c)
{
	struct sbuf path = { 0 };
	int rc = cli_confirm(c, "take node %s out of the cluster", c->args[0]);

	if (rc != EXIT_DONE)
		return rc;
	sbuf_puts(&path, CLI_API "/cluster/members/");
	http_add_segment(&path, c->args[0]);
	sbuf_puts(&path, cli_has(c, OPT_FORCE) ? "?force=true" : "");
	rc = call_and_settle(c, "DELETE", path.p, NULL);
	sbuf_fini(&path);
	if (rc == EXIT_DONE)
		printf("%s is no member any more.\n", c->args[0]);
	return rc;
}

/* ---- the rest ---- */

int cmd_cluster_force_quorum(struct cli *c)
{
	int rc = cli_confirm(c, "decide without the nodes that are away: what only they have written is lost, and they "
				"must not be running anywhere");

	if (rc == EXIT_DONE)
		rc = call_and_settle(c, "POST", CLI_API "/cluster/force-quorum", json_object());
	if (rc == EXIT_DONE)
		puts("The nodes that are here decide now. Remove those that will not come back.");
	return rc;
}

int cmd_cluster_rotate_keys(struct cli *c)
{
	int rc = call_and_settle(c, "POST", CLI_API "/cluster/rotate-keys", json_object());

	if (rc == EXIT_DONE)
		puts("All nodes have a new key.");
	return rc;
}

int cmd_cluster_cancel(struct cli *c)
{
	struct http_reply rp;
	int rc = cmd_cluster_call(c, "DELETE", CLI_API "/cluster/change", NULL, &rp);

	if (rc != EXIT_DONE)
		return rc;
	http_reply_fini(&rp);
	puts("It is given up.");
	return EXIT_DONE;
}

static void print_members(const struct cli *c, const json_t *s)
{
	struct table *t = table_new("NODE >ID STATE HERE >VOTES ROLE LINKS LISTEN");
	const char *name;
	json_t *m, *link;
	size_t i;

	json_object_foreach(json_object_get(s, "members"), name, m) {
		struct sbuf links = { 0 };
		bool here = cli_is_true(m, "present");
		json_array_foreach(json_object_get(m, "links"), i, link)
			sbuf_printf(&links, "%s%s", i > 0 ? "," : "", json_string_value(link));
		table_add(t, name);
		table_add_int(t, cli_int(m, "id"));
		table_add(t, cli_str(m, "state"));
		table_add_tone(t,
			       !here                      ? "no"
			       : cli_is_true(m, "synced") ? "in sync"
							  : "yes",
			       here ? TONE_GOOD : TONE_BAD);
		table_add_int(t, cli_int(m, "votes"));
		table_add(t, cli_is_true(m, "tie_breaker")  ? "tie-breaker"
			     : cli_is_true(m, "voter_only") ? "voter"
							    : "node");
		table_add(t, links.n > 0 ? links.p : "");
		table_add(t, cli_str(m, "listen"));
		sbuf_fini(&links);
	}
	table_end(t, c->colour);
}

static void print_status(const struct cli *c, const json_t *s)
{
	const json_t *change = json_object_get(s, "change"), *corosync = json_object_get(s, "corosync");

	printf("cluster %s: %s%s\n", cli_str(s, "cluster"), cli_str(s, "state"),
	       cli_is_true(s, "single_copy") ? ", single copy" : "");
	if (!cli_is_true(corosync, "connected") && *cli_str(corosync, "why") != '\0')
		printf("corosync: %s\n", cli_str(corosync, "why"));
	if (json_is_object(change))
		printf("change under way: %s %s (%s): %s\n", cli_str(change, "kind"), cli_str(change, "node"),
		       cli_str(change, "step"), cli_str(change, "doing"));
	print_members(c, s);
}

int cmd_cluster_status(struct cli *c)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/cluster/members", &rp);

	if (rc != EXIT_DONE)
		return rc;
	bool alone = is_alone(rp.json, NULL), well = alone || cli_is_true(rp.json, "quorum");
	if (cli_has(c, OPT_JSON))
		cli_print_json(rp.json);
	else if (alone)
		puts("This node is in no cluster.");
	else
		print_status(c, rp.json);
	http_reply_fini(&rp);
	return well ? EXIT_DONE : EXIT_UNHEALTHY;
}
