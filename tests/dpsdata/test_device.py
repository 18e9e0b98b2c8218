"""Choice of device and precision."""

from __future__ import annotations

import pytest
import torch

from dpsdata.contracts import UsageError
from dpsdata.runtime.device import check_precision, choose_device


@pytest.mark.parametrize("name", ["meta", "mps", "gpu", "cuda:x", ""])
def test_other_devices_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="use --device cpu"):
        choose_device("cuda")


def test_a_cuda_device_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1").index == 1
    with pytest.raises(UsageError, match="sees 2 CUDA devices"):
        choose_device("cuda:9")


def test_precisions_fit_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpsdata.runtime.device.has_fast_bf16", lambda: False)
    assert check_precision("bf16", torch.device("cuda")) == "bf16"
    with pytest.raises(UsageError, match="avx512_bf16"):
        check_precision("bf16", torch.device("cpu"))
    with pytest.raises(UsageError, match="for the CPU"):
        check_precision("fp32-winograd", torch.device("cuda"))
