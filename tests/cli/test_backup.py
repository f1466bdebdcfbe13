# SPDX-License-Identifier: Apache-2.0
"""`postroad cluster backup` and `restore`: a file that only the passphrase opens, whole or not at all."""
import os

import pytest
from conftest import Reply

PASS = "a long passphrase\n"
MANIFEST = {"format": 1, "version": "0.1.0", "node": "n1", "revision": 12, "time": "2026-11-22T10:00:00.000Z", "cluster": "mail",
            "nodes": [{"node": "n1", "id": 1, "voter_only": False, "links": ["192.0.2.1"], "listen": "192.0.2.1:8426"},
                      {"node": "v", "id": 3, "voter_only": True, "links": ["192.0.2.3"], "listen": "192.0.2.3:8426"}]}
CONFIGURATION = {"version": 1, "pools": {"mta": {}, "other": {}}, "users": {"app1": {"password": "$y$very-secret"}}}
RUNTIME = {"pools": {"mta": {"servers": {"mta1": {"weight": 7}}}}}
WHOLE = {"manifest": MANIFEST, "configuration": CONFIGURATION, "runtime": RUNTIME}


@pytest.fixture
def backup(postroad, node, tmp_path):
    node["GET /api/v1/cluster/backup"] = WHOLE
    name = tmp_path / "site.backup"
    r = postroad("cluster", "backup", str(name), stdin=PASS)
    assert r.code == 0, r.err
    assert r.out == f"{name}: revision 12 of n1\n"
    return name


def restore(postroad, name, *more, stdin=PASS):
    return postroad("cluster", "restore", str(name), *more, stdin=stdin)


def test_a_backup_comes_back_as_it_was(postroad, node, backup):
    node["POST /api/v1/cluster/restore"] = {"revision": 2, "changes": [], "warnings": []}
    r = restore(postroad, backup, "--yes")
    assert r.code == 0 and r.out == "restored as revision 2\n", r.err
    assert node.calls[-1].json == WHOLE


def test_the_file_is_its_owners_and_shows_nothing(backup):
    data = backup.read_bytes()
    assert os.stat(backup).st_mode & 0o777 == 0o600
    for word in (b"secret", b"mta", b"192.0.2", b"passphrase", b"n1"):
        assert word not in data
    assert not os.path.exists(f"{backup}.tmp")


def test_what_is_inside_is_shown_without_a_node(postroad, backup, node):
    made = len(node.calls)
    r = restore(postroad, backup, "--dry-run")
    assert r.code == 0, r.err
    lines = [" ".join(line.split()) for line in r.lines]
    assert lines[:5] == ["node n1", "cluster mail", "time 2026-11-22T10:00:00.000Z", "version 0.1.0", "revision 12"]
    assert "pools 2" in lines and "users 1" in lines
    assert lines[-1] == "was a node v, id 3, 192.0.2.3:8426, only votes"
    assert restore(postroad, backup, "--dry-run", "--json").json == MANIFEST
    assert "secret" not in r.out and len(node.calls) == made


def test_another_passphrase_opens_nothing(postroad, node, backup):
    r = restore(postroad, backup, "--yes", stdin="another passphrase\n")
    assert r.code == 1 and "passphrase" in r.err
    assert "POST /api/v1/cluster/restore" not in node.made()


def test_a_cut_or_changed_file_is_none(postroad, node, backup):
    whole = backup.read_bytes()
    for n in (0, 40, len(whole) - 1):
        backup.write_bytes(whole[:n])
        r = restore(postroad, backup, "--yes")
        assert r.code == 1 and r.err, n
    for at in (0, 20, len(whole) - 1):
        backup.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        assert restore(postroad, backup, "--yes").code == 1, at
    backup.write_bytes(whole + b"x")
    assert restore(postroad, backup, "--yes").code == 1
    assert "POST /api/v1/cluster/restore" not in node.made()


def test_who_has_no_terminal_is_told_where_a_passphrase_may_stand(postroad, node, tmp_path):
    r = postroad("cluster", "backup", str(tmp_path / "b"), stdin="")
    assert r.code == 2 and "--passphrase-file" in r.err and not node.calls


def test_a_passphrase_of_a_file_and_ones_that_are_too_short(postroad, node, backup, tmp_path):
    file = tmp_path / "pass"
    file.write_text(PASS.rstrip("\n"))
    assert restore(postroad, backup, "--dry-run", "--passphrase-file", str(file), stdin="").code == 0
    file.write_text("short")
    assert restore(postroad, backup, "--dry-run", "--passphrase-file", str(file)).code == 2
    assert postroad("cluster", "backup", str(tmp_path / "x"), stdin="x" * 2000).code == 2
    assert not (tmp_path / "x").exists()
    assert restore(postroad, backup, "--dry-run", "--passphrase-file", str(tmp_path / "none")).code == 1
    r = restore(postroad, "-", "--dry-run")
    assert r.code == 2 and "--passphrase-file" in r.err


def test_a_backup_that_fails_leaves_the_older_one(postroad, node, backup):
    before = backup.read_bytes()
    node["GET /api/v1/cluster/backup"] = Reply({"title": "no", "detail": "for root only"}, status=403)
    assert postroad("cluster", "backup", str(backup), stdin=PASS).code == 1
    node["GET /api/v1/cluster/backup"] = {"manifest": MANIFEST}
    assert postroad("cluster", "backup", str(backup), stdin=PASS).code == 1
    assert backup.read_bytes() == before
    assert postroad("cluster", "backup", str(backup.parent / "no such folder" / "x"), stdin=PASS).code == 1


def test_a_restore_asks_first_and_tells_a_refusal(postroad, node, backup):
    assert restore(postroad, backup).code == 2
    assert "POST /api/v1/cluster/restore" not in node.made()
    node["POST /api/v1/cluster/restore"] = Reply({"title": "It cannot be done as things are", "detail": "it has a configuration"},
                                                 status=409)
    r = restore(postroad, backup, "--yes")
    assert r.code == 1 and "it has a configuration" in r.err
