"""Runs Tuskwatch's DAGs in one process, without scheduler and executor: a line with DAG id and conf in, a line with the outcome out."""

import functools
import json
import logging
import sys
from typing import Any


def dag_of(dag_id: str) -> Any:
    from importlib import import_module

    module = import_module(f"dags.{dag_id}")
    return getattr(module, "dag", None) if dag_id in ("rotate_model", "update_rules") else getattr(module, dag_id)()


def run(dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    finished = dag_of(dag_id).test(run_conf=conf, logical_date=None)  # as a manual run: it has no date
    with create_session() as session:
        rows = session.query(XComModel).filter(XComModel.run_id == finished.run_id, XComModel.dag_id == dag_id).all()
        values = {f"{row.task_id}:{row.key}": row.value for row in rows}
    instances = finished.get_task_instances()
    return {
        "state": str(finished.state),
        "run_id": finished.run_id,
        "states": {instance.task_id: str(instance.state) for instance in instances},
        "tries": {instance.task_id: instance.try_number for instance in instances},
        "values": {name.removesuffix(":return_value"): value for name, value in values.items()},
    }


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # logs must not come between the answers
    logging.getLogger().setLevel(logging.INFO)
    from airflow.sdk.execution_time import supervisor  # here: what it imports keeps the stream that it finds

    supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)  # one for all tasks: each costs seconds
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(run(request["dag"], request["conf"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
