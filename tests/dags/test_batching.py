"""Cutting a listing into batches."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from airflow_pachyderm.files import SourceFile, read_manifest
from dags import settings
from dags.common.batching import Limits, cut, plan_batches, run_folder
from dags.common.push_run import batch_limits


def listing(*sizes: int) -> list[SourceFile]:
    return [SourceFile(f"/{number:07}.jpg", f"file:///{number}", size) for number, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 10), st.integers(1, 200))
def test_every_file_is_in_one_batch_within_the_limits(sizes: list[int], files: int, size_bytes: int) -> None:
    batches = list(cut(listing(*sizes), Limits(files, size_bytes, 1)))

    assert [file for batch in batches for file in batch] == listing(*sizes)
    assert all(len(batch) <= files for batch in batches)
    assert all(len(batch) == 1 or sum(file.size_bytes or 0 for file in batch) <= size_bytes for batch in batches)


def test_the_manifests_hold_the_batches(tmp_path: Path) -> None:
    plan = plan_batches(iter(listing(*[1] * 10)), folder=f"{tmp_path}/run", limits=Limits(4, 1000, 100))

    assert (plan.files, plan.size_bytes) == (10, 10)
    assert [len(read_manifest(url)) for url in plan.manifests] == [4, 4, 2]


def test_too_many_batches_become_larger_ones(tmp_path: Path) -> None:
    plan = plan_batches(iter(listing(*[10] * 1000)), folder=f"{tmp_path}/run", limits=Limits(3, 30, 7))

    assert len(plan.manifests) <= 7
    assert sum(len(read_manifest(url)) for url in plan.manifests) == 1000


def test_a_repeated_listing_replaces_the_first(tmp_path: Path) -> None:
    folder = f"{tmp_path}/run"
    plan_batches(iter(listing(*[1] * 10)), folder=folder, limits=Limits(1, 10, 100))

    plan = plan_batches(iter(listing(1)), folder=folder, limits=Limits(1, 10, 100))

    assert sorted(path.name for path in Path(folder).iterdir()) == ["0000.jsonl", "listing.jsonl"]
    assert len(plan.manifests) == 1


def test_an_empty_folder_gives_no_batch(tmp_path: Path) -> None:
    assert plan_batches(iter(()), folder=f"{tmp_path}/run", limits=Limits(1, 1, 1)).manifests == []


def test_the_list_of_manifests_of_the_largest_run_fits_into_an_xcom(tmp_path: Path) -> None:
    folder = run_folder(f"gs://{'x' * 200}", "push_images", "manual__2026-11-23T00:00:00+00:00")
    limits = batch_limits(folder, 1)

    urls = [f"{folder}/{number:04}.jsonl" for number in range(limits.batches)]

    assert 100 < limits.batches <= settings.MAX_BATCHES
    assert len(json.dumps(urls)) < 48_000


def test_a_runs_folder_is_its_own_and_stays() -> None:
    assert run_folder("/s/", "a", "r1") == run_folder("/s", "a", "r1")
    assert len({run_folder("/s", "a", "r1"), run_folder("/s", "a", "r2"), run_folder("/s", "b", "r1")}) == 3
