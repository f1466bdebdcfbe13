/* SPDX-License-Identifier: Apache-2.0
 * Planned moves by hand, for labs: each function of agents/ha/flows.h as a command, connections as lines.
 *
 *   established VIP | passed VIP | keep VIP OWN SECONDS | release VIP | open VIP NODE SECONDS
 *   receive VIP NODE SECONDS < lines | lost NODE | counts | tidy | clean
 *
 * A line of connections is "LOCAL REMOTE", and for `passed` "LOCAL REMOTE NODE SECONDS".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/ha/flows.h"

static struct flows_why why;

static struct addr address(const char *text)
{
	struct addr a;

	if (text == NULL || !addr_parse_ip(text, &a)) {
		fprintf(stderr, "flows-driver: %s is no address\n", text != NULL ? text : "nothing");
		exit(2);
	}
	return a;
}

static int established(const struct addr *vip)
{
	struct flow *flows = xcalloc(FLOWS_MAX, sizeof(*flows));
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX];
	int n = flows_established(vip, flows, FLOWS_MAX, &why);

	for (int i = 0; i < n; i++)
		printf("%s %s\n", addr_format(&flows[i].local, a), addr_format(&flows[i].remote, b));
	free(flows);
	return n < 0 ? -1 : 0;
}

static int passed(const struct addr *vip)
{
	struct flow_passed *p = xcalloc(FLOWS_MAX, sizeof(*p));
	char a[ADDR_TEXT_MAX], b[ADDR_TEXT_MAX], c[ADDR_TEXT_MAX];
	int n = flows_passed_on(vip, p, FLOWS_MAX, &why);

	for (int i = 0; i < n; i++)
		printf("%s %s %s %u\n", addr_format(&p[i].flow.local, a), addr_format(&p[i].flow.remote, b),
		       addr_format_ip(&p[i].node, c), p[i].seconds);
	free(p);
	return n < 0 ? -1 : 0;
}

static int receive(const struct flows_move *move)
{
	struct flow *flows = xcalloc(FLOWS_MAX, sizeof(*flows));
	char local[ADDR_TEXT_MAX], remote[ADDR_TEXT_MAX];
	size_t n = 0;

	while (n < FLOWS_MAX && scanf("%63s %63s", local, remote) == 2)
		if (addr_parse(local, 0, &flows[n].local) && addr_parse(remote, 0, &flows[n].remote))
			n++;
	int rc = flows_receive(move, flows, n, &why);
	free(flows);
	return rc;
}

static int counts(void)
{
	struct flows_counts c;

	if (flows_counts(&c, &why) != 0)
		return -1;
	printf("{\"passed_on\": %zu, \"open\": %zu, \"kept\": %zu}\n", c.passed_on, c.open, c.kept);
	return 0;
}

static int moving(const char *verb, char **args)
{
	struct flows_move m = { .vip = address(args[0]), .node = address(args[1]) };

	m.seconds = args[2] != NULL ? (unsigned)strtoul(args[2], NULL, 10) : 0;
	if (strcmp(verb, "keep") == 0)
		return flows_keep(&m.vip, &m.node, m.seconds, &why);
	return strcmp(verb, "open") == 0 ? flows_open(&m, &why) : receive(&m);
}

static int run(const char *verb, char **args)
{
	struct addr a;

	if (strcmp(verb, "counts") == 0)
		return counts();
	if (strcmp(verb, "tidy") == 0)
		return flows_tidy(&why);
	if (strcmp(verb, "clean") == 0)
		return flows_clean_all(&why);
	a = address(args[0]);
	if (strcmp(verb, "established") == 0)
		return established(&a);
	if (strcmp(verb, "passed") == 0)
		return passed(&a);
	if (strcmp(verb, "release") == 0)
		return flows_release(&a, &why);
	if (strcmp(verb, "lost") == 0)
		return flows_lost(&a, &why);
	return moving(verb, args);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (run(argv[1], argv + 2) == 0)
		return fflush(stdout) == 0 ? 0 : 1;
	fprintf(stderr, "flows-driver: %s\n", why.text);
	return 1;
}
