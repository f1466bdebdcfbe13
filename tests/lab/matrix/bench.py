# SPDX-License-Identifier: Apache-2.0
"""What rows of the failure matrix are played on: nodes that the product made a cluster, with a VIP, mail, writers and observers.

The hard thing: a bench is used for row after row, so after each one everything that was done is taken back, and before each
one it is made sure that all is well: nobody is missed, one node has the VIP, and all others could take it.
"""
import itertools
import json

from tests.lab.cluster import product, services
from tests.lab.cluster.hang import Hang
from tests.lab.cluster.host import monotonic_ns
from tests.lab.cluster.lab import Lab
from tests.lab.cluster.mail import Backends
from tests.lab.cluster.observers import Owners, Prober
from tests.lab.cluster.registers import Document, Writers
from tests.lab.cluster.starve import Starve
from tests.lab.cluster.waiting import LabError, Seen, until

SECONDS = 60
DAEMON_WATCHDOG, HA_WATCHDOG = 5, 2  # seconds, as under systemd
SLACK = 0.1  # what the promises add to skew: a socket that closes, a file that is written
VIEW_SLACK = 0.3  # and to a loss of the token: forming a ring, telling it
WRITES_MIN = 3  # before a fault, and after it
REGISTERS, WRITERS, WRITE_PAUSE, CALL_SECONDS = ("w1", "w2", "w3"), 2, 0.3, 3
STATUS, VIPS = "/api/v1/status", "/api/v1/vips"


def now():
    return monotonic_ns() / 1e9


def asked(node, path):
    code, _, answer = node.call("GET", path, timeout=CALL_SECONDS)
    if code != 200:
        raise LabError(f"{node.name}: GET {path}: {code} {answer}")
    return answer


class Formed:
    """`networks`: corosync's links. `vips`: how many, all of them on all nodes, the first of them is what rows look at."""

    def __init__(self, build, home, nodes=3, networks=("cluster",), vips=1, out=None):
        self.lab = Lab(build, home, nodes, out=out)
        self.networks, self.n_vips = networks, vips
        self.hung, self.withheld = [], []
        self.backends = self.owners = self.prober = self.nodes = None
        self.seed = itertools.count()
        self.written = set()  # by the writers of earlier rows

    def __enter__(self):
        self.lab.__enter__()
        try:
            self._form()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, *_):
        self.release()
        self.lab.close()

    def _form(self):
        lab = self.lab
        self.nodes, self.backends = lab.nodes, Backends(lab)
        self.addresses = [lab.vip(i) for i in range(self.n_vips)]
        self.names = [chr(ord("a") + i) for i in range(self.n_vips)]
        self.document = services.configuration(self.addresses, self.backends.addresses, more={
            "vips": {name: {"addresses": [f"{address}/24"], "interface": "eth0", "nodes": lab.names}
                     for name, address in zip(self.names, self.addresses)},
            "domain_sets": {name: {"first.lab.test": True} for name in REGISTERS}})
        self.all_owners = [Owners(lab, a) for a in self.addresses]
        self.owners = self.all_owners[0]
        for node in self.nodes:
            product.start(node, lab, self.document, ha_watchdog=HA_WATCHDOG, watchdog=DAEMON_WATCHDOG, more={"workers": 2})
        for node in self.nodes:
            node.await_ready()
        product.form(self.nodes, self.networks)
        self.await_well()
        self.prober = Prober(lab, self.addresses[0])

    # ---- who is who ----

    def node(self, name):
        return next(n for n in self.nodes if n.name == name)

    def owner(self):
        """The one node that has the VIP."""
        names = self.owners.now()
        if len(names) != 1:
            raise LabError(f"the VIP is on {names}")
        return self.node(names[0])

    def others(self, *but):
        return [n for n in self.nodes if n not in but]

    def on(self):
        return [n for n in self.nodes if n.is_on()]

    def await_owner(self, *names, seconds=SECONDS):
        until(lambda: Seen(self.owners.now() == sorted(names), self.owners.now()), seconds, f"{names} hold the VIP")

    def vip(self, node, name=None):
        return asked(node, VIPS)["vips"][name or self.names[0]]

    # ---- what is in force, for bounds ----

    def advert(self):
        """A: seconds between two adverts."""
        return self.vip(self.on()[0])["advert"]

    def skew(self, node):
        """(256 - priority) × A / 256 of a node, by the priority that its keepalived has (RFC 5798, section 6.1)."""
        said = self.vip(node)["nodes"][node.name]
        return (256 - said["priority"]) * self.advert() / 256

    def heir(self, *gone):
        """Who is next, of the nodes that are not gone."""
        return max(self.others(*gone), key=lambda n: self.vip(n)["nodes"][n.name]["priority"])

    def master_down(self, node):
        """MDI: how long a backup waits for a master that says nothing."""
        return 3 * self.advert() + self.skew(node)

    def token(self):
        """T in seconds: how long corosync waits for the token, as it has worked it out from its file."""
        line = self.on()[0].run(["corosync-cmapctl", "-g", "runtime.config.totem.token"])
        return int(line.rpartition("=")[2]) / 1000

    def member_lost(self):
        """M: T until the token is missed, 1.2 T to agree on who is left."""
        return 2.2 * self.token() + VIEW_SLACK

    def rings(self):
        """{node: number of the ring}, which is another one after each change of view."""
        return {n.name: product.status(n)["corosync"]["ring"] for n in self.on()}

    # ---- waiting ----

    def await_active(self, nodes=None):
        for node in nodes or self.on():
            product.await_active(node, seconds=SECONDS)

    def sees(self, node, *names):
        """Whether this node's view has these and no others."""
        members = product.status(node)["members"]
        return Seen({n for n, m in members.items() if m["present"]} == set(names), json.dumps(members))

    def await_sees(self, node, *names, seconds=SECONDS):
        until(lambda: self.sees(node, *names), seconds, f"{node.name} sees {names}")

    def write(self, node, value):
        """A blind write: the weight of the first server. Returns the status."""
        return node.call("PUT", "/api/v1/pools/mta/servers/sink1/weight", {"weight": value}, timeout=15)[0]

    def await_written(self, node, value, seconds=SECONDS):
        until(lambda: Seen((code := self.write(node, value)) == 200, code), seconds, f"{node.name} takes a write")

    def await_well(self):
        """All nodes are there, have the same, and each VIP is on one while the others could take it."""
        for node in self.nodes:
            node.await_ready(SECONDS)
            product.await_active(node, lambda s: s["change"] is None and all(m["present"] for m in s["members"].values()), SECONDS)
        for name, owners in zip(self.names, self.all_owners):
            def candidates(name=name, owners=owners):
                said = [(n.name, self.vip(n, name)["nodes"]) for n in self.nodes]
                want = {n: "master" if n in owners.now() else "backup" for n in self.lab.names}
                return Seen(len(owners.now()) == 1 and all(
                    s[n]["state"] == want[n] and s[n]["may_hold"] and s[n]["fresh"] for _, s in said for n in want), (owners.now(), said))
            until(candidates, SECONDS, f"VIP {name} is on one node, and all others could take it")

    # ---- faults beyond those of the lab ----

    def hang(self, node, program, thread=None):
        """One thread of a program stands still (see threads() for names; None: its first one)."""
        self.hung.append(Hang(self.lab, node, program, thread))
        return self.hung[-1]

    def starve(self, node, percent):
        """All processes of a node share so much of one processor."""
        self.hung.append(Starve(node, percent))
        return self.hung[-1]

    def withhold(self, node, program):
        """From now on this program is not started again when it ends."""
        self.withheld.append(node.service(program))
        node.unsupervise(program)

    def release(self):
        while self.hung:
            self.hung.pop().release()

    def restore(self):
        """Takes back whatever was done."""
        self.release()
        self.lab.lan.heal()
        for node in self.nodes:
            if not node.is_on():
                node.power_on()
            node.resume()
            node.free_disk()
            node.hang_disk(False)
            node.slow_disk(0)
        with self.lab.supervisor.lock:
            for service in self.withheld:
                if not service.node.is_running(service.name):
                    service.start()
                self.lab.supervisor.services.append(service)
        self.withheld.clear()

    # ---- writes while a row is played, and the judge ----

    def writers(self):
        """Who writes on random nodes from now on until judged."""
        calls = {n.name: lambda *a, node=n: node.call(*a, timeout=CALL_SECONDS) for n in self.nodes}
        return Writers(calls, [Document(name) for name in REGISTERS], WRITERS, next(self.seed), give_up=CALL_SECONDS * 2,
                       pause=WRITE_PAUSE, before=self.written).start()

    def await_writes(self, writers):
        """Some more than now are made, or the judge of their history would have nothing to judge."""
        wanted = writers.done() + WRITES_MIN
        until(lambda: Seen(writers.done() >= wanted, (writers.counts(), writers.trouble)), SECONDS, f"{WRITES_MIN} writes are made")

    def said_by(self, node):
        """What must be alike on all nodes: the log, what came of it, and who they are."""
        _, headers, document = node.call("GET", "/api/v1/config", timeout=CALL_SECONDS)
        status, pools = product.status(node), asked(node, "/api/v1/pools")["pools"]
        return {"position": status["position"], "hash of the log": status["digest"], "generation": status["generation"],
                "members": {n: (m["id"], m["votes"], m["state"]) for n, m in status["members"].items()},
                "revision": asked(node, STATUS)["revision"], "ETag": headers.get("ETag"), "configuration": document,
                "run-time state": {p: {n: (s["admin"], s["weight"]) for n, s in pool["servers"].items()} for p, pool in pools.items()}}

    def differences(self):
        """What nodes do not say alike."""
        said = {node.name: self.said_by(node) for node in self.nodes}
        first = said[self.nodes[0].name]
        return {what: {n: s[what] for n, s in said.items()} for what in first if any(s[what] != first[what] for s in said.values())}

    def judge(self, writers, judges_writes=True):
        """What must hold after every row. Returns findings: none = all is well."""
        findings, patience = [], SECONDS
        try:
            self.await_well()
        except LabError as e:
            findings.append(str(e))
            patience = 1  # what did not come so far is not waited for once more
        findings += writers.finish(stale_reads=True) if judges_writes else writers.stop().trouble
        self.written |= writers.values()
        try:
            until(lambda: Seen(not (d := self.differences()), d), patience, "all nodes agree")
        except LabError as e:
            findings.append(str(e))
        findings += [f"the VIP {o.address} is on {o.now()}" for o in self.all_owners if len(o.now()) != 1]
        self.lab.supervisor.expected.clear()
        return findings + self.lab.supervisor.trouble

    def tell(self):
        return "\n".join(f"== {n.name}\n{n.tail('postroadd', 3000)}\n-- ha\n{n.tail('postroad-ha', 2000)}" for n in self.nodes)
