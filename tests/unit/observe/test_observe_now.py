from __future__ import annotations

from deployments.core.metrics import StageMetrics
from serve_app.observe.now import RECENT, RecentSpeech, StageNow, model_now
from serve_app.routing.decision import Load

HEARD = {
    "gpt": [
        StageMetrics("a", rows=8, held_rows=3, waiting_rows=1),
        StageMetrics("b", rows=8, held_rows=1, waiting_rows=2),
    ]
}


def test_stages_are_summed_over_their_replicas() -> None:
    now = model_now("m", Load(None, None, True, False), 4, RecentSpeech(), {"gpt": 3, "vocoder": 1}, HEARD)
    assert (now.model, now.state, now.requests, now.first_audio_s, now.rtf) == ("m", "up", 4, None, None)
    assert now.stages == {"gpt": StageNow(3, 16, 4, 3), "vocoder": StageNow(1, 0, 0, 0)}


def test_replicas_are_those_heard_of_where_nobody_counts_them() -> None:
    now = model_now("m", Load(None, None, True, False), 0, RecentSpeech(), {}, HEARD)
    assert now.stages["gpt"].replicas == 2


def test_medians_are_of_the_last_requests_of_a_model() -> None:
    recent = RecentSpeech()
    recent.add("m", 100.0, 100.0)
    for number in range(RECENT):
        recent.add("m", 0.1 * (number % 3), 0.5)
    recent.add("other", 9.0, 9.0)
    assert recent.medians("m") == (0.1, 0.5)
    assert recent.medians("nobody") == (None, None)
