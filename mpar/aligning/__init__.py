"""Events and rows of label files as one label for each frame of a video."""
