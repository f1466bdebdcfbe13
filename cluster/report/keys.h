/* SPDX-License-Identifier: Apache-2.0
 * The keys of session tickets as a set that all nodes come to hold alike. Pure.
 *
 * What a key is made of is not known here; it is TICKET_KEY_LEN secret bytes. Everything that held keys is wiped with
 * ticket_keys_wipe().
 */
#ifndef POSTROAD_CLUSTER_REPORT_KEYS_H
#define POSTROAD_CLUSTER_REPORT_KEYS_H

#include "daemon/base/str.h"

enum { TICKET_KEYS_MAX = 4, TICKET_KEYS_SENT = 2, TICKET_KEY_LEN = 80 };
/* Nobody gets there by rotating; a report with a greater one is broken. */
#define TICKET_SERIAL_MAX ((uint64_t)UINT32_MAX)

struct ticket_key_entry {
	uint64_t serial; /* 1 for a node's first, then one above all it knew */
	uint32_t maker;  /* the node that made it */
	uint32_t age_s;  /* as of since_ms */
	int64_t since_ms;
	uint8_t bytes[TICKET_KEY_LEN];
};

struct ticket_keys {
	size_t n; /* newest first; the first seals */
	struct ticket_key_entry list[TICKET_KEYS_MAX];
};

void ticket_keys_wipe(struct ticket_keys *k);
/* A key this node made just now: the newest from here on. */
void ticket_keys_made(struct ticket_keys *k, uint32_t maker, const uint8_t bytes[TICKET_KEY_LEN], int64_t now_ms);
/* Takes over what is newer than the oldest of a full set; true = something changed. What is in both keeps the greater
 * age. */
bool ticket_keys_merge(struct ticket_keys *k, const struct ticket_keys *heard, int64_t now_ms);
/* The newest TICKET_KEYS_SENT with their age now, for a report. */
void ticket_keys_send(const struct ticket_keys *k, struct ticket_keys *ret, int64_t now_ms);
/* Whether this node is to make a new key now: the newest is `period_s` old and it is the one who makes keys (`maker`),
 * or nobody did though it is half as old again; or there is none. */
bool ticket_keys_due(const struct ticket_keys *k, bool maker, uint32_t period_s, int64_t now_ms);

#endif
