import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from inat_ray.page.html import Section
from inat_ray.page.model_sections import model_sections
from inat_ray.page.predicted import PICTURE_SIDE
from inat_ray.training.predictions import Predictions


@pytest.fixture
def sections(predictions, data) -> dict[str, str]:
    return bodies(model_sections(predictions, subset="test", data=data))


def bodies(sections: list[Section]) -> dict[str, str]:
    return {section.anchor: str(section.body) for section in sections}


def sample_in(found: dict[str, str]) -> str:
    """The images that were drawn at random."""
    return found["model-mistakes"].partition("drawn at random")[2]


def pictures_in(body: str) -> list[Image.Image]:
    contents = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', body)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in contents]


def test_accuracy_comes_with_its_interval_and_the_images(sections):
    assert "33.3 % (95 % interval 15.2 to 58.3 %)" in sections["model"]
    assert "<dt>images</dt><dd>15</dd>" in sections["model"]
    assert "top-5" not in sections["model"]


def test_size_and_speed_are_told_as_far_as_the_result_has_them(predictions):
    result = {"parameters": 4882725, "macs": 220071168, "images_per_second": 220.3, "seed": 1}
    body = bodies(model_sections(predictions, subset="test", data=None, result=result))["model"]
    assert "<dd>4,882,725</dd>" in body
    assert "<dt>images/s in training</dt><dd>220</dd>" in body
    assert "of them trained" not in body


def test_the_classes_stand_hardest_first_with_a_dash_for_what_is_undefined(sections):
    rows = re.findall(r"<tr><td>(\w+)</td>(.*?)</tr>", sections["model-classes"])
    assert [name for name, _ in rows] == ["beech", "cedar", "ash"]
    assert re.findall(r">([^<]+)</td>", rows[0][1]) == ["5", "0", "-", "0.0 %", "0.0 %"]
    assert re.findall(r">([^<]+)</td>", rows[2][1]) == ["5", "15", "33.3 %", "100.0 %", "50.0 %"]


def test_many_classes_fold_their_table_away(predictions):
    names = [f"class_{number:02d}" for number in range(60)]
    many = replace(
        predictions, classes=names, probabilities=np.eye(60, dtype="f4")[predictions.truths]
    )
    body = bodies(model_sections(many, subset="test", data=None))["model-classes"]
    assert "<summary>The numbers of all 60 classes</summary>" in body
    assert "The 40 classes with the lowest F1" in body
    assert all(f"<td>{name}</td>" in body for name in names)


def test_confusions_are_counted_in_a_table_too(sections):
    rows = re.findall(r"<tr>(<td>.*?)</tr>", sections["model-confusions"])
    cells = [re.findall(r">([^<]+)</td>", row) for row in rows]
    assert cells == [["beech", "ash", "5", "100.0 %"], ["cedar", "ash", "5", "100.0 %"]]


def test_a_model_without_a_mistake_is_said_to_have_none(predictions):
    right = replace(predictions, probabilities=np.eye(3, dtype="f4")[predictions.truths])
    found = bodies(model_sections(right, subset="validation", data=None))
    assert "No image was classified wrongly." in found["model-confusions"]
    assert "The model made no mistake." in found["model-mistakes"]


def test_pictures_are_small_jpegs_told_apart_by_more_than_color(sections):
    shown = pictures_in(sample_in(sections))
    assert len(shown) == 15  # all there are
    assert max(max(picture.size) for picture in shown) <= PICTURE_SIDE
    assert sample_in(sections).count('<li class="right">') == 5
    assert len(re.findall(r'<li class="wrong">.*?<b>✗\xa0ash</b>', sample_in(sections))) == 10
    assert "<b>✓\xa0ash</b>" in sample_in(sections)


def test_a_picture_is_the_one_that_its_caption_names(predictions, data, sections):
    """The hue of the photographs tells their class."""
    captions = re.findall(r'alt="[^:]+: (\w+), \w+ classified as ash"', sample_in(sections))
    brightest = [
        int(np.asarray(picture).mean(axis=(0, 1)).argmax())
        for picture in pictures_in(sample_in(sections))
    ]
    assert captions == [data.classes[label] for label in brightest]
    assert len(captions) == 15


def test_mistakes_come_with_both_probabilities_the_surest_first(predictions, sections):
    body = sections["model-mistakes"].partition("drawn at random")[0]
    assert len(pictures_in(body)) == 10
    surest = int(np.flatnonzero(predictions.truths != 0)[0])
    first = re.search(r"<figcaption>(.*?)</figcaption>", body)
    assert first is not None
    assert predictions.classes[predictions.truths[surest]] == "beech"
    assert first[1] == "<b>ash</b> 88\xa0%<br>labeled beech 3\xa0%"
    assert f"<td>{predictions.paths[surest]}</td>" in body


def test_pictures_that_are_gone_are_said_to_be_missing(predictions, data):
    without = bodies(model_sections(predictions, subset="test", data=None))
    body = without["model-mistakes"]
    assert body.count('class="missing">The photographs are not available') == 2
    assert pictures_in(body) == []
    assert f"<td>{predictions.paths[-1]}</td>" in without["model-mistakes"]
    renamed = replace(predictions, paths=["gone.jpg", *predictions.paths[1:]])
    some = sample_in(bodies(model_sections(renamed, subset="test", data=data)))
    assert "Images no longer among the photographs: 1 of 15." in some
    assert len(pictures_in(some)) == 14


def test_probabilities_that_are_no_numbers_leave_a_page(predictions, data):
    broken = replace(predictions, probabilities=np.full((15, 3), np.nan, dtype="f4"))
    found = bodies(model_sections(broken, subset="test", data=data))
    assert "no finite probability" in found["model-calibration"]
    assert len(pictures_in(sample_in(found))) == 15
    assert "nan %" not in " ".join(found.values())


def test_names_are_shown_as_they_are_and_never_run(predictions, data):
    named = replace(predictions, classes=["<script>", "b & c", "d"])
    for body in bodies(model_sections(named, subset="test", data=data)).values():
        assert "<script>" not in body.replace('<script type="application/json">', "")


def test_all_anchors_differ(sections, predictions, data):
    assert len(sections) == len(model_sections(predictions, subset="test", data=data))


def test_predictions_of_one_image_are_enough(predictions):
    one = Predictions(
        paths=predictions.paths[:1],
        classes=predictions.classes,
        truths=predictions.truths[:1],
        probabilities=predictions.probabilities[:1],
    )
    assert "100.0 %" in bodies(model_sections(one, subset="train", data=None))["model"]
