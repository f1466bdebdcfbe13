/* SPDX-License-Identifier: Apache-2.0
 * keepalived as a child.
 *
 * The hard thing: keepalived is two processes. The one that holds the addresses is the child of ours, and is looked for
 * by the file with its number, which may be old; so it counts only while its parent is the process that was started
 * here.
 */
#include "agents/ha/keepalived.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agents/ha/render.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

#define PID_FILE "keepalived.pid"
#define VRRP_FILE "vrrp.pid"

char *keepalived_open(struct keepalived *k, struct jobs *jobs, const char *program, const char *dir)
{
	char path[FILES_PATH_MAX];

	memset(k, 0, sizeof(*k));
	k->jobs = jobs;
	k->program = program;
	k->dir = dir;
	k->backoff_ms = KEEPALIVED_BACKOFF_MIN_MS;
	k->fifo = -1;
	files_remove(dir, PID_FILE);
	files_remove(dir, VRRP_FILE);
	snprintf(path, sizeof(path), "%s/" RENDER_FIFO, dir);
	files_remove(dir, RENDER_FIFO);
	if (mkfifo(path, 0600) != 0)
		return xasprintf("cannot make %s: %s", path, strerror(errno));
	/* For writing too: so it never ends, whoever opens and closes it. */
	k->fifo = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	return k->fifo >= 0 ? NULL : xasprintf("cannot open %s: %s", path, strerror(errno));
}

void keepalived_close(struct keepalived *k)
{
	if (k->fifo >= 0)
		close(k->fifo);
	k->fifo = -1;
}

/* ---- the FIFO ---- */

bool keepalived_parse(const char *line, char name[HA_NAME_MAX + 1], enum ha_state *ret_state, uint8_t *ret_priority)
{
	static const char *const states[HA_STATE_END] = { "", "BACKUP", "MASTER", "FAULT", "STOP" };
	static const char start[] = "INSTANCE \"" RENDER_INSTANCE;
	char state[16];
	unsigned priority;
	int end = 0;

	if (strncmp(line, start, sizeof(start) - 1) != 0)
		return false;
	line += sizeof(start) - 1;
	size_t n = strcspn(line, "\"");
	if (n == 0 || n > HA_NAME_MAX || line[n] != '"')
		return false;
	memcpy(name, line, n);
	name[n] = '\0';
	if (!ha_name_ok(name) || sscanf(line + n + 1, " %15s %u%n", state, &priority, &end) != 2 || priority > 255 ||
	    line[n + 1 + (size_t)end] != '\0')
		return false;
	for (int i = HA_STATE_BACKUP; i < HA_STATE_END; i++) {
		if (strcmp(state, states[i]) != 0)
			continue;
		*ret_state = (enum ha_state)i;
		*ret_priority = (uint8_t)priority;
		return true;
	}
	return false;
}

static void end_line(struct keepalived *k)
{
	char name[HA_NAME_MAX + 1];
	enum ha_state state;
	uint8_t priority;

	k->line[k->n] = '\0';
	k->n = 0;
	if (keepalived_parse(k->line, name, &state, &priority))
		k->events.state(name, state, priority, k->events.arg);
}

static void read_fifo(void *arg)
{
	struct keepalived *k = arg;
	char buf[1024];
	ssize_t n = read(k->fifo, buf, sizeof(buf));

	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n')
			end_line(k);
		else if (k->n < sizeof(k->line) - 1)
			k->line[k->n++] = buf[i];
	}
}

void keepalived_turn(struct keepalived *k, struct turn *turn)
{
	turn_wait_for(turn, k->fifo, read_fifo, k);
	turn_end_at(turn, k->sample_at);
	if (k->wanted && k->child == NULL)
		turn_end_at(turn, k->start_at);
}

/* ---- the check ---- */

/* The first complaint is the reason; what follows are its consequences. */
static void on_check_line(const char *line, void *arg)
{
	struct keepalived *k = arg;

	if (k->check_text[0] == '\0')
		ha_text(k->check_text, line);
}

static void on_check_end(int status, void *arg)
{
	struct keepalived *k = arg;
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	k->check = NULL;
	if (!ok && k->check_text[0] == '\0')
		ha_text(k->check_text,
			WIFSIGNALED(status) ? "keepalived's check did not end" : "keepalived's check failed");
	k->events.checked(ok, k->check_text, k->events.arg);
}

void keepalived_check(struct keepalived *k)
{
	char path[FILES_PATH_MAX];
	const char *argv[] = { k->program, "-t", "-P", "-f", path, NULL };

	snprintf(path, sizeof(path), "%s/" KEEPALIVED_CANDIDATE, k->dir);
	if (k->check != NULL)
		job_abandon(k->check);
	k->check_text[0] = '\0';
	k->check = job_start(k->jobs, &(struct job_spec) { .argv = argv,
							   .limit_ms = KEEPALIVED_CHECK_MS,
							   .parent_death_signal = SIGKILL,
							   .line = on_check_line,
							   .end = on_check_end,
							   .arg = k });
	if (k->check == NULL)
		k->events.checked(false, "no process can be started", k->events.arg);
}

/* ---- its life ---- */

/* It complains of a peer that is away with each advert. */
static bool said_lately(struct keepalived *k, const char *line)
{
	int64_t now = clock_mono_ms();
	size_t oldest = 0;

	for (size_t i = 0; i < KEEPALIVED_RECENT; i++) {
		if (now - k->recent[i].at < KEEPALIVED_REPEAT_MS && strcmp(k->recent[i].text, line) == 0)
			return true;
		if (k->recent[i].at < k->recent[oldest].at)
			oldest = i;
	}
	k->recent[oldest].at = now;
	snprintf(k->recent[oldest].text, sizeof(k->recent[oldest].text), "%s", line);
	return false;
}

static void on_line(const char *line, void *arg)
{
	/* "Sun Nov 22 09:05:38 2026: " stands before each; this log has a time of its own. */
	const char *colon = strstr(line, ": ");
	const char *text = colon != NULL && colon - line == 24 ? colon + 2 : line;

	if (!said_lately(arg, text))
		log_msg(LOG_LEVEL_INFO, "keepalived", "%s", text);
}

static void on_end(int status, void *arg)
{
	struct keepalived *k = arg;
	int64_t now = clock_mono_ms();

	k->child = NULL;
	if (k->wanted) {
		log_msg(LOG_LEVEL_ERROR, "keepalived_ended", "keepalived ended %s %d; it is started again",
			WIFSIGNALED(status) ? "by signal" : "with status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		/* One that ran for a while is started at once, one that never does is not tried all the time. */
		if (now - k->started_at > 2 * KEEPALIVED_BACKOFF_MAX_MS)
			k->backoff_ms = KEEPALIVED_BACKOFF_MIN_MS;
		k->start_at = now + k->backoff_ms;
		k->backoff_ms =
			2 * k->backoff_ms < KEEPALIVED_BACKOFF_MAX_MS ? 2 * k->backoff_ms : KEEPALIVED_BACKOFF_MAX_MS;
	}
	k->sample_at = now;
}

/* In real time, or on a busy machine its adverts come late and a peer takes what is held here. The kernel kills who
 * computes in real time for longer than RLIMIT_RTTIME without a pause: set by itself, keepalived takes 10 ms, and a
 * reload was its end. By ours it stays at two seconds through all reloads; with fifty VIPs that come and go it was seen
 * to compute for 0.1 s in all. What really spins is ended, and its addresses go elsewhere. */
static void start(struct keepalived *k, int64_t now)
{
	char file[FILES_PATH_MAX], pid[FILES_PATH_MAX], vrrp[FILES_PATH_MAX];
	const char *argv[] = { k->program, "-n", "-l", "-G", "-P", "-f", file, "-p", pid, "-r", vrrp, NULL };

	snprintf(file, sizeof(file), "%s/" KEEPALIVED_FILE, k->dir);
	snprintf(pid, sizeof(pid), "%s/" PID_FILE, k->dir);
	snprintf(vrrp, sizeof(vrrp), "%s/" VRRP_FILE, k->dir);
	k->child = job_start(k->jobs, &(struct job_spec) { .argv = argv,
							   .parent_death_signal = SIGTERM,
							   .real_time = true,
							   .line = on_line,
							   .end = on_end,
							   .arg = k });
	k->started_at = k->whole_at = now;
	k->settled_at = now + KEEPALIVED_SETTLE_MS;
	k->start_at = now + k->backoff_ms;
}

void keepalived_want(struct keepalived *k, bool wanted)
{
	bool ends = k->wanted && !wanted;

	k->wanted = wanted;
	if (ends && k->child != NULL)
		job_signal(k->child, SIGTERM);
}

void keepalived_reload(struct keepalived *k)
{
	if (k->child == NULL)
		return;
	job_signal(k->child, SIGHUP);
	k->settled_at = clock_mono_ms() + KEEPALIVED_SETTLE_MS;
}

bool keepalived_settled(const struct keepalived *k, int64_t now_ms)
{
	return k->child == NULL || (k->vrrp == PROCESS_RUNS && now_ms >= k->settled_at);
}

static enum process_state vrrp_state(struct keepalived *k)
{
	if (k->child == NULL)
		return PROCESS_GONE;
	pid_t parent = job_pid(k->child), pid = process_of_file(k->dir, VRRP_FILE);
	/* A keepalived of an earlier run that ends late takes its files away, and they have the names of these. */
	return process_look(pid != 0 ? pid : process_child_of(parent), parent);
}

enum process_state keepalived_look(struct keepalived *k)
{
	enum process_state found = vrrp_state(k), before = k->vrrp;
	int64_t now = clock_mono_ms();

	if (found != PROCESS_STOPPED)
		k->stopped_at = 0;
	else if (k->stopped_at == 0)
		k->stopped_at = now;
	if (found != PROCESS_STOPPED || now - k->stopped_at >= KEEPALIVED_SAMPLE_MS / 2)
		k->vrrp = found;
	if (k->vrrp != before)
		k->events.changed(k->events.arg);
	return k->vrrp;
}

/* Its first process starts the other one anew, but may not see that it is missing, or wait too long. */
static void end_if_not_whole(struct keepalived *k, int64_t now_ms)
{
	if (k->child == NULL || k->vrrp != PROCESS_GONE)
		k->whole_at = now_ms;
	if (now_ms - k->whole_at < KEEPALIVED_WHOLE_MS)
		return;
	log_msg(LOG_LEVEL_ERROR, "keepalived_broken", "keepalived has no VRRP process; it is killed and started again");
	job_signal(k->child, SIGKILL);
	k->whole_at = now_ms;
}

void keepalived_tick(struct keepalived *k, int64_t now_ms)
{
	if (k->wanted && k->child == NULL && now_ms >= k->start_at)
		start(k, now_ms);
	if (now_ms < k->sample_at)
		return;
	keepalived_look(k);
	end_if_not_whole(k, now_ms);
	k->sample_at = now_ms + KEEPALIVED_SAMPLE_MS;
}
