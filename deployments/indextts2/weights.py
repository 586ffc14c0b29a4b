"""The weights of IndexTTS2 that can be pulled: its own repository and those of the networks it was built on."""

from __future__ import annotations

from deployments.weights.sources import ModelFile, ModelSource, hub_file

CACHE = "hf_cache"
REPO = "IndexTeam/IndexTTS-2"
OWN = ("config.yaml", "gpt.pth", "s2mel.pth", "bpe.model", "wav2vec2bert_stats.pt", "feat1.pt", "feat2.pt")
SEMANTIC = ("config.json", "preprocessor_config.json", "model.safetensors")
VOCODER = ("config.json", "bigvgan_generator.pt")


def _own(name: str, *, required: bool = True) -> ModelFile:
    return hub_file(name, REPO, modelscope=REPO, required=required)


def _semantic(name: str) -> ModelFile:
    target = f"{CACHE}/w2v-bert-2.0/{name}"
    return hub_file(target, "facebook/w2v-bert-2.0", name, modelscope="AI-ModelScope/w2v-bert-2.0")


def _vocoder(name: str) -> ModelFile:
    repo = "bigvgan_v2_22khz_80band_256x"
    return hub_file(f"{CACHE}/bigvgan/{name}", f"nvidia/{repo}", name, modelscope=f"nv-community/{repo}")


SOURCES = (
    ModelSource(
        name="indextts2",
        licence="bilibili model licence; w2v-BERT, MaskGCT, CAM++ and BigVGAN under their own",
        files=(
            *map(_own, OWN),
            *map(_semantic, SEMANTIC),
            hub_file(
                f"{CACHE}/semantic_codec_model.safetensors",
                "amphion/MaskGCT",
                "semantic_codec/model.safetensors",
                modelscope="amphion/MaskGCT",
            ),
            hub_file(
                f"{CACHE}/campplus_cn_common.bin",
                "funasr/campplus",
                "campplus_cn_common.bin",
                modelscope="iic/speech_campplus_sv_zh-cn_16k-common",
            ),
            *map(_vocoder, VOCODER),
            _own("qwen0.6bemo4-merge/", required=False),
        ),
        check="deployments.indextts2.checkpoint_check.problems",
    ),
)
