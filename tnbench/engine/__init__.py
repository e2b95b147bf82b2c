"""What every training shares: compress, the loop, evaluation, augmentation."""
