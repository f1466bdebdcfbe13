# SPDX-License-Identifier: Apache-2.0
"""A lab: some nodes, a client and backends on two networks, with observers; one `with`, and nothing is left behind.

    with Lab(build, home, nodes=3) as lab:
        lab.nodes, lab.client, lab.mx, lab.lan

Numbers on the networks: nodes 11, 12, …; VIPs 50, 51, …; client 100; mx 200.
"""
import os
import shutil
from pathlib import Path

from tests.lab.cluster import mail, starve
from tests.lab.cluster.host import Host
from tests.lab.cluster.lan import PREFIX, Lan
from tests.lab.cluster.node import Node, Stable, Supervisor
from tests.lab.cluster.waiting import LabError
from tests.peers import unpacking

STATE_SIZE = "16m"
TOOLS = ("bin/postroadd", "bin/postroad-sink", "bin/postroad-load", "bin/lab-probe", "bin/lab-watch", "bin/lab-hang", "lib/labshim.so")


class Lab:
    def __init__(self, build, home, nodes=3, state_size=STATE_SIZE, peers=("corosync", "keepalived"), out=None):
        """`build` has peers/, `out` (the same, if not given) bin/ and lib/. `home` is emptied; logs stay there."""
        self.out = Path(out or build).resolve()
        missing = [t for t in TOOLS if not (self.out / t).exists()]
        if missing:
            raise LabError(f"{', '.join(missing)}: not built in {self.out}; run make all bench-tools")
        if os.geteuid() != 0:
            raise LabError("a lab needs root, for namespaces")
        self.home = Path(home).resolve()
        self.peers = [unpacking.unpack(p, build) for p in peers]
        self.names = [f"n{i + 1}" for i in range(nodes)]
        self.state_size = state_size
        self.lan = self.stable = self.supervisor = self.client = self.mx = None
        self.nodes, self.observers = [], []
        self.findings = []  # of its supervisor, once all has ended

    def __enter__(self):
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        """What was wrong with programs is an error, unless there is one already that it must not hide."""
        self.close()
        if self.findings and kind is None:
            raise LabError("; ".join(self.findings))
        for finding in self.findings:
            print(f"the lab also found: {finding}")

    def _begin(self):
        starve.sweep()
        mail.sweep()
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        self.stable = Stable(self.home, {n: self.state_size for n in self.names}, self.peers)
        self.supervisor = Supervisor(self.home)
        self.lan = Lan()
        for i, name in enumerate(self.names):
            node = Node(name, self.home, self.stable, self.supervisor, self.peers, self.out / "lib/labshim.so")
            self.nodes.append(node)
            node.boot()
            self.lan.attach(node, 11 + i, ("lan", "cluster"))
        self.client, self.mx = Host("client", self.home), Host("mx", self.home)
        for host, number in ((self.client, 100), (self.mx, 200)):
            host.boot()
            self.lan.attach(host, number)

    def vip(self, index=0):
        return f"{PREFIX['lan']}.{50 + index}"

    def bin(self, name):
        return self.out / "bin" / name

    def node_of_mac(self, mac):
        return next((n for n in self.nodes if self.lan.mac(n.name) == mac), None)

    def close(self):
        """Ends everything. What cannot be ended is told, after all the rest is."""
        trouble = []
        steps = [o.close for o in self.observers]
        steps += [x.close for x in (self.supervisor,) if x]
        steps += [h.close for h in [*self.nodes, self.client, self.mx] if h]
        steps += [x.close for x in (self.lan, self.stable) if x]
        for step in steps:
            try:
                step()
            except Exception as e:  # pylint: disable=broad-except
                trouble.append(repr(e))
        if self.supervisor:
            self.findings = self.supervisor.trouble
        self.lan = self.stable = self.supervisor = self.client = self.mx = None
        if trouble:
            raise LabError("the lab could not end all of its parts: " + "; ".join(trouble))
