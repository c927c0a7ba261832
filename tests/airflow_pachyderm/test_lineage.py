"""Assets, links, and what travels in triggers."""

from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_pachyderm.assets import commit_asset, emit_commit
from airflow_pachyderm.conditions import FileExists, NewCommit, PipelineIn, from_plain, to_plain
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.links import commit_url

ID = "0123456789ab4def0123456789abcdef"
LOCAL = PachydermConnection("pach", "127.0.0.1")


def test_an_asset_names_server_project_repo_and_branch() -> None:
    asset = commit_asset(PachydermConnection("pach", "pachd.example.com", 80, project="cams"), "images", "night")

    assert (asset.uri, asset.name) == ("pachyderm://pachd.example.com:80/cams/images@night",) * 2


def test_only_an_alias_gets_an_event() -> None:
    added: list[tuple[Any, Any, Any]] = []

    class Events:
        def __getitem__(self, alias: AssetAlias) -> Any:
            return type("Event", (), {"add": lambda _, asset, extra: added.append((alias, asset, extra))})()

    alias, asset = AssetAlias("images"), commit_asset(LOCAL, "images")

    emit_commit({"outlet_events": Events()}, [Asset("other"), alias], asset, {"commit": ID})  # type: ignore[typeddict-item]

    assert added == [(alias, asset, {"commit": ID})]


def test_a_link_leads_to_the_console_where_there_is_one_and_to_our_page_otherwise() -> None:
    console = PachydermConnection("pach", "h", console_url="https://console.example.com/", project="cams")

    assert commit_url(console, "images", ID) == f"https://console.example.com/lineage/cams/repos/images/commit/{ID}"
    assert ID in commit_url(LOCAL, "images", ID)
    assert "/plugin/pachyderm" in commit_url(LOCAL, "images", ID)


@pytest.mark.parametrize(
    "condition", [NewCommit("images", "master", ID), FileExists("images", "master", "/*.jpg"), PipelineIn("plot", ("running", "standby"))]
)
def test_a_condition_survives_the_way_to_the_triggerer(condition: Any) -> None:
    import json

    assert from_plain(json.loads(json.dumps(to_plain(condition)))) == condition


@pytest.mark.parametrize(
    "plain", [{}, {"kind": "moon"}, {"kind": "file", "colour": "blue"}, {"kind": "pipeline", "pipeline": "p", "states": ["sad"]}]
)
def test_a_condition_of_another_release_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(PachydermInvalidError, match="another release"):
        from_plain(plain)
