/* SPDX-License-Identifier: Apache-2.0
 * Sealed backups. An input is opened as a sealed file, which it cannot be by chance; then it is sealed, and what is
 * inside is read as a backup, whole and in small pieces: both must agree, and what is taken must be written and read
 * the same.
 */
#include <stdlib.h>

#include "cluster/trust/backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PASSPHRASE STR("any passphrase")

static int into(void *arg, struct str bytes)
{
	sbuf_add(arg, bytes.p, bytes.n);
	return 0;
}

static bool take(struct str sealed, size_t step, struct backup *ret)
{
	struct backup_reader *r = backup_reader_new(PASSPHRASE);
	char *why = NULL;
	int rc = 0;

	for (size_t at = 0; at < sealed.n && rc == 0; at += step)
		rc = backup_reader_take(r, (struct str) { sealed.p + at, sealed.n - at < step ? sealed.n - at : step });
	bool good = backup_reader_end(r, ret, &why);
	ASSERT(good || (why != NULL && why[0] != '\0'));
	free(why);
	backup_reader_free(r);
	return good;
}

static void open_as_it_is(const uint8_t *data, size_t size)
{
	struct backup b = { 0 };
	char *copy = xmalloc(size + 1);

	memcpy(copy, data, size);
	if (size > 7)
		copy[7] = SEAL_COST_MIN; /* the cost: a higher one only takes longer */
	ASSERT(!take((struct str) { copy, size }, 1000, &b));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sbuf sealed = { 0 }, again = { 0 };
	struct backup b = { 0 }, c = { 0 };
	char *text = NULL;
	const char *why;

	if (size > 0)
		open_as_it_is(data, size);
	struct seal *s = seal_new(PASSPHRASE, SEAL_COST_MIN, into, &sealed, &why);
	ASSERT(s != NULL);
	ASSERT(seal_write(s, (struct str) { (const char *)data, size }) == 0 && seal_end(s) == 0);
	seal_free(s);
	bool good = take((struct str) { sealed.p, sealed.n }, 1 << 20, &b);
	ASSERT(take((struct str) { sealed.p, sealed.n }, 97, &c) == good);
	if (good) {
		for (unsigned i = 0; i < BACKUP_PARTS; i++)
			ASSERT(str_eq(backup_get(&b, i), backup_get(&c, i)));
		ASSERT(backup_write(&b, PASSPHRASE, SEAL_COST_MIN, into, &again, &text) == 0);
	}
	backup_fini(&b);
	backup_fini(&c);
	sbuf_fini(&sealed);
	sbuf_fini(&again);
	return 0;
}
