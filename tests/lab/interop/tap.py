# SPDX-License-Identifier: Apache-2.0
"""A recorder between two programs: what was said, in the order in which it was said. It connects from the address from
which it was connected to, so that neither end sees it.

The hard thing: evidence of pipelining is that the client went on before the server spoke, so what came from one side
without the other in between is one turn, however many segments it took. Content is of no interest: of a long turn
only the beginning and the end are kept.
"""
import asyncio
import dataclasses
import re
import threading

KEPT = 4096
TURNS_MAX = 4000
COMMAND = rb"(?:^|\r\n)"
MAIL = COMMAND + rb"MAIL FROM:<([^>\r]*)>"


@dataclasses.dataclass
class Turn:
    client: bool
    head: bytes
    tail: bytes = b""
    size: int = 0

    def add(self, data):
        self.size += len(data)
        room = KEPT - len(self.head)
        self.head += data[:room]
        self.tail = (self.tail + data[max(room, 0):])[-KEPT:]

    def shown(self):
        gap = b" [...] " if self.size > len(self.head) + len(self.tail) else b""
        text = (self.head[:1500] + gap + self.tail[-300:]).decode("utf-8", "backslashreplace")
        mark = "C: " if self.client else "S: "
        return "".join(mark + repr(line)[1:-1] + "\n" for line in text.split("\r\n") if line)


class Recording:
    """All connections of one cell."""

    def __init__(self):
        self.connections = []

    def of(self, sender):
        """What belongs to one sender's messages, of connections that also carry those of others."""
        found = Recording()
        for turns in self.connections:
            mine = False
            for turn in turns:
                if turn.client and (mail := re.findall(MAIL, turn.head + turn.tail, re.I)):
                    if not mine and mail[-1] == sender.encode():
                        found.connections.append([])
                    mine = mail[-1] == sender.encode()
                if mine:
                    found.connections[-1].append(turn)
        return found

    def client_turns(self):
        return [t.head + t.tail for turns in self.connections for t in turns if t.client]

    def said(self, pattern):
        return any(re.search(pattern, turn, re.I) for turn in self.client_turns())

    def pipelined(self):
        """Two commands of one envelope in a turn; the end of content before MAIL does not count."""
        return self.said(COMMAND + rb"(MAIL FROM:[^\r]*\r\nRCPT TO:|RCPT TO:[^\r]*\r\n(RCPT TO:|DATA|BDAT))")

    def chunked(self):
        return self.said(COMMAND + rb"BDAT \d+")

    def sent_data(self):
        return self.said(COMMAND + rb"DATA\r\n")

    def mail_parameters(self):
        """Whether MAIL had any: each belongs to an extension."""
        return self.said(COMMAND + rb"MAIL FROM:<[^>\r]*> +\w")

    def utf8(self):
        return self.said(COMMAND + rb"MAIL FROM:[^\r]* SMTPUTF8")

    def shown(self):
        return "\n".join("".join(t.shown() for t in turns) for turns in self.connections)


class Taps:
    """All recorders, in one thread of their own. `sabotage` alters content, so that a run can be seen to fail."""

    def __init__(self, sabotage=False):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.sabotage = sabotage
        self.tasks = set()

    def open(self, port, to):
        """Records what goes through `port` to the port `to`."""
        recording = Recording()

        async def serve(reader, writer):
            # The loop itself would let the garbage collector have it.
            self.tasks.add(asyncio.current_task())
            await self._serve(recording, reader, writer, to)
            self.tasks.discard(asyncio.current_task())
        coroutine = asyncio.start_server(serve, "127.0.0.1", port)
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)
        return recording

    async def _serve(self, recording, reader, writer, to):
        turns = []
        recording.connections.append(turns)
        try:
            source = writer.get_extra_info("peername")[0]
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to, local_addr=(source, 0))
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._copy(turns, True, reader, far_writer), self._copy(turns, False, far_reader, writer),
                             return_exceptions=True)
        far_writer.close()
        writer.close()

    async def _copy(self, turns, client, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                if turns and turns[-1].client == client:
                    turns[-1].add(data)
                elif len(turns) < TURNS_MAX:
                    turns.append(Turn(client, b""))
                    turns[-1].add(data)
                if self.sabotage and client:
                    data = data.replace(b"Good bye", b"Good buy")
                writer.write(data)
                await writer.drain()
        finally:
            writer.write_eof() if writer.can_write_eof() else writer.close()

    async def _end(self):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self):
        if not self.thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
