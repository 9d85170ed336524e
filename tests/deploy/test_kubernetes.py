"""deploy/kubernetes: every document fits its schema, and the documents fit each other, the service and the images."""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from service.settings import Settings
from tests.deploy.documents import DEPLOY, documents

KUBERNETES = DEPLOY / "kubernetes"
FILES = [path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name != "kustomization.yaml"]
ROOTS = {"service": KUBERNETES, "kserve": KUBERNETES / "kserve"}
OLDEST, NEWEST = "1.29", "1.37"

Document = dict[str, Any]


def object_of(required: str, **properties: Any) -> Document:
    """The schema of an object that has these properties and no other."""
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return whole | ({"required": required.split()} if required else {})


TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
METADATA = object_of("name", name=TEXT, namespace=TEXT, labels=TEXTS)
ENDPOINT = object_of("port path interval", port=TEXT, path=TEXT, interval={"type": "string", "pattern": r"^\d+s$"})
MODEL = object_of(
    "modelFormat storageUri",
    modelFormat=object_of("name", name={"enum": ["tensorflow"]}, version=TEXT),
    protocolVersion={"enum": ["v1", "v2"]},
    storageUri={"type": "string", "pattern": "^pvc://[a-z-]+/"},
    resources=object_of("requests limits", requests=TEXTS, limits=TEXTS),
)
CUSTOM = {  # Kubernetes has no schema of these: what is used of them here, from their projects' references
    "monitoring.coreos.com/v1 ServiceMonitor": object_of(
        "selector endpoints",
        selector=object_of("matchLabels", matchLabels=TEXTS),
        endpoints={"type": "array", "items": ENDPOINT, "minItems": 1},
    ),
    "serving.kserve.io/v1beta1 InferenceService": object_of(
        "predictor", predictor=object_of("model", minReplicas=NUMBER, maxReplicas=NUMBER, model=MODEL)
    ),
}


def built(directory: Path) -> list[Document]:
    """What `kubectl apply -k` takes from a directory, as its kustomizations list it."""
    (kustomization,) = documents(directory / "kustomization.yaml")
    assert kustomization.keys() <= {"apiVersion", "kind", "namespace", "resources", "images"}
    found = []
    for resource in kustomization["resources"]:
        path = (directory / resource).resolve()
        found += built(path) if path.is_dir() else documents(path)
    return found


def one(root: str, kind: str, name: str = "digits") -> Document:
    """The object of a kind and name."""
    (found,) = [item for item in built(ROOTS[root]) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> dict[str, Document]:
    """Every template of a pod, by the name of what makes the pods."""
    everything = [item for path in FILES for item in documents(path)]
    specs = [(item["metadata"]["name"], item["spec"]) for item in everything if "spec" in item]
    jobs = [(name, spec.get("jobTemplate", {}).get("spec", spec)) for name, spec in specs]
    return {name: spec["template"] for name, spec in jobs if "template" in spec}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_every_document_fits_its_schema(path: Path) -> None:
    for document in documents(path):
        custom = CUSTOM.get(f"{document['apiVersion']} {document['kind']}")
        if custom:
            schema = object_of("spec metadata", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=custom)
            jsonschema.validate(document, schema)
        else:
            for version in (OLDEST, NEWEST):
                kubernetes_validate.validate(document, version, strict=True)


def test_every_file_is_applied() -> None:
    applied = [item for root in ROOTS.values() for item in built(root)]
    assert all(document in applied for path in FILES for document in documents(path))
    for root in ROOTS.values():
        names = [(item["kind"], item["metadata"]["name"]) for item in built(root)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", pods())
def test_every_pod_is_locked(name: str) -> None:
    spec = pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False, "DIGITS_PORT=tcp://... would be a setting that is wrong"
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_everything_selects_the_replicas() -> None:
    labels = one("service", "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert one("service", "Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert one("service", "Service")["spec"]["selector"] == labels
    assert one("service", "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert one("service", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert one("service", "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert one("service", "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "digits"


def test_the_service_is_started_as_its_settings_allow() -> None:
    spec = one("service", "Deployment")["spec"]["template"]["spec"]
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
def test_every_claim_and_image_is_there(root: str) -> None:
    everything = built(ROOTS[root])
    claims = {item["metadata"]["name"] for item in everything if item["kind"] == "PersistentVolumeClaim"}
    named = {image["name"] for image in documents(ROOTS[root] / "kustomization.yaml")[0]["images"]}
    used = [item["metadata"]["name"] for item in everything]
    for name, template in pods().items():
        if name in used:
            volumes = template["spec"]["volumes"]
            assert {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v} <= claims
            assert {container["image"] for container in template["spec"]["containers"]} <= named


def test_kserve_serves_the_directory_that_the_jobs_write() -> None:
    uri = one("kserve", "InferenceService")["spec"]["predictor"]["model"]["storageUri"]
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    job = one("kserve", "CronJob", "digits-retrain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (volume,) = [volume["name"] for volume in job["volumes"] if claim in str(volume)]
    mounts = {mount["name"]: mount["mountPath"] for mount in job["containers"][0]["volumeMounts"]}
    assert f"{mounts[volume]}/{path}" == f"/app/{Settings().model_dir}"
