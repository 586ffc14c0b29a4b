"""Step 6: GPT and speaker conditioner. `python -m training.nano.gpt`.

Trained are the served networks. Half of the batches number the code positions as generation does (0, 2, 3,
...), half as the latent pass does (0, 1, 2, ...), because a small model notices the difference (recipe.md 8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from deployments.indextts2.dims import ConditionDims, ConditionerDims, GptDims, dims_from
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.transformer import InputMajorLinear
from deployments.indextts2.speaker.conditioner import FeatureConditioner, Perceiver, RmsNorm
from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.batches import IGNORED
from training.nano.codes import phone_of_codes
from training.nano.config import CONFIG, SEMANTIC_WIDTH
from training.nano.gpt_data import (
    PREFIX_ROWS,
    GptBatch,
    GptData,
    References,
    Sentence,
    read_codes,
    recorded,
    unrecorded,
)
from training.nano.gpt_speech import phone_error
from training.nano.guided_attention import PackedCausal, bands
from training.nano.optimise import Average, Descent, Schedule
from training.nano.phone_head import PhoneHead, stacked_phones
from training.nano.train_loop import Training
from training.nano.workspace import Workspace

SEED = 71
POSITIONS = 6000
TEXT_WEIGHT = 0.1
GUIDE_WEIGHT = 0.1
GUIDE_UNTIL = 0.5
PHONE_WEIGHT = 0.5
DROPOUT = 0.1
# Share of the batches of sentences that only have a score, where there are some.
UNRECORDED = 0.7


class GptNetworks(nn.Module):
    """Everything in gpt.pth. `text_head` is stored by the official file and used in training only."""

    def __init__(self) -> None:
        super().__init__()
        section = CONFIG["gpt"]
        dims = dims_from(GptDims, section, "gpt")
        speaker, emotion = (
            dims_from(ConditionDims, section[name], name)
            for name in ("condition_module", "emo_condition_module")
        )
        self.gpt = SpeechGpt(dims)
        self.conditioner = FeatureConditioner(
            ConditionerDims(
                model_dim=dims.model_dim,
                rows=dims.condition_num_latent,
                width=SEMANTIC_WIDTH,
                style=CONFIG["s2mel"]["style_encoder"]["dim"],
                emotion=emotion,
                speaker=speaker,
            )
        )
        self.text_head = nn.Linear(dims.model_dim, dims.number_text_tokens + 1)
        self._start(dims)

    @torch.no_grad()
    def _start(self, dims: GptDims) -> None:
        for module in self.modules():
            if isinstance(module, InputMajorLinear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, InputMajorLinear):
                nn.init.zeros_(module.bias)
            if isinstance(module, Perceiver):
                nn.init.normal_(module.latents, std=0.02)
            if isinstance(module, RmsNorm):
                nn.init.ones_(module.gamma)
        for name, parameter in self.named_parameters():
            if "pos_bias" in name:
                nn.init.zeros_(parameter)
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * dims.layers))
        # Emotion vector 0: a valid checkpoint without an emotion path (recipe.md 2.4).
        nn.init.zeros_(self.conditioner.emo_layer.weight)
        nn.init.zeros_(self.conditioner.emo_layer.bias)

    def trained(self) -> list[nn.Parameter]:
        """All parameters but those of the emotion path."""
        return [
            parameter for name, parameter in self.named_parameters() if not name.startswith("conditioner.emo")
        ]

    def latents(self, features: Tensor) -> Tensor:
        """(B, T, W) of one length to (B, 32, D)."""
        lengths = torch.full((len(features),), features.shape[1], device=features.device)
        found: Tensor = self.conditioner.perceiver_encoder(
            *self.conditioner.conditioning_encoder(features, lengths)
        )
        return found


@dataclass(frozen=True)
class Losses:
    """Cross-entropies of codes, text and phones; -log of the guided heads' attention where it belongs.

    phones_right: share of the states that know the phone of the next code.
    """

    speech: Tensor
    text: Tensor
    phone: Tensor
    phones_right: Tensor
    astray: Tensor

    def figures(self) -> dict[str, float]:
        return {name: value.item() for name, value in vars(self).items()}


class GptTraining(Training):
    def __init__(self, workspace: Workspace, device: str, positions: int = POSITIONS) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        how = (self.generator, device, positions)
        references = References(workspace, "train")
        self.data = GptData(recorded(workspace, "train"), references, *how)
        self.unrecorded = GptData(unrecorded(workspace), references, *how)
        self.held_out = GptData(recorded(workspace, "held_out"), References(workspace, "held_out"), *how)
        print(f"{len(self.data)} sentences with a recording, {len(self.unrecorded)} without")
        self.networks = GptNetworks().to(device)
        self.phone_head = PhoneHead(self.networks.gpt.dims.model_dim).to(device)
        self.average = Average(self.networks, 0.999)
        trained = [*self.networks.trained(), *self.phone_head.parameters()]
        self.descent = Descent(trained, Schedule(1e-3), betas=(0.9, 0.96), weight_decay=0.05)
        self.names = phone_of_codes(workspace).tolist()
        self._checks = [self.held_out.draw() for _ in range(4)]

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "networks": self.networks,
            "phone_head": self.phone_head,
            "average": self.average,
            "descent": self.descent,
        }

    def step(self, progress: float) -> dict[str, float]:
        gap = int(self.descent.steps % 2)
        guide = GUIDE_WEIGHT * max(0.0, 1 - progress / GUIDE_UNTIL) if self.fresh else 0.0
        unrecorded = len(self.unrecorded) > 0 and self.generator.random() < UNRECORDED
        batch = self.unrecorded.draw() if unrecorded else self.data.draw()
        found = self._losses(self.networks, batch, gap, training=True, guided=guide > 0)
        spoken = found.speech + PHONE_WEIGHT * found.phone
        self.descent.step(spoken + TEXT_WEIGHT * found.text + guide * found.astray, progress)
        self.average.update()
        return {
            f"unrecorded_{name}" if unrecorded else name: value for name, value in found.figures().items()
        }

    def _losses(
        self, networks: GptNetworks, batch: GptBatch, gap: int, *, training: bool, guided: bool
    ) -> Losses:
        """`gap` 1 leaves out position 1, as generation does; `training`: with dropout and misread codes."""
        with torch.autocast(self.device, torch.bfloat16):
            latents = networks.latents(batch.features)
            rows = [
                torch.cat([latents[index], self._embed(networks.gpt, sentence, gap, misreading=training)])
                for index, sentence in enumerate(batch.sentences)
            ]
            x = F.dropout(pad_sequence(rows, batch_first=True), DROPOUT, training)
            guide = bands(batch.sentences, x.shape[1], self.device) if guided else None
            attention = PackedCausal(len(rows), networks.gpt.dims.heads, guide)
            hidden = networks.gpt.final_norm(networks.gpt.gpt(x.flatten(0, 1), attention)).view_as(x)
        speech_targets, text_targets = self._targets(batch.sentences, x.shape[1], networks.gpt.dims)
        speech_at, text_at = speech_targets != IGNORED, text_targets != IGNORED
        speech = networks.gpt.mel_head(hidden[speech_at].float())
        text = networks.text_head(hidden[text_at].float())
        coded = speech_at & (speech_targets != networks.gpt.dims.stop_mel_token)
        asked = stacked_phones([sentence.phones for sentence in batch.sentences], self.device)
        phone, phones_right = self.phone_head(hidden[coded].float(), asked)
        return Losses(
            F.cross_entropy(speech, speech_targets[speech_at]),
            F.cross_entropy(text, text_targets[text_at]),
            phone,
            phones_right,
            torch.stack(attention.astray).mean() if attention.astray else speech.new_zeros(()),
        )

    def _embed(self, gpt: SpeechGpt, sentence: Sentence, gap: int, *, misreading: bool) -> Tensor:
        """Speed rows, text block, start code and codes: everything behind the latents."""
        dims = gpt.dims
        ids = torch.tensor([dims.start_text_token, *sentence.ids, dims.stop_text_token], device=self.device)
        text = gpt.text_embedding(ids) + gpt.text_pos_embedding.emb.weight[: len(ids)]
        read = read_codes(sentence, self.generator) if misreading else sentence.codes
        codes = [dims.start_mel_token, *read.tolist()]
        positions = [0, *range(1 + gap, len(codes) + gap)]
        return torch.cat(
            [gpt.speed_emb.weight[1:], gpt.speed_emb.weight[:1], text, gpt.embed(codes, positions)]
        )

    def _targets(self, batch: list[Sentence], width: int, dims: GptDims) -> tuple[Tensor, Tensor]:
        """What comes next at every position (B, width), IGNORED where nothing is asked."""
        speech = torch.full((len(batch), width), IGNORED)
        text = torch.full((len(batch), width), IGNORED)
        for row, sentence in enumerate(batch):
            ids = [*sentence.ids, dims.stop_text_token]
            text[row, PREFIX_ROWS : PREFIX_ROWS + len(ids)] = torch.tensor(ids)
            first = PREFIX_ROWS + len(sentence.ids) + 2
            codes = [*sentence.codes.tolist(), dims.stop_mel_token]
            speech[row, first : first + len(codes)] = torch.tensor(codes)
        return speech.to(self.device), text.to(self.device)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        networks = GptNetworks().to(self.device).eval()
        networks.load_state_dict(self.average.state)
        losses = [
            self._losses(networks, batch, 1, training=False, guided=True).figures() for batch in self._checks
        ]
        figures = {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}
        wrong, length = phone_error(networks.gpt, networks.latents, self.names, self.held_out)
        return {**figures, "phone_error": wrong, "length_ratio": length}


def main() -> None:
    parser = trainer_parser(__doc__, minutes=120)
    parser.add_argument(
        "--positions", type=int, default=POSITIONS, help="positions per step; 100000 suits a GPU"
    )
    arguments = parser.parse_args()
    training = GptTraining(Workspace(arguments.root), arguments.device, arguments.positions)
    train_as_asked(training, "gpt", arguments)


if __name__ == "__main__":
    main()
