"""Weights of other programs, read by `tacit pretrain METHOD --init FILE --steps 0`: torchvision's ResNets, timm's ViTs
and an MAE under the official names, bare and as the programs around them save them. Each case imports a file of random
weights, exports it again and compares the bits, and compares `tacit embed`'s features with PyTorch's.

    python check_import.py TACIT IMAGES WORK        IMAGES: a directory of PNGs (check_export.py images)
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn

from check_export import batch

tacit, images, work = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
LIMIT = 2e-6  # of the largest feature


def run(*arguments, fails=False):
    process = subprocess.run([tacit, *map(str, arguments)], capture_output=True, text=True)
    if (process.returncode != 0) != fails:
        sys.exit(f"FAILED: tacit {' '.join(map(str, arguments))}\n{process.stdout}{process.stderr}")
    return process.stdout + process.stderr


def randomised(net, seed=0):
    """Every parameter and statistic away from what constructors give, in ranges of a trained network's."""
    generator = torch.Generator().manual_seed(seed)
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            t.fill_(100)
        elif name.endswith("running_var") or (name.endswith("weight") and t.dim() == 1):
            t.copy_(torch.rand(t.shape, generator=generator) + 0.5)
        elif t.dim() > 1 and not name.endswith(("pos_embed", "token")):
            t.copy_(torch.randn(t.shape, generator=generator) * (t[0].numel() ** -0.5))
        else:
            t.copy_(torch.randn(t.shape, generator=generator) * 0.1)
    return net.eval()


def imported(name, file, flags, method="simclr"):
    save_file({key: t.contiguous().clone() for key, t in file.items()}, work / "in.safetensors")
    out = work / name.replace(" ", "-")
    return out, run("pretrain", method, "--data", "synthetic:8", "--batch-size", 4, "--image-size", 32, "--steps", 0,
                    "--init", work / "in.safetensors", "--out", out, *flags)


def case(name, net, file, flags, expect, form=None, method="simclr"):
    """net: without a head. file: the tensors as they lie in the file. expect: what tacit says of them."""
    out, said = imported(name, file, flags, method)
    line = re.search(r"^init +\S+: (.*)$", said, re.M).group(1)
    assert line == expect, f"{name}: tacit says\n  {line}\nnot\n  {expect}"
    run("export", out, "--out", out / "out.safetensors", "--quiet", *(["--format", form] if form else []))
    back, own = load_file(out / "out.safetensors"), net.state_dict()
    assert set(back) == set(own), f"{name}: {set(back) ^ set(own)}"
    for key, t in back.items():
        assert torch.equal(t, own[key]), f"{name}: {key} differs by {(t - own[key]).abs().max()}"
    run("embed", out, "--data", f"folder:{images}", "--split", "all", "--out", out / "features", "--quiet")
    ours = torch.from_numpy(np.load(out / "features" / "features.npy"))
    with torch.no_grad():
        expected = net(batch(out / "out.safetensors", images))
    error = ((ours - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: {line}; same bits, features to {error:.1e}")
    assert error < LIMIT, name


def prefixed(state, prefix):
    return {prefix + key: t for key, t in state.items()}


def resnet(name, stem="imagenet", seed=0):
    net = getattr(torchvision.models, name)()
    if stem == "cifar":
        net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = torch.nn.Identity()
    return randomised(net, seed)


def headless(net):
    net.fc = torch.nn.Identity()
    return net


def of_resnets():
    for name, count in (("resnet18", 120), ("resnet50", 318)):
        net = resnet(name)
        state = dict(net.state_dict())
        case(f"torchvision {name}", headless(net), state, ["--encoder", name, "--stem", "imagenet"],
             f"{count} matched, 0 missing, 2 unexpected (fc.bias, fc.weight)")
    net = randomised(timm.create_model("resnet34", num_classes=0))
    case("timm resnet34", net, dict(net.state_dict()), ["--encoder", "resnet34", "--stem", "imagenet"],
         "216 matched, 0 missing, 0 unexpected")

    net, other = resnet("resnet18", "cifar", 1), resnet("resnet18", "cifar", 2)
    full = dict(net.state_dict())
    body, moving = {k: t for k, t in full.items() if not k.startswith("fc.")}, other.state_dict()
    headless(net)
    cifar = ["--encoder", "resnet18", "--stem", "cifar"]
    case("MoCo", net, {**prefixed(full, "module.encoder_q."), **prefixed(moving, "module.encoder_k."),
                       "module.queue": torch.randn(16, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}, cifar,
         '120 matched, 0 missing, 2 unexpected (fc.bias, fc.weight), prefix "module.encoder_q." stripped, 124 outside it '
         "(module.encoder_k.bn1.bias, module.encoder_k.bn1.num_batches_tracked, module.encoder_k.bn1.running_mean "
         "and 121 more)")
    case("solo-learn", net, {**prefixed(body, "backbone."), **prefixed(moving, "momentum_backbone."),
                             "projector.0.weight": torch.randn(4, 4)}, cifar,
         '120 matched, 0 missing, 0 unexpected, prefix "backbone." stripped, 123 outside it (momentum_backbone.bn1.bias, '
         "momentum_backbone.bn1.num_batches_tracked, momentum_backbone.bn1.running_mean and 120 more)")
    children = torch.nn.Sequential(*list(net.children())[:-1])
    case("lightly, numbered", net, prefixed(children.state_dict(), "backbone."), cifar,
         '120 matched, 0 missing, 0 unexpected, prefix "backbone." stripped, numbered children read in the encoder\'s order')
    compiled = torch.compile(torch.nn.DataParallel(net))
    case("torch.compile", net, dict(compiled.state_dict()), cifar,
         '120 matched, 0 missing, 0 unexpected, prefix "_orig_mod.module." stripped')
    small = {k: (t.half() if t.is_floating_point() else t) for k, t in full.items()}
    case("f16", headless(rounded(resnet("resnet18", "cifar", 1), torch.float16)), small, cifar,
         "120 matched, 0 missing, 2 unexpected (fc.bias, fc.weight)")
    small = {k: (t.bfloat16() if t.is_floating_point() else t) for k, t in body.items()}
    case("bf16", headless(rounded(resnet("resnet18", "cifar", 1), torch.bfloat16)), small, cifar,
         "120 matched, 0 missing, 0 unexpected")
    case("f64", net, {k: (t.double() if t.is_floating_point() else t) for k, t in body.items()}, cifar,
         "120 matched, 0 missing, 0 unexpected")


def rounded(net, dtype):
    for t in net.state_dict().values():
        if t.is_floating_point():
            t.copy_(t.to(dtype))
    return net


def of_vits():
    tiny = dict(img_size=32, patch_size=4, embed_dim=192, depth=12, num_heads=3)
    vit = ["--encoder", "vit_tiny", "--patch-size", 4]
    net = randomised(VisionTransformer(**tiny))
    state = dict(net.state_dict())
    net.head = torch.nn.Identity()
    case("timm ViT", net, state, vit, "150 matched, 0 missing, 2 unexpected (head.bias, head.weight)")
    case("DINO", net, {**prefixed(net.state_dict(), "teacher.backbone."), "teacher.head.mlp.0.weight": torch.randn(4, 4),
                       **prefixed(net.state_dict(), "student.module.backbone.")}, vit,
         '150 matched, 0 missing, 0 unexpected, prefix "teacher.backbone." stripped, 151 outside it '
         "(student.module.backbone.blocks.0.attn.proj.bias, student.module.backbone.blocks.0.attn.proj.weight, "
         "student.module.backbone.blocks.0.attn.qkv.bias and 148 more)")
    net = randomised(VisionTransformer(**tiny, num_classes=0, global_pool="avg"))
    case("timm ViT, mean", net, dict(net.state_dict()), [*vit, "--pool", "mean"], "150 matched, 0 missing, 0 unexpected")

    # Positions of 64-pixel images, as timm resizes them for 32.
    large = randomised(VisionTransformer(**{**tiny, "img_size": 64}, num_classes=0))
    net = VisionTransformer(**tiny, num_classes=0)
    net.load_state_dict(checkpoint_filter_fn(dict(large.state_dict()), net))
    out, said = imported("timm ViT of other size", large.state_dict(), vit)
    assert "pos_embed resized from 16 x 16 to 8 x 8 patches" in said, said
    run("export", out, "--out", out / "out.safetensors", "--quiet")
    ours, theirs = load_file(out / "out.safetensors")["pos_embed"], net.state_dict()["pos_embed"]
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    print(f"timm ViT of other size: pos_embed as timm resizes it to {error:.1e}")
    assert error < LIMIT


class OfficialMAE(VisionTransformer):
    """Members as in facebookresearch/mae, models_mae.py; only their names and shapes matter here."""

    def __init__(self, decoder_dim, decoder_depth, decoder_heads, **encoder):
        super().__init__(num_classes=0, **encoder)
        patches, dim = self.patch_embed.num_patches, encoder["embed_dim"]
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_embed = torch.nn.Linear(dim, decoder_dim)
        self.decoder_pos_embed = torch.nn.Parameter(torch.zeros(1, 1 + patches, decoder_dim), requires_grad=False)
        self.decoder_blocks = torch.nn.ModuleList(
            Block(decoder_dim, decoder_heads, qkv_bias=True) for _ in range(decoder_depth))
        self.decoder_norm = torch.nn.LayerNorm(decoder_dim)
        self.decoder_pred = torch.nn.Linear(decoder_dim, encoder["patch_size"] ** 2 * 3)


def of_mae():
    encoder = dict(img_size=32, patch_size=4, embed_dim=192, depth=12, num_heads=3)
    net = randomised(OfficialMAE(64, 2, 4, **encoder))
    flags = ["--encoder", "vit_tiny", "--patch-size", 4, "--pool", "cls"]
    decoder = ["--decoder-dim", 64, "--decoder-depth", 2, "--decoder-heads", 4]
    case("official MAE", net, dict(net.state_dict()), [*flags, *decoder], "182 matched, 0 missing, 0 unexpected", "mae",
         "mae")
    # As the official script saves it: a dictionary with the arguments beside the weights, in PyTorch's format. tacit says
    # how to convert it, and that is what is run here.
    pth = work / "mae's own.pth"
    torch.save({"model": net.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=1e-3)}, pth)
    error = run("pretrain", "mae", "--data", "synthetic:8", "--out", work / "never", "--init", pth, fails=True)
    command = error[error.index("python3 -c"):].strip()
    subprocess.run(["bash", "-c", command.replace("python3", sys.executable, 1)], check=True)
    case("official MAE, converted", net, load_file(work / "mae's own.safetensors"), [*flags, *decoder],
         '182 matched, 0 missing, 0 unexpected, prefix "model." stripped', "mae", "mae")


work.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("OMP_NUM_THREADS", "2")
of_resnets()
of_vits()
of_mae()
