# SPDX-License-Identifier: Apache-2.0
"""What is unpacked for tests runs as its packages meant it to, also after somebody changed the owner of the whole build."""
import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.peers import unpacking  # noqa: E402

CONTROL = "Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a sample\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others cannot give the bit")


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """A peer of one program that is set-user-id. Returns the build directory."""
    tree, cache = tmp_path / "tree", tmp_path / "build/peers/.deb"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    for name, mode in (("sample", 0o4755), ("other", 0o755)):
        path = tree / "usr/bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pathlib.Path("/bin/true").read_bytes())
        path.chmod(mode)
    cache.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, cache / "sample_1_all.deb"], check=True, capture_output=True)
    (cache / "sample.list").write_text("sample\n")
    monkeypatch.setitem(unpacking.PEERS, "sample", (["sample"], ["usr/bin/sample"]))
    return tmp_path / "build"


def test_a_program_that_lost_its_bit_is_unpacked_again(sample):
    root = unpacking.unpack("sample", sample)
    program = root / "usr/bin/sample"
    assert program.stat().st_mode & 0o4000
    os.chown(program, 12345, 12345)
    assert not program.stat().st_mode & 0o4000
    unpacking.unpack("sample", sample)
    assert program.stat().st_mode & 0o4000 and program.stat().st_uid == 0


def test_what_is_whole_is_left_alone(sample):
    root = unpacking.unpack("sample", sample)
    (root / "mark").touch()
    assert unpacking.unpack("sample", sample) == root and (root / "mark").exists()
