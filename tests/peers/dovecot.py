# SPDX-License-Identifier: Apache-2.0
"""A private Dovecot that does one thing: it checks passwords for Postfix (SASL), from a list of users.

The hard thing is to make it use all cores. With a file of its own format it hashes in a single process; with
/etc/shadow it asks worker processes. So it runs in a mount namespace of its own, in which /etc/shadow is our list.
Hashes are checked by the machine's libcrypt, the same that others use here."""
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.peers import unpacking

CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/run
libexec_dir = {root}/usr/lib/dovecot
log_path = {dir}/log
import_environment = TZ LD_LIBRARY_PATH
protocols =
ssl = no
default_internal_user = daemon
default_internal_group = daemon
default_login_user = nobody
auth_mechanisms = plain login
auth_cache_size = 10M
auth_cache_verify_password_with_worker = yes
passdb {{
  driver = shadow
}}
service auth {{
  user = root
  client_limit = 4096
{listeners}
}}
"""


class Dovecot:
    """users: {name: hash}; sockets: paths of the sockets that Postfix asks at."""

    def __init__(self, dir, users, sockets, build=None):
        self.dir, self.sockets = Path(dir).resolve(), [Path(s) for s in sockets]
        self.users = users
        self.root = unpacking.unpack("dovecot", build)
        self.process = None

    def _write(self):
        (self.dir / "run").mkdir(parents=True, exist_ok=True)
        (self.dir / "users").write_text("".join(f"{u}:{h}:19000:0:99999:7:::\n" for u, h in self.users.items()))
        listeners = "\n".join(f"  unix_listener {s} {{\n    mode = 0666\n  }}" for s in self.sockets)
        (self.dir / "dovecot.conf").write_text(
            CONFIG.format(dir=self.dir, root=self.root, listeners=listeners))

    def _command(self):
        """dovecot(1) looks for the program that reads its configuration in /usr/bin; started by that one, it need
        not."""
        program, config = self.root / "usr/sbin/dovecot", self.dir / "dovecot.conf"
        reader = [self.root / "usr/bin/doveconf", "-f", "service=master", "-c", config, "-m", "master", "-p", "-e"]
        view = ["unshare", "-m", "--propagation", "private", "sh", "-c",
                'set -e; mount --bind "$1" /etc/shadow; shift; exec "$@"', "sh", self.dir / "users"]
        return [str(a) for a in (*view, *reader, program, "-F", "-c", config)]

    def start(self, timeout=20):
        self._write()
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=unpacking.environment(self.root),
                start_new_session=True)
        deadline = time.monotonic() + timeout
        while not all(s.exists() for s in self.sockets):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise unpacking.PeerError(f"Dovecot in {self.dir} does not start:\n{self.trouble()}")
            time.sleep(0.05)
        return self

    def stop(self, timeout=10):
        if self.process is None:
            return
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sig)  # its children are in its group
            except ProcessLookupError:
                pass
            try:
                self.process.wait(timeout)
                break
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    def trouble(self):
        """The end of what it logged, for a failure report."""
        return "".join(p.read_text(errors="replace")[-2000:] for p in (self.dir / "stderr", self.dir / "log")
                       if p.exists())
