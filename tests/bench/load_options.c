/* SPDX-License-Identifier: Apache-2.0
 * The command line of postroad-load.
 */
#include "tests/bench/load.h"

#include <fcntl.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/arguments.h"

struct options options = {
	.parallel = 20,
	.per_connection = 1,
	.size = 4096,
	.rcpts = 1,
	.retry_delay_ms = 1000,
	.timeout_ms = 60000,
	.helo = "load.test",
	.from = "load@load.test",
	.rcpt = "sink@sink.test",
	.ids_fd = -1,
};

const char argument_program[] = "postroad-load";
const char argument_usage[] =
	"usage: postroad-load --to ADDR:PORT [options]\n"
	"  --messages N         how many (default 1000; with --seconds: no bound)\n"
	"  --seconds S          stop beginning new ones after S seconds\n"
	"  --parallel P         sessions at a time (default 20)\n"
	"  --per-connection M   messages per connection (default 1, 0 = no bound)\n"
	"  --size BYTES         of a message with its header (default 4096)\n"
	"  --pipelining         MAIL, RCPT and DATA in one write\n"
	"  --rate R             R messages per second on a fixed timetable, whatever the server does;\n"
	"                       latencies count from the time a message was due\n"
	"  --retries N          try a message again after 4xx or a lost connection (default 0)\n"
	"  --retry-delay MS     (default 1000)\n"
	"  --timeout MS         for each answer (default 60000)\n"
	"  --helo NAME --from ADDRESS --rcpt ADDRESS   %n in an address = the message's number\n"
	"  --rcpts N            recipients per message (default 1)\n"
	"  --rcpt-domains FILE  domains of recipients, one a line, taken in turn\n"
	"  --source ADDR        connect from this address\n"
	"  --run NAME           first part of the ids (default: the process id)\n"
	"  --ids FILE           write one line per message: id, result, code, retries, tries lost\n"
	"                       behind the end mark, tries answered 4xx there\n"
	"  --progress           a line of JSON on standard error each second\n"
	"  --tls HOW            none (default), starttls or implicit; certificates are not verified\n"
	"  --resume             resume TLS sessions (default: every handshake is a full one)\n"
	"  --handshakes         no mail: a \"message\" is one TLS handshake, up to the first bytes behind it\n"
	"  --auth USER:PASSWORD log in with AUTH PLAIN on each connection\n"
	"  --auth-users FILE    the same with USER:PASSWORD per line, taken in turn\n"
	"  --idle N             open N sessions up to EHLO (with --auth: logged in), print when they stand, hold them "
	"until TERM\n"
	"Prints one line of JSON. Exit status 0 = all messages were accepted.\n";

enum kind { KIND_UNSIGNED, KIND_U64, KIND_FLAG, KIND_TEXT, KIND_CALL };

struct row {
	const char *name;
	enum kind kind;
	void *target;                    /* of the type the kind says */
	unsigned long min, max;          /* of numbers */
	void (*call)(const char *value); /* KIND_CALL */
};

/* Calls fn with each line up to its first space; empty lines and comments are skipped. */
static void read_lines(const char *path, void (*fn)(const char *line))
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;

	if (f == NULL) {
		perror(path);
		exit(1);
	}
	while (getline(&line, &cap, f) > 0) {
		line[strcspn(line, " \t\r\n")] = '\0';
		if (line[0] != '\0' && line[0] != '#')
			fn(line);
	}
	free(line);
	fclose(f);
}

/* Appends to a list that doubles when its size is a power of two. */
static void append(char ***list, size_t *n, char *text)
{
	if ((*n & (*n - 1)) == 0)
		*list = xrealloc(*list, (*n == 0 ? 1 : *n * 2) * sizeof(**list));
	(*list)[(*n)++] = text;
}

static void add_domain(const char *line)
{
	append(&options.domains, &options.n_domains, xstrdup(line));
}

static void read_domains(const char *path)
{
	read_lines(path, add_domain);
	if (options.n_domains == 0)
		argument_refuse("rcpt-domains", path);
}

/* RFC 4616: NUL user NUL password, as the initial response of RFC 4954. */
static void add_login(const char *value)
{
	size_t user = strcspn(value, ":");
	unsigned char plain[1024] = { 0 }, encoded[1400];
	int n = (int)strlen(value) + 1; /* the colon becomes the second NUL */

	if (value[user] == '\0' || (size_t)n > sizeof(plain))
		argument_refuse("auth", value);
	memcpy(plain + 1, value, (size_t)n - 1);
	plain[1 + user] = '\0';
	EVP_EncodeBlock(encoded, plain, n);
	append(&options.logins, &options.n_logins, xasprintf("AUTH PLAIN %s\r\n", (const char *)encoded));
}

static void read_logins(const char *path)
{
	read_lines(path, add_login);
	if (options.n_logins == 0)
		argument_refuse("auth-users", path);
}

static void set_tls(const char *value)
{
	static const char *const names[] = { "none", "starttls", "implicit" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			options.tls = (enum tls_use)i;
			return;
		}
	}
	argument_refuse("tls", value);
}

static void open_ids(const char *path)
{
	options.ids_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (options.ids_fd < 0) {
		perror(path);
		exit(1);
	}
}

static void set_to(const char *value)
{
	if (!addr_parse(value, 25, &options.to))
		argument_refuse("to", value);
}

static void set_source(const char *value)
{
	if (!addr_parse_ip(value, &options.source))
		argument_refuse("source", value);
}

_Noreturn static void help(const char *value)
{
	UNUSED(value);
	argument_help();
}

static const struct row rows[] = {
	{ "to", KIND_CALL, NULL, 0, 0, set_to },
	{ "source", KIND_CALL, NULL, 0, 0, set_source },
	{ "messages", KIND_U64, &options.messages, 1, 1000000000, NULL },
	{ "seconds", KIND_UNSIGNED, &options.seconds, 1, 864000, NULL },
	{ "parallel", KIND_UNSIGNED, &options.parallel, 1, 100000, NULL },
	{ "per-connection", KIND_UNSIGNED, &options.per_connection, 0, 1000000000, NULL },
	{ "size", KIND_UNSIGNED, &options.size, 1, 1u << 30, NULL },
	{ "pipelining", KIND_FLAG, &options.pipelining, 0, 0, NULL },
	{ "rate", KIND_UNSIGNED, &options.rate, 1, 1000000, NULL },
	{ "retries", KIND_UNSIGNED, &options.retries, 0, 1000000, NULL },
	{ "retry-delay", KIND_UNSIGNED, &options.retry_delay_ms, 0, 3600000, NULL },
	{ "timeout", KIND_UNSIGNED, &options.timeout_ms, 1, 3600000, NULL },
	{ "helo", KIND_TEXT, &options.helo, 0, 0, NULL },
	{ "from", KIND_TEXT, &options.from, 0, 0, NULL },
	{ "rcpt", KIND_TEXT, &options.rcpt, 0, 0, NULL },
	{ "rcpts", KIND_UNSIGNED, &options.rcpts, 1, 1000, NULL },
	{ "rcpt-domains", KIND_CALL, NULL, 0, 0, read_domains },
	{ "run", KIND_TEXT, &options.run, 0, 0, NULL },
	{ "ids", KIND_CALL, NULL, 0, 0, open_ids },
	{ "progress", KIND_FLAG, &options.progress, 0, 0, NULL },
	{ "tls", KIND_CALL, NULL, 0, 0, set_tls },
	{ "resume", KIND_FLAG, &options.resume, 0, 0, NULL },
	{ "handshakes", KIND_FLAG, &options.handshakes, 0, 0, NULL },
	{ "auth", KIND_CALL, NULL, 0, 0, add_login },
	{ "auth-users", KIND_CALL, NULL, 0, 0, read_logins },
	{ "idle", KIND_UNSIGNED, &options.idle, 1, 1000000, NULL },
	{ "help", KIND_FLAG, NULL, 0, 0, help },
};

static void set(const struct row *r, const char *value)
{
	switch (r->kind) {
	case KIND_UNSIGNED:
		*(unsigned *)r->target = (unsigned)argument_number(r->name, value, r->min, r->max);
		break;
	case KIND_U64:
		*(uint64_t *)r->target = argument_number(r->name, value, r->min, r->max);
		break;
	case KIND_FLAG:
		if (r->call != NULL)
			r->call(NULL);
		else
			*(bool *)r->target = true;
		break;
	case KIND_TEXT:
		*(const char **)r->target = value;
		break;
	case KIND_CALL:
		r->call(value);
		break;
	}
}

void load_options_parse(int argc, char **argv)
{
	struct option longs[ARRAY_LEN(rows) + 1] = { 0 };
	int at = 0, ch;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		longs[i] = (struct option) { rows[i].name, rows[i].kind != KIND_FLAG, NULL, 1 };
	while ((ch = getopt_long(argc, argv, "", longs, &at)) != -1) {
		if (ch != 1)
			argument_unknown();
		set(&rows[at], optarg);
	}
	if (optind < argc)
		argument_refuse("to", argv[optind]);
	if (options.to.sa.sa_family == 0)
		argument_refuse("to", "(absent)");
	if (options.handshakes && options.tls == TLS_NONE)
		argument_refuse("handshakes", "(without --tls)");
	if (options.messages == 0 && options.seconds == 0)
		options.messages = 1000;
	if (options.run == NULL)
		options.run = xasprintf("%ld", (long)getpid());
}
