"""What the engine is measured against: a bare PyTorch training step, and a training script as such scripts are usually written.

    python3 -m benchmarks.torch_rivals bare|usual fp32|bf16 THREADS        prints images/s

The same network, batch and solver (PyTorch's own SGD with nesterov=True). `bare` trains on one batch in memory, which is
what is left when data, logs and Caffe's semantics cost nothing. `usual` reads images through a Dataset that crops,
converts and normalises one image after the other, as torchvision's transforms do, in a DataLoader of two processes.
"""

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import training as bench
from paper import facts, ours

STEPS, WARM = 20, 3


class Block(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        stride = 1 if inputs == width else 2
        self.main = nn.Sequential(conv(inputs, width, 3, stride), nn.ReLU(inplace=True), conv(width, width, 3, 1))
        self.side = conv(inputs, width, 2, 2) if stride == 2 else nn.Identity()

    def forward(self, x):
        return F.relu(self.side(x) + self.main(x), inplace=True)


def conv(inputs, width, kernel, stride):
    return nn.Sequential(nn.Conv2d(inputs, width, kernel, stride, kernel // 2 if kernel == 3 else 0, bias=False), nn.BatchNorm2d(width))


def network(blocks=3):
    parts, inputs = [conv(3, facts.WIDTHS[0], 3, 1), nn.ReLU(inplace=True)], facts.WIDTHS[0]
    for width in facts.WIDTHS:
        for _ in range(blocks):
            parts.append(Block(inputs, width))
            inputs = width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, bench.CLASSES))


class Images(torch.utils.data.Dataset):
    """Random images in memory; a crop, a conversion and a normalisation for each, one after the other."""

    def __init__(self):
        self.images = np.random.RandomState(0).randint(0, 256, (bench.IMAGES, 40, 40, 3)).astype(np.uint8)
        self.mean, self.deviation = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.25)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        y, x = (int(torch.randint(0, 9, (1,))) for _ in range(2))
        image = torch.from_numpy(self.images[i][y : y + facts.CROP, x : x + facts.CROP].copy())
        image = image.permute(2, 0, 1).contiguous().float().div(255)
        return (image - self.mean) / self.deviation, i % bench.CLASSES


def batches(kind, device, size):
    """Batch after batch without end; the one of `bare` lies on the device."""
    if kind == "bare":
        batch = (torch.randn(size, 3, facts.CROP, facts.CROP, device=device), torch.randint(0, bench.CLASSES, (size,), device=device))
        while True:
            yield batch
    while True:
        yield from torch.utils.data.DataLoader(Images(), size, shuffle=True, num_workers=2, drop_last=True, pin_memory=device != "cpu")


def main(kind, precision, threads, device="cpu", steps=STEPS, size=ours.PRETRAIN_BATCH):
    torch.set_num_threads(threads)
    model = network().to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, ours.MOMENTUM, weight_decay=ours.WEIGHT_DECAY, nesterov=True)
    for step, (images, labels) in enumerate(batches(kind, device, size)):
        if step == WARM:
            start = time.perf_counter()
        if step == WARM + steps:
            return steps * size / (time.perf_counter() - start)
        images, labels = (each.to(device, non_blocking=True) for each in (images, labels))
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
