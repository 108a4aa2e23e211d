"""What a log says, made fit to be shown: cleaned and shortened."""

from __future__ import annotations

import re

MAX_SHOWN = 300
"""Characters of a line that are kept as evidence."""
_PLAIN = re.compile(r"[\x20-\x7e]*")
_ESCAPES = re.compile(
    r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]?"  # colours, cursor
    r"|\x1b\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?"  # window titles, links
    r"|\x1b[ -/]{0,4}[0-~]?"  # two-character sequences
)
# Control characters, what reorders or hides text, halves of surrogate pairs.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean(data: str | bytes) -> str:
    """Return one line's text without terminal escapes, control and invisible characters, and outer blanks.

    Bytes are read as UTF-8; what is not UTF-8 becomes U+FFFD. A tab becomes a blank.
    """
    text = data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data
    if _PLAIN.fullmatch(text):
        return text.strip()
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    return _UNFIT.sub("", text.replace("\t", " ")).strip()


def shorten(text: str, *, around: int = 0, limit: int = MAX_SHOWN) -> str:
    """Return at most `limit` characters with `around` among them; … stands for what is left out."""
    if len(text) <= limit:
        return text
    start = max(0, min(around - limit // 4, len(text) - limit + 1))
    if start == 0:
        return f"{text[: limit - 1]}…"
    piece = f"…{text[start : start + limit - 1]}"
    return piece if start + limit - 1 >= len(text) else f"{piece[:-1]}…"


def last_segment(line: bytes) -> bytes:
    r"""Return what a terminal shows last of a line with progress bars: the last non-blank part between \r."""
    if b"\r" not in line:
        return line
    return next((part for part in reversed(line.split(b"\r")) if part.strip()), b"")
