"""One thread per process: the tests share two cores, and threads that wait for each other take minutes."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch

torch.set_num_threads(1)
