"""The demo model and the frames that it was made for: determinism, signature, accuracy."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.object_detect.demo_model import evaluate, render
from stages.object_detect.demo_model.evaluate import Detections, detect, iou, measure, tally
from stages.object_detect.demo_model.render import Truth, frame_rng, render_frame
from stages.object_detect.demo_model.shapes import KINDS

UNSEEN_SEED = 50  # neither trained, nor calibrated, nor measured in the README
OUTPUTS = ["detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0"]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_a_seed_always_gives_the_same_frame_and_another_seed_another() -> None:
    first, again, other = (render_frame(frame_rng(seed, 4)) for seed in (1, 1, 2))

    assert first[0].tobytes() == again[0].tobytes()
    assert np.array_equal(first[1].boxes, again[1].boxes)
    assert first[0].tobytes() != other[0].tobytes()


def test_truth_is_what_can_be_seen() -> None:
    truths = [render_frame(frame_rng(UNSEEN_SEED, index))[1] for index in range(60)]
    boxes = np.concatenate([truth.boxes for truth in truths])
    classes = np.concatenate([truth.classes for truth in truths])

    assert set(classes) == {kind.coco_id for kind in KINDS} == {1, 3, 4, 8, 22, 24, 25}
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, 2:] - boxes[:, :2]).min() > 0.02
    assert {len(truth.classes) for truth in truths} >= {0, 1, 2, 3}, "empty and crowded frames both occur"


def test_the_demo_writes_the_same_well_named_frames_each_time_and_one_bad_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert render.main(["--out", str(tmp_path / folder), "--count", "12", "--seed", "7"]) == 0

    files = digests(tmp_path / "one")
    assert files == digests(tmp_path / "two")
    assert len(files) == 13
    assert "blah.jpg" in files
    assert "dev1_1511891098.jpg" in files
    assert {name.partition("_")[0] for name in files} == {"dev1", "dev2", "dev3", "dev4", "blah.jpg"}
    for name in files:
        with Image.open(tmp_path / "one" / name) as image:
            assert image.format == "JPEG"
            image.load()


def test_the_second_camera_of_the_demo_sees_animals_only(tmp_path: Path) -> None:
    truths = render.write_demo(tmp_path, count=12, seed=7)

    seen = {
        device: {int(one) for name, truth in truths.items() if name.startswith(device) for one in truth.classes}
        for device in ("dev1", "dev2")
    }
    assert seen["dev1"] <= {1, 3, 4, 8}
    assert seen["dev2"] <= {22, 24, 25}
    assert all(seen.values())


def test_tally_wants_the_right_class_enough_overlap_and_one_detection_for_each_thing() -> None:
    truth = Truth(np.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], np.float32), np.array([1, 3]))
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.48], [0.6, 0.6, 0.9, 0.9], [0.6, 0.6, 0.9, 0.9]], np.float32)
    detections = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.4], np.float32), np.array([1, 1, 4, 3]))

    one = tally([(detections, truth)])
    assert (one.found, one.false, one.missed) == (1, 2, 1), "a second box for the same thing and a wrong class are false"
    assert tally([(detections, truth)], threshold=0.3).found == 2
    assert tally([(detections, truth)], coco_id=3) == evaluate.Tally(found=0, false=0, missed=1)
    assert iou(boxes[:1], np.array([[0.1, 0.1, 0.5, 0.3]], np.float32))[0, 0] == pytest.approx(0.5)


def test_a_frame_without_things_and_one_without_detections_can_be_tallied() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    empty = Truth(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    full = Truth(np.array([[0, 0, 1, 1]], np.float32), np.array([1]))

    assert tally([(nothing, empty), (nothing, full)]) == evaluate.Tally(missed=1)


class TestFrozenGraph:
    def test_is_small_and_has_the_signature_of_the_object_detection_api(self) -> None:
        tf = pytest.importorskip("tensorflow")
        assert evaluate.GRAPH.stat().st_size <= 3_000_000
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(tf.compat.v1.GraphDef.FromString(evaluate.GRAPH.read_bytes()), name="")
        image = graph.get_tensor_by_name("image_tensor:0")
        assert image.dtype == tf.uint8
        assert image.shape.as_list() == [None, None, None, 3]
        with tf.compat.v1.Session(graph=graph) as session:
            for shape in ((2, 480, 640, 3), (1, 37, 91, 3), (3, 1100, 700, 3)):
                boxes, scores, classes, count = session.run(OUTPUTS, {image: np.full(shape, 90, np.uint8)})
                assert boxes.shape == (shape[0], 100, 4)
                assert scores.shape == classes.shape == (shape[0], 100)
                assert count.shape == (shape[0],)
                assert {one.dtype for one in (boxes, scores, classes, count)} == {np.dtype(np.float32)}
                assert set(np.unique(classes)) <= {1, 3, 4, 8, 22, 24, 25}

    def test_a_frame_gives_the_same_result_alone_and_in_a_batch(self) -> None:
        tf = pytest.importorskip("tensorflow")
        frames = [render_frame(frame_rng(UNSEEN_SEED, index))[0].resize((640, 480)) for index in range(4)]
        batch = np.stack([np.asarray(frame) for frame in frames])
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(tf.compat.v1.GraphDef.FromString(evaluate.GRAPH.read_bytes()), name="")
        with tf.compat.v1.Session(graph=graph) as session:
            together = session.run(OUTPUTS[:2], {"image_tensor:0": batch})
            alone = [session.run(OUTPUTS[:2], {"image_tensor:0": frame[None]}) for frame in batch]
        for index, (boxes, scores) in enumerate(alone):
            np.testing.assert_allclose(scores[0], together[1][index], atol=1e-4)
            np.testing.assert_allclose(boxes[0], together[0][index], atol=1e-4)

    def test_finds_nearly_all_on_frames_that_it_never_saw(self) -> None:
        pytest.importorskip("tensorflow")
        overall = measure(evaluate.GRAPH, seed=UNSEEN_SEED, count=50)["all"]

        assert overall.found + overall.missed > 80
        assert overall.precision >= 0.9, overall
        assert overall.recall >= 0.9, overall

    def test_tells_threats_from_animals_in_the_demo(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorflow")
        truths = render.write_demo(tmp_path, count=12, seed=7)
        frames = (np.asarray(Image.open(tmp_path / name)) for name in truths)

        threats = {1, 3, 4, 8}
        for (name, truth), found in zip(truths.items(), detect(evaluate.GRAPH, frames), strict=True):
            alarming = threats.intersection(found.classes[found.scores >= 0.5].tolist())
            assert bool(alarming) == bool(threats.intersection(truth.classes.tolist())), name
