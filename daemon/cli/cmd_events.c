/* SPDX-License-Identifier: Apache-2.0
 * `postroad events`: the node's event stream.
 *
 * Events can be lost between two runs; the id of the last one is said at the end, and --after resumes behind it.
 */
#include "daemon/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

struct reader {
	const struct cli *cli;
	long left; /* events still wanted, -1 = all */
};

static void print_json(struct sse *e, json_t *data)
{
	json_t *j = json_pack("{s:s, s:s, s:o}", "id", e->id.n > 0 ? e->id.p : "", "type",
			      e->type.n > 0 ? e->type.p : "message", "data",
			      data != NULL ? json_incref(data) : json_string(e->data.p));

	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

/* "time type key=value …": nested values as JSON. */
static void print_text(struct sse *e, json_t *data)
{
	const char *key;
	json_t *v;

	table_put_safe(*cli_str(data, "time") ? cli_str(data, "time") : "-");
	putchar(' ');
	table_put_safe(e->type.n > 0 ? e->type.p : "message");
	if (!json_is_object(data)) {
		putchar(' ');
		table_put_safe(e->data.p);
	}
	json_object_foreach(data, key, v) {
		char *text = json_is_string(v) ? xstrdup(json_string_value(v))
					       : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		if (strcmp(key, "time") != 0) {
			printf(" ");
			table_put_safe(key);
			putchar('=');
			table_put_safe(text != NULL ? text : "");
		}
		free(text);
	}
	putchar('\n');
}

static bool on_event(struct sse *e, void *arg)
{
	struct reader *r = arg;
	json_t *data = json_loads(e->data.p, JSON_DECODE_ANY, NULL);

	if (cli_has(r->cli, OPT_JSON))
		print_json(e, data);
	else
		print_text(e, data);
	fflush(stdout);
	json_decref(data);
	if (r->left > 0)
		r->left--;
	return r->left != 0;
}

int cmd_events(struct cli *c)
{
	struct reader r = { .cli = c, .left = -1 };
	struct sse e = { .on_event = on_event, .arg = &r };

	if (!options_number(c, OPT_COUNT_LINES, 1, 1000000000, &r.left))
		return EXIT_USAGE;
	int rc = http_stream(c, CLI_API "/events", c->options[OPT_AFTER], sse_line, &e);
	if (r.left != 0) {
		if (rc == EXIT_DONE)
			cli_error("the node has ended the stream%s%s", e.id.n > 0 ? "; resume with --after " : "",
				  e.id.n > 0 ? e.id.p : "");
		rc = rc == EXIT_DONE ? EXIT_FAILED : rc;
	}
	sse_fini(&e);
	return rc;
}
