"""docs/routing.md says what the policy does: its reasons, its conditions, its figures and its example."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from docs_pages import page, rows, section, table

from deployments.core.catalogue import ModelCard
from deployments.core.speech import SpeechRequest
from deployments.text.language import script_language
from serve_app.config import Config
from serve_app.http.schema import SpeechBody
from serve_app.routing import circuit, health, load, opening, sleep
from serve_app.routing.needs import Needs
from serve_app.routing.policy import Policy, decide
from serve_app.routing.rules import Conditions

PAGE = "docs/routing.md"
EXAMPLES = [row for row in rows(section(PAGE, "## Rules")) if row[0].startswith("`{")]


def test_every_reason_is_told() -> None:
    code = page("serve_app/routing/order.py")
    reasons = set(re.findall(r'Choice\([\w.\[\]]+, f?"([^"]+)"', code))
    assert {"default", "voice", "explicit", "rule:{rule.name}"} <= reasons
    told = page(PAGE)
    assert [reason for reason in reasons if f"`{reason.replace('{rule.name}', '<name>')}`" not in told] == []


def test_every_condition_is_told() -> None:
    names = {name for row in rows(section(PAGE, "## Rules")) for name in re.findall(r"`(\w+)`", row[0])}
    assert set(Conditions.model_fields) <= names
    assert set(table(section(PAGE, "## Rules"))) <= set(Conditions.model_fields)


def test_the_figures_are_those_of_the_code() -> None:
    text = re.sub(r"\s+", " ", page(PAGE))
    assert health.BUSY_S == 10
    assert "within the last ten seconds" in text
    assert health.FAULTS_IN_A_ROW == 3
    assert "three in a row" in text
    assert circuit.FIRST_INTERVAL_S == 1
    assert "after one second" in text
    assert circuit.GROWTH == 2
    assert f"double up to {circuit.LONGEST_INTERVAL_S:g} seconds" in text
    assert opening.LOOK_EVERY_S == 2
    assert "every two seconds" in text
    assert opening.SHARE == 0.5
    assert "half of its time" in text
    assert f"last {load.RECENT} first audios" in text
    assert sleep.LATE == 2
    assert "after twice the usual time is down" in text


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0])
def test_the_example_decides_as_the_page_says(row: list[str]) -> None:
    written, model, reason = row
    (block,) = re.findall(r"```yaml\n(.*?)```", page(PAGE), re.DOTALL)
    config = Config.model_validate(yaml.safe_load(block)["applications"][0]["args"])
    cards = (
        ModelCard("kokoro", "kokoro", 24_000, ("en", "zh"), "a", quality_rank=10),
        ModelCard(
            "indextts2", "indextts2", 22_050, ("en",), "b", cloning=True, emotion=True, quality_rank=50
        ),
    )
    body = SpeechBody.model_validate(json.loads(written.strip("`")))
    request = SpeechRequest("id", body.input, model=body.model, tags=tuple(body.tags))
    policy = Policy(cards, config.model_aliases, config.default_model, config.routing)
    choice = decide(request, Needs(language=script_language(request.text)), policy, {}).choices[0]
    assert (choice.model, f"`{choice.reason}`") == (model, reason)
