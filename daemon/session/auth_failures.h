/* SPDX-License-Identifier: Apache-2.0
 * Logins that failed a moment ago, counted per client prefix and per user, and how long the next one waits for them.
 *
 * The count of either decays by half every AUTH_FAILURES_HALF_LIFE_MS. Each failure is answered after a delay that
 * doubles with the count, from AUTH_FAILURES_FIRST_MS to AUTH_FAILURES_MAX_MS. Attempts of a client that failed wait
 * too, so that many connections gain it nothing; attempts upon a user wait only once they have failed, so that
 * strangers cannot lock him out. Nobody is slept for: the caller sets a timer.
 */
#ifndef POSTROAD_SESSION_AUTH_FAILURES_H
#define POSTROAD_SESSION_AUTH_FAILURES_H

#include "daemon/session/snapshot.h"

#define AUTH_FAILURES_FIRST_MS 500
#define AUTH_FAILURES_MAX_MS 16000
#define AUTH_FAILURES_HALF_LIFE_MS 60000
#define AUTH_FAILURES_FREE 2 /* failures of a client that do not hold up its next attempt: people mistype */

struct auth_failures;

/* The table is of fixed size from the start: about n entries, at least 64. Where it is full, those that count least
 * give way. */
struct auth_failures *auth_failures_new(size_t n);
void auth_failures_free(struct auth_failures *f);

/* Who tries. user "" = not known (malformed before it was named). Counted by the prefix of the client that caps name.
 */
struct auth_attempt {
	const struct addr *client;
	const struct listener_caps *caps;
	const char *user;
	int64_t since_ms; /* of auth_failures_add(): when the client said its last word; 0 = now */
};

/* Milliseconds an attempt has to wait before it is looked at; 0 = none. Thread-safe, as all here; now_ms is monotonic.
 */
int64_t auth_failures_wait(struct auth_failures *f, const struct auth_attempt *a, int64_t now_ms);
/* One failed. Returns how long to hold back the answer, in milliseconds: the delay counts from the client's last word,
 * and a check that took longer is drawn out to a multiple of AUTH_FAILURES_FIRST_MS, so that what it cost, which
 * differs by user, does not show. */
int64_t auth_failures_add(struct auth_failures *f, const struct auth_attempt *a, int64_t now_ms);
/* One succeeded: the user's failures are forgotten. The client's are not, or one good account would buy any number of
 * guesses. */
void auth_failures_forget_user(struct auth_failures *f, const char *user);

#endif
