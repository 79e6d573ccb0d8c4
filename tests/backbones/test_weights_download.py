"""The download of official weights, against a server on loopback."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision

from sightline.backbones.weights import download_state_dict
from sightline.detectors.faster_rcnn import FasterRCNNConfig
from sightline.detectors.faster_rcnn_weights import faster_rcnn_from
from sightline.detectors.keypoint_rcnn import KeypointRCNN, KeypointRCNNConfig
from sightline.detectors.keypoint_rcnn_weights import keypoint_rcnn_from
from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
from sightline.detectors.mask_rcnn_weights import mask_rcnn_from
from sightline.errors import ConfigError, ModelFileError
from sightline.regions import torchvision_weights
from sightline.regions.torchvision_weights import official_weights
from sightline.structures import Classes


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    return tmp_path / "torch_home"


def _serve(folder: Path, state: dict[str, torch.Tensor], digest: str | None = None) -> str:
    path = folder / "state.pth"
    torch.save(state, path)
    digest = digest or hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(folder / f"net-{digest}.pth")
    return f"net-{digest}.pth"


def test_a_state_dict_comes_whole_and_from_the_cache_the_second_time(server: tuple[Path, str]) -> None:
    folder, address = server
    name = _serve(folder, {"weight": torch.arange(5.0)})
    assert torch.equal(download_state_dict(f"{address}/{name}")["weight"], torch.arange(5.0))
    (folder / name).unlink()
    assert torch.equal(download_state_dict(f"{address}/{name}")["weight"], torch.arange(5.0))


def test_a_changed_file_is_refused(server: tuple[Path, str]) -> None:
    folder, address = server
    name = _serve(folder, {"weight": torch.arange(5.0)}, digest="deadbeef")
    with pytest.raises(ModelFileError, match=r"damaged.*cure"):
        download_state_dict(f"{address}/{name}")


def test_no_network_says_where_to_put_the_file(own_cache: Path) -> None:
    with pytest.raises(ModelFileError, match=rf"cannot download.*{own_cache}.*net-12345678\.pth"):
        download_state_dict("http://127.0.0.1:9/net-12345678.pth")


def test_the_official_detector_loads_and_its_norms_have_no_epsilon(
    server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = server
    torch.manual_seed(0)
    theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    state = theirs.state_dict()
    state["backbone.body.bn1.running_var"][:3] = torch.tensor([1e-12, 1e-7, 1e-4])
    name = _serve(folder, {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
    official = partial(official_weights, f"{address}/{name}")
    monkeypatch.setattr(torchvision_weights, "official_weights", lambda _: official())
    model = faster_rcnn_from(FasterRCNNConfig(), None, "coco")
    assert len(model.classes) == 90
    assert model.classes.ids[model.classes.label_of("person")] == 1
    assert model.classes.ids[model.classes.label_of("toothbrush")] == 90
    norm = model.backbone.stages[0][0].norm
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    wanted = state["backbone.body.bn1.weight"] * state["backbone.body.bn1.running_var"].rsqrt()
    torch.testing.assert_close(scale, wanted, rtol=1e-5, atol=0)
    assert torch.equal(model.class_logits.bias, state["roi_heads.box_predictor.cls_score.bias"])
    tuned = faster_rcnn_from(FasterRCNNConfig(), Classes(("gnu", "dog")), "coco")
    assert tuned.class_logits.out_features == 3
    assert "1 of 2 classes start anew" in tuned.origin
    assert torch.equal(tuned.head.fc6.weight, model.head.fc6.weight)
    dog = 1 + model.classes.label_of("dog")
    assert torch.equal(tuned.class_logits.weight[[0, 2]], model.class_logits.weight[[0, dog]])
    assert torch.equal(tuned.box_deltas.weight[8:12], model.box_deltas.weight[4 * dog : 4 * dog + 4])
    assert not torch.equal(tuned.class_logits.weight[1], model.class_logits.weight[1])
    with pytest.raises(ConfigError, match="do not fit backbone=resnet18"):
        faster_rcnn_from(FasterRCNNConfig(backbone="resnet18"), None, "coco")


def test_the_official_mask_and_keypoint_detectors_load(
    server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = server
    detection = torchvision.models.detection
    torch.manual_seed(0)
    for build, ours_from, config, classes in (
        (detection.maskrcnn_resnet50_fpn, mask_rcnn_from, MaskRCNNConfig(), 90),
        (detection.keypointrcnn_resnet50_fpn, keypoint_rcnn_from, KeypointRCNNConfig(), 1),
    ):
        state = build(weights=None, weights_backbone=None).state_dict()
        name = _serve(folder, {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
        official = partial(official_weights, f"{address}/{name}")
        monkeypatch.setattr(torchvision_weights, "official_weights", lambda _, official=official: official())
        model = ours_from(config, None, "coco")
        assert len(model.classes) == classes
        assert model.classes.label_of("person") == 0
        assert torch.equal(model.class_logits.bias, state["roi_heads.box_predictor.cls_score.bias"])
        _assert_branch(model, state)
        tuned = ours_from(config, Classes(("gnu", "person")), "coco")
        assert "1 of 2 classes start anew" in tuned.origin
        if classes == 90:
            assert torch.equal(tuned.mask_branch.logits.weight[1], model.mask_branch.logits.weight[0])
            assert not torch.equal(tuned.mask_branch.logits.weight[0], model.mask_branch.logits.weight[0])
        else:
            others = ours_from(KeypointRCNNConfig(keypoints=("tip", "base")), None, "coco")
            assert "the maps of 2 keypoints start anew" in others.origin
            assert torch.equal(others.head.fc6.weight, model.head.fc6.weight)


def _assert_branch(model: MaskRCNN | KeypointRCNN, state: dict[str, torch.Tensor]) -> None:
    """The branch has the weights of torchvision's, without those of a background's mask."""
    if isinstance(model, MaskRCNN):
        theirs = state["roi_heads.mask_predictor.mask_fcn_logits.weight"]
        assert torch.equal(model.mask_branch.logits.weight, theirs[1:])
        last = state["roi_heads.mask_head.3.0.weight"]
        assert torch.equal(model.mask_branch.convolutions[3].weight, last)
    else:
        assert torch.equal(model.keypoint_branch.convolutions[7].weight, state["roi_heads.keypoint_head.14.weight"])
        theirs = state["roi_heads.keypoint_predictor.kps_score_lowres.weight"]
        assert torch.equal(model.keypoint_branch.maps.weight, theirs)
