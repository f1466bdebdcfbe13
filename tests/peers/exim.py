# SPDX-License-Identifier: Apache-2.0
"""A private Exim: what it accepts goes into one Maildir, or on to a host and port by the recipient's domain.

The hard thing is Exim's safety: it looks hosts up in the DNS, keeps hints about hosts that failed, and gives up its
privileges with a configuration it does not know. Here look-ups are off, retries are immediate, and the file is where
the program expects it.
"""
import re

from tests.peers.caged import Caged

MAIN = """
primary_hostname = {hostname}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {ports}
tls_on_connect_ports = {implicit}
log_file_path = /var/log/exim4/%slog
spool_directory = /var/spool/exim4
log_selector = +all
keep_environment = LD_LIBRARY_PATH
disable_ipv6 = true
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 100M
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
pipelining_advertise_hosts = {not_bare}
chunking_advertise_hosts = {not_bare}
smtputf8_advertise_hosts = {not_bare}
tls_advertise_hosts = {tls_hosts}
{lines}
acl_smtp_rcpt = everything
acl_smtp_data = everything

begin acl
everything:
  accept

begin routers
{routers}
local:
  driver = accept
  transport = maildir

begin transports
{transports}
maildir:
  driver = appendfile
  maildir_format
  directory = /var/mail/all
  create_directory
  user = vmail
  group = vmail

begin retry
* * F,1h,2s
"""
ROUTER = """
to_{name}:
  driver = manualroute
  domains = {domain}
  route_list = * 127.0.0.1
  self = send
  transport = to_{name}
"""
TRANSPORT = """
to_{name}:
  driver = smtp
  port = {port}
  delay_after_cutoff = false
  message_linelength_limit = 1000000
  {settings}
"""


# A list of hosts that has all of them, or none, by the port that was connected to.
ONLY_AT, NOT_AT = "${{if eq{{$received_port}}{{{}}}{{*}}}}", "${{if !eq{{$received_port}}{{{}}}{{*}}}}"


class Exim(Caged):
    """`routes` maps a domain to (port, lines for the smtp transport); all other mail is delivered here. `services` are
    further ports: `implicit` begins with TLS, `proxy` wants a PROXY header, `xclient` takes XCLIENT, each where the
    program can; `bare` announces as little as it can be told to. `heavy` is the package with more compiled in."""

    directories = {"var/spool/exim4": ("Debian-exim", 0o750), "var/log/exim4": ("Debian-exim", 0o750)}

    def __init__(self, dir, port, services=None, hostname="mta.test", certificate=None, routes=None, build=None, heavy=False):
        self.peer = "exim4-daemon-heavy" if heavy else "exim4-daemon-light"
        super().__init__(dir, port, build)
        services = services or {}
        routers, transports = "", ""
        for domain, (to, settings) in (routes or {}).items():
            name = domain.replace(".", "_").replace("-", "_")
            routers += ROUTER.format(name=name, domain=domain)
            transports += TRANSPORT.format(name=name, port=to, settings="\n  ".join(settings))
        lines = ["tls_certificate = {}\ntls_privatekey = {}".format(*certificate)] if certificate else []
        if services:
            lines += self._identity(services)
        not_bare = NOT_AT.format(services.get("bare", 0))
        self.write("etc/exim4/exim4.conf", MAIN.format(
            hostname=hostname, ports=" : ".join(map(str, [port, *services.values()])), implicit=services.get("implicit", ""),
            tls_hosts=not_bare if certificate else "", not_bare=not_bare, lines="\n".join(lines), routers=routers,
            transports=transports))

    def _identity(self, services):
        """The settings by which others say who the client is: unknown words to an Exim that was built without."""
        built = self.ask(["/usr/sbin/exim4", "-bV", "-C", "/dev/null"])
        lines = [f"hosts_proxy = {ONLY_AT.format(services['proxy'])}"] if re.search(r"\bPROXY\b", built) else []
        return lines + ([f"hosts_xclient = {ONLY_AT.format(services['xclient'])}"] if re.search(r"\bXCLIENT\b", built) else [])

    def argv(self):
        return ["/usr/sbin/exim4", "-bdf", "-q2s"]

    def logs(self):
        return [self.dir / "stderr"] + [self.dir / "var/log/exim4" / n for n in ("mainlog", "rejectlog", "paniclog")]
