"""What a run tells others: points, rows, its settings; what becomes of a logger that fails, and of one that goes on."""

from __future__ import annotations

import csv
import errno
import json
import sys
import time
import types

import numpy as np
import pytest
import sassl
from conftest import events, need
from sassl.pretraining import History
from sassl.pretraining.engines import Engine, Report
from sassl.pretraining.folder import Folder
from sassl.pretraining.loggers import CSV, KEPT, LOGGERS, Begun, Loggers, MLflow, TensorBoard, WandB, chosen, told


class Null(Engine):
    """No network at all."""

    name, threads, features = "null", 1, 4

    def __init__(self, config, threads=None):
        self.weight = np.zeros(1, np.float32)

    def check_batch(self, batch):
        pass

    def step(self, left, right, rates):
        self.weight = self.weight + np.float32(rates.lr)
        return Report(1.0 / float(self.weight[0] + 1), {"apart": 0.5}, np.zeros((len(left), 4), np.float32))

    def state(self):
        return {"backbone.weight": self.weight}

    def load_state(self, state):
        (self.weight,) = state.values()


class Kept:
    """A logger of others."""

    def __init__(self, fails=()):
        self.calls, self.fails = [], fails

    def begin(self, run):
        self.call("begin", run)
        return {"id": 7}

    def step(self, step, values):
        self.call("step", step, values)

    def epoch(self, epoch, values):
        self.call("epoch", epoch, values)

    def end(self, outcome):
        self.call("end", outcome)

    def call(self, *call):
        self.calls.append(call)
        if call[0] in self.fails:
            raise OSError(errno.ENOSPC, "No space left on device", "points")

    def of(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


def model(engine=Null):
    return sassl.SimCLR("resnet18", small_stem=True, input_size=8, views={"normalize": None}, engine=engine)


def data(batches, rows=4):
    return [[[np.zeros((rows, 8, 8, 3), np.float32)] * 2]] * batches


def stopped_at(step):
    """A callback that ends a run."""

    def stop(_, values):
        if values["step"] == step:
            raise RuntimeError("as asked")

    return stop


def test_a_logger_is_told_of_a_run(tmp_path):
    logger, steps = Kept(), []
    run = model().fit(
        data(12), 2, out=tmp_path, loggers=logger, on_step=lambda _, values: steps.append(values), quiet=True
    )
    ((begun,),) = logger.of("begin")
    assert begun == Begun({**run.run.flat(), "engine": "null"}, tmp_path, 0, [], None)
    assert [step for step, _ in logger.of("step")] == [10, 20]
    for step, values in logger.of("step"):
        here = {name: value for name, value in values.items() if name not in ("images_per_second", "data_wait")}
        assert {"step": step, "epoch": 1 + (step > 12), **here} == steps[step - 1]
    assert logger.of("epoch") == [(row["epoch"], row) for row in run.history]
    assert logger.calls[-1] == ("end", "finished")
    assert json.loads((tmp_path / KEPT).read_text()) == {"loggers": {"Kept": {"id": 7}}}
    # A run that goes on: its logger gets what it kept; the numbers of steps go on.
    other = Kept()
    model().fit(data(12), 2, out=tmp_path, resume=True, loggers=[other], quiet=True)
    ((begun,),) = other.of("begin")
    assert (begun.step, begun.kept, begun.history) == (24, {"id": 7}, run.history)


def test_rows_wait_for_a_checkpoint_that_knows_them(tmp_path, monkeypatch):
    save, logger, seen = Folder.checkpoint, Kept(), []

    def checkpoint(self, engine, metadata, keep):
        if metadata["epoch"] == "2":
            raise OSError(errno.ENOSPC, "No space left on device", "a checkpoint")
        save(self, engine, metadata, keep)

    def look(_, row):
        seen.append(([epoch for epoch, _ in logger.of("epoch")], len(History.load(tmp_path / "log.csv"))))

    monkeypatch.setattr(Folder, "checkpoint", checkpoint)
    model().fit(data(2), 3, out=tmp_path, loggers=logger, on_epoch=look, quiet=True)
    assert seen == [([1], 1), ([1], 1), ([1, 2, 3], 3)]


def test_what_an_earlier_run_kept_is_not_a_new_ones(tmp_path):
    (tmp_path / KEPT).write_text('{"loggers": {"Kept": {"id": 1}}}')
    first, second = Kept(), Kept()
    model().fit(data(2), 1, out=tmp_path, quiet=True)
    assert json.loads((tmp_path / KEPT).read_text()) == {"loggers": {}}
    model().fit(data(2), 1, out=tmp_path, resume=True, loggers=first, quiet=True)
    model().fit(data(2), 1, out=tmp_path, resume=True, loggers=second, quiet=True)
    assert [one.of("begin")[0][0].kept for one in (first, second)] == [None, {"id": 7}]


def test_loggers_look_at_no_loss_before_the_next_step_is_on_its_way():
    order = []

    class Loss:
        def __init__(self, step):
            self.step = step

        def __float__(self):
            order.append(("looked at", self.step))
            return float(self.step)

    class Ahead(Null):
        steps = 0

        def step(self, left, right, rates):
            self.steps += 1
            order.append(("taken", self.steps))
            return super().step(left, right, rates)._replace(loss=Loss(self.steps))

    logger = Kept()
    model(Ahead).fit(data(31), 1, loggers=logger, quiet=True)
    # The last one of an epoch has none that follows.
    expected = [("taken", 1)]
    expected += [one for step in range(1, 31) for one in (("taken", step + 1), ("looked at", step))]
    assert order == [*expected, ("looked at", 31)]
    assert [(step, values["loss"]) for step, values in logger.of("step")] == [(10, 10.0), (20, 20.0), (30, 30.0)]


def test_how_a_run_ended_is_told(tmp_path):
    for error, outcome in ((RuntimeError("as asked"), "failed"), (KeyboardInterrupt(), "stopped")):
        logger = Kept()

        def end(*_, error=error):
            raise error

        with pytest.raises(type(error)):
            model().fit(data(3), 1, loggers=logger, on_step=end, quiet=True)
        assert logger.calls[-1] == ("end", outcome)


def test_a_logger_that_fails_is_told_of_once_and_the_run_goes_on(tmp_path, capsys):
    first, last = Kept(fails=("begin",)), Kept(fails=("step", "epoch", "end"))
    run = model().fit(data(20), 3, loggers=[first, last], quiet=True)
    assert len(run.history) == 3
    # One that did not begin is not called again; the other one is tried anew.
    assert [call[0] for call in first.calls] == ["begin"]
    assert len(last.of("epoch")) == 3
    assert last.calls[-1] == ("end", "finished")
    assert capsys.readouterr().err.splitlines() == [
        "Kept: points: No space left on device; the run continues without it",
        "Kept 2: points: No space left on device; some values are missing there, and the run continues",
    ]


def test_a_logger_that_waits_in_vain_holds_no_run_up():
    class Slow(Kept):
        def step(self, step, values):
            time.sleep(0.15)
            self.call("step", step)

    warned, logger = [], Slow(fails=("step",))
    loggers = Loggers([logger], warned.append)
    loggers.begin({}, None, 0, History(), False)
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        loggers.step(1, {})
    assert len(logger.of("step")) == 1
    loggers.end("finished")
    assert (len(warned), logger.calls[-1]) == (1, ("end", "finished"))


@pytest.mark.parametrize(
    ("given", "error", "expected"),
    [
        ("tensorbord", ValueError, 'loggers must be "mlflow", "csv", "tensorboard", "wandb", or objects'),
        ([Kept(), 3], TypeError, "got 3"),
        (Kept, TypeError, "got <class"),
        ("csv", ValueError, "loggers='csv' requires a folder; give out"),
        (CSV(), ValueError, "requires a folder; give out"),
    ],
)
def test_wrong_loggers(given, error, expected):
    with pytest.raises(error) as raised:
        model().fit(data(2), 1, loggers=given)
    assert expected in str(raised.value)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_package_that_is_missing_is_named(name, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=rf'loggers="{name}" requires the package {name}; pip install {name}'):
        model().fit(data(2), 1, out=tmp_path / "run", loggers=name)
    assert not (tmp_path / "run").exists()


def test_a_mistake_ends_a_run_before_its_first_step(tmp_path, capsys):
    class Mistaken(Kept):
        def begin(self, run):
            raise ValueError("project must be a name, got 3")

    first, steps = Kept(), []
    with pytest.raises(ValueError, match="project must be a name, got 3"):
        model().fit(data(2), 1, loggers=[first, Mistaken()], on_step=lambda *_: steps.append(0), quiet=True)
    assert (first.calls[-1], steps) == (("end", "failed"), [])
    # Nobody may watch one that goes on.
    out = tmp_path / "run"
    model().fit(data(2), 1, out=out, quiet=True)
    model().fit(data(2), 1, out=out, resume=True, loggers=Mistaken(), quiet=True)
    assert "Mistaken: project must be a name, got 3; the run continues without it" in capsys.readouterr().err
    for name, text in ((KEPT, "[]"), ("steps.csv", "step,mine\n1,2\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(text)
        with pytest.raises(FileExistsError, match=f"{name}: not of a run"):
            model().fit(data(2), 1, out=tmp_path / name, loggers="csv", quiet=True)
        assert (tmp_path / name / name).read_text() == text


def test_other_ranks_have_no_loggers():
    class Second(Null):
        class ranks:  # noqa: N801 - an attribute of the engine
            rank, world_size = 1, 1
            agree = staticmethod(lambda flag: flag)
            fail = staticmethod(lambda error: None)
            gather = staticmethod(lambda value: [value])

    logger = Kept()
    model(Second).fit(data(12), 1, loggers=logger, quiet=True)
    assert logger.calls == []


def test_a_table_of_steps_goes_on_where_its_run_does(tmp_path):
    with pytest.raises(RuntimeError):
        model().fit(data(15), 4, out=tmp_path, loggers="csv", checkpoint_every=25, on_step=stopped_at(42), quiet=True)
    table = tmp_path / "steps.csv"

    def rows():
        return [int(row["step"]) for row in csv.DictReader(table.read_text().splitlines())]

    assert rows() == [10, 20, 30, 40]
    # What a killed process was writing.
    with table.open("a") as file:
        file.write("41,0.5")
    model().fit(data(15), 4, out=tmp_path, resume=True, loggers="csv", quiet=True)
    assert rows() == [10, 20, 30, 40, 50, 60]
    one = next(csv.DictReader(table.read_text().splitlines()))
    assert list(one) == ["step", "loss", "lr", "apart", "images_per_second", "data_wait"]
    assert float(one["images_per_second"]) > 0
    # Points that are later than where the run goes on are gone, and a new number gets its column.
    logger = CSV()
    logger.begin(Begun({}, tmp_path, 30, History()))
    assert rows() == [10, 20, 30]
    logger.step(40, {"loss": 1.0, "new": 2.0})
    logger.step(50, {"loss": 1.0})
    told = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["step"], row["new"]) for row in told[2:]] == [("30", ""), ("40", "2.0"), ("50", "")]


def test_points_for_tensorboard_that_cannot_be_written_end_no_run(tmp_path):
    need("tensorboard")
    warned, board = [], TensorBoard()
    loggers = Loggers([board], warned.append)
    loggers.begin({}, tmp_path, 0, History(), False)
    file, flush = board._writer._writer, board._writer.flush
    loggers.step(1, {"loss": 1.0})

    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    board._writer.flush = fail
    for epoch in (1, 2):
        board_row = {"epoch": epoch, "loss": 1.0}
        loggers.epoch(epoch, board_row)
    board._writer.flush = flush
    loggers.step(2, {"loss": 2.0})
    loggers.end("finished")
    assert file.closed
    assert warned == [
        "tensorboard: [Errno 28] No space left on device; some values are missing there, and the run continues"
    ]
    assert [event.value for event in events(tmp_path).Scalars("step/loss")] == [1.0, 2.0]


@pytest.fixture
def wandb(monkeypatch):
    """What we use of wandb, as it remembers it."""

    class Run:
        def __init__(self, options):
            self.options, self.points, self.axes, self.exit_code = options, [], {}, None
            self.id = options.get("id") or f"id{len(module.runs)}"
            self.config = types.SimpleNamespace(update=lambda values, **_: self.options.update(config=values))

        def define_metric(self, name, step_metric=None, hidden=None):
            self.axes[name] = step_metric

        def log(self, values):
            self.points.append(values)

        def finish(self, exit_code=None):
            self.exit_code = exit_code

    def init(**options):
        module.runs.append(Run(options))
        return module.runs[-1]

    module = types.ModuleType("wandb")
    module.runs, module.run, module.init, module.Run = [], None, init, Run
    module.Settings = types.SimpleNamespace(model_fields={"finish_timeout": None})
    monkeypatch.delenv("WANDB_FINISH_TIMEOUT", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    return module


def test_wandb(wandb, tmp_path):
    def fit(**options):
        return model().fit(data(10), 2, out=tmp_path, quiet=True, **options)

    with pytest.raises(RuntimeError):
        fit(loggers="wandb", on_step=stopped_at(15))
    (first,) = wandb.runs
    assert first.options["config"]["temperature"] == model().config.method.temperature
    assert (first.options["dir"], first.options["name"]) == (str(tmp_path), tmp_path.name)
    assert (first.options["id"], first.options["resume"]) == (None, None)
    assert first.options["project"] == "sassl"
    # Its end does not wait for ever; older ones do not know how.
    assert first.options["settings"] == {"finish_timeout": 60.0, "finish_timeout_raises": True}
    del wandb.Settings.model_fields
    assert first.axes == {"step": None, "step/*": "step", "epoch": None, "epoch/*": "epoch"}
    point, row = first.points
    assert (point["step"], row["epoch"]) == (10, 1)
    assert {"step/loss", "step/lr", "step/data_wait"} < point.keys()
    assert "epoch/epoch" not in row
    assert first.exit_code == 1
    run = fit(resume=True, loggers=[WandB(project="mine")])
    second = wandb.runs[-1]
    assert (second.options["id"], second.options["resume"], second.options["project"]) == ("id0", "allow", "mine")
    assert "settings" not in second.options
    assert [point.get("step") for point in second.points] == [20, None]
    assert second.points[-1]["epoch/loss"] == run.history[-1]["loss"]
    assert second.exit_code == 0
    # A run that is open is logged to, and is its owner's to end.
    wandb.run = wandb.Run({})
    model().fit(data(10), 1, loggers="wandb", quiet=True)
    assert len(wandb.runs) == 2
    assert (len(wandb.run.points), wandb.run.exit_code) == (2, None)
    assert "temperature" in wandb.run.options["config"]


@pytest.fixture
def mlflow(monkeypatch):
    """What we use of MLflow, as it remembers it."""
    module, entities = types.ModuleType("mlflow"), types.ModuleType("mlflow.entities")
    module.calls, module.active_run, module.fails = [], lambda: None, False

    class Client:
        def __init__(self, tracking_uri=None):
            pass

        def get_experiment_by_name(self, name):
            return None if name == "new" else types.SimpleNamespace(experiment_id=f"of {name}")

        def create_experiment(self, name):
            return f"made {name}"

        def create_run(self, experiment_id, run_name=None):
            module.calls.append(("create", experiment_id, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

        def update_run(self, run_id, status=None):
            module.calls.append(("update", run_id, status))

        def log_batch(self, run_id, metrics=(), params=()):
            if module.fails and metrics:
                raise ConnectionError("nobody is there\nand more")
            module.calls.append(("log", run_id, {one[0]: one[1:] for one in (*metrics, *params)}))

        def set_terminated(self, run_id, status):
            module.calls.append(("end", run_id, status))

    module.MlflowClient, module.entities = Client, entities
    entities.Metric, entities.Param = (lambda *values: values), (lambda *values: values)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_mlflow(mlflow, tmp_path, monkeypatch):
    def fit(**options):
        return model().fit(data(10), 2, out=tmp_path, quiet=True, **options)

    with pytest.raises(RuntimeError):
        fit(loggers="mlflow", on_step=stopped_at(15))
    created, settings, point, row, end = mlflow.calls
    assert created == ("create", "of Default", tmp_path.name)
    assert settings[2]["optimizer"] == ("lars",)
    assert max(len(text) for (text,) in settings[2].values()) <= 500
    value, _, step = point[2]["step/loss"]
    assert (value, step) == (pytest.approx(1.0, abs=1.0), 10)
    assert row[2]["epoch/loss"][2] == 1
    assert end == ("end", "r1", "FAILED")
    mlflow.calls.clear()
    run = fit(resume=True, loggers="mlflow")
    assert [call[:1] for call in mlflow.calls] == [("update",), ("log",), ("log",), ("end",)]
    assert mlflow.calls[2][2]["epoch/loss"][::2] == (run.history[-1]["loss"], 2)
    assert mlflow.calls[-1] == ("end", "r1", "FINISHED")
    for given, name in ((MLflow("new"), "made new"), (MLflow("old"), "of old")):
        given.begin(Begun({}, None, 0, History()))
        given.end("stopped")
        assert mlflow.calls[-3][1] == name
        assert mlflow.calls[-1] == ("end", "r1", "KILLED")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "12")
    logger = MLflow()
    logger.begin(Begun({}, None, 0, History()))
    logger.end("finished")
    assert mlflow.calls[-3] == ("create", "12", None)
    # A run that is active is its owner's to end.
    mlflow.active_run = lambda: types.SimpleNamespace(info=types.SimpleNamespace(run_id="theirs"))
    mlflow.calls.clear()
    model().fit(data(10), 1, loggers="mlflow", quiet=True)
    assert [call[:2] for call in mlflow.calls] == [("log", "theirs")] * 3


def test_an_mlflow_server_that_is_away_ends_no_run(mlflow, capsys):
    mlflow.fails = True
    run = model().fit(data(40), 2, loggers="mlflow", quiet=True)
    assert len(run.history) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "mlflow: nobody is there; some values are missing there, and the run continues"
    assert mlflow.calls[-1][0] == "end"


def test_an_mlflow_server_that_hangs_ends_no_run(mlflow, capsys, monkeypatch):
    monkeypatch.setattr("sassl.pretraining.loggers.mlflow._SECONDS", 0.2)
    hang = mlflow.MlflowClient.log_batch
    monkeypatch.setattr(
        mlflow.MlflowClient, "log_batch", lambda *a, metrics=(), **k: time.sleep(5) if metrics else hang(*a, **k)
    )
    began = time.monotonic()
    model().fit(data(40), 1, loggers="mlflow", quiet=True)
    assert time.monotonic() - began < 4
    assert "mlflow: 6 points did not reach the server in 0.2 s and are lost" in capsys.readouterr().err


def test_loggers_of_others_have_names_too(tmp_path):
    LOGGERS["kept"] = Kept
    try:
        (made,) = chosen("kept", None)
        assert isinstance(made, Kept)
    finally:
        del LOGGERS["kept"]
    assert told.read_kept(tmp_path / KEPT) == {}


def test_a_history_tells_where_time_went():
    class Late:
        batch_size = 4

        def __len__(self):
            return 5

        def __iter__(self):
            for batch in data(5):
                time.sleep(0.03)
                yield batch

    class Busy(Null):
        def step(self, left, right, rates):
            time.sleep(0.01)
            return super().step(left, right, rates)

        def views(self, batch):
            time.sleep(0.005)
            return super().views(batch)

    (row,) = model(Busy).fit(Late(), 1, quiet=True).history
    assert 0.5 < row["data_wait"] < 0.9
    assert 0.01 <= row["step_seconds"] < 0.03
    assert 0.005 <= row["views_seconds"] < 0.02
    assert 0 < row["images_per_second"] < 4 / 0.04
    (row,) = model(Busy).fit(data(5), 1, quiet=True).history
    assert row["data_wait"] < 0.1
