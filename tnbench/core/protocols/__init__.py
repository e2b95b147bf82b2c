"""What a plug-in of each kind provides. A plug-in is a module: its functions are the protocol's methods.

Types from torch are named for the reader and the type checker only; importing these files imports no torch.
"""

from tnbench.core.protocols.datasets import Augmentation, Dataset, Normalisation, Pictures, StoredPictures, Wanted
from tnbench.core.protocols.methods import GroupMethod, Method, NetworkMethod
from tnbench.core.protocols.models import Model, Published
from tnbench.core.protocols.parallel import Crew, Parallel, Payload, RankEntry, Task
from tnbench.core.protocols.ranks import Candidate, Choice, KeepDense, Probe, RankPolicy
from tnbench.core.protocols.training import Fit, Guide, Part, Recipe, Training, TrainingTools
from tnbench.core.protocols.weights import Factors, Pixels, Ranks, Shape, Stats

__all__ = [
    "Augmentation",
    "Candidate",
    "Choice",
    "Crew",
    "Dataset",
    "Factors",
    "Fit",
    "GroupMethod",
    "Guide",
    "KeepDense",
    "Method",
    "Model",
    "NetworkMethod",
    "Normalisation",
    "Parallel",
    "Part",
    "Payload",
    "Pictures",
    "Pixels",
    "Probe",
    "Published",
    "RankEntry",
    "RankPolicy",
    "Ranks",
    "Recipe",
    "Shape",
    "Stats",
    "StoredPictures",
    "Task",
    "Training",
    "TrainingTools",
    "Wanted",
]
