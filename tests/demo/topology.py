# SPDX-License-Identifier: Apache-2.0
"""Hosts made of network namespaces on one bridge. Nothing of the machine's own network is touched: the bridge lives in
a namespace too.

    with Topology("lb", "mta1") as hosts:       lb has 10.77.0.1 (first name), mta1 has 10.77.0.2 …
        hosts.netns("lb"), hosts.address("lb")
"""
import os
import subprocess


class Topology:
    def __init__(self, *names, network="10.77.0"):
        self.names, self.network = names, network
        self.prefix = f"postroad{os.getpid()}"
        self.made = []

    def netns(self, name):
        return f"{self.prefix}-{name}"

    def address(self, name):
        return f"{self.network}.{self.names.index(name) + 1}"

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Deleting a namespace deletes its ends of the cables, and with them the others."""
        for netns in reversed(self.made):
            ip("netns", "delete", netns, check=False)
        self.made = []

    def _make(self):
        switch = self._add("switch")
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(self.names):
            netns = self._add(name)
            port = f"port{number}"
            ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", netns)
            ip("-n", switch, "link", "set", port, "master", "br0", "up")
            ip("-n", netns, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            ip("-n", netns, "link", "set", "eth0", "up")

    def _add(self, name):
        netns = self.netns(name)
        ip("netns", "add", netns)
        self.made.append(netns)
        ip("-n", netns, "link", "set", "lo", "up")
        return netns


def ip(*argv, check=True):
    out = subprocess.run(["ip", *argv], capture_output=True, text=True, timeout=20, check=False)
    if check and out.returncode != 0:
        raise RuntimeError(f"ip {' '.join(argv)}: {out.stderr.strip()}")
