# SPDX-License-Identifier: Apache-2.0
"""Machines made of namespaces, and programs started in them.

The hard thing is that nothing may stay behind. No namespace gets a name: each is held by one process that the kernel
kills when its parent ends, however that ends, and the processes of a machine that is switched on live in a PID namespace,
so that all of them die with its first process at one instant.
"""
import concurrent.futures
import ctypes
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.lab.cluster.waiting import LabError, until

CLONE_NEWNET, CLONE_NEWPID = 0x40000000, 0x20000000
START_SECONDS = 10
END_SECONDS = 10

_libc = ctypes.CDLL(None, use_errno=True)
# The thread that makes all processes: a parent's death is told by thread, and this one lives as long as the interpreter.
_keeper = concurrent.futures.ThreadPoolExecutor(1, "keeper")


def _setns(path, kind):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, kind) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


def keeper(function, *args, **kw):
    """Calls it in the one thread whose children live as long as the lab."""
    return _keeper.submit(function, *args, **kw).result()


def sh(argv, timeout=30, text=None, check=True, env=None):
    """Runs a command on the machine itself and returns what it prints."""
    done = subprocess.run([str(a) for a in argv], input=text, capture_output=True, text=True, timeout=timeout, env=env, check=False)
    if check and done.returncode:
        raise LabError(f"{' '.join(str(a) for a in argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}{text or ''}")
    return done.stdout


def children_of(pid):
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Anchor:
    """A process that holds namespaces. `kinds` are those of unshare(1), `script` is run in them first; `within` is another
    anchor whose mounts it starts from. With "--pid" it is the first process there: all others end with it."""

    def __init__(self, kinds, script="", within=None, args=()):
        self.has_pids = "--pid" in kinds
        argv = ["nsenter", "--target", str(within.pid), "--mount", "--"] if within else []
        argv += ["setpriv", "--pdeathsig", "KILL", "unshare", *kinds]
        argv += ["--fork", "--kill-child"] if self.has_pids else []
        # A first process waits for whatever child is left to it; another must have no child that could outlive it.
        rest = "sleep infinity & wait" if self.has_pids else "exec sleep infinity"
        argv += ["sh", "-ec", f"{script}\necho ready\nexec <&- >&-\n{rest}", "sh", *[str(a) for a in args]]
        self._process = keeper(subprocess.Popen, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
        is_told = select.select([self._process.stdout], [], [], START_SECONDS)[0]
        if not is_told or self._process.stdout.readline() != b"ready\n":
            self._process.kill()
            raise LabError(f"namespaces cannot be made: {self._process.communicate()[1].decode().strip()}")
        self._process.stdout.close()
        self._process.stderr.close()
        self.pid = children_of(self._process.pid)[0] if self.has_pids else self._process.pid
        # Names of this boot: a number may be another process's later.
        self.namespaces = {kind: os.readlink(f"/proc/{self.pid}/ns/{kind}") for kind in ("net", "mnt", "pid", "uts")}

    def spawn(self, argv, log=None, env=None, stdin=subprocess.DEVNULL, stdout=None, same_pids=True):
        """Starts a program in all namespaces. The process it returns has the program's own id. `same_pids` False: it
        survives the machine."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--uts", "--wd=/", "--"]
        return keeper(self._spawn, enter + [str(a) for a in argv], log, env, stdin, stdout, same_pids and self.has_pids)

    def _spawn(self, argv, log, env, stdin, stdout, in_pids):
        out = open(log, "ab") if log else subprocess.DEVNULL  # pylint: disable=consider-using-with
        kinds = {"pid": CLONE_NEWPID} if in_pids else {}
        try:
            return self._inside(kinds, subprocess.Popen, argv, stdin=stdin, stdout=out if stdout is None else stdout,
                                stderr=out if log else subprocess.PIPE if stdout is not None else subprocess.DEVNULL,
                                env=env, start_new_session=True)
        finally:
            if log:
                out.close()

    def _inside(self, kinds, function, *args, **kw):
        """In the keeper's thread: calls it with some of this anchor's namespaces."""
        for name, kind in kinds.items():
            _setns(f"/proc/{self.pid}/ns/{name}", kind)
        try:
            return function(*args, **kw)
        finally:
            for name, kind in kinds.items():
                _setns(f"/proc/{os.getpid()}/ns/{name}", kind)

    def call(self, function, *args, **kw):
        """Calls it with this machine's network; processes it starts are this machine's. Files stay those outside."""
        kinds = {"net": CLONE_NEWNET, **({"pid": CLONE_NEWPID} if self.has_pids else {})}
        return keeper(self._inside, kinds, function, *args, **kw)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """A socket of this machine's network, for use anywhere."""
        return self.call(socket.socket, family, kind)

    def strike(self):
        """All processes of its PID namespace end at this instant; kill() says when they are gone."""
        os.kill(self.pid, signal.SIGKILL)

    def kill(self, children=()):
        """Ends it, and with it every process of its PID namespace; returns when they are gone. `children` are processes
        spawned there: the first process ends only when somebody has asked for their exit status."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            for child in children:
                child.wait(END_SECONDS)
            self._process.wait(END_SECONDS)
        until(lambda: not os.path.exists(f"/proc/{self.pid}/ns/net") or not self._holds(), END_SECONDS, "an anchor ends")

    def _holds(self):
        try:
            return os.readlink(f"/proc/{self.pid}/ns/net") == self.namespaces["net"]
        except OSError:
            return False


class Host:
    """A machine with a network: a name, its address by network, programs by name. Its first boot is by Lan.attach()."""

    kinds = ("--mount", "--net", "--uts", "--pid", "--mount-proc")

    def __init__(self, name, home):
        self.name, self.home = name, Path(home) / name
        self.addresses, self.lan = {}, None  # network: address; both by Lan.attach()
        self.anchor = None
        self.processes, self.outside = {}, set()  # by name; those that are not in the PID namespace
        self.told = {}  # {process: signals that the lab sent it}
        self.home.mkdir(parents=True, exist_ok=True)

    def boot(self):
        self.anchor = Anchor(self.kinds, f"hostname {self.name}\nmount -t tmpfs -o mode=755 run /run", None)

    def is_on(self):
        return self.anchor is not None

    @property
    def pid(self):
        if self.anchor is None:
            raise LabError(f"{self.name} is off")
        return self.anchor.pid

    def path(self, path):
        """A file of this machine, as seen from outside."""
        return Path(f"/proc/{self.pid}/root") / str(path).lstrip("/")

    def environment(self):
        return dict(os.environ)

    def log(self, name):
        return self.home / f"{name}.log"

    def tail(self, name, size=2000):
        path = self.log(name)
        return path.read_text(errors="replace")[-size:] if path.exists() else ""

    def run(self, argv, timeout=20, check=True, text=None):
        """Runs a command there to its end and returns what it prints."""
        process = self.anchor_or_fail().spawn(argv, env=self.environment(), stdout=subprocess.PIPE,
                                              stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL)
        try:
            out, err = process.communicate(text.encode() if isinstance(text, str) else text, timeout)
        except subprocess.TimeoutExpired as e:
            process.kill()
            process.communicate()
            raise LabError(f"{self.name}: {argv}: not within {timeout} s") from e
        if check and process.returncode:
            raise LabError(f"{self.name}: {' '.join(map(str, argv))}: exit {process.returncode}\n{(out + err).decode()}")
        return out.decode()

    def anchor_or_fail(self):
        if self.anchor is None:
            raise LabError(f"{self.name} is off")
        return self.anchor

    def start(self, name, argv, env=None, same_pids=True):
        """Starts a program; its output goes to log(name)."""
        if self.is_running(name):
            raise LabError(f"{self.name}: {name} runs already")
        self.processes[name] = self.anchor_or_fail().spawn(argv, self.log(name), {**self.environment(), **(env or {})},
                                                           same_pids=same_pids)
        if not same_pids:
            self.outside.add(name)
        return self.processes[name]

    def is_running(self, name):
        process = self.processes.get(name)
        return process is not None and process.poll() is None

    def pid_of(self, name):
        if not self.is_running(name):
            raise LabError(f"{self.name}: {name} does not run\n{self.tail(name)}")
        return self.processes[name].pid

    def send_signal(self, name, sig):
        pid = self.pid_of(name)
        self.told.setdefault(self.processes[name], set()).add(signal.Signals(sig))
        os.kill(pid, sig)

    def is_ended_by_lab(self, process):
        """It ended of a signal that the lab sent, or well because of one that asks for that."""
        told = self.told.get(process, set())
        return -process.returncode in told or (process.returncode == 0 and bool(told & {signal.SIGTERM, signal.SIGINT}))

    def kill(self, name, sig=signal.SIGKILL):
        """Sends a signal that ends the program and returns when it has ended (a supervisor may start it again)."""
        process = self.processes[name]
        self.send_signal(name, sig)
        process.wait(END_SECONDS)

    def freeze(self, name):
        """SIGSTOP, to it and its children; returns when none of them runs any more."""
        pids = self.family(name)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: all(state_of(p) in "TtZ" for p in pids), END_SECONDS, f"{name} stands still")

    def thaw(self, name):
        for pid in self.family(name):
            os.kill(pid, signal.SIGCONT)

    def family(self, name):
        """A program and its children, their children too."""
        todo, found = [self.pid_of(name)], []
        while todo:
            found.append(todo.pop())
            todo += children_of(found[-1])
        return found

    def stop(self, name, timeout=15):
        """Asks it to end; what does not, is killed. Returns its exit status."""
        process = self.processes.pop(name, None)
        self.outside.discard(name)
        if process is None:
            return 0
        if process.poll() is None:
            self.told.setdefault(process, set()).add(signal.SIGTERM)  # having to be killed is no good end
        for sig in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.kill(process.pid, sig)
            try:
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                timeout = END_SECONDS
        raise LabError(f"{self.name}: {name} cannot be ended")

    def close(self):
        """Ends the machine with all that runs on it."""
        if self.anchor is not None:
            anchor, self.anchor = self.anchor, None
            anchor.kill([p for n, p in self.processes.items() if n not in self.outside])
        for name in self.outside:
            self.processes[name].kill()
            self.processes[name].wait(END_SECONDS)
        self.processes.clear()
        self.outside.clear()
        self.told.clear()


def state_of(pid):
    """The letter of proc(5): R, S, D, T, Z …; X = gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def monotonic_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
