# SPDX-License-Identifier: Apache-2.0
"""Servers, nodes, sessions, status, explain, events, tokens, users."""

import base64
import hashlib
import hmac
import json
import re

import pytest
from conftest import Reply


def server(**more):
    return {"address": "10.0.0.11:25", "state": "up", "admin": "ready", "weight": 100, "weight_override": None, "transactions": 3,
            "connections": 5, "idle": 2, "max_connections": 100, "why": "", **more}


POOL = {"servers": {"mta1": server(), "mta2@10.0.0.12:25": server(state="down", weight=10, weight_override=10, why="refused"),
                    "mta2@10.0.0.13:25": server(transactions=0)}}
POOLS = {"pools": {"mta": POOL}}
NODES = {"n1": {"state": "ready", "admin": "ready", "version": "0.1.0", "uptime": 90061.5, "sessions": 4}}
STATUS = {"node": "n1", "version": "0.1.0", "uptime": 90061.5, "revision": 12, "quorum": True, "ready": True, "not_ready": [],
          "listening": True, "safe_to_stop": False, "safe_to_stop_why": "no other node takes over", "sessions": 4, "nodes": NODES,
          "admin_api": {"certificate_sha256": "AB:CD"}, "warnings": [{"key": "k", "text": "a certificate expires soon"}],
          "listeners": {"relay": {"bind": ["127.0.0.1:2525"], "pool": "mta"}},
          "pools": {"mta": {"usable": 2, "servers": 3, "queue": 0, "states": {"up": 2, "down": 1}}}}
METRICS = b"""# TYPE postroad_transactions_total counter
postroad_transactions_total{listener="relay",pool="mta",result="accepted",cause="backend"} 40
postroad_transactions_total{listener="sub",pool="mta",result="accepted",cause="backend"} 2
postroad_transactions_total{listener="relay",pool="mta",result="tempfail",cause="no_server"} 7
postroad_other{result="accepted"} 1000
"""


def columns(result):
    head = result.lines[0].split()
    return [dict(zip(head, line.split())) for line in result.lines[1:]]


# ---- server ----

def test_server_list_is_a_table(postroad, node):
    node["GET /api/v1/pools"] = POOLS
    rows = columns(postroad("server", "list"))
    assert [r["SERVER"] for r in rows] == ["mta1", "mta2@10.0.0.12:25", "mta2@10.0.0.13:25"]
    assert rows[0] == {"POOL": "mta", "SERVER": "mta1", "ADDRESS": "10.0.0.11:25", "STATE": "up", "WEIGHT": "100", "OPEN": "3",
                       "CONNS": "5", "IDLE": "2", "MAX": "100", "WHY": "-"}
    assert rows[1]["WEIGHT"] == "10*" and rows[1]["WHY"] == "refused"


def test_server_list_shows_names_that_have_no_address(postroad, node):
    node["GET /api/v1/pools"] = {"pools": {"mta": {**POOL, "unresolved": {"more": {"name": "mta.example.com", "why": "not found"}}}}}
    row = postroad("server", "list").lines[-1].split()
    assert row[:4] == ["mta", "more", "mta.example.com", "unresolved"] and row[-2:] == ["not", "found"]


def test_server_list_of_one_pool_and_as_json(postroad, node):
    node["GET /api/v1/pools/mta"] = POOL
    assert columns(postroad("server", "list", "mta"))[0]["POOL"] == "mta"
    assert postroad("server", "list", "mta", "--json").json == POOL


@pytest.mark.parametrize("state", ["drain", "ready", "maint"])
def test_server_state_is_put(postroad, node, state):
    node["PUT /api/v1/pools/mta/servers/mta1/state"] = {"admin": state}
    r = postroad("server", state, "mta/mta1")
    assert (r.code, r.out) == (0, f"mta/mta1: {state}\n")
    assert node.calls[0].json == {"admin": state}
    assert "If-Match" not in node.calls[0].headers


def test_a_server_name_with_an_address_is_encoded(postroad, node):
    node["PUT /api/v1/pools/mta/servers/mta2@%5B2001%3Adb8%3A%3A1%5D%3A25/state"] = {}
    assert postroad("server", "drain", "mta/mta2@[2001:db8::1]:25").code == 0


def test_local_asks_for_this_node_alone(postroad, node):
    node["PUT /api/v1/pools/mta/servers/mta1/state?scope=local"] = {}
    assert postroad("server", "drain", "mta/mta1", "--local").code == 0


def test_server_weight_is_put_and_default_ends_the_override(postroad, node):
    node["PUT /api/v1/pools/mta/servers/mta1/weight"] = {}
    assert postroad("server", "weight", "mta/mta1", "0").code == 0
    assert postroad("server", "weight", "mta/mta1", "default").code == 0
    assert [c.json for c in node.calls] == [{"weight": 0}, {"weight": None}]


def test_a_dry_run_of_a_state_only_looks(postroad, node):
    node["GET /api/v1/pools/mta"] = POOL
    r = postroad("server", "drain", "mta/mta2", "--dry-run")
    assert r.code == 0
    assert r.lines == ["mta/mta2@10.0.0.12:25: down, weight 10; would be set to drain",
                       "mta/mta2@10.0.0.13:25: up, weight 100; would be set to drain"]
    assert node.made() == ["GET /api/v1/pools/mta"]


def test_a_dry_run_for_a_server_that_is_not_there_fails(postroad, node):
    node["GET /api/v1/pools/mta"] = POOL
    r = postroad("server", "weight", "mta/mta", "5", "--dry-run")
    assert r.code == 1 and "no server mta" in r.err


def test_wait_returns_when_no_transaction_is_left(postroad, node):
    idle = {"servers": {"mta1": server(transactions=0)}}
    node["PUT /api/v1/pools/mta/servers/mta1/state"] = {}
    node["GET /api/v1/pools/mta"] = [Reply(POOL), Reply(POOL), Reply(idle)]
    assert postroad("server", "drain", "mta/mta1", "--wait").code == 0
    assert node.made().count("GET /api/v1/pools/mta") == 3


def test_wait_gives_up_in_time(postroad, node):
    node["PUT /api/v1/pools/mta/servers/mta1/state"] = {}
    node["GET /api/v1/pools/mta"] = POOL
    r = postroad("server", "drain", "mta/mta1", "--wait", "--timeout", "1")
    assert r.code == 1 and "3 transactions are still open" in r.err


def test_a_server_that_is_not_there_fails(postroad, node):
    r = postroad("server", "drain", "mta/nobody")
    assert r.code == 1 and "HTTP 404" in r.err


# ---- node ----

def test_node_list_drain_and_ready(postroad, node):
    node["GET /api/v1/nodes"] = {"nodes": NODES}
    node["PUT /api/v1/nodes/n1/state"] = {}
    assert columns(postroad("node", "list"))[0]["NODE"] == "n1"
    assert postroad("node", "drain", "n1", "--yes").code == 0
    assert postroad("node", "ready", "n1").code == 0
    assert [c.json for c in node.calls[1:]] == [{"admin": "drain"}, {"admin": "ready"}]


def test_node_list_shows_every_node_and_when_it_was_heard(postroad, node):
    node["GET /api/v1/nodes"] = {"nodes": {
        "n1": {**NODES["n1"], "uptime": 5.0, "this": True, "ready": True, "safe_to_stop": False, "revision": 7, "heard_ago": 0.2},
        "n2": {**NODES["n1"], "uptime": 5.0, "this": False, "ready": False, "safe_to_stop": True, "revision": 6, "heard_ago": 4.5, "state": "stale"},
        "n3": {"state": "gone", "this": False, "heard_ago": None}}}
    rows = columns(postroad("node", "list"))
    assert rows[0] == {"NODE": "n1", "STATE": "ready", "ADMIN": "ready", "READY": "yes", "VERSION": "0.1.0", "REVISION": "7",
                       "UPTIME": "5.0s", "SESSIONS": "4", "SAFE-TO-STOP": "no", "HEARD": "-"}
    assert rows[1]["STATE"] == "stale" and rows[1]["READY"] == "no" and rows[1]["SAFE-TO-STOP"] == "yes" and rows[1]["REVISION"] == "6" and rows[1]["HEARD"] == "4.5s"
    assert rows[2] == {"NODE": "n3", "STATE": "gone", **dict.fromkeys(
        ["ADMIN", "READY", "VERSION", "REVISION", "UPTIME", "SESSIONS", "SAFE-TO-STOP", "HEARD"], "-")}


def test_status_says_who_has_which_vip(postroad, node):
    node["GET /api/v1/status"] = {**STATUS, "vips": {"out-a": ["n1"], "out-b": [], "out-c": ["n1", "n2"]}}
    out = postroad("status").out
    assert "out-a on n1\n" in out and "out-b on no node\n" in out and "out-c on n1 and n2\n" in out


def test_node_drain_without_a_terminal_wants_yes(postroad, node):
    r = postroad("node", "drain", "n1")
    assert r.code == 2 and node.made() == []


def test_node_drain_dry_run(postroad, node):
    node["GET /api/v1/nodes"] = {"nodes": NODES}
    assert postroad("node", "drain", "n1", "--dry-run").out == "n1: ready; would be set to drain\n"
    assert postroad("node", "drain", "n9", "--dry-run").code == 1


# ---- session ----

def test_session_list(postroad, node):
    node["GET /api/v1/sessions?limit=100"] = {"total": 7, "sessions": [
        {"id": "n1-1", "client": "10.0.0.1:999", "listener": "relay", "helo": "evil\x1b[31m", "user": "app1",
         "stage": "data", "backend": "mta/mta1",
         "age": 75.2, "bytes_in": 2048, "bytes_out": 100, "transactions": 2}]}
    r = postroad("session", "list")
    assert r.code == 0 and "\x1b" not in r.out
    assert r.lines[1].split() == ["n1-1", "10.0.0.1:999", "relay", "evil?[31m", "app1", "data", "mta/mta1", "1m", "15s", "2.0KiB", "100B", "2"]
    assert r.lines[2] == "1 of 7; --limit shows more"


def test_session_kill_ends_each_and_reports_the_missing(postroad, node):
    node["DELETE /api/v1/sessions/n1-1"] = Reply(status=204)
    r = postroad("session", "kill", "n1-1", "n1-2", "--yes")
    assert r.code == 1
    assert r.lines == ["n1-1: ended"] and "HTTP 404" in r.err
    assert node.made() == ["DELETE /api/v1/sessions/n1-1", "DELETE /api/v1/sessions/n1-2"]


def test_session_kill_asks_and_dry_run_does_not_kill(postroad, node):
    assert postroad("session", "kill", "n1-1").code == 2
    assert postroad("session", "kill", "n1-1", "--dry-run").out == "n1-1: would be ended\n"
    assert node.made() == []


TRACE = (b': heartbeat\n\n'
         b'data: {"time": "2026-11-21T10:00:01.250Z", "side": "C", "text": "MAIL FROM:<a@b>"}\n\n'
         b'data: {"time": "2026-11-21T10:00:01.251Z", "side": "c", "text": "250 ok\\u001b[0m"}\r\n\r\n'
         b'event: end\ndata: {}\n\n'
         b'data: {"side": "C", "text": "never shown"}\n\n')


def test_session_trace_shows_the_dialogue_until_its_end(postroad, node):
    node["GET /api/v1/sessions/n1-1/trace"] = Reply(raw=TRACE, headers={"Content-Type": "text/event-stream"})
    r = postroad("session", "trace", "n1-1")
    assert r.code == 0, r.err
    assert r.lines == ["10:00:01.250Z  client  > MAIL FROM:<a@b>", "10:00:01.251Z  client  < 250 ok?[0m", "the session has ended"]


def test_session_trace_of_no_session_fails(postroad, node):
    r = postroad("session", "trace", "n1-9")
    assert r.code == 1 and "HTTP 404" in r.err


# ---- status, top ----

def test_status_of_a_healthy_node(postroad, node):
    node["GET /api/v1/status"] = STATUS
    r = postroad("status")
    assert r.code == 0, r.err
    for want in ("node           n1", "up             1d 1h", "revision       12", "safe to stop   no: no other node takes over",
                 "fingerprint    AB:CD", "warning        a certificate expires soon [k]",
                 "relay     127.0.0.1:2525  listening  mta"):
        assert want in r.lines, want
    assert postroad("status", "--json").json == STATUS


def test_status_names_servers_without_an_address(postroad, node):
    unresolved = {"more": {"name": "mta.example.com", "why": "not found"}}
    node["GET /api/v1/status"] = {**STATUS, "pools": {"mta": {**STATUS["pools"]["mta"], "unresolved": unresolved}}}
    assert "unresolved     mta/more: mta.example.com: not found" in postroad("status").lines


@pytest.mark.parametrize("trouble", [{"ready": False, "not_ready": ["no pool has a usable server"]}, {"quorum": False}])
def test_status_of_an_unhealthy_node_exits_with_3(postroad, node, trouble):
    node["GET /api/v1/status"] = {**STATUS, **trouble}
    r = postroad("status")
    assert r.code == 3
    assert all(f"  because      {why}" in r.lines for why in trouble.get("not_ready", []))
    assert postroad("status", "--json").code == 3


def test_top_shows_totals_and_servers_once(postroad, node):
    node["GET /api/v1/status"] = STATUS
    node["GET /api/v1/pools"] = POOLS
    node["GET /metrics"] = Reply(raw=METRICS, headers={"Content-Type": "text/plain"})
    r = postroad("top", "--count", "1")
    assert r.code == 0, r.err
    assert r.lines[0] == "n1  revision 12  up 1d 1h  sessions 4"
    assert r.lines[1] == "transactions  accepted 42  tempfail 7  permfail 0  none 0"
    assert "mta1" in r.out and "\x1b" not in r.out


# ---- explain ----

EXPLAIN = {"recipients": [
    {"recipient": "b@example.org", "route": "bulk", "action": "pool", "pool": "bulk",
     "routes": [{"route": "never", "why": "recipient_domain"}, {"route": "bulk", "why": "matched"}],
     "candidates": [{"server": "m1", "state": "up", "usable": True, "why": ""},
                    {"server": "m2", "state": "down", "usable": False, "why": "refused"}]},
    {"recipient": "c@x", "route": None, "action": "pool", "pool": "mta", "candidates": [], "routes": []},
    {"recipient": "d@x", "route": "never", "action": "reject", "text": "5.7.1 not from here"}],
    "client": {"allowed": True, "why": "allowed"}, "listener": "relay", "revision": 3}


def test_explain_asks_with_the_envelope_and_shows_the_route(postroad, node):
    node["POST /api/v1/explain"] = EXPLAIN
    r = postroad("explain", "--listener", "relay", "--client", "10.1.2.3", "--helo", "h", "--from", "<>", "--size", "1000",
                 "b@example.org", "c@x")
    assert r.code == 0, r.err
    assert node.calls[0].json == {"listener": "relay", "client": "10.1.2.3", "helo": "h", "sender": "<>", "size": 1000,
                                  "recipients": ["b@example.org", "c@x"]}
    assert r.lines[0] == "b@example.org" and "  route    bulk" in r.lines
    assert "  tried    never: recipient_domain" in r.lines
    assert [line.split() for line in r.lines if line.startswith("m2")] == [["m2", "down", "no", "refused"]]
    assert "  route    (none: the listener's pool)" in r.lines
    assert "  text     5.7.1 not from here" in r.lines
    assert "would be refused" not in r.out
    assert postroad("explain", "x@y", "--json").json == EXPLAIN


def test_explain_says_when_the_client_would_be_refused(postroad, node):
    node["POST /api/v1/explain"] = {**EXPLAIN, "client": {"allowed": False, "why": "not in allow"}}
    assert postroad("explain", "x@y").lines[0] == "the client 127.0.0.1 (assumed: no --client is given) would be refused: not in allow"
    said = postroad("explain", "--client", "192.0.2.1", "x@y").lines[0]
    assert said == "the client 192.0.2.1 would be refused: not in allow"


# ---- vip ----

SAID = {"holds": False, "may_hold": True, "state": "backup", "why": None, "fresh": True}
VIPS = {"node": "n1", "vips": {"mx": {
    "addresses": ["192.0.2.10/24"], "order": ["n1", "n2", "n3"], "holders": [], "since": None, "why": "no node that is heard has it",
    "nodes": {"n1": {**SAID, "may_hold": False, "state": "fault", "why": "VIP mx: no usable source address"}, "n2": SAID,
              "n3": {**SAID, "may_hold": False, "state": "unknown", "why": "it is no member", "fresh": False}}}}}


def test_vip_list_says_for_each_node_why_it_may_not(postroad, node):
    node["GET /api/v1/vips"] = VIPS
    r = postroad("vip", "list")
    assert r.lines[1].split()[:3] == ["mx", "192.0.2.10/24", "nobody"]
    assert [line.split(None, 4) for line in r.lines[4:]] == [
        ["mx", "n1", "fault", "yes", "VIP mx: no usable source address"], ["mx", "n3", "unknown", "no", "it is no member"]]


def test_vip_list_has_no_reasons_where_all_is_well(postroad, node):
    node["GET /api/v1/vips"] = {"vips": {"mx": {**VIPS["vips"]["mx"], "holders": ["n1"], "nodes": {
        "n1": {**SAID, "holds": True, "since_ago": 3.0}, "n2": SAID}}}}
    assert len(postroad("vip", "list").lines) == 2


# ---- events ----

EVENTS = (b'id: 7\nevent: server_state\ndata: {"time": "T1", "server": "mta1", "to": "down", "more": {"a": 1}}\n\n'
          b': heartbeat\n\n'
          b'id: 8\nevent: config\ndata: {"time": "T2",\ndata:  "revision": 13}\n\n')


def test_events_are_lines(postroad, node):
    node["GET /api/v1/events"] = Reply(raw=EVENTS, headers={"Content-Type": "text/event-stream"})
    r = postroad("events", "--count", "2", "--after", "6")
    assert r.code == 0, r.err
    assert r.lines == ['T1 server_state server=mta1 to=down more={"a":1}', "T2 config revision=13"]
    assert node.calls[0].headers["Last-Event-ID"] == "6"


def test_events_are_json_lines_for_programs(postroad, node):
    node["GET /api/v1/events"] = Reply(raw=EVENTS)
    r = postroad("events", "--count", "1", "--json")
    assert [json.loads(line) for line in r.lines] == [
        {"id": "7", "type": "server_state", "data": {"time": "T1", "server": "mta1", "to": "down", "more": {"a": 1}}}]


def test_a_stream_that_ends_says_where_to_resume(postroad, node):
    node["GET /api/v1/events"] = Reply(raw=EVENTS)
    r = postroad("events")
    assert r.code == 1 and "--after 8" in r.err


# ---- token ----

CONFIG, PATCH = "GET /api/v1/config", "PATCH /api/v1/config"


@pytest.fixture
def tokens(node):
    node[CONFIG] = Reply({"version": 1, "tokens": {"ops": {"role": "operator", "sha256": "<secret>", "expires": None}}},
                         headers={"ETag": '"r7"'})
    node[PATCH] = node[PATCH + "?dry_run=true"] = Reply({"changes": []}, headers={"ETag": '"r8"'})
    return node


def test_token_create_stores_only_the_hash(postroad, tokens):
    r = postroad("token", "create", "ci", "--role", "viewer", "--expires", "2027-01-01T00:00:00Z")
    assert r.code == 0, r.err
    token = r.out.strip()
    assert re.fullmatch(r"pr_[0-9a-f]{64}", token)
    call = tokens.calls[-1]
    assert call.headers["Content-Type"] == "application/merge-patch+json" and call.headers["If-Match"] == '"r7"'
    assert call.json == {"tokens": {"ci": {"role": "viewer", "sha256": hashlib.sha256(token.encode()).hexdigest(),
                                           "expires": "2027-01-01T00:00:00Z"}}}
    assert not any(token in c.text for c in tokens.calls), "the token itself never leaves the process"


def test_two_tokens_differ(postroad, tokens):
    a, b = (postroad("token", "create", "ci", "--role", "admin", "--json").json["token"] for _ in range(2))
    assert a != b


def test_token_create_dry_run_prints_no_token(postroad, tokens):
    r = postroad("token", "create", "ci", "--role", "viewer", "--dry-run")
    assert r.code == 0 and "pr_" not in r.out + r.err
    assert tokens.made() == [CONFIG, PATCH + "?dry_run=true"]


def test_token_create_does_not_replace_one(postroad, tokens):
    r = postroad("token", "create", "ops", "--role", "admin")
    assert r.code == 1 and "already" in r.err and tokens.made() == [CONFIG]


def test_a_token_that_was_not_stored_is_not_printed(postroad, tokens):
    tokens[PATCH] = Reply({"title": "no quorum"}, status=503)
    r = postroad("token", "create", "ci", "--role", "viewer")
    assert r.code == 1 and r.out == ""


def test_token_revoke_removes_it(postroad, tokens):
    r = postroad("token", "revoke", "ops", "--yes")
    assert r.code == 0, r.err
    assert tokens.calls[-1].json == {"tokens": {"ops": None}}
    assert postroad("token", "revoke", "nobody", "--yes").code == 1
    assert postroad("token", "revoke", "ops").code == 2


def test_token_list(postroad, tokens):
    r = postroad("token", "list")
    assert r.lines[1].split() == ["ops", "operator", "never", "-"]


# ---- user ----

USER = "/api/v1/config/users/app1"
CREATED = {"outcome": "created"}


@pytest.fixture
def users(node):
    node["GET " + USER] = Reply({"title": "Not found"}, status=404)
    for call in ("PATCH ", "DELETE "):
        node[call + USER] = node[call + USER + "?dry_run=true"] = Reply(CREATED)
    return node


def known(node):
    node["GET " + USER] = Reply({"password": "<secret>", "allow": ["10.0.0.0/8"]}, headers={"ETag": '"o1"'})


def hi(data, password, salt, iterations):
    """The two keys of RFC 5802 3, for comparison."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return hmac.new(salted, data, "sha256").digest()


def check_verifier(text, password):
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$:]+)\$([^$:]+):([^$:]+)", text)
    iterations, (salt, stored, server) = int(found[1]), map(base64.b64decode, found.group(2, 3, 4))
    assert iterations >= 4096 and len(salt) >= 16
    assert stored == hashlib.sha256(hi(b"Client Key", password, salt, iterations)).digest()
    assert server == hi(b"Server Key", password, salt, iterations)


def test_user_add_sends_a_hash_and_a_verifier_and_no_password(postroad, users):
    r = postroad("user", "add", "app1", stdin="correct horse\n")
    assert r.code == 0 and r.out == "user app1 added\n", r.err
    call = users.calls[-1]
    assert call.headers["Content-Type"] == "application/merge-patch+json"
    assert call.headers["If-None-Match"] == "*" and "If-Match" not in call.headers
    assert sorted(call.json) == ["password", "scram_sha256"] and call.json["password"].startswith("$y$")
    check_verifier(call.json["scram_sha256"], b"correct horse")
    assert not any("correct" in c.text for c in users.calls) and "correct" not in r.out + r.err


def test_one_password_makes_two_hashes(postroad, users):
    for _ in range(2):
        assert postroad("user", "add", "app1", stdin="x").code == 0
    a, b = (c.json for c in users.calls if c.method == "PATCH")
    assert a["password"] != b["password"] and a["scram_sha256"] != b["scram_sha256"]


def test_the_password_may_stand_in_a_file(postroad, users, tmp_path):
    f = tmp_path / "password"
    f.write_bytes(b"from a file\r\n")
    assert postroad("user", "add", "app1", "--password-file", str(f), stdin="not this one").code == 0
    check_verifier(users.calls[-1].json["scram_sha256"], b"from a file")
    r = postroad("user", "add", "app1", "--password-file", str(tmp_path / "none"))
    assert r.code == 1 and "No such file" in r.err


@pytest.mark.parametrize("text,why", [("", "empty"), ("\n", "empty"), ("a\nb\n", "control"), ("a\tb", "control"),
                                      ("x" * 256, "255"), ("x" * 5000, "255")])
def test_no_password_is_sent_that_nobody_could_use(postroad, users, text, why):
    r = postroad("user", "add", "app1", stdin=text)
    assert r.code == 1 and why in r.err
    assert users.made() == ["GET " + USER]


def test_the_longest_password_is_taken(postroad, users):
    assert postroad("user", "add", "app1", stdin="x" * 255 + "\r\n").code == 0
    check_verifier(users.calls[-1].json["scram_sha256"], b"x" * 255)


def test_a_password_beyond_ascii_gets_no_verifier_and_ends_an_old_one(postroad, users):
    r = postroad("user", "add", "app1", stdin="Gr\u00fc\u00dfe\n")
    assert r.code == 0 and "SCRAM" in r.err
    assert users.calls[-1].json["scram_sha256"] is None and users.calls[-1].json["password"].startswith("$y$")


def test_another_password_for_a_user_who_exists_wants_a_yes(postroad, users):
    known(users)
    r = postroad("user", "add", "app1", stdin="x")
    assert r.code == 2 and "--yes" in r.err and users.made() == ["GET " + USER]
    r = postroad("user", "add", "app1", "--yes", stdin="x")
    assert r.code == 0 and r.out == "user app1 changed\n"
    assert users.calls[-1].headers["If-Match"] == '"o1"' and "If-None-Match" not in users.calls[-1].headers
    assert "allow" not in users.calls[-1].json, "what is not of the password stays"


def test_user_add_dry_run(postroad, users):
    r = postroad("user", "add", "app1", "--dry-run", stdin="x")
    assert r.code == 0 and "would be added" in r.out
    assert users.made()[-1] == "PATCH " + USER + "?dry_run=true"


def test_a_user_who_was_not_stored_is_not_announced(postroad, users):
    users["PATCH " + USER] = Reply({"title": "no quorum"}, status=503)
    r = postroad("user", "add", "app1", stdin="x")
    assert r.code == 1 and r.out == ""


def test_user_remove(postroad, users):
    r = postroad("user", "remove", "app1", "--yes")
    assert r.code == 1 and "no user app1" in r.err
    known(users)
    assert postroad("user", "remove", "app1").code == 2
    assert not any(c.method == "DELETE" for c in users.calls)
    r = postroad("user", "remove", "app1", "--yes")
    assert r.code == 0 and users.calls[-1].method == "DELETE" and users.calls[-1].headers["If-Match"] == '"o1"'


def test_user_list_shows_which_verifiers_there_are(postroad, node):
    node[CONFIG] = Reply({"version": 1, "users": {
        "comment": "people", "app1": {"password": "<secret>", "scram_sha256": "<secret>", "comment": "shop"},
        "app2": {"password": "<secret>", "scram_sha256": None, "allow": ["10.0.0.0/8", "::1"]},
        "app3": {"scram_sha256": "<secret>", "allow": []}}}, headers={"ETag": '"r7"'})
    r = postroad("user", "list")
    assert [line.split() for line in r.lines[1:]] == [
        ["app1", "yes", "yes", "everywhere", "shop"], ["app2", "yes", "no", "10.0.0.0/8,::1", "-"],
        ["app3", "no", "yes", "nowhere", "-"]]
    assert "app1" in postroad("user", "list", "--json").json


# ---- what every call shares ----

def test_an_outcome_that_is_not_known_is_no_success(postroad, node):
    node["PUT /api/v1/nodes/n1/state"] = Reply({}, status=202, headers={"Location": "/api/v1/operations/9"})
    r = postroad("node", "ready", "n1")
    assert r.code == 1 and "/api/v1/operations/9" in r.err


@pytest.mark.parametrize("status,advice", [(401, "--token-file"), (403, "role does not allow"), (503, "cannot do that now")])
def test_refusals_say_what_to_do(postroad, node, status, advice):
    node["GET /api/v1/pools"] = Reply({"title": "No", "detail": "because"}, status=status)
    r = postroad("server", "list")
    assert r.code == 1 and "No: because" in r.err and advice in r.err
