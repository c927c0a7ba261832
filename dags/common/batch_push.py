"""What ``nightly_images`` and ``push_images`` have in common while they are parsed: fields of their forms, and the mapped push."""

from typing import Any

from airflow.sdk import Param

from dags import settings
from dags.common.images_push import ImagesPushOperator


def batch_params() -> dict[str, Param]:
    """How images are cut into batches, and who reads them."""
    return {
        "batch_size": Param(
            settings.BATCH_FILES,
            type="integer",
            minimum=1,
            maximum=100_000,
            title="Images per batch",
            description="Each batch is one commit and one job per pipeline. It grows by itself when there would be too many batches.",
        ),
        "server_side": Param(
            settings.SERVER_SIDE,
            type="boolean",
            title="Let the server read",
            description="The Pachyderm server fetches the images itself, so that they do not pass through Airflow. It must be able to read "
            "the folder, with credentials of its own.",
        ),
    }


def push_batches(manifests: Any, **fields: Any) -> Any:
    """One task per batch, which puts it as one commit and waits for its jobs.

    :param manifests: What the planning task returns: URLs of the batches' manifests.
    :param fields: More arguments of the operator.
    """
    return ImagesPushOperator.partial(
        task_id="push",
        repo=settings.IMAGES_REPO,
        pachyderm_conn_id=settings.PACHYDERM_CONN_ID,
        server_side="{{ params.server_side }}",
        map_index_template="batch {{ task.manifest.rpartition('/')[2].removesuffix('.jsonl') }}",
        **fields,
    ).expand(manifest=manifests)
