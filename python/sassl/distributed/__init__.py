"""Several processes of torch as one: which rank each is, messages between them, and batch norm over the batch of all."""
