"""A network in stages over the ranks of a group: where it is cut, and the schedule of its micro-batches."""
