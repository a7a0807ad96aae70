"""The study: a folder with everything that belongs together, its jobs, and its window.

The window is Flask with plain ES modules, like the page for scoring: it shares the server that is
closed to others, installs with the same extra, needs no build step, and works without internet.
Imports the doors; the commands ask `mpar.studio.study`, which is quick to load, for arguments.
"""
