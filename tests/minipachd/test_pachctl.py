"""The lines that users type, with a real ``pachctl``: the one that the environment variable PACHCTL names, else the one on the PATH."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Engine

BINARY = os.environ.get("PACHCTL") or shutil.which("pachctl")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARY, reason="no pachctl: put one on the PATH, or name it in the environment variable PACHCTL"),
]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COPY = {"cmd": ["sh", "-e"], "stdin": ["cp -r $PFS_ROOT/images/* $PFS_ROOT/out/", "echo copied"], "image": "none:1"}


class Pachctl:
    """pachctl with a configuration of its own."""

    def __init__(self, folder: Path, address: str) -> None:
        self._environment = os.environ | {"PACH_CONFIG": str(folder / "config.json"), "NO_COLOR": "1", "TMPDIR": str(folder)}
        self("config set context here --overwrite", stdin=json.dumps({"pachd_address": f"grpc://{address}"}))
        self("config set active-context here")

    def __call__(self, line: str, *, stdin: str = "", fails: bool = False, **environment: str) -> str:
        """What a line printed; ``fails`` gives what it complained about."""
        done = subprocess.run(
            [str(BINARY), *line.split()], input=stdin, capture_output=True, text=True, timeout=120, env=self._environment | environment
        )
        assert (done.returncode != 0) == fails, f"pachctl {line}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return COLOUR.sub("", done.stdout + done.stderr if fails else done.stdout)

    def raw(self, line: str) -> list[dict[str, Any]]:
        """The objects that a line prints with ``--raw``."""
        text, found, decoder = self(f"{line} --raw").strip(), [], json.JSONDecoder()
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].lstrip()
        return found

    def table(self, line: str, column: int = 0) -> list[str]:
        """One column of what a line lists, without its heading."""
        return [row.split()[column] for row in self(line).splitlines()[1:]]

    def paths(self, line: str) -> list[str]:
        """The paths of the files that a line lists."""
        return [row["file"]["path"] for row in self.raw(line)]

    def knows(self, command: str) -> bool:
        """Whether this version has a command."""
        done = subprocess.run([str(BINARY), *command.split(), "--help"], capture_output=True, text=True, env=self._environment)
        return f"{command} " in f"{done.stdout} ".replace("\n", " \n") and "Usage:" in done.stdout

    def commit(self, reference: str) -> str:
        """The id of a branch's head."""
        return str(self.raw(f"inspect commit {reference}")[0]["commit"]["id"])

    def names(self, kind: str) -> list[str]:
        return sorted(row[kind]["name"] for row in self.raw(f"list {kind}"))


@pytest.fixture(scope="module")
def connected(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Pachctl:
    return Pachctl(tmp_path_factory.mktemp("pachctl"), shared_engine.address)


@pytest.fixture
def pachctl(connected: Pachctl) -> Iterator[Pachctl]:
    yield connected
    connected("delete all", stdin="y\n")
    assert connected.names("repo") == []


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two files and a directory."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name, text in (("a.txt", "one\n"), ("b.txt", "two\n"), ("sub/c.txt", "deep\n")):
        (folder / name).write_text(text)
    return folder


def spec(folder: Path, name: str = "edges", **fields: object) -> Path:
    path = folder / f"{name}.json"
    value = {"pipeline": {"name": name}, "input": {"pfs": {"repo": "images", "glob": "/*"}}, "transform": COPY, "description": "copies"}
    path.write_text(json.dumps(value | fields))
    return path


def test_a_context_is_all_that_it_takes(pachctl: Pachctl) -> None:
    assert pachctl("config get active-context").strip() == "here"
    assert re.search(r"pachd +2\.7\.6", pachctl("version"))
    assert re.fullmatch(r"[0-9a-f]{32}\s*", pachctl("inspect cluster"))
    assert "default" in pachctl("list project")


def test_every_line_of_the_post(pachctl: Pachctl, files: Path, tmp_path: Path) -> None:
    pachctl("create repo images")
    pachctl(f"create pipeline -f {spec(tmp_path)}")
    pachctl(f"put file images@master:/ -r -f {files}")
    commit = pachctl.commit("images@master")
    pachctl(f"wait commit edges@{commit}")

    assert pachctl.names("repo") == ["edges", "images"]
    assert "running / success" in pachctl("list pipeline")
    assert pachctl.table("list job") == [commit, pachctl.raw("list pipeline")[0]["spec_commit"]["id"]]
    assert pachctl.paths("list file images@master") == ["/a.txt", "/b.txt", "/sub/"]
    assert pachctl.paths("list file edges@master") == ["/a.txt", "/b.txt", "/sub/"]
    assert commit in pachctl("list commit edges@master")
    assert "State: running" in pachctl("inspect pipeline edges")
    assert "State: success" in pachctl(f"inspect job edges@{commit}")
    assert pachctl("get file edges@master:/sub/c.txt") == "deep\n"
    pachctl(f"get file -r edges@master:/ -o {tmp_path / 'out'}")
    assert (tmp_path / "out/sub/c.txt").read_text() == "deep\n"
    assert pachctl("logs -p edges").splitlines() == ["copied"] * 3
    assert pachctl(f"logs -j edges@{commit}").splitlines() == ["copied"] * 3
    assert pachctl.paths("glob file images@master:/**.txt") == ["/a.txt", "/b.txt", "/sub/c.txt"]
    pachctl("delete pipeline edges")
    pachctl("delete repo images")
    assert pachctl.names("repo") == []


def test_every_list_and_inspect_has_its_raw_form_and_its_times(pachctl: Pachctl, files: Path, tmp_path: Path) -> None:
    pachctl("create repo images")
    pachctl(f"create pipeline -f {spec(tmp_path)}")
    pachctl(f"put file images@master:/ -r -f {files}")
    commit = pachctl.commit("images@master")
    pachctl(f"wait job edges@{commit}")
    datum = pachctl.raw(f"list datum edges@{commit}")[0]["datum"]["id"]
    things = {
        "project": "default", "repo": "images", "branch": "images@master", "commit": f"images@{commit}", "file": "images@master:/a.txt",
        "pipeline": "edges", "job": f"edges@{commit}", "datum": f"edges@{commit} {datum}",
    }  # fmt: skip
    lists = {
        "project": "", "repo": "", "branch": "images", "commit": "images", "file": "images@master", "pipeline": "", "job": "-p edges",
        "datum": f"edges@{commit}",
    }  # fmt: skip

    for kind, name in things.items():
        assert pachctl(f"inspect {kind} {name}").strip(), kind
        (inspected,) = pachctl.raw(f"inspect {kind} {name}")
        listed = pachctl.raw(f"list {kind} {lists[kind]}")
        key = "info" if "info" in inspected else kind  # newer ones inspect a project with its defaults
        assert (inspected[key][kind] if key == "info" else inspected[kind]) in [found[kind] for found in listed]
        assert pachctl(f"inspect {kind} {name} --raw --output yaml").strip()
    for kind in ("repo", "commit", "pipeline", "job", "file"):
        assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\dZ]|/a.txt", pachctl(f"list {kind} {lists[kind]} --full-timestamps"))
    assert pachctl.raw("list job")[0]["job_set"]["id"] == commit
    assert pachctl.table(f"list commit {commit}", 1).count("images") == 1
    assert pachctl.table(f"list job {commit}", 1) == ["edges"]


def test_files_are_put_appended_copied_compared_and_deleted(pachctl: Pachctl, files: Path, tmp_path: Path) -> None:
    pachctl("create repo images")
    pachctl("put file images@master:/in.txt", stdin="first\n")
    pachctl("put file images@master:/in.txt -f - --append", stdin="second\n")
    (tmp_path / "list").write_text(f"{files / 'a.txt'}\n{files / 'b.txt'}\n")
    pachctl(f"put file images@master -i {tmp_path / 'list'}")
    pachctl(f"put file images@master:/url -f file://{files / 'a.txt'}")
    pachctl("copy file images@master:/in.txt images@master:/copy.txt")

    assert pachctl("get file images@master:/copy.txt") == "first\nsecond\n"
    assert pachctl("get file images@master:/url --offset 1") == "ne\n"
    assert pachctl.paths("list file images@master") == ["/a.txt", "/b.txt", "/copy.txt", "/in.txt", "/url"]
    assert "/copy.txt" in pachctl("diff file images@master:/ images@master^:/ --name-only")
    pachctl("delete file images@master:/copy.txt")
    pachctl(f"put file images@master:/dir -r -f {files}")
    pachctl("delete file -r images@master:/dir/sub")
    assert pachctl.paths("glob file images@master:/dir/*") == ["/dir/a.txt", "/dir/b.txt"]
    assert "Try again with the -r flag" in pachctl("get file images@master:/dir", fails=True)
    assert "file /nothing not found" in pachctl("get file images@master:/nothing", fails=True)


def test_commits_and_branches(pachctl: Pachctl, files: Path) -> None:
    pachctl("create repo images")
    first = pachctl("start commit images@master").strip()
    pachctl(f"put file images@master:/a.txt -f {files / 'a.txt'}")
    pachctl("finish commit images@master")
    pachctl(f"put file images@master:/b.txt -f {files / 'b.txt'}")
    second = pachctl.commit("images@master")

    pachctl("create branch images@stage --head master^")
    pachctl("create branch images@big --trigger stage --trigger-size 1MB")

    assert [row["commit"]["id"] for row in pachctl.raw("list commit images@master")] == [second, first]
    assert len(pachctl.raw("list commit images@master -n 1")) == 1
    assert pachctl.raw("inspect branch images@stage")[0]["head"]["id"] == first
    assert "stage on Size(1MB)" in pachctl("inspect branch images@big")
    assert set(pachctl.table("list branch images")) == {"master", "stage", "big"}
    assert first in pachctl("find commit images@master:/a.txt")
    for branch in ("big", "stage"):
        pachctl(f"delete branch images@{branch}")
    pachctl(f"squash commit {first}")
    assert pachctl("get file images@master:/a.txt") == "one\n"
    pachctl(f"delete commit {second}")
    assert pachctl.paths("list file images@master") == []


def test_a_pipeline_is_updated_stopped_started_edited_and_kept(pachctl: Pachctl, files: Path, tmp_path: Path) -> None:
    pachctl("create repo images")
    path = spec(tmp_path)
    pachctl(f"create pipeline -f {path}")
    assert 'pipeline "default/edges" already exists; set "update" to change it' in pachctl(f"create pipeline -f {path}", fails=True)
    pachctl(f"put file images@master:/a.txt -f {files / 'a.txt'}")

    pachctl(f"update pipeline -f {path}")
    pachctl(f"update pipeline -f {path} --reprocess")
    pachctl("stop pipeline edges")
    assert "paused" in pachctl("list pipeline --state paused")
    pachctl("start pipeline edges")
    pachctl("edit pipeline edges", EDITOR="sed -i s/copies/edited/")

    assert pachctl.raw("inspect pipeline edges")[0]["details"]["description"] == "edited"
    assert len(pachctl.raw("list pipeline edges --history all")) == 4
    again = json.loads(pachctl("list pipeline --spec"))
    pachctl("delete pipeline edges --keep-repo")
    assert pachctl.names("repo") == ["edges", "images"]
    pachctl("delete repo edges")
    (tmp_path / "again.json").write_text(json.dumps(again))
    pachctl(f"create pipeline -f {tmp_path / 'again.json'}")
    pachctl(f"wait commit edges@{pachctl.commit('edges@master')}")
    assert pachctl("get file edges@master:/a.txt") == "one\n"


def test_a_pipeline_may_be_yaml_and_run_by_a_clock(pachctl: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "ticks.yaml").write_text(
        "pipeline: {name: ticks}\ninput: {cron: {name: tick, spec: '@yearly'}}\n"
        "transform: {image: 'none:1', cmd: [sh], stdin: ['ls $PFS_ROOT/tick > $PFS_ROOT/out/ticks']}\n"
    )
    pachctl(f"create pipeline -f {tmp_path / 'ticks.yaml'}")

    pachctl("run cron ticks")

    pachctl(f"wait commit ticks@{pachctl.commit('ticks@master')}")
    assert len(pachctl("get file ticks@master:/ticks").splitlines()) == 1


def test_jobs_and_datums(pachctl: Pachctl, files: Path, tmp_path: Path) -> None:
    pachctl("create repo images")
    sleepy = spec(tmp_path, "sleepy", transform=COPY | {"stdin": ["sleep 600"]})
    pachctl(f"put file images@master:/ -r -f {files}")
    pachctl(f"create pipeline -f {spec(tmp_path)}")
    pachctl(f"create pipeline -f {sleepy}")
    commit = pachctl.commit("edges@master")
    pachctl(f"wait job edges@{commit}")
    pachctl(f"put file images@master:/d.txt -f {files / 'a.txt'}")
    last = pachctl.commit("images@master")
    pachctl(f"wait job edges@{last}")

    assert pachctl.table(f"list job -p edges -i images@{last}", 2) == [last]
    states = {row["data"][0]["file"]["path"]: row["state"] for row in pachctl.raw(f"list datum edges@{last}")}
    assert states == {"/a.txt": "SKIPPED", "/b.txt": "SKIPPED", "/sub/": "SKIPPED", "/d.txt": "SUCCESS"}
    assert len(pachctl.table(f"list datum -f {sleepy}")) == 4
    pachctl(f"stop job sleepy@{last}")
    assert "killed" in pachctl(f"inspect job sleepy@{last}")
    assert "success" in pachctl("list job -p edges --state success")
    assert pachctl.table("list job -p edges --state failure") == []
    assert "could not be found for job ID" in pachctl(f"restart datum edges@{last} /a.txt", fails=True)
    datum = pachctl.raw(f"list datum edges@{last}")[0]["datum"]["id"]
    assert pachctl(f"logs -p edges --datum {datum}").splitlines() == ["copied"]


def test_a_transaction_makes_all_or_nothing(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("start transaction")
    pachctl("create repo images")
    pachctl("create branch images@master")
    pachctl(f"create pipeline -f {spec(tmp_path)}")

    shown = pachctl("inspect transaction")
    assert "create repo" in shown
    assert re.search(r"create pipeline .*edges", shown)
    assert pachctl.table("list transaction", -1) == ["3"]
    assert pachctl.names("repo") == []
    pachctl("finish transaction")
    assert (pachctl.names("repo"), pachctl.names("pipeline")) == (["edges", "images"], ["edges"])
    pachctl("start transaction")
    pachctl("create repo other")
    pachctl("delete transaction")
    assert pachctl.names("repo") == ["edges", "images"]


def test_secrets(pachctl: Pachctl, tmp_path: Path) -> None:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "Opaque", "data": {"k": "dmFsdWU="}}
    (tmp_path / "secret.json").write_text(json.dumps(manifest))

    pachctl(f"create secret -f {tmp_path / 'secret.json'}")

    assert pachctl.table("list secret") == ["key"]
    assert "Opaque" in pachctl("inspect secret key")
    pachctl("delete secret key")
    assert pachctl.table("list secret") == []


def test_projects(pachctl: Pachctl) -> None:
    pachctl("create project attic")
    pachctl("update project attic -d unused")
    pachctl("create repo images --project attic")
    pachctl("config update context --project attic")

    assert pachctl.names("repo") == ["images"]
    pachctl("config update context --project default")
    assert pachctl.names("repo") == []
    assert [row["repo"]["project"]["name"] for row in pachctl.raw("list repo -A")] == ["attic"]
    assert "unused" in pachctl("inspect project attic")
    pachctl("delete repo images --project attic")
    pachctl("delete project attic")
    assert pachctl.names("project") == ["default"]


def test_the_whole_store_is_checked_and_drawn(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create repo images")
    pachctl(f"create pipeline -f {spec(tmp_path)}")

    assert "No errors found" in pachctl("fsck")
    assert "edges" in pachctl("draw pipeline")


def test_commands_since_2_8(pachctl: Pachctl, files: Path, tmp_path: Path) -> None:
    if not pachctl.knows("rerun pipeline"):
        pytest.skip("this pachctl is older than 2.8")
    pachctl("create repo images")
    path = spec(tmp_path)
    assert '"datumTries"' in pachctl(f"create pipeline -f {path} --dry-run --raw")
    assert pachctl.names("pipeline") == []
    pachctl(f"create pipeline -f {path}")
    pachctl(f"put file images@master:/a.txt -f {files / 'a.txt'}")
    pachctl("rerun pipeline edges --reprocess")

    affected = pachctl("create defaults --cluster --regenerate", stdin='{"createPipelineRequest": {"datumTries": 5}}')

    assert "default/edges" in affected
    assert pachctl.raw("inspect pipeline edges")[0]["details"]["datum_tries"] == "5"
    assert pachctl("inspect defaults --cluster").strip() == '{"createPipelineRequest":{"datumTries":5}}'
    pachctl("delete defaults --cluster")
    assert pachctl("inspect defaults --project default").strip() == "{}"
    assert "pipeline default/nothing not found" in pachctl("stop pipeline nothing", fails=True)


def test_single_commits_are_squashed_and_deleted(pachctl: Pachctl, files: Path) -> None:
    if not pachctl.knows("delete commitV2"):
        pytest.skip("this pachctl knows commit sets only")
    pachctl("create repo images")
    for name in ("a.txt", "b.txt"):
        pachctl(f"put file images@master:/{name} -f {files / name}")

    pachctl("squash commitV2 images@master^")
    pachctl("delete commitV2 images@master")

    assert pachctl.paths("list file images@master") == []


def test_what_one_machine_has_no_use_for_is_refused_by_name(pachctl: Pachctl, tmp_path: Path) -> None:
    assert "the auth service is not activated" in pachctl("auth whoami", fails=True)
    assert "pps_v2.API/ListTask is not implemented by minipachd" in pachctl("list task pps", fails=True)
    (tmp_path / "spec.jsonnet").write_text("{}")
    assert "pps_v2.API/RenderTemplate is not implemented by minipachd" in pachctl(
        f"create pipeline --jsonnet {tmp_path / 'spec.jsonnet'}", fails=True
    )
    if pachctl.knows("edit metadata"):
        assert "metadata.API/EditMetadata is not implemented by minipachd" in pachctl("edit metadata project default add k=v", fails=True)
