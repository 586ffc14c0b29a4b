"""The pages at / and /docs in a real Chromium, over fake services and under the policy that the server sends along."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from chromium import chromium, text_of
from fastapi import FastAPI
from http_fakes import CARD, OTHER, VOICES, FakeService, make_app, speech
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from deployments.core.catalogue import Catalogue, VoiceCard
from deployments.core.errors import InvalidRequest
from serve_app.config import AuthSettings
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

pytestmark = pytest.mark.browser

SCRIPT = "<img src=x onerror='document.title=\"broken into\"'>"
STRANGE = VoiceCard("strange", SCRIPT, "toy", "not a language")
WAIT_S = 30


@dataclass
class PageService(FakeService):
    """With a voice whose name is markup; `fails` is what the next request is told."""

    fails: list[Exception] = field(default_factory=list)

    async def stream(self, request: Any) -> Any:
        self.requests.append(request)
        if self.fails:
            raise self.fails.pop()
        for event in speech(1.0):
            yield event

    async def catalogue(self, *, voices: bool = True) -> Catalogue:
        return Catalogue((CARD, OTHER), (*VOICES, STRANGE), {}, "toy")


@pytest.fixture(scope="module")
def service() -> PageService:
    return PageService()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def url(service: PageService) -> Iterator[str]:
    with serving(make_app(service)) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(browser: webdriver.Chrome, url: str, service: PageService) -> Iterator[webdriver.Chrome]:
    service.requests.clear()
    browser.get(url)
    WebDriverWait(browser, WAIT_S).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#voice option")) > 2)
    yield browser
    severe = [entry for entry in browser.get_log("browser") if "400" not in entry["message"]]  # type: ignore[no-untyped-call]
    assert not [entry for entry in severe if entry["level"] == "SEVERE"]


def choose(page: webdriver.Chrome, element: str, value: str) -> None:
    Select(page.find_element(By.ID, element)).select_by_value(value)


def speak(page: webdriver.Chrome, service: PageService) -> dict[str, Any]:
    """What the request held that the click made, beside the text."""
    before = len(service.requests)
    page.find_element(By.ID, "speak").click()
    WebDriverWait(page, WAIT_S).until(lambda _: len(service.requests) > before)
    WebDriverWait(page, WAIT_S).until(lambda b: text_of(b, "status") in ("complete", "failed"))
    request = service.requests[-1]
    return {"model": request.model, "quality": request.quality, "params": dict(request.params)}


def test_it_speaks(page: webdriver.Chrome, service: PageService) -> None:
    assert speak(page, service) == {"model": "auto", "quality": None, "params": {}}
    assert text_of(page, "status") == "complete"
    assert text_of(page, "answered") == "toy / anna"
    assert page.execute_script("return voicegraph.peak") > 0.2


def test_what_the_server_is_doing_is_shown_where_it_is_asked_for(page: webdriver.Chrome) -> None:
    live = page.find_element(By.ID, "live")
    assert live.find_elements(By.TAG_NAME, "canvas") == []
    live.find_element(By.TAG_NAME, "summary").click()
    WebDriverWait(page, WAIT_S).until(lambda _: len(live.find_elements(By.CSS_SELECTOR, "canvas")) == 8)
    toy, other = live.find_elements(By.TAG_NAME, "section")
    assert [figure.text for figure in toy.find_elements(By.TAG_NAME, "dd")] == ["3", "1", "0.25 s", "0.50"]
    assert [figure.text for figure in other.find_elements(By.TAG_NAME, "dd")] == ["0", "0", "–", "–"]
    assert toy.find_element(By.TAG_NAME, "h3").text.split() == ["toy", "up"]
    assert "gpt: 2 running, 5 of 16 in use" in toy.text
    assert other.find_element(By.CLASS_NAME, "down").text == "down"


def test_settings_are_those_of_the_chosen_model(page: webdriver.Chrome) -> None:
    settings = page.find_element(By.ID, "settings")
    assert not settings.is_displayed()  # of auto nobody knows the model
    choose(page, "model", "toy")
    assert settings.is_displayed()
    settings.find_element(By.TAG_NAME, "summary").click()
    found = settings.find_elements(By.CSS_SELECTOR, "select, input")
    assert [control.get_attribute("name") for control in found] == [
        *("quality", "warmth", "steps", "breath", "style", "pitch_hz"),
    ]
    for control in found:
        label = settings.find_element(By.CSS_SELECTOR, f"label[for='{control.get_attribute('id')}']")
        assert label.text == str(control.get_attribute("name")).replace("_", " ")
        assert page.find_element(By.ID, str(control.get_attribute("aria-describedby"))) is not None
        assert control.is_displayed()
    steps = page.find_element(By.ID, "parameter-steps")
    assert (steps.get_attribute("min"), steps.get_attribute("max"), steps.get_attribute("step")) == (
        "1",
        "8",
        "1",
    )
    assert steps.get_attribute("placeholder") == "default (4)"
    assert text_of(page, "parameter-steps-hint") == "time grows with them; 1 to 8"
    assert text_of(page, "parameter-pitch_hz-hint") == "null: the voice's own; 50 to 400"
    options = [option.text for option in Select(page.find_element(By.ID, "parameter-style")).options]
    assert options == ["default (plain)", "plain", "news"]
    options = [option.text for option in Select(page.find_element(By.ID, "parameter-breath")).options]
    assert options == ["default (no)", "yes", "no"]
    choose(page, "model", "cloner")
    assert not settings.is_displayed()


def test_only_what_was_changed_is_sent(page: webdriver.Chrome, service: PageService) -> None:
    choose(page, "model", "toy")
    page.find_element(By.CSS_SELECTOR, "#settings summary").click()
    assert speak(page, service) == {"model": "toy", "quality": None, "params": {}}
    choose(page, "parameter-quality", '"fast"')
    choose(page, "parameter-breath", "false")
    choose(page, "parameter-style", '"news"')
    page.find_element(By.ID, "parameter-warmth").send_keys("0.25")
    page.find_element(By.ID, "parameter-steps").send_keys("4")  # the default, but said
    params = {"breath": False, "style": "news", "warmth": 0.25, "steps": 4}
    assert speak(page, service) == {"model": "toy", "quality": "fast", "params": params}
    steps = page.find_element(By.ID, "parameter-steps")
    steps.send_keys(Keys.CONTROL, "a")
    steps.send_keys(Keys.DELETE)
    del params["steps"]
    assert speak(page, service)["params"] == params
    choose(page, "model", "cloner")
    assert speak(page, service) == {"model": "cloner", "quality": None, "params": {}}


def test_a_value_out_of_range_is_shown_and_not_sent(page: webdriver.Chrome, service: PageService) -> None:
    choose(page, "model", "toy")
    page.find_element(By.CSS_SELECTOR, "#settings summary").click()
    page.find_element(By.ID, "parameter-steps").send_keys("9")
    page.find_element(By.CSS_SELECTOR, "#settings summary").click()
    assert not page.find_element(By.ID, "parameter-steps").is_displayed()
    page.find_element(By.ID, "speak").click()
    WebDriverWait(page, WAIT_S).until(lambda b: b.find_element(By.ID, "parameter-steps").is_displayed())
    assert page.switch_to.active_element.get_attribute("id") == "parameter-steps"
    assert not service.requests


def test_the_keyboard_alone_reaches_a_setting(page: webdriver.Chrome, service: PageService) -> None:
    choose(page, "model", "toy")
    page.find_element(By.ID, "speed").send_keys(Keys.TAB)  # to the file, and on
    ActionChains(page).send_keys(Keys.TAB).perform()
    assert page.switch_to.active_element.tag_name == "summary"
    page.switch_to.active_element.send_keys(Keys.ENTER, Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "parameter-quality"
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.TAB, "1", Keys.ENTER)
    WebDriverWait(page, WAIT_S).until(lambda _: service.requests)
    assert (service.requests[0].quality, service.requests[0].params) == ("good", {"warmth": 1})


def test_what_others_wrote_is_text(page: webdriver.Chrome, service: PageService) -> None:
    """Names of voices, messages of errors."""
    choose(page, "model", "toy")
    option = page.find_element(By.CSS_SELECTOR, "#voice option[value=strange]")
    assert option.text == f"{SCRIPT} (strange)"
    service.fails = [InvalidRequest(f"wrong: {SCRIPT}")]
    speak(page, service)
    assert text_of(page, "error") == f"wrong: {SCRIPT}"
    assert page.title == "Voicegraph"
    assert not page.find_elements(By.TAG_NAME, "img")


def test_nothing_comes_from_elsewhere(page: webdriver.Chrome, url: str) -> None:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert all(name.startswith(url) for name in page.execute_script(script))


def test_it_asks_for_a_key_where_the_server_does(
    browser: webdriver.Chrome, service: PageService, tmp_path: Path
) -> None:
    key, kept = new_key("Ada")
    KeyFile(tmp_path / "keys.json").add(kept)
    auth = AuthSettings(keys_file=str(tmp_path / "keys.json"))
    with serving(make_app(service, auth=auth)) as url:
        browser.get(url)
        field = browser.find_element(By.ID, "key")
        WebDriverWait(browser, WAIT_S).until(lambda _: field.is_displayed())
        assert "asks for an API key" in text_of(browser, "error")
        field.send_keys(key, Keys.TAB)
        WebDriverWait(browser, WAIT_S).until(
            lambda b: b.find_elements(By.CSS_SELECTOR, "#voice option[value=anna]")
        )
        assert not browser.find_element(By.ID, "error").is_displayed()
        speak(browser, service)
        assert text_of(browser, "status") == "complete"
        assert service.requests[-1].key_id == kept.id
        browser.refresh()
        WebDriverWait(browser, WAIT_S).until(
            lambda b: b.find_elements(By.CSS_SELECTOR, "#voice option[value=anna]")
        )
        browser.execute_script("sessionStorage.clear()")
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # the 401 is in it


def test_no_key_is_asked_for_where_none_is_needed(page: webdriver.Chrome) -> None:
    assert not page.find_element(By.ID, "key").is_displayed()


def test_the_documentation_is_drawn(browser: webdriver.Chrome, url: str) -> None:
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(f"{url}/docs")
    WebDriverWait(browser, WAIT_S).until(lambda b: len(b.find_elements(By.CLASS_NAME, "opblock")) > 5)
    blocked = [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert not [message for message in blocked if "Content Security Policy" in message], blocked
