from __future__ import annotations

import json
import os
import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpsdata.contracts import MissingError, UsageError
from dpseval.pairing.files import SetKey
from dpseval.pairing.pairs import Pairing, find_sets, leave_out, pair_outputs, refused_findings
from dpseval.scoring.config import ScoreConfig

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("score_samples.py"))))


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return samples.make_built(tmp_path / "built")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return samples.make_outputs(tmp_path / "out", methods=("ours", "theirs"), levels=("l0", "l0.50"))


CONFIG = ScoreConfig(masks="dps")


def pair(outputs: Path, dataset: Path, config: ScoreConfig) -> Pairing:
    return pair_outputs(
        outputs,
        dataset,
        methods=config.methods,
        levels=config.levels,
        split=config.split,
        masks=config.masks,
        sketches=config.sketches,
    )


def test_everything_is_paired_by_id(built: Path, outputs: Path) -> None:
    pairing = pair(outputs, built, CONFIG)
    assert pairing.keys == (SetKey("ours", 0.0), SetKey("ours", 0.5), SetKey("theirs", 0.0), SetKey("theirs", 0.5))
    assert [photo.id for photo in pairing.photos] == list(samples.IDS)
    photo = pairing.photos[1]
    assert photo.truth == built / "images/b__c.png"
    assert photo.mask.path == built / "masks/dps/b__c.png"
    assert photo.sketch == built / "sketches/b__c.png"
    assert [item.path for item in photo.outputs] == [
        outputs / method / level / "b__c.png" for method in ("ours", "theirs") for level in ("l0", "l0.50")
    ]
    assert pairing.findings == ()


def test_a_method_without_level_and_a_refined_sketch(built: Path, tmp_path: Path) -> None:
    outputs = samples.make_outputs(tmp_path / "out", methods=("ours",), levels=("none",))
    refined = outputs / "ours/none/refined"
    refined.mkdir()
    for name in samples.IDS:
        (refined / f"{name}.png").write_bytes((built / f"sketches/{name}.png").read_bytes())
    pairing = pair(outputs, built, CONFIG)
    assert pairing.keys == (SetKey("ours", None),)
    assert pairing.photos[0].outputs[0].refined == refined / "a.png"
    assert pairing.findings == ()


def test_filters_take_methods_and_levels(built: Path, outputs: Path) -> None:
    config = ScoreConfig(masks="dps", methods=("theirs",), levels=(0.5,))
    assert pair(outputs, built, config).keys == (SetKey("theirs", 0.5),)
    with pytest.raises(UsageError, match="method 'nobody' has no outputs here; there are: ours, theirs"):
        find_sets(outputs, ("nobody",))
    with pytest.raises(
        UsageError, match="method 'theirss' has no outputs here; did you mean theirs\\? there are: ours"
    ):
        find_sets(outputs, ("theirss",))
    with pytest.raises(UsageError, match=r"level 0\.25 has no outputs here; there are: 0, 0\.5"):
        find_sets(outputs, levels=(0.25,))


def test_no_outputs_and_no_folder(built: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        find_sets(tmp_path / "nothing")
    (tmp_path / "empty/ours/l0").mkdir(parents=True)
    with pytest.raises(MissingError, match="no outputs here"):
        pair(tmp_path / "empty", built, CONFIG)


def test_a_folder_too_low_or_too_high_is_told(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"holds the levels of one method; pass the folder around it: {outputs}$"):
        find_sets(outputs / "ours")
    loose = tmp_path / "foreign pictures"
    loose.mkdir()
    picture = next((outputs / "ours").rglob("*.png")).read_bytes()
    for name in ("a", "b"):
        (loose / f"{name}.png").write_bytes(picture)
    with pytest.raises(MissingError, match=r"a\.png is in no set; run: mkdir -p") as told:
        find_sets(loose)
    subprocess.run(["bash", "-ec", str(told.value).partition("run: ")[2]], check=True)
    assert find_sets(loose)[0][0].key == SetKey("NAME", None)
    for path in (loose / "NAME/none").iterdir():
        path.rename(loose / "NAME" / path.name)
    with pytest.raises(MissingError, match=r"a\.png is in no set; run: mkdir -p") as told:
        find_sets(loose)
    subprocess.run(["bash", "-ec", str(told.value).partition("run: ")[2]], check=True)
    assert set(find_sets(loose)[0][0].files) == {"a", "b"}


@pytest.mark.parametrize("where", ["all", "one"])
def test_a_missing_output(built: Path, outputs: Path, where: str) -> None:
    for method in ("ours", "theirs"):
        for level in ("l0", "l0.50"):
            if where == "all" or (method, level) == ("theirs", "l0"):
                (outputs / method / level / "d.png").unlink()
    pairing = pair(outputs, built, CONFIG)
    kinds = {finding.kind for finding in pairing.findings}
    assert kinds == ({"missing"} if where == "all" else {"missing", "unequal-ids"})
    assert {finding.id for finding in pairing.findings if finding.kind == "missing"} == {"d"}
    assert refused_findings(pairing, pairing.findings, ("missing",)) == []
    left = leave_out(pairing, pairing.findings, ("missing",))
    assert [photo.id for photo in left.photos] == ["a", "b__c", "e"]
    if where == "one":
        assert refused_findings(pairing, pairing.findings, ("unequal-ids",)) == []
        own = leave_out(pairing, pairing.findings, ("unequal-ids",))
        assert [len(photo.outputs) for photo in own.photos] == [4, 4, 3, 4]
    else:
        assert len(refused_findings(pairing, pairing.findings, ("unequal-ids",))) == 4


def test_a_missing_refined_sketch_and_a_missing_sketch(built: Path, outputs: Path) -> None:
    refined = outputs / "ours/l0/refined"
    refined.mkdir()
    (refined / "a.png").write_bytes((built / "sketches/a.png").read_bytes())
    (built / "sketches/e.png").unlink()
    findings = pair(outputs, built, CONFIG).findings
    assert {finding.kind for finding in findings} == {"missing"}
    assert sorted(finding.id for finding in findings) == ["b__c", "d", "e", "e"]


def test_extra_files_and_folders(built: Path, outputs: Path) -> None:
    data = (outputs / "ours/l0/a.png").read_bytes()
    (outputs / "ours/l0/stranger.png").write_bytes(data)
    (outputs / "ours/l0/notes.txt").write_text("x")
    (outputs / "ours/wide").mkdir()
    (outputs / "ours/wide/a.png").write_bytes(data)
    (outputs / "ours/loose.png").write_bytes(data)
    (outputs / "ours/l0/.hidden").write_text("x")
    (outputs / "logs/deep").mkdir(parents=True)
    findings = pair(outputs, built, CONFIG).findings
    assert {finding.kind for finding in findings} == {"extra"}
    assert sorted(Path(finding.path).name for finding in findings) == ["notes.txt", "ours", "stranger.png", "wide"]
    assert not any(finding.id for finding in findings)


def test_two_files_and_two_folders_for_one_output(built: Path, outputs: Path) -> None:
    data = (outputs / "ours/l0/a.png").read_bytes()
    (outputs / "ours/l0/a.jpg").write_bytes(data)
    (outputs / "ours/l0.5").mkdir()
    (outputs / "ours/l0.5/a.png").write_bytes(data)
    findings = [finding for finding in pair(outputs, built, CONFIG).findings if finding.kind == "duplicate"]
    assert [(Path(finding.path).name, finding.id) for finding in findings] == [("l0.50", ""), ("a.png", "a")]


def test_names_in_another_unicode_form_are_the_same_id(tmp_path: Path) -> None:
    built = samples.make_built(tmp_path / "built", ("caf\u00e9", "x"))
    outputs = samples.make_outputs(tmp_path / "out", ("cafe\u0301", "x"))
    assert pair(outputs, built, CONFIG).findings == ()


def test_a_name_that_is_no_text_is_a_finding(built: Path, outputs: Path) -> None:
    place = Path(os.fsdecode(bytes(outputs) + b"/theirs\xff/none"))
    try:
        place.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (place / "a.png").write_bytes(b"")
    pairing = pair(outputs, built, CONFIG)
    assert {key.method for key in pairing.keys} == {"ours", "theirs"}
    assert [item.kind for item in pairing.findings] == ["extra"]
    assert "theirs\\udcff: its name is no valid Unicode" in str(pairing.findings[0])
    str(pairing.findings[0]).encode()


def write_run(outputs: Path, **facts: object) -> None:
    (outputs / "run.json").write_text(json.dumps(facts))


def test_run_json_tells_masks_sketches_and_split(built: Path, outputs: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    for name in samples.IDS:
        (drawn / f"{name}.png").write_bytes((built / f"sketches/{name}.png").read_bytes())
    write_run(outputs, masks="dps", sketches=str(drawn), split="test")
    pairing = pair(outputs, built, ScoreConfig())
    assert (pairing.masks, pairing.sketches, pairing.split) == ("dps", drawn, "test")
    with pytest.raises(UsageError, match="made with dps, got center"):
        pair(outputs, built, ScoreConfig(masks="center"))
    write_run(outputs, masks="dps", sketches=str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="there is no such folder; pass --sketches"):
        pair(outputs, built, ScoreConfig())
    (outputs / "run.json").write_text("[1")
    with pytest.raises(UsageError, match="damaged"):
        pair(outputs, built, ScoreConfig())
    write_run(outputs, masks=3)
    with pytest.raises(UsageError, match="'masks'"):
        pair(outputs, built, ScoreConfig())


def test_outputs_of_another_build(built: Path, outputs: Path) -> None:
    write_run(outputs, masks="dps", dataset_root_hash="f" * 64)
    findings = pair(outputs, built, ScoreConfig()).findings
    assert [finding.kind for finding in findings] == ["other-dataset"]


def test_masks_without_run_json(built: Path, outputs: Path, tmp_path: Path) -> None:
    assert pair(outputs, built, ScoreConfig()).masks == "dps"  # the only family that is stored
    drawn = pair(outputs, built, ScoreConfig(masks="center"))
    assert drawn.photos[0].mask.path is None
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "a.png").write_bytes((built / "masks/dps/a.png").read_bytes())
    named = pair(outputs, built, ScoreConfig(masks=str(folder)))
    assert [photo.mask.path for photo in named.photos] == [folder / "a.png", None, None, None]
    assert [(item.kind, item.id) for item in named.findings] == [("missing", name) for name in ("b__c", "d", "e")]
    with pytest.raises(UsageError, match="expected one of"):
        ScoreConfig(masks="nonsense")


def test_a_folder_of_masks_is_paired_by_id(built: Path, outputs: Path, tmp_path: Path) -> None:
    """A mask of any image format or subfolder is found by its id, so that its size and values are checked."""
    folder = tmp_path / "masks"
    places = {"a": "a.PNG", "b__c": "b/c.png", "d": "d.bmp", "e": "e.png"}
    for name, place in places.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes((built / f"masks/dps/{name}.png").read_bytes())
    (folder / "e.tif").write_bytes(b"")
    pairing = pair(outputs, built, ScoreConfig(masks=str(folder)))
    assert [photo.mask.path for photo in pairing.photos] == [folder / place for place in places.values()]
    assert [(item.kind, Path(item.path).name) for item in pairing.findings] == [("duplicate", "e.tif")]


def test_outputs_made_with_masks_of_a_pool_need_no_ids(built: Path, outputs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "0001.png").write_bytes((built / "masks/dps/a.png").read_bytes())
    write_run(outputs, masks=f"pool:{folder}")
    pairing = pair(outputs, built, ScoreConfig())
    assert pairing.findings == ()
    assert {photo.mask.path for photo in pairing.photos} == {None}


def test_the_split_is_the_one_of_the_outputs(tmp_path: Path) -> None:
    built = samples.make_built(tmp_path / "built", ("a", "b", "c", "d"))
    text = (built / "manifest.csv").read_text().replace("d,test", "d,train")
    (built / "manifest.csv").write_text(text)
    outputs = samples.make_outputs(tmp_path / "out", ("a", "b", "c"))
    pairing = pair(outputs, built, CONFIG)
    assert (pairing.split, pairing.findings) == ("test", ())
    assert pair(outputs, built, ScoreConfig(masks="dps", split="all")).findings[0].kind == "missing"
    with pytest.raises(UsageError, match="expected all or one of test, train, got 'val'"):
        pair(outputs, built, ScoreConfig(masks="dps", split="val"))
