"""Runs DAGs in one process, without scheduler and executor: a line with DAG id and conf in, a line with the run's outcome out."""

import json
import logging
import sys
from typing import Any


def run(dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    import dags.check_stack
    import dags.provision_stack
    import dags.teardown_stack

    dag = {
        "provision_stack": dags.provision_stack.provision_stack,
        "check_stack": dags.check_stack.check_stack,
        "teardown_stack": dags.teardown_stack.teardown_stack,
    }[dag_id]()
    finished = dag.test(run_conf=conf, logical_date=None)  # as a manual run: it has no date
    with create_session() as session:
        rows = session.query(XComModel).filter(XComModel.run_id == finished.run_id, XComModel.key == "return_value").all()
        values = {row.task_id: row.value for row in rows}
    states = {instance.task_id: str(instance.state) for instance in finished.get_task_instances()}
    return {"state": str(finished.state), "states": states, "values": values}


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # logs must not come between the answers
    logging.getLogger().setLevel(logging.INFO)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(run(request["dag"], request["conf"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
