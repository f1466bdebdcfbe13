/* SPDX-License-Identifier: Apache-2.0
 * Promises of a node that starts with half of its files: one that cannot take part does not decide alone; one that an
 * init or join left without a table can be made a member, or be alone again.
 */
#include "tests/unit/cluster/peers_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/journal/identity.h"
#include "cluster/members/change.h"
#include "daemon/base/clock.h"
#include "daemon/cluster/cluster_private.h"

enum { WAIT_MS = 20000 };

static struct {
	char *dir;
	struct node_config config;
	struct addr listen;
	struct loop *loop;
	struct store *store;
	struct peers *peers;
	struct report_view *view;
	struct cluster_node *node;
	unsigned warned, purged, left;
	bool unlistened, unreadable; /* as is warned of now */
	/* of the last call */
	int status; /* 0 = not answered; -1 = refused */
	char why[512];
	enum problem problem;
	size_t passed_over;
	struct cluster_call call;
} t;

/* ---- what surrounds it ---- */

void cluster_call_answer(struct cluster_call *q, int status, json_t *json)
{
	json_decref(q->body);
	t.passed_over = json_array_size(json_object_get(json, "passed_over"));
	json_decref(json);
	t.status = status;
}

void cluster_call_refuse(struct cluster_call *q, enum problem p, const char *fmt, ...)
{
	va_list ap;

	t.problem = p;
	va_start(ap, fmt);
	vsnprintf(t.why, sizeof(t.why), fmt, ap);
	va_end(ap);
	json_decref(q->body);
	t.status = -1;
}

/* Only what was committed is a 200. */
void cluster_call_result(struct cluster_call *q, const struct store_result *r, const char *id)
{
	UNUSED(id);
	json_decref(q->body);
	t.status = r->result == CORE_COMMITTED ? 200 : -1;
}

void cluster_call_not_proposed(struct cluster_call *q, int err)
{
	snprintf(t.why, sizeof(t.why), "%s", strerror(-err));
	json_decref(q->body);
	t.status = -1;
}

/* postroad-ha does all it is told at once. */
static bool ha_request(void *link, struct ha_message *m, ha_answer_fn *fn, void *arg)
{
	struct ha_message *done = xcalloc(1, sizeof(*done));

	UNUSED(link);
	t.purged += m->type == HA_COROSYNC && m->corosync.verb == HA_COROSYNC_PURGE;
	done->type = HA_DONE;
	fn(done, arg);
	free(done);
	return true;
}

static void warn(const char *key, const char *text, void *arg)
{
	UNUSED(arg);
	t.warned += text != NULL && strcmp(key, "cluster") == 0;
	if (strcmp(key, "cluster_listen") == 0)
		t.unlistened = text != NULL;
	if (strcmp(key, "members") == 0)
		t.unreadable = text != NULL;
}

static void event(const char *type, json_t *data, void *arg)
{
	UNUSED(type);
	UNUSED(arg);
	json_decref(data);
}

static void quorum_returned(void *arg)
{
	UNUSED(arg);
}

static bool leaving(void *arg)
{
	UNUSED(arg);
	return true;
}

static void left(void *arg)
{
	UNUSED(arg);
	t.left++;
}

static void on_applied(const struct entry *e, void *arg)
{
	UNUSED(arg);
	cluster_node_applied(t.node, e);
}

static void on_reset(void *arg)
{
	UNUSED(arg);
	cluster_node_reset(t.node);
}

/* ---- a node ---- */

static void node_start(void)
{
	struct store_hooks hooks = { .applied = on_applied, .reset = on_reset };
	char *why = NULL, *warning = NULL;

	t.loop = loop_new();
	t.view = report_view_new();
	t.peers = peers_new(t.loop);
	t.store = store_open(t.dir, "n1", &why, &warning);
	assert_non_null(t.store);
	assert_null(warning);
	struct cluster_node_env env = { .loop = t.loop,
					.config = &t.config,
					.store = t.store,
					.view = t.view,
					.peers = t.peers,
					.ha_request = ha_request,
					.warn = warn,
					.event = event,
					.quorum_returned = quorum_returned,
					.leaving = leaving,
					.left = left };
	t.node = cluster_node_new(&env);
	store_set_hooks(t.store, &hooks);
	assert_int_equal(store_start(t.store), 0);
	(void)!store_wait(t.store, WAIT_MS);
}

static void node_stop(void)
{
	if (t.node == NULL)
		return;
	cluster_node_stop(t.node);
	peers_free(t.peers);
	store_close(t.store);
	cluster_node_free(t.node);
	report_view_free(t.view);
	loop_free(t.loop);
	t.node = NULL;
}

/* Turns until the condition holds; fails where it does not come to hold. */
#define UNTIL(condition)                                                                                               \
	for (int64_t until_end = clock_mono_ms() + WAIT_MS; !(condition); turn())                                      \
		if (clock_mono_ms() > until_end)                                                                       \
	fail_msg("did not come: %s", #condition)

static void turn(void)
{
	loop_turn(t.loop, false);
	(void)!poll(NULL, 0, 5);
	(void)!store_wait(t.store, 0);
}

static void begin_to_ask(enum cluster_verb verb, json_t *body)
{
	t.status = 0;
	t.call = (struct cluster_call) { .verb = verb, .body = body, .author = "test" };
	cluster_node_call(t.node, &t.call);
}

static void ask(enum cluster_verb verb, json_t *body)
{
	begin_to_ask(verb, body);
	UNTIL(t.status != 0);
}

static void init_begins(const char *name)
{
	begin_to_ask(CLUSTER_INIT, json_pack("{s:s, s:[s], s:b}", "name", name, "links", "127.0.0.1", "force", 1));
}

static void init_called(const char *name)
{
	init_begins(name);
	UNTIL(t.status != 0);
}

static void init(void)
{
	init_called("c");
}

static void assert_done(void)
{
	if (t.status != 200)
		fail_msg("%s", t.why);
}

static bool says_it_is_in(const char *cluster)
{
	json_t *o = cluster_node_status(t.node);
	const char *name = json_string_value(json_object_get(o, "cluster"));
	bool same = cluster == NULL ? name == NULL : name != NULL && strcmp(name, cluster) == 0;

	json_decref(o);
	return same;
}

static void on_written(const struct store_result *r, void *arg)
{
	*(int *)arg = (int)r->result;
}

static enum core_result append(void)
{
	struct store_write w = { .kind = ENTRY_CONFIG,
				 .author = "test",
				 .comment = "",
				 .document = STR("{}"),
				 .expect_position = UINT64_MAX };
	int result = -1;

	if (store_propose(t.store, &w, on_written, &result) != 0)
		return CORE_REFUSED;
	assert_true(store_wait(t.store, WAIT_MS));
	return (enum core_result)result;
}

/* ---- files ---- */

static void remove_below(const char *dir)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		char *path = xasprintf("%s/%s", dir, e->d_name);
		if (unlink(path) != 0)
			remove_below(path);
		free(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(dir);
}

static void remove_file(const char *name)
{
	char *path = xasprintf("%s/%s", t.dir, name);

	remove_below(path);
	(void)unlink(path);
	assert_int_not_equal(access(path, F_OK), 0);
	free(path);
}

/* As a crash leaves it that came behind the number of a cluster and before its table: keys are there, and the log is a
 * single node's. */
static void node_half_made(bool joined)
{
	struct identity i;
	char *why = NULL;

	node_start();
	assert_int_equal(append(), CORE_COMMITTED);
	init();
	assert_done();
	node_stop();
	/* The keys of a cluster, and the log of a node that is in none. */
	remove_file("trust/table");
	remove_file("store.log");
	remove_file("identity");
	char *trust = xasprintf("%s/trust", t.dir), *aside = xasprintf("%s/aside", t.dir);
	assert_int_equal(rename(trust, aside), 0);
	node_start();
	assert_int_equal(append(), CORE_COMMITTED);
	node_stop();
	remove_file("trust");
	assert_int_equal(rename(aside, trust), 0);
	free(trust);
	free(aside);
	int dir = open(t.dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(identity_load(dir, t.dir, &i, &why), 0);
	i = joined ? identity_new(2, 77, true) : i;
	i.cluster = 77;
	assert_int_equal(identity_save(dir, &i), 0);
	close(dir);
	t.purged = 0;
}

static int setup(void **state)
{
	UNUSED(state);
	memset(&t, 0, sizeof(t));
	t.dir = xasprintf("%s/postroad-node-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(t.dir));
	t.listen = free_port();
	t.config = (struct node_config) {
		.node = "n1", .state_dir = t.dir, .cluster_listen = &t.listen, .n_cluster_listen = 1
	};
	return 0;
}

static int teardown(void **state)
{
	UNUSED(state);
	node_stop();
	remove_below(t.dir);
	free(t.dir);
	return 0;
}

/* ---- promises ---- */

static void a_member_without_its_keys_does_not_decide_alone(void **state)
{
	UNUSED(state);
	node_start();
	assert_int_equal(append(), CORE_COMMITTED);
	init();
	assert_done();
	node_stop();
	remove_file("trust");
	node_start();
	assert_false(store_quorate(t.store));
	assert_int_equal(store_state(t.store), CORE_OFFLINE);
	assert_int_equal(append(), CORE_REFUSED);
	assert_non_null(store_last(t.store, ENTRY_CONFIG));
	UNTIL(t.warned > 0);
}

static void an_init_that_ended_before_its_table_leaves_a_node_that_writes(void **state)
{
	UNUSED(state);
	node_half_made(false);
	node_start();
	assert_true(store_quorate(t.store));
	assert_int_equal(append(), CORE_COMMITTED);
	assert_true(says_it_is_in(NULL));
}

static void an_init_that_ended_before_its_table_is_asked_for_again(void **state)
{
	UNUSED(state);
	node_half_made(false);
	node_start();
	init();
	assert_done();
	assert_true(says_it_is_in("c"));
	assert_true(store_identity(t.store).cluster == 77);
	assert_non_null(store_last(t.store, ENTRY_MEMBERSHIP));
	init();
	assert_int_equal(t.status, -1);
}

static void on_found(const struct store_result *r, void *arg)
{
	UNUSED(r);
	UNUSED(arg);
}

static bool looks_for_corosync(void)
{
	json_t *o = cluster_node_status(t.node);
	bool looks = json_is_object(json_object_get(o, "corosync"));

	json_decref(o);
	return looks;
}

/* As when the disk took longer than the answer could wait. */
static void a_first_table_that_comes_late_makes_a_member(void **state)
{
	struct members_node me = { .name = "n1", .n_links = 1, .features_low = 1, .features_high = 1 };
	uint8_t hash[MEMBERS_HASH_LEN] = { 1 };
	struct sbuf document = { 0 };
	struct members_refusal why;

	UNUSED(state);
	node_half_made(false);
	node_start();
	me.instance = store_identity(t.store).instance;
	me.listen = free_port();
	assert_true(addr_parse_ip("127.0.0.1", &me.links[0]));
	struct members *table = members_init("late", 77, &me, hash, 1, &why);
	assert_non_null(table);
	members_encode(table, &document);
	members_free(table);
	assert_int_equal(store_found(t.store, 77, (struct str) { document.p, document.n }, on_found, NULL), 0);
	sbuf_fini(&document);
	UNTIL(says_it_is_in("late") && looks_for_corosync());
	assert_false(store_quorate(t.store)); /* until corosync is there */
}

static void leave_makes_a_node_alone_that_has_no_table(bool joined)
{
	node_half_made(joined);
	node_start();
	ask(CLUSTER_LEAVE, json_object());
	assert_done();
	UNTIL(store_identity(t.store).cluster == 0);
	assert_true(t.left == 1 && t.purged > 0);
	UNTIL(store_quorate(t.store));
	assert_int_equal(append(), CORE_COMMITTED);
	init();
	assert_done();
}

static void a_logs_digest_is_there_in_a_cluster_alone_and_is_not_its_hash(void **state)
{
	char hash[2 * ENTRY_HASH_LEN + 1];

	UNUSED(state);
	node_start();
	assert_int_equal(append(), CORE_COMMITTED);
	json_t *alone = cluster_node_status(t.node);
	assert_true(json_is_null(json_object_get(alone, "digest")));
	json_decref(alone);
	init();
	assert_done();
	json_t *member = cluster_node_status(t.node);
	const char *digest = json_string_value(json_object_get(member, "digest"));
	assert_true(digest != NULL && strlen(digest) == 32);
	cluster_hex(store_hash(t.store), ENTRY_HASH_LEN, hash);
	assert_null(strstr(hash, digest));
	json_decref(member);
}

static void leaving_ends_an_init_that_ended_before_its_table(void **state)
{
	UNUSED(state);
	leave_makes_a_node_alone_that_has_no_table(false);
}

static void leaving_ends_a_join_that_ended_before_its_table(void **state)
{
	UNUSED(state);
	leave_makes_a_node_alone_that_has_no_table(true);
}

/* Corosync never comes up, as after an init with a wrong address. */
static void the_only_node_of_a_cluster_leaves_it(void **state)
{
	UNUSED(state);
	node_start();
	assert_int_equal(append(), CORE_COMMITTED);
	init();
	assert_done();
	assert_false(store_quorate(t.store));
	ask(CLUSTER_LEAVE, json_object());
	assert_done();
	UNTIL(store_identity(t.store).cluster == 0 && t.left == 1);
	UNTIL(store_quorate(t.store));
	assert_int_equal(append(), CORE_COMMITTED);
	init();
	assert_done();
	assert_true(says_it_is_in("c"));
}

static bool is_there(const char *name)
{
	char *path = xasprintf("%s/%s", t.dir, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static void write_file(const char *name)
{
	char *path = xasprintf("%s/%s", t.dir, name);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0 && close(fd) == 0);
	free(path);
}

/* With an authority's key left behind, the authority of a cluster that is joined later could not be loaded. */
static void an_init_that_is_refused_leaves_no_keys(void **state)
{
	UNUSED(state);
	node_start();
	init_called("_mx"); /* good for a certificate, not for a table */
	assert_int_equal(t.status, -1);
	assert_false(is_there("trust/ca.key"));
	init();
	assert_done();
}

static void a_join_forgets_the_keys_of_what_came_to_nothing(void **state)
{
	UNUSED(state);
	node_start();
	write_file("trust/ca.key");
	ask(CLUSTER_JOIN, json_pack("{s:s, s:[s], s:b}", "token", "none", "links", "127.0.0.1", "force", 1));
	assert_int_equal(t.status, -1);
	assert_false(is_there("trust/ca.key"));
}

static void an_init_whose_files_are_no_use_says_that_it_cannot_take_part(void **state)
{
	UNUSED(state);
	node_start();
	init_begins("c");
	remove_file("trust");
	UNTIL(t.status != 0);
	assert_int_equal(t.status, -1);
	UNTIL(t.warned > 0);
}

static bool can_be_called(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool can = connect(fd, &t.listen.sa, addr_len(&t.listen)) == 0;

	close(fd);
	return can;
}

static void init_at(const char *listen, bool force)
{
	ask(CLUSTER_INIT, json_pack("{s:[s], s:s, s:b}", "links", "127.0.0.1", "listen", listen, "force", force));
}

static void an_address_that_nobody_can_call_is_refused(void **state)
{
	UNUSED(state);
	node_start();
	init_at("0.0.0.0", true);
	assert_int_equal(t.status, -1);
	init_at("[::]:8426", true);
	assert_int_equal(t.status, -1);
	init_at("192.0.2.77", false);
	assert_non_null(strstr(t.why, "would call 192.0.2.77:8426"));
	init_at("127.0.0.2", false);
	assert_non_null(strstr(t.why, "cannot call 127.0.0.2:8426"));
}

static void a_node_that_listens_everywhere_is_called_at_its_link(void **state)
{
	char listen[ADDR_TEXT_MAX];
	struct addr at;

	UNUSED(state);
	assert_true(addr_parse_ip("0.0.0.0", &at));
	addr_set_port(&at, addr_port(&t.listen));
	t.config.cluster_listen = &at;
	node_start();
	init();
	assert_done();
	json_t *s = cluster_node_status(t.node);
	json_t *me = json_object_get(json_object_get(s, "members"), "n1");
	assert_string_equal(json_string_value(json_object_get(me, "listen")), addr_format(&t.listen, listen));
	json_decref(s);
	assert_true(can_be_called());
	node_stop();
}

static void what_force_passes_over_is_told(void **state)
{
	UNUSED(state);
	node_start();
	init();
	assert_done();
	assert_true(t.passed_over >= 1); /* a link on loopback */
}

static void an_init_that_a_disk_ends_says_so(void **state)
{
	UNUSED(state);
	node_start();
	init_called("_mx");
	assert_int_equal(t.problem, PROBLEM_INVALID);
	remove_file("trust");
	init();
	assert_int_equal(t.problem, PROBLEM_INTERNAL);
	assert_non_null(strstr(t.why, "The disk of this node: No such file or directory;"));
}

static void assert_says(char *text, const char *part)
{
	assert_non_null(strstr(text, part));
	free(text);
}

static void a_log_that_does_not_take_a_write_says_why(void **state)
{
	UNUSED(state);
	assert_says(forming_unwritten(&(struct store_result) { .result = CORE_FULL, .error = -ENOSPC }, "late"),
		    "The disk of this node: No space left on device; make room");
	assert_says(forming_unwritten(&(struct store_result) { .result = CORE_UNKNOWN, .error = -EIO }, "late"),
		    "Input/output error");
	assert_says(forming_unwritten(&(struct store_result) { .result = CORE_UNKNOWN }, "late"), "late");
	assert_says(forming_unbecome(-EBUSY, 0), "see what keeps its disk");
	assert_says(forming_unbecome(-ENOTCONN, 0), "`postroad status`");
	assert_says(forming_unbecome(-ENOTCONN, -ENOSPC), "No space left on device");
	assert_says(forming_unbecome(-EALREADY, 0), "`postroad cluster leave`");
	assert_says(forming_unbecome(-ENOSPC, 0), "No space left on device");
}

/* Another program has the port. */
static int occupy(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_true(fd >= 0 && bind(fd, &t.listen.sa, addr_len(&t.listen)) == 0 && listen(fd, 1) == 0);
	return fd;
}

static void an_address_that_was_taken_is_listened_at_when_it_is_free(void **state)
{
	UNUSED(state);
	int fd = occupy();

	node_start();
	init();
	assert_done();
	assert_true(t.unlistened);
	close(fd);
	assert_false(can_be_called());
	UNTIL(can_be_called());
	assert_false(t.unlistened);
}

static void leaving_ends_what_was_warned_of(void **state)
{
	UNUSED(state);
	node_half_made(true);
	int fd = occupy();
	node_start();
	cluster_node_applied(t.node, &(struct entry) { .kind = ENTRY_MEMBERSHIP, .document = STR("none") });
	assert_true(t.unreadable && t.unlistened);
	ask(CLUSTER_LEAVE, json_object());
	UNTIL(store_identity(t.store).cluster == 0);
	assert_false(t.unreadable || t.unlistened);
	close(fd);
}

static void what_was_written_alone_is_known_after_a_start(void **state)
{
	static const char seven[8] = { 7 };

	UNUSED(state);
	node_start();
	assert_int_equal(append(), CORE_COMMITTED);
	init();
	assert_done();
	assert_int_equal(trust_files_write(&t.node->trust, "alone", (struct str) { seven, sizeof(seven) }), 0);
	node_stop();
	node_start();
	assert_int_equal(t.node->alone_from, 7);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_member_without_its_keys_does_not_decide_alone),
		TEST(an_init_that_ended_before_its_table_leaves_a_node_that_writes),
		TEST(an_init_that_ended_before_its_table_is_asked_for_again),
		TEST(a_first_table_that_comes_late_makes_a_member),
		TEST(a_logs_digest_is_there_in_a_cluster_alone_and_is_not_its_hash),
		TEST(leaving_ends_an_init_that_ended_before_its_table),
		TEST(leaving_ends_a_join_that_ended_before_its_table),
		TEST(the_only_node_of_a_cluster_leaves_it),
		TEST(an_init_that_is_refused_leaves_no_keys),
		TEST(an_address_that_nobody_can_call_is_refused),
		TEST(a_node_that_listens_everywhere_is_called_at_its_link),
		TEST(what_force_passes_over_is_told),
		TEST(an_init_that_a_disk_ends_says_so),
		TEST(a_log_that_does_not_take_a_write_says_why),
		TEST(an_address_that_was_taken_is_listened_at_when_it_is_free),
		TEST(leaving_ends_what_was_warned_of),
		TEST(what_was_written_alone_is_known_after_a_start),
		TEST(a_join_forgets_the_keys_of_what_came_to_nothing),
		TEST(an_init_whose_files_are_no_use_says_that_it_cannot_take_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
