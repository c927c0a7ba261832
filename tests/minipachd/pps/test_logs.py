"""Log files do not eat the disk while a job runs, either."""

from pathlib import Path

import pytest

from minipachd.pps import logs
from minipachd.pps.logs import DatumLog, LogQuery, Logs
from minipachd.pps.spec import DatumId, JobId, PipelineKey

KEY, JOB = PipelineKey("default", "loud"), JobId("1")


def test_a_job_of_many_loud_datums_is_cut_and_its_end_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_JOB_BYTES", 100_000, raising=False)
    kept = Logs(tmp_path)
    worker = DatumLog(kept, "w")
    for number in range(100):
        worker.begin(KEY, JOB, DatumId(str(number)), ())
        worker.user([b"x" * 100] * 100)
    worker.flush()
    kept.master(KEY, "job SUCCESS", job=JOB)

    (file,) = tmp_path.rglob("*.jsonl")
    assert 100_000 < file.stat().st_size < 200_000
    lines = list(kept.open(LogQuery(KEY, JOB)).read())
    assert "are dropped: a job may have" in lines[-1].message
    assert all(line.message == "x" * 100 for line in lines[:-1])
    assert [line.message for line in kept.open(LogQuery(KEY, JOB, master=True)).read()] == ["job SUCCESS"]
