"""Panels, raw maps, scores and manifest of a run; which images, under which names, and where maps lie in them."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.results_db import ResultsMaker

from itk_infer.classify.saliency.names import panel_stem, safe
from itk_infer.classify.saliency.panel import NO_LOCALISER, LabelBar, Panel, draw_panel
from itk_infer.classify.saliency.placement import box_of, placed
from itk_infer.classify.saliency.settings import SaliencySettings
from itk_infer.classify.saliency.targets import explained_label, select, sequences
from itk_infer.classify.tables.source import ImageRow, ResultsSource, TableLabel
from itk_infer.errors import ConfigError, ModelError
from itk_infer.spec.classify_spec import PictureChannel, PictureInput, PictureResize

# --- which images ---------------------------------------------------------------------------------------------


def test_a_parent_label_is_explained_only_alone():
    labels = [TableLabel("any", 0.5), TableLabel("small", 0.5, "any"), TableLabel("large", 0.2, "any")]
    assert explained_label(labels, (0.99, 0.6, 0.7)) == 2
    assert explained_label(labels, (0.99, 0.4, 0.3)) == 2  # above its own threshold
    assert explained_label(labels, (0.99, 0.4, 0.1)) == 0
    assert explained_label(labels, (0.3, 0.2, 0.1)) == 1  # nothing is positive: a child


@pytest.fixture
def results(tmp_path):
    maker = ResultsMaker(tmp_path)
    maker.one("a/2.png", "S1", (0.9, 0.1), series="folder:a")
    maker.one("a/10.png", "S1", (0.8, 0.95), series="folder:a")
    maker.one("a/1.png", "S1", (0.1, 0.2), series="folder:a")
    maker.one("b/1.dcm", "S2", (0.2, 0.3), series="B", sop="u1", position=5.0)
    maker.one("b/2.dcm", "S2", (0.4, 0.1), series="B", sop="u2", position=-5.0)
    many = maker.file("b/many.dcm", "S2", series="B", sop="u3", frames=2)
    maker.image(many, (0.0, 0.1), frame=0, position=1.0)
    maker.image(many, (0.0, 0.2), frame=1, position=0.0)
    maker.one("b/alone.dcm", "S2", (0.0, 0.0), sop="u4")
    maker.one("b/copy.dcm", "S2", (0.9, 0.9), series="B", sop="u1", state="copy")
    source = ResultsSource(maker.close())
    yield source
    source.close()


def test_images_that_are_wanted(results):
    paths = {row.id: f"{row.path}:{row.frame}" for row in results.images()}

    def chosen(wanted):
        return {paths[number]: label for number, label in select(results, wanted).items()}

    assert chosen("positives") == {"a/2.png:0": 0, "a/10.png:0": 1}
    assert chosen("1") == {"a/10.png:0": 1, "b/2.dcm:0": 0}
    assert len(chosen("all")) == 8
    assert chosen("100") == chosen("all")
    named = select(results, "positives", "pneumonia")
    assert {paths[number]: label for number, label in named.items()} == {"a/10.png:0": 1}


def test_images_that_are_seen_together(results):
    found = [[f"{row.path}:{row.frame}" for row in series] for series in sequences(results)]
    assert sorted(found) == [
        ["a/1.png:0", "a/2.png:0", "a/10.png:0"],
        ["b/2.dcm:0", "b/1.dcm:0"],
        ["b/alone.dcm:0"],
        ["b/many.dcm:1", "b/many.dcm:0"],
    ]


@pytest.mark.parametrize(
    ("methods", "wanted", "words"),
    [
        (("gradcam",), "most", "`saliency_for=most`: give positives, all, or a number"),
        (("gradcam",), "0", "`saliency_for=0`"),
        (("cam",), "all", "'cam' is not a method"),
    ],
)
def test_settings_that_cannot_work(methods, wanted, words):
    with pytest.raises(ConfigError, match=words):
        SaliencySettings(methods, wanted)


# --- names ----------------------------------------------------------------------------------------------------


def image(**more):
    values = {
        "path": "a",
        "folder": "",
        "frame": 0,
        "study": "1.2",
        "series": "1.3",
        "sop": "1.4",
        "position": -7.5,
    }
    rest = {"state": "counted", "patient": None, "frames": 1, "id": 1, "probabilities": (), "stds": ()}
    return ImageRow(**(values | rest | more))


def test_names_of_panels():
    assert panel_stem(image()) == "1.2/1.3/-00007.50_1.4"
    assert panel_stem(image(position=None, frame=3, frames=12)) == "1.2/1.3/1.4_0003"
    assert panel_stem(image(series=None)).startswith("1.2/series/")
    assert panel_stem(image(path="a/b.png", sop="sha256:0123456789", position=None)) == "1.2/1.3/b-01234567"
    assert panel_stem(image(study="folder:Grüße/..")) != panel_stem(image(study="folder:Gruesse/.."))


@pytest.mark.parametrize("text", ["..", "", "a/b", "c:d", "x" * 65, "con\n"])
def test_texts_that_are_no_names(text):
    name = safe(text)
    assert 0 < len(name) <= 64
    assert not {"/", ":", "\n"} & set(name)
    assert name.strip(".") == name
    assert name != text


# --- places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "box"),
    [
        pytest.param(PictureInput(), (0, 0, 100, 200), id="as it is"),
        pytest.param(PictureInput(size=(50, 50)), (0, 0, 100, 200), id="stretch"),
        pytest.param(PictureInput(size=(50, 50), resize=PictureResize("fit")), (-48, 0, 152, 200), id="fit"),
        pytest.param(PictureInput(size=(50, 50), resize=PictureResize("fill")), (0, 50, 100, 150), id="fill"),
        pytest.param(PictureInput(size=(50, 50), resize=PictureResize("crop")), (25, 75, 75, 125), id="crop"),
        pytest.param(PictureInput(size=(50, 100), center_crop=(25, 50)), (24, 50, 74, 150), id="centre"),
    ],
)
def test_boxes(wanted, box):
    """Of a picture of 100 x 200; an odd margin is shorter before."""
    assert box_of(wanted, (100, 200)) == pytest.approx(box)


@pytest.mark.parametrize("aspect", ["stretch", "fit", "fill", "crop"])
@pytest.mark.parametrize("crop", [None, (24, 20)])
def test_a_dot_comes_back_to_its_place(aspect, crop):
    """The network's own input, as a map, lies on the picture that it was made of."""
    from itk_infer.volume.picture_input.maker import PictureMaker

    y, x = np.mgrid[:120, :80]
    plane = np.exp(-((y - 50) ** 2 + (x - 45) ** 2) / 60.0).astype(np.float32)
    wanted = PictureInput(size=(40, 32), resize=PictureResize(aspect), center_crop=crop)
    picture = SimpleNamespace(rows=lambda channel, asked: plane)
    seen = PictureMaker(wanted).planes(picture)[0]
    back = placed(seen, box_of(wanted, plane.shape), plane.shape, (60, 40))
    peak = np.unravel_index(back.argmax(), back.shape)
    assert np.abs(np.array(peak) - (25, 22.5)).max() <= 1.5
    assert back.shape == (60, 40)


# --- panels ---------------------------------------------------------------------------------------------------


def panel(bars, image=None, overlays=1):
    maps = [("map " * 30, np.eye(4, dtype=np.float32))] * overlays
    title = ("folder/" * 60 + "file\n.dcm", "needle: 0.5")
    image = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4) if image is None else image
    return Panel(title, image, maps, bars, ["words " * 60])


def test_a_panel_is_wide_enough_for_what_is_in_it():
    one = LabelBar("needle", 0.7, 0.5, 0.2, True)
    assert draw_panel(panel([one])).size[0] == 3 * 352 + 12
    assert draw_panel(panel([one], overlays=2)).size[0] == 4 * 352 + 12
    many = [LabelBar("label " * 20 + str(k), k / 40, 0.5) for k in range(40)]
    assert draw_panel(panel(many)).size == draw_panel(panel([one])).size


def test_the_map_colours_the_image_where_it_is_large():
    grey = np.full((64, 64), 0.5, np.float32)
    values = np.zeros((64, 64), np.float32)
    values[:32] = 1
    drawn = np.asarray(draw_panel(Panel(("", ""), grey, [("", values)], [], [])))
    top, bottom = drawn[52 + 80, 12 + 352 + 170], drawn[52 + 300, 12 + 352 + 170]
    assert np.abs(bottom.astype(int) - 128).max() <= 1
    # 0.65 of the darkest red of jet, (128, 0, 0).
    assert np.abs(top.astype(int) - (0.35 * 128 + 0.65 * np.array([127.5, 0, 0]))).max() <= 2
    assert np.abs(drawn[52 + 80, 12 + 170].astype(int) - 128).max() <= 1


# --- a folder -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(shared, tmp_path_factory):
    """A study of five radiographs, with two networks, classified."""
    pytest.importorskip("onnxruntime")
    from itk_infer.classifier import Classifier
    from itk_infer.classify.run import classify_folder
    from itk_infer.classify.settings import ClassifySettings

    folder = tmp_path_factory.mktemp("archive")
    shutil.copytree(shared / "classify" / "cxr_studies" / "study_a", folder / "in")
    models = [shared / "classify" / "models" / f"cxr2_{kind}.onnx" for kind in ("densenet", "seresnext")]
    classifier = Classifier.load(models, provider="cpu", device="cpu")
    settings = ClassifySettings(folder / "in", folder / "out")
    assert classify_folder(lambda: classifier, settings).exit_code == 0
    return SimpleNamespace(classifier=classifier, settings=settings)


def explained(archive, output, **more):
    from itk_infer.classify.saliency.folder import write_saliency

    given = {"methods": ("gradcam", "gradcampp")} | more
    settings = SaliencySettings(**given)
    return write_saliency(
        archive.classifier, archive.settings.database_path, archive.settings.root, output, settings
    )


def scores_of(folder):
    path = folder / "saliency" / "all_slice_saliency_scores.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_panels_maps_scores_and_manifest(archive, tmp_path):
    from itk_infer.model.saliency.closed_form import ClosedForm
    from itk_infer.model.saliency.maps import normalised, resized

    summary = explained(archive, tmp_path, wanted="all")
    folder = tmp_path / "saliency"
    assert len(summary.panels) == 5
    assert not summary.failed
    rows = scores_of(tmp_path)
    assert [row["file"] for row in rows] == [f"IM000{k}.dcm" for k in range(1, 6)]
    needle = rows[2]
    assert needle["label"] == "needle"
    assert float(needle["probability"]) == pytest.approx((0.9997677 + 0.999634) / 2, abs=1e-4)
    with Image.open(folder / needle["panel"]) as drawn:
        assert drawn.size[0] == 4 * 352 + 12
    raw = np.load((folder / needle["panel"]).with_suffix(".npz"))
    assert sorted(raw)[:4] == ["gradcam.0", "gradcam.0.max", "gradcam.1", "gradcam.1.max"]
    # The raw map is that of the network, for the needle's channel.
    from itk_infer.volume.picture_input.opening import open_pictures

    picture = open_pictures(archive.settings.input / "IM0003.dcm").picture(0)
    inputs = archive.classifier.inputs([archive.classifier.planes(picture)], 0)[0][None]
    alone = ClosedForm(archive.classifier.model.networks[1].path).explain(inputs, np.array([1]), ("gradcam",))
    assert np.allclose(raw["gradcam.1"], normalised(alone.maps["gradcam"])[0], atol=1e-3)
    assert raw["gradcam.1"].dtype == np.float16
    assert float(raw["gradcam.1.max"]) == pytest.approx(alone.maps["gradcam"].max(), rel=1e-5)
    mean_of_largest = (float(raw["gradcam.0.max"]) + float(raw["gradcam.1.max"])) / 2
    assert float(needle["gradcam raw_max"]) == pytest.approx(mean_of_largest, rel=1e-4)
    # The map is the mean of both networks', each scaled after it was brought to the picture.
    shape = picture.rows(PictureChannel(), PictureInput())[:].shape
    whole = [resized(raw[f"gradcam.{k}"].astype(float), shape) for k in (0, 1)]
    mean = sum(map_ / map_.max() for map_ in whole) / 2
    assert float(needle["gradcam saliency_score"]) == pytest.approx(mean.mean(), abs=2e-3)
    peak = np.unravel_index(mean.argmax(), mean.shape)
    assert float(needle["gradcam peak_row"]) == pytest.approx((peak[0] + 0.5) / shape[0], abs=0.03)
    assert float(needle["gradcam agreement"]) == pytest.approx(
        np.corrcoef(*(m.ravel() for m in whole))[0, 1], abs=0.01
    )
    assert 0 < float(needle["gradcam peak_row"]) < 1
    assert -1 <= float(needle["gradcam agreement"]) <= 1
    manifest = json.loads((folder / "run_manifest.json").read_text())
    assert manifest["caution"] == NO_LOCALISER
    assert [one["how"] for one in manifest["networks"]] == ["closed form", "closed form"]
    assert sorted(manifest["panels"]) == sorted(row["panel"] for row in rows)


def test_names_stay_and_panels_that_are_not_wanted_go(archive, tmp_path):
    first = explained(archive, tmp_path, wanted="all")
    (tmp_path / "saliency" / "mine.png").write_text("kept")
    second = explained(archive, tmp_path, wanted="2", methods=("gradcam",))
    assert len(second.panels) == 2
    assert set(second.panels) < set(first.panels)
    left = sorted(path.relative_to(tmp_path / "saliency").as_posix() for path in tmp_path.rglob("*.png"))
    assert left == sorted([*second.panels, "mine.png"])
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_a_manifest_that_is_none_deletes_nothing(archive, tmp_path):
    (tmp_path / "saliency").mkdir()
    victim = tmp_path / "victim.png"
    victim.write_text("kept")
    for text in ('{"panels": ["../victim.png", "/etc/x.png", 3]}', "[]", "{"):
        (tmp_path / "saliency" / "run_manifest.json").write_text(text)
        explained(archive, tmp_path, wanted="1")
    assert victim.read_text() == "kept"


def test_files_that_changed_are_not_explained(archive, tmp_path):
    from itk_infer.classify.saliency.folder import write_saliency

    root = tmp_path / "in"
    shutil.copytree(archive.settings.input, root)
    shutil.copyfile(root / "IM0003.dcm", root / "IM0001.dcm")
    (root / "IM0002.dcm").unlink()
    (root / "IM0004.dcm").write_bytes(b"no DICOM")
    settings = SaliencySettings(("gradcam",), "all")
    made = write_saliency(archive.classifier, archive.settings.database_path, root, tmp_path, settings)
    assert sorted(made.failed) == ["IM0001.dcm", "IM0002.dcm", "IM0004.dcm"]
    assert made.failed["IM0001.dcm"].startswith("the model answers otherwise than the results say")
    assert len(made.panels) == 2


def test_another_model_is_refused(archive, shared, tmp_path):
    from itk_infer.classifier import Classifier

    other = Classifier.load(shared / "classify" / "models" / "cxr2_densenet.onnx", provider="cpu", device="cpu")
    changed = SimpleNamespace(classifier=other, settings=archive.settings)
    with pytest.raises(ConfigError, match="another model; classify with this one"):
        explained(changed, tmp_path)


def test_what_a_method_cannot_do_is_refused_before_a_run(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    from itk_infer.classify.saliency.explain import ModelExplainer

    ModelExplainer(archive.classifier, ("gradcam", "occlusion")).try_out()
    with pytest.raises(ModelError, match=r"cxr2_densenet\.onnx: `saliency=input_grad` needs gradients"):
        ModelExplainer(archive.classifier, ("input_grad",)).try_out()
    with pytest.raises(ModelError, match=r"cxr2_densenet\.onnx: `saliency_layer=x`: the closed form is known for"):
        ModelExplainer(archive.classifier, ("gradcam",), layer="x").try_out()


def test_occlusion_of_a_run(archive, tmp_path):
    made = explained(archive, tmp_path, wanted="1", methods=("occlusion",))
    assert made.members[0]["how"] == "occlusion of 14 x 14 cells"
    raw = np.load((tmp_path / "saliency" / made.panels[0]).with_suffix(".npz"))
    assert raw["occlusion.0"].shape == (14, 14)


def test_networks_of_a_fixed_batch():
    from itk_infer.classify.saliency.explain import _explained, _parts

    assert [part.tolist() for part in _parts(np.arange(3), 2)] == [[0, 1], [2, 2]]
    assert [part.tolist() for part in _parts(np.arange(3), None)] == [[0, 1, 2]]
    seen = []

    class Maker:
        def explain(self, inputs, targets, methods):
            seen.append(len(inputs))
            return SimpleNamespace(maps={"gradcam": inputs[:, 0] + targets[:, None, None]})

    pictures = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    maps = _explained(Maker(), pictures, np.array([5, 6, 7]), ("gradcam",), 2)
    assert seen == [2, 2]
    assert maps["gradcam"][:, 0, 0].tolist() == [5, 7, 9]


def test_a_map_of_a_model_that_mirrors_is_the_mean_with_that_of_the_mirror_image(shared, tmp_path):
    pytest.importorskip("onnxruntime")
    from itk_infer.classifier import Classifier
    from itk_infer.classify.saliency.explain import ModelExplainer

    models = shared / "classify" / "models"
    shutil.copy(models / "cxr2_densenet.onnx", tmp_path / "both.onnx")
    spec = json.loads((models / "cxr2_densenet.classify.json").read_text("utf-8"))
    spec["output"]["mirrored"] = True
    (tmp_path / "both.classify.json").write_text(json.dumps(spec), "utf-8")
    plain, both = (
        Classifier.load(path, provider="cpu", device="cpu")
        for path in (models / "cxr2_densenet.onnx", tmp_path / "both.onnx")
    )
    image = np.random.default_rng(0).random((3, 64, 64), np.float32)
    methods = ("gradcam", "gradcampp")

    def raw(classifier, picture):
        (found,) = ModelExplainer(classifier, methods).explain([[picture]], [1], [(64, 64)])
        return {name: found[name].raw[0] for name in methods}

    of_image, of_mirror = raw(plain, image), raw(plain, np.ascontiguousarray(image[..., ::-1]))
    for name, found in raw(both, image).items():
        expected = (of_image[name] + np.fliplr(of_mirror[name])) / 2
        np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())
        assert np.abs(found - of_image[name]).max() > 0.05 * expected.max()
    (about,) = ModelExplainer(both, methods).about([image])
    assert about["how"] == "closed form, mean with the mirror image"


def test_neighbours_are_those_of_the_run(shared, tmp_path):
    """A model that sees slices beside the one: its answers are those of the record, also out of order."""
    pytest.importorskip("onnxruntime")
    from itk_infer.classifier import Classifier
    from itk_infer.classify.run import classify_folder
    from itk_infer.classify.settings import ClassifySettings

    folder = tmp_path / "in"
    (source,) = [path for path in (shared / "classify" / "hippo_series").iterdir() if path.name == "study0"]
    shutil.copytree(source, folder)
    model = shared / "classify" / "models" / "hippo6_densenet_fold0.onnx"
    classifier = Classifier.load(model, provider="cpu", device="cpu")
    settings = ClassifySettings(folder, tmp_path / "out")
    assert classify_folder(lambda: classifier, settings).exit_code == 0
    made = explained(SimpleNamespace(classifier=classifier, settings=settings), tmp_path, wanted="20")
    assert len(made.panels) == 20
    assert not made.failed
