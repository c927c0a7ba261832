"""Zombies: files in an output commit that no datum of its job has written."""

from collections.abc import Iterator

from minipachd.pfs import USER_REPO, Commit, View
from minipachd.pps import records
from minipachd.pps.datum import decode_record, record_tree
from minipachd.pps.spec import JobId, JobKey, JobState, PipelineKey
from minipachd.storage import NodeStore


def zombies(view: View, nodes: NodeStore, commits: list[Commit]) -> Iterator[str]:
    """A sentence for each zombie in commits that jobs have made; others are passed over."""
    for commit in commits:
        repo = commit.key.repo
        job = records.find_job(view.db, JobKey(PipelineKey(repo.project, repo.name), JobId(commit.id))) if repo.type == USER_REPO else None
        if job is None or job.datums is None or job.state is not JobState.SUCCESS:
            continue
        settled = record_tree(nodes, job.datums)
        for piece in view.files(commit).pieces():
            entry = settled.get(piece.tag.encode())
            if entry is None or piece.path not in decode_record(entry.value).outputs:
                yield f"zombie: file {piece.path} of commit {commit} was written by datum {piece.tag}, which its job does not have"
