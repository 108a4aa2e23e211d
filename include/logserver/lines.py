"""Bytes of a log → lines that can be shown, the words they are found by, and what a search wants of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.errors import LogsError
from include.joblogs.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 4000
"""Bytes; a longer line is shown in several."""
LONGEST_WORD = 64
MOST_TERMS = 16
_END = re.compile(rb"\r\n|\n|\r")
# A word is letters and digits: both databases are given words, not text, so both find the same.
_WORD = re.compile(r"[^\W_]+")
_PLAIN = re.compile(rb"[\x20-\x7e\t\r\n]*")
_TERM = re.compile(r'"([^"]*)"|(\S+)')


def lines_of(data: bytes, start: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the offset and the cleaned text of each line; `start` is the offset of `data`."""
    place = 0
    for end in _END.finditer(data):
        yield from _pieces(data[place : end.start()], start + place)
        place = end.end()
    if place < len(data):
        yield from _pieces(data[place:], start + place)


def _pieces(line: bytes, start: int) -> Iterator[tuple[int, str]]:
    for place in range(0, len(line) or 1, LONGEST_LINE):
        yield start + place, clean(line[place : place + LONGEST_LINE])


def words_in(text: str) -> list[str]:
    """Return a text's words, in lower case and cut where they are long."""
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.lower())]


def words_of(data: bytes) -> str:
    """Return the different words of some bytes of log, between blanks."""
    if _PLAIN.fullmatch(data):  # nothing to clean: six times as fast
        return " ".join(sorted({word[:LONGEST_WORD] for word in _WORD.findall(data.decode("ascii").lower())}))
    return " ".join(sorted({word for _, text in lines_of(data) for word in words_in(text)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Words that follow each other in a line."""

    words: tuple[str, ...]
    prefix: bool = False
    """Whether the last word may go on."""

    def is_in(self, words: list[str]) -> bool:
        """Say whether a line's words have these in them."""
        *head, last = self.words
        reach = len(words) - len(head)
        for place in range(reach):
            found = words[place + len(head)]
            same = found.startswith(last) if self.prefix else found == last
            if same and words[place : place + len(head)] == head:
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A search: a line is a hit if it has all terms."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Read words, "several words" and begin*; any other character only parts words.

        LogsError if there is no word in it, or there are too many.
        """
        terms = []
        for match in _TERM.finditer(text):
            words = tuple(words_in(match[1] if match[1] is not None else match[2]))
            if words:
                terms.append(Term(words=words, prefix=match[1] is None and match[2].endswith("*")))
        if not terms:
            what = f"nothing to search for in {text[:80]!r}"
            raise LogsError(f'{what}: give words, "several words" or begin*')
        if sum(len(term.words) for term in terms) > MOST_TERMS:
            raise LogsError(f"a search takes {MOST_TERMS} words at most")
        return cls(terms=tuple(terms))

    def is_in(self, line: str) -> bool:
        """Say whether a line is a hit."""
        lower = line.lower()
        if not all(word in lower for term in self.terms for word in term.words):
            return False
        words = words_in(line)
        return all(term.is_in(words) for term in self.terms)

    def fts5(self) -> str:
        """Return the query as SQLite's FTS5 takes it; there is nothing in it but letters and digits."""
        return " ".join(f'"{word}"{"*" if begins else ""}' for word, begins in self._words())

    def tsquery(self) -> str:
        """Return the query as Postgres takes it; there is nothing in it but letters and digits."""
        return " & ".join(f"'{word}'{':*' if begins else ''}" for word, begins in self._words())

    def _words(self) -> dict[tuple[str, bool], None]:
        found: dict[tuple[str, bool], None] = {}
        for term in self.terms:
            for place, word in enumerate(term.words, 1):
                found[word, term.prefix and place == len(term.words)] = None
        return found
