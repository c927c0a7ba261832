"""Specs that could never run are refused when they are made, with the name of the field."""

from typing import Any

import msgspec
import pytest
from grpc import RpcError

from minipachd.errors import InvalidError
from minipachd.pps.spec import PfsInput, PipelineKey, PipelineSpec, ResourceLimits, SecretMount, Transform
from minipachd.pps.validate import complete
from tests.minipachd.pps.lab import Lab, pfs


def draft(*, name: str = "in", transform: dict[str, Any] | None = None, **fields: Any) -> PipelineSpec:
    return PipelineSpec(
        pipeline=PipelineKey("default", "p"),
        transform=msgspec.structs.replace(Transform(cmd=("true",)), **(transform or {})),
        input=PfsInput(name=name, project="default", repo="in", glob="/*"),
        salt="",
        **fields,
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"datum_tries": -1}, "datum_tries is -1"),
        ({"datum_timeout_seconds": -1.0}, "datum_timeout is -1"),
        ({"job_timeout_seconds": -0.5}, "job_timeout is -0.5"),
        ({"datum_timeout_seconds": 1e300}, "datum_timeout is 1e"),
        ({"resource_limits": ResourceLimits(cpu=float("nan"))}, "resource_limits.cpu is nan"),
        ({"parallelism": 10**9}, "parallelism_spec.constant is 1000000000"),
        ({"transform": {"cmd": ("",)}}, r"transform.cmd\[0\] is ''"),
        ({"transform": {"cmd": (" ", "x")}}, r"transform.cmd\[0\] is ' '"),
        ({"transform": {"err_cmd": ("",)}}, r"transform.err_cmd\[0\] is ''"),
        ({"transform": {"cmd": ("sh", "a\0b")}}, r"transform.cmd\[1\] contains a zero byte"),
        ({"transform": {"stdin": ("a\0b",)}}, r"transform.stdin\[0\] contains a zero byte"),
        ({"transform": {"user": "a\0b"}}, "transform.user contains a zero byte"),
        ({"transform": {"working_dir": "a\0b"}}, "transform.working_dir contains a zero byte"),
        ({"transform": {"env": {"A": "a\0b"}}}, r"transform.env\['A'\] contains a zero byte"),
        ({"transform": {"env": {"A=B": "x"}}}, "transform.env has a variable named 'A=B'"),
        ({"transform": {"env": {"": "x"}}}, "transform.env has a variable named ''"),
        (
            {"transform": {"secrets": (SecretMount(name="s", key="k", env_var="A=B"),)}},
            "secrets.env_var has a variable named 'A=B'",
        ),
        ({"name": "x" * 300}, "input name 'xxx.*300 bytes"),
        ({"name": "a\0b"}, "input cannot be named"),
    ],
)
def test_nonsense_is_refused_with_the_fields_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidError, match=named):
        complete(draft(**fields), now_ns=0)


def test_what_is_usual_is_not_refused() -> None:
    usual = {"env": {"A": "=b", "B": ""}, "cmd": ("sh", ""), "stdin": ("", "x"), "secrets": (SecretMount(name="s", mount_path="/s"),)}
    spec = complete(draft(name="x" * 255, datum_tries=0, datum_timeout_seconds=0.5, transform=usual), now_ns=0)
    assert (spec.datum_tries, spec.datum_timeout_seconds) == (3, 0.5)


def test_it_is_refused_over_the_wire_and_nothing_is_made(lab: Lab) -> None:
    lab.repo()
    with pytest.raises(RpcError, match="datum_tries is -1"):
        lab.pipeline("p", datum_tries=-1, reads=pfs("in"))
    assert list(lab.client.list_pipeline()) == []
