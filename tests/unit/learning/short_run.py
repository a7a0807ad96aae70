"""The options of short runs, and what they write for TensorBoard."""

from mpar.learning.recipe import TrainConfig

CONFIG = TrainConfig(
    model_type="light",
    num_epochs=2,
    batch_size=4,
    window=12,
    augment=True,
    restart_epochs=0,
    warmup_epochs=0.5,
    ema_decay=0.9,
    seed=5,
)


def read_events(run):
    """Return all TensorBoard events of a run folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()
