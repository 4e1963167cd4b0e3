"""The page in a real browser: nothing is fetched, nothing scrolls sideways, light and dark can both be read."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_bench import make_bench
from made_compare import make_compare
from made_data_size import make_data_size
from made_distill import make_distill
from made_extend import make_extend
from made_layers import make_layers
from made_multitask import make_multitask

from headstart.report import page_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--virtual-time-budget=4000", "--dump-dom"),
]
OTHERS: dict[str, Callable[[Path], Path]] = {
    "data_size": make_data_size,
    "layers": make_layers,
    "comparison": make_compare,
    "distillation": make_distill,
    "models": make_bench,
    "continual": make_extend,
    "multitask": make_multitask,
}
"""Commands with a page, besides those that have a fixture of their own."""
MEASURE = """
const contrast = (a, b) => { const l = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => { x /= 255;
  return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4 }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  const [p, q] = [l(a), l(b)].sort((x, y) => y - x); return (p + .05) / (q + .05) };
addEventListener("load", () => { const seen = {};
  for (const f of document.querySelectorAll("iframe")) { const d = f.contentDocument, w = f.contentWindow;
    const style = s => w.getComputedStyle(d.querySelector(s));
    const back = style("body").backgroundColor;
    seen[f.id] = { width: d.documentElement.scrollWidth,
      fetched: w.performance.getEntriesByType("resource").map(e => e.name),
      broken: [...d.images].filter(i => !i.naturalWidth).length, images: d.images.length,
      ink: contrast(style("body").color, back), soft: contrast(style("figcaption").color, back),
      kicker: contrast(style(".kicker").color, style(".verdict").backgroundColor),
      narrow: style(".narrow").display, wide: style(".wide").display }; }
  document.querySelector("#out").textContent = JSON.stringify(seen); });
"""


def measured(pages: dict[str, tuple[str, int]], folder: Path, *flags: str) -> dict[str, Any]:
    """Load each `(page, width)` into a frame of that width and ask the browser about it."""
    frames = "".join(
        f'<iframe id="{name}" style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
        for name, (page, width) in pages.items()
    )
    host = folder / "host.html"
    host.write_text(f"<!doctype html><meta charset=utf-8><script>{MEASURE}</script>{frames}<pre id=out></pre>", "utf-8")
    command = [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", host.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    found = re.search(r"<pre id=\"out\">(.*?)</pre>", done.stdout, re.DOTALL)
    assert found
    assert found[1], done.stderr[-2000:]
    return dict(json.loads(html.unescape(found[1])))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to look at the page with")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_chromium(
    run_maker: Callable[..., Path],
    advise_maker: Callable[..., Path],
    select_maker: Callable[..., Path],
    tmp_path: Path,
    dark: bool,
) -> None:
    long = ["a_class_with_a_very_long_name_without_any_space_at_all_in_it", "b", *(f"species number {i}" for i in range(30))]
    usual, many = page_of(run_maker("usual")), page_of(run_maker("many", long, per=6, side=32))
    advice, choice = page_of(advise_maker()), page_of(select_maker())
    others = {name: page_of(make(tmp_path / name)) for name, make in OTHERS.items()}
    pages = {"phone": (usual, 390), "desktop": (usual, 1100), "many": (many, 390)}
    pages |= {"advice": (advice, 390), "choice": (choice, 390), "advice_wide": (advice, 1100), "choice_wide": (choice, 1100)}
    pages |= {name: (page, 390) for name, page in others.items()}
    pages |= {f"{name}_wide": (page, 1100) for name, page in others.items()}
    seen = measured(pages, tmp_path, *(["--blink-settings=preferredColorScheme=0"] if dark else []))
    for name, (_, width) in pages.items():
        assert seen[name]["width"] <= width, name
        assert [address for address in seen[name]["fetched"] if not address.startswith("data:")] == []
        assert seen[name]["broken"] == 0
        assert seen[name]["images"] > 50 or name not in ("phone", "desktop", "many")
        assert seen[name]["ink"] > 7
        assert seen[name]["soft"] > 4.5
        assert seen[name]["kicker"] > 4.5
    assert (seen["phone"]["narrow"], seen["phone"]["wide"]) == ("block", "none")
    assert (seen["desktop"]["narrow"], seen["desktop"]["wide"]) == ("none", "block")
