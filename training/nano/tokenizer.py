"""The small BPE of nano: about 100 near-character pieces. `python -m training.nano.tokenizer`."""

from __future__ import annotations

import argparse
from pathlib import Path

import sentencepiece

from deployments.indextts2.text.normalizer import map_characters
from deployments.indextts2.text.tokenizer import pretokenize
from training.nano.config import CONFIG
from training.nano.workspace import Workspace


def as_read(text: str) -> str:
    """Text as the GPT reads it: punctuation reduced, upper case (indextts2-front.md 10.2 step 9, 10.3)."""
    return pretokenize(map_characters(text, chinese=False))


def make_tokenizer(texts: list[str], target: Path) -> None:
    """Trains `target` (bpe.model) with `<s>` 0, `</s>` 1, `<unk>` 2 and every character of the texts."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([as_read(text) for text in texts]),
        model_prefix=str(target.with_suffix("")),
        model_type="bpe",
        vocab_size=CONFIG["gpt"]["number_text_tokens"],
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        # Marks that the normaliser produces but the training sentences lack.
        required_chars="-…'\"?!",
        minloglevel=2,
    )
    target.with_suffix(".vocab").unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    if not workspace.bpe.exists():
        make_tokenizer(workspace.texts.read_text(encoding="utf-8").splitlines(), workspace.bpe)
        print(workspace.bpe)


if __name__ == "__main__":
    main()
