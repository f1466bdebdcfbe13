/* SPDX-License-Identifier: Apache-2.0
 * `postroad user …`: who may log in to send mail.
 *
 * The hard thing is that the password stays here: what leaves this process is a hash and a verifier, and every buffer
 * the password was in is wiped.
 */
#include "daemon/cli/cli.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/password.h"
#include "daemon/base/scram_verifier.h"

#define PASSWORD_TEXT_MAX (PASSWORD_MAX + 3) /* with CRLF, and a byte that says there was more */

/* ---- reading the password ---- */

/* One line, without its end. */
static bool read_password(const char *file, char out[PASSWORD_MAX + 1])
{
	char text[PASSWORD_TEXT_MAX];
	const char *why = NULL;
	size_t n = 0;

	if (!cli_read_secret(file, "Password", text, sizeof(text), &n))
		return false;
	bool ok = password_valid((struct str) { text, n }, &why);
	if (ok) {
		memcpy(out, text, n);
		out[n] = '\0';
	} else {
		cli_error("%s: %s", file == NULL || strcmp(file, "-") == 0 ? "standard input" : file, why);
	}
	OPENSSL_cleanse(text, sizeof(text));
	return ok;
}

/* ---- what is stored of it ---- */

/* {"password": …, "scram_sha256": …}; NULL = failed (explained). A verifier that cannot be made takes an older one's
 * place nevertheless, since that is of another password. */
static json_t *make_secrets(const char *password)
{
	char hash[PASSWORD_HASH_MAX + 1], text[SCRAM_VERIFIER_TEXT_MAX];
	struct scram_verifier v;

	if (!password_hash_make(password, hash)) {
		cli_error("this machine's libcrypt cannot make yescrypt hashes");
		return NULL;
	}
	json_t *secrets = json_pack("{s:s, s:n}", "password", hash, "scram_sha256");
	if (scram_verifier_make(str_from(password), &v))
		json_object_set_new(secrets, "scram_sha256", json_string(scram_verifier_format(&v, text)));
	else
		cli_error(
			"the password is not plain ASCII, so clients might spell it in other bytes: no SCRAM "
			"verifier was made, only PLAIN and LOGIN will work, and listeners offer SCRAM to nobody while "
			"one user has none");
	OPENSSL_cleanse(hash, sizeof(hash));
	OPENSSL_cleanse(text, sizeof(text));
	OPENSSL_cleanse(&v, sizeof(v));
	return secrets;
}

static json_t *read_secrets(struct cli *c)
{
	char password[PASSWORD_MAX + 1];
	json_t *secrets = NULL;

	if (read_password(c->options[OPT_PASSWORD_FILE], password))
		secrets = make_secrets(password);
	OPENSSL_cleanse(password, sizeof(password));
	return secrets;
}

/* ---- one user at the node ---- */

static char *user_path(const struct cli *c, bool is_dry)
{
	struct sbuf path = { 0 };

	sbuf_puts(&path, CLI_API "/config/users/");
	http_add_segment(&path, c->args[0]);
	sbuf_puts(&path, is_dry ? "?dry_run=true" : "");
	return sbuf_steal(&path);
}

/* His ETag; *ret_etag NULL = there is no such user. */
static int fetch_user(struct cli *c, char **ret_etag)
{
	char *path = user_path(c, false);
	struct http_request rq = { .method = "GET", .path = path, .also_fine = 404 };
	struct http_reply rp;
	int rc = http_call(c, &rq, &rp);

	free(path);
	if (rc != EXIT_DONE)
		return rc;
	if (rp.status != 404 && rp.etag == NULL) {
		cli_error("the node's answer holds no user");
		rc = EXIT_FAILED;
	}
	*ret_etag = rc == EXIT_DONE && rp.status != 404 ? xstrdup(rp.etag) : NULL;
	http_reply_fini(&rp);
	return rc;
}

/* PATCH with a body, DELETE without; etag NULL = only if he does not exist. */
static int write_user(struct cli *c, const json_t *body, const char *etag, const char *done)
{
	bool is_dry = cli_has(c, OPT_DRY_RUN);
	char *path = user_path(c, is_dry);
	struct http_request rq = {
		.method = body != NULL ? "PATCH" : "DELETE",
		.path = path,
		.body = body,
		.content_type = body != NULL ? "application/merge-patch+json" : NULL,
		.if_match = etag,
		.if_none = etag == NULL,
	};
	struct http_reply rp;
	int rc = http_call(c, &rq, &rp);

	free(path);
	if (rc != EXIT_DONE)
		return rc;
	if (cli_has(c, OPT_JSON) && rp.json != NULL)
		cli_print_json(rp.json);
	else
		printf("user %s %s%s\n", c->args[0], is_dry ? "would be " : "", done);
	http_reply_fini(&rp);
	return EXIT_DONE;
}

int cmd_user_add(struct cli *c)
{
	char *etag = NULL;
	int rc = fetch_user(c, &etag);

	if (rc == EXIT_DONE && etag != NULL && !cli_has(c, OPT_DRY_RUN))
		rc = cli_confirm(c, "give user %s, who exists, another password", c->args[0]);
	if (rc == EXIT_DONE) {
		json_t *secrets = read_secrets(c);
		rc = secrets == NULL ? EXIT_FAILED : write_user(c, secrets, etag, etag != NULL ? "changed" : "added");
		json_decref(secrets);
	}
	free(etag);
	return rc;
}

int cmd_user_remove(struct cli *c)
{
	char *etag = NULL;
	int rc = fetch_user(c, &etag);

	if (rc == EXIT_DONE && etag == NULL) {
		cli_error("there is no user %s", c->args[0]);
		rc = EXIT_FAILED;
	}
	if (rc == EXIT_DONE && !cli_has(c, OPT_DRY_RUN))
		rc = cli_confirm(c, "remove user %s: what uses this name can no longer log in", c->args[0]);
	if (rc == EXIT_DONE)
		rc = write_user(c, NULL, etag, "removed");
	free(etag);
	return rc;
}

/* ---- list ---- */

static const char *has(const json_t *user, const char *secret)
{
	return *cli_str(user, secret) ? "yes" : "no";
}

static void add_allow(struct table *table, const json_t *allow)
{
	struct sbuf text = { 0 };
	json_t *one;
	size_t i;

	if (!json_is_array(allow))
		sbuf_puts(&text, "everywhere");
	else if (json_array_size(allow) == 0)
		sbuf_puts(&text, "nowhere");
	json_array_foreach(allow, i, one)
		sbuf_printf(&text, "%s%s", i > 0 ? "," : "", json_is_string(one) ? json_string_value(one) : "?");
	table_add(table, text.p);
	sbuf_fini(&text);
}

int cmd_user_list(struct cli *c)
{
	json_t *document = NULL, *u;
	char *etag = NULL;
	const char *name;
	int rc = config_fetch(c, &document, &etag);

	if (rc != EXIT_DONE)
		return rc;
	json_t *users = json_object_get(document, "users");
	if (cli_has(c, OPT_JSON)) {
		json_t *none = json_object();
		cli_print_json(users != NULL ? users : none);
		json_decref(none);
	} else {
		struct table *table = table_new("NAME PASSWORD SCRAM ALLOW COMMENT");
		json_object_foreach(users, name, u) {
			if (!json_is_object(u)) /* the section's own comment */
				continue;
			table_add(table, name);
			table_add(table, has(u, "password"));
			table_add(table, has(u, "scram_sha256"));
			add_allow(table, json_object_get(u, "allow"));
			table_add(table, cli_str(u, "comment"));
		}
		table_end(table, c->colour);
	}
	json_decref(document);
	free(etag);
	return EXIT_DONE;
}
