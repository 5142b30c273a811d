import torch

torch.set_num_threads(1)  # more threads than free cores slow small convolutions down fifty-fold
