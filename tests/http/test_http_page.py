"""The page at / in a real headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import chromium, text_of
from cluster import Cluster
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def speak(browser: webdriver.Chrome, text: str, model: str, audio_format: str = "mp3") -> None:
    Select(browser.find_element(By.ID, "model")).select_by_value(model)
    Select(browser.find_element(By.ID, "format")).select_by_visible_text(audio_format)
    field = browser.find_element(By.ID, "text")
    field.clear()
    field.send_keys(text)
    browser.find_element(By.ID, "speak").click()


@pytest.fixture
def page(kokoro: Cluster, browser: webdriver.Chrome) -> webdriver.Chrome:
    browser.get(f"{kokoro.url}/")
    WebDriverWait(browser, 10).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#voice option")) > 40)
    return browser


def test_click_gives_sound_while_more_is_made(page: webdriver.Chrome) -> None:
    """The toy takes 50 ms per tone: of its 100 tones the first are heard before the last exist."""
    speak(page, "slow " * 100, "toy")
    WebDriverWait(page, 20).until(lambda b: b.execute_script("return voicegraph.playedS") > 0.2)
    assert text_of(page, "status") == "speaking, more is being made"
    WebDriverWait(page, 30).until(lambda b: text_of(b, "status") == "complete")
    assert page.execute_script("return voicegraph.samples / 48000") == pytest.approx(10, abs=0.3)
    assert page.execute_script("return voicegraph.peak") > 0.2
    assert text_of(page, "first-audio").endswith("ms")
    assert float(text_of(page, "rtf")) > 0
    assert page.find_element(By.ID, "download").is_displayed()


@pytest.mark.parametrize("audio_format", ["mp3", "wav", "opus", "aac", "flac", "pcm"])
def test_every_format_plays(page: webdriver.Chrome, audio_format: str) -> None:
    speak(page, "one two three four five six seven eight", "toy", audio_format)
    WebDriverWait(page, 20).until(lambda b: text_of(b, "status") in ("complete", "failed"))
    assert text_of(page, "status") == "complete", text_of(page, "error")
    assert page.execute_script("return voicegraph.peak") > 0.2


def test_kokoro_speaks_on_the_page(page: webdriver.Chrome, tmp_path: Path) -> None:
    speak(page, "Hello from the page.", "kokoro")
    WebDriverWait(page, 30).until(lambda b: text_of(b, "status") == "complete")
    assert page.execute_script("return voicegraph.peak") > 0.05
    assert text_of(page, "answered") == "kokoro / af_heart"
    assert page.save_screenshot(str(tmp_path / "page.png"))


def test_a_recording_from_the_disk_is_cloned(page: webdriver.Chrome, golden_front: Path) -> None:
    recording = next(golden_front.glob("ref_spk*.wav"))
    assert not page.find_element(By.ID, "ref-text").is_displayed()
    page.find_element(By.ID, "recording").send_keys(str(recording))
    assert not page.find_element(By.ID, "voice").is_enabled()
    page.find_element(By.ID, "ref-text").send_keys("What is said in it.")
    speak(page, "Like this one.", "auto")
    WebDriverWait(page, 60).until(lambda b: text_of(b, "status") in ("complete", "failed"))
    assert text_of(page, "status") == "complete", text_of(page, "error")
    assert text_of(page, "answered") == "index / reference-audio"


def test_what_a_model_can_do_is_told_where_it_is_chosen(page: webdriver.Chrome) -> None:
    assert text_of(page, "abilities") == ""  # of auto, which is all of them
    Select(page.find_element(By.ID, "model")).select_by_value("index")
    assert "clones voices" in text_of(page, "abilities")
    Select(page.find_element(By.ID, "model")).select_by_value("kokoro")
    assert "Italian" in text_of(page, "abilities")
    assert "clones" not in text_of(page, "abilities")


def test_settings_of_the_chosen_model_are_sent(page: webdriver.Chrome) -> None:
    settings = page.find_element(By.ID, "settings")
    Select(page.find_element(By.ID, "model")).select_by_value("index")
    settings.find_element(By.TAG_NAME, "summary").click()
    Select(page.find_element(By.ID, "parameter-quality")).select_by_value('"balanced"')
    steps = page.find_element(By.ID, "parameter-diffusion_steps")
    assert (steps.get_attribute("min"), steps.get_attribute("max")) == ("1", "50")
    steps.send_keys("2")
    field = page.find_element(By.ID, "text")
    field.clear()
    field.send_keys("Hi there.")
    page.find_element(By.ID, "speak").click()
    WebDriverWait(page, 60).until(lambda b: text_of(b, "status") in ("complete", "failed"))
    assert text_of(page, "status") == "complete", text_of(page, "error")
    assert text_of(page, "answered").startswith("index / ")
    page.find_element(By.ID, "parameter-temperature").send_keys("0.001")
    page.find_element(By.ID, "speak").click()
    WebDriverWait(page, 10).until(lambda b: "temperature" in text_of(b, "error"))


def test_an_error_is_shown(page: webdriver.Chrome) -> None:
    speak(page, "!!!", "kokoro")
    WebDriverWait(page, 10).until(lambda b: "punctuation" in text_of(b, "error"))


def test_stop_ends_it(page: webdriver.Chrome) -> None:
    speak(page, "slow " * 100, "toy")
    WebDriverWait(page, 10).until(lambda b: b.execute_script("return voicegraph.samples") > 0)
    page.find_element(By.ID, "stop").click()
    assert text_of(page, "status") == "stopped"


def test_nothing_comes_from_elsewhere(page: webdriver.Chrome, kokoro: Cluster) -> None:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert all(name.startswith((kokoro.url, "blob:")) for name in page.execute_script(script))
    severe = [e for e in page.get_log("browser") if e["level"] == "SEVERE" and "400" not in e["message"]]
    assert not severe
