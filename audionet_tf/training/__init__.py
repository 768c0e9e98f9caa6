"""Fitting a student: configuration, train steps, losses, metrics, callbacks, TensorBoard."""
