"""Every quantity that tnbench records, declared once: unit, direction, meaning, and where its samples come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Metric:
    """`better` is ``higher``, ``lower`` or ``neither``.

    `varies` says what has to be repeated to learn how far the number scatters: a ``launch`` (it is timed, or memory),
    the ``seed`` (another run with the same seed computes the same), or ``never`` (it is counted).
    `sources` are the stored metrics that a derived one is computed from when somebody looks; it is never stored itself.
    """

    name: str
    unit: str
    better: str
    summary: str
    varies: str = "launch"
    sources: tuple[str, ...] = ()

    @property
    def derived(self) -> bool:
        return bool(self.sources)


def _derived(name: str, sources: str, unit: str, better: str, summary: str) -> Metric:
    return Metric(name, unit, better, summary, sources=tuple(sources.split()))


_counted, _computed = partial(Metric, varies="never"), partial(Metric, varies="seed")

_ALL = (
    _counted("params", "1", "lower", "parameters of the whole network, after compression"),
    _counted("params_nonzero", "1", "lower", "the same without weights that were set to zero one by one"),
    _counted("params_dense", "1", "neither", "parameters of the whole dense network"),
    _counted("params_layers", "1", "lower", "weights of the layers that were compressed, after compression"),
    _counted("params_layers_dense", "1", "neither", "weights of the same layers when dense"),
    _counted("macs", "1", "lower", "multiply-accumulates of one picture's forward pass, counted from the modules"),
    _counted("macs_dense", "1", "neither", "the same for the dense network"),
    _counted("flops", "1", "lower", "floating-point operations of one forward pass: two for each multiply-accumulate"),
    _counted("flops_dense", "1", "neither", "the same for the dense network"),
    _counted("model_bytes", "byte", "lower", "bytes of the tensors in the state dict, buffers included"),
    _computed(
        "weight_error", "1", "lower", "||W - W~|| / ||W|| over the layers of the last decomposition; not of random ones"
    ),
    Metric("decompose_s", "s", "lower", "time to choose ranks, factorise and swap layers, at every decomposition"),
    Metric("recalibrate_s", "s", "lower", "time to recompute BatchNorm's statistics, where the training does that"),
    Metric("baseline_s", "s", "neither", "time that training the baseline took (none for an imported checkpoint)"),
    Metric("train_s", "s", "lower", "time of the case's own training, all epochs"),
    Metric(
        "tune_s", "s", "neither", "time of the trials that chose the rate: decomposing, training, evaluating; apart"
    ),
    Metric("epoch_s", "s", "lower", "median time of an epoch, of the last phase of the case's own training"),
    Metric("end_to_end_s", "s", "lower", "baseline's training + decomposition + training + recalibration"),
    Metric("step_ms", "ms", "lower", "median time of a step of the last phase, the slowest rank's (warm-up apart)"),
    _computed("top1", "%", "higher", "test pictures classified right after training, at the last epoch"),
    _computed("top5", "%", "higher", "test pictures whose label is among the five best; with more than ten classes"),
    _computed("top1_before", "%", "higher", "test pictures classified right after decomposition, before training"),
    _computed("top1_baseline", "%", "neither", "test pictures that the baseline classifies right"),
    _computed("correct", "1", "higher", "number of test pictures classified right after training"),
    _counted("test_pictures", "1", "neither", "number of test pictures"),
    _computed("top1_train", "%", "neither", "training pictures as they are (up to 10,000, seeded) classified right"),
    _computed("ece", "point", "lower", "expected calibration error on the test pictures, 15 bins, no temperature"),
    _computed("test_nll", "nat", "lower", "mean negative log-likelihood of the test pictures' labels"),
    _computed("train_loss", "nat", "lower", "mean training loss of the last epoch"),
    Metric("train_pictures_per_s", "1/s", "higher", "training pictures seen / train_s, all epochs and ranks together"),
    Metric("wait_share", "%", "lower", "share of train_s that was waited for pictures (the rank that waited longest)"),
    Metric(
        "train_energy_j",
        "J",
        "lower",
        "energy of the GPUs, or of the processor packages, from start to end of training",
    ),
    Metric("forward_ms", "ms", "lower", "median latency of a forward pass at batch 1"),
    Metric("throughput", "1/s", "higher", "pictures per second of the forward pass at batch 128 (median)"),
    Metric("decompose_peak_bytes", "byte", "lower", "peak memory of the decomposition above its start"),
    Metric("train_peak_bytes", "byte", "lower", "peak memory of the training above its start (largest rank)"),
    Metric("forward_peak_bytes", "byte", "lower", "peak memory of the timed forward passes above their start"),
    Metric("fixed_step_ms", "ms", "lower", "median time of a step on one batch again and again, the slowest rank's"),
    Metric("muted_step_ms", "ms", "neither", "the same with nothing sent between ranks, in turns with it"),
    Metric(
        "forward_phase_ms", "ms", "lower", "of fixed_step_ms: the forward pass and the loss (slowest rank's median)"
    ),
    Metric("backward_phase_ms", "ms", "lower", "of fixed_step_ms: the backward pass, with what is sent during it"),
    Metric("optimiser_phase_ms", "ms", "lower", "of fixed_step_ms: the optimiser's move"),
    Metric(
        "core_share", "%", "neither", "of its cores that the rank got that got least, in steps that wait for nobody"
    ),
    Metric("infer_ms", "ms", "lower", "median time of a forward pass of the global batch over all ranks, in eval mode"),
    _counted("words_step", "1", "lower", "numbers given to collectives in a step by the rank that gives most"),
    _counted("words_infer", "1", "lower", "the same in a forward pass of the global batch in eval mode"),
    Metric("predicted_step_ms", "ms", "neither", "fixed_step_ms as the cost model has it, by a calibration"),
    Metric("predicted_comm_ms", "ms", "neither", "of predicted_step_ms: what goes with communication"),
    _counted("predicted_words_step", "1", "neither", "words_step by the cost model's formulas"),
    Metric("decompose_alone_s", "s", "lower", "time to factorise all layers at known ranks, one rank alone"),
    Metric(
        "decompose_spread_s", "s", "lower", "the same with the layers spread over the ranks, factors on all of them"
    ),
    _counted("processes", "1", "neither", "processes that the case's training was spread over"),
    _counted("threads", "1", "neither", "threads per process during training"),
    _derived("compression", "params_dense params", "1", "higher", "params_dense / params, whole network"),
    _derived(
        "compression_layers", "params_layers_dense params_layers", "1", "higher", "params_layers_dense / params_layers"
    ),
    _derived(
        "budget_gap",
        "params_nonzero params_dense",
        "%",
        "neither",
        "non-zero parameters above the budget of the rank (xR, net-xR); from -2 to 0 networks have equal parameters",
    ),
    _derived("mac_reduction", "macs_dense macs", "1", "higher", "macs_dense / macs; not a speedup"),
    _derived("generalisation_gap", "top1_train top1", "point", "lower", "top1_train - top1"),
    _derived(
        "time_to_acc_s",
        "top1_baseline top1",
        "s",
        "lower",
        "train_s up to the last phase's first epoch within a point of the dense network's top1; only where curve is on",
    ),
    _derived("drop", "top1", "point", "lower", "top1 of dense with the same extra training, minus top1"),
    _derived("algorithmic_speedup", "forward_ms", "1", "higher", "forward_ms of dense / forward_ms, same processes"),
    _derived("algorithmic_step_speedup", "step_ms", "1", "higher", "step_ms of dense / step_ms, same processes"),
    _derived("speedup", "step_ms", "1", "higher", "step_ms on one core (threads:1) or one GPU / step_ms, same model"),
    _derived(
        "efficiency",
        "step_ms",
        "1",
        "higher",
        "speedup / cores or GPUs used; where each rank has a batch of its own, step_ms on one core / step_ms",
    ),
    _derived("same_cores_ratio", "step_ms", "1", "higher", "step_ms of one process on the same cores / step_ms"),
    _derived(
        "karp_flatt", "step_ms", "1", "lower", "serial share that would explain speedup S on P cores: (1/S-1/P)/(1-1/P)"
    ),
    _derived("infer_speedup", "infer_ms", "1", "higher", "infer_ms on one core (threads:1) / infer_ms, same model"),
    _derived(
        "decompose_speedup",
        "decompose_alone_s decompose_spread_s",
        "1",
        "higher",
        "decompose_alone_s / decompose_spread_s, of one launch",
    ),
    _derived(
        "measured_over_predicted",
        "fixed_step_ms predicted_step_ms",
        "1",
        "neither",
        "fixed_step_ms / predicted_step_ms: how far the cost model is off",
    ),
    _derived(
        "comm_share",
        "fixed_step_ms muted_step_ms",
        "%",
        "lower",
        "share of a step that goes with nothing sent: (fixed_step_ms - muted_step_ms) / fixed_step_ms, unclipped",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
