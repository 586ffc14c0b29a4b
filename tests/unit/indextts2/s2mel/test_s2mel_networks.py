"""Names, shapes and loading of the s2mel networks."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deployments.core.errors import CheckpointError
from deployments.indextts2.codec.codebook import load_code_embedding
from deployments.indextts2.s2mel import estimator
from deployments.indextts2.s2mel.dims import S2MelDims
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel


def nested(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The layout of s2mel.pth, as data-parallel training leaves it, with an optimiser beside the networks."""
    net: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        _, network, key = name.split(".", 2)
        net.setdefault(network, {})[f"module.{key}"] = value
    return {
        "net": net,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [1]},
        "epoch": 3,
    }


def test_names_and_shapes_of_the_official_file(official_config: dict[str, Any], specs: Path) -> None:
    listed = json.loads((specs / "indextts2-s2mel-keys.json").read_text())
    with torch.device("meta"):
        networks = S2MelNetworks(S2MelDims.from_config(official_config))
    ours = {f"net.{name}": list(value.shape) for name, value in networks.state_dict().items()}
    assert all(listed[name]["shape"] == shape for name, shape in ours.items())
    left = listed.keys() - ours.keys()
    assert all(networks.unused(name.removeprefix("net.")) for name in left)
    assert left == {name for name, entry in listed.items() if not entry["used"]}


def test_file_with_module_prefix_and_optimiser(
    tmp_path: Path, tiny_tensors: dict[str, Tensor], tiny_config: dict[str, Any], networks: S2MelNetworks
) -> None:
    unused = {
        "net.cfm.estimator.input_pos": torch.arange(9),
        "net.cfm.estimator.transformer.layers.0.skip_in_linear.weight": torch.zeros(2),
        "net.length_regulator.mask_token": torch.zeros(1, 12),
    }
    torch.save(nested(tiny_tensors | unused), tmp_path / "s2mel.pth")
    loaded = load_s2mel(tmp_path / "s2mel.pth", tiny_config).state_dict()
    assert loaded.keys() == networks.state_dict().keys()
    for name, value in networks.state_dict().items():
        assert torch.equal(loaded[name], value)


def test_packed_layers_are_the_same_function(
    tiny_tensors: dict[str, Tensor], tiny_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = load_s2mel(tiny_tensors, tiny_config)
    monkeypatch.setattr(estimator, "can_pack", lambda device, dtype: False)
    plain = load_s2mel(tiny_tensors, tiny_config)
    assert isinstance(plain.estimator.conv1, nn.Linear)
    mels = []
    for networks in (packed, plain):
        noise, prompt, mu = (
            torch.randn(*shape, generator=torch.Generator().manual_seed(3))
            for shape in ((6, 50), (6, 20), (50, 12))
        )
        solver = FlowSolver(networks.estimator)
        mels += solver.solve([solver.admit(noise, prompt, mu, torch.ones(5), steps=4)])
    assert mels[0].shape == (6, 30)
    torch.testing.assert_close(mels[0], mels[1], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("network", ["cfm.estimator.conv1.bias", "gpt_layer.1.weight"])
def test_missing_tensor_is_named(
    network: str, tiny_tensors: dict[str, Tensor], tiny_config: dict[str, Any]
) -> None:
    tensors = {name: value for name, value in tiny_tensors.items() if name != f"net.{network}"}
    with pytest.raises(CheckpointError, match=network):
        load_s2mel(tensors, tiny_config)


def test_foreign_tensor_is_named(tiny_tensors: dict[str, Tensor], tiny_config: dict[str, Any]) -> None:
    foreign = {"net.cfm.estimator.conv3.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="conv3"):
        load_s2mel(tiny_tensors | foreign, tiny_config)


def test_file_without_networks_is_refused(tiny_config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="under `net`"):
        load_s2mel({"model.weight": torch.zeros(1)}, tiny_config)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("DiT", "is_causal", True),
        ("DiT", "final_layer_type", "mlp"),
        ("wavenet", "hidden_dim", 24),
        ("length_regulator", "channels", None),
    ],
)
def test_config_that_does_not_fit(section: str, key: str, value: object, tiny_config: dict[str, Any]) -> None:
    config = deepcopy(tiny_config)
    config["s2mel"][section][key] = value
    if value is None:
        del config["s2mel"][section][key]
    with pytest.raises(CheckpointError, match=f"{section}.{key}"):
        S2MelDims.from_config(config)


def test_the_time_embedders_stay_float32_in_bfloat16(
    tiny_tensors: dict[str, Tensor], tiny_config: dict[str, Any], solver: FlowSolver
) -> None:
    half = load_s2mel(tiny_tensors, tiny_config, dtype=torch.bfloat16)
    assert half.estimator.t_embedder.freqs.dtype == torch.float32
    assert half.estimator.dtype == torch.bfloat16
    assert half.length_regulator.content_in_proj.weight.dtype == torch.float32
    given = [torch.randn(6, 30), torch.randn(6, 10), torch.randn(30, 12), torch.randn(5)]
    [rough] = FlowSolver(half.estimator).solve([FlowSolver(half.estimator).admit(*given, steps=4)])
    [exact] = solver.solve([solver.admit(*given, steps=4)])
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.05 * exact.norm()


def test_code_outside_the_codebook_is_refused(tmp_path: Path) -> None:
    prefix = "quantizer.quantizers.0."
    tensors = {
        f"{prefix}codebook.weight": torch.randn(7, 3),
        f"{prefix}out_project.weight_g": torch.rand(5, 1, 1),
        f"{prefix}out_project.weight_v": torch.randn(5, 3, 1),
        f"{prefix}out_project.bias": torch.randn(5),
        "encoder.0.embed.weight": torch.randn(2),
    }
    save_file(tensors, tmp_path / "codec.safetensors")
    embed = load_code_embedding(tmp_path / "codec.safetensors")
    assert embed(torch.tensor([[0, 6]])).shape == (1, 2, 5)
    assert embed(torch.tensor([], dtype=torch.int64)).shape == (0, 5)
    for code in (-1, 7):
        with pytest.raises(ValueError, match=r"0\.\.6"):
            embed(torch.tensor([2, code]))


def test_codec_file_without_codebook_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "codec.safetensors")
    with pytest.raises(CheckpointError, match="codec"):
        load_code_embedding(tmp_path / "codec.safetensors")
