# SPDX-License-Identifier: Apache-2.0
"""A private OpenSMTPD: what it accepts goes into one Maildir, or on to a host and port by the recipient's domain.

The hard thing: its processes find their users, their chroot and the delivery agents in places compiled in, and
refuse a key that others may read.
"""
import shutil

from tests.peers.caged import Caged


class OpenSmtpd(Caged):
    """`routes` maps a domain to (URL, options of `relay`); all other mail is delivered here. `services` are
    further ports: `implicit` begins with TLS, `proxy` wants a PROXY header of version 2, `bare` announces as little as it
    can be told to, `xclient` is like the first one."""

    peer = "opensmtpd"
    directories = {"var/spool/smtpd": ("root", 0o711), "var/lib/opensmtpd/empty": ("root", 0o755)}

    def __init__(self, dir, port, services=None, hostname="mta.test", certificate=None, routes=None, build=None):
        super().__init__(dir, port, build)
        lines, tls = ["smtp max-message-size 100M", "table all { \"@\" = vmail }"], ""
        if certificate:
            for name, source in zip(("cert", "key"), certificate):
                shutil.copyfile(source, self.dir / "etc" / f"smtpd.{name}")
                (self.dir / "etc" / f"smtpd.{name}").chmod(0o600)
            lines += ["pki own cert \"/etc/smtpd.cert\"", "pki own key \"/etc/smtpd.key\""]
            tls = "tls pki own "
        lines.append(f"listen on 127.0.0.1 port {port} {tls}hostname {hostname}")
        kinds = {"implicit": "smtps pki own ", "proxy": f"{tls}proxy-v2 ", "xclient": tls, "bare": "no-dsn "}
        for name, at in (services or {}).items():
            lines.append(f"listen on 127.0.0.1 port {at} {kinds[name]}hostname {hostname}")
        for n, (url, options) in enumerate((routes or {}).values()):
            lines.append(f"action \"to{n}\" relay host \"{url}\" helo \"{hostname}\" {options}")
        lines.append("action \"local\" maildir \"/var/mail/all\" virtual <all>")
        for n, domain in enumerate(routes or {}):
            lines.append(f"match from any for domain \"{domain}\" action \"to{n}\"")
        lines.append("match from any for any action \"local\"")
        self.write("etc/smtpd.conf", "\n".join(lines) + "\n", 0o600)

    def argv(self):
        return ["/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"]
