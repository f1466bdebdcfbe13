/* SPDX-License-Identifier: Apache-2.0
 * Where a node that is made a member is reached, and whether this machine is fit for it.
 */
#include <stdlib.h>

#include "cluster/members/preflight.h"
#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

/* ---- addresses ---- */

/* A node that listens everywhere is called at a link of the same family; there is one, or the look says so. */
static struct addr reachable(const struct addr *listen, const struct forming_where *w)
{
	struct addr at = w->links[0];

	if (!addr_is_any(listen))
		return *listen;
	for (size_t i = w->n_links; i-- > 0;)
		if (w->links[i].sa.sa_family == listen->sa.sa_family)
			at = w->links[i];
	addr_set_port(&at, addr_port(listen));
	return at;
}

static bool take_listen(struct cluster_call *q, json_t *listen, struct forming_where *ret)
{
	if (!cluster_json_addr(listen, CLUSTER_LISTEN_PORT, &ret->listen))
		cluster_call_refuse(q, PROBLEM_INVALID, "\"listen\" is an IP address, with a port or without");
	else if (addr_is_any(&ret->listen))
		cluster_call_refuse(
			q, PROBLEM_INVALID,
			"\"listen\" is what other nodes call: one address of this machine, not all of them");
	else
		return true;
	return false;
}

bool forming_where(struct cluster_node *n, struct cluster_call *q, struct forming_where *ret)
{
	json_t *links = json_object_get(q->body, "links"), *listen = json_object_get(q->body, "listen");
	size_t count = json_array_size(links);
	bool ok = count >= 1 && count <= MEMBERS_LINKS_MAX;

	*ret = (struct forming_where) { .n_links = count };
	for (size_t i = 0; i < count && ok; i++)
		ok = cluster_json_addr(json_array_get(links, i), 0, &ret->links[i]) && !addr_is_any(&ret->links[i]);
	if (!ok) {
		cluster_call_refuse(q, PROBLEM_INVALID,
				    "\"links\" is a list of one or two IP addresses of this machine");
		return false;
	}
	if (listen != NULL)
		return take_listen(q, listen, ret);
	ret->listen = ret->links[0];
	addr_set_port(&ret->listen, CLUSTER_LISTEN_PORT);
	if (n->env.config->n_cluster_listen > 0)
		ret->listen = reachable(&n->env.config->cluster_listen[0], ret);
	return true;
}

/* ---- the machine ---- */

static void add(json_t *errors, char *stolen)
{
	json_array_append_new(errors, json_string(stolen));
	free(stolen);
}

/* As of links, but for what only corosync needs. */
static void judge_listen(const struct forming_where *w, struct preflight_facts *facts, json_t *errors)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < w->n_links; i++)
		if (addr_eq_ip(&w->links[i], &w->listen))
			return;
	preflight_look("", &w->listen, 1, COROSYNC_CONF_PORT, facts);
	addr_format(&w->listen, text);
	if (addr_is_loopback(&w->listen))
		add(errors,
		    xasprintf("Other nodes cannot call %s: give an address of a network that the nodes share.", text));
	else if (!facts->links[0].here)
		add(errors, xasprintf("Other nodes would call %s, and this machine has only: %s.", text,
				      facts->addresses[0] != '\0' ? facts->addresses : "none"));
}

/* What is wrong; what is only worth a word goes to the log, if told. */
static json_t *look(const struct forming_where *w, bool told)
{
	struct preflight_facts *facts = xcalloc(1, sizeof(*facts));
	struct preflight_finding *list = xcalloc(PREFLIGHT_FINDINGS_MAX, sizeof(*list));
	json_t *errors = json_array();

	preflight_look("", w->links, w->n_links, COROSYNC_CONF_PORT, facts);
	size_t count = preflight_judge(facts, list);
	for (size_t i = 0; i < count; i++) {
		if (list[i].severity == PREFLIGHT_ERROR)
			json_array_append_new(errors, json_string(list[i].text));
		else if (told)
			log_msg(LOG_LEVEL_WARNING, "cluster_preflight", "%s: %s", list[i].id, list[i].text);
	}
	judge_listen(w, facts, errors);
	free(facts);
	free(list);
	return errors;
}

bool forming_preflight(struct cluster_call *q, const struct forming_where *w, json_t **ret_passed_over)
{
	bool force = json_is_true(json_object_get(q->body, "force"));
	struct sbuf text = { 0 };
	json_t *error;
	size_t i;

	/* A call that is made again by forming_clean() is looked at again; it is told once. */
	*ret_passed_over = look(w, q->cleaned);
	json_array_foreach(*ret_passed_over, i, error) {
		if (force && q->cleaned)
			log_msg(LOG_LEVEL_WARNING, "cluster_preflight", "passed over by --force: %s",
				json_string_value(error));
		else if (!force)
			sbuf_printf(&text, "%s%s", i > 0 ? " " : "", json_string_value(error));
	}
	if (text.n == 0)
		return true;
	cluster_call_refuse(q, PROBLEM_CONFLICT, "%s", text.p);
	sbuf_fini(&text);
	json_decref(*ret_passed_over);
	*ret_passed_over = NULL;
	return false;
}

json_t *forming_answer_forced(const struct cluster_node *n, json_t *passed_over)
{
	json_t *o = forming_answer(n);

	if (json_array_size(passed_over) > 0)
		json_object_set(o, "passed_over", passed_over);
	return o;
}
