"""Regular expressions that could search one line for ever, told before they meet one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from itertools import combinations
from typing import Any

# Parser and compiler of the standard library: private, but the same in Python 3.11 to 3.13, and a test would
# tell.
_parser: Any = import_module("re._parser")
_compiler: Any = import_module("re._compiler")
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})
_CHARACTERS = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY"})
_MANY = 20
"""A repeat of so many is as good as one without end."""
_COPIES = 8
"""So many of a fixed number of repetitions are looked at."""
_MOST = 500
"""Characters in a repeated part; more are not looked at, and refused."""
_ALPHABET = [chr(code) for code in range(256)] + list("Āā٠\u2003→")
_ALL = (1 << len(_ALPHABET)) - 1


def explodes(regex: str, flags: int = 0) -> bool:
    """Return whether a repeated part can match the same text in two ways, as in `(a+)+` or `(?:a|aa)*`.

    Python tries exponentially many ways to match such an expression, and cannot be interrupted. A part that
    can be matched in one way only is harmless, as in `(?:\\.\\w+)*`; so is a possessive repeat, `(?:a+)++`.
    """
    parsed = _parser.parse(regex, flags)
    return _any_explodes(parsed, parsed.state.flags)


def _any_explodes(items: Any, flags: int) -> bool:
    for operation, argument in items:
        name = str(operation)
        if name in _REPEATS and argument[1] >= _MANY and _Automaton().ambiguous(argument[2], flags):
            return True
        inner_flags = (flags | argument[1]) & ~argument[2] if name == "SUBPATTERN" else flags
        if any(_any_explodes(inner, inner_flags) for inner in _inside(name, argument)):
            return True
    return False


def _inside(operation: str, argument: Any) -> list[Any]:
    """Return the sequences within an item."""
    if operation in _REPEATS or operation == "POSSESSIVE_REPEAT":
        return [argument[2]]
    if operation == "SUBPATTERN":
        return [argument[3]]
    if operation in {"BRANCH", "ASSERT", "ASSERT_NOT"}:
        return list(argument[1]) if operation == "BRANCH" else [argument[1]]
    if operation == "GROUPREF_EXISTS":
        return [each for each in argument[1:] if each is not None]
    return [argument] if operation == "ATOMIC_GROUP" else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A part of an expression: places of characters that it can begin and end with."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    empty: bool = True
    """Whether it can match nothing."""


class _Automaton:
    """The characters of a repeated part and what may follow each: Glushkov's construction.

    Look-arounds and anchors are taken to hold always, a back-reference to be any character.
    """

    def __init__(self) -> None:
        self._sets: list[int] = []
        """What each place can match, a bit for each character of the alphabet."""
        self._follow: list[set[int]] = []
        self._twice = False
        """Whether two ways were found to go from one place to another."""
        self._atomic = 0

    def ambiguous(self, body: Any, flags: int) -> bool:
        """Return whether repetitions of `body` can match one text in two ways."""
        piece = self._sequence(body, flags)
        self._link(piece.last, piece.first)
        if self._twice or len(self._sets) > _MOST:
            return True
        # Every place is on some way round: two ways part at one, and it matters if they meet again.
        todo = [pair for places in (piece.first, *self._follow) for pair in combinations(sorted(places), 2)]
        seen: set[tuple[int, int]] = set()
        while todo:
            pair = todo.pop()
            if pair in seen or not self._sets[pair[0]] & self._sets[pair[1]]:
                continue
            seen.add(pair)
            one, other = self._follow[pair[0]], self._follow[pair[1]]
            if one & other:
                return True
            todo += [(min(a, b), max(a, b)) for a in one for b in other]
        return False

    def _link(self, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        for place in before:
            self._twice = self._twice or not self._follow[place].isdisjoint(after)
            self._follow[place].update(after)

    def _sequence(self, items: Any, flags: int) -> _Piece:
        whole = _Piece()
        for operation, argument in items:
            if len(self._sets) > _MOST:
                break
            whole = self._joined(whole, self._item(str(operation), argument, flags))
        return whole

    def _joined(self, one: _Piece, other: _Piece) -> _Piece:
        self._link(one.last, other.first)
        return _Piece(
            first=one.first + (other.first if one.empty else ()),
            last=other.last + (one.last if other.empty else ()),
            empty=one.empty and other.empty,
        )

    def _item(self, name: str, argument: Any, flags: int) -> _Piece:
        if name in _CHARACTERS:
            return self._character(_matched(name, argument, flags))
        if name in _REPEATS:
            least, most, body = argument
            return self._repeat(least, most, body, flags)
        if name == "SUBPATTERN":
            return self._sequence(argument[3], (flags | argument[1]) & ~argument[2])
        if name in {"BRANCH", "GROUPREF_EXISTS"}:
            return self._branch([*_inside(name, argument), *_missing(name, argument)], flags)
        if name in {"ATOMIC_GROUP", "POSSESSIVE_REPEAT"}:
            self._atomic += 1
            piece = self._sequence(_inside(name, argument)[0], flags)
            self._atomic -= 1
            empty = piece.empty or (name == "POSSESSIVE_REPEAT" and argument[0] == 0)
            return _Piece(first=piece.first, last=piece.last, empty=empty)
        return _Piece() if name in {"AT", "ASSERT", "ASSERT_NOT"} else self._character(_ALL)

    def _character(self, matched: int) -> _Piece:
        self._sets.append(matched)
        self._follow.append(set())
        place = (len(self._sets) - 1,)
        return _Piece(first=place, last=place, empty=False)

    def _branch(self, branches: list[Any], flags: int) -> _Piece:
        pieces = [self._sequence(branch, flags) for branch in branches]
        if sum(piece.empty for piece in pieces) > 1 and not self._atomic:
            self._twice = True
        return _Piece(
            first=tuple(place for piece in pieces for place in piece.first),
            last=tuple(place for piece in pieces for place in piece.last),
            empty=any(piece.empty for piece in pieces),
        )

    def _repeat(self, least: int, most: int, body: Any, flags: int) -> _Piece:
        if least == most:
            whole = _Piece()
            for _ in range(min(least, _COPIES)):
                whole = self._joined(whole, self._sequence(body, flags))
            return whole
        piece = self._sequence(body, flags)
        if not self._atomic:
            if most > 1:
                self._link(piece.last, piece.first)
            self._twice = self._twice or piece.empty
        return _Piece(first=piece.first, last=piece.last, empty=piece.empty or least == 0)


def _missing(name: str, argument: Any) -> list[Any]:
    """Return an empty branch where a condition on a group has no second one."""
    return [[]] if name == "GROUPREF_EXISTS" and argument[2] is None else []


def _matched(name: str, argument: Any, flags: int) -> int:
    """Return which characters of the alphabet an item matches; all where it matches none of them."""
    item = _parser.SubPattern(_parser.State(), [(getattr(_parser, name), argument)])
    compiled = _compiler.compile(item, flags)
    return sum(1 << place for place, char in enumerate(_ALPHABET) if compiled.match(char)) or _ALL
