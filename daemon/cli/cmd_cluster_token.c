/* SPDX-License-Identifier: Apache-2.0
 * `postroad cluster token` and its like: join tokens.
 *
 * The hard thing: who reads one can join. A file that a shell makes is as readable as its umask says, so the command
 * makes one itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/cli/cmd_private.h"

/* ---- --out FILE ---- */

struct out {
	int fd; /* -1 = none: standard output */
	const char *name;
	char *temp;
};

/* Before the token is asked for: one that nobody can keep lets somebody in. Under another name until it is whole, and
 * never into a file that somebody else has made there. */
static int open_out(const struct cli *c, struct out *ret)
{
	ret->name = c->options[OPT_OUT];
	if (ret->name == NULL)
		return EXIT_DONE;
	ret->temp = xasprintf("%s.tmp", ret->name);
	unlink(ret->temp);
	ret->fd = open(ret->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (ret->fd >= 0)
		return EXIT_DONE;
	cli_error("%s: %s", ret->temp, strerror(errno));
	free(ret->temp);
	return EXIT_FAILED;
}

static int fill_out(struct out *o, const char *token)
{
	if (dprintf(o->fd, "%s\n", token) > 0 && fsync(o->fd) == 0 && rename(o->temp, o->name) == 0)
		return EXIT_DONE;
	cli_error("%s: %s", o->name, strerror(errno));
	return EXIT_FAILED;
}

/* What was not renamed goes. */
static void close_out(struct out *o)
{
	if (o->fd < 0)
		return;
	close(o->fd);
	unlink(o->temp);
	free(o->temp);
}

/* ---- making one ---- */

static void wipe(struct http_reply *rp)
{
	if (rp->body.p != NULL)
		OPENSSL_cleanse(rp->body.p, rp->body.n);
	http_reply_fini(rp);
}

static int put_token(const struct cli *c, struct out *o, json_t *answer, long ttl)
{
	const char *id = cli_str(answer, "token_id");

	if (o->fd >= 0) {
		int rc = fill_out(o, cli_str(answer, "token"));
		if (rc != EXIT_DONE)
			cli_error("nobody has that token; to end it: postroad cluster revoke %s", id);
		if (rc != EXIT_DONE)
			return rc;
		json_object_del(answer, "token");
	}
	if (cli_has(c, OPT_JSON)) {
		cli_print_json(answer);
		return EXIT_DONE;
	}
	fprintf(stderr,
		"Lets one node in within %ld s. On that node: postroad cluster join%s --token-file %s --link ADDRESS\n"
		"To take it back: postroad cluster revoke %s\n",
		ttl, cli_has(c, OPT_VOTER_ONLY) ? " --voter-only" : "", o->fd >= 0 ? o->name : "-", id);
	if (o->fd < 0)
		puts(cli_str(answer, "token"));
	return EXIT_DONE;
}

static int make_token(struct cli *c, const char *replace)
{
	json_t *body = json_object();
	struct out out = { .fd = -1 };
	struct http_reply rp;
	long ttl = 3600;

	if (!options_number(c, OPT_TTL, 1, 7 * 86400, &ttl)) {
		json_decref(body);
		return EXIT_USAGE;
	}
	json_object_set_new(body, "ttl", json_integer(ttl));
	if (cli_has(c, OPT_VOTER_ONLY))
		json_object_set_new(body, "voter_only", json_true());
	if (replace != NULL)
		json_object_set_new(body, "replace", json_string(replace));
	int rc = open_out(c, &out);
	if (rc != EXIT_DONE) {
		json_decref(body);
		return rc;
	}
	rc = cmd_cluster_call(c, "POST", CLI_API "/cluster/tokens", body, &rp);
	if (rc == EXIT_DONE) {
		rc = put_token(c, &out, rp.json, ttl);
		wipe(&rp);
	}
	close_out(&out);
	return rc;
}

int cmd_cluster_token(struct cli *c)
{
	return make_token(c, c->options[OPT_REPLACE]);
}

int cmd_cluster_replace(struct cli *c)
{
	return make_token(c, c->args[0]);
}

int cmd_cluster_tokens(struct cli *c)
{
	struct http_reply rp;
	const char *id;
	json_t *k;
	int rc = http_get(c, CLI_API "/cluster/tokens", &rp);

	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON)) {
		cli_print_json(rp.json);
	} else {
		struct table *table = table_new("ID EXPIRES FOR");
		json_object_foreach(json_object_get(rp.json, "tokens"), id, k) {
			const char *replaces = cli_str(k, "replaces");
			table_add(table, id);
			table_add(table, cli_str(k, "expires"));
			table_add(table, *replaces ? replaces : cli_is_true(k, "voter_only") ? "a voter" : "a node");
		}
		table_end(table, c->colour);
	}
	http_reply_fini(&rp);
	return EXIT_DONE;
}

int cmd_cluster_revoke(struct cli *c)
{
	struct sbuf path = { 0 };
	struct http_reply rp;

	sbuf_puts(&path, CLI_API "/cluster/tokens/");
	http_add_segment(&path, c->args[0]);
	int rc = cmd_cluster_call(c, "DELETE", path.p, NULL, &rp);
	sbuf_fini(&path);
	if (rc != EXIT_DONE)
		return rc;
	http_reply_fini(&rp);
	puts("It lets nobody in any more.");
	return EXIT_DONE;
}
