"""The page of `headstart select`: undecided is said to be undecided, every candidate is there, any part may be missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from made_select import BELOW, NETWORKS, agreement, candidates, summary

from headstart.report import page_of, words
from headstart.report.agreement import tau_map
from headstart.report.charts import Estimate, interval_plot
from headstart.report.render import breaks

Maker = Callable[..., Path]
SECTIONS = ("ranking", "following", "race", "measures", "agreement", "depths", "rules", "unavailable", "cost", "limits")


def plain(page: str) -> str:
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<wbr>", "", page, flags=re.DOTALL)
    page = unescape(re.sub(r"<[^>]+>", " ", page)).replace(words.NARROW, " ")
    return re.sub(r"\s+", " ", page)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', page, flags=re.DOTALL)
    assert found, name
    return plain(found[0])


def test_the_page_holds_everything(select_maker: Maker) -> None:
    page = page_of(select_maker())
    assert [name for name in SECTIONS if f'id="{name}"' not in page] == []
    text = plain(page)
    assert "2 400 images · 10 classes · 7 networks compared" in text
    assert "timm:resnet18.a1_in1k is ahead in the race, but it is not decided" in text
    ranked = section(page, "ranking")
    for rank, (name, *_) in enumerate(NETWORKS, 1):
        assert f"{rank}. {name}" in ranked
    first = (
        "1. timm:resnet18.a1_in1k chosen best depth: block8 91.4 % 89.9–92.7 % 94.8 % 93.9–95.5 % finished 1.81 G at 224 px"
    )
    assert f"{first} 11.2 M 44.7 MB" in ranked
    assert "headstart adapt pictures/shapes --backbone timm:resnet18.a1_in1k" in text
    assert page.count("<figure><figcaption><b>") == len(NETWORKS)
    assert "timm:regnety_002.pycls_in1k Its weights cannot be had" in section(page, "unavailable")
    assert "Most of it, 4 min 03 s, went into the race." in text
    assert "less than about 1.6 points would probably have been missed" in text
    assert "Missing from this folder" not in text
    assert page == page_of(select_maker("again"))


def test_the_race_is_told_round_by_round(select_maker: Maker) -> None:
    text = section(page_of(select_maker()), "race")
    assert "4 networks fine-tuned for 6 epochs each time" in text
    assert "Round 5" in text
    assert "Stopped early. In the lower half after fold 2." in text
    assert f"Not in the race: torchvision:squeezenet1_1, embedded and {NETWORKS[-1][0]}: {BELOW}." in text


def test_without_a_race(select_maker: Maker) -> None:
    rows = [
        row | {"race": {"rounds": [], "status": "not raced", "reason": "there was no race (--no-race)"}}
        for row in candidates()
    ]
    page = page_of(select_maker(candidates=rows, by="probe"))
    assert "No race: there was no race (--no-race)." in section(page, "race")
    assert "No network was fine-tuned" in section(page, "race")
    assert 'class="diamond"' not in page
    assert "compared by a linear head on their frozen features" in plain(page)
    assert "not what fine-tuning would make of them" in section(page, "limits")


def test_a_race_that_did_not_end(select_maker: Maker) -> None:
    rows = candidates()
    for row in rows:
        row["race"] |= {"status": "eliminated"} if row["race"]["rounds"] else {}
    text = plain(page_of(select_maker(candidates=rows, by="probe")))
    assert "or fine-tuned. For this one that is frozen." in text
    assert "in the race, not to its end 94.8 %" in text
    assert "The 4 likeliest then raced; what counts is the better of the two" in text
    assert "after the race" in plain(page_of(select_maker("ended", by=None)))


@pytest.mark.parametrize(
    ("changed", "kicker", "tone"),
    [
        ({"decided": True}, "Decided", "decided"),
        ({}, "Not decided", "undecided"),
        ({"candidates": candidates()[:1], "comparison": None}, "Nothing to compare with", "undecided"),
        ({"chosen": None}, "Not finished", "unfinished"),
    ],
)
def test_the_verdict_is_no_surer_than_the_run(select_maker: Maker, changed: dict[str, Any], kicker: str, tone: str) -> None:
    page = page_of(select_maker(**changed))
    assert f'class="verdict {tone}"' in page
    assert f'class="kicker">{kicker}<' in page


def test_measures_show_rank_and_value(select_maker: Maker) -> None:
    text = section(page_of(select_maker()), "measures")
    row = candidates()[1]
    ranks = [row["scores"][name]["rank"] for name in ("probe", "knn", "logme", "hscore", "leep", "size")]
    assert f"{row['name']} {ranks[0]} 92.1 % {ranks[1]} " in text
    assert f"{ranks[-1]} 1.52 M" in text
    assert "LEEP could not be had of embedded: no source classes known." in text
    only = [one | {"scores": {"probe": one["scores"]["probe"]}} for one in candidates()]
    assert "Not shown: other measures" in section(page_of(select_maker("only", candidates=only)), "measures")


def test_the_map_holds_every_pair_once() -> None:
    rows = agreement()
    taus = {(row["a"], row["b"]): row["tau"] for row in rows}
    order = list(dict.fromkeys(name for pair in taus for name in pair))
    assert len(order) == 7
    for width in (760.0, 350.0):
        picture = str(tau_map(taus, order, order, width))
        assert picture.count("<rect") == 21 == len(rows)
        shown = re.findall(r'text-anchor="middle"[^>]*>([^<]+)<', picture)
        expected = [taus.get((order[j], order[i]), taus.get((order[i], order[j]))) for i in range(7) for j in range(i)]
        assert [float(text.replace(words.MINUS, "-")) for text in shown] == pytest.approx(expected, abs=0.005)
    gone = dict(list(taus.items())[1:])
    assert str(tau_map(gone, order, order, 760.0)).count("cell empty") == 1


def test_agreement_is_put_into_words(select_maker: Maker) -> None:
    taus = {row["a"]: row["tau"] for row in agreement() if row["b"] == "race"}
    best = {"size": "Bigger is better", "knn": "Nearest neighbours"}[max(taus, key=lambda name: taus[name])]
    text = section(page_of(select_maker()), "agreement")
    assert f"The order of “{best}” is closest to that of “Race” (tau {max(taus.values()):.2f})" in text
    assert "With so few networks" not in text
    assert "LogME prefers timm:efficientnet_b0.ra_in1k" in text
    few = section(page_of(select_maker("few", candidates=candidates()[:3], disagreements=[])), "agreement")
    assert "one swap changes tau by 0.67" in few
    assert "All have the same favourite." in few
    two = page_of(select_maker("two", candidates=candidates()[:2]))
    assert "Two networks make one comparison" in section(two, "agreement")
    assert "Agreement of the measures, Kendall" not in two
    nothing = page_of(select_maker("none", agreement=None, disagreements=None))
    assert "Not shown: agreement of the measures" in section(nothing, "agreement")


def test_many_networks_are_cut_in_pictures_only(select_maker: Maker) -> None:
    rows = [candidates()[k % 7] | {"name": f"timm:net{k}", "rank": k + 1} for k in range(40)]
    page = page_of(select_maker(candidates=rows))
    assert "Drawn are the first 24." in section(page, "ranking")
    assert "40. timm:net39" in section(page, "ranking")
    assert "Drawn are the first 12 of 40." in section(page, "depths")
    assert page.count("<figure><figcaption><b>") == 12


@pytest.mark.parametrize("key", sorted(summary()))
def test_every_key_may_be_absent_or_empty(select_maker: Maker, key: str) -> None:
    if key == "command":
        return
    for place, value in enumerate((None, [], {}, "x", 3, [{}], [{"name": "a"}])):
        page = page_of(select_maker(f"run{place}", **{key: value}))
        drawn = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(page)


@pytest.mark.parametrize("key", sorted(candidates()[0]))
def test_every_key_of_a_candidate_may_be_absent_or_empty(select_maker: Maker, key: str) -> None:
    for place, value in enumerate((None, [], {}, "x", float("nan"), [{}])):
        rows = candidates()
        for at, row in enumerate(rows):
            row.pop(key)
            row |= {key: value} if at % 2 else {}
        page = page_of(select_maker(f"run{place}", candidates=rows))
        drawn = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
        assert not re.search(r"\bnan\b", drawn, flags=re.IGNORECASE)
        assert "None" not in plain(page)


def test_a_run_that_was_killed_has_a_page(select_maker: Maker) -> None:
    run = select_maker()
    (run / "summary.json").unlink()
    text = plain(page_of(run))
    assert "This run ended before any network was chosen." in text
    assert "summary.json is missing" in text


def test_notes_do_not_say_again_what_the_page_says(select_maker: Maker) -> None:
    run = select_maker()
    left = summary()["unavailable"][0]
    lines = [
        {"event": "warning", "text": f"{left['name']} is left out: {left['reason']}"},
        {"event": "warning", "text": "the clock went backwards"},
        {"event": "note", "text": "  probe 0.943 at block8"},
        {"event": "note", "text": "a new run"},
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    text = section(page_of(run), "notes")
    assert "Notes of the run Warning: the clock went backwards a new run" in text
    assert "left out" not in text
    assert "block8" not in text


def test_names_from_outside_are_escaped(select_maker: Maker) -> None:
    bad = "<script>alert(1)</script>"
    found = json.loads(json.dumps(summary()).replace("squeezenet1_1", bad).replace("regnety_002", bad))
    page = page_of(select_maker(**found))
    assert "<script" not in page.replace("<wbr>", "")
    assert "&lt;script&gt;" in page


def test_names_break_after_their_punctuation_only() -> None:
    assert breaks("timm:a_b.c") == "timm:<wbr>a_<wbr>b.<wbr>c"
    assert breaks("a & b_") == "a &amp; b_"
    assert re.sub("<wbr>", "", str(breaks("runs/x@<y>"))) == "runs/x@&lt;y&gt;"


def test_what_was_measured_besides_has_its_own_interval() -> None:
    row = Estimate("a", 0.8, (0.75, 0.85), seen=0.9, seen_span=(0.5, 0.95))
    picture = str(interval_plot([row], 760, "accuracy"))
    ends = r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)"[^>]*class="'
    whisker, reached = (re.search(ends + kind, picture) for kind in ("whisker", "reached"))
    assert whisker
    assert reached
    assert float(reached[1]) < float(whisker[1]) < float(whisker[3]) < float(reached[3])  # the axis holds both
    assert float(reached[2]) > float(whisker[2])
    alone = str(interval_plot([Estimate("a", 0.8, (0.75, 0.85), seen=0.9)], 760, "accuracy"))
    assert "reached" not in alone
    assert "diamond" in alone
