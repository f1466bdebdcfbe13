/* SPDX-License-Identifier: Apache-2.0
 * A word by which a balancer recognises itself at the other end of a connection it made (RFC 5321 6.3: "MUST contain
 * provisions for detecting and stopping trivial loops").
 *
 * Behind a VIP or address translation a server's address does not tell that it is our own listener. So each greeting of
 * a listener carries a token, and each connection to a server looks for one in the greeting it gets; with PROXY version
 * 2 the token travels the other way as well (PROXY_TLV_TOKEN), where the listener that takes the connection looks for
 * it.
 *
 * A token is "pr1." and 32 hexadecimal digits: a nonce and a MAC of it. Who has no key can neither make one nor tell
 * whose it is, nor that two are of the same maker. Who repeats one that he saw is taken for us by us, and not spoken
 * to: that harms nobody else, so a token need not expire.
 */
#ifndef POSTROAD_SMTP_LOOPTOKEN_H
#define POSTROAD_SMTP_LOOPTOKEN_H

#include "daemon/base/str.h"

#define LOOPTOKEN_LEN 36

/* Secret. The same on all nodes that are to recognise each other: from looptoken_key(), or 32 random bytes where a
 * process stands alone. Wipe it with OPENSSL_cleanse() in the end. */
struct looptoken_key {
	unsigned char bytes[32];
};

/* A key made from a secret that has other uses too, which the key does not tell. */
void looptoken_key(const void *secret, size_t n, struct looptoken_key *ret);
/* Writes a token with its NUL. nonce: another one for each connection, or strangers see that they met the same maker;
 * the session's number will do, as the token hides it no more than a session id does. */
void looptoken_make(const struct looptoken_key *key, uint64_t nonce, char out[LOOPTOKEN_LEN + 1]);
/* Is a token of this key anywhere in the text (a whole greeting, a TLV)? */
bool looptoken_find(const struct looptoken_key *key, struct str text);

#endif
