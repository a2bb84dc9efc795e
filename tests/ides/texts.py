"""Random settings files, as people write them: comments in odd places, trailing commas, any indentation."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hypothesis import strategies as st
from pydantic import JsonValue

KEYS = st.sampled_from(["agent_servers", "Antigravity", "theme", "a b", "ü", "//", '"', "x"])
SCALARS: st.SearchStrategy[JsonValue] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "One Dark", "// no comment", "/* nor this */", '"', "\\", "é\U0001f600", "a\nb", ",}"]),
)


@dataclass(frozen=True)
class Text:
    """A text, and what it holds; `value` is None if that is nothing."""

    text: str
    value: JsonValue


@st.composite
def values(draw: st.DrawFn, depth: int = 3) -> JsonValue:
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return draw(SCALARS)
    inner = values(depth=depth - 1)
    if draw(st.booleans()):
        return draw(st.lists(inner, max_size=3))
    return draw(st.dictionaries(KEYS, inner, max_size=3))


@st.composite
def roots(draw: st.DrawFn) -> JsonValue:
    """An object as settings have it; where entries belong is an object, if anything."""
    root = draw(st.dictionaries(KEYS, values(), max_size=4))
    root.pop("agent_servers", None)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(root)))
        servers = draw(st.dictionaries(KEYS, values(), max_size=3))
        servers.pop("Antigravity", None)
        pairs = [*root.items()]
        pairs.insert(place, ("agent_servers", servers))
        root = dict(pairs)
    return root


@st.composite
def texts(draw: st.DrawFn) -> Text:
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    unit = draw(st.sampled_from(["  ", "    ", "\t", ""]))
    blanks = st.sampled_from(["", "", " ", newline, newline * 2, f"{newline}{unit}", "\t"])
    comments = st.sampled_from(
        [f"// note{newline}", f'// {{"}}{newline}{unit}', "/* a, b */", f"/* {newline} */", f"//{newline}"]
    )

    def gap() -> str:
        return "".join(draw(st.lists(st.one_of(blanks, blanks, comments), max_size=3)))

    def written(value: JsonValue, indent: str, *, tidy: bool) -> str:
        if not isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        inner = f"{newline}{indent}{unit}" if tidy else ""
        pieces: list[str] = []
        items = [*value.items()] if isinstance(value, dict) else [(None, item) for item in value]
        for key, item in items:
            name = "" if key is None else f"{json.dumps(key)}{gap()}:{gap() or ' '}"
            pieces.append(f"{gap()}{inner}{name}{written(item, indent + unit, tidy=tidy)}{gap()}")
        trailing = "," if draw(st.booleans()) and pieces else ""
        end = f"{newline}{indent}" if tidy and pieces else ""
        return f"{opening}{','.join(pieces) or gap()}{trailing}{gap() if pieces else ''}{end}{closing}"

    bom = draw(st.sampled_from(["", "", "\ufeff"]))
    if draw(st.integers(0, 9)) == 0:
        end = draw(st.sampled_from(["", "// the end", " "]))
        return Text(f"{bom}{gap()}{end}", None)
    root = draw(roots())
    return Text(f"{bom}{gap()}{written(root, '', tidy=draw(st.booleans()))}{gap()}", root)
