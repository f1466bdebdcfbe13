/* SPDX-License-Identifier: Apache-2.0
 * postroadd: arguments, the node file, the log. All else is in node.c.
 */
#include <event2/event.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/base/wipe.h"
#include "daemon/main/node.h"
#include "daemon/main/privileges.h"

#define NODE_FILE "/etc/postroad/node.json"

static const char usage[] =
	"usage: postroadd [-c FILE] [--user NAME] [--check]\n"
	"       postroadd --manual | --version | --help\n"
	"\n"
	"  -c, --config FILE  the node file (default " NODE_FILE ")\n"
	"      --user NAME    whom to become when started as root (postroad, if there is such a user; root: nobody)\n"
	"      --check        validate the node file and the configuration, then exit: 0 valid, 2 not\n"
	"      --manual       print the reference of the configuration and the node file, in Markdown\n"
	"      --version      print the version\n"
	"\n"
	"Runs in the foreground. TERM ends it when messages under way are done; a second TERM ends it at once.\n"
	"HUP reads the certificates again.\n";

struct arguments {
	const char *node_file, *user;
	bool check;
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, 'k' },
	{ "manual", no_argument, NULL, 'm' },
	{ "version", no_argument, NULL, 'v' },
	{ "user", required_argument, NULL, 'u' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int print_manual(void)
{
	char *text = conf_manual();
	bool ok = fputs(text, stdout) != EOF && fflush(stdout) == 0;

	free(text);
	return ok ? 0 : EXIT_FAILED;
}

/* -1 = go on; otherwise the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			ret->node_file = optarg;
			break;
		case 'u':
			ret->user = optarg;
			break;
		case 'k':
			ret->check = true;
			break;
		case 'm':
			return print_manual();
		case 'v':
			puts("postroadd " POSTROAD_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_INVALID;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "postroadd: unexpected argument \"%s\"\n%s", argv[optind], usage);
	return EXIT_INVALID;
}

static void print_errors(const char *file, const struct errors *errors)
{
	char *text;

	if (errors->n == 1 && errors->list[0].path[0] == '\0') { /* about the file, not about what it says */
		fprintf(stderr, "postroadd: %s: %s\n", file, errors->list[0].detail);
		return;
	}
	text = errors_text(errors);
	fprintf(stderr, "%s does not validate:\n%s", file, text);
	free(text);
}

/* What libevent has to say goes where all else goes. */
static void on_libevent(int severity, const char *text)
{
	log_msg(severity == EVENT_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTICE, "libevent", "%s", text);
}

static int run(const struct node_config *n, const struct arguments *args)
{
	char *why = privileges_drop(n, args->user);

	if (why == NULL) {
		log_start();
		int status = node_run(n, args->node_file);
		log_stop();
		return status;
	}
	log_msg(LOG_LEVEL_ERROR, "start_failed", "%s", why);
	if (n->log_target != LOG_TARGET_STDERR)
		fprintf(stderr, "postroadd: %s\n", why);
	free(why);
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct arguments args = { .node_file = NODE_FILE };
	struct errors errors = { 0 };
	int status = parse_arguments(argc, argv, &args);

	if (status >= 0)
		return status;
	/* Keys, tokens and passwords pass through JSON; its texts, and buffers it grew out of, are freed in many
	 * places.
	 */
	json_set_alloc_funcs(malloc, wipe_free);
	/* A peer that closes is an error of a write, not of the process. */
	signal(SIGPIPE, SIG_IGN);
	umask(0022);
	struct node_config *n = node_config_load(args.node_file, &errors);
	if (n == NULL) {
		print_errors(args.node_file, &errors);
		errors_fini(&errors);
		return EXIT_INVALID;
	}
	errors_fini(&errors);
	log_init(n->log_target, n->log_level);
	event_set_log_callback(on_libevent);
	status = args.check ? node_check(n) : run(n, &args);
	node_config_free(n);
	return status;
}
