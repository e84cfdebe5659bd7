"""COCO JSONs: what they say of each of their images, by file name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onegen.errors import SampleError
from onegen.pixels.boxes import CORNERS
from onegen.sources.reading.columns import Pick, picked
from onegen.sources.reading.sidecar import sidecar_object

_LISTS = ("images", "annotations", "licenses", "categories")
_WORDS = {"id", "image_id", "caption"}
"""What an annotation has that is a caption and nothing else."""
_SEEN = 2
"""COCO's third number of a keypoint that is seen; 1 is a hidden one, 0 one that is not labelled."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """What COCO JSONs say of an image: captions in their order, rights, its other annotations by id, as they stand.

    `is_known` says that one of them lists the image.
    """

    captions: list[str] = field(default_factory=list)
    objects: dict[Any, dict[str, Any]] = field(default_factory=dict)
    licence: str | None = None
    attribution: str | None = None
    is_known: bool = True

    def facts(self, pick: Pick, item: str) -> dict[str, str]:
        """Return the caption picked, licence and attribution, as far as they are stated."""
        facts = {"caption": picked(self.captions, pick, item), "licence": self.licence, "attribution": self.attribution}
        return {name: value for name, value in facts.items() if value}

    def records(self, has_points: bool = False) -> list[dict[str, Any]]:
        """Return its objects as records: label, box of corners, score, segmentation and keypoints, as far as they go.

        Crowds are left out, and with `has_points` whoever has no point that is labelled. What is malformed stays so:
        who reads it fails its own row.
        """
        objects = [thing for thing in self.objects.values() if "bbox" in thing and not thing.get("iscrowd")]
        chosen = [thing for thing in objects if not has_points or _has_points(thing)]
        return [_record(thing) for thing in chosen]


UNKNOWN = CocoImage(is_known=False)


class Coco:
    """The images of a COCO JSON; raises SampleError bad_sidecar where it is none."""

    def __init__(self, name: str, data: bytes) -> None:
        about = sidecar_object(name, data)
        try:
            images, annotations, licences, kinds = ([dict(entry) for entry in about.get(key) or ()] for key in _LISTS)
            names = {licence["id"]: licence.get("url") or licence.get("name") for licence in licences}
            labels = {kind["id"]: kind.get("name") for kind in kinds}
            self._images = {image["file_name"]: _image(image, names) for image in images}
            by_id = {image["id"]: self._images[image["file_name"]] for image in images}
            for annotation in annotations:
                _add(by_id[annotation["image_id"]], annotation, labels)
        except (KeyError, TypeError, ValueError) as error:
            raise SampleError(
                "bad_sidecar", f"{name} must be a COCO JSON of images with id and file_name, got {error!r}. Mend it."
            ) from error

    @property
    def file_names(self) -> set[str]:
        """The file names of its images."""
        return set(self._images)

    def file_name(self, path: str) -> str | None:
        """Return the file name it has for a path: its end, of as many steps as there are; None for another image."""
        steps = path.split("/")
        ends = ("/".join(steps[start:]) for start in range(len(steps)))
        return next((end for end in ends if end in self._images), None)

    def annotations_of(self, path: str) -> CocoImage:
        """Return what it says of an image, UNKNOWN for one it does not list."""
        name = self.file_name(path)
        return self._images[name] if name is not None else UNKNOWN


def merged(images: Sequence[CocoImage]) -> CocoImage:
    """Return what several JSONs say of one image: captions after each other, facts and fields of the later before."""
    known = [image for image in images if image.is_known]
    objects: dict[Any, dict[str, Any]] = {}
    for image in known:
        for number, thing in image.objects.items():
            objects[number] = {**objects.get(number, {}), **thing}
    return CocoImage(
        [caption for image in known for caption in image.captions],
        objects,
        next((image.licence for image in reversed(known) if image.licence), None),
        next((image.attribution for image in reversed(known) if image.attribution), None),
        bool(known),
    )


def _image(image: Mapping[str, Any], licences: Mapping[Any, Any]) -> CocoImage:
    licence = licences.get(image.get("license"))
    page = image.get("flickr_url") or image.get("coco_url")
    if not isinstance(licence, str | None) or not isinstance(page, str | None):
        raise TypeError(f"licence and URL of {image['file_name']} are no text")
    return CocoImage(licence=licence, attribution=page)


def _add(image: CocoImage, annotation: dict[str, Any], labels: Mapping[Any, Any]) -> None:
    caption = annotation.get("caption")
    if isinstance(caption, str) and caption.strip():
        image.captions.append(caption.strip())
    if set(annotation) - _WORDS:
        number, kind = annotation.get("id"), annotation.get("category_id")
        # What is malformed is kept for the row that reads it; it costs the other images nothing.
        name = number if isinstance(number, int | str) else f"without id, {len(image.objects)}"
        label = labels.get(kind) if isinstance(kind, int | str) else None
        # Left out where it is not known: another JSON may know it.
        image.objects[name] = annotation if label is None else {"label": label, **annotation}


def _has_points(thing: Mapping[str, Any]) -> bool:
    return bool(thing.get("keypoints")) and thing.get("num_keypoints") != 0


def _record(thing: Mapping[str, Any]) -> dict[str, Any]:
    record = {name: thing[name] for name in ("id", "label", "score", "segmentation") if name in thing}
    record |= _corners(thing["bbox"])
    if "keypoints" in thing:
        record["keypoints"] = _points(thing["keypoints"])
    return record


def _corners(box: Any) -> dict[str, Any]:
    """Return a box x, y, width, height by its corners; anything else as it is."""
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        return {"box": box}
    x, y, width, height = box
    return dict(zip(CORNERS, (x, y, x + width, y + height), strict=True))


def _points(points: Any) -> Any:
    """Return flat points with their third numbers in [0, 1]; anything else as it is."""
    if not isinstance(points, list) or not all(_is_number(value) for value in points):
        return points
    return [value / _SEEN if index % 3 == 2 else value for index, value in enumerate(points)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
