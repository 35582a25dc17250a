#!/usr/bin/env python3
"""The cases of bench_train in PyTorch, taking turns with bench_train, and the ratios of the medians.

    python bench/compare_pytorch.py [--build build] [--rounds 3] [--threads 2] [--device cpu] [--precision fp32] [--compile]
        [--json FILE [--missing]] [GROUP or CASE...]

Groups: steps (whole training steps), convs (single passes of convolutions), gemm (linear layers of a ViT-B; also in % of
what a large product reaches in PyTorch), attention (forward and backward pass on packed q, k, v, beside
scaled_dot_product_attention), augment (views, JPEGs; one thread), start (process start to the first finished step,
beside `import torch`). A case that fails is said, and the others run. Needs torch, torchvision, timm and lightly (on a GPU:
not the last) in this interpreter. PyTorch runs eager with channels_last, its fastest setting for convolutions on few cores, the
ViTs as timm has them. The second ratio is of the processors' time, summed over threads: with one thread it is worth
more on a machine that others use. On a GPU both compute in plain f32 unless --precision says tf32 (PyTorch's two
switches) or bf16 (PyTorch: autocast around the forward pass, which keeps a ViT's residual stream in f32; tacit's is
bf16, so it moves fewer bytes there); --compile gives PyTorch's networks to torch.compile. A ratio below 1 means that
tacit is faster. Where PyTorch's memory allocator is to be tuned, set
GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

GROUPS = {
    "steps": ["resnet18", "resnet18-256", "vit-micro", "vit-tiny", "vit-tiny-17", "vit-tiny-224", "simclr-resnet18",
              "simclr-small-cnn", "mae"],
    # ResNet-18's at 32 pixels: 3x3 of stride 1, of stride 2, 1x1 of stride 2 and the stem; and 1x1 of stride 1.
    "convs": [f"conv-{shape}-{what}" for shape in (
        "64-64-32-3-1", "128-128-16-3-1", "256-256-8-3-1", "512-512-4-3-1", "64-128-32-3-2", "128-256-16-3-2",
        "256-512-8-3-2", "64-128-32-1-2", "256-512-8-1-2", "64-256-16-1-1", "3-64-32-3-1") for what in ("y", "dx", "dw")],
    # Of 64 images of 224 pixels in a ViT-B/16: qkv, the attention's projection, and the two of the feed-forward part.
    "gemm": [f"gemm-{64 * 197}-{out}-{of}" for out, of in ((2304, 768), (768, 768), (3072, 768), (768, 3072))],
    # ViT-B/16: whole, and MAE's encoder; MAE's decoder narrowed; ViT-T/4 on CIFAR-10; 1024 tokens.
    "attention": ["attention-64-12-197-64", "attention-64-12-50-64", "attention-64-16-197-32", "attention-512-3-65-64",
                  "attention-16-12-1024-64"],
    "augment": ["augment-32", "augment-224", "jpeg-decode", "jpeg-resize"],
    "start": ["start"],
}


BRIEF = ("gemm", "attention")  # cases of which many steps are timed at once, as bench::steps_at_once does


def nt_xent(temperature, device):
    """NT-Xent of two views: lightly's, and on a GPU the same in fewer kernels."""
    import torch
    from torch.nn import functional as F

    if device == "cpu":
        from lightly.loss import NTXentLoss
        return NTXentLoss(temperature=temperature)

    def loss(a, b):
        z = F.normalize(torch.cat([a, b]), dim=1)
        n = a.shape[0]
        logits = (z @ z.t() / temperature).fill_diagonal_(float("-inf"))
        return F.cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))

    return loss


def cifar_resnet18(device):
    """Without a classifier."""
    import torch
    import torchvision
    from torch import nn

    net = torchvision.models.resnet18()
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool, net.fc = nn.Identity(), nn.Identity()
    return net.to(device, memory_format=torch.channels_last)


def torch_step(case, device, precision="fp32", compiled=False):
    import torch
    from torch import nn

    def finished(net):
        return torch.compile(net) if compiled else net

    def cast():
        return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")

    def small_cnn():
        layers, c = [], 1
        for k in (32, 64, 128, 256):
            layers += [nn.Conv2d(c, k, 3, 2, 1, bias=False), nn.BatchNorm2d(k), nn.ReLU(inplace=True)]
            c = k
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(device, memory_format=torch.channels_last)

    def images(n, size, channels):
        return torch.randn(n, channels, size, size).to(device, memory_format=torch.channels_last)

    def vit():
        from timm.models.vision_transformer import VisionTransformer
        size = 224 if case.endswith("224") else 32
        patch = 16 if size == 224 else 8 if case.endswith("17") else 4
        dim, depth, heads = (128, 4, 4) if "micro" in case else (192, 12, 3)
        net = VisionTransformer(img_size=size, patch_size=patch, num_classes=0, embed_dim=dim,
                                depth=depth, num_heads=heads)
        return net.to(device), images(16 if size == 224 else 64, size, 3)

    if case.startswith("conv"):
        return conv_step(case)
    if case.startswith("gemm"):
        return gemm_step(case, device, precision)
    if case.startswith("attention"):
        return attention_step(case, device, precision)
    if case.startswith("augment"):
        return augment_step(int(case[8:]))
    if case.startswith("jpeg"):
        return jpeg_step(case == "jpeg-decode")
    if case == "mae":
        return mae_step()
    if case == "mae-base-224":
        return mae_base_step(device, finished, cast)
    if case.startswith(("resnet18", "vit")):
        net, x = vit() if case.startswith("vit") else (cifar_resnet18(device), images(256 if case.endswith("256") else 64, 32, 3))
        batch, net = x.shape[0], finished(net)

        def step():
            net.zero_grad(set_to_none=True)
            with cast():
                y = net(x)
            y.float().square().mean().backward()

        return batch, step

    wide = case.startswith("simclr-resnet18")
    batch = 512 if case.endswith("512") else 256
    net, d, size, channels = (cifar_resnet18(device), 512, 32, 3) if wide else (small_cnn(), 256, 28, 1)
    head = nn.Sequential(nn.Linear(d, d, bias=False), nn.BatchNorm1d(d), nn.ReLU(inplace=True),
                         nn.Linear(d, 128)).to(device)
    params = list(net.parameters()) + list(head.parameters())
    opt = (torch.optim.SGD(params, 0.06, momentum=0.9, weight_decay=5e-4) if wide
           else torch.optim.AdamW(params, 2e-3, weight_decay=1e-2))
    criterion = nt_xent(0.5 if wide else 0.1, device)
    a, b = images(batch, size, channels), images(batch, size, channels)
    model = finished(nn.Sequential(net, head))

    def step():
        with cast():
            z = model(torch.cat([a, b]))
        z = z.float()
        loss = criterion(z[:batch], z[batch:])
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()

    return batch, step


def conv_step(case):
    """One pass of one convolution of 64 images."""
    import torch

    *numbers, what = case.split("-")[1:]
    c, k, side, taps, stride = map(int, numbers)
    last = {"memory_format": torch.channels_last}
    x = torch.randn(64, c, side, side).to(**last)
    w = torch.randn(k, c, taps, taps).to(**last)
    pad = [taps // 2, taps // 2]
    dy = torch.nn.functional.conv2d(x, w, None, stride, pad[0])
    dy = torch.randn_like(dy).to(**last)
    mask = [what == "dx", what == "dw", False]

    def step():
        if what == "y":
            torch.nn.functional.conv2d(x, w, None, stride, pad[0])
        else:
            torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, pad, [1, 1], False, [0, 0], 1, mask)

    return 64, step


def brief_dtype(precision):
    import torch

    return torch.bfloat16 if precision == "bf16" else torch.float32


def gemm_step(case, device, precision):
    """The product of a linear layer's forward pass; its factors are of the precision before the clock starts."""
    import torch

    m, n, k = map(int, case.split("-")[1:])
    x, w = (torch.randn(rows, k, device=device, dtype=brief_dtype(precision)) for rows in (m, n))

    def step():
        with torch.no_grad():
            torch.matmul(x, w.t())

    return m, step


def attention_step(case, device, precision):
    """Forward and backward pass of attention on packed q, k and v, as timm's ViT has it."""
    import torch

    b, h, t, d = map(int, case.split("-")[1:])
    qkv = torch.randn(b, t, 3 * h * d, device=device, dtype=brief_dtype(precision), requires_grad=True)
    dy = torch.randn(b, t, h * d, device=device, dtype=brief_dtype(precision))

    def step():
        qkv.grad = None
        q, k, v = qkv.reshape(b, t, 3, h, d).permute(2, 0, 3, 1, 4).unbind(0)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        y.transpose(1, 2).reshape(b, t, h * d).backward(dy)

    return b, step


def augment_step(size):
    """torchvision's SimCLR views of PIL images, as lightly has them."""
    import numpy
    import torch
    from PIL import Image
    from torchvision import transforms as T

    torch.manual_seed(0)
    side, strength = (32, 0.5) if size == 32 else (256, 1)
    images = [Image.fromarray(numpy.random.default_rng(i).integers(0, 256, (side, side, 3), numpy.uint8)) for i in range(64)]
    blur = [] if size == 32 else [T.RandomApply([T.GaussianBlur(size // 10 // 2 * 2 + 1, (0.1, 2.0))], 0.5)]
    view = T.Compose([
        T.RandomResizedCrop(size, (0.2 if size == 32 else 0.08, 1)), T.RandomHorizontalFlip(),
        T.RandomApply([T.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)], 0.8),
        T.RandomGrayscale(0.2), *blur, T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    def step():
        for image in images:
            view(image)

    return 64, step


def jpeg_step(decode):
    """16 JPEGs of 500 x 375 pixels with PIL: decoding, or torchvision's resizing to 224 pixels."""
    import io
    import numpy
    from PIL import Image
    from torchvision import transforms as T

    files = []
    for i in range(16):
        random = numpy.random.default_rng(i)
        shades = Image.fromarray(random.integers(20, 236, (16, 21, 3), numpy.uint8)).resize((500, 375), Image.BILINEAR)
        pixels = numpy.asarray(shades, numpy.int16) + random.integers(-10, 11, (375, 500, 3))
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8)).save(file, "jpeg", quality=90)
        files.append(file.getvalue())
    images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    plain = T.Compose([T.Resize(224), T.CenterCrop(224), T.ToTensor(),
                       T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    def step():
        if decode:
            for file in files:
                Image.open(io.BytesIO(file)).convert("RGB")
        else:
            for image in images:
                plain(image)

    return 16, step


def mae_step():
    """MAE with lightly's masked encoder and decoder over timm's ViT-T/4, 32 pixels, AdamW."""
    import torch
    from lightly.models import utils
    from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
    from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(img_size=32, patch_size=4, num_classes=0, embed_dim=192, depth=12, num_heads=3)
    backbone = MaskedVisionTransformerTIMM(vit=vit)
    decoder = MAEDecoderTIMM(num_patches=64, patch_size=4, embed_dim=192, decoder_embed_dim=128, decoder_depth=2,
                             decoder_num_heads=4, mlp_ratio=4.0, proj_drop_rate=0.0, attn_drop_rate=0.0)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *decoder.parameters()], 1e-3)
    images = torch.randn(256, 3, 32, 32)

    def step():
        n, tokens = images.shape[0], backbone.sequence_length
        keep, mask = utils.random_token_mask(size=(n, tokens), mask_ratio=0.75)
        encoded = decoder.embed(backbone.encode(images=images, idx_keep=keep))
        full = utils.repeat_token(decoder.mask_token, (n, tokens))
        full = utils.set_at_index(full, keep, encoded.type_as(full))
        predicted = decoder.predict(utils.get_at_index(decoder.decode(full), mask))
        target = utils.get_at_index(utils.patchify(images, 4), mask - 1)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        loss = torch.nn.functional.mse_loss(predicted, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return 256, step


def mae_base_step(device, finished, cast):
    """MAE's ViT-B/16 at 224 pixels with the paper's decoder (He et al. 2022), of timm's blocks: where lightly is not."""
    import torch
    from timm.models.vision_transformer import Block, PatchEmbed
    from torch import nn

    n, tokens, kept, dim, narrow = 64, 196, 49, 768, 512

    class Mae(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = PatchEmbed(224, 16, 3, dim)
            self.cls, self.mask = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, narrow))
            self.register_buffer("positions", torch.randn(1, 1 + tokens, dim) * 0.02)
            self.register_buffer("decoder_positions", torch.randn(1, 1 + tokens, narrow) * 0.02)
            self.blocks = nn.Sequential(*[Block(dim, 12, qkv_bias=True) for _ in range(12)], nn.LayerNorm(dim))
            self.embed = nn.Linear(dim, narrow)
            self.decoder = nn.Sequential(*[Block(narrow, 16, qkv_bias=True) for _ in range(8)], nn.LayerNorm(narrow),
                                         nn.Linear(narrow, 768))

        def forward(self, images):
            order = torch.rand(n, tokens, device=images.device).argsort(1)
            keep, back = order[:, :kept], order.argsort(1)
            x = self.patches(images) + self.positions[:, 1:]
            x = x.gather(1, keep[..., None].expand(-1, -1, dim))
            x = self.embed(self.blocks(torch.cat([(self.cls + self.positions[:, :1]).expand(n, -1, -1), x], 1)))
            full = torch.cat([x[:, 1:], self.mask.to(x.dtype).expand(n, tokens - kept, -1)], 1)
            full = full.gather(1, back[..., None].expand(-1, -1, narrow))
            y = self.decoder(torch.cat([x[:, :1], full], 1) + self.decoder_positions)[:, 1:]
            target = images.reshape(n, 3, 14, 16, 14, 16).permute(0, 2, 4, 3, 5, 1).reshape(n, tokens, 768)
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
            hidden = (back >= kept).float()
            return (((y.float() - target) ** 2).mean(-1) * hidden).sum() / hidden.sum()

    net = Mae().to(device)
    optimizer, model = torch.optim.AdamW(net.parameters(), 1e-3), finished(net)
    images = torch.randn(n, 3, 224, 224).to(device)

    def step():
        with cast():
            loss = model(images)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return n, step


def seconds_of_program(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def compare_start(build, rounds):
    """`tacit pretrain` from process start to the end of a run of one step, and `import torch`."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        def ours(i):
            return seconds_of_program([f"{build}/bin/tacit", "pretrain", "simclr", "--data", "synthetic:64", "--encoder", "small_cnn",
                            "--batch-size", "32", "--steps", "1", "--quiet", "--out", f"{directory}/{i}"])
        pairs = [(ours(i), seconds_of_program([sys.executable, "-c", "import torch"])) for i in range(max(7, rounds))]
    a, b = (statistics.median(times) for times in zip(*pairs))
    print(f"{'start':23} {a:9.4f} {b:9.4f} {a / b:6.2f}   (a whole run of one step; import torch)", flush=True)


def run_torch(case, steps, threads, device, precision, compiled):
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    images, step = torch_step(case, device, precision, compiled)
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None

    def seconds_of(count):
        start = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        return (time.perf_counter() - start) / count

    for _ in range(2):
        seconds_of(1)
    at_once = steps_at_once(seconds_of) if case.startswith(BRIEF) else 1
    processor = time.process_time()
    seconds = [seconds_of(at_once) for _ in range(steps)]
    processor = (time.process_time() - processor) / steps / at_once
    median = statistics.median(seconds)
    return {"case": case, "seconds_median": median, "seconds_min": min(seconds),
            "images_per_second": images / median, "steps_at_once": at_once, "processor_seconds": processor,
            "peak_rss_mb": peak_resident_mb()}


def steps_at_once(seconds_of):
    """bench::steps_at_once: as many steps as take 20 ms, so that waiting for the device is a small part."""
    steps = 1
    while (seconds := seconds_of(steps) * steps) < 0.02 and steps < 10_000:
        steps = min(10_000, 4 * steps, math.ceil(1.2 * 0.02 / seconds * steps))
    return steps


def peak_resident_mb():
    """VmHWM: ru_maxrss would begin with what this script's own process had when it started this one."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))


def run(command, **kwargs):
    """The JSON of a program's last line; what it said where it failed."""
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def serve_torch(args):
    """Times the cases on stdin, "CASE THREADS" a line, until it ends; for each a line of JSON. Starting PyTorch on a GPU
    takes longer than most cases do. Whatever libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    for line in sys.stdin:
        case, threads = line.split()
        try:
            figures = run_torch(case, args.steps, int(threads), args.device, args.precision, args.compile)
        except Exception as error:
            figures = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(figures | {"case": case}), file=answers, flush=True)
        if args.device != "cpu":
            torch.cuda.empty_cache()


class Comparison:
    """Both programs by turns."""

    def __init__(self, args):
        self.args = args
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.server = None
        self.peak = None  # FLOP/s of a large product

    def torch(self, case, threads):
        """PyTorch's figures: on a CPU by a process for each turn, whose memory is the case's; else by one for all."""
        args = self.args
        if self.server is None or args.device == "cpu" or self.server.poll() is not None:
            self.server = subprocess.Popen(
                [sys.executable, __file__, "--serve-torch", "--steps", str(args.steps), "--device",
                 args.device, "--precision", args.precision] + ["--compile"] * args.compile,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.env)
        self.server.stdin.write(f"{case} {threads}\n")
        self.server.stdin.flush()
        line = self.server.stdout.readline()
        if args.device == "cpu":
            self.server.stdin.close()
            self.server.wait()
        figures = json.loads(line) if line.strip() else {"error": "PyTorch's process ended"}
        if "error" in figures:
            raise RuntimeError(figures["error"])
        if figures["case"] != case:
            raise RuntimeError(f"PyTorch's process answered for {figures['case']}")
        return figures

    def peak_of_card(self):
        """What PyTorch reaches at its best with a product of 8192 x 8192 x 8192 (on a CPU 2048); measured once."""
        if self.peak is None:
            side = 2048 if self.args.device == "cpu" else 8192
            best = min(self.torch(f"gemm-{side}-{side}-{side}", self.args.threads)["seconds_min"] for _ in range(2))
            self.peak = 2 * side**3 / best
            print(f"{'peak':23} {self.peak * 1e-12:9.1f} TFLOP/s, PyTorch's best product of {side} x {side} x {side}", flush=True)
        return self.peak

    def case(self, case):
        """Prints a line; its figures."""
        args, ours, theirs = self.args, [], []
        threads = 1 if case.startswith(("augment", "jpeg")) else args.threads
        peak = self.peak_of_card() if case.startswith("gemm") else None
        for _ in range(args.rounds):
            ours.append(run([f"{args.build}/bin/bench_train", case, str(args.steps), str(threads), args.device, args.precision]))
            theirs.append(self.torch(case, threads))
        a, b = (statistics.median(r["seconds_median"] for r in rs) for rs in (ours, theirs))
        p, q = (statistics.median(r["processor_seconds"] for r in rs) for rs in (ours, theirs))
        m, n = max(r["peak_rss_mb"] for r in ours), max(r["peak_rss_mb"] for r in theirs)
        figures = {"case": case, "device": args.device, "precision": args.precision, "compiled": args.compile,
                   "tacit_seconds": a, "torch_seconds": b, "ratio": a / b, "processor_ratio": p / q}
        digits = 6 if case.startswith(BRIEF) else 4
        line = f"{case:23} {a:9.{digits}f} {b:9.{digits}f} {a / b:6.2f} {p / q:6.2f}   {m:8} {n:8} {m / n:6.2f}"
        if "tflops" in ours[0]:
            scale = ours[0]["tflops"] * ours[0]["seconds_median"]
            figures |= {"tacit_tflops": scale / a, "torch_tflops": scale / b}
            line += f"   {scale / a:.4g} and {scale / b:.4g} TFLOP/s"
        if peak:
            figures |= {"peak_tflops": peak * 1e-12, "of_peak": figures["tacit_tflops"] * 1e12 / peak}
            line += f", {100 * figures['of_peak']:.0f} % and {100 * figures['torch_tflops'] * 1e12 / peak:.0f} % of the peak"
        print(line, flush=True)
        return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["steps"], metavar="GROUP or CASE")
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=3, help="turns each program takes")
    parser.add_argument("--steps", type=int, default=7, help="timed steps a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", help="cpu or cuda, on both sides")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32", "bf16"], help="on both sides; a GPU's")
    parser.add_argument("--compile", action="store_true", help="PyTorch's networks by torch.compile")
    parser.add_argument("--json", help="append every case's figures to this file, one JSON object on a line")
    parser.add_argument("--missing", action="store_true", help="leave out what that file has already")
    parser.add_argument("--serve-torch", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cpu" and (args.precision != "fp32" or args.compile):
        parser.error("--precision and --compile are for --device cuda")
    if args.serve_torch:
        return serve_torch(args)

    import torch
    print(f"PyTorch {torch.__version__} ("
          f"{'compiled' if args.compile else 'eager'}, channels_last), {args.device}, {args.precision}, {args.threads} threads, {args.rounds} turns of {args.steps} steps after 2 of warm-up; medians")
    print(f"{'case':23} {'tacit s':>9} {'torch s':>9} {'ratio':>6} {'CPU':>6}   {'tacit MB':>8} {'torch MB':>8} {'ratio':>6}")
    comparison, failed = Comparison(args), False
    done = set()
    if args.missing and os.path.exists(args.json):
        with open(args.json) as file:
            done = {(r["case"], r["precision"], r["compiled"]) for r in map(json.loads, file)}
    for case in [case for name in args.cases for case in GROUPS.get(name, [name])]:
        if (case, args.precision, args.compile) in done:
            continue
        try:
            if case == "start":
                compare_start(args.build, args.rounds)
                continue
            figures = comparison.case(case)
        except (RuntimeError, OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
            failed = True
            print(f"{case:23} failed: {error}", flush=True)
            continue
        if args.json:
            with open(args.json, "a") as file:
                file.write(json.dumps(figures) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
