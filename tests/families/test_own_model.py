"""The example of docs/models.md, and modules of one's own that do not do what is asked of them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import models_page
import numpy as np
import pytest
import torch
from torch import nn

from mixunlearn_hf import MixUnlearnConfig, MixUnlearnTrainer
from mixunlearn_hf.errors import DataError, UnsupportedModelError
from mixunlearn_hf.families import Family, register_family


def test_the_example_of_the_page_runs_as_printed(tmp_path: Path) -> None:
    code = max(re.findall(r"```python\n(.*?)```", models_page.PAGE.read_text(), re.S), key=len)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy = {
        name: (float(before), float(after))
        for name, before, after in re.findall(r"^(forget|retain) ([\d.]+) ([\d.]+)$", done.stdout, re.M)
    }
    assert accuracy["forget"][0] > 0.9 and accuracy["forget"][1] < 0.01
    assert accuracy["retain"][0] > 0.9 and accuracy["retain"][1] > accuracy["retain"][0] - 0.02
    assert (tmp_path / "forgotten" / "model.safetensors").exists()


def test_the_page_quotes_the_error() -> None:
    assert models_page.error() in models_page.PAGE.read_text()


class Output(NamedTuple):
    features: torch.Tensor
    logits: torch.Tensor


class Small(nn.Module):
    """A convolutional network that gives `gives(logits)`."""

    def __init__(self, gives: Any = lambda logits: logits) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Linear(8, 3)
        self.gives = gives

    def forward(self, picture: torch.Tensor) -> Any:
        return self.gives(self.head(self.body(self.stem(picture).relu()).relu().mean((2, 3))))


@register_family
class SmallFamily(Family):
    model_classes = (Small,)

    def embedding_module(self, model: nn.Module) -> nn.Module:
        return model.stem

    def layers(self, model: nn.Module) -> list[nn.Module]:
        return [model.body]


def rows(count: int, classes: tuple[int, ...], column: str = "picture") -> datasets.Dataset:
    rng = np.random.default_rng(len(classes))
    labels = [classes[i % len(classes)] for i in range(count)]
    pictures = [(rng.normal(size=(1, 8, 8)) + label).tolist() for label in labels]
    return datasets.Dataset.from_dict({column: pictures, "label": labels})


def trainer(tmp_path: Any, model: nn.Module, **kwargs: Any) -> MixUnlearnTrainer:
    args = MixUnlearnConfig(
        str(tmp_path / "out"), use_cpu=True, report_to=[], max_steps=4, logging_steps=1, disable_tqdm=True,
        per_device_train_batch_size=4, dataloader_pin_memory=False,
    )  # fmt: skip
    sets = {"forget_dataset": rows(7, (0,)), "retain_dataset": rows(20, (1, 2)), "eval_dataset": rows(9, (0, 1, 2))}
    return MixUnlearnTrainer(model, args, **{**sets, **kwargs})


@pytest.mark.parametrize(
    "gives",
    [lambda x: x, lambda x: {"logits": x}, lambda x: (x, "more"), lambda x: Output(torch.zeros(len(x), 8), x)],
    ids=["tensor", "dictionary", "tuple", "named"],
)
def test_own_module_is_trained_evaluated_and_saved(tmp_path: Any, gives: Any) -> None:
    torch.manual_seed(0)
    built = trainer(tmp_path, Small(gives))
    before = {key: value.clone() for key, value in built.model.state_dict().items()}
    built.train()
    assert all(not torch.equal(before[key], value) for key, value in built.model.state_dict().items())
    metrics = built.evaluate()
    pictures, labels = (torch.tensor(rows(9, (0, 1, 2))[key][:]) for key in ("picture", "label"))
    logits = Small().eval().requires_grad_(False)
    logits.load_state_dict(built.model.state_dict())
    assert metrics["eval_accuracy"] == pytest.approx(float((logits(pictures).argmax(-1) == labels).float().mean()))
    expected = float(nn.functional.cross_entropy(logits(pictures), labels))
    assert metrics["eval_loss"] == pytest.approx(expected, abs=1e-5)
    built.save_model()
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_labels_argument_of_an_own_module_has_no_say(tmp_path: Any) -> None:
    class Labelled(Small):
        def forward(self, picture: torch.Tensor, labels: Any = None) -> Any:
            return super().forward(picture)

    torch.manual_seed(0)
    plain = trainer(tmp_path, Small()).evaluate()
    torch.manual_seed(0)
    labelled = trainer(tmp_path, Labelled()).evaluate()
    assert labelled["eval_loss"] == plain["eval_loss"] and labelled["eval_accuracy"] == plain["eval_accuracy"]


def test_own_module_resumes(tmp_path: Any) -> None:
    torch.manual_seed(0)
    built = trainer(tmp_path, Small())
    built.args.save_steps = 2
    built.args.save_strategy = "steps"
    built.train()
    torch.manual_seed(0)
    again = trainer(tmp_path, Small())
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    for key, value in built.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


@pytest.mark.parametrize("gives", [lambda x: x[:, :1], lambda x: x[:, :, None], lambda x: None, lambda x: x.flatten()])
def test_own_module_that_gives_no_logits(tmp_path: Any, gives: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="logits of the shape"):
        trainer(tmp_path, Small(gives))


def test_rows_without_the_modules_input(tmp_path: Any) -> None:
    with pytest.raises(DataError, match="picture"):
        trainer(tmp_path, Small(), forget_dataset=rows(4, (0,), column="image"))


def test_own_module_without_a_family(tmp_path: Any) -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 3)

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return self.head(picture.flatten(1))

    with pytest.raises(UnsupportedModelError, match=r"model_classes = \(Unknown,\)"):
        trainer(tmp_path, Unknown())


def test_a_family_of_a_base_class_serves_its_subclasses(tmp_path: Any) -> None:
    class Smaller(Small):
        pass

    assert isinstance(trainer(tmp_path, Smaller())._family, SmallFamily)
