"""The official directory of an IndexTTS model as an object: its config, its files, and the tensors each stage needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deployments.core.errors import CheckpointError
from deployments.indextts2.dims import CodecDims, ConditionDims, ConditionerDims, GptDims, dims_from
from deployments.indextts2.traits import STYLE_PROJECTION, TWO, Traits, traits_of
from deployments.weights.names import holds_tensor
from deployments.weights.registry import conversion_of, missing_files

if TYPE_CHECKING:
    from torch import Tensor

SEMANTIC_LAYER = 17  # of w2v-BERT, whose output is the semantic feature (indextts2-front.md 3.3)
CACHE = "hf_cache"
# In code, not in config.yaml (indextts2.5-delta.md 1).
CODEC_25, VOCABULARY_25 = "codec.pth", "multilingual_zh_ja_yue_char_del.tiktoken"
# Names that training leaves in front of, or inside, the names of tensors.
WRAPPER, SHARD = "model", "_fsdp_wrapped_module."
# By type: the folder where one lies that config.yaml does not name, and its weights.
VOCODERS = {"bigvgan": (f"{CACHE}/bigvgan", "bigvgan_generator.pt"), "istft": ("istft", "model.safetensors")}

STAGE_FILES: dict[str, tuple[str, ...]] = {
    "text": ("bpe",),
    "speaker_encoder": ("gpt", "w2v_stat", "w2v_bert", "semantic_codec", "campplus"),
    "emotion_matrix": ("spk_matrix", "emo_matrix"),
    "emotion_text": ("qwen",),
    "gpt": ("gpt",),
    "s2mel": ("s2mel", "semantic_codec"),
    "vocoder": ("vocoder_config", "vocoder"),
}

# The stages that the graph cannot do without.
GRAPH_FILES = ("text", "speaker_encoder", "emotion_matrix", "gpt", "s2mel", "vocoder")

# By logical name: the key of config.yaml that names the file, and its published name.
_NAMED = {
    "gpt": ("gpt_checkpoint", "gpt.pth"),
    "s2mel": ("s2mel_checkpoint", "s2mel.pth"),
    "w2v_stat": ("w2v_stat", "wav2vec2bert_stats.pt"),
    "spk_matrix": ("spk_matrix", "feat1.pt"),
    "emo_matrix": ("emo_matrix", "feat2.pt"),
    "qwen": ("qwen_emo_path", "qwen0.6bemo4-merge/"),
}
_AUXILIARY = {
    "w2v_bert": "w2v-bert-2.0",
    "semantic_codec": "semantic_codec_model.safetensors",
    "campplus": "campplus_cn_common.bin",
}

FOLDER_FILES: dict[str, tuple[str, ...]] = {
    "w2v_bert": ("config.json", "preprocessor_config.json", "model.safetensors"),
    "qwen": ("config.json",),
}


class IndexTTSCheckpoint:
    """Files are looked up when asked for, so a directory may hold just the files of the stages in use.

    `traits` tell which generation it is. Logical file names: gpt, s2mel, bpe, w2v_stat, spk_matrix, emo_matrix, qwen,
    glossary, w2v_bert (folder), semantic_codec, campplus, vocoder_config, vocoder.
    """

    def __init__(self, directory: Path, *, vocoder: str | None = None) -> None:
        """Reads config.yaml. `vocoder` is a type (see VOCODERS) to use instead of the one that config.yaml names.

        Raises CheckpointError if there is no config.yaml, it is not YAML, or the type is unknown.
        """
        self.directory = directory
        self._read: dict[str, Mapping[str, Tensor]] = {}
        path = directory / "config.yaml"
        if not path.is_file():
            raise CheckpointError(missing_files(directory, ["config.yaml"], TWO.source))
        try:
            self.config: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        except yaml.YAMLError as error:
            raise CheckpointError(f"{path}: {error}") from error
        if not isinstance(self.config, dict):
            raise CheckpointError(f"{path}: a mapping is expected")
        own = self.config.get("vocoder", {}).get("type", "bigvgan")
        self.vocoder_type: str = vocoder or own
        if self.vocoder_type not in VOCODERS:
            raise CheckpointError(f"vocoder type {self.vocoder_type!r} is not one of {', '.join(VOCODERS)}")
        self._own_vocoder = self.vocoder_type == own

    @cached_property
    def traits(self) -> Traits:
        """The one place where generations are told apart: by a tensor of gpt.pth, or without it by the vocabulary."""
        section = self.config.get("gpt")
        path = self.find("gpt")
        return traits_of(
            text_tokens=section.get("number_text_tokens") if isinstance(section, Mapping) else None,
            projects_style=path is not None and holds_tensor(path, STYLE_PROJECTION),
        )

    def candidates(self, file: str) -> list[Path]:
        """Where a logical file may lie, best place first (indextts2-front.md 2)."""
        if file in _NAMED:
            key, usual = _NAMED[file]
            # Some published configs hold paths of their author's machine, or name files that were renamed.
            path = Path(_text(self.config, key, usual))
            return [self.directory / place for place in dict.fromkeys((path, Path(path.name), Path(usual)))]
        if file == "glossary":
            return [self.directory / "glossary.yaml"]
        if file == "bpe":
            return self._vocabularies()
        if file == "semantic_codec" and not self.traits.prompts_by_codes:
            return [self.directory / CODEC_25]
        if file in _AUXILIARY:
            return [self.directory / CACHE / _AUXILIARY[file], self.directory / _AUXILIARY[file]]
        if file in {"vocoder", "vocoder_config"}:
            usual, weights = VOCODERS[self.vocoder_type]
            # `vocoder.name` may be a folder here; as published it is a repository whose files lie in the cache.
            named_folder = [_text(self.config, "vocoder.name", ".")] if self._own_vocoder else []
            name = weights if file == "vocoder" else "config.json"
            return [self.directory / folder / name for folder in (*named_folder, usual)]
        raise KeyError(file)

    def _vocabularies(self) -> list[Path]:
        if self.traits.vocabulary == "tiktoken":
            return [self.directory / VOCABULARY_25]
        path = Path(_text(self.config, "dataset.bpe_model", "bpe.model"))
        return [self.directory / path, self.directory / path.name]

    def find(self, file: str) -> Path | None:
        """The path of a logical file; its `.safetensors` conversion if that is not older; None if missing."""
        for path in self.candidates(file):
            if (fast := conversion_of(path)) is not None:
                return fast
            if path.exists():
                return path
        return None

    def files(self, stage: str) -> tuple[str, ...]:
        """Logical names of what a stage, a key of STAGE_FILES, reads."""
        unused = () if self.traits.prompts_by_codes or stage != "speaker_encoder" else ("semantic_codec",)
        return tuple(file for file in STAGE_FILES[stage] if file not in unused)

    def missing(self, *stages: str) -> list[str]:
        """Files, relative to the directory, that the stages (keys of STAGE_FILES) need and lack."""
        missing: list[str] = []
        for file in dict.fromkeys(file for stage in stages for file in self.files(stage)):
            found = self.find(file)
            inner = FOLDER_FILES.get(file, ())
            if found is None:
                place = self._expected(file)
                missing += [_relative(place / name, self.directory) for name in inner or ("",)]
            else:
                missing += [_relative(found / n, self.directory) for n in inner if not (found / n).is_file()]
        return missing

    def _expected(self, file: str) -> Path:
        """Where people are told to put a file that is missing: nowhere on the machine of a config's author."""
        here = [place for place in self.candidates(file) if place.is_relative_to(self.directory)]
        if not file.startswith("vocoder"):
            return here[0]
        folders = [place for place in here if place.parent != self.directory and place.parent.is_dir()]
        return folders[0] if folders else here[-1]

    def require(self, *stages: str) -> None:
        """Raises one CheckpointError naming all files that the stages need and lack."""
        if missing := self.missing(*stages):
            raise CheckpointError(missing_files(self.directory, missing, self.traits.source))

    def path(self, file: str) -> Path:
        """Like find, but raises CheckpointError with the command that fixes it if the file is missing."""
        found = self.find(file)
        if found is None:
            place = _relative(self._expected(file), self.directory)
            raise CheckpointError(missing_files(self.directory, [place], self.traits.source))
        return found

    def tensors(self, file: str) -> Mapping[str, Tensor]:
        """The tensors of a logical file, memory-mapped once. Of a training checkpoint those of the model alone."""
        from deployments.weights.tensors import read_tensors  # noqa: PLC0415  (torch; the router reads the rest)

        if file not in self._read:
            tensors = read_tensors(self.path(file))
            self._read[file] = _own(tensors) if file in ("gpt", "semantic_codec") else tensors
        return self._read[file]

    def tensor(self, file: str, name: str = "") -> Tensor:
        """One tensor of a file.

        The empty name is that of a file which is a tensor. Raises CheckpointError.
        """
        tensors = self.tensors(file)
        if name not in tensors:
            raise CheckpointError(f"{self.path(file)}: no tensor {name or 'at the top'!r}")
        return tensors[name]

    def section(self, *names: str) -> Mapping[str, Any]:
        """A nested section of config.yaml. Raises CheckpointError if it is missing."""
        found: Any = self.config
        for name in names:
            if not isinstance(found, Mapping) or name not in found:
                raise CheckpointError(f"{self.directory / 'config.yaml'} has no section {'.'.join(names)}")
            found = found[name]
        if not isinstance(found, Mapping):
            raise CheckpointError(f"{self.directory / 'config.yaml'}: {'.'.join(names)} must be a mapping")
        return found

    @cached_property
    def codec_dims(self) -> CodecDims:
        return dims_from(CodecDims, self.section("semantic_codec"), "config.yaml, semantic_codec")

    @cached_property
    def gpt_dims(self) -> GptDims:
        dims = dims_from(GptDims, self.section("gpt"), "config.yaml, gpt")
        rows = 1 if self.traits.speaker_by_style else dims.condition_num_latent
        return replace(dims, condition_num_latent=rows, traits=self.traits)

    @cached_property
    def conditioner_dims(self) -> ConditionerDims:
        return ConditionerDims(
            model_dim=self.gpt_dims.model_dim,
            rows=self.gpt_dims.condition_num_latent,
            width=self.codec_dims.hidden_size,
            style=self.style_width,
            emotion=self._condition("emo_condition_module"),
            speaker=None if self.traits.speaker_by_style else self._condition("condition_module"),
        )

    def _condition(self, name: str) -> ConditionDims:
        return dims_from(ConditionDims, self.section("gpt", name), f"config.yaml, gpt.{name}")

    @property
    def frames_per_code(self) -> Fraction:
        return self.traits.frames_per_code

    @property
    def style_width(self) -> int:
        """Of the speaker style that CAM++ gives."""
        return int(self.section("s2mel", "style_encoder")["dim"])

    @property
    def emotion_rows(self) -> tuple[int, ...]:
        """Rows of the emotion matrices per emotion, in the order of indextts2-front.md 9."""
        rows = self.config.get("emo_num")
        if not isinstance(rows, list) or not all(type(n) is int and n > 0 for n in rows):
            raise CheckpointError("config.yaml: emo_num must be a list of whole numbers above 0")
        return tuple(rows)

    @property
    def languages(self) -> tuple[str, ...] | None:
        """ISO 639-1 codes that config.yaml lists under `languages`; None where it has no such entry, as published."""
        languages = self.config.get("languages")
        if languages is None:
            return None
        if (
            not isinstance(languages, list)
            or not languages
            or not all(isinstance(code, str) for code in languages)
        ):
            raise CheckpointError("config.yaml: languages must be a list of language codes such as en")
        return tuple(languages)

    @property
    def semantic_layer(self) -> int:
        """The w2v-BERT layer whose output is the feature: `semantic_layer`, at the top or under `nano`."""
        nano = self.config.get("nano")
        own = nano.get("semantic_layer") if isinstance(nano, Mapping) else None
        layer = self.config.get("semantic_layer", own or SEMANTIC_LAYER)
        if type(layer) is not int or layer < 1:
            raise CheckpointError("config.yaml: semantic_layer must be a whole number above 0")
        return layer


def _text(config: Mapping[str, Any], key: str, usual: str) -> str:
    """The text at a dotted key of config.yaml; `usual` where there is none."""
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) and found else usual


def _own(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What lies under `model`, if anything does; the rest is the state of an optimiser."""
    start = f"{WRAPPER}."
    wrapped = {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
    return {name.replace(SHARD, ""): value for name, value in (wrapped or tensors).items()}


def _relative(path: Path, directory: Path) -> str:
    return path.relative_to(directory).as_posix() if path.is_relative_to(directory) else str(path)
