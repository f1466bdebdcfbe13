/* SPDX-License-Identifier: Apache-2.0
 * Every resource: RESOURCE(method, pattern, role, handler, query, body, summary). Routing, 405 and Allow, roles, the query keys
 * accepted, the media types of bodies and the OpenAPI document come from this table. ROLE_NONE = open to everybody.
 */
RESOURCE(GET, "/", ROLE_NONE, res_root_page, "", "", "A page for people who find this with a browser")
RESOURCE(GET, "/healthz", ROLE_NONE, res_root_healthz, "", "", "The process answers")
RESOURCE(GET, "/readyz", ROLE_NONE, res_root_readyz, "", "", "This node should receive mail; why not, otherwise")
RESOURCE(GET, "/metrics", ROLE_VIEWER, res_root_metrics, "", "", "Prometheus text or OpenMetrics")
RESOURCE(GET, "/api/v1/openapi.json", ROLE_VIEWER, res_root_openapi, "", "", "This description")

RESOURCE(GET, "/api/v1/config", ROLE_VIEWER, res_config_get, "effective,with_secrets", "", "The configuration")
RESOURCE(PUT, "/api/v1/config", ROLE_ADMIN, res_config_put, "dry_run", JSON_TYPE, "Replace the configuration")
RESOURCE(PATCH, "/api/v1/config", ROLE_ADMIN, res_config_patch, "dry_run", PATCH_TYPES,
	 "Change the configuration by a JSON merge patch (RFC 7396)")
RESOURCE(GET, "/api/v1/config/revisions", ROLE_VIEWER, res_config_revisions, "", "", "The revisions kept, newest first")
RESOURCE(GET, "/api/v1/config/revisions/{revision}", ROLE_VIEWER, res_config_revision, "with_secrets", "", "One revision")
RESOURCE(POST, "/api/v1/config/rollback", ROLE_ADMIN, res_config_rollback, "dry_run", JSON_TYPE,
	 "Make an earlier revision the configuration again")
RESOURCE(GET, "/api/v1/config/{section}/{name}", ROLE_VIEWER, res_object_get, "effective,with_secrets", "",
	 "One object of the configuration")
RESOURCE(PUT, "/api/v1/config/{section}/{name}", ROLE_ADMIN, res_object_put, "dry_run,before", JSON_TYPE,
	 "Create or replace one object; a route goes before the one named")
RESOURCE(PATCH, "/api/v1/config/{section}/{name}", ROLE_ADMIN, res_object_patch, "dry_run,before", PATCH_TYPES,
	 "Change one object by a JSON merge patch")
RESOURCE(DELETE, "/api/v1/config/{section}/{name}", ROLE_ADMIN, res_object_delete, "dry_run", "", "Remove one object")

RESOURCE(GET, "/api/v1/status", ROLE_VIEWER, res_status_get, "", "", "This node and the cluster")
RESOURCE(GET, "/api/v1/operations/{operation}", ROLE_VIEWER, res_operations_get, "", "",
	 "What became of a write that was answered 202, asked on any node")
RESOURCE(GET, "/api/v1/cluster/backup", ROLE_ADMIN, res_backup_get, "", "",
	 "Configuration with its secrets, run-time state, who is in the cluster: for root on the local socket")
RESOURCE(POST, "/api/v1/cluster/restore", ROLE_ADMIN, res_backup_restore, "dry_run", JSON_TYPE,
	 "What a backup held, on a single and fresh node: for root on the local socket")
RESOURCE(GET, "/api/v1/nodes", ROLE_VIEWER, res_nodes_get, "", "", "The balancers")
RESOURCE(PUT, "/api/v1/nodes/{node}/state", ROLE_OPERATOR, res_nodes_put_state, "scope,force", JSON_TYPE,
	 "Drain a balancer or make it ready")

RESOURCE(GET, "/api/v1/vips", ROLE_VIEWER, res_vips_get, "", "", "The virtual addresses: who has what, since when, why")
RESOURCE(POST, "/api/v1/vips/{vip}/move", ROLE_OPERATOR, res_vips_post_move, "dry_run", JSON_TYPE,
	 "Move a virtual address to another node, with its connections")
RESOURCE(POST, "/api/v1/vips/rebalance", ROLE_OPERATOR, res_vips_post_rebalance, "dry_run", "",
	 "Move all virtual addresses to where they belong: the first node in order that could have each")
RESOURCE(GET, "/api/v1/cluster/members", ROLE_VIEWER, res_cluster_members, "", "",
	 "The table of nodes, who is here, and the change under way")
RESOURCE(POST, "/api/v1/cluster/init", ROLE_ADMIN, res_cluster_init, "", JSON_TYPE,
	 "Make this node the first of a cluster")
RESOURCE(POST, "/api/v1/cluster/tokens", ROLE_ADMIN, res_cluster_token, "", JSON_TYPE,
	 "A token by which one node joins, once")
RESOURCE(GET, "/api/v1/cluster/tokens", ROLE_ADMIN, res_cluster_tokens, "", "",
	 "The tokens that were not used and have not expired, without what they are proved by")
RESOURCE(DELETE, "/api/v1/cluster/tokens/{token}", ROLE_ADMIN, res_cluster_token_revoke, "", "", "Revoke a token")
RESOURCE(POST, "/api/v1/cluster/join", ROLE_ADMIN, res_cluster_join, "", JSON_TYPE,
	 "Make this node a member of an existing cluster")
RESOURCE(POST, "/api/v1/cluster/leave", ROLE_ADMIN, res_cluster_leave, "force", JSON_TYPE,
	 "Take this node out of its cluster; 409 while it has a VIP, without `force`")
RESOURCE(DELETE, "/api/v1/cluster/members/{node}", ROLE_ADMIN, res_cluster_remove, "force", "",
	 "Take a node out that may be absent")
RESOURCE(DELETE, "/api/v1/cluster/change", ROLE_ADMIN, res_cluster_cancel, "", "",
	 "Give up a join or a rotation that is under way")
RESOURCE(POST, "/api/v1/cluster/force-quorum", ROLE_ADMIN, res_cluster_force_quorum, "", JSON_TYPE,
	 "Decide with the nodes that are here, though they are no quorum")
RESOURCE(POST, "/api/v1/cluster/rotate-keys", ROLE_ADMIN, res_cluster_rotate_keys, "", JSON_TYPE,
	 "A new key for corosync, on all nodes")
RESOURCE(GET, "/api/v1/cluster/lost", ROLE_ADMIN, res_cluster_lost, "", "",
	 "What this node had written and the cluster's log lacks, since quorum was forced without it")
RESOURCE(DELETE, "/api/v1/cluster/lost", ROLE_ADMIN, res_cluster_lost_forget, "", "", "Forget that")

RESOURCE(GET, "/api/v1/pools", ROLE_VIEWER, res_pools_get, "", "", "The pools and their servers")
RESOURCE(GET, "/api/v1/pools/{pool}", ROLE_VIEWER, res_pools_get_one, "", "", "One pool")
RESOURCE(PUT, "/api/v1/pools/{pool}/servers/{server}/state", ROLE_OPERATOR, res_pools_put_state, "scope", JSON_TYPE,
	 "Set a server's admin state")
RESOURCE(PUT, "/api/v1/pools/{pool}/servers/{server}/weight", ROLE_OPERATOR, res_pools_put_weight, "scope", JSON_TYPE,
	 "Override a server's weight; null ends the override")

RESOURCE(GET, "/api/v1/sessions", ROLE_VIEWER, res_sessions_get, "limit,node", "", "This node's live sessions")
RESOURCE(DELETE, "/api/v1/sessions/{id}", ROLE_OPERATOR, res_sessions_delete, "", "", "End a session at once")
RESOURCE(GET, "/api/v1/sessions/{id}/trace", ROLE_OPERATOR, res_sessions_trace, "", "",
	 "The dialogue of a session as it goes, as server-sent events")
RESOURCE(POST, "/api/v1/explain", ROLE_VIEWER, res_explain_post, "", JSON_TYPE, "Where a message would go, and why")
RESOURCE(GET, "/api/v1/events", ROLE_VIEWER, res_events_get, "", "", "What happens, as server-sent events")
