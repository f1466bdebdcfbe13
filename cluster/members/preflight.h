/* SPDX-License-Identifier: Apache-2.0
 * What is looked at before a machine becomes a node, and what is said about it: each finding names what was found and
 * what to do.
 *
 * The judgement is pure: facts in, sentences out. preflight_look() reads the facts of this machine; those about a peer
 * come from the caller who asked it, those about VRRP from the privileged agent, which may listen.
 */
#ifndef POSTROAD_CLUSTER_MEMBERS_PREFLIGHT_H
#define POSTROAD_CLUSTER_MEMBERS_PREFLIGHT_H

#include "daemon/base/addr.h"
#include "daemon/base/str.h"

enum {
	PREFLIGHT_LINKS_MAX = 2,
	PREFLIGHT_VRIDS_MAX = 64,
	PREFLIGHT_FINDINGS_MAX = 100,
	PREFLIGHT_TEXT_MAX = 400,
	PREFLIGHT_SKEW_WARN_SEC = 2,  /* logs of two nodes stop being comparable */
	PREFLIGHT_SKEW_MAX_SEC = 300, /* certificates and log time stop making sense */
	PREFLIGHT_MTU_MIN = 1280,     /* RFC 8200 5 */
	PREFLIGHT_SHM_MIN_MIB = 32, /* corosync's clients share memory with it, 10 MiB for a node's three connections */
};

enum preflight_reach { PREFLIGHT_UNKNOWN, PREFLIGHT_YES, PREFLIGHT_NO };

struct preflight_link {
	struct addr addr; /* without port */
	bool here;        /* an address of this machine; the rest is known then */
	char interface[16];
	unsigned mtu;                      /* 0 = not known */
	unsigned peer_mtu;                 /* 0 = not known */
	struct addr peer;                  /* family 0 = none */
	enum preflight_reach peer_reached; /* by UDP: a refusal says no, silence says nothing */
};

/* Zero = not so, or not known. */
struct preflight_facts {
	/* this machine */
	unsigned corosync_pid, keepalived_pid; /* of running ones, which are not ours */
	bool corosync_conf,
		corosync_enabled;  /* /etc/corosync/corosync.conf; corosync.service starts with the machine */
	char corosync_cluster[64]; /* its cluster_name */
	unsigned port;             /* of link 0; link 1 has the next */
	bool port_used[PREFLIGHT_LINKS_MAX];
	char addresses[256]; /* that this machine has, for people */
	unsigned shm_mib;    /* free in /dev/shm; UINT_MAX = not known */
	size_t n_links;
	struct preflight_link links[PREFLIGHT_LINKS_MAX];
	/* against a member, when joining */
	bool has_peer;
	char peer_name[64], version[32], peer_version[32];
	double clock_ahead;                          /* seconds that this clock is ahead of the peer's */
	unsigned features_low, features_high, level; /* this version's, and the cluster's in force */
	/* VRRP heard on the wire from routers that are not ours, and the ids that ours will use */
	size_t n_heard, n_wanted;
	struct {
		uint8_t vrid;
		struct addr from;
	} heard[PREFLIGHT_VRIDS_MAX];
	uint8_t wanted[PREFLIGHT_VRIDS_MAX];
};

enum preflight_severity { PREFLIGHT_WARNING, PREFLIGHT_ERROR };
struct preflight_finding {
	enum preflight_severity severity;
	const char *id; /* for programs; static: "corosync-running", "port-used" … */
	char text[PREFLIGHT_TEXT_MAX];
};

/* How many findings; errors first. */
size_t preflight_judge(const struct preflight_facts *f, struct preflight_finding ret[PREFLIGHT_FINDINGS_MAX]);

/* Reads what this machine says of itself; reads only. root: "" or, for tests, a folder that stands for /. links: n
 * addresses; port: corosync's. Addresses and interfaces are the machine's own whatever root is. */
void preflight_look(const char *root, const struct addr *links, size_t n, unsigned port, struct preflight_facts *ret);

#endif
