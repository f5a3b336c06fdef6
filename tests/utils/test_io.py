import threading
import time

import pytest

from tinynas.utils.io import exclusive_lock


def test_only_one_lets_the_next_process_wait(tmp_path):
    path, order = tmp_path / "run" / "lock", []

    def other():
        with exclusive_lock(path, lambda: order.append("waits")):
            order.append("in")

    with exclusive_lock(path, lambda: pytest.fail("no other process held the lock")):
        thread = threading.Thread(target=other)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("out")
    thread.join()
    assert order == ["waits", "out", "in"]
