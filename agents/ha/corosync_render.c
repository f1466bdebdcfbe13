/* SPDX-License-Identifier: Apache-2.0
 * Typed data as corosync.conf.
 *
 * The hard thing: corosync's parser wants each brace and each key on a line of its own, and says nothing of what it did
 * not understand.
 */
#include "agents/ha/corosync.h"

static void totem(const struct ha_corosync *q, const struct corosync_options *o, struct sbuf *out)
{
	sbuf_printf(out,
		    "totem {\n"
		    "\tversion: 2\n"
		    "\tcluster_name: %s\n"
		    "\tconfig_version: %llu\n"
		    "\ttransport: knet\n"
		    "\ttoken: 1500\n"
		    "\ttoken_coefficient: 125\n"
		    "\tcrypto_cipher: aes256\n"
		    "\tcrypto_hash: sha256\n"
		    "\tkeyfile: %s/" COROSYNC_KEY "%llu\n"
		    "\tblock_unlisted_ips: yes\n",
		    q->cluster, (unsigned long long)q->generation, o->dir, (unsigned long long)q->generation);
	for (size_t i = 0; i < q->nodes[0].n_links; i++)
		sbuf_printf(out, "\tinterface {\n\t\tlinknumber: %zu\n\t\tmcastport: %zu\n\t}\n", i, 5405 + i);
	sbuf_puts(out, "}\n");
}

static void node(const struct ha_corosync_node *n, struct sbuf *out)
{
	char text[ADDR_TEXT_MAX];

	sbuf_printf(out, "\tnode {\n\t\tnodeid: %u\n\t\tname: %s\n", n->id, n->name);
	for (size_t i = 0; i < n->n_links; i++)
		sbuf_printf(out, "\t\tring%zu_addr: %s\n", i, addr_format_ip(&n->links[i], text));
	sbuf_puts(out, "\t}\n");
}

void corosync_render(const struct ha_corosync *q, const struct corosync_options *o, struct sbuf *out)
{
	sbuf_puts(out, "# Written by postroad-ha; it replaces this file whenever the cluster changes.\n");
	totem(q, o, out);
	sbuf_puts(out, "nodelist {\n");
	for (size_t i = 0; i < q->n; i++)
		node(&q->nodes[i], out);
	sbuf_printf(out, "}\nuidgid {\n\tuid: %s\n}\n", o->user);
	sbuf_puts(out, "logging {\n\tto_stderr: yes\n\tto_syslog: no\n\tto_logfile: no\n}\n");
	if (o->state_dir != NULL)
		sbuf_printf(out, "system {\n\tstate_dir: %s\n}\n", o->state_dir);
}
