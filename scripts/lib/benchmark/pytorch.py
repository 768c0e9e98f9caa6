"""An epoch of AudioNet in PyTorch, as the original program trains it; started by the benchmark, turn by turn.

  scripts/lib/run benchmark.pytorch WINDOWS EPOCHS THREADS

The network of Bryce 2018, table 1, on f32 tensors in memory: a new permutation each epoch, batches of 512
and a small last one, KL summed over classes and batch, SGD with Nesterov momentum. Nothing is logged.
"""

import sys
import time

import torch
from torch.nn import functional

from benchmark import measure

BATCH, SAMPLES, CLASSES = 512, 640, 1000
WARM_UP_EPOCHS = 2


class AudioNet(torch.nn.Module):
  def __init__(self):
    super().__init__()
    self.conv = torch.nn.Conv1d(1, 16, 64, 2, 32)
    self.pool = torch.nn.MaxPool1d(8, 1, 4)
    self.dense = torch.nn.Linear(16, CLASSES)

  def forward(self, audio):
    return self.dense(self.pool(self.conv(audio)).mean(2))  # [B, classes]


def train_epoch(net, optimizer, audio, teacher):
  order = torch.randperm(len(audio))
  for chosen in order.split(BATCH):
    optimizer.zero_grad()
    log_probabilities = functional.log_softmax(net(audio[chosen]), 1)
    functional.kl_div(log_probabilities, teacher[chosen], reduction='sum').backward()
    optimizer.step()


def main(windows, epochs, threads):
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  audio = torch.rand(windows, 1, SAMPLES) * 2 - 1
  teacher = torch.softmax(torch.randn(windows, CLASSES) * 3, 1)
  net = AudioNet()
  optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9, nesterov=True)

  def turn():
    for epoch in range(WARM_UP_EPOCHS + epochs):
      if epoch == WARM_UP_EPOCHS:
        began = time.perf_counter()
      train_epoch(net, optimizer, audio, teacher)
    return (time.perf_counter() - began) / epochs  # seconds

  measure.answer_turns(turn)


if __name__ == '__main__':
  main(*map(int, sys.argv[1:]))
