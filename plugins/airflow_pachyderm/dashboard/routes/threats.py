"""Threats."""

from typing import Annotated

from annotated_types import Ge, Le, MaxLen
from fastapi import APIRouter, Depends, Query

from airflow_pachyderm.dashboard import history, models, threats
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway
from airflow_pachyderm.dashboard.names import Device, Limit, Timestamp

router = APIRouter(prefix="/api/threats")
GatewayDep = Annotated[Gateway, Depends(get_gateway)]
Second = Annotated[int, Ge(0), Le(253402300799)]


@router.get("")
def list_threats(
    gateway: GatewayDep,
    *,
    device: Device | None = None,
    label: Annotated[str | None, MaxLen(128)] = None,
    since: Second | None = None,
    until: Second | None = None,
    limit: Limit = 24,
    after: Annotated[str | None, Query(pattern=r"^[0-9]{10,12}(_png|_jpeg)?-[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = None,
) -> models.Threats:
    """Threats, newest first."""
    place = threats.Place.parse(after) if after else None
    wanted = threats.Wanted(device=device, label=label, since=since, until=until, after=place)
    return threats.list_threats(gateway, wanted, limit=limit)


@router.get("/counts")
def counts(gateway: GatewayDep) -> models.ThreatCounts:
    """Threats by device, class and day."""
    return threats.read_counts(gateway)


@router.get("/{device}/{timestamp}")
def threat(gateway: GatewayDep, device: Device, timestamp: Timestamp) -> models.ThreatDetail:
    """A threat and the history of its image."""
    return history.read_threat(gateway, device, timestamp)
