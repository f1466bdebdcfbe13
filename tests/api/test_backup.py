# SPDX-License-Identifier: Apache-2.0
"""Backup and restore: what is in one, for whom, and onto which node."""
import copy

import pytest
from conftest import Node

BACKUP, RESTORE = "/api/v1/cluster/backup", "/api/v1/cluster/restore"
STATE = "/api/v1/pools/main/servers/b1/state"
WEIGHT = "/api/v1/pools/main/servers/b1/weight"


def server(node):
    return node.get("/api/v1/pools/main").json["servers"]["b1"]


def changed(node):
    """A backup of something that no node starts with."""
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"balance": "random"}}}).status == 200
    assert node.call("PUT", STATE, {"admin": "drain"}).status == 200
    assert node.call("PUT", WEIGHT, {"weight": 7}).status == 200
    return node.get(BACKUP).json


@pytest.fixture
def fresh(tmp_path, sink):
    """A second node, with a configuration of the same ports as the first has: one of both runs."""
    directory = tmp_path / "fresh"
    directory.mkdir()
    n = Node(directory, sink)
    yield n
    if n.process is not None and n.process.poll() is None:
        try:
            assert n.stop() == 0, n.log
        finally:
            n.process.kill()
            n.process.wait()


def test_what_is_in_a_backup(node):
    b = changed(node)
    assert b["manifest"]["format"] == 1 and b["manifest"]["node"] == "n1" and b["manifest"]["revision"] == node.revision()
    assert b["manifest"]["cluster"] is None and b["manifest"]["nodes"] == []
    assert b["configuration"]["pools"]["main"]["balance"] == "random"
    assert b["configuration"]["tokens"]["a"]["sha256"] == node.config["tokens"]["a"]["sha256"]
    assert b["runtime"]["pools"]["main"]["servers"]["b1"] == {"admin": "drain", "weight": 7}


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_backups_are_for_the_owner_of_the_machine(node, role):
    assert node.get(BACKUP, token=role).status == 403
    assert node.call("POST", RESTORE, node.get(BACKUP).json, token=role).status == 403


def test_a_backup_makes_a_fresh_node_what_the_old_one_was(node, fresh):
    b = changed(node)
    assert node.stop() == 0
    fresh.start()
    dry = fresh.call("POST", RESTORE + "?dry_run=true", b)
    assert dry.status == 200 and dry.json["dry_run"] and fresh.revision() == 1
    done = fresh.call("POST", RESTORE, b)
    assert done.status == 200 and done.json["revision"] == 2, done.body
    # Killed at once: what was answered is there.
    fresh.kill()
    fresh.start(ready=False)
    assert fresh.get(BACKUP).json["configuration"] == b["configuration"]
    assert fresh.get(BACKUP).json["runtime"] == b["runtime"]
    assert server(fresh)["admin"] == "drain" and server(fresh)["weight_override"] == 7


def test_asking_again_is_no_second_restore(node, fresh):
    b = changed(node)
    assert node.stop() == 0
    fresh.start()
    for _ in range(2):
        done = fresh.call("POST", RESTORE, b)
        assert done.status == 200 and done.json["revision"] == 2, done.body
    # The second half is put in its place again, as it may be what was lost.
    b["runtime"]["pools"]["main"]["servers"]["b1"]["weight"] = 8
    assert fresh.call("POST", RESTORE, b).json["revision"] == 2
    assert server(fresh)["weight_override"] == 8


def test_what_was_set_since_is_not_reset_by_a_restore(node, fresh):
    b = changed(node)
    # The very configuration, and not by a restore.
    refused = node.call("POST", RESTORE, b)
    assert refused.status == 409 and refused.problem == "conflict", refused.body
    assert node.stop() == 0
    fresh.start()
    assert fresh.call("POST", RESTORE, b).status == 200
    assert fresh.call("PUT", WEIGHT, {"weight": 9}).status == 200
    assert fresh.call("POST", RESTORE, b).status == 409
    assert server(fresh)["weight_override"] == 9


def test_a_node_with_its_first_configuration_keeps_what_was_set_on_it(node, fresh):
    b = changed(node)
    assert node.stop() == 0
    fresh.start()
    assert fresh.call("PUT", STATE, {"admin": "maint"}).status == 200
    refused = fresh.call("POST", RESTORE, b)
    assert refused.status == 409 and "run-time state" in refused.json["detail"], refused.body
    assert fresh.revision() == 1 and server(fresh)["admin"] == "maint"


def test_a_node_that_has_more_refuses(node):
    b = changed(node)
    assert node.write("PATCH", "/api/v1/config", {"comment": "mine"}).status == 200
    revision = node.revision()
    for path in (RESTORE, RESTORE + "?dry_run=true"):
        refused = node.call("POST", path, b)
        assert refused.status == 409 and refused.problem == "conflict", refused.body
    assert node.revision() == revision and node.document()["comment"] == "mine"


def test_what_does_not_validate_changes_nothing(node):
    good = node.get(BACKUP).json
    bad = []
    for change in ({"manifest": {"format": 2}}, {"manifest": None}, {"configuration": None}, {"configuration": []},
                   {"runtime": []}, {"runtime": {"pools": []}}, {"runtime": {"pools": {"main": {"servers": {"b1": 1}}}}},
                   {"runtime": {"pools": {"main": {"servers": {"b1": {"weight": "7"}}}}}},
                   {"runtime": {"nodes": {"n1": {"weight": 1}}}}, {"more": 1}):
        bad.append({**copy.deepcopy(good), **change})
    wrong = copy.deepcopy(good)
    wrong["configuration"]["listeners"]["relay"]["pool"] = "none"
    for body in [*bad, wrong]:
        refused = node.call("POST", RESTORE, body)
        assert refused.status == 422, (body, refused.body)
    assert node.revision() == 1 and node.document()["pools"]["main"].get("balance") is None
