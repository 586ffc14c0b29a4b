"""The rendered manifests: valid for the API server, locked down, and consistent with the images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from k8s_render import (
    KUSTOMIZATIONS,
    OVERLAYS,
    containers,
    one,
    pod_specs,
    ray_service_spec,
    render,
    render_with_components,
    serve_config,
    worker_group,
    worker_groups,
)
from k8s_schema import KUBERNETES_VERSIONS, problems

from deployments.voices.store import DEFAULT_URL
from deployments.weights.registry import MODELS_VARIABLE, registry

Spec = dict[str, Any]
HOME = "/home/voicegraph"  # of the images' user


def _workers(spec: Spec) -> Spec:
    return spec["rayClusterConfig"]["workerGroupSpecs"][0]


def _worker_container(spec: Spec) -> Spec:
    return _workers(spec)["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("kubernetes_version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_manifests_are_valid(kustomization: str, kubernetes_version: str) -> None:
    found = {manifest["kind"]: problems(manifest, kubernetes_version) for manifest in render(kustomization)}
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda spec: _workers(spec).update(maxReplica=2), "maxReplica"),
        (lambda spec: _workers(spec).update(replicas="1"), "replicas"),
        (lambda spec: _workers(spec).update(minReplicas=-1), "minReplicas"),
        (lambda spec: _workers(spec)["rayStartParams"].update({"num-cpus": 4}), "num-cpus"),
        (lambda spec: _worker_container(spec).update(imagePullPolicyy="Always"), "imagePullPolicyy"),
        (lambda spec: _worker_container(spec)["resources"].update(limit={}), "limit"),
        (
            lambda spec: _worker_container(spec)["securityContext"].update(readOnlyRoot=True),
            "readOnlyRoot",
        ),
        (lambda spec: spec.update(rayClusterDeletionDelaySecond=1), "rayClusterDeletionDelaySecond"),
        (lambda spec: spec["upgradeStrategy"].update(type="Rolling"), "Rolling"),
        (lambda spec: spec["rayClusterConfig"]["authOptions"].update(mode="tokens"), "tokens"),
        (lambda spec: spec["rayClusterConfig"].pop("headGroupSpec"), "headGroupSpec"),
    ],
)
def test_mistakes_in_a_ray_service_are_found(break_it: Callable[[Spec], object], named: str) -> None:
    manifest = copy.deepcopy(one("overlays/cpu", "RayService"))
    break_it(manifest["spec"])
    (problem,) = problems(manifest, KUBERNETES_VERSIONS[-1])
    assert named in problem


@pytest.mark.parametrize(("kind", "key"), [("Job", "backofLimit"), ("PersistentVolumeClaim", "accessMode")])
def test_mistakes_in_other_objects_are_found(kind: str, key: str) -> None:
    manifest = copy.deepcopy(one("weights", kind))
    manifest["spec"][key] = 1
    assert key in problems(manifest, KUBERNETES_VERSIONS[-1])[0]


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_pods_meet_the_restricted_standard(kustomization: str) -> None:
    for pod in pod_specs(kustomization):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] >= 1000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_containers_state_their_resources_and_share_one_image(kustomization: str) -> None:
    found = [container for pod in pod_specs(kustomization) for container in containers(pod)]
    for container in found:
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys() & resources["limits"].keys()
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
    (image,) = {container["image"] for container in found}
    assert ":" in image, "an image without a tag is another one tomorrow"
    assert not image.endswith(":latest")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_are_left_to_the_operator(overlay: str) -> None:
    cluster = ray_service_spec(overlay)["rayClusterConfig"]
    for pod in pod_specs(f"overlays/{overlay}"):
        assert not any(key.endswith("Probe") for container in pod["containers"] for key in container)
    assert cluster["rayVersion"] == version("ray"), "KubeRay chooses the probes by rayVersion"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_head_serves_nothing(overlay: str) -> None:
    spec = ray_service_spec(overlay)
    assert spec["excludeHeadPodFromServeSvc"] is True
    assert spec["rayClusterConfig"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_are_named_and_the_policy_opens_only_the_public_ones(overlay: str) -> None:
    cluster = ray_service_spec(overlay)["rayClusterConfig"]
    head, *_ = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    named = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert named == {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "serve": 8000, "metrics": 8080}
    for group in worker_groups(overlay):
        worker, *_ = group["template"]["spec"]["containers"]
        assert {port["name"]: port["containerPort"] for port in worker["ports"]} == {
            "serve": 8000,
            "metrics": 8080,
        }
    rules = one(f"overlays/{overlay}", "NetworkPolicy")["spec"]["ingress"]
    to_everyone = [port["port"] for rule in rules if "from" not in rule for port in rule["ports"]]
    assert to_everyone == [named["serve"], named["metrics"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_policy_covers_every_ray_pod(overlay: str) -> None:
    cluster = ray_service_spec(overlay)["rayClusterConfig"]
    selected = one(f"overlays/{overlay}", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert selected <= group["template"]["metadata"]["labels"].items()


def test_the_gpu_overlay_asks_for_one_gpu() -> None:
    pod = worker_group("single-gpu")["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert any(toleration["key"] == "nvidia.com/gpu" for toleration in pod["tolerations"])


def test_the_weights_are_read_where_the_job_writes_them() -> None:
    groups = [*worker_groups("single-gpu"), *worker_groups("cluster")]
    claim = one("weights", "PersistentVolumeClaim")["metadata"]["name"]
    for pod in (pod_specs("weights")[0], *(group["template"]["spec"] for group in groups)):
        (volume,) = (
            volume
            for volume in pod["volumes"]
            if volume.get("persistentVolumeClaim", {}).get("claimName") == claim
        )
        for container in containers(pod):
            assert {"name": volume["name"], "mountPath": "/models"}.items() <= next(
                mount.items() for mount in container["volumeMounts"] if mount["name"] == volume["name"]
            )
            assert MODELS_VARIABLE not in {entry["name"] for entry in container.get("env", ())}, (
                "set in the image"
            )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_uploaded_voices_have_a_place_that_outlives_the_pods(overlay: str) -> None:
    """The root file system is read-only: where nothing is mounted, uploads would be refused."""
    (application,) = serve_config(overlay)["applications"]
    assert "voices" not in application["args"], "the default place is the one that is mounted"
    claim = one(f"overlays/{overlay}", "PersistentVolumeClaim")["metadata"]["name"]
    for group in worker_groups(overlay):
        pod = group["template"]["spec"]
        (volume,) = (
            volume["name"]
            for volume in pod["volumes"]
            if volume.get("persistentVolumeClaim", {}).get("claimName") == claim
        )
        (mounted,) = (
            mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == volume
        )
        assert mounted == DEFAULT_URL.replace("~", HOME)


def test_the_job_pulls_models_that_exist() -> None:
    pulled = [container["args"] for container in containers(pod_specs("weights")[0])]
    assert [args[:3] for args in pulled] == [["voicegraph", "models", "pull"]] * len(pulled)
    assert {args[3] for args in pulled} <= registry().keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_job_pulls_what_the_overlay_serves(overlay: str) -> None:
    pulled = {container["args"][3] for container in containers(pod_specs("weights")[0])}
    (application,) = serve_config(overlay)["applications"]
    wanted = {
        entry.get("checkpoint", entry["kind"])
        for name, entry in application["args"]["models"].items()
        if name not in application["args"].get("optional", ())
    }
    assert wanted <= pulled


def test_the_cluster_has_a_group_for_every_label_that_its_stages_ask_for() -> None:
    labels = {group["groupName"]: group["labels"] for group in worker_groups("cluster")}
    (application,) = serve_config("cluster")["applications"]
    selectors = [each["ray_actor_options"]["label_selector"] for each in application["deployments"]]
    assert all(selector in labels.values() for selector in selectors)
    assert all(label in selectors for label in labels.values())
    for name, own in labels.items():
        assert own == {"group": name}


def test_only_groups_with_cards_ask_for_them() -> None:
    (application,) = serve_config("cluster")["applications"]
    with_gpus = {
        each["ray_actor_options"]["label_selector"]["group"]
        for each in application["deployments"]
        if each["ray_actor_options"].get("num_gpus")
    }
    for group in worker_groups("cluster"):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == (group["groupName"] in with_gpus)


def test_pods_come_and_go_by_the_operators_autoscaler_which_alone_may_ask_for_them() -> None:
    cluster = ray_service_spec("cluster")["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    head = cluster["headGroupSpec"]["template"]["spec"]
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert token in {mount["mountPath"] for mount in cluster["autoscalerOptions"]["volumeMounts"]}
    assert token not in {mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    mounted = {mount["name"] for mount in cluster["autoscalerOptions"]["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in head["volumes"]}
    assert cluster["autoscalerOptions"]["securityContext"] == head["containers"][0]["securityContext"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] <= group["maxReplicas"]


def test_a_disruption_budget_never_blocks_a_drain() -> None:
    (budget,) = (each for each in render("overlays/cluster") if each["kind"] == "PodDisruptionBudget")
    selected = budget["spec"]["selector"]["matchLabels"].items()
    groups = [
        group
        for group in worker_groups("cluster")
        if selected <= group["template"]["metadata"]["labels"].items()
    ]
    (group,) = groups
    assert 0 < budget["spec"]["minAvailable"] < group["minReplicas"]


@pytest.mark.parametrize("kubernetes_version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid_with_every_component(
    tmp_path: Path, overlay: str, kubernetes_version: str
) -> None:
    manifests = render_with_components(overlay, tmp_path)
    found = {manifest["kind"]: problems(manifest, kubernetes_version) for manifest in manifests}
    assert not any(found.values()), found


def test_components_do_what_they_say(tmp_path: Path) -> None:
    manifests = render_with_components("cluster", tmp_path)
    (service,) = (each for each in manifests if each["kind"] == "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    password = cluster["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert password == {"name": "voicegraph-redis", "key": "password"}
    with_bucket = [
        group["groupName"]
        for group in cluster["workerGroupSpecs"]
        if group["template"]["spec"]["containers"][0].get("envFrom")
    ]
    assert with_bucket == ["relays"]
    with_keys = [
        group["groupName"]
        for group in cluster["workerGroupSpecs"]
        if "keys" in {volume["name"] for volume in group["template"]["spec"]["volumes"]}
    ]
    assert with_keys == ["relays"]


def test_no_secret_lies_in_the_manifests(tmp_path: Path) -> None:
    assert not any(each["kind"] == "Secret" for each in render_with_components("cluster", tmp_path))
