import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from stages.common.errors import StageError
from stages.common.images import ImageLimits, decode_rgb
from stages.common.names import parse_image_name
from stages.common.runner import Datum, run
from stages.object_detect.annotate import annotate
from stages.object_detect.detector import Detection, Detector, import_tensorflow
from stages.object_detect.found import found_object
from stages.object_detect.stage import ObjectDetectStage
from tests.stages.conftest import image_bytes, write_graph
from tests.support_data import CAMERA_IMAGES, COCO_MODEL, camera_material, shared_data

NAME = "dev1_1511891098.jpg"


@pytest.fixture
def valid(tmp_path):
    """An input folder as validate leaves it, with one image of 100 x 80."""
    (tmp_path / "validate/valid").mkdir(parents=True)
    (tmp_path / "validate/valid" / NAME).write_bytes(image_bytes(size=(100, 80)))
    return tmp_path / "validate"


def detect(images, model, out, stage=None, **env):
    (stage or ObjectDetectStage()).process(Datum({"validate": images, "model": model}, out, env))


def loads(caplog) -> int:
    return sum("loaded model" in record.getMessage() for record in caplog.records)


def test_the_output_file(valid, model_folder, tmp_path):
    detect(valid, model_folder, tmp_path / "out")
    found = json.loads((tmp_path / "out/dev1/1511891098.json").read_text())
    assert found["schema"] == "tuskwatch.detections/1"
    assert (found["device"], found["timestamp"], found["time"]) == ("dev1", 1511891098, "2017-11-28T17:44:58+00:00")
    assert (found["source"], found["annotated"], found["image"]) == (NAME, "dev1/1511891098.jpg", {"width": 100, "height": 80})
    assert found["model"]["digest"].startswith("sha256:")
    assert found["model"]["labels"] == "coco"
    assert "2048 px" in found["preprocessing"]
    assert found["threshold"] == 0.5
    assert found["objects"] == [  # by falling score; the dog at 0.3 is below the threshold
        {"class_id": 1, "label": "person", "score": 0.9, "box": {"left": 20, "top": 8, "right": 50, "bottom": 40}},
        {"class_id": 3, "label": "car", "score": 0.6, "box": {"left": 20, "top": 0, "right": 40, "bottom": 40}},
    ]


def test_the_annotated_image_is_the_image_with_boxes(valid, model_folder, tmp_path):
    detect(valid, model_folder, tmp_path / "out")
    with Image.open(tmp_path / "out/dev1/1511891098.jpg") as annotated, Image.open(valid / "valid" / NAME) as original:
        assert annotated.size == original.size
        difference = np.abs(np.asarray(annotated, np.int16) - np.asarray(original, np.int16))
        assert difference[60:, 60:].max() < 30  # far from all boxes: only the compression
        assert difference[8:40, 20:50].max() > 60


def test_an_image_without_objects_is_linked(valid, model_folder, tmp_path):
    for _ in range(2):  # the second run replaces what the first left, and never writes through the link
        detect(valid, model_folder, tmp_path / "out", DETECT_THRESHOLD="1")
        assert (tmp_path / "out/dev1/1511891098.jpg").readlink() == valid / "valid" / NAME
    detect(valid, model_folder, tmp_path / "out")
    assert not (tmp_path / "out/dev1/1511891098.jpg").is_symlink()
    assert (valid / "valid" / NAME).read_bytes() == image_bytes(size=(100, 80))


def test_images_of_one_device_and_second_do_not_share_an_output(valid, model_folder, tmp_path):
    (valid / "valid/dev1_1511891098.png").write_bytes(image_bytes("PNG", size=(60, 80)))
    (valid / "valid/dev1_1511891098.jpeg").write_bytes(image_bytes(size=(40, 80)))
    detect(valid, model_folder, tmp_path / "out")
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "out/dev1").glob("*.json"))]
    assert [(one["source"], one["annotated"], one["image"]["width"]) for one in reports] == [
        (NAME, "dev1/1511891098.jpg", 100),
        ("dev1_1511891098.jpeg", "dev1/1511891098_jpeg.jpg", 40),
        ("dev1_1511891098.png", "dev1/1511891098_png.jpg", 60),
    ]
    for one in reports:
        with Image.open(tmp_path / "out" / one["annotated"]) as annotated:
            assert annotated.width == one["image"]["width"]


@pytest.mark.parametrize("name", ["dev1_1511891098.png", "dev1_1511891098.jpg"])
def test_what_is_no_upright_jpeg_is_written_anew(model_folder, tmp_path, name):
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "in" / name, exif=exif)
    detect(tmp_path / "in", model_folder, tmp_path / "out", DETECT_THRESHOLD="1")
    with Image.open(tmp_path / "out/dev1" / f"{parse_image_name(name).output_name}.jpg") as annotated:
        assert (annotated.format, annotated.size, dict(annotated.getexif())) == ("JPEG", (20, 40), {})


@pytest.mark.parametrize(
    ("env", "labels"),
    [
        ({"DETECT_THRESHOLD": "0.2"}, ["person", "car", "dog"]),
        ({"DETECT_THRESHOLD": "0.2", "DETECT_MAX_OBJECTS": "1"}, ["person"]),
        ({"DETECT_THRESHOLD": "1"}, []),
    ],
)
def test_settings_from_the_environment(valid, model_folder, tmp_path, env, labels):
    detect(valid, model_folder, tmp_path / "out", **env)
    found = json.loads((tmp_path / "out/dev1/1511891098.json").read_text())
    assert [thing["label"] for thing in found["objects"]] == labels


@pytest.mark.parametrize(
    "env", [{"DETECT_THRESHOLD": "1.5"}, {"DETECT_THRESHOLD": "half"}, {"DETECT_MAX_OBJECTS": "0"}, {"DETECT_THREADS": "1.5"}]
)
def test_wrong_settings_are_named(valid, model_folder, tmp_path, env):
    with pytest.raises(StageError, match=next(iter(env))):
        detect(valid, model_folder, tmp_path / "out", **env)


def test_other_devices_are_left_out(valid, model_folder, tmp_path):
    (valid / "valid/dev2_1511891098.jpg").write_bytes(image_bytes())
    detect(valid, model_folder, tmp_path / "out", DETECT_DEVICES="dev2, dev3")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dev2"]


def test_a_damaged_image_fails_alone(valid, model_folder, tmp_path):
    (valid / "valid/dev2_1511891098.jpg").write_bytes(image_bytes(size=(640, 480))[:-200])
    with pytest.raises(StageError, match=r"dev2_1511891098\.jpg: truncated or damaged"):
        detect(valid, model_folder, tmp_path / "out")
    assert (tmp_path / "out/dev1/1511891098.json").is_file()


def test_one_model_load_for_many_datums(valid, model_folder, tmp_path, make_worker, caplog):
    """The worker recreates the input files for every datum, as a real one does."""

    def datum(number, commit):
        def prepare():
            shutil.rmtree(tmp_path / "model", ignore_errors=True)
            shutil.copytree(model_folder, tmp_path / "model")
            return {"PACH_DATUM_ID": str(number), **commit}

        return prepare

    datums = [datum(number, {"model_COMMIT": "c1"}) for number in range(3)]
    datums += [datum(3, {"model_COMMIT": "c2"}), datum(4, {})]  # another commit with the same content; no commit to go by
    worker = make_worker(datums)
    caplog.set_level("INFO")
    assert run(ObjectDetectStage(), [], worker.environment(tmp_path)) == 0
    assert worker.outcomes == [""] * 5
    assert loads(caplog) == 1


def test_a_changed_model_is_loaded(valid, model_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    stage = ObjectDetectStage()
    detect(valid, model_folder, tmp_path / "out", stage)
    write_graph(tmp_path / "new/frozen_inference_graph.pb", classes=[17.0], scores=[0.8])
    detect(valid, tmp_path / "new", tmp_path / "out", stage)
    found = json.loads((tmp_path / "out/dev1/1511891098.json").read_text())
    assert [thing["label"] for thing in found["objects"]] == ["cat"]
    assert loads(caplog) == 2


def test_a_label_map_in_the_model_repo(valid, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model/labels.json").write_text('{"1": "zebra"}')
    detect(valid, tmp_path / "model", tmp_path / "out")
    found = json.loads((tmp_path / "out/dev1/1511891098.json").read_text())
    assert [thing["label"] for thing in found["objects"]] == ["zebra", "class 3"]
    assert found["model"]["labels"] == "labels.json"


def test_two_label_maps_are_one_too_many(valid, model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    for name in ("label_map.pbtxt", "labels.json"):
        (tmp_path / "model" / name).write_text("{}")
    with pytest.raises(StageError, match=r"2 label maps \(label_map.pbtxt, labels.json\)"):
        detect(valid, tmp_path / "model", tmp_path / "out")


def test_an_empty_model_repo(valid, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(StageError, match=r"no /frozen_inference_graph\.pb"):
        detect(valid, tmp_path / "model", tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\0" * 1000, os.urandom(5000), b'{"json": 1}'], ids=str.__class__)
def test_a_file_that_is_no_graph(tmp_path, data):
    (tmp_path / "x.pb").write_bytes(data)
    with pytest.raises(StageError, match=r"x\.pb: not a(n object detection| frozen) graph.* put the frozen_inference_graph.pb"):
        Detector(tmp_path / "x.pb", threads=1, threshold=0.5)


def test_a_graph_that_runs_in_a_circle(tmp_path):
    definition = import_tensorflow().compat.v1.GraphDef()
    definition.node.add(name="detection_scores", op="Identity", input=["again"])
    definition.node.add(name="again", op="Identity", input=["detection_scores"])
    (tmp_path / "x.pb").write_bytes(definition.SerializeToString())
    with pytest.raises(StageError, match=r"x\.pb: not a frozen graph"):
        Detector(tmp_path / "x.pb", threads=1, threshold=0.5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"leave_out": "detection_scores"}, "detection_scores:0 is missing"),
        ({"leave_out": "num_detections"}, "num_detections:0 is missing"),
        ({"image_type": "float32"}, "image_tensor:0 is float32, not uint8"),
    ],
)
def test_a_graph_with_another_signature(tmp_path, options, problem):
    path = write_graph(tmp_path / "x.pb", classes=[1.0], scores=[0.9], **options)
    with pytest.raises(StageError, match=problem):
        Detector(path, threads=1, threshold=0.5)


def write_suppressing_graph(path, scores):
    """A graph whose last step is a non-maximum suppression over boxes that overlap in pairs, of two classes."""
    tf = import_tensorflow()
    rng = np.random.default_rng(1)
    corners = np.repeat(rng.uniform(0, 0.8, (len(scores) // 2, 2)), 2, axis=0) + rng.uniform(0, 0.05, (len(scores), 2))
    boxes = np.concatenate([corners, corners + 0.15], axis=1).astype(np.float32)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.placeholder(tf.uint8, [None, None, None, 3], name="image_tensor")
        per_class = np.stack([scores, rng.permutation(scores) + 0.003], axis=1)  # no two are equal: their order would be anyone's guess
        found = tf.image.combined_non_max_suppression(boxes[None, :, None], per_class[None], 40, 60, iou_threshold=0.5, score_threshold=0.1)
        tf.identity(found.nmsed_boxes, name="detection_boxes")
        tf.identity(tf.identity(found.nmsed_scores), name="detection_scores")
        tf.identity(found.nmsed_classes + 1, name="detection_classes")
        tf.cast(found.valid_detections, tf.float32, name="num_detections")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3125, 0.5125, 0.7625, 1.0])
def test_a_higher_threshold_gives_the_same_objects_less_those_below(tmp_path, threshold):
    """The threshold reaches into the graph; that must not change what is above it."""
    scores = (np.arange(80) / 80).astype(np.float32)  # the thresholds are among them, and count
    path, image = write_suppressing_graph(tmp_path / "x.pb", scores), np.zeros((10, 10, 3), np.uint8)
    everything = Detector(path, threads=1, threshold=0.0).detect(image, max_objects=1000)
    found = Detector(path, threads=1, threshold=threshold).detect(image, max_objects=1000)
    assert found == [one for one in everything if one.score >= threshold]
    assert len(found) >= (threshold < 1)


def test_boxes_outside_the_image_are_clipped(tmp_path):
    path = write_graph(tmp_path / "x.pb", classes=[1.0] * 12, scores=[0.9] * 12)  # the last boxes reach to 1.5
    found = Detector(path, threads=1, threshold=0.5).detect(np.zeros((10, 10, 3), np.uint8), max_objects=100)
    assert len(found) == 12
    assert all(0 <= edge <= 1 for detection in found for edge in detection.box)


@pytest.mark.parametrize("size", [(1, 1), (8, 6), (320, 240), (3840, 2160), (60, 2000)])
def test_drawing_on_any_size(size):
    image = Image.new("RGB", size)
    detections = [Detection(1, 0.9, (0, 0, 1, 1)), Detection(3, 0.5, (0.9, 0.9, 0.9, 0.9)), Detection(90, 1.0, (1, 1, 1, 1))]
    annotate(image, [found_object(detection, {1: "person " * 40}, size) for detection in detections])
    assert image.size == size
    assert image.getextrema() != ((0, 0), (0, 0), (0, 0))


def test_large_images_are_reduced_for_the_model_alone(model_folder, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (4000, 3000)).save(tmp_path / "in" / NAME)
    detect(tmp_path / "in", model_folder, tmp_path / "out")
    found = json.loads((tmp_path / "out/dev1/1511891098.json").read_text())
    assert found["image"] == {"width": 4000, "height": 3000}
    assert found["objects"][0]["box"] == {"left": 800, "top": 300, "right": 2000, "bottom": 1500}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 20)).save(tmp_path / NAME, exif=exif)
    assert decode_rgb(tmp_path / NAME, ImageLimits()).image.size == ((40, 20) if orientation < 5 else (20, 40))


def test_a_meaningless_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.new("RGB", (40, 20)).save(tmp_path / NAME, exif=exif)
    assert decode_rgb(tmp_path / NAME, ImageLimits()).image.size == (40, 20)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 200, (200, 200, 200)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x8000, (128, 128, 128)),
        ("LA", (200, 0), (0, 0, 0)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (0, 0, 0)),
    ],
)
def test_modes_become_rgb(tmp_path, mode, colour, expected):
    path = tmp_path / "dev1_1511891098.png"
    Image.new(mode, (8, 8), colour).save(path)
    assert decode_rgb(path, ImageLimits()).image.getpixel((4, 4)) == expected


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / NAME, quality=95)
    red, green, blue = decode_rgb(tmp_path / NAME, ImageLimits()).image.getpixel((8, 8))
    assert red > 220
    assert green < 40
    assert blue < 40


@pytest.mark.skipif(not shared_data(), reason="no shared data beside the repository")
def test_the_camera_images_with_the_coco_model(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in camera_material().valid:
        shutil.copy(CAMERA_IMAGES / name, images / name)
    detect(images, COCO_MODEL.parent, tmp_path / "out")
    found = {path.parent.name + "_" + path.stem: json.loads(path.read_text())["objects"] for path in (tmp_path / "out").glob("*/*.json")}
    labels = {name: sorted({thing["label"] for thing in objects}) for name, objects in found.items()}
    assert labels["dev1_1511891098"] == ["person"]
    assert not {"person", "car", "motorcycle", "truck"} & set(labels["dev2_1511891326"])  # animals
    assert labels["dev3_1511891385"] == ["car", "person"]
    assert found["dev1_1511891098"][0]["score"] == pytest.approx(0.866, abs=0.01)
