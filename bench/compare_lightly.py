#!/usr/bin/env python3
"""A whole training program beside the same one in lightly: SimCLR of ResNet-18 (CIFAR stem) on CIFAR-10, 256 images x 2
views, NT-Xent at temperature 0.5, SGD with momentum; reading, decoding, augmentation, steps, checkpoint.

    python bench/compare_lightly.py --data /path/to/cifar-10-batches-bin [--build build] [--rounds 3] [--steps 6]

Both run to 2 steps and to 2 + STEPS; the difference, divided by its images, leaves the start out. lightly's side is its
README's loop: SimCLRTransform on PIL images, two worker processes, channels_last. Needs torch, torchvision and lightly in
this interpreter.
"""
import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from compare_pytorch import cifar_resnet18, seconds_of_program

BATCH = 256


def run_lightly(data, steps, threads):
    import numpy
    import torch
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    torch.set_num_threads(threads)

    class Cifar10(torch.utils.data.Dataset):
        def __init__(self):
            files = sorted(Path(data).glob("data_batch_*.bin"))
            rows = numpy.concatenate([numpy.fromfile(f, numpy.uint8).reshape(-1, 3073) for f in files])
            self.images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            self.view = SimCLRTransform(input_size=32, cj_strength=0.5, min_scale=0.2, gaussian_blur=0.0)

        def __len__(self):
            return len(self.images)

        def __getitem__(self, i):
            return self.view(Image.fromarray(self.images[i]))

    net = cifar_resnet18("cpu")
    head = SimCLRProjectionHead(512, 1024, 128)
    criterion = NTXentLoss(temperature=0.5)
    optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], 0.06, momentum=0.9, weight_decay=5e-4)
    loader = torch.utils.data.DataLoader(Cifar10(), BATCH, shuffle=True, num_workers=2, drop_last=True)
    for step, (a, b) in enumerate(loader):
        if step == steps:
            break
        a, b = (x.to(memory_format=torch.channels_last) for x in (a, b))
        loss = criterion(head(net(a)), head(net(b)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save({"net": net.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state_dict()}, os.devnull)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the directory of data_batch_1.bin …")
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=3, help="turns each program takes")
    parser.add_argument("--steps", type=int, default=6, help="timed steps a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--lightly-only", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.lightly_only:
        return run_lightly(args.data, args.lightly_only, args.threads)

    with tempfile.TemporaryDirectory() as directory:
        runs = iter(range(1000))

        def ours(steps):
            return seconds_of_program([f"{args.build}/bin/tacit", "pretrain", "simclr", "--data", f"cifar10:{args.data}", "--recipe",
                            "cifar10", "--augmentation", "simclr", "--encoder", "resnet18", "--batch-size", str(BATCH),
                            "--steps", str(steps), "--threads", str(args.threads), "--quiet", "--out",
                            f"{directory}/{next(runs)}"])

        def theirs(steps):
            return seconds_of_program([sys.executable, __file__, "--data", args.data, "--threads", str(args.threads),
                            "--lightly-only", str(steps)])

        times = [[program(steps) for program in (ours, theirs) for steps in (2, 2 + args.steps)]
                 for _ in range(args.rounds)]
    images = args.steps * BATCH
    a, b = (statistics.median((t[i + 1] - t[i]) / images * 1e3 for t in times) for i in (0, 2))
    import lightly
    import torch
    print(f"lightly {lightly.__version__}, PyTorch {torch.__version__}, {args.threads} threads, 2 workers, "
          f"{args.rounds} turns of {args.steps} steps")
    print(f"ms an image: tacit {a:.2f}, lightly {b:.2f}, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
