# SPDX-License-Identifier: Apache-2.0
"""Corosync rings in namespaces: `python3 -m tests.members.ring DIR RENDERER COROSYNC FAMILIES`, itself run by unshare.

The hard thing: corosync knows its places by heart (/run, its plugins below /usr/lib, a lock in /var/run), and its sockets
are abstract. So each node has a network and a mount namespace of its own, in which the unpacked packages lie over /usr."""
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.peers import unpacking

# $1 = the packages, $2 = a directory of the node's own. /var/run is /run.
INSIDE = ('set -e; mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr; mount -t tmpfs tmpfs /run; '
          'mkdir -p /run/lock "$2/state"; shift 2; exec "$@"')
DEADLINE = 60


class Place:
    """A node's directory: its file, key, log and state."""

    def __init__(self, directory, renderer, packages):
        self.dir, self.renderer, self.packages = Path(directory), renderer, Path(packages)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.conf, self.log = self.dir / "corosync.conf", self.dir / "log"
        self.process = None

    def write(self, generation, nodes, key=b"k" * 128):
        # Under a name of its own, so that file and key change in one step.
        place = self.dir / f"key-{generation}"
        place.write_bytes(key)
        place.chmod(0o600)
        argv = [self.renderer, "mail", str(generation), *map(str, (place, self.dir / "state", self.dir / "log"))]
        lines = "".join(" ".join(map(str, node)) + "\n" for node in nodes)
        self.conf.write_text(subprocess.run(argv, input=lines, capture_output=True, text=True, check=True).stdout,
                             encoding="utf-8")

    def inside(self, argv, prefix=()):
        return [*prefix, "unshare", "-m", "--propagation", "private", "sh", "-c", INSIDE, "sh", str(self.packages), str(self.dir),
                *argv]

    def environment(self):
        return unpacking.environment(self.packages)

    def check(self, addresses):
        """Corosync's own judgement of the file, on a machine that has these addresses; what it says goes to the log."""
        script = "ip link set lo up; for a; do ip address add $a dev lo; done; "
        script += f"exec corosync -t -c {self.conf}"
        return subprocess.run(self.inside(["sh", "-c", script, "sh", *addresses], ["unshare", "-n"]), capture_output=True,
                              text=True, timeout=60, env=self.environment(), check=False)

    # ---- in a network namespace with the node's name ----

    def start(self, name):
        self.name = name
        argv = self.inside(["corosync", "-f", "-c", str(self.conf)], ["ip", "netns", "exec", name])
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=self.environment())

    def ask(self, *argv):
        return subprocess.run(self.inside(argv, ["ip", "netns", "exec", self.name]), capture_output=True, text=True,
                              timeout=30, env=self.environment(), check=False)

    def cmap(self, prefix):
        """Keys that begin so, and their values as text."""
        found = {}
        for line in self.ask("corosync-cmapctl", prefix).stdout.splitlines():
            key, sep, value = line.partition(" = ")
            if sep:
                found[key.split(" ")[0]] = value
        return found

    def members(self):
        """Ids of those that corosync counts as members."""
        return sorted(int(key.split(".")[2]) for key, value in self.cmap("runtime.members.").items()
                      if key.endswith(".status") and value == "joined")

    def joins(self):
        """How often each member has come: a break in between would count."""
        return {int(key.split(".")[2]): int(value) for key, value in self.cmap("runtime.members.").items()
                if key.endswith(".join_count")}

    def version(self):
        return int(self.cmap("totem.config_version").get("totem.config_version", 0))


def await_that(what, places):
    deadline = time.monotonic() + DEADLINE
    while not what():
        if time.monotonic() > deadline:
            for place in places:
                print(place.dir, place.members() if place.process else "-", place.log.read_text()[-3000:] if place.log.exists() else "")
            raise SystemExit("did not come about in time")
        time.sleep(0.2)


def ip(*argv):
    subprocess.run(["ip", *argv], check=True)


def lay_network(names, families):
    ip("link", "set", "lo", "up")
    for k, family in enumerate(families):
        ip("link", "add", f"br{k}", "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
        ip("link", "set", f"br{k}", "up")
        for i, name in enumerate(names, 1):
            if k == 0:
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("link", "add", f"{name}v{k}", "type", "veth", "peer", "name", f"eth{k}", "netns", name)
            ip("link", "set", f"{name}v{k}", "master", f"br{k}", "up")
            address = f"10.{k}.0.{i}/24" if family == 4 else f"fd00:{k}::{i:x}/64"
            ip("-n", name, "address", "add", address, "dev", f"eth{k}", *(["nodad"] if family == 6 else []))
            ip("-n", name, "link", "set", f"eth{k}", "up")


def main():
    directory, renderer, packages, families = sys.argv[1:]
    families = [int(f) for f in families.split(",")]
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    names = ["n1", "n2", "n3"]
    lay_network(names, families)
    listed = [(i, name, *(f"10.{k}.0.{i}" if f == 4 else f"fd00:{k}::{i:x}" for k, f in enumerate(families)))
              for i, name in enumerate(names, 1)]
    places = [Place(Path(directory) / name, renderer, packages) for name in names]
    first, new_key = places[:2], os.urandom(128)

    for place, name in zip(first, names):
        place.write(1, listed[:2])
        place.start(name)
    await_that(lambda: all(p.members() == [1, 2] for p in first), places)

    for place in places:
        place.write(2, listed)
    assert first[0].ask("corosync-cfgtool", "-R").returncode == 0
    await_that(lambda: all(p.version() == 2 for p in first), places)
    places[2].start("n3")
    await_that(lambda: all(p.members() == [1, 2, 3] for p in places), places)

    for place in places:
        place.write(3, listed, new_key)
    assert places[1].ask("corosync-cfgtool", "-R").returncode == 0
    await_that(lambda: all(p.version() == 3 for p in places), places)
    # Who has the old key is not heard any more: the one that comes anew must have the new one.
    places[2].process.terminate()
    places[2].process.wait(30)
    await_that(lambda: all(p.members() == [1, 2] for p in first), places)
    assert all(p.joins()[i] == 1 for p in first for i in (1, 2)), [p.joins() for p in first]
    places[2].start("n3")
    await_that(lambda: all(p.members() == [1, 2, 3] for p in places), places)

    places[2].process.terminate()
    places[2].process.wait(30)
    for place in first:
        place.write(4, listed[:2], new_key)
    assert first[0].ask("corosync-cfgtool", "-R").returncode == 0
    await_that(lambda: all(p.version() == 4 and p.members() == [1, 2] for p in first), places)
    assert all(p.joins()[i] == 1 for p in first for i in (1, 2)), [p.joins() for p in first]


if __name__ == "__main__":
    main()
