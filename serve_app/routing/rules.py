"""The operator's rules: which model comes first for which requests (`routing` of the configuration)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import Field, field_validator, model_validator

from deployments.core.settings import Settings
from deployments.core.speech import SpeechRequest
from deployments.text.language_names import language_code
from serve_app.routing.fillers import FillerSettings
from serve_app.routing.needs import Needs
from serve_app.routing.strong_text import is_strong

UNTOLD = "en"  # where no language is named, and the script is Latin
OF_THE_TEXT = ("min_characters", "max_characters", "strong_text")  # conditions that change from text to text


class Conditions(Settings):
    """Of a rule: all that are stated hold. A request without a budget meets no condition about budgets."""

    policy: tuple[Literal["auto", "fast", "quality"], ...] = Field(
        (), description="one of these was asked for"
    )
    language: tuple[str, ...] = Field(
        (), description="one of these, named or told from the script; Latin script counts as en"
    )
    min_characters: int | None = Field(None, ge=1)
    max_characters: int | None = Field(None, ge=1)
    min_budget_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    max_budget_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    emotion: bool | None = Field(None, description="the request states an emotion")
    strong_text: bool | None = Field(None, description="exclamations, doubled marks, words in capitals")
    instructions: bool | None = Field(None, description="the request says in words how to speak")
    cloning: bool | None = Field(None, description="the request brings a recording")
    tags: tuple[str, ...] = Field((), description="the request has all of these `tags`")

    @field_validator("language")
    @classmethod
    def _codes(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        codes = [language_code(language) for language in languages]
        for written, code in zip(languages, codes, strict=True):
            if code is None:
                raise ValueError(
                    f"{written!r} is no language that is known here; write a code such as en or zh"
                )
        return tuple(code for code in codes if code)

    @model_validator(mode="after")
    def _ranges(self) -> Conditions:
        for least, most in (("min_characters", "max_characters"), ("min_budget_ms", "max_budget_ms")):
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} {low:g} is above {most} {high:g}, so no request would ever match")
        return self

    @property
    def stated(self) -> set[str]:
        return {name for name in type(self).model_fields if getattr(self, name) not in (None, ())}

    def hold(self, request: SpeechRequest, needs: Needs, policy: str) -> bool:
        budget_ms, length = request.latency_budget_ms, len(request.text)
        switches = {
            "emotion": needs.emotion,
            "instructions": request.instructions is not None,
            "cloning": needs.cloning,
        }
        return (
            (not self.policy or policy in self.policy)
            and (not self.language or (needs.language or UNTOLD) in self.language)
            and (self.min_characters is None or length >= self.min_characters)
            and (self.max_characters is None or length <= self.max_characters)
            and (self.min_budget_ms is None or (budget_ms is not None and budget_ms >= self.min_budget_ms))
            and (self.max_budget_ms is None or (budget_ms is not None and budget_ms <= self.max_budget_ms))
            and all(getattr(self, name) in (None, found) for name, found in switches.items())
            and set(self.tags) <= set(request.tags)
            # Last, because it reads the text.
            and (self.strong_text is None or is_strong(request.text) == self.strong_text)
        )


class RoutingRule(Settings):
    """For requests that leave the speaker open; with `named_voices` also for those that name a voice."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="in X-Route-Reason and the metrics")
    when: Conditions = Field(default_factory=Conditions)  # type: ignore[arg-type]
    prefer: tuple[str, ...] = Field(
        (), description="models that come first, in this order, as far as they can"
    )
    named_voices: bool = Field(False, description="decides also which model a voice means that several have")
    filler: bool = Field(False, description="answers may begin with an interjection, as with `filler: true`")

    @model_validator(mode="after")
    def _does_something(self) -> RoutingRule:
        if not self.prefer and not self.filler:
            raise ValueError(
                f"rule {self.name!r} does nothing: say which models it shall `prefer`, or `filler: true`"
            )
        if len(set(self.prefer)) < len(self.prefer):
            raise ValueError(f"rule {self.name!r} prefers a model twice")
        if self.named_voices and (texts := sorted(self.when.stated & set(OF_THE_TEXT))):
            raise ValueError(
                f"rule {self.name!r}: {' and '.join(texts)} would change the speaker of a named voice from sentence to "
                "sentence; leave out named_voices, or these conditions"
            )
        return self


class RoutingSettings(Settings):
    """How `auto`, `fast` and `quality` choose. A model that a request names is obeyed, whatever stands here."""

    long_text_chars: int | None = Field(
        1000,
        ge=1,
        description="from this length on what makes most audio per second comes first; null: never",
    )
    rules: tuple[RoutingRule, ...] = Field(
        (), description="the first rule that fits, and of which a model can serve, decides"
    )

    fillers: FillerSettings | None = Field(
        None, description="what an answer may begin with while its model works; null: nothing"
    )

    def check(self, models: Collection[str]) -> None:
        """Raises ValueError for rules of one name, and for rules about models that there are not."""
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f"routing.rules: two rules are called {rule.name!r}")
            seen.add(rule.name)
            if rule.filler and self.fillers is None:
                raise ValueError(
                    f"routing.rules: {rule.name!r} says filler: true, and there are none; add `fillers: {{}}` beside "
                    "the rules"
                )
            for model in rule.prefer:
                if model not in models:
                    raise ValueError(
                        f"routing.rules: {rule.name!r} prefers {model!r}, which is not one of {sorted(models)}"
                    )
