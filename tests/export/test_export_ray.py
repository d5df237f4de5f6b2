"""An export on a Ray cluster of three nodes on loopback, one of which is lost. The engine is arithmetic."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import test_export_resume as plain

from zoo.core.errors import InvalidInputError, NotFoundError, PartialError, UsageError
from zoo.core.export import ray_engine
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import ExportPlan
from zoo.core.export.run import ExportJob, pending_shards, report_of

NUM_INPUTS = 96  # 24 shards of 4


class Request(NamedTuple):
    """Counts in `log` how often it was opened and which images were computed, by whom."""

    log: str
    weights: str = "aa"

    def open(self) -> ExportJob:
        (Path(self.log) / f"opened-{os.getpid()}").touch()
        return ExportJob(make_plan(self.weights), plain.decode, self.compute, self.compute)

    def compute(self, images: Any) -> Any:
        for result in plain.compute(images):
            # The work of a model, so that the run lasts until the node is lost.
            np.linalg.svd(np.ones((400, 400)))
            yield result


def make_plan(weights: str = "aa") -> ExportPlan:
    return plain.make_plan(NUM_INPUTS, weights)


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    # Ray lets workers import from the working directory, where the repository's folder zoo/ is not the package.
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    for name, value in {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else nodes talk by another address than loopback
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
    }.items():
        monkeypatch.setenv(name, value)
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    others = [cluster.add_node(**node) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    yield cluster, others
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.ray
def test_e12_a_lost_node_costs_no_shard_and_doubles_none(cluster: Any, tmp_path: Path) -> None:
    nodes, others = cluster
    log, out = tmp_path / "log", tmp_path / "out"
    log.mkdir()
    folder = FeatureFolder(out, make_plan())
    done: list[int] = []
    parts_at_loss: list[int] = []

    def lose_a_node(steps: int) -> None:
        done.append(steps)
        if not parts_at_loss:
            nodes.remove_node(others[0], allow_graceful=False)
            parts_at_loss.append(len(list(out.glob("manifest-*.jsonl"))))

    own = range(folder.plan.num_shards)
    ray_engine.run_on_ray(
        Request(str(log)), folder, pending_shards(folder, own), num_actors=3, on_progress=lose_a_node, timeout=120
    )
    assert done == [4] * 24
    assert parts_at_loss[0] < 24
    report = report_of(folder, own)
    assert (report.images, report.num_failed, report.complete) == (NUM_INPUTS - 2, 2, True)
    plain.export(tmp_path / "plain", make_plan())
    assert plain.content(out) == plain.content(tmp_path / "plain")
    # One model an actor, and one here at most for an actor that was started again.
    assert 2 <= len(list(log.iterdir())) <= 4

    # What is there is not computed again; a node that sees other weights says so.
    assert pending_shards(folder, own) == []
    with pytest.raises(PartialError, match="other inputs, weights or settings"):
        ray_engine.run_on_ray(Request(str(log), "bb"), folder, own, timeout=120)


def test_an_actor_tells_what_went_wrong_as_a_value(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    request, out = Request(str(tmp_path / "log")), tmp_path / "out"
    folder = FeatureFolder(out, make_plan())
    actor = ray_engine.ShardActor(request, str(out), folder.plan.fingerprint, "stop")
    done = actor({"item": [0, 1, 2]})
    assert done["shard"] == [0, 1, 2]
    assert [error.partition(": ")[2] for error in done["error"]] == ["", "cut off.", ""]
    assert [shard for shard in range(24) if folder.is_done(shard)] == [0, 2]

    FeatureFolder(out, make_plan("bb"), force=True)
    assert actor({"item": [3]})["write_error"] == [True]
    with pytest.raises(UsageError, match="other inputs, weights or settings"):
        ray_engine.ShardActor(request, str(out), make_plan("bb").fingerprint, "skip")


def test_a_cluster_that_does_nothing_is_given_up() -> None:
    waiting = threading.Event()

    def rows() -> Iterator[dict[str, Any]]:
        yield {"shard": 1}
        waiting.wait()

    found = ray_engine.with_timeout(rows, 0.05)
    assert next(iter(found)) == {"shard": 1}
    with pytest.raises(PartialError, match="Ray has finished no shard"):
        list(found)
    waiting.set()


def test_wrong_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = FeatureFolder(tmp_path, make_plan())
    with pytest.raises(UsageError, match="actors must be 1 or more"):
        ray_engine.run_on_ray(Request(""), folder, [0], num_actors=0)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(ray_engine, "import_module", missing)
    with pytest.raises(InvalidInputError) as raised:
        ray_engine.run_on_ray(Request(""), folder, [0])
    assert "zoo-cli[ray]" in raised.value.hint


@pytest.mark.parametrize("form", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}"])
def test_an_address_where_nobody_listens_is_refused_at_once(form: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = form.format(port=listener.getsockname()[1])
        ray_engine.require_listener(address)
    with pytest.raises(NotFoundError, match=r"No Ray cluster answers at 127\.0\.0\.1:\d+: Connection refused"):
        ray_engine.require_listener(address)


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://head", "127.0.0.1:notaport"])
def test_an_address_without_host_and_port_is_left_to_ray(address: str) -> None:
    ray_engine.require_listener(address)
