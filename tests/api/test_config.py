# SPDX-License-Identifier: Apache-2.0
"""The configuration: reading, writing, preconditions, dry runs, secrets, revisions."""
import hashlib
import json
import os
import subprocess

import pytest
from conftest import BINARY, free_port, sha256, wait_for


def test_document_is_read_as_written_with_secrets_masked(node):
    answer = node.get("/api/v1/config")
    assert answer.status == 200 and answer.etag.startswith('"')
    expected = node.stored()
    for token in expected["tokens"].values():
        token["sha256"] = "<secret>"
    assert answer.json == expected


def test_effective_fills_in_defaults(node):
    effective = node.get("/api/v1/config?effective=true").json
    assert effective["pools"]["main"]["balance"] == "leastconn"
    assert effective["listeners"]["relay"]["mode"] == "smtp"
    assert effective["tokens"]["a"]["sha256"] == "<secret>"


def test_writes_need_a_precondition(node):
    for method, path in (("PUT", "/api/v1/config"), ("PATCH", "/api/v1/config"), ("PUT", "/api/v1/config/pools/p"),
                         ("PATCH", "/api/v1/config/pools/main"), ("DELETE", "/api/v1/config/pools/other"),
                         ("POST", "/api/v1/config/rollback")):
        answer = node.call(method, path, None if method == "DELETE" else {})
        assert (answer.status, answer.problem) == (428, "precondition-required"), (method, path)
    assert node.revision() == 1


def test_a_stale_writer_gets_412_and_the_present_tag(node):
    first = node.get("/api/v1/config").etag
    patch = {"pools": {"main": {"balance": "first"}}}
    assert node.call("PATCH", "/api/v1/config", patch, {"If-Match": first}).status == 200
    stale = node.call("PATCH", "/api/v1/config", {"pools": {"main": {"balance": "random"}}}, {"If-Match": first})
    assert (stale.status, stale.problem) == (412, "precondition-failed")
    assert stale.etag == node.get("/api/v1/config").etag != first
    assert node.document()["pools"]["main"]["balance"] == "first"


def test_malformed_if_match_is_400(node):
    assert node.call("PATCH", "/api/v1/config", {}, {"If-Match": "no-quotes"}).status == 400


def test_patch_merges_and_null_removes(node):
    answer = node.write("PATCH", "/api/v1/config", {"pools": {"main": {"balance": "first", "queue": 7}}})
    assert answer.status == 200 and answer.json["revision"] == 2
    assert {c["path"] for c in answer.json["changes"]} == {"/pools/main/balance", "/pools/main/queue"}
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"queue": None}}}).status == 200
    assert node.document()["pools"]["main"] == {"servers": node.config["pools"]["main"]["servers"], "balance": "first"}


def test_put_replaces_the_document(node):
    document = node.document()
    del document["routes"]
    answer = node.write("PUT", "/api/v1/config", document)
    assert answer.status == 200
    assert "routes" not in node.document()
    assert answer.etag == node.get("/api/v1/config").etag


def test_writing_what_is_there_makes_no_revision(node):
    before = node.get("/api/v1/config")
    answer = node.call("PUT", "/api/v1/config", before.json, {"If-Match": before.etag})
    assert answer.status == 200 and answer.json["changes"] == [] and answer.json["revision"] == 1
    assert answer.etag == before.etag and node.revision() == 1


def test_not_modified(node):
    etag = node.get("/api/v1/config").etag
    answer = node.get("/api/v1/config", headers={"If-None-Match": etag})
    assert answer.status == 304 and answer.body == b"" and answer.etag == etag


def test_dry_run_answers_the_diff_and_changes_nothing(node):
    before = node.get("/api/v1/config")
    patch = {"pools": {"main": {"balance": "first"}}, "tokens": {"new": {"role": "viewer", "sha256": sha256("x")}}}
    answer = node.call("PATCH", "/api/v1/config?dry_run=true", patch)
    assert answer.status == 200 and answer.json["dry_run"] is True
    changes = {c["path"]: c for c in answer.json["changes"]}
    assert changes["/pools/main/balance"]["to"] == "first"
    assert sha256("x") not in answer.body.decode()
    after = node.get("/api/v1/config")
    assert (after.json, after.etag) == (before.json, before.etag)


def test_dry_run_validates(node):
    answer = node.call("PATCH", "/api/v1/config?dry_run=true", {"pools": {"main": {"balance": "fastest"}}})
    assert answer.status == 422


def test_a_misspelt_query_key_is_no_real_run(node):
    answer = node.write("PATCH", "/api/v1/config?dryrun=true", {"pools": {"main": {"balance": "first"}}})
    assert (answer.status, answer.problem) == (400, "bad-request")
    assert node.revision() == 1
    assert node.write("PATCH", "/api/v1/config?dry_run=yes", {}).status == 400


@pytest.mark.parametrize("query", ["force=1", "force=", "force=True"])
def test_a_flag_that_is_neither_true_nor_false_is_refused(node, query):
    answer = node.call("POST", "/api/v1/cluster/leave?" + query, {})
    assert (answer.status, answer.problem) == (400, "bad-request")
    assert "force is true or false" in answer.json["detail"]


def test_all_errors_are_told_with_their_paths(node):
    answer = node.write("PATCH", "/api/v1/config", {"pools": {"main": {"balence": "first", "queue": "many"}}})
    assert (answer.status, answer.problem) == (422, "invalid")
    errors = {e["path"]: e for e in answer.json["errors"]}
    assert errors["/pools/main/balence"]["suggestion"] == "balance"
    assert "/pools/main/queue" in errors
    assert node.revision() == 1


def test_a_bind_in_use_refuses_the_write_and_stores_nothing(node, tmp_path):
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        patch = {"listeners": {"relay": {"bind": node.config["listeners"]["relay"]["bind"] + [address]}}}
        answer = node.write("PATCH", "/api/v1/config", patch)
        assert answer.status == 422
        assert [e["path"] for e in answer.json["errors"]] == ["/listeners/relay/bind/1"]
    assert node.revision() == 1
    assert len(node.document()["listeners"]["relay"]["bind"]) == 1
    assert node.get("/readyz").status == 200


def test_a_new_bind_takes_connections(node):
    import socket
    port = free_port()
    bind = node.config["listeners"]["relay"]["bind"] + [f"127.0.0.1:{port}"]
    assert node.write("PATCH", "/api/v1/config", {"listeners": {"relay": {"bind": bind}}}).status == 200
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        assert s.recv(100).startswith(b"220 lb.test")


# ---- objects ----

def test_object_crud(node):
    path = "/api/v1/config/pools/third"
    server = node.config["pools"]["main"]["servers"]["b1"]
    assert node.get(path).status == 404
    made = node.call("PUT", path, {"servers": {"s": server}}, {"If-None-Match": "*"})
    assert made.status == 201
    assert made.etag == node.get(path).etag
    again = node.call("PUT", path, {"servers": {"s": server}}, {"If-None-Match": "*"})
    assert (again.status, again.problem) == (412, "precondition-failed")
    changed = node.call("PATCH", path, {"queue": 3}, {"If-Match": made.etag})
    assert changed.status == 200 and changed.etag != made.etag
    assert node.get(path).json == {"servers": {"s": server}, "queue": 3}
    assert node.call("DELETE", path, headers={"If-Match": made.etag}).status == 412
    assert node.call("DELETE", path, headers={"If-Match": changed.etag}).status == 200
    assert node.get(path).status == 404
    assert node.write("DELETE", path).status == 404


def test_an_objects_tag_changes_with_itself_alone(node):
    before = node.get("/api/v1/config/pools/main").etag
    assert node.write("PATCH", "/api/v1/config/pools/other", {"queue": 1}).status == 200
    assert node.get("/api/v1/config/pools/main").etag == before
    assert node.call("PATCH", "/api/v1/config/pools/main", {"queue": 1}, {"If-Match": before}).status == 200


def test_objects_that_others_need_are_not_removed(node):
    answer = node.write("DELETE", "/api/v1/config/pools/main")
    assert answer.status == 422 and answer.json["errors"]
    assert "main" in node.document()["pools"]


def test_unknown_sections_and_bad_names(node):
    assert node.get("/api/v1/config/pool/main").status == 404
    assert node.write("PUT", "/api/v1/config/pools/-x", {}).status == 422


def routes(node):
    return [r["name"] for r in node.document()["routes"]]


def test_routes_by_name_and_place(node):
    body = {"when": {"sender_domain": ["x.test"]}, "pool": "other"}
    created = {"If-None-Match": "*"}
    assert node.call("PUT", "/api/v1/config/routes/last", body, created).status == 201
    assert node.call("PUT", "/api/v1/config/routes/first?before=never", body, created).status == 201
    assert routes(node) == ["first", "never", "elsewhere", "last"]
    assert node.write("PATCH", "/api/v1/config/routes/last?before=never", {}).status == 200
    assert routes(node) == ["first", "last", "never", "elsewhere"]
    assert node.write("PATCH", "/api/v1/config/routes/last", {"pool": "main"}).status == 200
    assert routes(node) == ["first", "last", "never", "elsewhere"]
    assert node.write("PUT", "/api/v1/config/routes/first?before=nobody", body).status == 422
    assert node.write("PUT", "/api/v1/config/routes/first", body | {"name": "other"}).status == 422
    assert node.write("DELETE", "/api/v1/config/routes/never").status == 200
    assert routes(node) == ["first", "last", "elsewhere"]


# ---- secrets ----

def test_a_masked_secret_written_back_keeps_the_stored_one(node):
    document = node.document()
    document["pools"]["main"]["queue"] = 9
    assert node.write("PUT", "/api/v1/config", document).status == 200
    assert node.get("/api/v1/status", token="admin").status == 200
    assert node.write("PATCH", "/api/v1/config/tokens/a", {"role": "viewer", "sha256": "<secret>"}).status == 200
    assert node.get("/api/v1/status", token="admin").status == 200


def test_a_masked_secret_with_none_stored_is_an_error(node):
    answer = node.write("PATCH", "/api/v1/config", {"tokens": {"x": {"role": "viewer", "sha256": "<secret>"}}})
    assert answer.status == 422
    assert answer.json["errors"][0]["path"] == "/tokens/x/sha256"


def test_secrets_are_shown_on_the_local_socket_only(node):
    with_secrets = node.get("/api/v1/config?with_secrets=true")
    assert with_secrets.json == node.stored()
    refused = node.get("/api/v1/config?with_secrets=true", token="admin")
    assert (refused.status, refused.problem) == (403, "forbidden")
    assert node.call("PUT", "/api/v1/config", with_secrets.json, {"If-Match": with_secrets.etag}).json["revision"] == 1


def test_no_answer_and_no_log_line_holds_a_secret(node):
    secret = sha256("brand new")
    node.write("PATCH", "/api/v1/config", {"tokens": {"n": {"role": "viewer", "sha256": secret}}})
    for path in ("/api/v1/config", "/api/v1/config?effective=true", "/api/v1/config/tokens/n", "/api/v1/config/revisions",
                 "/api/v1/config/revisions/2", "/api/v1/status"):
        answer = node.get(path)
        assert answer.status == 200 and secret not in answer.body.decode(), path
    assert secret not in node.log


@pytest.mark.parametrize("path, body, where", [
    ("/api/v1/config", [], ""), ("/api/v1/config/pools/p", [], ""), ("/api/v1/config/pools/comment", {}, "/pools"),
    ("/api/v1/config/pools/-p", {}, "/pools"), ("/api/v1/config/routes/r", {"name": "q", "pool": "main"}, "/name"),
    ("/api/v1/config/routes/r?before=none", {"pool": "main"}, ""), ("/api/v1/config/pools/p", {"queue": "x"}, "/pools/p/queue")])
def test_every_refusal_says_where(node, path, body, where):
    answer = node.write("PUT", path, body) if path.endswith("/config") else node.call("PUT", path, body, {"If-None-Match": "*"})
    assert (answer.status, answer.problem) == (422, "invalid")
    assert [e["path"] for e in answer.json["errors"]] == [where]


# ---- revisions ----

def test_history_and_rollback(node):
    node.write("PATCH", "/api/v1/config", {"pools": {"main": {"balance": "first"}}}, token="admin")
    revisions = node.get("/api/v1/config/revisions").json["revisions"]
    assert [(r["revision"], r["author"], r["node"]) for r in revisions] == [(2, "a", "n1"), (1, "initial_config", "n1")]
    assert "/pools/main/balance" in revisions[0]["comment"]
    assert "balance" not in node.get("/api/v1/config/revisions/1").json["config"]["pools"]["main"]
    assert node.get("/api/v1/config/revisions/99").status == 404
    assert node.get("/api/v1/config/revisions/x").status == 404

    dry = node.call("POST", "/api/v1/config/rollback?dry_run=true", {"revision": 1})
    assert dry.status == 200 and dry.json["changes"] and node.revision() == 2
    back = node.write("POST", "/api/v1/config/rollback", {"revision": 1})
    assert back.status == 200 and back.json["revision"] == 3
    assert node.get("/api/v1/config?with_secrets=true").json == node.stored()
    for body in ({"revision": 99}, {"revision": "1"}, {}, {"revision": 1, "force": True}):
        assert node.write("POST", "/api/v1/config/rollback", body).status == 422, body


def test_a_rollback_leaves_the_tokens_as_they_are(node):
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("leaver", "joiner")}
    before = sorted(node.get("/api/v1/config").json.get("tokens", {}))
    node.write("PATCH", "/api/v1/config", {"tokens": {"leaver": {"role": "admin", "sha256": digest["leaver"]}}})
    revision = node.revision()
    assert node.write("DELETE", "/api/v1/config/tokens/leaver").status == 200
    joiner = {"role": "viewer", "sha256": digest["joiner"]}
    assert node.write("PATCH", "/api/v1/config", {"comment": "later", "tokens": {"joiner": joiner}}).status == 200
    assert node.write("POST", "/api/v1/config/rollback", {"revision": revision}).status == 200
    after = node.get("/api/v1/config").json
    assert "comment" not in after and sorted(after["tokens"]) == sorted(before + ["joiner"])
    assert node.get("/api/v1/config?with_secrets=true").json["tokens"]["joiner"]["sha256"] == digest["joiner"]


def test_the_author_of_a_local_write_is_the_user(node):
    import getpass
    node.write("PATCH", "/api/v1/config", {"comment": "hello"})
    assert node.get("/api/v1/config/revisions").json["revisions"][0]["author"] == "local:" + getpass.getuser()


# ---- idempotency ----

def test_a_repeated_key_is_applied_once(node):
    etag = node.get("/api/v1/config").etag
    headers = {"If-Match": etag, "Idempotency-Key": "k-1"}
    patch = {"pools": {"main": {"queue": 5}}}
    first = node.call("PATCH", "/api/v1/config", patch, headers)
    again = node.call("PATCH", "/api/v1/config", patch, headers)
    assert (first.status, again.status) == (200, 200)
    assert again.json["revision"] == first.json["revision"] == 2 and again.json["replayed"] is True
    assert again.etag == first.etag
    other = node.call("PATCH", "/api/v1/config", {"pools": {"main": {"queue": 6}}}, headers)
    assert (other.status, other.problem) == (422, "idempotency-key-reused")
    assert node.document()["pools"]["main"]["queue"] == 5


def test_keys_of_two_callers_do_not_meet(node):
    headers = {"If-Match": "*", "Idempotency-Key": "same"}
    assert node.call("PATCH", "/api/v1/config", {"comment": "a"}, headers).status == 200
    assert node.call("PATCH", "/api/v1/config", {"comment": "b"}, headers, token="admin").status == 200
    assert node.document()["comment"] == "b"


def test_a_key_holds_over_a_restart(node):
    headers = {"If-Match": "*", "Idempotency-Key": "k"}
    assert node.call("PATCH", "/api/v1/config", {"comment": "once"}, headers).status == 200
    node.kill()
    node.start()
    again = node.call("PATCH", "/api/v1/config", {"comment": "once"}, headers)
    assert again.status == 200 and again.json["replayed"] is True
    assert node.revision() == 2


# ---- durability ----

def test_kill_keeps_the_last_revision_that_was_answered(node):
    for queue in range(1, 6):
        assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"queue": queue}}}).status == 200
    node.kill()
    node.start()
    assert node.revision() == 6
    assert node.document()["pools"]["main"]["queue"] == 5
    document = json.dumps(node.get("/api/v1/config?with_secrets=true").json["tokens"], sort_keys=True)
    assert document == json.dumps(node.config["tokens"], sort_keys=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a small file system")
def test_a_full_disk_is_507_and_changes_nothing(idle_node):
    node = idle_node
    state = node.directory / "state"
    state.mkdir(mode=0o700)
    # The file system is seen by the node alone.
    script = f"mount -t tmpfs -o size=400k,mode=700 none {state} && exec {BINARY} -c {node.write_file()}"
    with open(node.log_path, "ab") as log:
        node.process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=log, stderr=log)
    wait_for(lambda: node.answers() and node.get("/readyz").status == 200, "the node is ready")
    answer, revision = None, 1
    for i in range(20):
        patch = {"comment": f"{i}" * 50000, "pools": {"main": {"balance": ("first", "random")[i % 2]}}}
        answer = node.write("PATCH", "/api/v1/config", patch)
        if answer.status != 200:
            break
        revision, balance = answer.json["revision"], ("first", "random")[i % 2]
    assert (answer.status, answer.problem) == (507, "full-disk")
    assert node.revision() == revision
    assert node.document()["pools"]["main"]["balance"] == balance
    assert node.get("/api/v1/pools/main").json["balance"] == balance
    assert node.get("/readyz").status == 200
