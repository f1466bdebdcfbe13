# SPDX-License-Identifier: Apache-2.0
"""The mail servers that tests bring along do not depend on what the machine has of its own.

The hard thing is a machine that has a user "postfix" already: it is made here, in a mount namespace in which
/etc/passwd and /etc/group are such a machine's. Needs root.
"""
import os
import pathlib
import socket
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
OWN_PASSWD = "postfix:x:104:109::/var/spool/postfix:/usr/sbin/nologin\n"
OWN_GROUP = "postfix:x:109:\npostdrop:x:110:\n"
DELIVER = """
import smtplib, sys, time
sys.path.insert(0, sys.argv[1])
from tests.peers.postfix import Postfix
with Postfix(sys.argv[2], "127.0.0.1:" + sys.argv[3], build=sys.argv[4]) as mta:
    mta.start()
    with smtplib.SMTP("127.0.0.1", int(sys.argv[3]), timeout=20) as client:
        client.sendmail("a@client.test", "b@example.com", b"X-Postroad-Id: one\\r\\n\\r\\nHello\\r\\n")
    until = time.monotonic() + 20
    while not mta.delivered():
        assert time.monotonic() < until, mta.trouble()
        time.sleep(0.05)
    print(*mta.ids())
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not (BUILD / "peers/postfix/.unpacked").exists(),
                                reason="needs root and `make peers`")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_postfix_delivers_on_a_machine_that_has_a_user_of_its_name(tmp_path):
    lists = []
    for name, own in (("passwd", OWN_PASSWD), ("group", OWN_GROUP)):
        lists.append(tmp_path / name)
        others = [line for line in pathlib.Path("/etc", name).read_text().splitlines() if not line.startswith("post")]
        lists[-1].write_text("\n".join([*others, own]))
    script = 'set -e; mount --bind "$1" /etc/passwd; mount --bind "$2" /etc/group; shift 2; exec "$@"'
    view = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *lists]
    done = subprocess.run([*view, sys.executable, "-c", DELIVER, REPOSITORY, tmp_path / "mta", str(free_port()), BUILD],
                          capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["one"]
