/* SPDX-License-Identifier: Apache-2.0
 * All failure policy: what a broken connection means for its server, for the client, and whether another server may be
 * tried.
 *
 * Sources: RFC 5321 4.2.4.2, 4.5.3.2.6 and 6.1, RFC 1047 (the final dot). Retryable trouble is 4xx with a code of our
 * own; 5xx never comes from here.
 */
#include "daemon/session/txn.h"

static const struct failure policies[BACK_TROUBLE_COUNT] = {
	[BACK_REFUSED] = { SERVER_SAW_FAULT, true, 451, "4.4.1", "no server could be reached, try again",
			   CAUSE_NO_SERVER },
	[BACK_EOF] = { SERVER_SAW_FAULT, true, 451, "4.4.2", "connection to the server was lost, try again",
		       CAUSE_BACKEND_LOST },
	[BACK_TIMED_OUT] = { SERVER_SAW_FAULT, true, 451, "4.4.2", "the server took too long, try again",
			     CAUSE_TIMEOUT },
	[BACK_MALFORMED] = { SERVER_SAW_FAULT, true, 451, "4.3.0", "the server made no sense, try again",
			     CAUSE_BACKEND_LOST },
	[BACK_SAID_NO] = { SERVER_SAW_BUSY, true, 451, "4.3.0", "the server is in trouble, try again", CAUSE_BACKEND },
	[BACK_TLS_FAILED] = { SERVER_SAW_FAULT, true, 451, "4.7.5", "no secure connection to the server, try again",
			      CAUSE_NO_SERVER },
	[BACK_AUTH_FAILED] = { SERVER_SAW_FAULT, true, 451, "4.3.5", "the server does not let us in, try again",
			       CAUSE_NO_SERVER },
	[BACK_INCAPABLE] = { SERVER_SAW_SUCCESS, false, 451, "4.3.0", "no server can take this message now, try again",
			     CAUSE_NO_SERVER },
	[BACK_LOOP] = { SERVER_SAW_FAULT, true, 451, "4.4.6", "the server's address leads back to here",
			CAUSE_NO_SERVER },
	[BACK_VERDICT] = { SERVER_SAW_SUCCESS, false, 451, "4.7.0", "the server refused you, try again",
			   CAUSE_BACKEND },
	[BACK_NO_XCLIENT] = { SERVER_SAW_SUCCESS, false, 451, "4.7.0",
			      "the server cannot be told who you are, try again", CAUSE_NO_SERVER },
};

void fail_policy(enum reply_stage stage, enum back_trouble why, const struct smtp_reply *r, struct failure *ret)
{
	*ret = policies[why];
	/* A server that turns every client away at its banner or EHLO is broken for us, not busy, unless it says 4xx.
	 */
	if (why == BACK_SAID_NO && r != NULL && smtp_reply_is(r, 5) && stage <= STAGE_EHLO)
		ret->blame = SERVER_SAW_FAULT;
}

bool txn_may_retry(const struct txn *t, bool dot_left)
{
	if (dot_left || t->client_gone)
		return false;
	/* `sent` counts content given to the connection that broke, also what waited there for a chunk worth sending:
	 * before the first byte nothing is at risk. */
	return t->sent == 0 || t->replay_whole;
}
