"""`--device` and `--dtype`: what this machine has."""

import pytest

from onegen.cli.device import DTYPES, find_device, find_dtype
from onegen.errors import ConfigError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_types_of_the_list_are_found_and_others_refused():
    assert [find_dtype(name) for name in DTYPES] == [torch.float32, torch.bfloat16, torch.float16]
    with pytest.raises(ConfigError, match="--dtype must be one of float32, bfloat16, float16, got 'int8'"):
        find_dtype("int8")


@pytest.mark.parametrize(("name", "refused"), [("cpu", ""), ("cuda:0", ""), ("cuda:1", ""), ("cuda:2", "2 of cuda")])
def test_a_device_must_be_one_of_those_counted(monkeypatch, name, refused):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if refused:
        with pytest.raises(ConfigError, match=f"--device {name} must be present, this machine has {refused}"):
            find_device(name)
    else:
        assert find_device(name) == torch.device(name)


@pytest.mark.parametrize(("name", "says"), [("gpu", "must be cpu, cuda, cuda:N or mps"), ("meta", "0 of meta")])
def test_what_is_no_device_to_draw_on_is_refused(name, says):
    with pytest.raises(ConfigError, match=says):
        find_device(name)
