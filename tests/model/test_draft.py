"""What may be published, as tables: each row a body and what becomes of it."""

from __future__ import annotations

import json

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


def parse(body: bytes | str, parser: draft.Parser = draft.parse_json) -> draft.Request:
    return parser(body if isinstance(body, bytes) else body.encode(), MAX_MESSAGE)


def stored(**fields: object) -> dict[str, object]:
    """The message as its readers see it."""
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
        ("type", "\t\x01\x7f\x85\u2028"),
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
        ("type", ["", "x" * 65, ASTRAL * 65, "a\n", "a\r", "\x00", "a\x00b", "\n"]),
        ("type", ["gap", "live", "open", "error", "message", "roomcast.", "roomcast.x", "error\n", "gap\r\n"]),
    ],
)
def test_a_field_with_what_is_forbidden_is_named(field: str, values: list[str]) -> None:
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
        ('{"room": 1e999, "text": "x"}', [""]),
    ],
)
def test_all_that_is_wrong_is_named_at_once(body: str, pointers: list[str]) -> None:
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
def test_what_is_not_json_in_utf_8_is_malformed(body: bytes) -> None:
    refused(body, Malformed)
    refused(b'[{"room": "a", "text": "x"}, ' + body + b"]", Malformed)


@pytest.mark.parametrize("levels", [101, 127, 990, 1_000, 5_000, 30_000, 250_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_absurd_nesting_is_malformed(levels: int, opening: str, closing: str) -> None:
    deep = opening * levels + "1" + closing * levels
    refused(with_data(deep), Malformed)
    if levels >= 1_000:
        refused(deep, Malformed)
        refused(f'{{"room": {deep}}}', Malformed)
        refused(f'{{"x": {deep}}}', Malformed)


def test_nesting_is_what_is_inside_each_other_and_not_what_is_beside_it() -> None:
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
        (with_data(nested(200)), Malformed, ["/1/data"]),
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
    "body",
    [
        "{" + ",".join(f'"roo{n}": 1' for n in range(60_000)) + "}",
        '{"' + "r" * 1_000_000 + '": 1}',
        "[" + ",".join(['{"rooms": 1}'] * 60_000) + "]",
        "[" + ",".join(['{"rooms": 1, "texts": 2, "usr": 3, "tpye": 4, "dta": 5}'] * 1_000) + "]",
        with_data("[" + "[]," * 300_000 + "1]"),
        with_data("[" + '"[\\"",' * 100_000 + "1]"),
    ],
    ids=["names", "a name", "messages", "faults", "brackets", "strings"],
)
def test_a_large_bad_body_holds_up_nobody(body: str) -> None:
    """A megabyte that is wrong everywhere once took more than a second of the loop: the looking stops early."""
    with pytest.raises(RoomcastError) as refusal:
        parse(body)
    assert len(refusal.value.faults) <= 100
    assert len(refusal.value.detail) < 1_000
