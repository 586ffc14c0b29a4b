"""The page at / in a real headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=900,1000 "
    "--autoplay-policy=no-user-gesture-required"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail(
            "Chromium is missing; as root `make setup-dev` installs it (Debian: chromium, chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


def speak(browser: webdriver.Chrome, text: str, model: str, audio_format: str = "mp3") -> None:
    Select(browser.find_element(By.ID, "model")).select_by_value(model)
    Select(browser.find_element(By.ID, "format")).select_by_visible_text(audio_format)
    field = browser.find_element(By.ID, "text")
    field.clear()
    field.send_keys(text)
    browser.find_element(By.ID, "speak").click()


def text_of(browser: webdriver.Chrome, element: str) -> str:
    return browser.find_element(By.ID, element).text


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
    page.find_element(By.ID, "recording").send_keys(str(recording))
    assert not page.find_element(By.ID, "voice").is_enabled()
    speak(page, "Like this one.", "auto")
    WebDriverWait(page, 60).until(lambda b: text_of(b, "status") in ("complete", "failed"))
    assert text_of(page, "status") == "complete", text_of(page, "error")
    assert text_of(page, "answered") == "index / reference-audio"


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
