"""What is known of repositories that backends name by default: size, licence, and what it means for shards.

Any other repository may be named; its licence is then what its card on the hub says. Sizes are of what is fetched, as
published, rounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """Megabytes of a repository's files, its licence, what that asks of whoever gives the shards away, and if gated."""

    megabytes: int
    licence: str
    note: str = ""
    is_gated: bool = False


_NC = "annotations for research alone"
_FREE = ""

PUBLISHED: Mapping[str, Published] = {
    "llava-hf/llama3-llava-next-8b-hf": Published(
        16_700, "llama3", "captions may not train other language models unless they are called Llama; say so"
    ),
    "allenai/Molmo2-8B": Published(17_400, "Apache-2.0", _FREE),
    "IDEA-Research/grounding-dino-base": Published(933, "Apache-2.0", _FREE),
    "PekingU/rtdetr_v2_r50vd": Published(172, "Apache-2.0", _FREE),
    "Ultralytics/YOLO11": Published(114, "AGPL-3.0", "boxes are free; programs offered with the model are not"),
    "florence-community/Florence-2-large-ft": Published(1_650, "MIT", _FREE),
    "ybelkada/segment-anything": Published(2_560, "Apache-2.0", _FREE),
    "facebook/sam2.1-hiera-large": Published(898, "Apache-2.0", _FREE),
    "facebook/sam3": Published(3_440, "SAM License", "no use for weapons and the like", is_gated=True),
    "depth-anything/Depth-Anything-V2-Small-hf": Published(99, "Apache-2.0", _FREE),
    "depth-anything/Depth-Anything-V2-Base-hf": Published(390, "CC-BY-NC-4.0", _NC),
    "depth-anything/Depth-Anything-V2-Large-hf": Published(1_340, "CC-BY-NC-4.0", _NC),
    "prs-eth/marigold-depth-v1-1": Published(5_200, "OpenRAIL++-M", "uses that the licence lists are forbidden"),
    "prs-eth/marigold-normals-v1-1": Published(5_200, "OpenRAIL++-M", "uses that the licence lists are forbidden"),
    "apple/DepthPro-hf": Published(3_810, "apple-amlr", _NC),
    "lllyasviel/Annotators": Published(268, "other", "HED is free; OpenPose is non-commercial (CMU)"),
    "usyd-community/vitpose-base-simple": Published(344, "Apache-2.0", _FREE),
    "google/siglip2-so400m-patch14-384": Published(4_550, "Apache-2.0", _FREE),
    "openai/clip-vit-large-patch14": Published(1_710, "MIT", _FREE),
    "trl-lib/ddpo-aesthetic-predictor": Published(4, "Apache-2.0", _FREE),
    "Falconsai/nsfw_image_detection": Published(343, "Apache-2.0", _FREE),
    "opencv/face_recognition_sface": Published(37, "Apache-2.0", _FREE),
    "opencv/face_detection_yunet": Published(1, "MIT", _FREE),
}

_NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non-?commercial|amlr|research", re.IGNORECASE)


def forbids_commercial(licence: str) -> bool:
    """Say whether a licence, by its name, allows no commercial use."""
    return _NON_COMMERCIAL.search(licence) is not None
