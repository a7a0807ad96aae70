"""Mouse Pain Action Recognition: learn a lab's frame-by-frame scoring and apply it."""

__version__ = "0.1.0"
