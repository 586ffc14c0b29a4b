"""Dimensions of indextts2-nano (recipe.md 1) in the form of the official config.yaml."""

from __future__ import annotations

from typing import Any

SAMPLE_RATE_HZ = 22_050
HOP = 256
MEL_BANDS = 80
CODE_SECONDS = 0.02  # one stacked encoder frame
SEMANTIC_WIDTH = 192
SEMANTIC_LAYERS = 4
CODEBOOK_SIZE = 1024
STYLE_WIDTH = 192

# Every symbol that the teacher's American phonemes use; class 0 is silence, space and punctuation.
PHONES = "AIOTWYbdfhijklmnpstuvwzæðŋɑɔəɛɜɡɪɹʃʊʌʒʤʧθᵊᵻ"
STRESS_MARKS = "ˈˌ"
PHONE_CLASSES = len(PHONES) + 1

SEMANTIC_ENCODER: dict[str, Any] = {
    "hidden_size": SEMANTIC_WIDTH,
    "num_hidden_layers": SEMANTIC_LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "feature_projection_input_dim": 160,
    "hidden_act": "swish",
    "conv_depthwise_kernel_size": 15,
    "position_embeddings_type": "relative_key",
    "left_max_position_embeddings": 64,
    "right_max_position_embeddings": 8,
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
}

VOCODER: dict[str, Any] = {"type": "istft", "mel_fits": 2}

CONFIG: dict[str, Any] = {
    "languages": ["en"],
    "dataset": {
        "bpe_model": "bpe.model",
        "sample_rate": 24000,
        "squeeze": False,
        "mel": {
            "sample_rate": 24000,
            "n_fft": 1024,
            "hop_length": 256,
            "win_length": 1024,
            "n_mels": 100,
            "mel_fmin": 0,
            "normalize": False,
        },
    },
    "gpt": {
        "model_dim": 256,
        "max_mel_tokens": 800,
        "max_text_tokens": 250,
        "heads": 4,
        "use_mel_codes_as_input": True,
        "mel_length_compression": 1024,
        "layers": 6,
        "number_text_tokens": 100,
        "number_mel_codes": CODEBOOK_SIZE + 2,
        "start_mel_token": CODEBOOK_SIZE,
        "stop_mel_token": CODEBOOK_SIZE + 1,
        "start_text_token": 0,
        "stop_text_token": 1,
        "train_solo_embeddings": False,
        "condition_type": "conformer_perceiver",
        "condition_module": {
            "output_size": 96,
            "linear_units": 384,
            "attention_heads": 4,
            "num_blocks": 2,
            "input_layer": "conv2d2",
            "perceiver_mult": 2,
        },
        "emo_condition_module": {
            "output_size": 96,
            "linear_units": 192,
            "attention_heads": 2,
            "num_blocks": 1,
            "input_layer": "conv2d2",
            "perceiver_mult": 2,
        },
    },
    "semantic_codec": {
        "codebook_size": CODEBOOK_SIZE,
        "hidden_size": SEMANTIC_WIDTH,
        "codebook_dim": 8,
        "vocos_dim": 128,
        "vocos_intermediate_dim": 384,
        "vocos_num_layers": 4,
    },
    "s2mel": {
        "preprocess_params": {
            "sr": SAMPLE_RATE_HZ,
            "spect_params": {
                "n_fft": 1024,
                "win_length": 1024,
                "hop_length": HOP,
                "n_mels": MEL_BANDS,
                "fmin": 0,
                "fmax": "None",
            },
        },
        "dit_type": "DiT",
        "reg_loss_type": "l1",
        "style_encoder": {"dim": STYLE_WIDTH},
        "length_regulator": {
            "channels": 192,
            "is_discrete": False,
            "in_channels": SEMANTIC_WIDTH,
            "content_codebook_size": 2048,
            "sampling_ratios": [1, 1, 1, 1],
            "vector_quantize": False,
            "n_codebooks": 1,
            "quantizer_dropout": 0.0,
            "f0_condition": False,
            "n_f0_bins": 512,
        },
        "DiT": {
            "hidden_dim": 192,
            "num_heads": 3,
            "depth": 5,
            "class_dropout_prob": 0.1,
            "block_size": 8192,
            "in_channels": MEL_BANDS,
            "style_condition": True,
            "final_layer_type": "wavenet",
            "target": "mel",
            "content_dim": 192,
            "content_codebook_size": 1024,
            "content_type": "discrete",
            "f0_condition": False,
            "n_f0_bins": 512,
            "content_codebooks": 1,
            "is_causal": False,
            "long_skip_connection": True,
            "zero_prompt_speech_token": False,
            "time_as_token": False,
            "style_as_token": False,
            "uvit_skip_connection": True,
            "add_resblock_in_transformer": False,
        },
        "wavenet": {
            "hidden_dim": 192,
            "num_layers": 3,
            "kernel_size": 5,
            "dilation_rate": 1,
            "p_dropout": 0.2,
            "style_condition": True,
        },
    },
    "gpt_checkpoint": "gpt.pth",
    "w2v_stat": "wav2vec2bert_stats.pt",
    "s2mel_checkpoint": "s2mel.pth",
    "emo_matrix": "feat2.pt",
    "spk_matrix": "feat1.pt",
    "emo_num": [1, 1, 1, 1, 1, 1, 1, 1],
    "vocoder": {"type": "istft", "name": "istft"},
    "version": 2.0,
    "nano": {"semantic_layer": SEMANTIC_LAYERS, "generation": {"repetition_penalty": 1.0}, "steps": 10},
}
