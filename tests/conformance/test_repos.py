"""Projects, repos, what they answer and what they refuse."""

import pytest

from tests.conformance.lab import AUTO, NO_ID, Lab, refused


def test_a_repo_is_created_listed_described_and_deleted(lab: Lab) -> None:
    one, two = lab.name("one"), lab.name("two")
    lab.client.create_repo(one, "the first", project_name=lab.project)
    lab.client.create_repo(two, project_name=lab.project)

    assert lab.repos() == {one, two}
    info = lab.client.inspect_repo(one, project_name=lab.project)
    assert (info.description, info.repo.name, info.repo.type, info.repo.project.name) == ("the first", one, "user", lab.project)
    assert (info.created.seconds > 0, list(info.branches)) == (True, [])
    lab.client.delete_repo(two, project_name=lab.project)
    lab.client.delete_repo(two, project_name=lab.project)  # a missing one is no error
    assert lab.repos() == {one}


def test_a_repo_that_exists_is_refused_or_described_anew(lab: Lab) -> None:
    repo = lab.repo()
    with refused("ALREADY_EXISTS", f"repo {lab.project}/{repo} already exists"):
        lab.client.create_repo(repo, project_name=lab.project)
    lab.client.create_repo(repo, "new", update=True, project_name=lab.project)
    assert lab.client.inspect_repo(repo, project_name=lab.project).description == "new"


@pytest.mark.parametrize("name", ["bad name", "no/slash", "no.dot", "", "ümlaut", "a^b", "a~b"])
def test_a_name_that_is_not_allowed_is_refused(lab: Lab, name: str) -> None:
    with refused(
        ["UNKNOWN", "INVALID_ARGUMENT"], "only alphanumeric characters, underscores, and dashes|invalid|repo cannot be nil|at least"
    ):
        lab.client.create_repo(name, project_name=lab.project)
    assert lab.repos() == set()


def test_the_same_name_in_two_projects_is_two_repos(lab: Lab) -> None:
    repo, other = lab.repo(), f"{lab.prefix}-other"
    lab.put(repo, {"/a": "here"})
    lab.client.create_project(other)
    try:
        lab.client.create_repo(repo, "there", project_name=other)
        assert lab.client.inspect_repo(repo, project_name=lab.project).description == ""
        with refused("FAILED_PRECONDITION", f"cannot delete project {other}"):
            lab.client.delete_project(other)
    finally:
        lab.client.delete_repo(repo, project_name=other)
        lab.client.delete_project(other)
    assert lab.files(repo) == {"/a": b"here"}


def test_projects_are_described_listed_and_refused(lab: Lab) -> None:
    name = f"{lab.prefix}-p"
    lab.client.create_project(name, "about")
    try:
        assert lab.client.inspect_project(name).description == "about"
        assert {"default", name, lab.project} <= {info.project.name for info in lab.client.list_project()}
        with refused("ALREADY_EXISTS", "already exists"):
            lab.client.create_project(name)
        lab.client.create_project(name, "anew", update=True)
        assert lab.client.inspect_project(name).description == "anew"
    finally:
        lab.client.delete_project(name)
    assert name not in {info.project.name for info in lab.client.list_project()}
    with refused("NOT_FOUND", "not found"):
        lab.client.inspect_project(name)
    with refused(["UNKNOWN", "INVALID_ARGUMENT"], "must start with an alphanumeric character"):
        lab.client.create_project("-x")


def test_what_is_missing_is_not_found_by_any_call(lab: Lab) -> None:
    client, project = lab.client, lab.project
    missing = f"repo {project}/nowhere not found|repos? .*nowhere.* not found|not found in repo {project}/nowhere"
    calls = {
        "inspect repo": lambda: client.inspect_repo("nowhere", project_name=project),
        "inspect branch": lambda: client.inspect_branch("nowhere", "master", project_name=project),
        "list branches": lambda: list(client.list_branch("nowhere", project_name=project)),
        "create branch": lambda: client.create_branch("nowhere", "master", project_name=project),
        "start commit": lambda: client.start_commit("nowhere", "master", project_name=project),
        "list commits": lambda: list(client.list_commit("nowhere", project_name=project)),
        "inspect commit": lambda: lab.inspect("nowhere"),
        "put": lambda: client.put_file_bytes(lab.at("nowhere"), "/f", b""),
        "list files": lambda: list(client.list_file(lab.at("nowhere"), "/")),
        "inspect file": lambda: client.inspect_file(lab.at("nowhere"), "/f"),
    }
    for call in calls.values():
        with refused("NOT_FOUND", missing):
            call()
    with refused("NOT_FOUND", "no commits found for commitset"):
        list(client.inspect_commit(NO_ID))
    with refused("NOT_FOUND", "not found"):
        client.create_repo("x", project_name=f"{project}-none")


def test_the_size_of_a_repo_is_that_of_its_newest_commit(lab: Lab) -> None:
    repo = lab.repo()
    lab.put(repo, {"/a": b"x" * 1000, "/b": b"y" * 500})
    lab.put(repo, delete=["/b"])
    lab.done(repo)
    assert lab.client.inspect_repo(repo, project_name=lab.project).details.size_bytes == 1000


def test_a_repo_goes_with_all_that_is_in_it(lab: Lab) -> None:
    repo = lab.repo()
    commit = lab.put(repo, {"/a": "1"})
    lab.done(repo)
    lab.client.delete_repo(repo, project_name=lab.project)
    with refused("NOT_FOUND"):
        list(lab.client.inspect_commit(commit))
    lab.client.create_repo(repo, project_name=lab.project)
    assert list(lab.client.list_branch(repo, project_name=lab.project)) == []
    assert lab.commits(repo, all=True, origin_kind=AUTO) == []
