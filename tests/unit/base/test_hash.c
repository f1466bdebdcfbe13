/* SPDX-License-Identifier: Apache-2.0
 * The map against a model, SipHash against itself, the generators.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/hash.h"

enum { N_KEYS = 200, N_STEPS = 50000 };

static struct str key_of(char *out, size_t size, unsigned i)
{
	int n = snprintf(out, size, "k%u", i);

	return (struct str) { out, (size_t)n };
}

static void assert_same(const struct map *m, void *const *model)
{
	char text[16];
	size_t want = 0, seen = 0, pos = 0;
	struct str key;
	void *value;

	for (unsigned i = 0; i < N_KEYS; i++) {
		assert_ptr_equal(map_get(m, key_of(text, sizeof(text), i)), model[i]);
		want += model[i] != NULL;
	}
	assert_int_equal(map_count(m), want);
	for (; map_next(m, &pos, &key, &value); seen++)
		assert_ptr_equal(value, model[strtoul(key.p + 1, NULL, 10)]);
	assert_int_equal(seen, want);
}

/* Few keys and many removals: every probe run gets holes, at the wrap-around too. */
static void map_behaves_like_an_array_of_the_same_keys(void **state)
{
	UNUSED(state);
	void *model[N_KEYS] = { 0 };
	struct map *m = map_new();
	unsigned seed = 1;
	char text[16];

	for (int step = 0; step < N_STEPS; step++) {
		seed = seed * 1103515245 + 12345;
		unsigned i = seed / 65536 % N_KEYS, what = seed >> 30;
		struct str key = key_of(text, sizeof(text), i);
		if (what != 0) {
			assert_ptr_equal(map_remove(m, key), model[i]);
			model[i] = NULL;
		} else {
			void *value = &model[(i + (unsigned)step) % N_KEYS];
			assert_ptr_equal(map_put(m, key, value), model[i]);
			model[i] = value;
		}
		if (step % 97 == 0)
			assert_same(m, model);
	}
	assert_same(m, model);
	map_free(m, NULL);
}

static void map_grows_and_shrinks_to_nothing(void **state)
{
	UNUSED(state);
	struct map *m = map_new();
	char text[16];

	for (unsigned i = 0; i < 5000; i++)
		assert_null(map_put(m, key_of(text, sizeof(text), i), m));
	assert_int_equal(map_count(m), 5000);
	for (unsigned i = 0; i < 5000; i++)
		assert_ptr_equal(map_remove(m, key_of(text, sizeof(text), i)), m);
	assert_int_equal(map_count(m), 0);
	assert_null(map_get(m, STR("k1")));
	map_free(m, NULL);
}

static void keys_are_bytes_not_c_strings(void **state)
{
	UNUSED(state);
	struct map *m = map_new();
	int one, two, none;

	map_put(m, STR("a\0b"), &one);
	map_put(m, STR("a\0c"), &two);
	map_put(m, (struct str) { NULL, 0 }, &none);
	assert_ptr_equal(map_get(m, STR("a\0b")), &one);
	assert_ptr_equal(map_get(m, STR("a\0c")), &two);
	assert_ptr_equal(map_get(m, STR("")), &none);
	assert_null(map_get(m, STR("a")));
	map_free(m, NULL);
}

static int freed;

static void count_free(void *p)
{
	free(p);
	freed++;
}

static void map_free_frees_each_value_once(void **state)
{
	UNUSED(state);
	struct map *m = map_new();

	freed = 0;
	map_put(m, STR("a"), xmalloc(1));
	map_put(m, STR("b"), xmalloc(1));
	free(map_put(m, STR("b"), xmalloc(1)));
	map_free(m, count_free);
	assert_int_equal(freed, 2);
	map_free(NULL, count_free);
}

/* All nodes must choose alike, whatever version they run: these numbers are part of the cluster's agreement. */
static void the_stable_hash_never_changes(void **state)
{
	UNUSED(state);
	char all[64];

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	assert_int_equal(hash_stable("", 0), 0x41beaa79d2baf305ULL);
	assert_int_equal(hash_stable("example.com", 11), 0x2ceec0af5ea0b08cULL);
	assert_int_equal(hash_stable(all, sizeof(all)), 0x2fdb715defb3b6a1ULL);
}

static void every_byte_and_the_length_count(void **state)
{
	UNUSED(state);
	char p[24] = { 0 };

	for (size_t n = 0; n < sizeof(p); n++) {
		assert_true(hash_random(p, n) != hash_random(p, n + 1));
		for (size_t i = 0; i < n; i++) {
			uint64_t before = hash_random(p, n);
			p[i] ^= 1;
			assert_true(hash_random(p, n) != before);
			p[i] ^= 1;
			assert_true(hash_random(p, n) == before);
		}
	}
}

static void random_bytes_fill_the_whole_buffer(void **state)
{
	UNUSED(state);
	uint8_t p[600] = { 0 };
	size_t zeros = 0;

	random_bytes(p, sizeof(p));
	for (size_t i = 0; i < sizeof(p); i++)
		zeros += p[i] == 0;
	assert_true(zeros < 60);
	assert_true(random_u64() != random_u64());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_behaves_like_an_array_of_the_same_keys),
		cmocka_unit_test(map_grows_and_shrinks_to_nothing),
		cmocka_unit_test(keys_are_bytes_not_c_strings),
		cmocka_unit_test(map_free_frees_each_value_once),
		cmocka_unit_test(the_stable_hash_never_changes),
		cmocka_unit_test(every_byte_and_the_length_count),
		cmocka_unit_test(random_bytes_fill_the_whole_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
