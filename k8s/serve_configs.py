"""Writes `serveConfigV2` of every overlay from configs/*.yaml, the only place where it is edited.

Kustomize reads no file outside its own folder, so the text is repeated there; tests/k8s compares the two.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
OVERLAYS = {"cpu": "cpu.yaml", "single-gpu": "gpu-24g.yaml", "cluster": "cluster.yaml"}
PATCH = """\
# Written by `make k8s` from configs/{config}: edit that file.
apiVersion: ray.io/v1
kind: RayService
metadata:
  name: voicegraph
spec:
  serveConfigV2: |
{text}"""


LISTENING = ("host: 127.0.0.1\n", "host: 0.0.0.0\n")


def in_a_pod(text: str) -> str:
    """The configuration `text` for a cluster: a person's own machine is left alone, a pod is spoken to.

    What may reach it there is up to base/network-policy.yaml and to `args.auth`.
    """
    return text.replace(*LISTENING)


def patch_text(config: str, text: str) -> str:
    """The overlay's patch that carries `text`, the content of configs/`config` as it is in a pod, unchanged.

    Raises ValueError for text that a YAML block would alter: several line ends at its end, tabs in front.
    """
    patch = PATCH.format(config=config, text=indent(text, "    "))
    if yaml.safe_load(patch)["spec"]["serveConfigV2"] != text:
        raise ValueError(f"configs/{config}: a YAML block alters it; use no tabs and one line end at the end")
    return patch


def main() -> None:
    for overlay, config in OVERLAYS.items():
        text = in_a_pod((REPOSITORY / "configs" / config).read_text("utf-8"))
        target = REPOSITORY / "k8s" / "overlays" / overlay / "serve-config.yaml"
        target.write_text(patch_text(config, text), "utf-8")


if __name__ == "__main__":
    main()
