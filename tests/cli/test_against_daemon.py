# SPDX-License-Identifier: Apache-2.0
"""The command and a real node agree on what is asked and answered."""

import json
import random
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import DEADLINE, build_dir


class Backend(threading.Thread):
    """Says yes to everything and keeps nothing: enough for checks and for a session that stays open."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rwb", buffering=0) as f:
            f.write(b"220 backend ESMTP\r\n")
            for line in f:
                f.write(b"221 2.0.0 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 2.0.0 ok\r\n")
                if line.upper().startswith(b"QUIT"):
                    return


def free_port():
    """One that nobody has, and that the kernel gives to no connection meanwhile (ip(7), ip_local_port_range: from 32768)."""
    while True:
        port = random.randrange(16384, 32768)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Daemon:
    def __init__(self, directory):
        self.backend, self.port = Backend(), free_port()
        self.socket = str(directory / "run" / "admin.sock")
        self.document = {
            "version": 1,
            "listeners": {"relay": {"bind": [f"127.0.0.1:{self.port}"], "mode": "smtp", "direction": "outbound", "pool": "mta",
                                    "allow": ["127.0.0.0/8"]}},
            "pools": {"mta": {"servers": {"mta1": {"address": f"127.0.0.1:{self.backend.port}"}}}},
            "routes": [{"name": "never", "when": {"recipient_domain": ["blocked.example"]}, "action": "reject", "text": "5.7.1 no"}],
        }
        node = {"node": "n1", "state_dir": str(directory / "state"), "run_dir": str(directory / "run"), "workers": 1,
                "log": {"target": "stderr", "level": "info"}, "admin": {"listen": [], "tls": "off"},
                "initial_config": self.document}
        for d in ("state", "run"):
            (directory / d).mkdir()
        (directory / "node.json").write_text(json.dumps(node))
        self.log = directory / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(build_dir() / "bin" / "postroadd"), "-c", str(directory / "node.json")], stderr=log)

    def wait_for(self, condition):
        deadline = time.monotonic() + DEADLINE
        while not (result := condition()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return result

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.backend.listener.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("daemon"))
    yield d
    d.stop()


@pytest.fixture
def cli(postroad, daemon):
    def run(*args, **more):
        return postroad(*args, "--socket", daemon.socket, **more)
    daemon.wait_for(lambda: run("status").code == 0)
    return run


def test_status_and_top(cli, daemon):
    r = cli("status")
    assert r.code == 0, r.err
    assert f"relay     127.0.0.1:{daemon.port}  listening  mta" in [re.sub(r" +$", "", line) for line in r.lines]
    assert re.search(r"^mta +1 +1 +0$", r.out, re.M)
    assert re.search(r"^n1 +ready", r.out, re.M)
    top = cli("top", "--count", "1")
    assert top.code == 0 and "transactions  accepted 0" in top.out and "mta1" in top.out


def test_the_configuration_goes_round(cli, daemon, tmp_path):
    site = tmp_path / "site.json"
    whole = cli("config", "get").json
    assert whole["pools"] == daemon.document["pools"]
    site.write_text(json.dumps(whole))
    assert cli("config", "apply", str(site)).lines == ["unchanged"]
    whole["pools"]["mta"]["balance"] = "random"
    site.write_text(json.dumps(whole))
    assert cli("config", "check", str(site)).lines == ["valid, 1 changes"]
    assert cli("config", "diff", str(site)).lines == ['+ /pools/mta/balance "random"']
    assert cli("config", "apply", "--dry-run", str(site)).lines[-1].startswith("dry run")
    before = cli("config", "history", "--json").json["revisions"][0]["revision"]
    assert cli("config", "apply", str(site)).lines == ['+ /pools/mta/balance "random"', f"applied: revision {before + 1}"]
    assert cli("config", "apply", str(site)).lines == ["unchanged"]
    assert cli("config", "get", "pools", "mta").json["balance"] == "random"
    assert cli("config", "get", "--effective").json["pools"]["mta"]["queue"] == 100
    assert cli("config", "diff", str(before)).lines == ['- /pools/mta/balance "random"']
    assert cli("config", "rollback", str(before), "--dry-run").lines[0] == '- /pools/mta/balance "random"'
    assert cli("config", "rollback", str(before), "--yes").lines[-1] == f"rolled back: revision {before + 2}"
    assert cli("config", "get").json["pools"] == daemon.document["pools"]
    assert cli("config", "history").lines[1].split()[0] == str(before + 2)


def test_every_error_of_a_document_is_named(cli, daemon, tmp_path):
    bad = json.loads(json.dumps(daemon.document))
    bad["pools"]["mta"]["balanse"] = "first"
    bad["listeners"]["relay"]["pool"] = "mat"
    f = tmp_path / "bad.json"
    f.write_text(json.dumps(bad))
    r = cli("config", "check", str(f))
    assert r.code == 2
    assert re.search(r'^/pools/mta/balanse: .*did you mean "balance"', r.err, re.M)
    assert re.search(r"^/listeners/relay/pool: ", r.err, re.M)


def test_edit_goes_through_an_editor(cli, tmp_path):
    editor = tmp_path / "edit"
    editor.write_text("#!/bin/sh\nsed -i 's/\"version\": 1/\"comment\": \"edited\", \"version\": 1/' \"$1\"\n")
    editor.chmod(0o700)
    r = cli("config", "edit", env={"EDITOR": str(editor)})
    assert r.code == 0, r.err
    assert r.lines[0] == '+ /comment "edited"'


def test_servers_are_drained_weighed_and_listed(cli):
    def server():
        return cli("server", "list", "mta", "--json").json["servers"]["mta1"]
    assert cli("server", "drain", "mta/mta1", "--dry-run").lines == ["mta/mta1: up, weight 100; would be set to drain"]
    assert cli("server", "drain", "mta/mta1", "--wait").code == 0
    assert server()["state"] == "drain"
    assert cli("status").code == 3, "no usable server is left"
    assert cli("server", "maint", "mta/mta1").code == 0 and server()["state"] == "maint"
    assert cli("server", "ready", "mta/mta1").code == 0 and server()["admin"] == "ready"
    assert cli("server", "weight", "mta/mta1", "7").code == 0 and server()["weight_override"] == 7
    assert cli("server", "weight", "mta/mta1", "default").code == 0 and server()["weight_override"] is None
    assert cli("server", "drain", "mta/nobody").code == 1
    assert cli("server", "list", "nopool").code == 1


def test_nodes(cli, daemon):
    assert cli("node", "list").lines[1].split()[:3] == ["n1", "ready", "ready"]
    assert cli("node", "drain", "n1", "--yes").code == 0
    assert cli("status").code == 3
    assert cli("node", "ready", "n1").code == 0
    daemon.wait_for(lambda: cli("status").code == 0)
    assert cli("node", "drain", "n2", "--yes").code == 1


def test_sessions_are_listed_traced_and_killed(cli, daemon):
    with socket.create_connection(("127.0.0.1", daemon.port), DEADLINE) as client, client.makefile("rwb", buffering=0) as f:
        assert f.readline().startswith(b"220")
        f.write(b"EHLO me.example\r\n")
        while not f.readline().startswith(b"250 "):
            pass
        (session,) = cli("session", "list", "--json").json["sessions"]
        assert session["helo"] == "me.example"
        assert session["id"] in cli("session", "list").out
        results = []
        tracer = threading.Thread(target=lambda: results.append(cli("session", "trace", session["id"])))
        tracer.start()
        daemon.wait_for(lambda: cli("session", "list", "--json").json["sessions"][0]["traced"])
        f.write(b"NOOP\r\n")
        assert f.readline().startswith(b"250")
        assert cli("session", "kill", session["id"], "--yes").code == 0
        tracer.join(DEADLINE)
        assert results[0].code == 0, results[0].err
        assert any(line.endswith("client  > NOOP") for line in results[0].lines), results[0].out
        assert results[0].lines[-1] == "the session has ended"
    assert cli("session", "kill", session["id"], "--yes").code == 1
    assert cli("session", "trace", "n1-none").code == 1


def test_explain_follows_routes(cli):
    r = cli("explain", "--listener", "relay", "--client", "127.0.0.1", "--from", "a@b.example", "x@blocked.example", "y@c.example")
    assert r.code == 0, r.err
    assert "  action   reject" in r.lines and "  text     5.7.1 no" in r.lines and "  pool     mta" in r.lines
    assert re.search(r"^mta1 +\w+ +yes", r.out, re.M)
    refused = cli("explain", "--client", "192.0.2.1", "y@c.example")
    assert refused.lines[0] == "the client 192.0.2.1 would be refused: not in allow"
    assert cli("explain", "--client", "nonsense", "y@c.example").code == 2


def test_events_are_followed_and_resumed(cli, daemon):
    results = []
    reader = threading.Thread(target=lambda: results.append(cli("events", "--count", "1", "--json")))
    reader.start()
    weights = iter(range(1, 1000))
    daemon.wait_for(lambda: cli("server", "weight", "mta/mta1", str(next(weights))).code == 0 and results)
    reader.join(DEADLINE)
    event = results[0].json
    assert event["data"]["server"] == "mta1"
    assert cli("server", "weight", "mta/mta1", "default").code == 0
    later = cli("events", "--count", "1", "--after", event["id"], "--json").json
    assert later["id"] != event["id"]


def test_tokens_come_and_go(cli):
    r = cli("token", "create", "ci", "--role", "viewer")
    assert r.code == 0, r.err
    assert re.fullmatch(r"pr_[0-9a-f]{64}\n", r.out)
    assert cli("token", "list").lines[1].split()[:3] == ["ci", "viewer", "never"]
    assert cli("token", "create", "ci", "--role", "admin").code == 1
    assert cli("token", "create", "bad name", "--role", "admin").code == 2
    assert cli("token", "revoke", "ci", "--yes").code == 0
    assert len(cli("token", "list").lines) == 1


def test_users_come_and_go(cli):
    r = cli("user", "add", "app1", stdin="correct horse\n")
    assert r.code == 0, r.err
    assert cli("user", "list").lines[1].split() == ["app1", "yes", "yes", "everywhere", "-"]
    shown = cli("config", "get", "users", "app1")
    assert shown.json == {"password": "<secret>", "scram_sha256": "<secret>"}
    assert cli("user", "add", "app1", "--yes", stdin="battery staple\n").out == "user app1 changed\n"
    assert cli("user", "add", "app1", "--dry-run", stdin="x").code == 0
    assert cli("user", "add", "bad name", stdin="x").code == 2
    assert cli("user", "remove", "app1", "--dry-run").code == 0
    assert cli("user", "remove", "app1", "--yes").code == 0
    assert len(cli("user", "list").lines) == 1
    assert cli("user", "remove", "app1", "--yes").code == 1


def test_a_backup_of_one_node_becomes_another(postroad, tmp_path):
    secret = {"users": {"app1": {"password": "$5$rounds=1000$abc$PRhkQWrKqVKbe5KV5kW6LH2sAnSQwF3BEl9ZRrYUCyB"}}}
    whole, documents = tmp_path / "site.backup", []
    for name in ("old", "new"):
        directory = tmp_path / name
        directory.mkdir()
        d = Daemon(directory)
        try:
            def run(*args, **more):
                return postroad(*args, "--socket", d.socket, **more)
            d.wait_for(lambda: run("status").code == 0)
            if name == "old":
                changed = tmp_path / "changed.json"
                changed.write_text(json.dumps({**run("config", "get").json, **secret}))
                assert run("config", "apply", str(changed)).code == 0
                assert run("server", "weight", "mta/mta1", "7").code == 0
                r = run("cluster", "backup", str(whole), stdin="a long passphrase\n")
            else:
                r = run("cluster", "restore", "--yes", str(whole), stdin="a long passphrase\n")
            assert r.code == 0, r.err
            documents.append(run("config", "get", "--with-secrets").json)
            servers = run("server", "list", "mta", "--json").json["servers"]
            assert servers["mta1"]["weight_override"] == 7
            if name == "new":
                # It has a configuration of its own now; the same backup is no other.
                assert run("cluster", "restore", "--yes", str(whole), stdin="a long passphrase\n").code == 0
                other = tmp_path / "other.json"
                other.write_text(json.dumps({**documents[1], "comment": "mine"}))
                assert run("config", "apply", str(other)).code == 0
                r = run("cluster", "restore", "--yes", str(whole), stdin="a long passphrase\n")
                assert r.code == 1 and "a configuration of its own" in r.err
        finally:
            d.stop()
    assert documents[0] == documents[1] and documents[1]["users"] == secret["users"]
