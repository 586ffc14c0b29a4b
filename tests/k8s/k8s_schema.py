"""Closed schemas for the manifests, checked without a cluster: a misspelled key is an error.

Pods, jobs, claims and policies follow Kubernetes' own schemas (package kubernetes-validate, strict variant).
The RayService CRD is in no package index, so KubeRay's fields are written down here from the API types of
KubeRay v1.7 (ray-operator/apis/ray/v1). Deprecated fields and features that nothing here uses (mTLS, history
server, network policies by the operator, RocksDB) are left out and therefore rejected.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import kubernetes_validate
from jsonschema import Draft202012Validator

Schema = dict[str, Any]

KUBERNETES_VERSIONS = ("1.30", "1.36")
STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
STRING_MAP: Schema = {"type": "object", "additionalProperties": STRING}


def _core(name: str) -> Schema:
    return {"$ref": f"#/$defs/io.k8s.api.core.v1.{name}"}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def _closed(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


REDIS_CREDENTIAL = _closed(value=STRING, valueFrom=_core("EnvVarSource"))
AUTOSCALER_OPTIONS = _closed(
    version=_one_of("v1", "v2"),
    resources=_core("ResourceRequirements"),
    image=STRING,
    imagePullPolicy=_one_of("Always", "IfNotPresent", "Never"),
    securityContext=_core("SecurityContext"),
    idleTimeoutSeconds=COUNT,
    upscalingMode=_one_of("Default", "Aggressive", "Conservative"),
    env=_list_of(_core("EnvVar")),
    envFrom=_list_of(_core("EnvFromSource")),
    volumeMounts=_list_of(_core("VolumeMount")),
    command=_list_of(STRING),
    args=_list_of(STRING),
)
HEAD_GROUP = _closed(
    ("template",),
    template=_core("PodTemplateSpec"),
    headService=_core("Service"),
    enableIngress=BOOLEAN,
    resources=STRING_MAP,
    labels=STRING_MAP,
    rayStartParams=STRING_MAP,
    serviceType=_one_of("ClusterIP", "NodePort", "LoadBalancer"),
)
WORKER_GROUP = _closed(
    ("groupName", "template", "minReplicas", "maxReplicas"),
    groupName=STRING,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    numOfHosts=COUNT,
    idleTimeoutSeconds=COUNT,
    priority={"type": "integer"},
    suspend=BOOLEAN,
    resources=STRING_MAP,
    labels=STRING_MAP,
    rayStartParams=STRING_MAP,
    scaleStrategy=_closed(workersToDelete=_list_of(STRING)),
    template=_core("PodTemplateSpec"),
)
RAY_CLUSTER = _closed(
    ("headGroupSpec",),
    headGroupSpec=HEAD_GROUP,
    workerGroupSpecs=_list_of(WORKER_GROUP),
    rayVersion=STRING,
    authOptions=_closed(mode=_one_of("disabled", "token"), secretName=STRING),
    enableInTreeAutoscaling=BOOLEAN,
    autoscalerOptions=AUTOSCALER_OPTIONS,
    gcsFaultToleranceOptions=_closed(
        ("redisAddress",),
        redisAddress=STRING,
        redisUsername=REDIS_CREDENTIAL,
        redisPassword=REDIS_CREDENTIAL,
        externalStorageNamespace=STRING,
    ),
    headServiceAnnotations=STRING_MAP,
    managedBy=_one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    suspend=BOOLEAN,
)
UPGRADE_STRATEGY = _closed(
    type=_one_of("NewCluster", "NewClusterWithIncrementalUpgrade", "None"),
    clusterUpgradeOptions=_closed(
        ("stepSizePercent", "intervalSeconds", "gatewayClassName"),
        maxSurgePercent=COUNT,
        stepSizePercent=COUNT,
        intervalSeconds=COUNT,
        gatewayClassName=STRING,
    ),
)
RAY_SERVICE = _closed(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayService"},
    metadata={"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
    spec=_closed(
        ("rayClusterConfig",),
        serveConfigV2=STRING,
        rayClusterConfig=RAY_CLUSTER,
        upgradeStrategy=UPGRADE_STRATEGY,
        rayClusterDeletionDelaySeconds=COUNT,
        excludeHeadPodFromServeSvc=BOOLEAN,
        serveService=_core("Service"),
    ),
)


@cache
def _ray_service_validator(kubernetes_version: str) -> Draft202012Validator:
    package = files("kubernetes_validate") / "kubernetes-json-schema"
    definitions = json.loads(
        (package / f"v{kubernetes_version}.0-local-strict" / "_definitions.json").read_text("utf-8")
    )
    return Draft202012Validator({**RAY_SERVICE, "$defs": definitions["$defs"]})


def problems(manifest: dict[str, Any], kubernetes_version: str) -> list[str]:
    """What the API server of that version would refuse, as `path: reason`; empty if nothing."""
    if manifest["kind"] == "RayService":
        errors = _ray_service_validator(kubernetes_version).iter_errors(manifest)
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    try:
        kubernetes_validate.validate(manifest, kubernetes_version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []
