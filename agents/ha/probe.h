/* SPDX-License-Identifier: Apache-2.0
 * Asking the network whether somebody has an address, before it is taken: ARP as in RFC 5227 section 2.1.1, and
 * neighbour solicitation as in RFC 4862 section 5.4.2. Neither question says who asks, so no cache learns anything
 * wrong by it.
 */
#ifndef POSTROAD_AGENTS_HA_PROBE_H
#define POSTROAD_AGENTS_HA_PROBE_H

#include "agents/ha/turn.h"
#include "cluster/vip/ha_protocol.h"

enum { PROBE_MAX = 4, PROBE_REPEATS = 3, PROBE_INTERVAL_MS = 250, PROBE_FRAME_MAX = 96 };

struct probe {
	bool used;
	uint32_t ticket;
	struct ha_vip vip;
	int interface;
	uint8_t own[6];
	int arp, nd; /* sockets; -1 = not needed */
	unsigned sent;
	int64_t next_at;
	bool seen;
	uint8_t mac[6];
};

struct probes {
	struct probe list[PROBE_MAX];
	void (*done)(const struct probe *p, void *arg);
	void *arg;
};

void probes_init(struct probes *p, void (*done)(const struct probe *p, void *arg), void *arg);
/* p->done() follows within a second. NULL, or a sentence (static): why it cannot be asked. */
const char *probes_start(struct probes *p, uint32_t ticket, const struct ha_vip *vip) MUST_CHECK;
void probes_turn(struct probes *p, struct turn *turn);
void probes_tick(struct probes *p, int64_t now_ms);
void probes_close(struct probes *p);

/* Frames and what answers them; exported for the tests. The question for an address into out[PROBE_FRAME_MAX]; its
 * length. */
size_t probe_question(const struct addr *ip, const uint8_t own[6], uint8_t *out);
/* Whether a frame says that its sender, another than `own`, has the address. */
bool probe_is_answer(struct str frame, const struct addr *ip, const uint8_t own[6], uint8_t ret_mac[6]);

#endif
