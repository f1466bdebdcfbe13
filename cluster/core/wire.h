/* SPDX-License-Identifier: Apache-2.0
 * Messages between nodes as bytes. Private to core.
 */
#ifndef POSTROAD_CLUSTER_CORE_WIRE_H
#define POSTROAD_CLUSTER_CORE_WIRE_H

#include "cluster/core/core.h"

enum wire_kind {
	WIRE_STATE = 1, /* what a node has on stable storage; to all at each view and when it can or cannot write */
	WIRE_START,     /* the best of the view asks for promises; epoch 0: there is no quorum */
	WIRE_PROMISED,  /* the promise is durable */
	WIRE_ACK,       /* entries up to a position, and the epoch, are durable */
	WIRE_SOFT,      /* soft state, and a sign of life that makes a lost message seen */
	WIRE_SUFFIX,    /* the entries that some member lacks */
	WIRE_PROPOSE,   /* a write, to be ordered by the donor */
	WIRE_ORDER,     /* the donor gives a proposal its place */
	WIRE_ANSWER,    /* the donor refuses a proposal */
	WIRE_KIND_COUNT
};
/* Kinds from here on share one lane: in order among themselves, possibly in fragments. */
#define WIRE_FIRST_BULK WIRE_SUFFIX

enum { WIRE_HEAD_LEN = 40, WIRE_PART_MAX = CORE_MESSAGE_MAX - WIRE_HEAD_LEN };
enum { WIRE_FIRST = 1, WIRE_LAST = 2 };

struct wire_head {
	enum wire_kind kind;
	unsigned flags; /* WIRE_FIRST, WIRE_LAST */
	struct core_view_id view;
	uint32_t sender;
	uint64_t epoch;
	uint32_t sequence; /* of this sender in this view: 1, 2, 3 … */
	uint32_t total;    /* bytes of the whole body, of which this part may be a piece */
};

/* Replaces *out. part is at most WIRE_PART_MAX bytes. */
void wire_frame(struct sbuf *out, const struct wire_head *h, struct str part);
/* False: not a frame of this version, or its checksum is wrong. *ret_part points into in. */
bool wire_unframe(struct str in, struct wire_head *ret, struct str *ret_part) MUST_CHECK;
/* Whether the frame is of another version than this one: it cannot be read, and need not be. */
bool wire_other_version(struct str in);
/* The largest body of a kind. */
uint32_t wire_body_max(enum wire_kind kind);

/* What one member knows that another has reported as durable. */
struct wire_witness {
	uint32_t id;
	uint64_t instance, promised, adopted, last;
};
enum { WIRE_WITNESS_LEN = 36 };
void wire_put_witness(struct sbuf *out, const struct wire_witness *w);
struct wire_witness wire_get_witness(const uint8_t *p);

enum { WIRE_ABLE = 1, WIRE_TRUSTED = 2, WIRE_VOTER = 4 };

struct wire_state {
	uint64_t cluster, instance;
	uint16_t features_low, features_high;
	uint8_t flags;
	uint64_t promised, adopted, last, committed;
	uint8_t hash[ENTRY_HASH_LEN]; /* of last */
	size_t n_witness;
	struct wire_witness witness[CORE_MEMBERS_MAX];
};
void wire_state_encode(const struct wire_state *s, struct sbuf *out);
bool wire_state_decode(struct str in, struct wire_state *ret) MUST_CHECK;

struct wire_ack {
	uint64_t position;
	uint8_t hash[ENTRY_HASH_LEN];
};
/* WIRE_PROMISED: to whom. Two may ask for one epoch; a promise is to one of them. */
void wire_promise_encode(uint32_t donor, struct sbuf *out);
bool wire_promise_decode(struct str in, uint32_t *ret) MUST_CHECK;

void wire_ack_encode(const struct wire_ack *a, struct sbuf *out);
bool wire_ack_decode(struct str in, struct wire_ack *ret) MUST_CHECK;

/* What the donor says of a proposal: its place, or why it has none. */
struct wire_order {
	uint32_t proposer;
	uint64_t ticket, position;
	enum core_result result;      /* WIRE_ANSWER */
	uint64_t revision;            /* WIRE_ORDER */
	uint8_t hash[ENTRY_HASH_LEN]; /* WIRE_ORDER: of the entry made of it */
};
void wire_order_encode(const struct wire_order *o, struct sbuf *out);
bool wire_order_decode(struct str in, struct wire_order *ret) MUST_CHECK;

struct wire_suffix {
	bool whole;
	uint64_t after;               /* the entry before the first; 0 where whole */
	uint8_t hash[ENTRY_HASH_LEN]; /* of that entry */
	uint64_t last, committed;
	uint32_t n;                  /* entries */
	struct str entries, answers; /* as in struct core_write */
};
void wire_suffix_encode(const struct wire_suffix *s, struct sbuf *out);
/* Checks lengths, not the entries. */
bool wire_suffix_decode(struct str in, struct wire_suffix *ret) MUST_CHECK;
/* Takes the next entry off *entries; false at the end and where it is malformed (then *entries is not empty). */
bool wire_next_entry(struct str *entries, struct str *ret_bytes, struct entry *ret) MUST_CHECK;

/* CRC32C (Castagnoli, RFC 3720 B.4). */
uint32_t wire_crc(uint32_t crc, const void *bytes, size_t n);

#endif
