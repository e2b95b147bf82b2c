"""A meter of the tensors that an algorithm holds at once; the process's own size has the allocator's habits in it."""

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakBytes(TorchDispatchMode):
    """The most bytes of tensors alive at once, among those that operations inside were given or returned."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, tuple[StorageWeakRef, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                self.seen[reference.cdata] = (reference, storage.nbytes())
        self.seen = {key: entry for key, entry in self.seen.items() if not entry[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.seen.values()))
        return result
