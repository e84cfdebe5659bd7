"""The demo photos: real pictures that pinned packages ship, each with a caption, its licence and whom to thank.

    python -m onegen.demo.photos DIR [--pairs] [--people] [--objects]

writes `NAME.jpg` or `.png`, `NAME.txt` (a short caption by hand) and `NAME.json` (licence, attribution, source) for
each of them, and can be run again. Two are there on purpose: `cheetah1-copy` has the bytes of `cheetah1`, and `32bit`
is `obama2` stored another way. The packages are downloaded and opened, never installed. With `--pairs` it also writes
`edits.parquet` and `subjects.parquet`, pairs made from these photos (see `onegen.demo.pairs`); with `--people`, in the
folder `people` beside DIR, subjects of several pictures (see `onegen.demo.people`); with `--objects`, in `objects`
beside it, mesh files (see `onegen.demo.objects`).
"""

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onegen.demo.objects import write_objects
from onegen.demo.pairs import write_pairs
from onegen.demo.people import write_people
from onegen.errors import ConfigError
from onegen.storage.whole import whole
from onegen.weights.folder import models_folder
from onegen.weights.packages import Package, download, read_member


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo: its member in the package, the SHA-256 of its bytes, and what is said of it."""

    member: str
    sha256: str
    caption: str
    licence: str
    attribution: str

    @property
    def stem(self) -> str:
        """The file name without its ending."""
        return Path(self.member).stem


_SKIMAGE = Package("scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", 13.7)
_SKLEARN = Package("scikit-learn", "1.9.1", "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df", 9.3)
_GRADIO = Package("gradio", "6.31.0", "7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a", 31.4)
_ULTRALYTICS = Package(
    "ultralytics", "8.4.190", "bd309728efa168af64d39040136828edd2dbcb4aeceb4510bdff4f3ca0ea01b8", 1.4
)
_FACE_RECOGNITION = Package(
    "face-recognition", "1.3.0", "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec", 3.2, is_source=True
)

PHOTOS: dict[Package, tuple[Photo, ...]] = {
    _SKIMAGE: (
        Photo(
            "skimage/data/astronaut.png",
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            "A smiling astronaut in an orange space suit sits before a US flag and a model of the space shuttle.",
            "public-domain",
            "NASA, Great Images database (Eileen Collins)",
        ),
        Photo(
            "skimage/data/brick.png",
            "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
            "A brick pavement seen at a slant, in black and white.",
            "CC0-1.0",
            "CC0Textures, Bricks25",
        ),
        Photo(
            "skimage/data/camera.png",
            "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
            "A man in a dark coat looks through a film camera on a tripod in a park, in black and white.",
            "CC0-1.0",
            "Lav Varshney",
        ),
        Photo(
            "skimage/data/chelsea.png",
            "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            "The face of a ginger tabby cat with green eyes, close up.",
            "CC0-1.0",
            "Stefan van der Walt",
        ),
        Photo(
            "skimage/data/coffee.png",
            "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
            "An espresso in a red cup on a red saucer with a small spoon, on a wooden table.",
            "CC0-1.0",
            "Rachel Michetti, courtesy of Pikolo Espresso Bar",
        ),
        Photo(
            "skimage/data/coins.png",
            "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
            "Four rows of ancient coins on a dark ground, in black and white.",
            "no known copyright restrictions",
            "Brooklyn Museum Collection",
        ),
        Photo(
            "skimage/data/grass.png",
            "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
            "A lawn of short grass and small leaves seen from above, in black and white.",
            "CC0-1.0",
            "linolafett, Grass 01",
        ),
        Photo(
            "skimage/data/gravel.png",
            "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
            "A ground of coarse gravel seen from above, in black and white.",
            "CC0-1.0",
            "CC0Textures, Gravel04",
        ),
        Photo(
            "skimage/data/hubble_deep_field.jpg",
            "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
            "Thousands of distant galaxies and a few stars on a black sky.",
            "public-domain",
            "NASA, Hubble eXtreme Deep Field",
        ),
        Photo(
            "skimage/data/motorcycle_left.png",
            "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
            "A red motorcycle is parked in a garage, before a wooden bench and shelves with boxes.",
            "Middlebury Stereo 2014, licence not stated",
            "D. Scharstein et al., Middlebury Stereo 2014, left view",
        ),
        Photo(
            "skimage/data/motorcycle_right.png",
            "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
            "A red motorcycle stands in a garage next to shelves with tools and boxes.",
            "Middlebury Stereo 2014, licence not stated",
            "D. Scharstein et al., Middlebury Stereo 2014, right view",
        ),
        Photo(
            "skimage/data/rocket.jpg",
            "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
            "A white rocket stands on its launch pad between four towers at dusk.",
            "public-domain",
            "SpaceX",
        ),
    ),
    _SKLEARN: (
        Photo(
            "sklearn/datasets/images/china.jpg",
            "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
            "A Chinese temple tower with many roofs on a green hill above a lake.",
            "CC-BY-2.0",
            "danielbuechele (Flickr)",
        ),
        Photo(
            "sklearn/datasets/images/flower.jpg",
            "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
            "A round orange dahlia in bloom before dark green leaves.",
            "CC-BY-2.0",
            "vultilion (Flickr)",
        ),
    ),
    _GRADIO: (
        Photo(
            "gradio/media_assets/images/cheetah.jpg",
            "29b0090f5ec471dad0264abc20ecc3c80a0133a63a03d11df920e39a093fe6c8",
            "A cheetah runs at full speed past a blurred brown plain.",
            "Apache-2.0 (package)",
            "photographer not stated",
        ),
        Photo(
            "gradio/media_assets/images/cheetah1.jpg",
            "35550bfbba996e59c242af00f6a14a9c0d055dfbc52ad069a1a4e8c1c39ca095",
            "The face of a cheetah looking straight into the camera.",
            "Apache-2.0 (package)",
            "photographer not stated",
        ),
        Photo(
            "gradio/test_data/cheetah1-copy.jpg",
            "35550bfbba996e59c242af00f6a14a9c0d055dfbc52ad069a1a4e8c1c39ca095",
            "The face of a cheetah looking straight into the camera.",
            "Apache-2.0 (package)",
            "photographer not stated",
        ),
        Photo(
            "gradio/media_assets/images/lion.jpg",
            "4c45ece00075f152cb2e6cfd5f1dfd7dc8e83042264685b4f470026240eff3ef",
            "A lion with a dark mane lies on a rock and looks at the camera, a lioness behind him.",
            "Apache-2.0 (package)",
            "photographer not stated",
        ),
        Photo(
            "gradio/media_assets/images/tower.jpg",
            "f57f96f7a71f89739d27ae8ffc09f73cd2f17415d16c94d42dcb0d571f4eb0ee",
            "The lit Eiffel Tower at dusk, seen from below past bare branches.",
            "Apache-2.0 (package)",
            "photographer not stated",
        ),
    ),
    _ULTRALYTICS: (
        Photo(
            "ultralytics/assets/bus.jpg",
            "c02019c4979c191eb739ddd944445ef408dad5679acab6fd520ef9d434bfbc63",
            "People walk past a blue electric bus at a stop in front of a yellow house.",
            "AGPL-3.0 (package)",
            "photographer not stated",
        ),
        Photo(
            "ultralytics/assets/zidane.jpg",
            "16d73869e3267a7d4ed00de8e860833bd1657c1b252e94c0c348277adc7b6edb",
            "A bald man in a dark suit shouts at the edge of a pitch while an older man beside him points ahead.",
            "AGPL-3.0 (package)",
            "photographer not stated",
        ),
    ),
    _FACE_RECOGNITION: (
        Photo(
            "face_recognition-1.3.0/tests/test_images/obama.jpg",
            "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
            "A smiling man in a dark suit and a blue tie stands with crossed arms before flags and a red curtain.",
            "public-domain",
            "White House portrait, US government work as it seems; not verified",
        ),
        Photo(
            "face_recognition-1.3.0/tests/test_images/obama2.jpg",
            "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
            "A man in a dark suit and a red tie speaks into a microphone before a US flag.",
            "public-domain",
            "US government work as it seems; not verified",
        ),
        Photo(
            "face_recognition-1.3.0/tests/test_images/obama3.jpg",
            "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
            "A man in a dark suit and a purple tie stands with crossed arms in a blue room under a chandelier.",
            "public-domain",
            "White House photo, US government work as it seems; not verified",
        ),
        Photo(
            "face_recognition-1.3.0/tests/test_images/biden.jpg",
            "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
            "A smiling grey-haired man in a black suit and a striped tie stands with folded hands in a blue room.",
            "public-domain",
            "White House photo, US government work as it seems; not verified",
        ),
        Photo(
            "face_recognition-1.3.0/tests/test_images/32bit.png",
            "44dca895a7d635a4aedddd91a4f37af9a8a5b44e66154282a24645a757b5f627",
            "A man in a dark suit and a red tie at a lectern, a US flag behind him.",
            "public-domain",
            "the picture of obama2.jpg, stored as a PNG with alpha",
        ),
    ),
}


def write_photos(folder: Path) -> int:
    """Write every photo that is not there yet, with its two sidecar files, and return how many were written.

    Raises ConfigError when a package cannot be had, or when the folder holds another file under a photo's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_written = 0
    for package, photos in PHOTOS.items():
        missing = [photo for photo in photos if not _is_there(folder, photo)]
        if not missing:
            continue
        print(f"{package}: downloading {package.megabytes:.0f} MB for {len(missing)} photos", flush=True)
        with tempfile.TemporaryDirectory() as downloads:
            archive = download(package, Path(downloads))
            for photo in missing:
                _write(folder, package, photo, read_member(archive, photo.member))
        num_written += len(missing)
    return num_written


def _is_there(folder: Path, photo: Photo) -> bool:
    """Say whether a photo and both sidecars are there; the JSON is written last."""
    picture = folder / Path(photo.member).name
    if not picture.is_file():
        return False
    if hashlib.sha256(picture.read_bytes()).hexdigest() != photo.sha256:
        raise ConfigError(
            f"photo {picture} must be the packaged one, got other bytes. Move it away or name another folder."
        )
    return (folder / f"{photo.stem}.txt").is_file() and (folder / f"{photo.stem}.json").is_file()


def _write(folder: Path, package: Package, photo: Photo, data: bytes) -> None:
    got = hashlib.sha256(data).hexdigest()
    if got != photo.sha256:
        raise ConfigError(f"photo {photo.member} of {package} must have SHA-256 {photo.sha256}, got {got}.")
    source = f"{package.name}=={package.version}/{photo.member}"
    described = {"licence": photo.licence, "attribution": photo.attribution, "source": source}
    for name, content in (
        (Path(photo.member).name, data),
        (f"{photo.stem}.txt", f"{photo.caption}\n".encode()),
        (f"{photo.stem}.json", (json.dumps(described, indent=1) + "\n").encode()),
    ):
        with whole(folder / name) as part:
            part.write_bytes(content)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m onegen.demo.photos",
        description="Write the demo photos out of pinned Python packages, each with its caption, licence and origin.",
    )
    cache = models_folder().parent / "photos"
    parser.add_argument(
        "folder", metavar="DIR", nargs="?", type=Path, default=cache, help="where; beside the models if not said"
    )
    parser.add_argument(
        "--pairs",
        action="store_true",
        help="also edits and subject pairs of them: edits.parquet, subjects.parquet",
    )
    parser.add_argument("--people", action="store_true", help="also subjects of several pictures, in people beside DIR")
    parser.add_argument("--objects", action="store_true", help="also mesh files, in objects beside DIR")
    given = parser.parse_args(arguments)
    try:
        written = write_photos(given.folder)
        pairs = write_pairs(given.folder) if given.pairs else {}
        beside = given.folder.absolute().parent / "people"
        people = write_people(given.folder, beside) if given.people else {}
        meshes = write_objects(_GRADIO, beside.parent / "objects") if given.objects else 0
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{given.folder}: {sum(map(len, PHOTOS.values()))} photos, {written} of them new")
    for name, count in pairs.items():
        print(f"{given.folder / name}: {count} pairs")
    for subject, count in people.items():
        print(f"{beside / subject}: {count} {'picture' if count == 1 else 'pictures'}")
    if meshes:
        print(f"{beside.parent / 'objects'}: {meshes} mesh files")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
