"""The building blocks of networks: convolutions with batch norm, squeeze-excite, inverted residuals."""

from torch import Tensor, nn

from ..arch.arch import Block

_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hswish": nn.Hardswish}


class ConvNorm(nn.Module):
    """Convolution, batch norm and, if named, an activation. (N, cin, H, W) -> (N, cout, H', W')."""

    def __init__(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: str = "") -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(cout)
        self.act = _ACTIVATIONS[act](inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class SqueezeExcite(nn.Module):
    """Channel gates from global averages (Hu et al., 2018), hard sigmoid as in MobileNetV3. Keeps the shape."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(self.reduce(x.mean((2, 3), keepdim=True)).relu())  # (N, C, 1, 1)
        return x * nn.functional.hardsigmoid(gate)


class InvertedResidual(nn.Module):
    """The network of a `Block`: (N, channels, H, W) -> (N, block.out, H / stride, W / stride)."""

    def __init__(self, block: Block, channels: int) -> None:
        super().__init__()
        mid = block.mid or channels
        self.expand = ConvNorm(channels, mid, act=block.act) if block.mid else nn.Identity()
        self.depthwise = ConvNorm(mid, mid, block.kernel, block.stride, groups=mid, act=block.act)
        self.se = SqueezeExcite(mid, block.se) if block.se else nn.Identity()
        self.project = ConvNorm(mid, block.out)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return y + x if self.residual else y
