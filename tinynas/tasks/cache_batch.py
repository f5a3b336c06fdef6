"""How many images a CPU runs at once, so that their feature maps stay in its caches."""

from ..arch.arch import Arch
from ..arch.cost import quick_cost

_CPU_BYTES = 16 * 2**20  # of a batch's largest feature maps: larger ones do not stay in the CPU's caches
_BYTES = 4  # of a float
_BLOCK = 16  # images that the fused kernels run at once, at most


def images_in_cache(arch: Arch) -> int:
    """Return the number of images whose feature maps take 16 MiB in the widest layer: 1 to 15, or a multiple of 16.

    Twice as fast as 250 images on networks of 65M MACs (AMD Zen 4): larger tensors leave the caches, and glibc returns
    those over 32 MiB to the operating system, which then has to map and clear new pages for every layer.
    """
    images = _CPU_BYTES // (_BYTES * quick_cost(arch).peak_sram)
    return images // _BLOCK * _BLOCK or max(1, images)
