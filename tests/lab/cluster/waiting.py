# SPDX-License-Identifier: Apache-2.0
"""Waits that end: for a condition, up to a deadline, and with what was seen when it did not come."""
import time

POLL_SECONDS = 0.02


class LabError(Exception):
    """Something of the lab itself, or of what it looks at, is not as it must be."""


class Seen:
    """What a condition saw, with its verdict: `return Seen(members == 3, members)`."""

    def __init__(self, ok, what):
        self.ok, self.what = ok, what

    def __bool__(self):
        return bool(self.ok)


def until(condition, seconds, what, poll=POLL_SECONDS):
    """Calls `condition` until it is true and returns what it gave. An OSError or LabError in it means: not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except (OSError, LabError) as e:
            value = Seen(False, repr(e))
        if value:
            return value
        if time.monotonic() > deadline:
            seen = value.what if isinstance(value, Seen) else value
            raise LabError(f"{what}: not within {seconds} s; seen at last: {seen!r}")
        time.sleep(poll)
