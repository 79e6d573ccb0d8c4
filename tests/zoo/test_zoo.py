import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import sightline
from sightline import zoo
from sightline.contract import NeuralSystem
from sightline.errors import ConfigError, ModelFileError
from sightline.model_file import Calibration, write_model
from sightline.structures import Classes

TINY = {"backbone": "mobilenet_v3_small", "channels": 16, "head_width": 16, "short_side": 48, "long_side": 64}
CLASSES = Classes(("cat", "dog"), (3, 17))


@pytest.fixture
def system():
    torch.manual_seed(0)
    return zoo.create("faster_rcnn", classes=CLASSES, settings=TINY)


@pytest.fixture
def model_file(system, tmp_path):
    write_model(tmp_path / "best.safetensors", system, stage="joint", metrics={"AP": 0.5}, provenance="a test")
    return tmp_path / "best.safetensors"


@pytest.mark.parametrize("name", zoo.CATALOGUE)
def test_every_entry_can_be_configured(name):
    entry = zoo.entry(name)
    config = entry.default_config()
    assert zoo.configure(name) == config
    assert issubclass(entry.system_class(), NeuralSystem)
    assert entry.task == entry.system_class().task
    assert entry.paper and entry.summary


@pytest.mark.parametrize("name", zoo.CATALOGUE)
def test_every_entry_can_be_built(name):
    with torch.device("meta"):
        system = zoo.entry(name).system_class()(zoo.configure(name), CLASSES)
    assert system.classes == CLASSES


def test_presets_differ_where_they_say():
    assert zoo.configure("faster_rcnn").neck == "fpn"
    assert zoo.configure("faster_rcnn_vgg16").backbone == "vgg16"
    assert zoo.configure("faster_rcnn_c4", {"short_side": 400}) == replace(
        zoo.configure("faster_rcnn_c4"), short_side=400
    )


def test_names_serve_as_classes(system):
    named = zoo.create("faster_rcnn", classes=["cat", "dog"], settings=TINY)
    assert named.classes == Classes(("cat", "dog"), (1, 2))
    assert [len(found) >= 0 for found in named.predict(torch.rand(2, 3, 40, 50))] == [True, True]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="did you mean faster_rcnn"):
        zoo.create("fasterrcnn", classes=CLASSES)
    with pytest.raises(ConfigError, match="at least one class"):
        zoo.create("faster_rcnn", classes=[])
    with pytest.raises(ConfigError, match="one string"):
        zoo.create("faster_rcnn", classes="person")
    with pytest.raises(ConfigError, match="what the system is to find"):
        zoo.create("faster_rcnn", settings=TINY)
    with pytest.raises(ConfigError, match="both given"):
        zoo.create("faster_rcnn", classes=CLASSES, weights="a", backbone_weights="b")


def test_a_loaded_system_answers_as_the_one_that_was_saved(system, model_file):
    image = torch.rand(3, 60, 70)
    loaded = zoo.load(model_file)
    assert (loaded.classes, loaded.config, loaded.preparation) == (system.classes, system.config, system.preparation)
    (before,), (after,) = system.predict(image), loaded.predict(image)
    assert torch.equal(before.boxes, after.boxes)
    assert torch.equal(before.scores, after.scores)
    assert torch.equal(zoo.load(model_file.parent).predict(image)[0].boxes, before.boxes)


def test_a_loaded_system_keeps_its_preparation(system, tmp_path):
    system.preparation = replace(system.preparation, short_side=96, mean=(0.1, 0.2, 0.3))
    write_model(tmp_path / "m.safetensors", system, stage="joint", metrics={}, provenance="a test")
    assert zoo.load(tmp_path / "m.safetensors").preparation == system.preparation


def test_a_temperature_is_loaded_and_a_fine_tune_starts_without(system, tmp_path):
    image = torch.rand(3, 60, 70)
    plain = system.predict(image)[0]
    system.temperature = 2.0
    file = tmp_path / "m.safetensors"
    calibration = Calibration(2.0, 0.2, 0.1, "bccd", "val", 400)
    write_model(file, system, stage="joint", metrics={}, provenance="a test", calibration=calibration)
    loaded = zoo.load(file)
    assert loaded.temperature == loaded.for_prediction().temperature == 2.0
    assert torch.equal(loaded.predict(image)[0].scores, plain.at_temperature(2.0).scores)
    for classes in (None, CLASSES, ["cow", "hen"]):
        assert zoo.create("faster_rcnn", classes=classes, weights=file).temperature == 1.0


def test_weights_of_a_model_file_are_taken_over(system, model_file):
    torch.manual_seed(1)
    other = zoo.create("faster_rcnn", classes=CLASSES, settings=TINY, weights=model_file)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, system.state_dict()[name])


def test_weights_for_other_classes_give_all_but_the_class_layers(system, model_file):
    for classes in (["a", "b", "c"], ["cow", "hen"]):
        other = zoo.create("faster_rcnn", classes=classes, weights=model_file, seed=1)
        same = {name for name, t in other.state_dict().items() if torch.equal(t, system.state_dict()[name])}
        anew = {"class_logits.weight", "class_logits.bias", "box_deltas.weight", "box_deltas.bias"}
        assert set(system.state_dict()) - same == anew
        assert "a test" in other.origin and "class layers new, not those of its 2 classes" in other.origin


def test_other_classes_need_a_system_that_knows_its_class_layers(system, model_file, monkeypatch):
    monkeypatch.setattr(type(system), "class_layers", ())
    with pytest.raises(ModelFileError, match="other classes"):
        zoo.create("faster_rcnn", classes=["cow", "hen"], weights=model_file)


def test_weights_of_a_model_file_bring_its_configuration(tmp_path):
    system = zoo.create("faster_rcnn", classes=CLASSES, settings={**TINY, "norm": "frozen"})
    system.preparation = replace(system.preparation, mean=(0.1, 0.2, 0.3))
    write_model(tmp_path / "best.safetensors", system, stage="joint", metrics={}, provenance="")
    for weights in (tmp_path, tmp_path / "best.safetensors"):
        other = zoo.create("faster_rcnn", weights=weights)
        assert (other.config, other.classes, other.preparation) == (system.config, CLASSES, system.preparation)
        assert other.origin == f"the model file {tmp_path / 'best.safetensors'} (licence unknown)"
    other = zoo.create("faster_rcnn", weights=tmp_path, settings={"short_side": 32, "nms_threshold": 0.3})
    assert other.config == replace(system.config, short_side=32, nms_threshold=0.3)
    assert other.preparation == replace(system.preparation, short_side=32)


def test_weights_of_another_system_are_refused(system, model_file):
    content = model_file.read_bytes()
    name = b'system\\": \\"faster_rcnn'
    assert content.count(name) == 1
    model_file.write_bytes(content.replace(name, b'system\\": \\"slower_rcnn'))
    with pytest.raises(ModelFileError, match="holds a slower_rcnn, not a faster_rcnn"):
        zoo.create("faster_rcnn", classes=CLASSES, weights=model_file)


def test_a_damaged_preparation_is_a_damaged_model_file(model_file):
    content = model_file.read_bytes()
    assert content.count(b"divisor") == 1
    content = content.replace(b"divisor", b"divisos")
    model_file.write_bytes(content)
    with pytest.raises(ModelFileError, match="checksum"):
        zoo.load(model_file)
    # As a file of the first format, which had no checksum.
    model_file.write_bytes(content.replace(b'format\\": 2', b'format\\": 1').replace(b"sha256", b"sha000"))
    with pytest.raises(ModelFileError, match="preparation of images"):
        zoo.load(model_file)


def test_the_seed_decides_random_weights():
    def weights(seed):
        return torch.cat(
            [p.flatten() for p in zoo.create("faster_rcnn", classes=CLASSES, settings=TINY, seed=seed).parameters()]
        )

    state = torch.get_rng_state()
    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))
    assert torch.equal(torch.get_rng_state(), state)


def test_official_weights_need_no_classes_and_their_licence_is_told(monkeypatch):
    from sightline.detectors import faster_rcnn_weights

    def official(config, classes, weights):
        assert (classes, weights) == (None, "coco")
        system = zoo.entry("faster_rcnn").system_class()(config, CLASSES)
        system.origin = "official"
        return system

    monkeypatch.setattr(faster_rcnn_weights, "faster_rcnn_from", official)
    system = zoo.create("faster_rcnn", weights="coco", settings=TINY)
    assert system.origin == "official (torchvision's catalogue, BSD-3-Clause)"


def test_a_model_file_of_an_unknown_system_or_setting(system, tmp_path):
    path = tmp_path / "m.safetensors"

    class Stranger(type(system)):
        name = "perceptron"

    system.__class__ = Stranger
    write_model(path, system, stage="joint", metrics={}, provenance="a test")
    with pytest.raises(ModelFileError, match="does not know: 'perceptron'"):
        zoo.load(path)


def test_a_model_file_with_an_unknown_setting(model_file):
    content = model_file.read_bytes()
    assert content.count(b"head_width") == 1
    model_file.write_bytes(content.replace(b"head_width", b"head_vidth"))
    with pytest.raises(ModelFileError, match=r"no setting head_vidth.*cure: load it with Sightline 0"):
        zoo.load(model_file)


def test_foreign_weights_go_to_a_system_that_reads_them(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ModelFileError, match="no tensor"):
        zoo.create("faster_rcnn", classes=CLASSES, settings=TINY, weights=tmp_path / "foreign.safetensors")
    with pytest.raises(ModelFileError, match="reads no other"):
        zoo.create("faster_rcnn_c4", classes=CLASSES, weights=tmp_path / "foreign.safetensors")


def test_a_model_path_is_a_file_or_a_run_folder(tmp_path):
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ModelFileError, match="cure"):
            zoo.model_path(place)


def test_the_catalogue_is_listed_without_torch():
    code = "import sys; from sightline.zoo import CATALOGUE; print(len(CATALOGUE), 'torch' in sys.modules)"
    source = str(Path(sightline.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ["PYTHONPATH"]])}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout.split()[1] == "False"
