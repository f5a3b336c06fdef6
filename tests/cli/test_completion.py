"""The shells' way of asking for completions, as typer's scripts do it."""

import os
import subprocess
import sys

PROGRAM = """
import sys
from tinynas.cli.__main__ import main
try:
    main()
finally:
    assert not {"torch", "optuna", "numpy"} & set(sys.modules)
"""


def completed(**variables):
    """What is answered to a shell with these variables."""
    environment = os.environ | {"_TINYNAS_COMPLETE": "complete_bash"} | variables
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    return result.stdout.split()


def test_commands_and_options_are_completed_without_torch():
    assert completed(COMP_WORDS="tinynas ret", COMP_CWORD="1") == ["retrain"]
    assert {"--netaug", "--netaug-every"} & set(completed(COMP_WORDS="tinynas retrain --netau", COMP_CWORD="2"))
    assert completed(COMP_WORDS="tinynas push --priv", COMP_CWORD="2") == ["--private"]


def test_completion_is_installed_by_an_option(tinynas, monkeypatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "bash"))  # there is none in every test run
    code, out, _ = tinynas("--show-completion")
    assert code == 0
    assert "_TINYNAS_COMPLETE=complete_bash" in out
