"""Pipelines: created, shown, updated, stopped, deleted, refused. Only the tests at the end wait for user code."""

from typing import Any

import pytest

from tests.conformance.lab import JobState, Lab, PipelineState, counts, pfs, refused

CRON = {"cron": {"name": "tick", "spec": "@never"}}


def test_a_pipeline_shows_its_spec_with_the_defaults(lab: Lab) -> None:
    rules, source = lab.repo("rules"), lab.repo()
    reads = {"cross": [pfs(rules, "/", name="rules"), pfs(source, "*", name="in")]}
    transform = {"cmd": ["true"], "stdin": [], "env": {"A": "1"}}
    fields = {"description": "what it does", "resourceLimits": {"memory": "64Mi"}, "datumTimeout": "30s"}

    name = lab.pipeline(reads, transform=transform, **fields)

    info = lab.inspect_pipeline(name)
    details = info.details
    assert (info.pipeline.project.name, info.version, info.stopped) == (lab.project, 1, False)
    assert info.type == info.PIPELINE_TYPE_TRANSFORM
    first, second = details.input.cross
    assert (first.pfs.name, first.pfs.glob, first.pfs.branch, first.pfs.repo) == ("in", "/*", "master", source), "sorted by name"
    assert (second.pfs.name, second.pfs.glob) == ("rules", "/")
    assert (list(details.transform.cmd), dict(details.transform.env)) == (["true"], {"A": "1"})
    assert (details.description, details.output_branch, details.reprocess_spec) == ("what it does", "master", "until_success")
    assert (details.datum_tries, details.datum_timeout.seconds, details.resource_limits.memory) == (1, 30, "64Mi")
    assert details.created_at.seconds > 0
    (plain,) = lab.client.inspect_pipeline(name, project_name=lab.project)
    assert not plain.HasField("details")
    assert lab.pipelines() == {name}


def test_it_has_an_output_repo_made_from_its_inputs(lab: Lab) -> None:
    source = lab.repo()
    name = lab.pipeline(source)
    assert lab.typed_repos() == {(source, "user"), (name, "user"), (name, "spec"), (name, "meta")}
    branch = lab.client.inspect_branch(name, "master", project_name=lab.project)
    assert {(found.repo.name, found.repo.type) for found in branch.direct_provenance} == {(source, "user"), (name, "spec")}
    with refused("UNKNOWN", "cannot start a commit on an output branch|has not been finished"):  # its job has not run
        lab.start(name)
    with refused("UNKNOWN", "delete the pipeline instead"):
        lab.client.delete_repo(name, project_name=lab.project)


def test_its_name_is_taken_once(lab: Lab) -> None:
    source = lab.repo()
    name = lab.pipeline(source)
    with refused("ALREADY_EXISTS", "already exists"):
        lab.pipeline(source, name=name)
    with refused("UNKNOWN", "a repo with the same name already exists"):
        lab.pipeline(source, name=lab.repo("taken"))
    assert lab.pipelines() == {name}


def test_missing_things_are_not_found(lab: Lab) -> None:
    client, project = lab.client, lab.project
    with refused("NOT_FOUND", "not found"):
        list(client.inspect_pipeline("none", project_name=project))
    with refused("NOT_FOUND", "not found"):
        client.start_pipeline("none", project_name=project)
    with refused("NOT_FOUND", "not found"):
        lab.pipeline("nowhere")
    client.delete_pipeline("none", project_name=project)  # no error
    assert (lab.pipelines(), lab.repos()) == (set(), set())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"reads": {}}, "no input set"),
        ({"reads": {"pfs": {"repo": "SOURCE", "glob": "/"}, "cron": {"name": "x", "spec": "@daily"}}}, "multiple input types set"),
        ({"reads": {"pfs": {"repo": "SOURCE"}}}, "input must specify a glob"),
        ({"reads": {"pfs": {"glob": "/", "name": "x"}}}, "input must specify a repo"),
        ({"reads": {"pfs": {"repo": "SOURCE", "glob": "/", "name": "out"}}}, "input cannot be named"),
        ({"reads": {"cross": [pfs("SOURCE", "/"), pfs("SOURCE", "/*")]}}, "was used more than once"),
        ({"reads": {"cron": {"name": "x", "spec": "often"}}}, "often"),
        ({"reprocessSpec": "sometimes"}, "ReprocessSpec must be one of"),
        ({"podSpec": "{"}, "malformed PodSpec"),
        ({"podPatch": "{"}, "malformed PodPatch"),
        ({"name": "-x"}, "must start with an alphanumeric character"),
        ({"name": "a.b"}, "ancestry|only alphanumeric"),
        ({"name": "a+b"}, "only alphanumeric characters, underscores, and dashes"),
        ({"name": "n" * 60}, "characters longer than the"),
        ({"transform": {"secrets": [{"name": "cf-none", "key": "k", "envVar": "K"}]}}, "missing Kubernetes secret cf-none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_bad_spec_is_refused_and_leaves_nothing(lab: Lab, fields: dict[str, Any], text: str) -> None:
    source = lab.repo()

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()} | ({"project": lab.project} if "repo" in node else {})
        return [filled(child) for child in node] if isinstance(node, list) else source if node == "SOURCE" else node

    options = filled(fields)
    with refused(["UNKNOWN", "INVALID_ARGUMENT"], text):
        lab.pipeline(options.pop("reads", source), **options)
    assert lab.pipelines() == set()
    assert lab.repos() == {source}


def test_a_dry_run_changes_nothing(lab: Lab) -> None:
    lab.pipeline(lab.repo(), dryRun=True)
    assert lab.pipelines() == set()


def test_an_update_makes_a_version_and_keeps_the_old_one(lab: Lab) -> None:
    source = lab.repo()
    name = lab.pipeline(source, description="one")
    lab.pipeline(source, name=name, update=True, description="two")
    versions = [
        (info.version, info.details.description) for info in lab.client.inspect_pipeline(name, -1, details=True, project_name=lab.project)
    ]
    assert versions == [(2, "two"), (1, "one")]
    assert lab.inspect_pipeline(name).version == 2
    other = lab.name("new")
    lab.pipeline(source, name=other, update=True)
    assert lab.inspect_pipeline(other).version == 1, "an update of a missing one creates it"


def test_a_stopped_pipeline_stays_stopped_through_an_update_and_starts_again(lab: Lab) -> None:
    source = lab.repo()
    name = lab.pipeline(source)
    lab.client.stop_pipeline(name, project_name=lab.project)
    assert lab.inspect_pipeline(name).stopped
    lab.eventually(lambda: lab.inspect_pipeline(name).state == PipelineState.PIPELINE_PAUSED, "paused pipeline")
    lab.pipeline(source, name=name, update=True)
    assert (lab.inspect_pipeline(name).stopped, lab.inspect_pipeline(name).version) == (True, 2)
    commit = lab.put(source, {"/a": "1"})
    assert list(lab.client.inspect_job(commit)) == [], "a stopped pipeline makes no jobs"
    lab.client.start_pipeline(name, project_name=lab.project)
    assert not lab.inspect_pipeline(name).stopped


def test_a_pipeline_that_others_read_is_deleted_after_them_or_by_force(lab: Lab) -> None:
    source = lab.repo()
    first = lab.pipeline(source)
    second = lab.pipeline(first)
    with refused("UNKNOWN", "subvenan|direct provenance of"):
        lab.client.delete_pipeline(first, project_name=lab.project)
    assert lab.pipelines() == {first, second}
    lab.client.delete_pipeline(second, project_name=lab.project)
    lab.client.delete_pipeline(first, project_name=lab.project)
    assert lab.pipelines() == set()
    assert lab.repos() == {source}
    with refused("NOT_FOUND"):
        list(lab.client.list_job(first, project_name=lab.project))


def test_a_pipeline_and_its_input_can_be_made_in_one_transaction(lab: Lab) -> None:
    source = lab.name("in")
    with lab.transaction():
        lab.client.create_repo(source, project_name=lab.project)
        name = lab.pipeline(source)
    assert lab.pipelines() == {name}


def test_an_input_may_have_a_trigger(lab: Lab) -> None:
    source = lab.repo()
    lab.put(source, {"/0": ""})
    name = lab.pipeline(pfs(source, "/*", trigger={"commits": 2}))
    branch = lab.inspect_pipeline(name).details.input.pfs.branch
    assert branch == f"{name}-trigger-1"
    info = lab.client.inspect_branch(source, branch, project_name=lab.project)
    assert (info.trigger.branch, info.trigger.commits) == ("master", 2)


# With workers


def test_a_tick_of_a_cron_input_runs(workers: Lab) -> None:
    lab = workers
    name = lab.pipeline(CRON, 'echo "$tick" >/pfs/out/seen')
    lab.newest(name)

    lab.client.run_cron(name, project_name=lab.project)

    (tick,) = lab.files(f"{name}_tick")
    job = lab.newest(name)
    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"processed": 1, "total": 1})
    assert lab.files(name) == {"/seen": f"/pfs/tick{tick}\n".encode()}
    with refused("UNKNOWN", r"pipeline.*have a cron input"):
        lab.client.run_cron(lab.pipeline(name), project_name=lab.project)


def test_a_stopped_pipeline_makes_good_what_came_meanwhile(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source)
    lab.run(source, {"/a": "1"})
    lab.client.stop_pipeline(name, project_name=lab.project)
    lab.put(source, {"/b": "1"})
    lab.put(source, {"/c": "1"})
    lab.client.start_pipeline(name, project_name=lab.project)

    assert counts(lab.newest(name)) == {"processed": 2, "skipped": 1, "total": 3}
    assert set(lab.files(name)) == {"/a", "/b", "/c"}


def test_an_update_skips_what_is_done_and_a_reprocess_does_not(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source)
    lab.run(source, {"/a": "1", "/b": "1"})
    script = 'echo new >/pfs/out/$(basename "$in")'

    lab.pipeline(source, script, name=name, update=True)
    assert counts(lab.newest(name)) == {"skipped": 2, "total": 2}
    assert lab.files(name) == {"/a": b"1", "/b": b"1"}
    lab.pipeline(source, script, name=name, update=True, reprocess=True)
    assert counts(lab.newest(name)) == {"processed": 2, "total": 2}
    assert lab.files(name) == {"/a": b"new\n", "/b": b"new\n"}


def test_a_deleted_pipeline_may_leave_its_output(workers: Lab) -> None:
    lab = workers
    source = lab.repo()
    name = lab.pipeline(source)
    lab.run(source, {"/a": "1"})
    lab.client.delete_pipeline(name, keep_repo=True, project_name=lab.project)
    assert lab.files(name) == {"/a": b"1"}
    lab.put(name, {"/mine": "2"})
    assert set(lab.files(name)) == {"/a", "/mine"}


def test_a_pipeline_without_a_command_says_why_it_fails(workers: Lab) -> None:
    lab = workers
    name = lab.pipeline(lab.repo(), transform={"cmd": [], "stdin": []})
    info = lab.eventually(lambda: (info := lab.inspect_pipeline(name)).state == PipelineState.PIPELINE_FAILURE and info, "failed pipeline")
    assert info.reason
