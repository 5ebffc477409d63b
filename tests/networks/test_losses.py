"""The training loss: published where everything is known, and what it makes of pixels that nobody knows."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data.label_values import UNKNOWN
from networks.losses import absent_class_loss, cross_entropy, deep_supervision_loss, distillation_loss, soft_iou_loss

CLASS_WEIGHTS = torch.tensor([1, 1.5, 1.5, 1.5])
TRUSTED = torch.ones(2)
EVERYTHING = torch.ones(2, 4, dtype=torch.bool)


@pytest.fixture
def outputs() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 4, 8, 8) for _ in range(7)]


@pytest.fixture
def label() -> Tensor:
    return torch.randint(0, 4, (2, 8, 8), generator=torch.Generator().manual_seed(1))


def loss_of(outputs, label, weight=TRUSTED, present=EVERYTHING, **kwargs) -> tuple[Tensor, list[Tensor]]:
    return deep_supervision_loss(outputs, label, weight, present, CLASS_WEIGHTS, **kwargs)


def test_with_all_known_and_trusted_it_is_the_published_loss(outputs, label):
    total, parts = loss_of(outputs, label)
    published = [F.cross_entropy(output, label, CLASS_WEIGHTS) for output in outputs]
    torch.testing.assert_close(torch.stack(parts), torch.stack(published))
    torch.testing.assert_close(total, 1.5 * published[0] + sum(published[1:]))


def test_the_cross_entropy_is_the_weighted_mean_written_out(outputs, label):
    one_hot = F.one_hot(label, 4).permute(0, 3, 1, 2)
    pixel = -(outputs[0].log_softmax(1) * one_hot * CLASS_WEIGHTS[:, None, None]).sum(1)
    by_hand = pixel.sum() / CLASS_WEIGHTS[label].sum()
    torch.testing.assert_close(cross_entropy(outputs[0], label, TRUSTED, CLASS_WEIGHTS), by_hand)


def test_weights_of_fused_and_side_maps_can_be_set(outputs, label):
    total, parts = loss_of(outputs, label, fused_weight=2.0, side_weight=0.5)
    torch.testing.assert_close(total, 2 * parts[0] + 0.5 * sum(parts[1:]))


def test_iou_weight_adds_the_soft_iou_loss_to_every_map(outputs, label):
    _, plain = loss_of(outputs, label)
    total, both = loss_of(outputs, label, iou_weight=0.5)
    extra = [0.5 * soft_iou_loss(output, label, TRUSTED) for output in outputs]
    torch.testing.assert_close(torch.stack(both) - torch.stack(plain), torch.stack(extra))
    torch.testing.assert_close(total, 1.5 * both[0] + sum(both[1:]))


def test_the_distillation_loss_is_the_mean_divergence_from_the_teacher(outputs):
    teacher, logits = outputs[:2]
    q, p = teacher.softmax(1), logits.softmax(1)
    by_hand = (q * (q / p).log()).sum(1)
    torch.testing.assert_close(distillation_loss(logits, teacher, TRUSTED), by_hand.mean())
    torch.testing.assert_close(distillation_loss(logits, teacher, torch.tensor([0, 0.5])), by_hand[1].mean() / 4)
    assert distillation_loss(teacher, teacher, TRUSTED) == pytest.approx(0, abs=1e-6)


def test_a_teacher_is_followed_by_every_map_and_where_no_label_is_known(outputs, label):
    teacher = torch.randn(2, 4, 8, 8)
    _, plain = loss_of(outputs, label)
    total, both = loss_of(outputs, label, teacher_weight=0.5, taught=(teacher, TRUSTED))
    extra = [0.5 * distillation_loss(output, teacher, TRUSTED) for output in outputs]
    torch.testing.assert_close(torch.stack(both) - torch.stack(plain), torch.stack(extra))
    torch.testing.assert_close(total, 1.5 * both[0] + sum(both[1:]))
    _, unlabelled = loss_of(outputs, torch.full_like(label, UNKNOWN), taught=(teacher, TRUSTED))
    torch.testing.assert_close(torch.stack(unlabelled), 2 * torch.stack(extra))


def test_soft_iou_is_the_iou_where_the_network_is_sure():
    label, prediction = torch.randint(0, 3, (2, 2, 8, 8), generator=torch.Generator().manual_seed(0))  # no class 3
    logits = 100.0 * F.one_hot(prediction, 4).movedim(-1, 1)
    ious = [((label == c) & (prediction == c)).sum() / ((label == c) | (prediction == c)).sum() for c in range(3)]
    torch.testing.assert_close(soft_iou_loss(logits, label, TRUSTED), 1 - torch.stack(ious).mean())
    assert soft_iou_loss(100.0 * F.one_hot(label, 4).movedim(-1, 1), label, TRUSTED) == 0


@pytest.mark.parametrize("iou_weight", [0.0, 1.0])
def test_what_the_network_says_of_unknown_pixels_changes_nothing(iou_weight, outputs, label):
    label[:, 3:6] = UNKNOWN
    other = [output.clone() for output in outputs]
    for output in other:
        output[:, :, 3:6] = torch.randn(2, 4, 3, 8) * 10
    expected = loss_of(outputs, label, iou_weight=iou_weight)[0]
    assert loss_of(other, label, iou_weight=iou_weight)[0] == expected


def test_unknown_pixels_are_as_if_they_were_cut_off(outputs, label):
    kept = [output[:, :, :5] for output in outputs]
    expected = loss_of(kept, label[:, :5], iou_weight=1.0)[0]
    label[:, 5:] = UNKNOWN
    torch.testing.assert_close(loss_of(outputs, label, iou_weight=1.0)[0], expected)


def test_half_trust_halves_a_samples_part_of_the_cross_entropy(outputs, label):
    only_first, only_second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    first, second = (cross_entropy(outputs[0], label, w, CLASS_WEIGHTS) for w in (only_first, only_second))
    mixed = cross_entropy(outputs[0], label, torch.tensor([1.0, 0.5]), CLASS_WEIGHTS)
    torch.testing.assert_close(mixed, first + 0.5 * second)
    torch.testing.assert_close(cross_entropy(outputs[0], label, TRUSTED, CLASS_WEIGHTS), first + second)


def test_a_sample_without_trust_counts_nowhere_in_the_soft_iou(outputs, label):
    alone = soft_iou_loss(outputs[0][:1], label[:1], TRUSTED[:1])
    torch.testing.assert_close(soft_iou_loss(outputs[0], label, torch.tensor([1.0, 0.0])), alone)


@pytest.mark.parametrize("case", ["nothing known", "nothing trusted", "no class with a weight"])
def test_a_batch_with_nothing_to_learn_from_gives_zero_and_zero_gradients(case, outputs, label):
    weight, class_weights, iou_weight = TRUSTED, CLASS_WEIGHTS, 1.0
    if case == "nothing known":
        label = torch.full_like(label, UNKNOWN)
    elif case == "nothing trusted":
        weight = torch.zeros(2)
    else:
        label, class_weights, iou_weight = torch.zeros_like(label), torch.tensor([0.0, 1, 1, 1]), 0.0
    for output in outputs:
        output.requires_grad_()
    total, _ = deep_supervision_loss(outputs, label, weight, EVERYTHING, class_weights, iou_weight=iou_weight)
    total.backward()
    assert total == 0
    assert all((output.grad == 0).all() for output in outputs)


def test_the_absent_class_loss_is_zero_where_every_class_can_be_there(outputs, label):
    only_background = EVERYTHING & torch.tensor([True, False, False, False])
    assert absent_class_loss(outputs[0], label, TRUSTED, only_background) == 0  # no unknown pixel
    label[:, 3:6] = UNKNOWN
    assert absent_class_loss(outputs[0], label, TRUSTED, EVERYTHING).abs() < 1e-6
    assert absent_class_loss(outputs[0], label, TRUSTED, only_background) > 1


def test_the_absent_class_loss_is_the_likelihood_of_a_class_that_is_there(outputs, label):
    label[:, 3:6] = UNKNOWN
    present = torch.tensor([[True, True, False, False], [True, False, True, True]])
    weight = torch.tensor([1.0, 0.5])
    p = outputs[0].softmax(1)[:, :, 3:6]
    likelihood = torch.stack([p[0, [0, 1]].sum(0), p[1, [0, 2, 3]].sum(0)])
    by_hand = -(likelihood.log() * weight[:, None, None]).mean()
    torch.testing.assert_close(absent_class_loss(outputs[0], label, weight, present), by_hand)
    _, parts = loss_of(outputs, label, weight, present)
    known = cross_entropy(outputs[0], label, weight, CLASS_WEIGHTS)
    torch.testing.assert_close(parts[0], known + by_hand)


def test_half_precision_outputs_are_computed_in_full_precision(outputs, label):
    rounded = [output.bfloat16() for output in outputs]
    total, _ = loss_of(rounded, label, iou_weight=1.0)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, loss_of([output.float() for output in rounded], label, iou_weight=1.0)[0])
