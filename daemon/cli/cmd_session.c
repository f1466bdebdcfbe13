/* SPDX-License-Identifier: Apache-2.0
 * `postroad session …`: who is connected, ending sessions, watching one.
 *
 * A trace is shown as it comes, whatever the node sends: it holds what clients say, so nothing of it reaches the
 * terminal unescaped.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- list ---- */

static void print_sessions(const struct cli *c, const json_t *answer)
{
	struct table *t = table_new("ID CLIENT LISTENER HELO USER STAGE BACKEND >AGE >IN >OUT >MESSAGES");
	const json_t *list = json_object_get(answer, "sessions");
	char text[64];
	json_t *s;
	size_t i;

	json_array_foreach(list, i, s) {
		table_add(t, cli_str(s, "id"));
		table_add(t, cli_str(s, "client"));
		table_add(t, cli_str(s, "listener"));
		table_add(t, cli_str(s, "helo"));
		table_add(t, cli_str(s, "user"));
		table_add(t, cli_str(s, "stage"));
		table_add(t, cli_str(s, "backend"));
		table_add(t, cli_duration(json_number_value(json_object_get(s, "age")), text, sizeof(text)));
		table_add(t, cli_bytes((double)cli_int(s, "bytes_in"), text, sizeof(text)));
		table_add(t, cli_bytes((double)cli_int(s, "bytes_out"), text, sizeof(text)));
		table_add_int(t, cli_int(s, "transactions"));
	}
	size_t shown = table_rows(t);
	table_end(t, c->colour);
	if (cli_int(answer, "total") > (long long)shown)
		printf("%zu of %lld; --limit shows more\n", shown, cli_int(answer, "total"));
}

int cmd_session_list(struct cli *c)
{
	struct http_reply rp;
	long limit = 100;

	if (!options_number(c, OPT_LIMIT, 1, 10000, &limit))
		return EXIT_USAGE;
	char *path = xasprintf(CLI_API "/sessions?limit=%ld", limit);
	int rc = http_get(c, path, &rp);
	free(path);
	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON))
		cli_print_json(rp.json);
	else
		print_sessions(c, rp.json);
	http_reply_fini(&rp);
	return EXIT_DONE;
}

/* ---- kill ---- */

static char *session_path(const char *id, const char *leaf)
{
	struct sbuf path = { 0 };

	sbuf_puts(&path, CLI_API "/sessions/");
	http_add_segment(&path, id);
	sbuf_puts(&path, leaf);
	return sbuf_steal(&path);
}

static int kill_one(struct cli *c, const char *id)
{
	char *path = session_path(id, "");
	struct http_request rq = { .method = "DELETE", .path = path };
	struct http_reply rp = { 0 };
	int rc = http_call(c, &rq, &rp);

	if (rc == EXIT_DONE && cli_has(c, OPT_JSON) && rp.json != NULL)
		cli_print_json(rp.json);
	else if (rc == EXIT_DONE && !cli_has(c, OPT_JSON))
		printf("%s: ended\n", id);
	http_reply_fini(&rp);
	free(path);
	return rc;
}

int cmd_session_kill(struct cli *c)
{
	int worst = EXIT_DONE;

	if (cli_has(c, OPT_DRY_RUN)) {
		for (unsigned i = 0; i < c->n_args; i++)
			printf("%s: would be ended\n", c->args[i]);
		return EXIT_DONE;
	}
	int rc = cli_confirm(c, "end %u session%s at once", c->n_args, c->n_args > 1 ? "s" : "");
	if (rc != EXIT_DONE)
		return rc;
	for (unsigned i = 0; i < c->n_args; i++) {
		rc = kill_one(c, c->args[i]);
		worst = rc != EXIT_DONE ? rc : worst;
	}
	return worst;
}

/* ---- trace ---- */

struct trace {
	const struct cli *cli;
	bool is_ended; /* the node said so */
};

/* "12:00:01.250  C: MAIL FROM:<…>": who spoke to whom, in the letters of the API. */
static void print_trace_line(const json_t *line)
{
	static const struct {
		const char *side, *label;
	} labels[] = {
		{ "C", "client  >" }, { "c", "client  <" }, { "B", "backend >" },
		{ "b", "backend <" }, { "i", "        *" },
	};
	const char *side = cli_str(line, "side"), *time = cli_str(line, "time");
	const char *clock = strchr(time, 'T') != NULL ? strchr(time, 'T') + 1 : time;
	const char *label = side;

	for (size_t i = 0; i < ARRAY_LEN(labels); i++)
		if (strcmp(labels[i].side, side) == 0)
			label = labels[i].label;
	table_put_safe(clock);
	printf("  %s ", label);
	table_put_safe(cli_str(line, "text"));
	putchar('\n');
}

static bool on_trace_event(struct sse *e, void *arg)
{
	struct trace *tr = arg;
	bool is_end = e->type.n > 0 && strcmp(e->type.p, "end") == 0;
	json_t *line = json_loads(e->data.p, 0, NULL);

	if (cli_has(tr->cli, OPT_JSON))
		puts(e->data.p);
	else if (line != NULL && *cli_str(line, "text"))
		print_trace_line(line);
	fflush(stdout);
	json_decref(line);
	tr->is_ended = is_end;
	return !is_end;
}

int cmd_session_trace(struct cli *c)
{
	struct trace tr = { .cli = c };
	struct sse e = { .on_event = on_trace_event, .arg = &tr };
	char *path = session_path(c->args[0], "/trace");
	int rc = http_stream(c, path, NULL, sse_line, &e);

	if (rc == EXIT_DONE && !cli_has(c, OPT_JSON))
		puts(tr.is_ended ? "the session has ended" : "the trace has ended");
	sse_fini(&e);
	free(path);
	return rc;
}
