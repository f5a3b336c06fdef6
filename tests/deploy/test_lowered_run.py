import torch

from helpers import images_for, model_of
from tinynas.arch.lowering import lower
from tinynas.deploy.lowered_run import layer_weights, run_lowered
from tinynas.models.network import fold


def test_lowered_network_computes_what_the_network_does(any_space, rng):
    for _ in range(5):
        arch = any_space.sample(rng)
        net, network, images = model_of(arch).net, lower(arch), images_for(arch, 3)
        with torch.no_grad():
            values = run_lowered(network, layer_weights(network, fold(net)), images)
            expected = net(images)
        outputs = [values[tensor.name] for tensor in network.outputs]
        if arch.task == "detect":  # boxes and classes of every map
            maps = [torch.cat(pair, 1) for pair in zip(outputs[::2], outputs[1::2], strict=True)]
            outputs = [of_map.flatten(2).transpose(1, 2) for of_map in maps]
        torch.testing.assert_close(torch.cat(outputs, 1), expected, atol=1e-5, rtol=1e-4)


def test_transform_replaces_what_later_operators_read(space):
    network, images = lower(space.min()), images_for(space.min(), 2)
    weights = layer_weights(network, fold(model_of(space.min()).net))

    def without_last_stage(name, values):
        return torch.zeros_like(values) if name == network.operators[-2].name else values

    values = run_lowered(network, weights, images, without_last_stage)
    bias = weights[network.operators[-1].name].bias
    torch.testing.assert_close(values[network.outputs[0].name], bias.expand(2, -1))
