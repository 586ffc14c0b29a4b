"""The weights of IndexTTS that can be pulled: its own repositories and those of the networks it was built on."""

from __future__ import annotations

from dataclasses import replace

from deployments.weights.sources import HubFile, ModelFile, ModelScopeFile, ModelSource, hub_file

CACHE = "hf_cache"
CHECK = "deployments.indextts2.checkpoint_check.problems"

TWO = "IndexTeam/IndexTTS-2"
OWN_TWO = (
    *("config.yaml", "gpt.pth", "s2mel.pth", "bpe.model"),
    *("wav2vec2bert_stats.pt", "feat1.pt", "feat2.pt"),
)

TWO_AND_A_HALF = "IndexTeam/IndexTTS-2.5"
REVISION_25 = "c39ce5ba981572cb187443877ff559dfb246ce63"
# Bytes and the beginning of the sha256 at that revision (indextts2.5-delta.md 1).
OWN_25 = {
    "config.yaml": (2_860, "18adf417be3e8f5e"),
    "gpt.pth": (3_259_599_833, "43a8f4c30eccdf20"),
    "codec.pth": (607_290_935, "d15cbed16a40f478"),
    "s2mel.pth": (414_908_601, "9b1b0003fc189c94"),
    "multilingual_zh_ja_yue_char_del.tiktoken": (907_395, "747979631e813193"),
    "wav2vec2bert_stats.pt": (9_343, "c9c176c2b8850ab2"),
    "feat1.pt": (57_170, "f219cb447d80216b"),
    "feat2.pt": (374_866, "9c4292e96dee535a"),
}

EMOTION_CLASSIFIER = "qwen0.6bemo4-merge/"
SEMANTIC = ("config.json", "preprocessor_config.json", "model.safetensors")
VOCODER = ("config.json", "bigvgan_generator.pt")
BUILT_ON = "w2v-BERT, CAM++ and BigVGAN under their own"


def _own_25(name: str) -> ModelFile:
    size, digest = OWN_25[name]
    return replace(_at_revision_25(name), size=size, sha256=digest)


def _at_revision_25(name: str, *, required: bool = True) -> ModelFile:
    origins = (HubFile(TWO_AND_A_HALF, name, REVISION_25), ModelScopeFile(TWO_AND_A_HALF, name))
    return ModelFile(name, origins, required=required)


def _semantic(name: str) -> ModelFile:
    target = f"{CACHE}/w2v-bert-2.0/{name}"
    return hub_file(target, "facebook/w2v-bert-2.0", name, modelscope="AI-ModelScope/w2v-bert-2.0")


def _vocoder(name: str) -> ModelFile:
    repo = "bigvgan_v2_22khz_80band_256x"
    return hub_file(f"{CACHE}/bigvgan/{name}", f"nvidia/{repo}", name, modelscope=f"nv-community/{repo}")


SHARED = (
    *map(_semantic, SEMANTIC),
    hub_file(
        f"{CACHE}/campplus_cn_common.bin",
        "funasr/campplus",
        "campplus_cn_common.bin",
        modelscope="iic/speech_campplus_sv_zh-cn_16k-common",
    ),
    *map(_vocoder, VOCODER),
)

SOURCES = (
    ModelSource(
        name="indextts2",
        licence=f"bilibili model licence; MaskGCT, {BUILT_ON}",
        files=(
            *(hub_file(name, TWO, modelscope=TWO) for name in OWN_TWO),
            hub_file(
                f"{CACHE}/semantic_codec_model.safetensors",
                "amphion/MaskGCT",
                "semantic_codec/model.safetensors",
                modelscope="amphion/MaskGCT",
            ),
            *SHARED,
            hub_file(EMOTION_CLASSIFIER, TWO, modelscope=TWO, required=False),
        ),
        check=CHECK,
    ),
    ModelSource(
        name="indextts2.5",
        licence=f"that of its repository; {BUILT_ON}",
        files=(
            *map(_own_25, OWN_25),
            *SHARED,
            _at_revision_25(EMOTION_CLASSIFIER, required=False),
        ),
        check=CHECK,
    ),
)
