"""The manifests: by Kubernetes' own schemas, and by what a cluster of ours must keep to."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tasks.endpoints.config import check_url
from tests.infra.reading import INFRA, documents, manifests, pods, read_json

FOLDER = INFRA / "kubernetes"
MANIFESTS = manifests()
POOLS = ("cpu", "gpu")


def validate(manifest: dict[str, Any]) -> None:
    """Check one object against the schemas of Kubernetes; an unknown field is an error."""
    import kubernetes_validate

    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def named(kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in MANIFESTS if one["kind"] == kind}


def references(value: Any, key: str) -> set[str]:
    """Return the names that `key: {name: …}` refers to, at any depth."""
    found = set()
    if isinstance(value, dict):
        if isinstance(value.get(key), dict):
            found.add(value[key]["name"])
        value = list(value.values())
    if isinstance(value, list):
        found |= {name for item in value for name in references(item, key)}
    return found


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}"
)
def test_kubernetes_accepts_it(manifest: dict[str, Any]) -> None:
    validate(manifest)


def test_an_unknown_field_is_found() -> None:
    broken = json.loads(json.dumps(MANIFESTS[0]))
    broken["spec"] = {"finalisers": []}
    with pytest.raises(Exception, match="finalisers"):
        validate(broken)


def test_every_file_is_applied() -> None:
    (kustomization,) = documents(FOLDER / "kustomization.yaml")
    listed = set(kustomization["resources"]) | {"kustomization.yaml", "README.md"}
    (generated,) = kustomization["configMapGenerator"]
    assert {path.name for path in FOLDER.iterdir()} == listed | set(generated["files"])
    assert generated["name"] == "pools"


def test_config_maps_secrets_and_accounts_exist() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    made_by_hand = set(re.findall(r"create secret generic (\w+)", readme))
    used = references(MANIFESTS, "configMapKeyRef") | references(MANIFESTS, "configMapRef")
    used |= references(MANIFESTS, "configMap")
    assert used <= named("ConfigMap") | {"pools"}
    assert references(MANIFESTS, "secretKeyRef") == made_by_hand == {"servers", "clients"}
    assert {pod.get("serviceAccountName", "worker") for pod in pods().values()} == {"worker"}
    assert named("ServiceAccount") == {"worker", "job"}


def test_no_secret_is_in_a_file() -> None:
    assert not named("Secret")
    for pod in pods().values():
        for container in pod["containers"]:
            for variable in container["env"]:
                if re.search("PASSWORD|SECRET|AUTH|ACCESS_KEY", variable["name"]):
                    assert "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_no_pod_is_root_and_none_may_become_it() -> None:
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"], name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert "limits" in container["resources"], name


def test_nothing_is_published() -> None:
    assert not named("Ingress")
    services = [
        one["spec"].get("type", "ClusterIP") for one in MANIFESTS if one["kind"] == "Service"
    ]
    assert set(services) == {"ClusterIP"}
    closed = next(o for o in MANIFESTS if o["metadata"]["name"] == "nothing-by-default")
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_services_find_their_pods() -> None:
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in MANIFESTS
        if one["kind"] in ("Deployment", "StatefulSet")
    }
    for one in MANIFESTS:
        if one["kind"] == "Service":
            wanted = one["spec"]["selector"].items()
            (found,) = [name for name, have in labels.items() if wanted <= have.items()]
            ports = {p["containerPort"] for p in pods()[found]["containers"][0]["ports"]}
            assert {port["port"] for port in one["spec"]["ports"]} == ports


def rendered(pool: str) -> dict[str, Any]:
    """Return the Kubernetes job of a flow run, as Prefect fills in the template."""
    from prefect.utilities.templating import apply_values

    template = read_json(FOLDER / f"pool-{pool}.json")
    defaults = {
        name: item["default"]
        for name, item in template["variables"]["properties"].items()
        if "default" in item
    }
    given = {"command": "prefect flow-run execute", "labels": {"a": "b"}, "name": "run"}
    filled = apply_values(template["job_configuration"], {**defaults, **given})
    manifest: dict[str, Any] = filled["job_manifest"]
    # As Prefect's worker does with them.
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["args"] = filled["command"].split()
    container["env"] = [{"name": "PREFECT_FLOW_RUN_ID", "value": "1"}]
    return manifest


@pytest.mark.parametrize("pool", POOLS)
def test_the_job_of_a_pool_is_one(pool: str) -> None:
    job = rendered(pool)
    validate(job)
    assert "{{" not in json.dumps(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "sparring:0.1.0"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == (1 if pool == "gpu" else 0)
    assert pod["serviceAccountName"] == "job" and pod["securityContext"]["runAsNonRoot"]
    # Prefect retries, and a stage goes on from its last part; Kubernetes must not begin again.
    assert job["spec"]["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
    assert references(container, "configMapRef") == {"clients"}
    # Keys of paid servers go where gold is collected, the hub's token where models are fetched.
    keys = {"api-keys", "hub-token"} if pool == "cpu" else set()
    assert references(container, "secretRef") == {"clients"} | keys


def sources(template: dict[str, Any]) -> list[Any]:
    """Where the environment of a pool's jobs comes from."""
    spec = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    found: list[Any] = spec["containers"][0]["envFrom"]
    return found


def test_the_pools_differ_in_their_gpus_keys_and_internet_only() -> None:
    cpu, gpu = (read_json(FOLDER / f"pool-{pool}.json") for pool in POOLS)
    assert cpu["variables"]["properties"]["gpus"].pop("default") == 0
    assert gpu["variables"]["properties"]["gpus"].pop("default") == 1
    assert cpu["variables"]["properties"]["internet"].pop("default") == "yes"
    assert gpu["variables"]["properties"]["internet"].pop("default") == "no"
    for name in ("hub-token", "api-keys"):
        assert sources(cpu).pop() == {"secretRef": {"name": name, "optional": True}}
    assert cpu == gpu


def test_each_pool_has_its_worker() -> None:
    for pool in POOLS:
        pod = pods()[f"worker-{pool}"]
        command = pod["containers"][0]["command"]
        assert command[command.index("--pool") + 1] == pool
        assert command[-1] == f"/pools/pool-{pool}.json"


def test_a_job_gets_the_gpus_of_its_stage() -> None:
    from prefect.utilities.templating import apply_values

    for pool, default in (("cpu", 0), ("gpu", 1)):
        template = read_json(FOLDER / f"pool-{pool}.json")
        assert template["variables"]["properties"]["gpus"]["default"] == default
        manifest = apply_values(template["job_configuration"]["job_manifest"], {"gpus": 8})
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 8


def reachable(labels: dict[str, str], target: dict[str, str] | str, port: int) -> bool:
    """Whether a pod may reach pods of these labels here, or an address, over TCP.

    As Kubernetes reads policies: a pod that one selects reaches what one of those allows.
    """
    own = [one["spec"] for one in MANIFESTS if one["kind"] == "NetworkPolicy"]
    own = [one for one in own if "Egress" in one["policyTypes"] and selects(one, labels)]
    rules = [rule for one in own for rule in one["egress"]]
    return not own or any(
        port in [one["port"] for one in rule.get("ports", [{"port": port}])]
        and any(meets(peer, target) for peer in rule["to"])
        for rule in rules
    )


def selects(policy: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = policy["podSelector"].get("matchLabels", {})
    assert set(policy["podSelector"]) <= {"matchLabels"}, "no other selector is used for egress"
    return bool(wanted.items() <= labels.items())


def meets(peer: dict[str, Any], target: dict[str, str] | str) -> bool:
    if isinstance(target, str):
        block = peer.get("ipBlock", {"cidr": "255.255.255.255/32"})
        address = ip_address(target)
        outside = any(address in ip_network(one) for one in block.get("except", []))
        return address in ip_network(block["cidr"]) and not outside
    here = "podSelector" in peer and "namespaceSelector" not in peer
    return here and peer["podSelector"]["matchLabels"].items() <= target.items()


def job_labels(pool: str) -> dict[str, str]:
    labels: dict[str, str] = rendered(pool)["spec"]["template"]["metadata"]["labels"]
    return labels


BUCKET, WORLD = "192.0.2.7", "8.8.8.8"


@pytest.mark.parametrize("pool", POOLS)
def test_a_job_reaches_what_it_works_with_and_nothing_else(pool: str) -> None:
    job = job_labels(pool)
    for labels, port in (({"app": "prefect"}, 4200), ({"app": "mlflow"}, 5000), (job, 29500)):
        assert reachable(job, labels, port), labels
    assert reachable(job, BUCKET, 443)
    for target, port in (
        ({"app": "postgres"}, 5432),
        ({"app": "prefect"}, 22),
        (BUCKET, 80),
        (WORLD, 80),
        ("169.254.169.254", 443),  # where a cloud gives out its machines' credentials
        ("169.254.169.254", 80),
        ("10.0.0.1", 443),  # Kubernetes' own interface, as it usually is
        ("192.168.1.1", 443),
    ):
        assert not reachable(job, target, port), (target, port)


def test_the_pool_with_the_keys_alone_reaches_the_world() -> None:
    assert reachable(job_labels("cpu"), WORLD, 443) and not reachable(job_labels("gpu"), WORLD, 443)
    (settings,) = [one for one in MANIFESTS if one["metadata"]["name"] == "clients"]
    assert settings["data"]["SPARRING_ENDPOINTS"] == "api.openai.com,127.0.0.1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARRING_ENDPOINTS", settings["data"]["SPARRING_ENDPOINTS"])
        check_url("https://api.openai.com/v1")
        with pytest.raises(ValueError, match="not among the hosts"):
            check_url("https://api.elsewhere.example/v1")
