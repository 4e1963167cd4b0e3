"""Relative patch position: where does this patch lie, seen from that one?"""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.pretext import RelativePositionConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.asked import checked, grid_of, one_view
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.terms.pretext import RelativePosition


def relative_position(net: Net, data: Task, cfg: RelativePositionConfig | None = None) -> Iterator[Stage]:
    """Tell in which of eight directions of a patch another one lies (Doersch et al. 2015).

    Patches have gaps between them, are moved a little, lose the colours along which lenses err (`colour`) and are
    standardised one by one, so that neither edges that go on nor the lens's colours tell the answer.

    Deviations: one square of 2 x 2 patches per image and rendering with all its pairs (`across=3`: a grid of nine, with the
    eight pairs of the middle one), where the paper draws pairs; a patch is two fifths of the side, where the paper's is
    about a sixth, because a sixth of a small image shows nothing; patches are not scaled down and up at random.
    """
    cfg = cfg or RelativePositionConfig()
    checked("relative_position", cfg, net, data)
    grid = grid_of(cfg, net, data)
    term = RelativePosition(net, grid, colour=cfg.colour, hidden=cfg.hidden, seed=cfg.school.seed)
    yield pretrain_stage("relative_position", net, data, {"position": term}, one_view(cfg, net, term.pieces), cfg.school)
