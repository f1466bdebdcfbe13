/* SPDX-License-Identifier: Apache-2.0
 * The files of a member: written whole, read back, forgotten; keys only under their own hash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/cluster/trust_files.h"

static char dir[64];

static int make_dir(void **state)
{
	UNUSED(state);
	snprintf(dir, sizeof(dir), "/tmp/postroad-trust-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
	struct trust_files t;

	UNUSED(state);
	if (!trust_files_open(&t, dir))
		return 1;
	trust_files_forget(&t);
	int rc = rmdir(t.dir);
	trust_files_close(&t);
	return rc != 0 || rmdir(dir) != 0;
}

static void write_pem(struct trust_files *t)
{
	struct ca_identity who = { .id = 3, .cluster = "c", .name = "n3" };
	struct sbuf ca_pem = { 0 }, ca_key = { 0 }, key = { 0 }, csr = { 0 }, pem = { 0 };
	char *why = NULL;
	struct ca *ca = ca_make("c", clock_wall(), &why);

	assert_non_null(ca);
	assert_true(ca_request_make(&key, &csr));
	assert_true(ca_issue(ca, (struct str) { csr.p, csr.n }, &who, clock_wall(), &pem, &why));
	ca_certificate_pem(ca, &ca_pem);
	ca_key_pem(ca, &ca_key);
	assert_int_equal(trust_files_write(t, "ca.pem", (struct str) { ca_pem.p, ca_pem.n }), 0);
	assert_int_equal(trust_files_write(t, "ca.key", (struct str) { ca_key.p, ca_key.n }), 0);
	assert_int_equal(trust_files_write(t, "node.key", (struct str) { key.p, key.n }), 0);
	assert_int_equal(trust_files_write(t, "node.pem", (struct str) { pem.p, pem.n }), 0);
	trust_wipe(&ca_pem);
	trust_wipe(&ca_key);
	trust_wipe(&key);
	trust_wipe(&csr);
	trust_wipe(&pem);
	ca_free(ca);
}

static void what_is_written_is_read_and_nobody_elses(void **state)
{
	struct trust_files t;
	struct stat st;
	char *why = NULL;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	assert_false(trust_files_load(&t, &why));
	assert_non_null(strstr(why, "ca.pem"));
	free(why);
	write_pem(&t);
	why = NULL;
	assert_true(trust_files_load(&t, &why));
	assert_true(ca_can_issue(t.ca));
	assert_int_equal(stat(t.dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	char *path = xasprintf("%s/node.key", t.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	free(path);
	trust_files_close(&t);
}

static void a_node_without_the_authoritys_key_cannot_issue(void **state)
{
	struct trust_files t;
	char *why = NULL;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	write_pem(&t);
	char *path = xasprintf("%s/ca.key", t.dir);
	assert_int_equal(unlink(path), 0);
	free(path);
	assert_true(trust_files_load(&t, &why));
	assert_false(ca_can_issue(t.ca));
	trust_files_close(&t);
}

static void a_file_that_is_no_use_leaves_what_was_loaded(void **state)
{
	struct trust_files t;
	char *why = NULL;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	write_pem(&t);
	assert_true(trust_files_load(&t, &why));
	const struct ca *before = t.ca;
	assert_int_equal(trust_files_write(&t, "ca.pem", STR("no certificate")), 0);
	assert_false(trust_files_load(&t, &why));
	assert_ptr_equal(t.ca, before);
	free(why);
	trust_files_close(&t);
}

/* Not of the file that was read last, which may be one that need not be there. */
static void a_file_that_cannot_be_read_is_named_with_its_own_reason(void **state)
{
	static char large[CA_PEM_MAX + 1];
	struct trust_files t;
	char *why = NULL;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	assert_int_equal(trust_files_write(&t, "ca.pem", (struct str) { large, sizeof(large) }), 0);
	assert_false(trust_files_load(&t, &why));
	assert_non_null(strstr(why, "ca.pem cannot be read: File too large"));
	free(why);
	trust_files_close(&t);
}

static void keys_are_found_by_their_hash_alone(void **state)
{
	uint8_t key[2][COROSYNC_KEY_LEN], hash[2][COROSYNC_KEY_HASH_LEN], read[COROSYNC_KEY_LEN];
	struct trust_files t;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	for (size_t i = 0; i < 2; i++) {
		assert_true(corosync_key_make(key[i]));
		corosync_key_hash(key[i], hash[i]);
		assert_int_equal(trust_files_write_key(&t, key[i]), 0);
	}
	assert_true(trust_files_read_key(&t, hash[1], read));
	assert_memory_equal(read, key[1], sizeof(read));
	assert_true(trust_files_keep_keys(&t, hash[0], hash[0], clock_wall() + TRUST_KEY_YOUNG_SEC + 1));
	assert_false(trust_files_read_key(&t, hash[1], read));
	assert_true(trust_files_read_key(&t, hash[0], read));
	trust_files_close(&t);
}

static void a_key_that_no_table_names_yet_is_spared(void **state)
{
	uint8_t hash[2][COROSYNC_KEY_HASH_LEN], read[COROSYNC_KEY_LEN];
	struct trust_files t;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	assert_true(trust_files_make_key(&t, hash[0]));
	assert_true(trust_files_make_key(&t, hash[1]));
	assert_false(trust_files_keep_keys(&t, hash[0], hash[0], clock_wall()));
	assert_true(trust_files_read_key(&t, hash[1], read));
	/* A clock that was set back makes it no older. */
	assert_false(trust_files_keep_keys(&t, hash[0], hash[0], clock_wall() - 86400));
	assert_true(trust_files_read_key(&t, hash[1], read));
	trust_files_close(&t);
}

static void a_key_that_was_changed_on_disk_is_none(void **state)
{
	uint8_t key[COROSYNC_KEY_LEN], hash[COROSYNC_KEY_HASH_LEN], read[COROSYNC_KEY_LEN];
	char name[128] = "corosync-";
	struct trust_files t;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	assert_true(corosync_key_make(key));
	corosync_key_hash(key, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		sprintf(name + strlen(name), "%02x", hash[i]);
	strcat(name, ".key");
	key[5] ^= 1;
	assert_int_equal(trust_files_write(&t, name, (struct str) { (char *)key, sizeof(key) }), 0);
	assert_false(trust_files_read_key(&t, hash, read));
	trust_files_close(&t);
}

static void a_secret_is_alike_wherever_the_key_is_and_tells_its_purpose(void **state)
{
	uint8_t key[2][COROSYNC_KEY_LEN], hash[2][COROSYNC_KEY_HASH_LEN], none[COROSYNC_KEY_HASH_LEN] = { 0 };
	uint8_t a[TRUST_SECRET_LEN], b[TRUST_SECRET_LEN];
	struct trust_files t;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	for (size_t i = 0; i < 2; i++) {
		memset(key[i], (int)i + 1, sizeof(key[i]));
		corosync_key_hash(key[i], hash[i]);
		assert_int_equal(trust_files_write_key(&t, key[i]), 0);
	}
	assert_true(trust_files_secret(&t, hash[0], "entity tags", a));
	assert_true(trust_files_secret(&t, hash[0], "entity tags", b));
	assert_memory_equal(a, b, sizeof(a));
	assert_true(trust_files_secret(&t, hash[0], "something else", b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(trust_files_secret(&t, hash[1], "entity tags", b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_false(trust_files_secret(&t, none, "entity tags", b));
	trust_files_close(&t);
}

static void a_file_beyond_its_bound_is_not_read(void **state)
{
	struct sbuf out = { 0 };
	struct trust_files t;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	assert_int_equal(trust_files_write(&t, "members", STR("0123456789")), 0);
	assert_int_equal(trust_files_read(&t, "members", 9, &out), -EFBIG);
	sbuf_fini(&out);
	assert_int_equal(trust_files_read(&t, "members", 10, &out), 0);
	assert_int_equal(out.n, 10);
	assert_int_equal(trust_files_read(&t, "absent", 10, &out), -ENOENT);
	sbuf_fini(&out);
	trust_files_close(&t);
}

/* A next pair for node 3, as a renewal leaves it before it is used. */
static void write_next(const struct trust_files *t, struct sbuf *pem)
{
	struct ca_identity who = { .id = 3, .cluster = "c", .name = "n3" };
	struct sbuf key = { 0 }, csr = { 0 };
	char *why = NULL;

	assert_true(ca_request_make(&key, &csr));
	assert_true(ca_issue(t->ca, (struct str) { csr.p, csr.n }, &who, clock_wall(), pem, &why));
	assert_int_equal(trust_files_write(t, TRUST_NEXT_KEY, (struct str) { key.p, key.n }), 0);
	assert_int_equal(trust_files_write(t, TRUST_NEXT_CERTIFICATE, (struct str) { pem->p, pem->n }), 0);
	trust_wipe(&key);
	sbuf_fini(&csr);
}

static void a_next_pair_is_used_when_it_is_promoted_and_not_before(void **state)
{
	UNUSED(state);
	struct sbuf pem = { 0 };
	struct trust_files t;
	char *why = NULL;

	assert_true(trust_files_open(&t, dir));
	assert_false(trust_files_promote(&t));
	write_pem(&t);
	assert_true(trust_files_load(&t, &why));
	write_next(&t, &pem);
	assert_true(trust_files_load(&t, &why));
	assert_true(t.certificate.n != pem.n || memcmp(t.certificate.p, pem.p, pem.n) != 0);
	assert_true(trust_files_promote(&t));
	assert_true(trust_files_load(&t, &why));
	assert_memory_equal(t.certificate.p, pem.p, pem.n);
	assert_true(ca_key_fits((struct str) { t.certificate.p, t.certificate.n }, (struct str) { t.key.p, t.key.n }));
	assert_false(trust_files_promote(&t));
	sbuf_fini(&pem);
	trust_files_close(&t);
}

static void a_promotion_that_was_interrupted_is_ended_by_the_next_load(void **state)
{
	UNUSED(state);
	struct sbuf pem = { 0 }, key = { 0 };
	struct trust_files t;
	char *why = NULL;

	assert_true(trust_files_open(&t, dir));
	write_pem(&t);
	assert_true(trust_files_load(&t, &why));
	write_next(&t, &pem);
	assert_int_equal(trust_files_read(&t, TRUST_NEXT_KEY, CA_PEM_MAX, &key), 0);
	assert_int_equal(trust_files_write(&t, "node.key", (struct str) { key.p, key.n }), 0);
	assert_true(trust_files_load(&t, &why));
	assert_memory_equal(t.certificate.p, pem.p, pem.n);
	assert_true(ca_key_fits((struct str) { t.certificate.p, t.certificate.n }, (struct str) { t.key.p, t.key.n }));
	trust_wipe(&key);
	sbuf_fini(&pem);
	trust_files_close(&t);
}

static bool exists(const struct trust_files *t, const char *name)
{
	char *path = xasprintf("%s/%s", t->dir, name);
	bool is_there = access(path, F_OK) == 0;

	free(path);
	return is_there;
}

static void a_next_pair_that_came_back_when_it_is_in_use_is_forgotten_by_a_load(void **state)
{
	struct sbuf pem = { 0 }, key = { 0 };
	struct trust_files t;
	char *why = NULL;

	UNUSED(state);
	assert_true(trust_files_open(&t, dir));
	write_pem(&t);
	assert_true(trust_files_load(&t, &why));
	write_next(&t, &pem);
	assert_true(trust_files_load(&t, &why));
	assert_true(exists(&t, TRUST_NEXT_KEY));
	assert_int_equal(trust_files_read(&t, TRUST_NEXT_KEY, CA_PEM_MAX, &key), 0);
	assert_true(trust_files_promote(&t));
	assert_int_equal(trust_files_write(&t, TRUST_NEXT_KEY, (struct str) { key.p, key.n }), 0);
	assert_int_equal(trust_files_write(&t, TRUST_NEXT_CERTIFICATE, (struct str) { pem.p, pem.n }), 0);
	assert_true(trust_files_load(&t, &why));
	assert_false(exists(&t, TRUST_NEXT_KEY));
	assert_false(exists(&t, TRUST_NEXT_CERTIFICATE));
	trust_wipe(&key);
	sbuf_fini(&pem);
	trust_files_close(&t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
	const struct CMUnitTest tests[] = {
		T(what_is_written_is_read_and_nobody_elses),
		T(a_node_without_the_authoritys_key_cannot_issue),
		T(a_file_that_is_no_use_leaves_what_was_loaded),
		T(a_file_that_cannot_be_read_is_named_with_its_own_reason),
		T(keys_are_found_by_their_hash_alone),
		T(a_key_that_no_table_names_yet_is_spared),
		T(a_key_that_was_changed_on_disk_is_none),
		T(a_file_beyond_its_bound_is_not_read),
		T(a_secret_is_alike_wherever_the_key_is_and_tells_its_purpose),
		T(a_next_pair_is_used_when_it_is_promoted_and_not_before),
		T(a_promotion_that_was_interrupted_is_ended_by_the_next_load),
		T(a_next_pair_that_came_back_when_it_is_in_use_is_forgotten_by_a_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
