import copy

import numpy as np
import torch

from data.photo import open_photo
from data.preprocessing import prepare
from networks.checkpoint import load_network
from networks.folding import batch_norms, is_folded, make_identity, restore_statistics
from networks.u2net import build_network
from tests.helpers import trained_like


def test_identity_batch_norms_pass_their_input_through():
    network = trained_like("u2netp", 4)
    assert not is_folded(network)
    make_identity(network)
    assert is_folded(network)
    norm = next(iter(batch_norms(network).values()))
    x = torch.randn(1, norm.num_features, 4, 4)
    torch.testing.assert_close(norm(x), x)


def test_a_network_that_has_seen_data_is_not_folded():
    network = build_network("u2netp", 1).train()
    assert is_folded(network)
    network(torch.randn(2, 3, 64, 64))
    assert not is_folded(network)


def test_restored_batch_norm_changes_nothing_in_eval_and_little_in_train_mode(saliency_onnx, ccp_train):
    paths = sorted(ccp_train.image_folder.iterdir())[:12]
    images = torch.from_numpy(np.stack([prepare(open_photo(path), (96, 96)) for path in paths]))
    network, _ = load_network(saliency_onnx)
    with torch.no_grad():
        before = torch.sigmoid(network(images)[0])
        unrestored = torch.sigmoid(copy.deepcopy(network).train()(images)[0])
        assert restore_statistics(network, images.split(4)) == 12
        after = torch.sigmoid(network(images)[0])
        in_train_mode = torch.sigmoid(copy.deepcopy(network).train()(images)[0])
    assert not is_folded(network)
    assert not network.training
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)
    assert (in_train_mode - before).abs().mean() < 0.02
    assert (unrestored - before).abs().mean() > 5 * (in_train_mode - before).abs().mean()
