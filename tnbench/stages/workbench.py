"""A case laid out for other clocks: prepared once, as `run_case` prepares it, with the calls that they may time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from tnbench.core.errors import NotApplicable
from tnbench.core.job import Job
from tnbench.core.protocols import Crew
from tnbench.engine.batches import Batches, batches
from tnbench.engine.compress import swap_layers
from tnbench.engine.evaluate import mode_of, normalise
from tnbench.engine.precision import lay_out
from tnbench.engine.step import step_of
from tnbench.engine.swapped import Swapped
from tnbench.stages.conditions import conditions_of
from tnbench.stages.decompose import Decomposition, decompose, warm_up
from tnbench.stages.measure import measure_size
from tnbench.stages.prepare import numerics, prepare
from tnbench.stages.tools import CaseTools
from tnbench.stages.train import recipe_of

Call = Callable[[], object]


class Workbench:
    """One case under the numerics of its settings and the threads of its parallel plug-in, inside a ``with`` block.

    The dense network is the job's baseline where it has one, else the network drawn from the seed. Nothing is trained.
    Making one raises NotApplicable, UsageError or PluginError, as `run_case` does, and NotApplicable for a case that
    is spread over several processes, which no clock of one process can time.
    """

    def __init__(self, job: Job) -> None:
        self.prepared = prepare(job)
        parallel = self.prepared.plugins["parallel"]
        if not parallel.module.IN_PROCESS:
            raise NotApplicable(
                f"{job.case.parallel} spreads a step over processes, which one process cannot time; "
                f"measure it with tnbench run"
            )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(numerics(self.prepared.job.settings))
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(self._crew.threads)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def dense(self) -> nn.Module:
        """The network before compression."""
        tools = CaseTools(self.prepared)
        return tools.baseline() if self.prepared.job.baseline else tools.fresh()

    @cached_property
    def decomposition(self) -> Decomposition:
        """One compression of the dense network, not rescaled: its model, summary and peak memory."""
        return decompose(self.prepared, self.dense)

    def size(self) -> dict[str, float]:
        """Parameters, multiply-accumulates and bytes, by the names of the metric registry."""
        return measure_size(self.decomposition.model, self.dense, self.prepared.pictures.in_shape).metrics

    def decompose(self) -> Callable[[], Swapped]:
        """A call that chooses ranks, factorises and swaps the layers."""
        prepared, model = self.prepared, self.dense
        conditions = conditions_of(prepared, model, scratch=False, note=print)
        warm_up(prepared.methods, prepared.device)
        return lambda: swap_layers(model, prepared.methods, prepared.plugins["rank"], conditions)

    def forward(self, batch_size: int) -> Call:
        """A call of the compressed network in eval mode, on pictures that are on the device already."""
        model, batch = self.decomposition.model.eval(), self._pictures(batch_size)

        def call() -> None:
            with torch.inference_mode():
                model(batch)

        return call

    def layers_forward(self, batch_size: int) -> Call:
        """A call of each compressed layer alone, in the network's order, on what reaches it in the dense network."""
        pairs = self._layers_with_inputs(batch_size)

        def call() -> None:
            with torch.inference_mode():
                for layer, inputs in pairs:
                    layer(inputs)

        return call

    def layers_backward(self, batch_size: int) -> Call:
        """A call of each compressed layer's backward pass alone: gradients of its inputs and of its weights."""
        ready = []
        for layer, inputs in self._layers_with_inputs(batch_size):
            inputs = inputs.requires_grad_()
            outputs = layer(inputs)
            ready.append((outputs, [inputs, *layer.parameters()], torch.ones_like(outputs)))

        def call() -> None:
            for outputs, leaves, gradient in ready:
                torch.autograd.grad(outputs, leaves, gradient, retain_graph=True)

        return call

    def step(self) -> Call:
        """A call of one training step of a copy of the compressed network, on one batch again and again."""
        job, pictures = self.prepared.job, self.prepared.pictures
        ranks = self.prepared.plugins["parallel"].atom.count or 1
        recipe = recipe_of(job, epochs=max(1, job.settings.epochs), lr=job.settings.lr, ranks=ranks)
        device, model = self.prepared.device, copy.deepcopy(self.decomposition.model).train()
        data = Batches(
            pictures.train.to(device),
            pictures.train_labels.to(device),
            self.prepared.normalisation,
            pictures.augmentation,
            self.prepared.dtype,
        )
        lay_out(model, recipe)
        take = step_of(model, data, recipe, self._crew, kernels=self.decomposition.kernels)
        first = next(batches(len(data), recipe, epoch=0))
        return lambda: take(first, epoch=0, number=0)

    @cached_property
    def _crew(self) -> Crew:
        parallel, settings = self.prepared.plugins["parallel"], self.prepared.job.settings
        crews: list[Crew] = parallel.module.launch(
            lambda crew: crew, parallel.atom.count, parallel.options, settings.device, self.prepared.job.plugin_files
        )
        return crews[0]

    def _pictures(self, size: int) -> Tensor:
        test = self.prepared.pictures.test
        repeated = test[torch.arange(size) % len(test)].to(self.prepared.device)
        return normalise(repeated, self.prepared.normalisation, self.prepared.dtype)

    def _layers_with_inputs(self, batch_size: int) -> list[tuple[nn.Module, Tensor]]:
        """The compressed layers, each with the batch that reaches its place in the dense network."""
        compressed = [layer.name for layer in self.decomposition.summary.compressed]
        inputs: dict[str, Tensor] = {}
        hooks = [
            self.dense.get_submodule(name).register_forward_pre_hook(
                lambda layer, given, name=name: inputs.__setitem__(name, given[0].clone())
            )
            for name in compressed
        ]
        with torch.no_grad(), mode_of(self.dense, training=False):
            self.dense(self._pictures(batch_size))
        for hook in hooks:
            hook.remove()
        return [(self.decomposition.model.get_submodule(name), inputs[name]) for name in compressed]
