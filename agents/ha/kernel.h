/* SPDX-License-Identifier: Apache-2.0
 * The kernel's list of addresses: the truth about who holds a VIP; and the lease that each VIP's address has there.
 *
 * An address with a lease is removed by the kernel itself when nobody renews it, so none stays behind, whatever dies.
 */
#ifndef POSTROAD_AGENTS_HA_KERNEL_H
#define POSTROAD_AGENTS_HA_KERNEL_H

#include "daemon/base/addr.h"

enum { KERNEL_LEASE_S = 3, KERNEL_ADDRESSES_MAX = 4096 };

struct kernel_address {
	int interface; /* its index */
	struct addr ip;
	uint8_t bits;
	uint32_t flags; /* IFA_F_* */
	bool leased;    /* it has a lifetime */
};

struct kernel {
	int events, ask; /* netlink sockets */
	bool stale;      /* something changed since the list was read */
	uint32_t sequence;
	size_t n;
	struct kernel_address *list;
};

/* 0 or -errno. */
int kernel_open(struct kernel *k) MUST_CHECK;
void kernel_close(struct kernel *k);
/* Reads what k->events has, and with it sets k->stale. */
void kernel_read_events(struct kernel *k);
/* Reads the list anew. 0 or -errno: the list is then empty and stays stale. */
int kernel_refresh(struct kernel *k) MUST_CHECK;
/* The address on that interface (0 = any), or NULL. Valid until the next refresh. */
const struct kernel_address *kernel_find(const struct kernel *k, int interface, const struct addr *ip);
/* Lets the address live for KERNEL_LEASE_S from now; and the route to its network with it (IPv6), if that is its own
 * and not another address's too. 0 or -errno. */
int kernel_lease(struct kernel *k, const struct kernel_address *a, bool own_route) MUST_CHECK;
int kernel_delete(struct kernel *k, const struct kernel_address *a) MUST_CHECK;

#endif
