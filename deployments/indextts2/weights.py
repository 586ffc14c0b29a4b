"""The weights of IndexTTS2 that can be pulled: its own repository and those of the networks it was built on."""

from __future__ import annotations

from deployments.weights.sources import ModelSource, hub_file

REPO, CACHE = "IndexTeam/IndexTTS-2", "hf_cache"
OWN = ("config.yaml", "gpt.pth", "s2mel.pth", "bpe.model", "wav2vec2bert_stats.pt", "feat1.pt", "feat2.pt")
SEMANTIC = ("config.json", "preprocessor_config.json", "model.safetensors")
VOCODER = ("config.json", "bigvgan_generator.pt")

SOURCES = (
    ModelSource(
        name="indextts2",
        licence="bilibili model licence; w2v-BERT, MaskGCT, CAM++ and BigVGAN under their own",
        files=(
            *(hub_file(name, REPO) for name in OWN),
            *(hub_file(f"{CACHE}/w2v-bert-2.0/{name}", "facebook/w2v-bert-2.0", name) for name in SEMANTIC),
            hub_file(
                f"{CACHE}/semantic_codec_model.safetensors",
                "amphion/MaskGCT",
                "semantic_codec/model.safetensors",
            ),
            hub_file(f"{CACHE}/campplus_cn_common.bin", "funasr/campplus", "campplus_cn_common.bin"),
            *(hub_file(f"{CACHE}/bigvgan/{n}", "nvidia/bigvgan_v2_22khz_80band_256x", n) for n in VOCODER),
            hub_file("qwen0.6bemo4-merge/", REPO, required=False),
        ),
        check="deployments.indextts2.checkpoint_check.problems",
    ),
)
