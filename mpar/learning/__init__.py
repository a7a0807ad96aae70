"""Training: recipe, splits, augmentation, losses, optimizers, the loop, one or several networks.

Imports `mpar.network`, and scores and figures to show progress.
"""
