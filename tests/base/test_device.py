"""Which device and number format are chosen, and what is said about it."""

import json

import pytest
import torch

from chiasm.base import device
from chiasm.base.errors import UserError


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture
def two_cudas(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number=0: "Made Up 100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)


def test_auto_is_the_processor_without_cuda(no_cuda):
    assert device.pick_device() == torch.device("cpu")
    assert device.pick_device("cpu") == torch.device("cpu")


def test_auto_is_the_first_cuda_device(two_cudas):
    assert device.pick_device() == torch.device("cuda", 0)
    assert device.pick_device("cuda:1") == torch.device("cuda", 1)
    assert device.pick_dtype("auto", device.pick_device()) == torch.bfloat16


def test_a_device_that_is_not_here_is_told(no_cuda):
    with pytest.raises(UserError, match=r'No CUDA device "cuda": PyTorch sees none\. Use'):
        device.pick_device("cuda")


def test_a_device_number_too_high_is_told(two_cudas):
    with pytest.raises(UserError, match="sees 2 of them"):
        device.pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "", "CPU:0", "cuda:1:2"])
def test_what_is_no_device_is_told(name, two_cudas):
    with pytest.raises(UserError, match="is no device"):
        device.pick_device(name)


@pytest.mark.parametrize(
    ("cores", "torch_can", "native"),
    [
        ("flags : fpu avx512f avx512_bf16", True, True),
        ("flags\t\t: fpu amx_tile amx_bf16", True, True),
        ("Features : fp asimd bf16", True, True),
        ("flags : fpu avx512f avx512bw avx512vl", True, False),  # where PyTorch alone says yes
        ("model name : bf16 machine\nflags : avx2", True, False),
        ("flags : avx512_bf16", False, False),
    ],
)
def test_bf16_needs_the_processor_and_pytorch(monkeypatch, tmp_path, cores, torch_can, native):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{cores}\n\n")
    monkeypatch.setattr(device, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: torch_can)
    assert device.processor_has_bf16() is native
    assert device.pick_dtype("auto", "cpu") == (torch.bfloat16 if native else torch.float32)


def test_without_proc_pytorch_is_asked_for_the_flags(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"arm_bf16": True, "x": 1})
    assert device.processor_has_bf16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False})
    assert not device.processor_has_bf16()


def test_formats_by_name():
    assert device.pick_dtype("bf16") == device.pick_dtype("bfloat16") == torch.bfloat16
    assert device.pick_dtype("float32", torch.device("cpu")) == torch.float32
    with pytest.raises(UserError, match=r'"bfloat61" is no number format.*mean "bfloat16"'):
        device.pick_dtype("bfloat61")


def test_the_reason_says_what_and_why(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(device, "processor_has_bf16", lambda: False)
    assert "no bfloat16 in hardware" in device.reason(cpu, torch.float32)
    assert "emulates" in device.reason(cpu, torch.bfloat16)
    monkeypatch.setattr(device, "processor_has_bf16", lambda: True)
    assert "has in hardware" in device.reason(cpu, torch.bfloat16)
    assert device.reason(cpu, torch.float32).endswith("in float32.")


def test_the_reason_names_a_cuda_device(two_cudas):
    sentence = device.reason(torch.device("cuda", 1), torch.bfloat16)
    assert "Made Up 100 (cuda:1) in bfloat16" in sentence


def test_describe_is_plain_data():
    told = device.describe()
    assert json.loads(json.dumps(told)) == told
    assert told["torch"] == torch.__version__
    assert told["choice"].startswith("Computing on ")
