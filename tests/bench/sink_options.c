/* SPDX-License-Identifier: Apache-2.0
 * The command line of postroad-sink.
 */
#include "tests/bench/sink.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/arguments.h"

struct options options = { .threads = 1, .store_fd = -1 };

static const char *const stage_names[STAGE_COUNT] = { "connect", "helo", "mail", "rcpt", "data", "dot" };
static const char *const extensions[] = { "PIPELINING",          "SIZE 52428800", "8BITMIME",
					  "ENHANCEDSTATUSCODES", "DSN",           "SMTPUTF8" };

const char argument_program[] = "postroad-sink";
const char argument_usage[] =
	"usage: postroad-sink [--listen ADDR:PORT]... [options]\n"
	"  --listen ADDR:PORT       where to listen (default 127.0.0.1:2525; up to 8)\n"
	"  --hostname NAME          in the banner and in replies to EHLO (default sink.test)\n"
	"  --threads N              each with its own listening sockets (default 1)\n"
	"  --without KEYWORD        do not announce this extension (PIPELINING, SIZE, 8BITMIME, ...)\n"
	"  --proxy                  a PROXY header (version 1 or 2) comes first; without one: hang up\n"
	"  --xclient                announce XCLIENT and take it\n"
	"  --delay-dot MS           wait before the answer to the final dot\n"
	"  --fail STAGE=CODE:PCT    answer CODE (or `drop`: hang up) to PCT percent of\n"
	"                           connect, helo, mail, rcpt, data or dot\n"
	"  --store FILE [--fsync]   append one line per message: id, bytes, sha256, envelope\n"
	"SIGUSR1 prints the counters as JSON; TERM and INT print them and end.\n";

/* "dot=451:5", "rcpt=drop:0.5" */
static void set_fail(const char *value)
{
	char stage[16], code[8];
	double percent;

	if (sscanf(value, "%15[a-z]=%7[0-9a-z]:%lf", stage, code, &percent) != 3 || percent < 0 || percent > 100)
		argument_refuse("fail", value);
	for (size_t i = 0; i < STAGE_COUNT; i++) {
		if (strcmp(stage, stage_names[i]) != 0)
			continue;
		options.fail[i].code =
			strcmp(code, "drop") == 0 ? 0 : (unsigned)argument_number("fail", code, 400, 599);
		options.fail[i].fraction = percent / 100;
		return;
	}
	argument_refuse("fail", value);
}

static void set_listen(const char *value)
{
	if (options.n_listen == LISTEN_MAX || !addr_parse(value, 25, &options.listen[options.n_listen]))
		argument_refuse("listen", value);
	options.n_listen++;
}

static void set_store(const char *value)
{
	options.store_fd = open(value, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (options.store_fd < 0) {
		perror(value);
		exit(1);
	}
}

static unsigned extension_bit(const char *value)
{
	for (unsigned i = 0; i < ARRAY_LEN(extensions); i++)
		if (strncmp(extensions[i], value, strcspn(extensions[i], " ")) == 0)
			return 1u << i;
	argument_refuse("without", value);
}

static void build_replies(const char *hostname, unsigned without)
{
	size_t n = (size_t)snprintf(options.ehlo, sizeof(options.ehlo), "250-%s\r\n", hostname);

	for (unsigned i = 0; i < ARRAY_LEN(extensions); i++)
		if ((without & (1u << i)) == 0)
			n += (size_t)snprintf(options.ehlo + n, sizeof(options.ehlo) - n, "250-%s\r\n", extensions[i]);
	if (options.xclient)
		n += (size_t)snprintf(options.ehlo + n, sizeof(options.ehlo) - n,
				      "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n");
	snprintf(options.ehlo + n, sizeof(options.ehlo) - n, "250 HELP\r\n");
	snprintf(options.helo, sizeof(options.helo), "250 %s\r\n", hostname);
	snprintf(options.greeting, sizeof(options.greeting), "220 %s ESMTP\r\n", hostname);
}

static const struct option longs[] = {
	{ "listen", 1, NULL, 'l' },    { "hostname", 1, NULL, 'n' }, { "threads", 1, NULL, 't' },
	{ "delay-dot", 1, NULL, 'd' }, { "fail", 1, NULL, 'f' },     { "store", 1, NULL, 's' },
	{ "proxy", 0, NULL, 'p' },     { "xclient", 0, NULL, 'x' },  { "fsync", 0, NULL, 'y' },
	{ "without", 1, NULL, 'w' },   { "help", 0, NULL, 'h' },     { NULL, 0, NULL, 0 },
};

void sink_options_parse(int argc, char **argv)
{
	const char *hostname = "sink.test";
	unsigned without = 0;
	int ch;

	while ((ch = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (ch) {
		case 'l':
			set_listen(optarg);
			break;
		case 'n':
			hostname = strlen(optarg) <= 255 ? optarg : hostname;
			break;
		case 't':
			options.threads = (unsigned)argument_number("threads", optarg, 1, 64);
			break;
		case 'd':
			options.delay_dot_ms = (unsigned)argument_number("delay-dot", optarg, 0, 3600000);
			break;
		case 'f':
			set_fail(optarg);
			break;
		case 's':
			set_store(optarg);
			break;
		case 'y':
			options.fsync = true;
			break;
		case 'p':
			options.proxy = true;
			break;
		case 'x':
			options.xclient = true;
			break;
		case 'w':
			without |= extension_bit(optarg);
			break;
		case 'h':
			argument_help();
		default:
			argument_unknown();
		}
	}
	if (optind < argc)
		argument_refuse("listen", argv[optind]);
	if (options.n_listen == 0)
		set_listen("127.0.0.1:2525");
	build_replies(hostname, without);
}
