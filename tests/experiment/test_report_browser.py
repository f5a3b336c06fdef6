"""The report in a real browser: a click on a point shows its network, and the console stays empty."""

import html
import json
import re
import shutil
import subprocess

import pytest

from tinynas.experiment.report.page import write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (1280, 390)
PROBE = """
<script>
window.addEventListener("load", () => {
  const points = [...document.querySelectorAll("[data-select]")];
  const hidden = points.filter((point) => document.getElementById(point.dataset.select).hidden);
  const point = hidden[0] || points[0];
  point.dispatchEvent(new PointerEvent("pointerenter"));
  const tip = document.getElementById("tip").textContent;
  point.dispatchEvent(new MouseEvent("click", {bubbles: true}));
  const shown = [...document.querySelectorAll("article")].filter((panel) => !panel.hidden);
  const facts = {
    chosen: point.dataset.select,
    others: points.length - 1,
    shown: shown.map((panel) => panel.id),
    tip: tip,
    width: document.documentElement.scrollWidth,
    window: document.documentElement.clientWidth,
  };
  document.title = JSON.stringify(facts);
});
</script>
</body>
"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium")


@pytest.mark.parametrize("width", WIDTHS)
def test_click_shows_a_network_without_errors_in_the_console(searched, tmp_path, width):
    write_report([searched], tmp_path / "report.html")
    probed = tmp_path / "probed.html"
    probed.write_text((tmp_path / "report.html").read_text().replace("</body>", PROBE))
    facts, console = load_in_browser(probed, width)
    assert console == []
    assert facts["shown"] == [facts["chosen"]]
    assert "accuracy" in facts["tip"]
    assert "MACs" in facts["tip"]
    assert facts["width"] <= facts["window"], "the page is wider than the window"


def test_errors_in_the_console_are_seen(searched, tmp_path):
    write_report([searched], tmp_path / "report.html")
    probed = tmp_path / "probed.html"
    broken = (tmp_path / "report.html").read_text().replace("</body>", "<script>undefinedName()</script>" + PROBE)
    probed.write_text(broken)
    assert "undefinedName" in load_in_browser(probed, 1280)[1][0]


def load_in_browser(path, width):
    """Return what the probe wrote as the page's title, and the lines of the console."""
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    command += [f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=2000"]
    command += ["--enable-logging=stderr", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search("<title>(.*?)</title>", done.stdout, re.DOTALL)[1]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return json.loads(html.unescape(title)), console
