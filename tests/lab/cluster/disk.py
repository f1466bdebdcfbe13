# SPDX-License-Identifier: Apache-2.0
"""What a disk holds after the power went: the journal of shim.c read against the syncs in it.

A change is kept when a sync of its file (of a name: of its directory) began after it was over and came back. Of the rest
nothing is kept; with `torn`, each file may keep some of its unsynced writes, in their order, the last of them in part, as
disks do that had begun.

The hard thing is to know that the journal has everything. So all of it, synced or not, is played as well, and must give
what the files really held; where it does not, something was written past the shim, and no verdict is given.
"""
import itertools
import mmap
import os
import random
import stat
import struct
import typing

from tests.lab.cluster.waiting import LabError

RECORD = struct.Struct("<IIQQQc7x")
MAGIC = 0x1AB0D15C
PAGE = struct.Struct("<IIq")
UNDER_WAY_MAX = 6  # more threads than any program under the shim has that write
FILLER = ".filler"  # what a lab fills a disk with; no part of the tree


class Control:
    """The page of shared memory that programs under the shim look at."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), 4096)
        self.delay_ms = self.hang = self.clock_ns = 0

    def write(self):
        self.page[:PAGE.size] = PAGE.pack(self.delay_ms, self.hang, self.clock_ns)


class Operation:
    """One record with what is known of it."""

    def __init__(self, index, ident, kind, a, b, payload):
        self.index, self.ident, self.kind, self.a, self.b, self.payload = index, ident, kind, a, b, payload
        self.done = None  # index of the record that says so
        self.result = 0


def read_journal(data):
    """(operations in order, syncs that came back: [(inode, began, ended)], all syncs that began). A record cut short at the end
    is none."""
    ops, by_id, syncs, begun = [], {}, [], []
    at = index = 0
    while at + RECORD.size <= len(data):
        magic, n, ident, a, b, kind = RECORD.unpack_from(data, at)
        if magic != MAGIC:
            raise LabError(f"the journal of a disk is broken at byte {at}")
        payload = data[at + RECORD.size:at + RECORD.size + n]
        at += RECORD.size + n
        if at > len(data):
            break
        if kind in b"DE":
            op = by_id[ident]
            if kind == b"E":
                syncs.append((op.a, op.index, index))
            else:
                op.done, op.result = index, a
        else:
            by_id[ident] = Operation(index, ident, kind.decode(), a, b, payload)
            (begun if kind == b"S" else ops).append(by_id[ident])
        index += 1
    return ops, syncs, begun


class Tree:
    """Files and names of one file system: what can be saved, changed and written back."""

    def __init__(self, root):
        self.root = os.fspath(root)
        self.files, self.dirs, self.modes = {}, {}, {}
        self.top = os.stat(self.root).st_ino
        self._read(self.root, self.top)

    def _read(self, path, ino):
        self.dirs[ino] = {}
        for entry in [e for e in os.scandir(path) if e.name != FILLER]:
            st = entry.stat(follow_symlinks=False)
            self.modes[st.st_ino] = st.st_mode
            if stat.S_ISDIR(st.st_mode):
                self.dirs[ino][entry.name] = st.st_ino
                self._read(entry.path, st.st_ino)
            elif stat.S_ISREG(st.st_mode):
                self.dirs[ino][entry.name] = st.st_ino
                with open(entry.path, "rb") as f:
                    self.files[st.st_ino] = bytearray(f.read())

    def copy(self):
        other = object.__new__(Tree)
        other.root, other.top, other.modes = self.root, self.top, dict(self.modes)
        other.files = {i: bytearray(b) for i, b in self.files.items()}
        other.dirs = {i: dict(d) for i, d in self.dirs.items()}
        return other

    def listing(self, ino=None, prefix=""):
        """{path: content}; a directory has None."""
        found = {}
        for name, child in self.dirs[self.top if ino is None else ino].items():
            if child in self.dirs:
                found[prefix + name] = None
                found.update(self.listing(child, prefix + name + "/"))
            else:
                found[prefix + name] = bytes(self.files.get(child, b""))
        return found

    def apply(self, op, size=None):
        """Plays one operation, of a write only `size` bytes if given."""
        if op.kind == "W":
            data, content = op.payload[:op.result if size is None else size], self.files.setdefault(op.a, bytearray())
            content.extend(bytes(max(0, op.b - len(content))))
            content[op.b:op.b + len(data)] = data
        elif op.kind == "T":
            content = self.files.setdefault(op.a, bytearray())
            del content[op.b:]
            content.extend(bytes(op.b - len(content)))
        elif op.kind == "F":
            self.files[op.a] = bytearray(op.payload)
        else:
            self._apply_name(op)

    def _apply_name(self, op):
        names = self.dirs.setdefault(op.a, {})
        if op.kind == "C":
            names[op.payload.decode()] = op.result
            self.files.setdefault(op.result, bytearray())
        elif op.kind == "M":
            names[op.payload.decode()] = op.result
            self.dirs.setdefault(op.result, {})
            self.modes[op.result] = stat.S_IFDIR | op.b
        elif op.kind == "U":
            names.pop(op.payload.decode(), None)
        elif op.kind == "R":
            old, new = (part.decode() for part in op.payload.split(b"\0"))
            if old in names:
                self.dirs.setdefault(op.b, {})[new] = names.pop(old)

    def write_back(self):
        """Makes the directory hold this and nothing else."""
        _empty(self.root)
        for path, content in self.listing().items():
            full = os.path.join(self.root, path)
            if content is None:
                os.mkdir(full, 0o700)
            else:
                with open(full, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
                    f.write(content)


def _empty(root):
    for where, folders, names in os.walk(root, topdown=False):
        for name in names:
            os.unlink(os.path.join(where, name))
        for name in folders:
            os.rmdir(os.path.join(where, name))


class Became(typing.NamedTuple):
    """A file by its sizes before and after a loss of power; None: there is none."""

    before: int | None
    after: int | None

    def __repr__(self):
        return f"{_size(self.before)} -> {_size(self.after)}"


def bytes_lost(lost, path):
    """By how many bytes this file is shorter on all disks together; `lost` as black_out() returns it."""
    sizes = [files[path] for files in lost.values() if path in files]
    return sum(max(0, (s.before or 0) - (s.after or 0)) for s in sizes)


class Disk:
    """The disk of one machine, from one loss of power to the next."""

    def __init__(self, root, journal):
        self.root, self.journal = os.fspath(root), os.fspath(journal)
        self.base = None

    def mount(self):
        """What is there now is what would be there after a loss of power."""
        self.base = Tree(self.root)
        with open(self.journal, "wb"):
            pass

    def lose_power(self, torn=False, seed=0):
        """Takes away what was not synced. Nothing may run that could write. Returns {path: Became} for what changed by
        that."""
        with open(self.journal, "rb") as f:
            ops, syncs, _ = read_journal(f.read())
        before = Tree(self.root).listing()
        self._check_whole(ops, before)
        after = self.base.copy()
        last = {}  # inode: the newest moment at which a sync began that came back
        for ino, began, _ in syncs:
            last[ino] = max(began, last.get(ino, -1))
        kept = [op for op in ops if _is_kept(op, last)]
        for op in kept:
            after.apply(op)
        if torn:
            _tear(after, [op for op in ops if op not in kept], random.Random(seed))
        after.write_back()
        now = after.listing()
        self.mount()
        return {path: Became(_length(before.get(path)), _length(now.get(path))) for path in sorted({*before, *now})
                if before.get(path) != now.get(path) or (path in before) != (path in now)}

    def _check_whole(self, ops, found):
        """Everything that was done gives what is there. Of the operations under way at the end, one of each thread, any may have
        happened and any may not."""
        open_ops = [op for op in ops if op.done is None]
        for tried in _subsets(open_ops[:UNDER_WAY_MAX]):
            tree = self.base.copy()
            for op in ops:
                if op.done is not None and _has_happened(op):
                    tree.apply(op)
                elif op in tried:
                    tree.apply(op, len(op.payload))
            if tree.listing() == found:
                return
        if any(op.kind in "CMR" for op in open_ops):
            return  # a name under way at the end cannot be played; what was synced before is known all the same
        told = tree.listing()
        wrong = [p for p in sorted({*told, *found}) if told.get(p, 0) != found.get(p, 0)]
        sizes = [f"{p} ({_size(_length(told.get(p)))} told, {_size(_length(found.get(p)))} found)" for p in wrong]
        raise LabError(f"{self.root}: written past the shim: {', '.join(sizes)}; under way: {[op.kind for op in open_ops]}")


def _subsets(ops):
    return itertools.chain.from_iterable(itertools.combinations(ops, n) for n in range(len(ops) + 1))


def _length(content):
    return None if content is None else len(content)


def _size(length):
    return "absent" if length is None else f"{length} bytes"


def _has_happened(op):
    return op.kind in "WF" or op.result != 0


def _is_kept(op, last):
    """Whether a sync that came back began after it was over."""
    if op.done is None or not _has_happened(op):
        return False
    wanted = [op.a, op.b] if op.kind == "R" else [op.a]
    return all(last.get(ino, -1) > op.done for ino in wanted)


def _tear(tree, ops, rng):
    """Of the unsynced writes of each file that is still there: some, the last in part."""
    by_file = {}
    for op in ops:
        if op.kind == "W" and op.a in tree.files:
            by_file.setdefault(op.a, []).append(op)
    for writes in by_file.values():
        whole = rng.randint(0, len(writes) - 1)
        for op in writes[:whole]:
            tree.apply(op, len(op.payload))
        part = rng.randint(1, len(writes[whole].payload)) if writes[whole].payload else 0
        tree.apply(writes[whole], part)
