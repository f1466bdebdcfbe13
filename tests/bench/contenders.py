# SPDX-License-Identifier: Apache-2.0
"""What is compared: the balancers, the servers behind them, and what each costs.

A contender is started once and stays up for all rounds of a row; idle, it costs nothing that would disturb the
others."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench import credentials, measure, procfs
from tests.peers import proxies
from tests.peers.dovecot import Dovecot
from tests.peers.postfix import Postfix
from tests.run import node as lib

# Limits that would refuse a single generator with thousands of sessions; everything else stays at its default.
CAPS = {"connections": "unlimited", "connections_per_client": "unlimited"}


# A submission service as Postfix's manual has it; its directory is seen at /mnt.
SASL = {
    "smtpd_tls_security_level": "may", "smtpd_tls_chain_files": "/mnt/both.pem", "smtpd_tls_auth_only": "yes",
    "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "private/auth",
}


class Contender:
    """name, address to send to, and the process whose CPU and memory count (None = nothing in between)."""

    def __init__(self, name, listen, program=None):
        self.name, self.listen, self.program = name, listen, program

    def pids(self):
        return [] if self.program is None else procfs.family(self.program.pid)

    def cpu_seconds(self):
        return sum(procfs.cpu_seconds(pid) for pid in self.pids())

    def memory_bytes(self):
        return sum(procfs.pss_bytes(pid) for pid in self.pids())

    def start(self):
        if self.program is not None:
            self.program.start()
        return self

    def stop(self):
        if self.program is not None:
            self.program.stop()


class Bench:
    """One row's surroundings: directory, programs, ports. Use as a context manager: it stops what it started."""

    def __init__(self, bins, dir, build, workers=2):
        self.bins, self.dir, self.build, self.workers = Path(bins), Path(dir), build, workers
        self.started, self.mtas, self.memory = [], [], None

    def __enter__(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_):
        for thing in reversed(self.started):
            thing.stop()
        self.started = []
        if self.memory is not None:
            shutil.rmtree(self.memory)
        self.memory = None

    def address(self):
        return f"127.0.0.1:{lib.free_ports(1)[0]}"

    def keep(self, thing):
        self.started.append(thing)
        return thing.start()

    # ---- behind the balancer ----

    def sinks(self, *options, count=2):
        made = []
        for _ in range(count):
            log = self.dir / f"sink{len(self.started)}.log"
            made.append(self.keep(lib.Sink(self.bins, self.address(), log, *options)))
        return [s.listen for s in made]

    def postfixes(self, count=2, users=None):
        """users: they also offer STARTTLS and AUTH, with a Dovecot that checks the passwords."""
        if os.geteuid() != 0:
            raise lib.StartError("real Postfix backends need root")
        made = []
        for i in range(count):
            # The disk and what becomes of mail behind the queue are no balancer's doing, and would be most of the work;
            # in_flow_delay makes Postfix wait a whole second now and then when mail comes faster than it goes.
            mta = Postfix(self.in_memory() / f"postfix{i}", self.address(), f"mta{i}.test", build=self.build,
                          settings={"virtual_transport": "discard", "in_flow_delay": "0", **(SASL if users else {})})
            made.append(mta)
        if users:
            for mta in made:
                shutil.copy(self.certificate()[2], mta.dir / "both.pem")
            self.keep(Dovecot(self.in_memory() / "dovecot", users, [m.dir / "queue/private/auth" for m in made],
                              build=self.build))
        for mta in made:
            self.mtas.append(self.keep(mta))
        return [f"{m.host}:{m.port}" for m in made]

    def certificate(self):
        return credentials.certificate(self.dir)

    def in_memory(self):
        """A directory that no disk is behind, if the machine has such; removed at the end."""
        if self.memory is None:
            shm = Path("/dev/shm")
            self.memory = Path(tempfile.mkdtemp(prefix="bench-", dir=shm if shm.is_dir() else self.dir))
        return self.memory

    def queued(self):
        return sum(m.queued() for m in self.mtas)

    # ---- contenders ----

    def direct(self, servers):
        return Contender("direct", servers[0])

    def haproxy(self, servers, name="haproxy", **kw):
        program = proxies.haproxy(self.dir / name, self.address(), servers, self.build, self.workers, **kw)
        return self.keep(Contender(name, program.listen, program))

    def nginx(self, servers, name="nginx"):
        program = proxies.nginx(self.dir / name, self.address(), servers, self.build, self.workers)
        return self.keep(Contender(name, program.listen, program))

    def require(self, object, field):
        """Raises NotMeasured where this build's configuration does not know a field."""
        manual = subprocess.run([self.bins / "postroadd", "--manual"], capture_output=True, text=True, timeout=60,
                                check=True).stdout
        _, found, rest = manual.partition(f"{object}")
        if not found or f"`{field}`" not in rest.partition("\n#")[0]:
            raise measure.NotMeasured(f"this build does not know {object}/{field}")

    def tls(self, mode, **auth):
        """An edit of the configuration: TLS with clients, and what stands in `auth`."""
        certificate, key, _ = self.certificate()

        def change(config):
            config["certificates"] = {"bench": {"certificate_file": str(certificate), "key_file": str(key)}}
            config["listeners"]["relay"].update(tls={"mode": mode, "certificates": ["bench"]}, **auth)

        return change

    def postroad(self, servers, name="postroad", mode="smtp", change=None, caps=True, env=None):
        """Ours with its defaults; `change` may edit the configuration (a function of it). caps: without limits on
        connections."""
        listen = self.address()
        config = {
            "version": 1,
            "listeners": {"relay": {
                "bind": [listen], "mode": mode, "pool": "mta", "allow": ["127.0.0.0/8"],
            }},
            "pools": {"mta": {"balance": "leastconn", "servers": pool_servers(servers)}},
        }
        if mode == "smtp":
            config["listeners"]["relay"].update(direction="outbound", hostname="bench.test",
                                                 caps=dict(CAPS) if caps else {})
        if change is not None:
            change(config)
        # A line per message goes to nobody: the others log nothing either.
        node = {"workers": self.workers, "log": {"target": "stderr", "level": "warning"}}
        program = lib.Node(self.bins, self.dir / name, config, node, env=env)
        program.forget()
        return self.keep(Contender(name, listen, program))


def pool_servers(servers):
    return {f"s{i}": {"address": address, "max_connections": 8000} for i, address in enumerate(servers)}
