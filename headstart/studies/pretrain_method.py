"""One way to pretrain, its settings as the user asked for them, and what can be said against it before any training."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.catalog.pipelines import views_for
from headstart.catalog.pretrain import PretrainConfig
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.catalog.pretraining import PretrainMethod, Schooling
from headstart.catalog.settings import names_of, with_settings
from headstart.data.crops import CropTo
from headstart.data.inspection import Sizes
from headstart.data.names import count
from headstart.data.pipelines import parse_pipeline
from headstart.data.views import View
from headstart.errors import ConfigError, DataError, problems
from headstart.nets.net import Net
from headstart.stage import Solve, Stage
from headstart.strategies.pretrain import PRETRAIN, Pretrain
from headstart.strategies.pretrain.greedy import settings_of
from headstart.studies.pretrain_batches import few_for_batches, small_steps
from headstart.studies.pretrain_data import Parts
from headstart.terms.bootstrap import PAIR


@dataclass(frozen=True)
class Method:
    """A way to pretrain.

    config  its settings
    views   renderings in place of its own, for a method that has no setting for them; none: its own
    """

    name: str
    run: Pretrain
    about: PretrainMethod
    config: Any
    views: tuple[View, ...] = ()

    @property
    def school(self) -> Schooling:
        """How long and how fast it learns."""
        found: Schooling = self.config.school
        return found

    @property
    def room(self) -> int:
        """Bytes of disk that what it keeps may take, where it has a setting for that; else 0."""
        return round(1e9 * float(getattr(self.config, "room", 0)))

    @property
    def needs_labels(self) -> bool:
        """Whether it learns from labels, which for greedy pretraining depends on what its blocks learn."""
        inner = getattr(self.config, "objective", None)
        if inner is None or not self.about.labels:
            return self.about.labels
        return bool(inner == "supervised" or (inner in PRETRAINING and PRETRAINING[inner].labels))

    @property
    def learns(self) -> tuple[PretrainMethod, Any]:
        """What is shown and asked, and its settings: of greedy pretraining what its blocks learn."""
        inner = getattr(self.config, "objective", None)
        if self.name != "greedy" or inner not in PRETRAINING:
            return self.about, self.config
        return PRETRAINING[inner], settings_of(PRETRAIN[inner])()

    def stages(self, net: Net, parts: Parts) -> Generator[Stage | Solve]:
        """Its stages on the images of the pool; labels are seen only by a method that learns from them."""
        data = parts.pool if self.needs_labels else parts.unlabelled
        for stage in self.run(net, data, self.config):
            yield self._shown(stage) if isinstance(stage, Stage) and self.views else stage

    def warnings(self, parts: Parts) -> Iterator[str]:
        """What should be known before it begins, though it can be done."""
        about, config = self.learns
        yield from small_steps(self.name, about, replace(config, school=self.school), parts.pool)

    def _shown(self, stage: Stage) -> Stage:
        changing = [name for name, view in stage.views.items() if not view.is_plain]
        if len(changing) == 1 and len(set(self.views)) > 1:
            said = "--views describes several views, and one is drawn; leave out | and what follows it"
            raise ConfigError(f"{self.name} cannot be done as asked: {said}")
        views = {name: self.views[min(place, len(self.views) - 1)] for place, name in enumerate(changing)}
        kept = {
            name: replace(one, draws=one.draws or stage.views[name].draws, pieces=stage.views[name].pieces)
            for name, one in views.items()
        }
        return replace(stage, views={**stage.views, **kept})


def method_of(config: PretrainConfig, given: tuple[Pretrain, PretrainMethod] | None, size: int) -> Method:
    """The method that the settings name, or the one `given`, with its settings.

    size  side of the images in pixels

    Raises ConfigError listing what cannot be.
    """
    run, about = given or (PRETRAIN[config.method], PRETRAINING[config.method])
    settings = settings_of(run)()
    common = {"epochs": config.epochs, "batch_size": config.batch_size, "lr": config.lr, "seed": config.seed}
    changed = {name: value for name, value in common.items() if value is not None}
    settings = replace(settings, school=replace(settings.school, **changed))
    pairs, views = list(config.settings), tuple[View, ...]()
    if config.views is not None:
        if "pipeline" in names_of(settings):
            settings = replace(settings, pipeline=config.views)
        else:
            views = tuple(parse_pipeline(text) for text in views_for(config.views, size, 2))
    settings = with_settings(settings, pairs)
    problems(ConfigError, f"{config.method} cannot be done as asked:", settings.faults())
    return Method(config.method, run, about, settings, views)


def check_method(method: Method, net: Net, parts: Parts, sizes: Sizes | None, fit: str) -> None:
    """Raise what keeps this method from learning from these images with this network, before any training.

    sizes  of the images as they came; None where there are none
    fit    how they are brought to a square
    """
    about = method.about
    aside = sum(len(part) for part in (parts.held, parts.test) if part is not None)
    said = few_for_batches(len(parts.pool), aside, method.school.batch_size)
    problems(DataError, f"{method.name} cannot learn from these images:", list(said))
    wrong = []
    if method.needs_labels and (parts.pool.num_classes < 2 or not parts.pool.known.any()):
        wrong.append(
            "it learns from labels, and these images have none; lay them out in one folder per class, or choose a method "
            "that needs none: " + ", ".join(name for name, one in PRETRAINING.items() if not one.labels)
        )
    if about.batchnorm == "forbidden" and (found := with_batchnorm(net)):
        wrong.append(
            f"{_blocks(found)} of this network hold batch normalisation, by which parts of one image can tell each other "
            f"apart; use a network without it, e.g. --backbone {about.network}"
        )
    if about.needs == "transformer" and not any(info.layout == "nlc" for info in net.info.values()):
        wrong.append(f"it needs a transformer, e.g. --backbone {about.network}")
    if "rotation" in (method.name, getattr(method.config, "objective", "")) and sizes is not None:
        wrong += _which_way_is_up(sizes, fit)
    problems(ConfigError, f"{method.name} cannot be done as asked:", wrong)


def check_views(method: Method, net: Net, stage: Stage | Solve) -> None:
    """Raise ConfigError for views of another size than the network's, which only small views may have (`local=`).

    Ways of one's own are left alone: they may show what they like.
    """
    if not isinstance(stage, Stage) or PRETRAIN.get(method.name) is not method.run:
        return
    side, local = net.input.size, "local" in names_of(method.config)
    sizes = {
        name: next((op.size for op in reversed(view.ops) if isinstance(op, CropTo)), side)
        for name, view in stage.views.items()
        if name in PAIR or not local
    }
    wrong = [
        f"view {name!r} is cropped to {size} px, and the network is shown {side} px: leave out size= (--size {size} makes a "
        "network for such images; small views of another size are drawn by dino and swav with --settings local=4)"
        for name, size in sizes.items()
        if size != side
    ]
    problems(ConfigError, f"{method.name} cannot be done as asked:", wrong)


def _which_way_is_up(sizes: Sizes, fit: str) -> Iterator[str]:
    """What tells a turned image from an upright one without any look at what it shows. One such image is refused as many
    are: the remedy changes no square one."""
    if sizes.oblong and fit != "crop":
        clue = {"pad": "padded to squares, borders tell", "squash": "squeezed to squares, proportions tell"}[fit]
        yield (
            f"{count(sizes.oblong, 'image is', 'images are')} not square (median {sizes.width[1]:.0f} x "
            f"{sizes.height[1]:.0f} px): {clue} which way is up, and what they show is not looked at; give --fit crop, "
            "which takes the centre, or crop them to squares"
        )


def with_batchnorm(net: Net) -> list[str]:
    """The blocks that hold batch normalisation."""
    return [name for name, block in net.blocks.items() if any(isinstance(one, _BatchNorm) for one in _all(block))]


def _all(block: nn.Module) -> Iterator[nn.Module]:
    return block.modules()


def _blocks(names: Sequence[str]) -> str:
    return f"{len(names)} blocks ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
