/* SPDX-License-Identifier: Apache-2.0
 * corosync's files, and its starting and stopping.
 *
 * The hard thing: a node whose file and key do not belong together talks to nobody. So the key's name has the
 * generation in it and the file names it: one rename exchanges both. All of it is on stable storage before it is said
 * to be, and a disk may take seconds for that while leases run out: whatever is written durably is written by a child.
 */
#include "agents/ha/corosync.h"

#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agents/ha/needs.h"
#include "agents/ha/process.h"
#include "agents/ha/shm.h"
#include "cluster/members/corosync_conf.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"

enum { FILE_MAX = 64 * 1024 };

_Static_assert((int)HA_NODES_MAX <= (int)COROSYNC_CONF_NODES_MAX && (int)HA_LINKS_MAX == (int)COROSYNC_CONF_LINKS_MAX &&
		       (int)HA_NAME_MAX == (int)COROSYNC_CONF_NAME_MAX,
	       "what a message may have, the file can");

/* ---- files ---- */

static void key_name(uint64_t generation, char out[64])
{
	snprintf(out, 64, COROSYNC_KEY "%llu", (unsigned long long)generation);
}

/* 0 = there is no such file, or it names none. */
static uint64_t generation_of(const struct corosync *c, const char *name)
{
	struct sbuf text = { 0 };
	uint64_t found = 0;

	if (files_read(c->options.dir, name, FILE_MAX, &text) == 0 && text.n > 0) {
		const char *at = strstr(text.p, "\tconfig_version: ");
		found = at == NULL ? 0 : strtoull(at + strlen("\tconfig_version: "), NULL, 10);
	}
	sbuf_fini(&text);
	return found;
}

char *corosync_open(struct corosync *c, struct jobs *jobs, const struct corosync_options *options)
{
	memset(c, 0, sizeof(*c));
	c->jobs = jobs;
	c->options = *options;
	char *why = files_directory(options->dir, 0755);
	if (why != NULL)
		return why;
	c->installed = generation_of(c, COROSYNC_FILE);
	c->staged = generation_of(c, COROSYNC_STAGED);
	return NULL;
}

static void drop_key(const struct corosync *c, uint64_t generation)
{
	char name[64];

	key_name(generation, name);
	if (generation != 0)
		files_remove(c->options.dir, name);
}

static void finish(struct corosync *c, bool ok, const char *text)
{
	char copy[HA_TEXT_MAX + 1];
	uint32_t ticket = c->ticket;

	ha_text(copy, text);
	c->job = NULL;
	c->verb = HA_COROSYNC_VERB_END;
	c->done(ticket, ok, copy, c->arg);
}

/* ---- processes ---- */

static void on_written(struct corosync *c, bool ok);

static void on_line(const char *line, void *arg)
{
	struct corosync *c = arg;

	if (c->text[0] == '\0')
		ha_text(c->text, line);
}

static const char *why_not(const struct corosync *c)
{
	if (c->text[0] != '\0')
		return c->text;
	return c->verb == HA_COROSYNC_CHECK
		       ? "corosync's user could not be looked up in time: does the directory service of "
			 "/etc/nsswitch.conf answer?"
		       : "the program ended with an error";
}

static void on_job_end(int status, void *arg)
{
	struct corosync *c = arg;
	bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	c->job = NULL;
	if (c->writing) {
		c->writing = false;
		if (!ok && c->text[0] == '\0')
			snprintf(c->text, sizeof(c->text), "whoever wrote the files ended %s %d",
				 WIFSIGNALED(status) ? "by signal" : "with status",
				 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		on_written(c, ok);
		return;
	}
	if (!ok && c->verb == HA_COROSYNC_STAGE) {
		drop_key(c, c->staged != c->installed ? c->staged : 0);
		files_remove(c->options.dir, COROSYNC_STAGED);
		c->staged = 0;
	}
	if (c->verb == HA_COROSYNC_STAGE && ok)
		return finish(c, true, c->hash);
	finish(c, ok, ok ? "" : why_not(c));
}

static bool start_job(struct corosync *c, struct job_spec spec)
{
	if (spec.limit_ms == 0)
		spec.limit_ms = COROSYNC_JOB_MS;
	spec.parent_death_signal = SIGKILL;
	spec.line = on_line;
	spec.end = on_job_end;
	spec.arg = c;
	c->job = job_start(c->jobs, &spec);
	if (c->job == NULL)
		finish(c, false, "no process can be started");
	return c->job != NULL;
}

static void run(struct corosync *c, const char *const *argv)
{
	(void)start_job(c, (struct job_spec) { .argv = argv });
}

/* on_written() follows. What it prints is why it failed. */
static void write_by_child(struct corosync *c, int (*work)(void *), void *arg)
{
	c->writing = start_job(c, (struct job_spec) { .work = work, .work_arg = arg });
}

static void on_child_line(const char *line, void *arg)
{
	UNUSED(arg);
	log_msg(LOG_LEVEL_INFO, "corosync", "%s", line);
}

static void on_child_end(int status, void *arg)
{
	struct corosync *c = arg;

	c->child = NULL;
	c->start_at = clock_mono_ms() + COROSYNC_RESTART_MS;
	if (c->wanted)
		log_msg(LOG_LEVEL_ERROR, "corosync_ended", "corosync ended %s %d; it is started again",
			WIFSIGNALED(status) ? "by signal" : "with status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void start_child(struct corosync *c)
{
	char file[FILES_PATH_MAX];
	const char *argv[] = { c->options.program, "-f", "-c", file, NULL };

	snprintf(file, sizeof(file), "%s/" COROSYNC_FILE, c->options.dir);
	c->child = job_start(c->jobs, &(struct job_spec) { .argv = argv,
							   .parent_death_signal = SIGTERM,
							   .line = on_child_line,
							   .end = on_child_end,
							   .arg = c });
	c->start_at = clock_mono_ms() + COROSYNC_RESTART_MS;
}

/* ---- verbs ---- */

/* A child is one of several on a machine, in a lab: no real time for it, and a log of its own. */
static struct corosync_conf conf_of(const struct corosync *c, const struct ha_corosync *q)
{
	const struct corosync_options *o = &c->options;
	struct corosync_conf conf = { .generation = q->generation, .no_realtime = o->program != NULL, .n = q->n };

	memcpy(conf.cluster, q->cluster, sizeof(q->cluster));
	snprintf(conf.user, sizeof(conf.user), "%s", o->user);
	snprintf(conf.keyfile, sizeof(conf.keyfile), "%s/" COROSYNC_KEY "%llu", o->dir,
		 (unsigned long long)q->generation);
	if (o->state_dir != NULL)
		snprintf(conf.state_dir, sizeof(conf.state_dir), "%s", o->state_dir);
	if (o->state_dir != NULL && o->program != NULL)
		snprintf(conf.logfile, sizeof(conf.logfile), "%s/corosync.log", o->state_dir);
	for (size_t i = 0; i < q->n; i++) {
		struct corosync_conf_node *n = &conf.nodes[i];
		n->id = q->nodes[i].id;
		n->n_links = q->nodes[i].n_links;
		memcpy(n->name, q->nodes[i].name, sizeof(n->name));
		memcpy(n->links, q->nodes[i].links, sizeof(n->links));
	}
	return conf;
}

struct staging {
	const struct corosync *corosync;
	const struct ha_corosync *request;
	const struct sbuf *file;
};

static int say_why(const char *why)
{
	puts(why);
	fflush(stdout);
	return 1;
}

/* In a child. */
static int write_staged(void *arg)
{
	const struct staging *s = arg;
	const struct ha_corosync *q = s->request;
	const char *dir = s->corosync->options.dir;
	char name[64];

	key_name(q->generation, name);
	if (files_replace(dir, name, (struct str) { (const char *)q->key, q->key_len }, 0400, true) != 0 ||
	    files_replace(dir, COROSYNC_STAGED, (struct str) { s->file->p, s->file->n }, 0644, true) != 0 ||
	    files_sync_above(dir) != 0) /* it may have been made at this start */
		return say_why("the files cannot be written");
	return 0;
}

static void stage(struct corosync *c, const struct ha_corosync *q)
{
	struct sbuf file = { 0 };
	struct corosync_conf conf = conf_of(c, q);
	struct staging s = { c, q, &file };
	uint8_t hash[32];
	const char *why = corosync_conf_check(&conf);

	if (why == NULL && q->generation <= c->installed && c->installed != 0)
		why = "a newer generation is installed, or the same";
	if (why == NULL)
		corosync_conf_render(&conf, &file);
	if (why == NULL && EVP_Digest(file.p, file.n, hash, NULL, EVP_sha256(), NULL) != 1)
		why = "the file cannot be hashed";
	if (why != NULL) {
		sbuf_fini(&file);
		finish(c, false, why);
		return;
	}
	for (size_t i = 0; i < sizeof(hash); i++)
		snprintf(c->hash + 2 * i, 3, "%02x", hash[i]);
	c->generation = q->generation;
	write_by_child(c, write_staged, &s);
	sbuf_fini(&file);
}

/* corosync reads the file and the key it names, as far as it can without starting. */
static void check_staged(struct corosync *c)
{
	char path[FILES_PATH_MAX];
	const char *argv[] = { c->options.program != NULL ? c->options.program : "corosync", "-t", "-c", path, NULL };

	snprintf(path, sizeof(path), "%s/" COROSYNC_STAGED, c->options.dir);
	run(c, argv);
}

/* In a child. */
static int exchange(void *arg)
{
	const struct corosync *c = arg;
	char from[FILES_PATH_MAX], to[FILES_PATH_MAX];

	snprintf(from, sizeof(from), "%s/" COROSYNC_STAGED, c->options.dir);
	snprintf(to, sizeof(to), "%s/" COROSYNC_FILE, c->options.dir);
	if (rename(from, to) != 0)
		return say_why("the file cannot be renamed");
	/* The cluster goes on when all have said so: no loss of power may bring back the file of before, or that one
	 * without its key. */
	if (files_sync(c->options.dir) != 0)
		return say_why("the file's name cannot be kept");
	drop_key(c, c->installed);
	if (files_sync(c->options.dir) != 0)
		puts("the key of before may come back after a loss of power");
	fflush(stdout);
	return 0;
}

static void install(struct corosync *c, uint64_t generation)
{
	if (generation == c->installed)
		return finish(c, true, "");
	if (generation != c->staged)
		return finish(c, false, "this generation is not staged");
	c->generation = generation;
	write_by_child(c, exchange, c);
}

static void on_written(struct corosync *c, bool ok)
{
	if (!ok) {
		/* It may have been killed on its way: what is there counts. */
		c->staged = generation_of(c, COROSYNC_STAGED);
		finish(c, false, c->text);
		return;
	}
	if (c->verb == HA_COROSYNC_STAGE) {
		if (c->staged != c->generation && c->staged != c->installed)
			drop_key(c, c->staged);
		c->staged = c->generation;
		check_staged(c);
		return;
	}
	c->installed = c->generation;
	c->staged = 0;
	if (c->text[0] != '\0')
		log_msg(LOG_LEVEL_WARNING, "corosync", "%s", c->text);
	finish(c, true, "");
}

/* In a child: a directory service may take its time. */
static int look(void *arg)
{
	const struct corosync *c = arg;
	char *why = needs_corosync(&c->options);
	int status = why == NULL ? 0 : say_why(why);

	free(why);
	return status;
}

static void forget(struct corosync *c)
{
	drop_key(c, c->installed);
	drop_key(c, c->staged);
	files_remove(c->options.dir, COROSYNC_FILE);
	files_remove(c->options.dir, COROSYNC_STAGED);
	c->installed = c->staged = 0;
}

/* Where it is a child. */
static void act_on_child(struct corosync *c, enum ha_corosync_verb verb)
{
	bool stop = verb == HA_COROSYNC_STOP || verb == HA_COROSYNC_PURGE;

	c->wanted = !stop;
	c->start_at = 0;
	if (c->child != NULL && (stop || verb == HA_COROSYNC_RESTART))
		job_signal(c->child, SIGTERM);
	if (c->child != NULL && verb == HA_COROSYNC_HUNG)
		job_signal(c->child, SIGKILL);
	finish(c, true, "");
}

static void act_by_systemd(struct corosync *c, enum ha_corosync_verb verb)
{
	static const char *const start[] = { "systemctl", "start", COROSYNC_UNIT, NULL };
	static const char *const restart[] = { "systemctl", "restart", COROSYNC_UNIT, NULL };
	static const char *const stop[] = { "systemctl", "stop", COROSYNC_UNIT, NULL };
	/* A hung one obeys nothing else; the unit has Restart=always. */
	static const char *const hung[] = { "systemctl", "kill", "--signal=SIGKILL", COROSYNC_UNIT, NULL };

	run(c, verb == HA_COROSYNC_START     ? start
	       : verb == HA_COROSYNC_RESTART ? restart
	       : verb == HA_COROSYNC_HUNG    ? hung
					     : stop);
}

static void reload(struct corosync *c)
{
	static const char *const argv[] = { "corosync-cfgtool", "-R", NULL };

	run(c, argv);
}

void corosync_request(struct corosync *c, const struct ha_corosync *q)
{
	if (c->job != NULL) {
		c->done(q->ticket, false, "another request for corosync is under way", c->arg);
		return;
	}
	c->ticket = q->ticket;
	c->verb = q->verb;
	c->text[0] = '\0';
	if (q->verb == HA_COROSYNC_STAGE)
		return stage(c, q);
	if (q->verb == HA_COROSYNC_INSTALL)
		return install(c, q->generation);
	if (q->verb == HA_COROSYNC_CHECK)
		return (void)start_job(
			c, (struct job_spec) { .work = look, .work_arg = c, .limit_ms = COROSYNC_CHECK_MS });
	bool needs_file = q->verb != HA_COROSYNC_STOP && q->verb != HA_COROSYNC_PURGE;
	if (needs_file && c->installed == 0)
		return finish(c, false, "no configuration of corosync is installed");
	if (q->verb == HA_COROSYNC_RELOAD)
		return reload(c);
	if (q->verb == HA_COROSYNC_PURGE)
		forget(c);
	if (c->options.program != NULL)
		act_on_child(c, q->verb);
	else
		act_by_systemd(c, q->verb);
}

/* 0 = there is none. By systemd it is ours only on a node that has a file for it. */
static pid_t process_id(const struct corosync *c)
{
	if (c->options.program != NULL)
		return c->child != NULL ? job_pid(c->child) : 0;
	return c->installed != 0 ? process_of_file("/run", "corosync.pid") : 0;
}

bool corosync_runs(const struct corosync *c)
{
	return process_look(process_id(c), 0) == PROCESS_RUNS;
}

/* One that was killed could not tidy up, and each would take more of the memory that the next one needs. */
static void remove_remains(struct corosync *c)
{
	pid_t now = process_id(c);

	if (c->seen != 0 && process_look(c->seen, 0) == PROCESS_GONE) {
		unsigned n = shm_remove(SHM_DIR, c->seen);
		if (n > 0)
			log_msg(LOG_LEVEL_INFO, "corosync_remains", "%u files of process %d removed from " SHM_DIR, n,
				(int)c->seen);
		c->seen = 0;
	}
	if (c->seen == 0 && process_look(now, 0) != PROCESS_GONE)
		c->seen = now;
}

void corosync_tick(struct corosync *c, int64_t now_ms)
{
	remove_remains(c);
	if (c->wanted && c->child == NULL && now_ms >= c->start_at)
		start_child(c);
}

int64_t corosync_next(const struct corosync *c)
{
	return c->wanted && c->child == NULL ? c->start_at : 0;
}

void corosync_stop(struct corosync *c)
{
	c->wanted = false;
	if (c->child != NULL)
		job_signal(c->child, SIGTERM);
}
