"""The report of a fixed run folder, byte for byte; pictures are left out, since their bytes depend on the codec's version.

After a wanted change: HEADSTART_UPDATE_GOLDEN=1 pytest tests/golden/test_golden_report.py, then look at the difference.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from headstart.report import page_of

HERE = Path(__file__).parent
GOLDEN = HERE / "report_adapt.html"


def test_the_page_is_as_it_was(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("made_run", HERE.parent / "report" / "conftest.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    run = made.make_run(tmp_path / "run", ["circle", "ring", "star"], mistakes=2, side=32)
    page = re.sub(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", r"data:image/\1", page_of(run))
    if os.environ.get("HEADSTART_UPDATE_GOLDEN"):
        GOLDEN.write_text(page, "utf-8")
    assert page == GOLDEN.read_text("utf-8"), "the report changed; see the top of this file"
