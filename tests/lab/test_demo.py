# SPDX-License-Identifier: Apache-2.0
"""The demo plays to its end, every message is where it belongs, and the address was never on two nodes. How long it did not answer
is for the demo itself to judge."""
import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster.lab import TOOLS  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
COLUMN = 38  # where what was measured begins
TIMES = {"its owner loses its power", "it goes back to its owner, planned"}

pytestmark = [pytest.mark.long,
              pytest.mark.skipif(
                  os.geteuid() != 0 or not all((BUILD / t).exists() for t in (*TOOLS, "bin/postroad-ha"))
                  or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived", "postfix")),
                  reason="needs root, `make peers` and `make bench-tools`")]


def test_the_demo_plays_to_its_end_and_loses_nothing():
    done = subprocess.run([REPOSITORY / "tests/demo/demo", "--build", BUILD, "--rate", "20"], capture_output=True, text=True, timeout=280,
                          env={k: v for k, v in os.environ.items() if k != "KEEP"}, check=False)
    rows = {line[:COLUMN].strip(): line[COLUMN:].split() for line in done.stdout.splitlines()}
    missed = {what for what, said in rows.items() if "MISSED" in said}
    assert done.stderr == "" and TIMES <= set(rows) and missed <= TIMES, done.stdout + done.stderr
    assert done.returncode == (1 if missed else 0), done.stdout
    assert rows["the address on two nodes at once"][:2] == ["0", "ms"]
    assert rows["lost (accepted, and in no mailbox)"][0] == rows["duplicates nobody can explain"][0] == "0"
    assert rows["connections refused meanwhile"][0] == "0"
    assert int(rows["messages sent"][0]) > 100 and rows["accepted (the sender was told 250)"][0] == rows["messages sent"][0]
