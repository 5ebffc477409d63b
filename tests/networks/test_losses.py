"""The training loss: published where everything is known, and what it makes of labels that say less than a class.

A teacher answers as it predicts, for the samples that trust it, and only what the student can learn.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.classes import CLOTHES
from data.training.datasets import Sample
from networks.losses import Teacher, TrainingLoss, absent_class_loss, cross_entropy, distillation_loss, soft_iou_loss
from networks.weights.checkpoint import load_network, save_checkpoint
from networks.weights.info import CheckpointInfo
from utils.errors import UserError
from utils.label_values import SOME_CLOTHES, UNKNOWN

CLASS_WEIGHTS = torch.tensor([1, 1.5, 1.5, 1.5])
TRUSTED = torch.ones(2)
EVERYTHING = torch.ones(2, 4, dtype=torch.bool)
OUTPUTS = list(torch.randn(7, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
LOGITS = OUTPUTS[0]
ZEROS = torch.zeros(2, 8, 8, dtype=torch.long)


@pytest.fixture
def label() -> Tensor:
    return torch.randint(0, 4, (2, 8, 8), generator=torch.Generator().manual_seed(1))


def loss(
    label, outputs=OUTPUTS, trust=TRUSTED, present=EVERYTHING, teacher_logits=None, classes=CLASS_WEIGHTS, **weights
) -> tuple[Tensor, Tensor]:
    """(total, losses of the maps)."""
    sample = Sample(torch.empty(0), label, trust, present, TRUSTED)
    teacher = None if teacher_logits is None else lambda images, trust: teacher_logits
    total, parts = TrainingLoss(classes, teacher=teacher, **weights)(outputs, sample)
    return total, torch.stack(parts)


def test_with_all_known_and_trusted_it_is_the_published_loss(label):
    total, parts = loss(label)
    published = torch.stack([F.cross_entropy(output, label, CLASS_WEIGHTS) for output in OUTPUTS])
    torch.testing.assert_close(parts, published)
    torch.testing.assert_close(total, 1.5 * published[0] + published[1:].sum())
    total = loss(label, fused=2.0, side=0.5)[0]
    torch.testing.assert_close(total, 2 * published[0] + 0.5 * published[1:].sum())


def test_soft_iou_and_teacher_are_added_to_every_map_by_their_weights(label):
    plain = loss(label)[1]
    iou = torch.stack([soft_iou_loss(output, label, TRUSTED) for output in OUTPUTS])
    torch.testing.assert_close(loss(label, iou=0.5)[1] - plain, 0.5 * iou)
    teacher = torch.randn(2, 4, 8, 8)
    divergence = torch.stack([distillation_loss(output, teacher, TRUSTED) for output in OUTPUTS])
    torch.testing.assert_close(loss(label, teacher_logits=teacher, distillation=0.5)[1] - plain, 0.5 * divergence)
    unlabelled = torch.full_like(label, UNKNOWN)  # a teacher is followed there too
    torch.testing.assert_close(loss(unlabelled, teacher_logits=teacher)[1], divergence)


def test_the_distillation_loss_is_the_mean_divergence_from_the_teacher():
    teacher, logits = OUTPUTS[:2]
    q, p = teacher.softmax(1), logits.softmax(1)
    by_hand = (q * (q / p).log()).sum(1)
    torch.testing.assert_close(distillation_loss(logits, teacher, TRUSTED), by_hand.mean())
    torch.testing.assert_close(distillation_loss(logits, teacher, torch.tensor([0, 0.5])), by_hand[1].mean() / 4)


def test_soft_iou_is_the_iou_where_the_network_is_sure():
    label, prediction = torch.randint(0, 3, (2, 2, 8, 8), generator=torch.Generator().manual_seed(0))  # no class 3
    sure, right = (100.0 * F.one_hot(labels, 4).movedim(-1, 1) for labels in (prediction, label))
    ious = [((label == c) & (prediction == c)).sum() / ((label == c) | (prediction == c)).sum() for c in range(3)]
    torch.testing.assert_close(soft_iou_loss(sure, label, TRUSTED), 1 - torch.stack(ious).mean())
    assert soft_iou_loss(right, label, TRUSTED) == 0


@pytest.mark.parametrize("iou", [0.0, 1.0])
def test_unknown_pixels_are_as_if_they_were_cut_off_whatever_the_network_says_of_them(iou, label):
    expected = loss(label[:, :5], [output[:, :, :5] for output in OUTPUTS], iou=iou)[0]
    label[:, 5:] = UNKNOWN
    others = [torch.cat((output[:, :, :5], torch.randn(2, 4, 3, 8) * 10), 2) for output in OUTPUTS]
    torch.testing.assert_close(loss(label, others, iou=iou)[0], expected)


def test_half_trust_halves_a_samples_part(label):
    def entropy(*trust: float) -> Tensor:
        return cross_entropy(LOGITS, label, torch.tensor(trust), CLASS_WEIGHTS)

    torch.testing.assert_close(entropy(1, 0.5), entropy(1, 0) + 0.5 * entropy(0, 1))
    alone = soft_iou_loss(LOGITS[:1], label[:1], TRUSTED[:1])
    torch.testing.assert_close(soft_iou_loss(LOGITS, label, torch.tensor([1.0, 0.0])), alone)


@pytest.mark.parametrize(
    "nothing",
    [{"label": ZEROS + UNKNOWN, "iou": 1.0}, {"label": ZEROS, "trust": torch.zeros(2), "iou": 1.0},
     {"label": ZEROS, "classes": torch.tensor([0.0, 1, 1, 1])}], ids=["known", "trusted", "of a class with a weight"],
)  # fmt: skip
def test_a_batch_with_nothing_to_learn_from_gives_zero_and_zero_gradients(nothing):
    outputs = [output.clone().requires_grad_() for output in OUTPUTS]
    total, _ = loss(outputs=outputs, **nothing)
    total.backward()
    assert total == 0 and all((output.grad == 0).all() for output in outputs)


def test_an_unknown_pixel_asks_only_that_absent_classes_are_absent(label):
    label[:, 3:6] = UNKNOWN
    present, trust = torch.tensor([[True, True, False, False], [True, False, True, True]]), torch.tensor([1.0, 0.5])
    p = LOGITS.softmax(1)[:, :, 3:6]
    likelihood = torch.stack([p[0, [0, 1]].sum(0), p[1, [0, 2, 3]].sum(0)])
    by_hand = -(likelihood.log() * trust[:, None, None]).mean()
    torch.testing.assert_close(absent_class_loss(LOGITS, label, trust, present), by_hand)
    assert absent_class_loss(LOGITS, label.clamp(max=3), trust, present) == 0  # no unknown pixel
    known = cross_entropy(LOGITS, label, trust, CLASS_WEIGHTS)
    torch.testing.assert_close(loss(label, trust=trust, present=present)[1][0], known + by_hand)


def test_clothes_of_an_unknown_class_ask_for_the_sum_of_their_candidates(label):
    some = torch.full_like(label, SOME_CLOTHES)
    candidates = torch.tensor([[False, True, False, True]] * 2)
    expected = -LOGITS.softmax(1)[:, [1, 3]].sum(1).log().mean()
    torch.testing.assert_close(cross_entropy(LOGITS, some, TRUSTED, CLASS_WEIGHTS, candidates), expected)

    label[0], label[1] = 2, SOME_CLOTHES  # one candidate is as good as a label
    candidates = torch.tensor([[False, True, True, True], [False, False, False, True]])
    labelled = cross_entropy(LOGITS, label.where(label < 4, 3), TRUSTED, CLASS_WEIGHTS)
    torch.testing.assert_close(cross_entropy(LOGITS, label, TRUSTED, CLASS_WEIGHTS, candidates), labelled)
    present = torch.tensor([[True, False, False, False], [True, False, False, True]])  # background is no candidate
    torch.testing.assert_close(loss(label, present=present)[1][0], labelled)

    unknown = label.where(label != SOME_CLOTHES, UNKNOWN)  # both are left out of the soft IoU
    torch.testing.assert_close(soft_iou_loss(LOGITS, label, TRUSTED), soft_iou_loss(LOGITS, unknown, TRUSTED))


def test_gradients_are_finite_where_a_photo_has_no_candidate(label):
    logits = LOGITS.clone().requires_grad_()
    present = torch.tensor([[True, False, False, False], [True, True, False, False]])
    loss(torch.full_like(label, SOME_CLOTHES), [logits], present=present, iou=1.0)[0].backward()
    assert torch.isfinite(logits.grad).all()


def test_half_precision_outputs_are_computed_in_full_precision(label):
    rounded = [output.bfloat16() for output in OUTPUTS]
    total, _ = loss(label, rounded, iou=1.0)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, loss(label, [output.float() for output in rounded], iou=1.0)[0])


def test_a_teacher_gives_its_fused_logits_to_the_samples_that_trust_it(tiny_checkpoint):
    images = torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    teacher = Teacher(str(tiny_checkpoint), CheckpointInfo(CLOTHES.names), torch.device("cpu"), "fp32")
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
    save_checkpoint(path, load_network(tiny_checkpoint)[0], CheckpointInfo(**{"class_names": CLOTHES.names} | other))
    with pytest.raises(UserError, match=f"--teacher {path} has {next(iter(other))}"):
        Teacher(str(path), CheckpointInfo(CLOTHES.names), torch.device("cpu"), "fp32")
