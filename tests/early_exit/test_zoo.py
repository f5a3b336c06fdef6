"""SideNets on models of torchvision, timm and transformers: small ones with random weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from helpers import slow_except
from tinynas import SideNet
from tinynas.models.profile import macs_by_torch
from tinynas.utils.errors import InputError

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
PLACES, EOS = 10, 2
LENGTHS = torch.tensor([[10], [6], [8]])
MASK = (torch.arange(PLACES) < LENGTHS).long()
WORDS = (torch.arange(3 * PLACES).reshape(3, PLACES) % 40 + 5) * MASK
WORDS[torch.arange(3), LENGTHS.flatten() - 1] = EOS
OTHER_WORDS = WORDS.where(MASK.bool(), WORDS.flip(1) % 30 + 6)  # at the places that the mask hides
TEXT = {"input_ids": WORDS, "attention_mask": MASK}


def torchvision_model(name, **settings):
    import torchvision

    return torchvision.models.get_model(name, weights=None, num_classes=5, **settings)


def torchvision_class(name, **settings):
    import torchvision

    return getattr(torchvision.models, name)(num_classes=5, **settings)


def timm_model(name, **settings):
    import timm

    return timm.create_model(name, num_classes=5, **settings)


def timm_class(name, **settings):
    import timm

    return getattr(timm.models, name)(num_classes=5, **settings)


def transformers_model(name, **settings):
    import transformers

    config = getattr(transformers, f"{name}Config")(
        vocab_size=50, num_labels=5, pad_token_id=0, bos_token_id=1, eos_token_id=EOS, **settings
    )
    return getattr(transformers, f"{name}ForSequenceClassification")(config)


@dataclass(frozen=True)
class Entry:
    """A model, a tap, and the features that its head must have."""

    make: Callable[[], nn.Module]
    tap: str
    features: int
    hides: bool = True  # whether the model itself does not see what its mask hides


def of(make, name, tap, features, *, hides=True, **settings):
    return Entry(partial(make, name, **settings), tap, features, hides)


SWIN = {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 4]}
TORCHVISION = {
    "alexnet": of(torchvision_model, "alexnet", "features.5", 192),
    "convnext": of(torchvision_model, "convnext_tiny", "features.1", 96),
    "densenet": of(
        torchvision_class,
        "DenseNet",
        "features.denseblock1",
        24,
        growth_rate=4,
        block_config=(2, 2),
        num_init_features=16,
    ),
    "efficientnet": of(torchvision_model, "efficientnet_b0", "features.3", 40),
    "googlenet": of(torchvision_model, "googlenet", "inception3b", 480, init_weights=False, aux_logits=False),
    "mnasnet": of(torchvision_model, "mnasnet0_5", "layers.8", 16),
    "mobilenet v2": of(torchvision_model, "mobilenet_v2", "features.6", 32),
    "mobilenet v3": of(torchvision_model, "mobilenet_v3_small", "features.4", 40),
    "regnet": of(torchvision_model, "regnet_y_400mf", "trunk_output.block1", 48),
    "resnet": of(torchvision_model, "resnet18", "layer2", 128),
    "shufflenet": of(torchvision_model, "shufflenet_v2_x0_5", "stage2", 48),
    "squeezenet": of(torchvision_model, "squeezenet1_1", "features.5", 128),
    "swin": of(torchvision_class, "SwinTransformer", "features.1", 24, patch_size=[4, 4], window_size=[4, 4], **SWIN),
    "vgg": of(torchvision_model, "vgg11", "features.10", 256),
    "vision transformer": of(
        torchvision_class,
        "VisionTransformer",
        "encoder.layers.encoder_layer_0",
        16,
        image_size=64,
        patch_size=16,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=24,
    ),
}
TIMM = {
    "byobnet": of(timm_model, "test_byobnet", "stages.1", 64),
    "convnext": of(timm_model, "test_convnext", "stages.1", 32),
    "deit": of(timm_model, "deit_tiny_patch16_224", "blocks.0", 192, img_size=64, depth=2),
    "efficientnet": of(timm_model, "test_efficientnet", "blocks.2", 32),
    "focalnet": of(timm_class, "FocalNet", "layers.0", 24, embed_dim=24, depths=(1, 1)),
    "ghostnet": of(timm_model, "ghostnet_050", "blocks.3", 20),
    "mambaout": of(timm_model, "test_mambaout", "stages.1", 32),
    "mixer": of(timm_class, "MlpMixer", "blocks.0", 24, img_size=64, embed_dim=24, num_blocks=2),
    "mobilenet v3": of(timm_model, "mobilenetv3_small_050", "blocks.2", 24),
    "nfnet": of(timm_model, "test_nfnet", "stages.1", 64),
    "poolformer": of(timm_class, "MetaFormer", "stages.1", 32, depths=(1, 1), dims=(16, 32)),
    "pvt": of(timm_model, "pvt_v2_b0", "stages.0", 32, depths=(1, 1, 1, 1)),
    "resnet": of(timm_model, "test_resnet", "layer2", 48),
    "swin": of(timm_model, "swin_tiny_patch4_window7_224", "layers.0", 24, img_size=64, window_size=4, **SWIN),
    "swin v2": of(timm_model, "swinv2_cr_tiny_ns_224", "stages.0", 24, img_size=64, window_size=4, **SWIN),
    "vision transformer": of(timm_model, "test_vit", "blocks.1", 64, img_size=64),
}
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SHORT = SIZE | {"max_position_embeddings": 40}
GROUPS = dict.fromkeys(("q_groups", "k_groups", "v_groups", "intermediate_groups", "output_groups"), 2)
TRANSFORMERS = {
    "albert": of(transformers_model, "Albert", "albert.embeddings", 8, embedding_size=8, **SHORT),
    "bart": of(
        transformers_model,
        "Bart",
        "model.encoder.layers.0",
        16,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        decoder_start_token_id=EOS,
    ),
    "bert": of(transformers_model, "Bert", "bert.encoder.layer.0", 16, **SHORT),
    "deberta v2": of(transformers_model, "DebertaV2", "deberta.encoder.layer.0", 16, **SHORT),
    "distilbert": of(
        transformers_model,
        "DistilBert",
        "distilbert.transformer.layer.0",
        16,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=24,
    ),
    "electra": of(transformers_model, "Electra", "electra.encoder.layer.0", 16, embedding_size=8, **SHORT),
    "gpt2": of(transformers_model, "GPT2", "transformer.h.0", 16, hides=False, n_embd=16, n_layer=2, n_head=2),
    "llama": of(transformers_model, "Llama", "model.layers.0", 16, hides=False, num_key_value_heads=2, **SHORT),
    "modernbert": of(transformers_model, "ModernBert", "model.layers.0", 16, cls_token_id=1, sep_token_id=EOS, **SHORT),
    "mpnet": of(transformers_model, "MPNet", "mpnet.encoder.layer.0", 16, **SHORT),
    "opt": of(
        transformers_model,
        "OPT",
        "model.decoder.layers.0",
        16,
        hides=False,
        hidden_size=16,
        ffn_dim=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        word_embed_proj_dim=16,
    ),
    "roberta": of(transformers_model, "Roberta", "roberta.encoder.layer.0", 16, **SHORT),
    "squeezebert": of(
        transformers_model,
        "SqueezeBert",
        "transformer.encoder.layers.0.output",
        16,
        embedding_size=16,
        **SHORT,
        **GROUPS,
    ),
    "t5": of(
        transformers_model,
        "T5",
        "transformer.encoder.block.0",
        16,
        d_model=16,
        d_ff=24,
        d_kv=8,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
    ),
}


@dataclass(frozen=True)
class Built:
    """A model of the zoo, and the SideNet on it."""

    entry: Entry
    mainnet: nn.Module
    sidenet: SideNet
    inputs: dict = field(default_factory=dict)


def build(entry, inputs):
    torch.manual_seed(0)
    mainnet = entry.make().eval()
    return Built(entry, mainnet, SideNet(mainnet, entry.tap, 8, inputs=inputs), inputs)


@pytest.fixture(scope="module", autouse=True)
def offline():
    """No model may ask the network for anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


VISION = {f"torchvision {name}": entry for name, entry in TORCHVISION.items()}
VISION |= {f"timm {name}": entry for name, entry in TIMM.items()}


@pytest.fixture(scope="module", params=slow_except(VISION, "timm swin", "timm resnet"))
def of_images(request):
    return build(VISION[request.param], IMAGES)


@pytest.fixture(scope="module", params=slow_except(TRANSFORMERS, "bert", "gpt2"))
def of_text(request):
    return build(TRANSFORMERS[request.param], TEXT)


class Positional(nn.Module):
    """A model as a module that takes its inputs by position."""

    def __init__(self, mainnet, call):
        super().__init__()
        self.mainnet, self.call = mainnet, call

    def forward(self, *inputs):
        return self.call.run(self.mainnet, inputs)


def check_macs(built, *inputs):
    net = built.sidenet
    own = macs_by_torch(Positional(built.mainnet, net.call), *inputs)
    assert net.macs(built.inputs)[-1] == own + net.heads[0].macs


def test_zoo_of_images_equals_its_networks_without_exits(of_images):
    net = of_images.sidenet
    with torch.no_grad():
        assert torch.equal(net(IMAGES).logits, of_images.mainnet(IMAGES))
    assert net.heads[0].hidden.in_features == of_images.entry.features
    check_macs(of_images, IMAGES[:1])


def test_zoo_of_images_refuses_other_inputs(of_images):
    for inputs, message in ((IMAGES.numpy(), "numpy.ndarray"), (IMAGES[..., :32], "size"), (IMAGES[:0], "no example")):
        check_refused(of_images.sidenet, inputs, message)


def test_zoo_of_text_equals_its_networks_without_exits(of_text):
    net = of_text.sidenet
    with torch.no_grad():
        for words in (WORDS, OTHER_WORDS):
            batch = TEXT | {"input_ids": words}
            assert torch.equal(net(**batch).logits, of_text.mainnet(**batch).logits)
    assert net.heads[0].hidden.in_features == of_text.entry.features
    check_macs(of_text, WORDS[:1], MASK[:1])


def test_zoo_of_text_does_not_see_what_its_mask_hides(of_text):
    net = of_text.sidenet
    net.fit([(TEXT, torch.tensor([0, 3, 4]))])
    with np.errstate(all="raise"):
        logits, other = net.all_logits(**TEXT), net.all_logits(TEXT | {"input_ids": OTHER_WORDS})
    torch.testing.assert_close(other[0], logits[0], atol=1e-6, rtol=0)
    if of_text.entry.hides:
        torch.testing.assert_close(other[1], logits[1], atol=1e-6, rtol=0)


def test_zoo_of_text_refuses_other_inputs(of_text):
    for inputs, message in (
        ({"input_ids": WORDS}, "attention_mask"),
        (TEXT | {"input_ids": WORDS.tolist()}, "a list of 3"),
        (TEXT | {"attention_mask": MASK[:2]}, "input_ids 3, attention_mask 2"),
        ({name: tensor[:, :7] for name, tensor in TEXT.items()}, "size"),
    ):
        check_refused(of_text.sidenet, inputs, message)


def check_refused(net, inputs, message):
    with pytest.raises(InputError) as error:
        net(inputs)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
