# SPDX-License-Identifier: Apache-2.0
"""The text of a spec: words, strings and blocks, with macros unfolded.

The hard thing is that strings are bytes: a spec says exactly what goes over the wire, so an escape yields one byte and
nothing is ever added to `raw`. Words are text.
"""
import dataclasses
import json
import re

ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", '"': b'"'}
OPERATORS = ("==", "!=", ">=", "<=", ">", "<", "contains")


class Fail(Exception):
    """A spec that does not hold: the message says where and why."""


class Skip(Exception):
    """A spec that cannot be played here."""


@dataclasses.dataclass
class Token:
    kind: str  # word, str, regex, json, pair
    text: object  # str for word, regex and json; bytes for str; (key, Token) for pair

    def __str__(self):
        if self.kind == "str":
            head = self.text[:80].decode("latin-1").encode("unicode_escape").decode()
            return '"%s%s"' % (head, "…" if len(self.text) > 80 else "")
        if self.kind == "regex":
            return '~"%s"' % self.text
        if self.kind == "json":
            return "'%s'" % self.text
        if self.kind == "pair":
            return "%s=%s" % self.text
        return self.text


@dataclasses.dataclass
class Statement:
    file: str
    line: int
    words: list
    block: list = None

    @property
    def verb(self):
        return str(self.words[0])

    @property
    def args(self):
        """What follows the verb, pairs left out."""
        return [w for w in self.words[1:] if w.kind != "pair"]

    @property
    def pairs(self):
        return {w.text[0]: w.text[1] for w in self.words if w.kind == "pair"}

    def __str__(self):
        text = " ".join(str(w) for w in self.words)
        return text + (" { … }" if self.block is not None else "")


class Reader:
    """A cursor over the text of one file."""

    def __init__(self, file, text):
        self.file, self.text, self.at, self.line = file, text, 0, 1

    def fail(self, why):
        raise Fail("%s:%d: %s" % (self.file, self.line, why))

    def peek(self, n=1):
        return self.text[self.at:self.at + n]

    def take(self):
        c = self.text[self.at]
        self.at += 1
        self.line += c == "\n"
        return c

    def skip_blank(self):
        while self.peek():
            if self.peek() in " \t":
                self.take()
            elif self.peek(2) == "\\\n":
                self.take(), self.take()
            elif self.peek() == "#":
                while self.peek() and self.peek() != "\n":
                    self.take()
            else:
                return


def read_quoted(r, quote):
    r.take()
    start = r.at
    while r.peek() != quote:
        if not r.peek() or r.peek() == "\n":
            r.fail("a string without its end")
        if r.take() == "\\" and quote == '"':
            r.take()
    text = r.text[start:r.at]
    r.take()
    return text


def unescape(r, text):
    out, i = bytearray(), 0
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode()
            i += 1
        elif text[i + 1] == "x":
            out.append(int(text[i + 2:i + 4], 16))
            i += 4
        elif text[i + 1] in ESCAPES:
            out += ESCAPES[text[i + 1]]
            i += 2
        else:
            r.fail("unknown escape \\%s" % text[i + 1])
    return bytes(out)


def read_string(r):
    data = unescape(r, read_quoted(r, '"'))
    times = re.match(r"\*(\d+)", r.text[r.at:r.at + 12])
    if times:
        r.at += times.end()
        data *= int(times.group(1))
    return Token("str", data)


def read_value(r):
    if r.peek(2) == '~"':
        r.take()
        return Token("regex", read_quoted(r, '"'))
    if r.peek() == '"':
        return read_string(r)
    if r.peek() == "'":
        return Token("json", read_quoted(r, "'"))
    return None


def read_word(r):
    start = r.at
    while r.peek() and r.peek() not in " \t\n;{}":
        if r.peek() == "=" and r.at > start and r.text[start] not in "=!<>":
            key = r.text[start:r.at]
            r.take()
            value = read_value(r)
            if value is None:
                value = read_plain(r)
            return Token("pair", (key, value))
        if r.peek(2) == "${":
            while r.peek() != "}":
                r.take()
        r.take()
    return Token("word", r.text[start:r.at])


def read_plain(r):
    start = r.at
    while r.peek() and (r.peek() not in " \t\n;{}" or r.text[r.at - 1:r.at + 1] == "${"):
        if r.peek(2) == "${":
            while r.peek() != "}":
                r.take()
        r.take()
    return Token("word", r.text[start:r.at])


def read_block(r, nested):
    statements, words, line = [], [], r.line

    def finish(block=None):
        nonlocal words
        if words:
            statements.append(Statement(r.file, line, words, block))
        elif block is not None:
            r.fail("a block without a verb")
        words = []

    while True:
        r.skip_blank()
        c = r.peek()
        if not words:
            line = r.line
        if not c:
            if nested:
                r.fail("a block without its end")
            finish()
            return statements
        if c == "}":
            if not nested:
                r.fail("a } too many")
            r.take()
            finish()
            return statements
        if c in "\n;":
            r.take()
            finish()
        elif c == "{":
            r.take()
            finish(read_block(r, True))
        else:
            words.append(read_value(r) or read_word(r))


def substitute(token, values):
    if token.kind == "pair":
        key, value = token.text
        return Token("pair", (key, substitute(value, values)))
    whole = re.fullmatch(r"\$\{(\w+)\}", token.text) if token.kind == "word" else None
    if whole and whole.group(1) in values:
        return values[whole.group(1)]
    text = token.text
    for name, value in values.items():
        mark = "${%s}" % name
        raw = value.text
        if token.kind == "str":
            text = text.replace(mark.encode(), raw if isinstance(raw, bytes) else raw.encode())
        else:
            text = text.replace(mark, raw.decode("latin-1") if isinstance(raw, bytes) else raw)
    return Token(token.kind, text)


def fill_in(statements, values):
    return [Statement(s.file, s.line, [substitute(w, values) for w in s.words],
                      fill_in(s.block, values) if s.block is not None else None) for s in statements]


def unfold(statements, macros=None, depth=0):
    """`define NAME A B { … }` makes a verb; its uses are replaced by its block with ${A} and ${B} filled in."""
    macros = {} if macros is None else dict(macros)
    out = []
    for s in statements:
        if s.verb == "define":
            name, *params = [str(w) for w in s.args]
            macros[name] = (params, s.block)
        elif s.verb in macros:
            params, block = macros[s.verb]
            if len(params) != len(s.words) - 1 or depth > 20:
                raise Fail("%s:%d: %s takes %d words" % (s.file, s.line, s.verb, len(params)))
            filled = fill_in(block, dict(zip(params, s.words[1:])))
            out += unfold(filled, macros, depth + 1)
        elif s.block is not None:
            out.append(Statement(s.file, s.line, s.words, unfold(s.block, macros, depth)))
        else:
            out.append(s)
    return out


def parse(file, text):
    return unfold(read_block(Reader(file, text), False))


def value_of(token):
    """A token as a configuration value: '…' is JSON, numbers and true/false/null are themselves, the rest strings."""
    if token.kind == "json":
        return json.loads(token.text)
    if token.kind == "str":
        return token.text.decode()
    if re.fullmatch(r"-?\d+", token.text):
        return int(token.text)
    return {"true": True, "false": False, "null": None}.get(token.text, token.text)
