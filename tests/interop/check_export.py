"""Loads what `tacit export` wrote into torchvision's ResNets and timm's ViTs with strict=True and compares the features.

    python check_export.py images DIR             writes 12 random 32x32 PNGs
    python check_export.py compare FILE FEATURES DIR NAME STEM
"""
import json
import pathlib
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer


def images(directory):
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(directory / f"{i:02}.png")


def network(file, name, stem):
    if name.startswith("vit_"):
        with safe_open(file, "pt") as f:  # the call that tacit says makes the same network
            return eval(f.metadata()["timm"], {"VisionTransformer": VisionTransformer})
    net = getattr(torchvision.models, name)()
    net.fc = torch.nn.Identity()
    if stem == "cifar":
        net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = torch.nn.Identity()
    return net


def batch(file, directory):
    """The images as the exported network is shown them."""
    with safe_open(file, "pt") as f:
        mean, std = (torch.tensor(json.loads(f.metadata()[key])).view(3, 1, 1) for key in ("mean", "std"))
    x = torch.stack([torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1) / 255 for p in sorted(directory.glob("*.png"))])
    return (x - mean) / std


def compare(file, features, directory, name, stem):
    net = network(file, name, stem)
    print(name, stem, net.load_state_dict(load_file(file), strict=True))
    with torch.no_grad():
        expected = net.eval()(batch(file, directory))
    ours = torch.from_numpy(np.load(features))
    error = ((ours - expected).abs().max() / expected.abs().max()).item()
    print(f"features {tuple(ours.shape)}: largest difference {error:.2e} of the largest value")
    return 0 if ours.shape == expected.shape and error < 2e-6 else 1


if __name__ == "__main__":
    if sys.argv[1] == "images":
        images(pathlib.Path(sys.argv[2]))
    else:
        sys.exit(compare(sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4]), *sys.argv[5:]))
