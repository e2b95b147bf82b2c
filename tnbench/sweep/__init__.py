"""Many cases: suites, selection, plan, runner, executors."""
