"""Messages reduced to what is the same in all of their kind, so that equal failures can be counted."""

from __future__ import annotations

import re
from functools import lru_cache

from include.joblogs.text import clean

MAX_SIGNATURE = 120
"""Characters of a signature."""
_MAX_INPUT = 600
"""Characters of a message that are looked at."""
_MAX_WORD = 200

_HEX = "[0-9a-fA-F]"
_CLOCK = r"\d?\d:\d\d(?::\d\d(?:[.,]\d+)?)?"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_QUOTED = re.compile(r""""[^"]{0,300}"|(?<!\w)'[^']{0,300}'(?!\w)|`[^`']{0,300}[`']""")
# The first that fits at a place of a word wins, so longer forms come first.
_IN_WORD = {
    "": r"<(?:str|uuid|date|path|host|hex|n)>",
    "uuid": rf"\b{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}\b",
    "date": (
        rf"\b\d{{4}}-\d\d-\d\d(?:T{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?)?\b"
        rf"|\b\d{{1,2}}-{_MONTH}-\d{{4}}\b|\b\d{{1,4}}/\d\d?/\d{{1,4}}\b|\b\d\d/\d\d\b|(?<![\w:]){_CLOCK}(?![\w:])"
    ),
    "path": (
        r"\b[a-zA-Z][a-zA-Z0-9+]{1,12}://[^<>\"',;()\[\]]+"
        r"|(?<![\w<>./~-])[\w.~-]{0,64}/[^<>\"',;:()\[\]=]+"
    ),
    "host": (
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b(?::\d+)?"
        r"|\b(?:slot[\d_]+@)?(?:[a-zA-Z0-9-]{1,63}\.){1,5}"
        r"(?:gov|edu|org|net|com|ch|de|fr|it|uk|es|jp|ca|local|pool|cern|internal)\b(?::\d+)?"
    ),
    "hex": rf"\b0[xX]{_HEX}+\b|\b(?=[a-fA-F]{{0,64}}\d){_HEX}{{8,}}\b",
    "n": r"(?<![<\w.])[-+]?\d[\d.]*(?:[eE][-+]?\d+)?|\d+",
}
_VARIABLE = re.compile("|".join(f"({one})" for one in _IN_WORD.values()))
_PLACEHOLDERS = tuple(f"<{name}>" for name in _IN_WORD)
# What dates with blanks in them have become.
_DATE = re.compile(
    rf"(?:\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:\b{_MONTH} <n>,? )?<date>"
    r"(?: (?:<date>|(?:UTC|GMT|CES?T|C[SD]T|E[SD]T|M[SD]T|P[SD]T|JST|BST)\b(?: <n>)?))*"
)
_CUT = re.compile(r"<[a-z]{0,4}$")


def signature(text: str) -> str:
    """Return what all messages of one kind share: at most 120 characters, with <n>, <path>, … for the rest.

    Numbers, hexadecimal numbers, paths and URLs, dates and times, UUIDs, host names and quoted strings are
    replaced. The signature of a signature is itself.
    """
    given = clean(text[:_MAX_INPUT])
    # Each round takes away characters that are no placeholder, or changes nothing: it ends.
    while (reduced := _reduced(given)) != given:
        given = reduced
    return given


def _reduced(text: str) -> str:
    if '"' in text or "'" in text or "`" in text:
        text = _QUOTED.sub("<str>", text)
    text = " ".join([word if word.isalpha() else _word(word) for word in text.split()])
    if "<date>" in text:
        text = _DATE.sub("<date>", text)
    if len(text) > MAX_SIGNATURE:
        text = _CUT.sub("", text[:MAX_SIGNATURE]).rstrip()
    return text


@lru_cache(maxsize=1 << 15)
def _word(word: str) -> str:
    return _VARIABLE.sub(_placeholder, word[:_MAX_WORD])


def _placeholder(match: re.Match[str]) -> str:
    kind = (match.lastindex or 1) - 1
    return _PLACEHOLDERS[kind] if kind else match[0]
