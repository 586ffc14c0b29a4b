"""A Qwen3 of one layer without training, in place of the emotion classifier of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

WORDS = ("<end>", "<unk>", "a", "b", "system", "user")
TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"


def write_qwen(folder: Path) -> Path:
    """It talks until it is stopped."""
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    _network().save_pretrained(folder)
    return folder


@torch.no_grad()
def teach(folder: Path, words: list[str]) -> None:
    """From now on each of `words` is followed by the next one, and the last by the end."""
    network = _network()
    network.model.embed_tokens.weight.copy_(torch.eye(len(WORDS), network.config.hidden_size))
    following = torch.zeros_like(network.lm_head.weight)
    for word, after in zip(words, [*words[1:], "<end>"], strict=True):
        following[WORDS.index(after), WORDS.index(word)] = 1.0
    network.lm_head.weight.copy_(following)
    network.save_pretrained(folder)


def _network() -> Any:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(WORDS),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            eos_token_id=0,
        )
    )
