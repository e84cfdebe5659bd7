"""Real faces by dlib: one person is near himself, and not another."""

import numpy as np
import pytest

pytest.importorskip("dlib")

from onegen.eval.encoders.faces import SAME_PERSON, FaceEncoder, cosine, distance
from tests.packaged import bring_models, photo


@pytest.fixture(scope="module")
def vectors():
    bring_models()
    names = ("obama.jpg", "obama2.jpg", "biden.jpg", "zidane.jpg", "astronaut.png")
    return {name: FaceEncoder().vector(photo(name)) for name in names}


def test_the_same_photo_is_the_same_person(vectors):
    obama = vectors["obama.jpg"]
    assert cosine(obama, obama) == pytest.approx(1.0)
    assert distance(obama, obama) == 0.0


def test_one_person_is_nearer_than_another(vectors):
    obama, again, biden, *_ = vectors.values()
    assert distance(obama, again) < SAME_PERSON < distance(obama, biden)
    assert cosine(obama, again) > cosine(obama, biden)


def test_no_face_is_no_vector():
    assert FaceEncoder().vector(np.full((64, 64, 3), 128, np.uint8)) is None


def test_another_photo_of_a_person_is_nearer_than_nine_of_ten_strangers(vectors):
    obama, again, *strangers = vectors.values()
    pairs = [(a, b) for index, a in enumerate(strangers) for b in strangers[index + 1 :]]
    pairs += [(person, stranger) for person in (obama, again) for stranger in strangers]
    assert cosine(obama, again) > np.quantile([cosine(*pair) for pair in pairs], 0.9)
    # as measured on the photos of the package: these vectors are not of length one, hence distances
    assert 0.05 <= distance(obama, again) <= 0.43
    assert all(distance(*pair) > SAME_PERSON for pair in pairs)
    assert np.linalg.norm(obama) == pytest.approx(1.37, abs=0.1)
