"""Classes taken together."""

from __future__ import annotations

import json

import pytest
import torch
from toy import toy_classifier

from core.classifier import Classifier
from core.errors import UserError
from core.explainer import explainers
from core.loading import load_classifier
from core.loading.groups import merged, read_groups
from core.work.shards import Recipe


def four(output="softmax") -> Classifier:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    twin = toy_classifier()
    return Classifier(module, labels=["cat", "dog", "car", "bus"], preprocessing=twin.preprocessing, output=output)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_group_is_as_likely_as_any_of_its_classes(output):
    single = four(output)
    both = merged(single, {"vehicle": ["bus", "car"]})
    images = torch.rand(3, 3, 48, 48)
    own, joined = (one.probabilities(one.logits(images)) for one in (single, both))
    assert both.labels == ("vehicle", "cat", "dog")
    wanted = own[:, 2:].sum(1) if output == "softmax" else 1 - (1 - own[:, 2:]).prod(1)
    assert torch.allclose(joined[:, 0], wanted, atol=1e-6)
    assert torch.allclose(joined[:, 1:], own[:, :2], atol=1e-6)
    assert both.fingerprint != single.fingerprint


def test_labels_of_members_mean_the_group():
    both = merged(four(), {"vehicle": ["bus", "car"]})
    assert both.class_index("bus") == both.class_index("vehicle") == 0
    assert both.class_index("dog") == 2


def test_maps_of_a_group_are_maps_of_its_probability():
    both = merged(four(), {"vehicle": ["bus", "car"]})
    found = explainers()["gradient"].bind(both).explain(torch.rand(1, 3, 48, 48), [0])
    assert found[0].values.abs().sum() > 0


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"a": ["bus", "car"], "b": ["car"]}, "in two groups"),
        ({"a": ["cat", "car"], "b": ["cat", "bus"]}, "in two groups"),
        ({"a": ["lorry"]}, "no class 'lorry'"),
        ({"dog": ["bus", "car"]}, "called 'dog'"),
        ({"all": ["bus", "car", "cat", "dog"]}, "all classes together"),
    ],
)
def test_groups_that_cannot_be(groups, told):
    with pytest.raises(UserError, match=told):
        merged(four(), groups)


def test_groups_are_read_from_words_and_from_files(tmp_path):
    (tmp_path / "groups.json").write_text(json.dumps({"pet": ["cat", "dog"]}))
    assert read_groups(["vehicle=car, bus", str(tmp_path / "groups.json")]) == {
        "vehicle": ["car", "bus"],
        "pet": ["cat", "dog"],
    }
    (tmp_path / "odd.json").write_text("[1]")
    for odd, told in ((["=car"], "no group"), (["a="], "no group"), (["a=x", "a=y"], "twice"), (["none"], "none"),
                      ([str(tmp_path / "odd.json")], "no JSON object")):  # fmt: skip
        with pytest.raises(UserError, match=told):
            read_groups(odd)


def test_another_process_makes_the_same():
    both = load_classifier("demo:biased", groups={"small": ["finch", "owl"]})
    assert Recipe.of(both).load().fingerprint == both.fingerprint
