/* SPDX-License-Identifier: Apache-2.0
 * `postroad explain`: where a message would go, as the node's own routing code says.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *question(const struct cli *c)
{
	static const struct {
		enum option option;
		const char *key;
	} keys[] = {
		{ OPT_LISTENER, "listener" },
		{ OPT_CLIENT, "client" },
		{ OPT_HELO, "helo" },
		{ OPT_USER, "user" },
		{ OPT_CLIENT_CERTIFICATE, "client_certificate" },
		{ OPT_FROM, "sender" },
	};
	json_t *q = json_object(), *recipients = json_array();

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (cli_has(c, keys[i].option))
			json_object_set_new(q, keys[i].key, json_string(c->options[keys[i].option]));
	for (unsigned i = 0; i < c->n_args; i++)
		json_array_append_new(recipients, json_string(c->args[i]));
	json_object_set_new(q, "recipients", recipients);
	return q;
}

static void print_candidates(const struct cli *c, const json_t *list)
{
	struct table *t = table_new("SERVER STATE USABLE WHY");
	json_t *s;
	size_t i;

	json_array_foreach(list, i, s) {
		bool is_usable = cli_is_true(s, "usable");
		table_add(t, cli_str(s, "server"));
		table_add_state(t, cli_str(s, "state"));
		table_add_tone(t, is_usable ? "yes" : "no", is_usable ? TONE_GOOD : TONE_WARN);
		table_add(t, cli_str(s, "why"));
	}
	table_end(t, c->colour);
}

static void print_labelled(const char *label, const char *value)
{
	if (*value == '\0')
		return;
	printf("  %-8s ", label);
	table_put_safe(value);
	putchar('\n');
}

static void print_recipient(const struct cli *c, const json_t *r)
{
	const char *route = cli_str(r, "route"), *action = cli_str(r, "action");
	json_t *step;
	size_t i;

	if (*route == '\0' && strcmp(action, "pool") == 0)
		route = "(none: the listener's pool)";
	table_put_safe(cli_str(r, "recipient"));
	putchar('\n');
	print_labelled("route", route);
	print_labelled("action", action);
	print_labelled("text", cli_str(r, "text"));
	print_labelled("pool", cli_str(r, "pool"));
	json_array_foreach(json_object_get(r, "routes"), i, step) {
		char *text = xasprintf("%s: %s", cli_str(step, "route"), cli_str(step, "why"));
		print_labelled("tried", text);
		free(text);
	}
	if (json_array_size(json_object_get(r, "candidates")) > 0)
		print_candidates(c, json_object_get(r, "candidates"));
}

/* Which client is asked about decides everything: one that nobody named is the node's own loopback. */
static void print_refusal(const struct cli *c, const char *why)
{
	fputs("the client ", stdout);
	table_put_safe(cli_has(c, OPT_CLIENT) ? c->options[OPT_CLIENT] : "127.0.0.1 (assumed: no --client is given)");
	fputs(" would be refused: ", stdout);
	table_put_safe(why);
	putchar('\n');
}

static void print_answer(const struct cli *c, const json_t *answer)
{
	const json_t *client = json_object_get(answer, "client");
	json_t *r;
	size_t i;

	if (!cli_is_true(client, "allowed"))
		print_refusal(c, cli_str(client, "why"));
	if (*cli_str(answer, "auth") != '\0')
		print_refusal(c, cli_str(answer, "auth"));
	json_array_foreach(json_object_get(answer, "recipients"), i, r)
		print_recipient(c, r);
}

int cmd_explain(struct cli *c)
{
	long size = 0;
	struct http_reply rp = { 0 };

	if (!options_number(c, OPT_SIZE, 0, 1L << 40, &size))
		return EXIT_USAGE;
	json_t *q = question(c);
	if (cli_has(c, OPT_SIZE))
		json_object_set_new(q, "size", json_integer(size));
	struct http_request rq = { .method = "POST", .path = CLI_API "/explain", .body = q };
	int rc = http_call(c, &rq, &rp);
	if (rc == EXIT_DONE && cli_has(c, OPT_JSON))
		cli_print_json(rp.json);
	else if (rc == EXIT_DONE)
		print_answer(c, rp.json);
	http_reply_fini(&rp);
	json_decref(q);
	return rc;
}
