"""Learning: the recipe, splits, augmentation, losses, optimizers, the loop and its board.

Imports the network, and scores and figures to show how it goes.
"""
