/* SPDX-License-Identifier: Apache-2.0
 * A quorum that is forced, or why it is not.
 *
 * The hard thing: whoever asks for it has lost nodes and is in a hurry. So a refusal says what is so here, and where or
 * when to ask again.
 */
#include <stdio.h>

#include "daemon/base/log.h"
#include "daemon/cluster/cluster_private.h"

static void refuse_in_minority(struct cluster_node *n, struct cluster_call *q)
{
	const struct members *t = cluster_table(n);
	uint32_t newest = store_newest(n->env.store);
	const struct members_node *m = newest == 0 || t == NULL ? NULL : members_find(t, newest);

	if (newest == store_identity(n->env.store).id)
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "None of the nodes here has a vote: bring one of those that vote back.");
	else if (m != NULL)
		cluster_call_refuse(q, PROBLEM_CONFLICT, "Run it on %s, which has the newest log.", m->name);
	else if (newest != 0)
		cluster_call_refuse(q, PROBLEM_CONFLICT, "Run it on node %u, which has the newest log.", newest);
	else
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "Not all nodes in the view have spoken yet, or none of them has a whole log: try "
				    "again in a few seconds, and see `postroad cluster status`.");
}

static void refuse(struct cluster_node *n, struct cluster_call *q)
{
	switch (store_state(n->env.store)) {
	case CORE_ACTIVE:
		cluster_call_refuse(q, PROBLEM_CONFLICT, "This node has a quorum already.");
		break;
	case CORE_OFFLINE:
		cluster_call_refuse(q, PROBLEM_CONFLICT, "Corosync does not run here: see `postroad cluster status`.");
		break;
	case CORE_SYNC:
		cluster_call_refuse(q, PROBLEM_CONFLICT,
				    "The nodes that are here find out whose log is the newest: try again in a few "
				    "seconds.");
		break;
	case CORE_MINORITY:
		refuse_in_minority(n, q);
		break;
	}
}

void forming_force_quorum(struct cluster_node *n, struct cluster_call *q)
{
	if (store_identity(n->env.store).cluster == 0) {
		cluster_call_refuse(q, PROBLEM_CONFLICT, "This node is in no cluster.");
		return;
	}
	if (store_force_quorum(n->env.store) != 0) {
		refuse(n, q);
		return;
	}
	log_msg(LOG_LEVEL_WARNING, "cluster_forced", "quorum was forced by %s", q->author);
	n->env.event("cluster", json_pack("{s:s, s:s}", "what", "quorum forced", "author", q->author), n->env.arg);
	cluster_call_answer(q, 202, forming_answer(n));
}
