"""Pipeline specs: files in the form that Pachyderm documents, read and checked before anything is sent."""

import json
from pathlib import Path
from typing import Any

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import open_filesystem


def load_specs(url: str | Path) -> list[dict[str, Any]]:
    """The pipeline specs of one file, which holds one, a list, or several YAML documents.

    :param url: Path or URL; ``.yaml`` and ``.yml`` are read as YAML, all else as JSON.
    :raises PachydermSourceError: The file cannot be read.
    :raises PachydermInvalidError: It is not JSON or YAML, or what it holds is no object; names the file and the place.
    """
    return parse_specs(read_spec(str(url)), name=str(url))


def read_spec(url: str) -> str:
    """The text of a spec file.

    :raises PachydermSourceError: It cannot be read.
    """
    filesystem, path = open_filesystem(url)
    try:
        with filesystem.open(path, "rb") as stream:
            text: str = stream.read().decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise PachydermSourceError(f"Cannot read pipeline spec {url}: {exc}; check the path", url=url) from exc
    return text


def parse_specs(text: str, *, name: str) -> list[dict[str, Any]]:
    """As :func:`load_specs`, from text.

    :param name: What to call it in errors; its ending tells YAML from JSON.
    """
    documents = _yaml(text, name) if name.endswith((".yaml", ".yml")) else [_json(text, name)]
    specs: list[dict[str, Any]] = []
    for document in documents:
        for spec in document if isinstance(document, list) else [document]:
            if not isinstance(spec, dict):
                raise PachydermInvalidError(f"Pipeline spec {name} holds {json.dumps(spec, default=str)[:60]} where an object is expected")
            specs.append(spec)
    if not specs:
        raise PachydermInvalidError(f"Pipeline spec {name} is empty")
    return specs


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise PachydermInvalidError(f"Pipeline spec {name} is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from exc


def _yaml(text: str, name: str) -> list[Any]:
    import yaml

    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as exc:
        mark = exc.problem_mark if isinstance(exc, yaml.MarkedYAMLError) else None
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = (exc.problem if isinstance(exc, yaml.MarkedYAMLError) else None) or str(exc)
        raise PachydermInvalidError(f"Pipeline spec {name} is not YAML: {problem}{where}") from exc
