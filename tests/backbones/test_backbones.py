"""Backbones: what they declare is what they emit, and their numbers are torchvision's."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from sightline.backbones.build import NAMES, build_backbone
from sightline.errors import ConfigError, ModelFileError


@pytest.mark.parametrize("name", NAMES)
def test_declared_channels_and_strides_are_emitted(name: str) -> None:
    backbone = build_backbone(name, norm="live").eval()
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 64, 96))
    assert features.strides == backbone.strides
    for emitted, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        assert emitted.shape == (2, channels, 64 // stride, 96 // stride)


def _random_statistics(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "vgg11"])
@pytest.mark.parametrize("norm", ["live", "frozen"])
def test_last_map_equals_torchvisions_with_the_same_weights(tmp_path: Path, name: str, norm: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    _random_statistics(model)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    backbone = build_backbone(name, weights=str(tmp_path / "weights.safetensors"), norm=norm).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found = backbone(images).maps[-1]
        if name.startswith("resnet"):
            wanted = torch.nn.Sequential(*list(model.children())[:-2])(images)
        else:
            wanted = model.features(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("vgg11", 4096)])
def test_tail_is_what_stands_behind_the_stages(name: str, width: int) -> None:
    backbone = build_backbone(name, with_tail=True)
    assert backbone.strides[-1] == 16
    tail = backbone.take_tail().eval()
    size = 14 if name == "resnet18" else 7
    with torch.no_grad():
        out = tail(torch.rand(2, backbone.channels[-1], size, size))
    assert out.shape[:2] == (2, width)
    with pytest.raises(ValueError, match="no tail"):
        backbone.take_tail()


def test_frozen_stages_do_not_learn_and_the_others_do() -> None:
    backbone = build_backbone("resnet18")
    backbone.freeze_stages(2)
    images = torch.rand(1, 3, 64, 64)
    sum(m.sum() for m in backbone(images)).backward()
    learned = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learned
    assert {name.split(".")[1] for name in learned} == {"2", "3", "4"}


def test_frozen_norms_leave_no_live_ones_and_do_not_learn() -> None:
    backbone = build_backbone("resnet18", norm="frozen")
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in backbone.modules())
    assert all(".norm." not in name for name, _ in backbone.named_parameters())
    before = backbone.state_dict()["stages.0.0.norm.running_mean"].clone()
    backbone.train()(torch.rand(2, 3, 64, 64))
    assert torch.equal(backbone.state_dict()["stages.0.0.norm.running_mean"], before)


def test_unknown_names_and_missing_tails_are_config_errors() -> None:
    with pytest.raises(ConfigError, match=r"unknown backbone 'resnet51'.*resnet50"):
        build_backbone("resnet51")
    with pytest.raises(ConfigError, match="neck=fpn"):
        build_backbone("mobilenet_v2", with_tail=True)


def test_weights_of_another_backbone_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r18.safetensors"
    save_file(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(ModelFileError, match=r"r18\.safetensors: tensor 'layer1\.0\.conv1\.weight' has shape.*cure"):
        build_backbone("resnet50", weights=str(path))
    with pytest.raises(ModelFileError, match=r"no tensor"):
        build_backbone("mobilenet_v2", weights=str(path))


def test_weights_of_other_shapes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    save_file(torchvision.models.wide_resnet50_2().state_dict(), path)
    with pytest.raises(ModelFileError, match=r"layer1.*has shape.*needs"):
        build_backbone("resnet50", weights=str(path))


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_unreadable_weight_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"bad\.safetensors.*not a whole safetensors"):
        build_backbone("resnet18", weights=str(path))
    with pytest.raises(ModelFileError, match="No such file"):
        build_backbone("resnet18", weights=str(tmp_path / "missing.safetensors"))


def test_real_weights_give_features_that_tell_images_apart(data_root: Path) -> None:
    path = data_root / "weights" / "mobilenet_v2-imagenet.safetensors"
    backbone = build_backbone("mobilenet_v2", weights=str(path)).eval()
    with torch.no_grad():
        last = backbone(torch.randn(2, 3, 224, 224)).maps[-1]
    assert torch.isfinite(last).all()
    assert 0.1 < float(last.mean()) < 6
