#!/usr/bin/env python3
"""What tools/gpu_check.sh reports of speed and of CIFAR-10: figures, each beside the bar that it is held to.

    gpu_bars.py speed COMPARISONS.jsonl STEPS.jsonl      what bench/compare_pytorch.py and bench_train wrote
    gpu_bars.py cifar10-METHOD FIGURES_DIR               metrics.jsonl, seconds, and one JSON an evaluation

Prints the figures, one JSON object on a line, then the text for docs/gpu-log.md. A figure that is not there is "not
measured", never a pass.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from compare_pytorch import GROUPS

MOCO_DEMO = {10: 48.0, 20: 61.4, 50: 73.3, 100: 78.1}  # facebookresearch/moco, branch colab-notebook: its log


class Report:
    def __init__(self):
        self.bars, self.texts = [], []

    def bar(self, name, value, low=None, high=None, unit="", digits=1):
        """low <= value <= high; None: no limit."""
        limit = (f"{low} to {high}" if low is not None and high is not None else
                 f"≥ {low}" if low is not None else f"≤ {high}") + unit
        if value is None:
            self.bars.append({"name": name, "value": None, "bar": limit, "passed": None})
            self.texts.append(f"{name}: not measured ({limit})")
            return
        passed = (low is None or value >= low) and (high is None or value <= high)
        self.bars.append({"name": name, "value": value, "bar": limit, "passed": passed})
        self.texts.append(f"{name} {value:.{digits}f}{unit} ({limit}: {'passed' if passed else 'FAILED'})")


def json_lines(path):
    """The lines of a file that are whole: a program may have been stopped while it wrote."""
    rows = []
    if os.path.exists(path):
        with open(path) as file:
            for line in file:
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError:
                    pass
    return rows


def one(rows, case, precision="bf16", compiled=False, key="ratio"):
    found = [r[key] for r in rows if (r["case"], r["precision"], r["compiled"]) == (case, precision, compiled) and key in r]
    return found[-1] if found else None


def speed(comparisons, steps):
    rows, report = json_lines(comparisons), Report()
    report.bar("SimCLR ResNet-18 512 x 2 bf16 ÷ eager", one(rows, "simclr-resnet18-512"), high=0.75, digits=3)
    report.bar("÷ torch.compile", one(rows, "simclr-resnet18-512", compiled=True), high=1.0, digits=3)
    report.bar("MAE ViT-B/16 bf16 ÷ eager", one(rows, "mae-base-224"), high=1.0, digits=3)
    for case in GROUPS["gemm"]:
        share = one(rows, case, key="of_peak")
        report.bar(case, None if share is None else 100 * share, low=60, unit=" % of peak")
    for case in GROUPS["attention"]:
        report.bar(case + " ÷ SDPA", one(rows, case), high=1.2, digits=3)
    known = {"simclr-resnet18-512", "mae-base-224", *GROUPS["gemm"], *GROUPS["attention"]}
    others = [f"{r['case']} {r['precision']} {r['ratio']:.2f}" for r in rows if r["case"] not in known or r["precision"] != "bf16"]
    text = "; ".join(report.texts) + ("; other steps ÷ PyTorch's: " + ", ".join(others) if others else "")
    return {"bars": report.bars, "comparisons": rows, "steps": json_lines(steps)}, text


def cifar10(method, directory):
    def evaluated(name):
        path = os.path.join(directory, name + ".json")
        if not os.path.exists(path):
            return None
        with open(path) as file:
            return json.load(file)

    def percent(name):
        figures = evaluated(name)
        return None if figures is None else 100 * figures["top1"]

    metrics, report = json_lines(os.path.join(directory, "metrics.jsonl")), Report()
    epoch = metrics[-1]["epoch"] if metrics else 0
    losses = [m["loss"] for m in metrics if m["epoch"] == epoch]
    loss = sum(losses) / len(losses) if losses else None
    seconds = 0
    if os.path.exists(os.path.join(directory, "seconds")):
        with open(os.path.join(directory, "seconds")) as file:
            seconds = sum(int(line) for line in file)

    def finished(last):
        return os.path.exists(os.path.join(directory, f"epoch-{last}"))

    if method == "simclr":
        last = 100
        report.bar("final loss", loss if finished(100) else None, 5.15, 5.21, digits=3)
        report.bar("kNN(10)", percent("knn"), low=82.5)
        report.bar("linear", percent("linear"), low=85)
        whole = finished(100) and evaluated("knn") and evaluated("linear")
        report.bar("training and evaluation", seconds / 60 if whole else None, high=15, unit=" min")
    elif method == "moco":
        last = 100
        for at, there in MOCO_DEMO.items():
            report.bar(f"kNN(200) of the projection after {at} epochs", percent(f"knn-{at}"), there - 2, there + 2)
    elif method == "byol":
        last = 200
        report.bar("kNN(200)", percent("knn"), low=86)
    elif method == "mae":
        last = 200
        tuned, scratch = percent("finetuned"), percent("scratch")
        for name, value in (("fine-tuned", tuned), ("from scratch", scratch)):
            if value is not None:
                report.texts.append(f"{name} {value:.1f}")
        both = tuned is not None and scratch is not None
        report.bar("fine-tuned − from scratch", tuned - scratch if both else None, low=5, unit=" points")
    elif method == "rotation":
        last = 200
        report.bar("probe on block 2", percent("block2"), low=84)
    else:
        raise SystemExit(f"error: no bars for '{method}'")
    names = sorted(name[:-5] for name in os.listdir(directory) if name.endswith(".json"))
    figures = {"method": method, "epoch": epoch, "loss": loss, "seconds": seconds, "bars": report.bars,
               "evaluations": {name: evaluated(name) for name in names}}
    text = f"{method}, {epoch} of {last} epochs, {seconds} s; " + "; ".join(report.texts)
    return figures, text


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "speed":
        figures, text = speed(*sys.argv[2:])
    elif len(sys.argv) == 3 and sys.argv[1].startswith("cifar10-"):
        figures, text = cifar10(sys.argv[1].split("-", 1)[1], sys.argv[2])
    else:
        raise SystemExit(__doc__)
    print(json.dumps(figures, ensure_ascii=False))
    print(text)


if __name__ == "__main__":
    main()
