/* SPDX-License-Identifier: Apache-2.0
 * Recognising ourselves in the greeting of a server, and in what a client says it passed.
 */
#include "daemon/pool/self.h"

#include <pthread.h>
#include <stdio.h>

#include "daemon/base/hash.h"

static char token[17];

static void make_token(void)
{
	snprintf(token, sizeof(token), "%016llx", (unsigned long long)random_u64());
}

const char *self_token(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_token);
	return token;
}

bool self_greets(struct str greeting)
{
	return memmem(greeting.p, greeting.n, self_token(), sizeof(token) - 1) != NULL;
}

bool self_passed(struct str hops)
{
	return hops.n > 0 && memmem(hops.p, hops.n, self_token(), sizeof(token) - 1) != NULL;
}
