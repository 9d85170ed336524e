"""deploy/kubernetes: documents are valid, and consistent with each other, the settings and the model directory."""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from service.settings import Settings
from tests.deploy.documents import DEPLOY, load_documents

KUBERNETES = DEPLOY / "kubernetes"
FILES = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != "kustomization.yaml"]
ROOTS = {"service": KUBERNETES, "kserve": KUBERNETES / "kserve"}
OLDEST, NEWEST = "1.29", "1.37"

Document = dict[str, Any]


def object_schema(required: str, **properties: Any) -> Document:
    """JSON schema of an object with these properties and no others; `required` names some, separated by spaces."""
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": required.split()}


TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
METADATA = object_schema("name", name=TEXT, namespace=TEXT, labels=TEXTS)
ENDPOINT = object_schema("port path interval", port=TEXT, path=TEXT, interval={"type": "string", "pattern": r"^\d+s$"})
MODEL = object_schema(
    "modelFormat storageUri",
    modelFormat=object_schema("name", name={"enum": ["tensorflow"]}, version=TEXT),
    protocolVersion={"enum": ["v1", "v2"]},
    storageUri={"type": "string", "pattern": "^pvc://[a-z-]+/"},
    resources=object_schema("requests limits", requests=TEXTS, limits=TEXTS),
)
CUSTOM_RESOURCES = {  # not part of Kubernetes: the fields used here, from the references of the two projects
    "monitoring.coreos.com/v1 ServiceMonitor": object_schema(
        "selector endpoints",
        selector=object_schema("matchLabels", matchLabels=TEXTS),
        endpoints={"type": "array", "items": ENDPOINT, "minItems": 1},
    ),
    "serving.kserve.io/v1beta1 InferenceService": object_schema(
        "predictor", predictor=object_schema("model", minReplicas=NUMBER, maxReplicas=NUMBER, model=MODEL)
    ),
}


def build_kustomization(directory: Path) -> list[Document]:
    """The documents that `kubectl apply -k` reads from a directory, in the order of its kustomizations."""
    (kustomization,) = load_documents(directory / "kustomization.yaml")
    assert kustomization.keys() <= {"apiVersion", "kind", "namespace", "resources", "images"}
    found = []
    for resource in kustomization["resources"]:
        path = (directory / resource).resolve()
        found += build_kustomization(path) if path.is_dir() else load_documents(path)
    return found


def find_object(root: str, kind: str, name: str = "digits") -> Document:
    """The only object of this kind and name."""
    (found,) = [
        item for item in build_kustomization(ROOTS[root]) if (item["kind"], item["metadata"]["name"]) == (kind, name)
    ]
    return found


def pod_templates() -> dict[str, Document]:
    """All pod templates, by the name of their Deployment, Job or CronJob."""
    everything = [item for path in FILES for item in load_documents(path)]
    specs = [(item["metadata"]["name"], item["spec"]) for item in everything if "spec" in item]
    jobs = [(name, spec.get("jobTemplate", {}).get("spec", spec)) for name, spec in specs]
    return {name: spec["template"] for name, spec in jobs if "template" in spec}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_documents_are_valid_for_the_oldest_and_newest_kubernetes(path: Path) -> None:
    for document in load_documents(path):
        custom = CUSTOM_RESOURCES.get(f"{document['apiVersion']} {document['kind']}")
        if custom:
            schema = object_schema("spec metadata", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=custom)
            jsonschema.validate(document, schema)
        else:
            for version in (OLDEST, NEWEST):
                kubernetes_validate.validate(document, version, strict=True)


def test_every_document_is_in_a_kustomization_without_duplicates() -> None:
    applied = [item for root in ROOTS.values() for item in build_kustomization(root)]
    assert all(document in applied for path in FILES for document in load_documents(path))
    for root in ROOTS.values():
        names = [(item["kind"], item["metadata"]["name"]) for item in build_kustomization(root)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", pod_templates())
def test_pod_is_unprivileged_and_bounded(name: str) -> None:
    spec = pod_templates()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False, "links set DIGITS_PORT=tcp://..., which the service rejects"
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_selectors_match_the_labels_of_the_replicas() -> None:
    labels = find_object("service", "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert find_object("service", "Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert find_object("service", "Service")["spec"]["selector"] == labels
    assert find_object("service", "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert find_object("service", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert find_object("service", "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert find_object("service", "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "digits"


def test_deployment_is_consistent_with_the_settings() -> None:
    spec = find_object("service", "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    settings = Settings.from_environment({item["name"]: item.get("value", "") for item in container["env"]})
    assert container["resources"]["requests"]["cpu"] == str(settings.workers)
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + settings.shutdown_timeout_seconds
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts[f"/app/{settings.model_dir.parts[0]}"]["readOnly"] is True
    assert str(settings.metrics_dir) in mounts
    paths = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}


@pytest.mark.parametrize("root", ROOTS)
def test_claims_and_images_exist(root: str) -> None:
    objects = build_kustomization(ROOTS[root])
    claims = {item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"}
    images = {image["name"] for image in load_documents(ROOTS[root] / "kustomization.yaml")[0]["images"]}
    names = [item["metadata"]["name"] for item in objects]
    for name, template in pod_templates().items():
        if name in names:
            volumes = template["spec"]["volumes"]
            assert {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v} <= claims
            assert {container["image"] for container in template["spec"]["containers"]} <= images


def test_kserve_serves_the_directory_that_the_jobs_write_to() -> None:
    uri = find_object("kserve", "InferenceService")["spec"]["predictor"]["model"]["storageUri"]
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    job = find_object("kserve", "CronJob", "digits-retrain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (volume,) = [volume["name"] for volume in job["volumes"] if claim in str(volume)]
    mounts = {mount["name"]: mount["mountPath"] for mount in job["containers"][0]["volumeMounts"]}
    assert f"{mounts[volume]}/{path}" == f"/app/{Settings().model_dir}"
