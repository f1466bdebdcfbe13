# SPDX-License-Identifier: Apache-2.0
"""A machine that gets little processor time: all its processes in one control group with a quota (v1 or v2, as this machine has)."""
import contextlib
import os
from pathlib import Path

from tests.lab.cluster.host import END_SECONDS
from tests.lab.cluster.waiting import LabError, Seen, until

ROOT = Path("/sys/fs/cgroup")
PREFIX = "postroad-lab-"
PERIOD_US = 100000


def _place():
    """(where groups are made, whether it is v2)."""
    if (ROOT / "cpu/cpu.shares").exists() or (ROOT / "cpu/tasks").exists():
        return ROOT / "cpu", False
    if "cpu" in (ROOT / "cgroup.subtree_control").read_text().split():
        return ROOT, True
    raise LabError("there is no control group for processor time here")


def sweep():
    """Groups of labs that were killed, those of booted nodes too."""
    for group in (*ROOT.glob(PREFIX + "*"), *ROOT.glob("*/" + PREFIX + "*")):
        if not os.path.exists(f"/proc/{group.name.removeprefix(PREFIX).partition('-')[0]}"):
            for path in sorted([group, *(p for p in group.rglob("*") if p.is_dir())], reverse=True):
                with contextlib.suppress(OSError):  # somebody else was faster, or processes there are ending yet
                    path.rmdir()


class Starve:
    """The processes of a node, and those they start, share so many percent of one processor until release()."""

    def __init__(self, node, percent):
        sweep()
        self.place, is_v2 = _place()
        self.group = self.place / f"{PREFIX}{os.getpid()}-{node.name}"
        self.group.mkdir()
        quota = percent * PERIOD_US // 100
        if is_v2:
            (self.group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self.group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.group / "cpu.cfs_quota_us").write_text(str(quota))
            if (self.group / "cpu.rt_runtime_us").exists():  # without any, who runs in real time is not let in
                (self.group / "cpu.rt_runtime_us").write_text(str(10 * quota))
        try:
            for pid in node.inhabitants():
                self._move(pid, self.group)
        except OSError:
            self.release()
            raise

    @staticmethod
    def _move(pid, group):
        try:
            (group / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            pass  # it has ended

    def release(self):
        """They have their time again."""
        def empty():
            pids = (self.group / "cgroup.procs").read_text().split()
            for pid in pids:
                self._move(pid, self.place)
            return Seen(not pids, pids)
        until(empty, END_SECONDS, "nobody is starved")
        self.group.rmdir()
