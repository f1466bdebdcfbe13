/* SPDX-License-Identifier: Apache-2.0
 * Prints a corosync.conf: corosync-conf CLUSTER GENERATION KEYFILE STATE_DIR LOGFILE < nodes, a line each: ID NAME
 * ADDRESS [ADDRESS].
 */
#include <stdio.h>
#include <stdlib.h>

#include "cluster/members/corosync_conf.h"

static bool node_from(char *line, struct corosync_conf_node *n)
{
	char name[COROSYNC_CONF_NAME_MAX + 1], a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];
	int got = sscanf(line, "%u %63s %63s %63s", &n->id, name, a, b);

	if (got < 3 || !addr_parse_ip(a, &n->links[0]) || (got == 4 && !addr_parse_ip(b, &n->links[1])))
		return false;
	n->n_links = (size_t)got - 2;
	snprintf(n->name, sizeof(n->name), "%s", name);
	return true;
}

int main(int argc, char **argv)
{
	static struct corosync_conf c = { .no_realtime = true };
	struct sbuf out = { 0 };
	char line[256];

	if (argc != 6)
		return 2;
	snprintf(c.cluster, sizeof(c.cluster), "%s", argv[1]);
	c.generation = strtoull(argv[2], NULL, 10);
	snprintf(c.keyfile, sizeof(c.keyfile), "%s", argv[3]);
	snprintf(c.state_dir, sizeof(c.state_dir), "%s", argv[4]);
	snprintf(c.logfile, sizeof(c.logfile), "%s", argv[5]);
	while (c.n < COROSYNC_CONF_NODES_MAX && fgets(line, sizeof(line), stdin) != NULL)
		if (!node_from(line, &c.nodes[c.n++]))
			return 2;
	const char *why = corosync_conf_check(&c);
	if (why != NULL) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	corosync_conf_render(&c, &out);
	fputs(out.p, stdout);
	sbuf_fini(&out);
	return 0;
}
