# SPDX-License-Identifier: Apache-2.0
"""Three short rows of the failure matrix, on three nodes formed once: the owner's postroadd is killed, corosync on one, and the
owner loses its power.

Judged is what comes of it: one owner, all nodes alike, nothing lost, writes going on. Times are printed beside their bounds, and
judged by `make lab T=matrix` alone: a machine that runs other tests meanwhile is no place for that.
"""
import os
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster.lab import TOOLS  # noqa: E402
from tests.lab.matrix import frame, rows_vip  # noqa: E402,F401  pylint: disable=unused-import

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SHORT = ("postroadd_killed", "corosync_killed", "power_lost")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in (*TOOLS, "bin/postroad-ha")), reason="needs root, `make peers` and `make bench-tools`")


@pytest.fixture(scope="module")
def benches():
    with frame.Benches(BUILD) as kept:
        yield kept


@pytest.mark.parametrize("name", SHORT)
def test_the_outcome_of_a_row(benches, name):
    (entry,) = frame.chosen([name])
    assert not entry.fresh and not entry.shape, "all rows here share one bench"
    (outcome,) = frame.run([entry], benches)
    assert not outcome.findings, "\n".join([outcome.text, *outcome.findings])
