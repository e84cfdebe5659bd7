"""The paper's tables as published: figures to read ours beside (OneDiffusion, arXiv 2411.16318, v1 and v2)."""

from collections.abc import Mapping
from dataclasses import dataclass

OURS = "OneDiffusion (paper)"


@dataclass(frozen=True, slots=True)
class Table:
    """A published table: its number and title, its columns, how many digits each prints behind the point, and rows.

    None stands where a row has no figure.
    """

    number: str
    title: str
    columns: tuple[str, ...]
    digits: tuple[int, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    note: str = ""


TABLES: tuple[Table, ...] = (
    Table(
        "1",
        "Text to image: GenEval",
        ("overall", "single", "two", "counting", "colours", "position", "attribution"),
        (2, 2, 2, 2, 2, 2, 2),
        {
            "LUMINA-Next": (0.46, *[None] * 6),
            "PixArt-Σ": (0.54, *[None] * 6),
            "SDXL": (0.55, 0.98, 0.74, 0.39, 0.85, 0.15, 0.23),
            "PlayGround v2.5": (0.56, *[None] * 6),
            "IF-XL": (0.61, 0.97, 0.74, 0.66, 0.81, 0.13, 0.35),
            "SD3-medium": (0.62, *[None] * 6),
            "Hunyuan-DiT": (0.63, *[None] * 6),
            "DALL-E 3": (0.67, *[None] * 6),
            "FLUX-dev": (0.67, *[None] * 6),
            "FLUX-schnell": (0.71, *[None] * 6),
            OURS: (0.65, *[None] * 6),
        },
        "tasks of SDXL and IF-XL are GenEval's own; the paper has the overall score alone",
    ),
    Table(
        "2",
        "Novel views: PSNR on Google Scanned Objects",
        ("1", "2 unknown", "2 known", "3 unknown", "3 known"),
        (2, 2, 2, 2, 2),
        {
            "Zero123": (18.51, None, None, None, None),
            "Zero123-XL": (18.93, None, None, None, None),
            "EscherNet": (20.24, None, 22.91, None, 24.09),
            OURS: (19.01, 19.83, 20.22, 20.64, 21.79),
        },
        "columns: views given, and whether the poses of the second and third are known",
    ),
    Table(
        "3",
        "Identity: Unsplash-50",
        ("ID", "CLIP-T"),
        (3, 2),
        {
            "PhotoMaker": (0.193, 27.38),
            "InstantID": (0.648, 26.41),
            "PuLID": (0.654, 31.23),
            OURS: (0.283, 26.80),
        },
        "the baselines are those of PuLID's appendix (SDXL-base)",
    ),
    Table(
        "4",
        "Monocular depth",
        ("NYUv2 AbsRel", "NYUv2 δ1", "DIODE AbsRel", "DIODE δ1"),
        (1, 1, 1, 1),
        {
            "DiverseDepth": (11.7, 87.5, 37.6, 63.1),
            "MiDaS": (11.1, 88.5, 33.2, 71.5),
            "DPT": (9.8, 90.3, 18.2, 75.8),
            "LeReS": (9.0, 91.6, 27.1, 76.6),
            "Omnidata": (7.4, 94.5, 33.9, 74.2),
            "HDN": (6.9, 94.8, 24.6, 78.0),
            "Marigold": (6.0, 95.9, 31.0, 77.2),
            "DepthAnything-2": (4.6, 97.7, 27.1, 74.8),
            OURS: (6.8, 95.2, 29.4, 75.2),
        },
        "whether the paper aligned in depth or in disparity is not said, and decides the figure: ours are both",
    ),
    Table(
        "5",
        "Camera pose: Google Scanned Objects",
        ("centre accuracy at 0.3",),
        (2,),
        {"RayDiffusion": (0.20,), OURS: (0.32,)},
        "six cameras guessed on a sphere reach 0.097",
    ),
    Table(
        "6",
        "Editing: PIE-Bench",
        ("PSNR", "LPIPS x1e3", "CLIP whole", "CLIP edited"),
        (2, 2, 2, 2),
        {
            "Prompt-to-Prompt": (17.87, 208.80, 25.01, 22.44),
            "Null-text": (27.03, 60.67, 24.75, 21.86),
            "PnPInversion": (27.22, 54.55, 25.02, 22.10),
            "Pix2pix-zero": (20.44, 172.22, 22.80, 20.54),
            "MasaCtrl": (22.17, 106.62, 23.96, 21.16),
            "InstructPix2Pix": (16.69, 271.33, 23.49, 22.20),
            "MGIE": (21.20, 142.25, 24.28, 21.79),
            "EditAR": (21.32, 117.15, 24.87, 21.87),
            OURS: (27.49, 56.67, 25.84, 22.34),
        },
    ),
    Table(
        "7",
        "Subjects: DreamBench",
        ("DINO", "CLIP-I", "CLIP-T"),
        (3, 3, 3),
        {
            "oracle (real photos)": (0.774, 0.885, None),
            "Textual Inversion": (0.569, 0.780, 0.255),
            "DreamBooth": (0.668, 0.803, 0.305),
            "BLIP-Diffusion, tuned": (0.670, 0.805, 0.302),
            "Re-Imagen": (0.600, 0.740, 0.270),
            "BLIP-Diffusion": (0.594, 0.779, 0.300),
            OURS: (0.692, 0.814, 0.297),
        },
    ),
)
