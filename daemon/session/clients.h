/* SPDX-License-Identifier: Apache-2.0
 * Clients of one listener: connections now, connection rate and transaction rate, per address prefix. Sharded and
 * locked, touched at accept and close, and at MAIL where transactions are limited. Besides one atomic number each, of
 * the servers' slots that it uses.
 */
#ifndef POSTROAD_SESSION_CLIENTS_H
#define POSTROAD_SESSION_CLIENTS_H

#include "daemon/session/snapshot.h"

struct clients;
struct client;

enum client_verdict { CLIENT_OK, CLIENT_TOO_MANY, CLIENT_TOO_FAST };

struct clients *clients_new(void);
void clients_free(struct clients *c);
/* Counts one connection of the client's prefix. OK: *ret_client is to be given back by clients_leave(). */
enum client_verdict clients_enter(struct clients *c, const struct addr *a, const struct listener_caps *caps,
				  int64_t now_ms, struct client **ret_client) MUST_CHECK;
/* One more transaction of the client; false = too many (caps->transactions). */
bool clients_transaction(struct clients *c, struct client *cl, const struct listener_caps *caps,
			 int64_t now_ms) MUST_CHECK;
/* What the client has of servers, kept by its transactions. Valid while a connection of the client is counted. */
pool_load *clients_load(struct client *cl);
void clients_leave(struct clients *c, struct client *cl, int64_t now_ms);

#endif
