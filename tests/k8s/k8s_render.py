"""The manifests as `kubectl apply -k` would send them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
OVERLAYS = ("cpu", "single-gpu", "cluster")
KUSTOMIZATIONS = (*(f"overlays/{overlay}" for overlay in OVERLAYS), "weights")
COMPONENTS = ("api-keys", "head-fault-tolerance", "voices-bucket")


@cache
def render(kustomization: str) -> tuple[dict[str, Any], ...]:
    """The objects of k8s/`kustomization`, rendered by whichever of kubectl and kustomize is installed."""
    return _rendered(_command(), REPOSITORY / "k8s" / kustomization)


def render_with_components(overlay: str, folder: Path) -> tuple[dict[str, Any], ...]:
    """The overlay with every component, from a copy of k8s/ in `folder`."""
    shutil.copytree(REPOSITORY / "k8s", folder / "k8s")
    target = folder / "k8s" / "with-components"
    target.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../overlays/{overlay}"],
        "components": [f"../components/{name}" for name in COMPONENTS],
    }
    (target / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")
    return _rendered(_command(), target)


def _rendered(command: list[str], folder: Path) -> tuple[dict[str, Any], ...]:
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def _command() -> list[str]:
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build"]
    pytest.skip("neither kubectl nor kustomize is installed")


def one(kustomization: str, kind: str) -> dict[str, Any]:
    (found,) = (manifest for manifest in render(kustomization) if manifest["kind"] == kind)
    return found


def ray_service_spec(overlay: str) -> dict[str, Any]:
    return one(f"overlays/{overlay}", "RayService")["spec"]


def worker_groups(overlay: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray_service_spec(overlay)["rayClusterConfig"]["workerGroupSpecs"]
    return found


def worker_group(overlay: str) -> dict[str, Any]:
    """Of an overlay that has one."""
    (group,) = worker_groups(overlay)
    return group


def pod_specs(kustomization: str) -> list[dict[str, Any]]:
    """The pod specs of head, workers and jobs."""
    pods = []
    for manifest in render(kustomization):
        if manifest["kind"] == "Job":
            pods.append(manifest["spec"]["template"]["spec"])
        elif manifest["kind"] == "RayService":
            cluster = manifest["spec"]["rayClusterConfig"]
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            pods += [group["template"]["spec"] for group in groups]
    return pods


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def serve_config(overlay: str) -> dict[str, Any]:
    return yaml.safe_load(ray_service_spec(overlay)["serveConfigV2"])


def serve_configs_module() -> ModuleType:
    """k8s/serve_configs.py, loaded by path: `k8s` as a module name would also be this test folder."""
    spec = importlib.util.spec_from_file_location("serve_configs", REPOSITORY / "k8s" / "serve_configs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
