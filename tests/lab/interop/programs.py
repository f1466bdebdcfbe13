# SPDX-License-Identifier: Apache-2.0
"""The programs of a run: three servers, the same three as clients, one balancer between them, HAProxy before it.

All of it lives in namespaces of its own (see __main__.py), so ports are simply numbers here.

    clients ──► taps 6000… ──► (HAProxy 8000… ──►) postroadd 5000… ──► (taps 7000… ──►) servers 3000…
      4000…                    one listener and one pool per column and server
"""
import json
import re
import smtplib
import socket
import ssl
import struct
import subprocess

from columns import ADDRESSES, CLIENTS, COLUMNS, HELO, OPTIONAL, OURS, SERVER_WITHOUT_TLS, SERVERS, server_lacks
from tests.peers import proxies
from tests.peers.exim import Exim
from tests.peers.opensmtpd import OpenSmtpd
from tests.peers.postfix import Postfix
from tests.run.node import Node, StartError

SERVER_PORTS = {server: {service: base + n for n, service in enumerate(("plain", "implicit", "proxy", "xclient", "bare"), 25)}
                for server, base in (("postfix", 3000), ("exim", 3100), ("opensmtpd", 3200))}
CLIENT_PORTS = {"postfix": 4025, "exim": 4125, "opensmtpd": 4225}
LISTENERS, TAPS, BACK_TAPS, HAPROXIES = 5000, 6000, 7000, 8000
NAMES = "subjectAltName=DNS:lb.test,DNS:mta.test,DNS:client.test,IP:127.0.0.1"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
POSTFIX_SMTPD = """
{implicit} inet n - n - 100 smtpd
  -o smtpd_tls_wrappermode=yes
{proxy} inet n - n - 100 smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
{xclient} inet n - n - 100 smtpd
  -o smtpd_authorized_xclient_hosts=127.0.0.1
{bare} inet n - n - 100 smtpd
  -o smtpd_discard_ehlo_keywords=pipelining,size,vrfy,etrn,starttls,enhancedstatuscodes,8bitmime,dsn,smtputf8,chunking
tlsmgr unix - - n 1000? 1 tlsmgr
"""
POSTFIX_SMTP = """
{name} unix - - n - - smtp
  -o smtp_tls_security_level={level}
  -o smtp_tls_wrappermode={wrapper}
"""
PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def domain(column, server):
    return f"{column}.{server}.test"


def tap_port(client, column, server):
    names = [c.name for c in COLUMNS]
    return TAPS + (CLIENTS.index(client) * len(SERVERS) + SERVERS.index(server)) * len(names) + names.index(column)


def port_of(base, column, server):
    """The port of one column and server, of those that begin at `base`."""
    return base + COLUMNS.index(column) * len(SERVERS) + SERVERS.index(server)


def front_port(column, server):
    """Where clients of a column go, but for the tap."""
    return port_of(HAPROXIES if column.behind else LISTENERS, column, server)


def header(version, source, port):
    """A PROXY header: a client of `source` came to `port`."""
    if version == "1":
        return f"PROXY TCP4 {source} {OURS} 40000 {port}\r\n".encode()
    ends = socket.inet_aton(source) + socket.inet_aton(OURS) + struct.pack("!HH", 40000, port)
    return PROXY_V2 + struct.pack("!BBH", 0x21, 0x11, len(ends)) + ends


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
        self.node = Node(bin_dir, directory / "lb", {})
        self.announced, self.before = {}, []

    def start(self):
        for mta in list(self.servers.values()) + list(self.clients.values()):
            mta.start()
        for name in self.servers:
            self.announced[name] = self._ask(name) | self._ask_identity(name)
            self._ask_bare(name)

    def start_balancer(self):
        """When all is known that it is told, and what records its own dialogues listens."""
        self.node.config = self._config()
        self.node.start(60)
        self.node.wait_until(lambda: not self._not_up(), "every server up", 30)
        for column, server in self.ways():
            if column.behind:
                self.before.append(proxies.haproxy(
                    self.directory / f"haproxy-{server}", f"127.0.0.1:{front_port(column, server)}",
                    [f"127.0.0.1:{port_of(LISTENERS, column, server)}"], self.build, to_server="send-proxy-v2").start())

    def ways(self):
        """Each column with each server that can have a part in it."""
        return [(c, s) for c in self.columns for s in self.server_names if not server_lacks(c, s, self.announced)]

    def _ask(self, name):
        """What a server announces, and TLS if a handshake with it succeeds: asked directly, without a balancer."""
        with smtplib.SMTP(OURS, SERVER_PORTS[name]["plain"], HELO, timeout=20) as s:
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

    def _ask_identity(self, name):
        """How this server can be told who the client is: it greets behind a header, or announces XCLIENT."""
        found = {f"PROXY-V{version}" for version in "12" if self._greets_behind(name, version)}
        with smtplib.SMTP(OURS, SERVER_PORTS[name]["xclient"], HELO, timeout=20) as s:
            s.ehlo()
            return found | ({"XCLIENT"} if s.has_extn("xclient") else set())

    def _greets_behind(self, name, version):
        port = SERVER_PORTS[name]["proxy"]
        with socket.create_connection((OURS, port), 20) as s:
            s.sendall(header(version, ADDRESSES["smtplib"], port))
            s.settimeout(2)
            try:
                return s.recv(512).startswith(b"220")
            except OSError:
                return False

    def _ask_bare(self, name):
        with smtplib.SMTP(OURS, SERVER_PORTS[name]["bare"], HELO, timeout=20) as s:
            s.ehlo()
            if left := OPTIONAL & {k.upper() for k in s.esmtp_features}:
                raise StartError(f"{name} was told to announce nothing and announces {', '.join(left)}")

    def _not_up(self):
        """The servers that cannot be used, and why: a run without them would only fail later."""
        _, text = self.node.get("/api/v1/pools")
        states = {pool: s["state"] for pool, p in json.loads(text)["pools"].items() for s in p["servers"].values()}
        return [f"{pool}: {state}" for pool, state in states.items() if state not in ("up", "starting")]

    def stop(self):
        """The balancer must end well; the others are ended."""
        for proxy in self.before:
            proxy.stop()
        status = self.node.stop(75)
        for mta in list(self.clients.values()) + list(self.servers.values()):
            mta.stop()
        return status

    # ---- servers ----

    def _server_postfix(self):
        settings = {"smtputf8_enable": "yes", "smtpd_tls_security_level": "may", "smtpd_tls_cert_file": self.tls.cert,
                    "smtpd_tls_key_file": self.tls.key}
        return Postfix(self.directory / "server-postfix", f"127.0.0.1:{SERVER_PORTS['postfix']['plain']}", build=self.build,
                       settings=settings, services=POSTFIX_SMTPD.format(
                           **{service: f"127.0.0.1:{port}" for service, port in SERVER_PORTS["postfix"].items()}))

    def _server_exim(self):
        return Exim(self.directory / "server-exim", *self._ports("exim"), certificate=(self.tls.cert, self.tls.key),
                    build=self.build, heavy=True)

    def _server_opensmtpd(self):
        return OpenSmtpd(self.directory / "server-opensmtpd", *self._ports("opensmtpd"), certificate=(self.tls.cert, self.tls.key),
                         build=self.build)

    @staticmethod
    def _ports(name):
        return SERVER_PORTS[name]["plain"], {k: v for k, v in SERVER_PORTS[name].items() if k != "plain"}

    # ---- clients ----

    def _routes(self, client, make):
        return {domain(c.name, server): make(c, tap_port(client, c.name, server))
                for c in self.columns for server in self.server_names}

    def _client_postfix(self):
        routes = self._routes("postfix", lambda c, port: f"smtp-{c.front}:[127.0.0.1]:{port}")
        table = ", ".join(f"{{ {name} = {to} }}" for name, to in routes.items())
        settings = {"smtputf8_enable": "yes", "transport_maps": f"inline:{{ {table} }}", "smtp_tls_CAfile": self.tls.ca,
                    "smtp_tls_secure_cert_match": "lb.test", "smtp_dns_support_level": "disabled",
                    # Longer lines would be folded, and octets encoded for a server without 8BITMIME, by Postfix's own choice.
                    "smtp_line_length_limit": "0", "disable_mime_output_conversion": "yes",
                    "smtp_bind_address": ADDRESSES["postfix"]}
        services = "tlsmgr unix - - n 1000? 1 tlsmgr\n" + "".join(
            POSTFIX_SMTP.format(name=f"smtp-{front}", level="none" if front == "none" else "secure",
                                wrapper="yes" if front == "implicit" else "no") for front in ("none", "starttls", "implicit"))
        return Postfix(self.directory / "client-postfix", f"127.0.0.1:{CLIENT_PORTS['postfix']}", "client.test", build=self.build,
                       settings=settings, services=services)

    def _client_exim(self):
        def transport(column, port):
            lines = [f"hosts_try_chunking = {'*' if column.uses('exim', 'chunking') else ''}", f"interface = {ADDRESSES['exim']}"]
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
            return f"{scheme}://127.0.0.1:{port}", f"src {ADDRESSES['opensmtpd']} {options}"
        return OpenSmtpd(self.directory / "client-opensmtpd", CLIENT_PORTS["opensmtpd"], hostname="client.test",
                         routes=self._routes("opensmtpd", relay), build=self.build)

    # ---- the balancer ----

    def _config(self):
        listeners, pools = {}, {}
        for column, server in self.ways():
            name = f"{column.name}-{server}"
            listeners[name] = {
                "bind": [f"127.0.0.1:{port_of(LISTENERS, column, server)}"], "direction": "outbound", "hostname": "lb.test",
                "pool": name, "allow": ["127.0.0.0/8", "192.0.2.0/24"], "add_received": "always",
                "accept_proxy": [OURS] if column.behind else [],
                "tls": {"mode": column.front, "certificates": ["own"] if column.front != "none" else []}}
            pools[name] = self._pool(column, server)
        own = {"certificate_file": str(self.tls.cert), "key_file": str(self.tls.key)}
        return {"version": 1, "listeners": listeners, "pools": pools, "certificates": {"own": own}}

    def _pool(self, column, server):
        port = port_of(BACK_TAPS, column, server) if column.tapped else SERVER_PORTS[server][column.service]
        identity = {"xclient": True} if column.identity == "xclient" else {"proxy": column.identity or "none"}
        return {"servers": {"mta": {"address": f"127.0.0.1:{port}"}}, "identity": identity, "slow_start": "0s",
                "chunking": column.chunking or "client",
                "tls": {"mode": "none"} if column.back == "none" else {
                    "mode": "verify", "implicit": column.back == "implicit", "ca_file": str(self.tls.ca),
                    "server_name": "mta.test"}}

    def versions(self):
        """What was run, for the report."""
        found = {}
        for name in ("postfix", "exim4-daemon-light", "exim4-daemon-heavy", "opensmtpd", "haproxy", "swaks", "msmtp"):
            stamp = self.build / "peers" / name / ".unpacked"
            if stamp.exists():
                found[name] = re.search(rf"^{name}_([^_]+)_", stamp.read_text(), re.M)[1]
        return found
