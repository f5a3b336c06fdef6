import logging
import os
import warnings

from tinynas.utils.quiet import logging_disabled, output_discarded, stderr_descriptor_captured


def test_logging_disabled_restores_the_level_of_before():
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with logging_disabled(logging.WARNING):
            assert logging.root.manager.disable == logging.WARNING
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(before)


def test_output_discarded_restores_stderr(capfd):
    with output_discarded():
        os.write(2, b"from C++")
        print("from Python")
        warnings.warn("a warning", stacklevel=1)
    os.write(2, b"afterwards")
    assert capfd.readouterr() == ("", "afterwards")


def test_stderr_descriptor_is_captured_and_restored(capfd):
    with stderr_descriptor_captured() as captured:
        os.write(2, b"from C\n")
        captured.seek(0)
        assert captured.read() == b"from C\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
