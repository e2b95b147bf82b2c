"""What runs and isolates cases; never measured."""

from tnbench.sweep.executors.result import Executor as Executor
from tnbench.sweep.executors.result import Result as Result
