"""Fine-tuning: both engines against a plain PyTorch loop, recipes against what is published, runs that resume."""

from __future__ import annotations

import numpy as np
import pytest
import sassl
from conftest import coloured, need
from sassl import evaluation
from sassl.evaluation import finetuning
from sassl.evaluation.finetuning import keeping, native, recipes
from sassl.evaluation.finetuning.learning import Plan
from sassl.evaluation.finetuning.tuner import Settings

need("torch")
need("torchvision")

import finetuning_ranks as ranks  # noqa: E402
import torch  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
import torchvision  # noqa: E402
from sassl.evaluation.finetuning import torch as on_torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

SIDE, CLASSES, BATCH = 8, 5, 8


@pytest.fixture(scope="module")
def model():
    return sassl.SimCLR("resnet18", small_stem=True, hidden_dim=16, dim=8, input_size=SIDE, seed=3, threads=1)


@pytest.fixture(scope="module")
def steps():
    rng = np.random.default_rng(0)
    shape = (4, BATCH, SIDE, SIDE, 3)
    return list(zip(rng.standard_normal(shape, np.float32), rng.integers(CLASSES, size=(4, BATCH)), strict=True))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return coloured(tmp_path_factory.mktemp("images"), {"train": 12, "val": 4, "test": 6})


#: How a small network of torch is judged.
ON_TORCH = {"engine": "torch", "device": "cpu", "preprocessing": evaluation.Preprocessing(8, normalize=None)}
HOPELESS = recipes.Recipe(name="hopeless", source="none", unit="steps", lengths=(11,), batch_size=8, lrs=(1e30, 1e31))


class Plain:
    """torchvision's network, and a step as anybody writes it."""

    def __init__(self, model, settings: Settings) -> None:
        self.net = torchvision.models.resnet18(num_classes=CLASSES)
        self.net.conv1, self.net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        state = {name: torch.from_numpy(x) for name, x in model.state_dict().items()}
        missing = self.net.load_state_dict(state, strict=False)
        assert missing.missing_keys == ["fc.weight", "fc.bias"]
        rng = np.random.default_rng(7)
        with torch.no_grad():
            self.net.fc.weight.copy_(torch.from_numpy(0.01 * rng.standard_normal((CLASSES, 512))))
            self.net.fc.bias.zero_()
        for one in self.net.modules():
            if isinstance(one, nn.BatchNorm2d):
                one.momentum = settings.norm_momentum
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name.startswith("fc.") or not settings.frozen)
        own = {name: value for name, value in settings._asdict().items() if name not in ("norm_momentum", "frozen")}
        self.optimizer = torch.optim.SGD([p for p in self.net.parameters() if p.requires_grad], lr=1.0, **own)
        self.frozen = settings.frozen

    def step(self, images, targets, lr):
        self.net.train(not self.frozen)
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.zero_grad()
        loss = cross_entropy(self.net(torch.from_numpy(images).permute(0, 3, 1, 2)), torch.from_numpy(targets))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def scores(self, images):
        return self.net.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    def state(self):
        names = {"fc.weight": "head.0.weight", "fc.bias": "head.0.bias"}
        return {names.get(name, f"backbone.{name}"): x.numpy() for name, x in self.net.state_dict().items()}


def apart(one, other):
    """The largest difference."""
    return np.abs(np.asarray(one) - np.asarray(other)).max()


def tuners(model):
    """Both engines."""
    made = on_torch.Torch(model, CLASSES, (SIDE, SIDE), device="cpu", seed=7)
    return {"native": native.Native(model, CLASSES, threads=1, seed=7), "torch": made}


@pytest.mark.parametrize(
    "settings",
    [
        # A decay that would be seen on norms and biases too, which begin at 1 and 0; statistics that hardly move.
        Settings(weight_decay=0.1, norm_momentum=0.02),
        Settings(nesterov=False, norm_momentum=0.1),
        Settings(weight_decay=0.1, norm_momentum=0.1, frozen=True),
    ],
)
def test_both_engines_are_a_plain_loop_of_pytorch(model, steps, settings):
    plain, rates = Plain(model, settings), (0.02, 0.01, 0.005)
    engines = tuners(model)
    for tuner in engines.values():
        tuner.begin(settings)
    for number, ((images, targets), lr) in enumerate(zip(steps, rates, strict=False)):
        expected = plain.step(images, targets, lr)
        for name, tuner in engines.items():
            assert float(tuner.step(images, targets, lr, number)) == pytest.approx(expected, abs=1e-4), name
    asked = steps[3][0]
    reference, began = plain.state(), model.state_dict()
    for name, tuner in engines.items():
        state = tuner.state()
        assert {key for key in state if not key.startswith("optimizer.")} == reference.keys()
        for key, expected in reference.items():
            assert apart(state[key], expected) < 1e-4, (name, key)
        assert apart(tuner.scores(asked), plain.scores(asked)) < 1e-3, name
        if settings.frozen:
            assert all(np.array_equal(state[f"backbone.{key}"], x) for key, x in began.items())
            assert not any(key.startswith("optimizer.backbone") for key in state)
        else:
            assert not np.allclose(state["backbone.bn1.weight"], 1, atol=1e-4)


def test_a_state_of_one_engine_is_one_of_the_other(model, steps):
    one, two = tuners(model).values()
    for tuner in (one, two):
        tuner.begin(Settings(weight_decay=1e-3))
    one.step(*steps[0], 0.02, 0)
    two.load_state(one.state())
    losses = [float(tuner.step(*steps[1], 0.02, 1)) for tuner in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    first, second = one.state(), two.state()
    assert first.keys() == second.keys()
    assert max(apart(first[key], second[key]) for key in first) < 1e-4


def test_threads_do_not_change_a_bit(model, steps):
    made = []
    for threads in (1, 3):
        tuner = native.Native(model, CLASSES, threads=threads, seed=7)
        losses = [tuner.step(*one, 0.05, 0) for one in steps]
        made.append((losses, tuner.state()))
    assert made[0][0] == made[1][0]
    assert all(np.array_equal(made[0][1][key], made[1][1][key]) for key in made[0][1])


def test_recipes_are_as_published():
    known = finetuning.RECIPES
    grid = list(known["kornblith"].grid())
    assert len(grid) == 56
    assert sorted({cell.lr for cell in grid}) == pytest.approx(np.logspace(-4, -1, 7), rel=1e-5)
    assert sorted({cell.weight_decay for cell in grid}) == pytest.approx([0, *np.logspace(-6, -3, 7)], rel=1e-5)
    assert len(list(known["ssl-transfer"].grid())) == 20
    cell = recipes.Cell(0.01, 1e-4, 20_000)
    # DTD, whose train has 1,880 images: 7.34 steps are an epoch, and 1 - 10 / 7.34 is less than 0.9.
    plan = Plan(known["kornblith"], cell, 1880)
    assert (plan.steps, plan.batch, plan.peak_lr) == (20_000, 256, 0.01)
    assert plan.settings == Settings(weight_decay=0.01, norm_momentum=0.1)
    # Food-101's: 10 / (68,175 / 256) = 0.0376.
    assert Plan(known["kornblith"], cell, 68_175).settings.norm_momentum == pytest.approx(0.03755, abs=1e-5)
    assert Plan(known["ssl-transfer"], cell, 68_175).settings.norm_momentum is None
    # SimCLR's 1 % of ImageNet: the rate is 0.8, and its code takes 188 steps.
    (one,) = known["simclr-1pct"].grid()
    plan = Plan(known["simclr-1pct"], one, 12_811)
    assert (plan.steps, plan.peak_lr, plan.settings.weight_decay) == (188, pytest.approx(0.8), 0)
    assert len(list(known["byol-semi"].grid())) == 10
    rates = [known["vissl-semi"].rate(0.05, step, 7000) for step in (0, 2999, 3000, 6999)]
    assert rates == pytest.approx([0.05, 0.05, 0.005, 0.005])
    cosine = [known["kornblith"].rate(0.1, step, 100) for step in (0, 50, 99)]
    assert cosine == pytest.approx([0.1, 0.05, 0.05 * (1 + np.cos(0.99 * np.pi))])
    assert all(row.source for row in known.values())


def test_one_cell_learns_from_train_and_val_the_same_on_both_engines(model, folders):
    before = {name: x.copy() for name, x in model.state_dict().items()}
    settings = {"lr": 0.01, "weight_decay": 1e-5, "steps": 5, "batch_size": 8, "metric": "mean_per_class"}
    found = [
        evaluation.finetune(model, folders / "train", folders / "test", val=folders / "val", **settings, **own)
        for own in ({"engine": "native", "threads": 1}, {"engine": "torch", "device": "cpu"})
    ]
    assert found[0] == {**found[1], "engine": "native"}
    told = {"n": 12, "classes": 2, "metric": "mean_per_class", "recipe": "kornblith", "lr": 0.01, "weight_decay": 1e-5}
    told |= {"sgd_weight_decay": pytest.approx(1e-3), "steps": 5, "batch_size": 8, "images": 32, "grid": []}
    # 4 steps are an epoch.
    assert {name: found[1][name] for name in told} == told
    assert found[1]["norm_momentum"] == 0.1
    assert found[1]["mean_per_class"] == found[1]["top1"]
    assert all(np.array_equal(before[name], x) for name, x in model.state_dict().items())


def test_a_grid_is_chosen_on_val_and_learnt_again_from_both(folders):
    recipe = recipes.Recipe(
        name="small", source="none", unit="epochs", lengths=(5,), batch_size=8, lrs=(1e-9, 0.1, 1e30),
        weight_decays=(0.0, 1e-4), divides_decay=True,
    )  # fmt: skip
    call = (ranks.network(), folders / "train", folders / "test")
    found = evaluation.finetune(*call, val=folders / "val", recipe=recipe, **ON_TORCH)
    values = {(lr, decay): value for lr, decay, _, value in found["grid"]}
    assert len(values) == 6
    assert values[0.1, 0.0] == 100
    assert values[1e30, 0.0] is None
    assert values[1e-9, 0.0] < 100
    assert (found["lr"], found["weight_decay"], found["top1"]) == (0.1, 0, 100)
    assert (found["images"], found["steps"], found["recipe"]) == (32, 20, "small")
    # Without val a fifth of train chooses.
    found = evaluation.finetune(*call, recipe=recipe, weight_decay=0, **ON_TORCH)
    assert (len(found["grid"]), found["images"], found["steps"]) == (3, 24, 15)


@pytest.mark.parametrize("engine", ["native", "torch", "dropout"])
def test_a_run_that_was_ended_resumes_bit_identical(model, folders, tmp_path, monkeypatch, engine):
    kind = native.Native if engine == "native" else on_torch.Torch
    net = model
    if engine == "dropout":
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        torch.manual_seed(0)
        net = nn.Sequential(*layers, nn.Flatten())
    own = {"engine": "native"} if engine == "native" else {"engine": "torch", "device": "cpu"}
    if engine == "dropout":
        own["preprocessing"] = evaluation.Preprocessing(16, normalize=None)
    settings = {
        "val": folders / "val",
        "weight_decay": 0,
        "steps": 7,
        "batch_size": 8,
        "checkpoint_every": 3,
    }
    settings |= {"recipe": "byol-semi", "lr": None if engine == "dropout" else 0.02, **own}
    call = (net, folders / "train", folders / "test")
    found = evaluation.finetune(*call, out=tmp_path / "whole", **settings)
    taken, step = [], kind.step

    def ended(self, images, targets, lr, number):
        taken.append(number)
        if len(taken) == (12 if engine == "dropout" else 6):
            raise KeyboardInterrupt
        return step(self, images, targets, lr, number)

    monkeypatch.setattr(kind, "step", ended)
    with pytest.raises(KeyboardInterrupt):
        evaluation.finetune(*call, out=tmp_path / "ended", **settings)
    assert taken[-1] == (4 if engine == "dropout" else 5)
    taken.append(None)
    assert evaluation.finetune(*call, out=tmp_path / "ended", **settings) == found
    # It began after the third step, which was kept.
    assert taken[taken.index(None) + 1] == 3
    one, two = (sassl._sassl.load_checkpoint(tmp_path / name / keeping.CHECKPOINT)[0] for name in ("whole", "ended"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    # What is there is not computed again.
    taken.clear()
    assert evaluation.finetune(*call, out=tmp_path / "ended", **settings) == found
    assert not taken
    with pytest.raises(ValueError, match=r"seed must be 0 to resume the run in .*ended, got 1; or give another folder"):
        evaluation.finetune(*call, out=tmp_path / "ended", seed=1, **settings)


def test_two_ranks_are_one_run(folders, tmp_path):
    mp.spawn(ranks.work, (f"file://{tmp_path}/meet", str(folders), str(tmp_path)), nprocs=2)
    (losses, state), judged = torch.load(tmp_path / "found.pt", weights_only=False)
    tuner = on_torch.Torch(ranks.network(), ranks.CLASSES, (ranks.SIDE, ranks.SIDE), device="cpu", seed=1)
    one, alone = ranks.steps(tuner, 0, 1)
    assert losses == pytest.approx(one, abs=1e-6)
    assert state.keys() == alone.keys()
    assert max(apart(state[name], alone[name]) for name in alone) < 1e-5
    expected = ranks.whole(folders, tmp_path / "one")
    assert judged == expected
    (two, _), (one, _) = (sassl._sassl.load_checkpoint(tmp_path / name / keeping.CHECKPOINT) for name in ("two", "one"))
    assert max(apart(two[name], one[name]) for name in one) < 1e-4


def test_classes_go_by_names_and_any_labels(tmp_path):
    root = coloured(tmp_path, {"train": 6, "test": 3})
    (root / "test" / "red").rename(root / "test" / "violet")
    settings = {"lr": 0.1, "weight_decay": 0, "steps": 20, "batch_size": 6, **ON_TORCH}
    with pytest.warns(UserWarning, match="3 of 6 images are of 1 classes that no image of train is of"):
        found = evaluation.finetune(ranks.network(), root / "train", root / "test", **settings)
    assert (found["top1"], found["n"], found["classes"]) == (50, 6, 2)
    images = sassl.data.ImageFolder(root / "train")
    rows = [0, 3, 6, 9, 1, 7]
    far = sassl.data.Selection([images], rows, [1440764, 1440764, 90, 90, 1440764, 90])
    assert far.labels() == [far[i][1] for i in range(6)] == [1440764, 1440764, 90, 90, 1440764, 90]
    assert far.name(2) == images.name(6)
    found = evaluation.finetune(ranks.network(), far, far, metric="auc", **settings)
    assert (found["auc"], found["top1"]) == (1, 100)
    two = sassl.data.Selection([images, far], [11, 12, 17], [0, 1, 1])
    assert [two.name(i) for i in range(3)] == [images.name(11), far.name(0), far.name(5)]
    with pytest.raises(ValueError, match=r"rows\[1\] must be in \[0, 18\), the range of the images, got 18"):
        sassl.data.Selection([images, far], [0, 18], [0, 0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipe": "nobody"}, "recipe must be one of 'kornblith', 'ssl-transfer'"),
        ({"lr": 0}, "lr must be a finite number > 0, got 0"),
        ({"weight_decay": -1}, "weight_decay must be a finite number >= 0, got -1"),
        ({"steps": 3, "epochs": 2}, "steps=3 and epochs=2 exclude each other; give one of them"),
        ({"steps": 0}, "steps must be an integer >= 1, got 0"),
        ({"engine": "jax"}, "engine must be one of 'native', 'torch' or None, got 'jax'"),
        ({"engine": "native", "device": "cpu"}, "device='cpu' requires engine=\"torch\""),
        ({"metric": "map"}, "metric must be .*, got 'map'"),
        ({"lr": 1e30, "weight_decay": 0}, "at step 11; fine-tuning diverged: lower the learning rate"),
        ({"recipe": HOPELESS}, "all 2 cells of the grid of recipe 'hopeless' diverge; give lower learning rates"),
    ],
)
def test_what_cannot_be_is_told(model, folders, settings, said):
    given = {"recipe": "byol-semi", "steps": 11, "batch_size": 8, **ON_TORCH, **settings}
    if settings.get("engine") == "native":
        given |= {"preprocessing": None, "device": settings.get("device")}
    net = model if settings.get("engine") == "native" else ranks.network()
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        evaluation.finetune(net, folders / "train", folders / "test", **given)


def test_models_that_cannot_be_fine_tuned_are_told(model, folders):
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    call = (folders / "train", folders / "test")
    rule = evaluation.Preprocessing(16, normalize=None)
    with pytest.raises(ValueError, match='engine="native" requires a model with one of its backbones, got Sequential'):
        evaluation.finetune(net, *call, engine="native", preprocessing=rule)
    with pytest.raises(
        ValueError, match=r"model must return features \(2, dim\) for images .* got a tensor \(2, 4, 14, 14\)"
    ):
        evaluation.finetune(net, *call, preprocessing=rule)
    with pytest.raises(TypeError, match="preprocessing is required for Sequential"):
        evaluation.finetune(net, *call)
    with pytest.raises(TypeError, match=r"model must be one of sassl's or a torch\.nn\.Module from images to features"):
        evaluation.finetune(lambda images: images, *call, preprocessing=rule)
    with pytest.raises(ValueError, match="targets must have at least two classes"):
        evaluation.finetune(model, folders / "train" / "red", folders / "test")
