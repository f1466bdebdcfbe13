/* SPDX-License-Identifier: Apache-2.0
 * What became of a connection at accept: ACCEPT(ID, label of connections_total).
 */
ACCEPT(ACCEPTED, "accepted")
ACCEPT(DENIED, "denied")
ACCEPT(FULL, "full")
ACCEPT(CLIENT_FULL, "client_full")
ACCEPT(CLIENT_RATE, "client_rate")
ACCEPT(DRAINING, "draining")
ACCEPT(NO_PROXY, "no_proxy_header")
