# SPDX-License-Identifier: Apache-2.0
"""Certificates in the configuration: from files, as text, as secrets; what is wrong is told with path and file."""
import json
import signal
import socket
import subprocess

import pytest
from conftest import BINARY, DEADLINE, free_port, wait_for


def make(folder, name, *more):
    """(certificate file, key file), self-signed."""
    cert, key = folder / (name + ".pem"), folder / (name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=" + name, "-keyout", str(key), "-out", str(cert), *more], check=True, capture_output=True)
    return cert, key


@pytest.fixture(name="pair")
def fixture_pair(tmp_path):
    return make(tmp_path, "mx.test")


def by_file(pair):
    return {"certificate_file": str(pair[0]), "key_file": str(pair[1])}


def by_text(pair):
    return {"certificate_pem": pair[0].read_text(), "key_pem": pair[1].read_text()}


def with_tls(node, certificate, **tls):
    node.config["certificates"] = {"main": certificate}
    node.config["listeners"]["relay"]["tls"] = {"mode": "starttls", "certificates": ["main"], **tls}
    return node


def shown_certificate(node):
    """What a client sees behind STARTTLS."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.smtp_port}", "-starttls", "smtp"],
                          input="QUIT\r\n", capture_output=True, text=True, timeout=DEADLINE, check=False)
    start = done.stdout.index("-----BEGIN CERTIFICATE")
    return done.stdout[start:done.stdout.index("-----END", start)]


def check(node):
    return subprocess.run([BINARY, "-c", node.write_file(), "--check"], capture_output=True, text=True, timeout=DEADLINE,
                          check=False)


def secret_of(pair):
    """A line of the key that must appear nowhere."""
    return pair[1].read_text().splitlines()[1]


@pytest.mark.parametrize("source", [by_file, by_text])
def test_a_certificate_serves_from_files_and_as_text(idle_node, pair, source):
    node = with_tls(idle_node, source(pair)).start()
    assert shown_certificate(node) in pair[0].read_text()


def test_keys_are_shown_nowhere(idle_node, pair):
    node = with_tls(idle_node, by_text(pair)).start()
    paths = ("/api/v1/config", "/api/v1/config?effective=true", "/api/v1/config/certificates/main", "/api/v1/status",
             "/api/v1/config/revisions", "/api/v1/config/revisions/1")
    for path in paths:
        assert secret_of(pair).encode() not in node.get(path).body, path
    assert node.document()["certificates"]["main"]["key_pem"] == "<secret>"
    other = make(node.directory, "other.test")
    answer = node.write("PATCH", "/api/v1/config", {"certificates": {"main": by_text(other)}})
    assert answer.status == 200 and "/certificates/main/key_pem" in {c["path"] for c in answer.json["changes"]}
    assert shown_certificate(node) in other[0].read_text()
    wrong = node.write("PATCH", "/api/v1/config", {"certificates": {"main": {"key_pem": pair[1].read_text()}}})
    assert wrong.status == 422
    for text in (answer.body.decode(), wrong.body.decode(), node.log):
        assert secret_of(pair) not in text and secret_of(other) not in text


def test_a_masked_key_written_back_keeps_the_key(idle_node, pair):
    node = with_tls(idle_node, by_text(pair)).start()
    document = node.document()
    document["listeners"]["relay"]["comment"] = "changed"
    answer = node.write("PUT", "/api/v1/config", document)
    assert answer.status == 200, answer.body
    assert [c["path"] for c in answer.json["changes"]] == ["/listeners/relay/comment"]
    assert shown_certificate(node) in pair[0].read_text()


def test_a_key_outlives_a_restart(idle_node, pair):
    node = with_tls(idle_node, by_text(pair)).start()
    assert node.stop() == 0
    node.start()
    assert shown_certificate(node) in pair[0].read_text()


WRONG = (
    ({"certificate_file": "/nowhere/c.pem"}, {}, "/certificates/main/certificate_file", "/nowhere/c.pem"),
    ({"certificate_file": "@cert", "key_file": "/nowhere/k.pem"}, {}, "/certificates/main/certificate_file", "/nowhere/k.pem"),
    ({"certificate_file": "@cert", "key_file": "@other"}, {}, "/certificates/main/certificate_file", "@other"),
    ({"certificate_file": "@cert", "key_file": "@locked"}, {}, "/certificates/main/certificate_file", "passphrase"),
    ({"key_file": "@key"}, {}, "/certificates/main", "one certificate and one key"),
    ({"certificate_file": "@cert", "key_file": "@key"}, {"certificates": ["mian"]}, "/listeners/relay/tls/certificates", "mian"),
    ({"certificate_file": "@cert", "key_file": "@key"}, {"certificates": []}, "/listeners/relay/tls/certificates", "certificate"),
    ({"certificate_file": "@cert", "key_file": "@key"}, {"client_ca_file": "/nowhere/ca.pem"},
     "/listeners/relay/tls/client_ca_file", "/nowhere/ca.pem"),
)


@pytest.mark.parametrize("certificate, tls, path, detail", WRONG)
def test_check_names_path_and_file(idle_node, pair, certificate, tls, path, detail):
    folder = idle_node.directory
    locked = folder / "locked.key"
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", str(pair[1]), "-out", str(locked), "-passout", "pass:secret"],
                   check=True, capture_output=True)
    files = {"@cert": str(pair[0]), "@key": str(pair[1]), "@other": str(make(folder, "other.test")[1]), "@locked": str(locked)}
    with_tls(idle_node, {k: files.get(v, v) for k, v in certificate.items()}, **tls)
    done = check(idle_node)
    assert done.returncode == 2
    assert path in done.stderr and files.get(detail, detail) in done.stderr, done.stderr


def test_check_accepts_what_serves(idle_node, pair):
    done = check(with_tls(idle_node, by_file(pair), client_ca_file=str(pair[0]), min_version="1.3"))
    assert done.returncode == 0, done.stderr


def test_a_directory_is_no_certificate(idle_node, pair):
    done = check(with_tls(idle_node, {"certificate_file": str(pair[0].parent), "key_file": str(pair[1])}))
    assert done.returncode == 2 and str(pair[0].parent) in done.stderr


def test_a_broken_file_stops_no_other_change_and_its_warning_goes_with_it(idle_node, pair):
    node = with_tls(idle_node, by_file(pair)).start()
    good = pair[0].read_text()
    pair[0].write_text("nothing")
    node.process.send_signal(1)
    wait_for(lambda: "certificates" in {w["key"] for w in node.get("/api/v1/status").json["warnings"]}, "a warning")
    assert node.write("PATCH", "/api/v1/config", {"pools": {"main": {"balance": "first"}}}).status == 200
    assert "certificates" in {w["key"] for w in node.get("/api/v1/status").json["warnings"]}
    other = make(node.directory, "other.test")
    assert node.write("PATCH", "/api/v1/config", {"certificates": {"main": by_file(other)}}).status == 200
    assert "certificates" not in {w["key"] for w in node.get("/api/v1/status").json["warnings"]}
    assert shown_certificate(node) in other[0].read_text()
    assert good not in json.dumps(node.document())


def test_events_tell_of_certificates_read_again(idle_node, pair, stream):
    node = with_tls(idle_node, by_file(pair)).start()
    events = stream(node, "/api/v1/events")
    node.process.send_signal(1)
    assert events.until("certificates")["data"]["reloaded"] is True
    pair[1].write_text("nothing")
    node.process.send_signal(1)
    event = events.until("certificates")["data"]
    assert event["reloaded"] is False and str(pair[1]) in event["error"]


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), DEADLINE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_files_that_went_bad_close_what_needs_them_at_a_start_and_nothing_else(idle_node, pair):
    node = with_tls(idle_node, by_file(pair))
    plain = free_port()
    authorities = node.directory / "ca.pem"
    authorities.write_text(pair[0].read_text())
    node.config["listeners"]["plain"] = dict(node.config["listeners"]["relay"], bind=[f"127.0.0.1:{plain}"], tls={})
    node.config["pools"]["other"]["tls"] = {"mode": "verify", "ca_file": str(authorities)}
    node.start()
    node.stop()
    good = pair[0].read_text()
    pair[0].write_text("-----BEGIN CERTIFICATE-----\nMIIB")
    authorities.write_text("nothing")
    checked = check(node)
    assert checked.returncode == 0 and "warning: /certificates/main/certificate_file" in checked.stdout, checked.stderr

    node.start(ready=False)
    wait_for(lambda: connects(plain), "the listener without TLS serves")
    assert not connects(node.smtp_port)
    ready = node.get("/readyz")
    assert ready.status == 503 and "listener relay is closed: see the warnings" in ready.json["not_ready"]
    warning, = [w["text"] for w in node.get("/api/v1/status").json["warnings"] if w["key"] == "certificates"]
    assert "/certificates/main/certificate_file" in warning and "/listeners/relay/tls/certificates" in warning
    assert "/pools/other/tls/ca_file" in warning and node.get("/api/v1/pools/other").json["servers"] == {}
    assert node.write("PATCH", "/api/v1/config", {"comment": "beside"}).status == 200
    assert not connects(node.smtp_port)

    pair[0].write_text(good)
    authorities.write_text(good)
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: node.get("/readyz").status == 200, "the node is ready")
    assert shown_certificate(node) in good
    assert list(node.get("/api/v1/pools/other").json["servers"]) == ["o1"]
    assert "certificates" not in {w["key"] for w in node.get("/api/v1/status").json["warnings"]}


def test_what_is_not_stored_yet_must_be_right_as_a_whole(idle_node, pair):
    pair[0].write_text("-----BEGIN CERTIFICATE-----\nMIIB")
    checked = check(with_tls(idle_node, by_file(pair)))
    assert checked.returncode == 2 and "/certificates/main/certificate_file" in checked.stderr
