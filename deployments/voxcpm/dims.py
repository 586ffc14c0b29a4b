"""Sizes of the VoxCPM networks, parsed from config.json with the defaults of each version (voxcpm.md 1, 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deployments.core.errors import CheckpointError
from deployments.voxcpm.config_section import Section

VERSION_1 = "voxcpm"  # 0.5B and 1.5
VERSION_2 = "voxcpm2"
DTYPES = ("float32", "float16", "bfloat16")
MAX_EULER_STEPS = 50  # of a patch: times of all numbers of steps up to this are tabulated


@dataclass(frozen=True)
class RopeDims:
    """angle(position, pair i of a head) = position / factors[i] · theta^(−2i / head dim); `scale` is on cosines and
    sines (voxcpm.md 5)."""

    theta: float
    factors: tuple[float, ...]
    scale: float


@dataclass(frozen=True)
class TowerDims:
    """One transformer tower; `residual_scale` is on what each half of a block adds (voxcpm.md 5)."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    rope: RopeDims | None
    residual_scale: float


@dataclass(frozen=True)
class VaeDims:
    """AudioVAE (voxcpm.md 9); strides in the order of the layers."""

    encoder_dim: int
    encoder_strides: tuple[int, ...]
    latent_dim: int
    decoder_dim: int
    decoder_strides: tuple[int, ...]
    depthwise: bool
    in_sample_rate_hz: int
    out_sample_rate_hz: int
    sr_bin_boundaries: tuple[int, ...]  # Hz; empty where the decoder is not told the output rate (1.x)
    cond_type: str  # "" where it is not told
    pads_by_stride: (
        bool  # of a strided convolution: left padding is the stride (2), or 2·ceil(stride / 2) (1.x)
    )

    @property
    def in_hop(self) -> int:
        """Input samples of one latent frame."""
        return math.prod(self.encoder_strides)

    @property
    def out_hop(self) -> int:
        """Output samples of one latent frame."""
        return math.prod(self.decoder_strides)


@dataclass(frozen=True)
class VoxCPMDims:
    architecture: str
    base: TowerDims
    residual: TowerDims
    encoder: TowerDims  # LocEnc
    decoder: TowerDims  # LocDiT
    vae: VaeDims
    vocabulary: int
    embedding_scale: float
    patch_size: int  # latent frames of a patch
    latent_dim: int
    fsq_dim: int
    fsq_scale: int
    max_length: int  # positions of a row: text, prompt and what is generated
    dtype: str  # in which the model was trained

    @property
    def is_version_2(self) -> bool:
        return self.architecture == VERSION_2

    @property
    def mu_tokens(self) -> int:
        """Conditioning tokens of the patch decoder (voxcpm.md 6)."""
        return 2 if self.is_version_2 else 1

    @property
    def has_reference(self) -> bool:
        """Whether isolated reference audio can stand before the text (voxcpm.md 4)."""
        return self.is_version_2

    @property
    def patch_samples_in(self) -> int:
        """Samples of a patch at the VAE's input rate."""
        return self.patch_size * self.vae.in_hop

    @property
    def patch_samples(self) -> int:
        """Samples that a step makes, at the VAE's output rate."""
        return self.patch_size * self.vae.out_hop

    @property
    def patch_s(self) -> float:
        """Audio that a step makes."""
        return self.patch_samples / self.vae.out_sample_rate_hz


def dims_from(config: Mapping[str, Any]) -> VoxCPMDims:
    """The dims of a config.json. Unknown keys are left alone. Raises CheckpointError naming what is wrong."""
    top = Section(config, "config.json")
    architecture = top.text("architecture", VERSION_1).lower()
    if architecture not in (VERSION_1, VERSION_2):
        raise CheckpointError(
            f"config.json: architecture must be {VERSION_1} or {VERSION_2}, got {architecture!r}"
        )
    second = architecture == VERSION_2
    lm = top.section("lm_config")
    residual_layers = top.number("residual_lm_num_layers", 8 if second else 6)
    no_rope = second and top.flag("residual_lm_no_rope", False)
    latent_dim = top.number("feat_dim", 64)
    return VoxCPMDims(
        architecture=architecture,
        base=_lm_tower(lm, lm.number("num_hidden_layers")),
        residual=_lm_tower(lm, residual_layers, no_rope=no_rope),
        encoder=_local_tower(lm, top.section("encoder_config")),
        decoder=_local_tower(lm, top.section("dit_config")),
        vae=_vae_dims(top.section("audio_vae_config", {}), second, latent_dim),
        vocabulary=lm.number("vocab_size"),
        embedding_scale=lm.real("scale_emb") if lm.flag("use_mup", True) else 1.0,
        patch_size=top.number("patch_size", 4 if second else 2),
        latent_dim=latent_dim,
        fsq_dim=top.number("scalar_quantization_latent_dim", 512 if second else 256),
        fsq_scale=top.number("scalar_quantization_scale", 9),
        max_length=top.number("max_length", 8192 if second else 4096),
        dtype=_dtype(top),
    )


def _dtype(top: Section) -> str:
    dtype = top.text("dtype", "bfloat16")
    if dtype not in DTYPES:
        raise CheckpointError(f"config.json: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return dtype


def tower_from(lm: Section, layers: int, sizes: Section, names: Mapping[str, str]) -> TowerDims:
    """A tower that takes its sizes from `sizes`, where they have these `names`, and everything else from `lm`."""
    hidden, heads = sizes.number(names["hidden"]), sizes.number(names["heads"])
    kv_heads = lm.number("num_key_value_heads")
    if heads % kv_heads:
        raise CheckpointError(f"{sizes.where}: {heads} heads cannot share {kv_heads} key-value heads evenly")
    head_dim = sizes.number("kv_channels", hidden // heads)
    mup = lm.flag("use_mup", True)
    return TowerDims(
        layers=layers,
        hidden=hidden,
        ffn=sizes.number(names["ffn"]),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        eps=lm.real("rms_norm_eps"),
        rope=None if lm.flag("no_rope", False) else _rope_dims(lm, head_dim),
        residual_scale=lm.real("scale_depth") / math.sqrt(layers) if mup else 1.0,
    )


LM_NAMES = {"hidden": "hidden_size", "heads": "num_attention_heads", "ffn": "intermediate_size"}
LOCAL_NAMES = {"hidden": "hidden_dim", "heads": "num_heads", "ffn": "ffn_dim"}


def _lm_tower(lm: Section, layers: int, *, no_rope: bool = False) -> TowerDims:
    tower = tower_from(lm, layers, lm, LM_NAMES)
    return replace(tower, rope=None) if no_rope else tower


def _local_tower(lm: Section, own: Section) -> TowerDims:
    return tower_from(lm, own.number("num_layers"), own, LOCAL_NAMES)


def _rope_dims(lm: Section, head_dim: int) -> RopeDims:
    scaling = lm.section("rope_scaling")
    longest, original = (
        lm.number("max_position_embeddings"),
        scaling.number("original_max_position_embeddings"),
    )
    name = "long_factor" if longest > original else "short_factor"
    factors = scaling.numbers(name)
    if len(factors) != head_dim // 2:
        raise CheckpointError(
            f"{scaling.where}: {name} has {len(factors)} factors, half of the head dim {head_dim} are needed"
        )
    scale = math.sqrt(1 + math.log(longest / original) / math.log(original))
    return RopeDims(lm.real("rope_theta"), factors, scale)


def _vae_dims(vae: Section, second: bool, latent_dim: int) -> VaeDims:
    if vae.flag("use_noise_block", False):
        raise CheckpointError(f"{vae.where}: use_noise_block is not supported")
    if (own := vae.number("latent_dim", 64)) != latent_dim:
        raise CheckpointError(f"{vae.where}: latent_dim {own} differs from feat_dim {latent_dim}")
    rate_hz = vae.number("sample_rate", 16000)
    return VaeDims(
        encoder_dim=vae.number("encoder_dim", 128),
        encoder_strides=vae.whole_numbers("encoder_rates", (2, 5, 8, 8)),
        latent_dim=latent_dim,
        decoder_dim=vae.number("decoder_dim", 2048 if second else 1536),
        decoder_strides=vae.whole_numbers("decoder_rates", (8, 6, 5, 2, 2, 2) if second else (8, 8, 5, 2)),
        depthwise=vae.flag("depthwise", True),
        in_sample_rate_hz=rate_hz,
        out_sample_rate_hz=vae.number("out_sample_rate", 48000) if second else rate_hz,
        sr_bin_boundaries=vae.whole_numbers("sr_bin_boundaries", (20000, 30000, 40000)) if second else (),
        cond_type=vae.text("cond_type", "scale_bias") if second else "",
        pads_by_stride=second,
    )
