"""SpeakerEncoder: reference recordings to everything the later stages need of a voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.conditioner import Conditioner, load_conditioner
from deployments.indextts2.speaker.emotion import EmotionMatrix
from deployments.indextts2.speaker.features import SemanticFeatures, load_semantic_features
from deployments.indextts2.speaker.reference import emotion_route, speaker_route
from deployments.indextts2.speaker.semantic_codec import SemanticCodec, load_semantic_codec
from deployments.networks.campplus import Campplus, load_campplus
from deployments.networks.fbank import centred, kaldi_fbank
from deployments.networks.mel import LogMel, MelDims
from deployments.voices.reference import ReferenceAudio

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EncodedVoice:
    """What is left of a speaker reference; all on the CPU, float32 unless said.

    speaker_latents (32,D); speaker_emotion (D,) = e(F_spk); reference_emotion (D,) = the same recording
    through the emotion route, which is the emotion reference of a request without one; style (192,); codes
    (T,) int64, from which the mel stage makes S_ref again; mel (80,P).
    """

    speaker_latents: Array
    speaker_emotion: Array
    reference_emotion: Array
    style: Array
    codes: npt.NDArray[np.int64]
    mel: Array

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """By field name, to be stored."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, npt.NDArray[np.generic]]) -> EncodedVoice:
        named: dict[str, Any] = {field.name: arrays[field.name] for field in fields(EncodedVoice)}
        return EncodedVoice(**named)


class SpeakerEncoder:
    """The networks of this stage on one device. Stateless: the result for a recording depends on it alone.

    w2v-BERT, by far the largest part, runs as one masked batch. What follows is run per recording, because
    the convolutions of the published conformer let padding leak into shorter rows.
    """

    def __init__(
        self,
        features: SemanticFeatures,
        codec: SemanticCodec,
        conditioner: Conditioner,
        campplus: Campplus,
        *,
        log_mel: LogMel,
        device: torch.device | str = "cpu",
    ) -> None:
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
    ) -> SpeakerEncoder:
        """Every weight file is mapped once. Raises CheckpointError if one is missing or of other dimensions.

        `dtype` is that of the conditioner, the part which belongs to the GPT; the rest stays in float32 (11).
        """
        checkpoint.require("speaker_encoder")
        codec_dims = checkpoint.codec_dims
        return cls(
            load_semantic_features(
                checkpoint.path("w2v_bert"),
                checkpoint.tensors("w2v_stat"),
                layer=checkpoint.semantic_layer,
                device=device,
            ),
            load_semantic_codec(
                checkpoint.tensors("semantic_codec"),
                codec_dims,
                source=str(checkpoint.path("semantic_codec")),
                device=device,
            ),
            load_conditioner(
                checkpoint.tensors("gpt"),
                checkpoint.gpt_dims,
                checkpoint.speaker_dims,
                checkpoint.emotion_dims,
                codec_dims.hidden_size,
                source=str(checkpoint.path("gpt")),
                device=device,
                dtype=dtype,
            ),
            load_campplus(checkpoint.tensors("campplus"), device=device),
            log_mel=LogMel(MelDims.from_config(checkpoint.config), device=device),
            device=device,
        )

    @torch.inference_mode()
    def encode(self, references: Sequence[ReferenceAudio]) -> list[EncodedVoice]:
        """Speaker references, of which the first 15 s are heard, to voices in the same order.

        Raises InvalidRequest if one is too short to be encoded.
        """
        speaker = [speaker_route(reference.samples, reference.sample_rate_hz) for reference in references]
        emotion = [emotion_route(reference.samples, reference.sample_rate_hz) for reference in references]
        features = self.features([*(audio.feature_rate for audio in speaker), *emotion])
        voices = []
        for audio, own, through_emotion in zip(
            speaker, features[: len(speaker)], features[len(speaker) :], strict=True
        ):
            codes, _ = self.codec.quantize(own[None])
            voices.append(
                EncodedVoice(
                    speaker_latents=_array(self.conditioner.speaker_latents(*self._row(own))),
                    speaker_emotion=_array(self.conditioner.emotion(*self._row(own))),
                    reference_emotion=_array(self.conditioner.emotion(*self._row(through_emotion))),
                    style=_array(self._style(audio.feature_rate)),
                    codes=codes[0].cpu().numpy(),
                    mel=_array(self.log_mel(audio.mel_rate.to(self.device))),
                )
            )
        return voices

    @torch.inference_mode()
    def encode_emotion(self, references: Sequence[ReferenceAudio]) -> list[Array]:
        """Emotion references, of which the first 15 s are heard, to e(F_emo) (D,) each.

        Raises InvalidRequest if one is too short to be encoded.
        """
        audio = [emotion_route(reference.samples, reference.sample_rate_hz) for reference in references]
        return [_array(self.conditioner.emotion(*self._row(row))) for row in self.features(audio)]

    def _row(self, features: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.conditioner.emo_layer.weight.dtype
        return features[None].to(dtype), torch.tensor([len(features)], device=features.device)

    def _style(self, audio: Tensor) -> Tensor:
        """16 kHz audio (1,N) to the CAM++ style (1,192)."""
        return self.campplus(centred(kaldi_fbank(audio[0].to(self.device)))[None])


def load_emotion_matrix(checkpoint: IndexTTSCheckpoint) -> EmotionMatrix:
    """feat1 and feat2 of the checkpoint (indextts2-front.md 2, 9.2)."""
    checkpoint.require("emotion_matrix")
    return EmotionMatrix(
        checkpoint.tensor("spk_matrix").float().numpy(),
        checkpoint.tensor("emo_matrix").float().numpy(),
        checkpoint.emotion_rows,
    )


def _array(batch_of_one: Tensor) -> Array:
    return batch_of_one[0].float().cpu().numpy()
