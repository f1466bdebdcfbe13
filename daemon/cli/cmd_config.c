/* SPDX-License-Identifier: Apache-2.0
 * `postroad config …`: read, apply, compare, roll back.
 *
 * Every write first takes the ETag and asks the node for the difference, then writes under that ETag: so the same file
 * twice changes nothing and says so, and a change made meanwhile by somebody else is never overwritten. The node
 * compares, not this program, because only the node can tell whether a masked secret would change.
 */
#include "daemon/cli/cli.h"
#include "daemon/cli/config_private.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

int config_fetch(struct cli *c, json_t **ret_document, char **ret_etag)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/config", &rp);

	if (rc != EXIT_DONE)
		return rc;
	if (!json_is_object(rp.json) || rp.etag == NULL) {
		cli_error("the node's answer holds no configuration");
		rc = EXIT_FAILED;
	} else {
		*ret_document = json_incref(rp.json);
		*ret_etag = xstrdup(rp.etag);
	}
	http_reply_fini(&rp);
	return rc;
}

int cmd_config_get(struct cli *c)
{
	struct sbuf path = { 0 };
	struct http_reply rp;
	int rc;

	sbuf_puts(&path, CLI_API "/config");
	if (c->n_args == 2) {
		sbuf_putc(&path, '/');
		http_add_segment(&path, c->args[0]);
		sbuf_putc(&path, '/');
		http_add_segment(&path, c->args[1]);
	}
	if (cli_has(c, OPT_EFFECTIVE) || cli_has(c, OPT_WITH_SECRETS))
		sbuf_printf(&path, "?%s%s%s", cli_has(c, OPT_EFFECTIVE) ? "effective=true" : "",
			    cli_has(c, OPT_EFFECTIVE) && cli_has(c, OPT_WITH_SECRETS) ? "&" : "",
			    cli_has(c, OPT_WITH_SECRETS) ? "with_secrets=true" : "");
	rc = http_get(c, path.p, &rp);
	sbuf_fini(&path);
	if (rc != EXIT_DONE)
		return rc;
	const json_t *part = c->n_args == 1 ? json_object_get(rp.json, c->args[0]) : rp.json;
	if (part == NULL) {
		cli_error("the configuration has no \"%s\"", c->n_args > 0 ? c->args[0] : "document");
		rc = EXIT_FAILED;
	} else {
		cli_print_json(part);
	}
	http_reply_fini(&rp);
	return rc;
}

int cmd_config_history(struct cli *c)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/config/revisions", &rp);
	size_t i;
	json_t *r;

	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON)) {
		cli_print_json(rp.json);
	} else {
		struct table *t = table_new(">REVISION TIME AUTHOR NODE CHANGE");
		json_array_foreach(json_object_get(rp.json, "revisions"), i, r) {
			table_add_int(t, cli_int(r, "revision"));
			table_add(t, cli_str(r, "time"));
			table_add(t, cli_str(r, "author"));
			table_add(t, cli_str(r, "node"));
			table_add(t, cli_str(r, "comment"));
		}
		table_end(t, c->colour);
	}
	http_reply_fini(&rp);
	return EXIT_DONE;
}

/* ---- documents ---- */

json_t *config_parse_text(const char *name, const char *text, size_t n)
{
	json_error_t e;
	json_t *doc = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);

	if (doc == NULL)
		cli_error("%s: line %d, column %d: %s", name, e.line, e.column, e.text);
	else if (!json_is_object(doc))
		cli_error("%s: a configuration is a JSON object", name);
	if (doc != NULL && !json_is_object(doc)) {
		json_decref(doc);
		doc = NULL;
	}
	return doc;
}

static int read_document(const char *name, json_t **ret)
{
	size_t n;
	char *text = cli_read_file(name, CONFIG_MAX, &n);

	if (text == NULL)
		return EXIT_FAILED;
	*ret = config_parse_text(strcmp(name, "-") == 0 ? "standard input" : name, text, n);
	free(text);
	return *ret == NULL ? EXIT_USAGE : EXIT_DONE;
}

static bool is_revision(const char *text)
{
	return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* The document of an old revision. */
static int fetch_revision(struct cli *c, const char *number, json_t **ret)
{
	char *path = xasprintf(CLI_API "/config/revisions/%s", number);
	struct http_reply rp;
	int rc = http_get(c, path, &rp);

	free(path);
	if (rc != EXIT_DONE)
		return rc;
	*ret = json_incref(json_object_get(rp.json, "config"));
	http_reply_fini(&rp);
	if (json_is_object(*ret))
		return EXIT_DONE;
	cli_error("the node's answer holds no configuration");
	json_decref(*ret);
	return EXIT_FAILED;
}

/* ---- differences ---- */

static void print_value(char sign, const char *path, const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	printf("%c ", sign);
	table_put_safe(path);
	putchar(' ');
	table_put_safe(text != NULL ? text : "");
	putchar('\n');
	free(text);
}

int config_print_diff(const struct cli *c, const json_t *answer)
{
	static const char *const tones[] = { "\033[31m", "\033[32m", "\033[0m" };
	const json_t *list = json_object_get(answer, "changes");
	json_t *change;
	size_t i;

	if (!json_is_array(list))
		return -1;
	json_array_foreach(list, i, change) {
		const json_t *from = json_object_get(change, "from"), *to = json_object_get(change, "to");
		const char *op = cli_str(change, "op");
		if (strcmp(op, "add") != 0) {
			fputs(c->colour ? tones[0] : "", stdout);
			print_value('-', cli_str(change, "path"), from);
			fputs(c->colour ? tones[2] : "", stdout);
		}
		if (strcmp(op, "remove") != 0) {
			fputs(c->colour ? tones[1] : "", stdout);
			print_value('+', cli_str(change, "path"), to);
			fputs(c->colour ? tones[2] : "", stdout);
		}
	}
	return (int)json_array_size(list);
}

static size_t change_count(const json_t *answer)
{
	return json_array_size(json_object_get(answer, "changes"));
}

static void print_warnings(const json_t *answer)
{
	json_t *w;
	size_t i;

	json_array_foreach(json_object_get(answer, "warnings"), i, w) {
		if (json_is_string(w))
			fprintf(stderr, "warning: %s\n", json_string_value(w));
		else
			fprintf(stderr, "warning: %s%s%s\n", cli_str(w, "path"), *cli_str(w, "path") ? ": " : "",
				cli_str(w, "detail"));
	}
}

/* ---- writing ---- */

int config_write(struct cli *c, const struct config_write *w, struct http_reply *ret)
{
	struct http_request rq = {
		.method = w->method,
		.path = w->dry_run ? CLI_API "/config?dry_run=true" : CLI_API "/config",
		.body = w->body,
		.content_type = w->content_type,
		.if_match = w->etag,
	};

	return http_call(c, &rq, ret);
}

static int put_dry(struct cli *c, const json_t *doc, const char *etag, struct http_reply *ret)
{
	struct config_write w = { .method = "PUT", .body = doc, .etag = etag, .dry_run = true };

	return config_write(c, &w, ret);
}

/* Says what became of a change: the difference for people, one object for programs. revision < 0: it has none yet. */
static void report(const struct cli *c, const json_t *answer, const char *outcome, long long revision)
{
	if (cli_has(c, OPT_JSON)) {
		json_t *j = json_pack("{s:b, s:s, s:O}", "changed", change_count(answer) > 0, "outcome", outcome,
				      "changes", json_object_get(answer, "changes"));
		if (revision >= 0)
			json_object_set_new(j, "revision", json_integer(revision));
		cli_print_json(j);
		json_decref(j);
		return;
	}
	config_print_diff(c, answer);
	if (revision >= 0)
		printf("%s: revision %lld\n", outcome, revision);
	else
		puts(outcome);
}

/* "all 2 users" or "the only user" into out where the section has something before and nothing behind the change; how
 * many that are. */
static size_t lost_of(const struct config_change *ch, const char *section, struct sbuf *out)
{
	size_t n = json_object_size(json_object_get(ch->before, section));
	const char *and = out->n > 0 ? " and " : "";

	if (n == 0 || json_object_size(json_object_get(ch->after, section)) > 0)
		return 0;
	if (n > 1)
		sbuf_printf(out, "%sall %zu %s", and, n, section);
	else
		sbuf_printf(out, "%sthe only %.*s", and, (int)strlen(section) - 1, section); /* without its "s" */
	return n;
}

/* Whether the change may be made although logins vanish with it. */
static int confirm_lost(const struct cli *c, const struct config_change *ch)
{
	struct sbuf lost = { 0 };
	size_t n = lost_of(ch, "users", &lost);
	int rc = EXIT_DONE;

	n += lost_of(ch, "tokens", &lost);
	const char *who = n == 1 ? "it loses" : "them loses";
	if (n > 0 && ch->dry_run)
		fprintf(stderr, "warning: this would remove %s: who logs in by %s access\n", lost.p, who);
	else if (n > 0)
		rc = cli_confirm(c, "remove %s: who logs in by %s access", lost.p, who);
	sbuf_fini(&lost);
	return rc;
}

static int put_changed(struct cli *c, const struct config_change *ch, const json_t *dry)
{
	struct config_write w = { .method = "PUT", .body = ch->after, .etag = ch->etag };
	struct http_reply rp = { 0 };
	int rc = confirm_lost(c, ch);

	if (rc == EXIT_DONE && ch->dry_run) {
		report(c, dry, "dry run: nothing was changed", -1);
	} else if (rc == EXIT_DONE) {
		rc = config_write(c, &w, &rp);
		if (rc == EXIT_DONE)
			report(c, dry, "applied", cli_int(rp.json, "revision"));
	}
	http_reply_fini(&rp);
	return rc;
}

int config_put(struct cli *c, const struct config_change *ch)
{
	struct http_reply dry;
	int rc = put_dry(c, ch->after, ch->etag, &dry);

	if (rc != EXIT_DONE)
		return rc;
	print_warnings(dry.json);
	if (!json_is_array(json_object_get(dry.json, "changes"))) {
		cli_error("the node's answer holds no difference");
		rc = EXIT_FAILED;
	} else if (change_count(dry.json) == 0) {
		report(c, dry.json, "unchanged", -1);
	} else {
		rc = put_changed(c, ch, dry.json);
	}
	http_reply_fini(&dry);
	return rc;
}

int cmd_config_apply(struct cli *c)
{
	json_t *doc = NULL, *current = NULL;
	char *etag = NULL;
	int rc = read_document(c->args[0], &doc);

	if (rc == EXIT_DONE)
		rc = config_fetch(c, &current, &etag);
	if (rc == EXIT_DONE)
		rc = config_put(
			c, &(struct config_change) {
				   .before = current, .after = doc, .etag = etag, .dry_run = cli_has(c, OPT_DRY_RUN) });
	json_decref(doc);
	json_decref(current);
	free(etag);
	return rc;
}

/* check and diff: a dry run of which only one half matters. */
static int compare(struct cli *c, json_t *doc, bool print_diff)
{
	json_t *current = NULL;
	char *etag = NULL;
	struct http_reply dry = { 0 };
	int rc = config_fetch(c, &current, &etag);

	if (rc == EXIT_DONE)
		rc = put_dry(c, doc, etag, &dry);
	if (rc == EXIT_DONE) {
		print_warnings(dry.json);
		if (cli_has(c, OPT_JSON))
			cli_print_json(dry.json);
		else if (!print_diff)
			printf("valid, %zu changes\n", change_count(dry.json));
		else if (config_print_diff(c, dry.json) == 0)
			puts("no difference");
	}
	http_reply_fini(&dry);
	json_decref(current);
	free(etag);
	return rc;
}

int cmd_config_check(struct cli *c)
{
	json_t *doc = NULL;
	int rc = read_document(c->args[0], &doc);

	if (rc == EXIT_DONE)
		rc = compare(c, doc, false);
	json_decref(doc);
	return rc;
}

int cmd_config_diff(struct cli *c)
{
	json_t *doc = NULL;
	int rc = is_revision(c->args[0]) ? fetch_revision(c, c->args[0], &doc) : read_document(c->args[0], &doc);

	if (rc == EXIT_DONE)
		rc = compare(c, doc, true);
	json_decref(doc);
	return rc;
}

/* ---- rolling back ---- */

int cmd_config_rollback(struct cli *c)
{
	bool is_dry = cli_has(c, OPT_DRY_RUN);
	json_t *current = NULL;
	char *etag = NULL;
	struct http_reply rp = { 0 };
	int rc = EXIT_DONE;

	if (!is_revision(c->args[0])) {
		cli_error("\"%s\" is no revision; postroad config history lists them", c->args[0]);
		return EXIT_USAGE;
	}
	if (!is_dry)
		rc = cli_confirm(c, "replace the configuration by that of revision %s", c->args[0]);
	if (rc == EXIT_DONE)
		rc = config_fetch(c, &current, &etag);
	if (rc != EXIT_DONE)
		return rc;
	json_t *body = json_pack("{s:I}", "revision", (json_int_t)strtoll(c->args[0], NULL, 10));
	struct http_request rq = {
		.method = "POST",
		.path = is_dry ? CLI_API "/config/rollback?dry_run=true" : CLI_API "/config/rollback",
		.body = body,
		.if_match = etag,
	};
	rc = http_call(c, &rq, &rp);
	if (rc == EXIT_DONE) {
		print_warnings(rp.json);
		report(c, rp.json, is_dry ? "dry run: nothing was changed" : "rolled back",
		       is_dry ? -1 : cli_int(rp.json, "revision"));
	}
	http_reply_fini(&rp);
	json_decref(body);
	json_decref(current);
	free(etag);
	return rc;
}
