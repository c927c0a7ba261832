"""Jobs, datums, logs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from airflow_pachyderm.dashboard import jobs, models
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway
from airflow_pachyderm.dashboard.names import DatumId, HexId, Limit, Name

router = APIRouter(prefix="/api")
GatewayDep = Annotated[Gateway, Depends(get_gateway)]


@router.get("/jobsets")
def job_sets(
    gateway: GatewayDep, *, limit: Limit = 20, before: Annotated[str | None, Query(pattern=r"^\d{1,19}$")] = None
) -> models.JobSets:
    """The newest commit sets that have jobs."""
    return jobs.list_job_sets(gateway, limit=limit, before=before)


@router.get("/jobsets/{set_id}")
def job_set(gateway: GatewayDep, set_id: HexId) -> models.JobSetDetail:
    """One commit set."""
    return jobs.read_job_set(gateway, set_id)


@router.get("/jobs/{pipeline}/{job_id}")
def job(gateway: GatewayDep, pipeline: Name, job_id: HexId) -> models.Job:
    """One job."""
    return jobs.read_job(gateway, pipeline, job_id)


@router.get("/jobs/{pipeline}/{job_id}/datums")
def datums(
    gateway: GatewayDep,
    pipeline: Name,
    job_id: HexId,
    *,
    limit: Limit = 50,
    after: DatumId | None = None,
    state: Literal["failed", "success", "skipped", "recovered"] | None = None,
) -> models.Datums:
    """A job's datums."""
    return jobs.list_datums(gateway, pipeline, job_id, limit=limit, after=after, state=state)


@router.get("/jobs/{pipeline}/{job_id}/datums/{datum_id}")
def datum(gateway: GatewayDep, pipeline: Name, job_id: HexId, datum_id: DatumId) -> models.DatumDetail:
    """One datum."""
    return jobs.read_datum(gateway, pipeline, job_id, datum_id)


@router.get("/jobs/{pipeline}/{job_id}/log")
def log(gateway: GatewayDep, pipeline: Name, job_id: HexId, *, datum: DatumId | None = None) -> models.Log:
    """The end of a job's log, or of one datum's."""
    return jobs.read_log(gateway, pipeline, job_id, datum_id=datum)
