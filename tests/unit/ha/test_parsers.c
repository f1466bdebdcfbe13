/* SPDX-License-Identifier: Apache-2.0
 * What is read from others: keepalived's FIFO, /proc, and frames from the network.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agents/ha/keepalived.h"
#include "agents/ha/probe.h"
#include "tests/unit/vip/ha_fixture.h"

static void lines_of_the_fifo_are_read_whole_or_not_at_all(void **state)
{
	UNUSED(state);
	static const struct {
		const char *line, *name; /* name NULL = refused */
		enum ha_state state;
		unsigned priority;
	} cases[] = {
		{ "INSTANCE \"VIP_out-a\" MASTER 250", "out-a", HA_STATE_MASTER, 250 },
		{ "INSTANCE \"VIP_b.2\" BACKUP 0", "b.2", HA_STATE_BACKUP, 0 },
		{ "INSTANCE \"VIP_a\" FAULT 240", "a", HA_STATE_FAULT, 240 },
		{ "INSTANCE \"VIP_a\" STOP 240", "a", HA_STATE_STOP, 240 },
		{ "INSTANCE \"VIP_a\" MASTER_RX_LOWER_PRI 240", NULL, 0, 0 },
		{ "INSTANCE \"VIP_a\" MASTER", NULL, 0, 0 },
		{ "INSTANCE \"VIP_a\" MASTER 256", NULL, 0, 0 },
		{ "INSTANCE \"VIP_a\" MASTER 250 more", NULL, 0, 0 },
		{ "INSTANCE \"VIP_\" MASTER 250", NULL, 0, 0 },
		{ "INSTANCE \"VIP_a", NULL, 0, 0 },
		{ "INSTANCE \"a\" MASTER 250", NULL, 0, 0 },
		{ "INSTANCE \"VIP_a/b\" MASTER 250", NULL, 0, 0 },
		{ "GROUP \"VIP_a\" MASTER 0", NULL, 0, 0 },
		{ "", NULL, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char name[HA_NAME_MAX + 1];
		enum ha_state said;
		uint8_t priority;
		bool ok = keepalived_parse(cases[i].line, name, &said, &priority);
		if (ok != (cases[i].name != NULL))
			print_error("for %s\n", cases[i].line);
		assert_int_equal(ok, cases[i].name != NULL);
		if (!ok)
			continue;
		assert_string_equal(name, cases[i].name);
		assert_true(said == cases[i].state && priority == cases[i].priority);
	}
}

static void a_long_name_in_the_fifo_is_refused(void **state)
{
	UNUSED(state);
	char line[200], name[HA_NAME_MAX + 1];
	enum ha_state said;
	uint8_t priority;

	snprintf(line, sizeof(line), "INSTANCE \"VIP_%064d\" MASTER 1", 7);
	assert_false(keepalived_parse(line, name, &said, &priority));
	snprintf(line, sizeof(line), "INSTANCE \"VIP_%063d\" MASTER 1", 7);
	assert_true(keepalived_parse(line, name, &said, &priority));
}

static void a_program_cannot_forge_its_state(void **state)
{
	UNUSED(state);
	char found = 0;
	pid_t parent = 0;

	assert_true(process_parse(STR("17 (keepalived) S 4 17 17 0"), &found, &parent));
	assert_true(found == 'S' && parent == 4);
	assert_true(process_parse(STR("17 (a) S 1 (b) T 99 1"), &found, &parent));
	assert_true(found == 'T' && parent == 99);
	assert_false(process_parse(STR("17 (keepalived) S"), &found, &parent));
	assert_false(process_parse(STR("17 keepalived S 4 1"), &found, &parent));
	assert_false(process_parse(STR(""), &found, &parent));
}

static void a_process_counts_while_it_is_its_parents(void **state)
{
	UNUSED(state);
	assert_int_equal(process_look(getpid(), getppid()), PROCESS_RUNS);
	assert_int_equal(process_look(getpid(), 0), PROCESS_RUNS);
	assert_int_equal(process_look(getpid(), getpid()), PROCESS_GONE);
	assert_int_equal(process_look(0, 0), PROCESS_GONE);
}

static void the_child_of_a_process_is_found(void **state)
{
	UNUSED(state);
	assert_int_equal(process_child_of(getpid()), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		for (;;)
			pause();
	assert_int_equal(process_child_of(getpid()), child);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(process_child_of(getpid()), 0);
	assert_int_equal(process_child_of(0), 0);
}

/* ---- frames ---- */

static const uint8_t own[6] = { 2, 0, 0, 0, 0, 1 }, other[6] = { 2, 0, 0, 0, 0, 2 };

static uint32_t checksum(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i < n; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	return s;
}

static void questions_name_the_address_and_nobody_who_asks(void **state)
{
	UNUSED(state);
	uint8_t f[PROBE_FRAME_MAX];
	static const uint8_t nobody[16];
	struct addr four = ip_of("192.0.2.101"), six = ip_of("2001:db8::aa:bbcc");

	assert_int_equal(probe_question(&four, own, f), 42);
	assert_memory_equal(f + 22, own, 6);
	assert_memory_equal(f + 28, nobody, 4);
	assert_memory_equal(f + 38, &four.in.sin_addr, 4);
	assert_int_equal(probe_question(&six, own, f), 78);
	assert_memory_equal(f, "\x33\x33\xff\xaa\xbb\xcc", 6);
	assert_memory_equal(f + 22, nobody, 16);
	assert_memory_equal(f + 62, &six.in6.sin6_addr, 16);
	/* RFC 4443 section 2.3: the sum over pseudo header and message is all ones. */
	uint32_t s = checksum(f + 22, 32) + 24 + 58 + checksum(f + 54, 24);
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	assert_int_equal(s, 0xffff);
}

static void answers_of_others_are_seen_and_no_question(void **state)
{
	UNUSED(state);
	uint8_t f[PROBE_FRAME_MAX], mac[6] = { 0 };
	struct addr four = ip_of("192.0.2.101"), six = ip_of("2001:db8::101");
	struct str frame = { (char *)f, 42 };

	probe_question(&four, other, f); /* a probe of another: he does not have it */
	assert_false(probe_is_answer(frame, &four, own, mac));
	memcpy(f + 28, &four.in.sin_addr, 4);
	assert_true(probe_is_answer(frame, &four, own, mac));
	assert_memory_equal(mac, other, 6);
	frame.n = 41;
	assert_false(probe_is_answer(frame, &four, own, mac));
	frame.n = 42;
	memcpy(f + 6, own, 6); /* this node's own */
	assert_false(probe_is_answer(frame, &four, own, mac));

	frame.n = 78;
	probe_question(&six, other, f);
	assert_false(probe_is_answer(frame, &six, own, mac));
	f[54] = 136;
	assert_true(probe_is_answer(frame, &six, own, mac));
	f[14 + 7] = 64; /* routed: not from this link */
	assert_false(probe_is_answer(frame, &six, own, mac));
}

static void a_frame_cut_anywhere_is_no_answer(void **state)
{
	UNUSED(state);
	uint8_t f[PROBE_FRAME_MAX], mac[6];
	struct addr six = ip_of("2001:db8::101");

	probe_question(&six, other, f);
	f[54] = 136;
	for (size_t n = 0; n < 78; n++) {
		char *cut = xmalloc(n + 1);
		memcpy(cut, f, n);
		char *exact = xrealloc(cut, n > 0 ? n : 1);
		assert_false(probe_is_answer((struct str) { exact, n }, &six, own, mac));
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_the_fifo_are_read_whole_or_not_at_all),
		cmocka_unit_test(a_long_name_in_the_fifo_is_refused),
		cmocka_unit_test(a_program_cannot_forge_its_state),
		cmocka_unit_test(a_process_counts_while_it_is_its_parents),
		cmocka_unit_test(the_child_of_a_process_is_found),
		cmocka_unit_test(questions_name_the_address_and_nobody_who_asks),
		cmocka_unit_test(answers_of_others_are_seen_and_no_question),
		cmocka_unit_test(a_frame_cut_anywhere_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
