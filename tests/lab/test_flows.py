# SPDX-License-Identifier: Apache-2.0
"""A planned move of a virtual address cuts nothing: sessions go on, new ones begin on the new node, nothing is left behind.

Namespaces on a bridge: three nodes, a client, and a router with a client behind it. There is no keepalived: addresses are
moved by hand, in the order that it would. The nodes are as strict as hosts are: rp_filter=1, no forwarding. Needs root.
"""
import json
import os
import pathlib
import select
import subprocess
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
DRIVER = BUILD / "lab/flows-driver"
PEER = REPOSITORY / "tests/lab/flows_peer.py"
PORT = 2525
SECONDS = 120
OPEN = 4
LONG_OPEN = 10
OPEN_MAX = 60
FAMILIES = {4: ("10.77.0.", 24, "10.78.0."), 6: ("fd77::", 64, "fd78::")}
HOSTS = {"n1": 1, "n2": 2, "n3": 3, "router": 8, "client": 100}
VIP = 9
FIREWALL = """
table inet fw {
  chain input {
    type filter hook input priority 0; policy drop
    iif lo accept
    ct state invalid drop
    ct state established,related accept
    tcp dport 2525 tcp flags & (fin | syn | rst | ack) == syn ct state new accept
    icmp type { echo-request, destination-unreachable } accept
    meta l4proto ipv6-icmp accept
  }
}
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not DRIVER.exists(), reason=f"needs root and {DRIVER}")


def await_that(what, condition):
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(0.05)


class Host:
    """A namespace with an interface on the bridge."""

    def __init__(self, lab, name):
        self.lab, self.name, self.ns = lab, name, lab.prefix + name
        self.programs = []
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *argv, **kw):
        argv = ["ip", "netns", "exec", self.ns, *map(str, argv)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS, **kw)
        assert done.returncode == 0, f"{self.name}: {' '.join(argv[4:])}: {done.stderr}"
        return done.stdout

    def start(self, role, *args):
        argv = ["ip", "netns", "exec", self.ns, "/usr/bin/python3", "-B", str(PEER), role, *map(str, args)]
        p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.programs.append(p)
        return p

    def address(self, number):
        return FAMILIES[self.lab.family][0] + str(number)

    @property
    def ip(self):
        return self.address(HOSTS[self.name])

    def driver(self, *args, **kw):
        return self.run(DRIVER, *args, **kw)

    def counts(self):
        return json.loads(self.driver("counts"))

    def settings(self):
        """Everything that a move might leave behind."""
        both = self.run("ip", "-o", "address") + self.run("ip", "rule") + self.run("ip", "-6", "rule")
        routes = self.run("ip", "route", "show", "table", "all") + self.run("ip", "-6", "route", "show", "table", "all")
        return (self.run("nft", "list", "ruleset") + both + "\n".join(sorted(routes.splitlines())) +
                self.run("sysctl", "-a", "-r", r"^net\.ipv[46]\.(conf|ip_forward|neigh\.default)"))

    def close(self):
        for p in self.programs:
            p.kill()
            p.communicate()


class Lab:
    def __init__(self, family, firewall):
        self.family, self.firewall = family, firewall
        self.prefix = f"pf{os.getpid()}-"
        self.hosts, self.namespaces = {}, []
        self.vip = FAMILIES[family][0] + str(VIP)
        self.length = FAMILIES[family][1]

    def namespace(self, name):
        subprocess.run(["ip", "netns", "add", self.prefix + name], check=True)
        self.namespaces.append(self.prefix + name)

    def build(self):
        self.namespace("switch")
        switch = ["ip", "-n", self.prefix + "switch"]
        subprocess.run([*switch, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0",
                        "mcast_snooping", "0"], check=True)
        subprocess.run([*switch, "link", "set", "br0", "up"], check=True)
        for name, number in HOSTS.items():
            self.namespace(name)
            host = self.hosts[name] = Host(self, name)
            subprocess.run([*switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", host.ns], check=True)
            subprocess.run([*switch, "link", "set", name, "master", "br0", "up"], check=True)
            host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1",
                     "net.ipv4.conf.eth0.rp_filter=1", "net.ipv6.conf.eth0.accept_dad=0")
            host.run("ip", "link", "set", "eth0", "up")
            self.add(host, host.address(number))
        self.behind_the_router()
        for name in ("n1", "n2", "n3"):
            node = self.hosts[name]
            if self.firewall:
                node.run("nft", "-f", "-", input=FIREWALL)
            assert node.start("server", name, PORT).stdout.readline() == "ready\n"
        return self

    def behind_the_router(self):
        """A client in a network of its own: its packets come from the router's link-layer address."""
        net, length = FAMILIES[self.family][2], self.length
        self.namespace("far")
        router, far = self.hosts["router"], self.hosts.setdefault("far", Host(self, "far"))
        router.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", far.ns)
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for host, interface, number in ((router, "eth1", 1), (far, "eth0", 2)):
            host.run("ip", "link", "set", interface, "up")
            host.run("ip", "address", "add", f"{net}{number}/{length}", "dev", interface, *self.nodad())
        far.run("ip", f"-{self.family}", "route", "add", "default", "via", net + "1")
        for name in ("n1", "n2", "n3"):
            self.hosts[name].run("ip", f"-{self.family}", "route", "add", f"{net}/{length}" if self.family == 6 else
                                 f"{net}0/{length}", "via", router.ip)

    def nodad(self):
        return ["nodad"] if self.family == 6 else []

    def add(self, host, address):
        host.run("ip", "address", "add", f"{address}/{self.length}", "dev", "eth0", *self.nodad())

    def take(self, node):
        self.add(node, self.vip)
        node.run("/usr/bin/python3", "-B", PEER, "announce", "eth0", self.vip)

    def give(self, node):
        node.run("ip", "address", "delete", f"{self.vip}/{self.length}", "dev", "eth0")

    def learned(self, host, node):
        mac = json.loads(node.run("ip", "-j", "link", "show", "eth0"))[0]["address"]
        return mac in host.run("ip", f"-{self.family}", "neighbor", "show", "to", self.vip)

    def tell(self, old, new):
        """The old node's lists, its own connections and what it passes on itself."""
        new.driver("receive", self.vip, old.ip, 600, input=old.driver("established", self.vip))
        others = {}
        for line in old.driver("passed", self.vip).splitlines():
            local, remote, node, _ = line.split()
            others.setdefault(node, []).append(f"{local} {remote}")
        for node, lines in others.items():
            if node != new.ip:
                new.driver("receive", self.vip, node, 600, input="\n".join(lines))

    def move(self, old, new, *clients, meanwhile=None):
        """The order of a planned move. What is to be seen meanwhile is seen before the opening ends: on a machine that is busy
        it is open for longer."""
        begun = time.monotonic()
        old.driver("keep", self.vip, old.ip, 600)
        old.driver("established", self.vip)
        busy = 40 * (time.monotonic() - begun)  # so long, with ease, takes what follows
        new.driver("open", self.vip, old.ip, min(OPEN_MAX, int(busy + (LONG_OPEN if meanwhile else OPEN))))
        self.tell(old, new)
        self.give(old)
        self.take(new)
        for client in clients:
            await_that("the client knows the new owner", lambda c=client: self.learned(c, new))
        self.tell(old, new)
        arrived = time.monotonic()
        if meanwhile:
            meanwhile()
            assert new.counts()["open"] == 1
        await_that("the end of the opening", lambda: new.counts()["open"] == 0)
        return arrived

    def close(self):
        for host in self.hosts.values():
            host.close()
        for ns in self.namespaces:
            subprocess.run(["ip", "netns", "delete", ns], check=False)


@pytest.fixture(name="lab")
def _lab(request):
    lab = Lab(*request.param)
    try:
        yield lab.build()
    finally:
        lab.close()


def labs(*params):
    return pytest.mark.parametrize("lab", params, indirect=True, ids=[f"ipv{f}{'-firewall' * w}" for f, w in params])


class Sessions:
    def __init__(self, host, vip):
        self.process = host.start("sessions", vip, PORT)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], SECONDS)[0], f"{command}: no answer"
        return json.loads(self.process.stdout.readline())


def uncut(nodes):
    return {"nodes": nodes, "errors": 0, "first": []}


def storm_ends(storm):
    out, _ = storm.communicate(timeout=SECONDS)
    return json.loads(out)


@labs((4, False), (6, False), (4, True), (6, True))
@pytest.mark.long
def test_two_moves_cut_no_session_refuse_none_and_leave_nothing(lab):
    n1, n2, n3, client = (lab.hosts[n] for n in ("n1", "n2", "n3", "client"))
    before = {n.name: n.settings() for n in (n1, n2, n3)}
    lab.take(n1)
    many = 200 if lab.firewall else 500  # how many more could be is another test
    long = Sessions(client, lab.vip)
    assert long.ask(f"open {many}") == uncut({"n1": many})
    storm = client.start("storm", lab.vip, PORT)
    assert storm.stdout.readline() == "ready\n"
    assert long.ask("rounds 1") == uncut({"n1": many})

    first = lab.move(n1, n2, client, meanwhile=lambda: None)
    assert n2.counts()["passed_on"] >= many and n1.counts()["kept"] == 1
    assert long.ask("rounds 2") == uncut({"n1": many})
    assert long.ask("open 50") == uncut({"n1": many, "n2": 50})

    second = lab.move(n2, n3, client, meanwhile=lambda: None)
    # What came from n1 goes there from n3 directly: n2 may end.
    n2.run("nft", "flush", "table", "netdev", "postroad")
    assert long.ask("open 50") == uncut({"n1": many, "n2": 50, "n3": 50})
    assert long.ask("rounds 2") == uncut({"n1": many, "n2": 50, "n3": 50})
    results = storm_ends(storm)
    assert [r for r in results if r[2]] == []
    assert {r[1] for r in results} == {"n1", "n2", "n3"}
    assert {r[1] for r in results if r[0] > second} == {"n3"}
    assert "n1" not in {r[1] for r in results if r[0] > first}
    assert long.ask("quit") == uncut({"n1": many, "n2": 50, "n3": 50})

    lab.give(n3)
    for node in (n1, n2, n3):
        assert node.settings() != before[node.name]
        node.driver("clean")
        assert node.settings() == before[node.name]


@labs((4, False), (6, False))
@pytest.mark.long
def test_back_and_forth_finds_its_own_sessions_again(lab):
    n1, n2, client = (lab.hosts[n] for n in ("n1", "n2", "client"))
    lab.take(n1)
    long = Sessions(client, lab.vip)
    assert long.ask("open 50") == uncut({"n1": 50})
    lab.move(n1, n2, client)
    assert long.ask("open 50") == uncut({"n1": 50, "n2": 50})

    def both_go_on():
        assert long.ask("rounds 2") == uncut({"n1": 50, "n2": 50})

    lab.move(n2, n1, client, meanwhile=both_go_on)
    assert n1.counts()["passed_on"] == 50
    both_go_on()
    # It has the address on the interface too now, and that is enough.
    n1.driver("release", lab.vip)
    assert n1.counts()["kept"] == 0
    both_go_on()
    lab.move(n1, n2, client)
    assert n2.counts()["passed_on"] == 50
    assert long.ask("rounds 2") == uncut({"n1": 50, "n2": 50})
    assert long.ask("quit") == uncut({"n1": 50, "n2": 50})


@labs((4, False), (6, False))
@pytest.mark.long
def test_old_node_learns_of_a_smaller_mtu_on_the_way(lab):
    n1, n2, router, far = (lab.hosts[n] for n in ("n1", "n2", "router", "far"))
    lab.take(n1)
    long = Sessions(far, lab.vip)
    assert long.ask("open 3") == uncut({"n1": 3})
    assert long.ask("fetch 20000") == uncut({"n1": 3})
    lab.move(n1, n2, router)
    router.run("ip", "link", "set", "eth1", "mtu", 1300)
    assert long.ask("fetch 20000") == uncut({"n1": 3})
    # It had to learn.
    assert "mtu 1300" in n1.run("ip", "route", "get", FAMILIES[lab.family][2] + "2", *(["from", lab.vip]))


@labs((4, False), (6, False))
@pytest.mark.long
def test_nobody_hears_of_the_kept_address(lab):
    n1, n2, n3, client = (lab.hosts[n] for n in ("n1", "n2", "n3", "client"))
    lab.take(n1)
    long = Sessions(client, lab.vip)
    assert long.ask("open 5") == uncut({"n1": 5})
    lab.move(n1, n2, client)
    # n1 has to ask for the client anew, on behalf of packets from the virtual address.
    n1.run("ip", f"-{lab.family}", "neighbor", "flush", "dev", "eth0")
    n3.run("ip", f"-{lab.family}", "neighbor", "flush", "dev", "eth0")
    client.run("ip", f"-{lab.family}", "neighbor", "flush", "dev", "eth0")
    assert long.ask("rounds 1") == uncut({"n1": 5})
    assert lab.learned(client, n2)
    lab.give(n2)
    # Nobody has it on an interface now, and nobody answers. One asks who has no packets of its own for the address.
    n3.run("ip", f"-{lab.family}", "neighbor", "flush", "dev", "eth0")
    n3.run("/usr/bin/python3", "-c", KNOCK, lab.vip)

    def answered():
        return n3.run("ip", f"-{lab.family}", "neighbor", "show", "to", lab.vip).split()

    await_that("an answer, or that there is none", lambda: "lladdr" in answered() or "FAILED" in answered())
    assert "lladdr" not in answered()


KNOCK = """
import socket, sys
socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", (sys.argv[1], 9))
"""

CONNECT = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
s.settimeout(30)
s.bind(("", 40000))
s.connect((sys.argv[1], 2525))
print(s.makefile("rb").readline().decode().strip(), flush=True)
sys.stdin.readline()
try:
    s.send(b"1\\n")
    print(s.recv(100).decode().split()[1])
except OSError as e:
    print(type(e).__name__)
"""


def connecting(client, vip):
    """A connection from one port; at its end by a reset, without a word when the client is cut off."""
    argv = ["ip", "netns", "exec", client.ns, "/usr/bin/python3", "-c", CONNECT, vip]
    p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    client.programs.append(p)
    return p


def connect(client, vip):
    p = connecting(client, vip)
    return p, p.stdout.readline().strip()


@labs((4, False), (6, False))
def test_new_connection_from_a_known_port_is_the_new_nodes(lab):
    n1, n2, client = (lab.hosts[n] for n in ("n1", "n2", "client"))
    lab.take(n1)
    p, greeted = connect(client, lab.vip)
    assert greeted == "n1"
    lab.move(n1, n2, client)
    assert n2.driver("passed", lab.vip).count(":40000 ") == 1
    # The client vanishes without a word, and comes back from the same port.
    drop = "table inet cut { chain out { type filter hook output priority 0; tcp dport 2525 drop; }; }"
    client.run("nft", "-f", "-", input=drop)
    p.kill()
    p.communicate()
    client.run("nft", "delete", "table", "inet", "cut")
    assert n2.driver("passed", lab.vip).count(":40000 ") == 1
    p, greeted = connect(client, lab.vip)
    assert greeted == "n2"
    assert n2.driver("passed", lab.vip) == ""
    out, _ = p.communicate("\n", timeout=SECONDS)
    assert out == "n2\n"


@labs((4, False), (6, False))
def test_half_open_connection_becomes_one_of_the_old_node(lab):
    n1, n2, client = (lab.hosts[n] for n in ("n1", "n2", "client"))
    lab.take(n1)
    # The first packet gets through, and what follows does not.
    client.run("nft", "-f", "-", input="table inet cut { chain out { type filter hook output priority 0; "
                                       "tcp dport 2525 tcp flags & syn == 0 drop; }; }")
    p = connecting(client, lab.vip)
    await_that("the old node has half of it", lambda: ":40000" in n1.driver("established", lab.vip))
    lab.move(n1, n2, client)
    assert n2.driver("passed", lab.vip).count(":40000 ") == 1
    client.run("nft", "delete", "table", "inet", "cut")
    out, _ = p.communicate("\n", timeout=SECONDS)
    assert out.split() == ["n1", "n1"]


@labs((4, False), (6, False))
@pytest.mark.long
def test_sessions_of_a_dead_node_end_at_once_and_their_ports_are_free(lab):
    n1, n2, client = (lab.hosts[n] for n in ("n1", "n2", "client"))
    lab.take(n1)
    p, greeted = connect(client, lab.vip)
    assert greeted == "n1"
    lab.move(n1, n2, client)
    subprocess.run(["ip", "-n", lab.prefix + "switch", "link", "set", "n1", "down"], check=True)
    n2.driver("lost", n1.ip)
    assert n2.counts()["passed_on"] == 0
    out, _ = p.communicate("\n", timeout=SECONDS)
    assert out == "ConnectionResetError\n"
    p, greeted = connect(client, lab.vip)
    assert greeted == "n2"
    out, _ = p.communicate("\n", timeout=SECONDS)
    assert out == "n2\n"


@labs((4, False), (6, False))
@pytest.mark.long
def test_a_connection_that_is_another_nodes_now_is_passed_on_to_that_one(lab):
    n1, n2, n3 = (lab.hosts[n] for n in ("n1", "n2", "n3"))
    join = "[{}]:{}" if lab.family == 6 else "{}:{}"
    one, two, three = (f"{join.format(lab.vip, 25)} {join.format(lab.hosts['client'].ip, 4000 + i)}" for i in range(3))
    n3.driver("receive", lab.vip, n1.ip, 600, input=f"{one}\n{two}\n")
    n3.driver("receive", lab.vip, n2.ip, 600, input=f"{three}\n{one}\n")
    assert {tuple(line.split()[1:3]) for line in n3.driver("passed", lab.vip).splitlines()} == {
        (one.split()[1], n2.ip), (two.split()[1], n1.ip), (three.split()[1], n2.ip)}


@labs((4, False), (6, False))
@pytest.mark.long
def test_twenty_thousand_flows_are_told_at_once_and_again(lab):
    n1, n2 = lab.hosts["n1"], lab.hosts["n2"]
    join = "[{}]:{}" if lab.family == 6 else "{}:{}"
    lines = "\n".join(f"{join.format(lab.vip, 25)} {join.format(lab.hosts['client'].address(1 + i % 5), 10000 + i)}" for i in range(20000))
    for _ in range(2):
        begun = time.monotonic()
        n2.driver("receive", lab.vip, n1.ip, 600, input=lines)
        print(f"20000 flows in {time.monotonic() - begun:.2f} s")
        assert n2.counts()["passed_on"] == 20000
    begun = time.monotonic()
    assert len(n2.driver("passed", lab.vip).splitlines()) == 20000
    print(f"listed in {time.monotonic() - begun:.2f} s")


@labs((4, False), (6, False))
@pytest.mark.long
def test_all_of_it_ends_by_itself(lab):
    n1, n2 = lab.hosts["n1"], lab.hosts["n2"]
    before = {n.name: n.settings() for n in (n1, n2)}
    line = "{0}:25 {0}:4000" if lab.family == 4 else "[{0}]:25 [{0}]:4000"
    n1.driver("keep", lab.vip, n1.ip, 1)
    n2.driver("open", lab.vip, n1.ip, 1)
    n2.driver("receive", lab.vip, n1.ip, 1, input=line.format(lab.vip))
    for node in (n1, n2):
        await_that("the end", lambda n=node: set(n.counts().values()) == {0})
        node.driver("tidy")
        assert node.settings() == before[node.name]


@labs((4, False), (6, False))
def test_what_cannot_be_done_is_said_and_changes_nothing(lab):
    n1, client = lab.hosts["n1"], lab.hosts["client"]
    before = n1.settings()
    far = FAMILIES[lab.family][2] + "2"
    other = "10.77.0.2" if lab.family == 6 else "fd77::2"
    for args, sentence in ((("open", lab.vip, far, 5), "behind a router"),
                           (("open", lab.vip, n1.ip, 5), "no other node"),
                           (("open", lab.vip, other, 5), "family"),
                           (("open", lab.vip, client.ip, 61), "at most 60 seconds"),
                           (("keep", lab.vip, client.ip, 5), "no address of this node"),
                           (("keep", n1.ip, n1.ip, 5), "another for itself"),
                           (("keep", lab.vip, n1.ip, 0), "within 1")):
        done = subprocess.run(["ip", "netns", "exec", n1.ns, DRIVER, *map(str, args)], capture_output=True, text=True,
                              check=False, timeout=SECONDS)
        assert done.returncode == 1 and sentence in done.stderr, args
    n1.driver("release", lab.vip)
    assert n1.settings() == before
