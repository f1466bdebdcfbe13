# SPDX-License-Identifier: Apache-2.0
"""A loss of power takes what was not synced, and nothing else: shown with programs that remember, and that forget."""
import os
import pathlib
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster.disk import Control, Disk, Tree, read_journal  # noqa: E402
from tests.lab.cluster.waiting import LabError, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("OUT") or os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SHIM = BUILD / "lib/labshim.so"
BEGIN = """import os, time
root = os.environ["ROOT"]
here = os.open(root, os.O_RDONLY)
def make(name, data, sync=True, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(root + "/" + name, flags, 0o600)
    os.write(fd, data)
    if sync:
        os.fsync(fd)
    return fd
"""

pytestmark = pytest.mark.skipif(not SHIM.exists(), reason="needs `make lab-tools`")


class Machine:
    def __init__(self, tmp_path):
        self.root = tmp_path / "root"
        self.root.mkdir()
        (self.root / "old").write_bytes(b"of old")
        self.control = Control(tmp_path / "control")
        self.disk = Disk(self.root, tmp_path / "journal")
        self.disk.mount()
        self.env = {"PATH": "/usr/bin:/bin", "ROOT": str(self.root), "LD_PRELOAD": str(SHIM), "LAB_SHIM_CONTROL": str(tmp_path / "control"),
                    "LAB_SHIM_JOURNAL": str(tmp_path / "journal"), "LAB_SHIM_ROOT": str(self.root)}

    def start(self, program):
        return subprocess.Popen(["/usr/bin/python3", "-B", "-S", "-c", BEGIN + program], env=self.env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    def run(self, program):
        process = self.start(program)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        return out

    def after_loss(self, **more):
        self.disk.lose_power(**more)
        return {p: c for p, c in Tree(self.root).listing().items() if p != "old" or c != b"of old"}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_what_was_synced_stays(machine):
    machine.run("make('a', b'kept'); os.fsync(here)")
    assert machine.after_loss() == {"a": b"kept"}
    assert machine.after_loss() == {"a": b"kept"}, "a second loss finds what the first one left"


def test_a_program_that_forgets_to_sync_its_file_loses_the_content(machine):
    machine.run("make('a', b'lost', sync=False); os.fsync(here)")
    assert machine.after_loss() == {"a": b""}


def test_a_program_that_forgets_to_sync_the_directory_loses_the_name(machine):
    machine.run("make('a', b'lost')")
    assert machine.after_loss() == {}


def test_what_was_written_behind_a_sync_is_lost(machine):
    machine.run("fd = make('a', b'kept'); os.fsync(here); os.write(fd, b' and lost'); os.pwrite(fd, b'K', 0)")
    assert machine.after_loss() == {"a": b"kept"}


def test_a_rename_needs_its_directory_synced(machine):
    machine.run("make('a', b'new'); os.fsync(here); os.rename(root + '/a', root + '/old')")
    assert machine.after_loss() == {"a": b"new"}, "the old one is still the old one"
    machine.run("os.rename(root + '/a', root + '/old'); os.fsync(here)")
    assert machine.after_loss() == {"old": b"new"}


def test_a_removal_needs_its_directory_synced(machine):
    machine.run("os.unlink(root + '/old')")
    assert machine.after_loss() == {} and (machine.root / "old").exists()
    machine.run("os.unlink(root + '/old'); os.fsync(here)")
    machine.after_loss()
    assert not (machine.root / "old").exists()


def test_a_truncation_counts_as_a_write(machine):
    machine.run("fd = os.open(root + '/old', os.O_WRONLY | os.O_TRUNC); os.write(fd, b'x')")
    assert machine.after_loss() == {}
    machine.run("fd = os.open(root + '/old', os.O_RDWR); os.ftruncate(fd, 2); os.fdatasync(fd)")
    assert machine.after_loss() == {"old": b"of"}


def test_directories_are_names_too(machine):
    machine.run("os.mkdir(root + '/d'); make('d/a', b'x'); d = os.open(root + '/d', os.O_RDONLY); os.fsync(d)")
    assert machine.after_loss() == {}, "the directory above was not synced"
    machine.run("os.mkdir(root + '/d'); os.fsync(here); make('d/a', b'x'); d = os.open(root + '/d', os.O_RDONLY); os.fsync(d)")
    assert machine.after_loss() == {"d": None, "d/a": b"x"}


def test_a_torn_write_leaves_its_beginning(machine):
    seen = set()
    for seed in range(12):
        machine.run("fd = make('a', b'kept', flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC); os.fsync(here); "
                    "os.write(fd, b'-one'); os.write(fd, b'-two')")
        content = machine.after_loss(torn=True, seed=seed)["a"]
        assert b"kept-one-two".startswith(content) and len(content) > 4
        seen.add(content)
    assert len(seen) > 2


def test_another_process_reads_what_the_disk_does_not_have_yet(machine):
    machine.run("make('a', b'x', sync=False); os.fsync(here)")
    assert machine.run("print(open(root + '/a').read())") == "x\n", "a crash of a program loses nothing"
    machine.run("fd = os.open(root + '/a', os.O_RDWR); os.fsync(fd)")
    assert machine.after_loss() == {"a": b"x"}, "and the next one can make it durable"


def test_a_sync_that_has_not_come_back_is_none(machine):
    process = machine.start("fd = make('a', b'x', sync=False); os.fsync(here); print('now', flush=True); input(); os.fsync(fd)")
    assert process.stdout.readline() == "now\n"
    machine.control.hang = 1
    machine.control.write()
    process.stdin.write("\n")
    process.stdin.flush()
    until(lambda: len(read_journal(pathlib.Path(machine.disk.journal).read_bytes())[2]) == 2, 20, "a sync begins")
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert machine.after_loss() == {"a": b""}


def test_what_a_library_wrote_into_a_file_open_for_writing_alone_is_known(machine):
    machine.run("""
import ctypes
c = ctypes.CDLL(None)
c.fdopen.restype = ctypes.c_void_p
fd = os.open(root + "/a", os.O_WRONLY | os.O_CREAT, 0o600)
f = ctypes.c_void_p(c.fdopen(fd, b"w"))
c.fputs(b"kept", f)
c.fflush(f)
os.fsync(fd)
os.fsync(here)
""")
    assert machine.after_loss() == {"a": b"kept"}


def test_a_slow_disk_is_slow_and_right(machine):
    machine.control.delay_ms = 300
    machine.control.write()
    out = machine.run("t = time.monotonic(); make('a', b'x'); print(time.monotonic() - t); os.fsync(here)")
    assert float(out) >= 0.3
    assert machine.after_loss() == {"a": b"x"}


def test_what_is_written_past_the_shim_is_found(machine):
    machine.run("make('a', b'x'); os.fsync(here)")
    (machine.root / "a").write_bytes(b"y")
    with pytest.raises(LabError, match="past the shim: a"):
        machine.disk.lose_power()


def test_the_wall_clock_moves_and_the_monotonic_one_does_not(machine):
    machine.control.clock_ns = -3600 * 10**9
    machine.control.write()
    wall, mono = (float(x) for x in machine.run("print(time.time(), time.monotonic())").split())
    assert abs(wall - (time.time() - 3600)) < 60 and abs(mono - time.monotonic()) < 60
