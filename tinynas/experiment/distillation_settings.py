"""Settings of distillation from a teacher."""

from dataclasses import dataclass

from ..utils.paths import with_absolute_path
from ..utils.settings import check_settings, setting

_TEACHER = "Teacher"


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a network learns from a teacher's outputs (Hinton et al., 2015, section 2)."""

    teacher: str = setting(
        help="Teacher whose outputs are learned beside the labels: supernet, a model's file or folder, "
        "hf:USER/REPO, or torchvision:NAME[:WEIGHTS]",
        group=_TEACHER,
        metavar="NAME",
        parse=with_absolute_path,
    )
    teacher_weight: float = setting(
        0.5,
        help="Weight of the teacher's outputs in the loss; labels have the rest",
        group=_TEACHER,
        minimum=0,
        maximum=1,
    )
    temperature: float = setting(
        1.0, help="Temperature that softens the outputs of teacher and network", group=_TEACHER, above=0
    )
    teach_augmented: bool = setting(
        False, help="Use the teacher for NetAug's augmented networks as well", group=_TEACHER
    )

    def __post_init__(self) -> None:
        check_settings(self)
