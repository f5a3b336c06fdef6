"""The folder of a network with early exits, and how its results are read."""

from pathlib import Path

from .early_exit_report import EarlyExitReport
from .export_report import EarlyExitExportReport
from .result_file import read_result

EXITS = "sidenet.safetensors"
EXPORT = "export.json"
CARD = "README.md"  # the model card, which the Hub of Hugging Face shows
SIDENET = "sidenet"
CASCADE = "cascade"


class EarlyExitFolder:
    """The files of a network with early exits.

    Attributes:
        path: The folder.
        name: Its name: "sidenet" or "cascade", unless the user named it.
        model: The network.
        report: What it measured.
        plot: Accuracy over average MACs.
        card: Its model card.
        export: What its exported files measured.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.model = path / EXITS
        self.report = path / "sidenet.json"
        self.plot = path / "sidenet.png"
        self.export = path / EXPORT
        self.card = path / CARD

    def read_report(self) -> EarlyExitReport:
        """Read sidenet.json.

        Raises:
            FileError: It is missing or damaged.
        """
        return read_result(EarlyExitReport, self.report, advice="recreate it with tinynas sidenet")

    def read_export(self) -> EarlyExitExportReport | None:
        """Read export.json; None if the network has not been exported.

        Raises:
            FileError: It is damaged.
        """
        if not self.export.exists():
            return None
        return read_result(EarlyExitExportReport, self.export, advice="recreate it with tinynas export")
