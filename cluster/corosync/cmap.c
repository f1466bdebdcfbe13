/* SPDX-License-Identifier: Apache-2.0
 * What corosync measures of its ring and links, from its maps.
 *
 * Each key costs a round trip, so the keys are asked by name instead of listing them all, and nodes and links that are
 * not there end the search.
 */
#include "cluster/corosync/corosync_private.h"

#include <errno.h>
#include <stdio.h>

#include <corosync/cmap.h>

enum { ROUNDS_PER_NODE_LIST = 15 };

static int error_of(cs_error_t e)
{
	if (e == CS_OK)
		return 0;
	if (e == CS_ERR_NOT_EXIST)
		return -ENOENT;
	return e == CS_ERR_TRY_AGAIN ? -EAGAIN : -ENOTCONN;
}

/* A number of whatever width; what is no number is not there. */
static int get_number(cmap_handle_t map, const char *key, uint64_t *ret)
{
	union {
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
		char text[16];
	} v = { .u64 = 0 };
	size_t n = sizeof(v);
	cmap_value_types_t type = CMAP_VALUETYPE_BINARY;
	int rc = error_of(cmap_get(map, key, &v, &n, &type));

	if (rc != 0)
		return rc;
	switch (type) {
	case CMAP_VALUETYPE_INT8:
	case CMAP_VALUETYPE_UINT8:
		*ret = v.u8;
		return 0;
	case CMAP_VALUETYPE_INT16:
	case CMAP_VALUETYPE_UINT16:
		*ret = v.u16;
		return 0;
	case CMAP_VALUETYPE_INT32:
	case CMAP_VALUETYPE_UINT32:
		*ret = v.u32;
		return 0;
	case CMAP_VALUETYPE_INT64:
	case CMAP_VALUETYPE_UINT64:
		*ret = v.u64;
		return 0;
	default:
		return -ENOENT;
	}
}

static int read_nodes(struct cmap_reader *r)
{
	int rc = 0;

	r->n_nodes = 0;
	for (unsigned i = 0; i < CORE_MEMBERS_MAX && rc == 0; i++) {
		char key[64];
		uint64_t id = 0;

		snprintf(key, sizeof(key), "nodelist.node.%u.nodeid", i);
		rc = get_number(r->icmap, key, &id);
		if (rc == 0)
			r->nodes[r->n_nodes++] = (uint32_t)id;
	}
	return rc == -ENOENT ? 0 : rc;
}

static int link_number(struct cmap_reader *r, const struct corosync_link *l, const char *what, uint64_t *ret)
{
	char key[96];

	*ret = 0;
	snprintf(key, sizeof(key), "stats.knet.node%u.link%u.%s", l->node, l->link, what);
	return get_number(r->stats, key, ret);
}

static int read_link(struct cmap_reader *r, struct corosync_link *l)
{
	uint64_t enabled, connected, latency, mtu, downs;
	int rc = link_number(r, l, "enabled", &enabled);

	if (rc == 0)
		rc = link_number(r, l, "connected", &connected);
	if (rc == 0)
		rc = link_number(r, l, "latency_ave", &latency);
	if (rc == 0)
		rc = link_number(r, l, "mtu", &mtu);
	if (rc == 0)
		rc = link_number(r, l, "down_count", &downs);
	if (rc != 0)
		return rc;
	l->enabled = enabled != 0;
	l->connected = connected != 0;
	l->latency_us = (uint32_t)latency;
	l->mtu = (uint32_t)mtu;
	l->downs = downs;
	return 0;
}

static int read_links(struct cmap_reader *r, uint32_t own, struct corosync_ring *ret)
{
	for (size_t i = 0; i < r->n_nodes; i++) {
		if (r->nodes[i] == own)
			continue;
		for (uint8_t link = 0; link < COROSYNC_LINKS_MAX && ret->n_links < COROSYNC_LINK_ROWS_MAX; link++) {
			struct corosync_link *l = &ret->links[ret->n_links];

			*l = (struct corosync_link) { .node = r->nodes[i], .link = link };
			int rc = read_link(r, l);
			if (rc == -ENOENT)
				continue; /* links need not be numbered without holes */
			if (rc != 0)
				return rc;
			if (l->enabled)
				ret->n_links++;
		}
	}
	return 0;
}

static int read_totem(struct cmap_reader *r, struct corosync_ring *ret)
{
	uint64_t nic = 0;
	const struct {
		const char *key;
		uint64_t *value;
	} wanted[] = { { "stats.srp.mtt_rx_token", &ret->token_us },
		       { "stats.srp.mcast_retx", &ret->retransmits },
		       { "stats.srp.continuous_gather", &ret->continuous_gather },
		       { "stats.srp.firewall_enabled_or_nic_failure", &nic } };

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		int rc = get_number(r->stats, wanted[i].key, wanted[i].value);
		if (rc != 0 && rc != -ENOENT)
			return rc;
	}
	ret->token_us *= 1000; /* corosync has milliseconds */
	ret->nic_failure = nic != 0;
	return 0;
}

static int open_maps(struct cmap_reader *r)
{
	int rc = error_of(cmap_initialize_map(&r->stats, CMAP_MAP_STATS));

	if (rc != 0)
		return rc;
	rc = error_of(cmap_initialize_map(&r->icmap, CMAP_MAP_ICMAP));
	if (rc != 0) {
		(void)cmap_finalize(r->stats);
		return rc;
	}
	r->open = true;
	r->rounds = 0;
	return 0;
}

/* The nodes change with the file. */
static int read_file(struct cmap_reader *r, struct corosync_ring *ret)
{
	int rc = get_number(r->icmap, "totem.config_version", &ret->generation);

	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (r->rounds == 0 || r->generation != ret->generation) {
		rc = read_nodes(r);
		r->rounds = ROUNDS_PER_NODE_LIST;
		r->generation = ret->generation;
	}
	r->rounds--;
	return rc == -ENOENT ? 0 : rc;
}

int cmap_reader_read(struct cmap_reader *r, uint32_t own, struct corosync_ring *ret)
{
	int rc = 0;

	*ret = (struct corosync_ring) { .n_links = 0 };
	if (!r->open)
		rc = open_maps(r);
	if (!r->open)
		return rc;
	rc = read_file(r, ret);
	if (rc == 0)
		rc = read_totem(r, ret);
	if (rc == 0)
		rc = read_links(r, own, ret);
	if (rc == -ENOTCONN)
		cmap_reader_close(r);
	return rc;
}

void cmap_reader_close(struct cmap_reader *r)
{
	if (r->open) {
		(void)cmap_finalize(r->stats);
		(void)cmap_finalize(r->icmap);
	}
	*r = (struct cmap_reader) { .open = false };
}
