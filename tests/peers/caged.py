# SPDX-License-Identifier: Apache-2.0
"""A mail server that knows its places by heart, run where those places are its own.

The hard thing: Exim and OpenSMTPD have /usr/libexec, /var/spool and the names of their users compiled in, and the
machine may have another mail server there, or none. So the program runs in a mount namespace in which /usr is the
machine's with the unpacked packages laid over it, and /etc and /var are directories of the instance's own. Neither
the build nor the instance's directory may therefore be below /etc or /var. Needs root.
"""
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.peers import unpacking
from tests.peers.postfix import probe_banner

USERS = {"vmail": 64810, "Debian-exim": 64811, "opensmtpd": 64812, "opensmtpq": 64813}
# What programs and libraries look for in /etc; the rest of the machine's is none of a test's business.
COPIED = ["ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "protocols", "services", "host.conf",
          "gai.conf", "ssl/openssl.cnf", "mime.types"]
HOSTS = "127.0.0.1 localhost lb.test mta.test client.test\n"
SCRIPT = ('set -e; mount -t overlay overlay -o "lowerdir=$2/usr:/usr" /usr; mount --bind "$1/var" /var; '
          'mount --bind "$1/etc" /etc; shift 2; exec "$@"')


class Caged:
    """One instance of `peer`, listening on the loopback. A subclass writes its configuration and says its argv."""

    peer = ""
    directories = {}  # below the instance's directory: (user, mode)

    def __init__(self, dir, port, build=None):
        self.dir, self.port = Path(dir).resolve(), port
        self.root = unpacking.unpack(self.peer, build)
        self.maildir = self.dir / "var/mail/all"
        self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self._write_etc()
        self.make_dir("var/tmp", "root", 0o1777)
        self.make_dir("var/run", "root", 0o755)
        self.make_dir("var/mail", "vmail", 0o755)
        for name, (user, mode) in self.directories.items():
            self.make_dir(name, user, mode)

    # ---- files ----

    def make_dir(self, name, user, mode):
        path = self.dir / name
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, USERS.get(user, 0), USERS.get(user, 0))
        path.chmod(mode)

    def _write_etc(self):
        etc = self.dir / "etc"
        etc.mkdir()
        for name in COPIED:
            source, target = Path("/etc") / name, etc / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            elif source.exists():
                shutil.copy2(source, target)
        passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
        group = "root:x:0:\nmail:x:8:\nnogroup:x:65534:\n"
        for user, number in USERS.items():
            passwd += f"{user}:x:{number}:{number}::/var/mail:/bin/sh\n"
            group += f"{user}:x:{number}:\n"
        self.write("etc/passwd", passwd)
        self.write("etc/group", group)
        self.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n")
        self.write("etc/hosts", HOSTS)
        # Nobody answers there: a look-up that should not be made fails at once instead of reaching the Internet.
        self.write("etc/resolv.conf", "nameserver 127.0.0.1\n")

    def write(self, name, text, mode=0o644):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    # ---- life ----

    def argv(self):
        raise NotImplementedError

    def _caged(self, argv):
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh", str(self.dir), str(self.root), *argv]

    def ask(self, argv, timeout=20):
        """What a program of the instance prints, run where the instance runs."""
        done = subprocess.run(self._caged(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                              env=unpacking.environment(self.root), check=False)
        if done.returncode:
            raise unpacking.PeerError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def start(self, timeout=20):
        """Starts it and returns when it greets."""
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(self._caged(self.argv()), stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                            env=unpacking.environment(self.root), start_new_session=True)
        deadline = time.monotonic() + timeout
        while not probe_banner("127.0.0.1", self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise unpacking.PeerError(f"{self.peer} in {self.dir} does not start:\n{self.trouble()}")
            time.sleep(0.05)
        return self

    def stop(self, timeout=10):
        """Ends it and its children, politely."""
        if self.process is None:
            return
        for step in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, step)
                self.process.wait(timeout)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self.process = None

    def logs(self):
        """The files it logs to."""
        return [self.dir / "stderr"]

    def trouble(self):
        """The end of what it logged, for a failure report."""
        return "".join(p.read_text(errors="replace")[-2000:] for p in self.logs() if p.exists())
