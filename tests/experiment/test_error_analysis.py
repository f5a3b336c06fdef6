import pytest

from tinynas.experiment.error_analysis import Calibration, ErrorAnalysis, Mistake
from tinynas.experiment.evaluation_report import ErrorReport
from tinynas.utils.errors import InputError

ERRORS = ErrorReport(classes=("a", "b"), confusion=((3, 1), (0, 4)))
ANALYSIS = ErrorAnalysis(
    errors=ERRORS,
    calibration=Calibration(error=2.5, bins=((8, 0.9, 0.875),)),
    mistakes=(Mistake(truth="a", predicted="b", confidence=0.75, image=3, picture="aGk="),),
)


@pytest.mark.parametrize("analysis", [ANALYSIS, ErrorAnalysis(errors=ERRORS)])
def test_analysis_is_read_back(analysis):
    assert ErrorAnalysis.from_dict(analysis.to_dict()) == analysis


def test_damaged_analysis_is_refused():
    plain = ANALYSIS.to_dict()
    plain["errors"]["confusion"][0] = [3]
    with pytest.raises(InputError, match="an entry of confusion must have 2 numbers"):
        ErrorAnalysis.from_dict(plain)
