/* SPDX-License-Identifier: Apache-2.0
 * postroad-ha: the loop.
 *
 * The hard thing: nothing here may wait, for leases run out while it does. So each turn lasts a quarter of a second at
 * most, children are only ever asked about, and what must be awaited is a state.
 */
#include "agents/ha/ha.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agents/ha/needs.h"
#include "agents/ha/notify.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

/* ---- what is heard ---- */

static void on_gone(void *arg)
{
	struct ha *ha = arg;

	ha->beat_at = 0;
	vips_set_health(&ha->vips, NULL);
}

static void on_refused(uint64_t generation, const char *why, void *arg)
{
	struct ha *ha = arg;

	memset(&ha->out->outcome, 0, sizeof(ha->out->outcome));
	ha->out->type = HA_ERROR;
	ha->out->outcome.about = HA_TABLE;
	ha->out->outcome.generation = generation;
	ha_text(ha->out->outcome.text, why);
	server_send(&ha->server, ha->out);
}

static void on_corosync(uint32_t ticket, bool ok, const char *text, void *arg)
{
	struct ha *ha = arg;

	memset(&ha->out->outcome, 0, sizeof(ha->out->outcome));
	ha->out->type = ok ? HA_DONE : HA_ERROR;
	ha->out->outcome.ticket = ticket;
	ha->out->outcome.about = HA_COROSYNC;
	ha_text(ha->out->outcome.text, text);
	server_send(&ha->server, ha->out);
	ha->report_at = 0;
}

static void on_probed(const struct probe *p, void *arg)
{
	struct ha *ha = arg;

	if (p->vip.name[0] == '\0') {
		ha_on_node_probed(ha, p);
		return;
	}
	memset(&ha->out->probed, 0, sizeof(ha->out->probed));
	ha->out->type = HA_PROBED;
	ha->out->probed.ticket = p->ticket;
	ha->out->probed.seen = p->seen;
	memcpy(ha->out->probed.vip, p->vip.name, sizeof(p->vip.name));
	memcpy(ha->out->probed.mac, p->mac, sizeof(p->mac));
	server_send(&ha->server, ha->out);
}

static void on_kernel(void *arg)
{
	kernel_read_events(arg);
}

static void on_signal(void *arg)
{
	struct ha *ha = arg;
	struct signalfd_siginfo info;

	while (read(ha->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD || info.ssi_signo == SIGHUP)
			continue;
		/* systemd tells keepalived too, which shall not be started again. */
		keepalived_want(&ha->keepalived, false);
		/* A second one does not wait. */
		ha->stop_at = ha->stop_at != 0 ? 1 : clock_mono_ms() + HA_STOP_MS;
	}
}

/* ---- parts ---- */

static int open_signals(void)
{
	static const int caught[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		sigaddset(&set, caught[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static char *open_corosync(struct ha *ha)
{
	const struct ha_options *o = &ha->options;
	struct corosync_options options = { .dir = o->corosync_dir,
					    .program = o->run_corosync ? o->corosync : NULL,
					    .state_dir = o->corosync_state_dir,
					    .user = o->user };
	char *why = corosync_open(&ha->corosync, &ha->jobs, &options);

	ha->corosync.done = on_corosync;
	ha->corosync.arg = ha;
	return why;
}

static char *open_parts(struct ha *ha)
{
	const struct ha_options *o = &ha->options;
	char *why = files_directory(o->state_dir, 0755);
	int r;

	jobs_init(&ha->jobs);
	probes_init(&ha->probes, on_probed, ha);
	ha->signals = open_signals();
	if (why == NULL && ha->signals < 0)
		why = xasprintf("signals cannot be received: %s", strerror(errno));
	if (why == NULL && (r = kernel_open(&ha->kernel)) != 0)
		why = xasprintf("the kernel cannot be asked about addresses: %s", strerror(-r));
	if (why == NULL)
		why = keepalived_open(&ha->keepalived, &ha->jobs, o->keepalived, o->state_dir);
	if (why == NULL)
		why = vips_open(&ha->vips, o->state_dir, &ha->keepalived, &ha->kernel);
	if (why == NULL)
		why = open_corosync(ha);
	if (why == NULL)
		why = server_open(&ha->server, o->run_dir, o->user);
	if (why != NULL)
		return why;
	ha->keepalived.events = (struct keepalived_events) {
		.arg = &ha->vips, .state = vips_on_state, .checked = vips_on_checked, .changed = vips_on_keepalived
	};
	ha->vips.events = (struct vips_events) { .arg = ha, .refused = on_refused };
	ha->server.events = (struct server_events) { .arg = ha, .request = ha_on_request, .gone = on_gone };
	ha->out = xcalloc(1, sizeof(*ha->out));
	return NULL;
}

static void close_parts(struct ha *ha)
{
	vips_delete_all(&ha->vips);
	server_close(&ha->server);
	probes_close(&ha->probes);
	vips_close(&ha->vips);
	keepalived_close(&ha->keepalived);
	kernel_close(&ha->kernel);
	close(ha->signals);
	free(ha->out);
}

/* ---- the loop ---- */

static void report(struct ha *ha, int64_t now)
{
	struct ha_report *r = &ha->out->report;
	bool corosync = corosync_runs(&ha->corosync);

	if (now < ha->report_at && !ha->vips.changed && corosync == ha->reported_corosync)
		return;
	memset(r, 0, sizeof(*r));
	ha->out->type = HA_REPORT;
	vips_report(&ha->vips, now, r);
	r->corosync = ha->reported_corosync = corosync;
	r->corosync_generation = ha->corosync.installed;
	ha->vips.changed = false;
	ha->report_at = now + HA_REPORT_MS;
	server_send(&ha->server, ha->out);
}

static void listen_for_silence(struct ha *ha, int64_t now)
{
	if (ha->beat_at == 0 || now - ha->beat_at < HA_SILENCE_MS)
		return;
	log_msg(LOG_LEVEL_ERROR, "postroadd_silent", "postroadd has said nothing for a second");
	on_gone(ha);
}

/* keepalived would never hear of a new one by that name. So all begins anew, which takes a second. */
static void look_at_directory(struct ha *ha, int64_t now)
{
	if (ha->stop_at != 0 || vips_keep_files(&ha->vips))
		return;
	log_msg(LOG_LEVEL_ERROR, "state_dir", "%s was taken away: postroad-ha ends, to be started anew",
		ha->options.state_dir);
	ha->failed = true;
	ha->stop_at = now + HA_STOP_MS;
}

static void say_alive(struct ha *ha, int64_t now)
{
	if (now < ha->alive_at)
		return;
	ha->alive_at = now + HA_ALIVE_MS;
	notify_send("WATCHDOG=1");
}

static void tick(struct ha *ha)
{
	int64_t now = clock_mono_ms();

	say_alive(ha, now);
	jobs_reap(&ha->jobs, now);
	listen_for_silence(ha, now);
	keepalived_tick(&ha->keepalived, now);
	vips_tick(&ha->vips, now);
	corosync_tick(&ha->corosync, now);
	probes_tick(&ha->probes, now);
	if (now >= ha->second_at) {
		ha->second_at = now + 1000;
		look_at_directory(ha, now);
		server_tick(&ha->server);
	}
	if (now >= ha->tidy_at) {
		ha->tidy_at = now + HA_TIDY_MS;
		ha_tidy_flows();
	}
	report(ha, now);
}

static void one_turn(struct ha *ha)
{
	struct turn turn;

	turn_begin(&turn, clock_mono_ms(), HA_TURN_MS);
	turn_wait_for(&turn, ha->signals, on_signal, ha);
	turn_wait_for(&turn, ha->kernel.events, on_kernel, &ha->kernel);
	server_turn(&ha->server, &turn);
	keepalived_turn(&ha->keepalived, &turn);
	probes_turn(&ha->probes, &turn);
	jobs_turn(&ha->jobs, &turn);
	turn_end_at(&turn, vips_next(&ha->vips));
	turn_end_at(&turn, corosync_next(&ha->corosync));
	if (ha->beat_at != 0)
		turn_end_at(&turn, ha->beat_at + HA_SILENCE_MS);
	turn_run(&turn);
}

/* keepalived lets go of what it holds, which tells its peers; then it is waited for, but not for ever. */
static void stop(struct ha *ha)
{
	log_msg(LOG_LEVEL_INFO, "stop", "postroad-ha ends");
	notify_send("STOPPING=1");
	keepalived_want(&ha->keepalived, false);
	corosync_stop(&ha->corosync);
	while (jobs_any(&ha->jobs) && clock_mono_ms() < ha->stop_at) {
		struct turn turn;
		turn_begin(&turn, clock_mono_ms(), HA_TURN_MS);
		turn_wait_for(&turn, ha->signals, on_signal, ha);
		jobs_turn(&ha->jobs, &turn);
		turn_end_at(&turn, ha->stop_at);
		turn_run(&turn);
		jobs_reap(&ha->jobs, clock_mono_ms());
		say_alive(ha, clock_mono_ms());
	}
}

/* ---- a busy machine ---- */

/* Memory that had to be read back from a disk would be waited for. What is had now stays; what comes later does once it
 * is used, as lists of flows have room for far more than is ever in them. NULL, or what failed. */
static const char *stay_in_memory(void)
{
	if (mlockall(MCL_CURRENT) == 0 && mlockall(MCL_FUTURE | MCL_ONFAULT) == 0)
		return NULL;
	return strerror(errno);
}

static const char *try_real_time(void)
{
	int r = jobs_try_real_time();

	return r == 0 ? NULL : strerror(-r);
}

static void prepare_for_load(void)
{
	const char *memory = stay_in_memory(), *real_time = try_real_time();

	if (memory != NULL)
		log_msg(LOG_LEVEL_WARNING, "memory", "postroad-ha cannot be locked in memory: %s", memory);
	if (real_time != NULL)
		log_msg(LOG_LEVEL_WARNING, "real_time", "keepalived gets no real time, its adverts may come late: %s",
			real_time);
}

int ha_run(const struct ha_options *options)
{
	struct ha *ha = xcalloc(1, sizeof(*ha));

	ha->options = *options;
	char *why = open_parts(ha);
	if (why != NULL) {
		fprintf(stderr, "postroad-ha: %s\n", why);
		free(why);
		free(ha);
		return HA_EXIT_FAILED;
	}
	prepare_for_load();
	log_msg(LOG_LEVEL_INFO, "start", "postroad-ha " POSTROAD_VERSION " listens at %s", ha->server.path);
	notify_send("READY=1");
	while (ha->stop_at == 0) {
		one_turn(ha);
		tick(ha);
	}
	stop(ha);
	close_parts(ha);
	int status = ha->failed ? HA_EXIT_FAILED : HA_EXIT_DONE;
	free(ha);
	return status;
}

/* ---- --check ---- */

static bool say(const char *what, char *why)
{
	printf("%s: %s\n", what, why == NULL ? "good" : why);
	free(why);
	return why == NULL;
}

static char *try_kernel(void)
{
	struct kernel k;
	int r = kernel_open(&k);

	if (r != 0)
		return xasprintf("%s", strerror(-r));
	r = kernel_refresh(&k);
	kernel_close(&k);
	return r == 0 ? NULL : xasprintf("%s", strerror(-r));
}

static void keep_line(const char *line, void *arg)
{
	char *kept = arg;

	if (kept[0] == '\0')
		snprintf(kept, HA_TEXT_MAX, "%s", line);
}

static void keep_status(int status, void *arg)
{
	*(int *)arg = status;
}

struct version {
	int status;
	char line[HA_TEXT_MAX + 1];
};

static void version_line(const char *line, void *arg)
{
	keep_line(line, ((struct version *)arg)->line);
}

static void version_end(int status, void *arg)
{
	keep_status(status, &((struct version *)arg)->status);
}

static char *try_program(const char *program, const char *option, const char *package)
{
	struct jobs jobs;
	struct version v = { .status = -1 };
	const char *argv[] = { program, option, NULL };

	jobs_init(&jobs);
	if (job_start(&jobs, &(struct job_spec) { .argv = argv,
						  .limit_ms = 5000,
						  .parent_death_signal = SIGKILL,
						  .line = version_line,
						  .end = version_end,
						  .arg = &v }) == NULL)
		return xasprintf("no process can be started: %s", strerror(errno));
	while (jobs_any(&jobs)) {
		struct turn turn;
		turn_begin(&turn, clock_mono_ms(), 20);
		jobs_turn(&jobs, &turn);
		turn_run(&turn);
		jobs_reap(&jobs, clock_mono_ms());
	}
	if (v.status == 0)
		return NULL;
	char *missing = needs_program(program, package);
	free(missing);
	return missing != NULL ? xasprintf("%s: `apt install %s`", v.line, package)
			       : xasprintf("%s", v.line[0] != '\0' ? v.line : "it ended with an error");
}

static char *copy_of(const char *why)
{
	return why == NULL ? NULL : xasprintf("%s", why);
}

int ha_check(const struct ha_options *o)
{
	bool ok = say("kernel", try_kernel());

	ok &= say("state directory", files_directory(o->state_dir, 0755));
	ok &= say("corosync directory", files_directory(o->corosync_dir, 0755));
	ok &= say("keepalived", try_program(o->keepalived, "--version", "keepalived"));
	ok &= say("corosync", try_program(o->corosync, "-v", "corosync"));
	if (!o->run_corosync)
		ok &= say("systemd", needs_systemd());
	ok &= say("user", needs_user(o->user));
	ok &= say("memory", copy_of(stay_in_memory()));
	ok &= say("real time", copy_of(try_real_time()));
	return ok ? HA_EXIT_DONE : HA_EXIT_FAILED;
}
