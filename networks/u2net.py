"""U2NET and U2NETP: nested U-structures of residual U-blocks (Qin et al. 2020, arXiv:2005.09007)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Attribute names and the order they are registered in are the published state dict's
# (stage*, rebnconv*, conv_s1, bn_s1, side*, outconv): an optimiser state is indexed by
# position, so another order would load into the wrong tensors without an error.

# (stage, height, in, mid, out channels, dilated); "in" of stage1 is the image's.
U2NET_STAGES = (
    ("stage1", 7, None, 32, 64, False),
    ("stage2", 6, 64, 32, 128, False),
    ("stage3", 5, 128, 64, 256, False),
    ("stage4", 4, 256, 128, 512, False),
    ("stage5", 4, 512, 256, 512, True),
    ("stage6", 4, 512, 256, 512, True),
    ("stage5d", 4, 1024, 256, 512, True),
    ("stage4d", 4, 1024, 128, 256, False),
    ("stage3d", 5, 512, 64, 128, False),
    ("stage2d", 6, 256, 32, 64, False),
    ("stage1d", 7, 128, 16, 64, False),
)

U2NETP_STAGES = (
    ("stage1", 7, None, 16, 64, False),
    ("stage2", 6, 64, 16, 64, False),
    ("stage3", 5, 64, 16, 64, False),
    ("stage4", 4, 64, 16, 64, False),
    ("stage5", 4, 64, 16, 64, True),
    ("stage6", 4, 64, 16, 64, True),
    ("stage5d", 4, 128, 16, 64, True),
    ("stage4d", 4, 128, 16, 64, False),
    ("stage3d", 5, 128, 16, 64, False),
    ("stage2d", 6, 128, 16, 64, False),
    ("stage1d", 7, 128, 16, 64, False),
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

    stages: tuple

    def __init__(self, in_ch: int = 3, out_ch: int = 4):
        super().__init__()
        for name, height, stage_in, mid, out, dilated in self.stages:
            self.add_module(name, RSU(height, stage_in or in_ch, mid, out, dilated))
        width = {name: out for name, _, _, _, out, _ in self.stages}
        for level, name in enumerate(("stage1d", "stage2d", "stage3d", "stage4d", "stage5d", "stage6"), 1):
            self.add_module(f"side{level}", nn.Conv2d(width[name], out_ch, 3, padding=1))
        self.outconv = nn.Conv2d(6 * out_ch, out_ch, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Seven logit maps of an image batch.

        x: N x in_ch x H x W float, any H, W >= 32. Returns d0 (the fused map), d1..d6 (the side
        outputs), each N x out_ch x H x W; no softmax or sigmoid is applied.
        """
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
        sides = [self.get_submodule(f"side{level}")(decoded[6 - level]) for level in range(1, 7)]
        sides = [upsample_like(side, x) for side in sides]  # each N x out_ch x H x W
        return self.outconv(torch.cat(sides, 1)), *sides


class U2NET(_U2Net):
    """The full network: 44,051,452 parameters at 4 classes."""

    stages = U2NET_STAGES


class U2NETP(_U2Net):
    """The small network: 1,141,660 parameters at 4 classes."""

    stages = U2NETP_STAGES


ARCHITECTURES = {"u2net": U2NET, "u2netp": U2NETP}


def halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, stride=2, ceil_mode=True)


def upsample_like(x: Tensor, target: Tensor) -> Tensor:
    # The size is read from a tensor so that a traced or exported network works at any size.
    return F.interpolate(x, size=target.shape[2:], mode="bilinear", align_corners=False)
