"""``python -m stages.contract pipelines`` lists them for scripts; ``python -m stages.contract schemas`` writes the JSON schemas."""

import argparse
import json
from pathlib import Path

from stages.contract.pipelines import pipelines
from stages.contract.records import RECORDS

SCHEMAS = Path(__file__).with_name("schemas")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m stages.contract")
    parser.add_argument("what", choices=("pipelines", "schemas"), help="name, folder and description, separated by tabs; or files")
    if parser.parse_args().what == "pipelines":
        for pipeline in pipelines():
            print(pipeline.name, pipeline.folder, pipeline.description, sep="\t")
        return
    for record in RECORDS:
        path = SCHEMAS / f"{record.schema.replace('/', '-')}.json"
        path.write_text(json.dumps(record.json_schema(), indent=2) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
