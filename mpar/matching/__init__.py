"""Which label file belongs to which video and animal."""
