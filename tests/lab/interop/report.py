# SPDX-License-Identifier: Apache-2.0
"""The matrix for people, the same for programs, and the evidence of what failed."""
import json

from cells import FAILED, PASSED, UNSUPPORTED

MARKS = {PASSED: "passed", UNSUPPORTED: "-", FAILED: "FAILED"}
LOG_END = 20000


def matrix(cells, columns, colour=False):
    """Text: a row for each pair, a column for each column, the reasons below."""
    by_pair, notes = {}, []
    for c in cells:
        by_pair.setdefault((c.client, c.server), {})[c.column.name] = c
    width = max(len(f"{a} > {b}") for a, b in by_pair) + 2
    lines = ["".ljust(width) + "".join(c.name.ljust(_width(c)) for c in columns)]
    for (client, server), row in by_pair.items():
        text = f"{client} > {server}".ljust(width)
        for column in columns:
            text += _mark(row.get(column.name), notes, colour, _width(column))
        lines.append(text.rstrip())
    return "\n".join(lines + [f"  [{n}] {why}" for n, why in enumerate(notes, 1)])


def _width(column):
    return max(len(column.name) + 2, 12)


def _mark(cell, notes, colour, width):
    if cell is None:
        return " " * width
    whys = [cell.reason] if cell.reason else sorted(f"{kind} not sent: {why}" for kind, why in cell.left_out.items())
    mark = MARKS[cell.result]
    for why in whys:
        if why not in notes:
            notes.append(why)
        mark += f" [{notes.index(why) + 1}]"
    padded = mark.ljust(width)
    if colour and cell.result == FAILED:
        return f"\033[31m{padded}\033[0m"
    return padded


def document(cells, versions, announced, seconds):
    return {"versions": versions, "announced": {k: sorted(v) for k, v in announced.items()}, "seconds": round(seconds, 1),
            "cells": [{"client": c.client, "server": c.server, "column": c.column.name, "result": c.result, "reason": c.reason,
                       "left_out": c.left_out, "failures": c.failures} for c in cells]}


def write_json(path, doc):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(doc, indent=1, ensure_ascii=False) + "\n")


def keep_evidence(directory, cell, programs):
    """One file for a cell that failed: why, the dialogue, the balancer's lines about it, the ends of both sides' logs."""
    parts = ["\n".join(cell.failures), "==== dialogue with the balancer\n" + (cell.recording.shown() if cell.recording else "")]
    if cell.back is not None:
        parts.append("==== dialogue with the server\n" + cell.back.of(cell.sender).shown())
    log = programs.node.log.read_text(errors="replace") if programs.node.log.exists() else ""
    parts.append("==== the balancer\n" + "\n".join(x for x in log.splitlines() if cell.name in x or "level=info" not in x)[-LOG_END:])
    for side, mta in (("client", programs.clients.get(cell.client)), ("server", programs.servers.get(cell.server))):
        if mta is not None:
            parts.append(f"==== the {side}, {mta.dir.name}\n{mta.trouble()}")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{cell.name}.txt").write_text("\n\n".join(parts) + "\n")
