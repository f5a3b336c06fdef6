from dataclasses import replace

import torch

from tinynas import build, load_arch
from tinynas.data.memory import MemorySplit
from tinynas.tasks.cache_batch import images_in_cache
from tinynas.tasks.registry import TASKS


def test_images_in_cache_fill_16_mib_with_the_widest_layers_maps():
    arch = load_arch("mobilenet-v2-tiny")  # 311,040 values at the widest layer
    assert images_in_cache(arch) == 13
    assert 13 * 4 * 311_040 <= 2**24 < 14 * 4 * 311_040
    assert images_in_cache(replace(arch, resolution=1440)) == 1


def test_evaluate_on_a_cpu_takes_no_more_images_at_once_than_stay_in_its_cache(space, data):
    arch = replace(space.max(), resolution=128)
    images = data.val.images.repeat(10, 1, 1, 1)
    split = MemorySplit(images=images, labels=data.val.labels.repeat(10))
    net = build(arch)
    batch_sizes = []
    net.register_forward_pre_hook(lambda module, inputs: batch_sizes.append(len(inputs[0])))
    accuracy = TASKS["classify"].accuracy(net, arch, data, split)
    most = images_in_cache(arch)
    assert 1 < most < 250
    assert max(batch_sizes) == most
    assert sum(batch_sizes) == 300
    with torch.no_grad():
        correct = net(split_images(data, split, arch.resolution)).argmax(1) == split.labels
    assert accuracy == 100 * correct.sum().item() / 300
    batch_sizes.clear()
    TASKS["classify"].accuracy(net, arch, data, split, batch_size=5)
    assert max(batch_sizes) == 5


def split_images(data, split, resolution):
    return torch.cat([images for images, _ in data.evaluation_batches(split, resolution)])
