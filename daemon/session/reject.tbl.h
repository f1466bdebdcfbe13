/* SPDX-License-Identifier: Apache-2.0
 * What the balancer itself refuses: REJECT(ID, label of rejected_total).
 */
REJECT(SYNTAX, "syntax")
REJECT(SEQUENCE, "sequence")
REJECT(UNKNOWN, "unknown_command")
REJECT(BARE_LF, "bare_lf")
REJECT(LINE_TOO_LONG, "line_too_long")
REJECT(SIZE, "size")
REJECT(RECIPIENTS, "recipients")
REJECT(ROUTE, "route")
REJECT(MIXED, "mixed_recipients")
REJECT(RELAY, "relay_denied")
REJECT(NO_SERVER, "no_server")
REJECT(LINE_ENDINGS, "line_endings")
REJECT(PARAMETER, "parameter")
REJECT(EARLY_TALKER, "early_talker")
REJECT(TRANSACTION_RATE, "transaction_rate")
