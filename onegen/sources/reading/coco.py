"""A COCO JSON: what it says of each of its images, by file name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onegen.errors import SampleError
from onegen.sources.reading.columns import Pick, picked
from onegen.sources.reading.sidecar import sidecar_object

_LISTS = ("images", "annotations", "licenses")


@dataclass(frozen=True, slots=True)
class CocoImage:
    """What a COCO JSON says of an image: captions in their order, rights, and its other annotations as they stand."""

    captions: list[str] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    licence: str | None = None
    attribution: str | None = None

    def facts(self, pick: Pick, item: str) -> dict[str, str]:
        """Return the caption picked, licence and attribution, as far as they are stated."""
        facts = {"caption": picked(self.captions, pick, item), "licence": self.licence, "attribution": self.attribution}
        return {name: value for name, value in facts.items() if value}


class Coco:
    """The images of a COCO JSON; raises SampleError bad_sidecar where it is none."""

    def __init__(self, name: str, data: bytes) -> None:
        about = sidecar_object(name, data)
        try:
            images, annotations, licences = ([dict(entry) for entry in about.get(key) or ()] for key in _LISTS)
            names = {licence["id"]: licence.get("url") or licence.get("name") for licence in licences}
            self._images = {image["file_name"]: _image(image, names) for image in images}
            by_id = {image["id"]: self._images[image["file_name"]] for image in images}
            for annotation in annotations:
                _add(by_id[annotation["image_id"]], annotation)
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
        """Return what it says of an image, nothing of one it does not know."""
        name = self.file_name(path)
        return self._images[name] if name is not None else CocoImage()


def _image(image: Mapping[str, Any], licences: Mapping[Any, Any]) -> CocoImage:
    licence = licences.get(image.get("license"))
    page = image.get("flickr_url") or image.get("coco_url")
    if not isinstance(licence, str | None) or not isinstance(page, str | None):
        raise TypeError(f"licence and URL of {image['file_name']} are no text")
    return CocoImage(licence=licence, attribution=page)


def _add(image: CocoImage, annotation: dict[str, Any]) -> None:
    caption = annotation.get("caption")
    if isinstance(caption, str) and caption.strip():
        image.captions.append(caption.strip())
    if set(annotation) - {"id", "image_id", "caption"}:
        image.objects.append(annotation)
