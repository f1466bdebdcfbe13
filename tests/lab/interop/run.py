# SPDX-License-Identifier: Apache-2.0
"""One run: start everything, send everything, wait for what arrives, judge each cell."""
import collections
import concurrent.futures
import pathlib
import re
import sys
import time

import bodies
import clients
import report
from cells import FAILED, Arrival, Cell
from columns import CLIENTS, COLUMNS, LARGE_COLUMNS, SERVERS, not_supported
from tap import Taps
from programs import BACK_TAPS, SERVER_PORTS, Programs, front_port, port_of, tap_port

WORKERS = 4
QUIET_SECONDS = 40
# Leaves time to judge and to tell before the run is ended from outside.
SEND_SECONDS, ARRIVE_SECONDS = 400, 500
SHOWN_MAX = 10
IDENT = re.compile(r"^X-Postroad-Id: (\S+)", re.M)
DIAGNOSTIC = re.compile(r"^(?:Diagnostic-Code:|.*\b5\d\d[ -]).*(?:\n[ \t].*)*", re.M)


def chosen(names, known):
    picked = [n for n in known if n in names.split(",")] if names else list(known)
    if not picked or names and len(picked) != len(names.split(",")):
        raise SystemExit(f"interop: {names}: known are {', '.join(known)}")
    return picked


class Run:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.started = time.monotonic()
        names = chosen(options.columns, [c.name for c in COLUMNS])
        self.columns = [c for c in COLUMNS if c.name in names and (c.quick or not options.quick)]
        self.clients = chosen(options.clients, CLIENTS)
        self.servers = chosen(options.servers, SERVERS)
        build = pathlib.Path(options.build).resolve()
        self.programs = Programs(directory, build, build / "bin", self.clients, self.servers, self.columns)
        self.taps = Taps(options.sabotage)
        self.cells, self.trouble = [], []
        self.arrivals = {name: collections.defaultdict(list) for name in self.servers}
        self.bounces, self.seen = {}, set()

    def go(self):
        """True when something failed."""
        self.programs.start()
        self._make_cells()
        self.programs.start_balancer()
        live = [c for c in self.cells if not c.reason]
        self._send(live)
        self._await(live)
        for cell in live:
            cell.judge(self.arrivals[cell.server], self.bounces)
            more = cell.does_more_than_the_table_says()
            if more:
                self.trouble.append(f"{cell.name}: the client can do what columns.py says it cannot: {more}")
        self.close()
        self.trouble += self._odd_lines()
        failed = [c for c in self.cells if c.result == FAILED]
        for cell in failed:
            report.keep_evidence(self.directory / "failed", cell, self.programs)
        return failed or self.trouble

    def close(self):
        if self.programs.node.process is not None and self.programs.stop() != 0:
            self.trouble.append(f"the balancer did not end well, see {self.programs.node.log}")
        self.taps.close()

    def _make_cells(self):
        backs = {(c.name, server): self.taps.open(port_of(BACK_TAPS, c, server), SERVER_PORTS[server][c.service])
                 for c, server in self.programs.ways() if c.tapped}
        for client in self.clients:
            for server in self.servers:
                row = [self._make_cell(client, server, column, backs) for column in self.columns]
                self.cells += row
                able = [c for name in LARGE_COLUMNS for c in row if c.column.name == name and not c.reason]
                if able and not self.options.quick:
                    able[0].large = True

    def _make_cell(self, client, server, column, backs):
        cell = Cell(client, server, column, client in column.large, port=tap_port(client, column.name, server))
        cell.reason = not_supported(client, column, server, self.programs.announced)
        if not cell.reason:
            cell.recording = self.taps.open(cell.port, front_port(column, server))
            cell.back = backs.get((column.name, server))
            cell.announced = self.programs.announced[server]
        return cell

    # ---- sending ----

    def _send(self, cells):
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for cell in cells:
                pool.submit(self._send_cell, cell)

    def _send_cell(self, cell):
        for kind in cell.kinds():
            if time.monotonic() - self.started > SEND_SECONDS:
                cell.errors[kind] = "not sent: the time for the run is over"
                continue
            # Whatever goes wrong in here is the cell's failure, not the end of the run.
            try:
                cell.errors[kind] = clients.send(self.programs, cell, kind, cell.content(kind))
            except Exception as e:  # pylint: disable=broad-except
                cell.errors[kind] = repr(e)

    # ---- arriving ----

    def _await(self, cells):
        """Until each message arrived, came back or was never taken; or nothing has moved for a while."""
        wanted = {c.ident(k) for c in cells for k in c.kinds() if not c.errors[k]}
        moved = time.monotonic()
        while True:
            if self._collect():
                moved = time.monotonic()
            settled = set(self.bounces).union(*self.arrivals.values())
            now = time.monotonic()
            if wanted <= settled or now - moved > QUIET_SECONDS or now - self.started > ARRIVE_SECONDS:
                return
            time.sleep(0.2)

    def _collect(self):
        """Reads what is new in the mailboxes; True when there was something."""
        known = len(self.seen)
        for name, mta in self.programs.servers.items():
            for data in self._new(mta):
                self._arrived(name, data)
        for mta in self.programs.clients.values():
            for data in self._new(mta):
                self._came_back(data.decode("utf-8", "replace"))
        return len(self.seen) > known

    def _new(self, mta):
        folder = mta.maildir / "new"
        for path in sorted(folder.iterdir()) if folder.exists() else []:
            if path not in self.seen:
                self.seen.add(path)
                yield path.read_bytes()

    def _arrived(self, server, data):
        head, body = bodies.split(data)
        text = head.decode("utf-8", "replace")
        ident = IDENT.search(text)
        if ident is None:
            self.trouble.append(f"{server} got a message nobody sent: {text[:300]}")
            return
        kind = ident[1].rpartition(".")[2]
        self.arrivals[server][ident[1]].append(Arrival(text, bodies.digest(body), bodies.first_difference(kind, body)
                                                       if bodies.digest(body) != bodies.wanted(kind) else ""))

    def _came_back(self, text):
        ident, why = IDENT.search(text), DIAGNOSTIC.search(text)
        if ident is None:
            self.trouble.append(f"a client got a message without an id: {text[:300]}")
        else:
            self.bounces[ident[1]] = " ".join((why[0] if why else text[:300]).split())

    def _odd_lines(self):
        """No program here has a reason to be refused, to leave or to be lost: the balancer's log must say the same."""
        lines = self.programs.node.log.read_text(errors="replace").splitlines()
        odd = [x for x in lines if " level=error " in x or "event=recipient_refused" in x
               or "event=transaction" in x and " result=accepted " not in x]
        return [f"the balancer's log: {x[:600]}" for x in odd[:SHOWN_MAX]]

    # ---- telling ----

    def report(self, path, seconds):
        doc = report.document(self.cells, self.programs.versions(), self.programs.announced, seconds)
        doc["trouble"] = self.trouble
        report.write_json(path, doc)
        print(report.matrix(self.cells, self.columns, sys.stdout.isatty()))
        for cell in self.cells:
            for what in cell.failures:
                print(f"FAILED {cell.name}: {what[:400]}")
        for what in self.trouble:
            print(f"FAILED {what}")
        counts = collections.Counter(c.result for c in self.cells)
        print(f"interop: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}; {seconds:.0f} s; {path}")
