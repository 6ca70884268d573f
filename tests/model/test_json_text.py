"""Checks of JSON without decoding it, compared with a decoder."""

from __future__ import annotations

import json
import math
from operator import add

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.model.json_text import nested_deeper, one_line, unreadable_number

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.sampled_from('[]{}"\\ae1309+.\u2028é'), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=3),
    max_leaves=40,
)  # fmt: skip


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.integers(0, 20))
def test_nesting_is_measured_as_a_decoder_sees_it(value: object, more: int) -> None:
    for _ in range(more):
        value = [value, ["[", {}]]
    text = json.dumps(value, ensure_ascii=False).encode()
    assert not nested_deeper(text, depth(value))
    if depth(value):
        assert nested_deeper(text, depth(value) - 1)


@pytest.mark.parametrize("count", [1, 7, 8, 15, 16, 17, 31, 32, 33, 1_000])
def test_nesting_is_exact_wherever_it_is_deepest(count: int) -> None:
    for before in range(20):
        text = b"[" + b"[]," * before + b"[" * count + b"]" * count + b"]"
        assert nested_deeper(text, count)
        assert not nested_deeper(text, count + 1)


def test_nesting_before_the_first_mistake_counts() -> None:
    """A decoder enters these 200 levels before it finds the mistake."""
    for mistake in (b"", b"]" * 500, b'"', b'\\"', b"\\", b"x]"):
        assert nested_deeper(b'{"a\\\\":"\\"", "b":' + b"[" * 200 + mistake, 150)


@given(st.lists(st.floats(min_value=1e300, allow_infinity=False) | st.integers() | VALUES))
def test_numbers_that_python_writes_can_be_read(values: list[object]) -> None:
    assert not unreadable_number(json.dumps(values).encode())


@pytest.mark.parametrize(
    "number",
    [
        "1e309", "-1E+309", "1e0309", "17976931348623159e292", "1" * 310 + ".5", "1" * 308 + "e10", "1" * 4_301,
        "-" + "1" * 4_301, "0.00001e400", "1.8e308", "1" * 250 + "e99", "2" * 210 + ".5E+99", "1" * 305 + "e5",
    ],
)  # fmt: skip
def test_numbers_that_others_cannot_read_are_found(number: str) -> None:
    for text in (number, f"[1,{number}]", f'{{"a":{number}}}', f'["\\\\",{number},"\\""]'):
        assert unreadable_number(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "1.7976931348623157e308", "1e308", "0.0001e312", "1e-400", "1" * 4_300, "-" + "1" * 4_300,
        "0." + "1" * 999,
        '"1e999"', '["\\"1e999", "e400,1e400"]', "1" * 308 + ".0", "0e999", "0.0e400", "9" * 209 + "e99",
        '[true,false,null,{"1e999":1e-400}]', '{"a" :\t-1e100,\r\n"b": [] }',
    ],
)  # fmt: skip
def test_numbers_that_others_read_are_let_through(text: str) -> None:
    assert not unreadable_number(text.encode())
    assert all(math.isfinite(n) for n in [json.loads(text)] if isinstance(n, float))


SMALL = st.from_regex(r"-?(0|[1-9][0-9]{0,5})", fullmatch=True)
LONG = st.integers(180, 320).map(lambda digits: "7" * digits)
EXPONENTS = st.from_regex(r"(\.[0-9]{1,5})?[eE][+]?(30[0-9]|31[0-9]|[0-9]{1,4})", fullmatch=True)


@given(st.builds(add, SMALL | LONG, EXPONENTS))
def test_the_client_reads_each_number_that_is_let_through(number: str) -> None:
    try:
        msgspec.json.decode(number)
    except msgspec.ValidationError:
        assert unreadable_number(number.encode())
    else:
        assert not unreadable_number(number.encode())


@settings(max_examples=30)
@given(st.text())
def test_a_line_is_one_line_to_every_reader(text: str) -> None:
    line = one_line(json.dumps(text, ensure_ascii=False).encode())
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == text
