/* SPDX-License-Identifier: Apache-2.0
 * corosync.conf from typed values.
 *
 * The hard thing: its grammar has no quotes. Whatever stands behind a colon goes to the end of the line, a brace opens
 * or closes a section, and each key needs a line of its own. So only values whose bytes mean nothing are let in.
 */
#include "cluster/members/corosync_conf.h"

#include <limits.h>

/* What a name or a path may have: nothing that the grammar knows. `more`: beside letters and digits. */
static bool is_plain(const char *text, size_t max, const char *more)
{
	size_t n = strnlen(text, max + 1);

	if (n > max)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!alnum && strchr(more, c) == NULL)
			return false;
	}
	return true;
}

static bool is_name(const char *text, size_t max)
{
	return text[0] != '\0' && is_plain(text, max, "._-");
}

static bool is_path(const char *text, bool may_be_empty)
{
	if (text[0] == '\0')
		return may_be_empty;
	return text[0] == '/' && is_plain(text, COROSYNC_CONF_PATH_MAX, "/._-+@");
}

static const char *check_node(const struct corosync_conf *c, size_t i)
{
	const struct corosync_conf_node *n = &c->nodes[i];

	if (n->id == 0 || !is_name(n->name, COROSYNC_CONF_NAME_MAX))
		return "a node has no id or no name";
	if (n->n_links < 1 || n->n_links > COROSYNC_CONF_LINKS_MAX || n->n_links != c->nodes[0].n_links)
		return "nodes differ in how many links they have, or have none, or too many";
	for (size_t k = 0; k < n->n_links; k++) {
		sa_family_t family = n->links[k].sa.sa_family;
		if ((family != AF_INET && family != AF_INET6) || family != c->nodes[0].links[k].sa.sa_family)
			return "a link is no address, or its addresses are of both families";
		if (addr_is_any(&n->links[k]))
			return "a link is the address of no machine";
	}
	for (size_t k = 0; k < i; k++) {
		const struct corosync_conf_node *other = &c->nodes[k];
		if (other->id == n->id || strcmp(other->name, n->name) == 0)
			return "an id or a name stands twice";
		for (size_t a = 0; a < n->n_links; a++)
			for (size_t b = 0; b < other->n_links; b++)
				if (addr_eq_ip(&n->links[a], &other->links[b]))
					return "an address stands twice";
	}
	return NULL;
}

const char *corosync_conf_check(const struct corosync_conf *c)
{
	const char *why;

	if (!is_name(c->cluster, COROSYNC_CONF_NAME_MAX))
		return "the cluster has no name, or one with other than letters, digits, dots, dashes, underscores";
	if (c->generation == 0)
		return "the generation is none";
	if (c->token_ms != 0 && (c->token_ms < COROSYNC_CONF_TOKEN_MIN_MS || c->token_ms > COROSYNC_CONF_TOKEN_MAX_MS))
		return "the token's time is out of range";
	if (c->coefficient_ms != UINT_MAX && c->coefficient_ms > COROSYNC_CONF_TOKEN_MAX_MS)
		return "the token's coefficient is out of range";
	if (c->port > 65535 - COROSYNC_CONF_LINKS_MAX)
		return "the port is none";
	if (c->user[0] != '\0' && !is_name(c->user, sizeof(c->user) - 1))
		return "the user has no name";
	if (!is_path(c->keyfile, false) || !is_path(c->state_dir, true) || !is_path(c->logfile, true))
		return "a path is not absolute, or has other than letters, digits and / . _ - + @";
	if (c->n < 1 || c->n > COROSYNC_CONF_NODES_MAX)
		return "there are no nodes, or too many";
	for (size_t i = 0; i < c->n; i++)
		if ((why = check_node(c, i)) != NULL)
			return why;
	return NULL;
}

static unsigned coefficient_of(const struct corosync_conf *c)
{
	return c->coefficient_ms == 0          ? COROSYNC_CONF_COEFFICIENT_MS
	       : c->coefficient_ms == UINT_MAX ? 0
					       : c->coefficient_ms;
}

static unsigned token_of(const struct corosync_conf *c)
{
	return c->token_ms == 0 ? COROSYNC_CONF_TOKEN_MS : c->token_ms;
}

/* With two links one that is dead without a sign must be known, and the token be sent by the other, before the token
 * counts as lost. By corosync's own times a ping is missed when it is too late for that. */
static void render_pings(const struct corosync_conf *c, struct sbuf *out)
{
	unsigned token = token_of(c) + (c->n > 2 ? (unsigned)(c->n - 2) * coefficient_of(c) : 0);

	sbuf_printf(out, "\t\tknet_ping_interval: %u\n\t\tknet_ping_timeout: %u\n", token / 12, token / 4);
}

static void render_totem(const struct corosync_conf *c, struct sbuf *out)
{
	unsigned port = c->port == 0 ? COROSYNC_CONF_PORT : c->port;

	sbuf_printf(out,
		    "totem {\n"
		    "\tversion: 2\n"
		    "\tcluster_name: %s\n"
		    "\tconfig_version: %llu\n"
		    "\ttransport: knet\n"
		    "\tcrypto_cipher: aes256\n"
		    "\tcrypto_hash: sha256\n"
		    "\tkeyfile: %s\n"
		    "\ttoken: %u\n"
		    "\ttoken_coefficient: %u\n"
		    "\tlink_mode: passive\n"
		    "\tblock_unlisted_ips: yes\n",
		    c->cluster, (unsigned long long)c->generation, c->keyfile, token_of(c), coefficient_of(c));
	for (unsigned k = 0; k < c->nodes[0].n_links; k++) {
		sbuf_printf(out, "\tinterface {\n\t\tlinknumber: %u\n\t\tmcastport: %u\n", k, port + k);
		if (c->nodes[0].n_links > 1)
			render_pings(c, out);
		sbuf_puts(out, "\t}\n");
	}
	sbuf_puts(out, "}\n");
}

static void render_nodes(const struct corosync_conf *c, struct sbuf *out)
{
	char text[ADDR_TEXT_MAX];

	sbuf_puts(out, "nodelist {\n");
	for (size_t i = 0; i < c->n; i++) {
		const struct corosync_conf_node *n = &c->nodes[i];
		sbuf_printf(out, "\tnode {\n\t\tnodeid: %u\n\t\tname: %s\n", n->id, n->name);
		for (size_t k = 0; k < n->n_links; k++)
			sbuf_printf(out, "\t\tring%zu_addr: %s\n", k, addr_format_ip(&n->links[k], text));
		sbuf_puts(out, "\t}\n");
	}
	sbuf_puts(out, "}\n");
}

static void render_system(const struct corosync_conf *c, struct sbuf *out)
{
	/* Where real time is refused to its control group it moves out of that, as is its default. */
	sbuf_printf(out, "system {\n\tsched_rr: %s\n\tmove_to_root_cgroup: %s\n", c->no_realtime ? "no" : "yes",
		    c->no_realtime ? "no" : "auto");
	if (c->state_dir[0] != '\0')
		sbuf_printf(out, "\tstate_dir: %s\n", c->state_dir);
	sbuf_puts(out, "}\n");
}

static void render_logging(const struct corosync_conf *c, struct sbuf *out)
{
	bool file = c->logfile[0] != '\0';

	sbuf_printf(out, "logging {\n\tto_stderr: no\n\ttimestamp: on\n\tto_logfile: %s\n\tto_syslog: %s\n",
		    file ? "yes" : "no", file ? "no" : "yes");
	if (file)
		sbuf_printf(out, "\tlogfile: %s\n", c->logfile);
	sbuf_puts(out, "}\n");
}

void corosync_conf_render(const struct corosync_conf *c, struct sbuf *out)
{
	ASSERT(corosync_conf_check(c) == NULL);
	sbuf_puts(out, "# Made by Postroad from the cluster's table of nodes. Changes here are lost.\n");
	render_totem(c, out);
	render_nodes(c, out);
	render_system(c, out);
	render_logging(c, out);
	if (c->user[0] != '\0')
		sbuf_printf(out, "uidgid {\n\tuid: %s\n}\n", c->user);
}
