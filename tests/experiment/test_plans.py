from pathlib import Path

import pytest

from tinynas.experiment.plans import ExportPlan
from tinynas.utils.errors import InputError


def test_export_plan_refuses_counts_below_one():
    for wrong in ({"batch": 0}, {"calibration": 0}):
        with pytest.raises(InputError, match="must be at least 1"):
            ExportPlan(model=Path("m"), out=Path("o"), **wrong)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"to": "onx"}, "unknown format 'onx'; did you mean 'onnx'"),
        ({"to": "tflite", "opset": 18}, "have no operator set and a batch of 1"),
        ({"to": "tflite", "batch": None}, "have no operator set and a batch of 1"),
        ({"qat": 3, "to": "onnx"}, "qat is 3, but only an int8 TFLite file is fine-tuned; export to tflite"),
        ({"qat": 1, "to": "tflite", "int8": False}, "qat is 1, but only an int8 TFLite file is fine-tuned"),
    ],
)
def test_export_plan_refuses_contradictions(plan, message):
    with pytest.raises(InputError, match=message):
        ExportPlan(model=Path("m"), out=Path("o"), **plan)
