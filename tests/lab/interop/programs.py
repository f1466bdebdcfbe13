# SPDX-License-Identifier: Apache-2.0
"""The programs of a run: three servers, the same three as clients, and one balancer between them.

All of it lives in namespaces of its own (see __main__.py), so ports are simply numbers here.

    clients ──► taps 6000… ──► postroadd 5000… ──► servers 3000…
      4000…                    one listener per server and pair of TLS modes
"""
import json
import re
import smtplib
import ssl
import subprocess

from columns import CLIENTS, COLUMNS, SERVER_WITHOUT_TLS, SERVERS
from tests.peers.exim import Exim
from tests.peers.opensmtpd import OpenSmtpd
from tests.peers.postfix import Postfix
from tests.run.node import Node, StartError

SERVER_PORTS = {"postfix": (3025, 3465), "exim": (3125, 3565), "opensmtpd": (3225, 3665)}
CLIENT_PORTS = {"postfix": 4025, "exim": 4125, "opensmtpd": 4225}
LISTENERS, TAPS = 5000, 6000
NAMES = "subjectAltName=DNS:lb.test,DNS:mta.test,DNS:client.test,IP:127.0.0.1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
POSTFIX_SMTPD = """
{listen} inet n - n - 100 smtpd
  -o smtpd_tls_wrappermode=yes
tlsmgr unix - - n 1000? 1 tlsmgr
"""
POSTFIX_SMTP = """
{name} unix - - n - - smtp
  -o smtp_tls_security_level={level}
  -o smtp_tls_wrappermode={wrapper}
"""


def domain(column, server):
    return f"{column}.{server}.test"


def tap_port(client, column, server):
    names = [c.name for c in COLUMNS]
    return TAPS + (CLIENTS.index(client) * len(SERVERS) + SERVERS.index(server)) * len(names) + names.index(column)


def combinations():
    """Each server with each pair of TLS modes that some column has."""
    pairs = sorted({(c.front, c.back) for c in COLUMNS})
    return [(server, front, back) for server in SERVERS for front, back in pairs]


def listener_port(server, front, back):
    return LISTENERS + combinations().index((server, front, back))


class Certificates:
    """One authority and one certificate for all."""

    def __init__(self, directory):
        self.ca, self.cert, self.key = (directory / n for n in ("ca.pem", "cert.pem", "key.pem"))
        directory.mkdir()
        ca_key, request = directory / "ca-key.pem", directory / "request.pem"
        self._openssl("req", "-x509", *KEY, "-days", "30", "-subj", "/CN=Interop CA", "-keyout", ca_key, "-out", self.ca)
        self._openssl("req", "-new", *KEY, "-subj", "/CN=mta.test", "-addext", NAMES, "-keyout", self.key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-set_serial", "2", "-days", "30",
                      "-copy_extensions", "copy", "-out", self.cert)
        # Exim's user reads it after root was given up; it is good for this run alone.
        self.key.chmod(0o644)

    @staticmethod
    def _openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)


class Programs:
    def __init__(self, directory, build, bin_dir, clients, servers, columns):
        self.directory, self.build, self.bin_dir = directory, build, bin_dir
        self.tls = Certificates(directory / "tls")
        self.server_names, self.columns = servers, columns
        self.servers = {name: getattr(self, "_server_" + name)() for name in servers}
        self.clients = {name: getattr(self, "_client_" + name)() for name in CLIENT_PORTS if name in clients}
        self.node = Node(bin_dir, directory / "lb", self._config())
        self.announced = {}

    def start(self):
        for mta in list(self.servers.values()) + list(self.clients.values()):
            mta.start()
        for name in self.servers:
            self.announced[name] = self._ask(name)
        self.node.start(60)
        self.node.wait_until(lambda: not self._not_up(), "every server up", 30)

    def _ask(self, name):
        """What a server announces, and TLS if a handshake with it succeeds: asked directly, without a balancer."""
        with smtplib.SMTP("127.0.0.1", SERVER_PORTS[name][0], "client.test", timeout=20) as s:
            s.ehlo()
            announced = {k.upper() for k in s.esmtp_features}
            try:
                s.starttls(context=ssl.create_default_context(cafile=self.tls.ca))
                return announced | {"TLS"}
            except ssl.SSLError as e:
                # The session is beyond repair; what smtplib says at its end is of no interest.
                s.close()
                if name not in SERVER_WITHOUT_TLS:
                    raise StartError(f"{name} itself fails the handshake: {e}") from e
        return announced

    def _not_up(self):
        """The servers that cannot be used, and why: a run without them would only fail later."""
        _, text = self.node.get("/api/v1/pools")
        states = {pool: s["state"] for pool, p in json.loads(text)["pools"].items() for s in p["servers"].values()}
        able = {pool for pool in states if pool.endswith("-none") or "TLS" in self.announced[pool.rpartition("-")[0]]}
        return [f"{pool}: {state}" for pool, state in states.items() if pool in able and state not in ("up", "starting")]

    def stop(self):
        """The balancer must end well; the others are ended."""
        status = self.node.stop(75)
        for mta in list(self.clients.values()) + list(self.servers.values()):
            mta.stop()
        return status

    # ---- servers ----

    def _server_postfix(self):
        plain, implicit = SERVER_PORTS["postfix"]
        settings = {"smtputf8_enable": "yes", "smtpd_tls_security_level": "may", "smtpd_tls_cert_file": self.tls.cert,
                    "smtpd_tls_key_file": self.tls.key}
        return Postfix(self.directory / "server-postfix", f"127.0.0.1:{plain}", build=self.build, settings=settings,
                       services=POSTFIX_SMTPD.format(listen=f"127.0.0.1:{implicit}"))

    def _server_exim(self):
        plain, implicit = SERVER_PORTS["exim"]
        return Exim(self.directory / "server-exim", plain, implicit, certificate=(self.tls.cert, self.tls.key), build=self.build)

    def _server_opensmtpd(self):
        plain, implicit = SERVER_PORTS["opensmtpd"]
        return OpenSmtpd(self.directory / "server-opensmtpd", plain, implicit, certificate=(self.tls.cert, self.tls.key),
                         build=self.build)

    # ---- clients ----

    def _routes(self, client, make):
        return {domain(c.name, server): make(c, tap_port(client, c.name, server))
                for c in self.columns for server in self.server_names}

    def _client_postfix(self):
        routes = self._routes("postfix", lambda c, port: f"smtp-{c.front}:[127.0.0.1]:{port}")
        table = ", ".join(f"{{ {name} = {to} }}" for name, to in routes.items())
        settings = {"smtputf8_enable": "yes", "transport_maps": f"inline:{{ {table} }}", "smtp_tls_CAfile": self.tls.ca,
                    "smtp_tls_secure_cert_match": "lb.test", "smtp_dns_support_level": "disabled",
                    # Longer lines would be folded, by Postfix's own choice.
                    "smtp_line_length_limit": "0"}
        services = "tlsmgr unix - - n 1000? 1 tlsmgr\n" + "".join(
            POSTFIX_SMTP.format(name=f"smtp-{front}", level="none" if front == "none" else "secure",
                                wrapper="yes" if front == "implicit" else "no") for front in ("none", "starttls", "implicit"))
        return Postfix(self.directory / "client-postfix", f"127.0.0.1:{CLIENT_PORTS['postfix']}", "client.test", build=self.build,
                       settings=settings, services=services)

    def _client_exim(self):
        def transport(column, port):
            lines = [f"hosts_try_chunking = {'*' if column.use == 'chunking' else ''}"]
            if column.front == "none":
                return port, lines + ["hosts_avoid_tls = *"]
            lines += ["hosts_require_tls = *", f"tls_verify_certificates = {self.tls.ca}", "tls_verify_hosts = *"]
            return port, lines + (["protocol = smtps"] if column.front == "implicit" else [])
        return Exim(self.directory / "client-exim", CLIENT_PORTS["exim"], hostname="client.test",
                    routes=self._routes("exim", transport), build=self.build)

    def _client_opensmtpd(self):
        schemes = {"none": ("smtp+notls", ""), "starttls": ("smtp+tls", "tls no-verify"), "implicit": ("smtps", "tls no-verify")}

        def relay(column, port):
            scheme, options = schemes[column.front]
            return f"{scheme}://127.0.0.1:{port}", options
        return OpenSmtpd(self.directory / "client-opensmtpd", CLIENT_PORTS["opensmtpd"], hostname="client.test",
                         routes=self._routes("opensmtpd", relay), build=self.build)

    # ---- the balancer ----

    def _config(self):
        listeners, pools = {}, {}
        for server, front, back in combinations():
            if server not in self.server_names:
                continue
            pool = f"{server}-{back}"
            listeners[f"{server}-{front}-{back}"] = {
                "bind": [f"127.0.0.1:{listener_port(server, front, back)}"], "direction": "outbound", "hostname": "lb.test",
                "pool": pool, "allow": ["127.0.0.0/8"], "add_received": "always",
                "tls": {"mode": front, "certificates": ["own"] if front != "none" else []}}
            pools[pool] = {
                "servers": {"mta": {"address": f"127.0.0.1:{SERVER_PORTS[server][back == 'implicit']}"}},
                "tls": {"mode": "none"} if back == "none" else {
                    "mode": "verify", "implicit": back == "implicit", "ca_file": str(self.tls.ca), "server_name": "mta.test"},
                "slow_start": "0s"}
        own = {"certificate_file": str(self.tls.cert), "key_file": str(self.tls.key)}
        return {"version": 1, "listeners": listeners, "pools": pools, "certificates": {"own": own}}

    def versions(self):
        """What was run, for the report."""
        found = {}
        for name in ("postfix", "exim4-daemon-light", "opensmtpd", "swaks", "msmtp"):
            stamp = self.build / "peers" / name / ".unpacked"
            if stamp.exists():
                found[name] = re.search(rf"^{name}_([^_]+)_", stamp.read_text(), re.M)[1]
        return found
