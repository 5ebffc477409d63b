"""A teacher answers as it predicts, for the samples that trust it, and only what the student can learn."""

import pytest
import torch

from networks.distillation import Teacher
from networks.weights.checkpoint import load_network, save_checkpoint
from networks.weights.info import CheckpointInfo
from utils.errors import UserError

CPU = torch.device("cpu")
CLOTHES = ("background", "upper", "lower", "full")


def test_a_teacher_gives_its_fused_logits_to_the_samples_that_trust_it(tiny_checkpoint):
    images = torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    teacher = Teacher(str(tiny_checkpoint), CheckpointInfo(CLOTHES), CPU, "fp32")
    logits = teacher(images, torch.tensor([1, 0, 0.5]))
    with torch.no_grad():
        expected = load_network(tiny_checkpoint)[0](images)[0]
    torch.testing.assert_close(logits[[0, 2]], expected[[0, 2]], atol=1e-4, rtol=1e-4)
    assert not logits[1].any() and expected[1].any() and not logits.requires_grad
    teacher.network.fused = None  # where no sample trusts it, it is not asked
    assert not teacher(images, torch.zeros(3)).any()


@pytest.mark.parametrize("other", [{"class_names": ("background", "a", "b", "c")}, {"mean": 0.4}, {"std": 0.2}])
def test_a_teacher_of_other_classes_or_other_images_is_refused(other, tiny_checkpoint, tmp_path):
    path = tmp_path / "other.pth"
    save_checkpoint(path, load_network(tiny_checkpoint)[0], CheckpointInfo(**{"class_names": CLOTHES} | other))
    with pytest.raises(UserError, match=f"--teacher {path} has {next(iter(other))}"):
        Teacher(str(path), CheckpointInfo(CLOTHES), CPU, "fp32")
