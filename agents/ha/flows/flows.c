/* SPDX-License-Identifier: Apache-2.0
 * A planned move of an address: what the two nodes do, in terms of the table, of `lo` and of the list of sockets.
 *
 * The hard thing is the time between a list of connections and the moment at which the network knows of the move:
 * connections begin on the old node that no list has. So while an address is open, what is known here is kept instead,
 * and everything else is the old node's.
 */
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows/flows_private.h"

/* Elements in a command: bounds its text to half a megabyte. */
#define CHUNK 4000
/* Of a removal that finds something gone already, by itself or by a new connection. */
#define TRIES 5

static int version(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? 6 : 4;
}

static int checked(const struct addr *vip, const struct addr *node, unsigned seconds, struct flows_why *why)
{
	if (vip->sa.sa_family != AF_INET && vip->sa.sa_family != AF_INET6)
		return flows_fail(why, "the virtual address is neither IPv4 nor IPv6");
	if (node->sa.sa_family != vip->sa.sa_family)
		return flows_fail(why, "the node's address is not of the virtual address's family");
	if (addr_is_any(vip) || addr_is_loopback(vip) || addr_is_any(node))
		return flows_fail(why, "the virtual address or the node's is none that can move");
	if (seconds < 1 || seconds > FLOWS_KEEP_MAX)
		return flows_fail(why, "a time of %u seconds is not within 1 … %d", seconds, FLOWS_KEEP_MAX);
	return 0;
}

/* ---- giving away ---- */

int flows_keep(const struct addr *vip, const struct addr *own, unsigned seconds, struct flows_why *why)
{
	char name[IF_NAMESIZE];

	if (checked(vip, own, seconds, why) != 0)
		return -1;
	if (addr_eq_ip(vip, own))
		return flows_fail(why,
				  "the node's own address is the virtual one: an interface needs another for itself");
	/* The silence first: on `lo` the address would be answered for as soon as it has left the interface. */
	if (flows_link_own(own, name, why) != 0 ||
	    (vip->sa.sa_family == AF_INET && flows_settings_change(name, why) != 0))
		return -1;
	return flows_link_keep(vip, seconds, why);
}

/* Settings go with the last kept address that needs them. */
static int restore_if_last(struct flows_why *why)
{
	struct addr kept[FLOWS_KEPT_MAX];
	int n = flows_link_kept(kept, why);

	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (kept[i].sa.sa_family == AF_INET)
			return 0;
	return flows_settings_restore(why);
}

int flows_release(const struct addr *vip, struct flows_why *why)
{
	return flows_link_release(vip, why) != 0 ? -1 : restore_if_last(why);
}

struct listing {
	const struct addr *vip; /* NULL: any */
	struct flow_passed *out;
	size_t n, max;
	bool more;
};

static void list_map(struct listing *l, json_t *list, const char *map)
{
	struct flow_passed p;
	json_t *element;
	size_t i;

	json_array_foreach(flows_json_elements(list, map), i, element) {
		if (!flows_json_passed(element, &p) || (l->vip != NULL && !addr_eq_ip(&p.flow.local, l->vip)))
			continue;
		if (l->n < l->max)
			l->out[l->n++] = p;
		else
			l->more = true;
	}
}

int flows_passed_on(const struct addr *vip, struct flow_passed *out, size_t max, struct flows_why *why)
{
	struct listing l = { .vip = vip, .out = out, .max = max };
	json_t *list = flows_nft_list(why);

	if (list == NULL)
		return why->text[0] != '\0' ? -1 : 0;
	list_map(&l, list, version(vip) == 4 ? "flows4" : "flows6");
	json_decref(list);
	if (l.more)
		return flows_fail(why, "there are more than %zu connections of other nodes to the address", max);
	return (int)l.n;
}

/* ---- taking ---- */

/* Runs a batch in bounded commands; those that `t` has already go with the first. */
static int run_chunks(struct text *t, const struct text_batch *b, const struct flow *flows, size_t n,
		      struct flows_why *why)
{
	int rc = 0;

	for (size_t at = 0; rc == 0 && (at < n || t->n > 0); at += CHUNK) {
		if (at < n)
			flows_text_elements(t, b, flows + at, n - at < CHUNK ? n - at : CHUNK);
		rc = t->n > 0 ? flows_nft_run(t->p, why) : 0;
		text_free(t);
	}
	return rc;
}

/* The keys of a set or a map that are of an address. The caller frees *ret. */
static size_t keys_of(json_t *list, const char *set, const struct addr *vip, struct flow **ret)
{
	json_t *elements = flows_json_elements(list, set), *element;
	struct flow *out = xcalloc(json_array_size(elements) + 1, sizeof(*out));
	size_t i, n = 0;

	json_array_foreach(elements, i, element) {
		if (flows_json_key(element, &out[n]) && addr_eq_ip(&out[n].local, vip))
			n++;
	}
	*ret = out;
	return n;
}

static int forget_keys(json_t *list, const char *set, const struct addr *vip, struct flows_why *why)
{
	struct flow *keys;
	struct text t = { 0 };
	size_t n = keys_of(list, set, vip, &keys);
	int rc = run_chunks(&t, &(struct text_batch) { .verb = "delete", .set = set }, keys, n, why);

	free(keys);
	return rc;
}

static int forget_open(json_t *list, const struct addr *vip, struct flows_why *why)
{
	char set[16], command[128 + ADDR_TEXT_MAX], text[ADDR_TEXT_MAX];
	json_t *element;
	struct addr a;
	size_t i;

	snprintf(set, sizeof(set), "open%d", version(vip));
	json_array_foreach(flows_json_elements(list, set), i, element) {
		if (!flows_json_open(element, &a, NULL) || !addr_eq_ip(&a, vip))
			continue;
		snprintf(command, sizeof(command), "delete element netdev " FLOWS_TABLE " %s { %s }\n", set,
			 addr_format_ip(vip, text));
		return flows_nft_run(command, why);
	}
	return 0;
}

/* Whatever the table says of an address. Elements go by themselves too, hence the tries. */
static int forget(const struct addr *vip, struct flows_why *why)
{
	bool six = version(vip) == 6;
	int rc = -1;

	for (int i = 0; rc != 0 && i < TRIES; i++) {
		json_t *list = flows_nft_list(why);
		if (list == NULL)
			return why->text[0] != '\0' ? -1 : 0;
		rc = forget_keys(list, six ? "flows6" : "flows4", vip, why);
		rc = rc == 0 ? forget_keys(list, six ? "own6" : "own4", vip, why) : rc;
		rc = rc == 0 ? forget_open(list, vip, why) : rc;
		json_decref(list);
	}
	return rc;
}

int flows_open(const struct flows_move *move, struct flows_why *why)
{
	char name[IF_NAMESIZE], vip[ADDR_TEXT_MAX], node[ADDR_TEXT_MAX];
	int v = version(&move->vip), n, rc = -1;
	struct text t = { 0 };

	if (checked(&move->vip, &move->node, move->seconds, why) != 0)
		return -1;
	if (move->seconds > FLOWS_OPEN_MAX)
		return flows_fail(why, "an address is open for at most %d seconds", FLOWS_OPEN_MAX);
	if (flows_link_towards(&move->node, name, why) != 0 || forget(&move->vip, why) != 0)
		return -1;
	struct flow *own = xcalloc(FLOWS_MAX, sizeof(*own));
	n = flows_established(&move->vip, own, FLOWS_MAX, why);
	flows_text_table(&t);
	flows_text_chain(&t, name);
	const struct text_batch b = { .verb = "add", .set = v == 6 ? "own6" : "own4" };
	if (n >= 0 && run_chunks(&t, &b, own, (size_t)n, why) == 0 && flows_rules_add(name, why) == 0) {
		text_add(&t, "add element netdev " FLOWS_TABLE " open%d { %s timeout %us : %s }\n", v,
			 addr_format_ip(&move->vip, vip), move->seconds, addr_format_ip(&move->node, node));
		rc = flows_nft_run(t.p, why);
	}
	text_free(&t);
	free(own);
	return rc;
}

/* The chain of the interface, in case that the table went away since flows_open(). */
static bool chain_there(const char *name)
{
	char chain[IF_NAMESIZE + 8];
	struct flows_why why;
	json_t *list = flows_nft_list(&why);

	snprintf(chain, sizeof(chain), "in_%s", name);
	bool there = list != NULL && flows_json_chain(list, chain);
	json_decref(list);
	return there;
}

int flows_receive(const struct flows_move *move, const struct flow *flows, size_t n, struct flows_why *why)
{
	char name[IF_NAMESIZE];
	struct text t = { 0 };
	const struct text_batch b = {
		.verb = "add",
		.set = version(&move->vip) == 6 ? "flows6" : "flows4",
		.node = &move->node,
		.seconds = move->seconds,
	};

	if (checked(&move->vip, &move->node, move->seconds, why) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!addr_eq_ip(&flows[i].local, &move->vip) ||
		    flows[i].remote.sa.sa_family != move->vip.sa.sa_family || addr_port(&flows[i].local) == 0 ||
		    addr_port(&flows[i].remote) == 0)
			return flows_fail(why, "connection %zu is not one of the virtual address", i);
	if (flows_link_towards(&move->node, name, why) != 0)
		return -1;
	if (!chain_there(name)) {
		flows_text_table(&t);
		flows_text_chain(&t, name);
		int rc = flows_nft_run(t.p, why);
		text_free(&t);
		if (rc != 0 || flows_rules_add(name, why) != 0)
			return -1;
	}
	return run_chunks(&t, &b, flows, n, why);
}

/* Makes them ours, which is what stops the passing on; then takes them off the list, as far as they are still there. */
static int end_all(const char *own, const char *map, const struct listing *l, struct flows_why *why)
{
	struct flow *keys = xcalloc(l->n + 1, sizeof(*keys));
	struct flows_why ignored;
	struct text t = { 0 };

	for (size_t i = 0; i < l->n; i++)
		keys[i] = l->out[i].flow;
	struct text_batch b = { .verb = "add", .set = own, .seconds = FLOWS_KEEP_MAX };
	int rc = run_chunks(&t, &b, keys, l->n, why);
	b = (struct text_batch) { .verb = "delete", .set = map };
	if (run_chunks(&t, &b, keys, l->n, &ignored) != 0)
		text_free(&t);
	free(keys);
	return rc;
}

static int lost_in(json_t *list, const struct addr *node, struct flows_why *why)
{
	const char *map = version(node) == 6 ? "flows6" : "flows4", *set = version(node) == 6 ? "open6" : "open4";
	size_t max = json_array_size(flows_json_elements(list, map)), n = 0, i;
	struct listing l = { .out = xcalloc(max + 1, sizeof(*l.out)), .max = max };
	struct addr vip, from;
	json_t *element;

	list_map(&l, list, map);
	for (i = 0; i < l.n; i++)
		if (addr_eq_ip(&l.out[i].node, node))
			l.out[n++] = l.out[i];
	l.n = n;
	int rc = end_all(version(node) == 6 ? "own6" : "own4", map, &l, why);
	free(l.out);
	json_array_foreach(flows_json_elements(list, set), i, element) {
		if (rc == 0 && flows_json_open(element, &vip, &from) && addr_eq_ip(&from, node))
			rc = forget_open(list, &vip, why);
	}
	return rc;
}

int flows_lost(const struct addr *node, struct flows_why *why)
{
	json_t *list = flows_nft_list(why);

	if (list == NULL)
		return why->text[0] != '\0' ? -1 : 0;
	int rc = lost_in(list, node, why);
	json_decref(list);
	return rc;
}

/* ---- both ---- */

static size_t size_of(json_t *list, const char *set)
{
	return json_array_size(flows_json_elements(list, set));
}

int flows_counts(struct flows_counts *ret, struct flows_why *why)
{
	struct addr kept[FLOWS_KEPT_MAX];
	int n = flows_link_kept(kept, why);
	json_t *list = n < 0 ? NULL : flows_nft_list(why);

	if (n < 0 || (list == NULL && why->text[0] != '\0'))
		return -1;
	ret->kept = (size_t)n;
	ret->passed_on = size_of(list, "flows4") + size_of(list, "flows6");
	ret->open = size_of(list, "open4") + size_of(list, "open6");
	json_decref(list);
	return 0;
}

static int delete_table(struct flows_why *why)
{
	return flows_nft_run("add table netdev " FLOWS_TABLE "\ndelete table netdev " FLOWS_TABLE "\n", why);
}

int flows_tidy(struct flows_why *why)
{
	json_t *list = flows_nft_list(why);

	if (list == NULL)
		return why->text[0] != '\0' ? -1 : 0;
	bool empty =
		size_of(list, "flows4") + size_of(list, "flows6") + size_of(list, "open4") + size_of(list, "open6") ==
		0;
	bool settings = size_of(list, "settings") != 0;
	json_decref(list);
	if (settings && restore_if_last(why) != 0)
		return -1;
	if (!empty)
		return 0;
	list = settings ? flows_nft_list(why) : NULL;
	settings = list != NULL && size_of(list, "settings") != 0;
	json_decref(list);
	return settings ? 0 : delete_table(why);
}

int flows_clean_all(struct flows_why *why)
{
	struct addr kept[FLOWS_KEPT_MAX];
	int n = flows_link_kept(kept, why), rc = n < 0 ? -1 : 0;

	/* As much as can be undone is, and what could not is said. */
	for (int i = 0; i < n; i++)
		if (flows_link_release(&kept[i], why) != 0)
			rc = -1;
	if (flows_settings_restore(why) != 0 || delete_table(why) != 0)
		rc = -1;
	return rc;
}
