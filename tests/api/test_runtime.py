# SPDX-License-Identifier: Apache-2.0
"""Run-time state: servers, nodes, status, sessions, events, metrics, readiness."""
import json
import random
import re
import socket
import socketserver
import struct
import threading

import pytest
from conftest import ask, smtp, wait_for

STATE = "/api/v1/pools/main/servers/b1/state"
WEIGHT = "/api/v1/pools/main/servers/b1/weight"


def server(node, pool="main", name="b1"):
    return node.get(f"/api/v1/pools/{pool}").json["servers"][name]


# ---- servers ----

def test_a_server_tells_what_it_is_doing(node):
    s = server(node)
    assert s["state"] in ("up", "starting") and s["admin"] == "ready"
    assert s["weight_override"] is None and s["weight"] == 100 and s["priority"] == 1
    assert s["address"] == node.config["pools"]["main"]["servers"]["b1"]["address"]
    assert {"PIPELINING", "8BITMIME", "SIZE"} <= set(s["caps"]["extensions"]) and s["caps"]["size"] == 1000000
    assert s["last_check"]["seconds"] >= 0 and s["transactions"] == 0


def test_drain_and_ready(node):
    etag = node.get("/api/v1/config").etag
    answer = node.call("PUT", STATE, {"admin": "drain"})
    assert answer.status == 200 and answer.json["scope"] == "cluster"
    assert server(node)["admin"] == "drain" and server(node)["state"] == "drain"
    assert node.get("/api/v1/config").etag == etag
    assert node.call("PUT", STATE, {"admin": "ready"}).status == 200
    wait_for(lambda: server(node)["state"] in ("up", "starting"), "the server is up again")


def test_admin_state_and_weight_survive_kill(node):
    node.call("PUT", STATE, {"admin": "maint"})
    node.call("PUT", WEIGHT, {"weight": 7})
    node.kill()
    node.start(ready=False)
    assert server(node)["state"] == "maint" and server(node)["weight_override"] == 7
    assert server(node, "other", "o1")["admin"] == "ready"


def test_local_scope_is_not_kept(node):
    assert node.call("PUT", STATE + "?scope=local", {"admin": "drain"}).json["scope"] == "local"
    assert server(node)["state"] == "drain"
    node.kill()
    node.start()
    assert server(node)["admin"] == "ready"


def test_a_weight_override_and_its_ends(node):
    assert node.call("PUT", WEIGHT, {"weight": 10}).status == 200
    assert server(node)["weight_override"] == 10
    assert node.call("PUT", WEIGHT, {"weight": None}).status == 200
    assert server(node)["weight_override"] is None
    node.call("PUT", WEIGHT, {"weight": 10})
    # Untouched by a change elsewhere, and by a rollback.
    assert node.write("PATCH", "/api/v1/config", {"comment": "x"}).status == 200
    assert node.write("POST", "/api/v1/config/rollback", {"revision": 1}).status == 200
    assert server(node)["weight_override"] == 10
    # Ended when the configuration says it itself, also for the next start.
    weight = {"pools": {"main": {"servers": {"b1": {"weight": 55}}}}}
    assert node.write("PATCH", "/api/v1/config", weight).status == 200
    assert server(node)["weight_override"] is None
    node.kill()
    node.start()
    assert server(node)["weight_override"] is None


def test_a_rollback_to_a_configured_weight_leaves_the_override(node):
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"servers": {"b1": {"weight": 55}}}}}).status == 200
    revision = node.revision()
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"servers": {"b1": {"weight": None}}}}}).status == 200
    assert node.call("PUT", WEIGHT, {"weight": 10}).status == 200
    assert node.write("POST", "/api/v1/config/rollback", {"revision": revision}).status == 200
    assert server(node)["weight_override"] == 10
    node.kill()
    node.start()
    assert server(node)["weight_override"] == 10


def test_what_was_set_on_a_server_goes_with_it(node):
    """What runs and what the next start would do are the same."""
    b1 = node.document()["pools"]["main"]["servers"]["b1"]
    assert node.call("PUT", STATE, {"admin": "drain"}).status == 200
    assert node.call("PUT", WEIGHT, {"weight": 10}).status == 200
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"servers": {"b1": None}}}}).status == 200
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"servers": {"b1": b1}}}}).status == 200
    assert (server(node)["admin"], server(node)["weight_override"]) == ("ready", None)
    node.kill()
    node.start()
    assert (server(node)["admin"], server(node)["weight_override"]) == ("ready", None)


@pytest.mark.parametrize("path, body", [(STATE, {"admin": "off"}), (STATE, {"admin": 1}), (STATE, {}), (STATE, {"state": "drain"}),
                                        (WEIGHT, {"weight": -1}), (WEIGHT, {"weight": 1001}), (WEIGHT, {"weight": "5"}),
                                        (WEIGHT, {}), ("/api/v1/nodes/n1/state", {"admin": "maint"})])
def test_values_that_are_none_are_422(node, path, body):
    answer = node.call("PUT", path, body)
    assert (answer.status, answer.problem) == (422, "invalid")
    assert answer.json["errors"][0]["path"].startswith("/")


def test_unknown_pools_and_servers_are_404(node):
    assert node.get("/api/v1/pools/none").status == 404
    assert node.call("PUT", "/api/v1/pools/none/servers/b1/state", {"admin": "drain"}).status == 404
    assert node.call("PUT", "/api/v1/pools/main/servers/none/state", {"admin": "drain"}).status == 404
    assert node.call("PUT", "/api/v1/nodes/none/state", {"admin": "drain"}).status == 404
    assert node.call("PUT", STATE + "?scope=world", {"admin": "drain"}).status == 400


class Forwarder(socketserver.BaseRequestHandler):
    """An address that is not one of the node's own and leads to it all the same."""
    def handle(self):
        self.server.taken += 1
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:
            other = threading.Thread(target=pump, args=(there, self.request))
            other.start()
            pump(self.request, there)
            other.join()


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def way_back(node):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forwarder) as server:
        server.daemon_threads, server.to, server.taken = True, node.smtp_port, 0
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("check", ["smtp", "none"])
def test_a_server_that_leads_back_to_us_is_recognised(node, way_back, check):
    """By checks; and without them by the first message, which does not go round."""
    change = {"servers": {"b1": {"address": f"127.0.0.1:{way_back.server_address[1]}"}}, "health": {"type": check, "interval": "1h"},
              "queue_timeout": "1s"}
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": change}}).status == 200
    if check == "smtp":
        wait_for(lambda: server(node)["state"] == "down" and "loop" in server(node)["why"], "down as a loop")
        return
    wait_for(lambda: way_back.taken > 0, "the check that asks for capabilities")
    before = way_back.taken
    s, f = smtp(node)
    assert ask(f, "EHLO c.test").startswith("250") and ask(f, "MAIL FROM:<a@b.test>").startswith("250")
    assert ask(f, "RCPT TO:<c@d.test>").startswith("451 4.4.6 ")
    s.close()
    assert way_back.taken == before + 1


def test_explain_takes_postmaster_as_the_listener_does(node):
    """RFC 5321 4.5.1: without a domain he is ours, whatever accepted_domains says."""
    change = {"listeners": {"relay": {"direction": "inbound", "accepted_domains": ["d.test"]}}}
    assert node.write("PATCH", "/api/v1/config", change).status == 200
    question = {"listener": "relay", "recipients": ["postmaster", "<Postmaster>", "c@d.test", "c@e.test"]}
    told = [r["action"] for r in node.call("POST", "/api/v1/explain", question).json["recipients"]]
    assert told == ["pool", "pool", "pool", "reject"]
    s, f = smtp(node)
    assert ask(f, "EHLO c.test").startswith("250") and ask(f, "MAIL FROM:<a@b.test>").startswith("250")
    codes = [ask(f, f"RCPT TO:{r}")[:3] for r in ("<postmaster>", "<c@d.test>", "<c@e.test>")]
    assert codes == ["250", "250", "550"]
    s.close()


# ---- nodes, status, readiness ----

def test_status_of_a_healthy_node(node):
    status = node.get("/api/v1/status").json
    assert status["node"] == "n1" and status["ready"] is True and status["not_ready"] == []
    assert status["quorum"] is True and status["revision"] == 1 and status["workers"] == 2
    assert status["nodes"]["n1"]["this"] is True and status["nodes"]["n1"]["state"] == "ready"
    assert status["listeners"]["relay"]["bind"] == node.config["listeners"]["relay"]["bind"]
    assert status["pools"]["main"]["usable"] == 1
    assert status["safe_to_stop"] is False
    assert re.match(r"\d+\.\d+", status["version"])


def test_a_node_alone_is_all_nodes_and_says_of_itself_what_others_would_hear(node):
    nodes = wait_for(lambda: (n := node.get("/api/v1/nodes").json["nodes"])["n1"]["ready"] and n, "a ready node")
    assert list(nodes) == ["n1"]
    n1 = nodes["n1"]
    assert n1["not_ready"] == [] and n1["transactions"] == 0 and n1["safe_to_stop"] is False
    assert n1["vips"] == {} and n1["links"] == [] and abs(n1["clock_ahead"]) < 2 and n1["heard_ago"] < 60
    status = node.get("/api/v1/status").json
    assert set(status["nodes"]) == {"n1"} and status["vips"] == {}
    assert "hash" not in json.dumps(status)
    b1 = node.get("/api/v1/pools/main").json["servers"]["b1"]
    assert b1["nodes"] == {}, "nobody else has an opinion"


def test_another_nodes_state_is_set_only_where_there_is_one(node):
    assert node.call("PUT", "/api/v1/nodes/n2/state?scope=local", {"admin": "drain"}).status == 404
    assert node.call("PUT", "/api/v1/nodes/n2/state", {"admin": "drain"}).status == 404


def test_nodes_are_counted_by_state(node):
    def count(state):
        return f'postroad_cluster_nodes{{state="{state}"}} 1\n' in node.get("/metrics").body.decode()
    wait_for(lambda: count("ready"), "one ready node")
    assert not count("gone") and 'postroad_cluster_nodes{state="gone"} 0\n' in node.get("/metrics").body.decode()
    node.call("PUT", "/api/v1/nodes/n1/state", {"admin": "drain"})
    wait_for(lambda: count("drain"), "one draining node")


def test_a_drained_node_is_not_ready_and_stays_drained_over_a_restart(node):
    assert node.call("PUT", "/api/v1/nodes/n1/state", {"admin": "drain"}).status == 200
    answer = node.get("/readyz")
    assert answer.status == 503 and "the node is draining" in answer.json["not_ready"]
    assert node.get("/api/v1/nodes").json["nodes"]["n1"]["state"] == "drain"
    wait_for(lambda: node.get("/api/v1/status").json["safe_to_stop"], "safe to stop")
    node.kill()
    node.start(ready=False)
    assert "the node is draining" in node.get("/readyz").json["not_ready"]
    assert node.call("PUT", "/api/v1/nodes/n1/state", {"admin": "ready"}).status == 200
    wait_for(lambda: node.get("/readyz").status == 200, "ready again")


def test_readyz_says_when_no_server_is_usable(node):
    node.call("PUT", STATE, {"admin": "maint"})
    node.call("PUT", "/api/v1/pools/other/servers/o1/state", {"admin": "maint"})
    answer = node.get("/readyz")
    assert answer.status == 503 and answer.json["not_ready"] == ["no pool has a usable server"]
    assert node.get("/healthz").status == 200


# ---- sessions ----

def sessions(node):
    return node.get("/api/v1/sessions").json["sessions"]


def test_sessions_are_listed_and_ended(node):
    s, f = smtp(node)
    ask(f, "EHLO client.test")
    found = wait_for(lambda: [x for x in sessions(node) if x["helo"] == "client.test"], "the session is listed")[0]
    assert found["listener"] == "relay" and found["client"].startswith("127.0.0.1")
    assert found["bytes_in"] > 0 and found["age"] >= 0
    assert node.call("DELETE", "/api/v1/sessions/" + found["id"]).status == 200
    assert f.readline().startswith(b"421 ")
    assert f.readline() == b""
    s.close()
    assert node.call("DELETE", "/api/v1/sessions/" + found["id"]).status == 404
    assert node.get("/api/v1/sessions?limit=0").status == 400
    assert node.get("/api/v1/sessions?node=n1").status == 200
    assert node.get("/api/v1/sessions?node=n2").status == 404


def test_a_session_is_traced_as_it_goes(node, stream):
    s, f = smtp(node)
    ask(f, "EHLO client.test")
    found = wait_for(lambda: sessions(node), "the session is listed")[0]
    trace = stream(node, f"/api/v1/sessions/{found['id']}/trace")
    assert trace.status == 200
    wait_for(lambda: sessions(node)[0]["traced"], "the trace has begun")
    assert node.get(f"/api/v1/sessions/{found['id']}/trace").status == 409
    ask(f, "NOOP traced")
    event = trace.until("line")
    while event["data"]["side"] != "C":
        event = trace.until("line")
    assert "NOOP traced" in event["data"]["text"]
    ask(f, "QUIT")
    s.close()
    assert trace.until("end")["data"]["why"]
    assert trace.next() is None
    assert node.get("/api/v1/sessions/none/trace").status == 404


def test_a_trace_has_a_line_for_each_line_of_a_reply(node, stream):
    s, f = smtp(node)
    found, = sessions(node)
    trace = stream(node, f"/api/v1/sessions/{found['id']}/trace")
    wait_for(lambda: sessions(node)[0]["traced"], "the trace has begun")
    f.write(b"EHLO many.test\r\n")
    f.flush()
    want = [f.readline().decode().rstrip("\r\n")]
    while want[-1][3] == "-":
        want.append(f.readline().decode().rstrip("\r\n"))
    got = []
    while len(got) < len(want):
        line = trace.until("line")["data"]
        got += [line["text"]] if line["side"] == "c" else []
    assert len(want) > 2 and got == want
    s.close()


def test_a_trace_shows_no_login(node, stream):
    secret = "AGFwcDEAZ2VoZWlt"
    s, f = smtp(node)
    ask(f, "EHLO client.test")
    found = wait_for(lambda: sessions(node), "the session is listed")[0]
    trace = stream(node, f"/api/v1/sessions/{found['id']}/trace")
    wait_for(lambda: sessions(node)[0]["traced"], "the trace has begun")
    for line in ("AUTH PLAIN " + secret, secret, secret, "auth " + secret, "NOOP", secret + "x", "NOOP shown"):
        ask(f, line)
    texts = []
    while not texts or "NOOP shown" not in texts[-1]:
        texts.append(trace.until("line")["data"]["text"])
    assert [t for t in texts if secret in t] == [secret + "x"], "behind another command it is a command"
    assert len([t for t in texts if t.startswith("AUTH")]) == 2
    s.close()


def test_a_session_among_many_is_traced(idle_node, stream):
    node = idle_node
    node.config["listeners"]["relay"]["caps"] = {"connections_per_client": "unlimited"}
    node.start()
    clients = [smtp(node) for _ in range(60)]
    found = wait_for(lambda: len(sessions(node)) == 60 and sessions(node), "all sessions are listed")
    assert len(node.get("/api/v1/sessions?limit=7").json["sessions"]) == 7
    assert node.get("/api/v1/sessions?limit=7").json["total"] == 60
    assert len(node.get("/api/v1/sessions?limit=10000").json["sessions"]) == 60
    traces = [stream(node, f"/api/v1/sessions/{s['id']}/trace") for s in (found[0], found[31], found[59])]
    assert [t.status for t in traces] == [200, 200, 200]
    assert [t.until("line")["data"]["side"] for t in traces] == ["i", "i", "i"]
    assert len([s for s in sessions(node) if s["traced"]]) == 3
    for _, f in clients:
        ask(f, "NOOP")
    assert all("NOOP" in t.until("line")["data"]["text"] for t in traces)
    for s, f in clients:
        f.close()
        s.close()
    assert all(t.until("end")["data"]["found"] is True for t in traces)


def test_a_trace_that_stops_leaves_its_session_untraced_and_free_for_the_next(node, stream):
    s, f = smtp(node)
    found = wait_for(lambda: sessions(node), "the session is listed")[0]
    for _ in range(20):
        trace = stream(node, f"/api/v1/sessions/{found['id']}/trace")
        assert trace.status == 200
        trace.until("line")
        trace.close()
        wait_for(lambda: not sessions(node)[0]["traced"], "the session is not traced any more")
    assert ask(f, "NOOP").startswith("250 ")
    f.close()
    s.close()


def trace_request(node, session):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(str(node.directory / "run" / "admin.sock"))
    s.sendall(f"GET /api/v1/sessions/{session}/trace HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return s


@pytest.mark.parametrize("seed", [1, 2])
def test_traces_come_and_go_with_their_sessions(node, seed):
    """Started and left at once, twice at a time, of sessions that end or are ended meanwhile: the node goes on."""
    chance = random.Random(seed)
    for i in range(150):
        client, f = smtp(node)
        session = sessions(node)[0]["id"]
        readers = [trace_request(node, session) for _ in range(chance.randint(1, 3))]
        end = chance.choice(["kill", "close", "reset", "stay"])
        if chance.random() < 0.5:
            assert readers[0].recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 409")
        if end == "kill":
            node.call("DELETE", "/api/v1/sessions/" + session)
        elif end == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if end in ("close", "reset"):
            f.close()
            client.close()
        chance.shuffle(readers)
        for r in readers:
            if chance.random() < 0.5:
                r.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            r.close()
        f.close()
        client.close()
        assert node.process.poll() is None, node.log
        wait_for(lambda: sessions(node) == [], f"round {i}: the session is gone")
    client, f = smtp(node)
    with trace_request(node, sessions(node)[0]["id"]) as last:
        assert last.recv(12) == b"HTTP/1.1 200"
    f.close()
    client.close()


def test_readers_that_leave_at_once_do_no_harm_to_a_session(node):
    client, f = smtp(node)
    session = wait_for(lambda: sessions(node), "the session is listed")[0]["id"]
    for i in range(400):
        trace_request(node, session).close()
        if i % 20 == 0:
            assert ask(f, "NOOP").startswith("250 ")
    wait_for(node.answers, "served again")
    wait_for(lambda: not sessions(node)[0]["traced"], "the session is not traced any more")
    f.close()
    client.close()


# ---- events ----

def test_events_come_as_they_happen(node, stream):
    events = stream(node, "/api/v1/events")
    node.call("PUT", STATE, {"admin": "drain"})
    change = events.until("server_state")["data"]
    assert (change["pool"], change["server"], change["to"]) == ("main", "b1", "drain")
    node.write("PATCH", "/api/v1/config", {"comment": "x"})
    config = events.until("config")["data"]
    assert config["revision"] == 2 and config["author"].startswith("local:") and config["node"] == "n1"
    wait_for(lambda: "event=server_state" in node.log, "the line of the change")


def test_warnings_are_events_and_lines_of_the_log(node, stream):
    events = stream(node, "/api/v1/events")
    node.write("PATCH", "/api/v1/config", {"listeners": {"relay": {"caps": {"recipients": 50}}}})
    warning = events.until("warning")["data"]
    assert warning["key"] == "configuration" and "/listeners/relay/caps/recipients" in warning["text"]
    node.write("PATCH", "/api/v1/config", {"pools": {"huge": {"servers": {
        f"s{i}": {"address": f"127.0.1.{i}:9", "max_connections": 1000000} for i in range(1, 255)},
        "health": {"type": "none", "interval": "1h"}}}})
    while warning["key"] != "open_files":
        warning = events.until("warning")["data"]
    assert "descriptors, the process may open" in warning["text"]
    node.write("PATCH", "/api/v1/config", {"pools": {"huge": None}})
    assert events.until("warning_over")["data"]["key"] == "open_files"
    wait_for(lambda: node.log.count("event=warning ") >= 2 and "event=warning_over" in node.log, "the lines of the warnings")


def test_a_reader_resumes_where_it_was(node, stream):
    first = stream(node, "/api/v1/events")
    node.write("PATCH", "/api/v1/config", {"comment": "1"})
    seen = first.until("config")
    first.close()
    node.write("PATCH", "/api/v1/config", {"comment": "2"})
    node.write("PATCH", "/api/v1/config", {"comment": "3"})
    again = stream(node, "/api/v1/events", {"Last-Event-ID": seen["id"]})
    assert [again.until("config")["data"]["revision"] for _ in range(2)] == [3, 4]


@pytest.mark.parametrize("last", ["", "7", "0123456789abcdef-1", "nonsense"])
def test_what_cannot_be_resumed_is_a_reset(node, stream, last):
    events = stream(node, "/api/v1/events", {"Last-Event-ID": last})
    assert events.next()["event"] == "reset"
    node.write("PATCH", "/api/v1/config", {"comment": "x"})
    assert events.until("config")["data"]["revision"] == 2


def test_an_id_of_an_earlier_process_is_a_reset(node, stream):
    events = stream(node, "/api/v1/events")
    node.write("PATCH", "/api/v1/config", {"comment": "x"})
    last = events.until("config")["id"]
    node.kill()
    node.start()
    assert stream(node, "/api/v1/events", {"Last-Event-ID": last}).next()["event"] == "reset"


def test_streams_are_capped_and_come_back(node, stream):
    opened = [stream(node, "/api/v1/events") for _ in range(16)]
    assert {s.status for s in opened} == {200}
    refused = node.get("/api/v1/events")
    assert (refused.status, refused.problem) == (503, "busy")
    opened[0].close()

    def reopened():
        s = stream(node, "/api/v1/events")
        if s.status != 200:
            s.close()
        return s.status == 200

    wait_for(reopened, "a stream may open again")


def test_a_reader_that_does_not_read_is_dropped(node):
    with socket.socket(socket.AF_UNIX) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(10)
        s.connect(str(node.directory / "run" / "admin.sock"))
        s.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(15).startswith(b"HTTP/1.1 200")
        connection = node.unix()
        from conftest import send
        # Each answer to a local state change is one event; names make it long enough.
        for i in range(9000):
            send(connection, "PUT", STATE + "?scope=local", {"admin": ("drain", "ready")[i % 2]})
            if i % 500 == 0 and "event=admin_stream_dropped" in node.log:
                break
        wait_for(lambda: "event=admin_stream_dropped" in node.log, "the line of the stream")
        connection.close()


# ---- metrics ----

FAMILIES = ["build_info", "connections_total", "connections", "connections_limit", "transactions_total", "replies_total",
            "bytes_total", "retries_total", "reply_seconds", "message_bytes", "server_up", "server_state", "server_transactions",
            "server_connections", "server_idle_connections", "server_max_connections", "server_weight", "pool_queue",
            "server_transitions_total", "rejected_total", "cluster_quorate", "cluster_nodes", "cluster_config_revision", "cluster_commit_seconds",
            "resolver_failures_total", "worker_lag_seconds", "log_lines_dropped_total"]


def test_every_family_is_there_with_its_series_from_the_start(node):
    answer = node.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    for family in FAMILIES:
        assert f"# TYPE postroad_{family} " in text, family
        assert re.search(rf"^postroad_{family}(_bucket|_sum|_count)?(\{{.*\}})? ", text, re.M), family
    for result in ("accepted", "tempfail", "permfail", "none"):
        assert re.search(rf'^postroad_transactions_total\{{[^}}]*result="{result}"[^}}]*\}} 0$', text, re.M), result
    for state in ("unknown", "up", "starting", "busy", "ejected", "down", "drain", "maint"):
        assert f'postroad_server_state{{pool="main",server="b1",state="{state}"}}' in text, state
    for side in ("client", "server"):
        for direction in ("in", "out"):
            assert f'postroad_bytes_total{{side="{side}",direction="{direction}"}}' in text
    assert re.search(r"^postroad_cluster_config_revision 1$", text, re.M)
    assert re.search(r"^process_resident_memory_bytes \d", text, re.M)


def test_open_metrics_by_negotiation(node):
    answer = node.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


def test_a_write_is_counted(node):
    node.write("PATCH", "/api/v1/config", {"comment": "x"})
    text = node.get("/metrics").body.decode()
    assert re.search(r"^postroad_cluster_commit_seconds_count 1$", text, re.M)
    assert re.search(r"^postroad_cluster_config_revision 2$", text, re.M)
