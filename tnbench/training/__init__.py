"""What is done to the weights besides decomposing, one idea per file."""
