"""Does a directory hold what its config.yaml promises: files, names and shapes of the front half's tensors.

Names and shapes are written out apart from the networks, which belong to the stages, so that a directory can be
checked without them (key lists: tests/specs). The stages themselves check theirs, strictly, when they load.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deployments.core.errors import CheckpointError
from deployments.indextts2.checkpoint import GRAPH_FILES, IndexTTSCheckpoint
from deployments.indextts2.dims import SPEED_ROWS, CodecDims, ConditionDims, ConditionerDims, GptDims
from deployments.weights.registry import pull_command
from deployments.weights.verify import Shapes, shape_problems

CONFORMER_KERNEL = 15
POSITIONS = 5000
PERCEIVER_HEAD_DIM = 64
PERCEIVER_DEPTH = 2


def recognise(directory: Path) -> str | None:
    """What a directory is, in a sentence; None if it is none of an IndexTTS model."""
    try:
        checkpoint = IndexTTSCheckpoint(directory)
        dims, mel = checkpoint.gpt_dims, checkpoint.section("s2mel", "preprocess_params")
        codes_per_s = mel["sr"] / mel["spect_params"]["hop_length"] / float(checkpoint.frames_per_code)
    except (CheckpointError, KeyError, TypeError):
        return None
    emotions = "cannot tell" if checkpoint.missing("emotion_text") else "tells"
    return (
        f"{checkpoint.traits.name}: a GPT of {dims.layers} layers and {dims.model_dim} channels, "
        f"{codes_per_s:.0f} codes a second of speech; it {emotions} an emotion from text"
    )


def problems(directory: Path) -> list[str]:
    """What is wrong with the directory of an IndexTTS model; weights are not read. Empty: nothing was found."""
    try:
        checkpoint = IndexTTSCheckpoint(directory)
    except CheckpointError as error:
        return [str(error)]
    if missing := checkpoint.missing(*GRAPH_FILES):
        return [f"{name} is missing. Run: {pull_command(checkpoint.traits.source)}" for name in missing]
    checks = (_gpt_problems, _codec_problems, _matrix_problems, _readable_problems)
    return [problem for check in checks for problem in _problems(check, checkpoint)]


def _problems(check: Callable[[IndexTTSCheckpoint], list[str]], checkpoint: IndexTTSCheckpoint) -> list[str]:
    try:
        return check(checkpoint)
    except CheckpointError as error:
        return [str(error)]


def _gpt_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    expected = gpt_shapes(checkpoint.gpt_dims, checkpoint.conditioner_dims)
    return shape_problems(checkpoint.path("gpt").name, checkpoint.tensors("gpt"), expected)


def _codec_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    name = checkpoint.path("semantic_codec").name
    expected = codec_shapes(checkpoint.codec_dims, steps_per_code=checkpoint.traits.steps_per_code)
    return shape_problems(name, checkpoint.tensors("semantic_codec"), expected)


def _matrix_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    width, rows = checkpoint.codec_dims.hidden_size, sum(checkpoint.emotion_rows)
    found = []
    tables: dict[str, Shapes] = {
        "w2v_stat": {"mean": (width,), "var": (width,)},
        "spk_matrix": {"": (rows, checkpoint.style_width)},
        "emo_matrix": {"": (rows, checkpoint.gpt_dims.model_dim)},
    }
    for file, expected in tables.items():
        found += shape_problems(checkpoint.path(file).name, checkpoint.tensors(file), expected)
    return found


def _readable_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    return [
        f"{checkpoint.path(file).name}: holds no tensors"
        for file in ("s2mel", "campplus", "vocoder")
        if not checkpoint.tensors(file)
    ]


def gpt_shapes(gpt: GptDims, conditioner: ConditionerDims) -> Shapes:
    """gpt.pth (indextts2-front.md 13, indextts2.5-delta.md 1)."""
    dim = gpt.model_dim
    shapes: Shapes = {
        **_conditioner(conditioner),
        # One piece more than the tokenizer has; one code embedding per code.
        "text_embedding.weight": (gpt.number_text_tokens + 1, dim),
        "mel_embedding.weight": (gpt.number_mel_codes, dim),
        "text_pos_embedding.emb.weight": (gpt.max_text_tokens + 2, dim),
        "mel_pos_embedding.emb.weight": (gpt.max_mel_tokens + 3, dim),
        **_norm("gpt.ln_f", dim),
        **_norm("final_norm", dim),
        **_linear("text_head", dim, gpt.number_text_tokens + 1),
        **_linear("mel_head", dim, gpt.number_mel_codes),
    }
    if gpt.traits.speed_rows:
        shapes["speed_emb.weight"] = (SPEED_ROWS, dim)
    if gpt.traits.language_rows:
        shapes["lang_embedding.weight"] = (gpt.traits.language_rows, dim)
    for layer in range(gpt.layers):
        shapes |= _under(f"gpt.h.{layer}", _gpt_block(dim))
    return shapes


def codec_shapes(dims: CodecDims, *, steps_per_code: int = 1) -> Shapes:
    """The semantic codec, with the half that inference does not use: the decoder where a code stands for its embedding,
    the encoder where it is decoded, which also takes convolutions between the two rates (indextts2.5-delta.md 5)."""
    book = "quantizer.quantizers.0"
    width, narrow = dims.hidden_size, dims.codebook_dim
    shapes: Shapes = {
        **_under("encoder", _convnext(dims)),
        **_under("decoder", _convnext(dims)),
        f"{book}.in_project.bias": (narrow,),
        f"{book}.in_project.weight_g": (narrow, 1, 1),
        f"{book}.in_project.weight_v": (narrow, width, 1),
        f"{book}.out_project.bias": (width,),
        f"{book}.out_project.weight_g": (width, 1, 1),
        f"{book}.out_project.weight_v": (width, narrow, 1),
        f"{book}.codebook.weight": (dims.codebook_size, narrow),
    }
    if steps_per_code > 1:
        for name in ("down", "up"):
            shapes |= {f"{name}.weight": (width, width, 3), f"{name}.bias": (width,)}
    return shapes


def _conditioner(dims: ConditionerDims) -> Shapes:
    shapes: Shapes = {
        **_under("emo_conditioning_encoder", _conformer(dims.width, dims.emotion)),
        **_under("emo_perceiver_encoder", _perceiver(dims.emotion, dims.width, 1)),
        **_linear("emovec_layer", dims.width, dims.model_dim),
        **_linear("emo_layer", dims.model_dim, dims.model_dim),
    }
    if dims.speaker is None:
        return {**shapes, **_linear("spk_emb_proj", dims.style, dims.model_dim)}
    return {
        **shapes,
        **_under("conditioning_encoder", _conformer(dims.width, dims.speaker)),
        **_under("perceiver_encoder", _perceiver(dims.speaker, dims.model_dim, dims.rows)),
    }


def _conformer(width: int, dims: ConditionDims) -> Shapes:
    dim, head = dims.output_size, (dims.attention_heads, dims.output_size // dims.attention_heads)
    shapes: Shapes = {
        "embed.conv.0.weight": (dim, 1, 3, 3),
        "embed.conv.0.bias": (dim,),
        **_linear("embed.out.0", dim * ((width - 1) // 2), dim),
        "embed.pos_enc.pe": (1, POSITIONS, dim),
        **_norm("after_norm", dim),
    }
    block: Shapes = {
        "self_attn.pos_bias_u": head,
        "self_attn.pos_bias_v": head,
        "self_attn.linear_pos.weight": (dim, dim),
        **_linear("feed_forward.w_1", dim, dims.linear_units),
        **_linear("feed_forward.w_2", dims.linear_units, dim),
        "conv_module.pointwise_conv1.weight": (2 * dim, dim, 1),
        "conv_module.pointwise_conv1.bias": (2 * dim,),
        "conv_module.depthwise_conv.weight": (dim, 1, CONFORMER_KERNEL),
        "conv_module.depthwise_conv.bias": (dim,),
        "conv_module.pointwise_conv2.weight": (dim, dim, 1),
        "conv_module.pointwise_conv2.bias": (dim,),
    }
    for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
        block |= _linear(f"self_attn.{name}", dim, dim)
    for name in ("conv_module.norm", "norm_ff", "norm_mha", "norm_conv", "norm_final"):
        block |= _norm(name, dim)
    for layer in range(dims.num_blocks):
        shapes |= _under(f"encoders.{layer}", block)
    return shapes


def _perceiver(dims: ConditionDims, dim: int, latents: int) -> Shapes:
    inner = dims.attention_heads * PERCEIVER_HEAD_DIM
    gated = int(dim * dims.perceiver_mult * 2 / 3)
    shapes: Shapes = {"latents": (latents, dim), "norm.gamma": (dim,)}
    if dims.output_size != dim:
        shapes |= _linear("proj_context", dims.output_size, dim)
    for layer in range(PERCEIVER_DEPTH):
        shapes |= {
            f"layers.{layer}.0.to_q.weight": (inner, dim),
            f"layers.{layer}.0.to_kv.weight": (2 * inner, dim),
            f"layers.{layer}.0.to_out.weight": (dim, inner),
            **_linear(f"layers.{layer}.1.0", dim, 2 * gated),
            **_linear(f"layers.{layer}.1.2", gated, dim),
        }
    return shapes


def _gpt_block(dim: int) -> Shapes:
    """GPT-2 projections are stored input-major."""
    return {
        **_norm("ln_1", dim),
        **_norm("ln_2", dim),
        "attn.c_attn.weight": (dim, 3 * dim),
        "attn.c_attn.bias": (3 * dim,),
        "attn.c_proj.weight": (dim, dim),
        "attn.c_proj.bias": (dim,),
        "mlp.c_fc.weight": (dim, 4 * dim),
        "mlp.c_fc.bias": (4 * dim,),
        "mlp.c_proj.weight": (4 * dim, dim),
        "mlp.c_proj.bias": (dim,),
    }


def _convnext(dims: CodecDims) -> Shapes:
    dim = dims.vocos_dim
    shapes: Shapes = {
        "0.embed.weight": (dim, dims.hidden_size, 7),
        "0.embed.bias": (dim,),
        **_norm("0.norm", dim),
        **_norm("0.final_layer_norm", dim),
        **_linear("1", dim, dims.hidden_size),
    }
    for layer in range(dims.vocos_num_layers):
        block = f"0.convnext.{layer}"
        shapes |= {
            f"{block}.gamma": (dim,),
            f"{block}.dwconv.weight": (dim, 1, 7),
            f"{block}.dwconv.bias": (dim,),
            **_norm(f"{block}.norm", dim),
            **_linear(f"{block}.pwconv1", dim, dims.vocos_intermediate_dim),
            **_linear(f"{block}.pwconv2", dims.vocos_intermediate_dim, dim),
        }
    return shapes


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
