/* SPDX-License-Identifier: Apache-2.0
 * The table of nodes as a value: copies, questions, and what may not be in it.
 *
 * The hard thing: a table made by forcing a quorum has a head alone. The rest is carried over from the table before, on
 * every node alike, or the cluster would not know its own addresses.
 */
#include "cluster/members/members_private.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

const char *const members_kind_names[MEMBERS_KIND_COUNT] = {
	[MEMBERS_NONE] = "none",     [MEMBERS_JOIN] = "join",       [MEMBERS_LEAVE] = "leave",
	[MEMBERS_REMOVE] = "remove", [MEMBERS_REPLACE] = "replace", [MEMBERS_ROTATE] = "rotate",
};

struct members *members_new(void)
{
	struct members *t = xcalloc(1, sizeof(*t));

	t->level = MEMBERS_FEATURES_LOW;
	t->next_id = 1;
	return t;
}

void members_free(struct members *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->list[i].extra);
	free(t->change.extra);
	free(t->extra);
	free(t);
}

static char *copied(const char *s)
{
	return s == NULL ? NULL : xstrdup(s);
}

struct members *members_copy(const struct members *t)
{
	struct members *c = xmalloc(sizeof(*c));

	*c = *t;
	for (size_t i = 0; i < c->n; i++)
		c->list[i].extra = copied(t->list[i].extra);
	c->change.extra = copied(t->change.extra);
	c->extra = copied(t->extra);
	return c;
}

void members_voters(const struct members *t, struct voters *ret)
{
	*ret = (struct voters) { .n = t->n, .tie_breaker = t->tie_breaker };
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		struct voter *v = &ret->list[i];
		*v = (struct voter) {
			.id = n->id, .instance = n->instance, .votes = n->votes, .voter_only = n->voter_only
		};
		memcpy(v->name, n->name, sizeof(v->name));
	}
}

/* ---- questions ---- */

char *members_too_far(const struct members *t, unsigned low, unsigned high)
{
	if (low <= t->level && t->level <= high)
		return NULL;
	return xasprintf("The cluster speaks feature level %u, this version %u to %u: upgrade %s.", t->level, low, high,
			 t->level > high ? "this node" : "the cluster first, node by node");
}

const struct members_node *members_find(const struct members *t, uint32_t id)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].id == id)
			return &t->list[i];
	return NULL;
}

const struct members_node *members_named(const struct members *t, const char *name)
{
	const struct members_node *found = NULL;

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->list[i].name, name) == 0 && (found == NULL || found->state == MEMBERS_LEAVING))
			found = &t->list[i];
	return found;
}

const struct members_removed *members_find_removed(const struct members *t, uint32_t id, uint64_t instance)
{
	for (size_t i = 0; i < t->n_removed; i++)
		if (t->removed[i].id == id && t->removed[i].instance == instance)
			return &t->removed[i];
	return NULL;
}

const struct members_token *members_find_token(const struct members *t, const char *id)
{
	for (size_t i = 0; i < t->n_tokens; i++)
		if (strcmp(t->tokens[i].id, id) == 0)
			return &t->tokens[i];
	return NULL;
}

size_t members_voting(const struct members *t)
{
	size_t voting = 0;

	for (size_t i = 0; i < t->n; i++)
		voting += t->list[i].votes > 0;
	return voting;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool members_name_valid(const char *name)
{
	size_t n = strnlen(name, MEMBERS_NAME_MAX + 1);

	if (n == 0 || n > MEMBERS_NAME_MAX || !is_alnum(name[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_alnum(name[i]) && strchr("._-", name[i]) == NULL)
			return false;
	return true;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

bool members_certified(const struct members *t, uint32_t id, const uint8_t fingerprint[MEMBERS_HASH_LEN])
{
	const struct members_node *n = members_find(t, id);

	if (n == NULL || is_zero(fingerprint, MEMBERS_HASH_LEN))
		return false;
	return CRYPTO_memcmp(n->certificate, fingerprint, MEMBERS_HASH_LEN) == 0 ||
	       CRYPTO_memcmp(n->certificate_before, fingerprint, MEMBERS_HASH_LEN) == 0;
}

bool members_in_file(const struct members_node *n, uint64_t generation)
{
	return n->from <= generation && (n->until == 0 || generation < n->until);
}

void members_file_hash(const struct members *t, uint64_t generation, uint8_t ret[MEMBERS_HASH_LEN])
{
	bool next = t->change.kind != MEMBERS_NONE && t->change.rotates && generation != t->generation;
	const uint8_t *key = next ? t->change.key : t->key;
	char text[ADDR_TEXT_MAX];
	struct sbuf b = { 0 };

	sbuf_printf(&b, "corosync.conf 1\n%s\n%llu\n", t->cluster, (unsigned long long)generation);
	sbuf_add(&b, key, MEMBERS_HASH_LEN);
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		if (!members_in_file(n, generation))
			continue;
		sbuf_printf(&b, "\n%u %s", n->id, n->name);
		for (size_t k = 0; k < n->n_links; k++)
			sbuf_printf(&b, " %s", addr_format_ip(&n->links[k], text));
	}
	ASSERT(EVP_Digest(b.p, b.n, ret, NULL, EVP_sha256(), NULL) == 1);
	sbuf_fini(&b);
}

_Static_assert((int)MEMBERS_MAX <= (int)COROSYNC_CONF_NODES_MAX, "each node has a place");

void members_corosync_conf(const struct members *t, uint64_t generation, struct corosync_conf *ret)
{
	ret->n = 0;
	ret->generation = generation;
	memcpy(ret->cluster, t->cluster, sizeof(ret->cluster));
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *n = &t->list[i];
		if (!members_in_file(n, generation))
			continue;
		struct corosync_conf_node *to = &ret->nodes[ret->n++];
		*to = (struct corosync_conf_node) { .id = n->id, .n_links = n->n_links };
		memcpy(to->name, n->name, sizeof(to->name));
		memcpy(to->links, n->links, sizeof(to->links));
	}
}

/* ---- what may not be ---- */

static const char *check_links(const struct members *t, const struct members_node *n)
{
	if (n->n_links < 1 || n->n_links > MEMBERS_LINKS_MAX)
		return "a node has no link, or too many";
	for (size_t k = 0; k < n->n_links; k++) {
		const struct addr *a = &n->links[k];
		if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
			return "a link is no address";
		if (addr_port(a) != 0 || addr_is_any(a))
			return "a link has a port, or is no address of one machine";
		if (k < t->list[0].n_links && a->sa.sa_family != t->list[0].links[k].sa.sa_family)
			return "addresses of one link are of both families";
		for (size_t i = 0; i < t->n; i++)
			for (size_t j = 0; j < t->list[i].n_links; j++)
				if ((&t->list[i] != n || j < k) && t->list[i].state != MEMBERS_LEAVING &&
				    n->state != MEMBERS_LEAVING && addr_eq_ip(&t->list[i].links[j], a))
					return "an address stands twice";
	}
	return NULL;
}

static const char *check_node(const struct members *t, const struct members_node *n)
{
	if (!members_name_valid(n->name))
		return "a name is none";
	if (members_named(t, n->name) != n && n->state != MEMBERS_LEAVING)
		return "a name stands twice";
	if (n->id >= t->next_id)
		return "an id has not been given yet";
	if (n->features_low > n->features_high)
		return "feature levels are no range";
	if ((n->state == MEMBERS_MEMBER ? n->votes > 1 : n->votes != 0))
		return "a node that joins or leaves has a vote, or a member has several";
	if (n->until != 0 && (n->state != MEMBERS_LEAVING || n->until <= n->from))
		return "a place in corosync.conf ends that does not";
	if (addr_port(&n->listen) == 0)
		return "a node cannot be called";
	return check_links(t, n);
}

static const char *check_change(const struct members *t)
{
	const struct members_change *c = &t->change;
	size_t joining = 0, leaving = 0;

	for (size_t i = 0; i < t->n; i++) {
		joining += t->list[i].state == MEMBERS_JOINING;
		leaving += t->list[i].state == MEMBERS_LEAVING;
	}
	if (joining != (c->kind == MEMBERS_JOIN || c->kind == MEMBERS_REPLACE))
		return "who joins is not the change under way";
	if ((leaving > 0) != (c->kind == MEMBERS_LEAVE || c->kind == MEMBERS_REMOVE || c->kind == MEMBERS_REPLACE))
		return "who leaves is not the change under way";
	if (c->kind == MEMBERS_NONE)
		return NULL;
	if (c->generation > t->last_generation ||
	    (c->step == MEMBERS_ACTIVATE ? c->generation != t->generation : c->generation <= t->generation))
		return "the generation of the change is not the next one";
	return NULL;
}

const char *members_check(const struct members *t)
{
	struct voters v;
	const char *why;

	members_voters(t, &v);
	if ((why = voters_check(&v)) != NULL)
		return why;
	if (t->cluster[0] == '\0' || t->number == 0)
		return "the cluster has no name or number";
	if (t->generation == 0 || t->last_generation < t->generation)
		return "generations are out of order";
	for (size_t i = 0; i < t->n; i++) {
		if (i > 0 && t->list[i].id <= t->list[i - 1].id)
			return "ids are out of order";
		if ((why = check_node(t, &t->list[i])) != NULL)
			return why;
	}
	for (size_t i = 0; i < t->n; i++)
		if (t->list[i].n_links != t->list[0].n_links)
			return "some nodes have one link, others two";
	if ((members_voting(t) == 2) != (t->tie_breaker != 0))
		return "of two voters one is the tie-breaker, of others none is";
	return check_change(t);
}

/* ---- after a forced quorum ---- */

static struct members *merge(const struct members *before, const struct members *head)
{
	struct members *t = members_copy(before);

	t->bare = true;
	t->tie_breaker = head->tie_breaker;
	for (size_t i = 0; i < t->n; i++) {
		struct members_node *n = &t->list[i];
		const struct members_node *h = members_find(head, n->id);
		n->votes = h != NULL && h->instance == n->instance ? h->votes : 0;
	}
	return t;
}

struct members *members_follow(const struct members *before, struct str document, char **ret_why)
{
	struct members *t = members_decode(document, ret_why);

	if (t == NULL || !t->bare || before == NULL)
		return t;
	struct members *merged = merge(before, t);
	members_free(t);
	return merged;
}

struct members *members_follow_head(const struct members *before, struct str document)
{
	struct members *head = before == NULL ? NULL : members_decode_head(document);
	struct members *merged = head == NULL ? NULL : merge(before, head);

	members_free(head);
	return merged;
}
