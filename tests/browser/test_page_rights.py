"""The page on a server with rights: its explanations, its field for a token, and the secrets that it never
shows."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.rights import Backend, ticket_of
from tests.browser.steps import in_one_browser, open_room, state, texts
from tests.browser.test_manners import axe_in_views
from tests.running import Running


def ticket(backend: Backend, server: Running, *rooms: str, **fields: object) -> str:
    return ticket_of(backend.ticket(server, *rooms, publish=["chat"], sub="42", user="ada", **fields))  # type: ignore[arg-type]


def give(page: Page, token: str) -> None:
    page.locator("#token").fill(token)
    page.keyboard.press("Enter")


def test_a_room_that_needs_a_token_says_so_and_opens_with_one(
    page: Page, backend: Backend, keyed: Running
) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    backend.publish(keyed, "for ada")
    page.goto(f"{keyed.url}/?room=user/42")
    expect(page.locator("#access-why")).to_have_text("You need a token here.")
    expect(page.locator("#state-text")).to_have_text("No access")
    token = ticket(backend, keyed, "user/42", "chat")
    give(page, token)
    expect(texts(page)).to_have_text(["for ada"])
    expect(page.locator("#access")).to_be_hidden()
    expect(page.locator("#who")).to_have_text("ada")
    expect(page.locator("#followers")).to_be_hidden()  # only this page follows
    expect(page.locator("#followers-open")).to_be_hidden()
    assert not [request.url for request in asked if token in request.url]
    assert token not in page.url
    page.reload()  # the token stays in this tab
    expect(texts(page)).to_have_text(["for ada"])
    page.locator("#access-open").click()
    page.locator("#access-forget").click()
    expect(page.locator("#access-why")).to_have_text("You need a token here.")
    expect(texts(page)).to_have_count(0)


@in_one_browser
def test_the_rooms_of_a_token_are_listed_and_one_is_opened(page: Page, backend: Backend, keyed: Running) -> None:
    backend.publish(keyed, "moin", "chat")
    page.goto(keyed.url)
    give(page, ticket(backend, keyed, "chat", "user/42"))
    expect(page.locator("#room-title")).to_have_text("chat")
    expect(state(page)).to_have_attribute("data-state", "live")
    expect(page.locator("#rooms .room-name")).to_have_text(["chat", "user/42"])
    expect(texts(page)).to_have_text(["moin"])
    page.locator("#text").fill("as ada")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["moin", "as ada"])
    page.locator("#rooms a[data-room='user/42']").click()
    expect(page.locator("#text")).to_have_attribute("placeholder", "You cannot write to user/42")
    expect(page.locator("#submit")).to_be_disabled()


@in_one_browser
def test_a_room_beyond_the_token_is_refused_and_the_others_stay(
    page: Page, backend: Backend, keyed: Running
) -> None:
    backend.publish(keyed, "for ada")
    page.goto(f"{keyed.url}/?room=user/42")
    give(page, ticket(backend, keyed, "user/42"))
    expect(texts(page)).to_have_text(["for ada"])
    page.locator("#room").fill("user/7")
    page.keyboard.press("Enter")
    expect(page.locator("#access-why")).to_contain_text("gives no access here")
    page.locator("#rooms a[data-room='user/42']").click()
    expect(page.locator("#access")).to_be_hidden()
    backend.publish(keyed, "still")
    expect(texts(page)).to_have_text(["for ada", "still"])


@in_one_browser
@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (1, "Ihr Token ist abgelaufen. Bitte geben Sie ein neues ein."),
        (0, "Der Server akzeptiert dieses Token nicht."),
    ],
)
def test_a_bad_token_is_reported_in_the_readers_language(
    browser: Browser, backend: Backend, keyed: Running, seconds: int, says: str
) -> None:
    with browser.new_context(locale="de-DE") as context:
        page = context.new_page()
        page.goto(f"{keyed.url}/?room=user/42")
        expect(page.locator("#access-why")).to_have_text("Hier ist ein Token erforderlich.")
        give(page, ticket(backend, keyed, "user/42", seconds=seconds) if seconds else "rct1_bad")
        expect(page.locator("#access-why")).to_have_text(says)
        expect(page.locator("#state-text")).to_have_text("Kein Zugang")


@in_one_browser
def test_the_code_examples_take_a_token_but_never_show_the_readers_own(
    page: Page, backend: Backend, keyed: Running
) -> None:
    page.goto(f"{keyed.url}/?room=chat")
    token = ticket(backend, keyed, "chat")
    give(page, token)
    expect(page.locator("#ways code").first).to_contain_text('-H "Authorization: Bearer $ROOMCAST_TOKEN"')
    page.locator("#use-open").click()
    expect(page.locator("#snippets")).to_contain_text('-H "Authorization: Bearer $ROOMCAST_TOKEN"')
    assert token not in page.content()


@pytest.mark.only_in("chromium", because="Firefox's automation has no colour schemes")
def test_axe_finds_nothing_where_a_token_is_asked_for(page: Page, backend: Backend, keyed: Running) -> None:
    page.goto(f"{keyed.url}/?room=user/42")
    expect(page.locator("#access-why")).to_be_visible()
    assert axe_in_views(page, 320) == []
    give(page, ticket(backend, keyed, "chat"))
    expect(page.locator("#access-why")).to_contain_text("gives no access here")
    expect(page.locator("#who")).to_have_text("ada")
    assert axe_in_views(page, 320) == []


@in_one_browser
def test_without_rights_no_field_for_a_token_is_shown(page: Page, server: Running) -> None:
    open_room(page, server)
    expect(page.locator("#access")).to_be_hidden()
    expect(page.locator("#identity")).to_be_hidden()
    expect(page.locator("#submit")).to_be_enabled()
