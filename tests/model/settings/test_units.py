"""Sizes and times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomcast.model.settings.anonymous import AnonymousGrants, quota_of
from roomcast.model.settings.kinds import Rate
from roomcast.model.settings.limits import PUBLISH_RATE
from roomcast.model.settings.units import parse_rate, parse_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5000000", 5_000_000),
        ("5MB", 5_000_000),
        ("5 MB", 5_000_000),
        ("64KiB", 65_536),
        ("64kib", 65_536),
        ("64kB", 64_000),
        ("1.5MB", 1_500_000),
        ("0.5KiB", 512),
        ("2GB", 2 * 10**9),
        ("1TiB", 2**40),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_a_size_is_bytes_with_or_without_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("64k", "did you mean 64KB or 64KiB?"),
        ("5M", "did you mean 5MB or 5MiB?"),
        ("64Ki", "did you mean 64KiB?"),
        ("0.3KiB", "no whole number of bytes"),
        ("much", "such as 5000000, 5MB or 64KiB"),
        ("", "not ''"),
        ("-5MB", "not '-5MB'"),
        ("5MBB", "not '5MBB'"),
        ("5,000", "not '5,000'"),
        ("1e6", "not '1e6'"),
        ("nan", "not 'nan'"),
        ("٥MB", "not '٥MB'"),
        ("5MB\n", r"not '5MB\n'"),
        ("9" * 5000, "not '9999"),
    ],
)
def test_a_bad_size_is_refused_with_examples(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a size in bytes, such as") as raised:
        parse_size(text)
    assert hint in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15", 15.0),
        ("0.05", 0.05),
        ("500ms", 0.5),
        ("50ms", 0.05),
        ("10m", 600.0),
        ("7d", 604_800.0),
        ("1h30m", 5_400.0),
        ("1d2h3m4s5ms", 93_784.005),
        ("1.5h", 5_400.0),
        ("0s", 0.0),
    ],
)
def test_a_time_is_seconds_with_or_without_units(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10M", "did you mean 10m?"),
        ("1h 30m", "did you mean 1h30m?"),
        ("10min", "not '10min'"),
        ("30m1h", "not '30m1h'"),
        ("5 minutes", "not '5 minutes'"),
        ("", "not ''"),
        ("m", "not 'm'"),
        ("-1s", "not '-1s'"),
        ("inf", "not 'inf'"),
        ("nan", "not 'nan'"),
        ("١٥", "not '١٥'"),
        ("9" * 5000, "not '9999"),
    ],
)
def test_a_bad_time_is_refused_with_examples(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a time in seconds, such as") as raised:
        parse_seconds(text)
    assert hint in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("text", "rate"),
    [("20/s", 20.0), ("20", 20.0), ("1.5/s", 1.5), ("90/m", 1.5), ("3600/h", 1.0), ("43200/d", 0.5)],
)
def test_a_rate_is_times_a_second(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "much", "-1/s", "20/S", "20/ms", "20 /s", "/s", "1e3/s", "20/s\n"])
def test_a_bad_rate_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a rate, such as 20 or 20/s"):
        parse_rate(text)


@given(st.floats(1 / 86_400, 1e6))
@example(0.001)
@example(1 / 600)
def test_a_rate_is_the_same_for_strangers_as_for_a_key(rate: float) -> None:
    texts = AnonymousGrants().check({"publish_rate": rate})
    assert quota_of(texts).publish_rate == PUBLISH_RATE.check(rate) == rate


@pytest.mark.parametrize("value", [float("nan"), True, [1]])
def test_a_value_that_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a rate, such as 20"):
        Rate(1e6).check(value)


@pytest.mark.parametrize("value", ["0/s", 0, -1, 0.00001, 1e-310, "0.9/d", "2000000/s"])
def test_a_rate_that_no_option_has_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a rate from 1/d to 1000000/s, not "):
        Rate(1e6).check(value)


@pytest.mark.parametrize(("value", "rate"), [("1/d", 1 / 86_400), (0.001, 0.001), (1_000_000, 1e6)])
def test_a_rate_from_one_a_day_on_is_taken(value: object, rate: float) -> None:
    assert Rate(1e6).check(value) == rate
