"""Batches of equal shape: order, bounds, values."""

import numpy as np
import pytest

from zoo.core.errors import InvalidInputError
from zoo.core.export.batches import WINDOW_BATCHES, compute_in_order
from zoo.core.export.image_engine import BatchMemory


def numbered(shapes):
    """Images of these sizes, each filled with its position."""
    return [np.full((2, *shape), n, np.float32) for n, shape in enumerate(shapes)]


def recorder(batches):
    def start(batch):
        batches.append(batch.shape)
        results = [float(image.mean()) + batch.shape[2] / 100 for image in batch]
        return lambda: results

    return start


def test_results_come_in_the_order_of_the_images():
    shapes = np.random.default_rng(0).choice([4, 5, 6, 7], size=200)
    batches = []
    images = numbered((side, 3) for side in shapes)
    results = list(compute_in_order(images, recorder(batches), 8))
    np.testing.assert_allclose(results, np.arange(200) + shapes / 100, rtol=1e-6)
    assert max(n for n, *_ in batches) == 8
    assert len(batches) <= 200 / 8 + 12  # batches are filled though the sizes are mixed


def test_images_of_one_size_make_full_batches_and_errors_take_no_place():
    images = numbered([(4, 4)] * 10)
    images[3] = InvalidInputError("broken")
    batches = []
    results = list(compute_in_order(images, recorder(batches), 4))
    assert [n for n, *_ in batches] == [4, 4, 1]
    assert results[3] is images[3]
    assert results[:3] + results[4:] == pytest.approx([n + 0.04 for n in range(10) if n != 3])


@pytest.mark.parametrize("channels_innermost", [True, False])
def test_a_batch_has_the_order_in_memory_that_was_asked_for(channels_innermost):
    pixels = np.random.default_rng(0).random((5, 6, 7, 3), np.float32)  # rows, columns, colours, as they are decoded
    batches = []
    list(
        compute_in_order(
            [image.transpose(2, 0, 1) for image in pixels],
            lambda batch: batches.append((batch.copy(), batch.strides)) or (lambda: [0] * len(batch)),
            2,
            BatchMemory(channels_innermost),
        )
    )
    assert np.array_equal(np.concatenate([batch for batch, _ in batches]), pixels.transpose(0, 3, 1, 2))
    for _, strides in batches:
        assert (strides[1] == 4) == channels_innermost
        assert (strides[3] == 4) != channels_innermost


@pytest.mark.parametrize("underway", [0, 2])
def test_a_lone_size_does_not_hold_up_the_others(underway):
    """Results that wait for it would pile up with the length of the list."""
    taken = 0

    def images():
        nonlocal taken
        for taken, image in enumerate(numbered([(9, 9)] + [(4, 4)] * 999), start=1):  # noqa: B007
            yield image

    for done, _ in enumerate(compute_in_order(images(), recorder([]), 4, BatchMemory(underway=underway))):
        assert taken - done <= (WINDOW_BATCHES + underway) * 4 + 1
    assert done == 999


def test_large_images_wait_in_smaller_number(monkeypatch):
    monkeypatch.setattr("zoo.core.export.batches.WAITING_BYTES", 3 * 2 * 8 * 8 * 4)
    batches, taken = [], 0

    def images():
        nonlocal taken
        for taken, image in enumerate(numbered([(8, 8), (4, 16)] * 20), start=1):  # noqa: B007
            yield image

    results = []
    for result in compute_in_order(images(), recorder(batches), 8):
        results.append(result)
        assert taken - len(results) <= 4
    np.testing.assert_allclose(results, np.arange(40) + np.tile([0.08, 0.04], 20), rtol=1e-6)
    assert max(n for n, *_ in batches) <= 3


def test_batches_are_what_numpy_stacks():
    images = list(np.random.default_rng(0).random((6, 3, 5, 4), np.float32))
    seen = []

    def start(batch):
        seen.append(batch.copy())
        return lambda: list(batch)

    list(compute_in_order(images, start, 4))
    np.testing.assert_array_equal(np.concatenate(seen), np.stack(images))
    assert not list(compute_in_order([], recorder([]), 4))


@pytest.mark.parametrize("underway", [0, 1, 2])
def test_the_memory_of_a_batch_that_is_underway_is_left_alone(underway):
    """Each batch is read as late as it may be."""
    shapes = np.random.default_rng(0).choice([4, 5, 6], size=60)
    images = numbered((side, 3) for side in shapes)
    images[7] = InvalidInputError("broken")
    running = 0

    def start(batch):
        nonlocal running
        running += 1
        assert running <= underway + 1

        def finish():
            nonlocal running
            running -= 1
            return [float(image.mean()) for image in batch]

        return finish

    found = list(compute_in_order(images, start, 4, BatchMemory(underway=underway)))
    assert found.pop(7) is images[7]
    assert found == [n for n in range(60) if n != 7]
