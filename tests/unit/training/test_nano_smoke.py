"""The training chain on synthetic recordings: a few steps each, resumed once, exported, loaded as served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.encoder import load_semantic_codec
from deployments.indextts2.gpt.model import load_gpt
from deployments.indextts2.s2mel.networks import load_s2mel
from deployments.indextts2.speaker.conditioner import load_conditioner
from deployments.networks.istft import load_istft
from training.nano import (
    code_writer,
    codec,
    codes,
    encoder,
    export,
    features,
    generated,
    gpt,
    gpt_speech,
    latents,
    listener,
    pack,
    s2mel,
    sharpen,
    tokenizer,
    tracks,
    vocoder,
    written,
)
from training.nano.acoustics import log_mel
from training.nano.chain import Chain
from training.nano.config import PHONES
from training.nano.optimise import Schedule
from training.nano.references import STOCK_VOICES
from training.nano.restore import restore
from training.nano.s2mel_data import VARIANTS
from training.nano.shard import load_shard, save_shard
from training.nano.train_loop import Budget, Training, average_of, train
from training.nano.workspace import Workspace

UNITS = 60  # of 25 ms
ALPHABET = dict(enumerate([" ", *PHONES], start=16))


def recording(index: int) -> dict[str, object]:
    """A tone whose pitch depends on the speaker, with made-up labels."""
    rng = np.random.default_rng(index)
    samples = int(UNITS * 0.025 * 22_050)
    time = np.arange(samples) / 22_050
    wave = 0.3 * np.sin(2 * np.pi * (120 + 60 * (index % 2)) * time) + 0.05 * rng.standard_normal(samples)
    return {
        "text": "The quick brown fox jumps over the lazy dog."[: 20 + index],
        "speaker": list(STOCK_VOICES)[index % 2],
        "symbols": np.array([0, *rng.integers(17, 16 + len(PHONES), 10), 0], np.uint8),
        "durations": np.full(12, UNITS // 12, np.uint8),
        "f0_hz": np.full(2 * UNITS, 150, np.float16),
        "energy": rng.uniform(0, 6, 2 * UNITS).astype(np.float16),
        "wave": (wave * 32767).astype(np.int16),
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("nano"))
    for split, first in (("train", 0), ("held_out", 6)):
        rows = [recording(index) for index in range(first, first + 6)]
        save_shard(workspace.audio(split) / "00000.npz", rows)
        save_shard(
            workspace.features(split) / "00000.npz", [features.feature_row(row, ALPHABET) for row in rows]
        )
        styles = [
            {"speaker": row["speaker"], "style": np.full(192, index / 10, np.float32)}
            for index, row in enumerate(rows)
        ]
        save_shard(workspace.styles(split) / "00000.npz", styles)
    torch.save({"head.conv1.weight": torch.zeros(2, 2)}, workspace.campplus)
    alphabet = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    texts = [f"{a}{b} {b}{c}{a}, {c}{b}. " for a in alphabet for b in alphabet for c in "aeiou"]
    tokenizer.make_tokenizer([*texts, "The quick brown fox jumps over the lazy dog."], workspace.bpe)
    pretended_teacher(workspace.kokoro)
    unheard = {**recording(20), "text": "Lazy dogs."}
    save_shard(workspace.scores / "00000.npz", [{k: v for k, v in unheard.items() if k != "wave"}])
    return workspace


def pretended_teacher(folder: Path) -> None:
    """Alphabet and voices, all that is read of it here."""
    (folder / "voices").mkdir(parents=True)
    for voice in [*(f"af_{letter}" for letter in "abcd"), *(f"am_{letter}" for letter in "abcd")]:
        np.random.default_rng(len(voice)).normal(size=(510, 256)).astype(np.float32).tofile(
            folder / "voices" / f"{voice}.bin"
        )
    vocabulary = {symbol: number for number, symbol in ALPHABET.items()}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))


def work(training: Training, folder: Path, steps: int) -> dict[str, float]:
    return train(training, folder, Budget(steps=steps), "cpu")


def test_labels_cover_the_recording(workspace: Workspace) -> None:
    row = load_shard(workspace.features("train") / "00000.npz")[0]
    assert len(row["phone"]) == len(row["input"]) == len(row["prosody"])
    assert set(row["phone"][20:40]) - {0}
    assert row["mel"].shape[1] == 80


def test_stress_gives_its_time_to_the_next_phone() -> None:
    track, sequence = features.phone_track(
        ["", "ˈ", "A", "t", " ", "s", "."], np.array([1, 1, 2, 1, 2, 1, 3])
    )
    a, t, s = (PHONES.index(symbol) + 1 for symbol in "Ats")
    assert track.tolist() == [0, a, a, a, t, t, s, s, 0, 0, 0]
    assert sequence.tolist() == [a, t, s]


def test_schedule_ends_annealed() -> None:
    schedule = Schedule(1e-3, warmup_steps=10, floor=0.1)
    assert schedule.at(0, 0.0) == pytest.approx(1e-4)
    assert schedule.at(500, 0.0) == pytest.approx(1e-3)
    assert schedule.at(500, 1.0) == pytest.approx(1e-4)


def test_edits() -> None:
    assert gpt_speech.edits([1, 2, 3], [1, 3, 4]) == 2
    assert gpt_speech.edits([], [1]) == 1


@pytest.mark.slow
def test_chain(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpt_speech, "CHECKED", 1)
    monkeypatch.setattr(gpt_speech, "MAX_GENERATED", 8)
    work(encoder.EncoderTraining(workspace, "cpu"), workspace.run("encoder"), 2)
    resumed = encoder.EncoderTraining(workspace, "cpu")
    figures = work(resumed, workspace.run("encoder"), 3)
    assert resumed.descent.steps == 3
    assert 0 <= figures["accuracy"] <= 1
    assert work(resumed, workspace.run("encoder"), 3) == {}

    figures = work(codec.CodecTraining(workspace, "cpu"), workspace.run("codec"), 4)
    assert 0 <= figures["purity"] <= 1
    codes.freeze(workspace)
    network = codes.load_frozen(workspace)
    for split in ("train", "held_out"):
        rows = load_shard(workspace.features(split) / "00000.npz")
        save_shard(workspace.codes(split) / "00000.npz", [codes.code_row(network, row) for row in rows])

    assert np.isfinite(work(vocoder.VocoderTraining(workspace, "cpu"), workspace.run("vocoder"), 3)["mel_l1"])
    other_kind = vocoder.VocoderTraining(workspace, "cpu", vocoder.KINDS["bigvgan"])
    assert np.isfinite(work(other_kind, workspace.run("bigvgan"), 1)["mel_l1"])
    writes_codes(workspace)
    speech = gpt.GptTraining(workspace, "cpu", 400)
    assert np.isfinite(work(speech, workspace.run("gpt"), 2)["speech"])
    assert (len(speech.data), len(speech.unrecorded)) == (6, 1)

    reads_the_latents(workspace, monkeypatch)
    learns_from_generated_mels(workspace)
    monkeypatch.setattr("sys.argv", ["export", "--root", str(workspace.root)])
    export.main()
    loads_as_served(workspace)
    goes_on_from_the_export(workspace, tmp_path)


def writes_codes(workspace: Workspace) -> None:
    figures = work(code_writer.WriterTraining(workspace, "cpu"), workspace.run("code_writer"), 2)
    assert 0 <= figures["right"] <= 1
    writer = written.Writer(workspace)
    written.write_recordings(workspace, writer, "train")
    written.write_recordings(workspace, writer, "held_out")
    written.write_scores(workspace, writer)
    (said,) = load_shard(workspace.written("scores") / "00000.npz")
    assert len(said["codes"]) == len(said["phone"]) == tracks.code_count(np.array([UNITS]))
    heard = load_shard(workspace.codes("train") / "00000.npz")
    beside = load_shard(workspace.written("train") / "00000.npz")
    assert [len(row["codes"]) for row in beside] == [len(row["codes"]) for row in heard]


def reads_the_latents(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "held_out"):
        latents.write_latents(workspace, split)
    made = load_shard(workspace.latents("train") / "00000.npz")[0]
    coded = load_shard(workspace.codes("train") / "00000.npz")[0]
    assert {made[variant].shape for variant in VARIANTS} == {(len(coded["codes"]), 256)}
    monkeypatch.setattr(s2mel, "CONTINUED", 0.5)
    training = s2mel.S2MelTraining(workspace, "cpu", batch=2)
    assert np.isfinite(work(training, workspace.run("s2mel"), 3)["sampled_mel_l1"])
    assert training.networks.gpt_layer[2].weight.abs().max() > 0  # it began as zero
    heard = work(listener.ListenerTraining(workspace, "cpu"), workspace.run("listener"), 2)
    assert 0 <= heard["right"] <= 1
    sharpening = sharpen.Sharpening(workspace, "cpu", batch=2)
    blurred = average_of(workspace.run("s2mel"))
    assert np.isfinite(work(sharpening, workspace.run("sharpen"), 3)["sampled_mel_l1"])
    sharpened = average_of(workspace.s2mel)
    assert any((sharpened[name] != value).any() for name, value in blurred.items())
    travels(workspace, sharpened)
    chain = Chain(workspace, "held_out", steps=1, guidance=0.0)
    whole = chain.resynthesis(0)
    assert np.abs(whole - chain.codes_alone(0)).max() > 0
    assert len(chain.chunks(0)) == len(chain.written(0)) == len(whole)


def travels(workspace: Workspace, sharpened: dict[str, torch.Tensor]) -> None:
    """To another machine, and the weights back."""
    away = Workspace(workspace.root / "away")
    assert pack.pack(workspace, away, "s2mel", megabytes=50) == 1
    assert (away.run("listener") / "checkpoint.pt").exists()
    assert pack.slim(workspace, "sharpen", away.root) == 1
    pack.take(away, "sharpen", away.root)
    for name, value in average_of(away.s2mel).items():
        torch.testing.assert_close(value, sharpened[name], atol=2e-3, rtol=2e-3)


def learns_from_generated_mels(workspace: Workspace) -> None:
    generated.write_generated(workspace, 1)
    training = vocoder.VocoderTraining(workspace, "cpu")
    mel, wave = training.data.draw(4, 8)
    made = (mel - log_mel(wave)).abs().amax((1, 2)) > 1e-3
    assert made.tolist() == [True, True, False, False]
    assert np.isfinite(work(training, workspace.run("vocoder"), 4)["mel_l1"])


def loads_as_served(workspace: Workspace) -> None:
    """The strict loaders take every file, and the codes of a loaded codec are those of the trainer."""
    folder = workspace.export
    checkpoint = IndexTTSCheckpoint(folder)
    load_s2mel(checkpoint.path("s2mel"), checkpoint.config)
    load_gpt(checkpoint.tensors("gpt"), checkpoint.gpt_dims, source="gpt.pth")
    width = checkpoint.codec_dims.hidden_size
    load_conditioner(checkpoint.tensors("gpt"), checkpoint.conditioner_dims, source="gpt.pth")
    load_istft(folder / "istft/model.safetensors", json.loads((folder / "istft/config.json").read_text()))
    served = load_semantic_codec(
        checkpoint.tensors("semantic_codec"), checkpoint.codec_dims, source="codec"
    ).float()
    network = codes.load_frozen(workspace)
    given = torch.randn(1, 20, width, generator=torch.Generator().manual_seed(1))
    same = (served.quantize(given)[0] == network.nearest(network.points(given))).float().mean()
    assert same > 0.9
    assert json.loads((folder / "nano.json").read_text())["trainings"]["encoder"]["steps"] == 3
    assert export.merged_ranges([[0, 3]], workspace.codes("train")) == [[0, 3]]
    assert export.merged_ranges([[3, 3]], workspace.codes("train")) == [[0, 0], [3, 3]]
    card = (folder / "README.md").read_text()
    assert "not measured yet" in card
    assert all(line in card for line in ("| encoder | 3 |", "`s2mel.pth`", "WordNet"))
    voices = sorted(path.name for path in (folder / "voices").iterdir())
    assert voices == [f"{name}.flac" for name in list(STOCK_VOICES.values())[:2]]


def goes_on_from_the_export(workspace: Workspace, root: Path) -> None:
    """Another root begins with the published weights, and its trainings with another schedule."""
    other = Workspace(root)
    restore(workspace.export, other)
    for name, trained in (
        ("gpt", workspace.run("gpt")),
        ("s2mel", workspace.s2mel),
        ("vocoder", workspace.run("vocoder")),
        ("bigvgan", workspace.run("bigvgan")),
    ):
        state = average_of(other.run(name))
        for key, value in average_of(trained).items():
            torch.testing.assert_close(state[key], value, atol=2e-3, rtol=2e-3, msg=f"{name}: {key}")
    shutil.copytree(workspace.audio("train"), other.audio("train"), dirs_exist_ok=True)
    shutil.copytree(workspace.audio("held_out"), other.audio("held_out"), dirs_exist_ok=True)
    shutil.copytree(workspace.run("sharpen"), other.run("sharpen"), dirs_exist_ok=True)
    assert export.summary(other, workspace.export)["trainings"]["sharpen"]["steps"] == 6
    training = vocoder.VocoderTraining(other, "cpu")
    assert np.isfinite(work(training, other.run("vocoder"), 5)["mel_l1"])
    assert not training.fresh
    with pytest.raises(FileExistsError, match="vocoder"):
        restore(workspace.export, other)


def test_phones_of_frames() -> None:
    """20 ms of the encoder's frames, whose middles are 17.5 ms late, against 11.6 ms of the mel's."""
    found = listener.phones_of_frames(np.array([1, 2, 3], np.uint8), 7)
    assert found.tolist() == [1, 1, 2, 2, 3, 3, 3]
