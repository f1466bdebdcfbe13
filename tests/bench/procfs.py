# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory of a process, from /proc.

CPU per message is the steadiest figure there is on a shared machine: waiting for a core does not count. It is
summed over the tasks because the process total of /proc/PID/stat has a resolution of 10 ms only."""
import os
from pathlib import Path


def family(pid):
    """The process and its children, grandchildren …"""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            try:
                found += [int(p) for p in (task / "children").read_text().split()]
            except OSError:
                pass
    return found


def _tasks(pid):
    try:
        return [Path(f"/proc/{pid}/task/{tid}") for tid in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def cpu_seconds(pid):
    total = 0.0
    for task in _tasks(pid):
        try:
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
        except (OSError, IndexError):
            total += _ticks(task)
    return total


def _ticks(task):
    try:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_bytes(pid):
    """Proportional resident memory: shared libraries count once for all who map them."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def machine():
    """What the figures were taken on."""
    info = {"cores": os.cpu_count(), "kernel": os.uname().release, "arch": os.uname().machine}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            info["cpu"] = line.partition(":")[2].strip()
            break
    info["load_before"] = os.getloadavg()[0]
    return info
