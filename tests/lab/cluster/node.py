# SPDX-License-Identifier: Apache-2.0
"""A node: a machine with disks that keep what they hold while it is off, programs that are looked after, and an API.

The hard thing is a loss of power: all processes stand still first, so that nothing more gets to a disk while cables are pulled;
then the network goes, so that no dying socket says goodbye; then everything dies, and what no sync covered is taken from the disk.
"""
import dataclasses
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

from tests.lab.cluster.disk import FILLER, Control, Disk
from tests.lab.cluster.host import END_SECONDS, Anchor, Host, sh, state_of
from tests.lab.cluster.waiting import LabError, Seen, until

# Arguments: name, skeleton, directory of the node's disks, then the peers whose /usr is laid over this machine's.
SETUP = """
hostname "$1"; skeleton=$2; disks=$3; shift 3
lower=$skeleton/usr:; for peer; do lower="$lower$peer/usr:"; done
mount -t tmpfs -o size=64m,mode=755 run /run
mkdir -p /run/tmp /run/lock /run/notify
mount -t tmpfs -o size=64m,mode=1777 shm /dev/shm
mount -t overlay -o "lowerdir=$lower/usr" overlay /usr
mount -t overlay -o "lowerdir=$skeleton/etc:/etc" overlay /etc
mount -t overlay -o "lowerdir=$skeleton/lib:/var/lib" overlay /var/lib
mount --bind "$disks/state/lib" /var/lib/postroad
mount --bind "$disks/state/etc" /etc/postroad
mount --bind "$disks/corosync" /var/lib/corosync
for name in corosync keepalived; do mount --bind "$disks/rest/$name" /etc/$name; done
"""
OWN = ("corosync", "keepalived", "postroad")
SIZES = {"corosync": "4m", "rest": "8m"}
JOURNALED = ("/var/lib/postroad", "/etc/postroad")
# What the lab itself writes there goes through the shim too, or a loss of power could not be played.
PUT = """import os, sys
path, mode = sys.argv[1], int(sys.argv[2], 8)
os.makedirs(os.path.dirname(path), exist_ok=True)
fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
data = sys.stdin.buffer.read()
while data:
    data = data[os.write(fd, data):]
os.fsync(fd)
os.rename(path + ".new", path)
os.fsync(os.open(os.path.dirname(path), os.O_RDONLY))
"""
RESTART_SECONDS = 0.1
# Reports of sanitizers; postroad-ha about corosync and keepalived, keepalived about its child: signals that no lab sends these.
DEATH = re.compile(rb"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: |(corosync|keepalived) ended by signal (4|6|7|8|11)\b"
                   rb"|exited due to (segmentation fault|signal (4|6|7|8|11)\b)")
LINE_MAX = 200
ABORT_SECONDS = 0.5  # after ABRT, before KILL: a stopped process hears only the latter


class Stable:
    """The disks of all nodes, in a mount namespace that lasts as long as the lab."""

    def __init__(self, home, sizes, peers=()):
        self.home = Path(home)
        (self.home / "skeleton/usr/lib").mkdir(parents=True)
        for peer in peers:  # packages have libraries in /lib, which is /usr/lib
            if (peer / "lib").is_dir():
                sh(["cp", "-a", "--remove-destination", f"{peer}/lib/.", self.home / "skeleton/usr/lib"])
        for kind in ("etc", "lib"):
            for name in OWN:
                (self.home / "skeleton" / kind / name).mkdir(parents=True, exist_ok=True)
        script = ""
        for name, size in sizes.items():
            for part, own in {"state": size, **SIZES}.items():
                path = self.disks(name) / part
                path.mkdir(parents=True, exist_ok=True)
                script += f"mount -t tmpfs -o size={own},mode=755 {part} '{path}'\n"
            script += f"cd '{self.disks(name)}'\nmkdir -m 700 state/lib\nmkdir state/etc rest/corosync rest/keepalived\n"
        self.anchor = Anchor(("--mount",), script)

    def disks(self, name):
        """Where they are for those who start from this namespace."""
        return self.home / "disks" / name

    def seen(self, name, part):
        """One of them as seen from outside: "state" has /var/lib/postroad as lib and /etc/postroad as etc; "corosync", "rest"."""
        return Path(f"/proc/{self.anchor.pid}/root") / str(self.disks(name) / part).lstrip("/")

    def close(self):
        self.anchor.kill()


@dataclasses.dataclass
class End:
    """How a program ended. by: "the lab", as it sent the signal; "a watchdog" of the lab's, or "itself"."""
    node: str
    name: str
    status: int  # as subprocess has it: below zero = of that signal
    by: str
    is_expected: bool

    def __str__(self):
        how = f"status {self.status}" if self.status >= 0 else signal.Signals(-self.status).name
        return f"{self.node}: {self.name} ended with {how}, by {self.by}"


class Service:
    """A program that is started again when it ends, as by systemd with Restart=always and no limit of starts."""

    def __init__(self, node, name, argv, env=None, watchdog=None, restart=RESTART_SECONDS):
        self.node, self.name, self.argv, self.env = node, name, argv, env or {}
        self.watchdog, self.restart = watchdog, restart  # seconds
        self.starts = 0
        self.due = None  # when to start it again
        self.told = self.socket = self.aborted = None
        self.process = None  # whose end has not been written down
        self.is_ready = False

    def start(self):
        self.collect()
        env = dict(self.env)
        if self.watchdog is not None:
            self._open_socket()
            env.update({"NOTIFY_SOCKET": f"/run/notify/{self.name}", "WATCHDOG_USEC": str(int(self.watchdog * 1e6))})
        self.is_ready, self.due, self.aborted = False, None, None
        self.process = self.node.start(self.name, self.argv, env)
        self.starts += 1
        self.told = time.monotonic()

    def _open_socket(self):
        self.close()
        path = self.node.path(f"/run/notify/{self.name}")
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(path))

    def look(self, now):
        """Once every few milliseconds: starts it again, hears its watchdog."""
        self._hear(now)
        if self.node.is_paused:
            self.told = now  # who would end it stands still as well
            return
        if self.node.is_running(self.name):
            if self.watchdog is not None and self.is_ready and now - self.told > self.watchdog:
                os.kill(self.process.pid, signal.SIGABRT if self.aborted is None else signal.SIGKILL)
                self.aborted, self.told = now, now + ABORT_SECONDS - self.watchdog
            return
        self.collect()
        if self.due is None:
            self.due = now + self.restart
        elif now >= self.due:
            self.start()

    def collect(self):
        """Writes down how it ended, once, if it has."""
        if self.process is not None and self.process.poll() is not None:
            process, self.process = self.process, None
            self.node.supervisor.ended(self, process)

    def _hear(self, now):
        try:
            while self.socket is not None:
                message = self.socket.recv(4096)
                self.is_ready = self.is_ready or b"READY=1" in message
                if b"WATCHDOG=1" in message or b"READY=1" in message:
                    self.told = now
        except BlockingIOError:
            pass

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class Logs:
    """What programs below a directory say of their own or their children's death."""

    def __init__(self, home):
        self.home, self.done, self.found = Path(home), {}, []

    def read(self):
        """All that has been found, with what was written since the last call."""
        for path in sorted(self.home.glob("*/*.log")):
            with open(path, "rb") as f:
                f.seek(self.done.get(path, 0))
                data = f.read()
            end = data.rfind(b"\n") + 1
            self.done[path] = self.done.get(path, 0) + end
            self.found += [f"{path.parent.name}: {path.stem} says: {line.decode(errors='replace').strip()[:LINE_MAX]}"
                           for line in data[:end].splitlines() if DEATH.search(line)]
        return self.found


class Supervisor:
    """One thread that looks after the services of all nodes, and knows how each of them ended."""

    def __init__(self, home):
        self.services, self.lock = [], threading.RLock()
        self.logs = Logs(home)
        self.ends = []  # all of them
        self.expected = []  # (node, name, statuses)
        self._trouble = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ending.wait(0.02):
            with self.lock:
                for service in [s for s in self.services if s.node.is_on()]:
                    try:
                        service.look(time.monotonic())
                    except (LabError, OSError) as e:
                        self._trouble.append(f"{service.node.name}: {service.name}: {e!r}")

    def ended(self, service, process):
        node, status = service.node, process.returncode
        by = "the lab" if node.is_ended_by_lab(process) else "a watchdog" if service.aborted is not None else "itself"
        is_expected = by == "the lab" or any(n is node and name == service.name and status in statuses
                                             for n, name, statuses in self.expected)
        self.ends.append(End(node.name, service.name, status, by, is_expected))

    @property
    def trouble(self):
        """What went wrong with programs: they could not be started, ended although nobody wanted it, or told of a crash."""
        with self.lock:
            return self._trouble + [str(end) for end in self.ends if not end.is_expected] + self.logs.read()

    def close(self):
        """Looks at all a last time."""
        self._ending.set()
        self._thread.join(10)
        for service in self.services:
            service.collect()
            service.close()


class Node(Host):
    """One node of a cluster."""

    def __init__(self, name, home, stable, supervisor, peers, shim):
        super().__init__(name, home)
        self.stable, self.supervisor, self.peers, self.shim = stable, supervisor, peers, Path(shim).resolve()
        self.control = Control(self.home / "control")
        self.disk = Disk(stable.seen(name, "state"), self.home / "journal")
        self.boots = 0
        self.is_paused = False
        self.on_power = []  # called with (self, is_on) after the one, before the other

    def boot(self):
        self.disk.mount()
        self.anchor = Anchor(self.kinds, SETUP, self.stable.anchor,
                             [self.name, self.stable.home / "skeleton", self.stable.disks(self.name), *self.peers])
        self.boots += 1

    def environment(self):
        return {**os.environ, "TMPDIR": "/run/tmp"}

    def shimmed(self, argv):
        """The same program with its disk and its wall clock in our hands."""
        return ["env", f"LD_PRELOAD={self.shim}", f"LAB_SHIM_CONTROL={self.control.path}", f"LAB_SHIM_JOURNAL={self.disk.journal}",
                "LAB_SHIM_ROOT=/var/lib/postroad", "ASAN_OPTIONS=verify_asan_link_order=0", *argv]

    def write(self, path, text, mode=0o644):
        """A file of the node's, whole or not at all."""
        if path.startswith(JOURNALED):
            self.run(self.shimmed(["/usr/bin/python3", "-B", "-S", "-c", PUT, path, f"{mode:o}"]), text=text)
            return
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        temporary = target.with_name(target.name + ".new")
        temporary.write_bytes(data)
        temporary.chmod(mode)
        temporary.rename(target)

    # ---- programs that are looked after ----

    def supervise(self, name, argv, env=None, watchdog=None, restart=RESTART_SECONDS):
        """Starts a program and has it started again whenever it ends, also after a loss of power."""
        service = Service(self, name, argv, env, watchdog, restart)
        with self.supervisor.lock:
            service.start()
            self.supervisor.services.append(service)
        return service

    def service(self, name):
        return next((s for s in self.supervisor.services if s.node is self and s.name == name), None)

    def unsupervise(self, name):
        """From now on an end is an end."""
        with self.supervisor.lock:
            self.supervisor.services[:] = [s for s in self.supervisor.services if s.node is not self or s.name != name]

    def stop(self, name, timeout=15):
        """As a host's. A supervised program that ends badly by it is a finding, as is one that has to be killed."""
        service = self.service(name)
        self.unsupervise(name)
        status = super().stop(name, timeout)
        if service is not None:
            with self.supervisor.lock:
                service.collect()
        return status

    def expect_end(self, name, *how):
        """Until the supervisor's `expected` is emptied this program may end so: of these signals, with these statuses."""
        statuses = {-h if isinstance(h, signal.Signals) else h for h in how}
        self.supervisor.expected.append((self, name, statuses))

    # ---- power ----

    def power_off(self, torn=False, seed=0):
        """The plug is pulled. Returns what the disk lost by it."""
        return black_out([self], torn, seed)[self.name]

    def power_on(self):
        """Boots with what the disk holds; supervised programs are started."""
        with self.supervisor.lock:
            self.boot()
            self.lan.plug(self)
            for told in self.on_power:
                told(self, True)
            for service in [s for s in self.supervisor.services if s.node is self]:
                service.start()

    # ---- a machine that pauses ----

    def inhabitants(self):
        """Ids of all processes of this boot but the first."""
        space, found = self.anchor_or_fail().namespaces["pid"], []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if int(path.name) != self.pid and os.readlink(path / "ns/pid") == space:
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    def pause(self):
        """All of its processes stand still, as when a hypervisor has no time for a machine. Its kernel goes on: it answers
        ARP and completes connections."""
        def all_stand():
            running = [p for p in self.inhabitants() if state_of(p) not in "TtZX"]
            for pid in running:
                os.kill(pid, signal.SIGSTOP)
            return Seen(not running, running)
        with self.supervisor.lock:
            self.is_paused = True
        until(all_stand, END_SECONDS, f"{self.name} stands still")

    def resume(self):
        for pid in self.inhabitants():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # it was ending
        with self.supervisor.lock:
            self.is_paused = False

    # ---- disk and clock ----

    def full_disk(self, part="state"):
        """Leaves no byte free where the state (or "corosync"'s) is. Returns how many it took."""
        path, took = self.stable.seen(self.name, part) / FILLER, 0
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for step in (1 << 16, 4096):
                try:
                    while True:
                        took += os.write(fd, bytes(step))
                except OSError:
                    continue
        finally:
            os.close(fd)
        return took

    def free_disk(self):
        for part in ("state", "corosync"):
            (self.stable.seen(self.name, part) / FILLER).unlink(missing_ok=True)

    def slow_disk(self, milliseconds):
        """Each sync of a program under the shim takes so much longer; 0 ends it."""
        self.control.delay_ms = milliseconds
        self.control.write()

    def hang_disk(self, hangs=True):
        """Writes and syncs below the state directory do not return until this is taken back."""
        self.control.hang = int(hangs)
        self.control.write()

    def clock_step(self, seconds):
        """Moves the wall clock of programs under the shim; the monotonic one stays."""
        self.control.clock_ns += int(seconds * 1e9)
        self.control.write()

    # ---- API ----

    def call(self, method, path, body=None, headers=None, timeout=10, sock="/run/postroad/admin.sock"):
        """(status, headers, parsed JSON or text) over the admin socket."""
        conn = _Unix(self.path(sock), timeout)
        return request(conn, method, path, body, headers)

    def call_tcp(self, method, path, token, body=None, headers=None, address=None, port=8425, timeout=10):
        """The same over TCP from the node's own network, with a token."""
        conn = http.client.HTTPConnection(address or "127.0.0.1", port, timeout=timeout)
        conn.sock = self.anchor_or_fail().socket()
        conn.sock.settimeout(timeout)
        conn.sock.connect((conn.host, port))
        return request(conn, method, path, body, {**(headers or {}), "Authorization": f"Bearer {token}"})

    def is_ready(self):
        try:
            return self.call("GET", "/readyz")[0] == 200
        except (OSError, LabError):
            return False

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        values = {}
        for line in self.call("GET", "/metrics")[2].splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                values[name] = float(value)
        return values

    def await_ready(self, seconds=20):
        return until(self.is_ready, seconds, f"{self.name} is ready for mail")


def black_out(nodes, torn=False, seed=0):
    """These nodes lose their power at one instant. Returns {node: {path: Became}} for the files that lost by it."""
    with nodes[0].supervisor.lock:
        for pid in [p for node in nodes for p in node.inhabitants()]:
            _stand_still(pid)
        services = [s for s in nodes[0].supervisor.services if s.node in nodes]
        for service in services:
            service.collect()
        for node in nodes:
            node.lan.unplug(node)
        for node in nodes:
            node.anchor_or_fail().strike()
        for service in services:
            service.process = None  # how it ends by that nobody sees
        for node in nodes:
            node.close()
            node.is_paused = False
    for node in nodes:
        for told in node.on_power:
            told(node, False)
    return {node.name: node.disk.lose_power(torn, f"{seed}/{node.name}") for node in nodes}


def _stand_still(pid):
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        pass  # it was ending


def request(conn, method, path, body=None, headers=None):
    """One call on a connection of its own; what is no answer is a ConnectionError."""
    try:
        data = None if body is None else json.dumps(body)
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        conn.request(method, path, data, {**({"Content-Type": kind} if data else {}), **(headers or {})})
        answer = conn.getresponse()
        text = answer.read().decode()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return answer.status, dict(answer.getheaders()), json.loads(text) if is_json and text else text
    except http.client.HTTPException as e:
        raise ConnectionError(repr(e)) from e
    finally:
        conn.close()


class _Unix(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
