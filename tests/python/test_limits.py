"""What ends or refuses a call: panics, Ctrl-C, forks, states that cannot be, memory that is not there, files that change."""

import json
import os
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import sassl
from sassl._sassl import Trainer
from sassl.transforms import functional as F


def run(program, limit=60):
    """A program of its own, with a time limit."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=limit
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def config(method="moco-v2", **settings):
    """Of a small run."""
    base = sassl.pretraining.PRESETS[method].changed(arch="resnet18", optimizer=settings.pop("optimizer", "sgd"))
    own = {"small_stem": True, "input_size": 32, "queue_size": 8, "dim": 8, "hidden_dim": 16, "splits": 1}
    own = {name: value for name, value in own.items() if name in base.flat()}
    return base.changed(**{**own, **settings}).core()


def test_a_panic_is_an_error_that_except_exception_sees():
    # A panic of the core would be this class of pyo3; raised in a callback, it becomes a panic again. A program of its own, for
    # each module made with pyo3 has such a class.
    told = run(
        """
        from sassl._sassl import Source

        panics = next(one for one in BaseException.__subclasses__() if one.__name__ == "PanicException")

        def get(index):
            raise panics("on purpose")

        try:
            Source.python(get, 1, "images").get(0)
        except RuntimeError as error:
            print(error)
        """
    )
    assert "sassl panicked" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method.queue_pointer", 1e6),
        ("method.queue_pointer", 7.5),
        ("method.queue_pointer", np.nan),
        ("method.queue_pointer", -1),
        ("method.steps", -3),
        ("method.steps", 3e38),
        ("backbone.bn1.num_batches_tracked", 0.5),
        ("backbone.bn1.running_var", -1),
        ("backbone.conv1.weight", np.inf),
    ],
)
def test_a_state_that_cannot_be_is_refused_and_nothing_changes(name, value):
    trainer = Trainer(config())
    before = trainer.state()
    broken = {key: tensor.copy() for key, tensor in before.items()}
    broken[name].flat[0] = value
    with pytest.raises(ValueError, match=name.rsplit(".", 1)[-1]):
        trainer.load_state(broken)
    after = trainer.state()
    assert all(np.array_equal(after[key], before[key]) for key in before)
    trainer.load_state(before)


def test_sizes_beyond_any_memory_are_errors():
    image = np.zeros((8, 8, 3), np.uint8)
    for size in [(2**31, 2**31), (2**40, 2**40)]:
        with pytest.raises((MemoryError, ValueError), match="size"):
            F.resized_crop(image, 0, 0, 8, 8, size=size)
    with pytest.raises(ValueError, match="layers"):
        Trainer(config("simclr", layers=2**40))


def test_a_directory_of_a_million_entries_is_read_once(tmp_path):
    # The offset, how many, and of each: tag, type, count, value. Tiles are of no width.
    entries = b"".join(struct.pack("<HHQQ", tag % 65536, 1, 1, 0) for tag in range(300, 1_000_000) if tag % 65536 > 299)
    (tmp_path / "wide.tif").write_bytes(struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(entries) // 20) + entries)
    told = run(
        f"""
        from sassl.transforms import functional as F
        try:
            F.decode({os.fspath(tmp_path / "wide.tif")!r})
        except ValueError as error:
            print(error)
        """,
        20,
    )
    assert "wide.tif: 0x1 pixels; it cannot be decoded" in told


@pytest.mark.skipif(sys.platform != "linux", reason="DID NOT RUN: limits of memory are Linux's")
def test_memory_that_the_system_refuses_is_a_memory_error():
    told = run(
        """
        import resource
        import numpy as np, sassl
        from sassl.transforms import functional as F
        model, bank = sassl.Stylizer("lite", threads=1), sassl.StyleBank.default()
        image = np.zeros((1, 4000, 4000, 3), np.uint8)
        here = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (here + (100 << 20),) * 2)
        small = image[0, :8, :8].copy()
        for call in (
            lambda: model.stylize(image, bank.vectors[0]),
            lambda: model.transfer(image, bank.vectors[0]),
            lambda: F.resized_crop(small, 0, 0, 8, 8, size=(2**31, 1)),
        ):
            try:
                call()
            except MemoryError as error:
                print("MemoryError", str(error)[:6])
        """
    )
    assert told.count("MemoryError") == 3, told


def test_settings_that_claim_more_than_a_checkpoint_holds_are_refused(tmp_path):
    file = tmp_path / "claims.safetensors"
    trainer = Trainer(config())
    nested = json.loads(config())
    nested["method"] |= {"dim": 2**16, "queue_size": 2**24}
    trainer.save(file, {"config": json.dumps(nested)})
    with pytest.raises(ValueError, match=r"claims\.safetensors: its settings require"):
        sassl.pretraining.Pretraining.load(file)


@pytest.mark.skipif(sys.platform != "linux", reason="DID NOT RUN: /proc is Linux's")
def test_the_memory_of_a_large_image_is_given_back():
    told = run(
        """
        import numpy as np, sassl
        resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
        model, z = sassl.Stylizer("lite", threads=1), sassl.StyleBank.default().vectors[0]
        model.stylize(np.zeros((1, 224, 224, 3), np.uint8), z)
        before = resident()
        model.stylize(np.zeros((1, 3000, 3000, 3), np.uint8), z)
        print(resident() - before)
        """
    )
    assert int(told) < 150, f"{told} MiB stay"


def test_a_bank_outlives_its_file(tmp_path):
    file = tmp_path / "bank.safetensors"
    sassl.StyleBank.default().save(file)
    bank = sassl.StyleBank.load(file)
    before = bank.vectors
    with open(file, "r+b") as open_file:
        open_file.truncate(100)
    assert np.array_equal(bank.vectors, before)


@pytest.mark.skipif(os.name != "posix", reason="DID NOT RUN: signals are POSIX's")
@pytest.mark.parametrize("what", ["stylize", "gaussian", "knn", "logistic"])
def test_ctrl_c_is_heard_in_the_middle_of_a_call(what):
    told = run(
        f"""
        import os, signal, threading, time
        # A call of LAPACK is not interrupted; with several threads that share a core with others, it takes seconds.
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
        import numpy as np, sassl
        from sassl._sassl import knn
        from sassl.evaluation import GRID, logistic
        noise = np.random.default_rng(0).standard_normal((4000, 600), dtype=np.float32)
        targets = list(np.arange(4000) % 50)
        model, z = sassl.Stylizer("lite", threads=1), sassl.StyleBank.default().vectors[0]
        images = np.zeros((3000, 224, 224, 3), np.uint8)
        bank = sassl.StyleBank(np.tile(noise, 5), "x" * 16)
        calls = {{
            "stylize": lambda: model.stylize(images, z),
            "gaussian": lambda: bank._core.gaussian(20) if hasattr(bank, "_core") else bank.gaussian(20),
            "knn": lambda: knn(noise, targets, np.tile(noise, (20, 1)), threads=1),
            "logistic": lambda: list(logistic.path(noise, targets, GRID)),
        }}
        sent = []
        def send():
            time.sleep(0.5)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=send).start()
        try:
            calls[{what!r}]()
            print("done", 0)
        except KeyboardInterrupt:
            print("heard", time.monotonic() - sent[0])
        """,
        180,
    )
    word, seconds = told.split()
    assert word == "heard", told
    assert float(seconds) < 1.0, told


@pytest.mark.skipif(os.name != "posix", reason="DID NOT RUN: signals are POSIX's")
def test_a_handler_of_signals_cannot_use_the_trainer_that_it_interrupts():
    told = run(
        """
        import os, signal, threading, time
        import numpy as np, sassl
        model = sassl.SimCLR("resnet18", input_size=64, threads=1)
        told = []

        def handler(*_):
            for call in (model.state_dict, lambda: model.save("nowhere/model.safetensors")):
                try:
                    call()
                    told.append("done")
                except (ValueError, OSError) as error:
                    told.append(str(error))

        signal.signal(signal.SIGUSR1, handler)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        model.encode_normalized(np.zeros((600, 3, 64, 64), np.float32), batch_size=600)
        print(told)
        model.state_dict()
        """
    )
    assert told.count("the trainer is in use by this thread: a signal handler cannot use") == 2, told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="DID NOT RUN: no fork here")
def test_a_fork_while_another_thread_encodes_is_told_or_goes_on():
    told = run(
        """
        import os, threading, time
        import numpy as np, sassl
        model = sassl.SimCLR("resnet18", input_size=32, hidden_dim=16, dim=8)
        images = np.zeros((8, 32, 32, 3), np.float32)
        model.encode_normalized(images)
        def work():
            while True:
                model.encode_normalized(images)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        child = os.fork()
        if child == 0:
            try:
                model.encode_normalized(images)
            except ValueError as error:
                assert "forked" in str(error)
            os._exit(0)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                print("ended", status, flush=True)
                break
            time.sleep(0.01)
        else:
            os.kill(child, 9)
        os._exit(0)
        """
    )
    assert told.split() == ["ended", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="DID NOT RUN: no fork here")
def test_a_process_that_a_thread_forked_ends_with_that_thread():
    told = run(
        """
        import os, sys, threading, time
        import numpy as np, sassl
        model, images = sassl.Stylizer("lite", threads=2), np.zeros((4, 64, 64, 3), np.uint8)
        children = []
        def work():
            child = os.fork()
            if child == 0:
                model.encode(images)
                sys.exit(0)
            children.append(child)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            done, status = os.waitpid(children[0], os.WNOHANG)
            if done:
                print("ended", status)
                break
            time.sleep(0.01)
        else:
            os.kill(children[0], 9)
        """
    )
    assert told.split() == ["ended", "0"]


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    with open(tmp_path / "sparse.jpg", "wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(2**36)
    with pytest.raises(ValueError, match=r"sparse.jpg: .*68719476736 bytes; images have at most"):
        F.decode(tmp_path / "sparse.jpg")


def test_empty_variables_are_unset(monkeypatch):
    monkeypatch.setenv("SASSL_THREADS", "")
    monkeypatch.setenv("SASSL_ISA", "")
    assert sassl._sassl.info()["threads"] >= 1
    sassl.Stylizer("lite")


@pytest.mark.skipif(os.name != "posix", reason="DID NOT RUN: pipes are POSIX's")
def test_a_reader_that_has_enough_is_no_error():
    told = subprocess.run(
        f"{sys.executable} -W ignore -m sassl info | head -1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert told.stderr == ""
    command = f"{sys.executable} -W ignore -m sassl info >&-"
    closed = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (closed.returncode, closed.stderr) == (0, "")
