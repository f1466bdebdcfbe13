/* SPDX-License-Identifier: Apache-2.0
 * What the files of the engine share.
 */
#ifndef POSTROAD_SESSION_ENGINE_PRIVATE_H
#define POSTROAD_SESSION_ENGINE_PRIVATE_H

#include "daemon/session/worker.h"

#define ENGINE_MAGIC 0x454e4749u

/* One bound address: a socket in every worker. */
struct bind {
	struct addr at;
	struct listener_runtime *run; /* of the listener that has it now */
	struct worker_socket **sockets;
};

struct engine {
	uint32_t magic;
	struct loop *control;
	char *node;
	unsigned n_workers;
	struct worker *workers;
	struct snapshot *snapshot;
	struct map *runtimes; /* listener name to struct listener_runtime; never shrinks: names are few */
	struct bind *binds;
	size_t n_binds;
	size_t missing; /* addresses of the snapshot in force that cannot be listened at */
	bool listening, draining, stopping;
	int64_t grace_ms;
	uint64_t replay_cap;
	_Atomic uint64_t replay_used;
	struct hashing *hashing; /* from the first configuration with users on */
	struct auth_failures *auth_failures;
	/* stopping */
	struct timer grace;
	struct timer retry;
	loop_fn *done;
	void *done_arg;
	/* traces: control thread */
	struct list traces;
};

/* Runs fn on the worker's loop with an argument of its own; the worker is arg->w. Frees arg afterwards. */
struct worker_call {
	struct worker *w;
	void (*fn)(struct worker *w, void *arg);
	void *arg;
};
void engine_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg);

#endif
