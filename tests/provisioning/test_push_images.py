"""Images are pushed by name and referred to by digest."""

import json
from pathlib import Path

import pytest

from dags.provisioning.push_images import REPOSITORY, main
from dags.settings import PIPELINES

REGISTRY = "us-east1-docker.pkg.dev/acme-cameras/tuskwatch"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``docker`` that writes down what it is asked; it refuses what ``refuse`` names."""
    program = tmp_path / "docker"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
if [ -f {tmp_path}/refuse ] && [ "$1" = "$(cat {tmp_path}/refuse)" ]; then echo "denied: no permission" >&2; exit 1; fi
if [ "$1" = image ]; then name=${{5%:*}}; echo "[\\"other/x@sha256:bb\\", \\"$name@sha256:aa\\"]"; fi
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_four_images_are_pushed_and_named_by_digest(docker: Path, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    assert main([REGISTRY, "--specs", str(specs)]) == 0
    for pipeline, folder in PIPELINES.items():
        spec = json.loads((specs / folder / "pipeline.json").read_text())
        shipped = json.loads((REPOSITORY / "stages" / folder / "pipeline.json").read_text())
        assert spec["transform"].pop("image") == f"{REGISTRY}/{pipeline}@sha256:aa"
        del shipped["transform"]["image"]
        assert spec == shipped
    assert f"push --quiet {REGISTRY}/validate:0.1.0" in (docker / "calls").read_text().splitlines()


@pytest.mark.parametrize(("command", "hint"), [("tag", "make images"), ("push", "gcloud auth configure-docker")])
def test_a_refusal_is_told_with_the_way_out(
    docker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, hint: str
) -> None:
    (docker / "refuse").write_text(command)
    assert main([REGISTRY, "--specs", str(tmp_path / "specs")]) == 1
    error = capsys.readouterr().err
    assert "denied: no permission" in error
    assert hint in error
    assert not (tmp_path / "specs").exists()
