/* SPDX-License-Identifier: Apache-2.0
 * The reference manual of the configuration and of the node file, in Markdown, from the tables.
 */
#include <stdlib.h>

#include "daemon/conf/conf_schema.h"

static const char notation[] =
	"## Notation\n"
	"\n"
	"| what | how it is written |\n"
	"|---|---|\n"
	"| duration | a string with one unit: `\"500ms\"`, `\"2s\"`, `\"5m\"`, `\"12h\"`, `\"3d\"` |\n"
	"| size | `\"500B\"`, `\"64KiB\"`, `\"50MiB\"`, `\"1GiB\"`, or a number of bytes |\n"
	"| rate | `\"100/min\"`: a number per `s`, `min`, `h` or `d`; `\",burst=20\"` may follow |\n"
	"| data rate | `\"500B/s\"`, `\"10KiB/s\"` |\n"
	"| name | 1 to 63 letters, digits, `_`, `.`, `-`, a letter or digit first; not `comment` |\n"
	"| no limit | `\"unlimited\"`, where the table says so; 0 means zero |\n"
	"| default | leave the key out, or write `null` |\n"
	"| list | `[]` matches nothing, which is not the same as leaving it out |\n"
	"| null sender | `\"<>\"` |\n"
	"| comment | every object takes a free-text `comment` |\n"
	"| per node | where the table says so, `{\"nodes\": {\"n1\": …, \"n2\": …}}` instead of a value; a node that "
	"is not named "
	"has the default |\n"
	"\n"
	"An unknown key is an error. All errors are reported at once.\n"
	"\n";

static void table_cell(struct sbuf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			sbuf_putc(out, '\\');
		sbuf_putc(out, *text);
	}
}

static void default_cell(struct sbuf *out, const struct conf_field *f)
{
	if (f->flags & CONF_REQUIRED)
		sbuf_puts(out, "**required**");
	else if (f->def == conf_default_hostname)
		sbuf_puts(out, "the host name");
	else
		sbuf_printf(out, "`%s`", f->def != NULL ? f->def : "null");
}

static void field_row(struct sbuf *out, const struct conf_field *f)
{
	char *allowed = conf_field_allowed(f);

	sbuf_printf(out, "| `%s` | %s%s%s | ", f->name, f->type->label, f->flags & CONF_PER_NODE ? ", per node" : "",
		    f->flags & CONF_SECRET ? ", secret" : "");
	default_cell(out, f);
	sbuf_puts(out, " | ");
	table_cell(out, allowed);
	sbuf_puts(out, " | ");
	table_cell(out, f->doc);
	if (f->flags & CONF_TRANSPORT)
		sbuf_puts(out, " (also mode `tcp`)");
	sbuf_puts(out, " |\n");
	free(allowed);
}

static void objects(struct sbuf *out, bool node_file)
{
	const struct conf_object *o;

	for (size_t i = 0; (o = conf_object_at(node_file, i)) != NULL; i++) {
		sbuf_printf(out, "### %s\n\n%s\n\n", o->path, o->doc);
		sbuf_puts(out, "| field | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
		for (size_t k = 0; k < o->n_fields; k++)
			field_row(out, &o->fields[k]);
		sbuf_putc(out, '\n');
	}
}

char *conf_manual(void)
{
	struct sbuf out = { 0 };

	sbuf_puts(&out, "# Configuration reference\n\n");
	sbuf_puts(&out, notation);
	sbuf_puts(&out, "## The node file\n\n");
	objects(&out, true);
	sbuf_puts(&out, "## The cluster configuration\n\n");
	objects(&out, false);
	return sbuf_steal(&out);
}
