"""Training: recipe, splits, augmentation, losses, optimizers, the loop and TensorBoard.

Imports the network, and scores and figures to show progress.
"""
