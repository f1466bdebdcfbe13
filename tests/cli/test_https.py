# SPDX-License-Identifier: Apache-2.0
"""--url: the token, and whom it is given to."""

import hashlib
import http.server
import ssl
import subprocess
import threading

import pytest
from conftest import DEADLINE, Handler, Node, Reply


class HttpsNode(Node):
    def __init__(self, certificate=None, key=None):
        self.calls, self.replies, self.lock = [], {}, threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.node = self
        scheme = "http"
        if certificate:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            # The handshake belongs in the connection's thread: a client that refuses must not stop the server.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.server.handle_error = lambda *args: None
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    d = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=n1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(d / "key"), "-out", str(d / "crt")],
                   check=True, capture_output=True, timeout=DEADLINE)
    return d


@pytest.fixture
def secure(certificate):
    n = HttpsNode(certificate / "crt", certificate / "key")
    n["GET /api/v1/nodes"] = {"nodes": []}
    yield n
    n.close()


@pytest.fixture
def token_file(tmp_path):
    f = tmp_path / "token"
    f.write_text("pr_abc\n")
    return str(f)


def fingerprint(certificate):
    pem = (certificate / "crt").read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_an_unknown_certificate_gets_no_token(postroad, secure, token_file):
    r = postroad("node", "list", "--url", secure.url, "--token-file", token_file)
    assert r.code == 1 and "--fingerprint" in r.err
    assert secure.calls == []


def test_the_fingerprint_of_the_certificate_opens_the_way(postroad, secure, certificate, token_file):
    plain = fingerprint(certificate)
    colons = "SHA256:" + ":".join(plain[i:i + 2] for i in range(0, 64, 2)).upper()
    for text in (plain, colons):
        r = postroad("node", "list", "--url", secure.url, "--token-file", token_file, "--fingerprint", text)
        assert r.code == 0, r.err
    assert [c.headers["Authorization"] for c in secure.calls] == ["Bearer pr_abc"] * 2


def test_another_fingerprint_does_not(postroad, secure, certificate, token_file):
    other = fingerprint(certificate)[:-1]
    other += "0" if fingerprint(certificate)[-1] != "0" else "1"
    r = postroad("node", "list", "--url", secure.url, "--token-file", token_file, "--fingerprint", other)
    assert r.code == 1
    assert secure.calls == []


def test_a_ca_file_opens_the_way(postroad, secure, certificate, token_file):
    r = postroad("node", "list", "--url", secure.url + "/", "--token-file", token_file, "--ca-file", str(certificate / "crt"))
    assert r.code == 0, r.err


def test_the_token_may_come_from_standard_input(postroad):
    n = HttpsNode()
    n["GET /api/v1/nodes"] = {"nodes": []}
    try:
        assert postroad("node", "list", "--url", n.url, "--token-file", "-", stdin="pr_in\n").code == 0
        assert n.calls[0].headers["Authorization"] == "Bearer pr_in"
    finally:
        n.close()


@pytest.mark.parametrize("text", ["", "\n", "two words\n"])
def test_a_file_without_a_token_is_refused(postroad, tmp_path, text):
    f = tmp_path / "token"
    f.write_text(text)
    r = postroad("node", "list", "--url", "https://127.0.0.1:1", "--token-file", str(f))
    assert r.code == 2 and "holds no token" in r.err


def test_a_redirect_is_not_followed(postroad, secure, certificate, token_file):
    secure["GET /api/v1/nodes"] = Reply({"title": "Moved"}, status=302, headers={"Location": secure.url + "/elsewhere"})
    r = postroad("node", "list", "--url", secure.url, "--token-file", token_file, "--fingerprint", fingerprint(certificate))
    assert r.code == 1
    assert len(secure.calls) == 1
