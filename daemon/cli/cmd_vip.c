/* SPDX-License-Identifier: Apache-2.0
 * `postroad vip …`: virtual addresses, and moving them.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>

/* ---- listing ---- */

static void add_names(struct table *t, const json_t *list)
{
	struct sbuf text = { 0 };

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(json_array_get(list, i));
		sbuf_printf(&text, "%s%s", i > 0 ? " " : "", name != NULL ? name : "");
	}
	table_add_tone(t, text.n > 0 ? text.p : "nobody", json_array_size(list) == 1 ? TONE_PLAIN : TONE_BAD);
	sbuf_fini(&text);
}

static void add_since(struct table *t, const json_t *vip)
{
	const json_t *holder = json_array_get(json_object_get(vip, "holders"), 0);
	const json_t *said =
		json_object_get(json_object_get(vip, "nodes"), holder != NULL ? json_string_value(holder) : "");
	char text[64] = "";

	if (said != NULL)
		cli_duration(json_number_value(json_object_get(said, "since_ago")), text, sizeof(text));
	table_add(t, text);
}

static void add_row(struct table *t, const char *name, json_t *vip)
{
	const json_t *addresses = json_object_get(vip, "addresses");
	const char *first = json_string_value(json_array_get(addresses, 0));
	struct sbuf order = { 0 };

	for (size_t i = 0; i < json_array_size(json_object_get(vip, "order")); i++)
		sbuf_printf(&order, "%s%s", i > 0 ? " " : "",
			    json_string_value(json_array_get(json_object_get(vip, "order"), i)));
	table_add(t, name);
	table_add(t, first != NULL ? first : "");
	add_names(t, json_object_get(vip, "holders"));
	add_since(t, vip);
	table_add(t, order.n > 0 ? order.p : "");
	table_add(t, cli_str(vip, "why"));
	sbuf_fini(&order);
}

/* What each node that does not have one says about it: none, where all could. */
static void print_nodes(const struct cli *c, json_t *vips)
{
	struct table *t = table_new("VIP NODE STATE HEARD WHY-NOT");
	const char *vip, *node;
	json_t *v, *said;

	json_object_foreach(vips, vip, v) {
		json_object_foreach(json_object_get(v, "nodes"), node, said) {
			bool fresh = cli_is_true(said, "fresh");
			if (cli_is_true(said, "holds") || (*cli_str(said, "why") == '\0' && fresh))
				continue;
			table_add(t, vip);
			table_add(t, node);
			table_add(t, cli_str(said, "state"));
			table_add_tone(t, fresh ? "yes" : "no", fresh ? TONE_PLAIN : TONE_BAD);
			table_add(t, cli_str(said, "why"));
		}
	}
	table_end_if_any(t, c->colour);
}

int cmd_vip_list(struct cli *c)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/vips", &rp);
	const char *name;
	json_t *vip;

	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON)) {
		cli_print_json(rp.json);
	} else {
		struct table *t = table_new("VIP ADDRESS NODE SINCE ORDER WHY");
		json_object_foreach(json_object_get(rp.json, "vips"), name, vip)
			add_row(t, name, vip);
		table_end(t, c->colour);
		print_nodes(c, json_object_get(rp.json, "vips"));
	}
	http_reply_fini(&rp);
	return EXIT_DONE;
}

/* ---- moving ---- */

static void print_moves(struct cli *c, const json_t *answer)
{
	json_t *moves = json_object_get(answer, "moves"), *move;
	const char *vip;

	json_object_foreach(moves, vip, move) {
		const char *from = json_string_value(json_object_get(move, "from"));
		printf("%s: %s%s to %s\n", vip, cli_has(c, OPT_DRY_RUN) ? "would move from " : "moves from ",
		       from != NULL ? from : "nobody", cli_str(move, "to"));
	}
	if (json_object_size(moves) == 0)
		puts("nothing to move: each is where it belongs, or nobody else could have it");
}

static int post(struct cli *c, struct sbuf *path, const json_t *body)
{
	struct http_reply rp = { 0 };
	struct http_request rq = { .method = "POST", .body = body };

	if (cli_has(c, OPT_DRY_RUN))
		sbuf_puts(path, "?dry_run=true");
	rq.path = path->p;
	int rc = http_call(c, &rq, &rp);
	if (rc == EXIT_DONE && cli_has(c, OPT_JSON) && rp.json != NULL)
		cli_print_json(rp.json);
	else if (rc == EXIT_DONE)
		print_moves(c, rp.json);
	if (rc == EXIT_DONE)
		http_reply_fini(&rp);
	return rc;
}

int cmd_vip_move(struct cli *c)
{
	struct sbuf path = { 0 };
	json_t *body = json_pack("{s:s}", "node", c->args[1]);

	sbuf_puts(&path, CLI_API "/vips/");
	http_add_segment(&path, c->args[0]);
	sbuf_puts(&path, "/move");
	int rc = post(c, &path, body);
	json_decref(body);
	sbuf_fini(&path);
	return rc;
}

int cmd_vip_rebalance(struct cli *c)
{
	struct sbuf path = { 0 };

	sbuf_puts(&path, CLI_API "/vips/rebalance");
	int rc = post(c, &path, NULL);
	sbuf_fini(&path);
	return rc;
}
