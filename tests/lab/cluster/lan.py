# SPDX-License-Identifier: Apache-2.0
"""Two networks in a switch of their own: "lan" for mail and VRRP, "cluster" for the nodes' talk; and what can go wrong there.

Cables end in ports named after host and network (n1lan, n1cluster). A cable can be cut, so that both ends see it; or frames
can be lost between ports, so that nobody sees anything. The latter are rules of nftables in the switch, made anew as a whole
with each change.
"""
import subprocess
from pathlib import Path

from tests.lab.cluster.host import Anchor, sh

BRIDGES = {"lan": "br0", "cluster": "brc"}
DEVICES = {"lan": "eth0", "cluster": "eth1"}
PREFIX = {"lan": "10.78.0", "cluster": "10.79.0"}
PREFIX6 = {"lan": "fd00:78::", "cluster": "fd00:79::"}
MAC = {"lan": "02:78:00:00:00", "cluster": "02:79:00:00:00"}
QUIET = """
for f in all default; do
	echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad
	echo 0 > /proc/sys/net/ipv6/conf/$f/router_solicitations
	echo 1 > /proc/sys/net/ipv4/conf/$f/arp_notify
done
"""


class Lan:
    """The switch. Hosts are attached with a number: the last byte of their addresses."""

    def __init__(self):
        self.switch = Anchor(("--net",))
        self.hosts = {}  # name: (host, number, networks)
        self.rules = {}  # name of a fault: list of rules
        self.names = 0
        links = "".join(f"link add {b} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {b} up\n"
                        for b in BRIDGES.values())
        self.ip("link set lo up\n" + links)
        self._apply()

    def ip(self, batch, host=None, check=True):
        """ip(8) with many lines, in the switch or on a host."""
        pid = host.pid if host else self.switch.pid
        force = [] if check else ["-force"]
        return sh(["nsenter", "--target", pid, "--net", "--", "ip", *force, "-batch", "-"], text=batch, check=check)

    def address(self, name, net="lan", version=4):
        number = self.hosts[name][1]
        return f"{PREFIX[net]}.{number}" if version == 4 else f"{PREFIX6[net]}{number}"

    def mac(self, name, net="lan"):
        return f"{MAC[net]}:{self.hosts[name][1]:02x}"

    def port(self, name, net="lan"):
        return name + net

    def attach(self, host, number, networks=("lan",)):
        self.hosts[host.name] = (host, number, networks)
        host.lan = self
        host.addresses = {net: self.address(host.name, net) for net in networks}
        self.plug(host)

    def plug(self, host):
        """Cables for a host that was just switched on."""
        _, number, networks = self.hosts[host.name]
        cables, inside = "", "link set lo up\n"
        for net in networks:
            port, device = self.port(host.name, net), DEVICES[net]
            cables += f"link add {port} type veth peer name {device} address {MAC[net]}:{number:02x} netns {host.pid}\n"
            cables += f"link set {port} master {BRIDGES[net]} up\n"
            inside += f"link set {device} up\naddress add {self.address(host.name, net)}/24 dev {device}\n"
            inside += f"address add {self.address(host.name, net, 6)}/64 dev {device} nodad\n"
        sh(["nsenter", "--target", host.pid, "--mount", "--net", "--", "sh", "-ec", QUIET])
        self.ip(cables)
        self.ip(inside, host)

    def unplug(self, host):
        """Both ends of its cables vanish. At one instant for the others: by one that is still there it would say that one is gone."""
        nets = self.hosts[host.name][2]
        ports = [self.port(host.name, net) for net in nets]
        silent = self._add([f'{way} "{port}" drop' for port in ports for way in ("iifname", "oifname")])
        self.ip("".join(f"link delete {port}\n" for port in ports), check=False)
        self.heal(silent)

    # ---- faults ----

    def cut(self, name, net="lan"):
        """Pulls the cable: both ends lose their carrier."""
        self.ip(f"link set {self.port(name, net)} down\n")

    def plug_in(self, name, net="lan"):
        self.ip(f"link set {self.port(name, net)} up\n")

    def partition(self, groups, net="cluster"):
        """Frames pass within a group only, all cables staying up. Hosts in no group talk to everybody."""
        rules = []
        for group in groups:
            others = [n for g in groups if g is not group for n in g]
            if group and others:
                rules.append(f"iifname {self._ports(group, net)} oifname {self._ports(others, net)} drop")
        return self._add(rules)

    def one_way(self, source, target, net="cluster"):
        """What source sends does not reach target; the other way it does."""
        return self._add([f"iifname {self._ports([source], net)} oifname {self._ports([target], net)} drop"])

    def lose(self, percent, net="cluster", names=None):
        """That share of the frames that these hosts (all, if none is named) send is lost."""
        names = names or [n for n, (_, _, nets) in self.hosts.items() if net in nets]
        return self._add([f"iifname {self._ports(names, net)} numgen random mod 1000 < {round(percent * 10)} drop"])

    def silence(self, name, net="lan"):
        """Nothing from or to this host passes, its cable staying up."""
        port = self._ports([name], net)
        return self._add([f"iifname {port} drop", f"oifname {port} drop"])

    def heal(self, fault=None):
        """Takes back one of these faults, or all of them and every cut."""
        if fault is not None:
            del self.rules[fault]
        else:
            self.rules.clear()
            ups = [self.port(n, net) for n, (host, _, nets) in self.hosts.items() for net in nets if host.is_on()]
            self.ip("".join(f"link set {p} up\n" for p in ups))
        self._apply()

    def dropped(self):
        """How many frames the faults in force have taken so far."""
        out = sh(["nsenter", "--target", self.switch.pid, "--net", "--", "nft", "list", "chain", "bridge", "lab", "forward"])
        return sum(int(line.split("packets ")[1].split()[0]) for line in out.splitlines() if "packets " in line)

    def _ports(self, names, net):
        return "{ " + ", ".join(f'"{self.port(n, net)}"' for n in names) + " }"

    def _add(self, rules):
        self.names += 1
        self.rules[self.names] = [r.removesuffix("drop") + "counter drop" for r in rules]
        self._apply()
        return self.names

    def _apply(self):
        lines = ["add table bridge lab", "add chain bridge lab forward { type filter hook forward priority 0 ; }",
                 "flush chain bridge lab forward"]
        lines += [f"add rule bridge lab forward {r}" for rules in self.rules.values() for r in rules]
        sh(["nsenter", "--target", self.switch.pid, "--net", "--", "nft", "-f", "-"], text="\n".join(lines) + "\n")

    # ---- what went through ----

    def bytes_sent(self, net="cluster", names=None):
        """Bytes that hosts have put on a network since they were plugged in."""
        names = names or [n for n, (_, _, nets) in self.hosts.items() if net in nets]
        ports = {self.port(n, net) for n in names}
        counted = {}
        for line in Path(f"/proc/{self.switch.pid}/net/dev").read_text().splitlines()[2:]:
            device, _, numbers = line.partition(":")
            counted[device.strip()] = int(numbers.split()[0])
        return sum(counted.get(p, 0) for p in ports)

    def close(self):
        for host, _, _ in self.hosts.values():
            host.close()
        if self.switch is not None:
            self.switch.kill()
            self.switch = None


def run_in(host, argv, **kw):
    """A command of this machine's in a host's network alone, e.g. a tool that needs the files outside."""
    return subprocess.run(["nsenter", "--target", str(host.pid), "--net", "--", *[str(a) for a in argv]], check=False, **kw)
