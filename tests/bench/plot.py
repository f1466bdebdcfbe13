# SPDX-License-Identifier: Apache-2.0
"""A row as a picture: `svg(row)` draws what is in a rowN.json, with nothing but text.

A panel per figure: each contender's median as a bar, smallest to largest round as a line over it. Below a panel per
goal: its value in each round as a dot, the median as a line, what is wanted as a dashed one."""
from xml.sax.saxutils import escape, quoteattr

from tests.bench import measure

WIDTH, LEFT, RIGHT, LINE = 860, 150, 130, 22  # of a panel: names stand left of the bars, numbers right of them
HEAD, FOOT, PLOT = 30, 16, WIDTH - LEFT - RIGHT
COLOURS = ["#2b6cb0", "#a0aec0", "#718096", "#cbd5e0", "#4a5568"]
MET, MISSED = "#2f855a", "#c53030"


def tag(name, text=None, **attributes):
    inside = "".join(f" {k.rstrip('_').replace('_', '-')}={quoteattr(show(v))}" for k, v in attributes.items())
    return f"<{name}{inside}/>" if text is None else f"<{name}{inside}>{escape(text)}</{name}>"


def show(value):
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def label(x, y, text, anchor="start", **more):
    return tag("text", text, x=x, y=y, text_anchor=anchor, **more)


def scale(values):
    """From a value to its place; the axis begins at 0, or bars would lie."""
    top = max([*values, 0]) or 1
    return lambda v: LEFT + max(v, 0) / top * PLOT


def bar_panel(results, key, y):
    """One figure: (elements, height)."""
    spreads = {name: measure.summary([r[key] for r in taken]) for name, taken in results.items()}
    at = scale([s["max"] for s in spreads.values()])
    out = [label(0, y + 18, key.replace("_", " "), font_weight="bold")]
    for i, (name, s) in enumerate(spreads.items()):
        top = y + HEAD + i * LINE
        middle = top + LINE / 2
        out += [label(LEFT - 8, middle + 4, name, "end"),
                tag("rect", class_="bar", x=LEFT, y=top + 3, width=at(s["median"]) - LEFT, height=LINE - 6,
                    fill=COLOURS[i % len(COLOURS)]),
                tag("line", class_="spread", x1=at(s["min"]), x2=at(s["max"]), y1=middle, y2=middle, stroke="#1a202c",
                    stroke_width=2),
                label(WIDTH - RIGHT + 8, middle + 4, number(s["median"]))]
    return out, HEAD + len(spreads) * LINE + FOOT


def goal_panel(verdict, y):
    """One goal: (elements, height)."""
    value, (sign, bound) = verdict["value"], verdict["wanted"].split()
    at = scale([value["max"], float(bound)])
    colour, word = (MET, "met") if verdict["met"] else (MISSED, "missed")
    middle = y + HEAD + LINE
    out = [label(0, y + 18, f"{verdict['goal']}, each round", font_weight="bold"),
           tag("line", x1=LEFT, x2=LEFT + PLOT, y1=middle, y2=middle, stroke="#cbd5e0"),
           tag("line", class_="wanted", x1=at(float(bound)), x2=at(float(bound)), y1=middle - 16, y2=middle + 16,
               stroke="#1a202c", stroke_dasharray="4 3"),
           label(at(float(bound)), middle + 30, f"{sign} {bound}", "middle"),
           tag("line", x1=at(value["median"]), x2=at(value["median"]), y1=middle - 12, y2=middle + 12, stroke=colour,
               stroke_width=3)]
    out += [tag("circle", class_="round", cx=at(v), cy=middle, r=4, fill=colour, fill_opacity="0.6")
            for v in value["each"]]
    out.append(label(WIDTH - RIGHT + 8, middle + 4, f"{number(value['median'])} {word}", fill=colour))
    return out, HEAD + 2 * LINE + 14 + FOOT


def panels(row, y):
    for key in row.get("keys", []):
        elements, height = bar_panel(row["results"], key, y)
        y += height
        yield elements, y
    for verdict in row.get("verdicts", []):
        elements, height = goal_panel(verdict, y)
        y += height
        yield elements, y


def svg(row):
    """The picture of one row, as text; of a row that failed, why."""
    machine = row.get("machine", {})
    body = [label(0, 16, f"row {row['row']}: {row['title']}", font_size=15, font_weight="bold"),
            label(0, 34, ", ".join(f"{k} {v}" for k, v in machine.items()), fill="#718096")]
    height = 46
    for key, word in (("failed", "FAILED"), ("not_measured", "not measured")):
        if key in row:
            body.append(label(0, height + 18, f"{word}: {row[key]}", fill=MISSED))
            height += 40
    for elements, height in panels(row, height):
        body += elements
    box = f"-10 -6 {WIDTH + 20} {height + 12}"
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="12">'
    ground = tag("rect", x=-10, y=-6, width=WIDTH + 20, height=height + 12, fill="#ffffff")
    return "\n".join([frame, ground, *body, "</svg>"]) + "\n"
