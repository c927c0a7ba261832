"""Pipelines."""

from typing import Annotated

from fastapi import APIRouter, Depends

from airflow_pachyderm.dashboard import models, pipelines
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway
from airflow_pachyderm.dashboard.names import Name

router = APIRouter(prefix="/api")
GatewayDep = Annotated[Gateway, Depends(get_gateway)]


@router.get("/graph")
def graph(gateway: GatewayDep, *, counted: bool = False) -> models.Graph:
    """Repos and pipelines; with the files on the edges counted where asked."""
    return pipelines.read_counted_graph(gateway) if counted else pipelines.read_graph(gateway)


@router.get("/pipelines/{name}")
def pipeline(gateway: GatewayDep, name: Name) -> models.Pipeline:
    """One pipeline."""
    return pipelines.read_pipeline(gateway, name)
