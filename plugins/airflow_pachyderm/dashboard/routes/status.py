"""Is everything all right."""

from typing import Annotated

from fastapi import APIRouter, Depends

from airflow_pachyderm.dashboard import status
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway

router = APIRouter(prefix="/api")


@router.get("/status")
def read(gateway: Annotated[Gateway, Depends(get_gateway)]) -> status.Status:
    """Cameras, invalid images, last runs, warnings, mail."""
    return status.read_status(gateway)
