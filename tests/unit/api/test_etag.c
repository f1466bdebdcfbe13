/* SPDX-License-Identifier: Apache-2.0
 * Entity tags: what one member of a cluster shows is what another one compares with; without its key nobody can work
 * one out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "daemon/api/api_private.h"

static bool shared_key(uint8_t ret[API_SHARED_KEY_LEN], void *arg)
{
	const uint8_t *key = arg;

	memset(ret, 0xee, API_SHARED_KEY_LEN); /* what is left there in vain must not become the key */
	if (key == NULL)
		return false;
	memset(ret, *key, API_SHARED_KEY_LEN);
	return true;
}

/* own: of the node's own key; shared: NULL = it is alone. */
static struct api node(uint8_t own, uint8_t *shared)
{
	struct api a = { .env = { .shared_key = shared_key, .arg = shared } };

	memset(a.etag_key.bytes, own, sizeof(a.etag_key.bytes));
	return a;
}

static void assert_tags_agree(const struct api *a, const struct api *b, bool agree)
{
	json_t *object = json_pack("{s:s}", "password", "s3cret");
	uint8_t hash[ENTRY_HASH_LEN] = { 7 };
	char of_a[2][64], of_b[2][64];

	etag_of_object(a, object, of_a[0]);
	etag_of_object(b, object, of_b[0]);
	etag_of_entry(a, 3, hash, of_a[1]);
	etag_of_entry(b, 3, hash, of_b[1]);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(strcmp(of_a[i], of_b[i]) == 0, agree);
	json_decref(object);
}

static void members_of_a_cluster_make_the_same_tags(void **state)
{
	uint8_t key = 1, rotated = 2;
	struct api one = node(11, &key), two = node(12, &key), behind = node(11, &rotated);

	UNUSED(state);
	assert_tags_agree(&one, &two, true);
	assert_tags_agree(&one, &behind, false);
}

static void a_node_alone_makes_tags_that_are_its_own(void **state)
{
	uint8_t key = 1;
	struct api one = node(11, NULL), again = node(11, NULL), two = node(12, NULL), member = node(11, &key);

	UNUSED(state);
	assert_tags_agree(&one, &again, true);
	assert_tags_agree(&one, &two, false);
	assert_tags_agree(&one, &member, false);
}

static void a_process_without_a_cluster_uses_its_own_key(void **state)
{
	struct api one = node(11, NULL), other = node(11, NULL);

	UNUSED(state);
	other.env.shared_key = NULL;
	assert_tags_agree(&one, &other, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_of_a_cluster_make_the_same_tags),
		cmocka_unit_test(a_node_alone_makes_tags_that_are_its_own),
		cmocka_unit_test(a_process_without_a_cluster_uses_its_own_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
