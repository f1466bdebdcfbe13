# SPDX-License-Identifier: Apache-2.0
"""A private Postfix: unpacked, with its own configuration, queue, users and (if asked) network namespace.

The hard thing: master(8) looks its users up by name and wants root, but the machine may have neither the users nor
a wish for them; or it has them, with numbers of its own. It runs in a mount namespace of its own, in which
/etc/passwd and /etc/group are copies with our two users in them, and in which its directory is also seen at /mnt: the
real path may lead through a home that Postfix's user must not enter. Mail is delivered by virtual(8) into one Maildir, so that what arrived can be counted and
compared, message by message.

    from tests.peers.postfix import Postfix
    with Postfix(dir="/tmp/pf1", listen="127.0.0.1:2526") as mta:
        mta.start()
        ... mta.delivered() ...
"""
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.peers import unpacking

REPOSITORY = str(Path(__file__).resolve().parents[2])
# Run inside a network namespace, where the probing socket has to be.
PROBE = ("import sys; sys.path.insert(0, sys.argv[1]); from tests.peers.postfix import probe_banner; "
         "sys.exit(0 if probe_banner(sys.argv[2], int(sys.argv[3])) else 1)")
VIEW = Path("/mnt")
USERS = {"postfix": 64801, "postdrop": 64802}
MASTER_CF = """
{listen} inet n - n - {processes} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
QUEUE_DIRS = {
    "pid": ("root", "root", 0o755), "public": ("postfix", "postdrop", 0o710),
    "maildrop": ("postfix", "postdrop", 0o730),
}
PRIVATE_QUEUE_DIRS = "active bounce corrupt defer deferred flush hold incoming private saved trace".split()


class Postfix:
    """One instance. `netns` names an existing network namespace to run in; `settings` go to main.cf as they are,
    `services` are further lines of master.cf."""

    def __init__(self, dir, listen, hostname="mta.test", netns=None, build=None, settings=None, processes=100, services=""):
        self.dir = Path(dir).resolve()
        self.host, _, port = listen.rpartition(":")
        self.port = int(port)
        self.hostname, self.netns, self.processes = hostname, netns, processes
        self.settings, self.services = settings or {}, services
        self.root = unpacking.unpack("postfix", build)
        self.maildir = self.dir / "mail" / "all"
        self.log = self.dir / "maillog"
        self.process = None
        self._write()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- files ----

    def _main_cf(self):
        lib = VIEW / "program/usr/lib/postfix"
        values = {
            "compatibility_level": "3.6",
            "daemon_directory": lib / "sbin", "command_directory": VIEW / "program/usr/sbin",
            "shlib_directory": lib, "meta_directory": VIEW / "etc",
            "queue_directory": VIEW / "queue", "data_directory": VIEW / "data",
            "mail_owner": "postfix", "setgid_group": "postdrop",
            "import_environment": "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH",
            "export_environment": "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH",
            "maillog_file": VIEW / "maillog", "maillog_file_prefixes": VIEW,
            "myhostname": self.hostname, "mydestination": "", "inet_interfaces": "all",
            "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8 10.0.0.0/8", "alias_maps": "", "alias_database": "",
            "local_recipient_maps": "", "relay_domains": "", "smtputf8_enable": "no",
            "virtual_mailbox_domains": "static:all", "virtual_mailbox_maps": "static:all/",
            "virtual_mailbox_base": VIEW / "mail", "virtual_uid_maps": f"static:{USERS['postfix']}",
            "virtual_gid_maps": f"static:{USERS['postfix']}", "virtual_minimum_uid": "1",
            "virtual_transport": "virtual", "smtpd_client_connection_count_limit": "0",
            "smtpd_peername_lookup": "no", "message_size_limit": "104857600", "virtual_mailbox_limit": "0",
            "default_process_limit": self.processes,
            # What a kill interrupted is tried again at once, not after the minutes that suit the Internet.
            "queue_run_delay": "2s", "minimal_backoff_time": "2s", "maximal_backoff_time": "10s",
            "transport_retry_time": "2s",
        }
        values.update(self.settings)
        return "".join(f"{k} = {v}\n" for k, v in values.items())

    def _write(self):
        etc = self.dir / "etc"
        shutil.rmtree(self.dir, ignore_errors=True)
        etc.mkdir(parents=True)
        self.dir.chmod(0o755)
        (etc / "main.cf").write_text(self._main_cf())
        master_cf = MASTER_CF.format(listen=f"{self.host}:{self.port}", processes=self.processes) + self.services
        (etc / "master.cf").write_text(master_cf)
        (etc / "dynamicmaps.cf").write_text("")
        self._write_users()
        self._make_dir("program", "root", "root", 0o755)
        self._make_dir("data", "postfix", "postfix", 0o700)
        self._make_dir("mail", "postfix", "postfix", 0o700)
        self._make_dir("queue", "root", "root", 0o755)
        for name, (user, group, mode) in QUEUE_DIRS.items():
            self._make_dir(f"queue/{name}", user, group, mode)
        for name in PRIVATE_QUEUE_DIRS:
            self._make_dir(f"queue/{name}", "postfix", "root", 0o700)

    def _write_users(self):
        """Copies of the machine's lists with our users in place of its own of these names: main.cf, the directories and
        the lists must agree on one number, and virtual(8) delivers as that number."""
        number, group = USERS["postfix"], _others("/etc/group")
        passwd = _others("/etc/passwd") + f"postfix:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
        (self.dir / "passwd").write_text(passwd)
        (self.dir / "group").write_text(group + "".join(f"{name}:x:{gid}:\n" for name, gid in USERS.items()))
        for name in ("passwd", "group"):
            (self.dir / name).chmod(0o644)

    def _make_dir(self, name, user, group, mode):
        path = self.dir / name
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, USERS.get(user, 0), USERS.get(group, 0))
        path.chmod(mode)

    # ---- life ----

    def start(self, timeout=20):
        """Starts master(8) and returns when it greets."""
        script = ('set -e; mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/group" /etc/group; '
                  'mount --bind "$2" "$1/program"; mount --rbind "$1" "$3"; '
                  'exec "$3/program/usr/lib/postfix/sbin/master" -c "$3/etc" -d')
        argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
        argv += [str(self.dir), str(self.root), str(VIEW)]
        if self.netns:
            argv = ["ip", "netns", "exec", self.netns] + argv
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                            env=self._environment(), start_new_session=True)
        deadline = time.monotonic() + timeout
        while not self.greets():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise unpacking.PeerError(f"Postfix in {self.dir} does not start:\n{self.trouble()}")
            time.sleep(0.05)
        return self

    def _environment(self):
        env = unpacking.environment(self.root)
        env["LD_LIBRARY_PATH"] = env["LD_LIBRARY_PATH"].replace(str(self.root), str(VIEW / "program"))
        return env

    def greets(self):
        if self.netns:
            argv = ["ip", "netns", "exec", self.netns, "/usr/bin/python3", "-c", PROBE, REPOSITORY, self.host]
            argv.append(str(self.port))
            return subprocess.run(argv, timeout=10, check=False).returncode == 0
        return probe_banner(self.host, self.port)

    def stop(self, timeout=10):
        """Ends master(8) and its children, politely."""
        self._end(signal.SIGTERM, timeout)

    def kill(self):
        """As if the machine had lost power: nothing is said to anybody."""
        self._end(signal.SIGKILL, 10)

    def _end(self, sig, timeout):
        if self.process is None:
            return
        for step in (sig, signal.SIGKILL):
            try:
                # master(8) leads the process group in which all its children are.
                os.killpg(self.process.pid, step)
            except ProcessLookupError:
                pass
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                continue
        self.process = None
        (self.dir / "queue/pid/master.pid").unlink(missing_ok=True)

    # ---- what arrived ----

    def delivered(self):
        """Number of messages in the Maildir."""
        try:
            return len(os.listdir(self.maildir / "new"))
        except FileNotFoundError:
            return 0

    def queued(self):
        """Number of messages accepted but not delivered yet."""
        count = 0
        for name in ("incoming", "active", "deferred", "maildrop"):
            for where, _, files in os.walk(self.dir / "queue" / name):
                count += sum(_is_complete(os.path.join(where, f)) for f in files)
        return count

    def ids(self):
        """The X-Postroad-Id of each delivered message, in a list (a duplicate appears twice)."""
        found = []
        for path in (self.maildir / "new").glob("*") if self.maildir.exists() else []:
            with open(path, encoding="latin-1") as f:
                for line in f:
                    if line.startswith("X-Postroad-Id: "):
                        found.append(line.split()[1])
                        break
                    if line == "\n":
                        break
        return found

    def trouble(self):
        """The end of what it logged, for a failure report."""
        text = ""
        for path in (self.dir / "stderr", self.log):
            if path.exists():
                text += path.read_text(errors="replace")[-2000:]
        return text


def _is_complete(path):
    """Postfix makes a queue file executable once it is whole and synced, before it says 250."""
    try:
        return bool(os.stat(path).st_mode & 0o100)
    except FileNotFoundError:
        return False


def _others(path):
    """The machine's list of users or groups without those that are ours."""
    lines = Path(path).read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if line.partition(":")[0] not in USERS)


def probe_banner(host, port, timeout=2):
    """True when an SMTP server greets there; it is told QUIT."""
    try:
        with socket.create_connection((host, port), timeout) as s:
            if not s.recv(512).startswith(b"220"):
                return False
            s.sendall(b"QUIT\r\n")
            s.recv(512)
            return True
    except OSError:
        return False

