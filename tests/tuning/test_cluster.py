from inat_ray.config.resources import Resources
from inat_ray.tuning import cluster
from inat_ray.tuning.cluster import (
    UNBOUNDED,
    Node,
    nodes_of_autoscaler,
    trainings_at_once,
    workers_at_once,
)


def places_for(nodes: list[Node], *, cpus: int, gpus: float, kind: str | None = None) -> int:
    wanted = Resources(cpus_per_worker=cpus, gpus_per_worker=gpus, accelerator_type=kind)
    return workers_at_once(wanted, nodes)


def test_a_worker_never_spans_two_nodes():
    nodes = [Node(cpus=3, gpus=0), Node(cpus=3, gpus=0)]
    assert places_for(nodes, cpus=2, gpus=0) == 2
    assert places_for(nodes, cpus=4, gpus=0) == 0


def test_what_is_scarcer_decides_and_gpus_may_be_shared():
    nodes = [Node(cpus=8, gpus=2), Node(cpus=64, gpus=0)]
    assert places_for(nodes, cpus=1, gpus=1) == 2
    assert places_for(nodes, cpus=1, gpus=0.25) == 8
    assert places_for(nodes, cpus=5, gpus=0.25) == 1


def test_an_autoscalers_nodes_count_before_they_are_there():
    config = {
        "max_workers": 6,
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 3},
            "bare": {},
        },
    }
    nodes = nodes_of_autoscaler(config)
    assert [node.count for node in nodes] == [1, 3, 6]
    assert places_for(nodes, cpus=1, gpus=1) == 3
    del config["max_workers"]
    assert nodes_of_autoscaler(config)[2].count == UNBOUNDED


def test_of_several_kinds_of_gpus_only_those_asked_for_count():
    config = {
        "max_workers": 6,
        "head_node_type": "head",
        "available_node_types": {
            "head": {"resources": {"CPU": 4}, "max_workers": 0},
            "l4": {"resources": {"CPU": 4, "GPU": 1, "accelerator_type:L4": 1}, "max_workers": 3},
            "h100": {"resources": {"CPU": 8, "GPU": 2, "accelerator_type:H100": 1}},
        },
    }
    nodes = nodes_of_autoscaler(config)
    assert places_for(nodes, cpus=1, gpus=1) == 3 + 2 * 6
    assert places_for(nodes, cpus=1, gpus=1, kind="L4") == 3
    assert places_for(nodes, cpus=1, gpus=1, kind="A100") == 0


def test_a_bound_on_trials_at_once_holds_however_many_nodes_there_are():
    nodes = [Node(cpus=8, gpus=0)] * 4
    wanted = Resources(workers_per_trial=3, cpus_per_worker=2, gpus_per_worker=0)
    assert trainings_at_once(wanted, nodes) == 5
    assert trainings_at_once(wanted.model_copy(update={"max_concurrent": 2}), nodes) == 2


def test_the_nodes_in_use_are_counted_by_what_each_has(monkeypatch):
    with_gpu = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0}
    monkeypatch.setattr(cluster, "resources_of_nodes", lambda: [with_gpu, {"CPU": 4.0}, with_gpu])
    assert cluster.nodes_in_use() == [
        {"cpus": 8.0, "gpus": 1.0, "count": 2, "accelerators": ["L4"]},
        {"cpus": 4.0, "gpus": 0, "count": 1, "accelerators": []},
    ]
