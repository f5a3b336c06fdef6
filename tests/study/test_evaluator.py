import torch

from tinynas.models.supernet import Supernet
from tinynas.study.evaluator import SubnetEvaluator


def test_subnet_evaluator_repeats_and_changes_nothing(data, space):
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    supernet(torch.randn(8, 1, 12, 12), space.max())
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    evaluate = SubnetEvaluator(supernet, data)
    arch = space.min()
    assert evaluate(arch) == evaluate(arch) == SubnetEvaluator(supernet, data)(arch)
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
