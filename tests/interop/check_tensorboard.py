"""Reads the event file of a run with TensorBoard's own reader: scalars, pictures and histograms.

    python check_tensorboard.py RUN FEATURES       FEATURES: numbers in a feature vector
"""
import io
import json
import pathlib
import sys

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
events.Reload()
lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
tags = events.Tags()

for name in ("loss", "lr", "feature_std"):
    scalars = events.Scalars(name)
    assert [s.step for s in scalars] == [line["step"] for line in lines], f"steps of {name}"
    assert all(abs(s.value - line[name]) <= 1e-6 * abs(line[name]) for s, line in zip(scalars, lines)), f"values of {name}"

looks = [1] + [line["step"] for line, after in zip(lines, lines[1:] + [{}]) if line["epoch"] != after.get("epoch")]
pictures = 0
for name, steps in (("views", [0]), ("reconstruction", looks)):
    shown = events.Images(name)
    assert [i.step for i in shown] == steps, f"pictures of {name} at steps {[i.step for i in shown]}, not {steps}"
    for image in shown:
        decoded = Image.open(io.BytesIO(image.encoded_image_string))
        decoded.load()
        assert decoded.size == (image.width, image.height) and decoded.mode == "RGB", f"{name}: {decoded.size} {decoded.mode}"
        pictures += 1
    assert shown[-1].encoded_image_string == (run / f"images/{name}.png").read_bytes(), f"images/{name}.png"

counts = {}
for name in tags["histograms"]:
    shown = events.Histograms(name)
    assert [h.step for h in shown] == looks, f"histograms of {name} at steps {[h.step for h in shown]}, not {looks}"
    for histogram in shown:
        value = histogram.histogram_value
        assert sum(value.bucket) == value.num > 0, f"{name}: {sum(value.bucket)} values in buckets, {value.num} in all"
        assert list(value.bucket_limit) == sorted(value.bucket_limit), f"limits of {name}"
        assert value.min <= value.max and value.min < value.bucket_limit[0] and value.max < value.bucket_limit[-1], name
        assert value.min**2 <= value.sum_squares and value.max**2 <= value.sum_squares, name
        counts[name] = int(value.num)
assert counts["features"] % int(sys.argv[2]) == 0, f"{counts['features']} features are no rows of {sys.argv[2]}"
assert any(name.startswith("gradients/encoder.") for name in counts), sorted(counts)
print(f"tensorboard: {len(tags['scalars'])} scalars, {pictures} pictures, {len(counts)} histograms, "
      f"{sum(n for name, n in counts.items() if name != 'features')} gradients a look")
