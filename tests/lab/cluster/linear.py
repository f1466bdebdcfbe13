# SPDX-License-Identifier: Apache-2.0
"""Whether a history of calls on registers can be explained by one order (linearizability), found out afterwards.

A history is a list of Op: what was asked of which register, when it was sent, when its answer came, and what that said. It is
right if each call can be given one moment between its sending and its answer, so that calls made at these moments, one after
another, give these answers. What was never learned may have happened at any moment since, or not at all.

The hard thing is the search, exponential in the worst case. It goes register by register (registers do not know of one
another), takes what is over first, remembers where it has been (Wing and Gong's search with Lowe's memory), and asks of an
unknown write whose value nobody saw only whether it can have been the reason of a refusal. It ends: no order found within so
many steps is a finding, too. Values must be unique within a register.

Where nothing builds on what was there (reads and blind writes only) nothing is searched: as each value is written once, a write
and the reads of its value have to be neighbours, and two such groups of which each has a call that was over before one of the
other began are against any order. There is one without such a pair (Gibbons and Korach, "Testing shared memories").
"""
import dataclasses
import math

READ, WRITE, CAS = "read", "write", "cas"
UNSEEN = "(written by a call without an answer, never seen)"
OK, STALE, UNKNOWN, REFUSED = "ok", "stale", "unknown", "refused"
STEPS_MAX = 4_000_000  # some seconds


@dataclasses.dataclass
class Op:
    """One call. `value` is what was read or was to be written; `expected` what a CAS builds on. Outcome: OK; STALE, a CAS
    refused because the register held something else (412); REFUSED, nothing was done (503, 507); UNKNOWN (202, no answer)."""

    register: str
    kind: str
    value: object
    began: float
    ended: float
    outcome: str = OK
    expected: object = None
    node: str = ""
    key: str = ""
    stale: bool = False  # a read that may tell what was true at any time before its answer


def check(history, initial=None, stale_reads=False):
    """Findings: one text for each register whose history has no explanation. `initial`: {register: value}.

    stale_reads: a read may tell what was true at any time before its answer (a node that serves reads by itself, as without a
    quorum); what it tells must still have been written by then. A CAS that such a node refused says nothing.
    """
    registers = {}
    for op in history:
        registers.setdefault(op.register, []).append(op)
    findings = []
    for name, ops in sorted(registers.items()):
        found = _check_register(name, loosened(ops) if stale_reads else ops, (initial or {}).get(name))
        if found:
            findings.append(found)
    return findings


def loosened(ops):
    """Where nodes answer by what they have: reads may be old, and a 412 may owe to the node that was asked being behind."""
    return [dataclasses.replace(op, stale=True) if op.kind == READ
            else dataclasses.replace(op, outcome=REFUSED) if op.outcome == STALE else op for op in ops]


def _without_stale(name, ops, initial):
    """(the calls without reads that may be old, a finding or None). Such a read fits right behind the write of its value,
    wherever that comes; so all it says is that this has happened, by the end of the read at the latest."""
    writers = {op.value: i for i, op in enumerate(ops) if op.kind != READ}
    ops = list(ops)
    for read in [op for op in ops if op.stale and op.outcome == OK and op.value != initial]:
        i = writers[read.value]
        if ops[i].outcome in (REFUSED, STALE) or ops[i].began > read.ended:
            return ops, f"{name}: {read} saw what {ops[i]} did not do, or had not done yet"
        ended = max(ops[i].began, read.ended)
        ops[i] = dataclasses.replace(ops[i], ended=ended if ops[i].outcome == UNKNOWN else min(ops[i].ended, ended), outcome=OK)
    return [op for op in ops if not op.stale], None


def _relevant(ops):
    """(calls that say something, unknown writes that nobody saw). Refused calls and failed reads say nothing.

    A write whose value somebody saw has happened, by the end of the first call that saw it at the latest.
    """
    seen = {}
    for op in ops:
        what = op.value if op.kind == READ and op.outcome == OK else op.expected if op.kind == CAS else None
        if what is not None:
            seen[what] = min(op.ended, seen.get(what, math.inf))
    kept, unseen = [], []
    for op in ops:
        if op.outcome == REFUSED or (op.kind == READ and op.outcome != OK):
            continue
        if op.outcome != UNKNOWN:
            kept.append(op)
        elif op.value in seen:
            kept.append(dataclasses.replace(op, ended=max(op.began, seen[op.value]), outcome=OK))
        else:
            unseen.append(op)
    return sorted(kept, key=lambda o: (o.began, o.ended)), sorted(unseen, key=lambda o: o.began)


def _steps(op, state, unseen, used, before):
    """[(state, used) afterwards] of making this call now; none = it cannot be. A CAS that was refused may owe that to an
    unknown write of which nobody saw more: which one does not matter, so it is the first that fits."""
    if op.kind == READ:
        return [(state, used)] if op.value == state else []
    if op.kind == WRITE:
        return [(op.value, used)]
    if op.outcome != STALE:
        return [(op.value, used)] if op.expected == state else []
    if op.expected != state:
        return [(state, used)]
    fits = [i for i, u in enumerate(unseen) if not used >> i & 1 and u.began <= before and u.kind in (WRITE, CAS)
            and (u.kind == WRITE or u.expected == state)]
    first = {unseen[i].kind: i for i in reversed(fits)}
    return [(UNSEEN, used | 1 << i) for i in first.values()]


def _check_register(name, ops, initial):
    written = [op.value for op in ops if op.kind != READ]
    if len(set(written)) != len(written) or initial in written:
        raise ValueError(f"{name}: values must be unique")
    known = set(written) | {initial}
    for op in ops:
        if op.kind == READ and op.outcome == OK and op.value not in known:
            return f"{name}: {op} was never written"
    ops, finding = _without_stale(name, ops, initial)
    if finding:
        return finding
    ops, unseen = _relevant(ops)
    return _search(name, ops, unseen, initial) if any(op.kind == CAS for op in ops) else _groups_in_order(name, ops, initial)


class _Group:
    """A write and the reads of its value."""

    def __init__(self):
        self.write = self.over_first = self.began_last = None

    def add(self, op):
        self.write = op if op.kind == WRITE else self.write
        if self.over_first is None or op.ended < self.over_first.ended:
            self.over_first = op
        if self.began_last is None or op.began > self.began_last.began:
            self.began_last = op

    def is_ahead_of(self, other):
        """Some call of this one was over before some call of the other one began."""
        return self.over_first.ended < other.began_last.began


def _groups_in_order(name, ops, initial):
    groups = {}
    for op in [Op(name, WRITE, initial, -math.inf, -math.inf), *ops]:
        groups.setdefault(op.value, _Group()).add(op)
    groups = sorted(groups.values(), key=lambda g: g.over_first.ended)
    for i, group in enumerate(groups):
        if group.write is None:
            return f"{name}: {group.over_first} saw what was refused"
        if group.over_first.ended < group.write.began:
            return f"{name}: {group.over_first} saw what was written later, by {group.write}"
        for later in groups[i + 1:]:
            if later.is_ahead_of(group) and group.is_ahead_of(later):
                return _between(name, group, later)
    return None


def _between(name, a, b):
    return (f"{name}: no order explains these calls. {a.write.value!r} was there before and after {b.write.value!r}, and is written once:\n"
            + "\n".join(f"    {op}" for op in (a.over_first, b.began_last, b.over_first, a.began_last)))


def _candidates(ops, done):
    """Calls that may come next: those that began before the first answer that is still to come. With the moment of that."""
    first, found = math.inf, []
    for i in range(_first_open(done), len(ops)):
        if done >> i & 1:
            continue
        if ops[i].began > first:
            break
        found.append(i)
        first = min(first, ops[i].ended)
    return [i for i in found if ops[i].began <= first], first


def _first_open(done):
    """The lowest bit that is not set."""
    return (~done & (done + 1)).bit_length() - 1


def _search(name, ops, unseen, initial):
    everything, been, stack, best, steps = (1 << len(ops)) - 1, set(), [(0, initial, 0)], (0, initial), 0
    while stack and steps <= STEPS_MAX:
        done, state, used = stack.pop()
        if done == everything:
            return None
        if done.bit_count() > best[0].bit_count():
            best = (done, state)
        may_come, before = _candidates(ops, done)
        for i in reversed(may_come):
            for after, now_used in _steps(ops[i], state, unseen, used, min(before, ops[i].ended)):
                key, steps = (done | 1 << i, after, now_used), steps + 1
                if key not in been:
                    been.add(key)
                    stack.append(key)
    left = [ops[i] for i in _candidates(ops, best[0])[0]]
    tried = f"no order explains these calls within {STEPS_MAX} steps, and no more were tried" if stack else "no order explains these calls"
    return (f"{name}: {tried}. At best {best[0].bit_count()} of {len(ops)} in a row, leaving {best[1]!r}; "
            "then none of:\n" + "\n".join(f"    {op}" for op in left[:6]))
