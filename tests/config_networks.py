"""Networks of ofa and mcunet in plain torch: random tensors under their names, and what a config computes with them."""

import torch
from torch.nn import functional as F

ACTS = {"relu": F.relu, "relu6": F.relu6, "h_swish": lambda x: x * F.relu6(x + 3) / 6, None: lambda x: x}
STAGES = {"MobileNetV3": (2, 2, 2, 1, 2), "ProxylessNASNets": (2, 2, 2, 1, 2, 1)}  # strides
MOBILE_ACTS = ("relu", "relu", "h_swish", "h_swish", "h_swish")
MOBILE_SE = (False, True, False, True, True)


def multiple_of_8(channels):
    """The rounding of MobileNets, for numbers that it does not lower by a tenth."""
    return max(8, int(channels + 4) // 8 * 8)


def supernet(kind, *, depth=2, width=8, kernel=7, expand=6, classes=5, matrices=True):
    """Random tensors of a supernet, under the names that ofa saves."""
    rng, state = torch.Generator().manual_seed(0), {}

    def conv(name, *shape):
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{name}.weight"] = torch.randn(shape, generator=rng) * (2 / fan_in) ** 0.5

    def norm(name, channels):
        state[f"{name}.weight"] = torch.rand(channels, generator=rng) + 0.5
        state[f"{name}.bias"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{name}.running_mean"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{name}.running_var"] = torch.rand(channels, generator=rng) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)

    conv("first_conv.conv", width, 3, 3, 3)
    norm("first_conv.bn", width)
    conv("blocks.0.conv.depth_conv.conv", width, 1, 3, 3)
    norm("blocks.0.conv.depth_conv.bn", width)
    conv("blocks.0.conv.point_linear.conv", width, width, 1, 1)
    norm("blocks.0.conv.point_linear.bn", width)
    block, channels = 1, width
    for stage in range(len(STAGES[kind])):
        out = width + 8 * (stage + 1)
        for _ in range(depth if stage < 5 else 1):
            name, mid = f"blocks.{block}.conv", multiple_of_8(round(channels * expand))
            conv(f"{name}.inverted_bottleneck.conv.conv", mid, channels, 1, 1)
            norm(f"{name}.inverted_bottleneck.bn.bn", mid)
            conv(f"{name}.depth_conv.conv.conv", mid, 1, kernel, kernel)
            for small in range(3, kernel, 2) if matrices else ():
                matrix = torch.eye(small**2) + 0.1 * torch.randn(small**2, small**2, generator=rng)
                state[f"{name}.depth_conv.conv.{small + 2}to{small}_matrix"] = matrix
            norm(f"{name}.depth_conv.bn.bn", mid)
            if kind == "MobileNetV3" and MOBILE_SE[stage]:
                squeezed = multiple_of_8(mid // 4)
                for part, shape in (("reduce", (squeezed, mid)), ("expand", (mid, squeezed))):
                    conv(f"{name}.depth_conv.se.fc.{part}", *shape, 1, 1)
                    state[f"{name}.depth_conv.se.fc.{part}.bias"] = torch.randn(shape[0], generator=rng)
            conv(f"{name}.point_linear.conv.conv", out, mid, 1, 1)
            norm(f"{name}.point_linear.bn.bn", out)
            block, channels = block + 1, out
    if kind == "MobileNetV3":
        conv("final_expand_layer.conv", 40, channels, 1, 1)
        norm("final_expand_layer.bn", 40)
        conv("feature_mix_layer.conv", 24, 40, 1, 1)
    else:
        conv("feature_mix_layer.conv", 24, channels, 1, 1)
        norm("feature_mix_layer.bn", 24)
    state["classifier.linear.weight"] = torch.randn(classes, 24, generator=rng)
    state["classifier.linear.bias"] = torch.randn(classes, generator=rng)
    return state


def config_of(kind, ks, e, d, *, eps, depth=2, width=8):
    """The config of a subnet as ofa writes it, with the numbers of its blocks in the supernet."""
    stem = "h_swish" if kind == "MobileNetV3" else "relu6"
    blocks, numbers, channels, block = [], [0], width, 1
    first = {"name": "MBConvLayer", "out_channels": width, "kernel_size": 3, "stride": 1, "expand_ratio": 1}
    first |= {"mid_channels": None, "use_se": False, "act_func": "relu" if kind == "MobileNetV3" else "relu6"}
    shortcut = {"name": "IdentityLayer"}
    blocks.append({"name": "ResidualBlock", "conv": first, "shortcut": shortcut if kind == "MobileNetV3" else None})
    for stage, stride in enumerate(STAGES[kind]):
        size, out = depth if stage < 5 else 1, width + 8 * (stage + 1)
        for place in range(min(d[stage], size)):
            number = block + place
            conv = {"name": "MBConvLayer", "out_channels": out, "kernel_size": ks[number - 1]}
            conv |= {"stride": 1 if place else stride, "expand_ratio": e[number - 1]}
            conv |= {"mid_channels": multiple_of_8(round(channels * e[number - 1])), "groups": None}
            conv |= {"use_se": kind == "MobileNetV3" and MOBILE_SE[stage]}
            conv |= {"act_func": MOBILE_ACTS[stage] if kind == "MobileNetV3" else "relu6"}
            has_shortcut = conv["stride"] == 1 and channels == out
            blocks.append({"name": "ResidualBlock", "conv": conv, "shortcut": shortcut if has_shortcut else None})
            numbers.append(number)
            channels = out
        block += size
    layer = {"name": "ConvLayer", "kernel_size": 1, "stride": 1, "act_func": stem, "use_bn": True}
    config = {"name": kind, "bn": {"momentum": 0.1, "eps": eps, "ws_eps": None}, "blocks": blocks}
    config["first_conv"] = layer | {"out_channels": width, "kernel_size": 3, "stride": 2}
    config["feature_mix_layer"] = layer | {"out_channels": 24, "use_bn": kind != "MobileNetV3"}
    if kind == "MobileNetV3":
        config["final_expand_layer"] = layer | {"out_channels": 40}
    config["classifier"] = {"name": "LinearLayer", "out_features": 5, "use_bn": False, "act_func": None}
    return config, numbers


@torch.no_grad()
def run(config, state, images, numbers=None):
    """What the network of a config computes, by the first channels of a supernet's or the network's own tensors."""
    state = {
        name.replace(".bn.bn.", ".bn.").replace(".conv.conv.weight", ".conv.weight"): state[name] for name in state
    }
    eps = config["bn"]["eps"]

    def conv(x, name, norm, out, *, stride=1, weight=None, act=None, depthwise=False):
        weight = state[f"{name}.weight"] if weight is None else weight
        groups = x.shape[1] if depthwise else 1
        weight = weight[:out, :1] if depthwise else weight[:out, : x.shape[1]]
        bias = state.get(f"{name}.bias")
        x = F.conv2d(x, weight, bias if bias is None else bias[:out], stride, weight.shape[-1] // 2, groups=groups)
        if norm:
            parts = [state[f"{norm}.{part}"][:out] for part in ("running_mean", "running_var", "weight", "bias")]
            x = F.batch_norm(x, *parts, eps=eps)
        return ACTS[act](x)

    def kernels(name, size):
        weight = state[f"{name}.weight"]
        while weight.shape[-1] > size:
            smaller = weight.shape[-1] - 2
            matrix = state.get(f"{name}.{smaller + 2}to{smaller}_matrix", torch.eye(smaller**2))
            weight = (weight[..., 1:-1, 1:-1].reshape(-1, smaller**2) @ matrix.T).view(-1, 1, smaller, smaller)
        return weight

    def block(x, entry, name):
        layer, y = entry["conv"], x
        if layer["expand_ratio"] != 1:
            mid, act = layer["mid_channels"], layer["act_func"]
            y = conv(y, f"{name}.inverted_bottleneck.conv", f"{name}.inverted_bottleneck.bn", mid, act=act)
        weight = kernels(f"{name}.depth_conv.conv", layer["kernel_size"])
        place = {"stride": layer["stride"], "weight": weight, "act": layer["act_func"], "depthwise": True}
        y = conv(y, f"{name}.depth_conv.conv", f"{name}.depth_conv.bn", y.shape[1], **place)
        if layer["use_se"]:
            se, squeezed = f"{name}.depth_conv.se.fc", multiple_of_8(y.shape[1] // 4)
            gate = conv(y.mean((2, 3), keepdim=True), f"{se}.reduce", "", squeezed, act="relu")
            y = y * F.relu6(conv(gate, f"{se}.expand", "", y.shape[1]) + 3) / 6
        y = conv(y, f"{name}.point_linear.conv", f"{name}.point_linear.bn", layer["out_channels"])
        return x + y if entry["shortcut"] else y

    first = config["first_conv"]
    x = conv(images, "first_conv.conv", "first_conv.bn", first["out_channels"], stride=2, act=first["act_func"])
    for index, entry in enumerate(config["blocks"]):
        x = block(x, entry, f"blocks.{numbers[index] if numbers else index}.conv")
    mix = config["feature_mix_layer"]
    if config["name"] == "MobileNetV3":
        x = conv(x, "final_expand_layer.conv", "final_expand_layer.bn", 40, act="h_swish").mean((2, 3), keepdim=True)
        x = conv(x, "feature_mix_layer.conv", "", 24, act="h_swish")
    elif mix:
        x = conv(x, "feature_mix_layer.conv", "feature_mix_layer.bn", 24, act="relu6")
    return F.linear(x.mean((2, 3)), state["classifier.linear.weight"], state["classifier.linear.bias"])
