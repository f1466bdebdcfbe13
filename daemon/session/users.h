/* SPDX-License-Identifier: Apache-2.0
 * The users of a configuration, as sessions look them up. Immutable; belongs to the configuration.
 */
#ifndef POSTROAD_SESSION_USERS_H
#define POSTROAD_SESSION_USERS_H

#include "daemon/base/scram_verifier.h"
#include "daemon/session/user_config.h"

struct users;

/* The configs must outlive it. */
struct users *users_new(const struct user_config *v, size_t n);
void users_free(struct users *u);

bool users_are_any(const struct users *u);
/* The user of that name if he may log in from there; NULL = no, and an outsider must not learn which. */
const struct user_config *users_find(const struct users *u, const char *name, const struct addr *client);
/* Whether who logged in from there under `was` could do so under `is`: he is in both, with the same password. */
bool users_agree(const struct users *was, const struct users *is, const char *name, const struct addr *client);
/* Every user has a verifier for SCRAM (a password hash): only then may a mechanism be announced that needs one. False
 * where there are no users. */
bool users_have_scram(const struct users *u);
bool users_have_passwords(const struct users *u);
/* A hash that somebody has, whose cost an unknown user is to have too; NULL = nobody has one. */
const char *users_any_hash(const struct users *u);
/* What unknown users' salts are made of (sasl_setup). No user knows it, not even by what his own logins show him, as
 * long as somebody has a password hash. */
struct str users_unknown_key(const struct users *u);
/* What somebody of that name would be asked for by SCRAM if he existed: as one of the users is, which one depends on
 * the name alone, so that the mixture is theirs. For sasl_look_like(). */
void users_look(const struct users *u, const char *name, unsigned *ret_iterations, size_t *ret_salt_len);

#endif
