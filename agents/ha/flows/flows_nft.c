/* SPDX-License-Identifier: Apache-2.0
 * The table in the kernel: commands through libnftables, and reading it back.
 *
 * The kernel's table is the only record of what is passed on; nothing is remembered here, so a restart loses nothing.
 * Reading is strict: what is not of the form that is written is skipped.
 */
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

/* ---- through libnftables ---- */

/* The first line of what nftables says, which is its reason. */
static int refused(struct nft_ctx *ctx, struct flows_why *why)
{
	const char *said = nft_ctx_get_error_buffer(ctx);

	said = said != NULL ? said : "";
	const char *reason = strstr(said, "Error: ");
	reason = reason != NULL ? reason + strlen("Error: ") : said;
	return flows_fail(why, "nftables refuses: %.*s", (int)strcspn(reason, "\n"), reason);
}

static struct nft_ctx *context(struct flows_why *why)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

	if (ctx == NULL || nft_ctx_buffer_output(ctx) != 0 || nft_ctx_buffer_error(ctx) != 0) {
		if (ctx != NULL)
			nft_ctx_free(ctx);
		flows_fail(why, "nftables cannot be used: %s", strerror(errno));
		return NULL;
	}
	return ctx;
}

int flows_nft_run(const char *commands, struct flows_why *why)
{
	struct nft_ctx *ctx = context(why);
	int rc = 0;

	if (ctx == NULL)
		return -1;
	if (nft_run_cmd_from_buffer(ctx, commands) != 0)
		rc = refused(ctx, why);
	nft_ctx_free(ctx);
	return rc;
}

json_t *flows_nft_list(struct flows_why *why)
{
	struct nft_ctx *ctx = context(why);
	json_t *list = NULL;
	json_error_t error;

	if (ctx == NULL)
		return NULL;
	why->text[0] = '\0';
	nft_ctx_output_set_flags(ctx, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_ALL);
	if (nft_run_cmd_from_buffer(ctx, "list table netdev " FLOWS_TABLE) == 0) {
		list = json_loads(nft_ctx_get_output_buffer(ctx), 0, &error);
		if (list == NULL)
			flows_fail(why, "what nftables lists cannot be read: %s", error.text);
	} else if (strstr(nft_ctx_get_error_buffer(ctx), "No such file") == NULL) {
		refused(ctx, why);
	}
	nft_ctx_free(ctx);
	return list;
}

/* ---- reading it back ---- */

json_t *flows_json_elements(json_t *list, const char *set)
{
	json_t *object, *found;
	size_t i;

	json_array_foreach(json_object_get(list, "nftables"), i, object) {
		found = json_object_get(object, "map");
		found = found != NULL ? found : json_object_get(object, "set");
		const char *name = json_string_value(json_object_get(found, "name"));
		if (name != NULL && strcmp(name, set) == 0)
			return json_object_get(found, "elem");
	}
	return NULL;
}

static bool endpoint(json_t *concat, size_t at, struct addr *ret)
{
	const char *ip = json_string_value(json_array_get(concat, at));
	json_int_t port = json_integer_value(json_array_get(concat, at + 1));

	if (ip == NULL || !addr_parse_ip(ip, ret) || port < 1 || port > 65535)
		return false;
	addr_set_port(ret, (unsigned)port);
	return true;
}

static bool key(json_t *value, struct flow *ret)
{
	json_t *concat = json_object_get(json_object_get(json_object_get(value, "elem"), "val"), "concat");

	memset(ret, 0, sizeof(*ret));
	return endpoint(concat, 0, &ret->local) && endpoint(concat, 2, &ret->remote);
}

/* An element of a map is a pair, one of a set is what stands first in a pair. */
static json_t *first(json_t *element)
{
	return json_is_array(element) ? json_array_get(element, 0) : element;
}

bool flows_json_key(json_t *element, struct flow *ret)
{
	return key(first(element), ret);
}

bool flows_json_passed(json_t *element, struct flow_passed *ret)
{
	json_t *head = json_array_get(element, 0);
	const char *node = json_string_value(json_array_get(element, 1));
	json_int_t seconds = json_integer_value(json_object_get(json_object_get(head, "elem"), "expires"));

	memset(ret, 0, sizeof(*ret));
	if (node == NULL || !addr_parse_ip(node, &ret->node) || !key(head, &ret->flow))
		return false;
	/* Under a second left reads as 0. */
	ret->seconds = seconds < 1 ? 1 : seconds > FLOWS_KEEP_MAX ? FLOWS_KEEP_MAX : (unsigned)seconds;
	return true;
}

bool flows_json_open(json_t *element, struct addr *ret_vip, struct addr *ret_node)
{
	json_t *head = json_object_get(json_array_get(element, 0), "elem");
	const char *vip = json_string_value(json_object_get(head, "val"));
	const char *node = json_string_value(json_array_get(element, 1));
	struct addr ignored;

	return vip != NULL && node != NULL && addr_parse_ip(vip, ret_vip) &&
	       addr_parse_ip(node, ret_node != NULL ? ret_node : &ignored);
}

bool flows_json_chain(json_t *list, const char *chain)
{
	json_t *object;
	size_t i;

	json_array_foreach(json_object_get(list, "nftables"), i, object) {
		const char *name = json_string_value(json_object_get(json_object_get(object, "chain"), "name"));
		if (name != NULL && strcmp(name, chain) == 0)
			return true;
	}
	return false;
}
