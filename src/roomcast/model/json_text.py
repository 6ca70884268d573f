"""JSON as text: checks and changes that need no decoding.

Decoding makes an object of every value, which a hostile body exploits: a mebibyte of `[]` takes 80 ms, one of
`1.7976931348623157e308` 780 ms. The functions here take time linear in the bytes, whatever they are: 25 ms a
mebibyte at most for the nesting, and 70 ms for the numbers. Nothing here knows what a message is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, compress, filterfalse
from math import isinf
from operator import add
from struct import unpack

LONGEST_INTEGER = 4_300
"""Digits. Python refuses longer integers (`sys.set_int_max_str_digits`), as reading them takes time in the square
of their length."""

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_BITS = bytes.maketrans(b"[{]}", b"1100")
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_MANY_DIGITS = b"0" * 210
"""An infinite number whose exponent has one or two digits has at least as many before its point: a number of 209
digits and `e99` is less than 1e308."""
_NUMBER_ENDS = bytes.maketrans(b"[]{},:\t\n\r", b" " * 9)
_LINE_ENDS = {end.encode(): b"\\u%04x" % ord(end) for end in "\x85\u2028\u2029"}
"""Some clients end lines at these characters, too (Python's str.splitlines, and so httpx), so they are escaped."""


def one_line(text: bytes) -> bytes:
    """Returns the JSON `text` with every character escaped at which a reader may end a line."""
    if not text.isascii():
        for end, escaped in _LINE_ENDS.items():
            text = text.replace(end, escaped)
    return text


def nested_deeper(text: bytes, levels: int) -> bool:
    """Whether more than `levels` arrays and objects are inside each other. If `text` is not JSON, the part before
    its first mistake counts, and the rest may count as well."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    # Strings without brackets become `""` and are dropped first: the rest is short enough to be split at its
    # quotes.
    structure = _unescaped(text).translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    return _depth(b"".join(structure.split(b'"')[::2])) > levels


def unreadable_number(text: bytes) -> bool:
    """Whether the JSON `text` has a number that common readers refuse or read as infinite: one beyond the range of
    a double, or an integer of more than LONGEST_INTEGER digits."""
    digits = text.translate(_DIGITS, b"+")
    if b"e000" not in digits and _MANY_DIGITS not in digits:
        return False
    numbers = b"".join(_unescaped(text).split(b'"')[::2]).translate(_NUMBER_ENDS)
    for word in (b"true", b"false", b"null"):
        numbers = numbers.replace(word, b"")
    found = numbers.split()
    if b"0" * (LONGEST_INTEGER + 1) not in digits:
        found = list(filterfalse(bytes.isdigit, found))
    # Without a call for each number: with one, 60 KB of short ones took 5 ms.
    infinite = compress(found, map(isinf, map(float, found)))
    return any(map(_unreadable, infinite))


def ending(text: bytes) -> str:
    """Says where a truncated JSON text ends."""
    if not text.strip():
        return "it is empty"
    where = "in the middle of a string" if _unescaped(text).count(b'"') % 2 else "before all of its JSON was there"
    return f"it ends after {len(text)} bytes, {where}"


def _unescaped(text: bytes) -> bytes:
    """The text without escaped backslashes and quotes: each quote left begins or ends a string."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"")


def _unreadable(infinite: bytes) -> bool:
    """Whether a number that is infinite as a double is more than an integer that is not too long."""
    digits = infinite.lstrip(b"-")
    return not digits.isdigit() or len(digits) > LONGEST_INTEGER


def _depth(brackets: bytes) -> int:
    """The most brackets that are open at once. Sixteen are looked up at a time, each as a bit: 1 opens, 0
    closes."""
    if not brackets:
        return 0
    words = -(-len(brackets) // 16)
    bits = int(brackets.translate(_BITS).ljust(words * 16, b"0"), 2)
    sixteens = unpack(f">{words}H", bits.to_bytes(words * 2, "big"))
    before = accumulate(map(_RISES.__getitem__, sixteens), initial=0)
    deepest: int = max(map(add, before, map(_PEAKS.__getitem__, sixteens)))
    return deepest


def _of_eight(bits: int) -> tuple[int, int]:
    """Returns by how much eight brackets change the depth, and the highest depth on the way."""
    steps = [1 if bits >> n & 1 else -1 for n in range(7, -1, -1)]
    return sum(steps), max(accumulate(steps, initial=0))


def _of_sixteen() -> tuple[Sequence[int], Sequence[int]]:
    """Like `_of_eight`, for each sequence of sixteen brackets: two tables of 65,536 entries, made row by row in a
    millisecond."""
    eights = [_of_eight(bits) for bits in range(256)]
    rows = {(r, p): ([r + s for s, _ in eights], [max(p, r + q) for _, q in eights]) for r, p in set(eights)}
    rises: list[int] = []
    peaks: list[int] = []
    for eight in eights:
        rises += rows[eight][0]
        peaks += rows[eight][1]
    return rises, peaks


_RISES, _PEAKS = _of_sixteen()
