"""Joints on photos, by BlazePose. Skips where the package of requirements-tryon.txt is not installed."""

import importlib.util
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from networks.pose import ENDINGS, FILES, PoseNetwork, _cut, missing_package, package_folder
from tests.helpers import ROOT
from utils.errors import UserError

installed = pytest.mark.skipif(missing_package() is not None, reason="needs requirements-tryon.txt")
NOSE, LEFT_EYE, RIGHT_EYE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 2, 5, 11, 12


@pytest.fixture(scope="module")
def network() -> PoseNetwork:
    return PoseNetwork.load()


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(ROOT / "input_images/eileen_collins.jpg").convert("RGB")


@installed
def test_joints_of_a_portrait(network, portrait):
    joints = network(portrait)
    width, height = portrait.size
    assert joints.shape == (33, 3) and joints.dtype == np.float32
    assert ((joints[:, 2] >= 0) & (joints[:, 2] <= 1)).all()
    x, y = joints[:, 0] / width, joints[:, 1] / height
    assert x[RIGHT_SHOULDER] < x[RIGHT_EYE] < x[NOSE] < x[LEFT_EYE] < x[LEFT_SHOULDER]  # left is the person's
    assert y[NOSE] < y[LEFT_SHOULDER] and (joints[[NOSE, LEFT_SHOULDER, RIGHT_SHOULDER], 2] > 0.9).all()


@pytest.mark.parametrize("side", [200, 2000])
def test_what_the_network_sees_of_a_mirrored_photo_is_mirrored(side):
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    photo = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    whole = np.array([[side / 224, 0, 0], [0, side / 224, 0]])
    seen, mirrored = (_cut(each, whole, 224) for each in (photo, ImageOps.mirror(photo)))
    assert np.abs(seen - mirrored[:, :, ::-1]).max() < 0.05


@installed
@pytest.mark.parametrize("change", ["moved", "large", "turned"])
def test_joints_move_with_the_photo(network, portrait, change):
    known = network(portrait)[:13, :2]
    if change == "moved":
        found = network(ImageOps.expand(portrait, (100, 40, 300, 0), "gray"))[:13, :2] - (100, 40)
    elif change == "large":
        found = network(portrait.resize([3 * side for side in portrait.size]))[:13, :2] / 3
    else:
        (cos, sin), centre = (np.cos(np.radians(30)), np.sin(np.radians(30))), np.array(portrait.size) / 2
        turned = network(portrait.rotate(30, Image.Resampling.BICUBIC))[:13, :2]
        found = (turned - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    assert np.abs(found - known).max() < 0.08 * portrait.height  # joints of a photo to the chest are not exact


@installed
def test_threads_may_share_it_and_a_plain_photo_shows_nobody(network, portrait):
    photos = [portrait, ImageOps.mirror(portrait), Image.new("RGB", (64, 64)), portrait.rotate(20)] * 3
    alone = [network(photo) for photo in photos[:4]] * 3
    assert alone[2] is None  # nobody on a plain photo
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(network, photos), alone, strict=True):
            assert one is other is None or np.array_equal(one, other)


@installed
@pytest.mark.parametrize("choice", [0, 1])
def test_a_wheel_and_a_task_file_hold_the_same_networks(tmp_path, portrait, network, choice):
    with zipfile.ZipFile(tmp_path / "file", "w") as file:
        for source, endings in zip(FILES, ENDINGS, strict=True):
            file.write(package_folder() / source, f"some/{endings[choice]}")
    assert np.array_equal(PoseNetwork.load(tmp_path / "file")(portrait), network(portrait))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"), (b"not a zip", "not a wheel or .task file"),
        ({"pose_detector.tflite": b"x"}, "does not hold BlazePose"),
        ({"a/pose_detector.tflite": b"x", "b/pose_detector.tflite": b"x"}, "does not hold BlazePose"),
        ({"pose_detector.tflite": b"x", "pose_landmarks_detector.tflite": b"x"}, "is not a network of BlazePose"),
        ({"pose_detector.tflite": bytes(11), "pose_landmarks_detector.tflite": b"x"}, "does not hold BlazePose"),
    ],
)  # fmt: skip
def test_files_that_are_not_blazepose(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr("networks.pose.MAX_BYTES", 10)
    path = tmp_path / "file.task"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in content.items():
                file.writestr(name, data)
    with pytest.raises(UserError, match=message):
        PoseNetwork.load(path)


@pytest.mark.parametrize("absent", ["openvino", "mediapipe"])
def test_without_a_package(monkeypatch, absent):
    find = importlib.util.find_spec
    monkeypatch.setattr("networks.pose.importlib.util.find_spec", lambda name: None if name == absent else find(name))
    assert missing_package().startswith(absent)
    with pytest.raises(UserError, match=f"{absent}.* is not installed; install requirements-tryon.txt"):
        PoseNetwork.load()
