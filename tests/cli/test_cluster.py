# SPDX-License-Identifier: Apache-2.0
"""postroad cluster …, against a node that answers from a script."""
import json
import pathlib
import sys

import pytest
from conftest import Reply

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.cli.conftest import build_dir  # noqa: E402
from tests.lab.cluster.disk import Control, Disk  # noqa: E402

SHIM = build_dir() / "lib/labshim.so"
ALONE = {"cluster": None, "state": "ACTIVE", "quorum": True, "position": 1}
MEMBER = {"id": 1, "state": "member", "votes": 1, "voter_only": False, "tie_breaker": False, "links": ["10.0.0.11"],
          "listen": "10.0.0.11:8426", "present": True, "synced": True}
FORMED = {"cluster": "mx", "state": "ACTIVE", "quorum": True, "single_copy": False, "change": None, "corosync": {"connected": True, "why": ""},
          "members": {"n1": MEMBER, "n2": {**MEMBER, "id": 2, "present": False, "synced": False}}}
MEMBERS = "GET /api/v1/cluster/members"


def answer(file):
    return {"cluster": "mx", "node": "n1", "id": 1, "node_file": str(file), "listen": "10.0.0.11:8426"}


def node_file(tmp_path):
    file = tmp_path / "node.json"
    file.write_text(json.dumps({"node": "n1", "workers": 2, "cluster": {"engine": "none"}}))
    file.chmod(0o640)
    return file


def test_init_writes_the_node_file_and_keeps_the_rest(postroad, node, tmp_path):
    file = node_file(tmp_path)
    node["POST /api/v1/cluster/init"] = answer(file)
    node[MEMBERS] = FORMED
    result = postroad("cluster", "init", "--link", "10.0.0.11", "--link", "10.1.0.11", "--name", "mx")
    assert result.code == 0 and "first node of the cluster mx" in result.out
    sent = next(c for c in node.calls if c.method == "POST")
    assert sent.json == {"links": ["10.0.0.11", "10.1.0.11"], "name": "mx"}
    written = json.loads(file.read_text())
    assert written == {"node": "n1", "workers": 2, "cluster": {"engine": "corosync", "listen": ["10.0.0.11:8426"]}}
    assert file.stat().st_mode & 0o777 == 0o640 and not list(tmp_path.glob("*.new"))


@pytest.mark.skipif(not SHIM.exists(), reason="needs `make lab-tools`")
def test_what_init_wrote_survives_a_loss_of_power(postroad, node, tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    file = node_file(etc)
    disk = Disk(etc, tmp_path / "journal")
    disk.mount()
    Control(tmp_path / "control")
    node["POST /api/v1/cluster/init"] = answer(file)
    node[MEMBERS] = FORMED
    env = {"LD_PRELOAD": str(SHIM), "LAB_SHIM_CONTROL": str(tmp_path / "control"), "LAB_SHIM_JOURNAL": str(tmp_path / "journal"),
           "LAB_SHIM_ROOT": str(etc), "ASAN_OPTIONS": "verify_asan_link_order=0"}
    assert postroad("cluster", "init", "--link", "10.0.0.11", env=env).code == 0
    assert json.loads(file.read_text())["cluster"]["engine"] == "corosync"
    disk.lose_power()
    assert json.loads(file.read_text())["cluster"]["engine"] == "corosync"


def test_init_needs_a_link(postroad, node):
    assert postroad("cluster", "init").code == 2 and not node.calls


def test_a_node_file_that_cannot_be_written_is_told_and_no_failure(postroad, node, tmp_path):
    node["POST /api/v1/cluster/init"] = answer(tmp_path / "absent.json")
    node[MEMBERS] = FORMED
    result = postroad("cluster", "init", "--link", "10.0.0.11")
    assert result.code == 0 and "by hand" in result.err


def test_join_reads_the_token_from_a_file(postroad, node, tmp_path):
    token = tmp_path / "token"
    token.write_text("postroad1.secret\n")
    node["POST /api/v1/cluster/join"] = answer(node_file(tmp_path))
    node[MEMBERS] = FORMED
    assert postroad("cluster", "join", "--token-file", str(token), "--link", "10.0.0.11", "--voter-only").code == 0
    sent = next(c for c in node.calls if c.method == "POST")
    assert sent.json["voter_only"] is True and sent.json["token"].strip() == "postroad1.secret"
    assert "secret" not in (sent.headers.get("Authorization") or "")


def test_a_join_that_was_given_up_ends_at_once_and_unwrites_the_node_file(postroad, node, tmp_path):
    token = tmp_path / "token"
    token.write_text("postroad1.secret\n")
    file = node_file(tmp_path)
    node["POST /api/v1/cluster/join"] = answer(file)
    node[MEMBERS] = ALONE
    result = postroad("cluster", "join", "--token-file", str(token), "--link", "10.0.0.11", "--timeout", "20")
    assert result.code == 1 and "given up" in result.err and "not there yet" not in result.err
    assert json.loads(file.read_text())["cluster"]["engine"] == "none"


def test_join_without_a_token_asks_nobody(postroad, node):
    assert postroad("cluster", "join", "--link", "10.0.0.11").code == 2 and not node.calls


def test_a_token_alone_is_on_standard_output(postroad, node):
    node["POST /api/v1/cluster/tokens"] = {**answer("/x"), "token": "postroad1.text"}
    result = postroad("cluster", "token", "--voter-only", "--ttl", "60")
    assert result.out == "postroad1.text\n" and node.calls[-1].json == {"ttl": 60, "voter_only": True}


def test_replace_is_a_token_for_that_name(postroad, node):
    node["POST /api/v1/cluster/tokens"] = {**answer("/x"), "token": "postroad1.text"}
    assert postroad("cluster", "replace", "n2").out == "postroad1.text\n"
    assert node.calls[-1].json["replace"] == "n2"


def test_a_token_tells_how_it_is_taken_back_beside_the_text(postroad, node):
    node["POST /api/v1/cluster/tokens"] = {**answer("/x"), "token": "postroad1.text", "token_id": "5f0c"}
    result = postroad("cluster", "token")
    assert "cluster revoke 5f0c" in result.err and result.out == "postroad1.text\n"


def test_a_token_goes_to_a_file_of_its_owner_alone(postroad, node, tmp_path):
    node["POST /api/v1/cluster/tokens"] = {**answer("/x"), "token": "postroad1.text", "token_id": "5f0c"}
    file = tmp_path / "token"
    file.write_text("an old one")
    file.chmod(0o644)
    result = postroad("cluster", "token", "--out", str(file))
    assert result.code == 0 and file.read_text() == "postroad1.text\n" and file.stat().st_mode & 0o777 == 0o600
    assert "postroad1" not in result.out + result.err and list(tmp_path.glob("*.tmp")) == []
    assert "postroad1" not in postroad("cluster", "replace", "n2", "--json", "--out", str(file)).out


def test_no_token_is_made_that_no_file_can_take(postroad, node, tmp_path):
    assert postroad("cluster", "token", "--out", str(tmp_path / "none" / "token")).code == 1 and not node.calls
    file = tmp_path / "token"
    node["POST /api/v1/cluster/tokens"] = Reply({"title": "no"}, status=409)
    assert postroad("cluster", "token", "--out", str(file)).code == 1
    assert not file.exists() and list(tmp_path.glob("*.tmp")) == []


def test_join_with_an_empty_token_says_that_it_is_empty(postroad, node, tmp_path):
    token = tmp_path / "token"
    token.write_text("\n")
    result = postroad("cluster", "join", "--token-file", str(token), "--link", "10.0.0.11")
    assert result.code == 1 and f"{token}: it is empty" in result.err and not node.calls


def test_what_is_awaited_is_told_in_words(postroad, node, tmp_path):
    node["POST /api/v1/cluster/init"] = answer(node_file(tmp_path))
    offline = {**FORMED, "state": "OFFLINE", "quorum": False, "corosync": {"connected": False, "why": "corosync does not run"}}
    node[MEMBERS] = [offline, {**offline, "corosync": {"connected": True, "why": ""}}, FORMED]
    lines = postroad("cluster", "init", "--link", "10.0.0.11").err.splitlines()
    assert lines == ["… waiting for corosync to start on this node: corosync does not run",
                     "… waiting until this node agrees with those that are there (OFFLINE)"]


def test_tokens_are_listed_and_one_is_revoked(postroad, node):
    node["GET /api/v1/cluster/tokens"] = {"tokens": {
        "5f0c": {"expires": "2030-01-01T00:00:00.000Z", "voter_only": True, "replaces": None},
        "6a": {"expires": "2030-01-01T00:00:00.000Z", "voter_only": False, "replaces": "n2"}}}
    lines = postroad("cluster", "tokens").lines
    assert lines[1].split() == ["5f0c", "2030-01-01T00:00:00.000Z", "a", "voter"] and lines[2].split()[2:] == ["n2"]
    node["DELETE /api/v1/cluster/tokens/5f0c"] = answer("/x")
    assert postroad("cluster", "revoke", "5f0c").code == 0
    assert postroad("cluster", "revoke", "77").code != 0


def test_what_is_accepted_and_goes_on_is_no_unknown_outcome(postroad, node):
    node["POST /api/v1/cluster/force-quorum"] = Reply(answer("/x"), status=202)
    node[MEMBERS] = FORMED
    assert postroad("cluster", "force-quorum", "--yes").code == 0
    node["POST /api/v1/cluster/rotate-keys"] = Reply({"operation": "1a", "state": "unknown"}, status=202,
                                                     headers={"Location": "/api/v1/operations/1a"})
    result = postroad("cluster", "rotate-keys")
    assert result.code == 1 and "/api/v1/operations/1a" in result.err


def test_what_takes_a_node_out_asks_first(postroad, node):
    for words in (["leave"], ["remove", "n2"], ["force-quorum"]):
        assert postroad("cluster", *words).code == 2
    assert not node.calls


def test_remove_by_force_says_so(postroad, node):
    node["DELETE /api/v1/cluster/members/n2?force=true"] = answer("/x")
    node[MEMBERS] = FORMED
    assert postroad("cluster", "remove", "n2", "--force", "--yes").code == 0


def test_status_is_a_table_and_not_healthy_without_quorum(postroad, node):
    node[MEMBERS] = FORMED
    result = postroad("cluster", "status")
    assert result.code == 0 and result.lines[0] == "cluster mx: ACTIVE"
    assert result.lines[2].split()[:5] == ["n1", "1", "member", "in", "sync"] and " no " in result.lines[3]
    node[MEMBERS] = {**FORMED, "state": "MINORITY", "quorum": False}
    assert postroad("cluster", "status").code == 3
    node[MEMBERS] = ALONE
    assert "no cluster" in postroad("cluster", "status").out
