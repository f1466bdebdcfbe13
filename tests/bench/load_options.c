/* SPDX-License-Identifier: Apache-2.0
 * The command line of postroad-load.
 */
#include "tests/bench/load.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

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

static const char usage[] =
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
	"  --ids FILE           write one line per message: id, result, code, retries\n"
	"  --progress           a line of JSON on standard error each second\n"
	"  --idle N             open N sessions up to EHLO, print when they stand, hold them until TERM\n"
	"Prints one line of JSON. Exit status 0 = all messages were accepted.\n";

_Noreturn static void refuse(const char *option, const char *value)
{
	fprintf(stderr, "postroad-load: bad value for --%s: %s\n%s", option, value, usage);
	exit(2);
}

static unsigned long number(const char *option, const char *value, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*end != '\0' || end == value || n < min || n > max)
		refuse(option, value);
	return n;
}

static void read_domains(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0, room = 0;
	ssize_t n;

	if (f == NULL) {
		perror(path);
		exit(1);
	}
	while ((n = getline(&line, &cap, f)) > 0) {
		line[strcspn(line, " \t\r\n")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		if (options.n_domains == room) {
			room = room * 2 + 64;
			options.domains = xrealloc(options.domains, room * sizeof(*options.domains));
		}
		options.domains[options.n_domains++] = xstrdup(line);
	}
	free(line);
	fclose(f);
	if (options.n_domains == 0)
		refuse("rcpt-domains", path);
}

static void open_ids(const char *path)
{
	options.ids_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	if (options.ids_fd < 0) {
		perror(path);
		exit(1);
	}
}

static const struct option longs[] = {
	{ "to", 1, NULL, 't' },	      { "messages", 1, NULL, 'n' },	 { "seconds", 1, NULL, 'S' },
	{ "parallel", 1, NULL, 'p' }, { "per-connection", 1, NULL, 'c' }, { "size", 1, NULL, 's' },
	{ "pipelining", 0, NULL, 'P' }, { "rate", 1, NULL, 'r' },	 { "retries", 1, NULL, 'R' },
	{ "retry-delay", 1, NULL, 'D' }, { "timeout", 1, NULL, 'T' },	 { "helo", 1, NULL, 'H' },
	{ "from", 1, NULL, 'f' },     { "rcpt", 1, NULL, 'o' },		 { "rcpts", 1, NULL, 'O' },
	{ "rcpt-domains", 1, NULL, 'd' }, { "source", 1, NULL, 'b' },	 { "run", 1, NULL, 'u' },
	{ "ids", 1, NULL, 'i' },      { "progress", 0, NULL, 'v' },	 { "idle", 1, NULL, 'I' },
	{ "help", 0, NULL, 'h' },     { NULL, 0, NULL, 0 },
};

static void set_address(const char *option, struct addr *a, bool with_port)
{
	if (!(with_port ? addr_parse(optarg, 25, a) : addr_parse_ip(optarg, a)))
		refuse(option, optarg);
}

static void set(int ch)
{
	switch (ch) {
	case 't': set_address("to", &options.to, true); break;
	case 'b': set_address("source", &options.source, false); break;
	case 'n': options.messages = number("messages", optarg, 1, 1000000000); break;
	case 'S': options.seconds = (unsigned)number("seconds", optarg, 1, 864000); break;
	case 'p': options.parallel = (unsigned)number("parallel", optarg, 1, 100000); break;
	case 'c': options.per_connection = (unsigned)number("per-connection", optarg, 0, 1000000000); break;
	case 's': options.size = number("size", optarg, 1, 1u << 30); break;
	case 'P': options.pipelining = true; break;
	case 'r': options.rate = (double)number("rate", optarg, 1, 1000000); break;
	case 'R': options.retries = (unsigned)number("retries", optarg, 0, 1000000); break;
	case 'D': options.retry_delay_ms = (unsigned)number("retry-delay", optarg, 0, 3600000); break;
	case 'T': options.timeout_ms = (unsigned)number("timeout", optarg, 1, 3600000); break;
	case 'H': options.helo = optarg; break;
	case 'f': options.from = optarg; break;
	case 'o': options.rcpt = optarg; break;
	case 'O': options.rcpts = (unsigned)number("rcpts", optarg, 1, 1000); break;
	case 'd': read_domains(optarg); break;
	case 'u': options.run = optarg; break;
	case 'i': open_ids(optarg); break;
	case 'v': options.progress = true; break;
	case 'I': options.idle = (unsigned)number("idle", optarg, 1, 1000000); break;
	case 'h': fputs(usage, stdout); exit(0);
	default: fputs(usage, stderr); exit(2);
	}
}

void load_options_parse(int argc, char **argv)
{
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1)
		set(ch);
	if (optind < argc)
		refuse("to", argv[optind]);
	if (options.to.sa.sa_family == 0)
		refuse("to", "(absent)");
	if (options.messages == 0 && options.seconds == 0)
		options.messages = 1000;
	if (options.run == NULL)
		options.run = xasprintf("%ld", (long)getpid());
}
