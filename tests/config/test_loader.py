"""Defaults, preset, file and --set become settings, in that order, and go back to TOML."""

from pathlib import Path

import pytest

from ogpt.config.loader import from_dict, load_settings, preset_names, to_toml
from ogpt.config.pretrain_settings import ModelSettings, PretrainSettings
from ogpt.errors import ConfigError, UnknownSetting


def test_presets() -> None:
    assert preset_names() == ["paper", "small", "tiny"]


@pytest.mark.parametrize("preset", preset_names())
def test_round_trip(preset: str, tmp_path: Path) -> None:
    settings = load_settings(preset)
    file = tmp_path / "config.toml"
    file.write_text(to_toml(settings, "first line\nsecond line"))
    assert file.read_text().startswith("# first line\n# second line\n")
    assert load_settings(file=file) == settings


def test_paper_preset_is_the_default_but_for_its_vocabulary() -> None:
    paper = load_settings("paper")
    assert paper.model == ModelSettings()
    assert paper.training == PretrainSettings().training
    assert paper.tokenizer.vocab_size == 40_478


def test_precedence(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nmax_steps = 7\nbatch_size = 32\n")
    settings = load_settings("small", file, ["training.max_steps=9", "training.seed = 3"])
    assert settings.training.max_steps == 9
    assert settings.training.seed == 3
    assert settings.training.batch_size == 32
    assert settings.model == load_settings("small").model != ModelSettings()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.epochs=2", 2.0),
        ("training.epochs=0.5", 0.5),
        ("training.precision=float32", "float32"),
        ("training.precision='float32'", "float32"),
        ("data.encoding=latin-1", "latin-1"),
        ("training.max_steps=10_000", 10_000),
    ],
)
def test_override_values(override: str, value: object) -> None:
    section, _, item = override.split("=")[0].partition(".")
    settings = load_settings(overrides=[override])
    assert getattr(getattr(settings, section), item) == value


def test_strings_survive_toml(tmp_path: Path) -> None:
    settings = load_settings(overrides=['data.encoding="a\\\\b\\"c"'])
    assert settings.data.encoding == 'a\\b"c'
    file = tmp_path / "config.toml"
    file.write_text(to_toml(settings))
    assert load_settings(file=file) == settings


def test_booleans_in_toml() -> None:
    from dataclasses import dataclass, field

    @dataclass
    class Part:
        on: bool = True
        off: bool = False

    @dataclass
    class Whole:
        part: Part = field(default_factory=Part)

    assert to_toml(Whole()) == "\n[part]\non = true\noff = false\n"


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UnknownSetting, match="no preset 'papr'; there are paper, small, tiny") as e:
        load_settings("papr")
    assert e.value.hint == "did you mean paper?"
    with pytest.raises(UnknownSetting, match="no preset 'qqq'") as e:
        load_settings("qqq")
    assert e.value.hint == "choose one of these"


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownSetting, match=r"no setting 'training\.max_step'") as e:
        load_settings(overrides=["training.max_step=3"])
    assert e.value.hint == "did you mean training.max_steps?"


def test_unknown_section_names_the_nearest() -> None:
    with pytest.raises(UnknownSetting, match="no setting 'trainin'") as e:
        load_settings(overrides=["trainin.max_steps=3"])
    assert e.value.hint == "did you mean training?"
    with pytest.raises(UnknownSetting, match="no setting 'qqq'") as e:
        load_settings(overrides=["qqq.zzz=3"])
    assert e.value.hint == "choose one of model, tokenizer, data, training"


@pytest.mark.parametrize("override", ["max_steps=3", "training.max_steps", "=3", ".x=1", "a.=1"])
def test_malformed_override(override: str) -> None:
    with pytest.raises(ConfigError, match=r"does not have the form section\.field=value") as e:
        load_settings(overrides=[override])
    assert override in str(e.value)
    assert "--set training.max_steps=1000" in e.value.hint


@pytest.mark.parametrize(
    ("override", "seen", "wanted"),
    [
        ("training.max_steps=many", "'many', str", "int"),
        ("training.max_steps=true", "True, bool", "int"),
        ("training.max_steps=1.5", "1.5, float", "int"),
        ("training.epochs=long", "'long', str", "float"),
        ("training.precision=16", "16, int", "str"),
    ],
)
def test_wrong_type(override: str, seen: str, wanted: str) -> None:
    name = override.split("=")[0]
    with pytest.raises(ConfigError, match=f"{name} is {seen}; it must be {wanted}") as e:
        load_settings(overrides=[override])
    assert f"--set {name}=VALUE" in e.value.hint


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_numbers_are_finite(value: str) -> None:
    with pytest.raises(ConfigError, match=f"training.learning_rate is {value}") as e:
        load_settings(overrides=[f"training.learning_rate={value}"])
    assert "--set training.learning_rate=VALUE" in e.value.hint


def test_section_that_is_no_section() -> None:
    with pytest.raises(ConfigError, match="model is 3, int; it must be ModelSettings"):
        from_dict(PretrainSettings, {"model": 3})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"could not read .*none\.toml: No such file") as e:
        load_settings(file=tmp_path / "none.toml")
    assert "--config" in e.value.hint


def test_folder_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"could not read .*: Is a directory"):
        load_settings(file=tmp_path)


@pytest.mark.parametrize("content", [b"[training\n", b"\xff\xfe"])
def test_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML") as e:
        load_settings(file=file)
    assert "presets" in e.value.hint


def test_setting_outside_a_section(tmp_path: Path) -> None:
    file = tmp_path / "flat.toml"
    file.write_text("max_steps = 3\n")
    with pytest.raises(ConfigError, match=r"'max_steps' in .*flat\.toml is not in a section") as e:
        load_settings(file=file)
    assert "[training]" in e.value.hint


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.max_steps=1e3", 1000),
        ("training.max_steps=2.0", 2),
        ("training.epochs=.5", 0.5),
        ("training.epochs=5.", 5.0),
        ("training.epochs=1e3", 1000.0),
        ("training.learning_rate=+.5e-2", 0.005),
        ("data.valid_fraction= .25 ", 0.25),
    ],
)
def test_numbers_as_people_write_them(override: str, value: float) -> None:
    section, _, name = override.partition("=")[0].partition(".")
    found = getattr(getattr(load_settings(overrides=override), section), name)
    assert (found, type(found)) == (value, type(value))


def test_part_of_a_step_is_no_step() -> None:
    with pytest.raises(ConfigError, match=r"max_steps is 2\.5, float; it must be int"):
        load_settings(overrides=["training.max_steps=2.5"])


def test_a_file_may_be_a_str_and_have_1e3(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[training]\nmax_steps = 1e3\n")
    assert load_settings(file=str(file)).training.max_steps == 1000
