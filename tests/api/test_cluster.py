# SPDX-License-Identifier: Apache-2.0
"""Forming a cluster as far as one node without postroad-ha goes: what is refused, and that nothing is left of it.
Nodes that do become members are in tests/lab/test_forming.py."""
import json

import pytest
from conftest import ask, smtp, wait_for


def test_a_node_alone_says_so(node):
    members = node.get("/api/v1/cluster/members").json
    assert members["cluster"] is None and members["quorum"] and members["state"] == "ACTIVE"
    assert node.get("/api/v1/status").json["cluster"] == members


def test_a_node_alone_has_nothing_to_be_compared_with(node):
    assert node.get("/api/v1/cluster/members").json["digest"] is None


@pytest.mark.parametrize("path", ["leave", "rotate-keys", "tokens", "force-quorum"])
def test_what_needs_a_cluster_is_refused_without(node, path):
    answer = node.call("POST", f"/api/v1/cluster/{path}", {})
    assert answer.status == 409 and "in no cluster" in answer.json["detail"]


def test_tokens_are_the_administrators_and_none_without_a_cluster(node):
    assert node.get("/api/v1/cluster/tokens").json == {"tokens": {}}
    assert node.call("GET", "/api/v1/cluster/tokens", token="viewer").status == 403
    assert node.call("DELETE", "/api/v1/cluster/tokens/5f0c", token="viewer").status == 403
    assert node.call("DELETE", "/api/v1/cluster/tokens/5f0c").status == 409


@pytest.mark.parametrize("method, path", [("POST", "tokens"), ("POST", "leave"), ("POST", "rotate-keys"), ("DELETE", "members/n2"),
                                          ("DELETE", "tokens/5f0c"), ("DELETE", "change")])
def test_an_idempotency_key_is_looked_at_as_in_other_writes(node, method, path):
    key = "x" * 300
    answer = node.call(method, f"/api/v1/cluster/{path}", {} if method == "POST" else None, headers={"Idempotency-Key": key})
    assert answer.status == 400 and "Idempotency-Key" in answer.json["detail"]


def test_the_description_says_what_may_not_be_known_in_time(node):
    paths = node.get("/api/v1/openapi.json").json["paths"]
    for path, method in (("tokens", "post"), ("tokens/{token}", "delete"), ("members/{node}", "delete"), ("leave", "post")):
        described = paths[f"/api/v1/cluster/{path}"][method]
        assert "202" in described["responses"] and "Idempotency-Key" in {p["name"] for p in described["parameters"]}
    assert "202" not in paths["/api/v1/cluster/members"]["get"]["responses"]


def test_no_node_can_be_removed_from_no_cluster(node):
    assert node.call("DELETE", "/api/v1/cluster/members/n2").status == 409


@pytest.mark.parametrize("body", [{}, {"links": []}, {"links": ["n1"]}, {"links": ["10.0.0.1:5405"]}, {"links": "10.0.0.1"},
                                  {"links": ["0.0.0.0"]}, {"links": ["127.0.0.1"] * 3}, {"links": ["127.0.0.1"], "listen": "here"}])
def test_links_and_listen_are_addresses(node, body):
    assert node.call("POST", "/api/v1/cluster/init", body).status == 422


def test_unknown_keys_are_refused(node):
    assert node.call("POST", "/api/v1/cluster/init", {"links": ["127.0.0.1"], "vote": 2}).status == 422


def test_an_address_of_another_machine_is_no_link(node):
    answer = node.call("POST", "/api/v1/cluster/init", {"links": ["192.0.2.77"]})
    assert answer.status == 409 and "192.0.2.77" in answer.json["detail"]
    # The command prints both in one line: the title must be true for whatever stands in the way.
    assert answer.problem == "conflict" and "omebody" not in answer.json["title"]


def test_without_postroad_ha_nothing_is_founded(node):
    answer = node.call("POST", "/api/v1/cluster/init", {"links": ["127.0.0.1"], "force": True})
    assert answer.status == 409 and "postroad-ha" in answer.json["detail"]
    assert node.get("/api/v1/cluster/members").json["cluster"] is None
    assert node.call("PUT", "/api/v1/pools/main/servers/b1/weight", {"weight": 7}).status == 200
    node.call("PUT", "/api/v1/pools/main/servers/b1/weight", {"weight": None})


def test_what_is_not_in_the_clusters_log_is_told_without_its_content_until_it_is_seen_to(idle_node):
    kept = idle_node.directory / "state" / "lost.jsonl"
    idle_node.start().stop()
    kept.write_text(json.dumps({"position": 7, "kind": "configuration", "comment": "c", "document": {"secret": "hush"}}) + "\nnot ours\n")
    idle_node.start()
    lost = idle_node.get("/api/v1/cluster/lost").json
    assert lost["count"] == 2 and lost["whole"] and lost["entries"][0] == {"position": 7, "kind": "configuration", "comment": "c"}
    assert lost["file"] == str(kept)
    wait_for(lambda: "lost" in {w["key"] for w in idle_node.get("/api/v1/status").json["warnings"]}, "it is a warning")
    assert idle_node.call("GET", "/api/v1/cluster/lost", token="viewer").status == 403
    assert idle_node.call("DELETE", "/api/v1/cluster/lost").status == 200 and not kept.exists()
    assert "lost" not in {w["key"] for w in idle_node.get("/api/v1/status").json["warnings"]}
    assert idle_node.get("/api/v1/cluster/lost").json["entries"] == []


def test_the_founder_takes_mail_when_its_log_is_gone(idle_node):
    """The others have the log; until it comes from them, the node file's configuration is in force and nothing is written."""
    state = idle_node.directory / "state"
    idle_node.start().stop()
    lines = (state / "identity").read_text().splitlines()
    assert lines[4] == "cluster " + 16 * "0" and "joined 0" in lines
    (state / "identity").write_text("\n".join([*lines[:4], "cluster 00000000000000aa"]) + "\n")
    (state / "store.log").unlink()
    idle_node.start(ready=False)
    wait_for(lambda: idle_node.log.count("event=listening") == 2, "it takes mail")
    client, replies = smtp(idle_node)
    assert ask(replies, "EHLO c.test").startswith("250 ")
    client.close()
    assert idle_node.revision() == 0
    assert idle_node.document()["pools"].keys() == idle_node.config["pools"].keys()
    refused = idle_node.write("PATCH", "/api/v1/config", {"comment": "mine"})
    assert refused.status == 503 and refused.problem == "no-quorum"


def test_a_node_that_an_init_left_half_made_is_a_node_alone(idle_node):
    state = idle_node.directory / "state"
    idle_node.start().stop()
    lines = (state / "identity").read_text().splitlines()
    (state / "identity").write_text("\n".join([*lines[:4], "cluster 00000000000000aa", "alone 1"]) + "\n")
    idle_node.start()
    assert idle_node.get("/api/v1/cluster/members").json["cluster"] is None
    assert idle_node.write("PATCH", "/api/v1/config", {"comment": "mine"}).status == 200
    wait_for(lambda: any("cluster init" in str(w) for w in idle_node.get("/api/v1/status").json["warnings"]), "it says so")
    refused = idle_node.call("POST", "/api/v1/cluster/join", {"token": "x", "links": ["127.0.0.1"], "force": True})
    assert refused.status == 409 and "leave" in refused.json["detail"]
    assert idle_node.call("POST", "/api/v1/cluster/leave", {}).status == 200
