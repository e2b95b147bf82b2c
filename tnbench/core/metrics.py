"""Every quantity that tnbench records, declared once: unit, direction, meaning, and where its samples come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """`better` is ``higher``, ``lower`` or ``neither``; a `derived` metric is computed by the table, never stored."""

    name: str
    unit: str
    better: str
    summary: str
    derived: bool = False


_ALL = (
    Metric("params", "1", "lower", "parameters of the whole network, after compression"),
    Metric("params_dense", "1", "neither", "parameters of the whole dense network"),
    Metric("params_layers", "1", "lower", "weights of the layers that were compressed, after compression"),
    Metric("params_layers_dense", "1", "neither", "weights of the same layers when dense"),
    Metric("macs", "1", "lower", "multiply-accumulates of one picture's forward pass, counted from the modules"),
    Metric("macs_dense", "1", "neither", "the same for the dense network"),
    Metric("flops", "1", "lower", "floating-point operations of one forward pass: two for each multiply-accumulate"),
    Metric("flops_dense", "1", "neither", "the same for the dense network"),
    Metric("model_bytes", "byte", "lower", "bytes of the tensors in the state dict, buffers included"),
    Metric("weight_error", "1", "lower", "||W - W~|| / ||W|| over all compressed layers together, before training"),
    Metric("decompose_s", "s", "lower", "time to choose ranks, factorise and swap the layers"),
    Metric("baseline_s", "s", "neither", "time that training the baseline took (none for an imported checkpoint)"),
    Metric("train_s", "s", "lower", "time of the case's own training, all epochs"),
    Metric("epoch_s", "s", "lower", "median time of one epoch of the case's own training"),
    Metric("end_to_end_s", "s", "lower", "baseline's training + decomposition + training"),
    Metric("step_ms", "ms", "lower", "median time of a training step, the slowest rank's (warm-up apart)"),
    Metric("top1", "%", "higher", "test pictures classified right after training, at the last epoch"),
    Metric("top1_before", "%", "higher", "test pictures classified right after decomposition, before training"),
    Metric("top1_baseline", "%", "neither", "test pictures that the baseline classifies right"),
    Metric("correct", "1", "higher", "number of test pictures classified right after training"),
    Metric("test_pictures", "1", "neither", "number of test pictures"),
    Metric("train_loss", "nat", "lower", "mean training loss of the last epoch"),
    Metric("forward_ms", "ms", "lower", "median latency of a forward pass at batch 1"),
    Metric("throughput", "1/s", "higher", "pictures per second of the forward pass at batch 128 (median)"),
    Metric("decompose_peak_bytes", "byte", "lower", "peak memory of the decomposition above its start"),
    Metric("train_peak_bytes", "byte", "lower", "peak memory of the training above its start (largest rank)"),
    Metric("forward_peak_bytes", "byte", "lower", "peak memory of the timed forward passes above their start"),
    Metric("processes", "1", "neither", "processes that the case's training was spread over"),
    Metric("threads", "1", "neither", "threads per process during training"),
    Metric("compression", "1", "higher", "params_dense / params, whole network", derived=True),
    Metric("compression_layers", "1", "higher", "params_layers_dense / params_layers", derived=True),
    Metric("mac_reduction", "1", "higher", "macs_dense / macs; not a speedup", derived=True),
    Metric("drop", "point", "lower", "top1 of dense with the same extra training, minus top1", derived=True),
    Metric("algorithmic_speedup", "1", "higher", "forward_ms of dense / forward_ms, same processes", derived=True),
    Metric("speedup", "1", "higher", "step_ms on one core (threads:1) or one GPU / step_ms, same model", derived=True),
    Metric("efficiency", "1", "higher", "speedup / cores or GPUs used", derived=True),
    Metric("same_cores_ratio", "1", "higher", "step_ms of one process on the same cores / step_ms", derived=True),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
