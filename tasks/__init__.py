"""What is learnt: task specifications, data sets and batches."""
