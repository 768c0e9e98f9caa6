"""What one step of training computes: the loss and its weights, metrics, masks, and the change of the weights."""
