import torch

from tnbench.measure.roofline import Machine, Work, measure_machine


def test_what_would_take_longest_alone_is_the_bound() -> None:
    machine = Machine(flops_per_s=1e9, bytes_per_s=1e8, launch_s=1e-6)
    assert Work(flops=10**6, bytes=10**3, launches=1).bound(machine) == "compute"
    assert Work(flops=10**3, bytes=10**6, launches=1).bound(machine) == "memory"
    assert Work(flops=10, bytes=10, launches=3).bound(machine) == "launches"


def test_intensity_is_flops_per_byte() -> None:
    assert Work(flops=12, bytes=4, launches=1).intensity == 3


def test_a_machine_is_measured_once_per_threads_and_dtype() -> None:
    device = torch.device("cpu")
    single, double = measure_machine(device, torch.float32), measure_machine(device, torch.float64)
    assert measure_machine(device, torch.float32) is single
    assert min(single.flops_per_s, single.bytes_per_s, single.launch_s) > 0
    assert single.launch_s < 512**3 * 2 / single.flops_per_s  # an addition of eight numbers, and a product of matrices
    assert single.flops_per_s > double.flops_per_s / 2
