"""Labels that say less than a class: unknown pixels, clothes of an unknown class, absent classes."""

import torch
from torch.nn import functional as F

from data.label_values import SOME_CLOTHES, UNKNOWN
from networks.losses import absent_class_loss, cross_entropy, deep_supervision_loss, soft_iou_loss

WEIGHTS = torch.tensor([1.0, 1.5, 1.5, 1.5])
LOGITS = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
LABEL = torch.randint(0, 4, (2, 5, 6), generator=torch.Generator().manual_seed(1))
TRUST = torch.ones(2)
EVERYTHING = torch.ones(2, 4, dtype=torch.bool)


def test_clothes_of_an_unknown_class_ask_for_the_sum_of_their_candidates():
    some = torch.full_like(LABEL, SOME_CLOTHES)
    candidates = torch.tensor([[False, True, False, True]] * 2)
    expected = -LOGITS.softmax(1)[:, [1, 3]].sum(1).log().mean()
    torch.testing.assert_close(cross_entropy(LOGITS, some, TRUST, WEIGHTS, candidates), expected)


def test_one_candidate_is_as_good_as_a_label():
    label = LABEL.clone()
    label[0], label[1] = 2, SOME_CLOTHES
    candidates = torch.tensor([[False, True, True, True], [False, False, False, True]])
    labelled = torch.where(label == SOME_CLOTHES, 3, label)
    torch.testing.assert_close(
        cross_entropy(LOGITS, label, TRUST, WEIGHTS, candidates), cross_entropy(LOGITS, labelled, TRUST, WEIGHTS)
    )


def test_candidates_are_the_present_classes_but_background():
    label = LABEL.clone()
    label[:, 2:] = SOME_CLOTHES
    present = torch.tensor([[True, True, False, True], [True, False, True, False]])
    _, losses = deep_supervision_loss([LOGITS], label, TRUST, present, WEIGHTS)
    candidates = present & torch.tensor([False, True, True, True])
    torch.testing.assert_close(losses[0], cross_entropy(LOGITS, label, TRUST, WEIGHTS, candidates))


def test_without_partial_labels_it_is_the_plain_cross_entropy():
    expected = F.cross_entropy(LOGITS, LABEL, WEIGHTS)
    torch.testing.assert_close(cross_entropy(LOGITS, LABEL, TRUST, WEIGHTS), expected)
    torch.testing.assert_close(deep_supervision_loss([LOGITS], LABEL, TRUST, EVERYTHING, WEIGHTS)[1][0], expected)


def test_clothes_of_an_unknown_class_are_left_out_of_the_soft_iou():
    label = LABEL.clone()
    label[:, 2:] = SOME_CLOTHES
    unknown = torch.where(label == SOME_CLOTHES, UNKNOWN, label)
    torch.testing.assert_close(soft_iou_loss(LOGITS, label, TRUST), soft_iou_loss(LOGITS, unknown, TRUST))


def test_unknown_pixels_ask_only_that_absent_classes_are_absent():
    label = torch.full_like(LABEL, UNKNOWN)
    present = torch.tensor([[True, True, False, False], [True] * 4])
    expected = -LOGITS[0].softmax(0)[:2].sum(0).log().mean() / 2  # half of the pixels may be anything
    torch.testing.assert_close(absent_class_loss(LOGITS, label, TRUST, present), expected)
    assert absent_class_loss(LOGITS, label, TRUST, EVERYTHING).abs() < 1e-6


def test_gradients_are_finite_where_a_photo_has_no_candidate():
    logits = LOGITS.clone().requires_grad_()
    label = torch.full_like(LABEL, SOME_CLOTHES)
    present = torch.tensor([[True, False, False, False], [True, True, False, False]])
    deep_supervision_loss([logits], label, TRUST, present, WEIGHTS, iou_weight=1.0)[0].backward()
    assert torch.isfinite(logits.grad).all()
