"""What a node says of itself, and how it fails."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from support.dicom_files import save, save_series, slice_of, uid, voxels
from support.nodes import node, run_once, settings
from support.ports import free_port

from itk_infer.cli.main import main
from itk_infer.errors import ConfigError, InputError, ModelError
from itk_infer.executors.in_process import InProcess
from itk_infer.service.pacs.access import Access
from itk_infer.service.pacs.node import Node
from itk_infer.service.pacs.node_settings import NodeSettings
from itk_infer.service.pacs.objects import object_of
from itk_infer.service.pacs.spool import Spool
from itk_infer.service.pacs.status import metrics_text, node_status
from itk_infer.service.pacs.status_page import StatusPage
from itk_infer.service.pacs.studies import Studies
from itk_infer.testing.faulty import wait_until

LISTEN = "NODE@127.0.0.1:0"


def received(home, *studies):
    """A home in whose spool these studies lie."""
    home.mkdir(exist_ok=True)
    studies_db = Studies(home)
    spool = Spool(home / "received", studies_db)
    for files in studies:
        for path in files:
            item = object_of(path)
            spool.store(item.study, item.uid, item.sop_class, path.read_bytes())
    studies_db.close()
    return home


def good(folder, name="good"):
    return save_series(folder / name, voxels((3, 5, 6)), study=name)


def test_a_node_that_is_starting_has_nothing_yet(tmp_path):
    for name in ("node.db", "jobs.db", "outbox.db"):
        (tmp_path / name).touch()
    found = node_status(tmp_path, watch=False)
    assert (found["studies_growing"], found["skipped"], found["results"]) == (0, 0, {})


def test_states_in_words_json_and_metrics(tmp_path, capsys):
    tilted = save_series(
        tmp_path / "bad", voxels((3, 5, 6)), study="bad", position=[(0, 0, 0), (0, 0, 2), (0, 0, 9)]
    )
    screenshot = [
        save(slice_of(0, voxels()[0], study="shot", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), tmp_path / "s.dcm")
    ]
    grey = [save(slice_of(0, voxels()[0], study="rgb", PhotometricInterpretation="RGB"), tmp_path / "rgb.dcm")]
    home = received(tmp_path / "home", good(tmp_path), tilted, screenshot, grey)
    running = run_once(home, listen=LISTEN, send=(f"orthanc=http://127.0.0.1:{free_port()}",))
    assert running.code == 3
    assert sum("FAILED" in words for words in running.said) == 1
    assert main(("status", str(home))) == 0
    words = capsys.readouterr().out
    for part in (
        "2 done, 1 failed",
        "1 hold no series that is meant",
        "spacing",
        "1 waiting, 0 sent",
        "cannot be reached",
        "no node is",
    ):
        assert part in words, words
    assert main(("status", str(home), "--json")) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["jobs"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1, "cancelled": 0}
    summaries = [
        json.loads(path.read_text("utf-8"))["cases"][0] for path in (home / "jobs").glob("*/summary.json")
    ]
    assert sorted(case["state"] for case in summaries) == ["done", "failed", "skipped"]
    assert all(case["reason"] for case in summaries if case["state"] != "done")
    text = metrics_text(status)
    assert 'itk_infer_node_studies{state="failed"} 1' in text
    assert 'itk_infer_node_results{destination="0",state="waiting"} 1' in text
    for secret in ("P1", "made up", uid("good"), uid("bad")):
        assert secret not in words + json.dumps(status) + "".join(running.said)


def test_dead_letters_are_named_and_tried_again_at_the_next_start(tmp_path):
    home, down = received(tmp_path / "home", good(tmp_path)), (f"orthanc=http://127.0.0.1:{free_port()}",)
    running = run_once(home, listen=LISTEN, send=down, patience=-1.0)
    assert ".seg.dcm: DEAD, orthanc=" in running.said[-1]
    assert node_status(home)["results"][down[0]]["dead"] == 1
    assert running.code == 3
    again = run_once(home, listen=LISTEN, send=down)
    assert "cannot be reached" in again.said[-1]
    assert node_status(home)["results"][down[0]]["waiting"] == 1


def test_a_study_without_what_the_rule_asks_for_is_skipped(tmp_path):
    from itk_infer.spec.series_rule import parse_rules

    home = received(tmp_path / "home", good(tmp_path), good(tmp_path, "second"))
    rules = parse_rules({"series": {"Modality": "MR"}}, "rule")
    running = run_once(home, listen=LISTEN, series=rules)
    assert running.code == 0
    assert [words.split(": ")[1] for words in running.said[2:]] == [
        "skipped, no series of its study fits the rule"
    ] * 2
    assert node_status(home)["skipped"] == 2


def test_a_study_that_was_skipped_and_grew_is_what_it_became(tmp_path):
    """It had no results that would be superseded."""
    from itk_infer.spec.series_rule import parse_rules

    rules = parse_rules({"series": {"SeriesDescription": "meant"}}, "rule")
    home = received(tmp_path / "home", good(tmp_path, "grows"))
    run_once(home, listen=LISTEN, series=rules)
    assert (node_status(home)["jobs"]["done"], node_status(home)["skipped"]) == (1, 1)
    meant = save_series(
        tmp_path / "b", voxels((3, 5, 6)), study="grows", series="meant", SeriesDescription="meant"
    )
    again = run_once(received(home, meant), listen=LISTEN, series=rules)
    assert again.said[0].endswith("complete with 6 images")
    status = node_status(home)
    assert (status["jobs"]["done"], status["skipped"], status["superseded"]) == (1, 0, {})


def test_a_start_that_finds_no_complete_study_says_so(tmp_path):
    """Otherwise `once` would end without a word."""
    home = received(tmp_path / "home", good(tmp_path), good(tmp_path, "second"))
    running = run_once(home, listen=LISTEN, quiet=600.0)
    assert running.said == ["studies that are not complete yet, and are left to the next start: 2"]
    assert running.code == 0


def test_the_page(tmp_path):
    with (
        node(received(tmp_path / "home", good(tmp_path)), listen=LISTEN, send=()) as running,
        StatusPage(tmp_path / "home", "127.0.0.1", 0) as page,
    ):
        wait_until(lambda: running.queue.counts()["done"] == 1)
        get = lambda path: urllib.request.urlopen(page.address + path, timeout=20).read().decode()  # noqa: E731
        assert json.loads(get("status"))["jobs"]["done"] == 1
        assert "itk_infer_node_source_up 1" in get("metrics")
        assert "1 done" in get("")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("jobs.db")
        with pytest.raises(ConfigError, match="cannot be listened on"):
            StatusPage(tmp_path, "127.0.0.1", int(page.address.rstrip("/").rpartition(":")[2]))


def test_a_page_of_nothing(tmp_path):
    with StatusPage(tmp_path, "127.0.0.1", 0) as page, pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(page.address, timeout=20)


def test_a_home_belongs_to_one_node_and_to_nothing_else(tmp_path):
    with (
        node(tmp_path / "home", listen=LISTEN),
        pytest.raises(ConfigError, match="another run is writing there"),
        node(tmp_path / "home", listen=LISTEN),
    ):
        pass
    (tmp_path / "home" / "itk_infer.db").touch()
    with pytest.raises(ConfigError, match="folder of its own"), node(tmp_path / "home", listen=LISTEN):
        pass
    with pytest.raises(ConfigError, match=r"no node\.db"):
        node_status(tmp_path)


@pytest.mark.parametrize("name", ["node.db", "outbox.db", "jobs.db"])
def test_databases_of_a_later_version(tmp_path, name):
    import sqlite3

    with node(tmp_path / "home", listen=LISTEN):
        pass
    db = sqlite3.connect(tmp_path / "home" / name)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="later version"), node(tmp_path / "home", listen=LISTEN):
        pass


@pytest.mark.parametrize("name", ["node.db", "outbox.db"])
def test_a_database_that_is_none(tmp_path, name):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / name).write_text("something else, and longer than the header of a database" * 30)
    with pytest.raises(ConfigError, match="move it away"), node(tmp_path / "home", listen=LISTEN):
        pass
    if name == "node.db":
        with pytest.raises(ConfigError, match="cannot be read"):
            node_status(tmp_path / "home")


class _Broken(InProcess):
    """Fails in the way that it is told to."""

    def __init__(self, error):
        self.error = error

    def open(self, check):
        raise self.error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_model_that_cannot_be_loaded_ends_the_node(tmp_path):
    made = settings(tmp_path / "home", listen=LISTEN)
    broken = NodeSettings(
        home=made.home, executors=(lambda: _Broken(ModelError("no such model")),), listen=made.listen, min_free=0
    )
    with Node(broken, lambda words: None) as running:
        running.start()
        wait_until(running.stopping.is_set)
    assert isinstance(running.problem, ModelError)


def test_an_error_in_one_study_fails_it_alone_and_it_can_be_tried_again(tmp_path):
    home = received(tmp_path / "home", good(tmp_path))
    made = settings(home, listen=LISTEN)

    def with_executor(error):
        return NodeSettings(
            home=home, executors=(lambda: _Broken(error),), listen=made.listen, min_free=0, quiet=0.0
        )

    said = []
    with Node(with_executor(InputError("it is odd")), said.append) as running:
        running.run_once()
        assert running.exit_code == 3
    assert said[-1].endswith("FAILED, it is odd")
    assert run_once(home, listen=LISTEN).said == []
    assert run_once(home, listen=LISTEN, retry_failed=True).said[-1].endswith(" s")


def test_nothing_is_computed_while_the_disk_is_nearly_full(tmp_path):
    home = received(tmp_path / "home", good(tmp_path))
    with node(home, listen=LISTEN, min_free=1 << 60) as running:
        wait_until(lambda: any("nearly full" in words for words in running.said))
        wait_until(lambda: running.queue.counts()["waiting"] == 1)
    assert run_once(home, listen=LISTEN).queue is not None


def test_a_study_that_is_again_as_it_was_is_computed(tmp_path):
    """Its first job was cancelled, because an image came that was withdrawn later."""
    files = good(tmp_path)
    home = received(tmp_path / "home", files)
    with Node(settings(home, listen=LISTEN), lambda words: None) as running:
        running.look()
        job = running.queue.latest("waiting")[0]
        assert running.queue.cancel(job.id)
        running.studies.grew([job.request.name])
        running.look()
        again = running.queue.latest("waiting")[0]
        assert again.request.digest == job.request.digest


def test_a_study_that_failed_and_was_completed_has_not_failed(tmp_path):
    """A slice is missing, and comes late. Another study stays as it is."""
    late, gap = (save_series(tmp_path / name, voxels((5, 5, 6)), study=name) for name in ("late", "gap"))
    home = received(tmp_path / "home", late[:1] + late[2:], gap[:1] + gap[2:])
    assert run_once(home, listen=LISTEN, quiet=0.0).code == 3
    assert node_status(home)["jobs"]["failed"] == 2
    received(home, late[1:2])
    assert run_once(home, listen=LISTEN, quiet=0.0).said[-1].split(": ")[1].startswith("done in")
    status = node_status(home)
    assert (status["jobs"]["done"], status["jobs"]["failed"]) == (1, 1)
    assert len(status["failed"]) == 1
    assert "missing" in next(iter(status["failed"].values()))
    assert 'studies{state="failed"} 1' in metrics_text(status)


def test_a_study_that_grows_while_it_waits(tmp_path):
    """The job that waits is dropped for the one of the whole study; one that was taken finds out itself."""
    files = good(tmp_path)
    home = received(tmp_path / "home", files[:2])
    said = []
    with Node(settings(home, listen=LISTEN), said.append) as running:
        running.look()
    received(home, files[2:])
    assert run_once(home, listen=LISTEN).said[0].endswith("complete with 3 images")
    home = received(tmp_path / "other", files[:2])
    with Node(settings(home, listen=LISTEN), said.append) as running:
        running.look()
        running.studies.grew = lambda studies: None  # it is noticed late
        item = object_of(files[2])
        running._source.store(item.study, item.uid, item.sop_class, files[2].read_bytes())
        job = running.queue.latest("waiting")[0]
        del running.studies.grew
        from itk_infer.service.pacs.kept_open import KeptOpen

        assert running._run(running.queue.take(), KeptOpen(lambda: None, lambda: None))
        assert running.queue.get(job.id).state == "cancelled"
        running.look()
    assert said[-1].endswith("complete with 3 images")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "where do studies come from"),
        (("--orthanc", "http://127.0.0.1:1", "--listen", "A@127.0.0.1:0"), "where do studies come from"),
        (("--listen", "A@127.0.0.1:0"), "where do results go"),
        (("--listen", "A@127.0.0.1:0", "--no-send", "--send", "orthanc=http://h"), "exclude each other"),
        (("--listen", "nonsense", "--no-send"), "AET@host:port"),
        (("--orthanc", "http://127.0.0.1:1", "--allow", "A"), "--allow"),
        (("--listen", "A@127.0.0.1:0", "--no-send", "--page", "x"), "--page x"),
    ],
    ids=["no source", "two sources", "no destination", "two wishes", "no address", "nobody sends", "no page"],
)
def test_what_cannot_be_asked_for(tmp_path, capsys, words, problem):
    command = ("node", "-m", "none.onnx", "--home", str(tmp_path / "home"), *words)
    assert main(command) == 2
    assert problem in capsys.readouterr().err


def test_one_source_is_needed(tmp_path):
    with pytest.raises(ConfigError, match="one source"):
        NodeSettings(home=tmp_path, executors=(), access=Access())
