"""The weight file of the FID network: what is taken in, what is refused, and under which hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dpsdata import weights
from dpsdata.contracts import MissingError
from dpsdata.weights.known.inception import (
    INCEPTION,
    check_inception_state,
    hash_state,
    import_inception,
    named_convs,
    state_shapes,
)

State = dict[str, torch.Tensor]


def test_layout_is_the_published_one() -> None:
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    cls = inception.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(cls, "load_state_dict", lambda *_: None)
        published = cls("inception-v3-compat", ["2048"])
    shapes = {key: tuple(value.shape) for key, value in published.state_dict().items()}
    assert {key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")} == state_shapes()
    assert len(list(named_convs())) == 94


def test_registered() -> None:
    file = weights.find_weights(INCEPTION)
    assert file.room == "dpseval"
    assert file.sha256 is not None
    assert file.sha256.startswith("6726825d")  # the file name ends in it
    assert file.filename.endswith(f"-{file.sha256[:8]}.pth")


def test_import_installs_and_the_hash_is_the_same_from_every_source(
    inception_state: State, inception_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpsdata.weights.reading import read_state

    monkeypatch.setenv("DPS_HOME", str(tmp_path))
    report = weights.import_weights(inception_file)
    assert [(done.name, done.verified) for done in report.installed] == [(INCEPTION, False)]
    stored = check_inception_state(read_state(weights.weights_path(INCEPTION))[0], "stored")
    assert hash_state(stored) == hash_state(check_inception_state(inception_state, "state"))
    changed = {**stored, "fc.bias": stored["fc.bias"] + 1}
    assert hash_state(changed) != hash_state(stored)


def test_counters_of_batch_normalisation_are_left_out(inception_state: State) -> None:
    counted = {**inception_state, "Conv2d_1a_3x3.bn.num_batches_tracked": torch.tensor(5)}
    assert set(check_inception_state(counted, "state")) == set(state_shapes())


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"weight": torch.zeros(3)},
        lambda state: {**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)},
        lambda state: {**state, "AuxLogits.fc.weight": torch.zeros(1008, 768)},
    ],
)
def test_another_network_is_left_to_other_importers(
    change: Callable[[State], State], inception_state: State, tmp_path: Path
) -> None:
    path = tmp_path / "other.pth"
    torch.save(change(inception_state), path)
    assert import_inception(path) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("Mixed_6b.branch1x1.bn.bias", None, r"Mixed_6b.branch1x1.bn.bias should be .* \(192,\), found nothing"),
        ("Mixed_6b.branch1x1.bn.bias", torch.zeros(7), r"found \(7,\)"),
        ("Mixed_6b.branch1x1.bn.bias", torch.zeros(192, dtype=torch.int64), "should be a float tensor"),
        ("Mixed_6b.branch1x1.bn.bias", torch.full((192,), float("nan")), "values that are not finite"),
    ],
)
def test_a_damaged_file_is_named(key: str, value: torch.Tensor | None, message: str, inception_state: State) -> None:
    state = {name: tensor for name, tensor in inception_state.items() if name != key}
    if value is not None:
        state[key] = value
    with pytest.raises(MissingError, match=message):
        check_inception_state(state, "some.pth")
