/* SPDX-License-Identifier: Apache-2.0
 * corosync's files: what is durable is waited for by nobody who keeps leases.
 *
 * This program's own fsync(2) notes which process asked for it, and whether for the directory above corosync's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agents/ha/corosync.h"
#include "daemon/base/clock.h"
#include "tests/unit/vip/ha_fixture.h"

struct seen {
	pid_t self;
	int by_self, by_children, of_above, fail;
	ino_t above;
};

static struct seen *seen; /* shared with children */
static char dir[64];

int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_ino == seen->above)
		seen->of_above++;
	if (getpid() == seen->self)
		seen->by_self++;
	else
		seen->by_children++;
	return seen->fail ? -1 : 0;
}

struct answer {
	int n;
	uint32_t ticket;
	bool ok;
	char text[HA_TEXT_MAX + 1];
};

static void on_done(uint32_t ticket, bool ok, const char *text, void *arg)
{
	struct answer *a = arg;

	a->n++;
	a->ticket = ticket;
	a->ok = ok;
	ha_text(a->text, text);
}

struct bench {
	struct jobs jobs;
	struct corosync c;
	struct answer answer;
	struct ha_message *m;
};

static int set_up(void **state)
{
	struct bench *b = xcalloc(1, sizeof(*b));
	struct corosync_options options = { .dir = dir, .program = "true", .user = "postroad" };
	struct stat st;

	snprintf(dir, sizeof(dir), "/tmp/ha-corosync-XXXXXX");
	if (mkdtemp(dir) == NULL || stat("/tmp", &st) != 0)
		return -1;
	memset(seen, 0, sizeof(*seen));
	seen->above = st.st_ino;
	seen->self = getpid();
	jobs_init(&b->jobs);
	char *why = corosync_open(&b->c, &b->jobs, &options);
	b->c.done = on_done;
	b->c.arg = &b->answer;
	b->m = message_of(HA_COROSYNC);
	*state = b;
	return why != NULL;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	static const char *const names[] = { COROSYNC_FILE, COROSYNC_STAGED, "authkey-4", "authkey-5" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		files_remove(dir, names[i]);
	free(b->m);
	free(b);
	return rmdir(dir);
}

static const struct answer *await_answer(struct bench *b)
{
	alarm(60);
	while (b->answer.n == 0) {
		struct turn turn;
		turn_begin(&turn, clock_mono_ms(), 10);
		jobs_turn(&b->jobs, &turn);
		turn_run(&turn);
		jobs_reap(&b->jobs, clock_mono_ms());
	}
	alarm(0);
	assert_int_equal(b->answer.n, 1);
	return &b->answer;
}

static const struct answer *ask(struct bench *b, enum ha_corosync_verb verb, uint64_t generation)
{
	b->answer.n = 0;
	b->m->corosync.verb = verb;
	b->m->corosync.generation = generation;
	corosync_request(&b->c, &b->m->corosync);
	return await_answer(b);
}

static bool is_there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static void files_are_durable_and_only_children_wait_for_it(void **state)
{
	struct bench *b = *state;

	assert_true(ask(b, HA_COROSYNC_STAGE, 4)->ok);
	assert_int_equal(strlen(b->answer.text), 64);
	assert_true(is_there(COROSYNC_STAGED) && is_there("authkey-4") && !is_there(COROSYNC_FILE));
	assert_int_equal(seen->by_children, 5); /* two files, their names, and that of their directory */
	assert_int_equal(seen->of_above, 1);
	assert_true(ask(b, HA_COROSYNC_INSTALL, 4)->ok);
	assert_true(is_there(COROSYNC_FILE) && !is_there(COROSYNC_STAGED));
	assert_int_equal(b->c.installed, 4);
	assert_int_equal(seen->by_children, 7);
	assert_int_equal(seen->by_self, 0);
}

static void the_next_generation_takes_the_key_of_before_away(void **state)
{
	struct bench *b = *state;

	assert_true(ask(b, HA_COROSYNC_STAGE, 4)->ok && ask(b, HA_COROSYNC_INSTALL, 4)->ok);
	assert_true(ask(b, HA_COROSYNC_STAGE, 5)->ok);
	assert_true(is_there("authkey-4") && is_there("authkey-5"));
	assert_true(ask(b, HA_COROSYNC_INSTALL, 5)->ok);
	assert_true(!is_there("authkey-4") && is_there("authkey-5"));
	assert_false(ask(b, HA_COROSYNC_STAGE, 5)->ok);
}

static void what_a_disk_refuses_is_an_error_with_a_sentence(void **state)
{
	struct bench *b = *state;

	seen->fail = 1;
	assert_false(ask(b, HA_COROSYNC_STAGE, 4)->ok);
	assert_string_equal(b->answer.text, "the files cannot be written");
	seen->fail = 0;
	assert_true(ask(b, HA_COROSYNC_STAGE, 4)->ok);
	seen->fail = 1;
	assert_false(ask(b, HA_COROSYNC_INSTALL, 4)->ok);
	assert_int_equal(b->c.installed, 0);
}

static void another_request_is_refused_while_one_is_under_way(void **state)
{
	struct bench *b = *state;
	struct answer first = { 0 };

	b->c.arg = &first;
	b->m->corosync.verb = HA_COROSYNC_STAGE;
	corosync_request(&b->c, &b->m->corosync);
	assert_int_equal(first.n, 0); /* so nothing was waited for */
	b->c.arg = &b->answer;
	corosync_request(&b->c, &b->m->corosync);
	assert_true(b->answer.n == 1 && !b->answer.ok);
	b->answer.n = 0;
	alarm(60);
	while (jobs_any(&b->jobs)) {
		struct turn turn;
		turn_begin(&turn, clock_mono_ms(), 10);
		jobs_turn(&b->jobs, &turn);
		turn_run(&turn);
		jobs_reap(&b->jobs, clock_mono_ms());
	}
	alarm(0);
	assert_true(b->answer.n == 1 && b->answer.ok);
}

static void what_corosync_lacks_is_told_with_what_to_do(void **state)
{
	struct bench *b = *state;

	b->c.options.user = "root";
	assert_true(ask(b, HA_COROSYNC_CHECK, 0)->ok);
	b->c.options.user = "no-such-user";
	assert_false(ask(b, HA_COROSYNC_CHECK, 0)->ok);
	assert_string_equal(b->answer.text, "there is no user no-such-user: `useradd --system no-such-user`, or start "
					    "postroad-ha with --user");
	b->c.options.program = "no-such-program";
	assert_false(ask(b, HA_COROSYNC_CHECK, 0)->ok);
	assert_non_null(strstr(b->answer.text, "no program no-such-program in PATH: `apt install corosync`; "));
	assert_non_null(strstr(b->answer.text, "no user no-such-user"));
	b->c.options.user = "root";
	b->c.options.program = "/tmp"; /* there, and nothing that can be run */
	assert_false(ask(b, HA_COROSYNC_CHECK, 0)->ok);
	assert_string_equal(b->answer.text, "there is no program /tmp: `apt install corosync`");
	assert_true(!b->c.wanted && b->c.child == NULL);
}

static void a_look_that_takes_too_long_is_told_as_one(void **state)
{
	struct bench *b = *state;

	b->answer.n = 0;
	b->m->corosync.verb = HA_COROSYNC_CHECK;
	corosync_request(&b->c, &b->m->corosync);
	assert_non_null(b->c.job);
	kill(job_pid(b->c.job), SIGKILL); /* as is done at its limit */
	assert_false(await_answer(b)->ok);
	assert_non_null(strstr(b->answer.text, "could not be looked up in time"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(files_are_durable_and_only_children_wait_for_it),
		CASE(the_next_generation_takes_the_key_of_before_away),
		CASE(what_a_disk_refuses_is_an_error_with_a_sentence),
		CASE(another_request_is_refused_while_one_is_under_way),
		CASE(what_corosync_lacks_is_told_with_what_to_do),
		CASE(a_look_that_takes_too_long_is_told_as_one),
	};

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT(seen != MAP_FAILED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
