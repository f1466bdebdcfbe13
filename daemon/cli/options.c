/* SPDX-License-Identifier: Apache-2.0
 * The command line: which options exist, and sorting argv into options and arguments.
 *
 * Options may stand anywhere, before the command's words too, so which command takes which option is checked
 * afterwards. One table serves parsing, help, completion and the manual; getopt_long would need its own copy of it.
 */
#include "daemon/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const struct option_def option_defs[OPT_COUNT] = {
	[OPT_SOCKET] = { "socket", "PATH",
			 "the node's admin socket (default $POSTROAD_SOCKET or " CLI_SOCKET_DEFAULT ")" },
	[OPT_URL] = { "url", "URL", "talk to https://HOST:PORT instead of the socket" },
	[OPT_TOKEN_FILE] = { "token-file", "FILE", "the bearer token for --url (- = standard input)" },
	[OPT_CA_FILE] = { "ca-file", "FILE", "certificates to trust for --url instead of the system's" },
	[OPT_FINGERPRINT] = { "fingerprint", "SHA256",
			      "trust exactly this certificate for --url (see postroad status)" },
	[OPT_TIMEOUT] = { "timeout", "SECONDS", "how long one call may take (default 60)" },
	[OPT_JSON] = { "json", NULL, "the API's answer as JSON, for programs" },
	[OPT_HELP] = { "help", NULL, "help on a command" },
	[OPT_DRY_RUN] = { "dry-run", NULL, "say what would change, change nothing" },
	[OPT_YES] = { "yes", NULL, "do not ask" },
	[OPT_EFFECTIVE] = { "effective", NULL, "with every default filled in" },
	[OPT_WITH_SECRETS] = { "with-secrets", NULL, "with secrets in clear text (root, on the local socket)" },
	[OPT_LOCAL] = { "local", NULL, "on this node alone, even when there is no quorum" },
	[OPT_WAIT] = { "wait", NULL, "return when nothing is left on it (within --timeout)" },
	[OPT_LIMIT] = { "limit", "N", "show at most N (default 100)" },
	[OPT_COUNT_LINES] = { "count", "N", "end after N" },
	[OPT_INTERVAL] = { "interval", "SECONDS", "time between refreshes (default 2)" },
	[OPT_AFTER] = { "after", "ID", "resume behind this event" },
	[OPT_LISTENER] = { "listener", "NAME", "the listener the client connects to" },
	[OPT_CLIENT] = { "client", "ADDRESS", "the client's IP address (default 127.0.0.1)" },
	[OPT_HELO] = { "helo", "NAME", "the name the client greets with" },
	[OPT_USER] = { "user", "NAME", "the user the client logged in as" },
	[OPT_CLIENT_CERTIFICATE] = { "client-certificate", "NAME",
				     "a name in the client's certificate, as routes write it" },
	[OPT_FROM] = { "from", "SENDER", "the envelope sender (<> = the null sender)" },
	[OPT_SIZE] = { "size", "BYTES", "the size announced with MAIL" },
	[OPT_ROLE] = { "role", "ROLE", "viewer, operator or admin" },
	[OPT_EXPIRES] = { "expires", "TIME", "end of the token's life, RFC 3339 (default: never)" },
	[OPT_PASSWORD_FILE] = { "password-file", "FILE", "where the password stands (default: standard input)" },
	[OPT_LINK] = { "link", "ADDRESS", "this machine in the network between nodes; twice for two networks" },
	[OPT_NAME] = { "name", "NAME", "the cluster's name (default postroad)" },
	[OPT_LISTEN] = { "listen", "ADDRESS", "where other nodes call this one (default: the first link, port 8426)" },
	[OPT_VOTER_ONLY] = { "voter-only", NULL, "a node that votes and carries no mail" },
	[OPT_REPLACE] = { "replace", "NODE", "in the place of a node that will not come back" },
	[OPT_TTL] = { "ttl", "SECONDS", "how long it is good (default 3600)" },
	[OPT_FORCE] = { "force", NULL,
			"although a check fails, a node is away that is known to be off, or nobody else takes over" },
	[OPT_OUT] = { "out", "FILE", "write it there, readable by the owner alone, instead of standard output" },
	[OPT_PASSPHRASE_FILE] = { "passphrase-file", "FILE", "where the passphrase stands (default: standard input)" },
};

bool cli_has(const struct cli *c, enum option o)
{
	return c->options[o] != NULL;
}

static const char *option_name(size_t i)
{
	return i < OPT_COUNT ? option_defs[i].name : NULL;
}

static int unknown_option(const char *name)
{
	const char *near = cli_nearest(name, option_name);

	if (near != NULL)
		cli_error("unknown option --%s; did you mean --%s?", name, near);
	else
		cli_error("unknown option --%s; see postroad --help", name);
	return EXIT_USAGE;
}

/* One "--name", "--name=value" or "--name value"; *i moves over a value in its own word. */
static int take_option(struct cli *c, int argc, char **argv, int *i)
{
	const char *word = argv[*i] + 2, *eq = strchr(word, '=');
	char name[64];

	snprintf(name, sizeof(name), "%.*s", eq != NULL ? (int)(eq - word) : (int)strlen(word), word);
	for (size_t o = 0; o < OPT_COUNT; o++) {
		const struct option_def *d = &option_defs[o];
		if (strcmp(d->name, name) != 0)
			continue;
		if (d->arg == NULL && eq != NULL) {
			cli_error("--%s takes no value", name);
			return EXIT_USAGE;
		}
		if (d->arg != NULL && eq == NULL && ++*i >= argc) {
			cli_error("--%s needs a value: --%s %s", name, name, d->arg);
			return EXIT_USAGE;
		}
		const char *value = d->arg == NULL ? "" : eq != NULL ? eq + 1 : argv[*i];
		/* The one that may be given twice is a list, also in one word. Never freed: it lasts as long as argv.
		 */
		if (o == OPT_LINK && c->options[o] != NULL)
			value = xasprintf("%s,%s", c->options[o], value);
		c->options[o] = value;
		return EXIT_DONE;
	}
	return unknown_option(name);
}

/* JSON can hold nothing else, and a name that silently fell out of a request would be worse than a refusal. */
static bool is_utf8(const char *text)
{
	json_t *j = json_string(text);

	json_decref(j);
	return j != NULL;
}

int options_parse(struct cli *c, int argc, char **argv)
{
	bool is_over = false;

	for (int i = 1; i < argc; i++) {
		if (!is_utf8(argv[i])) {
			cli_error("argument %d is not UTF-8", i);
			return EXIT_USAGE;
		}
	}
	for (int i = 1; i < argc; i++) {
		const char *w = argv[i];
		if (is_over || w[0] != '-' || w[1] == '\0') {
			if (c->n_args == CLI_ARGS_MAX) {
				cli_error("more than %d arguments", CLI_ARGS_MAX);
				return EXIT_USAGE;
			}
			c->args[c->n_args++] = w;
			continue;
		}
		if (strcmp(w, "--") == 0) {
			is_over = true;
			continue;
		}
		if (strcmp(w, "-h") == 0) {
			c->options[OPT_HELP] = "";
			continue;
		}
		if (w[1] != '-')
			return unknown_option(w + 1);
		int rc = take_option(c, argc, argv, &i);
		if (rc != EXIT_DONE)
			return rc;
	}
	return EXIT_DONE;
}

int options_check(const struct cli *c)
{
	for (size_t o = OPT_GLOBAL_COUNT; o < OPT_COUNT; o++) {
		if (c->options[o] != NULL && !(c->command->options & (UINT64_C(1) << o))) {
			cli_error("--%s does not go with `postroad %s`", option_defs[o].name, c->command->words);
			return EXIT_USAGE;
		}
	}
	bool token = cli_has(c, OPT_TOKEN_FILE) && !(c->command->options & OPT(TOKEN_FILE));
	if (!cli_has(c, OPT_URL) && (cli_has(c, OPT_CA_FILE) || cli_has(c, OPT_FINGERPRINT) || token)) {
		cli_error("--token-file, --ca-file and --fingerprint go with --url");
		return EXIT_USAGE;
	}
	if (cli_has(c, OPT_URL) && cli_has(c, OPT_SOCKET)) {
		cli_error("give --url or --socket, not both");
		return EXIT_USAGE;
	}
	if (c->n_args < c->command->min_args || c->n_args > c->command->max_args) {
		cli_error("usage: postroad %s%s%s", c->command->words, *c->command->args ? " " : "", c->command->args);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

bool options_number(const struct cli *c, enum option o, long min, long max, long *ret)
{
	const char *v = c->options[o];
	char *end;

	if (v == NULL)
		return true;
	errno = 0;
	long n = strtol(v, &end, 10);
	if (errno != 0 || end == v || *end != '\0' || n < min || n > max) {
		cli_error("--%s: \"%s\" is not a number from %ld to %ld", option_defs[o].name, v, min, max);
		return false;
	}
	*ret = n;
	return true;
}
