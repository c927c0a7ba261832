from pathlib import Path

import pytest

from laptop.commands import render_frames
from laptop.layout import Layout


def test_frames_whose_rendering_was_interrupted_are_rendered_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(out: Path, **_: object) -> None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "half.jpg").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("stages.object_detect.demo_model.render.write_demo", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_frames(Layout(tmp_path))

    names = [path.name for path in render_frames(Layout(tmp_path)).iterdir()]

    assert len(names) == 13
    assert "half.jpg" not in names
