"""Reference recordings to everything the later stages need of a voice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.indextts2.checkpoint import FOLDER_FILES, IndexTTSCheckpoint
from deployments.indextts2.codec.encoder import SemanticCodec, load_semantic_codec
from deployments.indextts2.speaker.conditioner import Conditioner, load_conditioner
from deployments.indextts2.speaker.emotion import EmotionMatrix, Vector
from deployments.indextts2.speaker.features import SemanticFeatures, load_semantic_features
from deployments.indextts2.speaker.reference import emotion_route, mel_dims, speaker_route
from deployments.networks.campplus import Campplus, load_campplus
from deployments.networks.mel import LogMel
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.weights.identity import identities

# To be raised when a change of code changes the arrays: profiles that are stored are then made again.
CODE_VERSION = 3


class VoiceEncoder:
    """The networks of this stage on one device. Stateless: the result for a recording depends on it alone.

    w2v-BERT, by far the largest part, runs as one masked batch. What follows is run per recording, because
    the convolutions of the published conformer let padding leak into shorter rows.
    """

    def __init__(
        self,
        features: SemanticFeatures,
        codec: SemanticCodec | None,
        conditioner: Conditioner,
        campplus: Campplus,
        *,
        log_mel: LogMel,
        device: torch.device | str = "cpu",
    ) -> None:
        """`codec`: None where the mel stage takes features of the recording instead of codes."""
        self.features = features
        self.codec = codec
        self.conditioner = conditioner
        self.campplus = campplus
        self.log_mel = log_mel
        self.device = torch.device(device)

    @classmethod
    def load(
        cls,
        checkpoint: IndexTTSCheckpoint,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> VoiceEncoder:
        """Every weight file is mapped once. Raises CheckpointError if one is missing or of other dimensions.

        `dtype` is that of the conditioner, the part which belongs to the GPT; the rest stays in float32 (11).
        """
        checkpoint.require("speaker_encoder")
        return cls(
            load_semantic_features(
                checkpoint.path("w2v_bert"),
                checkpoint.tensors("w2v_stat"),
                layer=checkpoint.semantic_layer,
                device=device,
            ),
            _load_codec(checkpoint, device=device) if checkpoint.traits.prompts_by_codes else None,
            load_conditioner(
                checkpoint.tensors("gpt"),
                checkpoint.conditioner_dims,
                source=str(checkpoint.path("gpt")),
                device=device,
                dtype=dtype,
            ),
            load_campplus(checkpoint.tensors("campplus"), device=device),
            log_mel=LogMel(mel_dims(checkpoint.config), device=device),
            device=device,
        )

    @torch.inference_mode()
    def encode(self, recordings: Sequence[ReferenceAudio]) -> list[VoiceProfile]:
        """Speaker references, of which the first 15 s are used, to profiles without a key, in the same order.

        Arrays, float32 unless said: speaker_latents (n,D); speaker_emotion (D,) = e(F_spk); reference_emotion (D,) =
        the same recording through the emotion route, which is the emotion reference of a request without one;
        style (S,); mel (bands,P); and what the mel stage regulates to the length of the mel: codes (T,) int64, from
        which it makes S_ref again, or features (T,W).
        Raises InvalidRequest if a recording is too short to be encoded.
        """
        speaker = [speaker_route(each.samples, each.sample_rate_hz) for each in recordings]
        emotion = [emotion_route(each.samples, each.sample_rate_hz, param="voice") for each in recordings]
        features = self.features([*(audio.feature_rate for audio in speaker), *emotion])
        profiles = []
        for audio, own, through_emotion in zip(
            speaker, features[: len(speaker)], features[len(speaker) :], strict=True
        ):
            style = self._style(audio.feature_rate)
            arrays: dict[str, npt.NDArray[np.generic]] = {
                "speaker_latents": _array(self.conditioner.speaker_latents(*self._row(own), style)),
                "speaker_emotion": _array(self.conditioner.emotion(*self._row(own))),
                "reference_emotion": _array(self.conditioner.emotion(*self._row(through_emotion))),
                "style": _array(style),
                **self._prompt(own),
                "mel": _array(self.log_mel(audio.mel_rate.to(self.device))),
            }
            profiles.append(VoiceProfile(arrays))
        return profiles

    @torch.inference_mode()
    def encode_emotion(self, recordings: Sequence[ReferenceAudio]) -> list[Vector]:
        """Emotion references, of which the first 15 s are used, to e(F_emo) (D,) each.

        Raises InvalidRequest if one is too short to be encoded.
        """
        audio = [emotion_route(each.samples, each.sample_rate_hz) for each in recordings]
        return [_array(self.conditioner.emotion(*self._row(row))) for row in self.features(audio)]

    def _prompt(self, features: Tensor) -> dict[str, npt.NDArray[np.generic]]:
        if self.codec is None:
            return {"features": _array(features[None])}
        codes, _ = self.codec.quantize(features[None])
        return {"codes": codes[0].cpu().numpy()}

    def _row(self, features: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.conditioner.emo_layer.weight.dtype
        return features[None].to(dtype), torch.tensor([len(features)], device=features.device)

    def _style(self, audio: Tensor) -> Tensor:
        """16 kHz audio (1,N) to the CAM++ style (1,S)."""
        return self.campplus(self.campplus.features(audio[0].to(self.device))[None])


def _array(batch_of_one: Tensor) -> Vector:
    return batch_of_one[0].float().cpu().numpy()


def _load_codec(checkpoint: IndexTTSCheckpoint, *, device: torch.device | str) -> SemanticCodec:
    return load_semantic_codec(
        checkpoint.tensors("semantic_codec"),
        checkpoint.codec_dims,
        source=str(checkpoint.path("semantic_codec")),
        device=device,
    )


def load_emotion_matrix(checkpoint: IndexTTSCheckpoint) -> EmotionMatrix:
    """feat1 and feat2 of the checkpoint (indextts2-front.md 2, 9.2)."""
    checkpoint.require("emotion_matrix")
    return EmotionMatrix(
        checkpoint.tensor("spk_matrix").float().numpy(),
        checkpoint.tensor("emo_matrix").float().numpy(),
        checkpoint.emotion_rows,
    )


def profile_version(checkpoint: IndexTTSCheckpoint, dtype: str) -> str:
    """Version of the profiles that this checkpoint gives, 16 hex digits: what they depend on beside the recording.

    It must be cheap at every start, so no weights are read (see `identities`). Without a manifest, replicas on machines
    whose files differ in time do not share profiles; each encodes its own.
    """
    files = identities(_files(checkpoint), checkpoint.directory)
    content = json.dumps([CODE_VERSION, dtype, checkpoint.config, files], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _files(checkpoint: IndexTTSCheckpoint) -> Iterator[Path]:
    for file in checkpoint.files("speaker_encoder"):
        path = checkpoint.path(file)
        yield from (path / name for name in FOLDER_FILES[file]) if file in FOLDER_FILES else (path,)
