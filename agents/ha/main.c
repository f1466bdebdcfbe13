/* SPDX-License-Identifier: Apache-2.0
 * postroad-ha: arguments. All else is in ha.c.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agents/ha/ha.h"
#include "daemon/base/log.h"

static const char usage[] =
	"usage: postroad-ha [OPTION]...\n"
	"       postroad-ha --check | --clean | --version | --help\n"
	"\n"
	"      --run-dir DIR       postroadd's run_dir; the socket is DIR/ha.sock (/run/postroad)\n"
	"      --state-dir DIR     root's own: keepalived's files (/run/postroad-ha)\n"
	"      --corosync-dir DIR  root's own: corosync's file and keys (/etc/postroad/corosync)\n"
	"      --corosync-state-dir DIR  where corosync keeps its state (its own default)\n"
	"      --user NAME         who may connect, beside root (postroad)\n"
	"      --keepalived PATH   the program (keepalived, by PATH)\n"
	"      --corosync PATH     the program (corosync, by PATH)\n"
	"      --run-corosync      run corosync as a child, not by systemd's postroad-corosync.service\n"
	"      --log-level LEVEL   debug, info, notice, warning, error (info)\n"
	"      --check             see whether programs, user, directories and the kernel are as needed: 0 yes, 1 no\n"
	"      --clean             undo in the kernel what moves of VIPs left there; sessions that are passed on end\n"
	"      --version           print the version\n"
	"\n"
	"Runs in the foreground, as root. TERM lets go of all VIPs and ends it.\n";

enum { RUN_DIR = 256, STATE_DIR, COROSYNC_DIR, COROSYNC_STATE_DIR, USER, KEEPALIVED, COROSYNC, RUN_COROSYNC };
enum { LOG_LEVEL = 300, CHECK, CLEAN, VERSION, HELP };

static const struct option options[] = {
	{ "run-dir", required_argument, NULL, RUN_DIR },
	{ "state-dir", required_argument, NULL, STATE_DIR },
	{ "corosync-dir", required_argument, NULL, COROSYNC_DIR },
	{ "corosync-state-dir", required_argument, NULL, COROSYNC_STATE_DIR },
	{ "user", required_argument, NULL, USER },
	{ "keepalived", required_argument, NULL, KEEPALIVED },
	{ "corosync", required_argument, NULL, COROSYNC },
	{ "run-corosync", no_argument, NULL, RUN_COROSYNC },
	{ "log-level", required_argument, NULL, LOG_LEVEL },
	{ "check", no_argument, NULL, CHECK },
	{ "clean", no_argument, NULL, CLEAN },
	{ "version", no_argument, NULL, VERSION },
	{ "help", no_argument, NULL, HELP },
	{ NULL, 0, NULL, 0 },
};

struct arguments {
	struct ha_options ha;
	int level;
	bool check, clean;
};

static bool take_option(struct arguments *a, int opt)
{
	switch (opt) {
	case RUN_DIR:
		a->ha.run_dir = optarg;
		return true;
	case STATE_DIR:
		a->ha.state_dir = optarg;
		return true;
	case COROSYNC_DIR:
		a->ha.corosync_dir = optarg;
		return true;
	case COROSYNC_STATE_DIR:
		a->ha.corosync_state_dir = optarg;
		return true;
	case USER:
		a->ha.user = optarg;
		return ha_name_ok(optarg) && strlen(optarg) <= 32;
	case KEEPALIVED:
		a->ha.keepalived = optarg;
		return true;
	case COROSYNC:
		a->ha.corosync = optarg;
		return true;
	case RUN_COROSYNC:
		return a->ha.run_corosync = true;
	case LOG_LEVEL:
		a->level = log_level_from_name(optarg);
		return a->level >= 0;
	case CHECK:
		return a->check = true;
	case CLEAN:
		return a->clean = true;
	default:
		return false;
	}
}

/* -1 = go on; otherwise the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == VERSION) {
			puts("postroad-ha " POSTROAD_VERSION);
			return HA_EXIT_DONE;
		}
		if (opt == HELP) {
			fputs(usage, stdout);
			return HA_EXIT_DONE;
		}
		if (!take_option(a, opt)) {
			fputs(usage, stderr);
			return HA_EXIT_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	fprintf(stderr, "postroad-ha: unexpected argument \"%s\"\n%s", argv[optind], usage);
	return HA_EXIT_USAGE;
}

/* They are written into files of others, where some characters would mean something. */
static bool paths_ok(const struct ha_options *o)
{
	const char *paths[] = { o->run_dir, o->state_dir, o->corosync_dir, o->corosync_state_dir };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (paths[i] == NULL || files_path_ok(paths[i]))
			continue;
		fprintf(stderr, "postroad-ha: %s: a directory is absolute, of letters, digits, '_', '.', '-'\n",
			paths[i]);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct arguments a = { .ha = { .run_dir = "/run/postroad",
				       .state_dir = "/run/postroad-ha",
				       .corosync_dir = "/etc/postroad/corosync",
				       .user = "postroad",
				       .keepalived = "keepalived",
				       .corosync = "corosync" },
			       .level = LOG_LEVEL_INFO };
	int status = parse_arguments(argc, argv, &a);

	if (status >= 0)
		return status;
	if (!paths_ok(&a.ha))
		return HA_EXIT_USAGE;
	signal(SIGPIPE, SIG_IGN);
	umask(0022);
	log_init(LOG_TARGET_STDERR, (enum log_level)a.level);
	if (a.clean)
		return ha_clean();
	if (a.check)
		return ha_check(&a.ha);
	log_start();
	status = ha_run(&a.ha);
	log_stop();
	return status;
}
