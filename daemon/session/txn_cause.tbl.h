/* SPDX-License-Identifier: Apache-2.0
 * What decided a transaction: CAUSE(ID, label, results that can occur: a accepted, t tempfail, p permfail, n none).
 */
CAUSE(BACKEND, "backend", "atp")
CAUSE(POLICY, "policy", "tp")
CAUSE(NO_SERVER, "no_server", "t")
CAUSE(BACKEND_LOST, "backend_lost", "t")
CAUSE(AMBIGUOUS, "ambiguous", "t")
CAUSE(CLIENT_GONE, "client_gone", "n")
CAUSE(CLIENT_GONE_AFTER_DOT, "client_gone_after_dot", "atp")
CAUSE(SIZE, "size", "tp")
CAUSE(LINE_ENDINGS, "line_endings", "p")
CAUSE(TIMEOUT, "timeout", "tn")
CAUSE(RESET, "reset", "n")
CAUSE(LOOP, "loop", "p")
