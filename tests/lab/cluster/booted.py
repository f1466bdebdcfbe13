# SPDX-License-Identifier: Apache-2.0
"""Nodes on which systemd runs: a Debian of packages in a folder, booted by systemd-nspawn in the network of a lab's host, with
programs and units where packages would put them.

The hard thing is to leave nothing behind: nspawn runs in the PID namespace of the host, so that it ends with it; the
control groups it makes are removed when it has.
"""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lab.cluster.host import Anchor, Host, children_of, comm, sh
from tests.lab.cluster.lan import Lan
from tests.lab.cluster.node import request, _Unix
from tests.lab.cluster.waiting import LabError, Seen, until

REPOSITORY = Path(__file__).resolve().parents[3]
UNITS = REPOSITORY / "packaging/systemd"
PROGRAMS = {"postroadd": "sbin", "postroad-ha": "sbin", "postroad": "bin"}
PACKAGES = ("systemd,systemd-sysv,dbus,iproute2,procps,corosync,keepalived,libevent-2.1-7,libevent-openssl-2.1-7,libevent-extra-2.1-7,"
            "libevent-pthreads-2.1-7,libjansson4,libc-ares2,libssl3,libidn2-0,libcrypt1,libnftables1,libmnl0,libcurl4,libcpg4,libcmap4")
NEEDED = ("debootstrap", "systemd-nspawn")
BUILD_SECONDS = 900
BOOT_SECONDS = 30
REBOOT_STATUS = 133  # of nspawn, where somebody else is to start it again
GROUPS = Path("/sys/fs/cgroup")
REAL_TIME_US = 100000  # of each second, for a node
CAP_SYS_RESOURCE = 24
SETUP = """
hostname "$1"; root=$2; home=$3
mount -t tmpfs -o mode=755 run /run
mkdir -p "$home/upper" "$home/work" "$home/root"
mount -t overlay -o "lowerdir=$root,upperdir=$home/upper,workdir=$home/work" overlay "$home/root"
"""


def missing():
    """What is not there for this, for people; "" = all is."""
    lacking = [p for p in NEEDED if shutil.which(p) is None]
    return f"{', '.join(lacking)} not installed" if lacking else "" if os.geteuid() == 0 else "needs root"


def root_of(build):
    """The Debian that all nodes share, made once. LabError: it cannot be."""
    root = Path(build) / "nodes/root"
    if root.exists():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = tempfile.mkdtemp(dir=root.parent)
    suite = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    try:
        sh(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite.get("VERSION_CODENAME", "bookworm"), fresh],
           timeout=BUILD_SECONDS)
        # The distribution's own are for other clusters.
        sh(["chroot", fresh, "systemctl", "disable", "corosync.service", "keepalived.service"])
    except (LabError, subprocess.TimeoutExpired) as e:
        shutil.rmtree(fresh, ignore_errors=True)
        raise LabError(f"debootstrap: {e}") from e
    os.chmod(fresh, 0o755)
    os.rename(fresh, root)
    return root


def allow_real_time(group):
    """Where kernels count it by group, a new one has none of it."""
    limit = group / "cpu.rt_runtime_us"
    if limit.exists():
        limit.write_text(str(REAL_TIME_US))


def may_spare_from_oom():
    """Whether this machine lets anybody be."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapBnd:")[2].split()[0], 16) >> CAP_SYS_RESOURCE & 1)


class Booted(Host):
    """One node. The host's namespaces outlive its reboots; the network stays plugged in."""

    def __init__(self, name, home, root, programs):
        super().__init__(name, home)
        self.root, self.programs, self.groups = root, programs, []

    def boot(self):
        self.anchor = Anchor(self.kinds, SETUP, None, [self.name, self.root, self.home])

    def file(self, path):
        """A file of the node while it is off: as seen from outside."""
        return Path(f"/proc/{self.pid}/root{self.home}/root/{str(path).lstrip('/')}")

    def install(self, document, more=None):
        """Programs, units, user and node file; enabled as an administrator would."""
        for program, folder in PROGRAMS.items():
            shutil.copy(self.programs / program, self.file(f"/usr/{folder}/{program}"))
        for unit in UNITS.glob("*.service"):
            shutil.copy(unit, self.file("/usr/lib/systemd/system") / unit.name)
        shutil.copy(UNITS / "postroad.sysusers", self.file("/usr/lib/sysusers.d/postroad.conf"))
        self.file("/etc/postroad").mkdir(exist_ok=True)
        own = {"node": self.name, "workers": 1, "shutdown_grace": "20s", "admin": {"listen": [], "tls": "off"}, "initial_config": document,
               **(more or {})}
        self.file("/etc/postroad/node.json").write_text(json.dumps(own, indent=2) + "\n")
        for argv in (["systemd-sysusers"], ["systemctl", "enable", "postroadd.service", "postroad-ha.service"]):
            self.run(["chroot", f"{self.home}/root", *argv])

    def power_on(self):
        """Boots; returns when systemd says that all is up."""
        group = f"postroad-lab-{os.getpid()}-{self.name}"
        self.groups = [g for h in GROUPS.iterdir() if (h / "cgroup.procs").exists() for g in [h / group]]
        for path in self.groups:
            path.mkdir(exist_ok=True)
            allow_real_time(path)
        enter = "for g; do echo 0 >$g/cgroup.procs 2>/dev/null || :; done"
        nspawn = ("exec systemd-nspawn --quiet --boot --register=no --keep-unit --console=pipe --resolv-conf=off --timezone=off "
                  f"--network-namespace-path=/proc/1/ns/net --capability=CAP_NET_ADMIN,CAP_IPC_LOCK --machine={self.name} --directory={self.home}/root")
        self.start("nspawn", ["sh", "-c", f"{enter}; {nspawn}", "sh", *self.groups],
                   {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"})
        self.await_up()

    def await_reboot(self, seconds=BOOT_SECONDS):
        """It was told to reboot: waits until it has gone down, and boots it."""
        process = self.processes["nspawn"]
        until(lambda: Seen(process.poll() is not None, self.tail("nspawn")), seconds, f"{self.name} goes down")
        if process.returncode != REBOOT_STATUS:
            raise LabError(f"{self.name}: nspawn ended with {process.returncode}\n{self.tail('nspawn')}")
        self.power_on()

    def leader(self):
        """systemd's process."""
        found = [p for p in children_of(self.pid_of("nspawn")) if comm(p) == "systemd"]
        if not found:
            raise LabError(f"{self.name}: systemd does not run\n{self.tail('nspawn')}")
        return found[0]

    def sh(self, argv, timeout=60, check=True, text=None):
        """A command on the booted node."""
        return sh(["nsenter", "--all", "--target", self.leader(), "--", *argv], timeout=timeout, check=check, text=text)

    def state(self):
        return self.sh(["systemctl", "is-system-running"], check=False).strip()

    def await_up(self, seconds=BOOT_SECONDS):
        until(lambda: Seen(self.state() in ("running", "degraded"), self.state()), seconds, f"{self.name} has booted")

    def show(self, unit, name):
        return self.sh(["systemctl", "show", "--value", "-p", name, unit]).strip()

    def main_pid(self, unit):
        """As seen from outside."""
        inside = int(self.show(unit, "MainPID"))
        if inside == 0:
            raise LabError(f"{self.name}: {unit} does not run")
        for task in Path("/proc").glob("[0-9]*/status"):
            try:
                line = next((x for x in task.read_text().splitlines() if x.startswith("NSpid:")), "")
                if line.split()[-1] == str(inside) and os.readlink(task.parent / "ns/pid") == os.readlink(f"/proc/{self.leader()}/ns/pid"):
                    return int(task.parent.name)
            except (OSError, IndexError):
                continue
        raise LabError(f"{self.name}: the process of {unit} is not seen")

    def journal(self, unit, lines=30):
        return self.sh(["journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(lines), "-u", unit], check=False)

    def call(self, method, path, body=None, headers=None, timeout=10):
        return request(_Unix(f"/proc/{self.leader()}/root/run/postroad/admin.sock", timeout), method, path, body, headers)

    def is_ready(self):
        try:
            return self.call("GET", "/readyz")[0] == 200
        except (OSError, LabError):
            return False

    def await_ready(self, seconds=30):
        return until(lambda: Seen(self.is_ready(), self.journal("postroadd")), seconds, f"{self.name} is ready for mail")

    def holds(self, address):
        return f" {address}/" in self.run(["ip", "-o", "address"])

    def close(self):
        super().close()
        for group in self.groups:
            for path in sorted([group, *(p for p in group.rglob("*") if p.is_dir())], reverse=True):
                try:
                    path.rmdir()
                except OSError:
                    pass


class BootedLab:
    """As Lab, of booted nodes: `nodes`, `client`, `mx`, `lan`; for Backends and Mail."""

    def __init__(self, build, home, nodes=3):
        self.out, self.home = Path(build).resolve(), Path(home).resolve()
        self.root = root_of(self.out)
        shutil.rmtree(self.home, ignore_errors=True)
        self.lan, self.observers = None, []
        self.client, self.mx = Host("client", self.home), Host("mx", self.home)
        self.nodes = [Booted(f"n{i + 1}", self.home, self.root, self.out / "bin") for i in range(nodes)]

    def __enter__(self):
        try:
            self.lan = Lan()
            for i, node in enumerate(self.nodes):
                node.boot()
                self.lan.attach(node, 11 + i, ("lan", "cluster"))
            for host, number in ((self.client, 100), (self.mx, 200)):
                host.boot()
                self.lan.attach(host, number)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def vip(self, index=0):
        return f"10.78.0.{50 + index}"

    def bin(self, name):
        return self.out / "bin" / name

    def close(self):
        for host in (*self.nodes, self.client, self.mx):
            host.close()
        if self.lan is not None:
            self.lan.close()
