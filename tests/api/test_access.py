# SPDX-License-Identifier: Apache-2.0
"""Who may do what: tokens, roles, the local socket, TLS."""
import http.client
import os
import ssl
import stat
import subprocess
import sys

import pytest
from conftest import TOKENS, sha256, wait_for

CALLS = [
    # method, path, body, the least role
    ("GET", "/api/v1/status", None, "viewer"),
    ("GET", "/api/v1/config", None, "viewer"),
    ("GET", "/api/v1/openapi.json", None, "viewer"),
    ("GET", "/metrics", None, "viewer"),
    ("POST", "/api/v1/explain", {"listener": "relay", "recipients": ["a@b.test"]}, "viewer"),
    ("PUT", "/api/v1/pools/main/servers/b1/state", {"admin": "ready"}, "operator"),
    ("PUT", "/api/v1/pools/main/servers/b1/weight", {"weight": 50}, "operator"),
    ("PUT", "/api/v1/nodes/n1/state", {"admin": "ready"}, "operator"),
    ("PATCH", "/api/v1/config", {"comment": "x"}, "admin"),
    ("DELETE", "/api/v1/config/tokens/old", None, "admin"),
]
RANK = {"viewer": 1, "operator": 2, "admin": 3}


@pytest.mark.parametrize("role", list(RANK))
def test_each_role_may_what_the_table_says(node, role):
    for method, path, body, least in CALLS:
        answer = node.write(method, path, body, token=role)
        if RANK[role] >= RANK[least]:
            assert answer.status == 200, (method, path, answer.body)
        else:
            assert (answer.status, answer.problem) == (403, "forbidden"), (method, path)


def test_without_a_token_only_health_and_the_page_are_open(node):
    for path in ("/", "/healthz", "/readyz"):
        assert node.get(path, token="").status == 200, path
    for path in ("/metrics", "/api/v1/status", "/api/v1/config", "/api/v1/events"):
        answer = node.get(path, token="")
        assert (answer.status, answer.problem) == (401, "unauthorized"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["pr_nonsense", "expired", TOKENS["admin"][:-1], TOKENS["admin"] + "x", "a b"])
def test_wrong_tokens_are_401(node, token):
    answer = node.get("/api/v1/status", token=token)
    assert answer.status == 401 and "invalid_token" in answer.headers["WWW-Authenticate"]
    wait_for(lambda: "event=admin_auth_failed" in node.log, "the line of the failed login")
    assert TOKENS["admin"] not in node.log


def test_a_revoked_token_ends_at_once(node):
    assert node.get("/api/v1/status", token="viewer").status == 200
    assert node.write("DELETE", "/api/v1/config/tokens/v").status == 200
    assert node.get("/api/v1/status", token="viewer").status == 401


def test_a_revoked_token_ends_its_streams(node, stream):
    s = stream(node, "/api/v1/events", token="viewer")
    assert s.status == 200
    assert node.write("DELETE", "/api/v1/config/tokens/v").status == 200
    while s.next() is not None:
        pass


def test_open_metrics(idle_node):
    idle_node.file["admin"]["metrics"] = "open"
    idle_node.start()
    assert idle_node.get("/metrics", token="").status == 200
    assert idle_node.get("/api/v1/status", token="").status == 401


def test_the_socket_is_for_its_group(node):
    mode = os.stat(node.directory / "run" / "admin.sock").st_mode
    assert stat.S_IMODE(mode) & 0o007 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_on_the_socket_is_nobody(node):
    path = node.directory / "run" / "admin.sock"
    os.chmod(path, 0o666)
    for parent in path.parents:
        if str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    script = ("import os, socket, sys\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
              "s = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
              "s.sendall(b'GET %s HTTP/1.0\\r\\n\\r\\n' % sys.argv[2].encode())\nprint(s.recv(100).split()[1].decode())\n")

    def status(what):
        run = subprocess.run([sys.executable, "-c", script, str(path), what], capture_output=True, text=True, timeout=20)
        return run.stdout.strip(), run.stderr

    assert status("/api/v1/status")[0] == "403"
    assert status("/healthz")[0] == "200"


def test_a_token_on_the_socket_counts_as_that_token(node):
    headers = {"Authorization": "Bearer " + TOKENS["viewer"], "If-Match": "*"}
    assert node.call("PATCH", "/api/v1/config", {"comment": "x"}, headers).status == 403


def test_the_certificate_is_made_once_and_its_fingerprint_shown(node):
    state = node.directory / "state"
    assert stat.S_IMODE(os.stat(state / "admin.key").st_mode) == 0o600
    der = ssl.PEM_cert_to_DER_cert((state / "admin.crt").read_text())
    import hashlib
    digest = hashlib.sha256(der).hexdigest().upper()
    expected = ":".join(digest[i:i + 2] for i in range(0, 64, 2))
    assert node.get("/api/v1/status").json["admin_api"]["certificate_sha256"] == expected
    node.stop()
    node.start()
    assert node.get("/api/v1/status").json["admin_api"]["certificate_sha256"] == expected


def test_plain_http_on_the_https_port_is_not_answered(node):
    connection = http.client.HTTPConnection("127.0.0.1", node.admin_port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("GET", "/healthz")
        connection.getresponse()


def test_plain_http_on_loopback_where_tls_is_off(idle_node):
    idle_node.file["admin"]["tls"] = "off"
    idle_node.start()
    assert idle_node.get("/api/v1/status", token="viewer").status == 200


def test_a_new_token_works_at_once(node):
    patch = {"tokens": {"fresh": {"role": "operator", "sha256": sha256("pr_fresh")}}}
    assert node.write("PATCH", "/api/v1/config", patch).status == 200
    assert node.get("/api/v1/status", token="pr_fresh").status == 200
