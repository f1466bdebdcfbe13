# SPDX-License-Identifier: Apache-2.0
"""One thread of a program that stands still while its others run, as in an endless loop or a call that does not return."""
import subprocess
from pathlib import Path

from tests.lab.cluster.host import END_SECONDS, keeper, state_of
from tests.lab.cluster.waiting import LabError, until


def threads(pid):
    """{name: [ids]} of the threads of a process."""
    found = {}
    for path in Path(f"/proc/{pid}/task").iterdir():
        try:
            found.setdefault((path / "comm").read_text().strip(), []).append(int(path.name))
        except OSError:
            continue
    return found


class Hang:
    """`thread`: a name as in /proc, of which the first one is taken; None = the first thread of the process.
    `since`: when it came to stand, by CLOCK_MONOTONIC in seconds."""

    def __init__(self, lab, node, program, thread=None):
        self.pid = node.pid_of(program)
        names = threads(self.pid)
        self.tid = min(names.get(thread, [])) if thread in names else self.pid if thread is None else None
        if self.tid is None:
            raise LabError(f"{node.name}: {program} has no thread {thread}, but {sorted(names)}")
        self._process = keeper(subprocess.Popen, ["setpriv", "--pdeathsig", "KILL", str(lab.bin("lab-hang")), str(self.tid)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self._process.stdout.readline()
        if not line:
            raise LabError(f"{node.name}: {program}: {self._process.communicate(timeout=END_SECONDS)[1].decode().strip()}")
        self.since = int(line) / 1e9
        until(lambda: state_of(f"{self.pid}/task/{self.tid}") in "tX", END_SECONDS, "the thread stands still")

    def is_standing(self):
        return state_of(f"{self.pid}/task/{self.tid}") == "t"

    def release(self):
        """It goes on, if it is still there."""
        self._process.kill()
        self._process.communicate(timeout=END_SECONDS)
