/* SPDX-License-Identifier: Apache-2.0
 * Sealed streams, and backups in them: what went in comes out, and nothing else does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "cluster/trust/backup.h"
#include "cluster/trust/ca.h"
#include "cluster/trust/corosync_key.h"
#include "tests/unit/store/members_fixture.h"

#define PASSPHRASE STR("correct horse")

static int into(void *arg, struct str bytes)
{
	sbuf_add(arg, bytes.p, bytes.n);
	return 0;
}

static int full(void *arg, struct str bytes)
{
	size_t *left = arg;

	if (bytes.n > *left)
		return -ENOSPC;
	*left -= bytes.n;
	return 0;
}

static void seal_all(struct str content, size_t step, struct sbuf *out)
{
	const char *why;
	struct seal *s = seal_new(PASSPHRASE, SEAL_COST_MIN, into, out, &why);

	assert_non_null(s);
	for (size_t at = 0; at < content.n; at += step) {
		size_t n = content.n - at < step ? content.n - at : step;
		assert_int_equal(seal_write(s, (struct str) { content.p + at, n }), 0);
	}
	assert_int_equal(seal_end(s), 0);
	seal_free(s);
}

/* 0 and the content, or the error. */
static int open_all(struct str sealed, struct str passphrase, size_t step, struct sbuf *out)
{
	struct unseal *u = unseal_new(passphrase, into, out);
	int rc = 0;

	for (size_t at = 0; at < sealed.n && rc == 0; at += step) {
		size_t n = sealed.n - at < step ? sealed.n - at : step;
		rc = unseal_write(u, (struct str) { sealed.p + at, n });
	}
	if (rc == 0)
		rc = unseal_end(u);
	assert_true((rc == -EBADMSG) == (unseal_why(u)[0] != '\0'));
	unseal_free(u);
	return rc;
}

static char *content_of(size_t n)
{
	char *p = xmalloc(n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 2654435761u >> 24);
	return p;
}

static void what_was_sealed_comes_out_whole(void **state)
{
	UNUSED(state);
	static const size_t lengths[] = { 0, 1, SEAL_PIECE - 1, SEAL_PIECE, SEAL_PIECE + 1, 3 * SEAL_PIECE };
	static const size_t steps[] = { 1, 7, 65537, 1 << 20 };

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		char *p = content_of(lengths[i]);
		size_t step = steps[i % ARRAY_LEN(steps)];
		struct sbuf sealed = { 0 }, out = { 0 };
		seal_all((struct str) { p, lengths[i] }, step, &sealed);
		for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
			sbuf_reset(&out);
			assert_int_equal(open_all((struct str) { sealed.p, sealed.n }, PASSPHRASE, steps[k], &out), 0);
			assert_int_equal(out.n, lengths[i]);
			assert_memory_equal(out.p == NULL ? p : out.p, p, lengths[i]);
		}
		sbuf_fini(&sealed);
		sbuf_fini(&out);
		free(p);
	}
}

static void a_sealed_file_that_was_cut_is_refused(void **state)
{
	UNUSED(state);
	char *p = content_of(2 * SEAL_PIECE + 10);
	const size_t piece = SEAL_PIECE + SEAL_TAG_LEN;
	struct sbuf sealed = { 0 }, out = { 0 };

	seal_all((struct str) { p, 2 * SEAL_PIECE + 10 }, 4096, &sealed);
	const size_t cuts[] = { 0,
				5,
				SEAL_HEAD_LEN,
				SEAL_HEAD_LEN + 3,
				SEAL_HEAD_LEN + SEAL_TAG_LEN,
				SEAL_HEAD_LEN + piece,
				SEAL_HEAD_LEN + piece + 1,
				SEAL_HEAD_LEN + piece + SEAL_TAG_LEN,
				SEAL_HEAD_LEN + 2 * piece,
				SEAL_HEAD_LEN + 2 * piece + SEAL_TAG_LEN,
				sealed.n - 1 };
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++)
		assert_int_equal(open_all((struct str) { sealed.p, cuts[i] }, PASSPHRASE, 1 << 20, &out), -EBADMSG);
	sbuf_putc(&sealed, 'x');
	assert_int_equal(open_all((struct str) { sealed.p, sealed.n }, PASSPHRASE, 1 << 20, &out), -EBADMSG);
	sbuf_fini(&sealed);
	sbuf_fini(&out);
	free(p);
}

static void a_sealed_file_that_was_changed_is_refused(void **state)
{
	UNUSED(state);
	char *p = content_of(SEAL_PIECE + 10);
	const size_t piece = SEAL_PIECE + SEAL_TAG_LEN;
	struct sbuf sealed = { 0 }, out = { 0 };

	seal_all((struct str) { p, SEAL_PIECE + 10 }, 4096, &sealed);
	for (size_t i = 0; i < sealed.n; i += i < SEAL_HEAD_LEN + 2 ? 1 : 3571) {
		/* A higher cost is only slower to be refused. */
		if (i == 7)
			continue;
		sealed.p[i] ^= 0x40;
		assert_int_equal(open_all((struct str) { sealed.p, sealed.n }, PASSPHRASE, 1 << 20, &out), -EBADMSG);
		sealed.p[i] ^= 0x40;
	}
	/* Nothing of a piece that is not genuine was handed on, and pieces cannot change places. */
	sbuf_reset(&out);
	sealed.p[SEAL_HEAD_LEN] ^= 1;
	assert_int_equal(open_all((struct str) { sealed.p, sealed.n }, PASSPHRASE, 100, &out), -EBADMSG);
	assert_int_equal(out.n, 0);
	sealed.p[SEAL_HEAD_LEN] ^= 1;
	struct sbuf turned = { 0 };
	sbuf_add(&turned, sealed.p, SEAL_HEAD_LEN);
	sbuf_add(&turned, sealed.p + SEAL_HEAD_LEN, piece);
	sbuf_add(&turned, sealed.p + SEAL_HEAD_LEN, piece);
	assert_int_equal(open_all((struct str) { turned.p, turned.n }, PASSPHRASE, 1 << 20, &out), -EBADMSG);
	assert_int_equal(open_all((struct str) { sealed.p, sealed.n }, STR("correct horse "), 1 << 20, &out), -EBADMSG);
	assert_int_equal(open_all((struct str) { sealed.p, sealed.n }, STR(""), 1 << 20, &out), -EBADMSG);
	sbuf_fini(&turned);
	sbuf_fini(&sealed);
	sbuf_fini(&out);
	free(p);
}

static void a_sink_that_fails_ends_it(void **state)
{
	UNUSED(state);
	char *p = content_of(4 * SEAL_PIECE);
	size_t left = 2 * SEAL_PIECE;
	const char *why;
	struct seal *s = seal_new(PASSPHRASE, SEAL_COST_MIN, full, &left, &why);

	assert_int_equal(seal_write(s, (struct str) { p, 4 * SEAL_PIECE }), -ENOSPC);
	assert_int_equal(seal_write(s, STR("x")), -ENOSPC);
	assert_int_equal(seal_end(s), -ENOSPC);
	seal_free(s);
	assert_null(seal_new(STR("short"), SEAL_COST_MIN, full, &left, &why));
	assert_non_null(strstr(why, "8 to 1024"));
	free(p);
}

/* ---- backups ---- */

static void set(struct backup *b, enum backup_part part, struct str bytes)
{
	assert_true(backup_set(b, part, bytes));
}

static struct backup of_cluster(void)
{
	struct backup b = { 0 };
	struct sbuf t = { 0 }, cert = { 0 }, key = { 0 };
	struct members *table = fixture_table(3, 1);
	uint8_t ring[COROSYNC_KEY_LEN];
	char *why;
	struct ca *ca = ca_make("mail", FIXTURE_NOW, &why);

	assert_true(corosync_key_make(ring));
	corosync_key_hash(ring, table->key);
	members_encode(table, &t);
	ca_certificate_pem(ca, &cert);
	ca_key_pem(ca, &key);
	set(&b, BACKUP_MANIFEST, STR("{\"version\":\"1\"}"));
	set(&b, BACKUP_CONFIGURATION, STR("{\"pools\":{}}"));
	set(&b, BACKUP_RUNTIME, STR("any \0bytes\nend 0\n"));
	set(&b, BACKUP_MEMBERS, (struct str) { t.p, t.n });
	set(&b, BACKUP_CA_CERTIFICATE, (struct str) { cert.p, cert.n });
	set(&b, BACKUP_CA_KEY, (struct str) { key.p, key.n });
	set(&b, BACKUP_COROSYNC_KEY, (struct str) { (char *)ring, sizeof(ring) });
	sbuf_fini(&t);
	sbuf_fini(&cert);
	sbuf_fini(&key);
	members_free(table);
	ca_free(ca);
	return b;
}

static bool restored(struct str sealed, size_t step, struct backup *ret, char **ret_why)
{
	struct backup_reader *r = backup_reader_new(PASSPHRASE);
	int rc = 0;

	for (size_t at = 0; at < sealed.n && rc == 0; at += step)
		rc = backup_reader_take(r, (struct str) { sealed.p + at, sealed.n - at < step ? sealed.n - at : step });
	bool good = backup_reader_end(r, ret, ret_why);
	assert_true(rc == 0 || !good);
	backup_reader_free(r);
	return good;
}

static void a_backup_comes_back_whole(void **state)
{
	UNUSED(state);
	for (unsigned alone = 0; alone < 2; alone++) {
		struct backup b = of_cluster(), back = { 0 };
		struct sbuf sealed = { 0 };
		char *why = NULL;

		if (alone) {
			backup_fini(&b);
			set(&b, BACKUP_MANIFEST, STR("{}"));
			set(&b, BACKUP_CONFIGURATION, STR("{}"));
		}
		assert_int_equal(backup_write(&b, PASSPHRASE, SEAL_COST_MIN, into, &sealed, &why), 0);
		assert_true(restored((struct str) { sealed.p, sealed.n }, alone ? 1 : 4096, &back, &why));
		for (unsigned i = 0; i < BACKUP_PARTS; i++) {
			assert_true((b.part[i].p == NULL) == (back.part[i].p == NULL));
			assert_true(str_eq(backup_get(&b, i), backup_get(&back, i)));
		}
		/* Secrets cannot be read in the file. */
		assert_null(memmem(sealed.p, sealed.n, "PRIVATE KEY", 11));
		backup_fini(&b);
		backup_fini(&back);
		sbuf_fini(&sealed);
	}
}

static void parts_that_do_not_fit_each_other_are_refused(void **state)
{
	UNUSED(state);
	static const struct {
		enum backup_part part;
		const char *bytes, *says;
	} row[] = {
		{ BACKUP_MANIFEST, NULL, "no manifest" },
		{ BACKUP_CONFIGURATION, "{", "no JSON" },
		{ BACKUP_CONFIGURATION, "[]", "no JSON" },
		{ BACKUP_MEMBERS, "PRVT", "table of nodes" },
		{ BACKUP_MEMBERS, NULL, "lacks others" },
		{ BACKUP_CA_KEY, "", "empty" },
		{ BACKUP_CA_KEY, "nonsense", "cannot be read" },
		{ BACKUP_CA_CERTIFICATE, "nonsense", "not the certificate" },
		{ BACKUP_COROSYNC_KEY, "short", "corosync key" },
	};
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct backup b = of_cluster();
		struct sbuf sealed = { 0 };
		char *why = NULL;

		free(b.part[row[i].part].p);
		b.part[row[i].part].p = NULL;
		if (row[i].bytes != NULL)
			set(&b, row[i].part, str_from(row[i].bytes));
		assert_int_equal(backup_write(&b, PASSPHRASE, SEAL_COST_MIN, into, &sealed, &why), -EBADMSG);
		assert_int_equal(sealed.n, 0);
		if (strstr(why, row[i].says) == NULL)
			fail_msg("row %zu: %s", i, why);
		free(why);
		backup_fini(&b);
	}
	struct backup b = { 0 };
	assert_false(backup_set(&b, BACKUP_COROSYNC_KEY,
				(struct str) { (char[COROSYNC_KEY_LEN + 1]) { 0 }, COROSYNC_KEY_LEN + 1 }));
}

static void what_is_sealed_and_no_backup_is_refused(void **state)
{
	UNUSED(state);
	static const char *const inside[] = {
		"",
		"PRBACKUP 2\nend 0\n\n",
		"PRBACKUP 1\n",
		"PRBACKUP 1\nend 0\n",
		"PRBACKUP 1\nend 0\n\n",
		"PRBACKUP 1\nmanifest 2\n{}\n",
		"PRBACKUP 1\nmanifest 2\n{}\nconfiguration 2\n{}\n",
		"PRBACKUP 1\nmanifest 2\n{}\nconfiguration 2\n{}\nend 0\n",
		"PRBACKUP 1\nmanifest 2\n{}\nconfiguration 2\n{}\nend 0\n\n\n",
		"PRBACKUP 1\nmanifest 2\n{}x",
		"PRBACKUP 1\nmanifest 02\n{}\n",
		"PRBACKUP 1\nmanifest 2\n{}\nmanifest 2\n{}\n",
		"PRBACKUP 1\nnonsense 2\n{}\n",
		"PRBACKUP 1\nmanifest 99999999999\n",
		"PRBACKUP 1\nmanifest\n",
		"PRBACKUP 1\nmanifest -1\n",
		"PRBACKUP 1\nend 1\n",
		"PRBACKUP 1\nmanifest 5\n{}\n",
		"an endless line that is by far longer than any line of a backup could ever become",
	};
	for (size_t i = 0; i < ARRAY_LEN(inside); i++)
		for (size_t step = 1; step < 200; step += 150) {
			struct sbuf sealed = { 0 };
			struct backup back = { 0 };
			char *why = NULL;
			seal_all(str_from(inside[i]), 1 << 20, &sealed);
			if (restored((struct str) { sealed.p, sealed.n }, step, &back, &why))
				fail_msg("row %zu was taken", i);
			assert_true(why != NULL && why[0] != '\0');
			free(why);
			sbuf_fini(&sealed);
		}
	/* And one that is, so that the rows above are refused for what they lack. */
	struct sbuf sealed = { 0 };
	struct backup back = { 0 };
	char *why = NULL;
	seal_all(STR("PRBACKUP 1\nmanifest 2\n{}\nconfiguration 2\n{}\nend 0\n\n"), 1 << 20, &sealed);
	assert_true(restored((struct str) { sealed.p, sealed.n }, 1, &back, &why));
	backup_fini(&back);
	sbuf_fini(&sealed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_comes_out_whole),
		cmocka_unit_test(a_sealed_file_that_was_cut_is_refused),
		cmocka_unit_test(a_sealed_file_that_was_changed_is_refused),
		cmocka_unit_test(a_sink_that_fails_ends_it),
		cmocka_unit_test(a_backup_comes_back_whole),
		cmocka_unit_test(parts_that_do_not_fit_each_other_are_refused),
		cmocka_unit_test(what_is_sealed_and_no_backup_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
