"""The affine: exact round trips, mirrored joints in mirrored cells, and pictures that agree with joints."""

import cv2
import numpy as np
import pytest

from src.datasets import affine


@pytest.mark.parametrize("rotation", [0.0, 30.0, -77.0, 180.0])
@pytest.mark.parametrize("flip", [False, True])
def test_round_trip_is_exact(rotation: float, flip: bool) -> None:
    points = np.random.default_rng(0).uniform(-300, 1300, (50, 2))
    matrix = affine.crop_matrix(np.array([640.2, 353.7]), 3.3, 256, rotation, flip)
    back = affine.apply(affine.invert(matrix), affine.apply(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-9)  # float64; the contract asks for 1e-3 px


def test_box_corners_land_on_crop_corners() -> None:
    matrix = affine.crop_matrix(np.array([500.0, 400.0]), 2.0, 256)  # a box of 400 px: 300…700, 200…600
    corners = affine.apply(matrix, np.array([[300.0, 200.0], [700.0, 600.0], [500.0, 400.0]]))
    np.testing.assert_allclose(corners, [[0, 0], [256, 256], [128, 128]], atol=1e-9)


def test_positive_rotation_turns_counter_clockwise_on_the_screen() -> None:
    matrix = affine.crop_matrix(np.array([100.0, 100.0]), 1.0, 200, rotation=90)
    right_of_centre = affine.apply(matrix, np.array([[150.0, 100.0]]))
    np.testing.assert_allclose(right_of_centre, [[100, 50]], atol=1e-9)  # moved up


def test_mirror_is_size_minus_x_and_cells_mirror() -> None:
    points = np.random.default_rng(1).uniform(0, 256, (1000, 2))
    plain = affine.crop_matrix(np.array([128.0, 128.0]), 256 / 200, 256)
    mirrored = affine.crop_matrix(np.array([128.0, 128.0]), 256 / 200, 256, flip=True)
    x, x_mirrored = affine.apply(plain, points)[:, 0], affine.apply(mirrored, points)[:, 0]
    np.testing.assert_allclose(x_mirrored, 256 - x, atol=1e-9)
    np.testing.assert_array_equal(np.floor(x_mirrored / 4), 63 - np.floor(x / 4))


def test_batches_of_matrices() -> None:
    matrices = np.stack([affine.crop_matrix(np.array([50.0, 60.0]), s, 64, 10 * s) for s in (0.5, 1.5)])
    points = np.random.default_rng(2).uniform(0, 100, (2, 7, 2))
    moved = affine.apply(matrices, points)
    for i in range(2):
        np.testing.assert_allclose(moved[i], affine.apply(matrices[i], points[i]), atol=1e-12)
    np.testing.assert_allclose(affine.apply(affine.invert(matrices), moved), points, atol=1e-9)


@pytest.mark.parametrize("scale, size", [(0.3, 128), (1.1, 256), (6.0, 128)])  # enlarged, near 1:1, shrunk
@pytest.mark.parametrize("flip", [False, True])
def test_picture_and_joint_go_the_same_way(scale: float, size: int, flip: bool) -> None:
    """A bright disc's centre of mass in the crop lies where the affine sends the disc's centre."""
    picture = np.zeros((800, 900, 3), np.uint8)
    center = np.array([430.5, 400.5])  # the middle of pixel (430, 400)
    radius = int(15 * scale) + 6
    cv2.circle(picture, (430, 400), radius, (255, 255, 255), -1)
    matrix = affine.crop_matrix(np.array([420.0, 410.0]), scale, size, rotation=25, flip=flip)
    crop = affine.warp(picture, matrix, size)[..., 0].astype(float)
    ys, xs = np.mgrid[:size, :size] + 0.5
    found = np.array([(xs * crop).sum(), (ys * crop).sum()]) / crop.sum()
    # bilinear sampling of bytes: within a tenth of a pixel; half a pixel would be the usual mistake
    np.testing.assert_allclose(found, affine.apply(matrix, center[None])[0], atol=0.1)


def plain_warp(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    return cv2.warpAffine(picture, affine.between_centers(matrix), (size, size), flags=cv2.INTER_LINEAR)


@pytest.mark.parametrize("x, y, scale", [(300, 200, 1.0), (20, 390, 0.9), (640, 10, 1.2), (-900, -900, 0.8)])
def test_warp_is_one_plain_warp_of_the_whole_picture(x: float, y: float, scale: float) -> None:
    """Only the part that the crop shows is read, which changes no pixel by more than rounding."""
    picture = np.random.default_rng(3).integers(0, 256, (400, 600, 3)).astype(np.uint8)
    matrix = affine.crop_matrix(np.array([x, y]), scale, 128, rotation=33, flip=True)
    found, expected = affine.warp(picture, matrix, 128), plain_warp(picture, matrix, 128)
    # OpenCV rounds positions to 1/32 pixel, and the part's origin is another one
    assert (
        np.abs(found.astype(int) - expected).max() <= 20 and np.abs(found.astype(int) - expected).mean() < 1
    )


def test_outside_of_the_picture_is_black() -> None:
    picture = np.full((50, 50, 3), 200, np.uint8)
    crop = affine.warp(picture, affine.crop_matrix(np.array([25.0, 25.0]), 0.5, 100), 100)
    assert crop[50, 50].tolist() == [200, 200, 200]
    assert crop[2, 2].tolist() == [0, 0, 0]


def smooth_noise(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(4).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_matrix_from_a_reduced_picture(reduction: int) -> None:
    matrix = affine.crop_matrix(np.array([250.0, 180.0]), 3.0, 64, rotation=20, flip=True)
    points = np.random.default_rng(5).uniform(0, 400, (20, 2))
    found = affine.apply(affine.from_reduced(matrix, reduction), points / reduction)
    np.testing.assert_allclose(found, affine.apply(matrix, points), atol=1e-9)
    assert affine.shrinkage(affine.from_reduced(matrix, reduction)) == pytest.approx(600 / 64 / reduction)


@pytest.mark.parametrize("shrink, step", [(2.0, 2), (3.7, 2), (4.1, 4), (9.0, 8)])
def test_a_shrinking_warp_is_a_mean_over_squares_and_one_warp(shrink: float, step: int) -> None:
    """As if the whole picture were averaged; also where the crop goes beyond an edge."""
    picture = smooth_noise(384, 512)  # multiples of every step
    matrix = affine.crop_matrix(np.array([200.0, 330.0]), 48 * shrink / 200, 48, rotation=-15)
    small = cv2.resize(picture, (512 // step, 384 // step), interpolation=cv2.INTER_AREA)
    expected = plain_warp(small, affine.from_reduced(matrix, step), 48)
    difference = np.abs(affine.warp(picture, matrix, 48).astype(int) - expected)
    assert difference.max() <= 8 and difference.mean() < 0.5  # positions are rounded to 1/32 pixel


@pytest.mark.parametrize("height, width", [(301, 403), (303, 401), (1001, 777)])
def test_shrinking_reaches_every_edge(height: int, width: int) -> None:
    """Sides that are no multiple of a square: white to the last pixel, black beyond, nothing moved."""
    picture = np.full((height, width, 3), 255, np.uint8)
    matrix = affine.crop_matrix(np.array([width / 2, height / 2]), max(height, width) / 200, 100)
    crop = affine.warp(picture, matrix, 100)[..., 0] / 255
    # bilinear sampling blurs edges and keeps their place; a lost strip of 3 pixels would be 7 in 1000
    assert crop.sum() == pytest.approx(100**2 * min(height, width) / max(height, width), rel=3e-3)
    np.testing.assert_allclose(crop, crop[::-1, ::-1], atol=1 / 255)
