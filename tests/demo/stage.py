# SPDX-License-Identifier: Apache-2.0
"""What the demo is played on: three nodes, two Postfix, a sender, and those who look on.

The hard thing is to show what an operator would see: everything that forms or changes the system is a command typed on a
node, printed with its answer; what is only watched is asked of the API.
"""
import time

from tests.lab.cluster import product
from tests.lab.cluster.host import monotonic_ns
from tests.lab.cluster.mail import Mail, RealBackends
from tests.lab.cluster.observers import Owners, Prober
from tests.lab.cluster.waiting import Seen, until

VIP = "smtp"
SECONDS = 60  # that any step may take
SHOW_SECONDS = 2
TYPED_SECONDS = 90


def say(text):
    print(f"\n--- {text}", flush=True)


def now():
    return monotonic_ns() / 1e9


class Stage:
    def __init__(self, lab, args):
        self.lab, self.nodes, self.rate = lab, lab.nodes, args.rate
        self.began = self.shown = time.monotonic()
        self.address = lab.vip()
        self.owners = Owners(lab, self.address)
        self.backends = RealBackends(lab, build=args.build)
        self.prober = self.mail = None

    # ---- programs ----

    def configuration(self):
        """What n1 begins with. Checks at a pace that suits a show; all else is at its default."""
        return {
            "version": 1,
            "listeners": {"relay": {
                "bind": [f"{self.address}:25"], "mode": "smtp", "direction": "outbound", "hostname": "smtp.demo.test",
                "pool": "mta", "allow": ["10.78.0.0/24"],
            }},
            "pools": {"mta": {
                "balance": "leastconn", "slow_start": "5s",
                "servers": {name: {"address": address} for name, address in self.backends.addresses.items()},
                "health": {"type": "smtp", "interval": "1s", "fast_interval": "1s", "down_interval": "1s"},
            }},
            "vips": {VIP: {"addresses": [f"{self.address}/24"], "interface": "eth0", "nodes": [n.name for n in self.nodes]}},
        }

    def start_nodes(self):
        """postroadd and postroad-ha on each; the others know nothing yet."""
        for node in self.nodes:
            product.start(node, self.lab, self.configuration() if node is self.nodes[0] else {"version": 1})
        self.until(lambda: all(n.call("GET", "/api/v1/status")[0] == 200 for n in self.nodes), "all nodes have started")

    def start_mail(self):
        self.prober = Prober(self.lab, self.address)
        self.mail = Mail(self.lab, self.backends, self.address, self.rate, "demo")

    def typed(self, node, command, lines=None):
        """Runs what somebody would type on a node; prints it and (the first `lines` of) its answer."""
        print(f"    {node.name}# {command}", flush=True)
        bins = self.lab.bin("postroad").parent
        # Under the shim: init and join also write the node file, which a loss of power must treat as all else.
        text = node.run(node.shimmed(["sh", "-c", f"cd /run; PATH={bins}:$PATH; {command}"]), timeout=TYPED_SECONDS)
        for line in text.splitlines()[:lines]:
            print(f"        {line}", flush=True)
        return text

    # ---- what is going on ----

    def holder(self):
        return ", ".join(self.owners.now()) or "nobody"

    def holding_node(self):
        names = self.owners.now()
        return next((n for n in self.nodes if [n.name] == names), None)

    def running(self):
        return [n for n in self.nodes if n.is_on()]

    def said(self, node):
        """What a node says of the VIP: {"advert", "nodes": {NAME: {"priority", "may_hold", "state"}}}."""
        return node.call("GET", "/api/v1/vips")[2]["vips"][VIP]

    def could_have_it(self, *names):
        """Whether these could take the VIP at once, and all nodes have heard them say so."""
        heard = [self.said(node)["nodes"] for node in self.running()]
        return Seen(all(h[n].get("may_hold") and h[n]["state"] == "backup" for h in heard for n in names), heard)

    def balance_on(self, node):
        """The revision that is in force on a node, and how it picks a server."""
        revision = node.call("GET", "/api/v1/status")[2]["revision"]
        return revision, node.call("GET", "/api/v1/config/pools/mta")[2]["balance"]

    def bound(self, taker):
        """Seconds without an owner when one dies, by what is configured (RFC 5798, section 6.1), and 0.1 s for all else."""
        said = self.said(taker)
        return 3 * said["advert"] + self.skew(taker) + 0.1

    def skew(self, taker):
        said = self.said(taker)
        return (256 - said["nodes"][taker.name]["priority"]) * said["advert"] / 256

    def servers(self):
        """{"mta1": "up", …} as the VIP's holder sees them."""
        node = self.holding_node() or self.running()[0]
        found = node.call("GET", "/api/v1/pools/mta")[2]["servers"]
        return {name: s["state"] for name, s in found.items()}

    # ---- waiting ----

    def until(self, condition, what, seconds=SECONDS):
        def look():
            self.show()
            return condition()
        return until(look, seconds, what)

    def await_mail(self, seconds_of_mail):
        wanted = self.mail.accepted() + seconds_of_mail * self.rate
        self.until(lambda: Seen(self.mail.accepted() >= wanted, f"{self.mail.accepted()} of {wanted} accepted"), "mail goes on")

    def await_owner(self, *names):
        self.until(lambda: Seen(self.holder() in names, self.holder()), f"{' or '.join(names)} has the address")

    def show(self, force=False):
        """One line each two seconds while mail flows."""
        if self.mail is None or (not force and time.monotonic() < self.shown + SHOW_SECONDS):
            return
        self.shown = time.monotonic()
        delivered = "   ".join(f"{name} {mta.delivered():>5} delivered" for name, mta in self.backends.servers.items())
        print(f"    {self.shown - self.began:4.0f} s   {self.address} on {self.holder():<7}   {self.mail.accepted():>5} accepted   "
              f"{delivered}", flush=True)
