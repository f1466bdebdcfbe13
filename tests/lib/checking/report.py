# SPDX-License-Identifier: Apache-2.0
"""What the tests came to, and how it is printed."""

TAIL_LINES = 40


class Results:
    """Names of single tests; failed ones with the log that shows why, skipped ones with the reason."""

    def __init__(self):
        self.passed, self.failed, self.skipped = [], {}, {}
        self.note = ""

    def add(self, other):
        self.passed += other.passed
        self.failed.update(other.failed)
        self.skipped.update(other.skipped)

    def keep(self, part):
        """Forgets the tests whose name does not contain this."""
        self.passed = [n for n in self.passed if part in n]
        self.failed = {n: log for n, log in self.failed.items() if part in n}
        self.skipped = {n: why for n, why in self.skipped.items() if part in n}

    def __bool__(self):
        return bool(self.passed or self.failed or self.skipped)


def tail(log):
    try:
        with open(log, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
    except OSError as e:
        return [str(e)]
    return lines[-TAIL_LINES:]


def print_step(name, r, seconds):
    counts = [f"{len(r.passed):4} passed" if r else "   -"]
    if r.failed:
        counts.append(f"{len(r.failed)} FAILED")
    if r.skipped:
        counts.append(f"{len(r.skipped)} skipped")
    note = f"  ({r.note})" if r.note else ""
    print(f"{name:12} {', '.join(counts)}  {seconds:.1f} s{note}", flush=True)
    shown = set()
    for test, log in r.failed.items():
        print(f"  FAILED {test}")
        if log not in shown:
            shown.add(log)
            print(f"  ---- the end of {log}")
            print("".join(f"  | {line}\n" for line in tail(log)), end="", flush=True)


def print_end(total, seconds, part):
    print()
    for test, why in total.skipped.items():
        print(f"skipped: {test}: {why}")
    for test, log in total.failed.items():
        print(f"failed: {test}: see {log}")
    if part and not total:
        print(f"no test has {part!r} in its name")
    print(f"{seconds:.0f} seconds")
    print(f"{len(total.passed)} passed, {len(total.failed)} failed, {len(total.skipped)} skipped")
    return 1 if total.failed or not total else 0
