# SPDX-License-Identifier: Apache-2.0
"""A private Exim: what it accepts goes into one Maildir, or on to a host and port by the recipient's domain.

The hard thing is Exim's safety: it looks hosts up in the DNS, keeps hints about hosts that failed, and gives up its
privileges with a configuration it does not know. Here look-ups are off, retries are immediate, and the file is where
the program expects it.
"""
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
smtputf8_advertise_hosts = *
tls_advertise_hosts = {tls_hosts}
{certificate}
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


class Exim(Caged):
    """`routes` maps a domain to (port, lines for the smtp transport); all other mail is delivered here."""

    peer = "exim4-daemon-light"
    directories = {"var/spool/exim4": ("Debian-exim", 0o750), "var/log/exim4": ("Debian-exim", 0o750)}

    def __init__(self, dir, port, implicit=None, hostname="mta.test", certificate=None, routes=None, build=None):
        super().__init__(dir, port, build)
        routers, transports = "", ""
        for domain, (to, settings) in (routes or {}).items():
            name = domain.replace(".", "_").replace("-", "_")
            routers += ROUTER.format(name=name, domain=domain)
            transports += TRANSPORT.format(name=name, port=to, settings="\n  ".join(settings))
        lines = "tls_certificate = {}\ntls_privatekey = {}".format(*certificate) if certificate else ""
        self.write("etc/exim4/exim4.conf", MAIN.format(
            hostname=hostname, ports=f"{port} : {implicit}" if implicit else port, implicit=implicit or "",
            tls_hosts="*" if certificate else "", certificate=lines, routers=routers, transports=transports))

    def argv(self):
        return ["/usr/sbin/exim4", "-bdf", "-q2s"]

    def logs(self):
        return [self.dir / "stderr"] + [self.dir / "var/log/exim4" / n for n in ("mainlog", "rejectlog", "paniclog")]
