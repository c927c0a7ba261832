"""Params become a stack, or one message names all that cannot work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dags.provisioning.errors import StackInvalidError
from dags.provisioning.params import provision_params
from dags.provisioning.stack import Stack, run_label
from tests.provisioning.conftest import existing_params, existing_stack, params, stack


def test_a_stack_survives_the_way_through_xcom() -> None:
    wanted = stack(exposure="load-balancer", source_ranges=["203.0.113.0/24"], min_nodes=1, max_nodes=4)
    assert Stack.from_dict(wanted.to_dict()) == wanted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"project": None}, "project None is no Google Cloud project id"),
        ({"bucket": None}, "bucket is needed on GKE"),
        ({"bucket": "UPPER"}, "is no bucket name"),
        ({"location": "moon"}, "neither a zone like us-east1-b nor a region"),
        ({"min_nodes": 3}, "belong together"),
        ({"min_nodes": 3, "max_nodes": 5}, "node_count 2 is not between"),
        ({"name": "Tusk Watch"}, "must be lower-case"),
        ({"namespace": "a/b"}, "must be lower-case"),
        ({"cluster": "1st"}, "must be lower-case"),
        ({"chart": "pachyderm"}, "must be an oci:// or https:// address, or an archive's path from / or URL"),
        ({"chart": "https://x/$(rm -rf)'"}, "must be an oci:// or https:// address, or an archive's path from / or URL"),
        ({"chart": "gs://b/c.tgz"}, "chart_sha256 is needed"),
        ({"chart": "file:///charts/c.tgz"}, "chart_sha256 is needed"),
        ({"chart": "/charts/c.tgz"}, "chart_sha256 is needed"),
        ({"chart": "https://charts.example.com/c.tgz"}, "chart_sha256 is needed"),
        ({"chart_sha256": "abc"}, "not a SHA-256 digest"),
        ({"exposure": "load-balancer"}, "source_ranges is empty"),
        ({"exposure": "load-balancer", "source_ranges": ["0.0.0.0/0"]}, "open to the world"),
        ({"exposure": "load-balancer", "source_ranges": ["::/0"]}, "open to the world"),
        ({"exposure": "load-balancer", "source_ranges": ["0.0.0.0/1", "128.0.0.0/1"]}, "128.0.0.0/1 is open to the world"),
        ({"exposure": "load-balancer", "source_ranges": ["office"]}, "office"),
        ({"node_count": "two"}, "node_count"),
    ],
)
def test_what_cannot_work_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StackInvalidError) as caught:
        Stack.from_params(params(**changes), run_id="r")
    assert message in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(StackInvalidError, match=r"project .*location .*source_ranges"):
        Stack.from_params(params(project="x", location="moon", exposure="load-balancer"), run_id="r")


def test_the_form_explains_every_param_once() -> None:
    explained = {name: (param.schema["title"], param.description) for name, param in provision_params().items()}
    assert [name for name, texts in explained.items() if not all(texts)] == []
    assert len(set(explained.values())) == len(explained)


def test_an_existing_cluster_needs_nothing_of_google() -> None:
    wanted = existing_stack()
    assert wanted.cluster is None
    assert wanted.bucket is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(params())), st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5))
    )
)
def test_any_params_give_a_stack_or_the_declared_error(changes: dict[str, object]) -> None:
    try:
        wanted = Stack.from_params({**existing_params(), **changes}, run_id="r")
    except StackInvalidError:
        return
    assert Stack.from_dict(wanted.to_dict()) == wanted


def test_a_run_label_is_a_label_value_of_google_and_kubernetes() -> None:
    assert run_label("manual__2026-11-23T07:00:00+00:00").isalnum()


def test_a_record_of_another_stack_is_refused_and_one_that_cannot_be_read_is_written_anew() -> None:
    from dags.provisioning.tasks import _refuse_second

    _refuse_second(stack(run="another", machine_type="n2-standard-4"), stack().to_dict())  # the step compares what is there
    _refuse_second(stack(), {"name": "of an older version"})
    with pytest.raises(StackInvalidError, match=r"location is us-east1-b, asked for us-east1-c.*teardown_stack"):
        _refuse_second(stack(location="us-east1-c"), stack().to_dict())
