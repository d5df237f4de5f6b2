"""The stem of CSATv2: an image by its frequencies, as JPEG stores it (Wallace, 1992).

Each colour of YCbCr is cut into patches, of which a discrete cosine transform gives the frequencies.
"""

from __future__ import annotations

from collections import OrderedDict
from math import pi

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD
from zoo.core.errors import UsageError
from zoo.models.layers.tracing import leaf_procedure

PATCH = 8

# Of each frequency, in zigzag order, over the training images: luma and the two differences of colour.
MEANS = (  # in hundred-thousandths
    (
        93242657, -260, 33415, -2840, 3, -2792, -183, 6, 32, 3402, -571, 20, 6, -38, -558, -116, 0, -47, -8,
        -30, 942, 161, -9, -6, -14, -35, 1, -220, 33, -2, -3, -20, 7, 0, 5, 293, -4, 6, 19, 4, 6, -15, -2, 7,
        10, -4, 8, 0, 8, -1, 15, 2, 7, 3, 4, -1, 4, 0, 2, 0, -8, 0, -3, 3,
    ),
    (
        96234735, -428, 9835, 152, -9, 312, -141, -1, -13, 1050, 65, 6, 0, 3, 264, 0, 1, 7, -6, 3, 341, 163, 4,
        3, -1, 8, 0, 90, 18, -6, -1, 7, -3, -1, 6, 84, 0, -1, 0, 4, -1, -2, 0, 1, 2, 1, 4, 11, 0, -3, 11, -2, 1,
        1, 1, 1, -7, -3, 1, 0, 1, 2, 1, 0,
    ),
    (
        105316101, -213, -9207, 186, 13, 34, -119, 2, 11, -984, 46, -7, -1, -5, 180, 42, 2, -10, 4, 3, -301,
        125, -2, -3, -1, -1, -1, 56, 21, 1, -1, 2, -1, -1, 5, -70, -2, -2, 5, -4, 0, 2, -2, 1, 0, -3, 4, 7, 1,
        0, 13, 0, 0, 2, 0, -1, -4, -3, 0, 1, -1, 1, 0, 0,
    ),
)  # fmt: skip
VARIANCES = (
    (
        270372.375, 6287.10645, 5974.94043, 1653.10889, 1463.91748, 1832.58997, 755.92468, 692.41528, 648.57184,
        641.46881, 285.79288, 301.621, 380.43405, 349.84027, 374.15891, 190.3096, 190.76746, 221.64578,
        200.82646, 145.87979, 126.92046, 62.14622, 67.75562, 102.42001, 129.74922, 130.04631, 103.12189,
        97.76417, 53.17402, 54.81048, 73.48712, 81.04342, 69.351, 49.06024, 33.96053, 37.03279, 20.48858,
        24.9483, 33.90822, 44.54912, 47.56363, 40.0316, 30.43313, 22.63899, 26.53739, 26.57114, 21.84404,
        17.41557, 15.18253, 10.69678, 11.24111, 12.97229, 15.08971, 15.31646, 8.90409, 7.44213, 6.66096,
        6.97719, 4.17834, 3.83882, 4.51073, 2.36646, 2.41363, 1.48266,
    ),
    (
        18839.21094, 321.70932, 300.15259, 77.4783, 76.02293, 89.04748, 33.99642, 34.74807, 32.12333, 28.19588,
        12.04675, 14.26871, 18.45779, 16.59588, 15.67892, 7.37718, 8.56312, 10.28946, 9.41013, 6.6909, 5.16453,
        2.55186, 3.03073, 4.66765, 5.85418, 5.74644, 4.33702, 3.66948, 1.95107, 2.26034, 3.0638, 3.50705,
        3.06359, 2.19284, 1.54454, 1.5786, 0.97078, 1.13941, 1.48653, 1.89996, 1.95544, 1.6495, 1.24754,
        0.93677, 1.09267, 1.09516, 0.94163, 0.78966, 0.72489, 0.50841, 0.50909, 0.55664, 0.63111, 0.64125,
        0.38847, 0.33378, 0.30918, 0.33463, 0.20875, 0.19298, 0.21903, 0.1338, 0.13444, 0.09554,
    ),
    (
        17127.39844, 292.81421, 271.45209, 66.64056, 63.60253, 76.35437, 28.06587, 27.84831, 25.96656, 23.6037,
        9.99173, 11.34992, 14.46955, 12.92553, 12.69353, 5.91537, 6.60187, 7.90891, 7.32825, 5.32785, 4.2966,
        2.13459, 2.44135, 3.66021, 4.50335, 4.38959, 3.34888, 2.97181, 1.60633, 1.7701, 2.35118, 2.69018,
        2.38189, 1.74596, 1.26014, 1.31684, 0.79327, 0.92046, 1.1767, 1.47609, 1.50914, 1.28725, 0.99898,
        0.74832, 0.85736, 0.858, 0.74663, 0.63508, 0.58748, 0.41098, 0.41121, 0.44663, 0.50277, 0.51519,
        0.31729, 0.27336, 0.25399, 0.27241, 0.17353, 0.16255, 0.1844, 0.11602, 0.11511, 0.0845,
    ),
)  # fmt: skip


def zigzag(size: int) -> list[tuple[int, int]]:
    """The frequencies (down, across) from low to high, along the diagonals in turns."""
    cells = [(row, column) for row in range(size) for column in range(size)]
    return sorted(cells, key=lambda cell: (sum(cell), cell[sum(cell) % 2 - 1]))


class CosineTransform(nn.Module):
    """(..., size, columns, size) -> the same: the second kind of cosine transform, down and across each patch.

    The filters are a part of the checkpoint, which training does not change.
    """

    weights: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.empty(size, size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The orthonormal filters: sqrt(2 / n) cos(pi k (2 i + 1) / 2 n), the mean by another root of two smaller."""
        size = len(self.weights)
        place = torch.arange(size, dtype=torch.float64, device="cpu")
        filters = (2 / size) ** 0.5 * torch.cos(pi / size * place[:, None] * (place + 0.5))
        filters[0] /= 2**0.5
        self.weights.copy_(filters)

    def forward(self, x: Tensor) -> Tensor:
        across = F.linear(x, self.weights)
        return (self.weights @ across.flatten(-2)).unflatten(-1, across.shape[-2:])


@leaf_procedure
def check_colours(images: Tensor) -> None:
    """Raises UsageError for images (N, C, H, W) that are not of three colours, or not of whole patches."""
    if images.shape[1] != 3 or images.shape[2] % PATCH or images.shape[3] % PATCH:
        raise UsageError(
            f"The model reads three colours, red, green and blue, of images whose sides are multiples of {PATCH}; "
            f"found {images.shape[1]} x {images.shape[2]} x {images.shape[3]}."
        )


class FrequencyStem(nn.Module):
    """Image (N, 3, H, W), normed as ImageNet's -> map (N, C, H / 8, W / 8), most of the channels for luma.

    Forward raises UsageError for an image of other channels, or whose sides are no multiples of 8.
    """

    frequencies: Tensor
    mean: Tensor
    sixteenth_variance: Tensor
    image_mean: Tensor
    image_std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(OrderedDict(transform=CosineTransform(PATCH)))
        self.conv_y = nn.Conv2d(PATCH**2, channels - 2 * (channels // 8), 1)
        self.conv_cb = nn.Conv2d(PATCH**2, channels // 8, 1)
        self.conv_cr = nn.Conv2d(PATCH**2, channels // 8, 1)
        constants = {
            "frequencies": torch.tensor(zigzag(PATCH), device="cpu").T,
            "mean": (torch.tensor(MEANS, dtype=torch.float64, device="cpu") / 1e5).float(),
            # Half precision has no number for the largest variances.
            "sixteenth_variance": torch.tensor(VARIANCES, device="cpu") / 16,
            "image_mean": torch.tensor(IMAGENET_MEAN, device="cpu"),
            "image_std": torch.tensor(IMAGENET_STD, device="cpu"),
        }
        for name, values in constants.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        check_colours(x)
        patches = self.colours(x).unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
        down, across = self.frequencies
        x = self.transform(patches).permute(0, 1, 3, 5, 2, 4)[:, :, down, across]
        deviation = 4 * self.sixteenth_variance.sqrt() + 1e-8
        x = (x - self.mean[..., None, None]) / deviation[..., None, None]
        y, cb, cr = x.unbind(1)
        return torch.cat([self.conv_y(y), self.conv_cb(cb), self.conv_cr(cr)], 1)

    def colours(self, x: Tensor) -> Tensor:
        """Image -> luma and the two differences of colour (N, 3, H, W), all from 0 to 255."""
        x = (x * self.image_std[:, None, None] + self.image_mean[:, None, None]) * 255
        red, green, blue = x.unbind(1)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        return torch.stack([luma, 0.564 * (blue - luma) + 128, 0.713 * (red - luma) + 128], 1)
