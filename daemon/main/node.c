/* SPDX-License-Identifier: Apache-2.0
 * One node, put together.
 *
 * The order matters: nothing listens before the first round of health checks is in (or its time is over), so that a
 * restart does not refuse mail that servers would take.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/metrics.h"
#include "daemon/base/watchdog.h"
#include "daemon/main/document.h"
#include "daemon/main/node_private.h"
#include "daemon/main/notify.h"

#define FIRST_ROUND_MAX_MS 10000

/* ---- listening ---- */

static void fail(struct node *n, const char *what, const struct errors *errors)
{
	char *text = errors_text(errors);

	log_msg(LOG_LEVEL_ERROR, "start_failed", "%s: %s", what, text);
	fprintf(stderr, "postroadd: %s:\n%s", what, text);
	free(text);
	n->status = EXIT_FAILED;
	loop_stop(n->loop);
}

static void listen_now(void *arg)
{
	struct node *n = arg;
	struct errors errors = { 0 };

	CHECK_OBJ(n, NODE_MAGIC);
	timer_stop(&n->first_round);
	if (n->stopping || engine_is_listening(n->engine))
		return;
	if (!engine_listen(n->engine, &errors)) {
		fail(n, "the listeners cannot be opened", &errors);
	} else {
		binds_tell(n, errors.n > 0 ? &errors : NULL);
		log_msg(LOG_LEVEL_NOTICE, "listening", "node %s, revision %llu", n->config->node,
			(unsigned long long)n->conf->revision);
		notify_send("READY=1\nSTATUS=Taking mail");
	}
	errors_fini(&errors);
}

static void on_first_round(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	loop_post(n->loop, listen_now, n);
}

/* ---- signals and the watchdog ---- */

/* Sessions have ended, or what a member says before it goes is said. */
static void on_stopped(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (--n->stop_waits == 0)
		loop_stop(n->loop);
}

static void stop_engine(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	if (n->stopped)
		return;
	n->stopped = true;
	engine_stop(n->engine, on_stopped, n);
}

/* The second time sessions end now, but in order: what may have been delivered must be in the log. Should a worker
 * hang, the third one ends that too. */
static void stop_faster(struct node *n, const char *signal_name)
{
	bool ordered = n->stopping == 2;

	log_msg(LOG_LEVEL_NOTICE, "stopping", "%s, by another %s", ordered ? "at once" : "without order", signal_name);
	if (ordered) {
		stop_engine(n);
		engine_stop_now(n->engine);
		return;
	}
	log_stop();
	_exit(0); /* the store is whole at every moment, and its disk may be what hangs */
}

/* Addresses move first, for up to half of the grace and the rest of a minute; then messages have the whole of it. */
static void tell_stopping(const struct node *n)
{
	char text[128];

	snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=Finishing messages under way",
		 (long long)(2 * n->config->shutdown_grace_ms + 60000) * 1000);
	notify_send(text);
}

static void on_terminate(evutil_socket_t sig, short what, void *arg)
{
	struct node *n = arg;

	UNUSED(what);
	CHECK_OBJ(n, NODE_MAGIC);
	if (++n->stopping > 1) {
		stop_faster(n, sig == SIGINT ? "INT" : "TERM");
		return;
	}
	log_msg(LOG_LEVEL_NOTICE, "stopping", "finishing messages under way, at most %lld s",
		(long long)(n->config->shutdown_grace_ms / 1000));
	tell_stopping(n);
	api_event(n->api, "node", json_pack("{s:s, s:s}", "name", n->config->node, "state", "stopping"));
	n->stop_waits = 2;
	cluster_node_hand_over(n->cluster, on_stopped, n);
	/* As long as an address is here, who comes is served. */
	vips_leave(n->vips, stop_engine, n);
	share_turn(n->share);
}

static void on_reload(evutil_socket_t sig, short what, void *arg)
{
	struct node *n = arg;

	UNUSED(sig);
	UNUSED(what);
	CHECK_OBJ(n, NODE_MAGIC);
	log_msg(LOG_LEVEL_NOTICE, "reload", "reading certificates again");
	api_reload_certificates(n->api);
	certificates_reload(n);
}

static void on_beat(void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	watchdog_beat();
	timer_set_in(n->loop, &n->beat, WATCHDOG_BEAT_MS);
}

/* On the watchdog's thread, which judges who hangs; systemd judges that thread, and a process that is stopped. */
static void on_watchdog_round(void *arg)
{
	struct node *n = arg;
	int64_t now = clock_mono_ms();

	if (n->watchdog_ms == 0 || now < n->watchdog_at_ms)
		return;
	n->watchdog_at_ms = now + n->watchdog_ms / 4;
	notify_send("WATCHDOG=1");
}

static void watch_signals(struct node *n)
{
	static const int stop[] = { SIGTERM, SIGINT };
	struct event_base *base = loop_base(n->loop);
	size_t i = 0;

	for (; i < ARRAY_LEN(stop); i++)
		n->signals[i] = evsignal_new(base, stop[i], on_terminate, n);
	n->signals[i++] = evsignal_new(base, SIGHUP, on_reload, n);
	while (i-- > 0)
		ASSERT(n->signals[i] != NULL && evsignal_add(n->signals[i], NULL) == 0);
}

/* ---- start and end ---- */

static double lines_dropped(void *arg)
{
	UNUSED(arg);
	return (double)log_dropped();
}

static struct node *node_new(const struct node_config *config, const char *node_file)
{
	struct node *n;

	NEW_OBJ(n, NODE_MAGIC);
	n->config = config;
	n->node_file = node_file;
	n->started_wall = clock_wall();
	n->view = report_view_new();
	timer_init(&n->first_round, listen_now, n);
	timer_init(&n->beat, on_beat, n);
	binds_init(n);
	if (gethostname(n->hostname, sizeof(n->hostname) - 1) != 0 || n->hostname[0] == '\0')
		snprintf(n->hostname, sizeof(n->hostname), "%s", n->config->node);
	n->env = (struct conf_env) { .node = n->config->node, .hostname = n->hostname };
	return n;
}

static int open_store(struct node *n, char **ret_warning)
{
	if (!surroundings_make_dir(n, n->config->state_dir, 0700) ||
	    !surroundings_make_dir(n, n->config->run_dir, 0755))
		return EXIT_FAILED;
	return storage_open(n, ret_warning) ? 0 : EXIT_FAILED;
}

static void print_errors(const struct start_document *d, const struct errors *errors)
{
	fprintf(stderr, "%s does not validate:\n", d->from);
	for (size_t i = 0; i < errors->n; i++) {
		struct errors one = { .list = &errors->list[i], .n = 1, .cap = 1 };
		char *text = errors_text(&one);
		bool whole = errors->list[i].path[0] == '\0' && d->pointer[0] != '\0';
		fprintf(stderr, "%s%s", d->pointer, whole ? text + strlen("(document)") : text);
		free(text);
	}
	if (errors->dropped > 0)
		fprintf(stderr, "and %zu more\n", errors->dropped);
}

/* The configuration a start would use, parsed. NULL: it does not validate, standard error says why. */
static struct conf *load_conf(struct node *n, struct start_document *ret)
{
	struct errors errors = { 0 };
	struct conf_env env = n->env;
	struct conf *conf = NULL;

	if (document_find(n->config, n->store, ret, &errors)) {
		env.starting = !ret->from_node_file;
		conf = conf_parse(ret->json, &env, &errors);
	}
	if (conf == NULL)
		print_errors(ret, &errors);
	else
		conf->revision = ret->revision;
	errors_fini(&errors);
	return conf;
}

static void make_parts(struct node *n)
{
	struct engine_options o = { .workers = n->config->workers,
				    .node = n->config->node,
				    .replay_memory = n->config->replay_memory,
				    .shutdown_grace_ms = n->config->shutdown_grace_ms };
	struct registry_hooks hooks;
	char *learned = xasprintf("%s/learned.json", n->config->state_dir);

	activate_hooks(n, &hooks);
	hooks.on_first_round = on_first_round;
	n->engine = engine_new(n->loop, &o);
	n->registry = registry_new(n->loop, &hooks, learned, n->config->dns_servers);
	free(learned);
}

static void set_node_drain(bool drain, void *arg)
{
	struct node *n = arg;

	CHECK_OBJ(n, NODE_MAGIC);
	vips_drain(n->vips, drain);
}

static int make_api(struct node *n)
{
	struct api_env env = { .loop = n->loop,
			       .node = n->config,
			       .node_file = n->node_file,
			       .conf_env = n->env,
			       .store = n->store,
			       .registry = n->registry,
			       .engine = n->engine,
			       .view = n->view,
			       .check = activate_check,
			       .activate = activate_conf,
			       .set_node_drain = set_node_drain,
			       .cluster_call = membership_call,
			       .cluster_status = membership_status,
			       .shared_key = membership_etag_key,
			       .arg = n,
			       .started_wall = n->started_wall };
	char *why = NULL;

	n->api = api_new(&env, &why);
	if (n->api != NULL)
		return 0;
	surroundings_complain(n, "%s", why);
	free(why);
	return EXIT_FAILED;
}

/* Everything up to the loop. `first`: this document was never in force, so whoever wrote it is told what is wrong. */
static int start(struct node *n, struct conf *conf, bool first)
{
	struct errors errors = { 0 };

	make_parts(n);
	bool ok = !first || activate_check(conf, &errors, n);
	if (ok)
		activate_conf(conf, n);
	else
		fail(n, "the configuration cannot be put in force", &errors);
	errors_fini(&errors);
	if (!ok || make_api(n) != 0)
		return EXIT_FAILED;
	api_set_conf(n->api, conf);
	shared_start(n);
	addresses_start(n);
	surroundings_check_file_limit(n);
	certificates_start(n);
	watch_signals(n);
	timer_set_in(n->loop, &n->first_round, conf->n_pools == 0 ? 1 : FIRST_ROUND_MAX_MS);
	return 0;
}

static void node_fini(struct node *n)
{
	for (size_t i = 0; i < ARRAY_LEN(n->signals); i++)
		if (n->signals[i] != NULL)
			event_free(n->signals[i]);
	timer_stop(&n->first_round);
	timer_stop(&n->beat);
	binds_stop(n);
	certificates_stop(n);
	membership_stop(n);
	addresses_stop(n);
	shared_stop(n);
	struct api *api = n->api;
	n->api = NULL; /* the hooks of what ends now have nobody to tell */
	api_free(api);
	if (n->engine != NULL)
		engine_free(n->engine);
	if (n->registry != NULL)
		registry_free(n->registry);
	if (n->conf != NULL)
		conf_unref(n->conf);
	n->conf = NULL;
	storage_close(n);
	membership_free(n);
	report_view_free(n->view);
	if (n->loop != NULL)
		loop_free(n->loop); /* frees configurations, too */
	tls_tickets_unref(n->env.tickets);
	watchdog_stop();
	json_decref(n->left);
	json_decref(n->left_runtime);
	FREE_OBJ(n);
}

/* With a store and a valid configuration: starts and runs. */
static int run_with(struct node *n, struct conf *conf, const struct start_document *d, const char *store_warning)
{
	/* A member's configuration is the cluster's: what its node file says is used until that comes. Its founder's
	 * too: a log that is gone comes from the others. */
	membership_start(n);
	bool first = (d->from_node_file || d->kept) && store_identity(n->store).cluster == 0;
	if (!storage_start(n) || (first && storage_first(n, conf, d->kept, d->runtime) != 0))
		return EXIT_FAILED;
	if (start(n, conf, d->from_node_file) != 0)
		return EXIT_FAILED;
	api_warn(n->api, "initial_config", d->warning);
	api_warn(n->api, "store", store_warning);
	watchdog_enter("control");
	on_beat(n);
	n->watchdog_ms = notify_watchdog_ms();
	watchdog_start(on_watchdog_round, n);
	loop_run(n->loop);
	watchdog_exit(); /* the end may wait for a disk */
	return n->status;
}

int node_run(const struct node_config *config, const char *node_file)
{
	struct start_document d = { 0 };
	struct conf *conf = NULL;
	char *store_warning = NULL;
	struct node *n = node_new(config, node_file);

	metrics_thread(0);
	metrics_read_with(metrics_series(METRIC_LOG_LINES_DROPPED_TOTAL, NULL), lines_dropped, NULL);
	n->loop = n->env.home = loop_new();
	n->env.tickets = tls_tickets_new();
	n->vips = vips_new(n->loop, config);
	surroundings_raise_file_limit();
	int status = open_store(n, &store_warning);
	if (status == 0) {
		conf = load_conf(n, &d);
		status = conf == NULL ? EXIT_INVALID : run_with(n, conf, &d, store_warning);
	}
	if (conf != NULL)
		conf_unref(conf);
	json_decref(d.json);
	json_decref(d.runtime);
	free(store_warning);
	node_fini(n);
	log_msg(LOG_LEVEL_NOTICE, "stopped", "exit status %d", status);
	return status;
}

/* What /status would warn of, as far as it can be known without running. */
static void print_warnings(const struct conf *c)
{
	char *files = surroundings_file_limit_text(c), text[256];

	for (size_t i = 0; i < c->warnings.n; i++)
		printf("warning: %s: %s\n", c->warnings.list[i].path, c->warnings.list[i].detail);
	for (size_t i = 0; i < c->kept.n; i++)
		printf("warning: %s: %s\n", c->kept.list[i].path, c->kept.list[i].detail);
	for (size_t i = 0; i < c->n_certificates; i++)
		if (certificates_expiry(&c->certificates[i], text, sizeof(text)) != NULL)
			printf("warning: %s\n", text);
	if (files != NULL)
		printf("warning: %s\n", files);
	free(files);
}

int node_check(const struct node_config *config)
{
	struct start_document d = { 0 };
	struct node *n = node_new(config, NULL);
	char *why = NULL, *warning = NULL, *log = xasprintf("%s/store.log", config->state_dir);

	/* A store is looked into, never made; one that a running daemon holds is that daemon's to check. */
	if (access(log, R_OK | W_OK) == 0)
		n->store = store_open(config->state_dir, config->node, &why, &warning);
	struct conf *conf = load_conf(n, &d);
	surroundings_raise_file_limit();
	if (conf != NULL)
		printf("%s is valid\n", d.from);
	if (conf != NULL)
		print_warnings(conf);
	if (d.warning != NULL)
		printf("warning: %s\n", d.warning);
	if (why != NULL)
		printf("the store was not looked into: %s\n", why);
	int status = conf == NULL ? EXIT_INVALID : 0;
	if (conf != NULL)
		conf_unref(conf);
	json_decref(d.json);
	json_decref(d.runtime);
	free(why);
	free(warning);
	free(log);
	node_fini(n);
	return status;
}
