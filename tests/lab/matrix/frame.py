# SPDX-License-Identifier: Apache-2.0
"""Rows of the failure matrix: how they are written down, chosen, played and summed up."""
import contextlib
import dataclasses
import time
import traceback
from pathlib import Path

from tests.lab.cluster.observers import verdict
from tests.lab.cluster.rows import Row
from tests.lab.cluster.waiting import LabError
from tests.lab.matrix.bench import Formed

FINDING_MAX = 1500  # characters of a finding that are printed
ROWS = []  # in the order of their definition


@dataclasses.dataclass
class Entry:
    number: str
    title: str
    function: object
    shape: tuple  # arguments of Formed, as pairs
    fresh: bool  # it wants a bench of its own, and leaves none behind
    judges_writes: bool = True
    mail_goes_on: bool = False

    def __str__(self):
        return f"row {self.number} ({self.function.__name__}): {self.title}"


def row(number, title, fresh=False, judges_writes=True, mail_goes_on=False, **shape):
    """`shape`: nodes, networks, vips of Formed. The function gets (bench, row) while mail flows and writes go on; what it did is
    taken back afterwards. Where a quorum is forced, writes are lost as announced, so that their history is not judged.
    `mail_goes_on`: the fault is none to mail; no session may be refused or cut."""
    def add(function):
        ROWS.append(Entry(number, title, function, tuple(sorted(shape.items())), fresh, judges_writes, mail_goes_on))
        return function
    return add


def chosen(wanted):
    """The rows of these numbers, or functions of these names; all if none is named. Sorted by number."""
    known = {e.number for e in ROWS} | {e.function.__name__ for e in ROWS}
    strangers = [w for w in wanted if w not in known]
    if strangers:
        raise LabError(f"no row {', '.join(strangers)}")
    rows = [e for e in ROWS if not wanted or e.number in wanted or e.function.__name__ in wanted]
    return sorted(rows, key=lambda e: int(e.number))


class Outcome:
    """What came of a row that was played once."""

    def __init__(self, entry, played, findings, seconds):
        self.entry, self.findings, self.seconds = entry, findings, seconds
        self.measured = played.measured if played else []
        self.missed = played.missed() if played else []
        self.text = str(played) if played else ""

    def is_good(self, bounds=True):
        return not self.findings and not (bounds and self.missed)


def play(bench, entry):
    """Plays one row. Whatever goes wrong is a finding."""
    played, findings, began = None, [], time.monotonic()
    try:
        played = Row(bench.lab, bench.backends, bench.owners, bench.prober, f"row {entry.number}: {entry.title}",
                     mail_goes_on=entry.mail_goes_on)
        writers = bench.writers()
        try:
            bench.await_writes(writers)
            with played:
                entry.function(bench, played)
                bench.restore()
                bench.await_writes(writers)
        finally:
            bench.restore()
            findings += bench.judge(writers, entry.judges_writes)
        played.note(writers)
    except Exception as e:  # pylint: disable=broad-except
        findings.append(str(e) if isinstance(e, LabError) else traceback.format_exc())
    if played:
        findings += played.wrong()
    if findings:
        findings.append(f"logs in {bench.lab.home}")
    return Outcome(entry, played, findings, time.monotonic() - began)


class Benches:
    """One bench at a time, kept while rows of its shape follow and nothing went wrong on it."""

    def __init__(self, build, out=None):
        self.build, self.out, self.home = build, out, Path(build) / "lab/matrix"
        self.stack, self.shape, self.bench = contextlib.ExitStack(), None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def get(self, entry):
        if self.bench is None or self.shape != entry.shape or entry.fresh:
            self.drop()
            self.bench = self.stack.enter_context(Formed(self.build, self.home, out=self.out, **dict(entry.shape)))
            self.shape = entry.shape
        return self.bench

    def drop(self):
        self.stack.close()
        self.bench = None


def run(entries, benches, times=1, say=print):
    """Plays rows, each so many times, and returns all outcomes. Logs of one that went wrong are kept beside the bench."""
    outcomes = []
    for turn in range(times):
        for entry in entries:
            say(f"--- {entry}" + (f", time {turn + 1}" if times > 1 else ""))
            outcome = play(benches.get(entry), entry)
            outcomes.append(outcome)
            say(outcome.text)
            for finding in outcome.findings:
                say(f"    WRONG: {finding[:FINDING_MAX]}")
            say(f"    {outcome.seconds:.0f} s")
            if outcome.findings:
                keep(benches, entry, turn)
            if outcome.findings or entry.fresh:
                benches.drop()
    return outcomes


def keep(benches, entry, turn):
    """The next bench empties its directory."""
    aside = benches.home.with_name(f"matrix-wrong-{entry.number}-{entry.function.__name__}-{turn + 1}")
    for path in benches.home.rglob("*.log"):
        target = aside / path.relative_to(benches.home)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def all_there(numbers=range(1, 23)):
    """Raises where rows of the failure matrix have not been written down."""
    missing = sorted(set(map(str, numbers)) - {e.number for e in ROWS}, key=int)
    if missing:
        raise LabError(f"no row {', '.join(missing)}")


def summary(outcomes, bounds=True):
    """One line for each thing measured, over all times."""
    lines, rows = [], {}
    for o in outcomes:
        rows.setdefault(o.entry.function.__name__, []).append(o)
    for played in rows.values():
        good = sum(o.is_good(bounds) for o in played)
        lines.append(f"{played[0].entry}: {good} of {len(played)} good")
        figures = {}
        for what, value, error, bound in (m for o in played for m in o.measured):
            figures.setdefault(what, []).append((value, error, bound))
        for what, seen in figures.items():
            lines.append("    " + figure(what, seen))
    return "\n".join(lines)


def figure(what, seen):
    values, bound = [v for v, _, _ in seen], [b for _, _, b in seen if b is not None]
    limit = f"   bound {max(bound) * 1000:.0f} ms" if bound else ""
    missed = sum(bool(verdict(*s)) for s in seen)
    return (f"{what:<50} {min(values) * 1000:7.0f} … {max(values) * 1000:5.0f} ms{limit}"
            + (f"   MISSED {missed} of {len(seen)}" if missed else ""))
