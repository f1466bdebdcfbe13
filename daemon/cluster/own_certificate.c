/* SPDX-License-Identifier: Apache-2.0
 * This node's certificate: a next one in time, and its use; and the member that is asked for one.
 *
 * The hard thing: the table names a certificate, files hold it, and this process may end between any two of these. So
 * the next pair is on disk before the table names it, and comes into use when the table does: what is found at a start
 * is gone on with.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/base/metrics.h"
#include "daemon/cluster/cluster_private.h"
#include "daemon/cluster/renew.h"

#define WARNING "cluster_certificate"

enum {
	AGAIN_MS = 60000,  /* after a try that failed */
	JITTER_MS = 10000, /* not all at once, where all were off */
	WARN_DAYS = 30,
	RENEW_TRIES = 5,
};

/* ---- what there is ---- */

static void show_expiry(struct cluster_node *n)
{
	static const char *const own[] = { "cluster/node" }, *const authority[] = { "cluster/authority" };
	struct cluster_renewal *r = &n->renewal;

	if (!r->shown) {
		r->m_own = metrics_series(METRIC_CERTIFICATE_EXPIRY, own);
		r->m_authority = metrics_series(METRIC_CERTIFICATE_EXPIRY, authority);
	}
	r->shown = true;
	metrics_set(r->m_own, (int64_t)r->self.not_after);
	metrics_set(r->m_authority, (int64_t)ca_not_after(n->trust.ca));
}

void own_certificate_loaded(struct cluster_node *n)
{
	if (!ca_read(cluster_str(&n->trust.certificate), &n->renewal.self))
		n->renewal.self = (struct ca_identity) { 0 };
	show_expiry(n);
}

void own_certificate_forget(struct cluster_node *n)
{
	struct cluster_renewal *r = &n->renewal;

	if (r->shown) {
		metrics_retire(r->m_own);
		metrics_retire(r->m_authority);
	}
	/* What is asked for is still answered. */
	*r = (struct cluster_renewal) { .busy = r->busy };
}

/* ---- the next pair ---- */

/* In use from here on; cluster_begin() does that at a start, too. */
static void change_over(struct cluster_node *n)
{
	char *why = NULL;

	if (!trust_files_promote(&n->trust) || !trust_files_load(&n->trust, &why) || !cluster_listen(n, &why))
		log_msg(LOG_LEVEL_ERROR, "cluster_certificate", "the next certificate cannot be used: %s",
			why != NULL ? why : strerror(errno));
	else
		log_msg(LOG_LEVEL_NOTICE, "cluster_certificate", "this node uses its next certificate");
	free(why);
	own_certificate_loaded(n);
	cluster_warn_over(n, WARNING);
}

static bool next_is_named(struct cluster_node *n)
{
	struct sbuf pem = { 0 };
	struct ca_identity next;
	const struct members *t = cluster_table(n);

	bool named = trust_files_read(&n->trust, TRUST_NEXT_CERTIFICATE, CA_PEM_MAX, &pem) == 0 &&
		     ca_read(cluster_str(&pem), &next) && members_certified(t, next.id, next.fingerprint);
	sbuf_fini(&pem);
	return named;
}

static void failed(struct cluster_node *n, const char *why)
{
	double left = n->renewal.self.not_after - clock_wall();

	n->renewal.busy = false;
	if (n->stopped)
		return;
	log_msg(LOG_LEVEL_WARNING, "cluster_certificate", "no next certificate for this node: %s", why);
	if (left < WARN_DAYS * 86400.0)
		cluster_warn(n, WARNING, "this node's certificate for calls between nodes ends in %.0f days: %s",
			     left > 0 ? left / 86400 : 0, why);
}

/* ---- from its own authority ---- */

static struct members *with_certificate(struct cluster_node *n, const struct ca_identity *next,
					struct members_refusal *why)
{
	struct members *to = members_certificate(n->table, next->id, next->fingerprint, why);

	/* What is shown stays good whatever was written down before and never came into use. */
	for (size_t i = 0; to != NULL && i < to->n; i++)
		if (to->list[i].id == next->id)
			memcpy(to->list[i].certificate_before, n->renewal.self.fingerprint, MEMBERS_HASH_LEN);
	return to;
}

static void on_proposed(const struct store_result *r, void *arg)
{
	struct cluster_node *n = arg;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (r->result == CORE_COMMITTED)
		n->renewal.busy = false;
	else
		failed(n, "the table of nodes could not be written");
}

static void issue(struct cluster_node *n, struct str request)
{
	struct ca_identity next = n->renewal.self;
	struct sbuf certificate = { 0 };
	struct members_refusal refusal = { 0 };
	char *why = NULL;

	sbuf_reserve(&certificate, CA_PEM_MAX);
	bool ok = ca_issue(n->trust.ca, request, &next, clock_wall(), &certificate, &why) &&
		  trust_files_write(&n->trust, TRUST_NEXT_CERTIFICATE, cluster_str(&certificate)) == 0;
	sbuf_fini(&certificate);
	struct members *to = ok ? with_certificate(n, &next, &refusal) : NULL;
	struct cluster_proposal p = { .comment = "a next certificate", .fn = on_proposed, .arg = n };
	n->renewal.busy = true;
	if (to == NULL)
		failed(n, why != NULL ? why : ok ? refusal.text : "it cannot be written");
	else if (cluster_propose(n, to, &p) != 0)
		failed(n, "no quorum");
	free(why);
}

/* ---- from another member ---- */

static void on_renewed(struct str certificate, const char *why, void *arg)
{
	struct cluster_node *n = arg;

	CHECK_OBJ(n, CLUSTER_NODE_MAGIC);
	if (certificate.n == 0)
		failed(n, why);
	else if (n->stopped || n->renewal.self.id == 0 ||
		 trust_files_write(&n->trust, TRUST_NEXT_CERTIFICATE, certificate) != 0)
		failed(n, "it cannot be written");
	else
		n->renewal.busy = false;
}

/* Of those that carry mail, one after the other over the tries. */
static const struct members_node *whom(struct cluster_node *n, const struct members *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct members_node *m = &t->list[(n->renewal.tries + i) % t->n];
		if (m->id == n->renewal.self.id || m->voter_only || m->votes == 0 || m->listen.sa.sa_family == 0)
			continue;
		n->renewal.tries += (unsigned)i + 1;
		return m;
	}
	return NULL;
}

static void ask(struct cluster_node *n, struct str key, struct str request)
{
	const struct members_node *m = whom(n, cluster_table(n));
	struct renew_options o = {
		.request_pem = request, .key_pem = key, .ca = n->trust.ca, .self = &n->renewal.self, .now = clock_wall()
	};

	n->renewal.busy = true;
	if (m == NULL) {
		failed(n, "nobody can give one");
		return;
	}
	o.to = m->listen;
	o.id = m->id;
	if (renew_call(n->env.peers, &o, on_renewed, n) != 0)
		failed(n, "too many calls are under way");
}

/* ---- in time ---- */

static void renew(struct cluster_node *n)
{
	struct sbuf key = { 0 }, request = { 0 };

	sbuf_reserve(&key, CA_PEM_MAX);
	trust_files_drop_next(&n->trust);
	if (!ca_request_make(&key, &request) || trust_files_write(&n->trust, TRUST_NEXT_KEY, cluster_str(&key)) != 0)
		failed(n, "a key cannot be made");
	else if (ca_can_issue(n->trust.ca) && n->table != NULL && store_quorate(n->env.store))
		issue(n, cluster_str(&request));
	else
		ask(n, cluster_str(&key), cluster_str(&request));
	trust_wipe(&key);
	sbuf_fini(&request);
}

void own_certificate_tend(struct cluster_node *n, int64_t now)
{
	struct cluster_renewal *r = &n->renewal;
	const struct members_node *me = members_find(cluster_table(n), r->self.id);

	if (r->busy || me == NULL || me->state != MEMBERS_MEMBER || !ca_renewal_due(&r->self, clock_wall()))
		return;
	if (next_is_named(n)) {
		change_over(n);
		return;
	}
	if (r->due_ms == 0)
		r->due_ms = now + (int64_t)(random_u64() % JITTER_MS);
	if (now < r->due_ms)
		return;
	r->due_ms = now + AGAIN_MS + (int64_t)(random_u64() % JITTER_MS);
	renew(n);
}

/* ---- the member that is asked ---- */

struct renewing {
	struct cluster_node *n;
	struct renew_asked *asked;
	unsigned tries;
};

static const struct members *table(void *arg)
{
	const struct cluster_node *n = arg;

	return store_quorate(n->env.store) ? n->table : NULL;
}

static const struct ca *authority(void *arg)
{
	return ((const struct cluster_node *)arg)->trust.ca;
}

static void propose(struct renewing *w);

static void on_committed(const struct store_result *r, void *arg)
{
	struct renewing *w = arg;

	CHECK_OBJ(w->n, CLUSTER_NODE_MAGIC);
	if (r->result == CORE_STALE && ++w->tries < RENEW_TRIES && !w->n->stopped) {
		propose(w);
		return;
	}
	if (r->result == CORE_COMMITTED)
		renew_accept(w->asked);
	else
		renew_defer(w->asked, "It could not be written down in time.");
	free(w);
}

static void propose(struct renewing *w)
{
	struct cluster_node *n = w->n;
	struct members_refusal why;
	struct cluster_proposal p = { .comment = "a next certificate", .fn = on_committed, .arg = w };

	if (table(n) == NULL) {
		renew_defer(w->asked, "The cluster has no quorum here.");
		free(w);
		return;
	}
	struct members *to = renew_decide(w->asked, n->table, clock_wall(), &why);
	if (to == NULL) {
		renew_refuse(w->asked, &why);
		free(w);
		return;
	}
	int err = cluster_propose(n, to, &p);
	if (err == 0)
		return;
	renew_defer(w->asked, strerror(-err));
	free(w);
}

static void decide(struct renew_asked *asked, void *arg)
{
	struct renewing *w = xcalloc(1, sizeof(*w));

	*w = (struct renewing) { .n = arg, .asked = asked };
	CHECK_OBJ(w->n, CLUSTER_NODE_MAGIC);
	propose(w);
}

void own_certificate_serve(struct cluster_node *n)
{
	struct renew_env env = { .arg = n, .table = table, .authority = authority, .decide = decide };

	renew_serve(n->env.peers, &env);
}
