"""What servers answer differently from release to release, read in one place."""

import ast
from pathlib import Path

import pytest

from airflow_pachyderm.client.answers import branch_of, parse_commit, parse_datum, repo_of, repo_type_of
from airflow_pachyderm.dashboard import convert
from tests.airflow_pachyderm.scripted_pachd import pfs_pb2, pps_pb2

REPOSITORY = Path(__file__).resolve().parents[2]
REPO = pfs_pb2.Repo(name="images", type="user", project=pfs_pb2.Project(name="default"))
OLD = pfs_pb2.Commit(repo=REPO, branch=pfs_pb2.Branch(repo=REPO, name="master"), id="a" * 32)
OLDEST = pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=REPO, name="master"), id="a" * 32)
NEW = pfs_pb2.Commit(repo=REPO, id="a" * 32)
SERVERS = pytest.mark.parametrize("commit", [OLDEST, OLD, NEW], ids=["2.3", "2.7", "2.12"])


@SERVERS
def test_a_commit_is_of_the_repo_and_branch_that_were_asked(commit: pfs_pb2.Commit) -> None:
    parsed = parse_commit(pfs_pb2.CommitInfo(commit=commit), repo="images", branch="master")

    assert str(parsed) == f"images@master={'a' * 32}"
    assert (repo_of(commit), repo_type_of(commit)) == ("images", "user")


@SERVERS
def test_a_file_and_a_datum_name_their_repo(commit: pfs_pb2.Commit) -> None:
    file = pfs_pb2.FileInfo(file=pfs_pb2.File(commit=commit, path="/a.jpg"))

    assert convert.file_ref(file).repo == "images"
    assert parse_datum(pps_pb2.DatumInfo(data=[file])).inputs == ("images:/a.jpg",)
    assert convert.datum(pps_pb2.DatumInfo(data=[file])).inputs == ["images:/a.jpg"]


@pytest.mark.parametrize(("commit", "branch"), [(OLD, "master"), (NEW, "")])
def test_the_page_names_a_branch_only_where_the_server_does(commit: pfs_pb2.Commit, branch: str) -> None:
    pushed = convert.pushed(pfs_pb2.CommitInfo(commit=commit))

    assert (pushed.repo, pushed.branch) == ("images", branch)
    assert branch_of(commit) == branch


def test_nobody_else_reads_the_branch_of_a_commit_that_a_server_answered() -> None:
    commits = {"commit", "head", "parent_commit", "output_commit", "spec_commit", "found_commit"}
    found = []
    for folder in ("plugins", "dags", "laptop"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Attribute(attr="branch", value=ast.Attribute(attr=name)) if name in commits:
                        found.append(f"{path.name}:{node.lineno}")
                    case ast.Attribute(attr="repo", value=ast.Attribute(attr="branch")):
                        found.append(f"{path.name}:{node.lineno}")

    assert [place for place in found if not place.startswith("answers.py:")] == []
