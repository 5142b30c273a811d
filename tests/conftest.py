import signal

import torch

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind nohup, by us and by what we start
torch.set_num_threads(1)  # more threads than free cores slow small convolutions down fifty-fold
