# SPDX-License-Identifier: Apache-2.0
"""HAProxy and nginx as balancers to compare with: configuration, start, stop.

They get what their manuals recommend for the purpose: two threads or workers, TCP_NODELAY, no logging, no limits in
the way."""
import os
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

from tests.peers import unpacking
from tests.peers.postfix import probe_banner

HAPROXY = """
global
    nbthread {threads}
    maxconn 6000
    {tune}
defaults
    mode tcp
    timeout connect 10s
    timeout client 5m
    timeout server 10m
    {options}
listen mail
    bind {listen}{bind}
    {rules}
    balance leastconn
{servers}
"""
NGINX = """
load_module {modules}/ngx_stream_module.so;
daemon off;
user root;
worker_processes {threads};
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 8192; multi_accept on; }}
stream {{
    upstream mail {{
        least_conn;
{servers}
    }}
    server {{
        listen {listen} reuseport;
        proxy_pass mail;
        proxy_timeout 10m;
        tcp_nodelay on;
        access_log off;
    }}
}}
"""


class Proxy:
    """A program in a directory of its own, listening on one address."""

    def __init__(self, dir, listen, argv, env, probe=probe_banner):
        self.dir, self.listen, self.argv, self.env, self.probe = Path(dir), listen, argv, env, probe
        self.process = None

    def start(self, timeout=10):
        host, _, port = self.listen.rpartition(":")
        with open(self.dir / "stderr", "ab") as err:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err, env=self.env)
        deadline = time.monotonic() + timeout
        while not self.probe(host, int(port)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise unpacking.PeerError(f"{self.argv[0]} does not start:\n{(self.dir / 'stderr').read_text()}")
            time.sleep(0.05)
        return self

    @property
    def pid(self):
        return self.process.pid

    def stop(self, timeout=10):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def probe_tls(host, port, timeout=2):
    """True when a TLS handshake succeeds there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout) as s, context.wrap_socket(s):
            return True
    except OSError:
        return False


def haproxy(dir, listen, servers, build=None, threads=2, options=(), tune=(), certificate=None, rules=(), to_server=""):
    """`mode tcp` over the servers ("ADDR:PORT"), least connections first. certificate: a PEM file with its key; TLS
    ends here. rules: lines of the listening section. to_server: words behind each server."""
    root = unpacking.unpack("haproxy", build)
    dir = Path(dir)
    dir.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"    server s{i} {address} maxconn 6000 {to_server}" for i, address in enumerate(servers))
    config = HAPROXY.format(threads=threads, listen=listen, servers=lines, options="\n    ".join(options),
                            tune="\n    ".join(tune), rules="\n    ".join(rules),
                            bind=f" ssl crt {certificate}" if certificate else "")
    (dir / "haproxy.cfg").write_text(config)
    return Proxy(dir, listen, [str(root / "usr/sbin/haproxy"), "-db", "-f", str(dir / "haproxy.cfg")],
                 unpacking.environment(root), probe_tls if certificate else probe_banner)


def nginx(dir, listen, servers, build=None, threads=2):
    """The stream module over the servers, least connections first."""
    root = unpacking.unpack("nginx", build)
    dir = Path(dir)
    dir.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"        server {address};" for address in servers)
    config = NGINX.format(modules=root / "usr/lib/nginx/modules", dir=dir, listen=listen, servers=lines,
                          threads=threads)
    if os.geteuid() != 0:
        config = config.replace("user root;\n", "")
    (dir / "nginx.conf").write_text(config)
    return Proxy(dir, listen, [str(root / "usr/sbin/nginx"), "-p", str(dir), "-c", str(dir / "nginx.conf"),
                               "-e", str(dir / "error.log")], unpacking.environment(root))
