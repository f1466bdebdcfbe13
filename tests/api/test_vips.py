# SPDX-License-Identifier: Apache-2.0
"""Virtual addresses by the API, on a node where nobody takes care of them."""
import pytest
from conftest import wait_for


VIP = {"addresses": ["192.0.2.10/24"], "interface": "lo", "nodes": ["n1", "n2"]}


@pytest.fixture
def with_vip(node):
    answer = node.write("PATCH", "/api/v1/config", {"vips": {"out-a": VIP}})
    assert answer.status == 200, answer.json
    return node


def test_a_vip_nobody_has_says_so_and_why(with_vip):
    vip = with_vip.get("/api/v1/vips").json["vips"]["out-a"]
    assert vip["holders"] == [] and vip["since"] is None and vip["why"] and vip["order"] == ["n1", "n2"]
    assert vip["nodes"]["n2"] == {"holds": False, "may_hold": False, "state": "unknown", "why": "it is no member", "fresh": False}
    assert not vip["nodes"]["n1"]["holds"] and vip["moved_to"] is None and 1 <= vip["vrid"] <= 255
    assert vip["nodes"]["n1"]["why"]


def test_what_a_vip_names_and_nobody_is_or_has_is_a_warning(node):
    absent = {**VIP, "interface": "absent0"}
    for query in ("?dry_run=true", ""):
        answer = node.write("PATCH", f"/api/v1/config{query}", {"vips": {"out-a": absent}})
        assert answer.status == 200, answer.json
        assert {w["path"]: w["detail"] for w in answer.json["warnings"] if "addresses" not in w["path"]} == {
            "/vips/out-a/interface": "this node, n1, has no interface absent0 now",
            "/vips/out-a/nodes": "n2 is no member of this cluster now"}
    answer = node.write("PATCH", "/api/v1/config", {"vips": {"out-a": {"interface": "lo", "nodes": ["n1"]}}})
    assert answer.status == 200 and all("addresses" in w["path"] for w in answer.json["warnings"])


def test_a_move_to_a_node_that_cannot_is_refused(with_vip):
    answer = with_vip.call("POST", "/api/v1/vips/out-a/move", {"node": "n1"})
    assert (answer.status, answer.problem) == (409, "not-now")
    said = with_vip.get("/api/v1/vips").json["vips"]["out-a"]["nodes"]["n1"]["why"]
    assert answer.json["detail"] == f"node n1 cannot have it now: {said}"
    for query in ("", "?dry_run=true"):
        answer = with_vip.call("POST", f"/api/v1/vips/out-a/move{query}", {"node": "n3"})
        assert (answer.status, answer.problem) == (422, "invalid")
        assert answer.json["errors"][0]["allowed"] == "n1, n2"
    assert with_vip.call("POST", "/api/v1/vips/none/move", {"node": "n1"}).status == 404


def test_a_rebalance_of_nothing_moves_nothing(with_vip):
    assert with_vip.call("POST", "/api/v1/vips/rebalance").json == {"moves": {}}
    assert with_vip.call("POST", "/api/v1/vips/rebalance?dry_run=true").json == {"dry_run": True, "moves": {}}


def test_metrics_of_a_vip_come_and_go_with_it(with_vip):
    wait_for(lambda: 'postroad_vip_owner{vip="out-a"} 0' in with_vip.get("/metrics").body.decode(), "its series")
    assert with_vip.write("PATCH", "/api/v1/config", {"vips": {"out-a": None}}).status == 200
    assert with_vip.get("/api/v1/vips").json["vips"] == {}


def test_a_node_alone_is_drained_and_says_so_at_once(node):
    assert node.call("PUT", "/api/v1/nodes/n1/state", {"admin": "drain"}).status == 200
    status = node.get("/api/v1/status").json
    assert status["state"] == "drain" and "the node is draining" in status["not_ready"]
    assert node.call("PUT", "/api/v1/nodes/n1/state", {"admin": "ready"}).status == 200
    assert node.get("/api/v1/status").json["state"] == "ready"
