"""What is heard: Kokoro through the full HTTP path, transcribed by moonshine-base."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import jiwer
import pytest
from cluster import Cluster
from measuring import needs

from serve_app.audio.encoders import wav_header
from serve_app.quality.plain_words import plain_words
from serve_app.quality.recogniser import Recogniser
from serve_app.quality.recording import decode

pytestmark = pytest.mark.weights

MAX_WER = 0.04
SENTENCES = (
    "The ferry leaves the harbour at seven every morning.",
    "She bought fresh bread, a jar of honey, and three lemons.",
    "Please close the window before the rain comes in.",
    "Nobody expected the old clock to strike again.",
    "My brother repairs bicycles in a small shop near the station.",
    "The children built a castle of sand close to the water.",
    "Can you tell me where the nearest library is?",
    "After dinner we walked along the river until it was dark.",
    "The museum opens late on Thursdays and is closed on Mondays.",
    "A gentle wind moved the leaves of the tall trees.",
    "He wrote the letter twice, but never sent it.",
    "What a wonderful surprise to see you here!",
    "The engineer explained how the bridge carries its load.",
    "Our neighbours have two dogs and a very loud parrot.",
    "It took us almost an hour to find the right road.",
    "The coffee was strong, so she added some milk.",
    "Winter arrived early, and snow covered the fields.",
    "They played music in the garden while the sun went down.",
    "I would rather read a good book than watch television.",
    "The doctor told him to rest and drink plenty of water.",
)


@pytest.fixture(scope="module")
def hear() -> Callable[[bytes], str]:
    """Words of an audio file."""
    needs("wer")
    recogniser = Recogniser()
    return lambda data: words(recogniser.hear(decode(data)))


def words(text: str) -> str:
    return " ".join(plain_words(text))


def speak(cluster: Cluster, text: str, audio_format: str) -> bytes:
    body = {
        "model": "kokoro",
        "input": text,
        "response_format": audio_format,
        "stream": audio_format != "wav",
    }
    answer = httpx.post(f"{cluster.url}/v1/audio/speech", json=body, timeout=60)
    answer.raise_for_status()
    return answer.content


def test_word_error_rate(kokoro: Cluster, hear: Callable[[bytes], str]) -> None:
    heard = [hear(speak(kokoro, sentence, "wav")) for sentence in SENTENCES]
    wanted = [words(sentence) for sentence in SENTENCES]
    wer = jiwer.wer(wanted, heard)
    print(f"WER {wer:.2%}")
    misheard = [pair for pair in zip(wanted, heard, strict=True) if pair[0] != pair[1]]
    assert wer <= MAX_WER, misheard


@pytest.mark.parametrize(
    ("audio_format", "sentence"), zip(["mp3", "opus", "aac", "flac"], SENTENCES[1:5], strict=True)
)
def test_words_survive_every_format(
    kokoro: Cluster, hear: Callable[[bytes], str], audio_format: str, sentence: str
) -> None:
    assert hear(speak(kokoro, sentence, audio_format)) == words(sentence)


def test_words_survive_pcm_and_segmentation(kokoro: Cluster, hear: Callable[[bytes], str]) -> None:
    """Three sentences are spoken as several segments; nothing is lost or doubled at the joins."""
    text = " ".join(SENTENCES[4:7])
    body = {"model": "kokoro", "input": text, "response_format": "pcm"}
    pcm = httpx.post(f"{kokoro.url}/v1/audio/speech", json=body, timeout=60).content
    heard = hear(wav_header(24_000, len(pcm) // 2) + pcm)
    assert jiwer.wer(words(text), heard) <= MAX_WER, heard


def test_buffered_and_streamed_samples_are_equal(kokoro: Cluster) -> None:
    """With a seed; without one, pieces follow the clock of the listener."""
    text = SENTENCES[1] + " " + SENTENCES[2]
    body = {"model": "kokoro", "input": text, "response_format": "pcm", "seed": 1}
    answers = [
        httpx.post(f"{kokoro.url}/v1/audio/speech", json={**body, "stream": stream}, timeout=60).content
        for stream in (True, False)
    ]
    assert answers[0] == answers[1]
