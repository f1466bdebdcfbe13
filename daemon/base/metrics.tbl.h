/* SPDX-License-Identifier: Apache-2.0
 * Every metric family: METRIC(ID, name, type, labels, buckets, scale, help). The manual's table is made from it.
 * Durations are stored in microseconds and exposed in seconds.
 */
METRIC(BUILD_INFO, "build_info", METRIC_GAUGE, "version", NONE, 1, "Always 1; the version is in the label.")
METRIC(CONNECTIONS_TOTAL, "connections_total", METRIC_COUNTER, "listener,result", NONE, 1,
       "Client connections by what became of them at accept.")
METRIC(CONNECTIONS, "connections", METRIC_GAUGE, "listener", NONE, 1, "Client connections open now.")
METRIC(CONNECTIONS_LIMIT, "connections_limit", METRIC_GAUGE, "listener", NONE, 1, "The cap on client connections.")
METRIC(TLS_HANDSHAKES_TOTAL, "tls_handshakes_total", METRIC_COUNTER, "side,version,result", NONE, 1,
       "TLS handshakes with clients, with servers for mail, and for checks of them; the version of one that failed is `none`.")
METRIC(AUTH_ATTEMPTS_TOTAL, "auth_attempts_total", METRIC_COUNTER, "mechanism,result", NONE, 1,
       "Attempts of clients to log in; `busy`: passwords could not be checked in time, or no server could say.")
METRIC(TRANSACTIONS_TOTAL, "transactions_total", METRIC_COUNTER, "listener,pool,result,cause", NONE, 1,
       "Mail transactions by outcome and by what decided it.")
METRIC(RECIPIENTS_TOTAL, "recipients_total", METRIC_COUNTER, "pool,provider,result", NONE, 1,
       "Recipients by the answer they got.")
METRIC(REPLIES_TOTAL, "replies_total", METRIC_COUNTER, "pool,server,stage,class", NONE, 1,
       "Replies of servers by stage and first digit.")
METRIC(BYTES_TOTAL, "bytes_total", METRIC_COUNTER, "side,direction", NONE, 1, "Bytes on client and server connections.")
METRIC(RETRIES_TOTAL, "retries_total", METRIC_COUNTER, "pool,stage,result", NONE, 1,
       "Transactions moved to another server, by the stage at which the first one failed.")
METRIC(REPLY_SECONDS, "reply_seconds", METRIC_HISTOGRAM, "pool,stage", SECONDS, 1e-6, "Time a server took to reply.")
METRIC(MESSAGE_BYTES, "message_bytes", METRIC_HISTOGRAM, "", BYTES, 1, "Size of messages accepted by a server.")
METRIC(SERVER_UP, "server_up", METRIC_GAUGE, "pool,server", NONE, 1, "1 while a server may be chosen.")
METRIC(SERVER_STATE, "server_state", METRIC_GAUGE, "pool,server,state", NONE, 1, "1 for the state a server is in.")
METRIC(SERVER_TRANSACTIONS, "server_transactions", METRIC_GAUGE, "pool,server", NONE, 1, "Transactions open now.")
METRIC(SERVER_CONNECTIONS, "server_connections", METRIC_GAUGE, "pool,server", NONE, 1, "Connections open now.")
METRIC(SERVER_IDLE_CONNECTIONS, "server_idle_connections", METRIC_GAUGE, "pool,server", NONE, 1,
       "Connections kept for reuse.")
METRIC(SERVER_MAX_CONNECTIONS, "server_max_connections", METRIC_GAUGE, "pool,server", NONE, 1,
       "The cap on connections of this node.")
METRIC(SERVER_WEIGHT, "server_weight", METRIC_GAUGE, "pool,server", NONE, 1, "The weight in force.")
METRIC(POOL_QUEUE, "pool_queue", METRIC_GAUGE, "pool", NONE, 1, "Transactions waiting for a free connection.")
METRIC(SERVER_CHECK_SECONDS, "server_check_seconds", METRIC_GAUGE, "pool,server", NONE, 1e-6,
       "Duration of the last health check.")
METRIC(SERVER_TRANSITIONS_TOTAL, "server_transitions_total", METRIC_COUNTER, "pool,server,to", NONE, 1,
       "Changes of a server's state.")
METRIC(REJECTED_TOTAL, "rejected_total", METRIC_COUNTER, "listener,reason", NONE, 1,
       "Connections and commands refused by the balancer itself.")
METRIC(CERTIFICATE_EXPIRY, "certificate_expiry_timestamp_seconds", METRIC_GAUGE, "certificate", NONE, 1,
       "When a certificate ceases to be valid, in seconds since 1970.")
METRIC(CLUSTER_CONFIG_REVISION, "cluster_config_revision", METRIC_GAUGE, "", NONE, 1,
       "Revision of the configuration in force.")
METRIC(CLUSTER_QUORATE, "cluster_quorate", METRIC_GAUGE, "", NONE, 1, "1 while writes are possible.")
METRIC(CLUSTER_COMMIT_SECONDS, "cluster_commit_seconds", METRIC_HISTOGRAM, "", SECONDS, 1e-6,
       "Time from a write to its being durable.")
METRIC(CLUSTER_NODES, "cluster_nodes", METRIC_GAUGE, "state", NONE, 1,
       "Nodes by state: what they say of themselves, `stale` 3 s and `gone` 10 s after they last did.")
METRIC(VIP_OWNER, "vip_owner", METRIC_GAUGE, "vip", NONE, 1,
       "1 on the node that has a virtual address: a sum over all nodes above 1 is an alarm.")
METRIC(VIP_TRANSITIONS_TOTAL, "vip_transitions_total", METRIC_COUNTER, "vip,to", NONE, 1,
       "Changes of a virtual address's state on this node: master, backup, fault.")
METRIC(RESOLVER_FAILURES_TOTAL, "resolver_failures_total", METRIC_COUNTER, "", NONE, 1, "Failed name look-ups.")
METRIC(WORKER_LAG_SECONDS, "worker_lag_seconds", METRIC_GAUGE, "worker", NONE, 1e-6,
       "How late a worker's loop turns, at its last tick.")
METRIC(LOG_LINES_DROPPED_TOTAL, "log_lines_dropped_total", METRIC_COUNTER, "", NONE, 1,
       "Lines of the log that nobody read in time: above 0, what takes the log stands still or is too slow.")
