"""U2NET and U2NETP: nested U-structures of residual U-blocks (Qin et al. 2020, arXiv:2005.09007)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Attribute names and the order they are registered in are the published state dict's
# (stage*, rebnconv*, conv_s1, bn_s1, side*, outconv): an optimiser state is indexed by
# position, so another order would load into the wrong tensors without an error.


class Stage(NamedTuple):
    """One RSU of the network: levels, channels in, inside and out; ``in_ch`` of stage1 is the image's."""

    name: str
    height: int
    in_ch: int | None
    mid_ch: int
    out_ch: int
    dilated: bool


U2NET_STAGES = (
    Stage("stage1", 7, None, 32, 64, False),
    Stage("stage2", 6, 64, 32, 128, False),
    Stage("stage3", 5, 128, 64, 256, False),
    Stage("stage4", 4, 256, 128, 512, False),
    Stage("stage5", 4, 512, 256, 512, True),
    Stage("stage6", 4, 512, 256, 512, True),
    Stage("stage5d", 4, 1024, 256, 512, True),
    Stage("stage4d", 4, 1024, 128, 256, False),
    Stage("stage3d", 5, 512, 64, 128, False),
    Stage("stage2d", 6, 256, 32, 64, False),
    Stage("stage1d", 7, 128, 16, 64, False),
)

U2NETP_STAGES = (
    Stage("stage1", 7, None, 16, 64, False),
    Stage("stage2", 6, 64, 16, 64, False),
    Stage("stage3", 5, 64, 16, 64, False),
    Stage("stage4", 4, 64, 16, 64, False),
    Stage("stage5", 4, 64, 16, 64, True),
    Stage("stage6", 4, 64, 16, 64, True),
    Stage("stage5d", 4, 128, 16, 64, True),
    Stage("stage4d", 4, 128, 16, 64, False),
    Stage("stage3d", 5, 128, 16, 64, False),
    Stage("stage2d", 6, 128, 16, 64, False),
    Stage("stage1d", 7, 128, 16, 64, False),
)


class REBNCONV(nn.Module):
    """3x3 convolution, batch norm, ReLU; keeps height and width."""

    def __init__(self, in_ch: int, out_ch: int, dirate: int = 1):
        super().__init__()
        self.conv_s1 = nn.Conv2d(in_ch, out_ch, 3, padding=dirate, dilation=dirate)
        self.bn_s1 = nn.BatchNorm2d(out_ch)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)), inplace=True)


class RSU(nn.Module):
    """Residual U-block RSU-L (Qin et al. 2020, sec. 3.1): a U-Net of L levels added to its own input.

    With ``dilated`` it is RSU-4F: dilations 1, 2, 4, 8 take the place of pooling and upsampling.
    """

    def __init__(self, height: int, in_ch: int, mid_ch: int, out_ch: int, dilated: bool = False):
        super().__init__()
        self.height, self.dilated = height, dilated

        def dilation(level: int) -> int:
            if dilated:
                return 2 ** (level - 1)
            return 2 if level == height else 1

        self.rebnconvin = REBNCONV(in_ch, out_ch)
        for level in range(1, height + 1):
            block = REBNCONV(out_ch if level == 1 else mid_ch, mid_ch, dilation(level))
            self.add_module(f"rebnconv{level}", block)
        for level in range(height - 1, 0, -1):
            block = REBNCONV(2 * mid_ch, out_ch if level == 1 else mid_ch, dilation(level))
            self.add_module(f"rebnconv{level}d", block)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.rebnconvin(x)
        features, h = [], residual
        for level in range(1, self.height):
            h = self.get_submodule(f"rebnconv{level}")(h)
            features.append(h)
            if level < self.height - 1 and not self.dilated:
                h = halve(h)
        h = self.get_submodule(f"rebnconv{self.height}")(h)
        for level in range(self.height - 1, 0, -1):
            skip = features.pop()
            h = self.get_submodule(f"rebnconv{level}d")(torch.cat((upsample_like(h, skip), skip), 1))
        return h + residual


class _U2Net(nn.Module):
    """Encoder stage1..6, decoder stage5d..1d, one side output each, fused into d0 (Qin et al. 2020, sec. 3.2)."""

    stages: tuple[Stage, ...]

    def __init__(self, in_ch: int = 3, out_ch: int = 4):
        super().__init__()
        for stage in self.stages:
            block = RSU(stage.height, stage.in_ch or in_ch, stage.mid_ch, stage.out_ch, stage.dilated)
            self.add_module(stage.name, block)
        width = {stage.name: stage.out_ch for stage in self.stages}
        for level, name in enumerate(("stage1d", "stage2d", "stage3d", "stage4d", "stage5d", "stage6"), 1):
            self.add_module(f"side{level}", nn.Conv2d(width[name], out_ch, 3, padding=1))
        self.outconv = nn.Conv2d(6 * out_ch, out_ch, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Seven logit maps of an image batch.

        x: N x in_ch x H x W float, any H, W >= 32. Returns d0 (the fused map), d1..d6 (the side
        outputs), each N x out_ch x H x W; no softmax or sigmoid is applied.
        """
        sides = [upsample_like(side, x) for side in self._side_maps(x)]  # each N x out_ch x H x W
        return self.outconv(torch.cat(sides, 1)), *sides

    def fused(self, x: Tensor) -> Tensor:
        """d0 alone, for prediction: as ``forward``'s to rounding, and cheaper.

        ``outconv`` is 1x1 and enlarging is linear, so each side map goes through its share of ``outconv`` while it
        is small, and only the results are enlarged and added up.
        """
        weights = self.outconv.weight.chunk(6, 1)  # each out_ch x out_ch x 1 x 1
        maps = [F.conv2d(side, weight) for side, weight in zip(self._side_maps(x), weights, strict=True)]
        d0 = maps[0] + self.outconv.bias[:, None, None]  # the largest map has the image's size
        for smaller in maps[1:]:
            d0 = d0 + upsample_like(smaller, x)
        return d0

    def _side_maps(self, x: Tensor) -> list[Tensor]:
        """Six side maps N x out_ch x h x w, from the image's size down to a 32nd of it."""
        features, h = [], x
        for level in range(1, 6):
            h = self.get_submodule(f"stage{level}")(h)
            features.append(h)
            h = halve(h)
        h = self.stage6(h)
        decoded = [h]  # deepest first
        for level in range(5, 0, -1):
            skip = features.pop()
            h = self.get_submodule(f"stage{level}d")(torch.cat((upsample_like(h, skip), skip), 1))
            decoded.append(h)
        return [self.get_submodule(f"side{level}")(decoded[6 - level]) for level in range(1, 7)]


class U2NET(_U2Net):
    """The full network: 44,051,452 parameters at 4 classes."""

    stages = U2NET_STAGES


class U2NETP(_U2Net):
    """The small network: 1,141,660 parameters at 4 classes."""

    stages = U2NETP_STAGES


ARCHITECTURES = {"u2net": U2NET, "u2netp": U2NETP}


def architecture_of_width(channels: int) -> str | None:
    """The architecture whose first block is ``channels`` wide inside; None where there is none."""
    return next((name for name, network in ARCHITECTURES.items() if network.stages[0].mid_ch == channels), None)


def build_network(architecture: str, num_classes: int) -> nn.Module:
    """'u2net' or 'u2netp' for RGB images, with fresh weights."""
    return ARCHITECTURES[architecture](3, num_classes)


def halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, stride=2, ceil_mode=True)


def upsample_like(x: Tensor, target: Tensor) -> Tensor:
    # The size is read from a tensor so that a traced or exported network works at any size.
    return F.interpolate(x, size=target.shape[2:], mode="bilinear", align_corners=False)
