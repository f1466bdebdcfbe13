# SPDX-License-Identifier: Apache-2.0
"""The worked examples do what they say, with real Postfix behind them and curl as everybody else.

The hard thing is to change nothing: the examples have addresses and ports of their own. So each test has a network
namespace in which these are those of the loopback, and Postfix is told the very lines of the examples' page. Needs root.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.peers.postfix import Postfix  # noqa: E402
from tests.run.node import Node  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
EXAMPLES = REPOSITORY / "packaging/examples"
PAGE = (EXAMPLES / "README.md").read_text()
REFUSED, WELCOME, BALANCER = "192.0.2.66", "192.0.2.67", "10.0.0.30"
REFUSED6, WELCOME6, BALANCER6 = "2001:db8::66", "2001:db8::67", "2001:db8::30"
ADDRESSES = [REFUSED, WELCOME, BALANCER, "10.0.0.11", "10.0.0.12", "10.0.0.21", "10.0.0.31", "10.0.0.32"]
IPV6 = os.path.exists("/proc/net/if_inet6")
MESSAGE = "From: <a@client.test>\r\nTo: <b@example.com>\r\nSubject: {0}\r\nX-Postroad-Id: {0}\r\n\r\nHello\r\n"
PROBED = 2526  # where a Postfix shows that it runs; 2525 may be another's business
SECONDS = 30

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not (BUILD / "peers/postfix/.unpacked").exists(),
                                reason="needs root and `make peers`")


def of_page(pattern):
    """What the page tells people to write."""
    return re.search(pattern, PAGE, re.S)[1]


# The service as the page has it, but not chrooted: there is no jail prepared here.
HEADER = of_page(r"```\n(2525 inet .*?)```").replace(" n - y ", " n - n ")
POSTSCREEN = of_page(r"`(2525 inet [^`]* postscreen [^`]*)`").replace(" n - y ", " n - n ") + """
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
"""
XCLIENT = dict([of_page(r"`(smtpd_authorized_xclient_hosts = [^`]*)`").split(" = ")])
BY_XCLIENT = json.loads("{" + of_page(r'`("identity": [^`]*)`') + "}")["identity"]
PLAIN = "2525 inet n - n - - smtpd\n"


class Network:
    """A namespace with the examples' addresses."""

    def __init__(self, name):
        self.name, self.running = name, []
        subprocess.run(["ip", "netns", "add", name], check=True)
        for args in [["link", "set", "lo", "up"]] + [["address", "add", f"{a}/32", "dev", "lo"] for a in ADDRESSES] + [
                ["address", "add", f"{a}/128", "dev", "lo", "nodad"] for a in (REFUSED6, WELCOME6, BALANCER6) if IPV6]:
            subprocess.run(["ip", "-n", name, *args], check=True)

    def stop(self):
        """Ends all programs: the next ones have the same ports, and SO_REUSEPORT would let two balancers share them."""
        while self.running:
            self.running.pop().stop()

    def close(self):
        self.stop()
        subprocess.run(["ip", "netns", "delete", self.name], check=False)

    def postfix(self, directory, address, port, settings=None, services=""):
        settings = {"mynetworks": "127.0.0.0/8", "inet_interfaces": address, **(settings or {})}
        mta = Postfix(directory / address, f"{address}:{port}", netns=self.name, build=BUILD, settings=settings, services=services)
        self.running.append(mta)
        return mta.start()

    def node(self, directory, document):
        node = Node(BUILD / "bin", directory / "lb", document, netns=self.name)
        self.running.append(node)
        node.start()
        node.wait_until(lambda: all(s["state"] == "up" for p in json.loads(node.get("/api/v1/pools")[1])["pools"].values()
                                    for s in p["servers"].values()), "every server up", SECONDS)
        return node

    def curl(self, directory, ident, url, *options, source=WELCOME, sender="a@client.test", rcpt="b@example.com"):
        path = directory / f"{ident}.eml"
        path.write_bytes(MESSAGE.format(ident).encode())
        argv = ["ip", "netns", "exec", self.name, "curl", "--silent", "--show-error", "--verbose", "--interface", source, "--url",
                f"{url}/client.test", "--mail-from", sender, "--mail-rcpt", rcpt, "--upload-file", path, "--max-time", SECONDS]
        return subprocess.run([str(a) for a in [*argv, *options]], capture_output=True, text=True, timeout=2 * SECONDS, check=False)


@pytest.fixture(scope="module")
def network():
    made = Network(f"pr-ex-{os.getpid()}")
    yield made
    made.close()


def example(name, directory):
    """An example, with a certificate: only an operator has those it names."""
    document = json.loads((EXAMPLES / name).read_text())
    pem, key = directory / "c.pem", directory / "c.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=example.com", "-keyout", key, "-out", pem], check=True, capture_output=True, timeout=60)
    for own in document["certificates"].values():
        own.update({"certificate_file": str(pem), "key_file": str(key)})
    return document


def found(servers, ident):
    """The messages of that name, each with the server that has it."""
    stored = [(mta, p.read_text()) for mta in servers for p in (mta.maildir / "new").glob("*")]
    return [(mta, text) for mta, text in stored if f"X-Postroad-Id: {ident}\n" in text]


def arrived(servers, ident):
    """The one message of that name, and the server that has it, once it is there."""
    deadline = time.monotonic() + SECONDS
    while not found(servers, ident):
        assert time.monotonic() < deadline, f"{ident} did not arrive: {[mta.trouble() for mta in servers]}"
        time.sleep(0.05)
    mine, = found(servers, ident)
    return mine


# ---- inbound ----

def start_inbound(network, directory, services, identity=None, settings=None):
    """The example with its two servers, which refuse one client by its address, and one of IPv6 by its."""
    network.stop()
    table = f"inline:{{ {{ {REFUSED} = REJECT not you }} {{ {REFUSED6} = REJECT nor you }} }}"
    settings = {"smtpd_client_restrictions": f"check_client_access {table}", "postscreen_greet_wait": "1s",
                "inet_protocols": "all" if IPV6 else "ipv4", **(settings or {})}
    servers = [network.postfix(directory, a, PROBED, settings, services) for a in ("10.0.0.31", "10.0.0.32")]
    document = example("inbound.json", directory)
    if identity is not None:
        document["pools"]["mx"]["identity"] = identity
    if IPV6:
        document["listeners"]["mx"]["bind"].append("[::]:25")
    network.node(directory, document)
    return servers


@pytest.fixture(scope="module", params=["proxy", "postscreen", "xclient"])
def inbound(request, network, tmp_path_factory):
    """(servers, the name that they see the client give), for each way of the page to tell them who the client is."""
    how = {"proxy": (HEADER,), "postscreen": (POSTSCREEN,), "xclient": (PLAIN, BY_XCLIENT, XCLIENT)}[request.param]
    return start_inbound(network, tmp_path_factory.mktemp(request.param), *how), "client.test"


def test_inbound_servers_own_checks_see_the_real_client(network, tmp_path, inbound):
    servers, helo = inbound
    refused = network.curl(tmp_path, "refused", f"smtp://{BALANCER}", source=REFUSED)
    assert refused.returncode != 0 and f"< 554 5.7.1 <unknown[{REFUSED}]>: Client host rejected: not you" in refused.stderr
    welcome = network.curl(tmp_path, "welcome", f"smtp://{BALANCER}")
    assert welcome.returncode == 0, welcome.stderr
    _, text = arrived(servers, "welcome")
    assert f"Received: from {helo} (unknown [{WELCOME}])\n\tby mta.test (Postfix)" in text
    again = network.curl(tmp_path, "refused", f"smtp://{BALANCER}", source=REFUSED)
    assert f"<unknown[{REFUSED}]>" in again.stderr, "nor behind a client that is welcome"
    assert not found(servers, "refused")


@pytest.mark.skipif(not IPV6, reason="needs IPv6")
def test_inbound_servers_own_checks_see_a_client_of_ipv6(network, tmp_path, inbound):
    servers, helo = inbound
    refused = network.curl(tmp_path, "refused6", f"smtp://[{BALANCER6}]", source=REFUSED6)
    assert refused.returncode != 0 and f"< 554 5.7.1 <unknown[{REFUSED6}]>: Client host rejected: nor you" in refused.stderr
    welcome = network.curl(tmp_path, "welcome6", f"smtp://[{BALANCER6}]", source=WELCOME6)
    assert welcome.returncode == 0, welcome.stderr
    _, text = arrived(servers, "welcome6")
    assert f"Received: from {helo} (unknown [IPv6:{WELCOME6}])\n\tby mta.test (Postfix)" in text
    assert not found(servers, "refused6")


def test_inbound_takes_mail_for_its_own_domains_only(network, tmp_path, inbound):
    servers, _ = inbound
    for rcpt, taken in (("b@example.com", True), ("b@lists.example.com", True), ("b@customer-two.example", True),
                        ("b@example.org", False), ("b@customer-two.example.org", False)):
        done = network.curl(tmp_path, rcpt, f"smtp://{BALANCER}", "--ssl-reqd", "--insecure", rcpt=rcpt)
        assert (done.returncode == 0) == taken, done.stderr
        if taken:
            arrived(servers, rcpt)
        else:
            assert "< 550 5.7.1" in done.stderr and not found(servers, rcpt)


@pytest.mark.skipif(not IPV6, reason="needs IPv6")
@pytest.mark.parametrize("services,identity,settings", [(HEADER, None, {}), (PLAIN, BY_XCLIENT, XCLIENT)], ids=["proxy", "xclient"])
def test_inbound_mail_is_deferred_where_postfix_does_not_understand_ipv6(network, tmp_path, services, identity, settings):
    servers = start_inbound(network, tmp_path, services, identity, {**settings, "inet_protocols": "ipv4"})
    done = network.curl(tmp_path, "deferred", f"smtp://[{BALANCER6}]", source=WELCOME6)
    assert done.returncode != 0 and "RCPT failed: 451" in done.stderr, done.stderr
    done = network.curl(tmp_path, "taken", f"smtp://{BALANCER}")
    assert done.returncode == 0, "nor is that held against the servers"
    arrived(servers, "taken")
    assert not found(servers, "deferred")


def test_inbound_servers_that_are_not_told_see_the_balancer_alone(network, tmp_path):
    servers = start_inbound(network, tmp_path, PLAIN, identity={})
    done = network.curl(tmp_path, "untold", f"smtp://{BALANCER}", source=REFUSED)
    assert done.returncode == 0, done.stderr
    _, text = arrived(servers, "untold")
    assert f"[{REFUSED}])\n\tby mx.example.com (Postroad)" in text and f"[{REFUSED}])\n\tby mta.test" not in text


# ---- submission ----

@pytest.fixture(scope="module")
def submission(network, tmp_path_factory):
    """The example with its servers and two users; {"mta" or "bulk": the servers of that pool}."""
    network.stop()
    directory = tmp_path_factory.mktemp("submission")
    relay = {"mynetworks": "127.0.0.0/8 10.0.0.0/24"}
    servers = {pool: [network.postfix(directory, a, 25, relay) for a in addresses]
               for pool, addresses in (("mta", ("10.0.0.11", "10.0.0.12")), ("bulk", ("10.0.0.21",)))}
    node = network.node(directory, example("submission.json", directory))
    for user in ("app1", "newsletter"):
        subprocess.run([BUILD / "bin/postroad", "user", "add", user, "--socket", node.socket, "--yes"], input=f"{user}-secret\n",
                       text=True, check=True, capture_output=True, timeout=60)
    return servers


def submit(network, directory, ident, url, user, password=None):
    options = ["--ssl-reqd", "--insecure"] + (["--user", f"{user}:{password or user + '-secret'}"] if user else [])
    return network.curl(directory, ident, url, *options, rcpt="you@example.net")


def everybody(submission):
    return submission["mta"] + submission["bulk"]


@pytest.mark.parametrize("port,url", [(587, f"smtp://{BALANCER}:587"), (465, f"smtps://{BALANCER}:465")])
def test_submission_goes_where_the_user_who_logged_in_belongs(network, tmp_path, submission, port, url):
    for user, pool in (("app1", "mta"), ("newsletter", "bulk")):
        done = submit(network, tmp_path, f"{user}-{port}", url, user)
        assert done.returncode == 0, done.stderr
        where, text = arrived(everybody(submission), f"{user}-{port}")
        assert where in submission[pool]
        assert re.search(rf"from client\.test \(\[{WELCOME}\]\)\n\tby smtp\.example\.com \(Postroad\) with ESMTPSA ", text)


@pytest.mark.parametrize("url", [f"smtp://{BALANCER}:587", f"smtps://{BALANCER}:465"])
def test_submission_is_for_those_who_log_in_with_their_password(network, tmp_path, submission, url):
    wrong = submit(network, tmp_path, "wrong", url, "app1", "newsletter-secret")
    assert wrong.returncode == 67 and "< 535 5.7.8" in wrong.stderr, wrong.stderr
    nobody = submit(network, tmp_path, "nobody", url, None)
    assert nobody.returncode != 0 and "< 530 5.7.0" in nobody.stderr, nobody.stderr
    assert not found(everybody(submission), "wrong") + found(everybody(submission), "nobody")


def test_submission_without_tls_is_refused(network, tmp_path, submission):
    done = network.curl(tmp_path, "open", f"smtp://{BALANCER}:587", "--user", "app1:app1-secret")
    assert done.returncode != 0 and "AUTH" not in done.stderr and re.search(r"< 530 5\.7\.0|Login denied", done.stderr), done.stderr
    assert not found(everybody(submission), "open")
