"""The report of a collection on one page: its datasets beside their targets and the paper, and what training draws.

Each dataset that is there has its own report too (report.py), which this one leads to. `onegen audit COLLECTION`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onegen.audit import figures
from onegen.audit.checks import Findings
from onegen.audit.collection import MemberStatus
from onegen.audit.markup import Figures, Link, Size, document, size_text, table
from onegen.audit.statistics import Statistics
from onegen.config.collection import Collection
from onegen.shards.canonical import canonical

PAPER: Mapping[str, str] = {
    "synthetic": "Internal Dataset: 10M, captions of 100-150 words",
    "pixelprose": "PixelProse (16M by its card)",
    "coyo": "COYO: 11M",
    "laion_aesthetic": "LAION-Aesthetic: 6M",
    "laion_art": "LAION Art Dense Caption",
    "journeydb": "JourneyDB",
    "unsplash": "Unsplash",
    "playground": "Playground",
    "dalle3": "DALLE3",
    "degraded": "Deblur, Inpainting, Canny2Image, Super-Resolution: 1M",
    "edges": "Hed2Image",
    "things": "Semantic2Image, Bounding-Box2Image: 350K",
    "depth": "Depth2Image: 500K",
    "hypersim": "Depth2Image, Hypersim: 40K",
    "people": "Pose2Image: 50K",
    "omniedit": "ImageEditing: OmniEdit, 1.2M",
    "subjects200k": "Subjects200K: 200K",
    "identities": "IdCustomization: 60K subjects, 1.3M images",
    "objaverse": "Objaverse, LGM's part: 80K",
    "dl3dv": "DL3DV: 10K",
    "gobjaverse": "G-Objaverse: in Figure 9, without a number",
    "co3d": "CO3D: in Figure 9, without a number",
}
"""What the paper has (sections 4 and 10, Figure 9), by the datasets of pipelines/one_gen.yaml."""
ONE_GEN = ("one_gen", "one_gen_embedded")


@dataclass(frozen=True)
class MemberReport:
    """A dataset of the collection: its status, and where it is there its statistics, findings and report."""

    status: MemberStatus
    stats: Statistics | None = None
    findings: Findings | None = None
    href: str = ""


def collection_page(collection: Collection, members: Sequence[MemberReport]) -> dict[str, bytes]:
    """Return the files of the report of a collection by name; nothing is written."""
    figures_ = Figures()
    sections = {
        "Overview": _overview(collection, members, figures_),
        "Columns": _columns(members),
        "Integrity": _integrity(members),
        "Rights": _rights(members),
    }
    text = document(collection.name, "Collection report", sections, figures_)
    return {"index.html": text.encode(), "statistics.json": canonical(_numbers(collection, members)) + b"\n"}


def _overview(collection: Collection, members: Sequence[MemberReport], figures_: Figures) -> str:
    there = [member for member in members if member.stats is not None]
    samples = sum(member.status.samples for member in members)
    facts = {
        "datasets there": f"{len(there)} of {len(members)}",
        "samples": f"{samples:,}",
        "stored": size_text(sum(_bytes(member) for member in members)),
        "defects found": f"{sum(_defects(member) for member in members):,}",
    }
    listed = "".join(f"<li><b>{value}</b>{name}</li>" for name, value in facts.items())
    shares = [(member.status.member.group, member.status.name, member.status.share) for member in members]
    ring = figures_.place(
        "What training draws: super-categories inside, their datasets outside, by sampling rate; the table below has "
        "the numbers.",
        figures.ring(shares),
        True,
    )
    return (
        f"<ul class=facts>{listed}</ul>"
        f'<div class="card ring">{ring}<p class=note>Super-categories inside, datasets outside, by sampling rate, as '
        f"Figure 9 of the paper.</p></div>{_targets(collection, members)}"
    )


def _targets(collection: Collection, members: Sequence[MemberReport]) -> str:
    """Return each dataset with its target beside what is there; for One-Gen what the paper has too."""
    is_one_gen = collection.name in ONE_GEN
    head = ["dataset", "group", "training", *(["in the paper"] if is_one_gen else []), "target", "samples", "reached"]
    rows: list[list[Any]] = []
    for report in members:
        status = report.status
        name: Any = Link(status.name, report.href) if report.href else status.name
        paper = [PAPER.get(status.name, "")] if is_one_gen else []
        reached = "" if status.reached is None else f"{status.reached:.2%}"
        target: Any = status.member.target or ""
        own: list[Any] = [
            name,
            status.member.group.replace("_", " "),
            f"{status.share:.1%}",
            *paper,
            target,
            status.samples,
            reached,
        ]
        rows.append([*own, status.state, _defects(report), Size(_bytes(report))])
    return table("Datasets beside their targets", [*head, "state", "defects", "stored"], rows)


def _columns(members: Sequence[MemberReport]) -> str:
    rows = [
        (report.status.name, name, *(column.counts.get(s, 0) for s in ("ok", "skipped", "filtered", "failed")),
         Size(column.bytes), column.producer)
        for report in members
        if report.stats
        for name, column in report.stats.columns.items()
    ]  # fmt: skip
    head = ("dataset", "column", "ok", "skipped", "filtered", "failed", "size", "made by")
    return table("Columns of all datasets", head, rows) if rows else "<p>No dataset is there yet.</p>"


def _integrity(members: Sequence[MemberReport]) -> str:
    rows = [
        (report.status.name, kind, count)
        for report in members
        if report.findings
        for kind, count in sorted(report.findings.counts.items())
    ]
    return (
        table("Defects by dataset and kind", ("dataset", "kind", "found"), rows)
        if rows
        else "<p>No defect was found.</p>"
    )


def _rights(members: Sequence[MemberReport]) -> str:
    rows = [
        (report.status.name, value, count)
        for report in members
        if report.stats
        for value, count in report.stats.rights["licence"]
    ]
    return table("Licences by dataset, the most frequent", ("dataset", "licence", "images"), rows) if rows else ""


def _bytes(report: MemberReport) -> int:
    return sum(column.bytes for column in report.stats.columns.values()) if report.stats else 0


def _defects(report: MemberReport) -> int:
    return sum(report.findings.counts.values()) if report.findings else 0


def _numbers(collection: Collection, members: Sequence[MemberReport]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "name": collection.name,
        "datasets": {
            report.status.name: {
                "group": report.status.member.group,
                "share": report.status.share,
                "target": report.status.member.target,
                "planned": report.status.planned,
                "samples": report.status.samples,
                "state": report.status.state,
                "digest": report.status.digest,
                "defects": report.findings.counts if report.findings else {},
            }
            for report in members
        },
    }
