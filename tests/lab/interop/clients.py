# SPDX-License-Identifier: Apache-2.0
"""How each client is made to send one message.

A mail server is given it by SMTP and sends it on when it likes; the others are run, and end when the balancer has
answered. Either way what is returned is an error text, or an empty string: arrival is judged elsewhere.
"""
import os
import smtplib
import ssl
import subprocess

from tests.peers import unpacking
from columns import HELO
from programs import CLIENT_PORTS

SECONDS = 60
NEEDS = {"BODY=8BITMIME": "8bitmime", "SMTPUTF8": "smtputf8"}


def send(programs, cell, kind, content):
    """Sends `content`; an error text, or an empty string."""
    try:
        return globals()["_" + cell.client](programs, cell, kind, content)
    except (OSError, smtplib.SMTPException, subprocess.TimeoutExpired) as e:
        return f"{type(e).__name__}: {e}"


def _options(cell):
    return ["BODY=8BITMIME"] + (["SMTPUTF8"] if cell.utf8 else [])


def _inject(port, cell, content):
    with smtplib.SMTP("127.0.0.1", port, "source.test", timeout=SECONDS) as s:
        s.command_encoding = "utf-8" if cell.utf8 else "ascii"
        s.sendmail(cell.sender, [cell.rcpt], content, mail_options=_options(cell))
    return ""


def _postfix(_programs, cell, _kind, content):
    return _inject(CLIENT_PORTS["postfix"], cell, content)


def _exim(_programs, cell, _kind, content):
    return _inject(CLIENT_PORTS["exim"], cell, content)


def _opensmtpd(_programs, cell, _kind, content):
    return _inject(CLIENT_PORTS["opensmtpd"], cell, content)


def _smtplib(programs, cell, _kind, content):
    context = ssl.create_default_context(cafile=programs.tls.ca)
    if cell.column.front == "implicit":
        connection = smtplib.SMTP_SSL("127.0.0.1", cell.port, HELO, timeout=SECONDS, context=context,
                                      source_address=(cell.address, 0))
    else:
        connection = smtplib.SMTP("127.0.0.1", cell.port, HELO, timeout=SECONDS, source_address=(cell.address, 0))
    with connection as s:
        if cell.column.front == "starttls":
            s.starttls(context=context)
        s.command_encoding = "utf-8" if cell.utf8 else "ascii"
        s.ehlo_or_helo_if_needed()
        s.sendmail(cell.sender, [cell.rcpt], content, mail_options=[o for o in _options(cell) if s.has_extn(NEEDS[o])])
    return ""


def _file(programs, cell, kind, content):
    path = programs.directory / "outgoing" / f"{cell.name}.{kind}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _run(argv, peer_root=None, stdin=None):
    env = unpacking.environment(peer_root) if peer_root else dict(os.environ)
    env["LC_ALL"] = "C.UTF-8"
    with open(stdin or os.devnull, "rb") as source:
        done = subprocess.run([str(a) for a in argv], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
                              env=env, check=False)
    return f"exit {done.returncode}: {done.stdout.decode('utf-8', 'replace')[-2000:]}" if done.returncode else ""


def _swaks(programs, cell, kind, content):
    root = unpacking.peers_dir(programs.build) / "swaks"
    # It stuffs dots itself, and takes one line with a dot off the end, if there is one, before it adds its own.
    path = _file(programs, cell, kind, content + b".\r\n")
    argv = [root / "usr/bin/swaks", "--server", "127.0.0.1", "--port", cell.port, "--local-interface", cell.address, "--ehlo", HELO,
            "--from", cell.sender, "--to", cell.rcpt, "--data", f"@{path}", "--suppress-data", "--timeout", SECONDS]
    tls = {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[cell.column.front]
    if tls:
        tls += ["--tls-verify", "--tls-ca-path", programs.tls.ca]
    return _run(argv + tls + (["--pipeline"] if cell.uses("pipelining") else []), root)


def _curl(programs, cell, kind, content):
    scheme = "smtps" if cell.column.front == "implicit" else "smtp"
    argv = ["curl", "--silent", "--show-error", "--url", f"{scheme}://127.0.0.1:{cell.port}/{HELO}", "--interface", cell.address,
            "--mail-from", cell.sender, "--mail-rcpt", cell.rcpt, "--upload-file", _file(programs, cell, kind, content), "--max-time", SECONDS]
    return _run(argv + (["--ssl-reqd", "--cacert", programs.tls.ca] if cell.column.front != "none" else []))


def _msmtp(programs, cell, kind, content):
    root = unpacking.peers_dir(programs.build) / "msmtp"
    argv = [root / "usr/bin/msmtp", "--file=/dev/null", "--host=127.0.0.1", f"--port={cell.port}", f"--domain={HELO}",
            f"--source-ip={cell.address}", f"--from={cell.sender}", f"--timeout={SECONDS}"]
    if cell.column.front != "none":
        argv += ["--tls=on", f"--tls-trust-file={programs.tls.ca}",
                 f"--tls-starttls={'on' if cell.column.front == 'starttls' else 'off'}"]
    # It reads text as programs on this machine write it, and makes the lines' ends itself.
    return _run(argv + ["--", cell.rcpt], root, _file(programs, cell, kind, content.replace(b"\r\n", b"\n")))
