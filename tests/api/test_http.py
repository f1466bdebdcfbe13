# SPDX-License-Identifier: Apache-2.0
"""HTTP itself: problems, methods, limits."""
import json
import pathlib
import random
import resource
import socket
import struct
import time

import pytest
from conftest import send, wait_for


def test_unknown_paths_are_404(node):
    for path in ("/nothing", "/api/v1", "/api/v1/", "/api/v1/pools/", "/api/v1/pools/main/servers/b1", "/api/v1/config/pools"):
        answer = node.get(path)
        assert (answer.status, answer.problem) == (404, "not-found"), path


def test_every_json_body_ends_its_last_line(node):
    for answer in (node.get("/api/v1/status"), node.get("/api/v1/none"), node.call("PUT", "/api/v1/config", {"version": 9}, {"If-Match": "*"})):
        assert answer.body.endswith(b"}\n"), answer.body


def test_methods_a_resource_does_not_have_are_405_with_allow(node):
    answer = node.call("DELETE", "/api/v1/config")
    assert (answer.status, answer.problem) == (405, "method-not-allowed")
    assert sorted(answer.headers["Allow"].split(", ")) == ["GET", "HEAD", "PATCH", "PUT"]
    assert node.call("POST", "/api/v1/status", {}).headers["Allow"] == "GET, HEAD"
    options = node.call("OPTIONS", "/api/v1/config")
    assert options.status == 204 and "PATCH" in options.headers["Allow"]


def test_head_is_get_without_a_body(node):
    answer = node.call("HEAD", "/api/v1/config")
    assert answer.status == 200 and answer.body == b"" and answer.etag == node.get("/api/v1/config").etag
    assert node.call("HEAD", "/api/v1/events").status == 200


def test_bodies_that_are_no_json_are_400(node):
    for body in ("", "{", "{} x", '{"version": 1, "version": 1}', "\x00"):
        answer = node.write("PUT", "/api/v1/config", body)
        assert (answer.status, answer.problem) == (400, "bad-request"), body
    assert node.write("PUT", "/api/v1/config", "[]").status == 422
    deep = "[" * 100000
    assert node.write("PUT", "/api/v1/config", deep).status == 400


def test_other_media_types_are_415(node):
    headers = {"If-Match": "*", "Content-Type": "text/plain"}
    answer = node.call("PATCH", "/api/v1/config", "{}", headers)
    assert (answer.status, answer.problem) == (415, "unsupported-media-type")
    assert "application/merge-patch+json" in answer.headers["Accept-Patch"]
    assert node.call("PUT", "/api/v1/config", "{}", headers).status == 415
    assert node.call("PATCH", "/api/v1/config", "{}", {"If-Match": "*", "Content-Type": "application/json; charset=utf-8"}).status == 200


@pytest.mark.parametrize("path", ["/api/v1/pools/%", "/api/v1/pools/%2", "/api/v1/pools/%00", "/api/v1/pools/a%0ab",
                                  "/api/v1/status?a=%zz", "/" + "a/" * 20, "/" + "a" * 3000,
                                  "/api/v1/config?dry_run=true&dry_run=true"])
def test_malformed_targets_are_400(node, path):
    assert node.get(path).status == 400


def test_an_escaped_name_is_that_name(node):
    assert node.get("/api/v1/pools/m%61in").status == 200
    assert node.get("/api/v1/pools/ma%2Fin").status == 404


def test_a_body_over_8_mib_is_413(node):
    body = b'{"comment": "' + b"x" * (8 << 20) + b'"}'
    answer = node.write("PUT", "/api/v1/config", body)
    assert (answer.status, answer.problem) == (413, "too-large")
    assert node.get("/healthz").status == 200


def test_a_body_far_over_the_limit_is_refused_unread(node):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(node.directory / "run" / "admin.sock"))
        s.sendall(b"PUT /api/v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_large_body_within_the_limit_is_read(node):
    body = {"comment": "x" * (4 << 20)}
    answer = node.call("PATCH", "/api/v1/config?dry_run=true", body)
    assert answer.status in (200, 422)


def test_large_headers_are_431(node):
    answer = node.get("/healthz", headers={"X-Large": "x" * 20000})
    assert (answer.status, answer.problem) == (431, "headers-too-large")
    answer = node.get("/healthz", headers={f"X-{i}": "1" for i in range(120)})
    assert answer.status == 431


def test_very_large_headers_are_refused(node):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(node.directory / "run" / "admin.sock"))
        s.sendall(b"GET /healthz HTTP/1.1\r\nX-Large: " + b"x" * 80000)
        assert s.recv(100).split()[1] in (b"413", b"431", b"400")
    assert node.get("/healthz").status == 200


def test_a_slow_header_is_cut_off(node):
    """A byte now and then must not hold a connection: only what is sent at once counts."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(node.directory / "run" / "admin.sock"))
        s.sendall(b"GET /healthz HTTP/1.1\r\n")
        s.settimeout(1)
        end = time.monotonic() + 40
        while time.monotonic() < end:
            try:
                s.sendall(b"X")
                if s.recv(100) == b"":
                    return
            except socket.timeout:
                continue
            except OSError:
                return
        raise AssertionError("still open")


def open_unix(node):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(str(node.directory / "run" / "admin.sock"))
    return s


def is_served(s):
    try:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = b""
        while b'"ok"' not in seen:
            piece = s.recv(4096)
            if not piece:
                return False
            seen += piece
        return seen.startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_connections_are_capped_and_come_back(node):
    connections = [open_unix(node) for _ in range(64)]
    assert all(is_served(s) for s in connections)
    extra = open_unix(node)
    assert not is_served(extra)
    extra.close()
    for s in connections[:10]:
        s.close()

    def served_again():
        with open_unix(node) as s:
            return is_served(s)

    wait_for(served_again, "a place becomes free")
    # Others were not disturbed.
    assert all(is_served(s) for s in connections[10:])
    for s in connections[10:]:
        s.close()


def test_silent_connections_give_their_places_back(node):
    silent = [open_unix(node) for _ in range(64)]
    wait_for(lambda: not_served(node), "the cap is reached")
    for s in silent:
        s.close()
    wait_for(lambda: not not_served(node), "places become free")


def not_served(node):
    with open_unix(node) as s:
        return not is_served(s)


def test_the_tcp_cap_is_its_own(node):
    silent = []
    for _ in range(70):
        s = socket.create_connection(("127.0.0.1", node.admin_port), 10)
        silent.append(s)
    assert node.get("/healthz").status == 200
    for s in silent:
        s.close()

    def served():
        try:
            return node.get("/healthz", token="").status == 200
        except OSError:
            return False

    wait_for(served, "HTTPS is served again")


def test_requests_in_one_connection_are_answered_in_order(node):
    connection = node.unix()
    for path, status in (("/healthz", 200), ("/nothing", 404), ("/api/v1/status", 200)):
        assert send(connection, "GET", path).status == status
    connection.close()


def test_pipelined_requests(node):
    with open_unix(node) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        seen = b""
        while seen.count(b'"ok"') < 3:
            piece = s.recv(4096)
            assert piece, seen
            seen += piece


def test_byte_by_byte(node):
    with open_unix(node) as s:
        for byte in b"PUT /api/v1/pools/main/servers/b1/state HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n{\"admin\":\"ready\"}":
            s.sendall(bytes([byte]))
        assert s.recv(20).startswith(b"HTTP/1.1 200")


def test_openapi_covers_every_path_and_the_schemas(node):
    document = node.get("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert {"get", "put", "patch"} <= set(document["paths"]["/api/v1/config"])
    assert {"get", "put", "patch", "delete"} <= set(document["paths"]["/api/v1/config/{section}/{name}"])
    operations = [o for p in document["paths"].values() for o in p.values()]
    ids = [o["operationId"] for o in operations]
    assert len(ids) == len(set(ids)) >= 25
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"], reference
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


def test_every_documented_get_answers(node):
    document = node.get("/api/v1/openapi.json").json
    values = {"section": "pools", "name": "main", "revision": "1", "pool": "main"}
    values["operation"] = node.get("/api/v1/config/revisions").json["revisions"][0]["operation"]
    for path, item in document["paths"].items():
        if "get" not in item or path in ("/api/v1/events", "/api/v1/sessions/{id}/trace"):
            continue
        assert node.get(path.format(**values) if "{" in path else path).status == 200, path


def test_bodies_of_many_clients_together_are_bounded(node):
    """64 clients with no token, 8 MiB each, must not make the process hold half a GiB."""
    def resident():
        with open(f"/proc/{node.process.pid}/statm") as f:
            return int(f.read().split()[1]) * 4096

    before, clients, piece = resident(), [open_unix(node) for _ in range(40)], b"x" * 65536
    for s in clients:
        s.setblocking(False)
    for s in clients:
        try:
            s.sendall(b"PUT /api/v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n")
        except OSError:
            pass
    for _ in range(120):
        for s in clients:
            try:
                s.send(piece)
            except OSError:
                pass
    assert node.get("/healthz").status == 200
    assert resident() - before < 160 << 20
    for s in clients:
        s.close()
    wait_for(lambda: node.get("/healthz").status == 200, "served afterwards")


def open_tcp(node, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", node.admin_port), 10, source_address=(source, 0))


def test_one_address_has_a_share_of_the_tcp_places(idle_node):
    idle_node.file["admin"]["tls"] = "off"
    node = idle_node.start()
    ours = [open_tcp(node) for _ in range(16)]
    assert all(is_served(s) for s in ours)
    for _ in range(60):
        with open_tcp(node) as extra:
            assert not is_served(extra)
    with open_tcp(node, "127.0.0.2") as other:
        assert is_served(other)
    assert all(is_served(s) for s in ours)
    ours.pop().close()

    def served_again():
        with open_tcp(node) as s:
            return is_served(s)

    wait_for(served_again, "the place is free again")
    for s in ours:
        s.close()


def test_without_descriptors_nothing_spins_and_places_come_back(node):
    descriptors = len(list(pathlib.Path(f"/proc/{node.process.pid}/fd").iterdir()))
    before = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (descriptors + 4, before[1]))
    waiting = [open_unix(node) for _ in range(20)]
    wait_for(lambda: "event=admin_accept" in node.log, "it is told")
    for s in waiting[:10]:
        s.close()
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, before)
    wait_for(lambda: is_served(waiting[-1]), "who waited is served")
    wait_for(lambda: "event=admin_accept" in node.log, "the line of the lack")
    assert node.log.count("event=admin_accept") == 1
    assert "accept() call" not in node.log
    for s in waiting[10:]:
        s.close()


RUDE = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n" * 20,
    b"DELETE /api/v1/sessions/n1-0 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /api/v1/config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ver\r\n0\r\n\r\n",
    b"PATCH /api/v1/config?dry_run=true HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    b"BREW /pot HTCPCP/1.0\r\n\r\n",
    b"GET http://x/api/v1/status HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"GET /" + b"%41" * 500 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{\"recipients\"",
]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rude_clients_do_no_harm(node, seed):
    """Cut anywhere, mixed, sent in pieces, gone without a word: the node goes on and gives back every place."""
    chance = random.Random(seed)
    opened = []
    for _ in range(600):
        if len(opened) > 40 or (opened and chance.random() < 0.4):
            s = opened.pop(chance.randrange(len(opened)))
            if chance.random() < 0.3:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
            continue
        s = socket.create_connection(("127.0.0.1", node.admin_port), 10) if chance.random() < 0.3 else open_unix(node)
        opened.append(s)
        request = chance.choice(RUDE)
        if chance.random() < 0.3:
            request = bytearray(request)
            request[chance.randrange(len(request))] = chance.randrange(256)
        try:
            while request and chance.random() < 0.9:
                n = chance.randint(1, len(request))
                s.sendall(request[:n])
                request = request[n:]
        except OSError:
            pass
    for s in opened:
        s.close()
    assert node.process.poll() is None, node.log
    wait_for(lambda: node.answers() and node.get("/readyz").status == 200, "served and ready")

    def all_places_are_free():
        connections = [open_unix(node) for _ in range(60)]
        served = all(is_served(s) for s in connections)
        for s in connections:
            s.close()
        return served

    wait_for(all_places_are_free, "all places are free again")
    assert node.revision() == 1
