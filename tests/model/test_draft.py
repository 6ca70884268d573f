"""Bodies that may or may not be published, as tables: each row is a body and its result."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable

import msgspec
import pytest

from roomcast.log.memory import MemoryLog
from roomcast.model import draft
from roomcast.model.errors import Invalid, Malformed, RoomcastError, TooLarge
from roomcast.model.message import Message, as_json
from roomcast.model.retention import Retention

MAX_MESSAGE = 64_000
ASTRAL = "𝔵"
NAMES = ["x", "room", "user", "text", "type"]
C1 = [chr(code) for code in range(0x80, 0xA0)]
C0 = [chr(code) for code in range(0x20)]


def parse(body: bytes | str, parser: draft.Parser = draft.parse_json) -> draft.PublishRequest:
    return parser(body if isinstance(body, bytes) else body.encode(), MAX_MESSAGE)


def stored(**fields: object) -> dict[str, object]:
    """The message as followers get it."""
    request = parse(json.dumps({"room": "a", "text": "x", **fields}))
    first = request.drafts[0]
    read = json.loads(as_json("abcd", Message(1, first.room, first.type, 0, 0, first.body)))
    assert isinstance(read, dict)
    return read


def with_data(data: str) -> str:
    return f'{{"room": "a", "data": {data}}}'


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def refused(body: bytes | str, kind: type[RoomcastError], parser: draft.Parser = draft.parse_json) -> list[str]:
    """The pointers of a refusal."""
    with pytest.raises(kind) as refusal:
        parse(body, parser)
    assert type(refusal.value) is kind
    assert refusal.value.detail
    assert all(fault.detail for fault in refusal.value.faults)
    return [fault.pointer for fault in refusal.value.faults]


def hint(body: object) -> str:
    with pytest.raises(Invalid) as refusal:
        parse(json.dumps(body))
    return refusal.value.faults[0].detail


def test_the_example_of_the_contract_is_taken_with_its_default_user() -> None:
    request = parse('{"text": "was geht ab in buxtehude?", "room": "developers"}')
    assert not request.batch
    assert request.drafts[0].room == "developers"
    assert request.drafts[0].type is None
    assert json.loads(request.drafts[0].body) == {
        "room": "developers",
        "user": "anonymous",
        "text": "was geht ab in buxtehude?",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("room", "x"),
        ("room", "x" * 128),
        ("room", ASTRAL * 128),
        ("room", "a$"),
        ("room", " "),
        ("room", "\u2028"),
        ("room", "\u00a0\ufeff\u200b"),
        ("room", "../..?&#%00/"),
        ("user", "x" * 128),
        ("user", ASTRAL * 128),
        ("user", "$"),
        ("text", " "),
        ("text", "\x00\x01\x1b\x7f\x85\r\n\r\n\u2028\u2029\ufffe" + ASTRAL),
        ("text", "event: error\ndata: x\n\nid: 1"),
        ("type", "x" * 64),
        ("type", ASTRAL * 64),
        ("type", "order.paid"),
        ("type", "\u00a0\ufeff\u200b"),
        ("type", "Error"),
        ("type", "errors"),
        ("type", "a gap"),
        ("type", "roomcast"),
        ("type", "roomcasts."),
        ("type", " message"),
    ],
)
def test_a_field_is_taken_and_carried_unharmed(field: str, value: str) -> None:
    assert stored(**{field: value})[field] == value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("room", ["", "x" * 129, ASTRAL * 129, "$", "$a", "a\n", "\n", "a\r", "\x7f", *C0, *C1]),
        ("user", ["", "x" * 129, ASTRAL * 129, "a\n", "\x7f", *C0, *C1]),
        ("text", [""]),
        ("type", ["", "x" * 65, ASTRAL * 65, "a\n", "a\r", "a\x00b", "\x7f", *C0, *C1]),
        ("type", ["\u2028", "\u2029", "t\u000bid: zzzz-9\u000bdata: {}", "error\u2028"]),
        ("type", ["gap", "live", "open", "error", "message", "roomcast.", "roomcast.x", "error\n", "gap\r\n"]),
    ],
)
def test_a_field_with_a_forbidden_value_is_named(field: str, values: list[str]) -> None:
    good = {"room": "a", "text": "x"}
    for value in values:
        assert refused(json.dumps({**good, field: value}), Invalid) == [f"/{field}"], value
        assert refused(json.dumps([good, {**good, field: value}]), Invalid) == [f"/1/{field}"], value


@pytest.mark.parametrize("field", ["room", "user", "text", "type"])
@pytest.mark.parametrize("value", [None, True, 0, 1.5, [], {}, ["a"], {"a": 1}])
def test_a_field_of_the_wrong_kind_is_named(field: str, value: object) -> None:
    assert refused(json.dumps({"room": "a", "text": "x", field: value}), Invalid) == [f"/{field}"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ('{"text": "x"}', ["/room"]),
        ('{"room": "a"}', ["/text"]),
        ('{"room": "a", "user": "u", "type": "t"}', ["/text"]),
        ("{}", ["/room", "/text"]),
        ("null", [""]),
        ("1", [""]),
        ('"a"', [""]),
        ("true", [""]),
        ("[]", [""]),
        ("[[]]", ["/0"]),
        ('[[{"room": "a", "text": "x"}]]', ["/0"]),
        ("[1, null]", ["/0", "/1"]),
        ('[{"room": "a", "text": "x"}, {"room": "a"}]', ["/1/text"]),
        ('{"room": "a", "text": "x", "a/b~c": 1}', ["/a~1b~0c"]),
        ('{"room": "a", "text": "x", "": 1}', ["/"]),
        ('{"room": "a", "text": "x", "id": "abcd-1"}', ["/id"]),
        ('{"room": "a", "text": "x", "timestamp": "2026-11-22T06:27:00Z"}', ["/timestamp"]),
        (
            '{"room": "$", "user": "", "text": "", "type": "gap", "x": 1}',
            ["/x", "/room", "/user", "/text", "/type"],
        ),
        ('{"room": "a", "data": 1e999}', ["/data"]),
        ('{"room": "a", "data": [-1e999]}', ["/data"]),
        ('[{"room": "a", "data": 1}, {"room": "a", "data": 1e999}]', ["/1/data"]),
        (with_data("1" * 4301), ["/data"]),
        ('{"room": 1e999, "text": "x"}', ["/room"]),
        ('{"room": "$", "data": 1e999}', ["/room", "/data"]),
    ],
)
def test_all_mistakes_are_named_at_once(body: str, pointers: list[str]) -> None:
    assert refused(body, Invalid) == pointers


@pytest.mark.parametrize("number", ["[[-1e999]]", "1" * 4301])
def test_a_number_that_others_cannot_read_is_refused_in_words_of_ours(number: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse(with_data(number))
    [fault] = refusal.value.faults
    assert fault.detail.startswith("has a number that others cannot read: beyond a double's range")
    assert "$" not in fault.detail


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("rooms", "room"),
        ("Room", "room"),
        ("ROOM", "room"),
        ("rom", "room"),
        ("txt", "text"),
        ("texts", "text"),
        ("Text", "text"),
        ("usr", "user"),
        ("users", "user"),
        ("username", "user"),
        ("tpye", "type"),
        ("types", "type"),
        ("dta", "data"),
    ],
)
def test_a_near_miss_is_answered_with_a_hint(written: str, meant: str) -> None:
    assert f"did you mean {meant}?" in hint({written: "a", "text": "x", "room": "a"})
    assert f"did you mean {meant}?" in hint({written: "a"})


def test_a_name_that_is_far_from_all_is_answered_with_those_there_are() -> None:
    assert "room, user, text, type, data" in hint({"room": "a", "text": "x", "colour": "red"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"room": "a", "text": "x"',
        b'{"room": "a", "text": "x"} x',
        b'{"room": "a", "text": "x"}{"room": "a", "text": "x"}',
        b"{'room': 'a'}",
        b'{"room": "a", "text": "x",}',
        b'{"room": "a", "text": "a\nb"}',
        b'{"room": "a", "text": "\x00"}',
        b'{"room": "a", "text": "\\x"}',
        b'{"room": "a", "text": "\xff"}',
        b'{"room": "a", "text": "\xc0\xaf"}',
        b'{"room": "a", "text": "\xed\xa0\x80"}',
        b'{"room": "a", "text": "\\ud800"}',
        b'{"room": "a", "text": "\\udc00\\ud800"}',
        b'{"room": "\\ud83d", "text": "x"}',
        b'{"room": "a", "text": "x", "\\ud800": 1}',
        b'{"room": "a", "data": "\\ud800"}',
        b'{"room": "a", "data": ["x", {"y": "\\udfff"}]}',
        b'{"room": "a", "data": {"\\ud800": 1}}',
        b'{"room": "a", "data": "\xff"}',
        b'{"room": "a", "data": {"\xff": 1}}',
        b'{"room": "a", "data": NaN}',
        b'{"room": "a", "data": Infinity}',
        b'{"room": "a", "data": -Infinity}',
        b'{"room": "a", "data": 01}',
        b'{"room": "a", "data": 1.}',
        b'{"room": "a", "data": +1}',
        b'{"room": "a", "data": 0x1}',
        b'{"room": "a", "data": undefined}',
        b'{"room": "a", "data": /**/1}',
        b'{"room": "a", "data": [1,]}',
        b'{"room": "a", "data": }',
        b'\xef\xbb\xbf{"room": "a", "text": "x"}',
        '{"room": "a", "text": "x"}'.encode("utf-16"),
        '{"room": "a", "text": "x"}'.encode("utf-16-le"),
        b"room=a&text=x",
    ],
)
def test_a_body_that_is_not_json_in_utf_8_is_malformed(body: bytes) -> None:
    refused(body, Malformed)
    refused(b'[{"room": "a", "text": "x"}, ' + body + b"]", Malformed)


@pytest.mark.parametrize("levels", [101, 127, 150, 990, 1_000, 5_000, 30_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_absurd_nesting_is_malformed(levels: int, opening: str, closing: str) -> None:
    deep = opening * levels + "1" + closing * levels
    for body in (
        with_data(deep),
        f'{{"room": {deep}}}',
        f'{{"x": {deep}}}',
        f'{{"x": "\\"[", "y": {deep}}}',
        f"[[{deep}]]",
    ):
        refused(body, Malformed)
        refused(body, Malformed, draft.parse_lines)
    with pytest.raises(Malformed, match="it is nested deeper than 100 levels"):
        parse(with_data(deep))


def test_a_body_that_is_too_large_is_not_searched_for_nesting() -> None:
    assert refused(with_data(nested(500_000)), TooLarge) == [""]


def test_only_arrays_and_objects_inside_each_other_count_as_nesting() -> None:
    deep = '[{"]": "[[[["},' * 50 + "1" + "]" * 50
    wide = "[" + ",".join(['{"a": [[]]}'] * 200) + "]"
    brackets = json.dumps('[{\\"' * 5_000)
    for data in (deep, wide, brackets, nested(100)):
        parse(with_data(data))
    refused(with_data(f'{{"a": {nested(100)}}}'), Malformed)
    refused(with_data(f"[{nested(100)}, [], [[]]]"), Malformed)


@pytest.mark.parametrize(
    "data",
    [
        "null", "true", "0", "-0", "1.10", "1E5", "1e-999", "0.1e1", "12345678901234567890123",
        "-9223372036854775809", "18446744073709551616", "1" * 4300, "0." + "1" * 10_000, '""', '"\\/"',
        '"\\u00e9"', '"\\u0000\\ud83d\\ude00"', "{}", "[]", '{"":""}', '{"a":1,"a":2}', '{"data":{"data":null}}',
        '{"$ref":"x","a.b":1,"__proto__":2}',
    ],
)  # fmt: skip
def test_data_is_any_json_value_and_kept_as_it_was_written(data: str) -> None:
    body = parse(with_data(data)).drafts[0].body
    assert body == b'{"room":"a","user":"anonymous","data":%b}' % data.encode()


def test_white_space_around_and_inside_is_dropped_and_the_message_stays_one_line() -> None:
    body = parse(' \r\n{"room"\t:"a", "data": [1,\r\n {"a" : "b c"} ]}\n ').drafts[0].body
    assert body == b'{"room":"a","user":"anonymous","data":[1,{"a":"b c"}]}'


def test_nothing_that_any_reader_takes_for_the_end_of_a_line_is_in_a_body() -> None:
    odd = "".join(map(chr, [*range(32), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029]))
    raw = json.dumps({"room": "a\u2028", "text": odd, "data": {odd: [odd]}}, ensure_ascii=False)
    body = parse(raw).drafts[0].body
    assert len(body.decode().splitlines()) == 1
    assert json.loads(body) == {"room": "a\u2028", "user": "anonymous", "text": odd, "data": {odd: [odd]}}


def test_of_a_name_given_twice_the_last_one_counts() -> None:
    assert json.loads(parse('{"room": "a", "text": "x", "room": "b"}').drafts[0].body)["room"] == "b"


def test_a_message_may_be_as_large_as_its_limit_and_no_larger() -> None:
    frame = len(b'{"room":"a","user":"anonymous","text":""}')
    parse(json.dumps({"room": "a", "text": "x" * (MAX_MESSAGE - frame)}))
    body = json.dumps({"room": "a", "text": "x" * (MAX_MESSAGE - frame + 1)})
    assert refused(body, TooLarge) == [""]
    assert refused(f'[{{"room": "a", "text": "x"}}, {body}]', TooLarge) == ["/1"]
    assert refused(body, TooLarge, draft.parse_lines) == ["/0"]
    parse(with_data("[" + " " * MAX_MESSAGE + "]"))


def test_a_batch_is_1_to_1000_messages() -> None:
    one = '{"room": "a", "text": "x"}'
    assert len(parse("[" + ",".join([one] * 1000) + "]").drafts) == 1000
    assert len(parse("\n".join([one] * 1000), draft.parse_lines).drafts) == 1000
    assert refused("[" + ",".join([one] * 1001) + "]", Invalid) == [""]
    assert refused("\n".join([one] * 1001), Invalid, draft.parse_lines) == [""]
    assert refused("", Invalid, draft.parse_lines) == [""]
    assert refused("\n \r\n", Invalid, draft.parse_lines) == [""]
    assert parse(f"[{one}]").batch
    assert parse(one, draft.parse_lines).batch


def test_lines_may_end_in_crlf_and_be_blank() -> None:
    request = parse('\r\n{"room":"a","text":"x"}\r\n\r\n \t\n{"room":"b","data":null}', draft.parse_lines)
    assert [message.room for message in request.drafts] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "kind", "pointers"),
    [
        ('{"room":"a"', Malformed, ["/1"]),
        ("\ufeff{}", Malformed, ["/1"]),
        ('{"room":"a","text":"x"}{"room":"a","text":"x"}', Malformed, ["/1"]),
        ('{"room":"a","data":"\\ud800"}', Malformed, ["/1"]),
        (with_data(nested(2_000)), Malformed, ["/1"]),
        (with_data(nested(200)), Malformed, ["/1"]),
        ('{"room":"a"}', Invalid, ["/1/text"]),
        ('[{"room":"a","text":"x"}]', Invalid, ["/1"]),
        ("null", Invalid, ["/1"]),
        ('{"room":"a","data":1e999}', Invalid, ["/1/data"]),
    ],
)
def test_one_bad_line_refuses_them_all_and_is_named(
    line: str, kind: type[RoomcastError], pointers: list[str]
) -> None:
    good = '{"room":"a","text":"x"}'
    assert refused(f"{good}\n\n{line}\n{good}", kind, draft.parse_lines) == pointers


async def test_a_batch_that_is_larger_than_the_retention_is_too_large_and_nothing_of_it_is_stored() -> None:
    log = MemoryLog(Retention(max_messages=10, max_bytes=1_000))
    for count, text in ((11, "x"), (2, "x" * 600)):
        drafts = parse(json.dumps([{"room": "a", "text": text}] * count)).drafts
        with pytest.raises(TooLarge):
            await log.append(drafts)
    assert (await log.bounds()).newest == 0
    await log.close()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "it is empty"),
        (b" \r\n", "it is empty"),
        ('{"room": "a", "text": "😀'.encode()[:-1], "it ends after 26 bytes, in the middle of a character"),
        ('{"room": "a", "text": "ä'.encode()[:-1], "it ends after 24 bytes, in the middle of a character"),
        (b'{"room": "a", "text": "\\"b', "it ends after 26 bytes, in the middle of a string"),
        (b'{"room": "a", "text": "b"', "it ends after 25 bytes, before all of its JSON was there"),
        (b'[{"room": "a", "text": "b"}', "it ends after 27 bytes, before all of its JSON was there"),
        (b'{"room": "a", "text": "\xffb"}', "it is not UTF-8 at byte 23"),
    ],
)
def test_a_body_that_was_cut_is_told_where_it_ends(body: bytes, words: str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse(body)
    [fault] = refusal.value.faults
    assert fault.detail == words
    assert refusal.value.detail.endswith(words)


def test_of_lines_the_one_that_was_cut_is_named() -> None:
    good = b'{"room":"a","text":"x"}\n'
    with pytest.raises(Malformed, match=r"the body at /1 .*: it ends after 22 bytes, in the middle of a string"):
        parse(good + b'{"room":"a","text":"x\\', draft.parse_lines)
    assert "these are none" in hint([])


MEBIBYTE = 1 << 20
MANY_NUMBERS = "".join(f"{number}," for number in range(100, 11_500))


def filled(start: str, unit: str, end: str, size: int) -> str:
    """A body of `size` bytes: as many units as fit between the two ends."""
    return start + unit * ((size - len(start) - len(end)) // len(unit)) + end


def batch_of(start: str, unit: str, end: str, size: int) -> str:
    """A batch of messages, each of them nearly as large as a message may be."""
    one = with_data(filled(start, unit, end, 60_000))
    return "[" + ",".join([one] * max(1, size // len(one))) + "]"


def cpu(parser: draft.Parser, body: bytes) -> float:
    """The shortest of some runs: another process on the same core makes a run slower, never faster."""
    return min(_cpu(parser, body) for _ in range(3))


def _cpu(parser: draft.Parser, body: bytes) -> float:
    began = time.thread_time()
    with contextlib.suppress(RoomcastError):
        parser(body, MAX_MESSAGE)
    return time.thread_time() - began


HARD = {
    "names": lambda size: "{" + ",".join(f'"r{n:06}":1' for n in range(size // 12)) + "}",
    "a name": lambda size: filled('{"', "r", '": 1}', size),
    "wrong messages": lambda size: filled("[", '{"rooms": 1},', "1]", size),
    "good messages": lambda size: filled("[", '{"room":"a","text":"x"},', "1]", size),
    "numbers": lambda size: filled("[", "1,", "1]", size),
    "arrays": lambda size: filled("[", "[],", "1]", size),
    "nested": lambda size: with_data("[" * (size // 2) + "]" * (size // 2)),
    "nested 900": lambda size: filled('{"room": [', "[" * 900 + "]" * 900 + ",", "1]}", size),
    "brackets of data": lambda size: batch_of("[", "[],", "1]", size),
    "nested data": lambda size: batch_of("[", "[" * 90 + "]" * 90 + ",", "1]", size),
    "floats of data": lambda size: batch_of("[", "1.7976931348623157e308,", "1]", size),
    "many numbers of data": lambda size: batch_of("[", MANY_NUMBERS, "1e000]", size),
    "strings of data": lambda size: batch_of("[", '"[\\"",', "1]", size),
    "white space": lambda size: filled("", " ", "1", size),
}
HARD_LINES = {
    "lines": lambda size: filled("", "1\n", "", size),
    "empty lines": lambda size: filled("", "\n", "1", size),
    "deep lines": lambda size: filled("", "[" * 900 + "]" * 900 + "\n", "", size),
}


@pytest.mark.parametrize(
    ("parser", "made"),
    [(draft.parse_json, made) for made in HARD.values()]
    + [(draft.parse_lines, made) for made in HARD_LINES.values()],
    ids=[*HARD, *HARD_LINES],
)
def test_a_body_costs_no_more_than_its_bytes(parser: draft.Parser, made: Callable[[int], str]) -> None:
    """Each of these once cost up to a second a mebibyte. Four times the bytes take about four times as long, and
    16 times where time grows with the square. The unit is to decode a string of a mebibyte: 0.4 ms."""
    large, small = made(MEBIBYTE).encode(), made(MEBIBYTE // 4).encode()
    plain = json.dumps("x" * MEBIBYTE).encode()
    unit = max(_cpu(lambda body, _most, _only=None: msgspec.json.decode(body), plain) for _ in range(3))
    assert cpu(parser, large) < 8 * cpu(parser, small) + 2 * unit
    assert cpu(parser, large) < 100 * unit


@pytest.mark.parametrize("made", HARD.values(), ids=HARD)
def test_a_refusal_is_short_however_much_is_wrong(made: Callable[[int], str]) -> None:
    try:
        parse(made(MEBIBYTE))
    except RoomcastError as error:
        refusal = error
    else:
        return  # some of them are only large
    assert len(refusal.faults) <= 100
    assert len(refusal.detail) < 1_000


def test_a_large_batch_is_parsed_in_steps_that_the_caller_can_pause_between() -> None:
    one = json.dumps({"room": "a", "text": "x" * 1_000})
    for steps in (
        draft.json_steps(f"[{','.join([one] * 1_000)}]".encode(), MAX_MESSAGE),
        draft.line_steps("\n".join([one] * 1_000).encode(), MAX_MESSAGE),
    ):
        pauses, request = taken(steps)
        assert len(request.drafts) == 1_000
        assert 10 <= pauses <= 40
    small = b"[%b]" % b",".join([b'{"room":"a","text":"x"}'] * 1_000)
    assert taken(draft.json_steps(small, MAX_MESSAGE))[0] >= 5
    assert taken(draft.json_steps(one.encode(), MAX_MESSAGE)) == (0, parse(one))


def test_each_of_several_large_messages_is_a_step_of_its_own() -> None:
    one = json.dumps({"room": "a", "text": "x" * 60_000})
    assert taken(draft.line_steps("\n".join([one] * 4).encode(), MAX_MESSAGE))[0] == 3


def taken(steps: draft.Steps) -> tuple[int, draft.PublishRequest]:
    """How often it paused, and its result."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return pauses, end.value
        pauses += 1
