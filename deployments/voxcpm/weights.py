"""The weights of VoxCPM that can be pulled: three versions, one repository each (voxcpm.md 2)."""

from __future__ import annotations

from dataclasses import replace

from deployments.weights.sources import ModelFile, ModelSource, hub_file

# As a repository has them, best first: versions were published as pickles before they were as safetensors.
NETWORKS = ("model.safetensors", "pytorch_model.bin")
AUDIO_VAE = ("audiovae.safetensors", "audiovae.pth")
SMALL = ("config.json", "tokenizer.json", "tokenizer_config.json")
CHECK = "deployments.voxcpm.checkpoint_check.problems"


def _source(name: str, repo: str) -> ModelSource:
    owner, _, model = repo.partition("/")

    def file(path: str) -> ModelFile:
        return hub_file(path, repo, modelscope=f"{owner.replace('openbmb', 'OpenBMB')}/{model}")

    def any_of(paths: tuple[str, ...]) -> ModelFile:
        best, *others = map(file, paths)
        return replace(best, alternatives=tuple(others))

    files = (*map(file, SMALL), any_of(NETWORKS), any_of(AUDIO_VAE))
    return ModelSource(name, "Apache-2.0", files, check=CHECK)


SOURCES = (
    _source("voxcpm-0.5b", "openbmb/VoxCPM-0.5B"),
    _source("voxcpm-1.5", "openbmb/VoxCPM1.5"),
    _source("voxcpm-2", "openbmb/VoxCPM2"),
)
