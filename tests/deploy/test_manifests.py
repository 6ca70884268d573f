"""The manifest for Kubernetes, compared with the image and the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from roomcast.http.all_routes import ROUTES
from roomcast.model.settings import OPTIONS
from roomcast.version import __version__
from tests.deploy.engine import steps

ROOT = Path(__file__).parents[2]
MANIFEST = {
    document["kind"]: document
    for document in yaml.safe_load_all((ROOT / "deploy/kubernetes/roomcast.yaml").read_text())
}
POD: dict[str, Any] = MANIFEST["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
IMAGE = dict(steps((ROOT / "Containerfile").read_text()))


def test_the_pod_runs_as_the_images_user_on_its_port_and_volume() -> None:
    assert IMAGE["USER"] == f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['fsGroup']}"
    assert [str(port["containerPort"]) for port in CONTAINER["ports"]] == [IMAGE["EXPOSE"]]
    assert IMAGE["VOLUME"] in [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert CONTAINER["image"].endswith(f":{__version__}")


def test_its_probes_are_routes_and_its_variables_are_options() -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "GET" in ROUTES[CONTAINER[probe]["httpGet"]["path"]]
    known = {option.variable for option in OPTIONS.values()} | {"ROOMCAST_CONFIG"}
    assert {variable["name"] for variable in CONTAINER["env"]} <= known


def test_there_is_time_to_drain_and_one_server_for_the_file() -> None:
    assert POD["terminationGracePeriodSeconds"] > 10
    spec = MANIFEST["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_the_mounted_volumes_and_files_are_those_that_are_named() -> None:
    volumes = {volume["name"] for volume in POD["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == volumes
    places = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    configuration = MANIFEST["ConfigMap"]["data"]["roomcast.toml"]
    [secret] = re.findall(r'secret_files = \["(.*?)"\]', configuration)
    assert str(Path(secret).parent) in places
    [config] = [v["value"] for v in CONTAINER["env"] if v["name"] == "ROOMCAST_CONFIG"]
    assert str(Path(config).parent) in places
