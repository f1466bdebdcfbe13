/* SPDX-License-Identifier: Apache-2.0
 * A key that goes out and comes in as JSON is in no block of memory that was freed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>

#include "daemon/base/wipe.h"
#include "daemon/cluster/cluster_private.h"

enum { KEY_LEN = 999, /* its text makes buffers grow */ SEEN_LEN = 24 };

static char key[KEY_LEN], seen[2][SEEN_LEN + 1]; /* a piece of it, and of its text */
static bool looks;
static unsigned n_freed, n_found;

/* ---- in place of the C library's ---- */

/* A sanitizer has its own: with one, nothing is looked at. */
#if defined(__has_feature)
#define FEATURE(f) __has_feature(f)
#else
#define FEATURE(f) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !FEATURE(address_sanitizer) &&                  \
	!FEATURE(thread_sanitizer) && !FEATURE(memory_sanitizer)
#define LOOKS 1

void __libc_free(void *p);

void free(void *p)
{
	if (looks && p != NULL) {
		size_t n = malloc_usable_size(p);
		n_freed++;
		n_found += memmem(p, n, seen[0], SEEN_LEN) != NULL || memmem(p, n, seen[1], SEEN_LEN) != NULL;
	}
	__libc_free(p);
}
#else
#define LOOKS 0
#endif

/* ---- the way of a key ---- */

static void go_out(struct sbuf *body)
{
	cluster_json_write(json_pack("{s:o}", "key", cluster_json_base64((struct str) { key, sizeof(key) })), body);
}

static void come_in(const struct sbuf *body)
{
	struct sbuf out = { 0 };
	json_t *j = cluster_json_read(cluster_str(body));

	assert_true(cluster_json_take_base64(json_object_get(j, "key"), sizeof(key), &out));
	assert_memory_equal(out.p, key, sizeof(key));
	trust_wipe(&out);
	json_decref(j);
}

static void travel(void)
{
	struct sbuf body = { 0 };

	n_freed = n_found = 0;
	looks = true;
	go_out(&body);
	come_in(&body);
	trust_wipe(&body);
	looks = false;
	assert_true(n_freed > 5 || !LOOKS);
}

static void a_key_that_was_sent_is_in_no_freed_memory(void **state)
{
	UNUSED(state);
	json_set_alloc_funcs(malloc, wipe_free); /* as the daemon does at its start */
	travel();
	assert_int_equal(n_found, 0);
}

static void this_test_finds_what_the_library_leaves_by_itself(void **state)
{
	UNUSED(state);
	json_set_alloc_funcs(malloc, free);
	travel();
	assert_true(n_found > 0 || !LOOKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_that_was_sent_is_in_no_freed_memory),
		cmocka_unit_test(this_test_finds_what_the_library_leaves_by_itself),
	};

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (char)(i * i + 7 * i + 3);
	json_t *text = cluster_json_base64((struct str) { key, sizeof(key) });
	memcpy(seen[0], key + 300, SEEN_LEN);
	memcpy(seen[1], json_string_value(text) + 400, SEEN_LEN);
	json_decref(text);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
