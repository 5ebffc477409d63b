import copy

import numpy as np
import torch

from data.photos.open import open_photo
from data.photos.preprocessing import prepare
from networks.folding import is_folded, restore_statistics
from networks.u2net import build_network
from networks.weights.checkpoint import read_weights


def test_restored_batch_norm_changes_nothing_in_eval_and_little_in_train_mode(saliency_onnx, ccp_train):
    paths = sorted(ccp_train.image_folder.iterdir())[:12]
    images = torch.from_numpy(np.stack([prepare(open_photo(path), (96, 96)) for path in paths]))
    network = build_network("u2netp", 1).eval()
    network.load_state_dict(read_weights(saliency_onnx)[0])
    with torch.no_grad():
        before = torch.sigmoid(network(images)[0])
        unrestored = torch.sigmoid(copy.deepcopy(network).train()(images)[0])
        assert restore_statistics(network, images.split(4)) == 12
        after = torch.sigmoid(network(images)[0])
        in_train_mode = torch.sigmoid(copy.deepcopy(network).train()(images)[0])
    assert not is_folded(network) and not network.training
    torch.testing.assert_close(after, before, atol=2e-3, rtol=0)
    assert (in_train_mode - before).abs().mean() < 0.02
    assert (unrestored - before).abs().mean() > 5 * (in_train_mode - before).abs().mean()
