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

static const char *flows_of(const struct addr *a)
{
	return version(a) == 6 ? "flows6" : "flows4";
}

static const char *own_of(const struct addr *a)
{
	return version(a) == 6 ? "own6" : "own4";
}

static const char *open_of(const struct addr *a)
{
	return version(a) == 6 ? "open6" : "open4";
}

int flows_passed_on(const struct addr *vip, struct flow_passed *out, size_t max, struct flows_why *why)
{
	struct element *list;
	struct flow_passed p;
	int n = flows_elements(flows_of(vip), &list, why), found = n < 0 ? -1 : 0;

	for (int i = 0; i < n && found >= 0; i++) {
		memset(&p, 0, sizeof(p));
		if (!flows_element_flow(&list[i], &p.flow) || !flows_element_node(&list[i], &p.node) ||
		    !addr_eq_ip(&p.flow.local, vip))
			continue;
		p.seconds = list[i].seconds;
		if ((size_t)found < max)
			out[found++] = p;
		else
			found = flows_fail(why, "there are more than %zu connections of others to the address", max);
	}
	free(list);
	return found;
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

/* The keys of those that are of an address, or that go to a node; NULL = any. Returns how many; keys has room for n. */
static size_t keys_of(const struct element *list, size_t n, const struct addr *vip, const struct addr *node,
		      struct flow *keys)
{
	struct addr to;
	size_t found = 0;

	for (size_t i = 0; i < n; i++) {
		if (!flows_element_flow(&list[i], &keys[found]) ||
		    (vip != NULL && !addr_eq_ip(&keys[found].local, vip)))
			continue;
		if (node != NULL && (!flows_element_node(&list[i], &to) || !addr_eq_ip(&to, node)))
			continue;
		found++;
	}
	return found;
}

static int forget_keys(const char *set, const struct addr *vip, struct flows_why *why)
{
	struct element *list;
	struct text t = { 0 };
	int n = flows_elements(set, &list, why), rc = -1;

	if (n >= 0) {
		struct flow *keys = xcalloc((size_t)n + 1, sizeof(*keys));
		size_t found = keys_of(list, (size_t)n, vip, NULL, keys);
		rc = run_chunks(&t, &(struct text_batch) { .verb = "delete", .set = set }, keys, found, why);
		free(keys);
	}
	free(list);
	return rc;
}

/* Closes an address, or all that are open towards a node. */
static int forget_open(const struct addr *vip, const struct addr *node, struct flows_why *why)
{
	const char *set = open_of(vip != NULL ? vip : node);
	char text[ADDR_TEXT_MAX];
	struct element *list;
	struct text t = { 0 };
	struct addr a, to;
	int n = flows_elements(set, &list, why), rc = n < 0 ? -1 : 0;

	for (int i = 0; i < n; i++) {
		if (!flows_element_vip(&list[i], &a) || !flows_element_node(&list[i], &to))
			continue;
		if ((vip != NULL && addr_eq_ip(&a, vip)) || (node != NULL && addr_eq_ip(&to, node)))
			text_add(&t, "delete element netdev " FLOWS_TABLE " %s { %s }\n", set,
				 addr_format_ip(&a, text));
	}
	if (t.n > 0)
		rc = flows_nft_run(t.p, why);
	text_free(&t);
	free(list);
	return rc;
}

/* Whatever the table says of an address. Elements go by themselves too, hence the tries. */
static int forget(const struct addr *vip, struct flows_why *why)
{
	int rc = -1;

	for (int i = 0; rc != 0 && i < TRIES; i++) {
		rc = forget_keys(flows_of(vip), vip, why);
		rc = rc == 0 ? forget_keys(own_of(vip), vip, why) : rc;
		rc = rc == 0 ? forget_open(vip, NULL, why) : rc;
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

/* Takes those of `flows` off the list that are said to be another node's: the client has used the port again since. */
static int forget_others(const struct flows_move *move, const struct flow *flows, size_t n, struct flows_why *why)
{
	const char *set = flows_of(&move->vip);
	struct flow *sorted = xcalloc(n, sizeof(*sorted)), key;
	struct element *list;
	struct addr to;
	struct text t = { 0 };
	int total = flows_elements(set, &list, why), rc = -1;
	size_t found = 0;

	memcpy(sorted, flows, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), flows_compare);
	struct flow *keys = xcalloc(total > 0 ? (size_t)total : 1, sizeof(*keys));
	for (int i = 0; i < total; i++)
		if (flows_element_flow(&list[i], &key) && flows_element_node(&list[i], &to) &&
		    !addr_eq_ip(&to, &move->node) && bsearch(&key, sorted, n, sizeof(key), flows_compare) != NULL)
			keys[found++] = key;
	if (total >= 0)
		rc = run_chunks(&t, &(struct text_batch) { .verb = "delete", .set = set }, keys, found, why);
	free(keys);
	free(sorted);
	free(list);
	return rc;
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
	/* Without flows_open() before, or when somebody flushed all tables since. */
	if (!flows_chain_there(name)) {
		flows_text_table(&t);
		flows_text_chain(&t, name);
		int rc = flows_nft_run(t.p, why);
		text_free(&t);
		if (rc != 0 || flows_rules_add(name, why) != 0)
			return -1;
	}
	int rc = run_chunks(&t, &b, flows, n, why);
	/* An element that stands there for another node is not replaced by `add`. Elements go by themselves too, hence
	 * the tries. */
	for (int i = 0; rc != 0 && n > 0 && i < TRIES; i++) {
		rc = forget_others(move, flows, n, why);
		rc = rc == 0 ? run_chunks(&t, &b, flows, n, why) : rc;
	}
	return rc;
}

int flows_way(const struct addr *node, char interface[IF_NAMESIZE], struct flows_why *why)
{
	return flows_link_towards(node, interface, why);
}

int flows_lost(const struct addr *node, struct flows_why *why)
{
	struct element *list;
	struct flows_why ignored;
	struct text t = { 0 };
	unsigned longest = 1;
	int n = flows_elements(flows_of(node), &list, why), rc = -1;

	if (n < 0)
		return -1;
	struct flow *keys = xcalloc((size_t)n + 1, sizeof(*keys));
	size_t found = keys_of(list, (size_t)n, NULL, node, keys);
	/* They are made our own, which cannot fail half-way; then they come off the list, as far as they are still
	 * there. */
	struct text_batch b = { .verb = "add", .set = own_of(node), .seconds = longest };
	rc = run_chunks(&t, &b, keys, found, why);
	b = (struct text_batch) { .verb = "delete", .set = flows_of(node) };
	run_chunks(&t, &b, keys, found, &ignored);
	free(keys);
	free(list);
	return rc == 0 ? forget_open(NULL, node, why) : rc;
}

/* ---- both ---- */

/* Adds how many elements a set has. */
static int count(const char *set, size_t *total, struct flows_why *why)
{
	struct element *list;
	int n = flows_elements(set, &list, why);

	free(list);
	*total += n > 0 ? (size_t)n : 0;
	return n < 0 ? -1 : 0;
}

int flows_counts(struct flows_counts *ret, struct flows_why *why)
{
	struct addr kept[FLOWS_KEPT_MAX];
	int n = flows_link_kept(kept, why);

	memset(ret, 0, sizeof(*ret));
	if (n < 0 || count("flows4", &ret->passed_on, why) != 0 || count("flows6", &ret->passed_on, why) != 0 ||
	    count("open4", &ret->open, why) != 0 || count("open6", &ret->open, why) != 0)
		return -1;
	ret->kept = (size_t)n;
	return 0;
}

static int delete_table(struct flows_why *why)
{
	return flows_nft_run("add table netdev " FLOWS_TABLE "\ndelete table netdev " FLOWS_TABLE "\n", why);
}

int flows_tidy(struct flows_why *why)
{
	struct flows_counts c;
	size_t settings = 0;

	if (!flows_table_there())
		return 0;
	if (restore_if_last(why) != 0 || flows_counts(&c, why) != 0 || count("settings", &settings, why) != 0)
		return -1;
	return c.passed_on + c.open + settings == 0 ? delete_table(why) : 0;
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
