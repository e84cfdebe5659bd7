"""Sources of the shipped collections, two pictures each, where their recipes look for them."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from onegen.config.collection import load_collection
from onegen.config.shipped import recipe_path
from onegen.demo import rooms
from tests.end_to_end import test_scenes as scenes
from tests.scenes.captures import layouts
from tests.tiny import encoded, picture

SIDES = (288, 256)


def write_sources(data: Path) -> None:
    """Write a tar or a table for every dataset of one_gen below `data`."""
    for name, member in load_collection(recipe_path("one_gen")).datasets.items():
        where = member.change["source"].get("webdataset")
        if where is not None:
            # A part of a source is a pattern of its tars.
            tar = data.parent / where.replace("*.tar", "00000.tar"[len(Path(where).name) - len("*.tar") :])
            write_tar(tar, seed=len(name))
    assert rooms.main([str(data / "hypersim"), "--count", "2"]) == 0
    names = ",".join(f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3))
    (data / "metadata_camera_parameters.csv").write_text(f"scene_name,{names}\n{rooms.SCENE},.6,0,0,0,.4,0,0,0,-1\n")
    (data / "omniedit").mkdir(parents=True)
    (data / "subjects200k").mkdir()
    first, second = (encoded(picture(seed, SIDES), ".jpg") for seed in (901, 902))
    edit = {"edited_img": {"bytes": first}, "src_img": {"bytes": second}, "edited_prompt_list": ["Make it blue."]}
    write_table(data / "omniedit/0.parquet", [edit | {"task": "style", "o_score": 9.0, "sc_score_1": 9}])
    write_table(data / "subjects200k/0.parquet", [subject_pair()])
    write_people(data / "identities")
    (data / "opt_out.txt").write_text("# nobody\n")
    (data / "objaverse").mkdir()
    (data / "objaverse/chair.glb").write_bytes(b"listed by its name, read by no dry run")
    (data / "cap3d.csv").write_text("chair,a wooden chair\n")
    scenes.write(data / "dl3dv", {"1K/aaa": 4})
    layouts.gobjaverse(data / "gobjaverse/0/10005", layouts.rig())
    layouts.co3d(data / "co3d", layouts.rig())


def write_people(folder: Path) -> None:
    """Write a folder of four pictures a subject."""
    for number, subject in enumerate(("ada", "bob")):
        (folder / subject).mkdir(parents=True)
        for index in range(4):
            (folder / subject / f"{index}.png").write_bytes(encoded(picture(950 + 10 * number + index, SIDES)))


def write_pairs(photos: Path) -> None:
    """Write the tables of pairs that the shipped recipes of pairs start from."""
    first, second = (encoded(picture(seed, SIDES), ".jpg") for seed in (903, 904))
    said = {"edited_caption": "blue", "src_caption": "red", "licence": "CC0-1.0", "attribution": "a person"}
    edit = {"edited_img": {"bytes": first}, "src_img": {"bytes": second}, "edited_prompt_list": ["Make it blue."]}
    write_table(photos / "edits.parquet", [edit | said | {"task": "colour", "change": 0.5, "origin": "test"}])
    rights = {"licence": "CC0-1.0", "attribution": "a person", "views": "two photos", "origin": "test"}
    write_table(photos / "subjects.parquet", [subject_pair() | rights])


def subject_pair() -> dict[str, object]:
    """Return a row of the layout of Subjects200K."""
    about = {"item": "a mug", "description_0": "A mug on a table.", "description_1": "A mug in the snow."}
    judged = {"compositeStructure": 5, "objectConsistency": 5, "imageQuality": 5}
    both = encoded(picture(905, (288, 560)), ".jpg")
    return {"image": {"bytes": both}, "description": about, "collection": "1", "quality_assessment": judged}


def write_tar(path: Path, seed: int, count: int = 2) -> None:
    """Write a tar of pictures with captions, as img2dataset leaves one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with webdataset.TarWriter(buffer) as sink:
        for number in range(count):
            data = encoded(picture(1000 * seed + number, SIDES), ".jpg")
            sink.write({"__key__": f"{number:09d}", "jpg": data, "txt": f"picture {number} of {path.parent.name}"})
    path.write_bytes(buffer.getvalue())


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
