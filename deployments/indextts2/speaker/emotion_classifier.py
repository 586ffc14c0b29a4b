"""Text to eight emotion weights by the Qwen classifier of the checkpoint (indextts2-front.md 9.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import StoppingCriteria

from deployments.core.errors import CheckpointError, DeadlineExceeded
from deployments.indextts2.speaker.emotion import EMOTIONS

SYSTEM_PROMPT = "文本情感分类"
END_OF_THINK = 151668
# The model ends by itself after about a hundred. An answer that goes on beyond this is no object of eight numbers any
# more, and is refused as a whole: half of one would leave emotions out.
MAX_NEW_TOKENS = 256
MAX_SCORE = 1.2

CHINESE = dict(zip(("高兴", "愤怒", "悲伤", "恐惧", "反感", "低落", "惊讶", "自然"), EMOTIONS, strict=True))
LABELS = {**CHINESE, **{name: name for name in EMOTIONS}}
LABEL_KEYS = ("emotion", "emotion_label", "label", "情感", "情绪")
GLOOM = ("低落", "melancholy", "melancholic", "depression", "depressed", "gloomy")
PAIR = re.compile(r"""([^\s"':.,]+)"?\s*:\s*([\d.]+)""")


def messages(text: str) -> list[dict[str, str]]:
    """The chat for the shipped template; render it with TEMPLATE_ARGUMENTS."""
    return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": text}]


TEMPLATE_ARGUMENTS = {"add_generation_prompt": True, "enable_thinking": False}


def after_thinking(token_ids: Sequence[int]) -> list[int]:
    """The ids behind the last end-of-think mark; all of them without one."""
    ids = list(token_ids)
    return ids[len(ids) - ids[::-1].index(END_OF_THINK) :] if END_OF_THINK in ids else ids


def parse_scores(text: str, answer: str) -> list[float]:
    """Eight weights in the order of EMOTIONS from the model's answer to `text`.

    They are calm 1.0 if the answer names no emotion.
    Raises ValueError if the answer gives an emotion something that is not a number.
    """
    content = _content(answer)
    if any(word in text.lower() for word in GLOOM) and isinstance(content, dict):
        # The classifier is known to confuse these two.
        content["悲伤"], content["低落"] = content.get("低落", 0.0), content.get("悲伤", 0.0)
    scores = dict.fromkeys(EMOTIONS, 0.0)
    label = _whole_label(content)
    if label is not None:
        scores[label] = 1.0
    elif isinstance(content, dict):
        _add_entries(scores, content)
    if not any(scores.values()):
        scores["calm"] = 1.0
    return [scores[name] for name in EMOTIONS]


def _content(answer: str) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return {key: float(number) for key, number in PAIR.findall(answer)}


def _label(value: object) -> str | None:
    return LABELS.get(value.strip().lower()) if isinstance(value, str) else None


def _whole_label(content: object) -> str | None:
    """The emotion of an answer that is one label, or a dict with a label and no scores."""
    if not isinstance(content, dict):
        return _label(content)
    if any(key in content for key in CHINESE):
        return None
    return next((found for key in LABEL_KEYS if (found := _label(content.get(key)))), None)


def _add_entries(scores: dict[str, float], content: Mapping[str, object]) -> None:
    for key, name in CHINESE.items():
        value = content.get(key, 0.0)
        label = _label(value)
        if label is not None:
            scores[label] = 1.0
            continue
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"the emotion classifier gave {key} the value {value!r}")
        # An entry that another one has named keeps its 1.0 (`"高兴": "悲伤"` with no entry for 悲伤).
        scores[name] = max(scores[name], min(MAX_SCORE, max(0.0, float(value))))


class EmotionClassifier:
    """Loads the model on first use: most requests do not need it. Blocking, one call at a time."""

    def __init__(self, folder: Path | None, *, device: str = "cpu", dtype: torch.dtype | None = None) -> None:
        """`folder` may be absent. dtype: float16 by default, float32 on a CPU."""
        self.folder = folder
        self.device = device
        self.dtype = dtype or (torch.float32 if device == "cpu" else torch.float16)
        self._loaded: tuple[Any, Any] | None = None

    def scores(self, text: str, wanted: Callable[[], bool] = lambda: True) -> list[float]:
        """Eight weights for `text`; given up before the next token once nothing is `wanted` any more.

        Raises CheckpointError if the model is not there, DeadlineExceeded if it was given up, ValueError if the answer
        has no end or as parse_scores.
        """
        return parse_scores(text, self.answer(text, wanted))

    @torch.inference_mode()
    def answer(self, text: str, wanted: Callable[[], bool] = lambda: True) -> str:
        """The raw answer of the model, always the likeliest: the same for the same text. Raises like `scores`."""
        tokenizer, model = self._load()
        prompt = tokenizer.apply_chat_template(messages(text), tokenize=False, **TEMPLATE_ARGUMENTS)
        inputs = tokenizer([prompt], return_tensors="pt").to(self.device)
        output = model.generate(
            **inputs,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
            use_cache=True,
            stopping_criteria=[_Unwanted(wanted)],
        )
        if not wanted():
            raise DeadlineExceeded("the emotion was not read within the time allowed", retry_after_s=2)
        generated = output[0, inputs["input_ids"].shape[1] :].tolist()
        if len(generated) >= MAX_NEW_TOKENS:
            raise ValueError(
                f"the answer of the emotion classifier has no end within {MAX_NEW_TOKENS} tokens"
            )
        return tokenizer.decode(after_thinking(generated), skip_special_tokens=True).strip()

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            if self.folder is None or not (self.folder / "config.json").is_file():
                raise CheckpointError(
                    f"emotion by text needs the classifier in {self.folder or 'qwen0.6bemo4-merge/'}, "
                    "which is not there. Run: voicegraph models pull indextts2"
                )
            from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415  (slow import)

            tokenizer = AutoTokenizer.from_pretrained(self.folder)
            model: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=self.dtype)
            self._loaded = tokenizer, model.to(self.device).eval()
        return self._loaded


class _Unwanted(StoppingCriteria):
    def __init__(self, wanted: Callable[[], bool]) -> None:
        self._wanted = wanted

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return torch.full((len(input_ids),), not self._wanted(), device=input_ids.device)
