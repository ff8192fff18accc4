"""Where a run's journal goes besides the disk: TensorBoard, Weights & Biases, Trackio."""
