# SPDX-License-Identifier: Apache-2.0
"""What `expect` at the level of the play understands: paths into actors, log lines, metrics, the API."""
import re

from .grammar import OPERATORS, Fail, value_of


def compare(have, op, want):
    if op in ("~", "!~"):
        text = have.decode("utf-8", "replace") if isinstance(have, bytes) else str(have)
        return (re.search(want if isinstance(want, str) else want.decode(), text, re.S) is not None) == (op == "~")
    if isinstance(have, bytes) and isinstance(want, str):
        want = want.encode()
    if isinstance(have, str) and isinstance(want, bytes):
        want = want.decode()
    if op == "contains":
        if isinstance(have, list) and isinstance(want, bytes) and have and isinstance(have[0], str):
            want = want.decode()
        return want in have
    if op in ("==", "!="):
        return (have == want) == (op == "==")
    if have is None:
        return False
    return {">=": have >= want, "<=": have <= want, ">": have > want, "<": have < want}[op]


def follow(value, path):
    """value.a.b[2].len; None where there is nothing yet."""
    for part in re.findall(r"[^.\[\]]+(?=[.\[]|$)|\[-?\d+\]", path):
        if part.startswith("["):
            i = int(part[1:-1])
            value = value[i] if value is not None and -len(value) <= i < len(value) else None
        elif part == "len":
            value = len(value) if value is not None else 0
        elif isinstance(value, dict):
            value = value.get(part, 0 if type(value).__name__ == "Counter" else None)
        else:
            value = None
        if value is None:
            return None
    return value


def operand(play, token):
    """The right-hand side: a literal, or a path into an actor."""
    if token.kind == "word" and re.match(r"[A-Za-z]\w*\.", token.text) and token.text.split(".")[0] in play.actors():
        return look_up(play, token.text)
    if token.kind in ("str", "regex"):
        return token.text
    return value_of(token)


def look_up(play, path):
    name, _, rest = path.partition(".")
    actor = play.actors().get(name)
    if actor is None:
        raise Fail("no actor %s" % name)
    return follow(actor.view(), rest)


def split(words):
    """(left, operator, right) or (words, None, None). `LEFT ~"re"` and `LEFT not ~"re"` search."""
    if words[-1].kind == "regex":
        negated = str(words[-2]) == "not"
        return words[:-2] if negated else words[:-1], "!~" if negated else "~", words[-1]
    for i, w in enumerate(words):
        if w.kind == "word" and w.text in OPERATORS:
            return words[:i], w.text, words[i + 1]
    return words, None, None


def field_matches(line, pairs):
    for key, token in pairs.items():
        have = line.get(key)
        if have is None:
            return False
        if token.kind == "regex":
            if not re.search(token.text, have):
                return False
        elif have != (token.text.decode() if token.kind == "str" else str(token)):
            return False
    return True


async def measure(play, left, pairs):
    """The value on the left-hand side, now."""
    what = str(left[0])
    if what == "lb.log":
        return sum(field_matches(line, pairs) for line in play.lb.parsed)
    if what == "lb.text":
        return "\n".join(play.lb.log)
    if what == "lb.metric":
        labels = {k: str(v) if v.kind != "str" else v.text.decode() for k, v in pairs.items()}
        name = str(left[1])
        return await play.lb.metric(name if name.startswith("process_") else "postroad_" + name, labels)
    if what == "lb.json":
        return follow(await play.lb.json(str(left[1])), str(left[2]))
    if what == "admin.json":
        return follow(play.last_admin, str(left[1]))
    return look_up(play, what)


async def expect(play, s):
    """expect LEFT OP RIGHT, awaited; `expect lb.log k=v …` alone means at least one such line."""
    within = s.pairs.get("within")
    pairs = {k: v for k, v in s.pairs.items() if k != "within"}
    left, op, right = split(s.args)
    last = None
    if op is None and str(left[0]) != "lb.log":
        raise Fail("expect what? %s" % s)

    async def holds():
        nonlocal last
        last = await measure(play, left, pairs)
        want = operand(play, right) if right is not None else 1
        return compare(last, op or ">=", want)

    seconds = float(within.text.rstrip("s")) if within else play.step_seconds
    if not await play.until_async(holds, seconds):
        text = repr(last)
        raise Fail("not so: it is %s" % (text if len(text) < 500 else text[:500] + "…"))
