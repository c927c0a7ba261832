"""The model of a million images a night: what can be worked out by hand comes out, and what is missing is named."""

import pytest

from benchmarks.scaling import (
    STAGES,
    Costs,
    MissingFigureError,
    Stage,
    batches_of,
    checks,
    costs_of,
    measure,
    plan,
    saturation,
    simulate,
)

ROWS = [
    {"name": name, "value": value}
    for name, value in {
        "four pipelines, 1000 images in one push": 20.0,
        "validate: job of the push of 1000": 5.01,
        "object-detect: job of the push of 1000": 40.03,
        "threat-detect: job of the push of 1000": 2.02,
        "plot: job of the push of 1000": 0.2,
        "one image, warm: commit": 0.04,
        "one image, warm: validate": 0.015,
        "one image, warm: object-detect": 0.11,
        "one image, warm: threat-detect": 0.022,
        "one image, warm: plot": 0.2,
        "one image, cold: object-detect": 8.11,
        "plot, 100 threats": 0.2,
        "plot, 10100 threats": 0.3,
        "minipachd without Airflow: first run (1000 images)": 60.0,
        "minipachd without Airflow: more images (100 images)": 5.5,
        "minipachd without Airflow: changed rules": 2.6,
        "minipachd without Airflow: changed model": 48.0,
    }.items()
]


def test_one_image_costs_what_each_stage_takes_for_it() -> None:
    costs = costs_of(ROWS)

    assert [stage.name for stage in costs.stages] == list(STAGES)
    assert costs.stage("object-detect").each == pytest.approx(0.08, rel=0.01)  # 40 s on two workers, 1000 images
    assert costs.stage("validate").each == pytest.approx(0.005, rel=0.01)
    assert costs.stage("plot").each_before == pytest.approx(1e-5)
    assert costs.cold == pytest.approx(8.0)


def test_the_simulation_agrees_with_a_sum_done_by_hand() -> None:
    costs = Costs(1.0, 0.0, 5.0, (Stage("object-detect", 2.0, 0.1, workers=4), Stage("plot", 3.0, 0.0, each_before=0.01)))

    one = simulate(costs, [4000], threats_before=100)
    assert one.seconds == pytest.approx(1 + 2 + 100 + 3 + 0.01 * 500, rel=0.02)
    assert simulate(costs, [4000], threats_before=100, cold=True).seconds == pytest.approx(one.seconds + 5)


def test_batches_overlap_and_the_slowest_stage_sets_the_pace() -> None:
    costs = Costs(0.5, 0.0, 0.0, (Stage("validate", 1.0, 0.0), Stage("object-detect", 4.0, 0.0), Stage("plot", 1.0, 0.0)))

    run = simulate(costs, [1] * 50)

    assert run.seconds == pytest.approx(0.5 + 1 + 50 * 4 + 1)
    assert max(run.busy, key=lambda name: run.busy[name]) == "object-detect"
    assert run.busy["object-detect"] == pytest.approx(200 / run.seconds)


def test_more_workers_do_a_night_sooner_and_cost_more_nodes() -> None:
    costs = costs_of(ROWS)

    leisurely, hasty = plan(costs, 1_000_000, 12 * 3600), plan(costs, 1_000_000, 3 * 3600)

    assert leisurely.run.seconds <= 12 * 3600
    assert hasty.run.seconds <= 3 * 3600
    assert hasty.nodes > leisurely.nodes
    cores = 1_000_000 * costs.stage("object-detect").each / (3 * 3600)
    assert cores <= hasty.workers["object-detect"] <= 1.3 * cores


def test_what_no_number_of_workers_can_do_is_refused_by_name() -> None:
    costs = Costs(0.0, 1.0, 0.0, (Stage("validate", 0.0, 0.001), Stage("object-detect", 0.0, 0.001)))

    with pytest.raises(ValueError, match="push alone"):
        plan(costs, 100_000, 3600)


def test_what_saturates_first_is_what_does_the_fewest_images() -> None:
    costs = costs_of(ROWS)
    limits = saturation(costs, 8 * 3600)

    assert limits["object-detect"] == min(limits.values()) == pytest.approx(8 * 3600 / 0.04, rel=0.05)
    plots = Costs(0.0, 0.0, 0.0, (costs.stage("plot"),))
    assert simulate(plots, [500] * round(limits["plot"] / 500)).seconds == pytest.approx(8 * 3600, rel=0.01)


def test_a_night_is_cut_as_push_images_cuts_it() -> None:
    assert batches_of(1200) == [500, 500, 200]
    many = batches_of(1_000_000)
    assert (len(many), many[0], sum(many)) == (500, 2000, 1_000_000)


def test_the_small_cases_are_compared_with_what_was_measured() -> None:
    found = {name: (simulated, measured) for name, simulated, measured in checks(costs_of(ROWS), ROWS)}

    assert len(found) == 4
    for simulated, measured in found.values():
        assert simulated == pytest.approx(measured, rel=0.3)
    figures = {result.name: result for result in measure(ROWS, images=100_000, seconds=8 * 3600) if hasattr(result, "name")}
    assert all(figure.holds for name, figure in figures.items() if name.startswith("simulated"))
    assert figures["100000 images in 8 h, cores 1 as fast: hours"].holds


def test_a_missing_figure_names_the_part_that_measures_it() -> None:
    for lacking, part in (("four pipelines", "limit"), ("one image, cold", "latency"), ("plot, 100 ", "growth")):
        with pytest.raises(MissingFigureError, match=f"python -m benchmarks {part}"):
            costs_of([row for row in ROWS if not str(row["name"]).startswith(lacking)])
