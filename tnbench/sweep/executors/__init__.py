"""What runs and isolates cases; never measured."""
