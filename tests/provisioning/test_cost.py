"""The estimate before anything is created, and the bill after."""

from datetime import UTC, datetime

import pytest

from dags.provisioning.cost import HOURS_PER_MONTH, Estimate, estimate, ran_for
from tests.provisioning.conftest import existing_stack, stack


def test_two_standard_nodes_their_disks_and_the_fee() -> None:
    found = estimate(stack())
    assert found.per_hour == pytest.approx(2 * 0.19 + 0.10 + (2 * 50 + 2 * 20) * 0.10 / HOURS_PER_MONTH)
    assert "2 x n1-standard-4" in str(found)
    assert f"{found.per_hour * HOURS_PER_MONTH:.2f} $ per month" in str(found)


def test_a_region_has_three_times_the_nodes() -> None:
    assert "6 x n1-standard-4 in 3 zones" in str(estimate(stack(location="us-east1")))


def test_spot_is_cheaper_and_autoscaling_shows_its_bound() -> None:
    assert estimate(stack(spot=True)).per_hour < estimate(stack()).per_hour
    assert "up to 5 nodes" in str(estimate(stack(min_nodes=1, max_nodes=5)))


def test_an_unknown_machine_type_makes_the_estimate_say_so() -> None:
    found = estimate(stack(machine_type="c4-standard-4"))
    assert not found.is_complete
    assert "price not known" in str(found)
    assert estimate(stack(machine_type="c4-standard-4"), node_price=0.25).is_complete


def test_a_load_balancer_costs_and_an_existing_cluster_does_not() -> None:
    wanted = existing_stack(exposure="load-balancer", source_ranges=["203.0.113.0/24"])
    assert estimate(existing_stack()).per_hour == 0
    assert estimate(wanted).per_hour > 0


def test_how_long_it_ran_and_what_that_cost() -> None:
    now = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
    known = Estimate((("two nodes", 0.4), ("the fee", 0.1)))
    assert ran_for("2026-11-23T06:00:00+00:00", now=now, estimated=known) == "ran for 12.0 hours, about 6.00 $"
    assert "does not say" in ran_for("", now=now, estimated=known)
    partly = Estimate((("2 x z9-huge", None), ("the fee", 0.1)))
    said = ran_for("2026-11-23T06:00:00+00:00", now=now, estimated=partly)
    assert said == "ran for 12.0 hours, about 1.20 $ and the price of 2 x z9-huge, which is not known here"
