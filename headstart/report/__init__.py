"""Pages: a run folder becomes one self-contained HTML file. Imports no torch.

`render(folder)` reads what a run wrote and writes `report.html` beside it; `fragment` of every page is hand-written inline
SVG and thumbnails as data URIs, so the file can be mailed, printed and opened without a network.
"""

from headstart.report.render import page_of, render

__all__ = ["page_of", "render"]
