# SPDX-License-Identifier: Apache-2.0
"""Nodes with a real corosync each, on one machine.

The hard thing is that corosync believes it has a machine to itself: one PID file, one name, one set of sockets. So each
node is a network, mount and host-name namespace with /run and /dev/shm of its own, held by a process that sleeps; whatever else runs
on the node enters these. The processes die with the one that made them, and the namespaces with the processes.
"""
import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import time

from tests.peers import unpacking

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
PATIENCE = 60

CONFIGURATION = """totem {{
  version: 2
  cluster_name: lab
  transport: knet
  crypto_cipher: none
  crypto_hash: none
  token: 1000
  token_coefficient: 125
}}
system {{
  state_dir: {state}
  sched_rr: no
  move_to_root_cgroup: no
}}
logging {{
  to_syslog: no
  to_stderr: no
  to_logfile: yes
  logfile: {log}
}}
nodelist {{
{nodes}}}
"""
NODE = """  node {{
    nodeid: {id}
    name: n{id}
    ring0_addr: 10.77.0.{id}
  }}
"""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def namespaces_work():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-nmu", "true"], capture_output=True, timeout=20,
                                                check=False).returncode == 0


def wait_for(condition, what, seconds=PATIENCE):
    """Until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)
    return found


class Space:
    """A set of namespaces, held by a process that sleeps."""

    def __init__(self, name):
        script = f"hostname {name} && mount -t tmpfs run /run && mount -t tmpfs shm /dev/shm && ip link set lo up && echo ready && exec sleep infinity"
        self.holder = subprocess.Popen(["unshare", "-nmu", "--propagation", "private", "sh", "-c", script],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        if self.holder.stdout.readline() != b"ready\n":
            raise AssertionError(f"no namespaces for {name}")

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", "-u", "--", *map(str, argv)]

    def run(self, *argv):
        subprocess.run(self.argv(*argv), check=True, timeout=20, stdin=subprocess.DEVNULL)

    def popen(self, *argv, **kw):
        return subprocess.Popen(self.argv(*argv), preexec_fn=die_with_parent, **kw)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


class Node:
    def __init__(self, world, ident):
        self.world, self.id = world, ident
        self.dir = world.dir / f"n{ident}"
        (self.dir / "state").mkdir(parents=True)
        (self.dir / "uidgid.d").mkdir()
        self.space = Space(f"n{ident}")
        self.corosync = None
        self.members = []
        nodes = "".join(NODE.format(id=i) for i in world.ids)
        (self.dir / "corosync.conf").write_text(
            CONFIGURATION.format(state=self.dir / "state", log=self.dir / "corosync.log", nodes=nodes))
        world.switch.run("ip", "link", "add", f"v{ident}", "type", "veth", "peer", "name", "eth0", "netns", self.space.holder.pid)
        world.switch.run("ip", "link", "set", f"v{ident}", "master", "br0", "up")
        self.space.run("ip", "address", "add", f"10.77.0.{ident}/24", "dev", "eth0")
        self.space.run("ip", "link", "set", "eth0", "up")

    def start(self):
        with open(self.dir / "corosync.err", "ab") as err:
            self.corosync = self.space.popen(self.world.program, "-f", "-c", self.dir / "corosync.conf", env=self.world.env,
                                             stdin=subprocess.DEVNULL, stdout=err, stderr=err)

    def signal(self, number):
        self.corosync.send_signal(number)
        if number == signal.SIGKILL:
            self.corosync.wait(20)

    def link(self, up):
        self.world.switch.run("ip", "link", "set", f"v{self.id}", "up" if up else "down")

    def deaf_to(self, ident):
        """Nothing of that node comes in here, while all that goes out goes out; None ends it."""
        if ident is None:
            self.space.run("nft", "delete", "table", "ip", "deaf")
            return
        self.space.run("nft", "add table ip deaf; add chain ip deaf in { type filter hook input priority 0; }; "
                       f"add rule ip deaf in ip saddr 10.77.0.{ident} drop")

    def let_in(self, user):
        (self.dir / "uidgid.d" / "member").write_text(f"uidgid {{\n  uid: {user}\n}}\n")

    def member(self, user=None):
        m = Member(self, len(self.members), user)
        self.members.append(m)
        return m

    def close(self):
        for p in [m.process for m in self.members] + [self.corosync]:
            if p is not None and p.poll() is None:
                p.kill()
                p.wait(20)
        for m in self.members:
            m.process.stdin.close()
            m.process.stdout.close()
        self.space.close()


class Member:
    """A process on a node that joins by the adapter (member.c)."""

    def __init__(self, node, number, user):
        self.node = node
        self.path = node.dir / f"events.{number}"
        self.path.touch()
        argv = [node.world.tool]
        if user is not None:
            # Neither the build nor the directory of the test need be open to others.
            os.chown(self.path, user, user)
            node.space.run("install", "-m", "755", node.world.tool, "/run/ring-member")
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--pdeathsig=KILL", "/run/ring-member"]
        with open(node.dir / f"member.{number}.err", "ab") as err, open(self.path, "ab") as events:
            fd = events.fileno()
            self.process = node.space.popen(*argv, f"/dev/fd/{fd}", node.id, pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=err, text=True)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self, seconds=PATIENCE):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise AssertionError("the member does not answer")
        return json.loads(self.process.stdout.readline())

    def status(self):
        self.say("status")
        return self.answer()

    def stop(self):
        self.say("stop")
        took = self.answer()["stopped_ms"]
        self.process.wait(20)
        return took

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lines(self):
        text = self.path.read_text()
        return text[:text.rfind("\n") + 1].splitlines()

    def views(self):
        """[(name, ids, [(sender, number)…])] and None for each end of the connection, in order."""
        found = []
        for line in self.lines():
            word = line.split()
            if word[0] == "V":
                found.append(((word[1], word[2]), [int(i) for i in word[3].split(",")], []))
            elif word[0] == "D":
                found.append(None)
            elif word[0] == "M":
                found[-1][2].append((int(word[1]), int(word[2])))
        return found

    def last(self):
        """The ids of the view it is in, sorted; [] = none."""
        views = [line for line in self.lines() if line[0] in "VD"]
        return sorted(int(i) for i in views[-1].split()[3].split(",")) if views and views[-1] != "D" else []

    def last_name(self):
        return [line.split()[1:3] for line in self.lines() if line[0] == "V"][-1]


class World:
    def __init__(self, directory, build, nodes=3):
        self.dir = pathlib.Path(directory)
        root = unpacking.unpack("corosync", build)
        self.program, self.env = root / "usr/sbin/corosync", unpacking.environment(root)
        self.tool = pathlib.Path(os.environ.get("POSTROADD") or pathlib.Path(build) / "bin/postroadd").resolve().parent / "ring-member"
        if not self.tool.exists():
            raise AssertionError(f"{self.tool} is missing: make lab-tools")
        self.ids = range(1, nodes + 1)
        self.nodes, self.switch = {}, Space("switch")
        try:
            self.switch.run("ip", "link", "add", "br0", "up", "type", "bridge", "stp_state", "0", "forward_delay", "0",
                            "mcast_snooping", "0")
            for i in self.ids:
                self.nodes[i] = Node(self, i)
        except BaseException:
            self.close()
            raise

    def close(self):
        for n in self.nodes.values():
            n.close()
        self.switch.close()
