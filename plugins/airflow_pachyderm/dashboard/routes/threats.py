"""Threats."""

from typing import Annotated

from annotated_types import Ge, Le, MaxLen
from fastapi import APIRouter, Depends

from airflow_pachyderm.dashboard import history, models, threats
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway
from airflow_pachyderm.dashboard.names import Device, Limit, PlaceInList, Timestamp
from stages.contract.names import LAST_SECOND

router = APIRouter(prefix="/api/threats")
GatewayDep = Annotated[Gateway, Depends(get_gateway)]
Second = Annotated[int, Ge(0), Le(LAST_SECOND)]


@router.get("")
def list_threats(
    gateway: GatewayDep,
    *,
    device: Device | None = None,
    label: Annotated[str | None, MaxLen(128)] = None,
    since: Second | None = None,
    until: Second | None = None,
    limit: Limit = 24,
    after: PlaceInList | None = None,
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
