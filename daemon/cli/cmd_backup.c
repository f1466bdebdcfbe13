/* SPDX-License-Identifier: Apache-2.0
 * `postroad cluster backup` and `restore`.
 *
 * The hard thing is the passphrase: it stays in this process, which seals and opens. The node would have to hold its
 * control loop up for the time that making a key of it takes, which is long on purpose.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/trust/backup.h"
#include "daemon/cli/cli.h"

#define BACKUP_FILE_MAX ((size_t)64 << 20)

/* ---- the passphrase ---- */

static int read_passphrase(const struct cli *c, char out[SEAL_PASSPHRASE_MAX + 3], size_t *ret_n)
{
	const char *file = c->options[OPT_PASSPHRASE_FILE];

	if (file == NULL && strcmp(c->args[0], "-") == 0 && strcmp(c->command->words, "cluster restore") == 0) {
		cli_error("the backup and the passphrase cannot both come from standard input: give --passphrase-file");
		return EXIT_USAGE;
	}
	if (!cli_read_secret(file, "Passphrase", out, SEAL_PASSPHRASE_MAX + 3, ret_n))
		return EXIT_FAILED;
	if (*ret_n >= SEAL_PASSPHRASE_MIN && *ret_n <= SEAL_PASSPHRASE_MAX)
		return EXIT_DONE;
	OPENSSL_cleanse(out, SEAL_PASSPHRASE_MAX + 3);
	cli_error(
		"a passphrase has %d to %d bytes%s", SEAL_PASSPHRASE_MIN, SEAL_PASSPHRASE_MAX,
		file != NULL || isatty(STDIN_FILENO)
			? ""
			: "; this one came from standard input, as there is no terminal: give --passphrase-file FILE");
	return EXIT_USAGE;
}

/* ---- backup ---- */

/* Dumps and wipes. */
static bool set_part(struct backup *b, enum backup_part part, const json_t *value)
{
	char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT);

	if (text == NULL)
		return false;
	size_t n = strlen(text);
	bool ok = backup_set(b, part, (struct str) { text, n });
	OPENSSL_cleanse(text, n);
	free(text);
	return ok;
}

static int fetch(struct cli *c, struct backup *b, char **ret_about)
{
	struct http_reply rp;
	int rc = http_get(c, CLI_API "/cluster/backup", &rp);

	if (rc != EXIT_DONE)
		return rc;
	const json_t *manifest = json_object_get(rp.json, "manifest");
	*ret_about = xasprintf("revision %lld of %s", cli_int(manifest, "revision"), cli_str(manifest, "node"));
	if (!set_part(b, BACKUP_MANIFEST, manifest) ||
	    !set_part(b, BACKUP_CONFIGURATION, json_object_get(rp.json, "configuration")) ||
	    !set_part(b, BACKUP_RUNTIME, json_object_get(rp.json, "runtime"))) {
		cli_error("the node's answer holds no backup");
		rc = EXIT_FAILED;
	}
	if (rp.body.p != NULL)
		OPENSSL_cleanse(rp.body.p, rp.body.n);
	http_reply_fini(&rp);
	return rc;
}

static int to_fd(void *arg, struct str bytes)
{
	const int *fd = arg;

	while (bytes.n > 0) {
		ssize_t n = write(*fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
	return 0;
}

static int seal_to(int fd, const struct backup *b, struct str passphrase, const char *name)
{
	char *why = NULL;
	int rc = backup_write(b, passphrase, SEAL_COST, to_fd, &fd, &why);

	if (rc != 0)
		cli_error("%s: %s", name, why != NULL ? why : strerror(-rc));
	free(why);
	return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* Under another name until it is whole: an older backup is not lost to one that fails. */
static int seal_to_file(const struct backup *b, struct str passphrase, const char *name)
{
	char *temp = xasprintf("%s.tmp", name);
	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = EXIT_FAILED;

	if (fd < 0 || fchmod(fd, 0600) != 0) {
		cli_error("%s: %s", temp, strerror(errno));
	} else {
		rc = seal_to(fd, b, passphrase, name);
		if (rc == EXIT_DONE && (fsync(fd) != 0 || rename(temp, name) != 0)) {
			cli_error("%s: %s", name, strerror(errno));
			rc = EXIT_FAILED;
		}
		if (rc != EXIT_DONE)
			unlink(temp);
	}
	if (fd >= 0)
		close(fd);
	free(temp);
	return rc;
}

int cmd_cluster_backup(struct cli *c)
{
	char passphrase[SEAL_PASSPHRASE_MAX + 3], *about = NULL;
	struct backup b = { 0 };
	size_t n = 0;
	int rc = read_passphrase(c, passphrase, &n);

	if (rc != EXIT_DONE)
		return rc;
	rc = fetch(c, &b, &about);
	if (rc == EXIT_DONE)
		rc = strcmp(c->args[0], "-") == 0 ? seal_to(STDOUT_FILENO, &b, (struct str) { passphrase, n },
							    "standard "
							    "output")
						  : seal_to_file(&b, (struct str) { passphrase, n }, c->args[0]);
	if (rc == EXIT_DONE && strcmp(c->args[0], "-") != 0)
		printf("%s: %s\n", c->args[0], about);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	backup_fini(&b);
	free(about);
	return rc;
}

/* ---- restore ---- */

static bool open_file(const char *name, struct str passphrase, struct backup *ret)
{
	size_t n = 0;
	char *why = NULL, *bytes = cli_read_file(name, BACKUP_FILE_MAX, &n);

	if (bytes == NULL)
		return false;
	struct backup_reader *r = backup_reader_new(passphrase);
	/* What is wrong is said at the end. */
	(void)!backup_reader_take(r, (struct str) { bytes, n });
	bool ok = backup_reader_end(r, ret, &why);
	if (!ok)
		cli_error("%s: %s", name, why);
	backup_reader_free(r);
	free(bytes);
	free(why);
	return ok;
}

static json_t *part_json(const struct backup *b, enum backup_part part)
{
	struct str s = backup_get(b, part);

	return s.n == 0 ? NULL : json_loadb(s.p, s.n, JSON_REJECT_DUPLICATES, NULL);
}

static void print_count(const json_t *configuration, const char *section)
{
	const json_t *in = json_object_get(configuration, section);
	size_t n = json_is_array(in) ? json_array_size(in) : json_object_size(in);

	if (n > 0)
		printf("%-14s %zu\n", section, n);
}

static void print_line(const char *name, const char *text)
{
	printf("%-14s ", name);
	table_put_safe(text);
	putchar('\n');
}

static void show(const struct cli *c, const json_t *manifest, const json_t *configuration)
{
	static const char *const sections[] = { "listeners", "pools",        "routes", "users",
						"tokens",    "certificates", "vips" };
	static const char *const facts[] = { "node", "cluster", "time", "version", "revision" };
	char text[64];
	size_t i;
	json_t *n;

	if (cli_has(c, OPT_JSON)) {
		cli_print_json(manifest);
		return;
	}
	for (i = 0; i < ARRAY_LEN(facts); i++)
		print_line(facts[i], cli_scalar(json_object_get(manifest, facts[i]), text, sizeof(text)));
	for (i = 0; i < ARRAY_LEN(sections); i++)
		print_count(configuration, sections[i]);
	json_array_foreach(json_object_get(manifest, "nodes"), i, n) {
		char *line = xasprintf("%s, id %lld, %s%s", cli_str(n, "node"), cli_int(n, "id"), cli_str(n, "listen"),
				       cli_is_true(n, "voter_only") ? ", only votes" : "");
		print_line("was a node", line);
		free(line);
	}
}

static int put(struct cli *c, json_t *manifest, json_t *configuration, json_t *runtime)
{
	json_t *body = json_pack("{s:O, s:O}", "manifest", manifest, "configuration", configuration);
	struct http_request rq = { .method = "POST", .path = CLI_API "/cluster/restore", .body = body };
	struct http_reply rp;

	if (runtime != NULL)
		json_object_set(body, "runtime", runtime);
	int rc = http_call(c, &rq, &rp);
	if (rc == EXIT_DONE) {
		printf("restored as revision %lld\n", cli_int(rp.json, "revision"));
		http_reply_fini(&rp);
	}
	json_decref(body);
	return rc;
}

static int restore(struct cli *c, const struct backup *b)
{
	json_t *manifest = part_json(b, BACKUP_MANIFEST), *configuration = part_json(b, BACKUP_CONFIGURATION);
	json_t *runtime = part_json(b, BACKUP_RUNTIME);
	char node[64], time[64];
	int rc = EXIT_DONE;

	if (cli_has(c, OPT_DRY_RUN)) {
		show(c, manifest, configuration);
	} else {
		rc = cli_confirm(c, "Make the backup of %s, %s, the configuration of this node?",
				 cli_scalar(json_object_get(manifest, "node"), node, sizeof(node)),
				 cli_scalar(json_object_get(manifest, "time"), time, sizeof(time)));
		if (rc == EXIT_DONE)
			rc = put(c, manifest, configuration, runtime);
	}
	json_decref(manifest);
	json_decref(configuration);
	json_decref(runtime);
	return rc;
}

int cmd_cluster_restore(struct cli *c)
{
	char passphrase[SEAL_PASSPHRASE_MAX + 3];
	struct backup b = { 0 };
	size_t n = 0;
	int rc = read_passphrase(c, passphrase, &n);

	if (rc != EXIT_DONE)
		return rc;
	bool ok = open_file(c->args[0], (struct str) { passphrase, n }, &b);
	OPENSSL_cleanse(passphrase, sizeof(passphrase));
	rc = ok ? restore(c, &b) : EXIT_FAILED;
	backup_fini(&b);
	return rc;
}
